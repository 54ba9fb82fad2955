"""
LineFile: a file of lines that other programs read and edit, of which this
process knows where what stands and keeps nothing in memory.

It is looked at in blocks of some ten thousand bytes that end with a line, and
replaced as a whole: what did not change is copied from the old file, at the
speed of the disk.
"""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

from attrs import evolve, field, frozen

from wazuh_cluster.durable import replacing
from wazuh_cluster.errors import ClusterError, StoreFailed
from wazuh_cluster.interfaces import FileStat, IFileSystem, IFolder, IOpenFile, Slices

BLOCK = 64 * 1024

#: The longest line that is taken for one.
LONGEST_LINE = 1024 * 1024

_PIECE = 1024 * 1024
_BLOCKS_STEP = 4
_PIECES_STEP = 8

_REMEDIES = {
    errno.ENOENT: "its folder is missing: make it, or mount what holds it",
    errno.EACCES: "let the daemon's user read and write it and its folder",
    errno.EPERM: "let the daemon's user read and write it and its folder",
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room on its disk",
    errno.EROFS: "make its file system writable",
    errno.ELOOP: "it is a link: put the file itself there",
    errno.EINVAL: "put a regular file there",
    errno.EBUSY: "it is mounted by itself: mount its folder instead",
    errno.EXDEV: "it is mounted by itself: mount its folder instead",
}


class FileChanged(ClusterError):
    """
    Another program changed the file: look at it again, when it is quiet.
    """


@frozen
class Layout:
    """
    What a file looked like.

    @ivar status: C{None} if there was none.
    @ivar sizes: of its blocks, in bytes.
    @ivar tail: how many bytes follow after the blocks.
    @ivar ended: whether its last line has an end.
    """

    status: FileStat | None = None
    sizes: array[int] = field(factory=lambda: array("I"))
    tail: int = 0
    ended: bool = True


class LineFile:
    """
    One file. All calls block.

    @ivar path: for people.
    @ivar layout: as it was when it was last read or replaced; C{None} before.
    """

    def __init__(
        self,
        fileSystem: IFileSystem,
        folder: bytes,
        name: bytes,
        mode: int,
        blockSize: int = BLOCK,
    ) -> None:
        """
        @param folder: the absolute path of the folder, which exists.
        @param mode: the permissions of the file.
        @param blockSize: about how many bytes a block has.
        """
        self.path = os.fsdecode(folder + b"/" + name)
        self.layout: Layout | None = None
        self._fileSystem = fileSystem
        self._folder = folder
        self._name = name
        self._mode = mode
        self._blockSize = blockSize

    def status(self) -> FileStat | None:
        """
        What the file is like now, C{None} if there is none.

        @raise StoreFailed: if that cannot be said.
        """
        with (
            self._explained("read"),
            closing(self._fileSystem.openFolder(self._folder)) as folder,
        ):
            return self._status(folder)

    def load(self, take: Callable[[int, bytes], None]) -> Slices[Layout]:
        """
        Read all of the file.

        @param take: is given each block, with its number.
        @return: the layout, which is not yet kept: set it when all is known.
        @raise FileChanged: if somebody wrote meanwhile.
        @raise StoreFailed: if it cannot be read.
        """
        with (
            self._explained("read"),
            closing(self._fileSystem.openFolder(self._folder)) as folder,
        ):
            try:
                file = folder.openRead(self._name)
            except FileNotFoundError:
                return Layout()
            with closing(file):
                status = file.status()
                sizes = array("I")
                ended = True
                rest = b""
                while piece := file.read(self._blockSize):
                    end = piece.rfind(b"\n") + 1
                    if end == 0:
                        rest += piece
                        self._checkLine(rest)
                        continue
                    block = rest + piece[:end]
                    rest = piece[end:]
                    take(len(sizes), block)
                    sizes.append(len(block))
                    if len(sizes) % _BLOCKS_STEP == 0:
                        yield
                if rest:
                    take(len(sizes), rest)
                    sizes.append(len(rest))
                    ended = False
                if file.status() != status:
                    raise FileChanged(f"{self.path} was changed while it was read")
                return Layout(status, sizes, 0, ended)

    @contextmanager
    def open(self) -> Iterator[OpenLines]:
        """
        Open the file as it is known, to look into it and to replace it.

        @raise FileChanged: if it is another one now.
        @raise StoreFailed: if it cannot be read.
        """
        assert self.layout is not None, "the file was never read"
        with (
            self._explained("read"),
            closing(self._fileSystem.openFolder(self._folder)) as folder,
        ):
            try:
                file = folder.openRead(self._name)
            except FileNotFoundError:
                self._check(None)
                yield OpenLines(self, folder, None)
                return
            with closing(file):
                self._check(file.status())
                yield OpenLines(self, folder, file)

    def replace(
        self,
        folder: IFolder,
        file: IOpenFile | None,
        edits: Mapping[int, bytes],
        added: Sequence[bytes],
        tail: bytes,
    ) -> Slices[list[int]]:
        """
        See L{OpenLines.replace}.
        """
        layout = self.layout
        assert layout is not None
        sizes = layout.sizes[:]
        for number, content in edits.items():
            sizes[number] = len(content)
        # The last line may lack its end: whatever follows begins a new one.
        mend = b"" if layout.ended else b"\n"
        mendLive = mend if layout.tail == 0 and len(sizes) - 1 not in edits else b""
        mendTail = mend if layout.tail else b""
        if mendLive:
            sizes[-1] += 1
        places = _placed(sizes, added, self._blockSize)
        with (
            self._explained("written"),
            replacing(folder, self._name, self._mode, lambda: self._checkNow(folder)) as target,
        ):
            copied = offset = 0
            for number, size in enumerate(layout.sizes):
                if number in edits:
                    yield from _copy(file, target, copied, offset)
                    target.write(edits[number])
                    copied = offset + size
                    if number % _PIECES_STEP == 0:
                        yield
                offset += size
            yield from _copy(file, target, copied, offset)
            target.write(mendLive + b"".join(added))
            yield from _copy(file, target, offset, offset + layout.tail)
            target.write(mendTail + tail)
            written = target.status()
        with self._explained("read"):
            status = self._status(folder)
        if status is None or _content(status) != _content(written):
            # Somebody was there already: that is seen at the next look.
            status = written
        tailSize = layout.tail + len(mendTail) + len(tail)
        self.layout = Layout(status, sizes, tailSize)
        return places

    def setTail(self, layout: Layout, offset: int) -> Layout:
        """
        The same layout, of which all from C{offset} on, where a line begins,
        is the tail.
        """
        sizes = array("I")
        end = 0
        for size in layout.sizes:
            if end == offset:
                break
            sizes.append(min(size, offset - end))
            end += sizes[-1]
        return evolve(layout, sizes=sizes, tail=sum(layout.sizes) - offset)

    def _checkLine(self, rest: bytes) -> None:
        if len(rest) > LONGEST_LINE:
            raise StoreFailed(
                f"{self.path}: it has a line of more than {LONGEST_LINE:,} bytes: "
                "restore it from a copy"
            )

    def _status(self, folder: IFolder) -> FileStat | None:
        try:
            return folder.status(self._name)
        except FileNotFoundError:
            return None

    def _checkNow(self, folder: IFolder) -> None:
        self._check(self._status(folder))

    def _check(self, status: FileStat | None) -> None:
        assert self.layout is not None
        if status != self.layout.status:
            raise FileChanged(f"{self.path} was changed by another program")

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            said = os.strerror(error.errno) if error.errno else str(error)
            remedy = _REMEDIES.get(error.errno or 0, "look at its disk")
            raise StoreFailed(f"{self.path} cannot be {doing}: {said}: {remedy}") from error


