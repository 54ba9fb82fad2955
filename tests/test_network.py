"""
Tests for the transports of L{wazuh_cluster.testing.network}: what they do to
protocols and producers is what a socket's do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IPullProducer,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from wazuh_cluster.testing.network import HIGH_WATER, MemoryNetwork

if TYPE_CHECKING:
    _Case = TestCase
else:
    _Case = object

#: More than the buffers of a system take for a peer that reads nothing.
MUCH = 64 * 1024 * 1024


class End(Protocol):
    """
    One end, which notes what it is told.
    """

    transport: Any

    def __init__(self) -> None:
        self.received = 0
        self.last = b""
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        self.last = data[-1:]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason


@implementer(IHalfCloseableProtocol)
class HalfCloseable(End):
    """
    An end that goes on when the other one writes no more.
    """

    readLost = writeLost = False

    def readConnectionLost(self) -> None:
        self.readLost = True

    def writeConnectionLost(self) -> None:
        self.writeLost = True


@implementer(IPushProducer)
class Pusher:
    """
    Writes as long as it may, up to an amount.
    """

    def __init__(self, end: End, amount: int) -> None:
        self.end = end
        self.left = amount
        self.pauses = 0
        self.paused = False
        self.stopped = False

    def push(self, size: int = 16 * 1024) -> None:
        while self.left and not self.paused:
            size = min(size, self.left)
            self.left -= size
            self.end.transport.write(b"x" * size)

    def pauseProducing(self) -> None:
        self.pauses += 1
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        self.push()

    def stopProducing(self) -> None:
        self.stopped = True


@implementer(IPullProducer)
class Puller:
    """
    Writes when it is asked.
    """

    def __init__(self, end: End, times: int) -> None:
        self.end = end
        self.times = times

    def resumeProducing(self) -> None:
        if self.times:
            self.times -= 1
            self.end.transport.write(b"y" * 1000)
        else:
            self.end.transport.unregisterProducer()

    def stopProducing(self) -> None:
        pass


class TransportContract(_Case):
    """
    What holds for the two ends of any connection.
    """

    async def connect(self, one: End, two: End) -> None:
        """
        Override: connect C{one} to a port that serves C{two}.
        """
        raise NotImplementedError

    async def until(self, condition: Callable[[], bool]) -> None:
        """
        Override: wait until something is so.
        """
        raise NotImplementedError

    async def calm(self) -> None:
        """
        Override: let pass what is under way.
        """
        raise NotImplementedError

    async def pair(self, kind: type[End] = End) -> tuple[Any, Any]:
        one, two = kind(), kind()
        await self.connect(one, two)
        await self.until(lambda: bool(one.transport and two.transport))
        return one, two

    async def test_interface(self) -> None:
        """
        A transport is a socket's.
        """
        one, _ = await self.pair()
        verifyObject(ITCPTransport, one.transport)
        one.transport.setTcpNoDelay(True)
        self.assertTrue(one.transport.getTcpNoDelay())
        one.transport.setTcpKeepAlive(False)
        self.assertFalse(one.transport.getTcpKeepAlive())

    async def test_flowControl(self) -> None:
        """
        A producer is paused when more than the high-water mark waits, as long
        as the other end reads nothing, and resumed when all has left; then
        everything arrives.
        """
        one, two = await self.pair()
        two.transport.pauseProducing()
        pusher = Pusher(one, MUCH)
        one.transport.registerProducer(pusher, True)
        pusher.push()
        await self.calm()
        self.assertTrue(pusher.paused)
        self.assertTrue(pusher.left > 0)
        two.transport.resumeProducing()
        await self.until(lambda: two.received == MUCH)
        self.assertTrue(pusher.pauses > 1)
        one.transport.unregisterProducer()

    async def test_highWater(self) -> None:
        """
        One that writes no more than the mark at once is not paused.
        """
        one, two = await self.pair()
        pusher = Pusher(one, HIGH_WATER)
        one.transport.registerProducer(pusher, True)
        pusher.push(HIGH_WATER)
        self.assertEqual(0, pusher.pauses)
        await self.until(lambda: two.received == HIGH_WATER)
        pusher.left = HIGH_WATER + 1
        pusher.push(HIGH_WATER + 1)
        self.assertEqual(1, pusher.pauses)
        await self.until(lambda: not pusher.paused)
        one.transport.unregisterProducer()

    async def test_pull(self) -> None:
        """
        A pull producer is asked for more whenever all has left.
        """
        one, two = await self.pair()
        one.transport.registerProducer(Puller(one, 5), False)
        await self.until(lambda: two.received == 5000)

    async def test_loseConnection(self) -> None:
        """
        What was written before arrives before the connection is closed, and
        nothing more is read.
        """
        one, two = await self.pair()
        one.transport.write(b"z" * MUCH)
        one.transport.loseConnection()
        one.transport.write(b"more")
        await self.until(lambda: two.reason is not None and one.reason is not None)
        self.assertEqual((MUCH + 4, 0), (two.received, one.received))
        one.reason.trap(ConnectionDone)

    async def test_readsNoMore(self) -> None:
        """
        Who closes a connection receives nothing more.
        """
        one, two = await self.pair()
        one.transport.write(b"z" * MUCH)
        one.transport.loseConnection()
        two.transport.write(b"too late")
        await self.until(lambda: two.reason is not None and one.reason is not None)
        self.assertEqual(0, one.received)

    async def test_loseConnectionWithProducer(self) -> None:
        """
        A connection whose producer is paused is not closed before that had its
        turn.
        """
        one, two = await self.pair()
        two.transport.pauseProducing()
        pusher = Pusher(one, MUCH)
        one.transport.registerProducer(pusher, True)
        pusher.push()
        one.transport.loseConnection()
        two.transport.resumeProducing()
        await self.until(lambda: two.reason is not None and one.reason is not None)
        self.assertEqual((0, MUCH), (pusher.left, two.received))

    async def test_abortConnection(self) -> None:
        """
        An aborted connection loses what was under way; its producer is stopped,
        and nothing more is received.
        """
        one, two = await self.pair()
        two.transport.pauseProducing()
        pusher = Pusher(one, MUCH)
        one.transport.registerProducer(pusher, True)
        pusher.push()
        two.transport.write(b"under way")
        one.transport.abortConnection()
        one.transport.abortConnection()
        self.assertIsNone(one.reason)
        await self.until(lambda: one.reason is not None)
        two.transport.resumeProducing()
        await self.until(lambda: two.reason is not None)
        self.assertTrue(pusher.stopped)
        self.assertEqual(0, one.received)
        self.assertTrue(two.received < MUCH)
        one.reason.trap(ConnectionAborted)
        two.reason.trap(ConnectionLost)

    async def test_afterTheEnd(self) -> None:
        """
        What is written to a lost connection is dropped, and a producer that is
        registered then is stopped.
        """
        one, two = await self.pair()
        transport = one.transport
        two.transport.abortConnection()
        await self.until(lambda: one.reason is not None)
        transport.write(b"dropped")
        transport.loseConnection()
        pusher = Pusher(one, 1)
        transport.registerProducer(pusher, True)
        self.assertTrue(pusher.stopped)

    async def test_halfClose(self) -> None:
        """
        An end that writes no more still receives, if both protocols want that.
        """
        one, two = await self.pair(HalfCloseable)
        one.transport.write(b"last words")
        one.transport.loseWriteConnection()
        await self.until(lambda: bool(two.readLost and one.writeLost))
        self.assertEqual((10, None), (two.received, two.reason))
        two.transport.write(b"answer")
        await self.until(lambda: one.received == 6)
        two.transport.loseConnection()
        one.transport.loseConnection()
        await self.until(lambda: bool(one.reason and two.reason))

    async def test_halfCloseOfOthers(self) -> None:
        """
        For a protocol that does not know of it, the connection is closed.
        """
        one, two = await self.pair()
        one.transport.write(b"last words")
        one.transport.loseWriteConnection()
        await self.until(lambda: bool(one.reason and two.reason))
        self.assertEqual(10, two.received)
        two.reason.trap(ConnectionDone)


class MemoryTransportTests(TransportContract, TestCase):
    """
    The transports in memory.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)

    async def connect(self, one: End, two: End) -> None:
        factory = Factory.forProtocol(lambda: two)
        await self.network.server("there").listen(factory)
        self.network.client("there").connect(Factory.forProtocol(lambda: one))
        self.clock.advance(0)

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(4 * MUCH // HIGH_WATER):
            if condition():
                return
            self.clock.advance(0)
        self.fail("it did not become so")

    async def calm(self) -> None:
        self.clock.pump([0] * 100)


class SocketTransportTests(TransportContract, TestCase):
    """
    Those of real sockets, by which the others are judged.
    """

    async def connect(self, one: End, two: End) -> None:
        from twisted.internet import reactor

        server: Any = Factory.forProtocol(lambda: two)
        client: Any = Factory.forProtocol(lambda: one)
        server.noisy = client.noisy = False
        port: Any = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(server)
        self.addCleanup(port.stopListening)
        self.addCleanup(self.close, one, two)
        await TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port).connect(client)

    async def close(self, *ends: End) -> None:
        for end in ends:
            if end.reason is None:
                end.transport.abortConnection()
        await self.until(lambda: all(end.reason is not None for end in ends))

    def until(self, condition: Callable[[], bool]) -> Any:
        return Deferred.fromCoroutine(self._until(condition))

    async def _until(self, condition: Callable[[], bool]) -> None:
        from twisted.internet import reactor

        for _ in range(12_000):
            if condition():
                return
            await deferLater(reactor, 0.005)
        self.fail("it did not become so")

    async def calm(self) -> None:
        from twisted.internet import reactor

        for _ in range(50):
            await deferLater(reactor, 0)
