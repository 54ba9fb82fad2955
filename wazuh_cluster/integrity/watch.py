"""
Watching a home's items by inotify.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterable
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.integrity.inotify import (
    CREATE,
    DELETE,
    DELETE_SELF,
    IGNORED,
    IS_FOLDER,
    MOVE_SELF,
    MOVED_FROM,
    MOVED_TO,
    OVERFLOW,
    UNMOUNT,
    Event,
    Inotify,
)
from wazuh_cluster.integrity.items import Items
from wazuh_cluster.integrity.mounts import networkFileSystem
from wazuh_cluster.integrity.paths import isWithin
from wazuh_cluster.interfaces import IRunner, IWatcher, Slices
from wazuh_cluster.journal import LOCAL_INTEGRITY, Journal
from wazuh_cluster.repeats import Repeats, repeated

#: Seconds until watching is tried again where it could not be.
RETRY = 600.0

#: Folders that are added between two yields.
_STEP = 256

#: How often the kernel is read at once: more than its queue holds.
_READS = 256

#: Seconds between two lines about a queue that ran over.
_SAID = 600.0

_GONE = DELETE_SELF | MOVE_SELF | UNMOUNT | IGNORED
_OTHER_FOLDER = CREATE | DELETE | MOVED_FROM | MOVED_TO

#: Why one folder cannot be watched: it is gone, or cannot be read. Whoever looks
#: at the one above it sees that too.
_PASSED_OVER = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP)


@implementer(IWatcher, IReadDescriptor)
class InotifyWatcher:
    """
    An L{IWatcher} by the kernel's inotify. It watches the home, what leads to
    the items, the items, and the folders below them of which it is told.

    Where that cannot be, it says why, once, and tries again after L{RETRY}
    seconds: then only scans find changes.
    """

    def __init__(
        self,
        reactor: Any,
        home: bytes,
        items: Items,
        openKernel: Callable[[], Inotify] = Inotify,
        networkOf: Callable[[bytes], str | None] = networkFileSystem,
    ) -> None:
        """
        @param reactor: an C{IReactorTime} and C{IReactorFDSet}.
        @param home: absolute.
        @param networkOf: tells which kind of network file system a folder is
            on, if it is on one.
        """
        self._reactor = reactor
        self._home = home
        self._items = items
        self._openKernel = openKernel
        self._networkOf = networkOf
        self._log = Journal(LOCAL_INTEGRITY)
        self._overflows = Repeats(reactor, _SAID)
        self._runner: IRunner | None = None
        self._changed: Callable[[Collection[bytes] | None], None] = lambda _: None
        self._kernel: Inotify | None = None
        self._watches = _Watches()
        self._followed: Collection[bytes] | None = None
        self._failedAt: float | None = None
        self._said: str | None = None

    @property
    def watching(self) -> bool:
        """
        See L{IWatcher.watching}.
        """
        return self._followed is not None

    def start(self, runner: IRunner, changed: Callable[[Collection[bytes] | None], None]) -> None:
        """
        See L{IWatcher.start}.
        """
        self._runner, self._changed = runner, changed

    async def follow(self, folders: Collection[bytes]) -> None:
        """
        See L{IWatcher.follow}.
        """
        if self._runner is None or self._rests():
            return
        if self._followed is folders and not self._watches.lost:
            return
        try:
            if self._kernel is None:
                self._open(await self._runner.call(self._begin))
            await self._watch(self._runner, folders)
        except OSError as error:
            self._giveUp(_explained(error, len(folders)))
        except _Elsewhere as elsewhere:
            self._giveUp(str(elsewhere))

    def look(self) -> None:
        """
        See L{IWatcher.look}.
        """
        for _ in range(_READS):
            if self._kernel is None or not self._read(self._kernel):
                return

    def stop(self) -> None:
        """
        See L{IWatcher.stop}.
        """
        self._runner = None
        self._close()

    # What a reactor calls.

    def fileno(self) -> int:
        """
        The descriptor on which the reactor waits.
        """
        return -1 if self._kernel is None else self._kernel.fileno()

    def doRead(self) -> None:
        """
        Something happened.
        """
        if self._kernel is not None:
            self._read(self._kernel)

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor waits no more.
        """
        self._close()

    def logPrefix(self) -> str:
        """
        What this is, in the reactor's own words.
        """
        return "inotify"

    # Watching.

    def _rests(self) -> bool:
        now = self._reactor.seconds()
        return self._failedAt is not None and 0 <= now - self._failedAt < RETRY

    def _begin(self) -> Inotify:
        """
        Open the kernel's side. Runs on the runner.

        @raise _Elsewhere: on a network file system.
        """
        for path in (b"", *(item.path for item in self._items if not item.isFile)):
            kind = self._networkOf(self._below(path))
            if kind is not None:
                place = os.fsdecode(path) or "the home"
                raise _Elsewhere(f"{place} is on {kind}, which does not tell what others change")
        return self._openKernel()

    def _open(self, kernel: Inotify) -> None:
        if self._runner is None:
            kernel.close()
            return
        self._kernel = kernel
        self._reactor.addReader(self)

    def _close(self) -> None:
        kernel, self._kernel = self._kernel, None
        self._followed = None
        self._watches = _Watches()
        if kernel is not None:
            self._reactor.removeReader(self)
            kernel.close()

    def _giveUp(self, why: str) -> None:
        self._close()
        self._failedAt = self._reactor.seconds()
        if why != self._said:
            self._said = why
            self._log.warn(
                "Changes are not noticed at once, only by the scans at intervals: {why}.", why=why
            )

    async def _watch(self, runner: IRunner, folders: Collection[bytes]) -> None:
        """
        Watch what there is, and nothing else.
        """
        kernel, watches = self._kernel, self._watches
        if kernel is None:
            return
        above = _above(self._items)
        wanted = {*above, *folders}
        for path in watches.paths() - wanted:
            self._forget(path)
        watches.lost = False
        new = await runner.run(self._add(kernel, sorted(wanted - watches.paths()), above))
        if self._kernel is not kernel:
            # It was ended, or begun anew, meanwhile.
            return
        for path, watch in new:
            watches.add(path, watch)
        first = self._followed is None
        self._followed = folders
        self._failedAt = None
        if first and self._said != "":
            self._said = ""
            self._log.info(
                "Changes are noticed at once: {folders} folders are watched.", folders=len(watches)
            )
        # What happened there before they were watched, nobody told.
        if new:
            self._changed(None if first else [path for path, _ in new])

    def _add(
        self, kernel: Inotify, paths: Iterable[bytes], above: Collection[bytes]
    ) -> Slices[list[tuple[bytes, int]]]:
        added = []
        for count, path in enumerate(paths):
            if count % _STEP == _STEP - 1:
                yield
            try:
                added.append((path, kernel.add(self._below(path), path in above)))
            except OSError as error:
                if error.errno not in _PASSED_OVER:
                    raise
        return added

    def _forget(self, path: bytes) -> None:
        for watch in self._watches.forget(path):
            if self._kernel is not None:
                self._kernel.remove(watch)

    def _below(self, path: bytes) -> bytes:
        return self._home + b"/" + path if path else self._home

    # What the kernel tells.

    def _read(self, kernel: Inotify) -> bool:
        """
        Take in what happened.

        @return: whether something did.
        """
        try:
            events = kernel.read()
        except OSError as error:
            self._giveUp(_explained(error, len(self._watches)))
            self._changed(None)
            return False
        changed: set[bytes] = set()
        for event in events:
            if event.mask & OVERFLOW:
                self._overflowed()
                return True
            for folder in self._watches.at(event.watch):
                for path in self._judge(event, folder):
                    if self._items.around(path) is None:
                        # It leads to items.
                        self._changed(None)
                    else:
                        changed.add(path)
        if changed:
            self._changed(changed)
        return bool(events)

    def _judge(self, event: Event, folder: bytes) -> Iterable[bytes]:
        """
        @param folder: the one that the event is about, by one of its paths.
        @return: the path that must be looked at, if any.
        """
        if event.mask & _GONE:
            self._forget(folder)
            return (folder,)
        if not event.name:
            return ()
        path = folder + b"/" + event.name if folder else event.name
        if event.mask & IS_FOLDER:
            if not self._leadsToFiles(path):
                return ()
            if event.mask & _OTHER_FOLDER:
                self._forget(path)
            return (path,)
        # What was made is told again when it was written and closed.
        if event.mask & CREATE:
            return ()
        if self._items.find(path) is not None or self._leadsToItems(path):
            return (path,)
        return ()

    def _leadsToFiles(self, folder: bytes) -> bool:
        item = self._items.around(folder)
        if item is None:
            return self._leadsToItems(folder)
        return item.isFile or item.recursive or folder == item.path

    def _leadsToItems(self, path: bytes) -> bool:
        return any(isWithin(item.path, path) for item in self._items)

    def _overflowed(self) -> None:
        held = self._overflows.allow("overflow")
        if held is not None:
            repeated(
                self._log.warn,
                held,
                "More changed at once than the system remembers "
                "(fs.inotify.max_queued_events): all files are looked at.",
            )
        # Which folders are which may have been among it.
        self._close()
        self._changed(None)


