"""
Tests for L{wazuh_cluster.log}, L{wazuh_cluster.logline} and L{wazuh_cluster.logfile}.
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import stat
import time
from calendar import timegm
from collections import deque
from threading import Event
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider
from zope.interface.verify import verifyObject

from wazuh_cluster.errors import HomeError
from wazuh_cluster.journal import INTEGRITY_SYNC, MAIN, Journal
from wazuh_cluster.log import RETRY, ClusterLog, WriterThread
from wazuh_cluster.logfile import LogFile
from wazuh_cluster.logline import MAX_LINE, LineFormat, escape
from wazuh_cluster.testing.logthread import ImmediateLogThread

#: 2026/11/22 18:03:11 in the tests' time zone, which is UTC.
EVENING = float(timegm((2026, 11, 22, 18, 3, 11)))
DAY = 86400.0
BEGIN = "2026/11/22 18:03:11 "


class LogTestCase(SynchronousTestCase):
    """
    A log in a folder of the test's, with the time of the test's.
    """

    def setUp(self) -> None:
        """
        Make and start a log.
        """
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        self.path = os.path.join(self.folder, "cluster.log")
        self.now = EVENING
        self.told: list[str] = []
        self.thread = ImmediateLogThread()
        self.log = self.make()
        self.journal = self.journalOf(self.log)
        self.log.start()

    def make(self, **keywords: Any) -> ClusterLog:
        """
        A log that is stopped when the test ends.
        """
        arguments: dict[str, Any] = {"thread": self.thread, "tell": self.told.append, **keywords}
        log = ClusterLog(
            self.path, "Master", wallClock=lambda: self.now, localTime=time.gmtime, **arguments
        )
        self.addCleanup(log.stop)
        return log

    def journalOf(self, log: ClusterLog, task: str = MAIN) -> Journal:
        """
        A journal whose events have the time of the test's.
        """
        return Journal(task, None, lambda event: log({**event, "log_time": self.now}))

    def text(self, path: str | None = None) -> str:
        """
        What is in the file.
        """
        with open(path or self.path, encoding="utf-8", newline="") as file:
            return file.read()

    def archive(self, *names: str) -> str:
        """
        What is in an archived file.
        """
        with gzip.open(os.path.join(self.folder, "cluster", *names), "rt") as file:
            return file.read()

    def mode(self, path: str) -> int:
        """
        Permissions.
        """
        return stat.S_IMODE(os.stat(path).st_mode)


class LineTests(LogTestCase):
    """
    What stands in a line.
    """

    def lines(self) -> list[str]:
        """
        The lines, without their time.
        """
        rows = self.text().split("\n")
        self.assertEqual(rows.pop(), "")
        for row in rows:
            self.assertTrue(row.startswith(BEGIN), row)
        return [row[len(BEGIN) :] for row in rows]

    def test_interface(self) -> None:
        """
        The log is a log observer.
        """
        verifyObject(ILogObserver, self.log)

    def test_line(self) -> None:
        """
        A line has local time, level, tag, task and text.
        """
        journal = self.journalOf(self.log, INTEGRITY_SYNC).bound("Worker worker-1")
        journal.info("Finished in {seconds:.3f}s.", seconds=0.004)
        self.assertEqual(
            self.text(),
            "2026/11/22 18:03:11 INFO: [Worker worker-1] [Integrity sync] Finished in 0.004s.\n",
        )

    def test_localTime(self) -> None:
        """
        The time is that which the conversion to local time gives.
        """
        form = LineFormat("Master", localTime=lambda when: time.gmtime(when + 6 * 3600))
        line = form.line(EVENING, LogLevel.info, "x")
        self.assertEqual(line.data, b"2026/11/23 00:03:11 INFO: [Master] [Main] x\n")
        self.assertEqual(line.day, (2026, 11, 23))

    def test_levels(self) -> None:
        """
        The levels go by the names that Wazuh's logs use; below the log's own
        nothing is written.
        """
        for level in LogLevel.iterconstants():
            self.journal.emit(level, "x")
        names = [line.split(":")[0] for line in self.lines()]
        self.assertEqual(names, ["INFO", "WARNING", "ERROR", "CRITICAL"])

    def test_debug(self) -> None:
        """
        A log at debug level writes debug lines.
        """
        log = self.make(level=LogLevel.debug)
        log.start()
        self.journalOf(log).debug("x")
        self.assertEqual(self.lines(), ["DEBUG: [Master] [Main] x"])

    def test_strangers(self) -> None:
        """
        Of other programs' events only warnings and worse are written.
        """
        other = Logger("twisted.web", observer=self.log)
        self.now = time.time()
        other.info("Starting factory")
        other.warn("odd")
        self.assertEqual(self.text()[20:], "WARNING: [Master] [Main] odd\n")

    def test_failure(self) -> None:
        """
        A failure is one line with type and message, at ERROR.
        """
        self.journal.failure("cannot scan:", Failure(ValueError("bad\nvalue")))
        self.assertEqual(
            self.lines(), ["ERROR: [Master] [Main] cannot scan: ValueError: bad\\nvalue"]
        )

    def test_ownFailure(self) -> None:
        """
        The package's own errors speak for themselves.
        """
        error = HomeError("is not a folder", "/x", "make it")
        self.journal.failure("cannot start", Failure(error), level=LogLevel.warn)
        self.assertEqual(
            self.lines(),
            ["WARNING: [Master] [Main] cannot start: /x: is not a folder: make it"],
        )

    def test_traceback(self) -> None:
        """
        At debug level the traceback follows, a line for each of its lines.
        """
        log = self.make(level=LogLevel.debug)
        log.start()
        try:
            raise ValueError("x")
        except ValueError:
            self.journalOf(log).failure("broken")
        first, *others = self.lines()
        self.assertEqual(first, "ERROR: [Master] [Main] broken: ValueError: x")
        self.assertIn("Traceback", others[0])
        for line in others:
            self.assertTrue(line.startswith("DEBUG: [Master] [Main] "))

    def test_otherLogFails(self) -> None:
        """
        A disk that refuses another log of the process, such as twistd's, is one
        line, not one for each event, with no traceback; and again later.
        """
        log = self.make(level=LogLevel.debug)
        log.start()

        @provider(ILogObserver)
        def full(event: LogEvent) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        @provider(ILogObserver)
        def broken(event: LogEvent) -> None:
            raise ValueError("x")

        @provider(ILogObserver)
        def now(event: LogEvent) -> None:
            log({**event, "log_time": self.now})

        publisher = LogPublisher(full, now)
        for _ in range(3):
            Journal(MAIN, None, publisher).info("hello")
        said = "WARNING: [Master] [Main] another log of this process cannot be written: "
        hello = "INFO: [Master] [Main] hello"
        self.assertEqual(self.lines(), [hello, said + "No space left on device", hello, hello])
        self.now += 301
        Journal(MAIN, None, publisher).info("hello")
        self.assertEqual(self.text().count(said), 2)
        publisher.addObserver(broken)
        Journal(MAIN, None, publisher).info("hello")
        self.assertIn("ValueError: x", self.text())

    def test_oldStyleFailure(self) -> None:
        """
        A failure that was logged in the old way is one line too.
        """
        self.log(
            {
                "log_level": LogLevel.critical,
                "log_namespace": "log_legacy",
                "log_format": "{log_text}",
                "log_text": "Unhandled Error\nTraceback (most recent call last):\n  x",
                "log_failure": Failure(KeyError("k")),
                "log_time": EVENING,
            }
        )
        self.assertEqual(self.lines(), ["ERROR: [Master] [Main] Unhandled Error: KeyError: 'k'"])

    def test_controlCharacters(self) -> None:
        """
        What could forge a line or move a terminal's cursor is made visible,
        also in tags.
        """
        self.journal.bound("a\rb").info("{x}", x="1\n2\x1b[0m\u202e\x85\u2028\udc80é€😀")
        self.assertEqual(
            self.lines(),
            ["INFO: [a\\rb] [Main] 1\\n2\\x1b[0m\\u202e\\x85\\u2028\\udc80é€😀"],
        )

    @settings(deadline=None, max_examples=200)
    @given(st.text(st.characters(), max_size=60), st.integers(0, 300))
    def test_anyText(self, text: str, times: int) -> None:
        """
        Whatever is logged is one line of bounded length in UTF-8.
        """
        data = LineFormat("Master").line(EVENING, LogLevel.info, text * times).data
        self.assertLessEqual(len(data), MAX_LINE)
        self.assertEqual(len(data.decode("utf-8").splitlines()), 1)
        self.assertTrue(data.endswith(b"\n"))
        self.assertEqual(escape(escape(text)), escape(text))

    def test_longLine(self) -> None:
        """
        A line that is too long is cut, and says so.
        """
        self.journal.info("{x}", x="é" * 100_000)
        data = self.text().encode()
        self.assertLessEqual(len(data), MAX_LINE)
        self.assertGreater(len(data), MAX_LINE - 10)
        self.assertTrue(data.endswith(b" [cut]\n"))

    def test_hide(self) -> None:
        """
        A hidden text is shown as stars, in failures and tracebacks too.
        """
        log = self.make(level=LogLevel.debug)
        log.start()
        log.hide("it's the\\key")
        log.hide("")
        self.journalOf(log).info("{x} {x!r}", x="it's the\\key")
        self.journalOf(log).failure("x", Failure(ValueError("it's the\\key")))
        self.assertNotIn("key", self.text())
        self.assertIn('*** "***"', self.text())

    def test_unformattable(self) -> None:
        """
        An event that breaks whoever formats it harms nobody.
        """

        class Broken:
            def __str__(self) -> str:
                raise RuntimeError("no")

            __repr__ = __str__

        self.log({"log_namespace": Broken(), "log_level": LogLevel.info, "log_time": EVENING})
        self.assertEqual(
            self.lines(),
            ["ERROR: [Master] [Main] an event could not be written: RuntimeError"],
        )


class WritingTests(LogTestCase):
    """
    When lines are written, and what happens when they cannot be.
    """

    def messages(self) -> list[str]:
        """
        The texts of the lines.
        """
        return [row.split("] ", 2)[2] for row in self.text().splitlines()]

    def test_nothingBeforeStart(self) -> None:
        """
        Before the start nothing is opened; what was logged is written then.
        """
        log = self.make()
        self.journalOf(log).info("early")
        self.assertFalse(os.path.exists(self.path))
        log.start()
        log.start()
        self.assertEqual(self.messages(), ["early"])

    def test_mode(self) -> None:
        """
        The file's mode is 0640 whatever the umask.
        """
        for umask in (0o077, 0o000):
            before = os.umask(umask)
            try:
                self.journal.info("x")
            finally:
                os.umask(before)
            self.assertEqual(self.mode(self.path), 0o640)
            self.log.reopen()
            os.unlink(self.path)

    def test_appends(self) -> None:
        """
        What is in the file stays.
        """
        self.journal.info("one")
        self.log.stop()
        other = self.make()
        other.start()
        self.journalOf(other).info("two")
        self.assertEqual(self.messages(), ["one", "two"])

    def test_slowDisk(self) -> None:
        """
        While the disk does not answer, nobody waits; the lines over the queue's
        size are dropped, and their number is written once there is room.
        """
        log = self.make(queueSize=3)
        log.start()
        journal = self.journalOf(log)
        self.thread.held = True
        for number in range(10):
            journal.info("{n}", n=number)
        self.thread.held = False
        journal.info("more")
        expected = ["0", "1", "2", "8 lines were dropped because the disk was too slow"]
        self.assertEqual(self.messages(), expected)
        self.assertIn("WARNING: ", self.text())
        journal.info("again")
        self.assertEqual(self.messages(), [*expected, "again"])

    def test_cannotOpen(self) -> None:
        """
        Where the file cannot be opened that is told once, and tried again; what
        waits is written then.
        """
        os.mkdir(self.path)
        for number in range(3):
            self.journal.info("{n}", n=number)
        self.assertEqual(len(self.told), 1)
        self.assertIn(f"{self.path} cannot be written: ", self.told[0])
        self.assertNotIn("Errno", self.told[0])
        self.assertEqual(self.thread.pause, RETRY)
        os.rmdir(self.path)
        self.thread.wake()
        self.assertEqual(self.messages(), ["0", "1", "2"])
        os.unlink(self.path)
        os.mkdir(self.path)
        self.now += 1
        self.journal.info("x")
        self.assertEqual(len(self.told), 2)

    def test_droppedWhileFailing(self) -> None:
        """
        Lines that were dropped because the file could not be written are said
        to be so.
        """
        log = self.make(queueSize=1)
        log.start()
        os.mkdir(self.path)
        for number in range(5):
            self.journalOf(log).info("{n}", n=number)
        os.rmdir(self.path)
        self.thread.wake()
        *kept, last = self.messages()
        self.assertEqual(kept, ["0", "1"])
        self.assertIn("3 lines were dropped because the log could not be written: ", last)
        self.thread.held = True
        for number in range(3):
            self.journalOf(log).info("{n}", n=number)
        self.thread.held = False
        self.thread.wake()
        self.assertEqual(
            self.messages()[3:], ["0", "2 lines were dropped because the disk was too slow"]
        )

    def test_tellFails(self) -> None:
        """
        Nobody is harmed when there is nobody to tell either.
        """

        def tell(text: str) -> None:
            raise OSError("Broken pipe")

        os.mkdir(self.path)
        log = self.make(tell=tell)
        log.start()
        self.journalOf(log).info("x")
        self.assertEqual(self.thread.pause, RETRY)

    def test_notThroughLinks(self) -> None:
        """
        A link or a FIFO in the file's place is not written to.
        """
        target = os.path.join(self.folder, "target")
        os.symlink(os.path.abspath(target), self.path)
        self.journal.info("x")
        self.assertFalse(os.path.exists(target))
        os.unlink(self.path)
        os.mkfifo(self.path)
        self.thread.wake()
        self.assertEqual(self.thread.pause, RETRY)
        self.assertEqual(len(self.told), 1)

    def test_fullDisk(self) -> None:
        """
        When a line could only be written in part, it is not written twice.
        """
        tries: list[int] = []

        def write(file: int, data: bytes) -> int:
            tries.append(len(data))
            if len(tries) == 2:
                raise OSError(28, "No space left on device")
            return os.write(file, data[:30])

        line = LineFormat("Master").line(EVENING, LogLevel.info, "a line in several parts")
        lines = deque([line, line])
        file = LogFile(self.path, self.told.append, localTime=time.gmtime, write=write)
        self.addCleanup(file.close)
        self.assertRaises(OSError, file.write, lines)
        file.write(lines)
        self.assertEqual(lines, deque())
        self.assertEqual(self.messages(), ["a line in several parts"] * 2)

    def test_movedAway(self) -> None:
        """
        When something moves the file away, a new one is made within a second.
        """
        self.journal.info("one")
        os.rename(self.path, self.path + ".1")
        self.now += 1
        self.journal.info("two")
        self.assertEqual(self.messages(), ["two"])
        os.unlink(self.path)
        self.now += 1
        self.journal.info("three")
        self.assertEqual(self.messages(), ["three"])

    def test_folderGone(self) -> None:
        """
        When the home was emptied, the log's folder is made again, as the home's
        owner has it; a home that is gone is not.
        """
        home = self.mktemp()
        self.path = os.path.join(home, "logs", "cluster.log")
        os.makedirs(os.path.dirname(self.path))
        log = self.make()
        log.start()
        journal = self.journalOf(log)
        journal.info("one")
        shutil.rmtree(os.path.dirname(self.path))
        self.now += 2
        journal.info("two")
        self.assertTrue(self.text().endswith(" two\n"))
        self.assertEqual(self.mode(os.path.dirname(self.path)), 0o770)
        self.assertEqual(self.told, [])
        shutil.rmtree(home)
        self.now += 2
        journal.info("three")
        self.assertFalse(os.path.exists(home))
        self.assertEqual(len(self.told), 1)
        os.makedirs(home)
        self.thread.wake()
        self.assertTrue(self.text().endswith(" three\n"))

    def test_reopen(self) -> None:
        """
        After C{reopen} the next line goes to the file that has the name.
        """
        self.journal.info("one")
        os.rename(self.path, self.path + ".1")
        self.log.reopen()
        self.journal.info("two")
        self.assertEqual(self.messages(), ["two"])

    def test_stopTooLate(self) -> None:
        """
        A disk that hangs does not hold the stop, which says that lines may be
        missing.
        """
        self.journal.info("one")
        self.thread.held = True
        self.log.stop()
        self.assertEqual(len(self.told), 1)
        self.assertIn("last lines may be missing", self.told[0])

    def test_startAgain(self) -> None:
        """
        A stopped log can be started again, and has lost nothing meanwhile.
        """
        self.journal.info("one")
        self.log.stop()
        self.log.stop()
        self.journal.info("two")
        self.assertEqual(self.messages(), ["one"])
        self.log.start()
        self.assertEqual(self.messages(), ["one", "two"])


class RotationTests(LogTestCase):
    """
    What happens at midnight.
    """

    def files(self) -> list[str]:
        """
        All files below the folder.
        """
        return sorted(
            os.path.relpath(os.path.join(folder, name), self.folder)
            for folder, _, names in os.walk(self.folder)
            for name in names
        )

    def test_midnight(self) -> None:
        """
        The first line of a new day goes to a new file; the old one is archived
        by year, month and day, 0640 in folders of 0750.
        """
        before = os.umask(0o077)
        self.addCleanup(os.umask, before)
        self.journal.info("one")
        self.now += 6 * 3600
        self.journal.info("two")
        self.assertEqual(self.text(), "2026/11/23 00:03:11 INFO: [Master] [Main] two\n")
        self.assertEqual(
            self.archive("2026", "Nov", "cluster.log-22.gz"),
            "2026/11/22 18:03:11 INFO: [Master] [Main] one\n",
        )
        self.assertEqual(self.files(), ["cluster.log", "cluster/2026/Nov/cluster.log-22.gz"])
        for path, mode in (
            ("cluster.log", 0o640),
            ("cluster", 0o750),
            ("cluster/2026", 0o750),
            ("cluster/2026/Nov", 0o750),
            ("cluster/2026/Nov/cluster.log-22.gz", 0o640),
        ):
            self.assertEqual(self.mode(os.path.join(self.folder, path)), mode, path)

    def test_linesOfTwoDaysAtOnce(self) -> None:
        """
        Each line goes to the file of its day, also when they were written late.
        """
        self.thread.held = True
        for text in ("one", "two", "three"):
            self.journal.info(text)
            self.now += DAY
        self.thread.held = False
        self.thread.wake()
        self.assertIn("three", self.text())
        self.assertIn("one", self.archive("2026", "Nov", "cluster.log-22.gz"))
        self.assertIn("two", self.archive("2026", "Nov", "cluster.log-23.gz"))

    def test_foundAtStart(self) -> None:
        """
        A log of another day that is found at the start is rotated by its
        modification time; one of today is written on.
        """
        for when, expected in ((EVENING - DAY, ["new"]), (EVENING - 60, ["old", "new"])):
            with open(self.path, "w") as file:
                file.write("2026/11/00 00:00:00 INFO: [Master] [Main] old\n")
            os.utime(self.path, (when, when))
            log = self.make()
            log.start()
            self.journalOf(log).info("new")
            log.stop()
            self.assertEqual([row.split()[-1] for row in self.text().splitlines()], expected)
        self.assertIn("old", self.archive("2026", "Nov", "cluster.log-21.gz"))

    def test_targetExists(self) -> None:
        """
        What is in the archive stays; the file is added to it.
        """
        os.makedirs(os.path.join(self.folder, "cluster/2026/Nov"))
        with gzip.open(os.path.join(self.folder, "cluster/2026/Nov/cluster.log-22.gz"), "w") as f:
            f.write(b"before\n")
        self.journal.info("one")
        self.now += DAY
        self.journal.info("two")
        self.assertEqual(
            self.archive("2026", "Nov", "cluster.log-22.gz"),
            "before\n2026/11/22 18:03:11 INFO: [Master] [Main] one\n",
        )

    def test_killedInBetween(self) -> None:
        """
        What a process that died set aside is archived by the next one, beside
        what it left half-compressed.
        """
        for number, text in enumerate(("one\n", "two\n")):
            with open(f"{self.path}.2025-01-31.{number}", "w") as file:
                file.write(text)
        os.makedirs(os.path.join(self.folder, "cluster/2025/Jan"))
        with open(os.path.join(self.folder, "cluster/2025/Jan/cluster.log-31.gz.tmp"), "w") as file:
            file.write("half")
        log = self.make()
        log.start()
        self.journalOf(log).info("x")
        self.assertEqual(self.archive("2025", "Jan", "cluster.log-31.gz"), "one\ntwo\n")
        self.assertEqual(self.files(), ["cluster.log", "cluster/2025/Jan/cluster.log-31.gz"])

    def test_killedAtEachStep(self) -> None:
        """
        At whatever step of archiving a process dies, the next one completes it
        without loss.
        """
        content = os.urandom(400_000).hex()
        for steps in range(12):
            day = f"2025-03-{steps + 1:02}"
            target = os.path.join(self.folder, f"cluster/2025/Mar/cluster.log-{day[-2:]}.gz")
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with gzip.open(target, "wt", 1) as archived:
                archived.write("before\n")
            with open(f"{self.path}.{day}.0", "w") as file:
                file.write(content)
            dying = LogFile(self.path, self.told.append)
            for _ in range(steps):
                dying.archiveSome()
            dying.finish()
            following = LogFile(self.path, self.told.append)
            while following.archiveSome():
                pass
            with gzip.open(target, "rt") as archived:
                self.assertEqual(archived.read(), "before\n" + content)
            self.assertNotIn(f"cluster.log.{day}.0", self.files())
        self.assertEqual(self.told, [])

    def test_stopInBetween(self) -> None:
        """
        A stop does not wait for archiving: the next start goes on with it, and
        no line is lost.
        """
        content = os.urandom(1_000_000).hex()
        with open(f"{self.path}.2025-01-31.0", "w") as file:
            file.write(content)
        steps: list[float | None] = []

        class Impatient(ImmediateLogThread):
            def wake(self) -> None:
                if self._drain is not None:
                    steps.append(self._drain())

        log = self.make(thread=Impatient())
        log.start()
        self.journalOf(log).info("x")
        log.stop()
        self.assertEqual(steps, [0, 0, None])
        self.assertIn("cluster.log.2025-01-31.0", self.files())
        self.make().start()
        self.assertEqual(self.archive("2025", "Jan", "cluster.log-31.gz"), content)
        self.assertEqual(self.files(), ["cluster.log", "cluster/2025/Jan/cluster.log-31.gz"])

    def test_cannotArchive(self) -> None:
        """
        Where the archive cannot be written, that is told, the log goes on, and
        the old file stays for another time.
        """
        with open(os.path.join(self.folder, "cluster"), "w"):
            pass
        self.journal.info("one")
        self.now += DAY
        self.journal.info("two")
        self.assertIn("two", self.text())
        self.assertIn("one", self.text(self.path + ".2026-11-22.0"))
        self.assertEqual(len(self.told), 1)
        os.unlink(os.path.join(self.folder, "cluster"))
        self.now += DAY
        self.journal.info("three")
        self.assertIn("one", self.archive("2026", "Nov", "cluster.log-22.gz"))
        self.assertIn("two", self.archive("2026", "Nov", "cluster.log-23.gz"))
        self.assertEqual(len(self.told), 1)

    def test_movedAwayBefore(self) -> None:
        """
        A file that something else rotated at midnight is not rotated again.
        """
        self.now = timegm((2026, 11, 22, 23, 59, 59)) + 0.9
        self.journal.info("one")
        os.rename(self.path, self.path + ".1")
        with open(self.path, "w"):
            pass
        self.now += 0.2
        self.journal.info("two")
        self.assertEqual(self.files(), ["cluster.log", "cluster.log.1"])

    def test_clockSetBack(self) -> None:
        """
        A clock that was in the future and is set right does not stop rotation.
        """
        self.now += 1000 * DAY
        self.journal.info("future")
        self.now = EVENING
        self.journal.info("one")
        self.now += DAY
        self.journal.info("two")
        archived = self.archive("2026", "Nov", "cluster.log-22.gz")
        self.assertEqual([row.split()[-1] for row in archived.splitlines()], ["future", "one"])


class WriterThreadTests(SynchronousTestCase):
    """
    L{WriterThread}, with real threads.
    """

    def test_writes(self) -> None:
        """
        A log with its own thread writes what was logged before it is stopped.
        """
        path = self.mktemp()
        log = ClusterLog(path, "Master")
        journal = Journal(MAIN, None, log)
        log.start()
        for number in range(1000):
            journal.info("line {n}", n=number)
        log.stop(5)
        with open(path) as file:
            self.assertEqual(
                [int(row.split()[-1]) for row in file.read().splitlines()], list(range(1000))
            )

    def test_again(self) -> None:
        """
        While there is more to do it is called again without being woken, and
        after a pause where it asks for one.
        """
        pauses: list[float | None] = [0, 0.001, None]
        done = Event()

        def drain() -> float | None:
            pause = pauses.pop(0) if pauses else None
            if not pauses:
                done.set()
            return pause

        thread = WriterThread()
        thread.start(drain)
        self.assertTrue(done.wait(5))
        self.assertTrue(thread.stop(5))

    def test_stopIsBounded(self) -> None:
        """
        A write that hangs does not hold a stop, and the next start has a thread
        of its own.
        """
        hangs, letGo, again = Event(), Event(), Event()
        self.addCleanup(letGo.set)

        def hang() -> None:
            hangs.set()
            letGo.wait()

        thread = WriterThread()
        thread.start(hang)
        self.assertTrue(hangs.wait(5))
        self.assertFalse(thread.stop(0.01))
        thread.start(again.set)
        self.assertTrue(again.wait(5))
        self.assertTrue(thread.stop(5))

    def test_noThread(self) -> None:
        """
        Where the system has no room for a thread, that is told and the log can
        be started again.
        """
        told: list[str] = []

        def start(name: str, function: object) -> None:
            raise RuntimeError("can't start new thread")

        path = self.mktemp()
        log = ClusterLog(path, "Master", thread=WriterThread(start), tell=told.append)
        log.start()
        log.stop()
        self.assertEqual(told, [f"{path} cannot be written: can't start new thread"])
