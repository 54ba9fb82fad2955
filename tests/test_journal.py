"""
Tests for L{wazuh_cluster.journal}.
"""

from __future__ import annotations

from twisted.logger import LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.journal import INTEGRITY_SYNC, MAIN, Journal


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

    def test_escaped(self) -> None:
        """
        Texts are escaped, for observers that would show them as they are.
        """
        self.journal.info("{name}", name="a\n\x1b[31mb", number=7)
        self.assertEqual("a\\n\\x1b[31mb", formatEvent(self.events[-1]))
        self.assertEqual(7, self.events[-1]["number"])

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
