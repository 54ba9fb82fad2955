"""
Putting a content where nothing can be renamed to, because the folder or the
file is mounted by itself, as in containers.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
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
            yield from self._writeInPlace(content)
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

    def _writeInPlace(self, content: IOpenFile) -> Slices[None]:
        """
        Nothing is yielded before it is written: to be stopped in the middle
        would leave half a file. What the disk refuses is taken back.
        """
        target = self.folder.openWrite(self.name)
        try:
            before = _readAll(target)
            try:
                _overwrite(target, _readAll(content))
                target.sync()
            except OSError:
                _overwrite(target, before)
                raise
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


def _readAll(file: IOpenFile) -> bytes:
    parts = []
    while data := file.read(_BLOCK):
        parts.append(data)
    return b"".join(parts)


def _overwrite(file: IOpenFile, content: bytes) -> None:
    file.seek(0)
    file.write(content)
    file.truncate(len(content))
