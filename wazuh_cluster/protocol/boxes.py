"""
AMP's boxes as bytes: taken apart in one pass within bounds, and the one box of
which there are many put together without one.

Twisted's own parser is called for each key and each value, and copies what it
has so far for each piece that comes: with values of 65,000 bytes that come in
TLS records of 16 KiB it is most of what a transfer costs. A FileChunk needs no
box and no command at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from twisted.protocols.amp import AmpBox

from wazuh_cluster.errors import LimitExceeded, ProtocolViolation
from wazuh_cluster.protocol.commands import CHUNK_SIZE

_MAX_KEY = 255
_COMMAND = b"\0\x08_command\0\x09FileChunk\0\x04data"
_SEQUENCE = b"\0\x08sequence"
_TRANSFER = b"\0\x08transfer"
# What follows a chunk's data; numbers that could be too large are left out.
_TAIL = re.compile(_SEQUENCE + rb"\0(.)(\d{1,18})" + _TRANSFER + rb"\0(.)(\d{1,18})\0\0", re.DOTALL)
_LEAST_TAIL = len(_SEQUENCE) + 3 + len(_TRANSFER) + 3 + 2
# Keys of a chunk's box, and bytes of it besides the data, at most.
_CHUNK_KEYS = 4
_CHUNK_REST = 8 + 9 + 4 + 8 + 18 + 8 + 18

#: Is called with the arguments of a FileChunk.
TakeChunk = Callable[[int, int, bytes], None]


class BoxParser:
    """
    Takes a stream of boxes apart.

    @ivar paused: while it is set no box is delivered; what comes is kept. It
        may be set while a box is being delivered.
    """

    def __init__(
        self,
        deliver: Callable[[AmpBox], None],
        maxKeys: int,
        maxBytes: int,
        takeChunk: TakeChunk | None = None,
    ) -> None:
        """
        @param maxKeys: keys in one box.
        @param maxBytes: bytes of one box's keys and values.
        @param takeChunk: gets what nearly every FileChunk says that is written
            as AMP writes it, with its keys in order; any other is delivered
            as a box.
        """
        self.paused = False
        self._deliver = deliver
        fits = maxKeys >= _CHUNK_KEYS and maxBytes >= CHUNK_SIZE + _CHUNK_REST
        self._takeChunk = takeChunk if fits else None
        self._maxKeys = maxKeys
        self._maxBytes = maxBytes
        self._buffer = bytearray()
        # As long as the buffer is shorter, there is nothing to do.
        self._needed = 2
        self._box = AmpBox()
        self._key: bytes | None = None
        self._size = 0
        self._position = 0
        self._parsing = False

    @property
    def unfinished(self) -> bool:
        """
        Whether a box has begun that is not all there; or one is kept.
        """
        return bool(self._buffer) or bool(self._box) or self._key is not None

    def feed(self, data: bytes) -> None:
        """
        Take the next bytes, and deliver the boxes that they complete.

        @raise ProtocolViolation: if this is not AMP, or from C{deliver}.
        @raise LimitExceeded: as soon as a box is known to be too large.
        """
        self._buffer += data
        if self._parsing or self.paused or len(self._buffer) < self._needed:
            return
        self._parsing = True
        self._position = 0
        try:
            while not self.paused and self._step():
                pass
        finally:
            self._parsing = False
            del self._buffer[: self._position]

    def _step(self) -> bool:
        """
        Take one string, of a known place in the box, or a chunk.

        @return: whether it was all there.
        """
        buffer, position = self._buffer, self._position
        if self._key is None and not self._box and buffer.startswith(_COMMAND, position):
            taken = self._chunk()
            if taken is not None:
                return taken
        available = len(buffer) - position
        if available < 2:
            self._needed = 2
            return False
        length = (buffer[position] << 8) | buffer[position + 1]
        if self._key is None:
            if length > _MAX_KEY:
                raise ProtocolViolation("what it sends is not AMP")
            if length == 0:
                self._position += 2
                self._finish()
                return True
            if len(self._box) >= self._maxKeys:
                raise LimitExceeded(f"a box of more than {self._maxKeys} keys")
        if self._size + length > self._maxBytes:
            raise LimitExceeded(f"a box of more than {self._maxBytes} bytes")
        if available < 2 + length:
            self._needed = 2 + length
            return False
        start = position + 2
        with memoryview(buffer) as view:
            string = bytes(view[start : start + length])
        self._size += length
        if self._key is None:
            self._key = string
        else:
            self._box[self._key] = string
            self._key = None
        self._position = start + length
        return True

    def _chunk(self) -> bool | None:
        """
        Take a whole FileChunk.

        @return: whether it was all there; C{None} if it must be taken string
            by string.
        """
        if self._takeChunk is None:
            return None
        buffer, position = self._buffer, self._position
        start = position + len(_COMMAND) + 2
        end = start + int.from_bytes(buffer[start - 2 : start], "big")
        if len(buffer) < end + _LEAST_TAIL:
            self._needed = end + _LEAST_TAIL - position
            return False
        tail = _TAIL.match(buffer, end)
        if tail is None or not start < end <= start + CHUNK_SIZE:
            return None
        sequenceLength, sequence, transferLength, transfer = tail.groups()
        if sequenceLength[0] != len(sequence) or transferLength[0] != len(transfer):
            return None
        with memoryview(buffer) as view:
            data = bytes(view[start:end])
        self._position = tail.end()
        self._needed = 2
        self._takeChunk(int(transfer), int(sequence), data)
        return True

    def _finish(self) -> None:
        box, self._box = self._box, AmpBox()
        self._size = 0
        self._needed = 2
        self._deliver(box)


def chunkBoxes(transfer: int, sequence: int, data: memoryview) -> tuple[bytes, int]:
    """
    The boxes of FileChunk commands, as bytes.

    @param sequence: of the first of them.
    @return: all of them, and the sequence number after them.
    """
    number = b"%d" % transfer
    end = _TRANSFER + len(number).to_bytes(2, "big") + number + b"\0\0"
    parts: list[bytes | memoryview] = []
    for start in range(0, len(data), CHUNK_SIZE):
        piece = data[start : start + CHUNK_SIZE]
        count = b"%d" % sequence
        sequence += 1
        parts += (_COMMAND, len(piece).to_bytes(2, "big"), piece)
        parts += (_SEQUENCE, len(count).to_bytes(2, "big"), count, end)
    return b"".join(parts), sequence
