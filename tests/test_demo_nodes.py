"""
Tests for how C{wazuh-cluster demo} runs its nodes and looks at them.
"""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import sysconfig

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.demo.arrivals import Arrivals, Expected, allOf, partSize
from wazuh_cluster.demo.homes import fill
from wazuh_cluster.demo.nodes import (
    DemoFailed,
    IProcess,
    Node,
    end,
    nodeEnvironment,
    twistdCommand,
)
from wazuh_cluster.demo.pace import SIGNALS, Interrupted, Pace, interruptible
from wazuh_cluster.demo.show import Screen
from wazuh_cluster.demo.verdict import Inspector, allEqual, differences
from wazuh_cluster.demo.watch import PATIENCE, Line, Watcher
from wazuh_cluster.errors import LinkClosed, RequestRefused
from wazuh_cluster.home import Home
from wazuh_cluster.integrity.filesystem import RealFileSystem
from wazuh_cluster.interfaces import Slices
from wazuh_cluster.model import MASTER, WORKER
from wazuh_cluster.state import DirectoryState


class FakeProcess:
    """
    A process that ends when it is told, if it obeys.

    @ivar signals: what it was sent.
    @ivar status: its exit status, C{None} as long as it runs.
    """

    pid = 4711

    def __init__(self, obeys: bool = True) -> None:
        self.obeys = obeys
        self.signals: list[int] = []
        self.status: int | None = None

    def poll(self) -> int | None:
        """
        See L{IProcess.poll}.
        """
        return self.status

    def send_signal(self, sig: int) -> None:
        """
        See L{IProcess.send_signal}.
        """
        self.signals.append(sig)
        if sig == signal.SIGKILL or self.obeys:
            self.status = -sig

    def wait(self) -> int:
        """
        See L{IProcess.wait}.
        """
        assert self.status is not None, "this would wait for ever"
        return self.status


def fakePace() -> Pace:
    """
    A pace on a clock that its pauses advance.
    """
    clock = Clock()
    return Pace(clock.seconds, clock.advance)


class PaceTests(SynchronousTestCase):
    """
    Tests for L{Pace} and L{interruptible}.
    """

    def test_pause(self) -> None:
        """
        A pause takes its time.
        """
        pace = fakePace()
        pace.pause(0.32)
        self.assertApproximates(0.32, pace.seconds(), 1e-6)

    def test_interruptedPause(self) -> None:
        """
        A signal ends a pause soon.
        """
        clock = Clock()
        pace = Pace(clock.seconds, clock.advance)
        clock.callLater(1, pace.interrupt, signal.SIGTERM)
        self.assertEqual(signal.SIGTERM, self.assertRaises(Interrupted, pace.pause, 9).signal)
        self.assertTrue(clock.seconds() < 1.1)

    def test_drive(self) -> None:
        """
        Work in slices is done to its end, or to the slice in which somebody
        interrupted.
        """

        def work(count: int) -> Slices[str]:
            for number in range(count):
                done.append(number)
                if number == 3:
                    pace.interrupt(signal.SIGINT)
                yield
            return "result"

        done: list[int] = []
        pace = fakePace()
        self.assertEqual("result", pace.drive(work(3)))
        done.clear()
        self.assertRaises(Interrupted, pace.drive, work(9))
        self.assertEqual([0, 1, 2, 3], done)

    def test_signals(self) -> None:
        """
        Each signal only leaves a mark, the first counts, and afterwards the
        handlers are as they were.
        """
        before = [signal.getsignal(each) for each in SIGNALS]
        pace = fakePace()
        with interruptible(pace):
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            interrupted = self.assertRaises(Interrupted, pace.check)
        self.assertEqual(signal.SIGTERM, interrupted.signal)
        self.assertEqual(before, [signal.getsignal(each) for each in SIGNALS])

    def test_untilInterrupted(self) -> None:
        """
        What waits for the end of nodes is not cut short by a signal.
        """
        pace = fakePace()
        pace.interrupt(signal.SIGINT)
        self.assertFalse(pace.until(lambda: False, 1.0))
        self.assertTrue(pace.seconds() >= 1.0)
        self.assertTrue(pace.until(lambda: True, 1.0))


