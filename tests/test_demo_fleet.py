"""
Tests for what C{wazuh-cluster demo} does with agents.
"""

from __future__ import annotations

import io
import os
import re
import signal
from collections.abc import Callable, Collection, Sequence
from typing import cast

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.enrollmentcase import keyOf
from tests.test_demo_nodes import FakeProcess
from wazuh_cluster.agents import (
    NEVER_CONNECTED,
    Agent,
    AgentRecord,
    AgentStatus,
)
from wazuh_cluster.agents.clientkeys import formatAgent
from wazuh_cluster.agents.groupnames import writeGroups
from wazuh_cluster.control import FleetPage, Removal
from wazuh_cluster.demo.doors import Doors
from wazuh_cluster.demo.fleet import GROUP, NAMES, FleetStory
from wazuh_cluster.demo.homes import fill
from wazuh_cluster.demo.nodes import DemoFailed, Node
from wazuh_cluster.demo.pace import Interrupted, Pace
from wazuh_cluster.demo.show import Screen
from wazuh_cluster.demo.traces import (
    agentsIn,
    assignmentOf,
    hasAssignments,
    hasGroup,
    hasKeys,
    hasTrace,
    sameKeys,
)
from wazuh_cluster.demo.watch import PATIENCE, Watcher
from wazuh_cluster.errors import GroupRefused
from wazuh_cluster.home import Home
from wazuh_cluster.model import MASTER, WORKER


class TracesTests(SynchronousTestCase):
    """
    Tests for L{wazuh_cluster.demo.traces}.
    """

    def setUp(self) -> None:
        """
        A master's home and a worker's.
        """
        self.master, self.worker = Home(self.mktemp()), Home(self.mktemp())
        self.one = Agent(1, "web-001", "any", keyOf(1))
        self.two = Agent(2, "desk-1", "any", keyOf(2))

    def both(self, path: str, content: bytes) -> None:
        """
        Put a file into both homes.
        """
        for home in (self.master, self.worker):
            fill(home, {path: content}, Pace())

    def test_keys(self) -> None:
        """
        A key is there if its line is, whole and unchanged.
        """
        self.assertEqual([], agentsIn(self.worker))
        self.assertFalse(sameKeys(self.worker, self.master))
        self.assertFalse(hasKeys(self.worker, [self.one]))
        self.both("etc/client.keys", formatAgent(self.one) + b"# note\n" + formatAgent(self.two))
        self.assertEqual([self.one, self.two], agentsIn(self.worker))
        self.assertTrue(hasKeys(self.worker, [self.two, self.one]))
        self.assertFalse(hasKeys(self.worker, [evolve(self.two, key=keyOf(3))]))
        self.assertTrue(sameKeys(self.worker, self.master))
        fill(
            self.worker, {"etc/client.keys": formatAgent(self.one) + formatAgent(self.two)}, Pace()
        )
        self.assertFalse(sameKeys(self.worker, self.master))

    def test_group(self) -> None:
        """
        A group is there if it has the master's configuration.
        """
        self.assertFalse(hasGroup(self.worker, self.master, "desks"))
        self.both("etc/shared/desks/agent.conf", b"<agent_config/>\n")
        self.assertTrue(hasGroup(self.worker, self.master, "desks"))
        fill(self.worker, {"etc/shared/desks/agent.conf": b""}, Pace())
        self.assertFalse(hasGroup(self.worker, self.master, "desks"))

    def test_assignments(self) -> None:
        """
        Assignments are there if each file is.
        """
        groups = {1: ("web",), 2: ("web", "desks")}
        self.both("queue/agent-groups/001", b"web\n")
        self.assertFalse(hasAssignments(self.worker, groups))
        self.both("queue/agent-groups/002", b"web,desks\n")
        self.assertTrue(hasAssignments(self.worker, groups))

    def test_trace(self) -> None:
        """
        A key, under whatever name, or an assignment is a trace; a line that
        marks a removed agent is none.
        """
        for content, trace in (
            (formatAgent(self.one), False),
            (b"002 !desk-1 any %s\n" % keyOf(2).encode(), False),
            (formatAgent(self.two), True),
            (formatAgent(evolve(self.two, name="other")), True),
            (formatAgent(evolve(self.two, id=3)), True),
        ):
            self.both("etc/client.keys", content)
            self.assertEqual(trace, hasTrace(self.worker, self.two))
        self.both("etc/client.keys", b"")
        self.both("queue/agent-groups/002", b"web\n")
        self.assertTrue(hasTrace(self.worker, self.two))


