"""
A fleet in memory for tests: who is registered, and what is known of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from wazuh_cluster.agents import (
    NEVER_CONNECTED,
    Agent,
    AgentRecord,
    AgentState,
    AgentStatus,
    FleetCounts,
    FleetFilter,
    FleetPage,
    IAgentStore,
    IFleet,
    IRegistrar,
    IRegistrarObserver,
    IReports,
    Registration,
)
from wazuh_cluster.errors import RequestRefused

T = TypeVar("T")


def agent(number: int) -> Agent:
    """
    The registered agent with this id.
    """
    return Agent(number, f"agent-{number}", "any", "a" * 64)


@implementer(IRegistrar)
class Registered:
    """
    An L{IRegistrar} of some agents.

    @ivar agents: those that are registered, by id.
    @ivar purged: ids of which no trace was to stay.
    @ivar waiting: if set, answers wait in it.
    """

    def __init__(self, *numbers: int) -> None:
        self.agents = {number: agent(number) for number in numbers}
        self.purged: list[int] = []
        self.waiting: list[Deferred[None]] | None = None
        self.failure: Exception | None = None

    def load(self) -> Deferred[int]:
        return self.highest()

    def stop(self) -> None:
        pass

    def observe(self, observer: IRegistrarObserver) -> None:
        pass

    def register(self, request: Registration, requestId: bytes, origin: str) -> Deferred[Agent]:
        raise NotImplementedError

    def undo(self, requestId: bytes, origin: str) -> Deferred[Agent | None]:
        raise NotImplementedError

    def remove(self, ids: Collection[int], purge: bool | None = None) -> Deferred[Sequence[Agent]]:
        if self.failure is not None:
            return fail(self.failure)
        removed = [self.agents.pop(each) for each in ids if each in self.agents]
        if purge:
            self.purged += [each.id for each in removed]
        return self.fires(removed)

    def get(self, agent: int) -> Deferred[Agent | None]:
        return self.fires(self.agents.get(agent))

    def known(self, ids: Collection[int]) -> Deferred[frozenset[int]]:
        return self.fires(frozenset(ids) & self.agents.keys())

    def page(self, after: int, most: int) -> Deferred[Sequence[Agent]]:
        found = [self.agents[each] for each in sorted(self.agents) if each > after]
        return self.fires(found[:most])

    def highest(self) -> Deferred[int]:
        return self.fires(max(self.agents, default=0))

    def seen(self, agent: int) -> Deferred[None]:
        return self.fires(None)

    def fires(self, result: T) -> Deferred[T]:
        """
        Answer now, or when the test says so.
        """
        if self.waiting is None:
            return succeed(result)
        later: Deferred[None] = Deferred()
        self.waiting.append(later)
        return later.addCallback(lambda _: result)


@implementer(IAgentStore)
class Store:
    """
    An L{IAgentStore} of some records.

    @ivar kept: the records, by id.
    @ivar failure: what removing fails with, while it is set.
    """

    def __init__(self, *records: AgentRecord) -> None:
        self.kept = {record.id: record for record in records}
        self.failure: Exception | None = None

    def take(self, records: Sequence[AgentRecord], now: float) -> Deferred[int]:
        self.kept.update((record.id, record) for record in records)
        return succeed(len(records))

    def remove(self, ids: Collection[int]) -> Deferred[None]:
        if self.failure is not None:
            return fail(self.failure)
        for each in ids:
            self.kept.pop(each, None)
        return succeed(None)

    def records(self, ids: Collection[int]) -> Deferred[Mapping[int, AgentRecord]]:
        return succeed({each: self.kept[each] for each in ids if each in self.kept})

    def states(self, first: int, last: int) -> Deferred[Sequence[AgentState]]:
        return succeed([])

    def stop(self) -> None:
        pass


@implementer(IFleet)
class Fleet:
    """
    An L{IFleet} of some rows.

    @ivar rows: by id.
    @ivar asked: how many pages were asked for.
    """

    def __init__(self, rows: Sequence[AgentStatus]) -> None:
        self.rows = list(rows)
        self.asked = 0

    async def page(self, after: int, most: int, wanted: FleetFilter) -> FleetPage:
        self.asked += 1
        found = [row for row in self.rows if row.id > after and isWanted(row, wanted)]
        return FleetPage(found[:most], found[most - 1].id if len(found) > most else None)

    async def counts(self) -> FleetCounts:
        statuses = [row.status for row in self.rows]
        return FleetCounts({status: statuses.count(status) for status in statuses})


def isWanted(row: AgentStatus, wanted: FleetFilter) -> bool:
    """
    Whether a filter lets a row pass.
    """
    return (
        (not wanted.statuses or row.status in wanted.statuses)
        and (not wanted.nodes or row.node in wanted.nodes)
        and (not wanted.groups or not wanted.groups.isdisjoint(row.groups))
    )


def never(number: int, groups: tuple[str, ...] = ()) -> AgentStatus:
    """
    An agent of which nobody has heard.
    """
    return AgentStatus(number, f"agent-{number}", "any", NEVER_CONNECTED, groups=groups)


@implementer(IReports)
class Reports:
    """
    An L{IReports} that remembers.

    @ivar taken: all records.
    @ivar refusing: the id of an agent whose records are refused.
    """

    def __init__(self) -> None:
        self.taken: list[AgentRecord] = []
        self.refusing = 0

    async def report(self, records: Sequence[AgentRecord]) -> int:
        for record in records:
            if record.id == self.refusing:
                raise RequestRefused(f"agent {record.id} is refused")
        self.taken += records
        return len(records)
