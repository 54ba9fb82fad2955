"""
Installing a set of files: what stands ready is renamed to its place.

Whoever reads a carried file sees the old or the new one, whole. The exception
is a file that is mounted by itself, as in containers: that can only be written
in place, and is reported by name. Below an item no link is followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial

from attrs import Factory, evolve, frozen

from wazuh_cluster.integrity.folders import Folders, giveTo
from wazuh_cluster.integrity.items import Item, Items
from wazuh_cluster.integrity.mounted import MOUNTED, Mounted
from wazuh_cluster.integrity.plan import Plan
from wazuh_cluster.integrity.prepare import FEW, STEPS, Preparation, Ready
from wazuh_cluster.integrity.reasons import reason
from wazuh_cluster.integrity.staging import Staging
from wazuh_cluster.interfaces import FileStat, IFileSystem, IFolder, Slices
from wazuh_cluster.model import FileEntry

_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)
_NOT_ALLOWED = (errno.EPERM, errno.EACCES)


@frozen
class Outcome:
    """
    What an installation did, as paths relative to the home.

    @ivar created: files that were missing.
    @ivar updated: files whose content was replaced.
    @ivar restamped: files of which only the time was mended.
    @ivar mended: files of which only mode or owner were mended.
    @ivar deleted: files, and links in the way, that were removed.
    @ivar removedFolders: folders that were removed.
    @ivar inPlace: files that had to be written in place.
    @ivar postponed: files that wait for the next second: install again.
    @ivar unmended: files whose mode or owner this process may not change.
    @ivar failed: path to one line. All else was done; these stay as they were.
    @ivar restart: the changed files that make a restart of the manager due.
    @ivar notDurable: one line, if a power cut now could undo some of it.
    @ivar untidy: whether something may be left beside its target, for a sweep.
    """

    created: tuple[bytes, ...] = ()
    updated: tuple[bytes, ...] = ()
    restamped: tuple[bytes, ...] = ()
    mended: tuple[bytes, ...] = ()
    deleted: tuple[bytes, ...] = ()
    removedFolders: tuple[bytes, ...] = ()
    inPlace: tuple[bytes, ...] = ()
    postponed: tuple[bytes, ...] = ()
    unmended: tuple[bytes, ...] = ()
    failed: Mapping[bytes, str] = Factory(dict)
    restart: tuple[bytes, ...] = ()
    notDurable: str | None = None
    untidy: bool = False


def install(
    fileSystem: IFileSystem,
    home: bytes,
    items: Items,
    plan: Plan,
    staging: Staging,
    wallClock: Callable[[], float],
    randomBytes: Callable[[int], bytes] = os.urandom,
    reasons: Mapping[bytes, str] | None = None,
) -> Slices[Outcome]:
    """
    Do what a plan says, in slices. If this is stopped between two slices,
    every file is whole, and the next installation does the rest.

    @param staging: has the contents; those that are used leave it.
    @param wallClock: as C{time.time}.
    @param reasons: why the content of a path was not had, one line each.

    @raise wazuh_cluster.errors.InstallFailed: if the contents cannot be made
        ready. No carried file has changed then.
    """
    folders = Folders(fileSystem, home, items)
    aside = Folders(fileSystem, home, items)
    preparation = Preparation(
        fileSystem, aside, items, plan, staging, wallClock, randomBytes, reasons or {}
    )
    try:
        ready = yield from preparation.run()
        work = _Installation(fileSystem, items, plan, staging, wallClock, randomBytes)
        outcome = yield from work.run(folders, aside, ready)
        tidy = preparation.discard() and not outcome.failed
        return evolve(outcome, untidy=not tidy)
    finally:
        preparation.discard()
        folders.close()
        aside.close()


class _Installation:
    """
    The second half of one installation.
    """

    def __init__(
        self,
        fileSystem: IFileSystem,
        items: Items,
        plan: Plan,
        staging: Staging,
        wallClock: Callable[[], float],
        randomBytes: Callable[[int], bytes],
    ) -> None:
        self._fileSystem = fileSystem
        self._items = items
        self._plan = plan
        self._staging = staging
        self._wallClock = wallClock
        self._randomBytes = randomBytes
        self._touched: dict[bytes, None] = {}
        self._inPlace: list[bytes] = []
        self._unmended: list[bytes] = []
        self._mendedFolders: set[bytes] = set()
        self._restart: list[bytes] = []
        self._failed: dict[bytes, str] = {}

    def run(self, folders: Folders, aside: Folders, ready: Ready) -> Slices[Outcome]:
        """
        @param aside: to reach the copies in C{ready} with.
        """
        self._folders = folders
        self._aside = aside
        self._failed.update(ready.failed)
        plan = self._plan
        cleared = yield from self._each(plan.clear, "remove it", self._unlink)
        clearedFolders = yield from self._each(plan.clearFolders, "remove it", self._removeFolder)
        created, updated = yield from self._replaceAll(ready)
        stamps = (plan.manifest.paths[index] for index in plan.restamp)
        restamped = yield from self._each(stamps, "set its time", self._restamp)
        mended = yield from self._each(plan.mend, "set its mode and owner", self._mend)
        deleted = yield from self._each(plan.delete, "remove it", self._unlink)
        emptied = yield from self._each(plan.removeFolders, "remove it", self._removeEmpty)
        notDurable = yield from self._sync()
        deleted = sorted([*cleared, *deleted])
        for path in deleted:
            item = self._items.find(path)
            if item is not None and item.restart:
                self._restart.append(path)
        return Outcome(
            tuple(created),
            tuple(updated),
            tuple(restamped),
            tuple(mended),
            tuple(deleted),
            (*clearedFolders, *emptied),
            tuple(self._inPlace),
            tuple(ready.postponed),
            tuple(self._unmended),
            self._failed,
            tuple(self._restart),
            notDurable,
        )

    def _each(
        self, paths: Iterable[bytes], doing: str, act: Callable[[IFolder, bytes, bytes], bool]
    ) -> Slices[list[bytes]]:
        """
        Do something to each path, and return those to which it was done.
        """
        done: list[bytes] = []
        for steps, path in enumerate(paths):
            if steps % STEPS == 0:
                yield
            # A plan holds nothing else; the last gate before it is done.
            self._items.checkHeld(path)
            try:
                folder, name = self._folders.parent(path)
                if act(folder, name, path):
                    done.append(path)
                    if path not in self._mendedFolders:
                        self._touched[path.rpartition(b"/")[0]] = None
            except OSError as error:
                self._failed[path] = reason(doing, error)
        return done

    def _replaceAll(self, ready: Ready) -> Slices[tuple[list[bytes], list[bytes]]]:
        created: list[bytes] = []
        updated: list[bytes] = []
        steps = zip(ready.indexes, ready.items, ready.missing, strict=True)
        for n, (index, item, missing) in enumerate(steps):
            if n % STEPS == 0:
                yield
            entry = self._plan.manifest.entry(index)
            try:
                yield from self._replace(index, entry, item, ready)
            except OSError as error:
                self._failed[entry.path] = reason("replace it", error)
                ready.copied.discard(entry.digest)
            else:
                (created if missing else updated).append(entry.path)
                if item.restart:
                    self._restart.append(entry.path)
        for digest in ready.copied:
            if self._staging.has(digest):
                with suppress(OSError):
                    self._staging.remove(digest)
        return created, updated

    def _replace(self, index: int, entry: FileEntry, item: Item, ready: Ready) -> Slices[None]:
        """
        Put one content in its place.
        """
        above, _, name = entry.path.rpartition(b"/")
        folder = self._folders.make(above, self._plan.owner)
        place = ready.places.get(index)
        if place is None:
            source, sourceName = self._staging.folder, self._staging.name(entry.digest)
        elif place[0] is None:
            source, sourceName = self._staging.folder, place[1]
        else:
            source, sourceName = self._aside.open(place[0]), place[1]
        if item.ownTime:
            source.setTimes(sourceName, self._wallClock())
        moved = True
        try:
            source.rename(sourceName, folder, name)
        except OSError as error:
            if error.errno not in MOUNTED:
                raise
            moved = False
            target = Mounted(
                entry,
                item,
                self._plan.owner,
                folder,
                name,
                self._plan.manifest.algorithm,
                self._wallClock,
                self._randomBytes,
            )
            if (yield from target.replace(source, sourceName, error)):
                self._inPlace.append(entry.path)
        self._touched[above] = None
        if place is None and moved:
            self._staging.forget(entry.digest)
        elif place is None:
            with suppress(OSError):
                self._staging.remove(entry.digest)
        elif moved:
            del ready.places[index]

    def _unlink(self, folder: IFolder, name: bytes, path: bytes) -> bool:
        try:
            folder.unlink(name)
        except FileNotFoundError:
            return False
        return True

    def _removeFolder(self, folder: IFolder, name: bytes, path: bytes) -> bool:
        try:
            folder.removeFolder(name)
        except FileNotFoundError:
            return False
        return True

    def _removeEmpty(self, folder: IFolder, name: bytes, path: bytes) -> bool:
        try:
            return self._removeFolder(folder, name, path)
        except OSError as error:
            # What is still in it is not carried, or is held.
            if error.errno not in _NOT_EMPTY:
                raise
        return False

    def _restamp(self, folder: IFolder, name: bytes, path: bytes) -> bool:
        index = self._plan.manifest.index(path)
        if index is None or self._mendable(folder, name, path) is None:
            return False
        folder.setTimes(name, self._plan.manifest.mtimes[index])
        return True

    def _mend(self, folder: IFolder, name: bytes, path: bytes) -> bool:
        status = self._mendable(folder, name, path, folders=True)
        if status is None:
            return False
        owner = self._plan.owner
        done = True
        if owner is not None and (status.uid, status.gid) != (owner.uid, owner.gid):
            done = giveTo(owner, partial(folder.setOwner, name))
        isFolder = stat.S_ISDIR(status.mode)
        item = self._items.checkHeld(path)
        mode = item.folderMode if isFolder else item.mode
        try:
            # After the owner: changing that can take permissions away.
            folder.setMode(name, mode)
            # Some file systems take it and forget it.
            done = done and stat.S_IMODE(folder.status(name).mode) == mode
        except OSError as error:
            if error.errno not in _NOT_ALLOWED:
                raise
            done = False
        if not done:
            self._unmended.append(path)
        elif isFolder:
            self._mendedFolders.add(path)
            self._touched[path] = None
        return done

    def _mendable(
        self, folder: IFolder, name: bytes, path: bytes, folders: bool = False
    ) -> FileStat | None:
        """
        The status of a file that can be mended where it is. One that has a
        second name may be somebody else's, put there to be given away.

        @param folders: whether it may be a folder, too.
        """
        status = folder.status(name)
        if folders and stat.S_ISDIR(status.mode):
            return status
        if not stat.S_ISREG(status.mode):
            return None
        if status.links > 1:
            self._failed[path] = f"it has {status.links} names (hard links): left as it is"
            return None
        return status

    def _sync(self) -> Slices[str | None]:
        """
        Make the changes in all touched folders durable.
        """
        for folders in (self._folders, self._aside):
            self._touched.update(dict.fromkeys(folders.changed))
        few = len(self._touched) <= FEW and not (self._folders.madeRoots or self._aside.madeRoots)
        devices: set[int] = set()
        for steps, path in enumerate(self._touched):
            if few or steps % STEPS == 0:
                yield
            try:
                folder = self._folders.open(path)
                if few:
                    folder.sync()
                elif folder.device not in devices:
                    devices.add(folder.device)
                    self._fileSystem.syncAll([folder])
            except (FileNotFoundError, NotADirectoryError):
                # It was removed itself.
                continue
            except OSError as error:
                return f"{os.fsdecode(path)}: {reason('make it durable', error)}"
        return None
