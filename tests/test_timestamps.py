"""
Tests for L{wazuh_cluster.agents.timestamps}.
"""

from __future__ import annotations

import errno
import stat
import time

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.twohomes import NOW, drive
from wazuh_cluster.agents.model import Agent
from wazuh_cluster.agents.timestamps import Timestamps
from wazuh_cluster.errors import StoreFailed
from wazuh_cluster.testing.filesystem import MemoryFileSystem

PATH = b"/home/queue/agents-timestamp"


def local(seconds: float) -> str:
    """
    A time as Wazuh writes it.
    """
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


class TimestampsTests(SynchronousTestCase):
    """
    L{Timestamps}.
    """

    def setUp(self) -> None:
        self.fs = MemoryFileSystem(Clock())
        self.fs.makeFolders(b"/home/queue")
        self.times = self.started()
        self.one, self.two = Agent(1, "web1", "any", "k"), Agent(2, "web2", "10.0.0.5", "k")

    def started(self) -> Timestamps:
        """
        As a new process has them.
        """
        times = Timestamps(self.fs, b"/home", 60)
        drive(times.refresh())
        return times

    def test_noted(self) -> None:
        """
        A line is id, name, address and the local time.
        """
        drive(self.times.replace([(self.one, NOW)], []))
        drive(self.times.replace([(self.two, NOW + 61.7)], []))
        self.assertEqual(
            self.fs.get(PATH).decode(),
            f"001 web1 any {local(NOW)}\n002 web2 10.0.0.5 {local(NOW + 61)}\n",
        )
        for times in (self.times, self.started()):
            self.assertEqual([times.when(id) for id in (1, 2, 3)], [NOW, NOW + 61, 0])
            self.assertEqual(times.highest, 2)
        self.assertEqual(stat.S_IMODE(self.fs.status(PATH).mode), 0o600)

    def test_removed(self) -> None:
        """
        The line of a removed agent goes, wherever it is; others stay as they
        are.
        """
        lines = [b"%03d web%d any 2023-11-14 12:00:%02d\n" % (n, n, n) for n in range(1, 40)]
        self.fs.put(PATH, b"# remark\n" + b"".join(lines))
        drive(self.times.refresh())
        drive(self.times.replace([(Agent(40, "web40", "any", "k"), NOW)], [3, 20, 77]))
        last = f"040 web40 any {local(NOW)}\n".encode()
        left = [line for n, line in enumerate(lines, 1) if n not in (3, 20)]
        self.assertEqual(self.fs.get(PATH), b"# remark\n" + b"".join(left) + last)
        self.assertEqual([bool(self.times.when(n)) for n in (2, 3, 40)], [True, False, True])

    def test_nothingToDo(self) -> None:
        """
        The file is left alone if there is nothing to note.
        """
        drive(self.times.replace([], [5]))
        self.assertEqual(self.fs.listTree(b"/home/queue"), [])

    def test_lastCounts(self) -> None:
        """
        Of several lines with an id the last counts, in whatever order the file
        is; what is no such line, or no such date, says nothing.
        """
        self.fs.put(
            PATH,
            b"005 web5 any 2023-11-14 12:00:00\n"
            b"002 web2 any 2023-11-14 13:00:00\n"
            b"005 web5 any 2023-11-14 14:00:00\n"
            b"007 web7 any 2023-99-14 14:00:00\n"
            b"008 web8 any yesterday\n"
            b"x 009 web9 any 2023-11-14 14:00:00\n"
            b"000 web0 any 2023-11-14 14:00:00\n",
        )
        drive(self.times.refresh())
        self.assertEqual(self.times.when(5) - self.times.when(2), 3600)
        self.assertEqual(local(self.times.when(2)), "2023-11-14 13:00:00")
        self.assertEqual([self.times.when(n) // 1e6 for n in (7, 8, 9)], [0, 0, 0])

    def test_pruned(self) -> None:
        """
        Those that are not registered any more go.
        """
        drive(self.times.replace([(self.one, NOW), (self.two, NOW)], []))
        drive(self.times.prune(lambda id: id == 2))
        self.assertEqual(self.fs.get(PATH).decode(), f"002 web2 10.0.0.5 {local(NOW)}\n")
        before = len(self.fs.operations)
        drive(self.times.prune(lambda id: id == 2))
        self.assertEqual(len(self.fs.operations), before)

    def test_laterOnes(self) -> None:
        """
        If the file has later agents than the one to be noted, that is no
        matter.
        """
        self.fs.put(PATH, b"009 web9 any 2023-11-14 12:00:00\n")
        drive(self.times.refresh())
        drive(self.times.replace([(self.one, NOW), (self.two, NOW)], []))
        drive(self.times.refresh())
        self.assertEqual([self.times.when(id) for id in (1, 2)], [NOW, NOW])
        self.assertTrue(self.times.when(9))

    def test_failure(self) -> None:
        """
        A file that cannot be written stays as it is.
        """
        drive(self.times.replace([(self.one, NOW)], []))
        content = self.fs.get(PATH)
        self.fs.failOn("file.write", errno=errno.ENOSPC)
        error = self.assertRaises(StoreFailed, drive, self.times.replace([(self.two, NOW)], []))
        self.assertIn("agents-timestamp cannot be written", str(error))
        self.assertEqual(self.fs.get(PATH), content)
        self.assertEqual(self.times.when(2), 0)
