"""
Differences: what makes one manifest of another.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from hashlib import sha256
from struct import Struct

from attrs import frozen

from wazuh_cluster.errors import MalformedStream
from wazuh_cluster.integrity.manifest import DIGEST_SIZES, HELD, MAX_WHY, Manifest, packEntry
from wazuh_cluster.integrity.paths import PathSet
from wazuh_cluster.interfaces import Slices
from wazuh_cluster.model import FileEntry, HeldPath

# How a difference travels; differencedecoder.py reads it.
MAGIC = b"WCMD\x01"
COUNTS = Struct(">III")
REMOVED = Struct(">H")

#: The longest difference that is sent or taken, in bytes.
MAX_DIFFERENCE = 1024 * 1024

#: How many files are compared at once where all are the same, and how many one
#: by one before that is tried again.
RUN = 1024
SINGLE = 32

#: How many of either are worked on between two yields.
_STEP = 1024


class Misfit(Exception):
    """
    A difference is not one from the manifest to which it is to be applied.
    """


@frozen
class Difference:
    """
    What makes a manifest of the one before.

    @ivar algorithm: of both.
    @ivar removed: the paths of files that are not there any more, sorted; some may
        not have been there before either.
    @ivar entries: files that are new or changed, sorted by path.
    @ivar held: all held paths of the later one, sorted.
    """

    algorithm: str
    removed: tuple[bytes, ...]
    entries: tuple[FileEntry, ...]
    held: tuple[HeldPath, ...]

    def __len__(self) -> int:
        return len(self.removed) + len(self.entries)

    def paths(self) -> Iterator[bytes]:
        """
        Those of all files that are not as they were, in no order.
        """
        yield from self.removed
        for entry in self.entries:
            yield entry.path


def markOf(root: bytes, held: Iterable[HeldPath]) -> bytes:
    """
    What tells one generation's manifest from another's: the held paths count
    too, for a worker keeps what lies below one, and must hear when it is free
    again.

    @param root: the manifest's.
    """
    hashed = sha256(root)
    for each in held:
        hashed.update(b"%d:%s" % (len(each.path), each.path))
    return hashed.digest()


def findDifference(old: Manifest, new: Manifest) -> Slices[Difference]:
    """
    What makes C{new} of C{old}, which are of the same algorithm. Where nothing
    changed, it costs nearly nothing.
    """
    removed: list[bytes] = []
    entries: list[FileEntry] = []
    i = j = steps = 0
    single = 0
    while i < len(old) or j < len(new):
        steps += 1
        if steps % _STEP == 0:
            yield
        if single == 0:
            if sameRun(old, new, i, j):
                i += RUN
                j += RUN
                continue
            single = SINGLE
        single -= 1
        if j >= len(new) or (i < len(old) and old.paths[i] < new.paths[j]):
            removed.append(old.paths[i])
            i += 1
        elif i >= len(old) or old.paths[i] > new.paths[j]:
            entries.append(new.entry(j))
            j += 1
        else:
            if (
                old.sizes[i] != new.sizes[j]
                or old.mtimes[i] != new.mtimes[j]
                or old.digest(i) != new.digest(j)
            ):
                entries.append(new.entry(j))
            i += 1
            j += 1
    return Difference(new.algorithm, tuple(removed), tuple(entries), new.held)


def sameRun(old: Manifest, new: Manifest, i: int, j: int) -> bool:
    """
    Whether the next L{RUN} files are the same in both.
    """
    if i + RUN > len(old) or j + RUN > len(new):
        return False
    size = old.digestSize
    return (
        old.paths[i : i + RUN] == new.paths[j : j + RUN]
        and old.digests[i * size : (i + RUN) * size] == new.digests[j * size : (j + RUN) * size]
        and old.sizes[i : i + RUN] == new.sizes[j : j + RUN]
        and old.mtimes[i : i + RUN] == new.mtimes[j : j + RUN]
    )


def compose(differences: Iterable[Difference]) -> Slices[Difference]:
    """
    One difference that does what these, at least one, do one after the other.
    """
    found: dict[bytes, FileEntry | None] = {}
    last: Difference | None = None
    for last in differences:
        found.update(dict.fromkeys(last.removed))
        found.update((entry.path, entry) for entry in last.entries)
        yield
    assert last is not None
    removed: list[bytes] = []
    entries: list[FileEntry] = []
    for steps, path in enumerate(sorted(found)):
        if steps % _STEP == 0:
            yield
        entry = found[path]
        if entry is None:
            removed.append(path)
        else:
            entries.append(entry)
    return Difference(last.algorithm, tuple(removed), tuple(entries), last.held)


def encodeDifference(difference: Difference, mark: bytes) -> Slices[bytes]:
    """
    A difference as it travels.

    @param mark: of the manifest before it, see L{markOf}.
    """
    name = difference.algorithm.encode("ascii")
    parts = [MAGIC, bytes([len(name)]), name, mark]
    held = difference.held
    parts.append(COUNTS.pack(len(difference.removed), len(difference.entries), len(held)))
    for path in difference.removed:
        parts += [REMOVED.pack(len(path)), path]
    for steps, entry in enumerate(difference.entries):
        if steps % _STEP == 0:
            yield
        parts.append(packEntry(entry.path, entry.size, entry.mtime, entry.digest))
    for each in held:
        why = each.why.encode("utf-8", "replace")[:MAX_WHY].decode("utf-8", "ignore").encode()
        parts += [HELD.pack(len(each.path), len(why)), each.path, why]
    encoded = b"".join(parts)
    return encoded + sha256(encoded).digest()


def applyDifference(base: Manifest, difference: Difference) -> Slices[Manifest]:
    """
    The manifest that C{base} becomes.

    @raise Misfit: if it is of another algorithm.
    @raise MalformedStream: if what comes of it would be no manifest.
    """
    if base.algorithm != difference.algorithm:
        raise Misfit("it is of another algorithm")
    size = base.digestSize
    paths: list[bytes] = []
    sizes, mtimes, digests = array("Q"), array("q"), bytearray()
    pieces: list[tuple[int, int] | bytes] = []
    # What changes, in order; None for what is removed.
    changes: dict[bytes, FileEntry | None] = dict.fromkeys(difference.removed)
    changes.update((entry.path, entry) for entry in difference.entries)
    at = 0
    for steps, path in enumerate(sorted(changes)):
        if steps % _STEP == 0:
            yield
        entry = changes[path]
        end = bisect_left(base.paths, path, at)
        if end > at:
            paths += base.paths[at:end]
            sizes.extend(base.sizes[at:end])
            mtimes.extend(base.mtimes[at:end])
            digests += base.digests[at * size : end * size]
            pieces.append((at, end))
        isThere = end < len(base.paths) and base.paths[end] == path
        at = end + isThere
        if entry is None:
            # What came and went since may never have been here.
            continue
        paths.append(path)
        sizes.append(entry.size)
        mtimes.append(entry.mtime)
        digests += entry.digest
        pieces.append(packEntry(path, entry.size, entry.mtime, entry.digest))
    if at < len(base.paths):
        paths += base.paths[at:]
        sizes.extend(base.sizes[at:])
        mtimes.extend(base.mtimes[at:])
        digests += base.digests[at * size :]
        pieces.append((at, len(base.paths)))
    yield
    made = base.derive(paths, sizes, mtimes, bytes(digests), difference.held, pieces)
    yield from _check(made, difference)
    return made


def _check(made: Manifest, difference: Difference) -> Slices[None]:
    """
    See that files and folders, and held paths, are not at the same place.
    """
    heldPaths = PathSet(held.path for held in difference.held)
    folder = b""
    for steps, entry in enumerate(difference.entries):
        if steps % _STEP == 0:
            yield
        path = entry.path
        if path in heldPaths:
            raise MalformedStream(f"{path!r} is both held and carried in the difference")
        if made.below(path):
            raise MalformedStream(f"{path!r} is both a file and a folder in the difference")
        above = path.rpartition(b"/")[0]
        if above == folder:
            continue
        folder = above
        while above:
            if made.index(above) is not None:
                raise MalformedStream(f"{above!r} is both a file and a folder in the difference")
            above = above.rpartition(b"/")[0]
    for steps, held in enumerate(difference.held):
        if steps % _STEP == 0:
            yield
        path = held.path.rstrip(b"/")
        if made.index(path) is not None or made.below(path):
            raise MalformedStream(f"{path!r} is both held and carried in the difference")


def sizeOf(algorithm: str) -> int:
    """
    The size of a digest.

    @raise MalformedStream: of one that is not known.
    """
    if algorithm not in DIGEST_SIZES:
        raise MalformedStream(f"{algorithm!r} is not a known algorithm")
    return DIGEST_SIZES[algorithm]
