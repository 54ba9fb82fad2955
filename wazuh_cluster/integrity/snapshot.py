"""
Snapshots: what one scan of a home saw, in columns beside its manifest.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from attrs import field, fields, frozen

from wazuh_cluster.integrity.manifest import Manifest, packEntry
from wazuh_cluster.interfaces import FileStat
from wazuh_cluster.model import HeldPath

#: Times further away than this cannot stand in a column.
_FAR = 2**63 - 1


@frozen
class Scanned:
    """
    What a scan did.

    @ivar files: how many files it found.
    @ivar hashed: how many of them it read.
    @ivar hashedBytes: how much it read of them.
    """

    files: int = 0
    hashed: int = 0
    hashedBytes: int = 0


def clamped(nanoseconds: int) -> int:
    """
    A time as it stands in a column.
    """
    return max(-_FAR, min(_FAR, nanoseconds))


@frozen(eq=False)
class StatusColumns:
    """
    The status of each file, in the manifest's order. A carried link's is that
    of the file to which it leads.

    @ivar sizes: the size that the system said.
    @ivar mtimesNs: in nanoseconds.
    @ivar ctimesNs: in nanoseconds.
    @ivar inodes: numbers.
    @ivar modes: kind and permissions, as C{st_mode}.
    @ivar uids: owners.
    @ivar gids: groups.
    @ivar trusted: 1 where the same status means the same content, else 0.
    """

    sizes: array[int] = field(factory=lambda: array("Q"))
    mtimesNs: array[int] = field(factory=lambda: array("q"))
    ctimesNs: array[int] = field(factory=lambda: array("q"))
    inodes: array[int] = field(factory=lambda: array("Q"))
    modes: array[int] = field(factory=lambda: array("I"))
    uids: array[int] = field(factory=lambda: array("I"))
    gids: array[int] = field(factory=lambda: array("I"))
    trusted: bytearray = field(factory=bytearray)

    def append(self, status: FileStat, trusted: bool) -> None:
        """
        Add one file.
        """
        mode, size, mtime, ctime, inode, _, uid, gid, _ = status
        self.sizes.append(size)
        self.mtimesNs.append(clamped(mtime))
        self.ctimesNs.append(clamped(ctime))
        self.inodes.append(inode)
        self.modes.append(mode)
        self.uids.append(uid)
        self.gids.append(gid)
        self.trusted.append(trusted)

    def extend(self, other: StatusColumns, start: int, end: int) -> None:
        """
        Add a run of files of another snapshot.
        """
        self.sizes.extend(other.sizes[start:end])
        self.mtimesNs.extend(other.mtimesNs[start:end])
        self.ctimesNs.extend(other.ctimesNs[start:end])
        self.inodes.extend(other.inodes[start:end])
        self.modes.extend(other.modes[start:end])
        self.uids.extend(other.uids[start:end])
        self.gids.extend(other.gids[start:end])
        self.trusted.extend(other.trusted[start:end])

    def replace(self, start: int, end: int, other: StatusColumns) -> None:
        """
        Put the files of another snapshot in the place of a run.
        """
        for column in fields(StatusColumns):
            getattr(self, column.name)[start:end] = getattr(other, column.name)


class FolderKind(NamedTuple):
    """
    What folders of the same item and status have in common.

    @ivar wanted: the permissions that the item gives them.
    @ivar mode: those that they have.
    @ivar uid: their owner.
    @ivar gid: their group.
    """

    wanted: int
    mode: int
    uid: int
    gid: int


@frozen
class Listing:
    """
    A folder in which there is nothing but files and folders, none of them odd:
    as long as its status is the same, so are the names in it.

    @ivar status: its mtime and ctime in nanoseconds, its inode and device.
    @ivar folders: the names of the folders in it, sorted as paths are.
    """

    status: tuple[int, ...]
    folders: tuple[bytes, ...] = ()


@frozen(eq=False)
class Snapshot:
    """
    What one scan saw. It is not changed afterwards; the next scan shares with
    it what stayed the same: the manifest itself if all did.

    @ivar manifest: the carried files, and the held paths.
    @ivar columns: the status of each of them.
    @ivar folders: the folders below the items, without the items themselves,
        sorted; those below a held folder are not known.
    @ivar folderKinds: the same, held ones too, and the items' own unless they
        are links, by what they are like: nearly always all are alike.
    @ivar links: the carried files that are links.
    @ivar problems: path to one line saying what is wrong there, of held paths
        and of names that cannot be carried.
    @ivar scanned: what the scan did.
    @ivar listings: folders of which the names are known, by their paths with a
        final slash.
    @ivar rested: how many scans in a row took names from such.
    """

    manifest: Manifest
    columns: StatusColumns
    folders: list[bytes] = field(factory=list)
    folderKinds: Mapping[FolderKind, list[bytes]] = field(factory=dict)
    links: frozenset[bytes] = frozenset()
    problems: Mapping[bytes, str] = field(factory=dict)
    scanned: Scanned = Scanned()
    listings: Mapping[bytes, Listing] = field(factory=dict)
    rested: int = 0

    @property
    def trusted(self) -> bytearray:
        """
        See L{StatusColumns}.
        """
        return self.columns.trusted


class SnapshotBuilder:
    """
    Puts a snapshot together from files in the manifest's order. Runs that are
    as in the previous snapshot are copied as a whole.
    """

    def __init__(self, algorithm: str, previous: Snapshot | None) -> None:
        self._algorithm = algorithm
        self._previous = previous
        self._paths: list[bytes] = []
        self._sizes = array("Q")
        self._mtimes = array("q")
        self._digests = bytearray()
        self._columns = StatusColumns()
        # The same in the words of Manifest.derive; None once that is lost.
        self._pieces: list[tuple[int, int] | bytes] | None = [] if previous is not None else None
        # The run of the previous snapshot that is not copied yet.
        self._runStart = 0
        self._runEnd = 0

    def same(self, index: int) -> None:
        """
        The next file is that at C{index} of the previous snapshot.
        """
        if index != self._runEnd:
            self._flush()
            self._runStart = index
        self._runEnd = index + 1

    def sameRun(self, start: int, end: int) -> None:
        """
        The next files are those from C{start} to before C{end} there.
        """
        if start == end:
            return
        if start != self._runEnd:
            self._flush()
            self._runStart = start
        self._runEnd = end

    def add(self, path: bytes, size: int, digest: bytes, status: FileStat, trusted: bool) -> None:
        """
        The next file.

        @param size: how many bytes the digest is of.
        """
        self._flush()
        mtime = status[2] // 1_000_000_000
        self._paths.append(path)
        self._sizes.append(size)
        self._mtimes.append(mtime)
        self._digests += digest
        if self._pieces is not None:
            self._pieces.append(packEntry(path, size, mtime, digest))
        self._columns.append(status, trusted)

    def replace(
        self, path: bytes, size: int, digest: bytes, status: FileStat, trusted: bool
    ) -> None:
        """
        A file is another now than when it was added, or there since.
        """
        self._flush()
        self._pieces = None
        rest = SnapshotBuilder(self._algorithm, None)
        rest.add(path, size, digest, status, trusted)
        at = bisect_left(self._paths, path)
        after = at + (at < len(self._paths) and self._paths[at] == path)
        width = len(digest)
        self._paths[at:after] = rest._paths
        self._sizes[at:after] = rest._sizes
        self._mtimes[at:after] = rest._mtimes
        self._digests[at * width : after * width] = digest
        self._columns.replace(at, after, rest._columns)

    def build(
        self,
        held: Iterable[HeldPath],
        folders: list[bytes],
        folderKinds: Mapping[FolderKind, list[bytes]],
        links: frozenset[bytes],
        problems: Mapping[bytes, str],
        hashed: int,
        hashedBytes: int,
        listings: Mapping[bytes, Listing],
        rested: int,
    ) -> Snapshot:
        """
        The snapshot.
        """
        held = tuple(sorted(held, key=lambda each: each.path))
        manifest, columns = self._whole(held)
        return Snapshot(
            manifest,
            columns,
            folders,
            folderKinds,
            links,
            problems,
            Scanned(len(manifest), hashed, hashedBytes),
            listings,
            rested,
        )

    def _whole(self, held: tuple[HeldPath, ...]) -> tuple[Manifest, StatusColumns]:
        previous = self._previous
        if (
            previous is not None
            and not self._paths
            and self._runStart == 0
            and self._runEnd == len(previous.manifest)
            and previous.manifest.held == held
        ):
            return previous.manifest, previous.columns
        self._flush()
        columns = (self._paths, self._sizes, self._mtimes, bytes(self._digests), held)
        if previous is None:
            return Manifest(self._algorithm, *columns), self._columns
        manifest = previous.manifest.derive(*columns, self._pieces)
        # A file that was only read again, or whose mode changed, leaves the
        # manifest as it was.
        if previous.manifest == manifest:
            manifest = previous.manifest
        return manifest, self._columns

    def _flush(self) -> None:
        start, end = self._runStart, self._runEnd
        if self._previous is None or start == end:
            return
        old = self._previous.manifest
        self._paths += old.paths[start:end]
        self._sizes.extend(old.sizes[start:end])
        self._mtimes.extend(old.mtimes[start:end])
        self._digests += old.digests[start * old.digestSize : end * old.digestSize]
        self._columns.extend(self._previous.columns, start, end)
        if self._pieces is not None:
            self._pieces.append((start, end))
        self._runStart = self._runEnd = -1
