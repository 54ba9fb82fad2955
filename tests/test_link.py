"""
Tests for L{wazuh_cluster.worker.link}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import NameInUse, NotTrusted, ProtocolViolation
from wazuh_cluster.model import MASTER, MasterInfo
from wazuh_cluster.protocol import Limits, Peer
from wazuh_cluster.testing.network import MemoryNetwork
from wazuh_cluster.worker.link import LinkCore, makeLink

INFO = MasterInfo("hub", "", "", 1, b"h" * 16)


class PlainTrust:
    """
    Trusts everybody at once.
    """

    def wrapClient(self, factory: Any, clock: Any) -> Any:
        return factory


class Owner:
    """
    A worker whose Hello the test answers.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.peers: list[Peer] = []
        self.handshakes: list[Callable[[Peer], None]] = []
        self.greetings: list[Deferred[MasterInfo]] = []
        self.story: list[Any] = []

    def buildPeer(self, handshaken: Callable[[Peer], None]) -> Peer:
        peer = Peer(MASTER, [], self.clock, Limits(), handshaken)
        self.peers.append(peer)
        return peer

    async def greet(self, peer: Peer) -> MasterInfo:
        greeting: Deferred[MasterInfo] = Deferred()
        self.greetings.append(greeting)
        return await greeting

    def linkUp(self, peer: Peer, master: MasterInfo) -> None:
        peer.admit()
        self.story.append("up")

    def linkDown(self, reason: Failure, joined: bool, delay: float) -> None:
        self.story.append(("down", type(reason.value).__name__, joined, delay))


class LinkTests(SynchronousTestCase):
    """
    The link joins, joins again, and stops from every state.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.owner = Owner(self.clock)
        self.core = LinkCore(
            self.owner,
            self.network.client("master", source="worker"),
            PlainTrust(),  # type: ignore[arg-type]
            self.clock,
            lambda attempts: 2.0**attempts,
        )
        self.link = makeLink(self.core)

    def listen(self) -> None:
        self.network.server("master").listen(Factory.forProtocol(Protocol))
        self.clock.advance(0)

    def start(self) -> None:
        self.link.start()
        self.clock.advance(0)

    def handshake(self) -> None:
        self.owner.peers[-1].handshakeCompleted()

    def join(self) -> None:
        self.listen()
        self.start()
        self.handshake()
        self.owner.greetings[-1].callback(INFO)

    def assertStops(self) -> None:
        """
        It stops, leaves nothing behind, and can be started again.
        """
        for _ in range(2):
            stopped: Deferred[None] = Deferred()
            self.core.stopWaiters.append(stopped)
            self.link.stop()
            self.clock.pump([0, 0])
            self.successResultOf(stopped)
            self.assertEqual([], self.clock.getDelayedCalls())
            self.assertEqual({}, self.network.transports)
        self.start()
        self.assertNotEqual([], self.clock.getDelayedCalls())
        self.link.stop()
        self.clock.pump([0, 0])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_joins(self) -> None:
        """
        Connected, greeted, joined.
        """
        self.join()
        self.assertEqual(["up"], self.owner.story)
        self.assertStops()

    def test_stopIdle(self) -> None:
        """
        A link that was never started stops.
        """
        self.assertStops()

    def test_stopConnecting(self) -> None:
        """
        One that waits for the handshake.
        """
        self.listen()
        self.start()
        self.assertStops()

    def test_stopBeforeConnected(self) -> None:
        """
        One that waits for the connection.
        """
        self.listen()
        self.link.start()
        self.assertStops()

    def test_stopGreeting(self) -> None:
        """
        One that waits for the answer to Hello.
        """
        self.listen()
        self.start()
        self.handshake()
        self.assertStops()
        self.owner.greetings[0].callback(INFO)
        self.assertEqual([], [each for each in self.owner.story if each == "up"])

    def test_stopWaiting(self) -> None:
        """
        One that waits for its next attempt.
        """
        self.start()
        self.assertEqual("down", self.owner.story[0][0])
        self.assertStops()

    def test_backsOff(self) -> None:
        """
        Attempts that fail come further and further apart; after a join the
        wait is short again.
        """
        self.start()
        self.clock.pump([2, 0, 4, 0])
        delays = [each[3] for each in self.owner.story]
        self.assertEqual([2.0, 4.0, 8.0], delays)
        self.listen()
        self.clock.advance(8)
        self.clock.advance(0)
        self.handshake()
        self.owner.greetings[-1].callback(INFO)
        self.clock.advance(10)
        self.network.cut("worker")
        self.assertEqual(("down", "ConnectionLost", True, 2.0), self.owner.story[-1])
        self.assertStops()

    def test_cutAgainAndAgain(self) -> None:
        """
        However often a link is cut, the next attempt comes soon.
        """
        self.join()
        for _ in range(3):
            self.network.cut("worker")
            self.clock.pump([2, 0])
            self.handshake()
            self.owner.greetings[-1].callback(INFO)
        self.assertEqual([2.0] * 3, [each[3] for each in self.owner.story if each != "up"])

    def test_violatedAgainAndAgain(self) -> None:
        """
        Links that end because the master breaks the protocol come further
        and further apart, for the next one will end so too.
        """
        self.join()
        for delay in (2, 4, 8):
            self.owner.peers[-1].abort(ProtocolViolation("no"))
            self.clock.advance(0)
            self.assertEqual(delay, self.owner.story[-1][3])
            self.clock.pump([delay, 0])
            self.handshake()
            self.owner.greetings[-1].callback(INFO)

    def test_refused(self) -> None:
        """
        A refusal closes the connection, and the next attempt follows.
        """
        self.listen()
        self.start()
        self.handshake()
        self.owner.greetings[0].errback(NameInUse("taken"))
        self.assertEqual([("down", "NameInUse", False, 2.0)], self.owner.story)
        self.clock.pump([0, 0])
        self.assertEqual({}, self.network.transports)
        self.clock.advance(2)
        self.clock.advance(0)
        self.assertEqual(2, len(self.owner.peers))
        self.assertStops()

    def test_lostBeforeTheHandshake(self) -> None:
        """
        A connection that is lost before the handshake tells why.
        """
        self.listen()
        self.start()
        self.owner.peers[0].connectionLost(Failure(NotTrusted("no TLS")))
        self.assertEqual([("down", "NotTrusted", False, 2.0)], self.owner.story)

    def test_lostWhileGreeting(self) -> None:
        """
        One that is lost before Hello was answered is told once, though the
        answer fails too.
        """
        self.listen()
        self.start()
        self.handshake()
        self.network.cut("worker")
        self.owner.greetings[0].errback(NotTrusted("late"))
        self.assertEqual(1, len(self.owner.story))
        self.assertStops()

    def test_retryNow(self) -> None:
        """
        A wait can be cut short; at other times that changes nothing.
        """
        self.start()
        self.listen()
        self.link.retry()
        self.clock.advance(0)
        self.handshake()
        self.owner.greetings[-1].callback(INFO)
        self.link.retry()
        self.assertEqual("up", self.owner.story[-1])
        self.assertStops()

    def test_strayConnection(self) -> None:
        """
        A second connection of the same attempt is closed.
        """
        self.join()
        stray = self.owner.buildPeer(lambda _: None)
        self.network.client("master").connect(Factory.forProtocol(lambda: stray))
        self.clock.advance(0)
        self.link._handshaken(stray)
        self.clock.advance(0)
        self.assertFalse(stray.live)
        self.assertEqual(["up"], self.owner.story)
        self.assertStops()
