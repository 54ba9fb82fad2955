"""
Relative paths as bytes: which are sound, and what lies below what.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

#: The longest path, in bytes, relative to the home.
MAX_PATH = 4096

#: The longest name in a path, in bytes.
MAX_NAME = 255

#: The most names in a path.
MAX_DEPTH = 64


def pathFault(path: bytes) -> str | None:
    """
    Which rule for relative paths C{path} breaks; C{None} if it is sound.

    Any byte that a file name can hold is fine, control characters and bytes
    that are no UTF-8 too, except the backslash.
    """
    if not path:
        return "it is empty"
    if len(path) > MAX_PATH:
        return f"it is longer than {MAX_PATH} bytes"
    if path[0] == 0x2F:
        return "it is absolute"
    # Numbers: to look for a byte as bytes takes five times as long.
    if 0 in path:
        return "it has a NUL in it"
    if 0x5C in path:
        return "it has a backslash in it"
    names = path.split(b"/")
    if len(names) > MAX_DEPTH:
        return f"it is deeper than {MAX_DEPTH} names"
    if b"" in names:
        return "it has an empty name in it"
    if b"." in names or b".." in names:
        return "it has a '.' or '..' in it"
    if max(map(len, names)) > MAX_NAME:
        return f"it has a name longer than {MAX_NAME} bytes"
    return None


def isName(name: bytes) -> bool:
    """
    Whether C{name} can be the last one of a sound path.
    """
    return not (
        len(name) > MAX_NAME
        or 0x2F in name
        or 0 in name
        or 0x5C in name
        or name in (b"", b".", b"..")
    )


def isWithin(path: bytes, folder: bytes) -> bool:
    """
    Whether C{path} is C{folder} or lies below it. Both without a final slash.
    """
    return path == folder or path.startswith(folder + b"/")


class PathSet(Collection[bytes]):
    """
    A frozen set of paths, each of which covers itself and everything below it;
    a final slash makes no difference. C{path in pathSet} asks whether it is
    covered.
    """

    __slots__ = ("_paths",)

    def __init__(self, paths: Iterable[bytes] = ()) -> None:
        self._paths = frozenset(path.rstrip(b"/") for path in paths)

    def __contains__(self, path: object) -> bool:
        if not isinstance(path, bytes) or not self._paths:
            return False
        path = path.rstrip(b"/")
        while path:
            if path in self._paths:
                return True
            path = path.rpartition(b"/")[0]
        return False

    def __iter__(self) -> Iterator[bytes]:
        return iter(sorted(self._paths))

    def __len__(self) -> int:
        return len(self._paths)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PathSet) and self._paths == other._paths

    def __hash__(self) -> int:
        return hash(self._paths)

    def __repr__(self) -> str:
        return f"PathSet({list(self)!r})"
