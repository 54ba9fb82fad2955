"""
A trust without TLS: each end says who it is. For simulations, where links are
many and nobody listens.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.errors import IdentityMismatch, NotTrusted
from wazuh_cluster.interfaces import IClusterTrust
from wazuh_cluster.model import MASTER, WORKER, Identity


class _Link(ProtocolWrapper):
    """
    One end: a line with its identity, then what the protocol says.
    """

    trustedPeer: Identity | None = None
    # A wrapped one's is an ITransport, which cannot be aborted.
    transport: Any

    def __init__(self, factory: _Factory, wrapped: IProtocol) -> None:
        super().__init__(factory, wrapped)
        self._trusts = factory
        self._line = b""
        self._refused: NotTrusted | None = None

    def makeConnection(self, transport: object) -> None:
        """
        Say who this is.
        """
        super().makeConnection(transport)
        mine = self._trusts.identity
        self.transport.write(f"{mine.cluster}/{mine.role}/{mine.name}\n".encode("ascii"))

    def dataReceived(self, data: bytes) -> None:
        """
        Judge who the other is, then pass on.
        """
        if self.trustedPeer is not None:
            super().dataReceived(data)
            return
        self._line += data
        line, found, rest = self._line.partition(b"\n")
        if not found or self._refused is not None:
            return
        cluster, role, name = line.decode("ascii").split("/")
        if role != self._trusts.expected:
            self._refused = NotTrusted(f"its role is {role}")
            self.transport.abortConnection()
            return
        self.trustedPeer = Identity(cluster, role, name)
        if IHandshakeListener.providedBy(self.wrappedProtocol):
            self.wrappedProtocol.handshakeCompleted()
        if rest:
            super().dataReceived(rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Say why, if that is known.
        """
        super().connectionLost(reason if self._refused is None else Failure(self._refused))

    def abortConnection(self) -> None:
        """
        As a socket's.
        """
        self.disconnecting = 1
        self.transport.abortConnection()


class _Factory(WrappingFactory[_Link]):
    noisy = False
    protocol = _Link

    def __init__(self, wrapped: IProtocolFactory, identity: Identity) -> None:
        super().__init__(wrapped)
        self.identity = identity
        self.expected = MASTER if identity.role == WORKER else WORKER

    def buildProtocol(self, addr: IAddress | None) -> _Link | None:  # type: ignore[override]
        wrapped = self.wrappedFactory.buildProtocol(addr)
        return None if wrapped is None else _Link(self, wrapped)


@implementer(IClusterTrust)
class PlainTrust:
    """
    An L{IClusterTrust} that believes what it is told, but for the role.
    """

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def wrapServer(self, factory: IProtocolFactory, clock: IReactorTime) -> IProtocolFactory:
        """
        See L{IClusterTrust.wrapServer}.
        """
        return _Factory(factory, self.identity)

    def wrapClient(self, factory: IProtocolFactory, clock: IReactorTime) -> IProtocolFactory:
        """
        See L{IClusterTrust.wrapClient}.
        """
        return _Factory(factory, self.identity)

    def peerIdentity(self, transport: object) -> Identity:
        """
        See L{IClusterTrust.peerIdentity}.
        """
        peer = getattr(transport, "trustedPeer", None)
        if not isinstance(peer, Identity):
            raise IdentityMismatch("the peer has not said who it is")
        return peer
