"""
Tests for C{cluster.json}: L{wazuh_cluster.logline.jsonLine}, L{wazuh_cluster.log.ClusterLogs}
and L{wazuh_cluster.loggingblock}.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import ILogObserver, LogLevel
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from tests.test_config import Reading, conf, read
from tests.test_log import DAY, EVENING, LogTestCase
from wazuh_cluster.escape import escape
from wazuh_cluster.journal import INTEGRITY_SYNC, MAIN, Journal
from wazuh_cluster.log import ClusterLog, ClusterLogs
from wazuh_cluster.logline import MAX_LINE, LineFormat, jsonLine
from wazuh_cluster.testing.logthread import ImmediateLogThread


class JsonLineTests(LogTestCase):
    """
    What stands in a line of JSON.
    """

    def make(self, **keywords: Any) -> ClusterLog:
        return super().make(render=jsonLine, **keywords)

    def records(self) -> list[dict[str, Any]]:
        """
        The lines, read.
        """
        return [json.loads(row) for row in self.text().splitlines()]

    def test_members(self) -> None:
        """
        Time, program, level and text are members as in the logs of Wazuh's daemons;
        whom it is about, and the task, are members of their own.
        """
        journal = self.journalOf(self.log, INTEGRITY_SYNC).bound("Worker worker-1")
        journal.info("Finished in {seconds:.3f}s.", seconds=0.004)
        self.assertEqual(
            self.text(),
            '{"timestamp":"2026/11/22 18:03:11","tag":"wazuh-clusterd","level":"info",'
            '"node":"Worker worker-1","task":"Integrity sync",'
            '"description":"Finished in 0.004s."}\n',
        )

    def test_levels(self) -> None:
        """
        The levels go by the names that Wazuh's JSON has.
        """
        log = self.make(level=LogLevel.debug)
        log.start()
        for level in LogLevel.iterconstants():
            self.journalOf(log).emit(level, "x")
        names = [record["level"] for record in self.records()]
        self.assertEqual(names, ["debug", "info", "warning", "error", "critical"])

    def test_failure(self) -> None:
        """
        A failure is one object, and a traceback one for each line of it.
        """
        log = self.make(level=LogLevel.debug)
        log.start()
        self.journalOf(log).failure("cannot scan", Failure(ValueError('"bad"\nvalue')))
        first, *others = self.records()
        self.assertEqual("error", first["level"])
        self.assertEqual('cannot scan: ValueError: "bad"\\nvalue', first["description"])
        self.assertEqual({"debug"}, {record["level"] for record in others})

    def test_hide(self) -> None:
        """
        A hidden text is shown as stars here too.
        """
        self.log.hide('k"ey')
        self.journal.info("{x}", x='the k"ey')
        self.assertEqual("the ***", self.records()[0]["description"])

    @settings(deadline=None, max_examples=200)
    @given(st.text(st.characters(), max_size=60), st.integers(1, 300), st.text(max_size=300))
    def test_anyText(self, text: str, times: int, tag: str) -> None:
        """
        Whatever is logged is one object on one line of bounded length, and is as
        harmless as in C{cluster.log} for who has read it.
        """
        form = LineFormat("Master", render=jsonLine)
        data = form.line(EVENING, LogLevel.info, text * times, tag, tag).data
        self.assertLessEqual(len(data), MAX_LINE)
        self.assertTrue(data.endswith(b"}\n"))
        self.assertEqual(1, len(data.decode("utf-8").splitlines()))
        record = json.loads(data)
        said = record["description"]
        whole = escape(text * times)
        self.assertTrue(said == whole or whole.startswith(said.removesuffix(" [cut]")))
        self.assertEqual(said, escape(said))

    def test_longLine(self) -> None:
        """
        Of a text that is too long as much is kept as has room, and it says so.
        """
        for text in ("é" * 100_000, '"' * 5000, "x" * (MAX_LINE - 50)):
            self.journal.info("{x}", x=text)
        for row in self.text().splitlines():
            self.assertIn(len(row.encode()), range(MAX_LINE - 4, MAX_LINE))
            self.assertTrue(json.loads(row)["description"].endswith(" [cut]"))

    def test_midnight(self) -> None:
        """
        It is rotated as C{cluster.log} is, beside it.
        """
        self.log.stop()
        self.path = os.path.join(self.folder, "cluster.json")
        log = self.make()
        log.start()
        journal = self.journalOf(log)
        journal.info("one")
        self.now += DAY
        journal.info("two")
        self.assertEqual(["two"], [record["description"] for record in self.records()])
        old = json.loads(self.archive("2026", "Nov", "cluster.json-22.gz"))
        self.assertEqual("one", old["description"])


class ClusterLogsTests(LogTestCase):
    """
    Two logs of the same events.
    """

    def setUp(self) -> None:
        super().setUp()
        self.jsonPath = os.path.join(self.folder, "cluster.json")
        self.jsonThread = ImmediateLogThread()
        other = ClusterLog(
            self.jsonPath,
            "Master",
            wallClock=lambda: self.now,
            localTime=time.gmtime,
            render=jsonLine,
            thread=self.jsonThread,
            tell=self.told.append,
        )
        self.log.stop()
        self.both = ClusterLogs([self.log, other])
        self.journal = Journal(MAIN, None, lambda event: self.both({**event, "log_time": self.now}))

    def test_interface(self) -> None:
        """
        They are one observer.
        """
        verifyObject(ILogObserver, self.both)

    def test_both(self) -> None:
        """
        Each event is in both files, from the start to the stop, and without what
        is hidden.
        """
        self.both.hide("secret")
        self.journal.info("a secret")
        self.assertFalse(os.path.exists(self.jsonPath))
        self.both.start()
        self.assertTrue(self.text().endswith("[Main] a ***\n"))
        self.assertIn('"a ***"', self.text(self.jsonPath))
        self.both.stop()
        self.journal.info("later")
        self.assertNotIn("later", self.text() + self.text(self.jsonPath))

    def test_reopen(self) -> None:
        """
        Both are opened again by their names.
        """
        self.both.start()
        self.journal.info("one")
        for path in (self.path, self.jsonPath):
            os.rename(path, path + ".1")
        self.both.reopen()
        self.journal.info("two")
        for path in (self.path, self.jsonPath):
            self.assertIn("one", self.text(path + ".1"))
            self.assertIn("two", self.text(path))
            self.assertNotIn("one", self.text(path))

    def test_apart(self) -> None:
        """
        A disk that refuses or holds up one of them keeps none of the lines from the
        other.
        """
        os.mkdir(self.path)
        self.both.start()
        self.journal.info("one")
        self.assertIn('"one"', self.text(self.jsonPath))
        self.assertEqual(1, len(self.told))
        os.rmdir(self.path)
        self.jsonThread.held = True
        self.journal.info("two")
        self.assertTrue(self.text().endswith("two\n"))
        self.both.stop()
        self.assertIn("cluster.json: its disk is too slow", self.told[-1])


class LoggingBlockTests(Reading):
    """
    What is read of the C{<logging>} blocks.
    """

    def conf(self, *values: str) -> str:
        """
        A configuration with these formats, once in each of some blocks.
        """
        blocks = [f"<logging><log_format>{value}</log_format></logging>" for value in values]
        return f"{conf()}<ossec_config>{''.join(blocks)}</ossec_config>"

    def test_formats(self) -> None:
        """
        JSON is asked for by its name, alone or with the other; the last one counts.
        """
        self.assertFalse(read(conf()).jsonLog)
        for text, asked in (
            ("", False),
            ("plain", False),
            ("json", True),
            ("plain,json", True),
            (" json , plain ", True),
        ):
            self.assertEqual(asked, read(self.conf("plain", text)).jsonLog, text)
        self.assertFalse(read(self.conf("json", "plain")).jsonLog)

    def test_refused(self) -> None:
        """
        What is no format is refused, with the line.
        """
        for text in ("xml", "json;plain", "json,", "JSON"):
            said = self.refuse(self.conf(text))
            self.assertIn("ossec.conf, line 6, <log_format>", said)
            self.assertIn("plain,json", said)
