"""
AMP's boxes as bytes: taken apart in one pass within bounds, and the one box of
which there are many put together without one.

Twisted's own parser is called for each key and each value, and copies what it
has so far for each piece that comes: with values of 65,000 bytes that come in
TLS records of 16 KiB it is most of what a transfer costs.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.protocols.amp import AmpBox

from wazuh_cluster.errors import LimitExceeded, ProtocolViolation

_MAX_KEY = 255
_COMMAND = b"\0\x08_command\0\x09FileChunk\0\x04data"
_TRANSFER = b"\0\x08transfer"
_SEQUENCE = b"\0\x08sequence"


class BoxParser:
    """
    Takes a stream of boxes apart.

    @ivar paused: while it is set no box is delivered; what comes is kept. It
        may be set while a box is being delivered.
    """

    def __init__(self, deliver: Callable[[AmpBox], None], maxKeys: int, maxBytes: int) -> None:
        """
        @param maxKeys: keys in one box.
        @param maxBytes: bytes of one box's keys and values.
        """
        self.paused = False
        self._deliver = deliver
        self._maxKeys = maxKeys
        self._maxBytes = maxBytes
        self._buffer = bytearray()
        # As long as the buffer is shorter, there is nothing to do.
        self._needed = 2
        self._box = AmpBox()
        self._key: bytes | None = None
        self._size = 0
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
        position = 0
        try:
            while not self.paused:
                end = self._step(position)
                if end == position:
                    break
                position = end
        finally:
            self._parsing = False
            del self._buffer[:position]

    def _step(self, position: int) -> int:
        """
        Take one string, of a known place in the box.

        @return: where the next one begins; C{position} if it is not all there.
        """
        buffer = self._buffer
        available = len(buffer) - position
        if available < 2:
            self._needed = 2
            return position
        length = (buffer[position] << 8) | buffer[position + 1]
        if self._key is None:
            if length > _MAX_KEY:
                raise ProtocolViolation("what it sends is not AMP")
            if length == 0:
                self._finish()
                return position + 2
            if len(self._box) >= self._maxKeys:
                raise LimitExceeded(f"a box of more than {self._maxKeys} keys")
        if self._size + length > self._maxBytes:
            raise LimitExceeded(f"a box of more than {self._maxBytes} bytes")
        if available < 2 + length:
            self._needed = 2 + length
            return position
        start = position + 2
        with memoryview(buffer) as view:
            string = bytes(view[start : start + length])
        self._size += length
        if self._key is None:
            self._key = string
        else:
            self._box[self._key] = string
            self._key = None
        return start + length

    def _finish(self) -> None:
        box, self._box = self._box, AmpBox()
        self._size = 0
        self._needed = 2
        self._deliver(box)


def chunkBox(transfer: int, sequence: int, data: bytes | memoryview) -> bytes:
    """
    The box of a FileChunk command, as bytes.
    """
    number, count = b"%d" % transfer, b"%d" % sequence
    return b"".join(
        (
            _COMMAND,
            len(data).to_bytes(2, "big"),
            data,
            _TRANSFER,
            len(number).to_bytes(2, "big"),
            number,
            _SEQUENCE,
            len(count).to_bytes(2, "big"),
            count,
            b"\0\0",
        )
    )
