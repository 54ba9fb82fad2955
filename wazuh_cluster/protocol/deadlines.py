"""
Answers in time, though what they are about takes longer.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from wazuh_cluster.errors import ClusterError, TooBusy
from wazuh_cluster.journal import Journal

T = TypeVar("T")


class Deadlines:
    """
    The work on answers to one peer, which gives the link up when no answer
    comes.
    """

    def __init__(self, clock: IReactorTime, seconds: float, most: int, log: Journal) -> None:
        """
        @param seconds: how long an answer may take.
        @param most: so many works may be under way, those that were too late
            too.
        @param log: is told how work fails of which nobody hears any more.
        """
        self.seconds = seconds
        self._clock = clock
        self._most = most
        self._underWay = 0
        self._log = log
        self._timers: set[IDelayedCall] = set()

    def bound(
        self, work: Callable[[], Coroutine[Deferred[Any], Any, T]], late: ClusterError
    ) -> Deferred[T]:
        """
        Do some work, and answer its result; or, if that takes too long, a
        failure. The work goes on all the same.

        @param late: what the answer fails with then. If too much is under way
            already, it fails with L{TooBusy} at once.
        """
        if self._underWay >= self._most:
            return fail(TooBusy("too much that was asked is still under way: try again later"))
        answer: Deferred[T] = Deferred()

        def expired() -> None:
            self._timers.discard(timer)
            answer.errback(late)

        def ended(result: T | Failure) -> None:
            self._underWay -= 1
            if timer in self._timers:
                self._timers.discard(timer)
                timer.cancel()
                # A Failure makes it fail.
                answer.callback(result)
            elif isinstance(result, Failure):
                self._log.error(
                    "Work of which nobody hears any more failed: {reason}",
                    reason=result.getErrorMessage(),
                )

        timer = self._clock.callLater(self.seconds, expired)
        self._timers.add(timer)
        self._underWay += 1
        Deferred.fromCoroutine(work()).addBoth(ended)
        return answer

    def close(self) -> None:
        """
        The link is gone: nobody waits for an answer.
        """
        timers, self._timers = self._timers, set()
        for timer in timers:
            timer.cancel()
