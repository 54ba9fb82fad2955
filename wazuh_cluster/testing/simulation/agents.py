"""
Agents as a part of a simulated cluster: how they come and go, what must never be
known of them, and when all nodes know what they should.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import define
from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure

from wazuh_cluster.agents import ClientKeysRegistrar, IRegistrar
from wazuh_cluster.authsettings import AuthSettings, ForceRules
from wazuh_cluster.enrollment import EnrollmentService
from wazuh_cluster.errors import ClusterError
from wazuh_cluster.interfaces import IRunner
from wazuh_cluster.state import DirectoryState
from wazuh_cluster.testing.openrequests import MemoryOpenRequests
from wazuh_cluster.testing.simulation.contents import KEYS
from wazuh_cluster.testing.simulation.enrolling import ANSWER, PORT, AgentHost, Attempt
from wazuh_cluster.testing.simulation.files import write
from wazuh_cluster.testing.simulation.part import Part
from wazuh_cluster.testing.simulation.process import HOME, SimProcess
from wazuh_cluster.testing.simulation.registrations import History
from wazuh_cluster.testing.simulation.schedule import BOTH, MASTER, Action, Kind

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
_FINAL = (b"ERROR: Duplicate",)

#: Seconds until an agent asks again that was not answered, at least.
_AGAIN = 3.0

#: When a new agent takes the place of an old one, in some simulations.
_RULES = (
    ForceRules(),
    ForceRules(afterRegistrationTime=60.0, disconnectedTime=30.0),
    ForceRules(enabled=False),
)

_PATH = HOME + b"/" + KEYS


@define(eq=False)
class Agent:
    """
    One agent.

    @ivar name: its name.
    @ivar ip: the address that it wants to be registered with.
    @ivar attempt: what it asks now.
    @ivar line: its line in C{client.keys}, as far as it was told.
    @ivar wants: whether it wants to be registered.
    """

    name: str
    ip: str
    attempt: Attempt | None = None
    line: bytes | None = None
    wants: bool = False


class Agents(Part):
    """
    Agents: they enroll at any node, and are removed.

    @ivar history: of their registrations.
    """

    def __init__(self) -> None:
        self.history: History
        self._host: AgentHost
        self._agents: list[Agent] = []
        self._random = Random(0)
        self._rules = _RULES[0]
        # Machine to what its node has in memory that outlives processes, and to when it
        # lost its power last.
        self._open: dict[SimMachine, MemoryOpenRequests] = {}
        self._dark: dict[SimMachine, float] = {}
        # Process to the runners that were made for it.
        self._runners: dict[SimProcess, list[IRunner]] = {}

    def attach(self, cluster: SimCluster) -> None:
        """
        See L{Part.attach}.
        """
        super().attach(cluster)
        self.history = History(cluster.broken, cluster.clock.seconds)
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
        return path in _KEYS or path in _TIMES

    # What nodes are made with.

    def keywords(self, process: SimProcess) -> dict[str, Any]:
        """
        See L{Part.keywords}: a master's registrar, and where a node notes what is
        open.
        """
        machine = process.machine
        keywords = {"openRequests": self._open.setdefault(machine, MemoryOpenRequests())}
        return {**keywords, "registrar": self._registrar(process)} if machine.isMaster else keywords

    def _registrar(self, process: SimProcess) -> IRegistrar:
        machine = process.machine
        runner = process.makeRunner("registrar")
        self._runners[process] = [runner]
        return ClientKeysRegistrar(
            HOME,
            runner,
            process.clock,
            DirectoryState(process.disk, HOME + b"/queue/wazuh_cluster"),
            fileSystem=process.disk,
            rules=self._rules,
            hostName=process.name,
            wallClock=machine.wallClock,
            monotonic=process.clock.seconds,
            random=process.randomBytes,
        )

    def services(self, process: SimProcess, node: Any) -> Sequence[IService]:
        """
        See L{Part.services}: where agents enroll.
        """
        enroller = getattr(node, "enroller", None)
        if enroller is None:
            return ()
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
        for runner in self._runners.pop(process, ()):
            runner.stop()

    # What must never be.

    def touched(self, process: SimProcess, path: bytes) -> None:
        """
        See L{Part.touched}.
        """
        if path == _PATH and process.machine is self.cluster.master:
            self.history.changed(self._content())

    def lostPower(self, machine: SimMachine) -> None:
        """
        See L{Part.lostPower}.
        """
        self._open.pop(machine, None)
        self._dark[machine] = self.cluster.clock.seconds()
        if machine is self.cluster.master:
            self.history.lostPower(self._content())

    def replaced(self, machine: SimMachine) -> None:
        """
        See L{Part.replaced}.
        """
        if machine is self.cluster.master:
            self.history.replaced(self._content())
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
        Somebody removes an agent, by the master.
        """
        process = machine.process
        ids = self.history.ids()
        if process is None or not ids:
            return
        id = action.pick(ids)
        self.history.leaves(id)
        process.enter(self._remove, process, id, action.seconds < 1.0)

    def _remove(self, process: SimProcess, id: int, purge: bool) -> None:
        node = process.node
        if not node.running:
            return

        def removed(agents: Sequence[Any]) -> None:
            self.cluster.say(process.name, f"* agent {id} is removed")
            self.history.removed(id)

        asking = Deferred.fromCoroutine(node.agents.administration.remove([id], purge))
        asking.addCallback(removed).addErrback(_notDone)

    def edit(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        Somebody edits C{client.keys} on the master: a line goes, or comes, or a
        remark.
        """
        lines = self._content().splitlines(keepends=True)
        kind = int(action.number * 1000) % 3
        if kind == 0 and lines:
            del lines[int(action.number * len(lines))]
        elif kind == 1:
            lines.append(b"# somebody was here at %f\n" % action.at)
        else:
            id = self.history.highest + 1
            lines.append(b"%03d byhand%d any %064x\n" % (id, id, int(action.number * 1e9)))
        content = b"".join(lines)
        write(machine, KEYS, content)
        self.history.edited(content)

    # When all is well.

    def unwell(self) -> str | None:
        """
        See L{Part.unwell}.
        """
        for agent in self._agents:
            if agent.attempt is not None or agent.wants:
                return f"{agent.name} is not registered yet"
        return self.history.left(self._isForgotten)

    def _isForgotten(self, attempt: Attempt) -> bool:
        """
        Whether the machine at which an agent asked has lost its power since.
        """
        machine = self.cluster.machines[attempt.node]
        return self._dark.get(machine, -1.0) >= attempt.began

    def doings(self) -> Sequence[str]:
        """
        See L{Part.doings}.
        """
        return ("RegisterAgent", "RegisterAgent", "UndoRegistration")

    def stir(self, action: Action) -> None:
        """
        See L{Part.stir}: an agent enrolls.
        """
        machine = self.cluster.machines[action.node]
        if machine.isMaster:
            machine = action.pick(self.cluster.workers)
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
            "remove": Kind(3, self.remove, MASTER),
            "hand": Kind(1, self.edit, MASTER),
        }


def _asItIs(conversation: IProtocol) -> IProtocol:
    return conversation


def _keyHash(line: bytes) -> str:
    id, name, _, key = line.split()
    return sha1(id + name + key).hexdigest()


def _notDone(failure: Failure) -> None:
    failure.trap(ClusterError)
