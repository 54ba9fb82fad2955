"""
Tests for L{wazuh_cluster.master.ticks}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.master.ticks import Ticks


class TicksTests(SynchronousTestCase):
    """
    Tests for L{Ticks}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.ticks = Ticks(self.clock)

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
