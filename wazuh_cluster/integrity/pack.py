"""
Many files in one continuous stream, each framed with a status of its own.

The stream is a magic of four bytes, a frame for each want that is sent, and an
end mark. A frame is the want's index (u32) and the offset at which its bytes
begin (u64); blocks, each a length (u32, never 0) and its bytes; a length of 0;
a status (u8) and a reason (u8 length, UTF-8). All numbers are in network order.
A file that vanished or changed while it was sent spoils only its own frame.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Generator
from enum import IntEnum

from zope.interface import Interface

from wazuh_cluster.errors import MalformedStream
from wazuh_cluster.integrity.reasons import reason
from wazuh_cluster.integrity.wants import Want, Wants
from wazuh_cluster.interfaces import FileStat, IOpenFile

_MAGIC = b"wcP1"
_INDEX = struct.Struct("!I")
_FRAME = struct.Struct("!IQ")
_LENGTH = struct.Struct("!I")
_STATUS = struct.Struct("!BB")
_END = 0xFFFFFFFF

#: The longest block, in bytes; and the longest of which a reader waits for all.
MAX_BLOCK = 1 << 20
SHORT_BLOCK = 64 * 1024
_MOST_NEEDED = SHORT_BLOCK + 1024
# Where less room than this is left, the rest comes with the next read, so that a
# file costs few calls; and how many files one read may open, so that it stays
# short when they are all gone.
_LEAST_READ = 4096
_MOST_FILES = 256

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)


class Sent(IntEnum):
    """
    How the sending of one file ended.

    @cvar OK: all of it was sent, and it did not change meanwhile.
    @cvar VANISHED: it is not there any more.
    @cvar CHANGED: it changed while it was sent, or has another size than was
        wanted.
    @cvar UNREADABLE: the system does not let it be read.
    """

    OK = 0
    VANISHED = 1
    CHANGED = 2
    UNREADABLE = 3


class ICarriedFiles(Interface):
    """
    Opens carried files for reading.
    """

    def open(path: bytes, digest: bytes | None = None) -> IOpenFile:
        """
        Open a file by its path relative to the home; C{OSError} if it cannot.

        @param digest: of the content that is wanted. If that was there a moment
            ago, it may be opened instead.
        """

    def close() -> None:
        """
        Give back what is held open.
        """


class IPackSink(Interface):
    """
    Where a L{PackReader} puts what it reads.
    """

    def begin(index: int, offset: int) -> None:
        """
        A file begins: the want's index and where its bytes begin.
        """

    def data(data: memoryview) -> None:
        """
        The next bytes of that file.
        """

    def end(status: Sent, reason: str) -> None:
        """
        That file ended.
        """


class PackSource:
    """
    The master's end: the stream of the files that a worker wants, read from
    disk as it is asked for. Of a file that has grown only the wanted size is
    sent: where it was appended to, that is what was wanted. One that has shrunk
    cannot be, and is not sent.
    """

    def __init__(self, files: ICarriedFiles, wants: Wants) -> None:
        self._files = files
        self._wants = wants
        self._stream = self._frames()
        self._room = 0
        self._opened = 0

    def read(self, size: int) -> bytes:
        """
        The next part of the stream, at most C{size} bytes of it, or 4 KiB where
        that is less; C{b""} at the end. Blocks on the disk only.
        """
        parts: list[bytes] = []
        self._room = size
        self._opened = 0
        for part in self._stream:
            parts.append(part)
            self._room -= len(part)
            if self._room < _LEAST_READ or self._opened >= _MOST_FILES:
                break
        return b"".join(parts)

    def close(self) -> None:
        """
        Close what is open. A second time does nothing.
        """
        self._stream.close()
        self._files.close()

    def _frames(self) -> Generator[bytes, None, None]:
        yield _MAGIC
        for index, want in enumerate(self._wants):
            yield _FRAME.pack(index, want.offset)
            self._opened += 1
            status, why = yield from self._content(want)
            text = why.encode("utf-8")[:255]
            yield _LENGTH.pack(0) + _STATUS.pack(status, len(text)) + text
        yield _INDEX.pack(_END)

    def _content(self, want: Want) -> Generator[bytes, None, tuple[Sent, str]]:
        try:
            file = self._files.open(want.path, want.digest)
        except OSError as error:
            gone = error.errno in _GONE
            return (Sent.VANISHED if gone else Sent.UNREADABLE), reason("open it", error)
        try:
            before = file.status()
            if before.size < want.size:
                return Sent.CHANGED, "it has become shorter"
            left = want.size - want.offset
            if want.offset and left > 0:
                file.seek(want.offset)
            while left > 0:
                room = max(self._room, _LEAST_READ) - _LENGTH.size
                data = file.read(min(left, MAX_BLOCK, room))
                if not data:
                    break
                left -= len(data)
                yield _LENGTH.pack(len(data))
                yield data
            after = file.status()
        except OSError as error:
            return Sent.UNREADABLE, reason("read it", error)
        finally:
            file.close()
        if left or before.size != want.size or _content(before) != _content(after):
            return Sent.CHANGED, "it changed while it was sent"
        return Sent.OK, ""


def _content(status: FileStat) -> tuple[int, int, int]:
    return status.size, status.mtimeNs, status.ctimeNs


class PackReader:
    """
    The worker's end: takes the stream in pieces of any size and tells a sink.
    It keeps less than one frame's head between pieces, or a short block: a
    small file comes whole.
    """

    def __init__(self, sink: IPackSink) -> None:
        self._sink = sink
        self._pending = b""
        self._step = self._magic
        self._next = 0
        self._left = 0

    def feed(self, data: bytes) -> None:
        """
        Take the next bytes. What the sink raises passes through; the reader is
        of no use afterwards.

        @raise MalformedStream: if this is not a pack.
        """
        position = 0
        if self._pending:
            # No step needs more than that to take what is pending.
            pending, joint = len(self._pending), self._pending + data[:_MOST_NEEDED]
            taken = self._take(memoryview(joint), 0, pending)
            if taken < pending:
                self._pending = joint[taken:]
                return
            position = taken - pending
        position = self._take(memoryview(data), position, len(data))
        self._pending = data[position:]

    def _take(self, data: memoryview, position: int, until: int) -> int:
        """
        Take what there is from one position to another, or a little beyond.

        @return: up to where it was taken.
        """
        while position < until:
            taken = self._step(data, position)
            if not taken:
                break
            position += taken
        return position

    def finish(self) -> None:
        """
        The stream ended.

        @raise MalformedStream: if it is cut short.
        """
        if self._step != self._over:
            raise MalformedStream("a pack is cut short")

    # Each step gets the bytes and a position before their end, and returns how
    # many it took: 0 when it needs more to begin.

    def _magic(self, data: memoryview, position: int) -> int:
        if len(data) - position < len(_MAGIC):
            return 0
        if data[position : position + len(_MAGIC)] != _MAGIC:
            raise MalformedStream("this is not a pack")
        self._step = self._frame
        return len(_MAGIC)

    def _frame(self, data: memoryview, position: int) -> int:
        if len(data) - position < _INDEX.size:
            return 0
        (index,) = _INDEX.unpack_from(data, position)
        if index == _END:
            self._step = self._over
            return _INDEX.size
        if len(data) - position < _FRAME.size:
            return 0
        index, offset = _FRAME.unpack_from(data, position)
        if index < self._next:
            raise MalformedStream(f"a pack goes back to file {index}")
        self._next = index + 1
        self._sink.begin(index, offset)
        self._step = self._length
        return _FRAME.size

    def _length(self, data: memoryview, position: int) -> int:
        if len(data) - position < _LENGTH.size:
            return 0
        (self._left,) = _LENGTH.unpack_from(data, position)
        if self._left > MAX_BLOCK:
            raise MalformedStream(f"a block of {self._left} bytes in a pack")
        self._step = self._blockBegins if self._left else self._status
        return _LENGTH.size

    def _blockBegins(self, data: memoryview, position: int) -> int:
        if self._left <= SHORT_BLOCK and len(data) - position < self._left:
            return 0
        self._step = self._block
        return self._block(data, position)

    def _block(self, data: memoryview, position: int) -> int:
        part = data[position : position + self._left]
        self._left -= len(part)
        if not self._left:
            self._step = self._length
        self._sink.data(part)
        return len(part)

    def _status(self, data: memoryview, position: int) -> int:
        if len(data) - position < _STATUS.size:
            return 0
        status, length = _STATUS.unpack_from(data, position)
        end = position + _STATUS.size + length
        if len(data) < end:
            return 0
        try:
            sent = Sent(status)
        except ValueError:
            raise MalformedStream(f"status {status} in a pack") from None
        self._step = self._frame
        text = ""
        if length:
            text = str(data[position + _STATUS.size : end], "utf-8", "replace")
        self._sink.end(sent, "".join(c if c.isprintable() else "?" for c in text))
        return _STATUS.size + length

    def _over(self, data: memoryview, position: int) -> int:
        raise MalformedStream("a pack goes on after its end")
