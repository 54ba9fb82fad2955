"""
Periodic: the one guarded C{LoopingCall} service, of which every thread of a
node is one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from wazuh_cluster.errors import Stopped
from wazuh_cluster.failures import Failures, kindOf
from wazuh_cluster.journal import Journal
from wazuh_cluster.model import RunRecord


class Periodic(Service):
    """
    Calls a function every C{interval} seconds while it is started.

    A run never overlaps another: a time at which one is under way is skipped,
    also when that run is left over from before a stop and a start. A failure
    is logged and the next run comes at its time.

    @ivar name: what the function is called in logs and tables.
    @ivar hungAfter: how many seconds a run may take before it is reported.
    @ivar stopTimeout: how many seconds stopping waits for the run it cancelled.
    @ivar record: what the last run was like. C{failure} and C{result} are those
        of the last run that ended.
    """

    def __init__(
        self,
        name: str,
        interval: float,
        function: Callable[[], Awaitable[str | None] | str | None],
        clock: IReactorTime,
        journal: Journal,
        *,
        hungAfter: float | None = None,
        pace: float = 0.0,
        now: bool = True,
        stopTimeout: float = 1.0,
    ) -> None:
        """
        @param function: the thread's work; what it gives is the run's result,
            one line for people, or C{None}.
        @param hungAfter: by default 60 seconds or ten intervals, whichever is
            more.
        @param pace: how many seconds after the beginning of a run for which
            somebody asked the next such one begins at the earliest.
        @param now: whether starting begins a run at once.
        """
        self.name = name
        self.hungAfter = max(60.0, 10 * interval) if hungAfter is None else hungAfter
        self.stopTimeout = stopTimeout
        self.record = RunRecord()
        self._failures = Failures(name, clock, journal)
        self._function = function
        self._clock = clock
        self._journal = journal
        self._atStart = now
        self._interval = _checked(interval)
        self._loop: LoopingCall | None = None
        self._run: Deferred[Any] | None = None
        self._hungCall: IDelayedCall | None = None
        self._pace = pace
        self._asked: float | None = None
        self._pacedCall: IDelayedCall | None = None
        # The pace of the run that is to follow the one under way, if one is; who
        # waits for its end, who for the end of the one under way, and which
        # stops wait for that.
        self._wanted: float | None = None
        self._waitingNext: list[Deferred[RunRecord]] = []
        self._waiting: list[Deferred[RunRecord]] = []
        self._stops: list[Deferred[None]] = []

    @property
    def interval(self) -> float:
        """
        Seconds from the beginning of one run to that of the next. When it is
        changed, the next run begins that long after the change.
        """
        return self._interval

    @interval.setter
    def interval(self, seconds: float) -> None:
        if _checked(seconds) == self._interval:
            return
        self._interval = seconds
        if self._loop is not None:
            self._endLoop()
            self._startLoop()

    @property
    def hung(self) -> bool:
        """
        Whether the run under way takes longer than C{hungAfter}.
        """
        started = self.record.started
        return (
            self.record.running
            and started is not None
            and self._clock.seconds() - started >= self.hungAfter
        )

    def startService(self) -> None:
        """
        Begin a run at once, unless told otherwise, and one every interval.
        """
        if self.running:
            return
        super().startService()
        self._startLoop()
        if self.record.running:
            self._watchForHang()
        if self._atStart:
            self.poke()

    def stopService(self) -> Deferred[None]:
        """
        Begin no more runs and cancel the one under way.

        @return: fires when that run ended, or after C{stopTimeout}.
        """
        if self.running:
            super().stopService()
        self._endLoop()
        self._cancelHungCall()
        self._cancelPacedCall()
        self._wanted = None
        unserved = self._waiting + self._waitingNext
        self._waiting, self._waitingNext = [], []
        for waiter in unserved:
            waiter.errback(Stopped(f"{self.name} was stopped"))
        if not self.record.running:
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        self._stops.append(stopped)
        timeout = self._clock.callLater(self.stopTimeout, self._leave, stopped)
        stopped.addBoth(_cancelCall, timeout)
        if self._run is not None:
            self._run.cancel()
        return stopped

    def runNow(self) -> Deferred[RunRecord]:
        """
        Begin a run at once; or, if one is under way, as soon as it ended; but
        not before the pace allows it. Requests made meanwhile share that one
        further run. The next run by itself comes an interval later.

        @return: fires at the end of that run with its record, also when the
            run failed; fails with L{Stopped} if the service is stopped before
            that end, or is not started.
        """
        if not self.running:
            return fail(Stopped(f"{self.name} is not started"))
        done: Deferred[RunRecord] = Deferred()
        self._waitingNext.append(done)
        self.poke()
        return done

    def poke(self, pace: float | None = None) -> None:
        """
        Ask for a run as L{runNow} does, without waiting for it; nothing happens
        if the service is not started.

        @param pace: for this run, in place of the service's.
        """
        if not self.running:
            return
        pace = self._pace if pace is None else pace
        if self.record.running:
            self._wanted = pace if self._wanted is None else min(pace, self._wanted)
        else:
            self._beginInPace(pace)

    def _beginInPace(self, pace: float) -> None:
        asked = self._asked
        since = pace if asked is None else self._clock.seconds() - asked
        # A clock that was set back must not make this wait.
        if not 0 <= since < pace:
            self._beginAsked()
        elif self._pacedCall is None:
            self._pacedCall = self._clock.callLater(pace - since, self._beginAsked)

    def _beginAsked(self) -> None:
        self._asked = self._clock.seconds()
        self._begin()

    def _cancelPacedCall(self) -> None:
        call, self._pacedCall = self._pacedCall, None
        if call is not None and call.active():
            call.cancel()

    def _startLoop(self) -> None:
        # A new one each time: one that is stopped within its own call cannot
        # be started again before that call ended.
        self._loop = loop = LoopingCall(self._tick)
        loop.clock = self._clock
        loop.start(self._interval, now=False).addErrback(self._bug)

    def _endLoop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.stop()

    def _tick(self) -> None:
        if not self.record.running:
            self._begin()

    def _begin(self) -> None:
        self._cancelPacedCall()
        self._wanted = None
        self._waiting, self._waitingNext = self._waitingNext, []
        self.record.started = self._clock.seconds()
        self.record.ended = None
        self.record.runs += 1
        if self._loop is not None:
            self._loop.reset()
        self._watchForHang()
        run: Deferred[Any] = Deferred.fromCoroutine(self._callFunction())
        # Set before the callbacks, for the end may come within addCallbacks.
        self._run = run
        if not self.running:
            # The function itself stopped the service, before there was
            # anything to cancel.
            run.cancel()
        run.addCallbacks(self._succeeded, self._failed)
        # Whatever telling of it may do, the run has ended.
        run.addErrback(self._bug)
        run.addCallback(self._ended)
        run.addErrback(self._bug)

    async def _callFunction(self) -> Any:
        result = self._function()
        if isinstance(result, Awaitable):
            return await result
        return result

    def _succeeded(self, result: Any) -> None:
        self._failures.succeeded()
        self.record.failure = self.record.kind = None
        self.record.result = result if isinstance(result, str) else None

    def _failed(self, failure: Failure) -> None:
        self.record.result = None
        if not self.running and failure.check(CancelledError, Stopped):
            self.record.failure = "stopped before its end"
            return
        self.record.failures += 1
        self.record.failure = self._failures.failed(failure)
        self.record.kind = kindOf(failure)

    def _ended(self, _: None) -> None:
        wasHung = self.hung
        self.record.ended = self._clock.seconds()
        self._run = None
        self._cancelHungCall()
        if wasHung:
            self._journal.info(
                "{thread} ended after {seconds:.0f} s",
                thread=self.name,
                seconds=self.record.duration,
            )
        stops, self._stops = self._stops, []
        waiting, self._waiting = self._waiting, []
        record = evolve(self.record)
        for stop in stops:
            stop.callback(None)
        for waiter in waiting:
            waiter.callback(record)
        if self._wanted is not None and not self.record.running:
            self._beginInPace(self._wanted)

    def _watchForHang(self) -> None:
        # A run left over from before a stop may have been reported already; it
        # is reported again for this life of the service.
        self._hungCall = self._clock.callLater(self.hungAfter, self._reportHang)

    def _cancelHungCall(self) -> None:
        call, self._hungCall = self._hungCall, None
        if call is not None:
            call.cancel()

    def _reportHang(self) -> None:
        self._hungCall = None
        assert self.record.started is not None
        self._journal.warn(
            "{thread} has not ended after {seconds:.0f} s; it is not begun again before it ends",
            thread=self.name,
            seconds=self._clock.seconds() - self.record.started,
        )

    def _leave(self, stopped: Deferred[None]) -> None:
        # A coroutine that stops its own service cannot be cancelled at that
        # moment, for it is waiting for nothing; by now it can.
        if self._run is not None:
            self._run.cancel()
        if stopped.called:
            return
        self._stops.remove(stopped)
        self._journal.warn(
            "{thread} did not end within {seconds:g} s of being stopped, and is left behind",
            thread=self.name,
            seconds=self.stopTimeout,
        )
        stopped.callback(None)

    def _bug(self, failure: Failure) -> None:
        self._journal.failure("{thread} cannot go on", failure, thread=self.name)


def _checked(interval: float) -> float:
    if not interval > 0:
        raise ValueError(f"an interval must be more than 0 seconds, not {interval!r}")
    return interval


def _cancelCall(result: None, call: IDelayedCall) -> None:
    if call.active():
        call.cancel()
