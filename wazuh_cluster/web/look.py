"""
What is shown, asked for at most once a second however many look.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wazuh_cluster.errors import MasterUnreachable, RequestRefused, TooBusy
from wazuh_cluster.status import ClusterStatus, EventPage, NodeStatus, OwnStatus, StatusReader

T = TypeVar("T")

#: For how many seconds an answer counts as new.
FRESH = 0.9

#: How many events are shown.
EVENTS = 40


class Shared(Generic[T]):
    """
    One question for all who ask it: those who ask while it is being answered
    get that answer, and for a moment everybody does.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[T]], clock: IReactorTime, fresh: float = FRESH
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._fresh = fresh
        self._answer: tuple[float, T] | None = None
        self._waiting: list[Deferred[T]] | None = None

    async def get(self) -> T:
        """
        The answer; raises what asking raised.
        """
        if self._answer is not None and self._clock.seconds() - self._answer[0] < self._fresh:
            return self._answer[1]
        waiting: Deferred[T] = Deferred()
        if self._waiting is None:
            self._waiting = [waiting]
            # On its own: who asked first may go away.
            Deferred.fromCoroutine(self._askNow()).addCallbacks(self._answered, self._failed)
        else:
            self._waiting.append(waiting)
        return await waiting

    async def _askNow(self) -> T:
        return await self._ask()

    def _answered(self, answer: T) -> None:
        self._answer = (self._clock.seconds(), answer)
        for each in self._take():
            each.callback(answer)

    def _failed(self, failure: Failure) -> None:
        for each in self._take():
            each.errback(failure)

    def _take(self) -> list[Deferred[T]]:
        waiting, self._waiting = self._waiting or [], None
        return waiting


@frozen
class View:
    """
    What a node can show at a moment.

    @ivar own: what it knows of itself.
    @ivar cluster: what its master knows; C{None} if that cannot be asked.
    @ivar nodes: all nodes; the node alone if the master cannot be asked.
    @ivar events: the last events of the cluster; else of the node.
    @ivar problem: why the master cannot be asked; or empty.
    """

    own: OwnStatus
    cluster: ClusterStatus | None
    nodes: tuple[NodeStatus, ...]
    events: EventPage
    problem: str = ""

    @property
    def now(self) -> float:
        """
        When this was so, by the clock of whoever's times these are.
        """
        return self.own.now if self.cluster is None else self.cluster.now


class Look:
    """
    A node and its cluster, as they are now.
    """

    def __init__(self, reader: StatusReader, clock: IReactorTime) -> None:
        self.reader = reader
        self._own = Shared(reader.own, clock)
        self._view = Shared(self._lookAround, clock)

    async def own(self) -> OwnStatus:
        """
        What the node knows of itself.
        """
        return await self._own.get()

    async def view(self) -> View:
        """
        All that is shown.
        """
        return await self._view.get()

    async def _lookAround(self) -> View:
        own = await self.reader.own()
        try:
            cluster = await self.reader.cluster()
            nodes = [node async for node in self.reader.nodes()]
            events = await self.reader.events(last=EVENTS)
        except (MasterUnreachable, RequestRefused, TooBusy) as problem:
            events = await self.reader.ownEvents(last=EVENTS)
            return View(own, None, (own.node,), events, str(problem))
        return View(own, cluster, tuple(nodes), events)
