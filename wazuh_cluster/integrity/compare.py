"""
Comparing a worker's files with the master's.

The words are Wazuh's: I{missing} is on the master only, I{shared} on both with
another content, I{extra} on the worker only, and I{extra valid} an extra file
that the worker may have first: an assignment of an agent that showed up there.
"""

from __future__ import annotations

import stat
from array import array
from bisect import bisect_left
from collections.abc import Iterable

from attrs import frozen

from wazuh_cluster.integrity.difference import RUN, SINGLE, sameRun
from wazuh_cluster.integrity.folders import Owner
from wazuh_cluster.integrity.items import Items
from wazuh_cluster.integrity.manifest import Manifest
from wazuh_cluster.integrity.snapshot import Snapshot
from wazuh_cluster.integrity.walk import UNREADABLE
from wazuh_cluster.interfaces import Slices
from wazuh_cluster.model import HeldPath

#: How many entries are compared between two yields.
_STEP = 4096
_SURPLUS_STEP = 2048


@frozen
class Comparison:
    """
    What distinguishes a worker from its master. No path is in two of these, and
    none is covered by the master's held paths.

    @ivar missing: indexes into the master's manifest.
    @ivar shared: likewise, of files whose content differs.
    @ivar restamp: likewise, of files of which only the mtime differs.
    @ivar mend: paths of files with the right content, and of folders, but with
        another mode or owner.
    @ivar extra: paths of the worker's files, and of links and special files
        of its own.
    @ivar extraValid: likewise; they go up to the master first.
    @ivar inTheWay: paths of the worker's files and links that stand where the
        master has a folder, or below where it has a file.
    @ivar foldersInTheWay: paths of folders that stand, or lie below, where the
        master has a file.
    @ivar emptyFolders: paths of folders in which the master has no file any
        more; one that was empty all along stays.
    """

    missing: array[int]
    shared: array[int]
    restamp: array[int]
    mend: tuple[bytes, ...] = ()
    extra: tuple[bytes, ...] = ()
    extraValid: tuple[bytes, ...] = ()
    inTheWay: tuple[bytes, ...] = ()
    foldersInTheWay: tuple[bytes, ...] = ()
    emptyFolders: tuple[bytes, ...] = ()


def compare(
    local: Snapshot,
    master: Manifest,
    lastApplied: Manifest | None,
    items: Items,
    owner: Owner | None = None,
) -> Slices[Comparison]:
    """
    Compare in slices.

    @param lastApplied: the manifest that was last applied here: an extra valid
        file that stood in it was deleted on the master since.
    @param owner: whom carried files belong to; C{None} for whomever they do.
    @raise ValueError: if the two were not scanned with the same algorithm.
    """
    ours = local.manifest
    if ours.algorithm != master.algorithm:
        raise ValueError(f"{ours.algorithm} digests cannot be compared with {master.algorithm}")
    timeless = {index for item in items if item.ownTime for index in _within(master, item.path)}
    missing, shared, restamp = array("I"), array("I"), array("I")
    same: list[int] = []
    surplus: list[bytes] = []
    mends = yield from findMends(local, items, owner)
    mendable = set(mends)
    i = j = 0
    steps = 0
    single = 0
    while i < len(ours) and j < len(master):
        steps += 1
        if steps % _STEP == 0:
            yield
        if single == 0:
            if not mendable and sameRun(ours, master, i, j):
                i += RUN
                j += RUN
                continue
            single = SINGLE
        single -= 1
        path = ours.paths[i]
        other = master.paths[j]
        if path < other:
            surplus.append(path)
            i += 1
        elif path > other:
            missing.append(j)
            j += 1
        else:
            if ours.sizes[i] != master.sizes[j] or ours.digest(i) != master.digest(j):
                shared.append(j)
            else:
                if ours.mtimes[i] != master.mtimes[j] and j not in timeless:
                    restamp.append(j)
                if path in mendable:
                    same.append(i)
            i += 1
            j += 1
    surplus.extend(ours.paths[i:])
    missing.extend(range(j, len(master)))
    place = _Place(master)
    extra: list[bytes] = []
    extraValid: list[bytes] = []
    inTheWay: list[bytes] = []
    for steps, path in enumerate(surplus):
        if steps % _SURPLUS_STEP == 0:
            yield
        if place.isHeld(path):
            continue
        if place.isFolder(path) or place.isBelowFile(path):
            inTheWay.append(path)
            continue
        item = items.find(path)
        gone = lastApplied is not None and lastApplied.index(path) is not None
        if item is not None and item.extraValid and not gone:
            extraValid.append(path)
        else:
            extra.append(path)
    yield
    for held in ours.held:
        if held.path.endswith(b"/") or place.isHeld(held.path):
            continue
        if place.isFolder(held.path) or place.isBelowFile(held.path):
            inTheWay.append(held.path)
        elif not place.isFile(held.path) and (
            _isStray(held, items)
            or (lastApplied is not None and lastApplied.index(held.path) is not None)
        ):
            extra.append(held.path)
    extra.sort()
    yield
    folders = [path for path in local.folders if not place.isHeld(path)]
    return Comparison(
        missing,
        shared,
        restamp,
        (
            *(path for path in _wrongFolders(local, owner) if place.isMended(path)),
            *(ours.paths[index] for index in same),
        ),
        tuple(extra),
        tuple(extraValid),
        tuple(sorted(inTheWay)),
        tuple(path for path in folders if place.isFile(path) or place.isBelowFile(path)),
        tuple(
            path
            for path in folders
            if place.isNothing(path)
            and (ours.below(path) or (lastApplied is not None and lastApplied.below(path)))
        ),
    )


