"""
What an installation is to do, in full, before any of it is done.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from attrs import frozen

from wazuh_cluster.integrity.compare import Comparison
from wazuh_cluster.integrity.folders import Owner
from wazuh_cluster.integrity.holds import Holds
from wazuh_cluster.integrity.items import Item, Items
from wazuh_cluster.integrity.manifest import Manifest
from wazuh_cluster.integrity.paths import PathSet


@frozen
class Plan:
    """
    The changes of one installation.

    @ivar manifest: the master's.
    @ivar create: indexes into it, ascending, of files that are missing.
    @ivar update: likewise, of files whose content is replaced.
    @ivar restamp: likewise, of files that only get their time.
    @ivar mend: paths of files that only get their mode and owner.
    @ivar clear: paths of files and links that go first, because they stand in
        the way.
    @ivar clearFolders: likewise, of folders; deepest first.
    @ivar delete: paths of files that go last.
    @ivar removeFolders: folders that go after them if they are empty; deepest
        first.
    @ivar held: paths that stay as they are; the worker's root leaves them out.
    @ivar owner: whom files and folders are given to; C{None} for nobody.
    """

    manifest: Manifest
    create: array[int]
    update: array[int]
    restamp: array[int]
    mend: tuple[bytes, ...] = ()
    clear: tuple[bytes, ...] = ()
    clearFolders: tuple[bytes, ...] = ()
    delete: tuple[bytes, ...] = ()
    removeFolders: tuple[bytes, ...] = ()
    held: frozenset[bytes] = frozenset()
    owner: Owner | None = None

    def __bool__(self) -> bool:
        """
        Whether there is anything to do.
        """
        return bool(
            self.create
            or self.update
            or self.restamp
            or self.mend
            or self.clear
            or self.clearFolders
            or self.delete
            or self.removeFolders
        )

    @property
    def changed(self) -> Iterator[bytes]:
        """
        The paths of all files whose content comes, changes or goes.
        """
        for column in (self.create, self.update):
            for index in column:
                yield self.manifest.paths[index]
        yield from self.clear
        yield from self.delete

    @property
    def contents(self) -> list[int]:
        """
        Indexes into the manifest, ascending, of all files whose content is
        needed.
        """
        return sorted([*self.create, *self.update])

    def inOrder(self, items: Items) -> Iterator[tuple[int, bool, Item]]:
        """
        The files whose content is installed, in the items' order: the index,
        whether the file is missing, and its item.
        """
        paths = self.manifest.paths
        for item in sorted(items, key=lambda each: each.order):
            if item.isFile:
                start = bisect_left(paths, item.path)
                stop = start + (self.manifest.index(item.path) is not None)
            else:
                below = self.manifest.below(item.path)
                start, stop = below.start, below.stop
            for column, missing in ((self.create, True), (self.update, False)):
                first, last = bisect_left(column, start), bisect_left(column, stop)
                for index in column[first:last]:
                    yield index, missing, item


def makePlan(
    comparison: Comparison,
    holds: Holds,
    manifest: Manifest,
    owner: Owner | None = None,
    refused: Iterable[bytes] = (),
    items: Iterable[Item] = (),
) -> Plan:
    """
    Turn a comparison into what is to be done about it.

    @param holds: paths that are neither overwritten nor removed. Files of the
        master that cannot be there beside them are held back too.
    @param manifest: the master's, as it was compared.
    @param refused: extra valid files that the master refused; other paths are
        not removed for its saying so.
    @param items: what is carried: while the agents' keys are held back, so are
        assignments that are missing, for their agents may have no keys here.
    """
    paths = manifest.paths
    refusedNow = set(refused).intersection(comparison.extraValid)
    kept = [path for path in comparison.inTheWay if path in holds]
    # A held file stands where the master has a folder, or in a folder where
    # the master has a file.
    below = PathSet(kept)
    above = {folder for path in kept for folder in _foldersOf(path)}
    blocked = set()
    if kept:
        blocked = {i for i in comparison.missing if paths[i] in below or paths[i] in above}
    if any(item.ownTime and item.path in holds for item in items):
        assigned = PathSet(item.path for item in items if item.extraValid)
        blocked.update(i for i in comparison.missing if paths[i] in assigned)
    return Plan(
        manifest,
        array("I", (i for i in comparison.missing if i not in blocked)),
        array("I", (i for i in comparison.shared if paths[i] not in holds)),
        comparison.restamp,
        comparison.mend,
        tuple(path for path in comparison.inTheWay if path not in holds),
        _deepestFirst(path for path in comparison.foldersInTheWay if path not in above),
        tuple(sorted({*comparison.extra, *refusedNow} - holds.paths)),
        _deepestFirst(comparison.emptyFolders),
        holds.paths | {paths[i] for i in blocked},
        owner,
    )


def _foldersOf(path: bytes) -> Iterator[bytes]:
    while path := path.rpartition(b"/")[0]:
        yield path


def _deepestFirst(paths: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(sorted(paths, key=lambda path: (-path.count(b"/"), path)))
