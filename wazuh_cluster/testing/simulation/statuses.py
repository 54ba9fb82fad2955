"""
What simulated nodes heard of agents, and when they truly did: no record on the master
may be replaced by an older one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from attrs import frozen

from wazuh_cluster.agents import AgentRecord
from wazuh_cluster.testing.simulation.databases import Rows

#: By how many seconds two nodes may be wrong about what came first: a message that is
#: late looks newer than it is, and no two clocks go equally fast.
_UNCERTAIN = 2.5


@frozen
class _Truth:
    """
    One thing that was heard.

    @ivar agent: of which agent.
    @ivar at: when, in the world's seconds.
    @ivar node: by which machine.
    @ivar event: what.
    """

    agent: int
    at: float
    node: str
    event: str


class Statuses:
    """
    All that was ever heard, by the version that a record says its agent has: each has
    another.
    """

    def __init__(self, broken: Callable[[str], None], seconds: Callable[[], float]) -> None:
        """
        @param broken: is told of what must never be.
        """
        self._broken = broken
        self._seconds = seconds
        self._truths: dict[str, _Truth] = {}
        # Agents of which the master's clock may say anything.
        self._excused: set[int] = set()

    def hear(self, agent: int, event: str, node: str, heard: float) -> AgentRecord:
        """
        A node hears an agent now.

        @param heard: by that node's clock.
        @return: what it notes of that.
        """
        version = f"v{len(self._truths)}"
        self._truths[version] = _Truth(agent, self._seconds(), node, event)
        return AgentRecord(agent, event, heard, version=version)

    def heardAt(self, record: AgentRecord) -> float:
        """
        When something was truly heard.
        """
        return self._truths[record.version].at

    def committed(self, before: Rows, after: Rows) -> None:
        """
        The master's records are others now.
        """
        for agent, record in after.items():
            old = before.get(agent)
            if old is None or old.version == record.version:
                continue
            truth, earlier = self._truths[record.version], self._truths[old.version]
            if truth.at < earlier.at - _UNCERTAIN and agent not in self._excused:
                self._broken(
                    f"agent {agent} is set back: {earlier.node} heard {earlier.event} at "
                    f"{earlier.at:.3f}, {truth.node} heard {truth.event} at {truth.at:.3f}"
                )
            self._excused.discard(agent)

    def isExcused(self, agent: int) -> bool:
        """
        Whether the master may be wrong about when an agent was heard.
        """
        return agent in self._excused

    def excuse(self, agents: Collection[int]) -> None:
        """
        The master's clock may be another one than that by which it knows these.
        """
        self._excused.update(agents)
