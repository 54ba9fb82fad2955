"""
Tests for L{wazuh_cluster.periodic}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import ClusterError, Stopped
from wazuh_cluster.journal import Journal
from wazuh_cluster.model import RunRecord
from wazuh_cluster.periodic import Periodic


class PeriodicTests(SynchronousTestCase):
    """
    L{Periodic} with a function whose runs the test ends.
    """

    def setUp(self) -> None:
        """
        Make a clock and a place for what is logged.
        """
        self.clock = Clock()
        self.events: list[LogEvent] = []
        self.runs: list[Deferred[str | None]] = []
        self.begins: list[float] = []

    def tearDown(self) -> None:
        """
        Nothing is left on the clock after a stop.
        """
        self.periodic.stopService()
        for run in self.runs:
            if not run.called:
                run.callback(None)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def make(self, function: Any = None, interval: float = 10, **keywords: Any) -> Periodic:
        """
        The service of the test.
        """
        self.periodic = Periodic(
            "File integrity",
            interval,
            function or self.begin,
            self.clock,
            Journal("Local integrity", "Master", self.events.append),
            **keywords,
        )
        return self.periodic

    def begin(self) -> Deferred[str | None]:
        """
        A run that ends when the test says so.
        """
        self.begins.append(self.clock.seconds())
        self.runs.append(Deferred())
        return self.runs[-1]

    def quick(self) -> None:
        """
        A run that ends at once.
        """
        self.begins.append(self.clock.seconds())

    def lines(self) -> list[str]:
        """
        What was logged.
        """
        return [formatEvent(event) for event in self.events]

    def test_rhythm(self) -> None:
        """
        A run begins at the start, and then one every interval.
        """
        self.make(self.quick).startService()
        self.clock.pump([5] * 6)
        self.assertEqual(self.begins, [0, 10, 20, 30])

    def test_notNow(self) -> None:
        """
        With C{now=False} the first run begins after an interval.
        """
        self.make(self.quick, now=False).startService()
        self.clock.pump([5] * 4)
        self.assertEqual(self.begins, [10, 20])

    def test_interval(self) -> None:
        """
        An interval that is not above zero is refused.
        """
        for bad in (0, -1, float("nan")):
            self.assertRaises(ValueError, self.make, interval=bad)
        self.assertRaises(ValueError, setattr, self.make(), "interval", 0)

    def test_kindsOfResult(self) -> None:
        """
        A coroutine, a Deferred and a plain value may be given; a text is kept.
        """

        async def coroutine() -> str:
            return await succeed("of a coroutine")

        results: list[Any] = [coroutine(), succeed("of a Deferred"), "plain", None, succeed(None)]
        kept = []
        self.make(lambda: results.pop(0)).startService()
        for _ in range(5):
            kept.append(self.periodic.record.result)
            self.clock.advance(10) if results else None
        self.assertEqual(kept, ["of a coroutine", "of a Deferred", "plain", None, None])

    def test_record(self) -> None:
        """
        The record tells when the last run began and ended, and how.
        """
        self.make(now=False)
        self.assertEqual(self.periodic.record, RunRecord())
        self.periodic.startService()
        self.clock.advance(10)
        self.assertTrue(self.periodic.record.running)
        self.clock.advance(3)
        self.runs[0].callback("2 files changed")
        self.assertEqual(
            self.periodic.record,
            RunRecord(started=10, ended=13, result="2 files changed", runs=1),
        )

    def test_noOverlap(self) -> None:
        """
        A time at which a run is under way is skipped.
        """
        self.make().startService()
        self.clock.pump([5] * 5)
        self.assertEqual(self.begins, [0])
        self.runs[0].callback(None)
        self.assertEqual(self.begins, [0])
        self.clock.advance(5)
        self.assertEqual(self.begins, [0, 30])

    def test_failsOnPurpose(self) -> None:
        """
        A L{ClusterError} is logged as one line without a traceback, and the
        next run comes at its time.
        """
        self.make().startService()
        self.runs[0].errback(ClusterError("the link to the master\nis gone"))
        self.assertEqual(self.lines(), ["File integrity failed: the link to the master is gone"])
        self.assertIs(self.events[0]["log_level"], LogLevel.error)
        self.assertNotIn("log_failure", self.events[0])
        self.assertEqual(self.periodic.record.failure, "the link to the master is gone")
        self.assertEqual(self.periodic.record.failures, 1)
        self.clock.advance(10)
        self.assertEqual(self.begins, [0, 10])

    def test_recovers(self) -> None:
        """
        A run that goes well clears the failure of the one before.
        """
        self.make().startService()
        self.runs[0].errback(ClusterError("x"))
        self.clock.advance(10)
        self.assertEqual(self.periodic.record.failure, "x")
        self.runs[1].callback("fine")
        self.assertEqual(
            (self.periodic.record.failure, self.periodic.record.result), (None, "fine")
        )
        self.assertEqual((self.periodic.record.runs, self.periodic.record.failures), (2, 1))

    def test_bug(self) -> None:
        """
        Any other exception, raised or in a Deferred, is logged with its
        failure, and the next run comes at its time. The same one again is not
        logged again at once.
        """

        def broken() -> None:
            self.quick()
            raise ZeroDivisionError("oops")

        self.make(broken).startService()
        self.clock.advance(10)
        self.assertEqual(self.begins, [0, 10])
        self.assertEqual(len(self.events), 1)
        self.assertIs(self.events[0]["log_failure"].type, ZeroDivisionError)
        self.assertEqual(self.periodic.record.failure, "ZeroDivisionError: oops")

    def test_runNow(self) -> None:
        """
        A run can be had at once; the next by itself comes an interval later.
        """
        self.make().startService()
        self.runs[0].callback(None)
        self.clock.advance(4)
        done = self.periodic.runNow()
        self.assertEqual(self.begins, [0, 4])
        self.assertNoResult(done)
        self.clock.advance(1)
        self.runs[1].callback("two")
        self.assertEqual(
            self.successResultOf(done), RunRecord(started=4, ended=5, result="two", runs=2)
        )
        self.clock.advance(8.9)
        self.assertEqual(len(self.begins), 2)
        self.clock.advance(0.1)
        self.assertEqual(self.begins, [0, 4, 14])

    def test_runNowCoalesces(self) -> None:
        """
        Requests made while a run is under way share one run that follows it,
        and fire at the end of that one.
        """
        self.make().startService()
        done = [self.periodic.runNow() for _ in range(3)]
        self.periodic.poke()
        self.runs[0].callback(None)
        self.assertEqual(len(self.runs), 2)
        for one in done:
            self.assertNoResult(one)
        self.runs[1].callback("second")
        self.assertEqual([self.successResultOf(one).result for one in done], ["second"] * 3)
        self.assertEqual(len(self.runs), 2)

    def test_runNowFromItsEnd(self) -> None:
        """
        Who asks again when told of the end gets a further run.
        """
        self.make(now=False).startService()
        again: list[Deferred[RunRecord]] = []
        self.periodic.runNow().addCallback(lambda _: again.append(self.periodic.runNow()))
        self.runs[0].callback(None)
        self.assertNoResult(again[0])
        self.runs[1].callback("second")
        self.assertEqual(self.successResultOf(again[0]).result, "second")

    def test_runNowFromWithin(self) -> None:
        """
        A function may ask for a further run of itself.
        """

        def function() -> None:
            self.quick()
            if len(self.begins) == 1:
                self.periodic.poke()

        self.make(function).startService()
        self.assertEqual(self.begins, [0, 0])

    def test_runNowFails(self) -> None:
        """
        The Deferred of a run that failed fires with the record that says so.
        """
        self.make(now=False).startService()
        done = self.periodic.runNow()
        self.runs[0].errback(ClusterError("no"))
        self.assertEqual(self.successResultOf(done).failure, "no")

    def test_runNowCancelled(self) -> None:
        """
        Cancelling a request leaves the run alone.
        """
        self.make(now=False).startService()
        done = self.periodic.runNow()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.runs[0].callback("went on")
        self.assertEqual(self.periodic.record.result, "went on")

    def test_pace(self) -> None:
        """
        Runs that somebody asks for follow each other in no quicker pace; the
        first begins at once, also after one that came by itself, and the last
        request is not lost.
        """
        self.make(self.quick, interval=5, pace=1).startService()
        self.clock.advance(5)
        for _ in range(20):
            self.periodic.poke()
            self.clock.advance(0.125)
        self.assertEqual([0, 5, 5, 6, 7], self.begins)
        self.clock.advance(0.5)
        self.assertEqual([8], self.begins[5:])
        self.clock.advance(5)
        self.assertEqual([13], self.begins[6:])

    def test_otherPace(self) -> None:
        """
        Who asks may name another pace for that run; it takes the place of one
        that waits for its time, and follows one that is under way at once.
        """
        self.make(self.quick, interval=5, pace=1).startService()
        self.periodic.poke()
        self.assertEqual([0], self.begins)
        self.clock.advance(0.25)
        self.periodic.poke(0)
        self.assertEqual([0, 0.25], self.begins)
        self.clock.advance(1)
        self.assertEqual([0, 0.25], self.begins)

    def test_otherPaceOfLongRuns(self) -> None:
        """
        The same while a run is under way.
        """
        self.make(pace=2).startService()
        self.clock.advance(1)
        self.periodic.poke()
        self.periodic.poke(0)
        self.periodic.poke()
        self.runs[0].callback(None)
        self.assertEqual([0, 1], self.begins)

    def test_paceOfLongRuns(self) -> None:
        """
        What is asked for during a run begins at its end, if that is late enough.
        """
        self.make(pace=2).startService()
        self.clock.advance(3)
        self.periodic.poke()
        self.runs[0].callback(None)
        self.assertEqual([0, 3], self.begins)
        self.clock.advance(0.5)
        waiting = self.periodic.runNow()
        self.runs[1].callback(None)
        self.clock.advance(1)
        self.assertEqual([0, 3], self.begins)
        self.clock.advance(0.5)
        self.assertEqual([0, 3, 5], self.begins)
        self.runs[2].callback("done")
        self.assertEqual("done", self.successResultOf(waiting).result)

    def test_stopInPace(self) -> None:
        """
        A stop ends the wait for the pace, and so does a run that comes by
        itself.
        """
        self.make(self.quick, interval=3, pace=5).startService()
        self.periodic.poke()
        self.clock.advance(3)
        self.assertEqual([0, 3], self.begins)
        self.assertEqual(1, len(self.clock.getDelayedCalls()))
        self.periodic.poke()
        self.successResultOf(self.periodic.stopService())
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_paceAfterClockSetBack(self) -> None:
        """
        A clock that was set back does not make a run wait.
        """
        self.make(self.quick, pace=1).startService()
        self.clock.advance(100)
        self.clock.rightNow -= 50
        self.periodic.poke()
        self.assertEqual(50, self.begins[-1])

    def test_notStarted(self) -> None:
        """
        A service that is not started refuses to run.
        """
        self.failureResultOf(self.make().runNow(), Stopped)
        self.periodic.poke()
        self.assertEqual(self.begins, [])

    def test_newInterval(self) -> None:
        """
        A changed interval counts from the change, whether or not a run is under
        way.
        """
        self.make(self.quick).startService()
        self.clock.advance(4)
        self.periodic.interval = 3
        self.clock.pump([1] * 6)
        self.assertEqual(self.begins, [0, 7, 10])

    def test_newIntervalWithin(self) -> None:
        """
        The function may change the interval, also before the start.
        """

        def function() -> None:
            self.quick()
            self.periodic.interval += 1

        self.make(function)
        self.periodic.interval = 1
        self.periodic.startService()
        self.clock.pump([1] * 9)
        self.assertEqual(self.begins, [0, 2, 5, 9])

    def test_hung(self) -> None:
        """
        A run that takes too long is reported once, with how long it has taken,
        and is not begun a second time.
        """
        self.make(hungAfter=25).startService()
        self.clock.pump([5] * 20)
        self.assertEqual(len(self.events), 1)
        self.assertIs(self.events[0]["log_level"], LogLevel.warn)
        self.assertIn("has not ended after 25 s", self.lines()[0])
        self.assertTrue(self.periodic.hung)
        self.assertEqual(self.begins, [0])
        self.runs[0].callback(None)
        self.assertFalse(self.periodic.hung)
        self.assertEqual(self.lines()[1:], ["File integrity ended after 100 s"])
        self.clock.advance(10)
        self.assertEqual(self.begins, [0, 110])

    def test_stopIdle(self) -> None:
        """
        Stopping between runs is done at once, and leaves nothing on the clock.
        """
        self.make(self.quick).startService()
        self.successResultOf(self.periodic.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(100)
        self.assertEqual(self.begins, [0])

    def test_stopCancels(self) -> None:
        """
        Stopping cancels the run under way, without a line in the log, and fails
        all requests.
        """
        self.make().startService()
        first = self.periodic.runNow()
        self.runs[0].callback(None)
        second = self.periodic.runNow()
        self.successResultOf(self.periodic.stopService())
        self.assertTrue(self.runs[1].called)
        self.failureResultOf(first, Stopped)
        self.failureResultOf(second, Stopped)
        self.assertEqual(self.lines(), [])
        self.assertEqual(self.periodic.record.failure, "stopped before its end")
        self.assertEqual(self.periodic.record.failures, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopWaits(self) -> None:
        """
        Stopping waits for a cancelled run that still has something to do.
        """
        tidy: Deferred[None] = Deferred()

        async def function() -> None:
            try:
                await Deferred()
            finally:
                await tidy

        self.make(function).startService()
        stopped = self.periodic.stopService()
        self.assertNoResult(stopped)
        tidy.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def stubborn(self, stubborn: Deferred[None]) -> Any:
        """
        A function whose first run ends with C{stubborn}, whatever is cancelled.
        """

        async def function() -> None:
            self.quick()
            while len(self.begins) == 1 and not stubborn.called:
                try:
                    waiting: Deferred[None] = Deferred()
                    stubborn.chainDeferred(waiting)
                    await waiting
                except CancelledError:
                    continue

        return function

    def test_stopGivesUp(self) -> None:
        """
        Stopping waits for one second at the most. Started again, no run begins
        before the one left behind ended, and then one begins at once.
        """
        stubborn: Deferred[None] = Deferred()
        self.make(self.stubborn(stubborn)).startService()
        stopped = self.periodic.stopService()
        self.clock.advance(0.9)
        self.assertNoResult(stopped)
        self.clock.advance(0.1)
        self.successResultOf(stopped)
        self.assertIn("is left behind", self.lines()[0])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.periodic.startService()
        self.clock.pump([10] * 3)
        self.assertEqual(self.begins, [0])
        stubborn.callback(None)
        self.assertEqual(self.begins, [0, 31])

    def test_stopFromWithin(self) -> None:
        """
        A function may stop its own service, at its beginning or later; it is
        cancelled at its next wait, or when the time to stop is over.
        """
        for late in (False, True):
            go: Deferred[None] = Deferred()
            stopped: list[Deferred[None]] = []

            async def function(
                late: bool = late,
                go: Deferred[None] = go,
                stopped: list[Deferred[None]] = stopped,
            ) -> None:
                if late:
                    await go
                stopped.append(self.periodic.stopService())
                await Deferred()

            self.make(function).startService()
            go.callback(None)
            if late:
                self.clock.advance(1)
            self.successResultOf(stopped[0])
            self.assertEqual(self.periodic.record.failure, "stopped before its end")
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.assertEqual(self.lines(), [])

    def test_stopTwice(self) -> None:
        """
        Who stops it while it is being stopped is told of the same end.
        """
        stubborn: Deferred[None] = Deferred()
        self.make(self.stubborn(stubborn)).startService()
        both = [self.periodic.stopService(), self.periodic.stopService()]
        stubborn.callback(None)
        for one in both:
            self.successResultOf(one)
        self.successResultOf(self.periodic.stopService())

    def test_startAgain(self) -> None:
        """
        A stopped service can be started again.
        """
        self.make(self.quick).startService()
        self.successResultOf(self.periodic.stopService())
        self.clock.advance(5)
        self.periodic.startService()
        self.clock.advance(10)
        self.assertEqual(self.begins, [0, 5, 15])
