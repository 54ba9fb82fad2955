"""
Runners for tests: L{ImmediateRunner} is done when it returns, L{ClockRunner}
does one slice per tick of a clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from wazuh_cluster.errors import Stopped
from wazuh_cluster.interfaces import IRunner, Slices

T = TypeVar("T")


class _Jobs:
    """
    The works of one runner, in order, of which only the first has begun.
    """

    def __init__(self) -> None:
        self._jobs: deque[tuple[Slices[Any], Deferred[Any]]] = deque()
        self._stopped = False
        # The first one's slice is on the stack right now.
        self._inSlice = False

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, work: Slices[T]) -> Deferred[T]:
        """
        Take a work, unless stopped.
        """
        if self._stopped:
            work.close()
            return fail(Stopped("the runner was stopped"))
        deferred: Deferred[T] = Deferred(lambda _: self._cancel(work))
        self._jobs.append((work, deferred))
        return deferred

    def step(self) -> None:
        """
        Do one slice of the first work.
        """
        work, deferred = self._jobs[0]
        self._inSlice = True
        try:
            next(work)
        except StopIteration as end:
            self._inSlice = False
            self._end(deferred, end.value)
        except Exception:
            self._inSlice = False
            self._end(deferred, None, failed=True)
        else:
            self._inSlice = False
            if deferred.called:
                # It was cancelled from within its own slice.
                self._jobs.popleft()
                work.close()

    def _end(self, deferred: Deferred[Any], result: object, failed: bool = False) -> None:
        self._jobs.popleft()
        if deferred.called:
            return
        if failed:
            deferred.errback()
        else:
            deferred.callback(result)

    def _cancel(self, work: Slices[Any]) -> None:
        if self._inSlice and self._jobs[0][0] is work:
            return
        self._jobs = deque(job for job in self._jobs if job[0] is not work)
        work.close()

    def stop(self) -> None:
        """
        Cancel all works and take no more.
        """
        self._stopped = True
        for _, deferred in list(self._jobs):
            deferred.cancel()


@implementer(IRunner)
class ImmediateRunner:
    """
    Does a work whole before C{run} returns, in the thread of the caller. Work
    that is given from within a slice follows when the one under way is done.
    """

    def __init__(self, beforeSlice: Callable[[], None] | None = None) -> None:
        """
        @param beforeSlice: called before each slice, for a test that changes
            the world in the middle of work.
        """
        self._beforeSlice = beforeSlice
        self._jobs = _Jobs()
        self._busy = False

    def run(self, work: Slices[T]) -> Deferred[T]:
        """
        See L{IRunner.run}.
        """
        deferred = self._jobs.add(work)
        if not self._busy:
            self._busy = True
            try:
                self._drain()
            finally:
                self._busy = False
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
        self._jobs.stop()

    def _drain(self) -> None:
        while self._jobs:
            if self._beforeSlice is not None:
                self._beforeSlice()
            if self._jobs:
                self._jobs.step()


@implementer(IRunner)
class ClockRunner:
    """
    Does one slice each time that the clock has moved on by C{slice} seconds, so
    that a test can look, cancel and interleave in the middle of work. No call
    is left on the clock when there is no work.
    """

    def __init__(self, clock: IReactorTime, slice: float = 0.001) -> None:
        self._clock = clock
        self._slice = slice
        self._jobs = _Jobs()
        self._tick: IDelayedCall | None = None

    def run(self, work: Slices[T]) -> Deferred[T]:
        """
        See L{IRunner.run}.
        """
        deferred = self._jobs.add(work)
        deferred.addBoth(self._settled)
        self._schedule()
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
        self._jobs.stop()

    def _settled(self, result: Any) -> Any:
        if not self._jobs and self._tick is not None:
            self._tick.cancel()
            self._tick = None
        return result

    def _schedule(self) -> None:
        if self._jobs and self._tick is None:
            self._tick = self._clock.callLater(self._slice, self._step)

    def _step(self) -> None:
        self._tick = None
        self._jobs.step()
        self._schedule()


def _oneSlice(function: Callable[..., T], args: tuple[object, ...]) -> Slices[T]:
    yield
    return function(*args)
