"""
Tests for L{wazuh_cluster.enrollment.openrequests}.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing

from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

import wazuh_cluster
from wazuh_cluster.enrollment import IOpenRequests, NoOpenRequests, OpenRequests
from wazuh_cluster.enrollment.openrequests import BOOT_ID, MEMORY, MOST, pathFor
from wazuh_cluster.testing.contracts import OpenRequestsContractMixin
from wazuh_cluster.testing.openrequests import MemoryOpenRequests

ONE, TWO, THREE = (b"%016d" % n for n in (1, 2, 3))

_KILLED = """
import os, signal, sys
from wazuh_cluster.enrollment import OpenRequests
noted = OpenRequests(sys.argv[1], sys.argv[2])
noted.load()
for id in range(1, 4):
    noted.add(b"%016d" % id)
noted.discard(b"%016d" % 2)
os.kill(os.getpid(), signal.SIGKILL)
"""


class MemoryOpenRequestsTests(OpenRequestsContractMixin, SynchronousTestCase):
    """
    The ones in this process keep the contract.
    """

    def makeOpenRequests(self) -> IOpenRequests:
        """
        Nothing is noted.
        """
        made = MemoryOpenRequests()
        made.load()
        return made

    def next(self, openRequests: IOpenRequests) -> IOpenRequests:
        """
        The same.
        """
        return openRequests


class OpenRequestsTests(OpenRequestsContractMixin, SynchronousTestCase):
    """
    So do those in a file, which says nothing that it should not.
    """

    def setUp(self) -> None:
        """
        A home, and a folder for the file.
        """
        self.home, self.folder = self.makeFolder(), self.makeFolder()
        self.said: list[str] = []

        @implementer(ILogObserver)
        def observer(event: LogEvent) -> None:
            self.said.append(formatEvent(event))

        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def makeFolder(self) -> str:
        path = os.path.abspath(self.mktemp())
        os.makedirs(path)
        return path

    def make(self, **keywords: str) -> OpenRequests:
        """
        One that has not begun.
        """
        made = OpenRequests(self.home, self.folder, **keywords)
        self.addCleanup(made.close)
        return made

    def makeOpenRequests(self) -> IOpenRequests:
        """
        Nothing is noted, nor is there a file.
        """
        made = self.make()
        self.assertEqual((), made.load())
        self.assertEqual([], os.listdir(self.folder))
        return made

    def next(self, openRequests: IOpenRequests) -> IOpenRequests:
        """
        With what the file says now.
        """
        before, self.folder = self.folder, self.makeFolder()
        for name in os.listdir(before):
            shutil.copy(os.path.join(before, name), self.folder)
        return self.make()

    @property
    def path(self) -> str:
        return pathFor(self.home, self.folder)

    def test_killed(self) -> None:
        """
        A process that was killed leaves what it noted, for its user only.
        """
        checkout = os.path.dirname(os.path.dirname(wazuh_cluster.__file__))
        ended = subprocess.run(
            [sys.executable, "-c", _KILLED, self.home, self.folder],
            env={**os.environ, "PYTHONPATH": checkout},
            check=False,
        )
        self.assertEqual(-signal.SIGKILL, ended.returncode)
        self.assertEqual({ONE, THREE}, set(self.make().load()))
        self.assertEqual(0o600, os.stat(self.path).st_mode & 0o777)

    def test_goesWhenItIsEmpty(self) -> None:
        """
        The file is there only while it says something.
        """
        noted = self.makeOpenRequests()
        noted.add(ONE)
        self.assertEqual([os.path.basename(self.path)], os.listdir(self.folder))
        noted.discard(ONE)
        noted.close()
        self.assertEqual([], os.listdir(self.folder))
        noted.close()

    def test_full(self) -> None:
        """
        What there is no room for is not noted; what is forgotten makes room.
        """
        noted = self.makeOpenRequests()
        for n in range(MOST + 5):
            noted.add(b"%016d" % (n + 1))
        last = b"%016d" % (MOST + 5)
        noted.discard(last)
        noted.discard(ONE)
        noted.add(last)
        left = set(self.next(noted).load())
        self.assertEqual((MOST, True, False), (len(left), last in left, ONE in left))

    def test_machineDied(self) -> None:
        """
        What was noted in another life of the machine, or is no such file, says
        nothing; nothing is said of it.
        """
        other = os.path.join(self.makeFolder(), "boot_id")
        with open(other, "w", encoding="ascii") as file:
            file.write("another life\n")
        noted = self.make(bootId=other)
        noted.load()
        noted.add(ONE)
        after = self.next(noted)
        self.assertEqual((), after.load())
        after.add(TWO)
        path = self.path
        for content in (b"", b"x" * 100, b"\0" * 100_000):
            with closing(self.next(after)) as damaged:
                with open(self.path, "wb") as file:
                    file.write(content)
                self.assertEqual((), damaged.load())
        self.assertGreater(os.stat(path).st_size, MOST * 16)
        self.assertEqual([], self.said)

    def test_cannotBeUsed(self) -> None:
        """
        Where the file cannot be used, by a link, another process or another
        user, nothing is noted, and one line says so.
        """
        target = os.path.join(self.makeFolder(), "precious")
        with open(target, "wb") as file:
            file.write(b"precious")
        os.symlink(target, self.path)
        self.refused()
        with open(target, "rb") as file:
            self.assertEqual(b"precious", file.read())
        os.unlink(self.path)
        first = self.make()
        first.load()
        first.add(ONE)
        self.refused()
        first.close()
        if os.geteuid() == 0:
            os.chown(self.path, 12345, 12345)
            self.refused("it is somebody else's")
        os.unlink(self.path)
        os.mkdir(self.path)
        self.refused()

    def refused(self, why: str = "cannot be used") -> None:
        """
        Nothing can be noted.
        """
        self.said.clear()
        noted = self.make()
        self.assertEqual((), noted.load())
        noted.add(TWO)
        noted.discard(TWO)
        noted.close()
        (line,) = self.said
        self.assertIn(self.path, line)
        self.assertIn(why, line)

    def test_noSuchFolder(self) -> None:
        """
        A system that has no files in memory is not complained about.
        """
        for noted in (OpenRequests(self.home, self.folder + "/none"), NoOpenRequests()):
            verifyObject(IOpenRequests, noted)
            self.assertEqual((), noted.load())
            noted.add(ONE)
            noted.discard(ONE)
            noted.close()
        self.assertEqual([], self.said)

    def test_places(self) -> None:
        """
        Each home has a file of its own, in memory.
        """
        here = os.path.join(self.home, ".")
        self.assertEqual(pathFor(self.home), pathFor(here))
        self.assertNotEqual(pathFor(self.home), pathFor(self.folder))
        self.assertTrue(pathFor(self.home).startswith(MEMORY + "/wazuh_cluster-"))
        if os.path.exists(BOOT_ID):
            self.assertEqual((), OpenRequests(self.home).load())
