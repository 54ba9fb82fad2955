"""
What goes over a connection beneath TLS: how many bytes each way, and the very
first that came.

That is enough to say what kind of program is at the other end when TLS cannot.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from attrs import frozen
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOProtocol

#: How many of the first received bytes are kept.
HEAD = 32

#: How many bytes a peer may send before it is trusted. A handshake takes about
#: 2 KiB each way; the rest is room for the certificates of a larger authority.
HANDSHAKE_LIMIT = 64 * 1024


@frozen
class Sniffed:
    """
    What was seen of a connection so far.

    @ivar head: the first bytes received, at most L{HEAD}.
    @ivar received: how many bytes were received.
    @ivar sent: how many bytes were written to the transport.
    """

    head: bytes = b""
    received: int = 0
    sent: int = 0


class Sniffer(ProtocolWrapper):
    """
    Sits between the transport and TLS, counts, and ends a connection whose peer
    sends more than L{HANDSHAKE_LIMIT} before it is trusted.
    """

    _head = b""
    _received = 0
    _sent = 0
    _trusted = False

    @property
    def sniffed(self) -> Sniffed:
        """
        What was seen so far; also after the connection is lost.
        """
        return Sniffed(self._head, self._received, self._sent)

    def liftLimit(self) -> None:
        """
        The peer is trusted: what it sends is from now on bounded by whoever
        reads it.
        """
        self._trusted = True

    def write(self, data: bytes) -> None:
        """
        Count and pass on.
        """
        self._sent += len(data)
        super().write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        Count and pass on.
        """
        self.write(b"".join(data))

    def dataReceived(self, data: bytes) -> None:
        """
        Remember the beginning, count and pass on.
        """
        if len(self._head) < HEAD:
            self._head += data[: HEAD - len(self._head)]
        self._received += len(data)
        super().dataReceived(data)
        # Only now, because the same bytes may have completed the handshake.
        if not self._trusted and self._received > HANDSHAKE_LIMIT and self.connected:
            cast(TLSMemoryBIOProtocol, self.wrappedProtocol).abortConnection()

    def connectionLost(self, reason: object = None) -> None:
        """
        Pass on.
        """
        self.connected = 0
        super().connectionLost(reason)


class SniffingFactory(WrappingFactory[Sniffer]):
    """
    Puts a L{Sniffer} beneath each protocol of the wrapped factory, and builds
    none where that builds none.
    """

    protocol = Sniffer
    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Sniffer | None:  # type: ignore[override]
        """
        Build the wrapped factory's protocol and a sniffer beneath it.
        """
        wrapped: IProtocol | None = self.wrappedFactory.buildProtocol(addr)
        return None if wrapped is None else Sniffer(self, wrapped)
