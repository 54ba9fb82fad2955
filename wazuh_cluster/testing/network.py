"""
A network in memory, on a clock: endpoints whose connections serialise both
ways, have real flow control, and can be stalled and cut.

Nothing happens but when the clock advances; with no latency
C{clock.advance(0)} lets everything happen that can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import (
    CannotListenError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
)
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

#: What a transport takes before it asks its producer to pause.
HIGH_WATER = 64 * 1024


@implementer(IAddress)
@frozen
class MemoryAddress:
    """
    Where a node of a L{MemoryNetwork} is.
    """

    host: str
    port: int


@implementer(ITCPTransport, IConsumer, IPushProducer)
class MemoryTransport:
    """
    One end of a connection. What it wrote is delivered to the other end in
    pieces, later, unless that end has paused reading. It does to its producer and
    its protocol what a socket's transport does.
    """

    disconnecting = False

    def __init__(self, network: MemoryNetwork, host: IAddress, peer: IAddress) -> None:
        self._network = network
        self._host = host
        self._peer = peer
        self._outgoing = bytearray()
        self._producer: Any = None
        self._streaming = True
        self._producerPaused = False
        self._scheduled = False
        self._reading = True
        # This end said that it writes no more, and the other end knows it.
        self._halfClosing = False
        self._halfClosed = False
        self._lost = False
        self.protocol: IProtocol
        self.other: MemoryTransport

    def getPeer(self) -> IAddress:  # type: ignore[override]
        """
        See C{ITransport}.
        """
        return self._peer

    def getHost(self) -> IAddress:  # type: ignore[override]
        """
        See C{ITransport}.
        """
        return self._host

    def getTcpNoDelay(self) -> bool:
        """
        See L{ITCPTransport}.
        """
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Nothing is delayed here that way.
        """

    def getTcpKeepAlive(self) -> bool:
        """
        See L{ITCPTransport}.
        """
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """
        Nobody here looks whether the other end still lives.
        """

    @property
    def lost(self) -> bool:
        """
        Whether this end's connection is gone.
        """
        return self._lost

    @property
    def waiting(self) -> int:
        """
        How many bytes this end wrote that were not delivered yet.
        """
        return len(self._outgoing)

    def write(self, data: bytes) -> None:
        """
        Keep it until it is delivered.
        """
        if self._lost or self._halfClosing:
            return
        self._outgoing += data
        if (
            self._producer is not None
            and self._streaming
            and not self._producerPaused
            and len(self._outgoing) > HIGH_WATER
        ):
            self._producerPaused = True
            self._producer.pauseProducing()
        self.schedule()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        See C{ITransport}.
        """
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """
        Read no more, and close after what was written is delivered. As a socket's,
        it waits for a producer only if that is paused or pulled.
        """
        if self._lost or self.disconnecting:
            return
        self.disconnecting = True
        self._reading = False
        if self._halfClosed:
            self._close()
        else:
            self.schedule()

    def loseWriteConnection(self) -> None:
        """
        Write no more, and tell the other end so after what was written. That
        ends the connection, unless its protocol is an
        C{IHalfCloseableProtocol}.
        """
        if not self._lost:
            self._halfClosing = True
            self.schedule()

    def abortConnection(self) -> None:
        """
        Close now; what was under way is lost.
        """
        if self._lost:
            return
        self.disconnecting = True
        self._reading = False
        self._outgoing.clear()
        self._network.soon(self, self.lose, ConnectionAborted())
        self._network.after(self.other, self.other.lose, ConnectionLost())

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        See L{IConsumer}.
        """
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        if self._lost:
            producer.stopProducing()
            return
        self._producer = producer
        self._streaming = streaming
        self._producerPaused = False
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """
        See L{IConsumer}.
        """
        self._producer = None
        if self.disconnecting:
            self.schedule()

    def pauseProducing(self) -> None:
        """
        Deliver nothing to this end's protocol for now.
        """
        self._reading = False

    def resumeProducing(self) -> None:
        """
        Deliver again.
        """
        if not self._lost and not self.disconnecting:
            self._reading = True
            self.other.schedule()

    def stopProducing(self) -> None:
        """
        See L{IPushProducer}.
        """
        self.loseConnection()

    def schedule(self) -> None:
        """
        See to a delivery when the network allows one.
        """
        if not self._scheduled and not self._lost:
            self._scheduled = True
            self._network.after(self.other, self._deliver)

    def lose(self, reason: Exception) -> None:
        """
        This end's connection is gone.
        """
        if not self._lost:
            self._lost = True
            self._network.transports.pop(self, None)
            producer, self._producer = self._producer, None
            if producer is not None:
                producer.stopProducing()
            self.protocol.connectionLost(Failure(reason))

    def _deliver(self) -> None:
        """
        Something arrives at the other end.
        """
        self._scheduled = False
        if self._lost or not self.other._reading or self._network.stalled(self):
            return
        piece = bytes(self._outgoing[: self._network.pieceSize])
        if piece:
            del self._outgoing[: len(piece)]
            self._network.carried += len(piece)
            if not self.other._lost:
                self.other.protocol.dataReceived(piece)
        if self._outgoing:
            self.schedule()
        else:
            self._emptied()

    def _emptied(self) -> None:
        """
        All that this end wrote has left it.
        """
        if self._lost or self._outgoing:
            return
        if self._producer is not None and (self._producerPaused or not self._streaming):
            self._producerPaused = False
            self._producer.resumeProducing()
        elif self.disconnecting:
            self._close()
        elif self._halfClosing and not self._halfClosed:
            self._halfClosed = True
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self.protocol.writeConnectionLost()
            self._network.after(self.other, self.other._ended)

    def _ended(self) -> None:
        """
        The other end writes no more.
        """
        if self._lost:
            return
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
        else:
            self._close()

    def _close(self) -> None:
        self.lose(ConnectionDone())
        self._network.after(self.other, self.other.lose, ConnectionDone())