def findStrays(local: Manifest, master: Manifest, items: Items) -> tuple[bytes, ...]:
    """
    The paths of links and special files of the worker's where the master has
    nothing. They are extra, though roots leave them out.
    """
    place = _Place(master) if local.held else None
    return tuple(
        held.path
        for held in local.held
        if place is not None
        and not held.path.endswith(b"/")
        and not place.isHeld(held.path)
        and not place.isFile(held.path)
        and _isStray(held, items)
    )


def _isStray(held: HeldPath, items: Items) -> bool:
    """
    Whether what cannot be carried, and the master does not have, is extra. A file that
    is extra valid is not for that it cannot be read now: it goes up when it can.
    """
    item = items.find(held.path)
    return item is None or not item.extraValid or held.why != UNREADABLE


def findMends(local: Snapshot, items: Items, owner: Owner | None) -> Slices[tuple[bytes, ...]]:
    """
    The paths of folders and files whose mode, or owner, is not what it should
    be.
    """
    found = _wrongFolders(local, owner)
    for item in items:
        for start, stop in _parts(_within(local.manifest, item.path)):
            columns = local.columns
            expected = [(columns.modes, stat.S_IFREG | item.mode)]
            if owner is not None:
                expected += [(columns.uids, owner.uid), (columns.gids, owner.gid)]
            wrong: set[int] = set()
            for column, value in expected:
                part = column[start:stop]
                # Nearly always all are right, and counting is quick.
                if part.count(value) != len(part):
                    wrong.update(n for n, each in enumerate(part, start) if each != value)
            found.extend(local.manifest.paths[n] for n in sorted(wrong))
            yield
    return tuple(found)


def _wrongFolders(local: Snapshot, owner: Owner | None) -> list[bytes]:
    found: list[bytes] = []
    for kind, paths in local.folderKinds.items():
        right = owner is None or (kind.uid, kind.gid) == (owner.uid, owner.gid)
        if kind.mode != kind.wanted or not right:
            found += paths
    return sorted(found)


def _within(manifest: Manifest, path: bytes) -> range:
    """
    The files of the item at C{path}, be it a file or a folder.
    """
    index = manifest.index(path)
    return manifest.below(path) if index is None else range(index, index + 1)


def _parts(whole: range) -> Iterable[tuple[int, int]]:
    step = _STEP * 4
    return ((n, min(n + step, whole.stop)) for n in range(whole.start, whole.stop, step))


class _Place:
    """
    What the master has at a path.
    """

    def __init__(self, master: Manifest) -> None:
        self._paths = master.paths
        self._held = master.heldPaths()
        self._aboveHeld = set()
        for path in self._held:
            while path := path.rpartition(b"/")[0]:
                self._aboveHeld.add(path)
        # Folder to whether it is, or lies below, one of the master's files.
        self._known: dict[bytes, bool] = {b"": False}

    def isHeld(self, path: bytes) -> bool:
        """
        Whether the master does not want to say.
        """
        return path in self._held

    def isFile(self, path: bytes) -> bool:
        """
        Whether it has a file there.
        """
        at = bisect_left(self._paths, path)
        return at < len(self._paths) and self._paths[at] == path

    def isFolder(self, path: bytes) -> bool:
        """
        Whether it has files below.
        """
        path += b"/"
        at = bisect_left(self._paths, path)
        return at < len(self._paths) and self._paths[at].startswith(path)

    def isBelowFile(self, path: bytes) -> bool:
        """
        Whether it has a file where a folder would have to be.
        """
        above = path.rpartition(b"/")[0]
        known = self._known.get(above)
        if known is None:
            known = self._known[above] = self.isFile(above) or self.isBelowFile(above)
        return known

    def isMended(self, folder: bytes) -> bool:
        """
        Whether a folder's mode matters: the master has nothing else there.
        """
        return not (self.isHeld(folder) or self.isFile(folder) or self.isBelowFile(folder))

    def isNothing(self, path: bytes) -> bool:
        """
        Whether it has neither a file there, nor files or held paths below.
        """
        return not (
            path in self._aboveHeld
            or self.isFile(path)
            or self.isFolder(path)
            or self.isBelowFile(path)
        )
