"""
The fleet as people look at it: who is registered, where it was heard last, and
what that makes of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from wazuh_cluster.agents.interfaces import (
    IAgentStore,
    IAssignments,
    IFleet,
    IRegistrar,
    IRegistrationTimes,
)
from wazuh_cluster.agents.model import (
    DISCONNECTED,
    NEVER_CONNECTED,
    Agent,
    AgentRecord,
    AgentState,
    AgentStatus,
    FleetCounts,
    FleetFilter,
    FleetPage,
)
from wazuh_cluster.steadyclock import SteadyClock

#: Wazuh's C{agents_disconnection_time}, in seconds.
DISCONNECTION_TIME = 900.0

#: How many agents are looked at at once, and for one page.
_STEP = 1000
_MOST_STEPS = 20

#: From how many ids to an agent on, agents are looked up one by one.
_SPARSE = 20

_ALL = FleetFilter()


def statusOf(state: AgentState | AgentRecord | None, now: float, disconnectionTime: float) -> str:
    """
    An agent's status.

    @param state: what was heard last; C{None} for nothing.
    @param now: by the clock that this is on.
    @param disconnectionTime: after how many seconds without a word an agent
        counts as disconnected.
    """
    if state is None:
        return NEVER_CONNECTED
    if state.event != DISCONNECTED and now - state.heard >= disconnectionTime:
        return DISCONNECTED
    return state.event


@implementer(IFleet)
class Fleet:
    """
    All registered agents with their statuses. It keeps nothing: memory is for
    one page, however many there are.
    """

    def __init__(
        self,
        registrar: IRegistrar,
        store: IAgentStore,
        assignments: IAssignments | None,
        clock: SteadyClock,
        disconnectionTime: float = DISCONNECTION_TIME,
    ) -> None:
        """
        @param clock: the one that the store's times are on.
        @param assignments: the agents' groups; C{None} where there are none.
        @param disconnectionTime: see L{statusOf}.
        """
        self._registrar = registrar
        self._store = store
        self._assignments = assignments
        self._clock = clock
        self.disconnectionTime = disconnectionTime

    async def page(
        self, after: int = 0, most: int = _STEP, wanted: FleetFilter = _ALL
    ) -> FleetPage:
        """
        The next agents by id. The work for one page is bounded: with a filter
        that few pass, go on until C{after} is C{None}.

        @param after: the highest id that is not wanted any more.
        @param most: how many at most.
        """
        found: list[AgentStatus] = []
        for _ in range(_MOST_STEPS):
            # With a filter, few of those that are looked at may be wanted.
            step = min(_STEP, most - len(found)) if wanted == _ALL else _STEP
            agents = await self._agents(after, wanted, step)
            if not agents:
                return FleetPage(found, None)
            after = agents[-1].id
            some = await self._fitting(agents, wanted)
            if len(found) + len(some) > most:
                some = some[: most - len(found)]
                after = some[-1].id
            found += await self._complete(some)
            if len(found) >= most:
                break
        return FleetPage(found, after)

    async def counts(self) -> FleetCounts:
        """
        Count all agents.
        """
        statuses: Counter[str] = Counter()
        nodes: dict[str, Counter[str]] = {}
        after = 0
        while agents := await self._registrar.page(after, _STEP):
            after = agents[-1].id
            for each in await self._fitting(agents, _ALL):
                statuses[each.status] += 1
                if each.status != NEVER_CONNECTED:
                    nodes.setdefault(each.node, Counter())[each.status] += 1
        return FleetCounts(dict(statuses), {name: dict(counts) for name, counts in nodes.items()})

    async def get(self, agent: int) -> AgentStatus | None:
        """
        One agent; C{None} if it is not registered.
        """
        registered = await self._registrar.get(agent)
        if registered is None:
            return None
        (status,) = await self._complete(await self._fitting([registered], _ALL))
        return status

    async def _agents(self, after: int, wanted: FleetFilter, step: int) -> Sequence[Agent]:
        """
        The next registered agents that may be wanted, so many at most.
        """
        if wanted.ids is None:
            return await self._registrar.page(after, step)
        found: list[Agent] = []
        for number in sorted(number for number in wanted.ids if number > after):
            agent = await self._registrar.get(number)
            if agent is not None:
                found.append(agent)
            if len(found) == step:
                break
        return found

    async def _states(
        self, agents: Sequence[Agent]
    ) -> Mapping[int, AgentState] | Mapping[int, AgentRecord]:
        """
        What was heard of some agents.
        """
        first, last = agents[0].id, agents[-1].id
        if last - first < _SPARSE * len(agents):
            return {state.id: state for state in await self._store.states(first, last)}
        return await self._store.records([agent.id for agent in agents])

    async def _fitting(self, agents: Sequence[Agent], wanted: FleetFilter) -> list[AgentStatus]:
        """
        Those that pass, without groups and records.
        """
        now = self._clock.seconds()
        heard = await self._states(agents)
        fitting: list[AgentStatus] = []
        for agent in agents:
            state = heard.get(agent.id)
            status = statusOf(state, now, self.disconnectionTime)
            node = "" if state is None else state.node
            if _fits(wanted, agent, status, node):
                last = None if state is None else self._clock.toWall(state.heard)
                fitting.append(AgentStatus(agent.id, agent.name, agent.ip, status, last, node))
        if not (wanted.groups and fitting):
            return fitting
        groups = await self._groups([each.id for each in fitting])
        return [each for each in fitting if not wanted.groups.isdisjoint(groups.get(each.id, ()))]

    async def _complete(self, statuses: Sequence[AgentStatus]) -> list[AgentStatus]:
        if not statuses:
            return []
        ids = [each.id for each in statuses]
        groups = await self._groups(ids)
        records = await self._store.records(ids)
        return [
            AgentStatus(
                each.id,
                each.name,
                each.ip,
                each.status,
                each.lastKeepAlive,
                each.node,
                groups.get(each.id, ()),
                records.get(each.id),
            )
            for each in statuses
        ]

    async def _groups(self, ids: Collection[int]) -> Mapping[int, tuple[str, ...]]:
        return {} if self._assignments is None else await self._assignments.of(ids)


def _fits(wanted: FleetFilter, agent: Agent, status: str, node: str) -> bool:
    """
    Whether an agent is wanted, but for its groups.
    """
    return (
        (not wanted.statuses or status in wanted.statuses)
        and (not wanted.nodes or node in wanted.nodes)
        and (wanted.ids is None or agent.id in wanted.ids)
    )


@implementer(IRegistrationTimes)
class StoredTimes:
    """
    What the store knows of an agent's status, for the force rules. It asks no
    registrar: name and address are empty.
    """

    def __init__(
        self,
        store: IAgentStore,
        clock: SteadyClock,
        disconnectionTime: float = DISCONNECTION_TIME,
    ) -> None:
        """
        @param clock: the one that the store's times are on.
        """
        self._store = store
        self._clock = clock
        self._disconnectionTime = disconnectionTime

    def status(self, agent: int) -> Deferred[AgentStatus | None]:
        """
        See L{IRegistrationTimes}.
        """
        return self._store.records([agent]).addCallback(self._status, agent)

    def _status(self, records: Mapping[int, AgentRecord], agent: int) -> AgentStatus:
        record = records.get(agent)
        status = statusOf(record, self._clock.seconds(), self._disconnectionTime)
        if record is None:
            return AgentStatus(agent, "", "", status)
        last = self._clock.toWall(record.heard)
        return AgentStatus(agent, "", "", status, last, record.node, record=record)
