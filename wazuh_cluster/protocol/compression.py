"""
Streams that travel compressed, where that pays: a stream is cut into blocks,
and each goes compressed or as it is.

What is compressed already is hardly tried again. Whoever takes the stream in
knows before a block is unpacked how large that will be, and that this is not
much: no sender can make it take more memory or time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any

from attrs import frozen

from wazuh_cluster.errors import MalformedStream
from wazuh_cluster.protocol.streams import BlockingSource

# Of each block: whether it is compressed, its size, and that of its content.
_HEAD = struct.Struct("!BII")
_PLAIN, _PACKED = 0, 1

#: The largest block's content, in bytes. What is smaller than the least is not
#: tried.
MAX_CONTENT = 1 << 20
LEAST = 256

# A block that does not become smaller than this part of itself goes as it is;
# and so many of those that follow are not tried, at most.
_PAYS = 7 / 8
_LONGEST_SKIP = 16

_LEVEL = 1
# What a frame may want as its window: twice what that level has.
_WINDOW_LOG = 20


@frozen
class Codec:
    """
    A way to compress blocks.

    @ivar name: as nodes agree on it.
    @ivar packer: makes what compresses the blocks of one stream, each by
        itself.
    @ivar unpack: gives the content of a block; it stops at the number of bytes
        that it is told, and raises C{ValueError} for what is no such block.
    """

    name: str
    packer: Callable[[], Callable[[bytes], bytes]]
    unpack: Callable[[bytes, int], bytes]


def codecsHere() -> tuple[Codec, ...]:
    """
    Those that this Python has: zstd of its own since 3.14, else that of the
    package C{backports.zstd} if it is installed.
    """
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return (_zstd(import_module(name)),)
        except ImportError:
            continue
    return ()


def _zstd(zstd: Any) -> Codec:
    options = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}

    def packer() -> Callable[[bytes], bytes]:
        compressor = zstd.ZstdCompressor(_LEVEL)

        def pack(data: bytes) -> bytes:
            packed: bytes = compressor.compress(data, compressor.FLUSH_FRAME)
            return packed

        return pack

    def unpack(data: bytes, most: int) -> bytes:
        decompressor = zstd.ZstdDecompressor(options=options)
        try:
            content: bytes = decompressor.decompress(data, most)
        except zstd.ZstdError as error:
            raise ValueError(str(error)) from None
        return content

    return Codec("zstd", packer, unpack)


def choose(codecs: Sequence[Codec], offered: str | None) -> Codec | None:
    """
    The codec for a stream, if the other end has one of these.

    @param offered: the names of those that it has, with blanks between them.
    """
    names = (offered or "").split()
    return next((codec for codec in codecs if codec.name in names), None)


def offer(codecs: Iterable[Codec]) -> str | None:
    """
    What L{choose} is told; C{None} for nothing.
    """
    return " ".join(codec.name for codec in codecs) or None


class CompressedSource:
    """
    Another source, compressed.
    """

    def __init__(self, source: BlockingSource, codec: Codec) -> None:
        self._source = source
        self._pack = codec.packer()
        self._skip = 0
        self._inVain = 0

    def read(self, size: int) -> bytes:
        """
        The next block, of at most C{size} bytes, or what the other source gives
        at least; C{b""} at the end.
        """
        data = self._source.read(max(1, min(size - _HEAD.size, MAX_CONTENT)))
        if not data:
            return b""
        packed = self._tried(data)
        if packed is None:
            return _HEAD.pack(_PLAIN, len(data), len(data)) + data
        return _HEAD.pack(_PACKED, len(packed), len(data)) + packed

    def close(self) -> None:
        """
        Close the other source.
        """
        self._source.close()

    def _tried(self, data: bytes) -> bytes | None:
        """
        The data compressed, if that was worth it.
        """
        if len(data) < LEAST:
            return None
        if self._skip:
            self._skip -= 1
            return None
        packed = self._pack(data)
        if len(packed) <= len(data) * _PAYS:
            self._inVain = 0
            return packed
        self._inVain = min(2 * self._inVain + 1, _LONGEST_SKIP)
        self._skip = self._inVain
        return None


class Decompressed:
    """
    Takes such a stream in, and gives what it says on: one block is kept, at most.
    """

    def __init__(self, feed: Callable[[bytes], None], codec: Codec) -> None:
        """
        @param feed: is given the content, piece by piece.
        """
        self._feed = feed
        self._codec = codec
        self._pending = b""

    def feed(self, data: bytes) -> None:
        """
        Take in the next bytes.

        @raise MalformedStream: if this is no such stream.
        """
        if self._pending:
            data = self._pending + data
        position = 0
        while len(data) - position >= _HEAD.size:
            kind, size, content = _HEAD.unpack_from(data, position)
            self._check(kind, size, content)
            begin = position + _HEAD.size
            if len(data) < begin + size:
                break
            position = begin + size
            self._feed(self._content(kind, data[begin:position], content))
        self._pending = data[position:]

    def finish(self) -> None:
        """
        The stream has ended.

        @raise MalformedStream: if it has not.
        """
        if self._pending:
            raise MalformedStream("a compressed stream ends within a block")

    def _check(self, kind: int, size: int, content: int) -> None:
        if kind not in (_PLAIN, _PACKED):
            raise MalformedStream(f"a block of kind {kind} in a compressed stream")
        if not 0 < size <= content <= MAX_CONTENT or (kind == _PLAIN and size != content):
            raise MalformedStream(f"a block of {size} bytes for {content} in a compressed stream")

    def _content(self, kind: int, block: bytes, size: int) -> bytes:
        if kind == _PLAIN:
            return block
        try:
            content = self._codec.unpack(block, size)
        except ValueError as error:
            raise MalformedStream(f"a compressed block cannot be unpacked: {error}") from None
        if len(content) != size:
            raise MalformedStream(f"a compressed block has {len(content)} bytes and not {size}")
        return content
