"""
Another node's monotonic clock, as this node's.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime


class Ticks:
    """
    Turns readings of a peer's monotonic clock into readings of this node's.

    A message may be late, never early: the smallest difference that was ever
    seen is the one of the message that was the least late. So neither a queue
    nor a slow link makes something look newer than it is, and no wall clock is
    asked.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._difference: float | None = None

    def see(self, tick: float) -> float:
        """
        A message with a reading came just now.

        @param tick: the peer's clock when it was sent, in seconds.
        @return: this node's clock at that moment, as well as is known; never
            later than now.
        """
        now = self._clock.seconds()
        difference = now - tick
        if self._difference is None or difference < self._difference:
            self._difference = difference
        return min(now, tick + self._difference)
