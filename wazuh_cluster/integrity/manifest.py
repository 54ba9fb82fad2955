"""
Manifests: the sorted lists of a home's carried files, in columns.

A hundred thousand files cost about 12 MiB. Digests stand one after the other in
one C{bytes}; a L{FileEntry} is made only when one is asked for.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Collection, Container, Iterable, Iterator
from itertools import pairwise
from struct import Struct
from typing import TYPE_CHECKING, TypeVar

from wazuh_cluster.integrity.items import Items
from wazuh_cluster.integrity.paths import PathSet
from wazuh_cluster.interfaces import Slices
from wazuh_cluster.model import FileEntry, HeldPath

if TYPE_CHECKING:
    from hashlib import _Hash

_T = TypeVar("_T")

#: The digest's size in bytes of each algorithm that a manifest may name.
DIGEST_SIZES = {"md5": 16, "sha256": 32}

#: How many entries are worked on between two yields: well under 50 ms.
_STEP = 4096

#: How many bytes are hashed between two yields.
_HASHED = 4 * 1024 * 1024

# How a manifest travels; manifestdecoder.py reads it.
MAGIC = b"WCMF\x01"
COUNTS = Struct(">II")
ENTRY = Struct(">HQq")
HELD = Struct(">HH")
MAX_WHY = 200

_ROOT_LABEL = b"wazuh_cluster root 1\0"


def packEntry(path: bytes, size: int, mtime: int, digest: bytes) -> bytes:
    """
    One file as it travels.
    """
    return ENTRY.pack(len(path), size, mtime) + path + digest


def newHash(algorithm: str) -> _Hash:
    """
    A fresh hash object of one of L{DIGEST_SIZES}.

    @raise ValueError: where the system forbids or does not know it.
    """
    if algorithm not in DIGEST_SIZES:
        raise ValueError(f"{algorithm!r} is not one of {', '.join(sorted(DIGEST_SIZES))}")
    return hashlib.new(algorithm, usedforsecurity=False)


class Manifest:
    """
    The carried files of a home. Do not change its columns.

    @ivar algorithm: of the digests, a key of L{DIGEST_SIZES}.
    @ivar digestSize: of one digest, in bytes.
    @ivar paths: relative to the home, sorted bytewise, each once.
    @ivar sizes: in bytes.
    @ivar mtimes: in whole seconds.
    @ivar digests: all digests, one after the other.
    @ivar held: what is there but is not carried, sorted by path.
    """

    __slots__ = (
        "_packed",
        "_roots",
        "algorithm",
        "digestSize",
        "digests",
        "held",
        "mtimes",
        "paths",
        "sizes",
    )

    def __init__(
        self,
        algorithm: str,
        paths: list[bytes],
        sizes: array[int],
        mtimes: array[int],
        digests: bytes,
        held: Iterable[HeldPath] = (),
    ) -> None:
        """
        Take columns that are known to be sorted and sound; for all others there
        is L{fromEntries}.
        """
        self.algorithm = algorithm
        self.digestSize = DIGEST_SIZES[algorithm]
        self.paths = paths
        self.sizes = sizes
        self.mtimes = mtimes
        self.digests = digests
        self.held = tuple(sorted(held, key=lambda each: each.path))
        self._roots: dict[tuple[object, object], bytes] = {}
        # All entries as they travel, once somebody asked for them.
        self._packed: bytes | None = None

    @classmethod
    def fromEntries(
        cls,
        algorithm: str,
        entries: Iterable[FileEntry],
        held: Iterable[HeldPath] = (),
        items: Items | None = None,
    ) -> Manifest:
        """
        A manifest of entries in any order.

        @param items: if given, every path must be one that these carry.
        @raise ValueError: for an unknown algorithm, a digest of another size or
            a path that comes twice.
        @raise wazuh_cluster.errors.HostilePath: for a path that C{items} do not
            carry.
        """
        if algorithm not in DIGEST_SIZES:
            raise ValueError(f"{algorithm!r} is not an algorithm of manifests")
        ordered = sorted(entries, key=lambda entry: entry.path)
        held = tuple(held)
        paths = [entry.path for entry in ordered]
        for entry in ordered:
            if len(entry.digest) != DIGEST_SIZES[algorithm]:
                raise ValueError(f"{entry.path!r}: {entry.digest!r} is no {algorithm} digest")
        for before, after in pairwise(paths):
            if before == after:
                raise ValueError(f"{after!r} comes twice")
        if items is not None:
            for path in paths:
                items.check(path)
            for each in held:
                items.checkHeld(each.path)
        return cls(
            algorithm,
            paths,
            array("Q", (entry.size for entry in ordered)),
            array("q", (entry.mtime for entry in ordered)),
            b"".join(entry.digest for entry in ordered),
            held,
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[FileEntry]:
        return map(self.entry, range(len(self.paths)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Manifest):
            return NotImplemented
        return self is other or (
            self.algorithm == other.algorithm
            and self.paths == other.paths
            and self.sizes == other.sizes
            and self.mtimes == other.mtimes
            and self.digests == other.digests
            and self.held == other.held
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Manifest {self.algorithm} {len(self)} files, {len(self.held)} held>"

    @property
    def totalSize(self) -> int:
        """
        The bytes of all files together.
        """
        return sum(self.sizes)

    def digest(self, index: int) -> bytes:
        """
        The digest of the file at C{index}, which must not be negative.
        """
        start = index * self.digestSize
        return self.digests[start : start + self.digestSize]

    def entry(self, index: int) -> FileEntry:
        """
        The file at C{index}, which must not be negative.
        """
        return FileEntry(
            self.paths[index], self.sizes[index], self.mtimes[index], self.digest(index)
        )

    def index(self, path: bytes) -> int | None:
        """
        Where C{path} stands; C{None} if it does not.
        """
        at = bisect_left(self.paths, path)
        return at if at < len(self.paths) and self.paths[at] == path else None

    def below(self, folder: bytes) -> range:
        """
        Where the files below a folder stand, at any depth.
        """
        return range(bisect_left(self.paths, folder + b"/"), bisect_left(self.paths, folder + b"0"))

    def heldPaths(self) -> PathSet:
        """
        What the held paths cover.
        """
        return PathSet(each.path for each in self.held)

    def root(self, items: Items, without: Container[bytes] = ()) -> bytes:
        """
        One digest over all files: 32 bytes. Held paths do not count.

        @param items: say whose mtime does not count.
        @param without: paths that do not count; a L{PathSet} leaves out whole
            folders too. The last root is remembered where this is hashable.
        """
        return _drive(self.rootSlices(items, without))

    def rootSlices(self, items: Items, without: Container[bytes] = ()) -> Slices[bytes]:
        """
        L{root} in slices.
        """
        key = _rootKey(items, without)
        if key is not None and key in self._roots:
            return self._roots[key]
        sha = hashlib.sha256(_ROOT_LABEL + self.algorithm.encode("ascii") + b"\0")
        everything = isinstance(without, Collection) and not without
        if everything:
            packed = yield from self.packedSlices()
            yield from _update(sha, self._withoutTimes(packed, items))
        else:
            yield from self._rootWithout(sha, items, without)
        root = sha.digest()
        if key is not None:
            # One for the whole, one for the last partial root: what a node asks
            # for again and again.
            self._roots = {
                each: known for each, known in self._roots.items() if everything or each[1] is None
            }
            self._roots[key] = root
        return root

    def _rootWithout(self, sha: _Hash, items: Items, without: Container[bytes]) -> Slices[None]:
        timeless = self._timeless(items)
        pack, size = ENTRY.pack, self.digestSize
        for start in range(0, len(self.paths), _STEP):
            parts: list[bytes] = []
            for index in range(start, min(start + _STEP, len(self.paths))):
                path = self.paths[index]
                if path not in without:
                    mtime = 0 if index in timeless else self.mtimes[index]
                    parts.append(pack(len(path), self.sizes[index], mtime))
                    parts.append(path)
                    parts.append(self.digests[index * size : (index + 1) * size])
            sha.update(b"".join(parts))
            yield

    def _withoutTimes(self, packed: bytes, items: Items) -> bytes | bytearray:
        """
        The packed entries, with an mtime of 0 where it does not count.
        """
        timeless = self._timeless(items)
        if not timeless:
            return packed
        changed = bytearray(packed)
        at = last = 0
        for index in sorted(timeless):
            at += self.packedSize(last, index)
            last = index
            ENTRY.pack_into(changed, at, len(self.paths[index]), self.sizes[index], 0)
        return changed

    def derive(
        self,
        paths: list[bytes],
        sizes: array[int],
        mtimes: array[int],
        digests: bytes,
        held: Iterable[HeldPath],
        pieces: Iterable[tuple[int, int] | bytes] | None,
    ) -> Manifest:
        """
        A manifest that has much in common with this one: what was packed of this
        one is not packed again.

        @param pieces: in order, the runs (start and stop) of this manifest's
            files and, between them, further packed entries; C{None} if that is
            not known.
        """
        derived = Manifest(self.algorithm, paths, sizes, mtimes, digests, held)
        packed = self._packed
        if packed is not None and pieces is not None:
            parts: list[bytes | memoryview] = []
            at = last = 0
            with memoryview(packed) as view:
                for piece in pieces:
                    if isinstance(piece, bytes):
                        parts.append(piece)
                        continue
                    start, stop = piece
                    at += self.packedSize(last, start)
                    last, size = stop, self.packedSize(start, stop)
                    parts.append(view[at : at + size])
                    at += size
                derived._packed = b"".join(parts)
                for part in parts:
                    if isinstance(part, memoryview):
                        part.release()
        return derived

    def packedSize(self, start: int, stop: int) -> int:
        """
        How many bytes of the packed entries are those from C{start} to before
        C{stop}.
        """
        fixed = ENTRY.size + self.digestSize
        return sum(map(len, self.paths[start:stop])) + (stop - start) * fixed

    def packedSlices(self) -> Slices[bytes]:
        """
        All entries as they travel, in slices.
        """
        if self._packed is not None:
            return self._packed
        pieces: list[bytes] = []
        pack, size = ENTRY.pack, self.digestSize
        for start in range(0, len(self.paths), _STEP):
            parts: list[bytes] = []
            for index in range(start, min(start + _STEP, len(self.paths))):
                path = self.paths[index]
                parts.append(pack(len(path), self.sizes[index], self.mtimes[index]))
                parts.append(path)
                parts.append(self.digests[index * size : (index + 1) * size])
            pieces.append(b"".join(parts))
            yield
        self._packed = b"".join(pieces)
        return self._packed

    def encode(self) -> bytes:
        """
        What a L{ManifestDecoder} reads: the version, the counts, all files, all
        held paths, and a SHA-256 over it.
        """
        return b"".join(_drive(self.encodeSlices()))

    def encodeSlices(self) -> Slices[list[bytes]]:
        """
        L{encode} in slices; the pieces in order.
        """
        name = self.algorithm.encode("ascii")
        counts = COUNTS.pack(len(self.paths), len(self.held))
        pieces = [MAGIC + bytes([len(name)]) + name + counts]
        sha = hashlib.sha256(pieces[0])
        pieces.append((yield from self.packedSlices()))
        yield from _update(sha, pieces[-1])
        held = []
        for each in self.held:
            why = each.why.encode("utf-8", "replace")[:MAX_WHY].decode("utf-8", "ignore").encode()
            held.append(HELD.pack(len(each.path), len(why)) + each.path + why)
        pieces.append(b"".join(held))
        sha.update(pieces[-1])
        pieces.append(sha.digest())
        return pieces

    def _timeless(self, items: Items) -> Collection[int]:
        """
        The indexes of the files whose mtime does not count.
        """
        found: set[int] = set()
        for item in items:
            if item.ownTime and item.isFile:
                index = self.index(item.path)
                if index is not None:
                    found.add(index)
            elif item.ownTime:
                found.update(self.below(item.path))
        return found


def _update(sha: _Hash, data: bytes | bytearray) -> Slices[None]:
    """
    Hash in slices.
    """
    with memoryview(data) as view:
        for start in range(0, len(data), _HASHED):
            sha.update(view[start : start + _HASHED])
            yield


def _rootKey(items: Items, without: Container[bytes]) -> tuple[object, object] | None:
    """
    Under what a root is remembered; C{None} if it cannot be.
    """
    timeless = tuple((item.path, item.isFile) for item in items if item.ownTime)
    if isinstance(without, Collection) and not without:
        return (timeless, None)
    if isinstance(without, (frozenset, tuple, PathSet)):
        return (timeless, without)
    return None


def _drive(slices: Slices[_T]) -> _T:
    """
    Run slices to their end at once.
    """
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: _T = end.value
            return result
