"""
Tests for L{wazuh_cluster.master.doorstep}.
"""

from __future__ import annotations

from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import NotTrusted, PassedBy, TooBusy
from wazuh_cluster.master.doorstep import DoorstepFactory
from wazuh_cluster.protocol import Limits
from wazuh_cluster.testing.network import MemoryNetwork


class Inside(Protocol):
    """
    What a connection becomes.
    """

    def __init__(self) -> None:
        self.received = b""
        self.gone = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.transport.write(data.upper())  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone = True


class Stranger(Protocol):
    """
    Who connects.
    """

    gone = False
    received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone = True


class DoorstepTests(SynchronousTestCase):
    """
    Nothing is built for who says nothing.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.built: list[Inside] = []
        self.since: list[float | None] = []
        self.departures: list[tuple[str, Exception]] = []
        self.doorsteps = DoorstepFactory(
            Factory.forProtocol(self.build),
            self.clock,
            Limits(greeting=3),
            lambda *departure: self.departures.append(departure),
        )
        self.network.server("master").listen(self.doorsteps)

    def build(self) -> Inside:
        self.since.append(self.doorsteps.since)
        self.built.append(Inside())
        return self.built[-1]

    def connect(self, source: str = "10.0.0.2") -> Stranger:
        stranger = Stranger()
        client = self.network.client("master", source=source)
        client.connect(Factory.forProtocol(lambda: stranger))
        self.clock.advance(0)
        return stranger

    def say(self, stranger: Stranger, data: bytes) -> None:
        assert stranger.transport is not None
        stranger.transport.write(data)
        self.clock.advance(0)

    def test_firstByte(self) -> None:
        """
        The first byte builds what goes on with the connection, to its end.
        """
        stranger = self.connect()
        self.clock.advance(2)
        self.assertEqual([], self.built)
        self.say(stranger, b"h")
        self.assertEqual([0.0], self.since)
        self.assertIsNone(self.doorsteps.since)
        self.say(stranger, b"ello")
        (inside,) = self.built
        self.assertEqual((b"hello", b"HELLO"), (inside.received, stranger.received))
        self.assertEqual([], self.clock.getDelayedCalls())
        self.network.cut("master")
        self.assertTrue(inside.gone)
        self.assertEqual([], self.departures)

    def test_silence(self) -> None:
        """
        Who says nothing for the greeting's time is turned away, each at its
        time.
        """
        first = self.connect()
        self.clock.advance(4)
        second = self.connect("10.0.0.3")
        self.clock.advance(6)
        self.clock.advance(0)
        self.assertEqual((True, False), (first.gone, second.gone))
        self.clock.advance(4)
        self.clock.advance(0)
        self.assertTrue(second.gone)
        self.assertEqual(["10.0.0.2", "10.0.0.3"], [host for host, _ in self.departures])
        self.assertIsInstance(self.departures[0][1], NotTrusted)
        self.assertNotIsInstance(self.departures[0][1], PassedBy)
        self.assertEqual([], self.built)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_passesBy(self) -> None:
        """
        Who goes without a word is told as that.
        """
        stranger = self.connect()
        assert stranger.transport is not None
        stranger.transport.loseConnection()
        self.clock.advance(0)
        self.assertIsInstance(self.departures[0][1], PassedBy)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_crowd(self) -> None:
        """
        When there are too many, the one that waits longest makes room.
        """
        strangers = [self.connect() for _ in range(5)]
        self.assertEqual([True, True, False, False, False], [each.gone for each in strangers])
        self.assertIsInstance(self.departures[0][1], TooBusy)
        self.say(strangers[-1], b"hi")
        self.assertEqual(1, len(self.built))
        self.assertEqual(2, len(self.doorsteps))

    def test_closeAll(self) -> None:
        """
        When the master stops, all go, and nothing is left.
        """
        strangers = [self.connect() for _ in range(2)]
        self.doorsteps.closeAll()
        self.clock.advance(0)
        self.assertTrue(all(each.gone for each in strangers))
        self.assertEqual([], self.clock.getDelayedCalls())
