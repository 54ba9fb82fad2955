"""
For tests: cluster keys that are derived once per process, trusts made from
them, and two factories connected in memory by a transport that loses on abort.
"""

from __future__ import annotations

from functools import cache

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionClosed, ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump
from zope.interface import implementer

from wazuh_cluster.model import Identity
from wazuh_cluster.trust import ClusterKey, KeyTrust

KEY = "4fR7mQ2xW9aLc6ZtB1vN8hGd3KpY5sEu"
OTHER = "u5E3sYpKdGh8NvB1tZ6cLa9Wx2Qm7Rf4"


@cache
def testKey(text: str = KEY) -> ClusterKey:
    """
    A cluster key, the same object each time, so that it is derived once.
    """
    return ClusterKey(text)


def testTrust(role: str, name: str, cluster: str = "wazuh", key: str = KEY) -> KeyTrust:
    """
    The trust of a node that holds L{KEY}, or another key.
    """
    return KeyTrust(testKey(key), Identity(cluster, role, name))


# Names that begin with "test" are not tests to trial, but are to others.
testKey.__test__ = False  # type: ignore[attr-defined]
testTrust.__test__ = False  # type: ignore[attr-defined]


@implementer(IHandshakeListener)
class Recorder(Protocol):
    """
    A protocol that writes down what happens to it.

    @ivar events: C{"connected"}, C{"handshake"}, C{"data"} (once), C{"lost"},
        in the order in which they happened.
    @ivar received: all that came.
    @ivar reason: why the connection was lost.
    """

    def __init__(self, early: bytes = b"") -> None:
        """
        @param early: what to write as soon as there is a transport, before the
            handshake.
        """
        self.events: list[str] = []
        self.received = b""
        self.reason: Failure | None = None
        self._early = early

    def connectionMade(self) -> None:
        """
        There is a transport.
        """
        self.events.append("connected")
        if self._early:
            self.write(self._early)

    def handshakeCompleted(self) -> None:
        """
        The peer is trusted.
        """
        self.events.append("handshake")

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes came.
        """
        if not self.received:
            self.events.append("data")
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The connection is lost.
        """
        self.events.append("lost")
        self.reason = reason

    def write(self, data: bytes) -> None:
        """
        Write to the transport.
        """
        assert self.transport is not None
        self.transport.write(data)


class OneProtocol(Factory):
    """
    A factory that hands out one given protocol.
    """

    noisy = False

    def __init__(self, built: IProtocol | None) -> None:
        self.built = built

    def buildProtocol(self, addr: object) -> IProtocol | None:  # type: ignore[override]
        """
        That protocol, or none.
        """
        return self.built


class AbortableTransport(FakeTransport):
    """
    A memory transport whose C{abortConnection} loses what was not sent, as a
    socket's does.
    """

    disconnectReason: ConnectionClosed = ConnectionDone()  # type: ignore[assignment]

    def abortConnection(self) -> None:
        """
        Drop what waits, and end.
        """
        self.stream = []
        self.disconnecting = True
        self.disconnectReason = ConnectionAborted()


class MemoryLink:
    """
    A connection in memory between two protocols, moved by hand.
    """

    def __init__(self, server: IProtocol, client: IProtocol, clock: Clock) -> None:
        """
        Connect them; nothing moves before L{flush}.
        """
        self.clock = clock
        address = IPv4Address("TCP", "10.0.0.1", 1516)
        self.serverTransport = AbortableTransport(
            server, True, address, IPv4Address("TCP", "10.0.0.7", 40000)
        )
        self.clientTransport = AbortableTransport(
            client, False, IPv4Address("TCP", "10.0.0.7", 40000), address
        )
        server.makeConnection(self.serverTransport)
        client.makeConnection(self.clientTransport)
        self._pump = IOPump(
            client, server, self.clientTransport, self.serverTransport, False, clock=clock
        )

    def flush(self) -> None:
        """
        Move bytes, and do what is due now, until nothing moves any more.
        """
        self._pump.flush()

    def step(self) -> bool:
        """
        Move what waits at this moment, once. Return whether anything moved.
        """
        return bool(self._pump.pump())

    def close(self) -> None:
        """
        End it from below, so that no delayed call is left.
        """
        self.serverTransport.loseConnection()
        self.flush()
        for transport in (self.serverTransport, self.clientTransport):
            if not transport.disconnected:
                transport.disconnected = True
                transport.reportDisconnect()


def connectFactories(
    server: IProtocolFactory, client: IProtocolFactory, clock: Clock
) -> MemoryLink:
    """
    Connect a protocol of each factory in memory.
    """
    address = IPv4Address("TCP", "10.0.0.1", 1516)
    serverProtocol = server.buildProtocol(IPv4Address("TCP", "10.0.0.7", 40000))
    clientProtocol = client.buildProtocol(address)
    assert serverProtocol is not None and clientProtocol is not None
    return MemoryLink(serverProtocol, clientProtocol, clock)
