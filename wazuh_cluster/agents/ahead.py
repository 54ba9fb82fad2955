"""
Ahead: what is asked for one by one, made some at a time before it is asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

T = TypeVar("T")


class Ahead(Generic[T]):
    """
    A sequence whose elements are made while others are used.
    """

    def __init__(self, make: Callable[[], Deferred[Sequence[T]]], low: int) -> None:
        """
        @param make: makes the next elements, none at the end. Not called again
            before it fired, and not after it failed.
        @param low: more are made when there are fewer than these.
        """
        self._make = make
        self._low = low
        self._made: deque[T] = deque()
        self._making = False
        self._end: Failure | bool = False
        self._waiter: Deferred[T | None] | None = None

    def next(self) -> Deferred[T | None]:
        """
        The next element, C{None} after the last. Not called again before it
        fired.
        """
        element = self._made.popleft() if self._made else None
        if not (self._making or self._end or len(self._made) >= self._low):
            self._making = True
            self._make().addCallbacks(self._add, self._failed)
            if element is None and self._made:
                element = self._made.popleft()
        if element is not None:
            return succeed(element)
        if isinstance(self._end, Failure):
            return fail(self._end)
        if self._end:
            return succeed(None)
        self._waiter = Deferred()
        return self._waiter

    def _add(self, elements: Sequence[T]) -> None:
        self._making = False
        self._made.extend(elements)
        self._end = not elements
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(self._made.popleft() if self._made else None)

    def _failed(self, failure: Failure) -> None:
        self._making = False
        self._end = failure
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.errback(failure)
