"""
A crowd of agents that wants to enroll while nodes are killed, and what must be
true of C{client.keys} all the time and in the end.
"""

from __future__ import annotations

import os
import re
import signal
import ssl
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from threading import Event, Lock, Thread

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.python import log
from twisted.python.filepath import FilePath
from twisted.trial.unittest import TestCase

from tests.processes import COMMAND, RUN, Process, ProcessCase, freePort
from tests.stockagent import context, enroll

#: Seconds between two attempts of one agent, and between two looks at the files.
PAUSE = 0.25
LOOK = 0.05

#: As agents of this version ask.
REQUEST = b"OSSEC A:'%s' V:'v4.14.7' G:'default'\n"

_KEY = re.compile(rb"OSSEC K:'([0-9]+) (\S+) any ([0-9a-f]{64})'")


@define(eq=False)
class Agent:
    """
    An agent and what it lived through.

    @ivar line: what it has in its C{client.keys}, once it has a key.
    @ivar broken: attempts that got to a node and ended without an answer.
    @ivar refusals: what it was told instead of a key.
    """

    name: bytes
    port: int
    line: bytes | None = None
    broken: int = 0
    refusals: list[bytes] = field(factory=list)


class Crowd:
    """
    Agents that enroll in threads, each again and again, as stock ones do.

    @ivar agents: all of them.
    @ivar ended: fires when each has a key or gave up.
    """

    def __init__(self, ports: Sequence[int], count: int, lanes: int, tries: int) -> None:
        """
        @param ports: of the listeners, one after the other.
        @param lanes: how many ask at the same time.
        @param tries: after how many attempts that reached a node an agent
            gives up.
        """
        self.agents = [Agent(b"storm-%d" % n, ports[n % len(ports)]) for n in range(count)]
        self.ended: Deferred[None] = Deferred()
        self._tries = tries
        self._tls: ssl.SSLContext = context()
        self._stopped = Event()
        self._lock = Lock()
        self._waiting: Iterator[Agent] = iter(self.agents)
        self._lanes = lanes
        self._running = lanes

    @property
    def enrolled(self) -> int:
        """
        How many have a key.
        """
        return sum(agent.line is not None for agent in self.agents)

    def start(self) -> None:
        """
        Let them come.
        """
        for _ in range(self._lanes):
            Thread(target=self._lane, daemon=True).start()

    def stop(self) -> None:
        """
        Send those away who still ask.
        """
        self._stopped.set()

    def _lane(self) -> None:
        try:
            while not self._stopped.is_set():
                with self._lock:
                    agent = next(self._waiting, None)
                if agent is None:
                    break
                self._live(agent)
        finally:
            with self._lock:
                self._running -= 1
                last = not self._running
            if last:
                call: Callable[..., object] = reactor.callFromThread  # type: ignore[attr-defined]
                call(self.ended.callback, None)

    def _live(self, agent: Agent) -> None:
        while agent.broken + len(agent.refusals) < self._tries:
            try:
                answer = enroll(agent.port, REQUEST % agent.name, self._tls)
            except ConnectionRefusedError:
                # No node was reached.
                pass
            except OSError:
                agent.broken += 1
            else:
                given = _KEY.fullmatch(answer)
                if given is not None:
                    agent.line = b"%s %s any %s\n" % given.groups()
                    return
                if answer.startswith(b"ERROR: "):
                    agent.refusals.append(answer)
                else:
                    agent.broken += 1
            if self._stopped.wait(PAUSE):
                return


def checkKeys(case: TestCase, crowd: Crowd, keys: bytes) -> int:
    """
    Every key that was given is there, once; besides, there is at most one entry for
    an agent that never heard what became of it.

    @param keys: a C{client.keys}.
    @return: how many such entries there are.
    """
    # There can be marks of agents that are gone: one that a master
    # registered in the moment in which it was killed is replaced when it
    # asks again.
    lines = [line for line in keys.splitlines(True) if not line.split()[1].startswith(b"!")]
    given = {agent.line for agent in crowd.agents if agent.line is not None}
    case.assertEqual(set(), given - set(lines), "keys that agents have are missing")
    for column, what in ((0, "ids"), (1, "names"), (3, "keys")):
        counted = Counter(line.split()[column] for line in lines)
        case.assertEqual(len(lines), len(counted), f"{what} were given twice")
    unused = {line.split()[1] for line in lines if line not in given}
    unheard = {agent.name for agent in crowd.agents if agent.line is None and agent.broken}
    case.assertEqual(set(), unused - unheard, "agents that were refused have entries")
    return len(unused)


class Witness:
    """
    Looks at all C{client.keys} again and again.

    @ivar problems: what was ever wrong.
    """

    def __init__(self, homes: Sequence[FilePath[str]], crowd: Crowd) -> None:
        """
        @param homes: the master's first.
        """
        self.problems: list[str] = []
        self._paths = [home.preauthChild("etc/client.keys") for home in homes]
        self._crowd = crowd
        self._known: dict[bytes, tuple[bytes, ...]] = {}
        self._seen: list[bytes] = [b""] * len(homes)

    def look(self) -> None:
        """
        Look once.
        """
        # Whoever has a key by now is in the file that is read afterwards.
        given = {agent.line for agent in self._crowd.agents if agent.line is not None}
        for number, path in enumerate(self._paths):
            content = path.getContent() if path.exists() else b""
            if content != self._seen[number]:
                self._seen[number] = content
                self._check(path.path, content)
            if not number and not given <= set(content.splitlines(True)):
                self.problems.append(f"{path.path}: keys that agents have are missing")

    def _check(self, path: str, content: bytes) -> None:
        lines = content.splitlines(True)
        if lines and not lines[-1].endswith(b"\n"):
            self.problems.append(f"{path}: half a file")
        ids = [line.split(b" ", 1)[0] for line in lines]
        if len(set(ids)) != len(ids):
            self.problems.append(f"{path}: an id twice")
        for line in lines:
            number, *rest = line.replace(b" !", b" ").split()
            if self._known.setdefault(number, tuple(rest)) != tuple(rest):
                self.problems.append(f"{path}: an id for two agents, {number!r}")


