"""
A store of agents' records in memory.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from wazuh_cluster.agents import AgentRecord, AgentState, IAgentStore


@implementer(IAgentStore)
class MemoryAgentStore:
    """
    An L{IAgentStore} that lasts as long as the object.

    @ivar kept: the records, by agent.
    @ivar stopped: whether it was stopped.
    """

    def __init__(self) -> None:
        self.kept: dict[int, AgentRecord] = {}
        self.stopped = False

    def take(self, records: Sequence[AgentRecord], now: float) -> Deferred[int]:
        """
        See L{IAgentStore.take}.
        """
        for agent, record in self.kept.items():
            if record.heard > now:
                self.kept[agent] = evolve(record, heard=now)
        newer = 0
        for record in records:
            heard = min(record.heard, now)
            before = self.kept.get(record.id)
            if before is not None and heard < before.heard:
                continue
            newer += 1
            if before is not None and not (record.version or record.info or record.labels):
                record = evolve(
                    record, version=before.version, info=before.info, labels=before.labels
                )
            self.kept[record.id] = evolve(record, heard=heard)
        return succeed(newer)

    def remove(self, ids: Collection[int]) -> Deferred[None]:
        """
        See L{IAgentStore.remove}.
        """
        for agent in ids:
            self.kept.pop(agent, None)
        return succeed(None)

    def records(self, ids: Collection[int]) -> Deferred[Mapping[int, AgentRecord]]:
        """
        See L{IAgentStore.records}.
        """
        return succeed({agent: self.kept[agent] for agent in ids if agent in self.kept})

    def states(self, first: int, last: int) -> Deferred[Sequence[AgentState]]:
        """
        See L{IAgentStore.states}.
        """
        return succeed(
            [
                AgentState(agent, record.event, record.heard, record.node)
                for agent, record in sorted(self.kept.items())
                if first <= agent <= last
            ]
        )

    def stop(self) -> None:
        """
        See L{IAgentStore.stop}.
        """
        self.stopped = True
