"""
Tests for L{wazuh_cluster.threads} and for the runners of L{wazuh_cluster.testing.runner}.
"""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event
from threading import enumerate as allThreads
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import WorkHangs
from wazuh_cluster.interfaces import IRunner, Slices
from wazuh_cluster.journal import Journal
from wazuh_cluster.testing.runner import ClockRunner, ImmediateRunner
from wazuh_cluster.testing.runnercontract import InterruptContract, RunnerContract, Works
from wazuh_cluster.threads import LOOK_INTERVAL, ThreadRunner, startDaemon


class ThreadClock(Clock):
    """
    A clock with a C{callFromThread}; the test's thread is the reactor's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fromThreads: SimpleQueue[Callable[[], Any]] = SimpleQueue()

    def callFromThread(self, function: Callable[..., Any], /, *args: Any) -> None:
        """
        Keep a call for L{until}.
        """
        self.fromThreads.put(lambda: function(*args))

    def until(self, condition: Callable[[], bool]) -> None:
        """
        Do what threads ask for until C{condition} holds, for five seconds at
        the most.
        """
        for _ in range(1000):
            if condition():
                return
            try:
                self.fromThreads.get(timeout=0.005)()
            except Empty:
                continue
        raise AssertionError("it did not happen within five seconds")


class Hang:
    """
    Works whose slice hangs until the test lets it go.
    """

    def __init__(self) -> None:
        self.begun = Event()
        self.letGo = Event()
        self.closed = Event()

    def work(self) -> Slices[None]:
        """
        A work that hangs in its first slice.
        """
        try:
            self.begun.set()
            self.letGo.wait()
            yield
        finally:
            self.closed.set()


class ImmediateRunnerTests(RunnerContract, SynchronousTestCase):
    """
    L{ImmediateRunner}.
    """

    def makeRunner(self) -> IRunner:
        """
        A runner.
        """
        return ImmediateRunner()

    def until(self, condition: Callable[[], bool]) -> None:
        """
        Nothing has to be done.
        """
        self.assertTrue(condition())

    def test_beforeSlice(self) -> None:
        """
        The hook is called before each slice.
        """
        works = Works()
        runner = ImmediateRunner(lambda: works.log.append("hook"))
        runner.run(works.make("a", slices=1))
        self.assertEqual(works.log, ["hook", "a begins", "hook", "a closed"])

    def test_stopWithin(self) -> None:
        """
        A runner that is stopped between slices closes the work and cancels it.
        """
        works = Works()

        def hook() -> None:
            if works.log:
                runner.stop()

        runner = ImmediateRunner(hook)
        self.failureResultOf(runner.run(works.make("a")), CancelledError)
        self.assertEqual(works.log, ["a begins", "a closed"])

    def test_runWithin(self) -> None:
        """
        A work given in the middle of another follows it.
        """
        works = Works()
        given: list[Deferred[str]] = []

        def hook() -> None:
            if works.log and not given:
                given.append(runner.run(works.make("b")))

        runner = ImmediateRunner(hook)
        runner.run(works.make("a"))
        self.assertEqual(works.log, ["a begins", "a closed", "b begins", "b closed"])
        self.assertEqual(self.successResultOf(given[0]), "b")


class ClockRunnerTests(InterruptContract, SynchronousTestCase):
    """
    L{ClockRunner}.
    """

    def setUp(self) -> None:
        """
        Make a clock.
        """
        self.clock = Clock()

    def tearDown(self) -> None:
        """
        Nothing is left on the clock.
        """
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def makeRunner(self) -> IRunner:
        """
        A runner on the test's clock.
        """
        return ClockRunner(self.clock)

    def until(self, condition: Callable[[], bool]) -> None:
        """
        Let time pass.
        """
        for _ in range(100):
            if condition():
                return
            self.clock.advance(0.001)
        self.fail("it did not happen within 100 slices")

    def test_slicePerTick(self) -> None:
        """
        One slice is done at each tick, none before the first.
        """
        works = Works()
        deferred = ClockRunner(self.clock, 1.0).run(works.make("a", slices=2))
        self.assertEqual(works.log, [])
        self.clock.pump([1, 1])
        self.assertEqual(works.log, ["a begins"])
        self.assertNoResult(deferred)
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(deferred), "a")

    def test_cancelFromWithin(self) -> None:
        """
        A work whose own slice leads to its being cancelled is closed after it.
        """
        log: list[str] = []

        def work() -> Slices[None]:
            try:
                deferred.cancel()
                log.append("went on")
                yield
                log.append("never")
            finally:
                log.append("closed")

        deferred = ClockRunner(self.clock).run(work())
        self.clock.advance(0.001)
        self.failureResultOf(deferred, CancelledError)
        self.assertEqual(log, ["went on", "closed"])


class ThreadRunnerTests(InterruptContract, SynchronousTestCase):
    """
    L{ThreadRunner}, with real threads and the test in place of the reactor.
    """

    def setUp(self) -> None:
        """
        Make a clock that takes calls from threads.
        """
        self.clock = ThreadClock()
        self.events: list[str] = []
        self.journal = Journal("Main", observer=lambda e: self.events.append(formatEvent(e)))
        self.hangs: list[Hang] = []
        self.runners: list[ThreadRunner] = []

    def tearDown(self) -> None:
        """
        All threads end once nothing hangs, and nothing is left on the clock.
        """
        for hang in self.hangs:
            hang.letGo.set()
        for runner in self.runners:
            runner.stop()
        for thread in allThreads():
            if thread.name.startswith(self.id()):
                thread.join(5)
                self.assertFalse(thread.is_alive())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def makeRunner(self, **keywords: Any) -> ThreadRunner:
        """
        A runner that is stopped when the test ends.
        """
        runner = ThreadRunner(self.clock, self.id(), journal=self.journal, **keywords)
        self.runners.append(runner)
        return runner

    def until(self, condition: Callable[[], bool]) -> None:
        """
        Do what the threads ask for.
        """
        self.clock.until(condition)

    def hang(self) -> Hang:
        """
        A hang that ends with the test.
        """
        self.hangs.append(Hang())
        return self.hangs[-1]

    def threads(self) -> int:
        """
        How many threads of this test live.
        """
        return sum(thread.name.startswith(self.id()) for thread in allThreads())

    def test_startsLazily(self) -> None:
        """
        No thread is there before the first work, and one after many.
        """
        runner = self.makeRunner()
        self.assertEqual(self.threads(), 0)
        for _ in range(5):
            self.ended(runner.run(Works().make("a")))
        self.assertEqual(self.threads(), 1)

    def test_daemon(self) -> None:
        """
        The thread does not keep the process from ending.
        """
        self.ended(self.makeRunner().run(Works().make("a")))
        thread = next(t for t in allThreads() if t.name.startswith(self.id()))
        self.assertTrue(thread.daemon)

    def test_hangIsLeft(self) -> None:
        """
        A cancelled work that hangs is left with its thread when the patience is
        over, and later work runs on another thread; when the hang ends, the
        work is closed.
        """
        runner = self.makeRunner(patience=2)
        hang = self.hang()
        hung = runner.run(hang.work())
        self.until(hang.begun.is_set)
        hung.cancel()
        self.failureResultOf(hung, CancelledError)
        later = runner.run(Works().make("b"))
        self.clock.advance(1.9)
        self.assertNoResult(later)
        self.clock.advance(0.1)
        self.assertEqual(self.ended(later), "b")
        self.assertEqual(len(self.events), 1)
        self.assertIn("hangs", self.events[0])
        hang.letGo.set()
        self.assertTrue(hang.closed.wait(5))

    def test_slowSliceKeepsThread(self) -> None:
        """
        A cancelled work whose slice ends in time costs no thread.
        """
        runner = self.makeRunner(patience=2)
        hang = self.hang()
        hung = runner.run(hang.work())
        self.until(hang.begun.is_set)
        hung.cancel()
        self.failureResultOf(hung, CancelledError)
        later = runner.run(Works().make("b"))
        hang.letGo.set()
        self.assertEqual(self.ended(later), "b")
        self.clock.advance(LOOK_INTERVAL)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.threads(), 1)
        self.assertEqual(self.events, [])

    def test_diskDoesNotAnswer(self) -> None:
        """
        Work that waits for its disk is said once, and that it goes on; work
        that goes on slowly is not said.
        """
        runner = self.makeRunner()
        hang = self.hang()
        waiting = runner.run(hang.work())
        self.until(hang.begun.is_set)
        self.clock.pump([LOOK_INTERVAL] * 2)
        self.assertEqual(self.events, [f"{self.id()}: the disk has not answered for 20 s"])
        self.clock.pump([LOOK_INTERVAL] * 7)
        self.assertEqual(len(self.events), 1)
        hang.letGo.set()
        self.assertIsNone(self.ended(waiting))
        self.clock.advance(LOOK_INTERVAL)
        self.assertEqual(self.events[1:], [f"{self.id()}: the disk answers again"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

        slices = [self.hang() for _ in range(6)]

        def slow() -> Slices[None]:
            for each in slices:
                yield from each.work()

        working = runner.run(slow())
        for each in slices:
            self.until(each.begun.is_set)
            self.clock.advance(LOOK_INTERVAL)
            self.assertFalse(each.closed.is_set())
            each.letGo.set()
        self.ended(working)
        self.assertEqual(len(self.events), 2)

    def test_tooManyHang(self) -> None:
        """
        When as many threads as allowed are left hanging, works are refused with
        a clear error, until one of them ends.
        """
        runner = self.makeRunner(patience=1, maxLeft=2)
        for _ in range(2):
            hang = self.hang()
            hung = runner.run(hang.work())
            self.until(hang.begun.is_set)
            hung.cancel()
            self.failureResultOf(hung, CancelledError)
            waiting = runner.run(Works().make("b"))
            self.clock.advance(1)
        self.failureResultOf(waiting, WorkHangs)
        refused = self.failureResultOf(runner.run(Works().make("c")), WorkHangs)
        self.assertIn("2 pieces of work hang", str(refused.value))
        self.hangs[0].letGo.set()
        self.until(lambda: not runner.run(Works().make("d")).addErrback(lambda _: None).called)

    def test_cancelledBadly(self) -> None:
        """
        A work that fails while it is closed, after it was cancelled, is logged.
        """
        begun = Event()

        def work() -> Slices[None]:
            begun.set()
            try:
                while True:
                    yield
            finally:
                raise ValueError("no good end")

        runner = self.makeRunner()
        deferred = runner.run(work())
        self.until(begun.is_set)
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)
        self.ended(runner.run(Works().make("b")))
        self.assertEqual(len(self.events), 1)
        self.assertIn("did not end well", self.events[0])

    def test_cancelledAndRefused(self) -> None:
        """
        Where a disk refused what was cancelled, that is no trouble worth a traceback.
        """
        begun, cancelled = Event(), Event()

        def work() -> Slices[None]:
            begun.set()
            yield
            cancelled.wait(10)
            raise OSError(errno.ENOSPC, "No space left on device")

        runner = self.makeRunner()
        deferred = runner.run(work())
        self.until(begun.is_set)
        deferred.cancel()
        cancelled.set()
        self.failureResultOf(deferred, CancelledError)
        self.ended(runner.run(Works().make("b")))
        self.assertEqual(len(self.events), 1)
        self.assertIn("was cancelled failed: No space left on device", self.events[0])

    def test_noThread(self) -> None:
        """
        Where the system has no room for a thread the work fails, and the next
        one tries again.
        """
        rooms = [False, True]

        def start(name: str, function: Callable[[], None]) -> None:
            if not rooms.pop(0):
                raise RuntimeError("can't start new thread")
            startDaemon(name, function)

        runner = self.makeRunner(startThread=start)
        self.failureResultOf(runner.run(Works().make("a")), RuntimeError)
        self.assertEqual(self.ended(runner.run(Works().make("b"))), "b")

    def test_reactorGone(self) -> None:
        """
        A work that ends when the reactor cannot be woken up any more makes no
        noise.
        """

        class Gone(Clock):
            def callFromThread(self, function: Callable[..., Any], /, *args: Any) -> None:
                raise OSError(errno.EBADF, "Bad file descriptor")

        noise: list[Exception] = []

        def start(name: str, function: Callable[[], None]) -> None:
            def listen() -> None:
                try:
                    function()
                except Exception as error:
                    noise.append(error)

            startDaemon(name, listen)

        runner = ThreadRunner(Gone(), self.id(), startThread=start)
        works = Works()
        runner.run(works.make("a")).addErrback(lambda _: None)
        self.until(lambda: self.threads() == 0)
        self.assertEqual(noise, [])
        self.assertEqual(works.log, ["a begins", "a closed"])

    def test_reactorNotWoken(self) -> None:
        """
        A work that ends when the byte that wakes the reactor up cannot be
        written is not lost, nor is the thread; waking is tried again, which
        calls nothing twice.
        """
        tries = count(1)

        class Asleep(ThreadClock):
            def callFromThread(self, function: Callable[..., Any], /, *args: Any) -> None:
                super().callFromThread(function, *args)
                if next(tries) % 3:
                    raise OSError(errno.EIO, "Input/output error")

        self.clock = Asleep()
        runner = self.makeRunner()
        for name in ("a", "b"):
            self.assertEqual(self.ended(runner.run(Works().make(name))), name)
        self.assertEqual(self.threads(), 1)
        self.assertEqual(next(tries), 7)

    def test_stopWhileHanging(self) -> None:
        """
        Stopping while a slice hangs cancels at once, and the work is closed
        once the slice ends.
        """
        runner = self.makeRunner()
        hang = self.hang()
        hung = runner.run(hang.work())
        self.until(hang.begun.is_set)
        runner.stop()
        self.failureResultOf(hung, CancelledError)
        hang.letGo.set()
        self.assertTrue(hang.closed.wait(5))


_HANGING = """
import threading, time
from twisted.internet import reactor
from wazuh_cluster.threads import ThreadRunner

def hang():
    print("hangs", flush=True)
    while True:
        time.sleep(1000)
        yield

runner = ThreadRunner(reactor, "scan")
reactor.callWhenRunning(lambda: runner.run(hang()).addErrback(lambda f: print(f.type.__name__)))
reactor.addSystemEventTrigger("before", "shutdown", runner.stop)
reactor.run()
print("ended")
"""


class ProcessTests(SynchronousTestCase):
    """
    A process with a L{ThreadRunner} whose slice hangs for ever.
    """

    def test_exits(self) -> None:
        """
        SIGTERM ends the process within two seconds, without noise.
        """
        process = subprocess.Popen(
            [sys.executable, "-c", _HANGING],
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), "hangs\n")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=2)
        self.assertEqual((out, err, process.returncode), ("CancelledError\nended\n", "", 0))
