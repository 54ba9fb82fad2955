"""
Tests for L{wazuh_cluster.steadyclock}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.steadyclock import SteadyClock
from wazuh_cluster.testing.state import MemoryState

NOW = 1_800_000_000.0


class SteadyClockTests(SynchronousTestCase):
    """
    A system that was started an hour ago.
    """

    def setUp(self) -> None:
        self.system = Clock()
        self.system.advance(3600.0)
        self.date = NOW - 3600.0
        self.state = MemoryState()

    def make(self, boot: str = "this-boot") -> SteadyClock:
        """
        The clock of a new process.
        """
        clock = SteadyClock(lambda: self.date + self.system.seconds(), self.system.seconds)
        clock.begin(self.state, lambda: boot)
        return clock

    def test_goesOn(self) -> None:
        """
        It is the wall clock, and goes on when that is set.
        """
        clock = self.make()
        self.assertEqual(NOW, clock.seconds())
        for change in (-86_400.0, 7200.0, 1e8):
            self.date += change
            before = clock.seconds()
            self.system.advance(10.0)
            self.assertEqual(before + 10.0, clock.seconds())

    def test_nextProcess(self) -> None:
        """
        So does that of the next process, until the system is started anew.
        """
        self.make()
        self.date += 7200.0
        self.system.advance(10.0)
        self.assertEqual(NOW + 10.0, self.make().seconds())
        self.assertEqual(NOW + 7210.0, self.make("another-boot").seconds())
        self.date -= 50.0
        self.assertEqual(NOW + 7210.0, self.make("another-boot").seconds())

    def test_noBootIds(self) -> None:
        """
        Where a system does not tell its starts apart, each process begins with
        the wall clock.
        """
        self.make("")
        self.date += 7200.0
        self.assertEqual(NOW + 7200.0, self.make("").seconds())
        self.assertEqual({}, self.state.contents)

    def test_unreadable(self) -> None:
        """
        What was kept and is none is replaced.
        """
        for content in (b"", b"x", b"this-boot", b"this x", b"\xff\xff 1.0"):
            self.state.save("steady-clock", content)
            self.assertEqual(NOW, self.make("this").seconds())
        self.state.damaged.add("steady-clock")
        self.assertEqual(NOW, self.make("this").seconds())

    def test_toWall(self) -> None:
        """
        A moment is shown as the wall clock would have shown it; never later
        than now.
        """
        clock = self.make()
        moment = clock.seconds()
        self.system.advance(60.0)
        self.date += 7200.0
        self.assertEqual(NOW + 7200.0, clock.toWall(moment))
        self.assertEqual(NOW + 7260.0, clock.toWall(clock.seconds() + 5.0))
