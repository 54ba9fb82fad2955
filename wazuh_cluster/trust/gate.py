"""
The gate between TLS and a protocol: it opens when the peer is one that the
protocol is for.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import cast

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IAddress, IHandshakeListener, IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.errors import (
    ClusterError,
    IdentityMismatch,
    NotAMaster,
    NotAWorker,
    NotTrusted,
)
from wazuh_cluster.model import MASTER, WORKER, Identity
from wazuh_cluster.trust.explain import (
    Stranger,
    explainEarlyClose,
    explainFailure,
    explainVerdict,
)
from wazuh_cluster.trust.names import identityOf
from wazuh_cluster.trust.sniff import Sniffed, Sniffer
from wazuh_cluster.trust.wide import WideTLSTransport


class LinkTransport(WideTLSTransport):
    """
    The transport that a cluster protocol sees: TLS over a L{Sniffer}.

    @ivar trustedPeer: who the peer is, once it is trusted; stays after the
        connection is lost.
    @ivar verifyError: OpenSSL's number for why the peer's certificate was
        refused; 0 if it was not.
    """

    trustedPeer: Identity | None = None
    verifyError = 0

    @property
    def sniffer(self) -> Sniffer:
        """
        What is beneath TLS.
        """
        return cast(Sniffer, self.transport)

    @property
    def sniffed(self) -> Sniffed:
        """
        What went over the connection beneath TLS so far; also after it is
        lost.
        """
        return self.sniffer.sniffed

    def abortConnection(self) -> None:
        """
        End the connection at once, whatever state it is in. Nothing happens if
        it is lost already, where Twisted's own raises C{AttributeError}.
        """
        if self.connected:
            super().abortConnection()

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        """
        Twisted's own, which keeps why TLS ended in the frame that found it:
        OpenSSL's connection, with its buffers, would be there until the next
        full garbage collection. Strangers come by the thousand.

        It would also wait for a producer that is paused, and look at the
        connection no more; what that still has to send, nobody takes.
        """
        self.unregisterProducer()
        if reason is not None:
            reason.cleanFailure()
        super()._tlsShutdownFinished(reason)


class _State(Enum):
    """
    What a gate is waiting for.
    """

    SHAKING = auto()
    OPEN = auto()
    REJECTED = auto()


@implementer(IHandshakeListener)
class Gate(Protocol):
    """
    Stands between a L{LinkTransport} and the protocol that uses it.

    The protocol is connected at once, to the L{LinkTransport} itself. It
    receives nothing until the handshake is complete and the peer has the right
    role; then its C{handshakeCompleted} is called, if it has one. When the
    connection ends for a reason that TLS or the gate knows, it gets that as a
    L{ClusterError} of one line, with the original as its C{__cause__}.
    """

    transport: LinkTransport

    def __init__(
        self, wrappedProtocol: IProtocol, role: str, stranger: Stranger, gates: set[Gate]
    ) -> None:
        """
        @param role: this node's on the link; the peer must have the other one.
        @param stranger: what to say of a peer with a certificate from
            elsewhere.
        @param gates: in which it is as long as it is connected.
        """
        self.wrappedProtocol: IProtocol | None = wrappedProtocol
        self._role = role
        self._stranger = stranger
        self._gates = gates
        self._state = _State.SHAKING
        self._rejection: ClusterError | None = None
        self._delivered = False
        self._peer = "an unknown address"

    def connectionMade(self) -> None:
        """
        Connect the protocol, so that it can bound how long all this takes.
        """
        self._gates.add(self)
        self._peer = describeAddress(self.transport.getPeer())
        assert self.wrappedProtocol is not None
        self.wrappedProtocol.makeConnection(self.transport)

    def handshakeCompleted(self) -> None:
        """
        Judge the peer: open the gate, or abort so that not even what already
        arrived is delivered.
        """
        if self._state is not _State.SHAKING:
            return
        try:
            peer = self._judge()
        except ClusterError as rejection:
            self._reject(rejection)
            return
        self._state = _State.OPEN
        self.transport.trustedPeer = peer
        self.transport.sniffer.liftLimit()
        listener: object = self.wrappedProtocol
        if IHandshakeListener.providedBy(listener):
            listener.handshakeCompleted()

    def judgeAgain(self, judge: Callable[[x509.Certificate], tuple[int, str]]) -> bool:
        """
        This node trusts others than before: end the link, unless its peer is
        still one of them.

        @param judge: see L{wazuh_cluster.trust.tls.Judge}.
        @return: whether the link is ended.
        """
        if self._state is _State.REJECTED:
            return False
        node = f"the {_other(self._role)} at {self._peer}"
        shown = self.transport.getPeerCertificate() if self._state is _State.OPEN else None
        if shown is None:
            # It would be judged by what does not count any more.
            self._reject(
                NotTrusted(f"whom to trust changed during the TLS handshake with {node}: try again")
            )
            return True
        verdict, _ = judge(shown.to_cryptography())
        if verdict:
            self._reject(explainVerdict(verdict, node, self._stranger))
        return bool(verdict)

    def _reject(self, rejection: ClusterError) -> None:
        self._state = _State.REJECTED
        self._rejection = rejection
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """
        Pass on, if the gate is open.
        """
        if self._state is _State.OPEN and self.wrappedProtocol is not None:
            self._delivered = True
            self.wrappedProtocol.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Say why, and let go of the protocol.
        """
        self._gates.discard(self)
        wrapped, self.wrappedProtocol = self.wrappedProtocol, None
        if wrapped is not None:
            wrapped.connectionLost(self._explain(reason))

    def _judge(self) -> Identity:
        """
        Who the peer is.

        @raise ClusterError: if it is not one that this link is for.
        """
        shown = self.transport.getPeerCertificate()
        if shown is None:
            raise IdentityMismatch(f"the node at {self._peer} showed no certificate")
        try:
            peer = identityOf(shown.to_cryptography())
        except IdentityMismatch as problem:
            raise IdentityMismatch(f"the node at {self._peer}: {problem}") from None
        except ValueError:
            # OpenSSL can read what cryptography cannot.
            raise IdentityMismatch(
                f"the node at {self._peer} showed a certificate that cannot be read"
            ) from None
        if self._role == WORKER and peer.role != MASTER:
            raise NotAMaster(
                f"the node at {self._peer} is {peer.name}, a {peer.role}, not the master: "
                "check <node> in ossec.conf"
            )
        if self._role == MASTER and peer.role != WORKER:
            raise NotAWorker(
                f"the node at {self._peer} is {peer.name}, a {peer.role}, not a worker: "
                "a cluster has one master, check <node_type> in its ossec.conf"
            )
        return peer

    def _explain(self, reason: Failure) -> Failure:
        """
        The reason as the protocol gets it.
        """
        if self._rejection is not None:
            return Failure(self._rejection)
        if self.transport.sniffer.violation is not None:
            return Failure(self.transport.sniffer.violation)
        if self._state is _State.SHAKING or reason.check(SSL.Error):
            explained = explainFailure(
                self._original(reason),
                self.transport.sniffed,
                self._role,
                self._peer,
                self._stranger,
                self.transport.verifyError,
            )
            return _because(explained, reason)
        if self._role == WORKER and not self._delivered and not self.transport.disconnecting:
            return _because(explainEarlyClose(self._peer), reason)
        return reason

    def _original(self, reason: Failure) -> Failure:
        """
        The reason, or C{ConnectionAborted} if this end aborted: TLS turns that
        into its own errors about an early end.
        """
        own = not reason.check(SSL.Error) or "shutdown" in str(reason.value)
        if self.transport.disconnecting and own:
            return Failure(ConnectionAborted())
        return reason


def _other(role: str) -> str:
    return MASTER if role == WORKER else WORKER


def _because(error: ClusterError, reason: Failure) -> Failure:
    """
    A failure of C{error}, with the original as its cause.
    """
    if error is not reason.value:
        error.__cause__ = reason.value
    # Its frames would keep the whole connection, some 100 KiB, until the next
    # full garbage collection: strangers come by the thousand.
    reason.cleanFailure()
    return Failure(error)


def describeAddress(address: IAddress | None) -> str:
    """
    Where a peer is, for people: C{"10.0.0.1:1516"}.
    """
    host = getattr(address, "host", None)
    port = getattr(address, "port", None)
    if host is None:
        return "a local socket"
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
