"""
Tests for enrollment over loopback sockets, with agents that are not ours, and as
C{twistd} runs it.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
from collections.abc import Callable
from threading import Event
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.python.filepath import FilePath
from twisted.trial.unittest import TestCase

from tests.enrollmentcase import MemoryEnroller, MemoryRegistrar, keyOf
from tests.processes import Process, ProcessCase, freePort
from tests.stockagent import allInThreads, context, enroll, inThread
from wazuh_cluster.authsettings import AuthSettings
from wazuh_cluster.enrollment import EnrollmentService, IEnroller
from wazuh_cluster.home import Home, makeHome
from wazuh_cluster.integrity import DirectoryTree
from wazuh_cluster.master import MasterService
from wazuh_cluster.model import NodeName
from wazuh_cluster.testing.trust import testTrust
from wazuh_cluster.worker import WorkerService

#: What a proxy says first.
_PROXIED = b"PROXY TCP4 203.0.113.7 127.0.0.1 40000 1515\r\n"


def portOf(port: IListeningPort) -> int:
    address: Any = port.getHost()
    number: int = address.port
    return number


def hangUp(port: int, data: bytes) -> bytes:
    """
    Send something without TLS, and read to the end. Blocks.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        plain.sendall(data)
        try:
            while piece := plain.recv(4096):
                received += piece
        except ConnectionError:
            return received
    return received


class SocketTests(TestCase):
    """
    A master and a worker in this process, and agents in threads.
    """

    timeout = 120

    def home(self, name: str) -> str:
        home = FilePath(os.path.abspath(self.mktemp() + name))
        makeHome(Home(home.path))
        return home.path

    async def nodes(self) -> tuple[MasterService, WorkerService]:
        self.registrar = MemoryRegistrar()
        master = MasterService(
            reactor,
            NodeName("hub"),
            testTrust("master", "hub"),
            TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"),
            DirectoryTree(self.home("hub")),
            registrar=self.registrar,
        )
        master.startService()
        self.addCleanup(master.stopService)
        port = portOf(await master.whenListening())
        worker = WorkerService(
            reactor,
            NodeName("one"),
            testTrust("worker", "one"),
            TCP4ClientEndpoint(reactor, "127.0.0.1", port),
            DirectoryTree(self.home("one")),
        )
        worker.startService()
        self.addCleanup(worker.stopService)
        await worker.whenJoined()
        return master, worker

    async def listen(
        self,
        node: MasterService | WorkerService,
        endpoint: str = "tcp:0:interface=127.0.0.1:backlog=512",
        settings: AuthSettings | None = None,
    ) -> int:
        assert node.enroller is not None
        return await self.listenFor(node.enroller, endpoint, settings)

    async def listenFor(
        self, enroller: IEnroller, endpoint: str, settings: AuthSettings | None = None
    ) -> int:
        service = EnrollmentService(
            reactor,
            serverFromString(reactor, endpoint),
            enroller,
            settings or AuthSettings(),
            self.home("listener"),
        )
        service.startService()
        self.addCleanup(service.stopService)
        return portOf(await service.whenListening())

    async def test_twoHundred(self) -> None:
        """
        Two hundred agents at once enroll at a worker, each with a key of its
        own, whatever their TLS.
        """
        _, worker = await self.nodes()
        port = await self.listen(worker)
        contexts = [context(), context(ssl.TLSVersion.TLSv1_2)]
        answers = await allInThreads(
            enroll, *((port, b"OSSEC A:'web-%d'\n" % n, contexts[n % 2]) for n in range(200))
        )
        given = {bytes(each[len("OSSEC K:'") : -1]) for each in answers}
        agents = self.registrar.agents.values()
        wanted = {f"{each.id:03d} {each.name} any {each.key}".encode() for each in agents}
        self.assertEqual((200, wanted), (len(given), given))

    async def test_atTheMaster(self) -> None:
        """
        And at the master, with a password.
        """
        master, _ = await self.nodes()
        password = FilePath(os.path.abspath(self.mktemp()))
        password.setContent(b"top secret\n")
        settings = AuthSettings(usePassword=True, passwordFile=password.path)
        port = await self.listen(master, settings=settings)
        answer = await inThread(enroll, port, b"OSSEC PASS: top secret OSSEC A:'web-1'\n")
        self.assertEqual(f"OSSEC K:'001 web-1 any {keyOf(1)}'".encode(), answer)
        answer = await inThread(enroll, port, b"OSSEC PASS: Top secret OSSEC A:'web-1'\n")
        self.assertEqual(b"ERROR: Invalid password. Unable to add agent", answer)

    async def test_behindHAProxy(self) -> None:
        """
        Behind a proxy, the agent's own address is the one that counts.
        """
        _, worker = await self.nodes()
        port = await self.listen(worker, "haproxy:tcp:0:interface=127.0.0.1")
        line = b"OSSEC A:'web-1' IP:'src'\n"
        answer = await inThread(enroll, port, line, None, _PROXIED)
        self.assertIn(b"'001 web-1 203.0.113.7 ", answer)

    async def test_strangers(self) -> None:
        """
        Hundreds that speak no TLS, or nothing, do not keep agents waiting.
        """
        _, worker = await self.nodes()
        port = await self.listen(worker)
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        for each in silent:
            self.addCleanup(each.close)
        plain = allInThreads(
            hangUp,
            *(
                (port, (b"OSSEC A:'x'\n", b"\x16\x03\x01", os.urandom(900))[n % 3])
                for n in range(150)
            ),
        )
        answer = await inThread(enroll, port, b"OSSEC A:'web-1'\n")
        self.assertIn(b"OSSEC K:'001 web-1 any ", answer)
        for received in await plain:
            self.assertNotIn(b"OSSEC", received)
        self.assertEqual(1, len(self.registrar.requests))

    async def test_atOnce(self) -> None:
        """
        An agent has its answer in the turn of the reactor in which it is not to
        be undone any more, also behind a proxy.
        """
        enroller = MemoryEnroller()
        enroller.hold = True

        def ask(port: int, name: bytes, first: bytes, answered: Event) -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
                plain.sendall(first)
                with context().wrap_socket(plain) as wrapped:
                    wrapped.sendall(b"OSSEC A:'%s'\n" % name)
                    received = wrapped.recv(4096)
                    answered.set()
            return received

        for endpoint, name, first in (
            ("tcp:0:interface=127.0.0.1", b"web-1", b""),
            ("haproxy:tcp:0:interface=127.0.0.1", b"web-2", _PROXIED),
        ):
            port = await self.listenFor(enroller, endpoint)
            answered = Event()
            asking = inThread(ask, port, name, first, answered)
            await self.until(lambda: bool(enroller.waiting))
            enroller.release()
            # Nothing is done by the reactor meanwhile.
            self.assertTrue(answered.wait(60))
            self.assertIn(b"OSSEC K:", await asking)

    async def test_leavesEarly(self) -> None:
        """
        An agent that goes before its answer leaves nothing behind.
        """
        _, worker = await self.nodes()
        port = await self.listen(worker)
        self.registrar.holdAfter = True

        def leave() -> bytes:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
                context().wrap_socket(plain) as wrapped,
            ):
                wrapped.sendall(b"OSSEC A:'web-1'\n")
                registered.wait(60)
            return b""

        registered = Event()
        leaving = inThread(leave)
        await self.until(lambda: bool(self.registrar.requests))
        registered.set()
        await leaving
        await self.until(lambda: bool(self.registrar.undoCalls))
        self.registrar.release()
        self.assertEqual({}, self.registrar.agents)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await deferLater(reactor, 0.01)


