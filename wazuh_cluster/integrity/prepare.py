"""
The first half of an installation: every new content stands ready, dressed and
durable, in a place from which it can be renamed to its target. Nothing that is
carried has changed yet.
"""

from __future__ import annotations

import errno
import stat
from array import array
from collections.abc import Callable, Mapping
from contextlib import suppress

from attrs import define, field

from wazuh_cluster.integrity.folders import Folders, Owner, giveTo
from wazuh_cluster.integrity.items import Item, Items
from wazuh_cluster.integrity.plan import Plan
from wazuh_cluster.integrity.reasons import failed, reason
from wazuh_cluster.integrity.staging import Staging, copyInto
from wazuh_cluster.integrity.temporary import temporaryName
from wazuh_cluster.interfaces import FileStat, IFileSystem, IFolder, IOpenFile, Slices
from wazuh_cluster.model import FileEntry

#: Up to so many files are synced one by one; more of them, the file system.
FEW = 16

#: How many small steps are made between two yields.
STEPS = 128

#: What ends an installation before it begins, wherever it happens. Anything
#: else at a target concerns that target.
_GENERAL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@define
class Ready:
    """
    What stands ready.

    @ivar indexes: into the manifest, in the order of installation.
    @ivar items: for each, the item that carries it.
    @ivar missing: for each, 1 if there is no such file yet.
    @ivar places: index to where its content stands, if not in the staging
        folder under its digest: the folder, C{None} for the staging folder,
        and the name there.
    @ivar copied: digests of which only copies are used.
    @ivar failed: path to one line, of files that will not be installed.
    @ivar postponed: paths of files that may not be installed in this second.
    """

    indexes: array[int] = field(factory=lambda: array("I"))
    items: list[Item] = field(factory=list)
    missing: bytearray = field(factory=bytearray)
    places: dict[int, tuple[bytes | None, bytes]] = field(factory=dict)
    copied: set[bytes] = field(factory=set)
    failed: dict[bytes, str] = field(factory=dict)
    postponed: list[bytes] = field(factory=list)


