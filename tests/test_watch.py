"""
Tests for L{wazuh_cluster.integrity.watch}, L{wazuh_cluster.integrity.inotify} and
L{wazuh_cluster.integrity.mounts}.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection
from unittest import skipUnless

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wazuh_cluster.integrity import WAZUH_ITEMS
from wazuh_cluster.integrity.inotify import DELETE_SELF, OVERFLOW, Event, Inotify
from wazuh_cluster.integrity.mounts import networkFileSystem
from wazuh_cluster.integrity.watch import RETRY, InotifyWatcher
from wazuh_cluster.interfaces import IWatcher
from wazuh_cluster.testing.runner import ImmediateRunner


def hasInotify() -> bool:
    try:
        Inotify().close()
    except OSError:
        return False
    return True


class WatchCase(SynchronousTestCase):
    """
    A home on the disk with a watcher that is looked at by hand: the kernel has
    an event before the call that caused it returns.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.home = FilePath(self.mktemp())
        for folder in ("etc/rules/deep", "etc/shared", "queue/agent-groups", "var"):
            self.home.descendant(folder.split("/")).makedirs()
        self.put("etc/rules/one.xml", b"one")
        self.told: list[set[bytes] | None] = []

    def put(self, path: str, content: bytes = b"x") -> None:
        self.home.preauthChild(path).setContent(content, ext=".tmp")

    def write(self, path: str, content: bytes = b"x") -> None:
        with open(self.home.preauthChild(path).path, "wb") as file:
            file.write(content)

    def at(self, path: str) -> str:
        return str(self.home.preauthChild(path).path)

    def changed(self, paths: Collection[bytes] | None) -> None:
        self.told.append(None if paths is None else set(paths))

    def watcher(self, **keywords: object) -> InotifyWatcher:
        path = os.fsencode(os.path.abspath(self.home.path))
        watcher = InotifyWatcher(self.reactor, path, WAZUH_ITEMS, **keywords)  # type: ignore[arg-type]
        watcher.start(ImmediateRunner(), self.changed)
        self.addCleanup(watcher.stop)
        return watcher

    def follow(self, watcher: InotifyWatcher, *folders: bytes) -> None:
        self.successResultOf(Deferred.fromCoroutine(watcher.follow(list(folders))))

    def seen(self, watcher: InotifyWatcher) -> set[bytes] | None:
        """
        What is told of what happened since the last time.
        """
        self.told.clear()
        watcher.look()
        if None in self.told:
            return None
        return set().union(*(each for each in self.told if each is not None))


