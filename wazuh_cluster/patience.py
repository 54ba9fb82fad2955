"""
How long somebody may be silent who owes something.

The time is counted in steps, of which each comes as late as this process does:
after a machine was asleep, or a process was held up, what a peer sent meanwhile
is read before its silence is over.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: In how many steps the time is counted.
STEPS = 8


class Patience:
    """
    A time that begins anew whenever something is heard: it is over at most a
    step after what was said, never before. While nothing is owed there is none.
    """

    def __init__(
        self,
        clock: IReactorTime,
        seconds: float,
        over: Callable[[], None],
        half: Callable[[], None] = lambda: None,
    ) -> None:
        """
        @param seconds: how long the silence may last.
        @param over: called once when it lasted longer.
        @param half: called when half of the time has passed.
        """
        self._clock = clock
        self._step = seconds / STEPS
        self._over = over
        self._half = half
        self._count = 0
        self._timer: IDelayedCall | None = None

    def begin(self) -> None:
        """
        Something is owed. If it is already, nothing happens.
        """
        if self._timer is None:
            self._count = 0
            self._timer = self._clock.callLater(self._step, self._next)

    def heard(self) -> None:
        """
        It is not silent.
        """
        # The step that is under way does not count.
        self._count = -1

    def end(self) -> None:
        """
        Nothing is owed any more.
        """
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _next(self) -> None:
        self._timer = None
        self._count += 1
        if self._count >= STEPS:
            self._over()
            return
        self._timer = self._clock.callLater(self._step, self._next)
        if self._count == STEPS // 2:
            self._half()
