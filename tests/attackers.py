"""
Hostile peers for tests, over real loopback sockets: without the key and with
it, against a master and against a worker.

They speak the wire themselves: bytes and boxes of the test's own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from hashlib import md5, sha256
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import (
    IHandshakeListener,
    IListeningPort,
    IProtocolFactory,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.protocols.amp import AmpBox
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.clustercase import Story
from wazuh_cluster.home import Home, makeHome
from wazuh_cluster.integrity import DirectoryTree
from wazuh_cluster.logline import LineFormat
from wazuh_cluster.master import MasterService
from wazuh_cluster.model import MASTER, WORKER, Identity, NodeName
from wazuh_cluster.protocol import Limits
from wazuh_cluster.protocol.boxes import BoxParser
from wazuh_cluster.testing.trust import KEY, OneProtocol, testKey, testTrust
from wazuh_cluster.trust.tls import ConnectionCreator, makeContext
from wazuh_cluster.worker import WorkerService

#: How long anything may take to come true.
PATIENCE = 60.0

#: What a node that is attacked allows: short times, for each is waited for; but
#: not so short that a busy machine breaks a good link.
QUICK = Limits(greetTimeout=3.0, stallTimeout=3.0, probeTimeout=3.0)


def box(**values: Any) -> bytes:
    """
    A box as bytes. Numbers and texts are written as nodes write them.
    """
    encoded = {
        name.encode("ascii"): value if isinstance(value, bytes) else str(value).encode("utf-8")
        for name, value in values.items()
    }
    return AmpBox(encoded).serialize()


def hello(name: str, **values: Any) -> bytes:
    """
    A Hello that a master accepts, but for what C{values} say.
    """
    return box(
        **{
            "_command": "Hello",
            "_ask": "hello",
            "cluster": "wazuh",
            "name": name,
            "role": "worker",
            "oldest": 1,
            "newest": 1,
            "homeId": name.encode("ascii").ljust(16, b".")[:16],
            "nonce": b"n" * 16,
            "software": "an attacker",
            "wazuh": "",
            **values,
        }
    )


def keepAlive(ask: object = "k") -> bytes:
    """
    A question.
    """
    return box(_command="KeepAlive", _ask=ask, clock=1)


def requestFiles(wants: int = 1, transfer: int = 3, window: int = 100_000) -> bytes:
    """
    A request for files; the list of wants is to follow.
    """
    return box(
        _command="RequestFiles",
        _ask=f"f{transfer}",
        wants=wants,
        transfer=transfer,
        window=window,
        algorithm="md5",
    )


def chunk(data: bytes, sequence: int = 0, transfer: int = 1) -> bytes:
    """
    A piece of a transfer.
    """
    return box(_command="FileChunk", transfer=transfer, sequence=sequence, data=data)


def end(content: bytes, transfer: int = 1, **values: Any) -> bytes:
    """
    The end of a transfer of that content, but for what C{values} say.
    """
    right = {"size": len(content), "digest": sha256(content).digest()}
    return box(_command="EndTransfer", transfer=transfer, **{**right, **values})


def wantsOf(
    *paths: bytes, offset: int = 0, size: int = 16_000_000, count: int | None = None
) -> bytes:
    """
    A list of wants, whatever its paths are.

    @param size: of each file; of one that has become shorter nothing is sent.
    """
    body = b"".join(
        struct.pack("!H", len(path)) + path + struct.pack("!QQ", offset, size) + b"d" * 16
        for path in paths
    )
    return struct.pack("!4sBI", b"wcW1", 16, len(paths) if count is None else count) + body


def manifestOf(*files: tuple[bytes, bytes], count: int | None = None, helds: int = 0) -> bytes:
    """
    A manifest of paths and contents, in the order given, whatever they are.

    @param count: how many files it says to have.
    """
    head = b"WCMF\x01\x03md5" + struct.pack("!II", len(files) if count is None else count, helds)
    body = b"".join(
        struct.pack("!HQq", len(path), len(content), 1000) + path + md5(content).digest()
        for path, content in files
    )
    return head + body + sha256(head + body).digest()


@implementer(IHandshakeListener)
class Attacker(Protocol):
    """
    One end of a connection, which says what the test wants.

    @ivar boxes: what came, if it was boxes.
    @ivar ready: fires when TLS is through.
    @ivar lost: fires when the other end has ended the connection.
    @ivar gone: whether it has.
    @ivar lively: whether to answer keep-alives.
    """

    lively = False

    # Protocol's is an ITransport, which cannot be paused or aborted.
    transport: Any

    def __init__(self) -> None:
        self.received = bytearray()
        self.boxes: list[AmpBox] = []
        self.ready: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self.gone = False
        self._waiting: dict[bytes, Deferred[None]] = {}
        self._dripping: LoopingCall | None = None
        self._parser = BoxParser(self.boxReceived, 1000, 1 << 20)

    def handshakeCompleted(self) -> None:
        self.ready.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self.received += data[:1000]
        if self.ready.called:
            self._parser.feed(data)

    def boxReceived(self, box: AmpBox) -> None:
        self.boxes.append(box)
        if self.lively and box.get(b"_command") == b"KeepAlive":
            self.say(AmpBox({b"_answer": box[b"_ask"], b"clock": b"1"}).serialize())
        waiting = self._waiting.pop(box.get(b"_answer", b""), None)
        if waiting is not None:
            waiting.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone = True
        if self._dripping is not None and self._dripping.running:
            self._dripping.stop()
        self.lost.callback(None)
        if not self.ready.called:
            self.ready.addErrback(lambda _: None)
            self.ready.errback(reason)

    def say(self, data: bytes) -> None:
        """
        Write, if there is somebody to write to.
        """
        if not self.gone:
            self.transport.write(data)

    def drip(self, data: bytes) -> None:
        """
        Write a byte now and then.
        """
        drops = iter(data)
        self._dripping = LoopingCall(lambda: self.say(bytes([next(drops)])))
        self._dripping.start(0.1).addErrback(lambda failure: failure.trap(StopIteration))

    def whenAnswered(self, ask: str) -> Deferred[None]:
        """
        Fires when a question is answered, if it ever is.
        """
        waiting: Deferred[None] = Deferred()
        self._waiting[ask.encode("ascii")] = waiting
        return waiting

    def answered(self, ask: object) -> AmpBox | None:
        """
        The answer to a question, if it came.
        """
        tag = str(ask).encode("ascii")
        return next((each for each in self.boxes if each.get(b"_answer") == tag), None)


class HostileMaster(Attacker):
    """
    A master that answers as the test wants.

    @ivar usual: what a good one answers, by command.
    @ivar answers: the values to answer a command with; C{None} for no answer
        at all. A function gets the question, and may say more.
    @ivar asked: the questions that came.
    """

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__()
        self.asked: list[AmpBox] = []
        root = b"r" * 32
        about = {"master": b"M" * 16, "number": 1, "root": root}
        self.usual: dict[str, Any] = {
            "Hello": {
                "name": "hub",
                "version": 1,
                "homeId": b"M" * 16,
                "software": "an attacker",
                "wazuh": "",
            },
            "KeepAlive": {"clock": 1},
            "CheckIntegrity": {"upToDate": False, "algorithm": "md5", **about},
            "RequestManifest": about,
            "RequestFiles": {"window": 100_000},
            "ReportIntegrity": {},
        }
        self.answers = {**self.usual, **answers}

    def boxReceived(self, question: AmpBox) -> None:
        super().boxReceived(question)
        if b"_command" not in question:
            return
        self.asked.append(question)
        answer = self.answers.get(question[b"_command"].decode("ascii"))
        if callable(answer):
            answer = answer(self, question)
        if answer is not None and b"_ask" in question:
            self.say(box(_answer=question[b"_ask"], **answer))

    def count(self, command: bytes) -> int:
        """
        How often a command came.
        """
        return sum(each[b"_command"] == command for each in self.asked)

    def sends(self, question: AmpBox, stream: bytes, pack: bool = False) -> dict[str, Any]:
        """
        Send the transfer that a question asked for, all at once.

        @param pack: whether it is one, which has no digest.
        @return: what to answer.
        """
        number = int(question[b"transfer"])
        for sequence, start in enumerate(range(0, len(stream), 65_000)):
            self.say(chunk(stream[start : start + 65_000], sequence, number))
        if pack:
            self.say(box(_command="EndTransfer", transfer=number, size=len(stream)))
        else:
            self.say(end(stream, number))
        usual: dict[str, Any] = self.usual[question[b"_command"].decode("ascii")]
        return usual


class _OneRecordEach(TLSMemoryBIOProtocol):
    """
    TLS that makes a record of each write.
    """


class Attacks:
    """
    Connects attackers to a master.

    @ivar port: the master's, on this machine.
    @ivar key: what who holds the key holds.
    @ivar attackers: all that connected.
    """

    port: int
    key = KEY
    attackers: list[Attacker]

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """
        Wait for something to come true.
        """
        raise NotImplementedError

    async def endAttackers(self) -> None:
        """
        End those that are not gone.
        """
        left = [each for each in self.attackers if each.transport is not None and not each.gone]
        for attacker in left:
            attacker.transport.abortConnection()
        for attacker in left:
            await attacker.lost

    async def connect(
        self, wrap: Callable[[IProtocolFactory], IProtocolFactory] = lambda factory: factory
    ) -> Attacker:
        """
        Connect to the master, by default without TLS.
        """
        attacker = Attacker()
        self.attackers.append(attacker)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port)
        factory: Any = wrap(OneProtocol(attacker))
        await endpoint.connect(factory)
        return attacker

    def foreign(
        self, context: SSL.Context, eachWrite: bool = False
    ) -> Callable[[IProtocolFactory], IProtocolFactory]:
        """
        TLS with a context of the test's own.

        @param eachWrite: whether each write is a record of its own.
        """

        def wrap(factory: IProtocolFactory) -> IProtocolFactory:
            creator = ConnectionCreator(lambda: context)
            wrapped = TLSMemoryBIOFactory(creator, True, factory, clock=reactor)
            if eachWrite:
                wrapped.protocol = _OneRecordEach
            return wrapped

        return wrap

    def ownContext(self, name: str) -> SSL.Context:
        """
        A context with the certificate of a worker of that name.
        """
        return makeContext(testKey(self.key).derive().issue(Identity("wazuh", WORKER, name)))

    async def trusted(self, name: str, eachWrite: bool = False) -> Attacker:
        """
        Connect with the key, as a worker of that name, and say nothing.
        """
        attacker = await self.connect(self.foreign(self.ownContext(name), eachWrite))
        await attacker.ready
        return attacker

    async def joined(self, name: str, eachWrite: bool = False, **values: Any) -> Attacker:
        """
        Join, as a worker of that name.
        """
        attacker = await self.trusted(name, eachWrite)
        attacker.say(hello(name, **values))
        await self.until(lambda: attacker.gone or attacker.answered("hello"), "an answer")
        return attacker


class StrangersCase(Attacks, TestCase):
    """
    A master and a good worker of it, in this process and over real sockets, and
    whoever comes to harm them.

    @ivar lines: what the log of both says, from INFO on.
    """

    timeout = 120

    def setUp(self) -> None:
        self.lines: list[str] = []
        self.attackers: list[Attacker] = []
        form = LineFormat("Master", LogLevel.info)

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            if str(event.get("log_namespace", "")).startswith("wazuh_cluster"):
                for line in form.lines(event, 0.0):
                    self.lines.append(line.data.decode("utf-8"))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.addCleanup(self.endAttackers)

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """
        Wait for something to come true.
        """
        deadline = reactor.seconds() + PATIENCE
        while not (result := condition()):
            if reactor.seconds() > deadline:
                self.fail(f"{what}: not within {PATIENCE:g} s\n" + "".join(self.lines[-20:]))
            await deferLater(reactor, 0.01)
        return result

    async def rest(self, seconds: float) -> None:
        """
        Let an attack go on for that long.
        """
        await deferLater(reactor, seconds)

    def makeHome(self, name: str) -> FilePath[str]:
        home = FilePath(self.mktemp() + "-" + name)
        makeHome(Home(home.path))
        return home

    # The nodes.

    async def startMaster(self, limits: Limits = QUICK) -> None:
        """
        Start a master on a port of its own.
        """
        self.masterHome = self.makeHome("master")
        self.master = MasterService(
            reactor,
            NodeName("hub"),
            testTrust(MASTER, "hub"),
            TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"),
            DirectoryTree(self.masterHome.path),
            limits=limits,
            integrityInterval=3600.0,
        )
        self.write("etc/rules/local_rules.xml", b"<group>0</group>")
        self.master.startService()
        self.addCleanup(self.master.stopService)
        listening: Any = await self.master.whenListening()
        self.port: int = listening.getHost().port
        await self.until(lambda: self.master.integrity.generation, "a generation")

    async def startWorker(
        self, name: str = "good", port: int | None = None, limits: Limits = QUICK
    ) -> WorkerService:
        """
        Start a good worker.
        """
        self.story = Story()
        self.workerHome = self.makeHome(name)
        worker = WorkerService(
            reactor,
            NodeName(name),
            testTrust(WORKER, name),
            TCP4ClientEndpoint(reactor, "127.0.0.1", self.port if port is None else port),
            DirectoryTree(self.workerHome.path),
            limits=limits,
            observer=self.story,
            integrityInterval=3600.0,
            jitter=lambda: 0.0,
        )
        worker.startService()
        self.addCleanup(worker.stopService)
        return worker

    async def startBoth(self, limits: Limits = QUICK) -> None:
        """
        Start a master and a good worker, and wait until the worker has the
        master's files.
        """
        await self.startMaster(limits)
        await self.startWorker()
        await self.until(self.hasEdit, "the first sync")

    def write(self, path: str, content: bytes) -> None:
        target = self.masterHome.preauthChild(path)
        if not target.parent().exists():
            target.parent().makedirs()
        target.setContent(content)

    def hasEdit(self) -> bool:
        """
        Whether the good worker has the master's rules.
        """
        path = "etc/rules/local_rules.xml"
        here = self.workerHome.preauthChild(path)
        there = self.masterHome.preauthChild(path)
        return here.exists() and here.getContent() == there.getContent()

    async def assertOthersServed(self) -> None:
        """
        The good worker was joined all the time, and gets what changes now.
        """
        self.write("etc/rules/local_rules.xml", b"<group>%f</group>" % reactor.seconds())
        await self.master.fileIntegrity.runNow()
        await self.until(self.hasEdit, "an edit")
        self.assertEqual([], self.story.reasons, self.lines)

    def sessions(self) -> int:
        """
        How many connections the master has besides the good worker's.
        """
        doorsteps = self.master._doorsteps
        assert doorsteps is not None
        return len(self.master._factory.sessions) + len(doorsteps) - 1

    async def untilClosed(self, *attackers: Attacker) -> None:
        """
        Wait until the node has ended these, and keeps nothing of them.
        """
        for attacker in attackers:
            await self.until(lambda: attacker.gone, "the end")  # noqa: B023

    async def hostileMaster(self, **answers: Any) -> list[HostileMaster]:
        """
        Listen as a master that holds the key.

        @return: the connections that come, as they come.
        """
        came: list[HostileMaster] = []

        def build() -> Protocol:
            came.append(HostileMaster(answers))
            self.attackers.append(came[-1])
            return came[-1]

        factory = Factory.forProtocol(build)
        factory.noisy = False
        await self.listen(testTrust(MASTER, "hub").wrapServer(factory, reactor))
        return came

    async def listen(self, factory: IProtocolFactory) -> int:
        """
        Listen on a port of its own, at which workers look for their master
        unless they are told another.
        """
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port: IListeningPort = await endpoint.listen(factory)
        self.addCleanup(port.stopListening)
        address: Any = port.getHost()
        self.port = address.port
        return self.port
