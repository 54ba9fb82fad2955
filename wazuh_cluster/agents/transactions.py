"""
Transactions: what waits while a database is busy is done together, in one
transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from wazuh_cluster.errors import Stopped, StoreFailed
from wazuh_cluster.interfaces import IRunner, Slices

#: The size of what is done together, and of what may wait.
TOGETHER = 4 * 1024 * 1024
MOST = 32 * 1024 * 1024


class Transactions:
    """
    Hands pieces of work to a function that does many at once. What comes first
    is done first. However long the function takes, nobody else waits for it.
    """

    def __init__(
        self,
        runner: IRunner,
        work: Callable[[Sequence[Any]], Slices[Sequence[Any]]],
        name: str,
    ) -> None:
        """
        @param work: does some items, all or none, and gives a result for each.
        @param name: what all this is for, for people.
        """
        self._runner = runner
        self._work = work
        self._name = name
        self._waiting: list[tuple[Any, int, Deferred[Any]]] = []
        self._size = 0
        self._running: Deferred[Any] | None = None
        self._stopped = False

    def add(self, item: Any, size: int = 0) -> Deferred[Any]:
        """
        Have an item done.

        @param size: what it costs in memory while it waits, in bytes.
        @raise StoreFailed: if too much waits already.
        """
        if self._stopped:
            return fail(self._wasStopped())
        if self._size + size > MOST and self._waiting:
            return fail(
                StoreFailed(
                    f"{self._name} does not answer, and {len(self._waiting)} pieces of work wait "
                    "for it: look for a disk that hangs"
                )
            )
        done: Deferred[Any] = Deferred()
        self._waiting.append((item, size, done))
        self._size += size
        self._begin()
        return done

    def stop(self) -> None:
        """
        Take nothing more. What waits and what is under way fails.
        """
        self._stopped = True
        waiting, self._waiting, self._size = self._waiting, [], 0
        if self._running is not None:
            self._running.cancel()
        for _, _, done in waiting:
            done.errback(self._wasStopped())

    def _begin(self) -> None:
        if self._running is not None or not self._waiting:
            return
        together, count = 0, 0
        for _, size, _ in self._waiting:
            together += size
            if count and together > TOGETHER:
                break
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        self._size -= sum(size for _, size, _ in group)
        waiters = [done for _, _, done in group]
        self._running = self._runner.run(self._work([item for item, _, _ in group]))
        self._running.addCallbacks(
            self._done, self._failed, callbackArgs=(waiters,), errbackArgs=(waiters,)
        )

    def _done(self, results: Sequence[Any], waiters: list[Deferred[Any]]) -> None:
        self._running = None
        self._begin()
        for done, result in zip(waiters, results, strict=True):
            done.callback(result)

    def _failed(self, failure: Failure, waiters: list[Deferred[Any]]) -> None:
        self._running = None
        self._begin()
        for done in waiters:
            done.errback(self._wasStopped() if self._stopped else failure)

    def _wasStopped(self) -> Stopped:
        return Stopped(f"{self._name} was stopped")
