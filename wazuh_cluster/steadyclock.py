"""
SteadyClock: times that can be compared, whatever somebody does to the date.
"""

from __future__ import annotations

from collections.abc import Callable

from wazuh_cluster.errors import StateDamaged
from wazuh_cluster.interfaces import IState
from wazuh_cluster.uptime import bootId

_NAME = "steady-clock"


class SteadyClock:
    """
    The wall clock as it would be if it had not been set since it was first
    asked. It goes on as the system's own clock does.
    """

    def __init__(self, wallClock: Callable[[], float], uptime: Callable[[], float]) -> None:
        """
        @param uptime: see L{wazuh_cluster.uptime}.
        """
        self._wallClock = wallClock
        self._uptime = uptime
        self._began: float | None = None

    def begin(self, state: IState, boot: Callable[[], str] = bootId) -> None:
        """
        Go on as the clock of an earlier process did, unless the system was
        started anew since. Blocks.

        @param state: where that is kept.
        """
        try:
            kept = (state.load(_NAME) or b"").decode("ascii").split()
            earlier, began = kept[0], float(kept[1])
        except (StateDamaged, ValueError, IndexError):
            earlier, began = "", 0.0
        this = boot()
        if this and this == earlier:
            self._began = began
        elif this:
            state.save(_NAME, f"{this} {self._sinceEpoch()!r}\n".encode("ascii"))

    def wall(self) -> float:
        """
        What the wall clock shows.
        """
        return self._wallClock()

    def seconds(self) -> float:
        """
        Now, in seconds since the epoch.
        """
        return self._sinceEpoch() + self._uptime()

    def toWall(self, seconds: float) -> float:
        """
        What the wall clock showed at a moment, if it had been set as it is now.
        Not later than it shows now.
        """
        return self._wallClock() - max(0.0, self.seconds() - seconds)

    def _sinceEpoch(self) -> float:
        if self._began is None:
            self._began = self._wallClock() - self._uptime()
        return self._began
