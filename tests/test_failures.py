"""
Tests for L{wazuh_cluster.failures}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import InstallFailed, LinkClosed
from wazuh_cluster.failures import REMIND_AFTER, Failures
from wazuh_cluster.journal import MAIN, Journal

FULL = OSError(28, "No space left on device", b"/home/queue")


class FailuresTests(SynchronousTestCase):
    """
    The same failure is one line, not one per interval.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[Any] = []
        journal = Journal(MAIN, observer=self.events.append)
        self.failures = Failures("Integrity", self.clock, journal)

    def lines(self) -> list[tuple[str, str]]:
        return [(each["log_level"].name, formatEvent(each)) for each in self.events]

    def fail(self, error: Exception) -> str:  # type: ignore[override]
        return self.failures.failed(Failure(error))

    def test_onceThenReminders(self) -> None:
        """
        It is said again after five minutes, with how often it happened.
        """
        for _ in range(4):
            self.assertEqual("/home/queue: No space left on device", self.fail(FULL))
            self.clock.advance(9)
        self.clock.advance(REMIND_AFTER)
        self.fail(FULL)
        line = "Integrity failed: /home/queue: No space left on device"
        self.assertEqual([("error", line), ("error", line + " (and 3 times before)")], self.lines())

    def test_descriptors(self) -> None:
        """
        An error of a call on an open folder has no name to show.
        """
        self.assertEqual("Input/output error", self.fail(OSError(5, "Input/output error", 17)))

    def test_another(self) -> None:
        """
        Another failure is said at once.
        """
        self.fail(FULL)
        self.fail(InstallFailed(b"etc/rules/a", "Input/output error"))
        self.assertEqual("Integrity failed: etc/rules/a: Input/output error", self.lines()[1][1])

    def test_worksAgain(self) -> None:
        """
        So is that it works again, once; then the same failure is new.
        """
        self.failures.succeeded()
        self.fail(FULL)
        self.failures.succeeded()
        self.failures.succeeded()
        self.fail(FULL)
        self.assertEqual(["error", "info", "error"], [level for level, _ in self.lines()])

    def test_lostLink(self) -> None:
        """
        A lost link is no failure of the thread: others tell of it.
        """
        self.fail(LinkClosed("the connection was lost"))
        self.assertEqual("debug", self.lines()[0][0])

    def test_bug(self) -> None:
        """
        What is nobody's fault but ours comes with its traceback.
        """
        self.fail(ZeroDivisionError("oops"))
        self.assertEqual("critical", self.lines()[0][0])
        self.assertIsInstance(self.events[0]["log_failure"], Failure)

    def test_stopped(self) -> None:
        """
        Nor is what was cancelled, because the node stops.
        """
        self.fail(CancelledError())
        self.assertEqual("debug", self.lines()[0][0])