@implementer(IListeningPort)
@define(eq=False)
class MemoryPort:
    """
    A port at which something listens.

    @ivar ports: where it is found as long as it is open.
    """

    ports: dict[MemoryAddress, Any]
    address: MemoryAddress
    factory: IProtocolFactory

    def startListening(self) -> None:
        self.factory.doStart()

    def stopListening(self) -> Deferred[None]:
        if self.ports.pop(self.address, None) is not None:
            self.factory.doStop()
        return succeed(None)

    def getHost(self) -> IAddress:
        return self.address


@implementer(IStreamServerEndpoint)
@define
class MemoryServer:
    """
    An endpoint to listen on.

    @ivar ports: the ports that are open.
    @ivar makePort: makes another one of them.
    """

    ports: dict[MemoryAddress, Any]
    address: MemoryAddress
    makePort: Callable[[dict[MemoryAddress, Any], MemoryAddress, IProtocolFactory], MemoryPort] = (
        MemoryPort
    )

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        if self.address in self.ports:
            return fail(CannotListenError(self.address.host, self.address.port, "in use"))
        port = self.ports[self.address] = self.makePort(self.ports, self.address, protocolFactory)
        port.startListening()
        return succeed(port)


@implementer(IStreamClientEndpoint)
@define
class _Client:
    network: MemoryNetwork
    target: MemoryAddress
    source: MemoryAddress

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return self.network.connect(protocolFactory, self.target, self.source)


class MemoryNetwork:
    """
    Hosts that can connect to each other.

    @ivar latency: seconds until what was written arrives.
    @ivar pieceSize: the most that one delivery carries, in bytes.
    @ivar carried: bytes delivered so far, on all connections.
    """

    def __init__(self, clock: IReactorTime, latency: float = 0.0) -> None:
        self.clock = clock
        self.latency = latency
        self.pieceSize = 64 * 1024
        self.carried = 0
        self.ports: dict[MemoryAddress, MemoryPort] = {}
        # In the order in which they were made.
        self.transports: dict[MemoryTransport, None] = {}
        self._stalled: set[str] = set()
        self._waiting: dict[str, list[MemoryTransport]] = {}

    def server(self, host: str, port: int = 1516) -> IStreamServerEndpoint:
        """
        An endpoint to listen on.
        """
        return MemoryServer(self.ports, MemoryAddress(host, port))

    def client(
        self, host: str, port: int = 1516, source: str = "10.0.0.2"
    ) -> IStreamClientEndpoint:
        """
        An endpoint to connect with, from C{source}.
        """
        return _Client(self, MemoryAddress(host, port), MemoryAddress(source, 40000))

    def connect(
        self, factory: IProtocolFactory, target: MemoryAddress, source: MemoryAddress
    ) -> Deferred[IProtocol]:
        """
        Connect, or be refused, after the latency.
        """
        result: Deferred[IProtocol] = Deferred()
        self.clock.callLater(self.latency, self._connect, factory, target, source, result)
        return result

    def _connect(
        self,
        factory: IProtocolFactory,
        target: MemoryAddress,
        source: MemoryAddress,
        result: Deferred[IProtocol],
    ) -> None:
        if result.called:
            return
        port = self.ports.get(target)
        serverSide = port.factory.buildProtocol(source) if port is not None else None
        if serverSide is None:
            result.errback(ConnectionRefusedError())
            return
        clientSide = factory.buildProtocol(target)
        if clientSide is None:
            result.errback(ConnectionAborted())
            return
        one = MemoryTransport(self, source, target)
        two = MemoryTransport(self, target, source)
        one.other, two.other = two, one
        one.protocol, two.protocol = clientSide, serverSide
        self.transports[one] = self.transports[two] = None
        serverSide.makeConnection(two)
        clientSide.makeConnection(one)
        result.callback(clientSide)

    def after(self, end: MemoryTransport, function: Any, *arguments: Any) -> None:
        """
        Call it after the latency, as what happens at one end.
        """
        self.clock.callLater(self.latency, function, *arguments)

    def soon(self, end: MemoryTransport, function: Any, *arguments: Any) -> None:
        """
        Call it before time goes on, as what happens at one end.
        """
        self.clock.callLater(0, function, *arguments)

    def stalled(self, transport: MemoryTransport) -> bool:
        """
        Whether nothing passes for now; if so, deliver when it does again.
        """
        for address in (transport.getHost(), transport.getPeer()):
            host = getattr(address, "host", "")
            if host in self._stalled:
                self._waiting.setdefault(host, []).append(transport)
                return True
        return False

    def stall(self, host: str) -> None:
        """
        Let nothing pass from or to a host, without anyone being told.
        """
        self._stalled.add(host)

    def heal(self, host: str) -> None:
        """
        Let what waited pass.
        """
        self._stalled.discard(host)
        for transport in self._waiting.pop(host, ()):
            transport.schedule()

    def cut(self, host: str) -> None:
        """
        End all connections from and to a host; what was under way is lost.
        """
        for transport in list(self.transports):
            if host in (
                getattr(transport.getHost(), "host", ""),
                getattr(transport.getPeer(), "host", ""),
            ):
                transport.lose(ConnectionLost())
