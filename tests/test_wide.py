"""
Tests for L{wazuh_cluster.trust.wide}.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides
from zope.interface.verify import verifyObject

from wazuh_cluster.interfaces import IWideTransport
from wazuh_cluster.model import MASTER, WORKER
from wazuh_cluster.testing.peers import connectPeers
from wazuh_cluster.testing.trust import (
    MemoryLink,
    OneProtocol,
    Recorder,
    connectFactories,
    testTrust,
)
from wazuh_cluster.trust import wide
from wazuh_cluster.trust.wide import LEANS_ON, RECORD, STOCK

CONTENT = bytes(range(256)) * 2000


class Counting(Recorder):
    """
    A recorder that counts how often something came.
    """

    pieces = 0

    def dataReceived(self, data: bytes) -> None:
        self.pieces += 1
        super().dataReceived(data)


class Aborting(Recorder):
    """
    A recorder that aborts at the first bytes.
    """

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.transport.abortConnection()


def transportOf(recorder: Recorder) -> Any:
    """
    What a recorder writes to.
    """
    return recorder.transport


def endOf(recorder: Recorder) -> str:
    """
    How a recorder's connection ended.
    """
    assert recorder.reason is not None
    return repr(recorder.reason.value)


class WideTests(SynchronousTestCase):
    """
    A widened link carries the same, with fewer calls.
    """

    def connect(
        self, server: bool = True, client: bool = True, receiver: Recorder | None = None
    ) -> MemoryLink:
        """
        Connect, and widen ends of the link.
        """
        clock = Clock()
        self.server = Recorder()
        self.client = Counting() if receiver is None else receiver
        link = connectFactories(
            testTrust(MASTER, "hub").wrapServer(OneProtocol(self.server), clock),
            testTrust(WORKER, "w1").wrapClient(OneProtocol(self.client), clock),
            clock,
        )
        link.flush()
        self.addCleanup(link.close)
        self.top, bottom = transportOf(self.server), transportOf(self.client)
        self.writes = 0
        below, write = self.top.transport, self.top.transport.write

        def counted(data: bytes) -> None:
            self.writes += 1
            write(data)

        self.patch(below, "write", counted)
        for end, widened in ((self.top, server), (bottom, client)):
            if widened:
                end.widen(2 * STOCK)
        return link

    def test_interface(self) -> None:
        """
        A link's transport can be widened.
        """
        self.connect()
        verifyObject(IWideTransport, self.top)

    def test_sameBytes(self) -> None:
        """
        All arrives in order, whichever ends are widened, and whatever sizes are
        written.
        """
        sizes = (1, 100, RECORD - 1, RECORD, RECORD + 1, 70_000, 300_000)
        for server, client in product((True, False), repeat=2):
            link = self.connect(server, client)
            sent = b""
            for size in sizes:
                self.server.write(CONTENT[:size])
                sent += CONTENT[:size]
                self.client.write(CONTENT[-size:])
            link.flush()
            self.assertEqual(sent, self.client.received)
            self.assertEqual(len(sent), len(self.server.received))

    def test_fewerCalls(self) -> None:
        """
        What is written at once is handed down at once, and what comes at once
        is handed up at once.
        """
        link = self.connect(False, False)
        self.server.write(CONTENT)
        link.flush()
        assert isinstance(self.client, Counting)
        records = -(-len(CONTENT) // RECORD)
        self.assertEqual((records, records), (self.writes, self.client.pieces))
        link = self.connect()
        self.server.write(CONTENT)
        link.flush()
        self.assertEqual((1, 1), (self.writes, self.client.pieces))
        self.assertEqual(CONTENT, self.client.received)

    def test_untouched(self) -> None:
        """
        What does not go beyond Twisted's own size, or comes before the
        handshake, leaves all to Twisted; so does a Twisted that is not as
        expected.
        """
        self.connect(False, False)
        self.top.widen(STOCK)
        self.patch(wide, "LEANS_ON", (*LEANS_ON, "_somethingThatIsGone"))
        self.top.widen(10 * STOCK)
        self.server.write(CONTENT)
        self.assertGreater(self.writes, 10)
        self.patch(wide, "LEANS_ON", LEANS_ON)
        early = testTrust(MASTER, "hub").wrapServer(OneProtocol(Recorder()), Clock())
        built: Any = early.buildProtocol(None)  # type: ignore[arg-type]
        built.wrappedProtocol.widen(10 * STOCK)
        self.assertFalse(built.wrappedProtocol._wide)

    def test_whatItLeansOn(self) -> None:
        """
        The Twisted that is installed has all that is needed.
        """
        self.connect(False, False)
        self.assertEqual([], [name for name in LEANS_ON if not hasattr(self.top, name)])
        for name in ("_write", "_flushReceiveBIO"):
            self.assertIn(name, vars(TLSMemoryBIOProtocol))

    def test_socketWidened(self) -> None:
        """
        The socket's transport below is told the size.
        """
        self.connect(False, False)
        socket = self.top.transport.transport
        socket.bufferSize = socket.SEND_LIMIT = STOCK
        self.top.widen(300_000)
        self.assertEqual((300_000, 300_000), (socket.bufferSize, socket.SEND_LIMIT))

    def test_closed(self) -> None:
        """
        What was written before a connection is closed arrives, and the end is
        seen as without this.
        """
        ends = []
        for widened in (False, True):
            link = self.connect(widened, widened)
            self.server.write(CONTENT)
            self.top.loseConnection()
            link.flush()
            self.assertEqual(CONTENT, self.client.received)
            ends.append((endOf(self.client), endOf(self.server)))
        self.assertEqual(*ends)

    def test_abortedMeanwhile(self) -> None:
        """
        Nothing more is handed up after an abort.
        """
        link = self.connect(receiver=Aborting())
        for _ in range(3):
            self.server.write(CONTENT)
            link.flush()
        self.assertTrue(self.client.received)
        self.assertTrue(CONTENT.startswith(self.client.received))
        self.assertEqual(1, self.client.events.count("lost"))
        self.server.write(CONTENT)

    def test_damaged(self) -> None:
        """
        Bytes that TLS does not accept end the connection, with the same reason
        as without this; what came before them is handed up.
        """
        ends = []
        for widened in (False, True):
            link = self.connect(widened, widened)
            self.server.write(b"before")
            link.step()
            self.top.transport.write(b"\x17\x03\x03\x00\x20" + bytes(32))
            link.flush()
            self.assertEqual(b"before", self.client.received)
            ends.append(endOf(self.client))
        self.assertEqual(*ends)


class AdmittedTests(SynchronousTestCase):
    """
    A link is widened when its peer is admitted.
    """

    def test_admitted(self) -> None:
        """
        Not earlier: strangers cost as little as they can.
        """
        pair = connectPeers(Clock(), admitted=False)
        sizes: list[int] = []
        transport: Any = pair.masterTransport
        transport.widen = sizes.append
        directlyProvides(transport, IWideTransport)
        self.assertEqual([], sizes)
        pair.master.admit()
        self.assertEqual([pair.master.limits.linkBuffer], sizes)
        pair.network.cut("master")
