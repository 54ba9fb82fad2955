"""
ThreadRunner: blocking work, slice by slice, on a daemon thread of its own.

Twisted's pool and C{concurrent.futures} join their threads when the process
ends, so that one read that hangs holds the exit. The daemon threads here do not.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.errors import ClusterError, Stopped, WorkHangs
from wazuh_cluster.failures import oneLine
from wazuh_cluster.interfaces import IRunner, Slices
from wazuh_cluster.journal import MAIN, Journal

T = TypeVar("T")

#: Seconds between two looks at whether the work under way goes on, and for how
#: long it may not before that is said.
LOOK_INTERVAL = 10.0
SILENT_AFTER = 20.0

#: How often it is tried to wake the reactor up.
_WAKES = 100

#: Begins a thread of that name that calls the function.
StartThread = Callable[[str, Callable[[], None]], object]


def startDaemon(name: str, function: Callable[[], None]) -> None:
    """
    Call C{function} in a new thread that does not keep the process from ending.
    """
    Thread(target=function, name=name, daemon=True).start()


class ThreadReactor(Protocol):
    """
    What a L{ThreadRunner} needs of a reactor.
    """

    def callFromThread(self, function: Callable[..., Any], /, *args: Any) -> Any: ...

    def callLater(self, delay: float, function: Callable[..., Any], /, *args: Any) -> Any: ...


def callReactor(reactor: ThreadReactor, function: Callable[..., Any], /, *args: Any) -> bool:
    """
    Have the reactor's thread call a function, from another thread.

    A byte that cannot be written to wake the reactor up loses nothing: the call
    is waiting already, and is made with the reactor's next timer at the latest.

    @return: whether there is a reactor any more.
    """
    for _ in range(_WAKES):
        try:
            reactor.callFromThread(function, *args)
        except OSError as error:
            if error.errno == errno.EBADF:
                return False
            function, args = _nothing, ()
        else:
            break
    return True


def _nothing() -> None:
    """
    What a reactor is called for that only has to wake up.
    """


class _Job:
    """
    One piece of work.

    @ivar unwanted: whether the work is to be closed instead of going on. The thread
        looks at it between two slices; nobody waits for it, so it is no C{Event}, which
        would cost more than a small work does.
    @ivar slices: how many of its slices have ended.
    """

    def __init__(self, work: Slices[Any], deferred: Deferred[Any]) -> None:
        self.work = work
        self.deferred = deferred
        self.unwanted = False
        self.slices = 0

    def drive(self) -> object:
        """
        Run to the end, in the thread.

        @return: the result, or a L{Failure}.
        """
        try:
            while not self.unwanted:
                next(self.work)
                self.slices += 1
            self.work.close()
        except StopIteration as end:
            return end.value
        except BaseException:
            # Whatever it is belongs to who asked for the work; nobody looks at
            # what ends a thread.
            return Failure()
        return None


class _Lane:
    """
    One thread, and the job that is in it.

    @ivar jobs: what the thread takes its work from; C{None} ends it.
    @ivar ended: whether nobody wants to hear of the thread any more.
    """

    def __init__(self) -> None:
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self.ended = False
        self.job: _Job | None = None


@implementer(IRunner)
class ThreadRunner:
    """
    Runs works one after the other on one thread, which begins with the first.

    A cancelled work whose slice has not ended C{patience} seconds later is left
    alone with its thread, and another thread takes over. One that nobody
    cancels waits for as long as its disk does; the log says so.

    All methods are for the reactor's thread.

    @ivar patience: in seconds.
    @ivar maxLeft: when so many threads are left hanging, works fail with
        L{WorkHangs} until one of them ends.
    """

    def __init__(
        self,
        reactor: ThreadReactor,
        name: str,
        *,
        patience: float = 1.0,
        maxLeft: int = 8,
        journal: Journal | None = None,
        startThread: StartThread = startDaemon,
    ) -> None:
        """
        @param name: what the threads are called.
        """
        self.name = name
        self.patience = patience
        self.maxLeft = maxLeft
        self._reactor = reactor
        self._journal = Journal(MAIN) if journal is None else journal
        self._startThread = startThread
        self._waiting: deque[_Job] = deque()
        self._lane: _Lane | None = None
        self._left: set[_Lane] = set()
        self._patienceCall: IDelayedCall | None = None
        self._lookCall: IDelayedCall | None = None
        # The work and slice at the last look, and for how long it was that one.
        self._seen: tuple[_Job, int] | None = None
        self._silence = 0.0
        self._stopped = False
        self._started = 0

    def run(self, work: Slices[T]) -> Deferred[T]:
        """
        See L{IRunner.run}.
        """
        if self._stopped:
            work.close()
            return fail(Stopped(f"{self.name} takes no more work: it was stopped"))
        if self._tooMuchHangs():
            work.close()
            return fail(self._hangs())
        deferred: Deferred[T] = Deferred(lambda _: self._cancel(job))
        job = _Job(work, deferred)
        self._waiting.append(job)
        self._next()
        return deferred

    def call(self, function: Callable[..., T], *args: object) -> Deferred[T]:
        """
        See L{IRunner.call}.
        """
        return self.run(_oneSlice(function, args))

    def stop(self) -> None:
        """
        See L{IRunner.stop}.
        """
        self._stopped = True
        lane = self._lane
        for job in [*self._waiting, *([lane.job] if lane and lane.job else [])]:
            job.deferred.cancel()
        self._stopPatience()
        look, self._lookCall = self._lookCall, None
        if look is not None:
            look.cancel()
        if lane is not None:
            self._endLane(lane)
        for left in self._left:
            left.ended = True
        self._left.clear()

    def _cancel(self, job: _Job) -> None:
        job.unwanted = True
        if job in self._waiting:
            self._waiting.remove(job)
            job.work.close()
        elif self._patienceCall is None and not self._stopped:
            self._patienceCall = self._reactor.callLater(self.patience, self._leave)

    def _next(self) -> None:
        """
        Give the next work to the thread, if it is idle.
        """
        while self._waiting and not self._stopped:
            if self._lane is None:
                self._lane = self._startLane()
            lane = self._lane
            if lane is None or lane.job is not None:
                return
            lane.job = self._waiting.popleft()
            lane.jobs.put(lane.job)
            if self._lookCall is None:
                self._seen = (lane.job, 0)
                self._lookCall = self._reactor.callLater(LOOK_INTERVAL, self._look)

    def _look(self) -> None:
        """
        See whether the work goes on; until there is none.
        """
        self._lookCall = None
        job = self._lane.job if self._lane is not None else None
        seen = None if job is None else (job, job.slices)
        if seen is None or seen != self._seen:
            if self._silence >= SILENT_AFTER:
                self._journal.info("{runner}: the disk answers again", runner=self.name)
            self._seen, self._silence = seen, 0.0
        else:
            self._silence += LOOK_INTERVAL
            if self._silence == SILENT_AFTER:
                self._journal.warn(
                    "{runner}: the disk has not answered for {seconds:.0f} s",
                    runner=self.name,
                    seconds=self._silence,
                )
        if seen is not None:
            self._lookCall = self._reactor.callLater(LOOK_INTERVAL, self._look)

    def _startLane(self) -> _Lane | None:
        lane = _Lane()
        self._started += 1
        try:
            self._startThread(f"{self.name}-{self._started}", lambda: self._serve(lane))
        except RuntimeError:
            # The system has no room for another thread.
            self._failWaiting(Failure())
            return None
        return lane

    def _serve(self, lane: _Lane) -> None:
        """
        What a thread does.
        """
        while (job := lane.jobs.get()) is not None:
            outcome = job.drive()
            if lane.ended:
                return
            if not callReactor(self._reactor, self._done, lane, job, outcome):
                # There is nobody left to tell.
                return
            # Else an idle thread would keep what the work gave.
            del job, outcome

    def _done(self, lane: _Lane, job: _Job, outcome: object) -> None:
        lane.job = None
        if lane in self._left:
            self._left.discard(lane)
        elif lane is self._lane:
            self._stopPatience()
        if not job.deferred.called:
            job.deferred.callback(outcome)
        elif isinstance(outcome, Failure):
            self._endedBadly(outcome)
        self._next()

    def _endedBadly(self, outcome: Failure) -> None:
        """
        Work that nobody waits for any more failed. Whoever does it again will say
        what a disk refuses.
        """
        if outcome.check(ClusterError, OSError):
            self._journal.debug(
                "{runner}: work that was cancelled failed: {reason}",
                runner=self.name,
                reason=oneLine(outcome),
            )
        else:
            self._journal.failure(
                "{runner}: work that was cancelled did not end well", outcome, runner=self.name
            )

    def _leave(self) -> None:
        """
        Leave the thread alone with the work that does not end.
        """
        self._patienceCall = None
        lane, self._lane = self._lane, None
        assert lane is not None
        lane.jobs.put(None)
        self._left.add(lane)
        self._journal.warn(
            "{runner}: cancelled work hangs, and is left with its thread ({count} of {most})",
            runner=self.name,
            count=len(self._left),
            most=self.maxLeft,
        )
        if self._tooMuchHangs():
            self._failWaiting(Failure(self._hangs()))
        self._next()

    def _endLane(self, lane: _Lane) -> None:
        lane.ended = True
        lane.jobs.put(None)
        self._lane = None

    def _stopPatience(self) -> None:
        call, self._patienceCall = self._patienceCall, None
        if call is not None:
            call.cancel()

    def _failWaiting(self, reason: Failure) -> None:
        waiting, self._waiting = self._waiting, deque()
        for job in waiting:
            job.work.close()
            job.deferred.errback(reason)

    def _tooMuchHangs(self) -> bool:
        return len(self._left) >= self.maxLeft

    def _hangs(self) -> WorkHangs:
        return WorkHangs(
            f"{self.name}: {len(self._left)} pieces of work hang: "
            "look for a disk or a mounted folder that does not answer"
        )


def _oneSlice(function: Callable[..., T], args: tuple[object, ...]) -> Slices[T]:
    yield
    return function(*args)
