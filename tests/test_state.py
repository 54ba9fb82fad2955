"""
Tests for L{wazuh_cluster.state} and the state in memory.
"""

from __future__ import annotations

import errno
import os

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import StateDamaged
from wazuh_cluster.integrity.filesystem import RealFileSystem
from wazuh_cluster.interfaces import IState
from wazuh_cluster.state import DirectoryState
from wazuh_cluster.testing.contracts import StateContractMixin
from wazuh_cluster.testing.filesystem import MemoryFileSystem
from wazuh_cluster.testing.state import MemoryState

FOLDER = b"/home/queue/wazuh_cluster"


class MemoryStateTests(StateContractMixin, SynchronousTestCase):
    """
    The state in memory.
    """

    def makeState(self) -> IState:
        """
        A new one.
        """
        return MemoryState()

    def test_damaged(self) -> None:
        """
        A test can damage a state; saving mends it.
        """
        state = MemoryState()
        state.damaged.add("home-id")
        self.assertRaises(StateDamaged, state.load, "home-id")
        state.save("home-id", b"x")
        self.assertEqual(state.load("home-id"), b"x")


class RealDirectoryStateTests(StateContractMixin, SynchronousTestCase):
    """
    The state in a folder of the real file system.
    """

    def makeState(self) -> IState:
        """
        One in a folder that is not there yet.
        """
        self.path = os.path.abspath(self.mktemp()) + "/queue/state"
        return DirectoryState(RealFileSystem(), self.path)

    def test_permissions(self) -> None:
        """
        Files are for the owner and the group, whatever the umask.
        """
        self.addCleanup(os.umask, os.umask(0))
        self.makeState().save("home-id", b"x")
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o750)
        self.assertEqual(os.stat(self.path + "/home-id").st_mode & 0o777, 0o640)
        self.assertEqual(os.listdir(self.path), ["home-id"])


class DirectoryStateTests(StateContractMixin, SynchronousTestCase):
    """
    The state in a folder of a file system that fails on request.
    """

    def makeState(self) -> IState:
        """
        One in a folder that is not there yet.
        """
        self.fileSystem = MemoryFileSystem(Clock())
        return DirectoryState(self.fileSystem, FOLDER)

    def test_failedSaveKeepsTheOld(self) -> None:
        """
        Whichever step of a save fails, the old content stays and nothing else
        is left behind.
        """
        for operation in ("create", "file.write", "file.sync", "rename"):
            state = self.makeState()
            state.save("home-id", b"old")
            self.fileSystem.failOn(operation, errno=errno.ENOSPC)
            error = self.assertRaises(OSError, state.save, "home-id", b"new")
            self.assertEqual(error.errno, errno.ENOSPC)
            self.assertEqual(state.load("home-id"), b"old")
            self.assertEqual(self.fileSystem.listTree(FOLDER), [b"home-id"])

    def test_contentBeforeName(self) -> None:
        """
        The content is on the disk before the name leads to it, and the name is
        when the save is over.
        """
        state = self.makeState()
        state.save("home-id", b"old")
        self.fileSystem.operations.clear()
        state.save("home-id", b"new")
        done = [operation for operation, _ in self.fileSystem.operations]
        self.assertLess(done.index("file.write"), done.index("file.sync"))
        self.assertLess(done.index("file.sync"), done.index("rename"))
        self.assertLess(done.index("rename"), done.index("sync"))

    def test_leftOver(self) -> None:
        """
        What a process that died in the middle left behind does no harm.
        """
        state = self.makeState()
        self.fileSystem.put(FOLDER + b"/.home-id.tmp", b"half")
        self.assertIsNone(state.load("home-id"))
        state.save("home-id", b"new")
        self.assertEqual(state.load("home-id"), b"new")
        self.assertEqual(self.fileSystem.listTree(FOLDER), [b"home-id"])

    def test_refusalNamesTheFile(self) -> None:
        """
        What the system refuses names the state's whole path, whichever call it
        was that failed.
        """
        for operation in ("openFolder", "unlink", "create", "file.write", "rename", "sync"):
            state = self.makeState()
            state.save("home-id", b"old")
            self.fileSystem.failOn(operation, errno=errno.EIO)
            error = self.assertRaises(OSError, state.save, "home-id", b"new")
            self.assertEqual(error.filename, "/home/queue/wazuh_cluster/home-id")
            self.assertEqual(error.errno, errno.EIO)

    def test_leftOverByTheDisk(self) -> None:
        """
        Where the disk took neither the new content nor its removal, the next
        use of any state takes it away.
        """
        for use in (lambda s: s.load("other"), lambda s: s.save("other", b"x")):
            state = self.makeState()
            state.save("home-id", b"old")
            self.fileSystem.failOn("file.write", errno=errno.EIO)
            self.fileSystem.failOn("unlink", FOLDER + b"/.home-id.tmp", errno.EIO, times=2, after=1)
            self.assertRaises(OSError, state.save, "home-id", b"new")
            self.assertIn(b".home-id.tmp", self.fileSystem.listTree(FOLDER))
            use(state)
            self.assertNotIn(b".home-id.tmp", self.fileSystem.listTree(FOLDER))
            self.assertEqual(state.load("home-id"), b"old")

    def test_sweeps(self) -> None:
        """
        A node takes away what the process before it left of any state, and
        nothing else; whoever is not the node leaves it.
        """
        self.makeState()
        for name in (b".manifest.tmp", b".hidden", b"x.tmp", b"..tmp"):
            self.fileSystem.put(FOLDER + b"/" + name, b"half")
        DirectoryState(self.fileSystem, FOLDER).load("home-id")
        self.assertIn(b".manifest.tmp", self.fileSystem.listTree(FOLDER))
        DirectoryState(self.fileSystem, FOLDER, sweeps=True).load("home-id")
        self.assertEqual(self.fileSystem.listTree(FOLDER), [b"..tmp", b".hidden", b"x.tmp"])

    def test_unreadable(self) -> None:
        """
        A file that cannot be read is not taken for a missing one: the error
        says what, where and what to do.
        """
        state = self.makeState()
        state.save("home-id", b"x")
        self.fileSystem.failOn("file.read", errno=errno.EIO)
        error = self.assertRaises(StateDamaged, state.load, "home-id")
        self.assertEqual(error.where, "/home/queue/wazuh_cluster/home-id")
        self.assertEqual(len(str(error).splitlines()), 1)

    def test_linkIsNotFollowed(self) -> None:
        """
        A link in place of a state is refused when loading and replaced when
        saving.
        """
        state = self.makeState()
        self.fileSystem.put(b"/etc/shadow", b"secret")
        self.fileSystem.link(FOLDER + b"/home-id", b"/etc/shadow")
        self.assertRaises(StateDamaged, state.load, "home-id")
        state.save("home-id", b"new")
        self.assertEqual(self.fileSystem.get(b"/etc/shadow"), b"secret")
        self.assertEqual(state.load("home-id"), b"new")