class NodeTests(SynchronousTestCase):
    """
    Tests for L{Node} and L{end}.
    """

    def setUp(self) -> None:
        """
        A node whose processes are fake.
        """
        self.processes: list[FakeProcess] = []
        self.obeys = True
        self.node = self.make("siem-1")

    def make(self, name: str) -> Node:
        """
        A node.
        """
        return Node(name, WORKER, Home(self.mktemp()), self.launch)

    def launch(self, node: Node) -> IProcess:
        """
        Start a fake process.
        """
        self.processes.append(FakeProcess(self.obeys))
        return self.processes[-1]

    def test_runs(self) -> None:
        """
        A node that runs has a pid and passes the check.
        """
        self.assertIsNone(self.node.pid)
        self.node.start()
        self.node.check()
        self.assertEqual(4711, self.node.pid)

    def test_ended(self) -> None:
        """
        A node that ended by itself is a failure that names it and its status.
        """
        self.node.start()
        for status, said in ((1, "ended by itself with status 1"), (-9, "by the signal 9")):
            self.processes[0].status = status
            failed = self.assertRaises(DemoFailed, self.node.check)
            self.assertIs(self.node, failed.node)
            self.assertIn("siem-1", str(failed))
            self.assertIn(said, str(failed))

    def test_cannotStart(self) -> None:
        """
        A node that cannot be started is a failure that says why.
        """

        def launch(node: Node) -> IProcess:
            raise PermissionError(13, "Permission denied")

        node = Node("hub", MASTER, Home(self.mktemp()), launch)
        self.assertIn("Permission denied", str(self.assertRaises(DemoFailed, node.start)))

    def test_kill(self) -> None:
        """
        After a kill there is no process, and another can be started.
        """
        self.node.start()
        self.node.kill()
        self.assertEqual([signal.SIGKILL], self.processes[0].signals)
        self.assertIsNone(self.node.pid)
        self.node.start()
        self.node.check()

    def test_end(self) -> None:
        """
        Nodes that obey are asked, and not killed; one that never ran is left
        alone.
        """
        self.node.start()
        self.assertEqual([], end([self.node, self.make("siem-2")], fakePace()))
        self.assertEqual([signal.SIGTERM], self.processes[0].signals)
        self.assertIsNone(self.node.pid)

    def test_endStubborn(self) -> None:
        """
        A node that does not end when asked is killed after a while, by its own
        process, and named.
        """
        self.obeys = False
        self.node.start()
        pace = fakePace()
        self.assertEqual(["siem-1"], end([self.node], pace, 2.0))
        self.assertEqual([signal.SIGTERM, signal.SIGKILL], self.processes[0].signals)
        self.assertTrue(2.0 <= pace.seconds() < 2.1)

    def test_tail(self) -> None:
        """
        The tail is that of the cluster's log, or of twistd's where the node
        did not come so far, or nothing.
        """
        self.assertEqual([], self.node.tail()[1])
        fill(self.node.home, {"logs/twistd.log": b"one\ntwo\nthree\n"}, Pace())
        self.assertEqual((self.node.output, ["two", "three"]), self.node.tail(2))
        fill(self.node.home, {"logs/cluster.log": b"INFO: Stopping.\n"}, Pace())
        self.assertEqual((self.node.home.log, ["INFO: Stopping."]), self.node.tail())

    def test_command(self) -> None:
        """
        A node is run by the same Python, with its own home and pid file; agents
        can enroll there if it has a port for that.
        """
        command = twistdCommand(self.node)
        self.assertEqual(sys.executable, command[0])
        self.assertIn(f"--home={self.node.home.path}", command)
        self.assertIn(f"--pidfile={self.node.home.pidFile}", command)
        self.node.enrollmentPort = 11515
        self.node.pagePort = 18080
        self.assertEqual(
            [
                *command,
                "--enrollment=tcp:11515:interface=127.0.0.1",
                "--http=tcp:18080:interface=127.0.0.1",
            ],
            twistdCommand(self.node),
        )
        self.assertEqual("http://127.0.0.1:18080/", self.node.page)

    def test_environment(self) -> None:
        """
        A folder that the package is in, unless it is Python's for packages,
        comes before what C{PYTHONPATH} has.
        """
        import wazuh_cluster

        place = os.path.dirname(os.path.dirname(os.path.abspath(wazuh_cluster.__file__)))
        found = nodeEnvironment({"PYTHONPATH": "/x", "HOME": "/h"})
        self.assertEqual("/h", found["HOME"])
        installed = place == sysconfig.get_path("purelib")
        self.assertEqual("/x" if installed else f"{place}:/x", found["PYTHONPATH"])


