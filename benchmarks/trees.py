"""
Trees of files: the same for the same L{TreeSpec}, on any machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

from attrs import frozen

_POOL = 4 * 1024 * 1024
_PIECE = 64 * 1024
_WORDS = ("attack", "blocked", "denied", "file", "group", "login", "match", "policy", "user")

#: When all files of a tree were changed, in seconds since the epoch: in the
#: past, as most files were.
MTIME = 1_700_000_000


@frozen
class TreeSpec:
    """
    What is in a tree.

    @ivar files: how many there are.
    @ivar smallest: the least size of one, in bytes.
    @ivar largest: the greatest; sizes are spread evenly between the two.
    @ivar perFolder: how many files a folder has.
    @ivar seed: another seed gives other contents and sizes.
    """

    files: int
    smallest: int
    largest: int
    perFolder: int = 100
    seed: int = 1

    def sizes(self) -> list[int]:
        """
        The size of each file.
        """
        random = Random(f"sizes {self.seed}")
        return [random.randint(self.smallest, self.largest) for _ in range(self.files)]

    @property
    def totalSize(self) -> int:
        """
        Bytes of all contents.
        """
        return sum(self.sizes())


def makeTree(spec: TreeSpec, folder: str) -> None:
    """
    Write a tree into a folder, which is made if it is not there.
    """
    pool = _pool(Random(f"pool {spec.seed}"))
    for number, size in enumerate(spec.sizes()):
        above = os.path.join(folder, f"folder-{number // spec.perFolder:04d}")
        if number % spec.perFolder == 0:
            os.makedirs(above, mode=0o770, exist_ok=True)
        path = os.path.join(above, f"rules-{number:06d}.xml")
        with open(path, "wb", buffering=0) as file:
            for part in _content(pool, Random(f"file {spec.seed} {number}"), number, size):
                file.write(part)
            os.fchmod(file.fileno(), 0o660)
        os.utime(path, (MTIME, MTIME))


def seen(folder: str) -> dict[str, tuple[int, int]]:
    """
    Path to size and whole-second mtime of every file below a folder.
    """
    return {path: (found.st_size, int(found.st_mtime)) for path, found in _walk(folder)}


def lastChange(folder: str) -> float:
    """
    When the last file below a folder was changed or came to its name, in
    seconds since the epoch, as exactly as the system's tick: a rename sets the
    time of the inode's change.
    """
    return max(found.st_ctime_ns for _, found in _walk(folder)) / 1e9


def _walk(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    for above, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(above, name)
            yield os.path.relpath(path, folder), os.lstat(path)


def _pool(random: Random) -> bytes:
    """
    Text that compresses about as rules do.
    """
    lines: list[str] = []
    size = 0
    while size < _POOL:
        words = " ".join(random.choices(_WORDS, k=random.randint(4, 12)))
        address = ".".join(str(random.randrange(256)) for _ in range(4))
        lines.append(
            f'  <rule id="{random.randrange(100_000, 999_999)}" level="{random.randrange(16)}">'
            f"<match>{words}</match><srcip>{address}</srcip></rule>\n"
        )
        size += len(lines[-1])
    return "".join(lines).encode("ascii")[:_POOL]


def _content(pool: bytes, random: Random, number: int, size: int) -> Iterator[bytes]:
    """
    Parts of the pool behind a first line that no other file has.
    """
    head = b"<!-- %d -->\n" % number
    yield head[:size]
    left = size - len(head)
    while left > 0:
        length = min(left, _PIECE)
        start = random.randrange(len(pool) - length)
        yield pool[start : start + length]
        left -= length
