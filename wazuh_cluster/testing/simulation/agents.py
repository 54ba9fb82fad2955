"""
Agents as a part of a simulated cluster: how they come and go, what must never be
known of them, and when all nodes know what they should.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha1
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure

from wazuh_cluster.agents import (
    ACTIVE,
    DISCONNECTED,
    NEVER_CONNECTED,
    PENDING,
    AgentRecord,
    ClientKeysRegistrar,
)
from wazuh_cluster.agents.assignments import FileAssignments
from wazuh_cluster.agents.clientkeys import parseAgent
from wazuh_cluster.agents.groupnames import agentOf, readGroups
from wazuh_cluster.authsettings import AuthSettings, ForceRules
from wazuh_cluster.enrollment import EnrollmentService
from wazuh_cluster.errors import ClusterError
from wazuh_cluster.interfaces import IRunner
from wazuh_cluster.protocol.bodies import readBody, writeBody
from wazuh_cluster.requests.names import (
    AGENTS_PAGE,
    AGENTS_REMOVE,
    GROUPS_ASSIGN,
    GROUPS_CREATE,
    GROUPS_DELETE,
    GROUPS_UNASSIGN,
)
from wazuh_cluster.requests.table import Asker
from wazuh_cluster.state import DirectoryState
from wazuh_cluster.testing.openrequests import MemoryOpenRequests
from wazuh_cluster.testing.simulation.contents import KEYS
from wazuh_cluster.testing.simulation.databases import Health, Rows, SimSource, SimStore, Table
from wazuh_cluster.testing.simulation.enrolling import ANSWER, PORT, AgentHost, Attempt
from wazuh_cluster.testing.simulation.files import ASSIGNMENTS, write
from wazuh_cluster.testing.simulation.part import Part
from wazuh_cluster.testing.simulation.process import HOME, SimProcess
from wazuh_cluster.testing.simulation.registrations import History
from wazuh_cluster.testing.simulation.schedule import BOTH, MASTER, WORKER, Action, Kind
from wazuh_cluster.testing.simulation.statuses import Statuses

if TYPE_CHECKING:
    from wazuh_cluster.testing.simulation.cluster import SimCluster
    from wazuh_cluster.testing.simulation.machine import SimMachine
    from wazuh_cluster.testing.simulation.world import World

#: How many agents there are.
_AGENTS = 14

#: What a registrar writes beside C{client.keys}.
_TIMES = (b"queue/agents-timestamp", b"queue/.agents-timestamp.tmp")
_KEYS = (KEYS, b"etc/.client.keys.tmp")

#: Of what is refused now, what will be refused for longer than anybody waits.
_FINAL = (b"ERROR: Duplicate", b"ERROR: Invalid group: ", b"ERROR: Invalid Group(s)")

#: Seconds until an agent asks again that was not answered, at least.
_AGAIN = 3.0

#: When a new agent takes the place of an old one, in some simulations.
_RULES = (
    ForceRules(),
    ForceRules(afterRegistrationTime=60.0, disconnectedTime=30.0),
    ForceRules(enabled=False),
)

#: After how many seconds without a word an agent counts as disconnected.
_SILENCE = 300.0

#: For how many seconds it is open what the master says of an agent at that moment.
_EDGE = 20.0

#: For how many seconds it counts what people are told.
_FRESH = 10.0

_SOMEBODY = Asker("somebody", administers=True, remedy="")

_PATH = HOME + b"/" + KEYS

#: The groups that agents can be in; the first one is always there.
_GROUPS = ("default", "web", "db", "app")
_ASSIGNED = HOME + b"/" + ASSIGNMENTS
_SHARED = tuple(b"etc/shared/" + name.encode("ascii") for name in _GROUPS)

#: What a node hears of agents, mostly that they are there.
_EVENTS = (ACTIVE, ACTIVE, ACTIVE, PENDING, DISCONNECTED)


@define(eq=False)
class Agent:
    """
    One agent.

    @ivar name: its name.
    @ivar ip: the address that it wants to be registered with.
    @ivar attempt: what it asks now.
    @ivar line: its line in C{client.keys}, as far as it was told.
    @ivar wants: whether it wants to be registered.
    @ivar last: what a node noted last of it; C{None} for nothing.
    """

    name: str
    ip: str
    attempt: Attempt | None = None
    line: bytes | None = None
    wants: bool = False
    last: AgentRecord | None = None


@define(eq=False)
class _Machine:
    """
    What a machine has for its agents beside its disk.

    @ivar health: of its databases.
    @ivar heard: what its node heard of its own agents.
    @ivar fleet: what it knows of all agents, as a master.
    @ivar open: what its node has in memory that outlives processes.
    @ivar dark: when it lost its power last.
    @ivar keys: the C{client.keys} that its node installed last.
    @ivar first: paths of the groups that agents first had there.
    """

    health: Health
    heard: Table
    fleet: Table
    open: MemoryOpenRequests
    dark: float = -1.0
    keys: bytes | None = None
    first: set[bytes] = field(factory=set)


@define(eq=False)
class _Given:
    """
    What a process was made with.

    @ivar runners: to be stopped with it.
    @ivar source: where its node takes reports.
    @ivar registrar: a master's.
    """

    runners: list[IRunner]
    source: SimSource
    registrar: ClientKeysRegistrar | None = None


class Agents(Part):
    """
    Agents: they enroll at any node, report to any, come into groups and are
    removed.

    @ivar history: of their registrations.
    @ivar statuses: of what was heard of them.
    """

    def __init__(self) -> None:
        self.history: History
        self.statuses: Statuses
        self._host: AgentHost
        self._agents: list[Agent] = []
        self._random = Random(0)
        self._rules = _RULES[0]
        self._machines: dict[SimMachine, _Machine] = {}
        self._versions: list[Rows] = [{}]
        self._given: dict[SimProcess, _Given] = {}
        # Whether faults have ended, and who has reported since.
        self._calm = False
        self._reported: set[str] = set()
        # What people were told last of all agents, their statuses; and when.
        self._page: dict[int, str] = {}
        self._paged = -_FRESH
        # Agents of whom records and groups may stay.
        self._byHand: set[int] = set()

    def attach(self, cluster: SimCluster) -> None:
        """
        See L{Part.attach}.
        """
        super().attach(cluster)
        self.history = History(cluster.broken, cluster.clock.seconds)
        self.statuses = Statuses(cluster.broken, cluster.clock.seconds)
        self._random = random = Random(cluster.random.random())
        self._rules = random.choice(_RULES)
        self._host = AgentHost(cluster, "agents")
        # Some of them have the address of another.
        self._agents = [
            Agent(f"a{n}", "any" if n % 3 else f"10.0.0.{n % 4 + 1}") for n in range(_AGENTS)
        ]

    def tends(self, path: bytes) -> bool:
        """
        See L{Part.tends}.
        """
        return (
            path in _KEYS
            or path in _TIMES
            or path.startswith((ASSIGNMENTS, *_SHARED))
            or path == ASSIGNMENTS.rstrip(b"/")
        )

    # What nodes are made with.

    def keywords(self, process: SimProcess) -> dict[str, Any]:
        """
        See L{Part.keywords}: a master's registrar, and where a node notes what is
        open.
        """
        machine, own = process.machine, self._of(process.machine)
        source = SimSource(process, own.health, own.heard, self.statuses.heardAt)
        given = self._given[process] = _Given([], source)
        keywords: dict[str, Any] = {"openRequests": own.open, "agents": source}
        if not machine.isMaster:
            return keywords
        runner, another = process.makeRunner("registrar"), process.makeRunner("assignments")
        given.runners = [runner, another]
        assignments = FileAssignments(
            process.disk, HOME, another, machine.wallClock, process.randomBytes
        )
        given.registrar = ClientKeysRegistrar(
            HOME,
            runner,
            process.clock,
            DirectoryState(process.disk, HOME + b"/queue/wazuh_cluster"),
            fileSystem=process.disk,
            rules=self._rules,
            hostName=process.name,
            silence=_SILENCE,
            assignments=assignments,
            wallClock=machine.wallClock,
            monotonic=process.clock.seconds,
            random=process.randomBytes,
        )
        return {
            **keywords,
            "registrar": given.registrar,
            "assignments": assignments,
            "store": SimStore(process, own.health, own.fleet, self.statuses.committed),
            "administrators": [each.nodeName for each in self.cluster.workers],
            "disconnectionTime": _SILENCE,
        }

    def _of(self, machine: SimMachine) -> _Machine:
        if machine not in self._machines:
            random, versions = Random(self._random.random()), self._versions
            self._machines[machine] = _Machine(
                Health(),
                Table(machine, b"local-agents.db", random, versions),
                Table(machine, b"agents.db", random, versions),
                MemoryOpenRequests(),
            )
        return self._machines[machine]

    def services(self, process: SimProcess, node: Any) -> Sequence[IService]:
        """
        See L{Part.services}: where agents enroll.
        """
        enroller = getattr(node, "enroller", None)
        if enroller is None:
            return ()
        registrar = self._given[process].registrar
        if registrar is not None:
            registrar.counsel.times = node.agents.times
        return [
            EnrollmentService(
                process.clock,
                self.cluster.network.serverOf(process, PORT),
                enroller,
                AuthSettings(),
                HOME.decode("ascii"),
                runner=process.makeRunner,
                fileSystem=process.disk,
                hostName=process.name,
                beneath=_asItIs,
            )
        ]

    def stopped(self, process: SimProcess) -> None:
        """
        See L{Part.stopped}.
        """
        given = self._given.pop(process, None)
        for runner in () if given is None else given.runners:
            runner.stop()

    # What must never be.

    def touched(self, process: SimProcess, path: bytes) -> None:
        """
        See L{Part.touched}.
        """
        machine = process.machine
        if machine is self.cluster.master:
            if path == _PATH:
                self.history.changed(self._content())
        elif path == _PATH:
            self._of(machine).keys = machine.disk.contentOf(path)
        elif path.startswith(_ASSIGNED):
            self._checkKey(process, path)

    def _checkKey(self, process: SimProcess, path: bytes) -> None:
        """
        A worker has an agent's key before its assignment.
        """
        machine = process.machine
        agent, keys = agentOf(path[len(_ASSIGNED) :]), machine.disk.contentOf(_PATH)
        content = machine.disk.contentOf(path)
        if (
            # What one that goes leaves behind goes after its key.
            agent in self.history.ids()
            and content is not None
            # What came there first needs no key.
            and path not in self._of(machine).first
            # Unless somebody there changed the keys.
            and keys == self._of(machine).keys
            and agent not in _idsIn(keys or b"")
        ):
            process.broken(f"agent {agent} has groups there before it has its key")

    def lostPower(self, machine: SimMachine) -> None:
        """
        See L{Part.lostPower}.
        """
        own = self._of(machine)
        own.open.ids.clear()
        own.dark = self.cluster.clock.seconds()
        own.keys = None
        for table in (own.heard, own.fleet):
            table.losePower()
        if machine is self.cluster.master:
            self.statuses.excuse(own.fleet.rows)
            self.history.lostPower(self._content())

    def replaced(self, machine: SimMachine) -> None:
        """
        See L{Part.replaced}.
        """
        own = self._of(machine)
        own.keys = None
        for table in (own.heard, own.fleet):
            table.replaced()
        if machine is self.cluster.master:
            self.history.replaced(self._content())
            self.statuses.excuse(own.fleet.rows)
            for agent in self._agents:
                # Whose master does not know it enrolls again.
                if agent.line is not None and not self.history.isThere(agent.line):
                    agent.line = None

    def _content(self) -> bytes:
        return self.cluster.master.disk.contentOf(_PATH) or b""

    # What agents do.

    def enroll(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        An agent enrolls at a node. One that is registered is installed anew, and
        has no key any more; now and then it says which one it had.
        """
        agent = action.pick(self._agents)
        agent.wants = True
        if agent.attempt is None:
            self._ask(agent, machine.name, action.seconds < 1.0)

    def _ask(self, agent: Agent, node: str, saysKey: bool = False) -> None:
        line = f"OSSEC A:'{agent.name}' V:'v4.14.7'"
        if self._random.random() < 0.3:
            line += f" G:'{self._random.choice(_GROUPS)}'"
        if agent.ip != "any":
            line += f" IP:'{agent.ip}'"
        if saysKey and agent.line is not None:
            line += f" K:'{_keyHash(agent.line)}'"
        agent.line = None
        attempt = Attempt(
            agent.name, agent.ip, line.encode("ascii") + b"\n", node, self.cluster.clock.seconds()
        )
        agent.attempt = attempt
        self.cluster.say(node, f"* {agent.name} asks to be registered")
        self.history.asks(attempt)
        self._host.ask(attempt, self._wrote, lambda attempt: self._ended(agent, attempt))

    def _wrote(self, attempt: Attempt) -> None:
        self.history.wrote(attempt, self.cluster.master.disk, _PATH)

    def _ended(self, agent: Agent, attempt: Attempt) -> None:
        self.history.ended(attempt)
        agent.attempt = None
        received = attempt.received
        self.cluster.say(attempt.node, f"* {agent.name} is told {received[:60]!r}")
        match = ANSWER.fullmatch(received)
        if match is not None:
            line = b" ".join(match.groups()) + b"\n"
            agent.wants = False
            if self.history.isThere(line):
                agent.line = line
            return
        if received.startswith(_FINAL):
            agent.wants = False
            return
        cluster = self.cluster
        if cluster.ending:
            agent.wants = False
            return
        if cluster.peaceful:
            cluster.broken(f"{agent.name} is told {received!r}, and no fault befell")
        # Anywhere, as what balances their load does.
        names = [machine.name for machine in cluster.machines.values() if not machine.transient]
        node = self._random.choice(names)
        cluster.clock.callLater(_AGAIN * (1.0 + self._random.random()), self._again, agent, node)

    def _again(self, agent: Agent, node: str) -> None:
        if agent.wants and agent.attempt is None and not self.cluster.ending:
            self._ask(agent, node)

    # What people do.

    def remove(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        Somebody removes an agent.
        """
        ids = self.history.ids()
        if not ids:
            return
        id = action.pick(ids)
        self.history.leaves(id)

        def removed(answer: bytes) -> None:
            self.cluster.say(machine.name, f"* agent {id} is removed")
            self.history.removed(id)

        purge = action.seconds < 1.0
        self._operate(machine, AGENTS_REMOVE, {"ids": [id], "purge": purge}, removed)

    def group(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        Somebody puts an agent into a group, or takes it out of one.
        """
        ids = self.history.ids()
        if not ids:
            return
        id, group = action.pick(ids), _GROUPS[int(action.number * 7919) % len(_GROUPS)]
        kind = int(action.number * 1000) % 4
        what: dict[str, Any] = {"id": id, "groups": [group]}
        if kind == 3:
            self._operate(machine, GROUPS_UNASSIGN, what)
        else:
            self._operate(machine, GROUPS_ASSIGN, {**what, "add": kind == 2})

    def makeGroup(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        Somebody makes a group.
        """
        self._operate(machine, GROUPS_CREATE, {"name": action.pick(_GROUPS)})

    def removeGroup(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        Somebody removes a group.
        """
        self._operate(machine, GROUPS_DELETE, {"name": action.pick(_GROUPS[1:])})

    def _operate(
        self,
        machine: SimMachine,
        name: str,
        body: dict[str, Any],
        done: Callable[[bytes], object] = lambda answer: None,
    ) -> None:
        """
        Somebody asks a node for something, as local programs do.
        """
        process = machine.process
        if process is None or process.stopping is not None or not process.node.running:
            return
        requests = process.node.requests

        def ask() -> None:
            asking = Deferred.fromCoroutine(requests.perform(_SOMEBODY, name, writeBody(body)))
            asking.addCallbacks(done, _notDone)

        process.enter(ask)

    def written(self, machine: SimMachine, path: bytes, content: bytes) -> None:
        """
        See L{Part.written}.
        """
        if machine.isWorker and path.startswith(ASSIGNMENTS):
            self._of(machine).first.add(machine.path(path))

    def first(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        An agent, or what takes itself for one, comes into a group at a worker first.
        """
        ids = [*self.history.ids(), 900 + int(action.number * 10)]
        path = ASSIGNMENTS + b"%03d" % action.pick(ids)
        if machine.disk.contentOf(machine.path(path)) is None:
            write(machine, path, action.pick(_GROUPS).encode("ascii") + b"\n")

    def report(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        A node hears agents: such as it has the keys of, or seldom others, as one
        that was removed is heard by those who do not know it yet.
        """
        keys = machine.disk.contentOf(_PATH) or b""
        at = int(action.number * len(self._agents))
        for agent in (self._agents[at], self._agents[at - 1], self._agents[at - 5]):
            if agent.line is not None and (agent.line in keys or action.seconds < 0.2):
                self._hears(machine, agent, _EVENTS[int(action.number * 1000) % len(_EVENTS)])

    def _hears(self, machine: SimMachine, agent: Agent, event: str) -> None:
        process = machine.process
        given = None if process is None else self._given.get(process)
        if process is None or given is None or agent.line is None or process.stopping is not None:
            return
        id = int(agent.line.split(b" ", 1)[0])
        record = self.statuses.hear(id, event, machine.name, machine.uptime())
        isCalm, heardAt = self._calm, self.statuses.heardAt

        def reported(result: object) -> None:
            # What was heard before may be noted after.
            if agent.last is None or heardAt(agent.last) <= heardAt(record):
                agent.last = record
            if isCalm:
                self._reported.add(agent.name)

        def report() -> None:
            given.source.report([record]).addCallbacks(reported, _notDone)

        process.enter(report)

    def trouble(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        The databases of a machine are slow, locked or failing.
        """
        health = self._of(machine).health
        kind = int(action.number * 1000) % 3
        if kind == 0:
            health.slow = action.number * 5.0
        elif kind == 1:
            health.failing = action.number
        else:
            health.locked = True
        world.later(action.seconds, health.heal)

    def silence(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        They answer nothing for a while.
        """
        health = self._of(machine).health
        if health.hanging is None:
            health.hanging = []
        world.later(action.seconds * 5.0, health.answer)

    def edit(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        Somebody edits C{client.keys} on the master: a line goes, or comes, or a
        remark.
        """
        lines = self._content().splitlines(keepends=True)
        kind = int(action.number * 1000) % 3
        if kind == 0 and lines:
            line = lines.pop(int(action.number * len(lines)))
            self._byHand.update(_idsIn(line))
        elif kind == 1:
            lines.append(b"# somebody was here at %f\n" % action.at)
        else:
            id = self.history.highest + 1
            lines.append(b"%03d byhand%d any %064x\n" % (id, id, int(action.number * 1e9)))
        content = b"".join(lines)
        write(machine, KEYS, content)
        self.history.edited(content)

    # When all is well.

    def heal(self) -> None:
        """
        See L{Part.heal}.
        """
        self._calm = True
        for own in self._machines.values():
            own.health.heal()

    def tend(self) -> None:
        """
        See L{Part.tend}: each agent reports once more, where its key is.
        """
        machines = [each for each in self.cluster.machines.values() if not each.transient]
        for agent in self._agents:
            if agent.line is None or agent.name in self._reported:
                continue
            machine = self._random.choice(machines)
            if agent.line in (machine.disk.contentOf(_PATH) or b""):
                self._hears(machine, agent, ACTIVE)
        self._operate(self._random.choice(machines), AGENTS_PAGE, {}, self._told)

    def _told(self, answer: bytes) -> None:
        agents = readBody(answer, dict)["agents"]
        self._page = {int(each["id"]): str(each["status"]) for each in agents}
        self._paged = self.cluster.clock.seconds()

    def unwell(self) -> str | None:
        """
        See L{Part.unwell}.
        """
        for agent in self._agents:
            if agent.attempt is not None or agent.wants:
                return f"{agent.name} is not registered yet"
        return self.history.left(self._isForgotten) or self._unwellRecords() or self._unwellGroups()

    def _unwellRecords(self) -> str | None:
        registered, rows = set(self.history.ids()), self._of(self.cluster.master).fleet.rows
        for agent in self._agents:
            if agent.line is None or not self.history.isThere(agent.line):
                continue
            if agent.name not in self._reported:
                return f"{agent.name} has not reported yet"
            id = int(agent.line.split(b" ", 1)[0])
            if id not in rows or agent.last is None or rows[id].version != agent.last.version:
                return f"the master has not heard what {agent.name} reported last"
        strangers = rows.keys() - registered - self._byHand
        if strangers:
            return f"the master has records of {sorted(strangers)}"
        return self._unwellPage(registered, rows)

    def _unwellPage(self, registered: set[int], rows: Rows) -> str | None:
        """
        What is wrong with what people are told of agents.
        """
        page, now = self._page, self.cluster.clock.seconds()
        if now - self._paged > _FRESH:
            return "nobody says which agents there are"
        if page.keys() != registered:
            return f"people are told of agents {sorted(page.keys() ^ registered)}, or are not"
        for agent, status in page.items():
            wanted = NEVER_CONNECTED
            if agent in rows:
                silent = now - self.statuses.heardAt(rows[agent])
                if abs(silent - _SILENCE) < _EDGE or self.statuses.isExcused(agent):
                    continue
                wanted = DISCONNECTED if silent > _SILENCE else rows[agent].event
            if status != wanted:
                return f"people are told that agent {agent} is {status}, and it is {wanted}"
        return None

    def _unwellGroups(self) -> str | None:
        master = self.cluster.master
        registered = set(self.history.ids())
        for path in master.disk.listTree(HOME):
            if not path.startswith(ASSIGNMENTS) or path == ASSIGNMENTS:
                continue
            agent = agentOf(path[len(ASSIGNMENTS) :])
            if agent is None or agent not in registered | self._byHand:
                return f"{path!r} is of nobody"
            for group in readGroups(master.disk.contentOf(master.path(path)) or b""):
                place = master.path(b"etc/shared/" + group.encode("ascii"))
                if master.disk.statusOf(place) is None:
                    return f"agent {agent} is in {group}, which is not there"
        return None

    def _isForgotten(self, attempt: Attempt) -> bool:
        """
        Whether the machine at which an agent asked has lost its power since.
        """
        machine = self.cluster.machines[attempt.node]
        return self._of(machine).dark >= attempt.began

    def doings(self) -> Sequence[str]:
        """
        See L{Part.doings}.
        """
        return (
            # The dangerous moment.
            *["RegisterAgent"] * 6,
            "UndoRegistration",
            "SyncAgentInfo",
            "SyncAgentInfo",
            "AssignGroups",
        )

    def stir(self, action: Action) -> None:
        """
        See L{Part.stir}: an agent enrolls, reports, or comes into a group.
        """
        machine = self.cluster.machines[action.node]
        if machine.isMaster:
            machine = action.pick(self.cluster.workers)
        if action.during == "SyncAgentInfo":
            for each in self._agents[:3]:
                self._hears(machine, each, ACTIVE)
            return
        if action.during == "AssignGroups":
            path = ASSIGNMENTS + b"%03d" % (900 + int(action.number * 10))
            if machine.disk.contentOf(machine.path(path)) is None:
                write(machine, path, b"default\n")
            return
        agent = action.pick(self._agents)
        agent.wants = True
        if agent.attempt is None:
            self._ask(agent, machine.name)

    def kinds(self) -> dict[str, Kind]:
        """
        See L{Part.kinds}.
        """
        return {
            "enroll": Kind(12, self.enroll, BOTH),
            "remove": Kind(3, self.remove, BOTH),
            "hand": Kind(1, self.edit, MASTER),
            "report": Kind(12, self.report, BOTH),
            "group": Kind(5, self.group, BOTH),
            "new-group": Kind(1.5, self.makeGroup, BOTH),
            "no-group": Kind(0.7, self.removeGroup, BOTH),
            "first": Kind(2, self.first, WORKER),
            "database": Kind(1.5, self.trouble, BOTH, True),
            "silence": Kind(0.7, self.silence, BOTH, True),
        }


def _asItIs(conversation: IProtocol) -> IProtocol:
    return conversation


def _keyHash(line: bytes) -> str:
    id, name, _, key = line.split()
    return sha1(id + name + key).hexdigest()


def _notDone(failure: Failure) -> None:
    failure.trap(ClusterError)


def _idsIn(content: bytes) -> set[int]:
    agents = (parseAgent(line) for line in content.splitlines())
    return {agent.id for agent in agents if agent is not None}
