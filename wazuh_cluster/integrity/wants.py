"""
What a worker wants to be sent: paths with their digests, sizes and offsets,
packed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from attrs import frozen

from wazuh_cluster.errors import LimitExceeded, MalformedStream
from wazuh_cluster.integrity.items import Items
from wazuh_cluster.integrity.manifest import DIGEST_SIZES
from wazuh_cluster.integrity.paths import MAX_PATH

_MAGIC = b"wcW1"
#: magic, size of a digest, how many wants follow.
_HEADER = struct.Struct("!4sBI")
_PATH_LENGTH = struct.Struct("!H")
#: offset, size.
_EXTENT = struct.Struct("!QQ")
_MOST_BYTES = 2**63 - 1


@frozen
class Want:
    """
    One file that a worker wants.

    @ivar path: relative to the home.
    @ivar digest: of the content that it expects.
    @ivar size: how many bytes that content has; no more are sent, however long
        the file has become.
    @ivar offset: how many of them it already has.
    """

    path: bytes
    digest: bytes
    size: int
    offset: int = 0


@frozen
class Wants:
    """
    A list of wants in ascending order of their paths, kept as it travels: a
    hundred thousand of them cost what their paths cost.

    @ivar encoded: the list as bytes, for a transfer.
    """

    encoded: bytes
    _count: int
    _digestSize: int

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Want]:
        encoded = self.encoded
        digestSize = self._digestSize
        position = _HEADER.size
        for _ in range(self._count):
            (length,) = _PATH_LENGTH.unpack_from(encoded, position)
            position += 2
            path = encoded[position : position + length]
            position += length
            offset, size = _EXTENT.unpack_from(encoded, position)
            position += _EXTENT.size
            yield Want(path, encoded[position : position + digestSize], size, offset)
            position += digestSize


class WantsWriter:
    """
    Builds a list of wants.
    """

    def __init__(self) -> None:
        self._body = bytearray()
        self._count = 0
        self._digestSize = 0
        self._last = b""

    def add(self, want: Want) -> None:
        """
        Append one.

        @raise ValueError: if its path does not come after the last one's, its
            digest has another length, or its offset is beyond its size.
        """
        if want.path <= self._last:
            raise ValueError(f"{want.path!r} does not come after {self._last!r}")
        if len(want.digest) != (self._digestSize or len(want.digest)):
            raise ValueError("all wants have digests of one size")
        if not 0 <= want.offset <= want.size <= _MOST_BYTES:
            raise ValueError(f"{want.offset} of {want.size} bytes")
        self._digestSize = len(want.digest)
        self._last = want.path
        self._count += 1
        self._body += _PATH_LENGTH.pack(len(want.path)) + want.path
        self._body += _EXTENT.pack(want.offset, want.size) + want.digest

    def finish(self) -> Wants:
        """
        The list.
        """
        digestSize = self._digestSize
        header = _HEADER.pack(_MAGIC, digestSize, self._count)
        return Wants(header + bytes(self._body), self._count, digestSize)


class WantsDecoder:
    """
    Reads a list of wants as it comes in, and refuses it at the first byte that
    a worker of good will does not send.
    """

    def __init__(
        self,
        items: Items,
        algorithm: str,
        maxWants: int = 500_000,
        maxBytes: int = 64 << 20,
    ) -> None:
        """
        @param items: every path must be one that these carry.
        @param algorithm: of the digests.
        @param maxWants: how many a list may have; what the manifest has is
            enough.
        @param maxBytes: how long the list may be.
        """
        self._items = items
        self._expected = DIGEST_SIZES[algorithm]
        self._maxWants = maxWants
        self._maxBytes = maxBytes
        self._encoded = bytearray()
        self._position = 0
        self._count: int | None = None
        self._digestSize = 0
        self._seen = 0
        self._last = b""

    def feed(self, data: bytes) -> None:
        """
        Take the next bytes.

        @raise LimitExceeded: if the list is larger than was agreed.
        @raise MalformedStream: if this is not a list of wants.
        @raise wazuh_cluster.errors.HostilePath: if a path is not carried.
        """
        if len(self._encoded) + len(data) > self._maxBytes:
            raise LimitExceeded(f"a list of wants has more than {self._maxBytes} bytes")
        self._encoded += data
        if self._count is None and not self._readHeader():
            return
        while self._seen < (self._count or 0) and self._readWant():
            pass
        if self._seen == self._count and self._position < len(self._encoded):
            raise MalformedStream("a list of wants goes on after its end")

    def finish(self) -> Wants:
        """
        The list, when its last byte was fed.

        @raise MalformedStream: if it is cut short.
        """
        if self._count is None or self._seen < self._count:
            raise MalformedStream("a list of wants is cut short")
        return Wants(bytes(self._encoded), self._count, self._digestSize)

    def _readHeader(self) -> bool:
        if len(self._encoded) < _HEADER.size:
            return False
        magic, digestSize, count = _HEADER.unpack_from(self._encoded)
        if magic != _MAGIC:
            raise MalformedStream("this is not a list of wants")
        if digestSize != self._expected and count:
            raise MalformedStream(f"wants with digests of {digestSize} bytes")
        if count > self._maxWants:
            raise LimitExceeded(f"{count} wants where {self._maxWants} are allowed")
        self._count = count
        self._digestSize = digestSize
        self._position = _HEADER.size
        return True

    def _readWant(self) -> bool:
        start = self._position + 2
        if len(self._encoded) < start:
            return False
        (length,) = _PATH_LENGTH.unpack_from(self._encoded, self._position)
        if length > MAX_PATH:
            raise MalformedStream(f"a path of {length} bytes in a list of wants")
        end = start + length + _EXTENT.size + self._digestSize
        if len(self._encoded) < end:
            return False
        path = bytes(self._encoded[start : start + length])
        self._items.check(path)
        if path <= self._last:
            raise MalformedStream(f"wants are out of order at {path!r}")
        offset, size = _EXTENT.unpack_from(self._encoded, start + length)
        if not offset <= size <= _MOST_BYTES:
            raise MalformedStream(f"{offset} of {size} bytes of {path!r} are there already")
        self._last = path
        self._position = end
        self._seen += 1
        return True