class FakeCluster:
    """
    What the nodes of a cluster do together, in memory and in their homes; also
    the doors to it.

    @ivar cut: nodes to which nothing comes any more.
    @ivar credulous: whether the master takes records that are older than its
        own.
    @ivar keepsRecords: whether it keeps the records of removed agents.
    @ivar before: called before each thing that is asked, with its name.
    @ivar open: how many talk to nodes.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.cut: set[str] = set()
        self.credulous = False
        self.keepsRecords = False
        self.before: Callable[[str], None] = lambda name: None
        self.open = 0
        self.agents = {n: Agent(n, f"web-{n:03}", "any", keyOf(n)) for n in (1, 2)}
        self.records: dict[int, tuple[str, AgentRecord]] = {}
        self.groups: dict[int, tuple[str, ...]] = {1: ("web",)}
        self._seen: dict[str, FleetPage] = {}
        self.spread()

    def spread(self) -> None:
        """
        Have the nodes that are not cut get all that there is.
        """
        for node in self.nodes:
            if node.name in self.cut:
                continue
            keys = b"".join(formatAgent(self.agents[n]) for n in sorted(self.agents))
            files = {"etc/client.keys": keys}
            for group in {name for names in self.groups.values() for name in names}:
                files[f"etc/shared/{group}/agent.conf"] = b"<agent_config/>\n"
            for agent, names in self.groups.items():
                files[assignmentOf(agent)] = writeGroups(names)
            fill(node.home, files, Pace())
            for name in os.listdir(node.home.join("queue/agent-groups")):
                if int(name) not in self.groups:
                    os.unlink(node.home.join(f"queue/agent-groups/{name}"))
            self._seen[node.name] = FleetPage(0.0, [self.status(n) for n in self.shown()], None)

    def shown(self) -> Collection[int]:
        """
        The agents that statuses are shown of.
        """
        return sorted(self.agents.keys() | (self.records.keys() if self.keepsRecords else ()))

    def status(self, number: int) -> AgentStatus:
        """
        The status of an agent.
        """
        name = self.agents[number].name if number in self.agents else "?"
        groups = self.groups.get(number, ())
        if number not in self.records:
            return AgentStatus(number, name, "any", NEVER_CONNECTED, groups=groups)
        node, record = self.records[number]
        return AgentStatus(number, name, "any", record.event, record.heard, node, groups, record)

    # The doors.

    async def enroll(self, node: Node, name: str) -> Agent:
        """
        See L{Doors}. Whoever comes last has the lowest id.
        """
        self.before("enroll")
        number = 9 - len(self.agents)
        self.agents[number] = Agent(number, name, "any", keyOf(number))
        self.spread()
        return self.agents[number]

    async def talk(self, node: Node) -> FakeClient:
        """
        See L{Doors}.
        """
        self.open += 1
        return FakeClient(self, node)

    def page(self, node: Node, after: int) -> FleetPage:
        """
        What a node shows.
        """
        page = self._seen[node.name]
        return evolve(page, agents=[each for each in page.agents if each.id > after])


class FakeClient:
    """
    What is used of a L{ControlClient}.
    """

    def __init__(self, cluster: FakeCluster, node: Node) -> None:
        self._cluster = cluster
        self._node = node

    async def page(self, after: int) -> FleetPage:
        """
        See L{ControlClient}.
        """
        return self._cluster.page(self._node, after)

    async def report(self, records: Sequence[AgentRecord], now: float) -> int:
        """
        See L{ControlClient}.
        """
        cluster = self._cluster
        cluster.before("report")
        for record in records:
            had = cluster.records.get(record.id)
            if had is None or cluster.credulous or had[1].heard <= record.heard <= now:
                cluster.records[record.id] = (self._node.name, record)
        cluster.spread()
        return len(records)

    async def createGroup(self, name: str) -> None:
        """
        See L{ControlClient}.
        """
        self._cluster.before("createGroup")

    async def assign(self, agent: int, groups: Sequence[str]) -> tuple[str, ...]:
        """
        See L{ControlClient}.
        """
        self._cluster.groups[agent] = tuple(groups)
        self._cluster.spread()
        return tuple(groups)

    async def removeAgents(self, ids: Sequence[int]) -> Removal:
        """
        See L{ControlClient}.
        """
        cluster = self._cluster
        cluster.before("removeAgents")
        removed = {}
        for number in ids:
            if number in cluster.agents:
                removed[number] = cluster.agents.pop(number).name
            cluster.groups.pop(number, None)
            if not cluster.keepsRecords:
                cluster.records.pop(number, None)
        cluster.spread()
        return Removal(removed, tuple(each for each in ids if each not in removed))

    def close(self) -> None:
        """
        See L{ControlClient}.
        """
        self._cluster.open -= 1


class FleetTests(SynchronousTestCase):
    """
    Tests for L{FleetStory}.
    """

    def begin(self, workers: int) -> FleetStory:
        """
        A story of a cluster in memory.
        """
        names = ["hub", *(f"siem-{n + 1}" for n in range(workers))]
        nodes = [
            Node(
                name,
                WORKER if number else MASTER,
                Home(self.mktemp()),
                lambda node: FakeProcess(),
            )
            for number, name in enumerate(names)
        ]
        for node in nodes:
            node.start()
        clock = Clock()
        self.pace = Pace(clock.seconds, clock.advance)
        self.out = io.StringIO()
        screen = Screen(self.out, live=False)
        watcher = Watcher(nodes, screen, self.pace)
        self.cluster = FakeCluster(nodes)
        doors = cast("Doors", self.cluster)
        return FleetStory(nodes, screen, self.pace, watcher, doors)

    def cutAt(self, name: str, node: str = "siem-2", time: int = 1) -> None:
        """
        Have a node get nothing from a moment on.

        @param time: the how many-th that is.
        """
        left = [time]

        def before(asked: str) -> None:
            if asked == name:
                left[0] -= 1
                if left[0] == 0:
                    self.cluster.cut.add(node)

        self.cluster.before = before

    def fails(self, story: FleetStory, line: str, node: str = "siem-2") -> None:
        """
        A story fails for what is wrong with a node.
        """
        failed = self.assertRaises(DemoFailed, story.tell)
        self.assertEqual(line, str(failed))
        assert failed.node is not None
        self.assertEqual(node, failed.node.name)
        self.assertEqual(0, self.cluster.open)

    def test_whole(self) -> None:
        """
        The agents enroll, report, move, get a group, and one goes; each step is
        seen on each node.
        """
        story = self.begin(2)
        story.tell()
        out = self.out.getvalue()
        self.assertEqual(["1", "2", "3", "4", "5"], re.findall(r"^(\d)\. ", out, re.M))
        for number, name in enumerate(reversed(NAMES), 3):
            self.assertIn(f"   {name}  has its key after 0.00 s: it is agent {number:03}\n", out)
        for said, times in (
            ("has all 5 keys", 1),
            ("shows all 5 active at siem-1", 1),
            ("shows it active at siem-2", 1),
            ("shows desk-2 disconnected, and desk-1 active at siem-2 as before,", 1),
            ("has the group, with its 5 agents,", 1),
            ("has no key, group or status of it", 1),
        ):
            for node in ("hub   ", "siem-1", "siem-2"):
                found = re.findall(rf"^   {node}  {said} after \d+\.\d\d s$", out, re.M)
                self.assertEqual(times, len(found), (node, said, out))
        self.assertIn("same on all nodes: 7 agents.", out)
        self.assertIn("same on all nodes: 6 agents.", out)
        self.assertEqual(
            [
                "   004  desk-4  active        siem-1  desks",
                "   005  desk-3  active        siem-1  desks",
                "   006  desk-2  disconnected  siem-1  desks",
                "   007  desk-1  active        siem-2  desks",
            ],
            out.splitlines()[-4:],
        )
        self.assertEqual(0, self.cluster.open)
        self.assertEqual({1, 4, 5, 6, 7}, self.cluster.groups.keys())
        self.assertEqual((GROUP,), self.cluster.groups[7])

    def test_oneWorker(self) -> None:
        """
        With one worker no agent moves, which is said.
        """
        story = self.begin(1)
        story.tell()
        out = self.out.getvalue()
        self.assertIn("There is no other one: take --workers 2 to see it.\n", out)
        self.assertIn("   siem-1  has no key, group or status of it after", out)
        self.assertIn("   006  desk-2  active  siem-1  desks\n", out)

    def test_interrupted(self) -> None:
        """
        Whatever is being waited for when somebody interrupts, nobody talks to a
        node any more then.
        """
        for name in ("enroll", "report", "createGroup", "removeAgents"):
            story = self.begin(2)

            def interrupt(asked: str, wanted: str = name) -> None:
                if asked == wanted:
                    self.cluster.cut.add("hub")
                    self.pace.interrupt(signal.SIGINT)

            self.cluster.before = interrupt
            self.assertRaises(Interrupted, story.tell)
            self.assertEqual(0, self.cluster.open)
            self.assertTrue(self.pace.seconds() < 1)

    def test_keysDoNotCome(self) -> None:
        """
        A node that does not get a key is named.
        """
        story = self.begin(2)
        self.cutAt("enroll", time=5)
        self.fails(story, "siem-2 has not all keys of the agents that enrolled after 60 s.")
        self.assertTrue(PATIENCE <= self.pace.seconds() < PATIENCE + 1)

    def test_otherKeys(self) -> None:
        """
        Keys are not enough: C{client.keys} must be the master's.
        """
        story = self.begin(2)

        def spoil(name: str) -> None:
            if len(self.cluster.agents) == 2 + len(NAMES) - 1:
                self.cluster.cut.add("siem-1")
                agents = [*self.cluster.agents.values(), Agent(3, "desk-5", "any", keyOf(3))]
                keys = b"".join(formatAgent(agent) for agent in reversed(agents))
                fill(self.cluster.nodes[1].home, {"etc/client.keys": keys}, Pace())

        self.cluster.before = spoil
        self.fails(
            story, "siem-1 has not all keys of the agents that enrolled after 60 s.", "siem-1"
        )

    def test_notReported(self) -> None:
        """
        A node that does not show the reports is named.
        """
        story = self.begin(2)
        self.cutAt("report", "hub")
        self.fails(story, "hub does not show the agents active at siem-1 after 60 s.", "hub")

    def test_doesNotMove(self) -> None:
        """
        A node that does not show where an agent is now is named.
        """
        story = self.begin(2)
        self.cutAt("report", time=2)
        self.fails(story, "siem-2 does not show desk-1 active at siem-2 after 60 s.")

    def test_setBack(self) -> None:
        """
        A late record that sets an agent back is a failure at once.
        """
        story = self.begin(2)
        self.cluster.credulous = True
        self.fails(story, "hub shows desk-1 as siem-1 said late.", "hub")
        self.assertTrue(self.pace.seconds() < PATIENCE)

    def test_noGroup(self) -> None:
        """
        A node that does not get the group is named.
        """
        story = self.begin(2)
        self.cutAt("createGroup")
        self.fails(story, "siem-2 has not the group desks with its agents after 60 s.")

    def test_groupRefused(self) -> None:
        """
        What a node refuses is told with its name.
        """
        story = self.begin(2)

        def refuse(name: str) -> None:
            if name == "createGroup":
                raise GroupRefused("no room")

        self.cluster.before = refuse
        self.fails(story, "hub: no room.", "hub")

    def test_traceStays(self) -> None:
        """
        A node on which something stays of the removed agent is named.
        """
        story = self.begin(2)
        self.cutAt("removeAgents")
        self.fails(story, "siem-2 has still a trace of desk-5 after 60 s.")

    def test_statusStays(self) -> None:
        """
        A status that stays is such a trace, too.
        """
        story = self.begin(2)
        self.cluster.keepsRecords = True
        self.fails(story, "hub has still a trace of desk-5 after 60 s.", "hub")

    def test_notRemoved(self) -> None:
        """
        If the master knew nothing to remove, that is a failure at once.
        """
        story = self.begin(2)

        def forget(name: str) -> None:
            if name == "removeAgents":
                del self.cluster.agents[3]

        self.cluster.before = forget
        self.fails(story, "hub did not remove desk-5.", "hub")
