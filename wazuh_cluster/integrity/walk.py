"""
The walk of a scan: through folders in the order of their paths, along the
snapshot before.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_left
from collections.abc import Callable, Mapping
from heapq import merge

from attrs import evolve

from wazuh_cluster.integrity.folders import joined
from wazuh_cluster.integrity.installed import Installed
from wazuh_cluster.integrity.items import Item, Items
from wazuh_cluster.integrity.kept import Kept
from wazuh_cluster.integrity.manifest import newHash
from wazuh_cluster.integrity.paths import pathFault
from wazuh_cluster.integrity.snapshot import (
    FolderKind,
    Listing,
    Snapshot,
    SnapshotBuilder,
    StatusColumns,
)
from wazuh_cluster.interfaces import FileStat, IFileSystem, IFolder, IOpenFile, Slices
from wazuh_cluster.model import HeldPath

#: Why a path is held, in the manifest; a snapshot's problems say more.
LINK = "link"
SPECIAL = "special"
UNREADABLE = "unreadable"
NO_FOLDER = "not a folder"

#: A status taken this close to the file's own times, in nanoseconds, may be
#: that of two contents.
_FRESH = 2_000_000_000

#: By how much the clock of a file server may be ahead of ours, in nanoseconds.
#: What lies further in the future comes from a clock that was set back.
_AHEAD = 3600_000_000_000

#: How many scans in a row may take the names in a folder from the one before.
MOST_RESTS = 8

_NAMES_STEP = 16384
_STATUS_STEP = 128
_HASHED_STEP = 8
_PIECE = 256 * 1024
_PIECES_STEP = 4

#: There is nothing, or nothing any more.
GONE = (errno.ENOENT, errno.ESTALE)

#: The system has run out of something, which says nothing about a file.
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Walk:
    """
    One scan under way. Everything is visited in the bytewise order of whole
    paths, so that the result needs no sorting and the previous snapshot is
    read along.
    """

    def __init__(
        self,
        fileSystem: IFileSystem,
        home: bytes,
        items: Items,
        algorithm: str,
        previous: Snapshot | None,
        wallClock: Callable[[], float],
    ) -> None:
        self._fileSystem = fileSystem
        self._home = home
        self._items = items
        self._wallClock = wallClock
        # Copied for each file: to look an algorithm up takes longer.
        self._noBytes = newHash(algorithm)
        if previous is not None and previous.manifest.algorithm != algorithm:
            previous = None
        self._previous = previous
        self._oldPaths = [] if previous is None else previous.manifest.paths
        self._oldColumns = StatusColumns() if previous is None else previous.columns
        # Where in the previous snapshot this walk is.
        self._old = 0
        self._seen = 0
        # What is known of folders that nobody changed since; now and then they
        # are listed all the same, for not every file system can be relied on.
        rested = 0 if previous is None else previous.rested + 1
        self.rested = rested if rested <= MOST_RESTS else 0
        self._oldListings: Mapping[bytes, Listing] = {}
        if previous is not None and self.rested:
            self._oldListings = previous.listings
        self.listings: dict[bytes, Listing] = {}
        # How often something was not just a file or a folder, in this folder.
        self._odd = 0
        self.allowed: tuple[bytes, ...] = ()
        self.denied: tuple[bytes, ...] = ()
        self.installed: Installed | None = None
        self.kept: Kept | None = None
        self.builder = SnapshotBuilder(algorithm, previous)
        self.held: list[HeldPath] = []
        self.folders: list[bytes] = []
        self.folderKinds: dict[FolderKind, list[bytes]] = {}
        self.links: list[bytes] = []
        self.problems: dict[bytes, str] = {}
        self.hashed = 0
        self.hashedBytes = 0
        # What a single file looked like, of items that are one.
        self._single: dict[bytes, FileStat] = {}

    def all(self) -> Slices[None]:
        """
        Walk all items.
        """
        for item in self._items:
            yield from self.item(item)
        yield from self.last()

    def last(self) -> Slices[None]:
        """
        Look once more at what must not be older than the rest.
        """
        for item in self._items:
            if item.isFile and item.ownTime:
                yield from self.again(item)

    def item(self, item: Item) -> Slices[None]:
        """
        Walk one item.
        """
        place, _, name = item.path.rpartition(b"/")
        own: FileStat | None = None
        if not item.isFile:
            own = self._noteOwnFolder(item, place, name)
            place = item.path
        try:
            folder = self._fileSystem.openFolder(joined(self._home, place))
        except OSError as error:
            if not self._isMissing(place, error):
                path = item.path if item.isFile else item.path + b"/"
                if error.errno == errno.ENOTDIR:
                    self._hold(path, NO_FOLDER, "is, or lies in, what is not a folder")
                else:
                    self._holdFor(path, "cannot be opened", error)
            return
        try:
            if item.isFile:
                yield from self._entry(folder, item, name, item.path)
            else:
                yield from self._folder(folder, item, item.path + b"/", own)
        finally:
            folder.close()

    def _noteOwnFolder(self, item: Item, above: bytes, name: bytes) -> FileStat | None:
        try:
            folder = self._fileSystem.openFolder(joined(self._home, above))
        except OSError:
            # To open it itself will tell what is wrong.
            return None
        try:
            return self._noteFolder(folder, item, name, item.path)
        finally:
            folder.close()

    def _noteFolder(self, above: IFolder, item: Item, name: bytes, path: bytes) -> FileStat | None:
        """
        Note what a folder is like, if it is one.

        @return: its status.
        """
        try:
            status = above.status(name)
        except OSError:
            return None
        mode, _, _, _, _, _, uid, gid, _ = status
        if not stat.S_ISDIR(mode):
            return None
        kind = FolderKind(item.folderMode, stat.S_IMODE(mode), uid, gid)
        self.folderKinds.setdefault(kind, []).append(path)
        return status

    def again(self, item: Item) -> Slices[None]:
        """
        Look a second time at an item that is a single file, after all others:
        an agent's key is written before its assignment, so whoever has seen
        the one must see the other.
        """
        if any(held.path == item.path for held in self.held):
            return
        place, _, name = item.path.rpartition(b"/")
        try:
            folder = self._fileSystem.openFolder(joined(self._home, place))
        except OSError:
            return
        try:
            status = folder.status(name)
            known = self._single.get(item.path)
            if stat.S_ISREG(status[0]) and (known is None or status[1:5] != known[1:5]):
                file = folder.openRead(name)
                try:
                    size, digest, seen, trusted = yield from self._hash(file)
                    self.builder.replace(item.path, size, digest, seen, trusted)
                    self._keep(item.path, digest, size, file)
                finally:
                    file.close()
        except OSError:
            # The next scan says what is wrong.
            return
        finally:
            folder.close()

    def _isMissing(self, path: bytes, error: OSError) -> bool:
        """
        Whether there simply is nothing at C{path}: a link that leads nowhere,
        as to a disk that is not mounted, is something.
        """
        if error.errno != errno.ENOENT:
            return False
        above = self._home
        for name in path.split(b"/"):
            try:
                folder = self._fileSystem.openFolder(above)
                try:
                    folder.status(name)
                finally:
                    folder.close()
            except OSError as deeper:
                return deeper.errno == errno.ENOENT
            above = joined(above, name)
        return False

    def _folder(
        self, folder: IFolder, item: Item, prefix: bytes, own: FileStat | None
    ) -> Slices[None]:
        """
        Walk a folder.

        @param prefix: its path, with a final slash.
        @param own: its status, before it was opened; C{None} if that is not
            known.
        """
        before, self._odd = self._odd, 0
        listing = None
        if own is not None and self._isOld(own, self._now()):
            listing = Listing(own[2:6])
            # What this node itself just did may be within one tick of a clock.
            known = None if self.installed is not None else self._oldListings.get(prefix)
            if known is not None and known.status == listing.status:
                yield from self._known(folder, item, prefix, known)
                listing = known
            else:
                listing = evolve(listing, folders=(yield from self._list(folder, item, prefix)))
        else:
            yield from self._list(folder, item, prefix)
        if listing is not None and not self._odd:
            self.listings[prefix] = listing
        self._odd = before

    def _known(self, folder: IFolder, item: Item, prefix: bytes, listing: Listing) -> Slices[None]:
        """
        Walk a folder in which there are the same names as in the previous
        snapshot: nobody has changed it since.
        """
        paths = self._oldPaths
        at = bisect_left(paths, prefix, self._old)
        for name in listing.folders:
            path = prefix + name + b"/"
            start = bisect_left(paths, path, at)
            yield from self._knownFiles(folder, item, prefix, at, start)
            yield from self._subfolder(folder, item, name, path)
            at = bisect_left(paths, path[:-1] + b"0", start)
        end = bisect_left(paths, prefix[:-1] + b"0", at)
        yield from self._knownFiles(folder, item, prefix, at, end)

    def _knownFiles(
        self, folder: IFolder, item: Item, prefix: bytes, at: int, end: int
    ) -> Slices[None]:
        """
        Look at the files of a folder at C{at} to before C{end} of the previous
        snapshot.
        """
        paths, old, size = self._oldPaths, self._oldColumns, len(prefix)
        while at < end:
            stop = min(end, at + _STATUS_STEP)
            untrusted = old.trusted.find(0, at, stop)
            count = folder.countSame(
                [path[size:] for path in paths[at : stop if untrusted < 0 else untrusted]],
                old.sizes[at:stop],
                old.mtimesNs[at:stop],
                old.ctimesNs[at:stop],
                old.inodes[at:stop],
            )
            self.builder.sameRun(at, at + count)
            at = self._old = at + count
            yield
            if at < stop:
                path = paths[at]
                yield from self._one(folder, item, path[size:], path)
                at += 1

    def _one(self, folder: IFolder, item: Item, name: bytes, path: bytes) -> Slices[None]:
        """
        Look at one name in a folder, unless it is that of a folder.
        """
        matches = item.matches(name)
        try:
            status = folder.status(name)
        except OSError as error:
            self._odd += 1
            if error.errno not in GONE and matches:
                self._holdFor(path, "cannot be looked at", error)
            return
        if stat.S_ISREG(status[0]):
            if matches and not self._isSame(path, status):
                yield from self._regular(folder, name, path, status)
        else:
            yield from self._irregular(folder, item, name, path, status)

    def _list(self, folder: IFolder, item: Item, prefix: bytes) -> Slices[tuple[bytes, ...]]:
        """
        Walk a folder by the names that are in it.

        @return: those of folders.
        """
        folders: list[bytes] = []
        chunks: list[list[bytes]] = [[]]
        try:
            for name, isFolder in folder.names():
                if len(chunks[-1]) == _NAMES_STEP:
                    chunks[-1].sort()
                    chunks.append([])
                    yield
                # As whole paths are sorted: "a-b" comes before "a/b".
                chunks[-1].append(name + b"/" if isFolder else name)
        except OSError as error:
            self._holdFor(prefix, "cannot be listed", error)
            return ()
        chunks[-1].sort()
        everything, excludes = b"*" in item.names, self._items.excludes
        statusOf, isSame = folder.status, self._isSame
        for name in chunks[0] if len(chunks) == 1 else merge(*chunks):
            if name[-1] == 0x2F:
                if item.recursive:
                    folders.append(name[:-1])
                    yield from self._subfolder(folder, item, name[:-1], prefix + name)
                continue
            if excludes(name):
                continue
            self._seen += 1
            if self._seen % _STATUS_STEP == 0:
                yield
            try:
                status = statusOf(name)
            except OSError as error:
                self._odd += 1
                if error.errno not in GONE and (everything or item.matches(name)):
                    self._holdFor(prefix + name, "cannot be looked at", error)
                continue
            path = prefix + name
            if stat.S_ISREG(status[0]):
                if (everything or item.matches(name)) and not isSame(path, status):
                    yield from self._regular(folder, name, path, status)
            else:
                yield from self._irregular(folder, item, name, path, status)
        return tuple(folders)

    def _subfolder(self, folder: IFolder, item: Item, name: bytes, path: bytes) -> Slices[None]:
        if self._cannotTravel(path):
            return
        own = self._noteFolder(folder, item, name, path[:-1])
        try:
            below = folder.openFolder(name)
        except OSError as error:
            # What is no folder any more shows as what it is the next time.
            if error.errno not in (*GONE, errno.ELOOP, errno.ENOTDIR):
                self._holdFor(path, "cannot be opened", error)
            return
        self.folders.append(path[:-1])
        try:
            yield from self._folder(below, item, path, own)
        finally:
            below.close()

    def _entry(self, folder: IFolder, item: Item, name: bytes, path: bytes) -> Slices[None]:
        """
        Look at the file of an item that is a single one.
        """
        try:
            status = folder.status(name)
        except OSError as error:
            if error.errno not in GONE:
                self._holdFor(path, "cannot be looked at", error)
            return
        self._single[path] = status
        if not stat.S_ISREG(status[0]):
            yield from self._irregular(folder, item, name, path, status)
        elif not self._isSame(path, status):
            yield from self._regular(folder, name, path, status)

    def _irregular(
        self, folder: IFolder, item: Item, name: bytes, path: bytes, status: FileStat
    ) -> Slices[None]:
        self._odd += 1
        matches = item.isFile or item.matches(name)
        if stat.S_ISLNK(status[0]):
            if matches and self.allowed:
                yield from self._link(folder, name, path)
            elif matches or item.recursive:
                # It may stand for a folder with carried files in it.
                self._hold(path, LINK, "is a link, which is not followed")
        elif stat.S_ISDIR(status[0]):
            if item.isFile:
                self._hold(path + b"/", SPECIAL, "is a folder, not a file")
        elif matches:
            self._hold(path, SPECIAL, "is neither a file nor a folder")

    def _link(self, folder: IFolder, name: bytes, path: bytes) -> Slices[None]:
        if self._cannotTravel(path):
            return
        try:
            file = folder.openLinked(name, self.allowed, self.denied)
        except OSError as error:
            why = {
                errno.EACCES: "is a link to what may not be carried or read",
                errno.EINVAL: "is a link to something that is not a file",
                errno.ENOENT: "is a link that leads nowhere",
            }.get(error.errno or 0, f"is a link that cannot be followed: {systemSaid(error)}")
            self._hold(path, LINK, why)
            return
        self.links.append(path)
        try:
            if not self._isSame(path, file.status()):
                yield from self._read(file, path)
        except OSError as error:
            self.links.pop()
            self._holdFor(path, "cannot be read", error)
        finally:
            file.close()

    def _regular(self, folder: IFolder, name: bytes, path: bytes, status: FileStat) -> Slices[None]:
        if self._cannotTravel(path):
            return
        if self.installed is not None:
            digest = self.installed.digest(path, status)
            if digest is not None:
                self.builder.add(path, status.size, digest, status, False)
                return
        try:
            file = folder.openRead(name)
        except OSError as error:
            self._odd += 1
            if error.errno == errno.ELOOP:
                self._hold(path, LINK, "became a link")
            elif error.errno not in GONE:
                self._holdFor(path, "cannot be opened", error)
            return
        try:
            yield from self._read(file, path)
        except OSError as error:
            self._holdFor(path, "cannot be read", error)
        finally:
            file.close()

    def _read(self, file: IOpenFile, path: bytes) -> Slices[None]:
        """
        Take an open file in as it is.
        """
        size, digest, status, trusted = yield from self._hash(file)
        self.builder.add(path, size, digest, status, trusted)
        if path in self._single:
            self._keep(path, digest, size, file)
        if self.hashed % _HASHED_STEP == 0:
            yield

    def _keep(self, path: bytes, digest: bytes, size: int, file: IOpenFile) -> None:
        """
        Hold the very file open that was hashed: its name may be another's now.
        """
        if self.kept is not None:
            self.kept.keep(path, digest, size, file.again())

    def _hash(self, file: IOpenFile) -> Slices[tuple[int, bytes, FileStat, bool]]:
        """
        Hash an open file.

        @return: its size, its digest, its status, and whether that can be
            trusted.
        """
        now = self._now()
        before = file.status()
        hasher = self._noBytes.copy()
        size = pieces = 0
        while True:
            data = file.read(_PIECE)
            if not data:
                break
            hasher.update(data)
            size += len(data)
            pieces += 1
            if pieces % _PIECES_STEP == 0:
                yield
        quiet = file.status()[:5] == before[:5] and size == before[1]
        self.hashed += 1
        self.hashedBytes += size
        return size, hasher.digest(), before, quiet and self._isOld(before, now)

    def _isSame(self, path: bytes, status: FileStat) -> bool:
        """
        Take a file over from the previous snapshot if that is safe.
        """
        paths, at = self._oldPaths, self._old
        count = len(paths)
        while at < count and paths[at] < path:
            at += 1
        if at == count or paths[at] != path:
            self._old = at
            return False
        self._old = at + 1
        old = self._oldColumns
        if (
            old.ctimesNs[at] == status[3]
            and old.mtimesNs[at] == status[2]
            and old.sizes[at] == status[1]
            and old.inodes[at] == status[4]
            and old.trusted[at]
        ):
            self.builder.same(at)
            return True
        return False

    def _isOld(self, status: FileStat, now: int) -> bool:
        """
        Whether no change after C{now} can leave this status as it is.
        """
        return not (-_FRESH < now - status[2] < _FRESH or -_AHEAD < now - status[3] < _FRESH)

    def _cannotTravel(self, path: bytes) -> bool:
        """
        Leave out a path that no node would take from another.
        """
        fault = pathFault(path.rstrip(b"/"))
        if fault is not None:
            self._odd += 1
            self.problems[path] = f"cannot be carried: {fault}"
        return fault is not None

    def _hold(self, path: bytes, why: str, problem: str) -> None:
        if not self._cannotTravel(path):
            self._odd += 1
            self.problems[path] = problem
            self.held.append(HeldPath(path, why))

    def _holdFor(self, path: bytes, what: str, error: OSError) -> None:
        """
        Hold what the system refused, unless that says nothing about the file.
        """
        if error.errno in EXHAUSTED:
            raise error
        self._hold(path, UNREADABLE, f"{what}: {systemSaid(error)}")

    def _now(self) -> int:
        return round(self._wallClock() * 1e9)


def systemSaid(error: OSError) -> str:
    """
    What the system said, for people.
    """
    return os.strerror(error.errno) if error.errno else str(error)