class StormCase(ProcessCase):
    """
    A master and workers at which agents enroll.
    """

    homes: list[FilePath[str]]
    ports: list[int]
    nodes: list[Process]
    code = RUN

    async def begin(self, *workers: str) -> None:
        """
        Start the nodes, and wait until agents can enroll at each.
        """
        self.homes = self.cluster(*workers)
        # The master lists the last worker.
        settings = f"[integrity]\ninterval = 1\n[administration]\nworkers = {workers[-1]}\n"
        self.settings(self.homes[0], settings)
        self.ports = [freePort() for _ in self.homes]
        self.nodes = []
        for number, home in enumerate(self.homes):
            self.nodes.append(self.listener(number))
            await self.until(lambda: "Agents can enroll at" in self.log(home), "a listener")  # noqa: B023
        for home in self.homes[1:]:
            await self.until(lambda: "Successfully connected" in self.log(home), "a link")  # noqa: B023

    def listener(self, number: int) -> Process:
        """
        Start a node with its listener.
        """
        endpoint = f"tcp:{self.ports[number]}:interface=127.0.0.1:backlog=512"
        return self.node(self.homes[number], "--enrollment", endpoint, code=self.code)

    def crowd(self, count: int, lanes: int, tries: int, ports: Sequence[int] = ()) -> Crowd:
        """
        Agents that come at all nodes, unless told otherwise.
        """
        crowd = Crowd(ports or self.ports, count, lanes, tries)
        self.addCleanup(crowd.stop)
        self.witness = Witness(self.homes, crowd)
        looking = LoopingCall(self.witness.look)
        looking.start(LOOK).addErrback(log.err)
        self.addCleanup(looking.stop)
        return crowd

    async def killed(self, *numbers: int) -> None:
        """
        Kill nodes at once, and start them again.
        """
        for number in numbers:
            self.nodes[number].kill(signal.SIGKILL)
        await gatherResults([self.nodes[number].ended for number in numbers])
        before = {n: self.log(self.homes[n]).count("Agents can enroll at") for n in numbers}
        for number in numbers:
            self.nodes[number] = self.listener(number)
        for number in numbers:
            await self.until(
                lambda: self.log(self.homes[number]).count("Agents can enroll at") > before[number],  # noqa: B023
                "a listener that is back",
            )

    async def command(self, number: int, *arguments: str) -> tuple[int, str]:
        """
        Run C{wazuh-cluster} on a node.

        @return: its status, and what it wrote.
        """
        home = self.homes[number].path
        process = self.spawn([*arguments, "--home", home], code=COMMAND)
        status = await process.ended
        self.assertNotIn(b"Traceback", process.err)
        return status, (process.out + process.err).decode("utf-8")

    def keys(self, home: FilePath[str]) -> bytes:
        """
        A node's C{client.keys}.
        """
        path = home.preauthChild("etc/client.keys")
        return path.getContent() if path.exists() else b""

    async def settled(self) -> bytes:
        """
        Wait until nothing is left to do.

        @return: C{client.keys}, which is the same on all nodes.
        """
        undoing = [
            home.preauthChild("queue/wazuh_cluster/undo-registrations") for home in self.homes
        ]
        await self.until(lambda: not any(each.exists() for each in undoing), "nothing to undo")
        self.assertEqual(0, (await self.command(0, "groups", "list"))[0])
        await self.until(lambda: not any(map(self.leftovers, self.homes)), "no leftovers")

        def same() -> list[bytes]:
            # Two looks: what nobody could be told of is undone some time later.
            found = {self.keys(home) for home in [*self.homes, *self.homes]}
            return list(found) if len(found) == 1 else []

        keys = (await self.until(same, "the same keys everywhere"))[0]
        # Keys come before groups; and what was under way for an agent that was
        # undone meanwhile goes within a minute.
        await self.until(lambda: self.groupsOf(keys), "the groups of these agents", 90)
        self.witness.look()
        self.assertEqual([], self.witness.problems)
        return keys

    def groupsOf(self, keys: bytes) -> bool:
        """
        Whether each node has a group for each agent, and for no other.
        """
        wanted = {
            line.split()[0].decode("ascii") for line in keys.splitlines() if b" !" not in line
        }
        folders = [home.preauthChild("queue/agent-groups").path for home in self.homes]
        return all(wanted == set(os.listdir(folder)) for folder in folders)

    def check(self, crowd: Crowd, keys: bytes) -> int:
        """
        As L{checkKeys}, for all nodes; and no log has a traceback.
        """
        unused = checkKeys(self, crowd, keys)
        for home in self.homes:
            self.assertNotIn("Traceback", self.log(home))
            self.assertNotIn("a bug", self.log(home))
        for process in self.processes:
            self.assertNotIn(b"Traceback", process.err + process.out)
        return unused
