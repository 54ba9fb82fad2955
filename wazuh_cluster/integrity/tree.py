"""
The carried files below one home, as the nodes use them.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress

from attrs import evolve
from zope.interface import implementer

from wazuh_cluster.errors import BadInput, HomeError
from wazuh_cluster.integrity.compare import Comparison, compare, findMends, findStrays
from wazuh_cluster.integrity.filesystem import RealFileSystem
from wazuh_cluster.integrity.folders import CarriedFiles, Folders, Owner, joined, makeWay
from wazuh_cluster.integrity.install import Outcome, install
from wazuh_cluster.integrity.installed import Installed
from wazuh_cluster.integrity.items import WAZUH_ITEMS, Items
from wazuh_cluster.integrity.kept import Kept
from wazuh_cluster.integrity.manifest import DIGEST_SIZES, Manifest
from wazuh_cluster.integrity.pack import PackSource
from wazuh_cluster.integrity.plan import Plan
from wazuh_cluster.integrity.reasons import reason
from wazuh_cluster.integrity.scan import deniedTargets, linkTargets, scan
from wazuh_cluster.integrity.snapshot import Snapshot
from wazuh_cluster.integrity.staging import Staging
from wazuh_cluster.integrity.temporary import sweepTemporary
from wazuh_cluster.integrity.wants import Wants
from wazuh_cluster.interfaces import IFileSystem, ITree, Slices

#: Where contents are staged, below the home.
STAGING = b"queue/wazuh_cluster/staging"

_BLOCK = 1 << 20


@implementer(ITree)
class DirectoryTree:
    """
    The items below a folder on disk.

    @ivar path: that folder, absolute.
    @ivar items: what it carries.
    @ivar algorithm: of the digests, unless a call names another.
    """

    def __init__(
        self,
        path: str | bytes | os.PathLike[str],
        items: Items = WAZUH_ITEMS,
        algorithm: str = "md5",
        fileSystem: IFileSystem | None = None,
        followInto: Sequence[str | bytes] = (),
        staging: str | bytes | None = None,
        wallClock: Callable[[], float] = time.time,
        randomBytes: Callable[[int], bytes] = os.urandom,
        private: Sequence[str | bytes] = (),
    ) -> None:
        """
        Nothing is read or written yet.

        @param path: the home.
        @param fileSystem: the real one by default.
        @param followInto: absolute folders; a master carries links that lead
            into them, or into the home.
        @param staging: an absolute folder that is there; by default one below
            the home, which is made.
        @param wallClock: seconds since the epoch, as the file system counts.
        @param randomBytes: gives names to temporary files.
        @param private: absolute files and folders of the node's own, which
            never travel: no link is carried that leads to one.

        @raise BadInput: for an algorithm that is none of a manifest's.
        """
        if algorithm not in DIGEST_SIZES:
            known = " or ".join(sorted(DIGEST_SIZES))
            raise BadInput(f"{algorithm!r} is not a digest algorithm", "algorithm", f"use {known}")
        self.path = os.path.abspath(os.fsencode(path))
        self.items = items
        self.algorithm = algorithm
        self._fileSystem = RealFileSystem() if fileSystem is None else fileSystem
        self._followInto = tuple(os.fsencode(each) for each in followInto)
        self._private = tuple(os.fsencode(each) for each in private)
        self._staging = None if staging is None else os.fsencode(staging)
        self._wallClock = wallClock
        self._randomBytes = randomBytes
        self._kept = Kept()
        # Files whose mode or owner this process was not allowed to mend.
        self._unmendable: set[bytes] = set()

    @property
    def onDisk(self) -> bool:
        """
        Whether these are files of this machine's system.
        """
        return isinstance(self._fileSystem, RealFileSystem)

    def scan(
        self,
        previous: Snapshot | None = None,
        algorithm: str | None = None,
        carryLinks: bool = True,
        installed: Installed | None = None,
        only: Collection[bytes] | None = None,
    ) -> Slices[Snapshot]:
        """
        See L{ITree.scan}.
        """
        return scan(
            self._fileSystem,
            self.path,
            self.items,
            algorithm or self.algorithm,
            previous,
            self._wallClock,
            self._followInto,
            carryLinks,
            installed,
            self._private,
            self._kept if carryLinks else None,
            only,
        )

    def compare(
        self, local: Snapshot, master: Manifest, lastApplied: Manifest | None
    ) -> Slices[Comparison]:
        """
        See L{ITree.compare}.
        """
        found = yield from compare(local, master, lastApplied, self.items, self.owner())
        return evolve(found, mend=self._mendable(found.mend))

    def findMends(self, local: Snapshot) -> Slices[tuple[bytes, ...]]:
        """
        See L{ITree.findMends}.
        """
        found = yield from findMends(local, self.items, self.owner())
        return self._mendable(found)

    def findStrays(self, local: Snapshot, master: Manifest) -> tuple[bytes, ...]:
        """
        See L{ITree.findStrays}.
        """
        return findStrays(local.manifest, master, self.items)

    def owner(self) -> Owner | None:
        """
        See L{ITree.owner}.
        """
        try:
            home = self._fileSystem.openFolder(self.path)
            try:
                status = home.status(b"etc")
            finally:
                home.close()
        except OSError:
            return None
        return Owner(status.uid, status.gid) if stat.S_ISDIR(status.mode) else None

    def content(self, path: bytes, most: int | None = None) -> bytes | None:
        """
        See L{ITree.content}.
        """
        files = self._carriedFiles()
        left = sys.maxsize if most is None else most
        try:
            file = files.open(path)
            try:
                parts = []
                while data := file.read(min(_BLOCK, left)):
                    parts.append(data)
                    left -= len(data)
            finally:
                file.close()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            error.filename = path
            raise
        finally:
            files.close()
        return b"".join(parts)

    def openPack(self, wants: Wants, algorithm: str | None = None) -> PackSource:
        """
        See L{ITree.openPack}.
        """
        return PackSource(self._carriedFiles(), wants)

    def openStaging(self, algorithm: str | None = None) -> Staging:
        """
        See L{ITree.openStaging}.
        """
        path = self._staging or joined(self.path, STAGING)
        staging = Staging(self._fileSystem, path, algorithm or self.algorithm)
        try:
            if self._staging is None:
                makeWay(self._fileSystem, self.path, STAGING, 0o750)
            staging.open()
        except OSError as error:
            raise HomeError(
                reason("use the staging folder", error),
                os.fsdecode(path),
                "make it a folder that the cluster's daemon may write to",
            ) from error
        return staging

    def install(
        self, plan: Plan, staging: Staging, reasons: Mapping[bytes, str] | None = None
    ) -> Slices[Outcome]:
        """
        See L{ITree.install}.
        """
        outcome = yield from install(
            self._fileSystem,
            self.path,
            self.items,
            plan,
            staging,
            self._wallClock,
            self._randomBytes,
            reasons,
        )
        self._unmendable.difference_update(outcome.created, outcome.updated)
        self._unmendable.update(outcome.unmended)
        return outcome

    def sweep(self) -> Slices[int]:
        """
        See L{ITree.sweep}.
        """
        return sweepTemporary(self._fileSystem, self.path, self.items)

    def settle(self) -> None:
        """
        See L{ITree.settle}.
        """
        with ExitStack() as opened:
            folders = []
            for path in (b"", *(item.path for item in self.items if not item.isFile)):
                # What is not there needs no sync.
                with suppress(FileNotFoundError, NotADirectoryError):
                    folder = self._fileSystem.openFolder(joined(self.path, path))
                    opened.callback(folder.close)
                    folders.append(folder)
            self._fileSystem.syncAll(folders)

    def close(self) -> None:
        """
        See L{ITree.close}.
        """
        self._kept.close()

    def _carriedFiles(self) -> CarriedFiles:
        return CarriedFiles(
            Folders(self._fileSystem, self.path, self.items),
            self.items,
            linkTargets(self.path, self.items, self._followInto),
            deniedTargets(self.path, self._private),
            self._kept,
        )

    def _mendable(self, paths: tuple[bytes, ...]) -> tuple[bytes, ...]:
        return tuple(path for path in paths if path not in self._unmendable)