class _Watches:
    """
    Which folders are watched, by which numbers: one folder may have several
    paths, through links.

    @ivar lost: whether some are not watched any more since this was set.
    """

    def __init__(self) -> None:
        self.lost = False
        self._byPath: dict[bytes, int] = {}
        self._byWatch: dict[int, list[bytes]] = {}

    def __len__(self) -> int:
        return len(self._byPath)

    def paths(self) -> set[bytes]:
        """
        Of all watched folders.
        """
        return set(self._byPath)

    def at(self, watch: int) -> tuple[bytes, ...]:
        """
        The paths of a watch; none if it is not wanted any more.
        """
        return tuple(self._byWatch.get(watch, ()))

    def add(self, path: bytes, watch: int) -> None:
        """
        A folder is watched.
        """
        self._byPath[path] = watch
        self._byWatch.setdefault(watch, []).append(path)

    def forget(self, folder: bytes) -> list[int]:
        """
        A folder, and those below it, are not watched any more.

        @return: the watches that stand for nothing now.
        """
        below = folder + b"/"
        unused = []
        for path in [path for path in self._byPath if path == folder or path.startswith(below)]:
            self.lost = True
            watch = self._byPath.pop(path)
            paths = self._byWatch[watch]
            paths.remove(path)
            if not paths:
                del self._byWatch[watch]
                unused.append(watch)
        return unused


class _Elsewhere(Exception):
    """
    The home is where the kernel does not tell all.
    """


def _above(items: Items) -> frozenset[bytes]:
    """
    The home, the folders that lead to items, and the items that are folders.
    """
    found = {b""}
    for item in items:
        parts = item.path.split(b"/")
        last = len(parts) - 1 if item.isFile else len(parts)
        found.update(b"/".join(parts[:end]) for end in range(1, last + 1))
    return frozenset(found)


def _explained(error: OSError, folders: int) -> str:
    """
    What kept the kernel from telling, for people.
    """
    if error.errno == errno.ENOSYS:
        return "this system has no inotify"
    if error.errno == errno.EMFILE:
        return (
            "this user has as many inotify instances, or open files, as are allowed: raise "
            "fs.inotify.max_user_instances by sysctl"
        )
    if error.errno == errno.ENOSPC:
        return (
            f"this user has as many inotify watches as are allowed, and {folders} folders are to "
            "be watched: raise fs.inotify.max_user_watches by sysctl"
        )
    return f"inotify says: {error.strerror}"
