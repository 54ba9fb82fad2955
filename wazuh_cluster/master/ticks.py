"""
Another node's monotonic clock, as this node's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

#: Seconds after which an older message counts no more. No two clocks go equally
#: fast: a tenth of a promille is nine seconds a day.
WINDOW = 600.0

#: Seconds by which no message is late: its link would have ended before.
LATEST = 60.0


class Ticks:
    """
    Turns readings of a peer's monotonic clock into readings of this node's.

    A message may be late, never early: the smallest difference that was seen
    lately is the one of the message that was the least late. So neither a queue
    nor a slow link makes something look newer than it is, and no wall clock is
    asked.
    """

    def __init__(self, uptime: Callable[[], float]) -> None:
        """
        @param uptime: this node's own monotonic clock, in seconds.
        """
        self._uptime = uptime
        self._began = 0.0
        # The smallest of this window, and of the one before it.
        self._least: float | None = None
        self._before: float | None = None

    def see(self, tick: float) -> float:
        """
        A message with a reading came just now.

        @param tick: the peer's clock when it was sent, in seconds.
        @return: this node's clock at that moment, as well as is known; never
            later than now.
        """
        now = self._uptime()
        difference = now - tick
        least = self._known(now)
        if least is None or difference < least or difference > least + LATEST:
            # In the last case it was the peer's clock that stood still, as that
            # of a paused virtual machine does.
            self._before, least = None, difference
            self._least = difference
        elif self._least is None or difference < self._least:
            self._least = difference
        return min(now, tick + least)

    def _known(self, now: float) -> float | None:
        """
        The smallest difference lately, before this message.
        """
        if now - self._began >= WINDOW:
            recent = now - self._began < 2 * WINDOW
            self._before, self._least = (self._least if recent else None), None
            self._began = now
        known = [each for each in (self._before, self._least) if each is not None]
        return min(known, default=None)


class KnownTicks:
    """
    The ticks of processes that come back: the first message of a new link may
    be the latest of all, for links end because they are slow.
    """

    def __init__(self, uptime: Callable[[], float], most: int = 1024) -> None:
        """
        @param most: how many processes are remembered.
        """
        self._uptime = uptime
        self._most = most
        self._known: OrderedDict[tuple[str, bytes], Ticks] = OrderedDict()

    def of(self, name: str, nonce: bytes) -> Ticks:
        """
        What is known of a process, which has one monotonic clock as long as it
        lives.

        @param name: its node's, as certified.
        @param nonce: its id, as it says in Hello.
        """
        ticks = self._known.pop((name, nonce), None) or Ticks(self._uptime)
        self._known[name, nonce] = ticks
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return ticks