class ArrivalsTests(SynchronousTestCase):
    """
    Tests for L{Arrivals}.
    """

    def setUp(self) -> None:
        """
        A home to which two files are to come.
        """
        self.home = Home(self.mktemp())
        self.arrivals = Arrivals(
            self.home, [Expected("etc/rules/a", 10, 1000), Expected("etc/client.keys", 20, None)]
        )

    def put(self, name: str, size: int, mtime: int = 1000) -> None:
        """
        Make a file.
        """
        fill(self.home, {name: b"x" * size}, Pace())
        os.utime(self.home.join(name), (mtime, mtime))

    def seen(self) -> tuple[int, int, int, bool]:
        """
        What is there now.
        """
        arrived = self.arrivals.look()
        return arrived.installed, arrived.files, arrived.bytes, self.arrivals.complete

    def test_arrive(self) -> None:
        """
        Files count when they are staged, their bytes also before; all is
        complete when each is in its place.
        """
        staging = "queue/wazuh_cluster/staging"
        self.assertEqual((0, 0, 0, False), self.seen())
        self.put(f"{staging}/md5-00.part", 4)
        self.assertEqual((0, 0, 4, False), self.seen())
        self.assertEqual(4, partSize(self.home))
        self.put(f"{staging}/md5-11", 20)
        self.assertEqual((0, 1, 24, False), self.seen())
        os.unlink(self.home.join(f"{staging}/md5-11"))
        # Between its two places a file is nowhere.
        self.assertEqual((0, 1, 24, False), self.seen())
        self.put("etc/client.keys", 20, mtime=5)
        os.unlink(self.home.join(f"{staging}/md5-00.part"))
        self.put("etc/rules/a", 10)
        self.assertEqual((2, 2, 30, True), self.seen())
        self.assertEqual(0, partSize(self.home))

    def test_older(self) -> None:
        """
        A file of another size or time is not the one that is to come.
        """
        self.put("etc/rules/a", 9)
        self.put("etc/client.keys", 21)
        self.assertEqual((0, 0, 0, False), self.seen())
        self.put("etc/rules/a", 10, mtime=999)
        self.assertEqual((0, 0, 0, False), self.seen())


