"""
What goes over a connection beneath TLS: how many bytes each way, in what pieces,
and the very first that came.

That is enough to say what kind of program is at the other end when TLS cannot,
and to end what costs too much there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from attrs import frozen
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IReactorTime,
)
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOProtocol

from wazuh_cluster.errors import ClusterError, LinkStalled, ProtocolViolation
from wazuh_cluster.patience import Patience

#: How many of the first received bytes are kept.
HEAD = 32

#: How many bytes a peer may send before it is trusted. A handshake takes about
#: 2 KiB each way; the rest is room for the certificates of a larger authority.
HANDSHAKE_LIMIT = 64 * 1024

#: How many TLS records may come in one read of 64 KiB, or less; in a larger one
#: (L{wazuh_cluster.trust.wide}) as many more. To decrypt a record costs about as
#: much whether it holds one byte or a thousand; the smallest command fills more
#: than a sixteenth of what this allows for it.
RECORDS = 1024
_READ = 64 * 1024

#: For how many seconds a connection that TLS has ended may wait for its peer to
#: take what was written before.
LINGER = 3.0

#: For how many seconds a trusted peer may send nothing more of a TLS record that
#: it has begun, or little: what is above TLS does not see it before it is whole.
RECORD_TIMEOUT = 8.0

#: Of a record: type, version, length.
_HEADER = 5


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
    sends more than L{HANDSHAKE_LIMIT} before it is trusted, or then more than
    L{RECORDS} at once, or takes longer than L{RECORD_TIMEOUT} for one, or than
    L{LINGER} to let it end.

    @ivar violation: what it did if that is why the connection was ended.
    """

    violation: ClusterError | None = None
    factory: SniffingFactory
    _head = b""
    _received = 0
    _sent = 0
    _trusted = False
    # The beginning of the next record, as far as it came; how far it is to the
    # next one where that is known.
    _next = b""
    _ahead = 0
    _lingering: IDelayedCall | None = None
    _paused = False

    def __init__(self, factory: SniffingFactory, wrappedProtocol: IProtocol) -> None:
        super().__init__(factory, wrappedProtocol)
        self._record = Patience(factory.clock, RECORD_TIMEOUT, self._unfinished)

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
        self._watch()

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
        records = self._countRecords(data)
        if records > RECORDS * max(1, -(-len(data) // _READ)) and self._trusted:
            self._abort(ProtocolViolation("its words come in too many pieces"))
            return
        if records:
            self._record.heard()
        self._watch()
        super().dataReceived(data)
        # Only now, because the same bytes may have completed the handshake.
        if not self._trusted and self._received > HANDSHAKE_LIMIT and self.connected:
            self._abort()

    def pauseProducing(self) -> None:
        """
        This end does not read: that nothing comes is not the peer's doing.
        """
        self._paused = True
        self._watch()
        cast(IPushProducer, self.transport).pauseProducing()

    def resumeProducing(self) -> None:
        """
        This end reads again.
        """
        self._paused = False
        self._watch()
        cast(IPushProducer, self.transport).resumeProducing()

    def loseConnection(self) -> None:
        """
        TLS is at its end: what waits is still written, for a while.
        """
        super().loseConnection()
        if self._lingering is None and self.connected:
            transport: Any = self.transport
            self._lingering = self.factory.clock.callLater(LINGER, transport.abortConnection)

    def connectionLost(self, reason: object = None) -> None:
        """
        Pass on.
        """
        self.connected = 0
        self._record.end()
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
        super().connectionLost(reason)

    def _watch(self) -> None:
        """
        Bound the time of a record that has begun.
        """
        begun = self._ahead > 0 or bool(self._next)
        if begun and self._trusted and self.connected and not self._paused:
            self._record.begin()
        else:
            self._record.end()

    def _unfinished(self) -> None:
        self._abort(
            LinkStalled(f"it did not send the rest of a TLS record within {RECORD_TIMEOUT:g} s")
        )

    def _abort(self, violation: ClusterError | None = None) -> None:
        self.violation = violation
        cast(TLSMemoryBIOProtocol, self.wrappedProtocol).abortConnection()

    def _countRecords(self, data: bytes) -> int:
        """
        How many records begin in C{data}.
        """
        if self._next:
            data = self._next + data
        at, count = self._ahead, 0
        while at + _HEADER <= len(data):
            at += _HEADER + (data[at + 3] << 8 | data[at + 4])
            count += 1
        self._ahead = max(0, at - len(data))
        self._next = data[at:]
        return count


class SniffingFactory(WrappingFactory[Sniffer]):
    """
    Puts a L{Sniffer} beneath each protocol of the wrapped factory, and builds
    none where that builds none.
    """

    protocol = Sniffer
    noisy = False

    def __init__(self, wrappedFactory: IProtocolFactory, clock: IReactorTime) -> None:
        super().__init__(wrappedFactory)
        self.clock = clock

    def buildProtocol(self, addr: IAddress | None) -> Sniffer | None:  # type: ignore[override]
        """
        Build the wrapped factory's protocol and a sniffer beneath it.
        """
        wrapped: IProtocol | None = self.wrappedFactory.buildProtocol(addr)
        return None if wrapped is None else Sniffer(self, wrapped)