@skipUnless(hasInotify(), "there is no inotify here")
class InotifyWatcherTests(WatchCase):
    """
    L{InotifyWatcher} on the kernel.
    """

    def setUp(self) -> None:
        super().setUp()
        self.watching = self.watcher()
        self.follow(self.watching, b"etc/rules/deep")

    def test_interface(self) -> None:
        """
        It is what it says, and the reactor waits for it.
        """
        verifyObject(IWatcher, self.watching)
        self.assertTrue(self.watching.watching)
        self.assertEqual([self.watching], self.reactor.getReaders())
        self.assertEqual([None], self.told)

    def test_files(self) -> None:
        """
        It tells of files that are written, replaced, moved and deleted, and of
        other modes; not of ones that are read.
        """
        self.write("etc/rules/two.xml")
        self.assertEqual({b"etc/rules/two.xml"}, self.seen(self.watching))
        self.put("etc/rules/deep/three.xml")
        self.assertEqual({b"etc/rules/deep/three.xml"}, self.seen(self.watching))
        os.rename(self.at("etc/rules/two.xml"), self.at("etc/shared/two.xml"))
        self.assertEqual({b"etc/rules/two.xml", b"etc/shared/two.xml"}, self.seen(self.watching))
        os.unlink(self.at("etc/shared/two.xml"))
        self.assertEqual({b"etc/shared/two.xml"}, self.seen(self.watching))
        os.chmod(self.at("etc/rules/one.xml"), 0o600)
        self.assertEqual({b"etc/rules/one.xml"}, self.seen(self.watching))
        self.home.preauthChild("etc/rules/one.xml").getContent()
        os.listdir(self.at("etc/rules"))
        self.assertEqual(set(), self.seen(self.watching))

    def test_whole(self) -> None:
        """
        A file that is being written is told of when it is closed.
        """
        with open(self.at("etc/rules/slow.xml"), "wb", buffering=0) as file:
            file.write(b"a part")
            self.assertEqual(set(), self.seen(self.watching))
        self.assertEqual({b"etc/rules/slow.xml"}, self.seen(self.watching))

    def test_notCarried(self) -> None:
        """
        It tells nothing of what is not carried.
        """
        for path in ("etc/ossec.conf", "etc/rules/a.xml~", "etc/rules/a.tmp", "queue/db"):
            self.write(path)
        os.mkdir(self.at("queue/agent-groups/folder"))
        os.mkdir(self.at("logs"))
        self.assertEqual(set(), self.seen(self.watching))

    def test_singleFile(self) -> None:
        """
        An item that is a file is told of however it is changed.
        """
        self.put("etc/client.keys")
        self.assertEqual({b"etc/client.keys"}, self.seen(self.watching))
        os.unlink(self.at("etc/client.keys"))
        self.assertEqual({b"etc/client.keys"}, self.seen(self.watching))

    def test_newFolder(self) -> None:
        """
        A new folder is told of; once it is followed, so is what happened in it
        meanwhile, and what happens then.
        """
        os.makedirs(self.at("etc/shared/web"))
        self.assertEqual({b"etc/shared/web"}, self.seen(self.watching))
        self.write("etc/shared/web/agent.conf")
        self.assertEqual(set(), self.seen(self.watching))
        self.told.clear()
        self.follow(self.watching, b"etc/rules/deep", b"etc/shared/web")
        self.assertEqual([{b"etc/shared/web"}], self.told)
        self.write("etc/shared/web/agent.conf")
        self.assertEqual({b"etc/shared/web/agent.conf"}, self.seen(self.watching))

    def test_movedFolder(self) -> None:
        """
        A folder that was moved is known by its new name, and another one that
        has its old name now by that.
        """
        os.rename(self.at("etc/rules/deep"), self.at("etc/rules/deeper"))
        os.mkdir(self.at("etc/rules/deep"))
        self.assertEqual({b"etc/rules/deep", b"etc/rules/deeper"}, self.seen(self.watching))
        self.follow(self.watching, b"etc/rules/deep", b"etc/rules/deeper")
        self.write("etc/rules/deep/one.xml")
        self.write("etc/rules/deeper/two.xml")
        self.assertEqual(
            {b"etc/rules/deep/one.xml", b"etc/rules/deeper/two.xml"}, self.seen(self.watching)
        )

    def test_deletedFolder(self) -> None:
        """
        When a watched folder goes, the others are still watched.
        """
        os.rmdir(self.at("etc/rules/deep"))
        self.assertEqual({b"etc/rules/deep"}, self.seen(self.watching))
        self.follow(self.watching)
        self.write("etc/rules/two.xml")
        self.assertEqual({b"etc/rules/two.xml"}, self.seen(self.watching))

    def test_replacedItem(self) -> None:
        """
        An item that goes and comes back, and one that was not there, are
        watched again.
        """
        os.rename(self.at("etc/rules"), self.at("etc/old"))
        os.makedirs(self.at("etc/rules"))
        os.makedirs(self.at("var/multigroups"))
        self.assertEqual({b"etc/rules", b"var/multigroups"}, self.seen(self.watching))
        self.follow(self.watching)
        self.write("etc/rules/new.xml")
        self.write("etc/old/one.xml")
        self.write("var/multigroups/merged.mg")
        self.assertEqual(
            {b"etc/rules/new.xml", b"var/multigroups/merged.mg"}, self.seen(self.watching)
        )

    def test_replacedHome(self) -> None:
        """
        When what leads to the items goes, all must be looked at.
        """
        os.rename(self.at("etc"), self.at("was"))
        self.assertIsNone(self.seen(self.watching))

    def test_stopped(self) -> None:
        """
        A watcher that was stopped watches nothing, and cannot be told to.
        """
        self.watching.stop()
        self.assertEqual([], self.reactor.getReaders())
        self.write("etc/rules/two.xml")
        self.assertEqual(set(), self.seen(self.watching))
        self.follow(self.watching)
        self.assertFalse(self.watching.watching)

    def test_reactorLetsGo(self) -> None:
        """
        When the reactor lets go of its readers, nothing is watched any more.
        """
        self.watching.connectionLost(Failure(Exception("it stops")))
        self.assertFalse(self.watching.watching)


