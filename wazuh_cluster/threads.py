"""
ThreadRunner: blocking work, slice by slice, on a daemon thread of its own.

Twisted's pool and C{concurrent.futures} join their threads when the process
ends, so that one read that hangs holds the exit. The daemon threads here do not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.errors import Stopped, WorkHangs
from wazuh_cluster.interfaces import IRunner, Slices
from wazuh_cluster.journal import MAIN, Journal

T = TypeVar("T")

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


class _Job:
    """
    One piece of work.

    @ivar unwanted: set when the work is to be closed instead of going on.
    """

    def __init__(self, work: Slices[Any], deferred: Deferred[Any]) -> None:
        self.work = work
        self.deferred = deferred
        self.unwanted = Event()

    def drive(self) -> object:
        """
        Run to the end, in the thread.

        @return: the result, or a L{Failure}.
        """
        try:
            while not self.unwanted.is_set():
                next(self.work)
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
    @ivar ended: set when nobody wants to hear of the thread any more.
    """

    def __init__(self) -> None:
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self.ended = Event()
        self.job: _Job | None = None


@implementer(IRunner)
class ThreadRunner:
    """
    Runs works one after the other on one thread, which begins with the first.

    A cancelled work whose slice has not ended C{patience} seconds later is left
    alone with its thread, and another thread takes over.

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
        if lane is not None:
            self._endLane(lane)
        for left in self._left:
            left.ended.set()
        self._left.clear()

    def _cancel(self, job: _Job) -> None:
        job.unwanted.set()
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
            if lane.ended.is_set():
                return
            try:
                self._reactor.callFromThread(self._done, lane, job, outcome)
            except OSError:
                # The reactor is gone, and its means to be woken up are closed:
                # there is nobody left to tell.
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
            self._journal.failure(
                "{runner}: work that was cancelled did not end well", outcome, runner=self.name
            )
        self._next()

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
        lane.ended.set()
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
