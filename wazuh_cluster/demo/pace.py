"""
Time for a script that people may interrupt at any moment.

A signal only leaves a mark; the script looks at it between its steps and in
every pause. So no signal can come between the start of a process and the note
that it was started.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

from wazuh_cluster.interfaces import Slices

T = TypeVar("T")

#: What ends the demo.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: No pause is longer, in seconds: a signal does not cut it short.
_LONGEST_PAUSE = 0.05


class Interrupted(Exception):
    """
    Somebody wants the demo to end.

    @ivar signal: the signal's number.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signal = signum


class Pace:
    """
    A clock and pauses, until somebody interrupts.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.seconds = now
        self._sleep = sleep
        self._signal: int | None = None

    def interrupt(self, signum: int, frame: object = None) -> None:
        """
        A handler for signals: have the next L{check} raise.
        """
        if self._signal is None:
            self._signal = signum

    def check(self) -> None:
        """
        Go on.

        @raise Interrupted: if somebody interrupted.
        """
        if self._signal is not None:
            raise Interrupted(self._signal)

    def pause(self, seconds: float) -> None:
        """
        Wait, or L{check} earlier.
        """
        end = self.seconds() + seconds
        self.check()
        while (left := end - self.seconds()) > 0:
            self._sleep(min(left, _LONGEST_PAUSE))
            self.check()

    def until(self, ended: Callable[[], bool], seconds: float) -> bool:
        """
        Wait for something that no interruption cuts short.

        @return: whether it came to that in this time.
        """
        end = self.seconds() + seconds
        while not ended():
            if self.seconds() >= end:
                return False
            self._sleep(0.01)
        return True

    def drive(self, work: Slices[T]) -> T:
        """
        Do work that comes in slices, with a L{check} after each.
        """
        while True:
            try:
                next(work)
            except StopIteration as end:
                result: T = end.value
                return result
            self.check()


@contextmanager
def interruptible(pace: Pace) -> Generator[None, None, None]:
    """
    Have signals interrupt a pace, and nothing else, as long as this is entered.
    """
    before = {}
    for signum in SIGNALS:
        # Who started us with nohup wants us to outlive the terminal.
        if signum == signal.SIGHUP and signal.getsignal(signum) is signal.SIG_IGN:
            continue
        before[signum] = signal.signal(signum, pace.interrupt)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