class FakeKernel:
    """
    A kernel that refuses, or tells what it is told.
    """

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.events: list[Event] = []
        self.added: dict[bytes, int] = {}
        self.removed: list[int] = []
        self.closed = False
        self.fails: OSError | None = None

    def fileno(self) -> int:
        return 1000

    def add(self, folder: bytes, follow: bool) -> int:
        if len(self.added) >= self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.added.setdefault(folder, len(self.added) + 1)

    def remove(self, watch: int) -> None:
        self.removed.append(watch)

    def read(self) -> list[Event]:
        if self.fails is not None:
            raise self.fails
        events, self.events = self.events, []
        return events

    def close(self) -> None:
        self.closed = True


class FallbackTests(WatchCase):
    """
    L{InotifyWatcher} where it cannot watch.
    """

    def refused(self, error: OSError | FakeKernel, network: str | None = None) -> InotifyWatcher:
        def openKernel() -> FakeKernel:
            if isinstance(error, OSError):
                raise error
            return error

        return self.watcher(
            openKernel=openKernel,
            networkOf=lambda path: network if path.endswith(b"shared") else None,
        )

    def assertSaid(self, watcher: InotifyWatcher, pattern: str) -> None:
        """
        It is said once why scans alone find changes; then it is left alone for
        a while, and tried again.
        """
        with capturedLogs() as events:
            self.follow(watcher)
            self.follow(watcher)
            self.reactor.advance(RETRY)
            self.follow(watcher)
        warnings = [formatEvent(each) for each in events if each["log_level"] is LogLevel.warn]
        self.assertEqual(1, len(warnings), warnings)
        self.assertRegex(warnings[0], pattern)
        self.assertFalse(watcher.watching)
        self.assertEqual([], self.told)
        self.assertEqual([], self.reactor.getReaders())

    def test_none(self) -> None:
        """
        A system without inotify.
        """
        watcher = self.refused(OSError(errno.ENOSYS, "Function not implemented"))
        self.assertSaid(watcher, "only by the scans at intervals: this system has no inotify")

    def test_tooManyInstances(self) -> None:
        """
        A user with too many instances.
        """
        watcher = self.refused(OSError(errno.EMFILE, "Too many open files"))
        self.assertSaid(watcher, "fs.inotify.max_user_instances")

    def test_tooManyWatches(self) -> None:
        """
        A user with too many watches: those that it got are given back.
        """
        kernel = FakeKernel(room=3)
        self.assertSaid(self.refused(kernel), "fs.inotify.max_user_watches")
        self.assertTrue(kernel.closed)

    def test_network(self) -> None:
        """
        An item on a network file system.
        """
        watcher = self.refused(FakeKernel(), network="nfs4")
        self.assertSaid(watcher, "etc/shared is on nfs4, which does not tell what others change")

    def test_other(self) -> None:
        """
        Whatever else the system says.
        """
        watcher = self.refused(OSError(errno.ENOMEM, "Cannot allocate memory"))
        self.assertSaid(watcher, "inotify says: Cannot allocate memory")

    def test_better(self) -> None:
        """
        When it can be done at last, that is said, and all is looked at.
        """
        kernel = FakeKernel(room=3)
        watcher = self.refused(kernel)
        self.follow(watcher)
        kernel.room = 1000
        self.reactor.advance(RETRY)
        with capturedLogs() as events:
            self.follow(watcher)
        self.assertRegex(formatEvent(events[0]), "noticed at once: [0-9]+ folders are watched")
        self.assertTrue(watcher.watching)
        self.assertEqual([None], self.told)

    def test_overflow(self) -> None:
        """
        When the kernel's queue ran over, all is looked at and watched anew;
        that is said, but not each time.
        """
        kernel = FakeKernel()
        watcher = self.refused(kernel)
        with capturedLogs() as events:
            for _ in range(3):
                self.follow(watcher)
                kernel.events.append(Event(-1, OVERFLOW, b""))
                self.assertIsNone(self.seen(watcher))
                self.assertFalse(watcher.watching)
        warnings = [formatEvent(each) for each in events if each["log_level"] is LogLevel.warn]
        self.assertEqual(1, len(warnings), warnings)
        self.assertIn("fs.inotify.max_queued_events", warnings[0])

    def test_cannotBeRead(self) -> None:
        """
        When the kernel does not let itself be asked, all is looked at, one
        line says so, and it is tried again later.
        """
        kernel = FakeKernel()
        watcher = self.refused(kernel)
        self.follow(watcher)
        kernel.fails = OSError(errno.EIO, "Input/output error")
        with capturedLogs() as events:
            self.assertIsNone(self.seen(watcher))
            watcher.doRead()
        self.assertFalse(watcher.watching)
        self.assertTrue(kernel.closed)
        (line,) = map(formatEvent, events)
        self.assertIn("by the scans at intervals: inotify says: Input/output error.", line)
        kernel.fails = None
        self.reactor.advance(RETRY)
        self.follow(watcher)
        self.assertTrue(watcher.watching)

    def test_unknownWatch(self) -> None:
        """
        What is told of a folder that is not wanted any more says nothing.
        """
        kernel = FakeKernel()
        watcher = self.refused(kernel)
        self.follow(watcher)
        kernel.events.append(Event(999, DELETE_SELF, b""))
        self.assertEqual(set(), self.seen(watcher))

    def test_given(self) -> None:
        """
        Folders that are not there any more are watched no more.
        """
        kernel = FakeKernel()
        watcher = self.refused(kernel)
        self.follow(watcher, b"etc/rules/deep")
        watch = next(each for path, each in kernel.added.items() if path.endswith(b"/deep"))
        self.follow(watcher)
        self.assertEqual([watch], kernel.removed)