class OpenLines:
    """
    A L{LineFile} that is open.
    """

    def __init__(self, owner: LineFile, folder: IFolder, file: IOpenFile | None) -> None:
        self._owner = owner
        self._folder = folder
        self._file = file
        self._last: tuple[int, bytes] | None = None

    def block(self, number: int) -> bytes:
        """
        The content of a block.
        """
        if self._last is None or self._last[0] != number:
            layout = self._owner.layout
            assert layout is not None
            assert self._file is not None
            offset = sum(layout.sizes[:number])
            self._last = number, _read(self._file, offset, layout.sizes[number])
        return self._last[1]

    def replace(
        self, edits: Mapping[int, bytes], added: Sequence[bytes], tail: bytes = b""
    ) -> Slices[list[int]]:
        """
        Replace the file by one in which some blocks are others, and which has
        more lines. It is durable then. If this fails, the old file is still
        there, or nobody can say which one a power cut would leave. A last line
        without an end gets it.

        Another program that writes to the file between the last look at it and
        the renaming, some microseconds later, writes in vain: there is no lock
        that all programs know.

        @param edits: the new content of blocks, whole lines.
        @param added: lines to follow the last block.
        @param tail: whole lines to follow all others.
        @return: the block of each of the added lines.
        @raise FileChanged: if another program changed it meanwhile; nothing was
            done then.
        @raise StoreFailed: if it cannot be written.
        """
        return self._owner.replace(self._folder, self._file, edits, added, tail)


def _placed(sizes: array[int], lines: Sequence[bytes], blockSize: int) -> list[int]:
    """
    The blocks in which lines come to stand, whose sizes are made up.
    """
    places = []
    for line in lines:
        if not sizes or (sizes[-1] and sizes[-1] + len(line) > blockSize):
            sizes.append(0)
        sizes[-1] += len(line)
        places.append(len(sizes) - 1)
    return places


def _copy(file: IOpenFile | None, target: IOpenFile, start: int, end: int) -> Slices[None]:
    if file is None or start == end:
        return
    file.seek(start)
    pieces = 0
    while start < end:
        piece = file.read(min(_PIECE, end - start))
        if not piece:
            # It was cut: the look before the renaming says so as well.
            raise FileChanged("the file was cut by another program")
        target.write(piece)
        start += len(piece)
        pieces += 1
        if pieces % _PIECES_STEP == 0:
            yield


def _read(file: IOpenFile, offset: int, size: int) -> bytes:
    file.seek(offset)
    pieces = []
    while size > 0 and (piece := file.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _content(status: FileStat) -> tuple[int, int, int]:
    """
    What a change of the name alone leaves as it is.
    """
    return status.inode, status.size, status.mtimeNs
