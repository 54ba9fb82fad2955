"""
Tests for L{wazuh_cluster.master.ticks}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.master.ticks import LATEST, WINDOW, KnownTicks, Ticks


class TicksTests(SynchronousTestCase):
    """
    A peer whose monotonic clock is 995 s behind this node's.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.ticks = Ticks(self.clock.seconds)

    def test_first(self) -> None:
        """
        What is known of the first message is that it did not come early.
        """
        self.assertEqual(1000.0, self.ticks.see(5.0))

    def test_late(self) -> None:
        """
        A message that was late is not newer for that.
        """
        self.ticks.see(5.0)
        self.clock.advance(10.0)
        self.assertEqual(1001.0, self.ticks.see(6.0))

    def test_lessLate(self) -> None:
        """
        One that was less late than all before it corrects what is known.
        """
        self.ticks.see(5.0)
        self.clock.advance(1.0)
        self.assertEqual(1001.0, self.ticks.see(9.0))
        self.clock.advance(1.0)
        self.assertEqual(1001.0, self.ticks.see(9.0))

    def test_neverFuture(self) -> None:
        """
        A peer that invents readings does not get past now.
        """
        self.ticks.see(5.0)
        self.assertEqual(1000.0, self.ticks.see(1e9))

    def test_clocksDrift(self) -> None:
        """
        A clock that goes slower than this one does not make its readings ever
        older: on a link of a month they are off by no more than in two windows.
        """
        rate = 1 - 1e-4
        worst = 0.0
        for minute in range(60 * 24 * 30):
            self.clock.advance(60.0)
            seen = self.ticks.see((minute + 1) * 60.0 * rate)
            worst = max(worst, self.clock.seconds() - seen)
        self.assertLess(worst, 2 * WINDOW * 1e-4 + 0.01)

    def test_rememberedForAWindow(self) -> None:
        """
        What was seen of a prompt message counts for later ones, also over the
        end of a window.
        """
        self.ticks.see(5.0)
        for late in (3.0, 2.0, 3.0):
            self.clock.advance(WINDOW / 3)
            behind = self.clock.seconds() - 995.0
            self.assertEqual(self.clock.seconds() - late, self.ticks.see(behind - late))

    def test_clockStoodStill(self) -> None:
        """
        A difference that no late message explains is the peer's clock, which
        stood still: as that of a virtual machine that was paused.
        """
        self.ticks.see(5.0)
        self.clock.advance(LATEST + 10.0)
        self.assertEqual(self.clock.seconds(), self.ticks.see(6.0))
        self.clock.advance(5.0)
        self.assertEqual(self.clock.seconds(), self.ticks.see(11.0))


class KnownTicksTests(SynchronousTestCase):
    """
    Processes that come back.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.known = KnownTicks(self.clock.seconds, 2)

    def test_comesBack(self) -> None:
        """
        The first message of a new link may be late: what is known of the same
        process counts.
        """
        self.known.of("w1", b"1").see(5.0)
        self.clock.advance(10.0)
        self.assertEqual(1005.0, self.known.of("w1", b"1").see(10.0))

    def test_othersNot(self) -> None:
        """
        Another process, or another node that says the same, has a clock of its
        own.
        """
        self.known.of("w1", b"1").see(5.0)
        self.clock.advance(10.0)
        self.assertEqual(1010.0, self.known.of("w1", b"2").see(10.0))
        self.assertEqual(1010.0, self.known.of("w2", b"1").see(10.0))

    def test_bounded(self) -> None:
        """
        The one that was away the longest is forgotten.
        """
        first, second = self.known.of("w1", b"1"), self.known.of("w2", b"2")
        self.assertIs(first, self.known.of("w1", b"1"))
        self.known.of("w3", b"3")
        self.assertIs(first, self.known.of("w1", b"1"))
        self.assertIsNot(second, self.known.of("w2", b"2"))
