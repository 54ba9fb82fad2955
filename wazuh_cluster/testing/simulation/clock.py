"""
The one clock of a simulation, and the view that each process has of it.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

#: How many calls that will not come the clock keeps before it looks for more.
_FEW = 64


@implementer(IDelayedCall)
class SimCall:
    """
    One call that is to come, on the world's clock or on a process's.

    @ivar due: in the world's seconds.
    @ivar process: whose clock it is; C{None} for the world's.
    """

    __slots__ = ("_arguments", "_clock", "_function", "_keywords", "_state", "due", "process")

    def __init__(
        self,
        clock: SimClock,
        due: float,
        process: ProcessClock | None,
        function: Callable[..., object],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> None:
        self.due = due
        self.process = process
        self._clock = clock
        self._function: Callable[..., object] | None = function
        self._arguments = arguments
        self._keywords = keywords
        self._state = ""

    def getTime(self) -> float:
        """
        When it is due, on the clock on which it was made.
        """
        return self.due if self.process is None else self.process.timeAt(self.due)

    def active(self) -> bool:
        """
        Whether it is still to come.
        """
        return not self._state

    def cancel(self) -> None:
        """
        It is not to come.
        """
        if self.process is not None and self.process.dead:
            # What Python cleans up of a dead process may be late.
            return
        self._require()
        self._state = "cancelled"
        self._function, self._arguments, self._keywords = None, (), {}
        self._clock.forget()

    def delay(self, secondsLater: float) -> None:
        """
        It is to come later than it was.
        """
        self._require()
        self._move(self.due + self._worlds(secondsLater))

    def reset(self, secondsFromNow: float) -> None:
        """
        It is to come that long from now.
        """
        self._require()
        self._move(self._clock.seconds() + self._worlds(secondsFromNow))

    def fire(self) -> None:
        """
        Its time has come.
        """
        function, self._function = self._function, None
        self._state = "called"
        assert function is not None
        if self.process is None:
            function(*self._arguments, **self._keywords)
        else:
            self.process.enter(function, *self._arguments, **self._keywords)

    def __str__(self) -> str:
        function = self._function
        name = getattr(function, "__qualname__", None) or repr(function)
        return f"{name} at {self.getTime():.3f}"

    def _worlds(self, seconds: float) -> float:
        return seconds if self.process is None else seconds / self.process.rate

    def _move(self, due: float) -> None:
        self.due = due
        self._clock.add(self)

    def _require(self) -> None:
        if self._state == "called":
            raise AlreadyCalled
        if self._state:
            raise AlreadyCancelled


@implementer(IReactorTime)
class SimClock:
    """
    Virtual time: nothing happens by itself, and calls that are due at the same
    moment come in the order in which they were made.
    """

    def __init__(self) -> None:
        self._now = 0.0
        # The heap's entries may be out of date: a call that was moved has a
        # second entry, and counts only at its own time.
        self._heap: list[tuple[float, int, SimCall]] = []
        self._count = 0
        self._dead = 0

    def seconds(self) -> float:
        """
        Virtual seconds since the beginning.
        """
        return self._now

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: Any, **kw: Any
    ) -> SimCall:
        """
        See C{IReactorTime}.
        """
        call = SimCall(self, self._now + max(0.0, delay), None, callable, args, kw)
        self.add(call)
        return call

    def add(self, call: SimCall) -> None:
        """
        See to a call at its time.
        """
        self._count += 1
        heappush(self._heap, (call.due, self._count, call))

    def forget(self) -> None:
        """
        One call more will not come.
        """
        self._dead += 1
        if self._dead > _FEW and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].active()]
            heapify(self._heap)
            self._dead = 0

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """
        All that is to come.
        """
        return [call for due, _, call in self._heap if call.active() and call.due == due]

    def clear(self) -> None:
        """
        Nothing is to come any more.
        """
        self._heap.clear()

    def callsOf(self, process: ProcessClock) -> list[SimCall]:
        """
        What is to come in a process.
        """
        return [
            call
            for due, _, call in self._heap
            if call.process is process and call.active() and call.due == due
        ] + [call for call in process._late or () if call.active()]

    def step(self, until: float) -> bool:
        """
        Make the next call, if it is due until then.

        @return: whether there was one. If not, it is then.
        """
        heap = self._heap
        while heap and heap[0][0] <= until:
            due, _, call = heappop(heap)
            if call.active() and call.due == due:
                if due > self._now:
                    self._now = due
                if call.process is None or call.process.isRunning(call):
                    call.fire()
                return True
        if until > self._now:
            self._now = until
        return False


@implementer(IReactorTime)
class ProcessClock:
    """
    The monotonic clock of one process, which begins anywhere and goes a little
    too fast or too slow.

    @ivar rate: how many of its seconds pass in one of the world's.
    @ivar enter: calls a function as the process, unless that is dead.
    @ivar dead: whether the process is.
    """

    def __init__(
        self, clock: SimClock, base: float, rate: float, enter: Callable[..., object]
    ) -> None:
        """
        @param base: what it shows at the beginning of time.
        """
        self.rate = rate
        self.enter = enter
        self._base = base
        self._clock = clock
        self.dead = False
        self._late: list[SimCall] | None = None

    def seconds(self) -> float:
        """
        See C{IReactorTime}.
        """
        return self._base + self.rate * self._clock.seconds()

    def freeze(self) -> None:
        """
        No call comes for now. What falls due meanwhile can still be cancelled.
        """
        if self._late is None:
            self._late = []

    def thaw(self) -> None:
        """
        What fell due meanwhile comes now.
        """
        late, self._late = self._late or [], None
        for call in late:
            if call.active():
                call.due = self._clock.seconds()
                self._clock.add(call)

    def isRunning(self, call: SimCall) -> bool:
        """
        Whether a call that is due comes now. If not, it does later.
        """
        if self._late is None:
            return True
        self._late.append(call)
        return False

    def timeAt(self, worlds: float) -> float:
        """
        What it shows at one of the world's times.
        """
        return self._base + self.rate * worlds

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: Any, **kw: Any
    ) -> SimCall:
        """
        See C{IReactorTime}.
        """
        clock = self._clock
        due = clock.seconds() + max(0.0, delay) / self.rate
        call = SimCall(clock, due, self, callable, args, kw)
        clock.add(call)
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """
        See C{IReactorTime}.
        """
        return list(self._clock.callsOf(self))
