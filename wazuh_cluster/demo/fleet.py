"""
What the demo does with agents, step by step: from their keys to their end.

Each step is looked at on every node: in its files, and by its control socket.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults

from wazuh_cluster.agents import ACTIVE, DISCONNECTED, Agent, AgentRecord, AgentStatus, formatId
from wazuh_cluster.control import ControlClient
from wazuh_cluster.demo.doors import Doors
from wazuh_cluster.demo.enrolling import VERSION
from wazuh_cluster.demo.nodes import DemoFailed, Node
from wazuh_cluster.demo.pace import Pace
from wazuh_cluster.demo.show import Screen, number, table
from wazuh_cluster.demo.traces import (
    agentsIn,
    hasAssignments,
    hasGroup,
    hasKeys,
    hasTrace,
    sameKeys,
)
from wazuh_cluster.demo.watch import Watcher

T = TypeVar("T")

#: The agents that enroll.
NAMES = ("desk-1", "desk-2", "desk-3", "desk-4", "desk-5")

#: The group that they are put into.
GROUP = "desks"

_INFO = {"os_name": "Debian GNU/Linux", "os_version": "12", "os_platform": "debian"}

#: How long ago the agents were heard when that is reported, in seconds: a
#: record from between that and now is late, however slow this machine is.
_EARLIER = 10.0

#: What Wazuh says of an agent that shut down.
_SHUT_DOWN = 3


class FleetStory:
    """
    The life of some agents.
    """

    def __init__(
        self, nodes: Sequence[Node], screen: Screen, pace: Pace, watcher: Watcher, doors: Doors
    ) -> None:
        """
        @param nodes: all nodes, the master first; they run.
        @param doors: on the reactor that the pace turns.
        """
        self._nodes = nodes
        self._hub, *self._workers = nodes
        self._screen = screen
        self._pace = pace
        self._watcher = watcher
        self._doors = doors
        self._clients: dict[str, ControlClient] = {}
        self._agents: list[Agent] = []
        # The id after which theirs begin.
        self._before = 0
        # Status and node of each agent, as all nodes are to show it.
        self._expected: dict[int, tuple[str, str]] = {}

    def tell(self) -> None:
        """
        Show all of it.

        @raise DemoFailed: if something did not come about.
        """
        try:
            self._enroll()
            self._report()
            self._move()
            self._group()
            self._delete()
            self._show()
        finally:
            for client in self._clients.values():
                client.close()

    def _enroll(self) -> None:
        """
        Enroll agents at a worker, all at once, and show when each had its key,
        and each node all keys.
        """
        at = self._workers[0]
        self._screen.step(f"Agents enroll at {at.name}, as stock agents do; it asks the master")
        began = self._pace.seconds()
        took: dict[str, float] = {}

        async def enroll(name: str) -> Agent:
            agent = await self._doors.enroll(at, name)
            took[name] = self._pace.seconds() - began
            return agent

        self._agents = self._watcher.result(_allOf([enroll(name) for name in NAMES]), at)
        self._before = min(agent.id for agent in self._agents) - 1
        for agent in self._agents:
            self._screen.say(
                f"   {agent.name}  has its key after {took[agent.name]:.2f} s: "
                f"it is agent {formatId(agent.id)}"
            )
        self._watcher.each(
            self._nodes,
            lambda node: hasKeys(node.home, self._agents) and self._sameKeys(node),
            f"has all {len(NAMES)} keys",
            "has not all keys of the agents that enrolled",
            began,
        )
        self._tellKeys()

    def _report(self) -> None:
        """
        Say on a worker that they are active, and show when each node shows it.
        """
        at = self._workers[0]
        self._screen.step(f"A program on {at.name} reports that they are active")
        began = self._pace.seconds()
        heard, version = began - _EARLIER, f"Wazuh {VERSION}"
        self._say(
            at,
            [
                AgentRecord(agent.id, ACTIVE, heard, version=version, info=_INFO)
                for agent in self._agents
            ],
        )
        self._expected = {agent.id: (ACTIVE, at.name) for agent in self._agents}
        self._watcher.each(
            self._nodes,
            lambda node: self._shown(node) == self._expected,
            f"shows all {len(NAMES)} active at {at.name}",
            f"does not show the agents active at {at.name}",
            began,
        )

    def _move(self) -> None:
        """
        Have an agent report to another worker; what the first one says late
        changes nothing.
        """
        agent, other = self._agents[:2]
        if len(self._workers) < 2:
            self._screen.step("An agent moves to another worker")
            self._screen.say("   There is no other one: take --workers 2 to see it.")
            return
        old, new = self._workers[:2]
        self._screen.step(f"{agent.name} moves to {new.name}, which hears it now")
        moved = self._pace.seconds()
        self._say(new, [AgentRecord(agent.id, ACTIVE, moved)])
        self._expected[agent.id] = (ACTIVE, new.name)
        self._watcher.each(
            self._nodes,
            lambda node: self._shown(node) == self._expected,
            f"shows it active at {new.name}",
            f"does not show {agent.name} active at {new.name}",
            moved,
        )
        now = self._pace.seconds()
        late = moved - _EARLIER / 2
        self._screen.say(
            f"   {old.name} reports late that it lost {agent.name} {now - late:.1f} s ago, and "
            f"that {other.name} shut down now:"
        )
        self._say(
            old,
            [
                AgentRecord(agent.id, DISCONNECTED, late),
                AgentRecord(other.id, DISCONNECTED, now, statusCode=_SHUT_DOWN),
            ],
        )
        self._expected[other.id] = (DISCONNECTED, old.name)

        def came(node: Node) -> bool:
            shown = self._shown(node)
            if shown.get(other.id) != self._expected[other.id]:
                return False
            # The master took both together.
            if shown.get(agent.id) != self._expected[agent.id]:
                raise DemoFailed(f"{node.name} shows {agent.name} as {old.name} said late.", node)
            return shown == self._expected

        self._watcher.each(
            self._nodes,
            came,
            f"shows {other.name} disconnected, and {agent.name} active at {new.name} as before,",
            f"does not show {other.name} disconnected",
            now,
        )

    def _group(self) -> None:
        """
        Make a group for the agents, and show when each node has it.
        """
        hub = self._hub
        self._screen.step(f"On {hub.name}, a group {GROUP} is made, and they are put into it")
        began = self._pace.seconds()
        self._ask(hub, lambda client: client.createGroup(GROUP))
        groups = {}
        for agent in self._agents:
            groups[agent.id] = self._ask(hub, _assign(agent))

        def has(node: Node) -> bool:
            if not (hasGroup(node.home, hub.home, GROUP) and hasAssignments(node.home, groups)):
                return False
            return {each.id: each.groups for each in self._statuses(node)} == groups

        self._watcher.each(
            self._nodes,
            has,
            f"has the group, with its {len(NAMES)} agents,",
            f"has not the group {GROUP} with its agents",
            began,
        )

    def _delete(self) -> None:
        """
        Remove an agent on the master, and show when no node has a trace of it.
        """
        hub, agent = self._hub, self._agents[-1]
        self._screen.step(f"On {hub.name}, {agent.name} is deleted")
        began = self._pace.seconds()
        removal = self._ask(hub, lambda client: client.removeAgents([agent.id]))
        if removal.removed != {agent.id: agent.name}:
            raise DemoFailed(f"{hub.name} did not remove {agent.name}.", hub)
        self._agents.pop()
        del self._expected[agent.id]
        self._watcher.each(
            self._nodes,
            lambda node: (
                not hasTrace(node.home, agent)
                and self._sameKeys(node)
                and self._shown(node) == self._expected
            ),
            "has no key, group or status of it",
            f"has still a trace of {agent.name}",
            began,
        )
        self._tellKeys()

    def _show(self) -> None:
        """
        Show what became of the agents.
        """
        at = self._workers[-1]
        rows = [
            (formatId(each.id), each.name, each.status, each.node, ",".join(each.groups))
            for each in self._statuses(at)
        ]
        self._screen.say(f"   The others, as 'wazuh-cluster agents' shows them on {at.name}:")
        for line in table(("id", "name", "status", "node", "groups"), rows):
            self._screen.say(f"   {line}")

    def _tellKeys(self) -> None:
        agents = number(len(agentsIn(self._hub.home)), "agent")
        self._screen.say(f"   client.keys is the same on all nodes: {agents}.")

    def _sameKeys(self, node: Node) -> bool:
        return sameKeys(node.home, self._hub.home)

    def _shown(self, node: Node) -> dict[int, tuple[str, str]]:
        """
        Status and node of each of the agents, as a node shows them.
        """
        return {each.id: (each.status, each.node) for each in self._statuses(node)}

    def _statuses(self, node: Node) -> Sequence[AgentStatus]:
        """
        All agents that enrolled in this demo, as a node shows them.
        """
        return self._ask(node, lambda client: client.page(self._before)).agents

    def _say(self, node: Node, records: Sequence[AgentRecord]) -> None:
        """
        Report on a node what was heard, by the pace's clock.
        """
        now = self._pace.seconds()
        taken = self._ask(node, lambda client: client.report(records, now))
        if taken != len(records):
            raise DemoFailed(f"{node.name} took {taken} of {len(records)} reports.", node)

    def _ask(
        self, node: Node, use: Callable[[ControlClient], Coroutine[Deferred[Any], Any, T]]
    ) -> T:
        """
        Ask a node by its control socket.
        """
        client = self._clients.get(node.name)
        if client is None:
            client = self._watcher.result(self._doors.talk(node), node)
            self._clients[node.name] = client
        return self._watcher.result(use(client), node)


def _assign(
    agent: Agent,
) -> Callable[[ControlClient], Coroutine[Deferred[Any], Any, tuple[str, ...]]]:
    return lambda client: client.assign(agent.id, [GROUP])


async def _allOf(works: Sequence[Coroutine[Deferred[Any], Any, T]]) -> list[T]:
    """
    What all of these give, which go on at the same time.
    """
    try:
        return await gatherResults(
            [Deferred.fromCoroutine(each) for each in works], consumeErrors=True
        )
    except FirstError as first:
        return first.subFailure.raiseException()
