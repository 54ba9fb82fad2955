"""
Putting a content where nothing can be renamed to, because the folder or the
file is mounted by itself, as in containers.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from attrs import frozen

from wazuh_cluster.integrity.folders import Owner
from wazuh_cluster.integrity.items import Item
from wazuh_cluster.integrity.manifest import newHash
from wazuh_cluster.integrity.prepare import dress, dressOpen
from wazuh_cluster.integrity.staging import copyInto
from wazuh_cluster.integrity.temporary import temporaryName
from wazuh_cluster.interfaces import IFolder, IOpenFile, Slices
from wazuh_cluster.model import FileEntry

#: What a rename says there.
MOUNTED = (errno.EBUSY, errno.EXDEV)

_BLOCK = 1 << 20
#: Up to so many bytes of what was there are kept in memory meanwhile.
SMALL = 1 << 20


@frozen
class Mounted:
    """
    A carried file that a rename from elsewhere cannot replace.

    @ivar folder: the folder in which it is, open.
    @ivar name: its name there.
    @ivar algorithm: of the entry's digest.
    """

    entry: FileEntry
    item: Item
    owner: Owner | None
    folder: IFolder
    name: bytes
    algorithm: str
    wallClock: Callable[[], float]
    randomBytes: Callable[[int], bytes]

    def replace(self, source: IFolder, sourceName: bytes, refusal: OSError) -> Slices[bool]:
        """
        Put the content there.

        @param refusal: what the rename said.
        @return: whether it had to be written in place.
        """
        content = source.openRead(sourceName)
        try:
            if refusal.errno == errno.EXDEV:
                # Perhaps only the folder is mounted: a copy in it can be renamed.
                try:
                    yield from self._replaceByCopy(content)
                    return False
                except OSError as error:
                    if error.errno not in MOUNTED:
                        raise
                content.seek(0)
            yield from self._writeInPlace(content, source)
            return True
        finally:
            content.close()

    def _replaceByCopy(self, content: IOpenFile) -> Slices[None]:
        copy = temporaryName(self.name, self.randomBytes)
        yield from copyInto(content, self.folder, copy)
        try:
            dress(self.folder, copy, self.entry, self.item, self.owner, sync=True)
            if self.item.ownTime:
                self.folder.setTimes(copy, self.wallClock())
            self.folder.rename(copy, self.folder, self.name)
        except OSError:
            with suppress(OSError):
                self.folder.unlink(copy)
            raise

    def _writeInPlace(self, content: IOpenFile, aside: IFolder) -> Slices[None]:
        """
        Nothing is yielded while it is written: to be stopped in the middle
        would leave half a file. What the disk refuses is taken back.

        @param aside: where the old content may stand meanwhile.
        """
        target = self.folder.openWrite(self.name)
        try:
            before = yield from self._keep(target, aside)
            try:
                try:
                    _overwrite(target, _blocks(content))
                    target.sync()
                except OSError:
                    _overwrite(target, before.blocks())
                    raise
            finally:
                before.discard()
            with suppress(PermissionError):
                dressOpen(target, self.entry, self.item, self.owner)
                if self.item.ownTime:
                    target.setTimes(self.wallClock())
            target.seek(0)
            written = newHash(self.algorithm)
            while data := target.read(_BLOCK):
                written.update(data)
                if len(data) == _BLOCK:
                    yield
        finally:
            target.close()
        if written.digest() != self.entry.digest:
            raise OSError(errno.EIO, "what was written in place reads differently")

    def _keep(self, target: IOpenFile, aside: IFolder) -> Slices[_Kept]:
        """
        Keep what is in a file, to be written back: in memory, unless it is
        large.
        """
        if target.status().size <= SMALL:
            return _Kept(content=b"".join(_blocks(target)))
        name = temporaryName(self.name, self.randomBytes)
        yield from copyInto(target, aside, name)
        return _Kept(folder=aside, name=name)


@frozen
class _Kept:
    """
    A content that may be needed again.
    """

    content: bytes = b""
    folder: IFolder | None = None
    name: bytes = b""

    def blocks(self) -> Iterator[bytes]:
        """
        All of it.
        """
        if self.folder is None:
            yield self.content
            return
        file = self.folder.openRead(self.name)
        try:
            yield from _blocks(file)
        finally:
            file.close()

    def discard(self) -> None:
        """
        It is not needed any more.
        """
        if self.folder is not None:
            # What cannot be removed now, a sweep removes.
            with suppress(OSError):
                self.folder.unlink(self.name)


def _blocks(file: IOpenFile) -> Iterator[bytes]:
    while data := file.read(_BLOCK):
        yield data


def _overwrite(file: IOpenFile, blocks: Iterable[bytes]) -> None:
    size = 0
    file.seek(0)
    for data in blocks:
        file.write(data)
        size += len(data)
    file.truncate(size)