class NetworkFileSystemTests(SynchronousTestCase):
    """
    L{networkFileSystem}.
    """

    def mounts(self, kind: str, device: int) -> str:
        path = self.mktemp()
        with open(path, "w", encoding="ascii") as file:
            file.write("1 0 0:999 / /elsewhere rw shared:1 - nfs4 server:/x rw\n")
            number = f"{os.major(device)}:{os.minor(device)}"
            file.write(f"22 1 {number} / / rw,relatime shared:1 - {kind} /dev/x rw\n")
        return path

    def test_kinds(self) -> None:
        """
        What others write to is told from what is this machine's alone.
        """
        device = os.stat(".").st_dev
        for kind in ("nfs", "nfs4", "cifs", "9p", "fuse.sshfs", "ceph"):
            self.assertEqual(kind, networkFileSystem(b".", self.mounts(kind, device)))
        for kind in ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "fuseblk"):
            self.assertIsNone(networkFileSystem(b".", self.mounts(kind, device)))

    def test_unknown(self) -> None:
        """
        Where the system says nothing of it, it counts as local.
        """
        self.assertIsNone(networkFileSystem(b".", self.mounts("nfs4", 12345)))
        self.assertIsNone(networkFileSystem(b"./not-there"))
        self.assertIsNone(networkFileSystem(b".", "/no/such/file"))
