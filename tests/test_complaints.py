"""
Tests for L{wazuh_cluster.worker.complaints}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TimeoutError,
)
from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.protocols.amp import UnhandledCommand
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import WrongKey
from wazuh_cluster.journal import MAIN, Journal
from wazuh_cluster.model import MasterInfo
from wazuh_cluster.worker.complaints import REMIND_AFTER, Complaints, explainLink

REFUSED = Failure(ConnectionRefusedError())
MASTER = MasterInfo("hub", "wazuh_cluster 1", "", 1, b"h" * 16)


class ExplainTests(SynchronousTestCase):
    """
    Why there is no link is one line with a remedy.
    """

    def test_reasons(self) -> None:
        """
        Each kind of failure names what to look at.
        """
        for error, text in (
            (WrongKey("compare <key>"), "compare <key>"),
            (ConnectionRefusedError(), "see that the master runs"),
            (DNSLookupError("no results for hostname lookup: hub"), "does not resolve"),
            (TimeoutError(), "firewalls"),
            (NoRouteError(), "no route"),
            (ConnectionDone(), "was lost"),
            (ConnectionLost(), "was lost"),
            (UnhandledCommand(), "cannot answer Hello"),
            (RuntimeError("odd"), "RuntimeError: odd"),
        ):
            line = explainLink(Failure(error))
            self.assertIn(text, line)
            self.assertNotIn("\n", line)


class ComplaintsTests(SynchronousTestCase):
    """
    The log says it once.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        events: list[Any] = []
        self.complaints = Complaints(
            self.clock,
            Journal(MAIN, observer=events.append),
            "hub, port 1516",
        )
        self.events = events

    def lines(self, level: str) -> list[str]:
        return [formatEvent(each) for each in self.events if each["log_level"].name == level]

    def test_onceThenReminders(self) -> None:
        """
        The same complaint is repeated after five minutes; a new one at once.
        """
        for _ in range(100):
            self.complaints.complain(REFUSED, False, 1.0)
            self.clock.advance(1)
        self.assertEqual(1, len(self.lines("error")))
        self.assertIn("Could not connect to master at hub, port 1516: ", self.lines("error")[0])
        self.complaints.complain(Failure(WrongKey("other")), False, 1.0)
        self.assertEqual(2, len(self.lines("error")))
        self.clock.advance(REMIND_AFTER)
        self.complaints.complain(Failure(WrongKey("other")), False, 1.0)
        self.assertIn("attempt 102", self.lines("error")[2])

    def test_newAfterALink(self) -> None:
        """
        After a link, the same complaint is new.
        """
        self.complaints.complain(REFUSED, False, 1.0)
        self.complaints.over(MASTER, "10.0.0.1")
        self.complaints.complain(REFUSED, False, 1.0)
        self.assertEqual(2, len(self.lines("error")))

    def test_lostLink(self) -> None:
        """
        A link that ends is a warning that says when the next attempt comes.
        """
        self.complaints.complain(Failure(ConnectionLost()), True, 0.5)
        (line,) = self.lines("warn")
        self.assertIn("connection was lost. Connecting again in 0.5 s.", line)

    def test_comesAndGoes(self) -> None:
        """
        Of a link that comes and goes the log says so once a second, and in the
        end how it is.
        """
        for _ in range(10):
            self.complaints.over(MASTER, "10.0.0.1")
            self.complaints.complain(Failure(ConnectionLost()), True, 0.5)
            self.clock.advance(0.25)
        self.complaints.over(MASTER, "10.0.0.1")
        self.clock.advance(2)
        self.assertLessEqual(len(self.events), 8)
        self.assertIn("Successfully connected", formatEvent(self.events[-1]))
        self.complaints.close()
        self.assertEqual([], self.clock.getDelayedCalls())