class Preparation:
    """
    One installation's preparation.
    """

    def __init__(
        self,
        fileSystem: IFileSystem,
        folders: Folders,
        items: Items,
        plan: Plan,
        staging: Staging,
        wallClock: Callable[[], float],
        randomBytes: Callable[[int], bytes],
        reasons: Mapping[bytes, str],
    ) -> None:
        """
        @param folders: the home's, used by nobody else meanwhile.
        @param wallClock: as C{time.time}.
        @param randomBytes: as C{os.urandom}.
        @param reasons: why the content of a path was not had.
        """
        self.ready = Ready()
        self._fileSystem = fileSystem
        self._folders = folders
        self._items = items
        self._plan = plan
        self._staging = staging
        self._wallClock = wallClock
        self._randomBytes = randomBytes
        self._reasons = reasons
        self._few = len(plan.create) + len(plan.update) <= FEW
        # Folder to whether a staged file can be renamed into it.
        self._movable: dict[bytes, bool] = {}
        # The last folder of files that can be renamed to it, or to where it
        # will be.
        self._above: bytes | None = None
        # Device to a folder on it that has copies.
        self._devices: dict[int, bytes] = {}
        self._moved: set[bytes] = set()
        # Probes that could not be removed: the folder, and the name there.
        self._probes: list[tuple[bytes, bytes]] = []

    def run(self) -> Slices[Ready]:
        """
        Prepare all. Whoever runs it L{discard}s afterwards.

        @raise InstallFailed: if the staging folder, or the disk as a whole,
            refuses.
        @raise wazuh_cluster.errors.HostilePath: if no item carries a path.
        """
        for steps, (index, missing, item) in enumerate(self._plan.inOrder(self._items)):
            if steps % STEPS == 0:
                yield
            entry = self._plan.manifest.entry(index)
            self._items.check(entry.path)
            if not self._staging.has(entry.digest):
                why = self._reasons.get(entry.path, "its content has not come in")
                self.ready.failed[entry.path] = why
            elif missing and item.extraValid and self._waitsForKeys(entry.path):
                continue
            elif item.ownTime and self._isTooSoon(entry.path):
                self.ready.postponed.append(entry.path)
            elif (yield from self._one(index, entry, item)):
                self.ready.indexes.append(index)
                self.ready.items.append(item)
                self.ready.missing.append(missing)
        yield
        yield from self._sync()
        return self.ready

    def discard(self) -> bool:
        """
        Remove every copy that still stands ready.

        @return: whether nothing is left; else it is for a sweep.
        """
        left = False
        for folder, name in (*self.ready.places.values(), *self._probes):
            try:
                (self._staging.folder if folder is None else self._folders.open(folder)).unlink(
                    name
                )
            except OSError:
                left = True
        self.ready.places.clear()
        self._probes.clear()
        return not left

    def _waitsForKeys(self, path: bytes) -> bool:
        """
        Whether a new assignment waits, because the keys that come before it
        are not ready: the agent's may be among them.
        """
        for item in self._items:
            if item.ownTime and item.path in self.ready.postponed:
                self.ready.postponed.append(path)
                return True
            if item.ownTime and item.path in self.ready.failed:
                keys = item.path.decode("utf-8", "backslashreplace")
                self.ready.failed[path] = f"it waits for {keys}, which could not be had"
                return True
        return False

    def _isTooSoon(self, path: bytes) -> bool:
        """
        Whether the file there has the time that it would get now: then a
        reader that goes by whole seconds would not see the difference.
        """
        try:
            folder, name = self._folders.parent(path)
            mtime: int = folder.status(name).mtimeNs
        except OSError:
            return False
        return mtime // 1_000_000_000 == int(self._wallClock())

    def _one(self, index: int, entry: FileEntry, item: Item) -> Slices[bool]:
        """
        @return: whether it is ready.
        """
        try:
            above = entry.path.rpartition(b"/")[0]
            if above != self._above:
                path, folder = self._folders.nearest(above, self._plan.owner)
                movable = self._movable.get(path)
                if movable is None:
                    movable = self._movable[path] = self._isMovable(entry, path, folder)
                if not movable:
                    yield from self._beside(index, entry, item, path, folder)
                    return True
                self._above = above
        except OSError as error:
            if error.errno in _GENERAL:
                raise failed(entry.path, "make it ready", error) from error
            self.ready.failed[entry.path] = reason("make it ready", error)
            return False
        try:
            folder, name = self._staging.folder, self._staging.name(entry.digest)
            owner = self._plan.owner
            if entry.digest in self._moved:
                name = yield from self._staging.copy(entry.digest, index)
                self.ready.places[index] = (None, name)
            self._moved.add(entry.digest)
            # Most files got all that while they came in.
            if self._few or not isDressed(folder.status(name), entry, item, owner):
                dress(folder, name, entry, item, owner, self._few)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise failed(entry.path, "make it ready", error) from error
            self.ready.failed[entry.path] = reason("make it ready", error)
            return False
        return True

    def _beside(
        self, index: int, entry: FileEntry, item: Item, path: bytes, folder: IFolder
    ) -> Slices[None]:
        """
        Copy a content to the file system of its target.
        """
        name = temporaryName(entry.path.rpartition(b"/")[2], self._randomBytes)
        source = self._staging.folder.openRead(self._staging.name(entry.digest))
        try:
            yield from copyInto(source, folder, name)
        finally:
            source.close()
        self.ready.places[index] = (path, name)
        self.ready.copied.add(entry.digest)
        self._devices[folder.device] = path
        dress(folder, name, entry, item, self._plan.owner, self._few)

    def _isMovable(self, entry: FileEntry, path: bytes, folder: IFolder) -> bool:
        """
        Whether a file can be renamed from the staging folder to another one. A
        folder that is mounted by itself can have the same device number and
        refuse nevertheless, so one is tried.
        """
        staged = self._staging.folder
        if folder.device != staged.device:
            return False
        root = self._folders.root(path)
        if root != path and root in self._movable:
            return self._movable[root]
        name = temporaryName(b"probe", self._randomBytes)
        try:
            staged.create(name, 0o600).close()
        except OSError as error:
            raise failed(entry.path, "use the staging folder", error) from error
        try:
            staged.rename(name, folder, name)
        except OSError as error:
            with suppress(OSError):
                staged.unlink(name)
            return error.errno != errno.EXDEV
        try:
            folder.unlink(name)
        except OSError:
            # That it could be moved is known nevertheless.
            self._probes.append((path, name))
        return True

    def _sync(self) -> Slices[None]:
        if self._few or not self.ready.indexes:
            return
        path = self._plan.manifest.paths[self.ready.indexes[0]]
        try:
            self._fileSystem.syncAll([self._staging.folder])
            for folder in self._devices.values():
                yield
                self._fileSystem.syncAll([self._folders.open(folder)])
        except OSError as error:
            raise failed(path, "make the new files durable", error) from error


def isDressed(status: FileStat, entry: FileEntry, item: Item, owner: Owner | None) -> bool:
    """
    Whether L{dress} has nothing to do for a file.
    """
    mode, size, mtime, _, _, _, uid, gid, _ = status
    return (
        mode == stat.S_IFREG | item.mode
        and size == entry.size
        and (item.ownTime or mtime == entry.mtime * 1_000_000_000)
        and (owner is None or (uid == owner.uid and gid == owner.gid))
    )


def dress(
    folder: IFolder, name: bytes, entry: FileEntry, item: Item, owner: Owner | None, sync: bool
) -> None:
    """
    Give a content that stands ready its owner, permissions and time.
    """
    file = folder.openWrite(name)
    try:
        dressOpen(file, entry, item, owner)
        if sync:
            file.sync()
    finally:
        file.close()


def dressOpen(file: IOpenFile, entry: FileEntry, item: Item, owner: Owner | None) -> None:
    """
    The same for an open file; C{EINVAL} if it has another size than its entry,
    or that has a time that no file can have.
    """
    status = file.status()
    if status.size != entry.size:
        raise OSError(errno.EINVAL, "it has another size than in the manifest")
    if owner is not None and (status.uid, status.gid) != (owner.uid, owner.gid):
        giveTo(owner, file.setOwner)
    file.setMode(item.mode)
    if not item.ownTime:
        file.setTimes(entry.mtime)
