"""
Taking in a pack: each file goes to the staging folder and is proved by its
digest.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from functools import partial

from zope.interface import implementer

from wazuh_cluster.errors import MalformedStream
from wazuh_cluster.integrity.folders import Owner, giveTo
from wazuh_cluster.integrity.items import Item, Items
from wazuh_cluster.integrity.manifest import Manifest
from wazuh_cluster.integrity.pack import IPackSink, Sent
from wazuh_cluster.integrity.prepare import dressOpen
from wazuh_cluster.integrity.reasons import failed
from wazuh_cluster.integrity.reasons import reason as refusal
from wazuh_cluster.integrity.staging import Needed, Staging
from wazuh_cluster.interfaces import IOpenFile
from wazuh_cluster.model import FileEntry

_STALE = "it changed since the manifest was made; it comes with the next generation"
_VANISHED = "it vanished from the master"

# After these a file can go on where it stopped.
_INTERRUPTED = (Sent.VANISHED, Sent.UNREADABLE)

# A file for which there is no room says nothing about the next one.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@implementer(IPackSink)
class Receiver:
    """
    The sink for one pack. Close it when the pack has ended or was cut.

    @ivar failures: path to one line, of files that could not be had whole.
    @ivar received: bytes of content that came in.
    @ivar files: how many files came in whole.
    @ivar noRoom: digests of contents for which there was no room, to whether
        the disk is that full as far as it tells: a quota may be.
    """

    def __init__(
        self,
        staging: Staging,
        manifest: Manifest,
        needed: Needed,
        items: Items | None = None,
        owner: Owner | None = None,
    ) -> None:
        """
        @param items: if given, files get mode, owner and time as they come in,
            while they are open; what is not right then, an installation mends.
        @param owner: whom files are given to; C{None} for nobody.
        """
        self.failures: dict[bytes, str] = {}
        self.noRoom: dict[bytes, bool] = {}
        self.received = 0
        self.files = 0
        self._staging = staging
        self._manifest = manifest
        self._indexes = needed.indexes
        self._items = items
        self._owner = owner
        # Whether new files in the staging folder are somebody else's.
        self._strange: bool | None = None
        self._entry: FileEntry | None = None
        self._file: IOpenFile | None = None
        # The current file, if all of it came at once: nothing is on the disk.
        self._whole: bytes | memoryview = b""
        self._partial = staging.resume(b"")
        # Why the rest of the current file is not wanted any more.
        self._fault: str | None = None

    def begin(self, index: int, offset: int) -> None:
        """
        See L{IPackSink.begin}.

        @raise MalformedStream: for a file or an offset that was not asked for.
        """
        if index >= len(self._indexes):
            raise MalformedStream(f"file {index} in a pack of {len(self._indexes)}")
        entry = self._manifest.entry(self._indexes[index])
        self._entry = entry
        self._partial = self._staging.resume(entry.digest)
        self._whole = b""
        self._fault = None
        if offset != self._partial.size:
            raise MalformedStream(
                f"{entry.path!r} begins at {offset} where {self._partial.size} was wanted"
            )

    def data(self, data: bytes | memoryview) -> None:
        """
        See L{IPackSink.data}. Never writes more than the manifest announced.

        @raise wazuh_cluster.errors.InstallFailed: if the disk refuses it, for
            another reason than its size.
        """
        entry = self._current()
        partial = self._partial
        self.received += len(data)
        if self._fault is not None:
            return
        if partial.size + len(data) > entry.size:
            self._spoil(entry, _STALE)
            return
        if len(data) == entry.size:
            self._whole = data
        else:
            try:
                if self._file is None:
                    self._file = self._staging.openPart(entry.digest, partial.size)
                self._file.write(data)
            except OSError as error:
                self._refused(entry, error)
                return
        partial.hash.update(data)
        partial.size += len(data)

    def end(self, status: Sent, reason: str) -> None:
        """
        See L{IPackSink.end}.

        @raise wazuh_cluster.errors.InstallFailed: if the disk refuses it, for
            another reason than its size.
        """
        entry = self._current()
        partial = self._partial
        # The digest decides: a file whose status changed while it was sent
        # can still be the one that was wanted.
        right = partial.size == entry.size and partial.hash.digest() == entry.digest
        if self._fault is None and right:
            try:
                self._finish(entry)
            except OSError as error:
                self._refused(entry, error)
            else:
                self.files += 1
        elif self._fault is None:
            if status in _INTERRUPTED and partial.size < entry.size:
                # What came before the damage need not come again.
                self._keep(entry)
                self._fault = _STALE
            else:
                self._spoil(entry, _STALE)
        if self._fault is not None:
            said = {Sent.VANISHED: _VANISHED, Sent.UNREADABLE: f"the master {reason}"}
            fault = said.get(status, _STALE) if self._fault == _STALE else self._fault
            self.failures[entry.path] = fault
        self._entry = None

    def _refused(self, entry: FileEntry, error: OSError) -> None:
        """
        The disk does not take the current file.

        @raise wazuh_cluster.errors.InstallFailed: unless it may take others.
        """
        why = refusal("stage it", error)
        if error.errno not in _NO_ROOM:
            self._spoil(entry, why)
            raise failed(entry.path, "stage it", error) from error
        self._spoil(entry, f"{why}; it is tried again within a minute")
        self.noRoom[entry.digest] = False
        with suppress(OSError):
            self.noRoom[entry.digest] = self._staging.folder.room < entry.size

    def close(self) -> None:
        """
        The pack ended, or was cut: what was written of a file is kept.
        """
        entry, self._entry = self._entry, None
        if entry is not None and self._fault is None:
            self._keep(entry)

    def _keep(self, entry: FileEntry) -> None:
        """
        Leave what was written of a file, to be resumed.
        """
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                self._staging.discard(entry.digest)
                return
            finally:
                self._file = None
        if self._partial.size and not self._whole:
            self._staging.suspend(entry.digest, self._partial)

    def _finish(self, entry: FileEntry) -> None:
        """
        Stage the current file, which is whole and right.
        """
        item = None if self._items is None else self._items.find(entry.path)
        file, self._file = self._file, None
        if file is None:
            if item is None:
                self._staging.put(entry.digest, self._whole)
            else:
                dress = partial(self._dressNew, entry, item)
                self._staging.put(entry.digest, self._whole, item.mode, dress)
            return
        try:
            if item is not None:
                # An installation tries it again, and says what is wrong.
                with suppress(OSError):
                    dressOpen(file, entry, item, self._owner)
        finally:
            file.close()
        self._staging.finish(entry.digest)

    def _dressNew(self, entry: FileEntry, item: Item, file: IOpenFile) -> None:
        """
        L{dressOpen} for a file of the right size and permissions.
        """
        with suppress(OSError):
            owner = self._owner
            if self._strange is None:
                # All that a process makes in one folder is the same user's.
                status = file.status()
                self._strange = owner is not None and (status.uid, status.gid) != (
                    owner.uid,
                    owner.gid,
                )
            if owner is not None and self._strange:
                giveTo(owner, file.setOwner)
            if not item.ownTime:
                file.setTimes(entry.mtime)

    def _current(self) -> FileEntry:
        if self._entry is None:
            raise MalformedStream("bytes of no file in a pack")
        return self._entry

    def _spoil(self, entry: FileEntry, fault: str) -> None:
        self._fault = fault
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()
        if file is not None or (self._partial.size and not self._whole):
            self._staging.discard(entry.digest)