class VerdictTests(SynchronousTestCase):
    """
    Tests for L{Inspector} and what is said of what it sees.
    """

    def look(self, files: dict[str, bytes], role: str = WORKER, time: int = 1000) -> Inspector:
        """
        An inspector of a home with these files.
        """
        home = Home(self.mktemp())
        fill(home, files, Pace())
        for name in files:
            os.utime(home.join(name), (time, time))
        return Inspector(home, role, Pace())

    def test_equal(self) -> None:
        """
        Homes with the same files have the same root, whatever the time of
        C{client.keys}.
        """
        rule = {"etc/rules/a.xml": b"<r/>"}
        one = self.look(rule).look()
        self.assertTrue(allEqual([one, self.look(rule).look()]))
        self.assertEqual([], differences(one.manifest, self.look(rule).look().manifest))
        keys = {"etc/client.keys": b"001 a any b\n"}
        two, three = self.look(keys).look(), self.look(keys, time=2000).look()
        self.assertTrue(allEqual([two, three]))
        self.assertEqual([], differences(two.manifest, three.manifest))

    def test_unequal(self) -> None:
        """
        A file that is missing, too much, older or other makes roots differ,
        and is named.
        """
        master = self.look({"etc/rules/a.xml": b"<r/>"}).look()
        for worker in (
            self.look({}),
            self.look({"etc/rules/a.xml": b"<s/>"}),
            self.look({"etc/rules/a.xml": b"<r/>"}, time=999),
        ):
            os.makedirs(worker._tree.path, exist_ok=True)
            seen = worker.look()
            self.assertFalse(allEqual([master, seen]))
            self.assertEqual(["etc/rules/a.xml"], differences(master.manifest, seen.manifest))
        more = self.look({"etc/rules/a.xml": b"<r/>", "etc/lists/b": b"k:v"}).look()
        self.assertEqual(["etc/lists/b"], differences(master.manifest, more.manifest))

    def test_generation(self) -> None:
        """
        The generation is the one in the node's state; none if it has none.
        """
        home = Home(self.mktemp())
        fill(home, {"etc/rules/a.xml": b"<r/>"}, Pace())
        inspector = Inspector(home, MASTER, Pace())
        self.assertIsNone(inspector.look().generation)
        self.assertIsNone(Inspector(home, WORKER, Pace()).look().generation)
        state = DirectoryState(RealFileSystem(), home.stateFolder)
        state.save("generation", b'{"number": 7, "mark": "00"}')
        self.assertEqual(7, inspector.look().generation)

    def test_allOf(self) -> None:
        """
        All files of a manifest are to come, C{client.keys} at any time.
        """
        inspector = self.look({"etc/rules/a.xml": b"<r/>", "etc/client.keys": b"k"})
        self.assertEqual(
            [Expected("etc/client.keys", 1, None), Expected("etc/rules/a.xml", 4, 1000)],
            allOf(inspector.look().manifest),
        )


