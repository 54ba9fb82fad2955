"""
Tests for L{wazuh_cluster.journal}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.journal import INTEGRITY_SYNC, MAIN, Journal, Repeats


class JournalTests(SynchronousTestCase):
    """
    L{Journal}.
    """

    def setUp(self) -> None:
        """
        Make a journal of which the events are kept.
        """
        self.events: list[LogEvent] = []
        self.journal = Journal(MAIN, "Master", self.events.append)

    def lastFields(self) -> tuple[object, ...]:
        """
        Tag, task and namespace of the last event.
        """
        event = self.events[-1]
        return event["clusterTag"], event["clusterTask"], event["log_namespace"]

    def test_fields(self) -> None:
        """
        An event carries tag, task and the package's namespace.
        """
        self.journal.info("{count} files", count=3)
        self.assertEqual(self.lastFields(), ("Master", "Main", "wazuh_cluster"))
        self.assertEqual(formatEvent(self.events[0]), "3 files")
        self.assertIs(self.events[0]["log_level"], LogLevel.info)

    def test_failure(self) -> None:
        """
        A logged failure carries them too.
        """
        self.journal.failure("it broke", Failure(ValueError("x")))
        self.assertEqual(self.lastFields(), ("Master", "Main", "wazuh_cluster"))
        self.assertIsInstance(self.events[0]["log_failure"].value, ValueError)

    def test_eventsOwn(self) -> None:
        """
        An event that names its tag or task itself keeps it.
        """
        self.journal.info("x", clusterTag="Worker w1", clusterTask="Keep Alive")
        self.assertEqual(self.lastFields()[:2], ("Worker w1", "Keep Alive"))

    def test_bound(self) -> None:
        """
        A bound copy is about somebody else and goes to the same observer; the
        original stays as it is.
        """
        self.journal.bound(tag="Worker w1").warn("x")
        self.assertEqual(self.lastFields()[:2], ("Worker w1", "Main"))
        self.journal.warn("x")
        self.assertEqual(self.lastFields()[:2], ("Master", "Main"))

    def test_forTask(self) -> None:
        """
        A copy for another task keeps the tag.
        """
        self.journal.forTask(INTEGRITY_SYNC).warn("x")
        self.assertEqual(self.lastFields()[:2], ("Master", "Integrity sync"))

    def test_attributes(self) -> None:
        """
        As an attribute of a class or of an instance it keeps its fields.
        """
        journal = self.journal

        class Something:
            ofClass = journal

            def __init__(self) -> None:
                self.ofInstance = journal

        for one in (Something.ofClass, Something().ofClass, Something().ofInstance):
            one.info("x")
            self.assertEqual(self.lastFields(), ("Master", "Main", "wazuh_cluster"))


class RepeatsTests(SynchronousTestCase):
    """
    L{Repeats}.
    """

    def setUp(self) -> None:
        """
        Make a clock.
        """
        self.clock = Clock()

    def test_onePerInterval(self) -> None:
        """
        One line goes through per interval, and says how many were held back.
        """
        repeats = Repeats(self.clock, 2.0)
        self.assertEqual([repeats.allow("a") for _ in range(4)], [0, None, None, None])
        self.clock.advance(1.9)
        self.assertIsNone(repeats.allow("a"))
        self.clock.advance(0.1)
        self.assertEqual(repeats.allow("a"), 4)
        self.clock.advance(2)
        self.assertEqual(repeats.allow("a"), 0)

    def test_keys(self) -> None:
        """
        Keys do not hold each other back.
        """
        repeats = Repeats(self.clock)
        self.assertEqual([repeats.allow(key) for key in "abab"], [0, 0, None, None])

    def test_inventedKeys(self) -> None:
        """
        However many keys are invented, the lines in one interval are bounded.
        """
        repeats = Repeats(self.clock, maxKeys=10)
        through = [n for n in range(1000) if repeats.allow(n) is not None]
        self.assertEqual(len(through), 11)

    def test_forgets(self) -> None:
        """
        Keys whose interval is over make room for new ones.
        """
        repeats = Repeats(self.clock, maxKeys=2)
        for key in "abc":
            repeats.allow(key)
        self.clock.advance(1)
        self.assertEqual([repeats.allow(key) for key in "dede"], [0, 0, None, None])
