"""
A scan of some paths: all others are taken over from the snapshot before.
"""

from __future__ import annotations

import stat
from bisect import bisect_left
from collections.abc import Collection

from attrs import frozen

from wazuh_cluster.errors import HostilePath
from wazuh_cluster.integrity.folders import Folders
from wazuh_cluster.integrity.items import Item
from wazuh_cluster.integrity.manifest import Manifest
from wazuh_cluster.integrity.paths import PathSet
from wazuh_cluster.integrity.snapshot import Snapshot
from wazuh_cluster.integrity.walk import EXHAUSTED, GONE, Walk
from wazuh_cluster.interfaces import IFolder, Slices

_PATHS_STEP = 64


class Unplain(Exception):
    """
    It is not plain what a path stands for now: everything must be looked at.
    """


@frozen
class _Place:
    """
    A stretch of the sorted paths that is looked at.

    @ivar start: the first path that may be in it; with a final slash for what
        is below a folder, else the file itself.
    @ivar item: around it.
    """

    start: bytes
    item: Item

    @property
    def end(self) -> bytes:
        """
        The first path after it.
        """
        last = b"0" if self.start.endswith(b"/") else b"\0"
        return self.start.rstrip(b"/") + last


class PartialWalk(Walk):
    """
    A walk to some paths.
    """

    def changed(self, previous: Snapshot, paths: Collection[bytes]) -> Slices[None]:
        """
        Look at these paths, with all that is below them, and at the items that
        are single files with times of their own: no other may be newer.

        @raise Unplain: if that does not do. Nothing of this walk counts then.
        """
        places = self._places(paths)
        covered = PathSet(place.start for place in places)
        old = previous.manifest
        self.held = [held for held in old.held if held.path not in covered]
        stillHeld = PathSet(held.path for held in self.held)
        if any(place.start in stillHeld for place in places):
            # What it lies in could not be looked into, and perhaps can now.
            raise Unplain
        if any(self._wasFileAbove(place, old, covered) for place in places):
            raise Unplain
        self.links = [path for path in previous.links if path not in covered]
        self.problems = {
            path: why for path, why in previous.problems.items() if path not in covered
        }
        folders = Folders(self._fileSystem, self._home, self._items)
        try:
            for count, place in enumerate(places):
                if count % _PATHS_STEP == _PATHS_STEP - 1:
                    yield
                self._takeOver(bisect_left(old.paths, place.start, self._old))
                yield from self._look(folders, place)
                self._flushed = self._old = bisect_left(old.paths, place.end, self._old)
        finally:
            folders.close()
        self._takeOver(len(old.paths))
        self._mergeListings(previous, places)
        yield from self._mergeFolders(previous, places)
        yield from self.last()

    # How far the previous snapshot was taken over or passed.
    _flushed = 0

    def _takeOver(self, end: int) -> None:
        """
        All files of the previous snapshot up to here are as they were.
        """
        self.builder.sameRun(self._flushed, end)
        self._flushed = self._old = end

    def _places(self, paths: Collection[bytes]) -> list[_Place]:
        """
        Where to look, in order, without overlaps. A path may stand for a file
        and for a folder, which are not beside each other in the order.
        """
        found = {
            item.path: _Place(item.path, item)
            for item in self._items
            if item.isFile and item.ownTime
        }
        for path in paths:
            around = self._items.around(path)
            if around is None:
                raise Unplain
            if around.isFile:
                path = around.path
            if around.isFile or path != around.path:
                found[path] = _Place(path, around)
            if not around.isFile:
                found[path + b"/"] = _Place(path + b"/", around)
        places: list[_Place] = []
        last = b"/"
        for start in sorted(found):
            if not start.startswith(last):
                places.append(found[start])
                if start.endswith(b"/"):
                    last = start
        return places

    def _wasFileAbove(self, place: _Place, old: Manifest, covered: PathSet) -> bool:
        """
        Whether a place lies in what was a file before, and is not looked at itself: a
        folder stands there now.
        """
        above = place.start.rstrip(b"/").rpartition(b"/")[0]
        while len(above) > len(place.item.path):
            if above not in covered and old.index(above) is not None:
                return True
            above = above.rpartition(b"/")[0]
        return False

    def _look(self, folders: Folders, place: _Place) -> Slices[None]:
        item, start = place.item, place.start
        path = start.rstrip(b"/")
        if path == item.path:
            yield from self.item(item)
            return
        try:
            folder, name = folders.parent(path)
        except HostilePath:
            raise Unplain from None
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise
            # What it lies in is another thing than it was.
            raise Unplain from None
        if start.endswith(b"/"):
            yield from self._below(folder, item, name, start)
        else:
            if not self._items.excludes(name):
                yield from self._file(folder, item, name, path)

    def _below(self, folder: IFolder, item: Item, name: bytes, start: bytes) -> Slices[None]:
        if not item.recursive:
            return
        try:
            status = folder.status(name)
        except OSError as error:
            if error.errno in GONE:
                return
            raise Unplain from None
        if stat.S_ISDIR(status[0]):
            yield from self._subfolder(folder, item, name, start)

    def _file(self, folder: IFolder, item: Item, name: bytes, path: bytes) -> Slices[None]:
        try:
            isFolder = stat.S_ISDIR(folder.status(name)[0])
        except OSError as error:
            if error.errno in GONE:
                return
            raise Unplain from None
        if not isFolder:
            yield from self._one(folder, item, name, path)

    def _mergeListings(self, previous: Snapshot, places: list[_Place]) -> None:
        """
        Add what is known of folders in which nothing was looked at.
        """
        listings = dict(previous.listings)
        for place in places:
            path = place.start.rstrip(b"/")
            listings.pop(path.rpartition(b"/")[0] + b"/", None)
            if place.start.endswith(b"/"):
                listings.pop(place.start, None)
        self.listings = {**listings, **self.listings}
        self.rested = previous.rested

    def _mergeFolders(self, previous: Snapshot, places: list[_Place]) -> Slices[None]:
        """
        Add the folders that were not looked at.
        """
        if not (self.folderKinds or any(_hadFolders(previous, place) for place in places)):
            # Who knows a list knows that nothing is new.
            self.folders, self.folderKinds = previous.folders, dict(previous.folderKinds)
            return
        covered = PathSet(place.start for place in places)
        yield
        kept = [path for path in previous.folders if path not in covered]
        self.folders = sorted([*kept, *self.folders], key=_withSlash)
        for kind, paths in previous.folderKinds.items():
            yield
            left = [path for path in paths if path not in covered]
            if left:
                self.folderKinds[kind] = [*left, *self.folderKinds.get(kind, ())]


def _hadFolders(previous: Snapshot, place: _Place) -> bool:
    """
    Whether there was a folder here, or what may have been one.
    """
    start = place.start
    if not start.endswith(b"/"):
        return False
    at = bisect_left(previous.folders, start, key=_withSlash)
    return (
        start == place.item.path + b"/"
        or (at < len(previous.folders) and _withSlash(previous.folders[at]).startswith(start))
        or any(held.path.startswith(start) for held in previous.manifest.held)
    )


def _withSlash(folder: bytes) -> bytes:
    return folder + b"/"
