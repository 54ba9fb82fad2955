"""
TLS as the cluster speaks it: version 1.3 only, both ends show a certificate,
one authority is trusted, nothing is resumed.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen
from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from wazuh_cluster.model import WORKER
from wazuh_cluster.trust.authority import Credentials
from wazuh_cluster.trust.explain import REVOKED, Stranger
from wazuh_cluster.trust.gate import Gate, LinkTransport
from wazuh_cluster.trust.sniff import SniffingFactory

CIPHERSUITES = b"TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"

# OpenSSL's numbers for a list of revoked certificates that is not valid yet, or
# not any more.
_LIST_DATES = (11, 12)


def makeContext(credentials: Credentials) -> SSL.Context:
    """
    A context for either side of a link. It cannot change once it is used: other
    credentials need another one.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    context.set_tls13_ciphersuites(CIPHERSUITES)
    # With no cache and no tickets that carry state, the tickets that OpenSSL
    # still sends after a handshake resume nothing.
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # A link at rest keeps no buffers.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.use_certificate(credentials.certificate)
    context.use_privatekey(credentials.privateKey)
    context.check_privatekey()
    store = context.get_cert_store()
    assert store is not None
    _trustIn(store, credentials)
    # Signed by the authority itself, not by one that it signed.
    context.set_verify_depth(0)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _noteVerification)
    return context


def _trustIn(store: crypto.X509Store, credentials: Credentials) -> None:
    store.add_cert(crypto.X509.from_cryptography(credentials.ca))
    # The authority that was named is the end of the chain, even if another
    # one signed it.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    if credentials.revoked is not None:
        store.add_crl(credentials.revoked)
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK)


class Judge:
    """
    Says what a handshake would say of a certificate, but for its purposes,
    without one.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._revoked = credentials.revoked
        self._store = crypto.X509Store()
        _trustIn(self._store, credentials)
        # The same but for the list, for when its dates have passed.
        self._withoutList = crypto.X509Store()
        _trustIn(self._withoutList, evolve(credentials, revoked=None))

    def __call__(self, certificate: x509.Certificate) -> tuple[int, str]:
        """
        Judge a certificate now.

        @return: OpenSSL's number for why it is not trusted, and its words for
            it; 0 if it is.
        """
        number, words = _verify(self._store, certificate)
        if self._revoked is None or number not in _LIST_DATES:
            return number, words
        # The list's dates do not count, but what is on it does.
        serial = certificate.serial_number
        if self._revoked.get_revoked_certificate_by_serial_number(serial) is not None:
            return REVOKED, "certificate revoked"
        return _verify(self._withoutList, certificate)


def _verify(store: crypto.X509Store, certificate: x509.Certificate) -> tuple[int, str]:
    asked = crypto.X509StoreContext(store, crypto.X509.from_cryptography(certificate))
    try:
        asked.verify_certificate()
    except crypto.X509StoreContextError as problem:
        number, _, words = problem.errors
        return number, words
    return 0, ""


@frozen
class Terms:
    """
    On what terms a node takes others: made once for all its connections, for a
    long list of revoked certificates takes a while to read.

    @ivar context: for new connections.
    @ivar judge: for those that are there.
    """

    context: SSL.Context
    judge: Judge


def makeTerms(credentials: Credentials) -> Terms:
    """
    The terms of some credentials.

    @raise SSL.Error: if TLS does not take them.
    """
    return Terms(makeContext(credentials), Judge(credentials))


def _noteVerification(
    connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
) -> bool:
    """
    Leave OpenSSL's verdict as it is, and keep its reason: the exception that
    follows does not have it.

    But a list of revoked certificates does not lapse: a date that was missed
    must not part a whole cluster.
    """
    if error in _LIST_DATES:
        return True
    transport = connection.get_app_data()
    if not ok and isinstance(transport, LinkTransport):
        transport.verifyError = error
    return bool(ok)


@implementer(IOpenSSLServerConnectionCreator, IOpenSSLClientConnectionCreator)
class ConnectionCreator:
    """
    Makes each connection with the context that is current at that moment.
    """

    def __init__(self, currentContext: Callable[[], SSL.Context]) -> None:
        self._currentContext = currentContext

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """
        A connection for the side that was dialled.
        """
        return SSL.Connection(self._currentContext(), None)

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """
        A connection for the side that dials. It names no server: the peer's
        role is what counts.
        """
        return SSL.Connection(self._currentContext(), None)


class _GateFactory(WrappingFactory):
    """
    Puts a L{Gate} before each protocol of the wrapped factory.
    """

    noisy = False

    def __init__(
        self, wrappedFactory: IProtocolFactory, role: str, stranger: Stranger, gates: set[Gate]
    ) -> None:
        super().__init__(wrappedFactory)
        self._role = role
        self._stranger = stranger
        self._gates = gates

    def buildProtocol(self, addr: IAddress | None) -> Gate | None:  # type: ignore[override]
        """
        Build the wrapped factory's protocol, if it wants the connection.
        """
        wrapped: IProtocol | None = self.wrappedFactory.buildProtocol(addr)
        return None if wrapped is None else Gate(wrapped, self._role, self._stranger, self._gates)


class _LinkFactory(TLSMemoryBIOFactory):
    """
    Twisted's own, with our transport and for factories that may build nothing.
    """

    protocol = LinkTransport

    def buildProtocol(self, addr: IAddress | None) -> LinkTransport | None:  # type: ignore[override]
        """
        Build the wrapped factory's protocol and TLS beneath it.
        """
        wrapped: IProtocol | None = self.wrappedFactory.buildProtocol(addr)
        return None if wrapped is None else LinkTransport(self, wrapped)


def wrapFactory(
    factory: IProtocolFactory,
    clock: IReactorTime,
    *,
    currentContext: Callable[[], SSL.Context],
    role: str,
    stranger: Stranger,
    gates: set[Gate] | None = None,
) -> IProtocolFactory:
    """
    Put, from top to bottom, a gate, TLS and a sniffer beneath C{factory}.

    @param role: this node's: L{MASTER<wazuh_cluster.model.MASTER>} is the side
        that was dialled, L{WORKER<wazuh_cluster.model.WORKER>} the one that
        dials.
    @param gates: in which each gate is as long as it is connected.
    """
    isClient = role == WORKER
    gated = _GateFactory(factory, role, stranger, set() if gates is None else gates)
    return SniffingFactory(
        _LinkFactory(ConnectionCreator(currentContext), isClient, gated, clock=clock)
    )