class TwistdTests(ProcessCase):
    """
    C{twistd wazuh-cluster --enrollment}.
    """

    def endpoint(self) -> tuple[int, str]:
        port = freePort()
        return port, f"tcp:{port}:interface=127.0.0.1"

    async def listening(self, home: FilePath[str]) -> None:
        await self.until(lambda: "Agents can enroll at" in self.log(home), "the listener")

    async def end(self, process: Process) -> None:
        process.kill(signal.SIGTERM)
        self.assertEqual(-signal.SIGTERM, await process.ended)

    async def test_enrollment(self) -> None:
        """
        Agents enroll at a worker and at a master; both stop cleanly, and no
        key stands in a log.
        """
        master, worker = homes = self.cluster("one")
        (hubPort, hubEndpoint), (port, endpoint) = self.endpoint(), self.endpoint()
        processes = [self.node(master, "--enrollment", hubEndpoint)]
        await self.listening(master)
        processes.append(self.node(worker, "--enrollment", endpoint))
        await self.until(lambda: "Successfully connected" in self.log(worker), "the link")
        await self.listening(worker)
        answers = await allInThreads(
            enroll,
            *(
                (each, b"OSSEC A:'web-%d-%d'\n" % (each, n))
                for each in (hubPort, port)
                for n in range(10)
            ),
        )
        ids = {each.split(b" ")[1] for each in answers if each.startswith(b"OSSEC K:")}
        self.assertEqual(20, len(ids), answers)
        self.assertIn(f"Agent {1:03d} web-", self.log(master) + self.log(worker))
        for process in reversed(processes):
            await self.end(process)
        for home in homes:
            log = self.log(home)
            self.assertNotIn("ERROR", log)
            self.assertNotIn("Traceback", log)
            for n in range(1, 21):
                self.assertNotIn(keyOf(n), log)
            key = home.preauthChild("etc/sslmanager.key").path
            self.assertEqual(0o640, os.stat(key).st_mode & 0o777)

    async def refused(self, home: FilePath[str], endpoint: str, *texts: str) -> None:
        arguments = ["wazuh-cluster", "--home", home.path, "--enrollment", endpoint]
        process = self.spawn(arguments)
        status = await process.ended
        lines = (process.out + process.err).decode("utf-8").strip().splitlines()
        self.assertEqual((1, 1), (status, len(lines)), lines)
        for text in texts:
            self.assertIn(text, lines[0])

    async def test_unusable(self) -> None:
        """
        What cannot be used ends with one line and status 1, before the daemon
        leaves the terminal.
        """
        _, worker = self.cluster("one")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen(1)
            port = taken.getsockname()[1]
            await self.refused(
                worker, f"tcp:{port}:interface=127.0.0.1", "--enrollment", str(port), "in use"
            )
        await self.refused(worker, "tcp:many", "--enrollment", "haproxy:tcp:1515")
        worker.preauthChild("etc/sslmanager.cert").setContent(b"?")
        await self.refused(worker, self.endpoint()[1], "sslmanager.cert")
