"""
Scans: walking a home's items, hashing only what changed since the last time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from wazuh_cluster.errors import HomeError
from wazuh_cluster.integrity.folders import joined
from wazuh_cluster.integrity.installed import Installed
from wazuh_cluster.integrity.items import LOCAL_PATHS, Items
from wazuh_cluster.integrity.kept import Kept
from wazuh_cluster.integrity.rescan import PartialWalk, Unplain
from wazuh_cluster.integrity.snapshot import Scanned, Snapshot, StatusColumns
from wazuh_cluster.integrity.walk import (
    LINK,
    NO_FOLDER,
    SPECIAL,
    UNREADABLE,
    Walk,
    systemSaid,
)
from wazuh_cluster.interfaces import IFileSystem, Slices

__all__ = [
    "LINK",
    "NO_FOLDER",
    "SPECIAL",
    "UNREADABLE",
    "Scanned",
    "Snapshot",
    "StatusColumns",
    "deniedTargets",
    "linkTargets",
    "scan",
]

_W = TypeVar("_W", bound=Walk)


def linkTargets(home: bytes, items: Items, followInto: Sequence[bytes] = ()) -> tuple[bytes, ...]:
    """
    The folders in which a carried link may end: the home, the items (which may
    be links themselves), and what the operator listed.
    """
    return (home, *(joined(home, item.path) for item in items if not item.isFile), *followInto)


def deniedTargets(home: bytes, private: Sequence[bytes] = ()) -> tuple[bytes, ...]:
    """
    Where no carried link may end, whatever is allowed: what is local to a node,
    and what else its operator keeps for it.
    """
    return (*(joined(home, path) for path in LOCAL_PATHS), *private)


def scan(
    fileSystem: IFileSystem,
    home: bytes,
    items: Items,
    algorithm: str,
    previous: Snapshot | None,
    wallClock: Callable[[], float],
    followInto: Sequence[bytes] = (),
    carryLinks: bool = True,
    installed: Installed | None = None,
    private: Sequence[bytes] = (),
    kept: Kept | None = None,
    only: Collection[bytes] | None = None,
) -> Slices[Snapshot]:
    """
    Look at every file of the items, in slices.

    A file is read again unless its size, mtime, ctime and inode are as in
    C{previous} and could be trusted there. A file that vanishes meanwhile is
    left out; one that changes while it is read is read again the next time.
    What is there but cannot be carried is held.

    @param home: absolute.
    @param previous: a snapshot of the same home; one of another algorithm is
        not used.
    @param wallClock: the time by the file system's clock, in seconds since the
        epoch.
    @param followInto: folders, absolute, into which a link may lead.
    @param carryLinks: whether links to regular files are carried by content;
        if not, every link is held.
    @param installed: what was installed since C{previous}, by the same
        algorithm; it is read by the scan after this one.
    @param private: files and folders, absolute, into which no link may lead.
    @param kept: where to hold open what is an item by itself.
    @param only: the paths to look at, each with all below it; all others are as
        in C{previous}. Without one everything is looked at.

    @raise HomeError: if the home cannot be opened.
    @raise OSError: if the system has run out of files or memory, which says
        nothing about those in the home.
    """
    try:
        fileSystem.openFolder(home).close()
    except OSError as error:
        raise HomeError(
            f"the home cannot be read: {systemSaid(error)}",
            os.fsdecode(home),
            "make it a folder that this program may read",
        ) from None

    def begin(kind: type[_W]) -> _W:
        walk = kind(fileSystem, home, items, algorithm, previous, wallClock)
        if carryLinks:
            walk.allowed = linkTargets(home, items, followInto)
            walk.denied = deniedTargets(home, private)
        if installed is not None and installed.manifest.algorithm == algorithm:
            walk.installed = installed
        walk.kept = kept
        return walk

    walk: Walk | None = None
    if only is not None and previous is not None and previous.manifest.algorithm == algorithm:
        walk = partial = begin(PartialWalk)
        try:
            yield from partial.changed(previous, only)
        except Unplain:
            walk = None
    if walk is None:
        walk = begin(Walk)
        yield from walk.all()
    snapshot = walk.builder.build(
        walk.held,
        walk.folders,
        walk.folderKinds,
        frozenset(walk.links),
        walk.problems,
        walk.hashed,
        walk.hashedBytes,
        walk.listings,
        walk.rested,
    )
    if kept is not None:
        kept.settle(snapshot.manifest)
    return snapshot