class WatcherTests(SynchronousTestCase):
    """
    Tests for L{Watcher}.
    """

    def setUp(self) -> None:
        """
        A watcher of one fake worker.
        """
        self.process = FakeProcess()
        self.node = Node("siem-1", WORKER, Home(self.mktemp()), lambda node: self.process)
        self.node.start()
        self.clock = Clock()
        self.pace = Pace(self.clock.seconds, self.clock.advance)
        self.out = io.StringIO()
        self.watcher = Watcher([self.node], Screen(self.out, live=False), self.pace)

    def line(self) -> Line:
        """
        A line for one file.
        """
        return Line(self.node, Arrivals(self.node.home, [Expected("etc/rules/a", 3, None)]))

    def test_until(self) -> None:
        """
        Waiting ends when it happened.
        """
        self.watcher.until(lambda: self.pace.seconds() > 1, self.node, "did not come")
        self.assertTrue(1 < self.pace.seconds() < 1.1)

    def test_patience(self) -> None:
        """
        What does not happen is a failure that names the node.
        """
        failed = self.assertRaises(
            DemoFailed, self.watcher.until, lambda: False, self.node, "did not come"
        )
        self.assertIs(self.node, failed.node)
        self.assertEqual(f"siem-1 did not come after {PATIENCE:.0f} s.", str(failed))

    def test_dies(self) -> None:
        """
        A node that dies ends the waiting at once.
        """
        self.process.status = 1
        self.assertRaises(DemoFailed, self.watcher.until, lambda: False, self.node, "?")
        self.assertRaises(DemoFailed, self.watcher.arrivals, [self.line()], lambda line: "")
        self.assertTrue(self.pace.seconds() < 1)

    def test_each(self) -> None:
        """
        Each node that has something gets a line with its time, in the order in
        which they have it.
        """
        other = Node("hub", MASTER, Home(self.mktemp()), lambda node: FakeProcess())
        self.pace.pause(1)

        def has(node: Node) -> bool:
            return self.pace.seconds() > (3 if node is other else 2)

        self.watcher.each([other, self.node], has, "has it", "has it not", 1.0)
        found = re.fullmatch(
            r"   siem-1  has it after 1\.0\d s\n   hub     has it after 2\.0\d s\n",
            self.out.getvalue(),
        )
        self.assertTrue(found, self.out.getvalue())

    def test_eachNever(self) -> None:
        """
        A node that never has it is a failure that names it, and none of those
        that have it.
        """
        other = Node("hub", MASTER, Home(self.mktemp()), lambda node: FakeProcess())
        failed = self.assertRaises(
            DemoFailed,
            self.watcher.each,
            [other, self.node],
            lambda node: node is other,
            "has it",
            "has it not",
            0.0,
        )
        self.assertIs(self.node, failed.node)
        self.assertEqual(f"siem-1 has it not after {PATIENCE:.0f} s.", str(failed))

    def test_result(self) -> None:
        """
        Work goes on while the pace pauses; what it gives is given.
        """

        async def work() -> str:
            await deferLater(self.clock, 2.0)
            return "done"

        self.assertEqual("done", self.watcher.result(work(), self.node))
        self.assertTrue(2 <= self.pace.seconds() < 2.1)

    def test_resultFails(self) -> None:
        """
        What the work fails with is told in one line that names the node; a bug
        stays what it is.
        """

        async def work(error: Exception) -> str:
            await deferLater(self.clock, 2.0)
            raise error

        failed = self.assertRaises(
            DemoFailed, self.watcher.result, work(RequestRefused("no such group")), self.node
        )
        self.assertIs(self.node, failed.node)
        self.assertEqual("siem-1: no such group.", str(failed))
        self.assertRaises(
            ZeroDivisionError, self.watcher.result, work(ZeroDivisionError()), self.node
        )

    def test_resultDies(self) -> None:
        """
        If the node died, that is told, and not that it does not answer.
        """

        async def work() -> str:
            await deferLater(self.clock, 2.0)
            self.process.status = -9
            raise LinkClosed("the connection was lost")

        failed = self.assertRaises(DemoFailed, self.watcher.result, work(), self.node)
        self.assertEqual("siem-1 was ended by the signal 9.", str(failed))

    def test_noResult(self) -> None:
        """
        Work that does not end is given up, as it is when somebody interrupts.
        """
        given: list[str] = []

        async def work() -> str:
            try:
                await Deferred()
            except CancelledError:
                given.append("up")
                raise
            return "never"

        failed = self.assertRaises(DemoFailed, self.watcher.result, work(), self.node)
        self.assertEqual(f"siem-1 did not answer after {PATIENCE:.0f} s.", str(failed))
        self.clock.callLater(1.0, self.pace.interrupt, signal.SIGINT)
        self.assertRaises(Interrupted, self.watcher.result, work(), self.node)
        self.assertEqual(["up", "up"], given)

    def test_arrivals(self) -> None:
        """
        When all has arrived, each line is printed with its end.
        """
        line = self.line()

        def look() -> None:
            if self.pace.seconds() > 2:
                fill(self.node.home, {"etc/rules/a": b"abc"}, Pace())

        self.watcher.arrivals([line], lambda line: f"ended {line.ended is not None}", look)
        self.assertEqual("   siem-1  ended True\n", self.out.getvalue())
        self.assertTrue(2 < self.pace.seconds() < 2.2)

    def test_nothingComes(self) -> None:
        """
        If nothing more comes for long, that is a failure.
        """
        failed = self.assertRaises(
            DemoFailed, self.watcher.arrivals, [self.line()], lambda line: "x"
        )
        self.assertIs(self.node, failed.node)
        self.assertTrue(PATIENCE <= self.pace.seconds() < PATIENCE + 1)
