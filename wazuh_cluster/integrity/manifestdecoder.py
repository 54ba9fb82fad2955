"""
Manifests as they come from a peer: read piece by piece, with every path going
through the one gate.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left

from wazuh_cluster.errors import LimitExceeded, MalformedStream
from wazuh_cluster.integrity.items import Items
from wazuh_cluster.integrity.manifest import (
    COUNTS,
    DIGEST_SIZES,
    ENTRY,
    HELD,
    MAGIC,
    MAX_WHY,
    Manifest,
)
from wazuh_cluster.integrity.paths import MAX_PATH
from wazuh_cluster.interfaces import Slices
from wazuh_cluster.model import HeldPath

#: The most entries and bytes that a decoder takes unless told otherwise.
MAX_ENTRIES = 500_000
MAX_BYTES = 64 * 1024 * 1024

_MAX_SIZE = 2**63 - 1
_TRAILER = 32
_PIECE = 256 * 1024


class ManifestDecoder:
    """
    Reads an encoded manifest as it comes, in pieces of any size, and holds
    nothing but its columns and less than one entry.

    After an error it is of no more use.
    """

    def __init__(
        self, items: Items, maxEntries: int = MAX_ENTRIES, maxBytes: int = MAX_BYTES
    ) -> None:
        """
        @param items: which paths may be in it.
        @param maxEntries: how many files and held paths at most.
        @param maxBytes: how long it may be.
        """
        self._items = items
        self._maxEntries = maxEntries
        self._maxBytes = maxBytes
        self._taken = 0
        self._rest = b""
        self._sha = hashlib.sha256()
        self._stage = self._head
        self._algorithm = ""
        self._digestSize = 0
        self._files = 0
        self._helds = 0
        self._paths: list[bytes] = []
        self._sizes = array("Q")
        self._mtimes = array("q")
        self._digests = bytearray()
        self._held: list[HeldPath] = []
        self._folder = b""

    def feed(self, data: bytes) -> None:
        """
        Take the next piece.

        @raise MalformedStream: if it cannot be a manifest.
        @raise LimitExceeded: if it is too long, or announces too many entries.
        @raise wazuh_cluster.errors.HostilePath: for a path that no item carries.
        """
        self._taken += len(data)
        if self._taken > self._maxBytes:
            raise LimitExceeded(f"the manifest is longer than {self._maxBytes} bytes")
        data = self._rest + data
        at = 0
        while True:
            stage = self._stage
            end = stage(data, at)
            if stage != self._trailer:
                self._sha.update(memoryview(data)[at:end])
            at = end
            if self._stage == stage:
                break
        self._rest = data[at:]

    def finish(self) -> Manifest:
        """
        The manifest, when all has been fed.

        @raise MalformedStream: if something is missing.
        """
        if self._stage != self._nothing:
            raise MalformedStream("the manifest ends too soon")
        return Manifest(
            self._algorithm,
            self._paths,
            self._sizes,
            self._mtimes,
            bytes(self._digests),
            self._held,
        )

    # Each stage reads what it can of C{data} from C{at} on, returns where it
    # stopped, and sets the next stage when it is through.

    def _head(self, data: bytes, at: int) -> int:
        if not data.startswith(MAGIC[: len(data)]):
            raise MalformedStream("this is not a manifest of a version that is known here")
        start = len(MAGIC) + 1
        if len(data) < start:
            return at
        name = data[start : start + data[start - 1]]
        counts = start + data[start - 1]
        if len(data) < counts + COUNTS.size:
            return at
        self._algorithm = name.decode("ascii", "replace")
        if self._algorithm not in DIGEST_SIZES:
            raise MalformedStream(
                f"the manifest's algorithm is {self._algorithm!r}, not a known one"
            )
        self._digestSize = DIGEST_SIZES[self._algorithm]
        self._files, self._helds = COUNTS.unpack_from(data, counts)
        if self._files + self._helds > self._maxEntries:
            raise LimitExceeded(
                f"the manifest has {self._files + self._helds} entries, "
                f"more than {self._maxEntries}"
            )
        self._stage = self._entries
        return counts + COUNTS.size

    def _entries(self, data: bytes, at: int) -> int:
        paths, digestSize, check = self._paths, self._digestSize, self._items.check
        last = paths[-1] if paths else b""
        while len(paths) < self._files:
            start = at + ENTRY.size
            if len(data) < start:
                return at
            length, size, mtime = ENTRY.unpack_from(data, at)
            if length > MAX_PATH:
                raise MalformedStream(f"a path of {length} bytes in the manifest")
            middle = start + length
            end = middle + digestSize
            if len(data) < end:
                return at
            path = data[start:middle]
            if path <= last:
                raise MalformedStream(f"{path!r} comes after {last!r} in the manifest")
            check(path)
            if size > _MAX_SIZE:
                raise MalformedStream(f"{path!r} cannot have {size} bytes")
            folder = path.rpartition(b"/")[0]
            if folder != self._folder:
                self._checkFolders(path)
                self._folder = folder
            paths.append(path)
            self._sizes.append(size)
            self._mtimes.append(mtime)
            self._digests += data[middle:end]
            last = path
            at = end
        self._stage = self._heldPaths
        return at

    def _checkFolders(self, path: bytes) -> None:
        """
        Refuse a path that has a file of the manifest as a folder. Such a file
        sorts before it.
        """
        above = path.rpartition(b"/")[0]
        while above:
            at = bisect_left(self._paths, above)
            if at < len(self._paths) and self._paths[at] == above:
                raise MalformedStream(f"{above!r} is both a file and a folder in the manifest")
            above = above.rpartition(b"/")[0]

    def _heldPaths(self, data: bytes, at: int) -> int:
        while len(self._held) < self._helds:
            start = at + HELD.size
            if len(data) < start:
                return at
            length, whyLength = HELD.unpack_from(data, at)
            end = start + length + whyLength
            if whyLength > MAX_WHY or length > MAX_PATH + 1:
                raise MalformedStream("a held path or its reason is too long")
            if len(data) < end:
                return at
            path = data[start : start + length]
            if self._held and path <= self._held[-1].path:
                raise MalformedStream(f"{path!r} comes after {self._held[-1].path!r}")
            self._items.checkHeld(path)
            self._checkHeld(path.rstrip(b"/"))
            try:
                why = data[start + length : end].decode("utf-8")
            except UnicodeDecodeError:
                raise MalformedStream(f"the reason of {path!r} is no UTF-8") from None
            self._held.append(HeldPath(path, why))
            at = end
        self._stage = self._trailer
        return at

    def _checkHeld(self, path: bytes) -> None:
        """
        Refuse a held path that is, or has below it, a file of the manifest.
        """
        for each in (path, path + b"/"):
            at = bisect_left(self._paths, each)
            if at < len(self._paths) and (
                self._paths[at] == path or self._paths[at].startswith(path + b"/")
            ):
                raise MalformedStream(f"{path!r} is both held and carried in the manifest")

    def _trailer(self, data: bytes, at: int) -> int:
        if len(data) < at + _TRAILER:
            return at
        if data[at : at + _TRAILER] != self._sha.digest():
            raise MalformedStream("the manifest's own digest is wrong")
        self._stage = self._nothing
        return at + _TRAILER

    def _nothing(self, data: bytes, at: int) -> int:
        if len(data) > at:
            raise MalformedStream("something comes after the manifest's end")
        return at


def decodeSlices(
    data: bytes, items: Items, maxEntries: int = MAX_ENTRIES, maxBytes: int = MAX_BYTES
) -> Slices[Manifest]:
    """
    Read an encoded manifest in slices; raises what L{ManifestDecoder} raises.
    """
    decoder = ManifestDecoder(items, maxEntries, maxBytes)
    for start in range(0, len(data), _PIECE):
        decoder.feed(data[start : start + _PIECE])
        yield
    return decoder.finish()
