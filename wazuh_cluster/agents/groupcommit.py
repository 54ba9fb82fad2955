"""
GroupCommit: what comes while the disk is busy is done together next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from wazuh_cluster.errors import TooBusy
from wazuh_cluster.journal import MAIN, Journal

#: How many are worked off as one: so many answers at once keep the reactor for
#: some ten milliseconds.
MOST = 1024

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """
    Works items off in the order in which they came: all that wait, as one.

    @ivar most: how many are worked off as one at most.
    @ivar mostWaiting: how many may wait.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        most: int = MOST,
        mostWaiting: int = 65536,
        journal: Journal | None = None,
    ) -> None:
        """
        @param work: gives one result for each item. If it fails, that is what
            each of them gets. It is not called again before it ended.
        """
        self.most = most
        self.mostWaiting = mostWaiting
        self._work = work
        self._log = Journal(MAIN) if journal is None else journal
        self._waiting: deque[tuple[T, Deferred[R]]] = deque()
        self._busy = False

    def add(self, item: T) -> Deferred[R]:
        """
        Do this too. Cancelling the Deferred leaves the item to be done.

        @raise TooBusy: if too many wait.
        """
        if len(self._waiting) >= self.mostWaiting:
            return fail(TooBusy(f"{self.mostWaiting:,} registrations wait already"))
        done: Deferred[R] = Deferred()
        self._waiting.append((item, done))
        if not self._busy:
            self._busy = True
            Deferred.fromCoroutine(self._drain()).addErrback(self._bug)
        return done

    async def _drain(self) -> None:
        while self._waiting:
            count = min(len(self._waiting), self.most)
            batch = [self._waiting.popleft() for _ in range(count)]
            try:
                results = await self._work([item for item, _ in batch])
            except Exception:
                failure = Failure()
                for _, done in batch:
                    done.errback(failure)
                continue
            for (_, done), result in zip(batch, results, strict=True):
                done.callback(result)
        self._busy = False

    def _bug(self, failure: Failure) -> None:
        self._log.failure("{thread} cannot go on", failure, thread="Registration")
