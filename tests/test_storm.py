"""
Many agents at once, and whatever else comes, at nodes that are real processes.

C{WAZUH_CLUSTER_KILLS} in the environment is how often nodes are killed in a storm
of agents that enroll; in a long one, by the hundred.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import ssl
from collections.abc import Callable
from itertools import cycle
from threading import Event

from twisted.python.filepath import FilePath

from tests.processes import RUN
from tests.stockagent import allInThreads, context, enroll, inThread
from tests.stormcase import StormCase

#: How often nodes are killed.
_KILLS = int(os.environ.get("WAZUH_CLUSTER_KILLS", "4"))

_FEW_FILES = f"""
import resource
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (300, most))
{RUN}
"""


class StormTests(StormCase):
    """
    Nodes die while agents enroll.
    """

    async def test_killed(self) -> None:
        """
        Master and workers are killed in the midst of a storm, alone and
        together: at every moment each key that an agent got is at the master,
        and no id has two agents; in the end the keys are on every node, and
        nothing is left.
        """
        await self.begin("one", "two")
        count = 60 * (_KILLS + 2)
        crowd = self.crowd(count, lanes=24, tries=4)
        crowd.start()
        for turn, victims in zip(range(_KILLS), cycle(((1,), (0,), (1, 2), (0, 2))), strict=False):
            due = 60 * (turn + 1)
            await self.until(lambda: crowd.enrolled >= due or crowd.ended.called, "agents")  # noqa: B023
            await self.killed(*victims)
        await self.until(lambda: crowd.ended.called, "the last agent")
        unused = self.check(crowd, await self.settled())
        # A node can be killed between two lines of it, after it said that an
        # answer is given and before it gave it.
        self.assertLessEqual(unused, _KILLS)
        self.assertGreaterEqual(crowd.enrolled, count * 9 // 10)

    test_killed.timeout = 120 + 15 * _KILLS  # type: ignore[attr-defined]


class RemovedTests(StormCase):
    """
    Agents are removed by the commands.
    """

    async def enroll(self, number: int, name: bytes, more: bytes = b"") -> None:
        answer = await inThread(enroll, self.ports[number], b"OSSEC A:'%s'%s\n" % (name, more))
        self.assertIn(b"OSSEC K:'", answer)

    async def untilLeft(self, *numbers: int, agents: list[bytes], groups: list[str]) -> None:
        """
        Wait until nodes have these agents and assignments, and no others.
        """

        def left(home: FilePath[str]) -> tuple[list[bytes], list[str]]:
            lines = self.keys(home).splitlines()
            return lines, sorted(os.listdir(home.preauthChild("queue/agent-groups").path))

        def right() -> bool:
            for number in numbers:
                lines, assigned = left(self.homes[number])
                if [line[: line.index(b" any")] for line in lines] != agents or assigned != groups:
                    return False
            return True

        await self.until(right, f"{agents} and {groups}")

    async def test_removed(self) -> None:
        """
        On the master and on the worker that it lists: the agent goes from every
        node, also from one that was away; another worker says where to run it.
        """
        await self.begin("one", "two")
        for number, name in ((0, b"aa"), (1, b"bb"), (2, b"cc")):
            await self.enroll(number, name, b" G:'default'")
        known = [b"001 aa", b"002 bb", b"003 cc"]
        await self.untilLeft(0, 1, 2, agents=known, groups=["001", "002", "003"])
        status, line = await self.command(1, "agents", "remove", "002")
        self.assertEqual(1, status)
        self.assertIn("worker one may not change the cluster: run this on the master", line)
        self.nodes[1].kill()
        await self.nodes[1].ended
        self.assertEqual(
            (0, "Removed agent 002, bb.\n"), await self.command(2, "agents", "remove", "002")
        )
        await self.untilLeft(0, 2, agents=[b"001 aa", b"003 cc", b"002 !bb"], groups=["001", "003"])
        self.assertEqual(
            (1, "Removed agent 001, aa.\nwazuh-cluster: not registered: 077\n"),
            await self.command(0, "agents", "remove", "--purge", "001", "077"),
        )
        await self.untilLeft(0, 2, agents=[b"003 cc", b"002 !bb"], groups=["003"])
        self.nodes[1] = self.listener(1)
        await self.untilLeft(1, agents=[b"003 cc", b"002 !bb"], groups=["003"])
        # Nobody gets a number again, and its name is free.
        await self.enroll(1, b"aa")
        agents = [b"003 cc", b"004 aa", b"002 !bb"]
        await self.untilLeft(0, 1, 2, agents=agents, groups=["003"])
        self.assertIn("agents.remove is asked for by worker two.", self.log(self.homes[0]))
        self.assertEqual(1, self.log(self.homes[0]).count("Removed 002 bb."))


class CrowdTests(StormCase):
    """
    Many come to one worker at the same time.
    """

    async def test_twoHundred(self) -> None:
        """
        Two hundred agents at the same time have their keys with one attempt
        each, on all nodes.
        """
        await self.begin("one", "two")
        crowd = self.crowd(200, lanes=200, tries=1, ports=self.ports[1:2])
        crowd.start()
        await self.until(lambda: crowd.ended.called, "all agents")
        self.assertEqual([], [agent.refusals for agent in crowd.agents if agent.line is None])
        self.assertEqual(0, self.check(crowd, await self.settled()))

    async def test_masterIsKilled(self) -> None:
        """
        So do they, with one retry each at most, if the master is killed
        meanwhile and comes back.
        """
        await self.begin("one", "two")
        crowd = self.crowd(200, lanes=200, tries=2, ports=self.ports[1:2])
        crowd.start()
        await self.until(lambda: crowd.enrolled >= 20 or crowd.ended.called, "some agents")
        await self.killed(0)
        await self.until(lambda: crowd.ended.called, "all agents")
        self.assertEqual([], [agent.refusals for agent in crowd.agents if agent.line is None])
        self.assertEqual(0, self.check(crowd, await self.settled()))

    async def test_strangers(self) -> None:
        """
        A thousand that are slow or talk nonsense, outside of TLS and within, at
        once: agents enroll meanwhile, though the system gave the worker fewer
        open files than that; and it is afterwards as it was.
        """
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limits[1] < 4096:
            self.skipTest("the system does not let a process open as many files")
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, limits[1]))
        self.code = _FEW_FILES
        await self.begin("one")
        port = self.ports[1]
        await inThread(enroll, port, b"OSSEC A:'before'\n")
        files, memory, grown = self.openFiles(1), 0, 0
        # What they cost comes back: it does not grow each time.
        for turn in range(5):
            leave = Event()
            self.addCleanup(leave.set)
            strangers = allInThreads(
                _call, *((_KINDS[n % len(_KINDS)], port, leave) for n in range(1000))
            )
            for n in range(10):
                line = b"OSSEC A:'agent-%d-%d'\n" % (turn, n)
                self.assertIn(b"OSSEC K:'", await inThread(enroll, port, line))
            leave.set()
            await strangers
            await self.until(lambda: self.openFiles(1) <= files, "connections that are closed")
            memory, grown = self.memory(1), self.memory(1) - memory
            if turn and grown < 16 << 20:
                break
        self.assertLess(grown, 16 << 20)
        for home in self.homes:
            self.assertNotIn("ERROR", self.log(home))
            self.assertNotIn("Traceback", self.log(home))

    def openFiles(self, number: int) -> int:
        """
        How many files and connections a node has open.
        """
        return len(os.listdir(f"/proc/{self.pid(number)}/fd"))

    def memory(self, number: int) -> int:
        """
        A node's resident memory, in bytes.
        """
        with open(f"/proc/{self.pid(number)}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def pid(self, number: int) -> int:
        """
        A node's process.
        """
        transport = self.nodes[number].transport
        assert transport is not None
        assert transport.pid is not None
        return transport.pid


def _call(kind: Callable[[int, Event], None], port: int, leave: Event) -> bytes:
    """
    Be a stranger, whatever becomes of it.
    """
    with contextlib.suppress(OSError):
        kind(port, leave)
    return b""


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def _wrapped(plain: socket.socket) -> ssl.SSLSocket:
    return context().wrap_socket(plain)


def _toTheEnd(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def _silent(port: int, leave: Event) -> None:
    with _connected(port):
        leave.wait(60)


def _slow(port: int, leave: Event) -> None:
    with _connected(port) as plain, _wrapped(plain) as wrapped:
        wrapped.sendall(b"OSSEC A:'slow")
        leave.wait(60)


def _nonsense(port: int, leave: Event) -> None:
    with _connected(port) as plain:
        plain.sendall(os.urandom(2000))
        _toTheEnd(plain)


def _noRequest(port: int, leave: Event) -> None:
    with _connected(port) as plain, _wrapped(plain) as wrapped:
        wrapped.sendall(b"GET / HTTP/1.1\r\n\r\n")
        _toTheEnd(wrapped)


def _tooMuch(port: int, leave: Event) -> None:
    with _connected(port) as plain, _wrapped(plain) as wrapped:
        wrapped.sendall(b"OSSEC A:'" + b"x" * 200_000)
        _toTheEnd(wrapped)


_KINDS = (_silent, _silent, _slow, _nonsense, _silent, _noRequest, _silent, _tooMuch)
