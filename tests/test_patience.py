"""
Tests for L{wazuh_cluster.patience}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.patience import STEPS, Patience


class PatienceTests(SynchronousTestCase):
    """
    Silence is bounded while something is owed.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.happened: list[str] = []
        self.patience = Patience(
            self.clock,
            8.0,
            lambda: self.happened.append("over"),
            lambda: self.happened.append("half"),
        )

    def pass_(self, seconds: float) -> None:
        self.clock.pump([1.0 / STEPS] * int(seconds * STEPS))

    def test_silence(self) -> None:
        """
        It is over once, after the time that was said.
        """
        self.patience.begin()
        self.patience.begin()
        self.pass_(3.5)
        self.assertEqual([], self.happened)
        self.pass_(0.5)
        self.assertEqual(["half"], self.happened)
        self.pass_(3.5)
        self.assertEqual(["half"], self.happened)
        self.pass_(20)
        self.assertEqual(["half", "over"], self.happened)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_heard(self) -> None:
        """
        Whatever is heard begins the time anew, to the end of a step.
        """
        self.patience.begin()
        for _ in range(20):
            self.pass_(3.5)
            self.patience.heard()
        self.assertEqual([], self.happened)
        self.pass_(8.5)
        self.assertEqual(["half"], self.happened)
        self.pass_(0.5)
        self.assertEqual(["half", "over"], self.happened)

    def test_nothingOwed(self) -> None:
        """
        When nothing is owed no time runs.
        """
        self.patience.end()
        self.patience.heard()
        self.patience.begin()
        self.pass_(7.5)
        self.patience.end()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.pass_(20)
        self.patience.begin()
        self.pass_(7.5)
        self.assertEqual(["half", "half"], self.happened)
        self.patience.end()

    def test_heldUp(self) -> None:
        """
        A process that did nothing itself for an hour does not find that its
        peer was silent.
        """
        self.patience.begin()
        self.clock.advance(3600)
        self.assertEqual([], self.happened)
        self.patience.heard()
        self.patience.end()
