"""
What a master sends of its manifest, as it comes: all of it, or what changed.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from struct import Struct
from struct import error as StructError

from wazuh_cluster.errors import LimitExceeded, MalformedStream
from wazuh_cluster.integrity.difference import (
    COUNTS,
    MAGIC,
    MAX_DIFFERENCE,
    REMOVED,
    Difference,
    Misfit,
    sizeOf,
)
from wazuh_cluster.integrity.items import Items
from wazuh_cluster.integrity.manifest import ENTRY, HELD, MAX_WHY, Manifest
from wazuh_cluster.integrity.manifestdecoder import MAX_BYTES, MAX_ENTRIES, ManifestDecoder
from wazuh_cluster.integrity.paths import MAX_PATH
from wazuh_cluster.model import FileEntry, HeldPath

_MARK = 32
_TRAILER = 32
_MAX_SIZE = 2**63 - 1


class UpdateDecoder:
    """
    Reads a manifest, or the difference from a manifest that is known here,
    whichever comes.
    """

    def __init__(
        self,
        items: Items,
        mark: bytes | None,
        maxEntries: int = MAX_ENTRIES,
        maxBytes: int = MAX_BYTES,
    ) -> None:
        """
        @param items: which paths may be in it.
        @param mark: of the manifest from which a difference may lead; C{None}
            if none may come.
        @param maxEntries: how many files and held paths at most.
        @param maxBytes: how long a manifest may be.
        """
        self._items = items
        self._mark = mark
        self._manifest = ManifestDecoder(items, maxEntries, maxBytes)
        self._feed: Callable[[bytes], None] = self._first
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """
        Take the next piece.

        @raise MalformedStream: if it can be neither.
        @raise LimitExceeded: if it is too long, or announces too many entries.
        @raise wazuh_cluster.errors.HostilePath: for a path that no item carries.
        """
        self._feed(data)

    def finish(self) -> Manifest | Difference:
        """
        What came.

        @raise MalformedStream: if something is missing, or wrong.
        @raise Misfit: if it leads from another manifest.
        """
        if self._feed == self._manifest.feed:
            return self._manifest.finish()
        return _read(bytes(self._buffer), self._items, self._mark)

    def _first(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) < len(MAGIC):
            return
        if self._mark is not None and self._buffer.startswith(MAGIC):
            self._feed = self._more
            self._more(b"")
        else:
            self._feed = self._manifest.feed
            self._manifest.feed(bytes(self._buffer))
            self._buffer.clear()

    def _more(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > MAX_DIFFERENCE:
            raise LimitExceeded(f"the difference is longer than {MAX_DIFFERENCE} bytes")


def _read(data: bytes, items: Items, mark: bytes | None) -> Difference:
    if sha256(data[:-_TRAILER]).digest() != data[-_TRAILER:]:
        raise MalformedStream("the difference's own digest is wrong")
    reader = _Reader(data[:-_TRAILER])
    if reader.octets(len(MAGIC)) != MAGIC:
        raise MalformedStream("this is not a difference of a version that is known here")
    algorithm = reader.octets(reader.octets(1)[0]).decode("ascii", "replace")
    digestSize = sizeOf(algorithm)
    if reader.octets(_MARK) != mark:
        raise Misfit("it leads from another manifest")
    removed, entries, held = reader.numbers(COUNTS)
    found = Difference(
        algorithm,
        tuple(_removed(reader, items, removed)),
        tuple(_entries(reader, items, entries, digestSize)),
        tuple(_held(reader, items, held)),
    )
    reader.end()
    if not {entry.path for entry in found.entries}.isdisjoint(found.removed):
        raise MalformedStream("a path is removed and there in the same difference")
    return found


def _removed(reader: _Reader, items: Items, count: int) -> list[bytes]:
    found: list[bytes] = []
    for _ in range(count):
        (length,) = reader.numbers(REMOVED)
        path = reader.path(length, found[-1] if found else b"")
        items.check(path)
        found.append(path)
    return found


def _entries(reader: _Reader, items: Items, count: int, digestSize: int) -> list[FileEntry]:
    found: list[FileEntry] = []
    for _ in range(count):
        length, size, mtime = reader.numbers(ENTRY)
        path = reader.path(length, found[-1].path if found else b"")
        items.check(path)
        if size > _MAX_SIZE:
            raise MalformedStream(f"{path!r} cannot have {size} bytes")
        found.append(FileEntry(path, size, mtime, reader.octets(digestSize)))
    return found


def _held(reader: _Reader, items: Items, count: int) -> list[HeldPath]:
    found: list[HeldPath] = []
    for _ in range(count):
        length, whyLength = reader.numbers(HELD)
        if whyLength > MAX_WHY:
            raise MalformedStream("the reason of a held path is too long")
        path = reader.path(length, found[-1].path if found else b"", 1)
        items.checkHeld(path)
        try:
            why = reader.octets(whyLength).decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedStream(f"the reason of {path!r} is no UTF-8") from None
        found.append(HeldPath(path, why))
    return found


class _Reader:
    """
    Reads what is all there.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def octets(self, size: int) -> bytes:
        """
        The next bytes.
        """
        at = self._at
        self._at = end = at + size
        if end > len(self._data):
            raise MalformedStream("the difference ends too soon")
        return self._data[at:end]

    def numbers(self, layout: Struct) -> tuple[int, ...]:
        """
        The next numbers.
        """
        try:
            found = layout.unpack_from(self._data, self._at)
        except StructError:
            raise MalformedStream("the difference ends too soon") from None
        self._at += layout.size
        return found

    def path(self, size: int, last: bytes, more: int = 0) -> bytes:
        """
        The next path, which comes after another one.

        @param more: by how many bytes it may be longer than paths are.
        """
        if size > MAX_PATH + more:
            raise MalformedStream(f"a path of {size} bytes in the difference")
        path = self.octets(size)
        if path <= last:
            raise MalformedStream(f"{path!r} comes after {last!r} in the difference")
        return path

    def end(self) -> None:
        """
        Nothing may come any more.
        """
        if self._at != len(self._data):
            raise MalformedStream("something comes after the difference's end")
