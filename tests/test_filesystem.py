"""
Tests for L{wazuh_cluster.integrity.filesystem} and the one in memory.
"""

from __future__ import annotations

import errno
import os
import stat

from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from wazuh_cluster.integrity.filesystem import RealFileSystem
from wazuh_cluster.interfaces import IFileSystem
from wazuh_cluster.testing.contracts import FileSystemContractMixin
from wazuh_cluster.testing.filesystem import MemoryFileSystem


class RealFileSystemTests(FileSystemContractMixin, SynchronousTestCase):
    """
    The real file system keeps the contract.
    """

    def makeFileSystem(self) -> tuple[IFileSystem, bytes]:
        """
        A new folder of this test.
        """
        top = os.path.abspath(os.fsencode(self.mktemp()))
        os.makedirs(top)
        return RealFileSystem(), top

    def makeLink(self, path: bytes, target: bytes) -> None:
        """
        A real link.
        """
        os.symlink(target, path)

    def makeFifo(self, path: bytes) -> None:
        """
        A real pipe.
        """
        os.mkfifo(path)

    def test_umask(self) -> None:
        """
        A narrow umask, as that of a daemon, takes nothing away.
        """
        self.addCleanup(os.umask, os.umask(0o077))
        self.folder.create(b"a", 0o664).close()
        self.folder.makeFolder(b"b", 0o775)
        self.assertEqual(stat.S_IMODE(self.folder.status(b"a").mode), 0o664)
        self.assertEqual(stat.S_IMODE(self.folder.status(b"b").mode), 0o775)

    def test_setModeOfUnreadable(self) -> None:
        """
        The mode of a file of mode 000 can be mended by its owner.
        """
        if os.geteuid() == 0:
            raise SkipTest("root reads everything")
        self.write(self.folder, b"a", b"x", 0)
        self.assertErrno(errno.EACCES, self.folder.openRead, b"a")
        self.folder.setMode(b"a", 0o660)
        self.assertEqual(self.content(self.folder, b"a"), b"x")

    def test_swappedFolder(self) -> None:
        """
        An open folder stays the same one when its path is given to a link.
        """
        self.folder.makeFolder(b"rules", 0o770)
        self.folder.makeFolder(b"outside", 0o770)
        opened = self.folder.openFolder(b"rules")
        self.addCleanup(opened.close)
        self.folder.rename(b"rules", self.folder, b"moved")
        os.symlink(b"outside", self.top + b"/rules")
        self.write(opened, b"a", b"x")
        self.assertEqual(os.listdir(self.top + b"/outside"), [])
        self.assertEqual(os.listdir(self.top + b"/moved"), [b"a"])

    def test_impossibleTime(self) -> None:
        """
        A time that no file can have is an C{OSError} like any refusal.
        """
        self.write(self.folder, b"a", b"x")
        self.assertErrno(errno.EINVAL, self.folder.setTimes, b"a", 2**80)

    def test_nothingStaysOpen(self) -> None:
        """
        Refused calls leave no descriptor open.
        """
        before = len(os.listdir("/proc/self/fd"))
        os.mkfifo(self.top + b"/pipe")
        os.symlink(b"/etc/passwd", self.top + b"/link")
        for name in (b"pipe", b"link", b"none"):
            self.assertRaises(OSError, self.folder.openRead, name)
            self.assertRaises(OSError, self.folder.openLinked, name, [self.top])
            self.assertRaises(OSError, self.folder.openFolder, name)
        self.assertRaises(OSError, self.folder.setMode, b"link", 0o600)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class MemoryFileSystemTests(FileSystemContractMixin, SynchronousTestCase):
    """
    The file system in memory keeps the contract, and does what tests ask of it.
    """

    def makeFileSystem(self) -> tuple[IFileSystem, bytes]:
        """
        A folder in a new file system.
        """
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.memory = MemoryFileSystem(self.clock)
        self.memory.makeFolders(b"/srv/home")
        return self.memory, b"/srv/home"

    def makeLink(self, path: bytes, target: bytes) -> None:
        """
        A link in memory.
        """
        self.memory.link(path, target)

    def makeFifo(self, path: bytes) -> None:
        """
        A pipe in memory.
        """
        self.memory.special(path)

    def test_shortHands(self) -> None:
        """
        Tests can put files, get them and see what is there.
        """
        self.memory.put(b"/srv/home/etc/rules/a.xml", b"<x/>", mtime=5)
        self.memory.link(b"/srv/home/alias", b"etc/rules/a.xml")
        self.assertEqual(self.memory.get(b"/srv/home/alias"), b"<x/>")
        self.assertEqual(
            self.memory.listTree(b"/srv/home"),
            [b"alias", b"etc/", b"etc/rules/", b"etc/rules/a.xml"],
        )
        self.assertEqual(self.memory.status(b"/srv/home/etc/rules/a.xml").mtimeNs, 5 * 10**9)
        self.memory.remove(b"/srv/home/etc")
        self.assertEqual(self.memory.listTree(b"/srv/home"), [b"alias"])

    def test_operations(self) -> None:
        """
        Every operation is in the log, with the path that it is about.
        """
        self.memory.operations.clear()
        self.write(self.folder, b"a", b"x")
        self.folder.rename(b"a", self.folder, b"b")
        self.assertEqual(
            self.memory.operations,
            [
                ("create", b"/srv/home/a"),
                ("file.write", b"/srv/home/a"),
                ("rename", b"/srv/home/b"),
            ],
        )

    def test_failOn(self) -> None:
        """
        The chosen operation fails as often as was said, and does nothing then.
        """
        self.memory.failOn("create", b"/srv/home/a", errno.EACCES, times=2)
        self.assertErrno(errno.EACCES, self.folder.create, b"a", 0o600)
        self.folder.create(b"b", 0o600)
        self.assertErrno(errno.EACCES, self.folder.create, b"a", 0o600)
        self.folder.create(b"a", 0o600)

    def test_failLater(self) -> None:
        """
        A failure can wait for the n-th matching operation.
        """
        self.memory.failOn("create", errno=errno.EIO, after=1)
        self.folder.create(b"a", 0o600)
        self.assertErrno(errno.EIO, self.folder.create, b"b", 0o600)
        self.folder.create(b"c", 0o600)

    def test_before(self) -> None:
        """
        Something can be changed under the feet of an operation.
        """
        self.write(self.folder, b"a", b"x")
        self.memory.before("openRead", b"/srv/home/a", lambda: self.memory.remove(b"/srv/home/a"))
        self.assertErrno(errno.ENOENT, self.folder.openRead, b"a")

    def test_fullDisk(self) -> None:
        """
        A full disk takes what fits, and then nothing.
        """
        file = self.folder.create(b"a", 0o600)
        self.memory.free = 3
        self.assertErrno(errno.ENOSPC, file.write, b"hello")
        self.assertEqual(self.memory.get(b"/srv/home/a"), b"hel")
        self.assertErrno(errno.ENOSPC, file.write, b"l")
        self.assertErrno(errno.ENOSPC, self.folder.create, b"b", 0o600)
        file.seek(0)
        file.write(b"HEL")

    def test_readOnly(self) -> None:
        """
        A file system that is read-only refuses every change, and no reading.
        """
        self.write(self.folder, b"a", b"x")
        self.memory.readOnly = True
        for function, args in (
            (self.folder.create, (b"b", 0o600)),
            (self.folder.openWrite, (b"a",)),
            (self.folder.rename, (b"a", self.folder, b"b")),
            (self.folder.unlink, (b"a",)),
            (self.folder.setMode, (b"a", 0o600)),
            (self.folder.makeFolder, (b"c", 0o700)),
        ):
            self.assertErrno(errno.EROFS, function, *args)
        self.assertEqual(self.content(self.folder, b"a"), b"x")

    def test_crash(self) -> None:
        """
        What was not made durable is gone after a crash: content that was
        written, names that were given. The system may have written the names.
        """
        for namesStay in (False, True):
            fs = MemoryFileSystem(Clock())
            fs.put(b"/f/kept", b"kept")
            fs.put(b"/f/changed", b"old")
            fs.settle()
            fs.put(b"/f/changed", b"new")
            folder = fs.openFolder(b"/f")
            file = folder.create(b"synced", 0o600)
            file.write(b"synced")
            file.sync()
            file.write(b" and more")
            self.write(folder, b"written", b"written")
            folder.unlink(b"kept")
            fs.crash(namesStay)
            if namesStay:
                self.assertEqual(fs.listTree(b"/f"), [b"changed", b"synced", b"written"])
                self.assertEqual(fs.get(b"/f/synced"), b"synced")
                self.assertEqual(fs.get(b"/f/written"), b"")
            else:
                self.assertEqual(fs.listTree(b"/f"), [b"changed", b"kept"])
                self.assertEqual(fs.get(b"/f/kept"), b"kept")
            self.assertEqual(fs.get(b"/f/changed"), b"old")
        folder = fs.openFolder(b"/f")
        self.write(folder, b"later", b"later")
        folder.sync()
        fs.crash()
        self.assertEqual(fs.get(b"/f/later"), b"")

    def test_otherDevice(self) -> None:
        """
        Renaming to another file system is C{EXDEV}.
        """
        self.memory.mount(b"/srv/home/mounted", 7)
        mounted = self.folder.openFolder(b"mounted")
        self.assertEqual(mounted.device, 7)
        self.write(self.folder, b"a", b"x")
        self.assertErrno(errno.EXDEV, self.folder.rename, b"a", mounted, b"a")

    def test_times(self) -> None:
        """
        Changes set the times by the clock.
        """
        self.write(self.folder, b"a", b"x")
        before = self.folder.status(b"a")
        self.clock.advance(5)
        self.folder.setTimes(b"a", before.mtimeNs / 1e9)
        after = self.folder.status(b"a")
        self.assertEqual(after.mtimeNs, before.mtimeNs)
        self.assertEqual(after.ctimeNs - before.ctimeNs, 5 * 10**9)
