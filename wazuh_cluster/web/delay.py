"""
How late a reactor is.
"""

from __future__ import annotations

from collections import deque

from twisted.internet.interfaces import IReactorTime

#: Seconds between two measurements, and how many of them count.
INTERVAL = 1.0
KEPT = 60


class ReactorDelay:
    """
    Measures, once a second, how much later than it should a call comes.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._due: float | None = None
        self._delays: deque[float] = deque(maxlen=KEPT)

    def look(self) -> None:
        """
        To be called every L{INTERVAL}.
        """
        now = self._clock.seconds()
        if self._due is not None:
            self._delays.append(max(0.0, now - self._due))
        self._due = now + INTERVAL

    @property
    def worst(self) -> float:
        """
        The longest lately, in seconds.
        """
        return max(self._delays, default=0.0)
