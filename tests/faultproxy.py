"""
A TCP proxy between real nodes that delays, stalls, resets and throttles.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IReactorTCP,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

#: The most bytes that are read ahead of the other side.
_AHEAD = 128 * 1024


class _End(Protocol):
    """
    One end of a proxied connection: what comes in here goes out at the other.
    """

    transport: Any

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._call: IDelayedCall | None = None
        self.other: _End | None = None
        self.ended = False

    def connectionMade(self) -> None:
        self._proxy.ends[self] = None
        if self.other is None:
            # The dialer's end: nothing is read before there is another one.
            self.transport.pauseProducing()
            self._proxy.dial(self)

    def joined(self, other: _End) -> None:
        """
        There is another end.
        """
        self.other = other
        self.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        due = self._proxy.clock.seconds() + self._proxy.delay
        self._waiting.append((due, data))
        self._size += len(data)
        if self._size > _AHEAD:
            self.transport.pauseProducing()
        self.send()

    def send(self) -> None:
        """
        Send on what may be sent now, and see to the rest.
        """
        if self._call is not None or self._proxy.stalled or not self._waiting:
            return
        due, data = self._waiting[0]
        wait = max(0.0, due - self._proxy.clock.seconds())
        if self._proxy.rate is not None:
            wait += len(data) / self._proxy.rate
        self._call = self._proxy.clock.callLater(wait, self._sent)
        self._proxy.sending.add(self)

    def hurry(self) -> None:
        """
        What waits is sent now.
        """
        if self._call is not None:
            self._call.reset(0)
        else:
            self.send()

    def drop(self) -> None:
        """
        What waits is lost.
        """
        self._waiting.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._proxy.sending.discard(self)

    def _sent(self) -> None:
        self._call = None
        self._proxy.sending.discard(self)
        if self._proxy.stalled or not self._waiting:
            return
        _, data = self._waiting.popleft()
        self._size -= len(data)
        if self.other is not None and not self.other.ended:
            self.other.transport.write(data)
        if self._size <= _AHEAD and not self.ended:
            self.transport.resumeProducing()
        self.send()
        if self.ended and not self._waiting and self.other is not None:
            self.other.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = True
        self._proxy.ends.pop(self, None)
        if not self._waiting and self.other is not None and not self.other.ended:
            self.other.transport.loseConnection()


class FaultProxy(Factory):
    """
    A proxy to one address.

    @ivar delay: seconds by which everything is late.
    @ivar rate: bytes a second in each direction of each connection; C{None} for no
        limit.
    @ivar stalled: whether nothing passes.
    @ivar ends: the open ends of connections.
    @ivar sending: the ends that have something to send, open or not.
    """

    noisy = False

    def __init__(self, reactor: Any, port: int) -> None:
        """
        @param port: on 127.0.0.1, where connections lead.
        """
        self.clock: IReactorTime = reactor
        self.delay = 0.0
        self.rate: float | None = None
        self.stalled = False
        self.ends: dict[_End, None] = {}
        self.sending: set[_End] = set()
        self._reactor: IReactorTCP = reactor
        self._target = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        self._port: IListeningPort | None = None

    async def listen(self) -> int:
        """
        Listen on a free port of 127.0.0.1.

        @return: that port.
        """
        endpoint = TCP4ServerEndpoint(self._reactor, 0, interface="127.0.0.1")
        self._port = await endpoint.listen(self)
        address: Any = self._port.getHost()
        port: int = address.port
        return port

    def buildProtocol(self, addr: IAddress | None) -> _End:
        """
        Somebody dials.
        """
        return _End(self)

    def dial(self, near: _End) -> None:
        """
        Dial the other side for somebody.
        """
        far = _End(self)
        far.other = near
        factory = Factory.forProtocol(lambda: far)
        factory.noisy = False
        dialing = self._target.connect(factory)
        dialing.addCallbacks(lambda _: near.joined(far), lambda _: near.transport.abortConnection())

    def heal(self) -> None:
        """
        Let everything pass at once again.
        """
        self.delay, self.rate, self.stalled = 0.0, None, False
        for end in list(self.ends):
            end.hurry()

    def reset(self) -> None:
        """
        Reset all connections.
        """
        for end in list(self.ends):
            end.transport.abortConnection()
            end.drop()

    async def stop(self) -> None:
        """
        Listen no more, and end all connections.
        """
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
        self.reset()
        for end in list(self.sending):
            end.drop()
