"""
The adapters of L{IClusterTrust}: a node is trusted because it holds the
cluster key, or because of a certificate of its own, which may be in files.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from zope.interface import implementer

from wazuh_cluster.errors import IdentityMismatch
from wazuh_cluster.interfaces import IClusterTrust
from wazuh_cluster.model import MASTER, WORKER, CertificateFiles, Identity
from wazuh_cluster.trust.authority import Credentials, NodeKey
from wazuh_cluster.trust.credentials import (
    checkCredentials,
    readCertificate,
    readKey,
)
from wazuh_cluster.trust.explain import OTHER_AUTHORITY, OTHER_KEY, Stranger
from wazuh_cluster.trust.files import Opened, openFiles
from wazuh_cluster.trust.gate import Gate
from wazuh_cluster.trust.key import ClusterKey
from wazuh_cluster.trust.tls import Terms, makeTerms, wrapFactory

WHERE = "[certificates]"


def peerIdentity(transport: object) -> Identity:
    """
    Who the peer is on a transport that an L{IClusterTrust} of this module made.

    @raise IdentityMismatch: if no peer was trusted on it.
    """
    peer = getattr(transport, "trustedPeer", None)
    if not isinstance(peer, Identity):
        raise IdentityMismatch("the peer has not shown a certificate of this cluster")
    return peer


class _Trust:
    """
    What all adapters do once a node has its credentials.
    """

    _stranger: Stranger

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self._context: SSL.Context | None = None
        self._gates: set[Gate] = set()

    def _load(self) -> Credentials:
        """
        The credentials; asked for once, when the first factory is wrapped.
        """
        raise NotImplementedError

    def _currentContext(self) -> SSL.Context:
        """
        The context for the next connection.
        """
        if self._context is None:
            self._use(makeTerms(self._load()))
        assert self._context is not None
        return self._context

    def _use(self, terms: Terms) -> int:
        """
        Use these for all connections from now on, and end those whose peers
        they do not trust.

        @return: how many were ended.
        """
        # A context that was used cannot change: others are another one.
        self._context = terms.context
        return sum(gate.judgeAgain(terms.judge) for gate in list(self._gates))

    def wrapServer(self, factory: IProtocolFactory, clock: IReactorTime) -> IProtocolFactory:
        """
        See L{IClusterTrust.wrapServer}. Only workers are trusted.
        """
        return self._wrap(factory, clock, MASTER)

    def wrapClient(self, factory: IProtocolFactory, clock: IReactorTime) -> IProtocolFactory:
        """
        See L{IClusterTrust.wrapClient}. Only a master is trusted.
        """
        return self._wrap(factory, clock, WORKER)

    def peerIdentity(self, transport: object) -> Identity:
        """
        See L{IClusterTrust.peerIdentity}.
        """
        return peerIdentity(transport)

    def _wrap(self, factory: IProtocolFactory, clock: IReactorTime, role: str) -> IProtocolFactory:
        # Now rather than when the first peer comes: it takes a while.
        self._currentContext()
        return wrapFactory(
            factory,
            clock,
            currentContext=self._currentContext,
            role=role,
            stranger=self._stranger,
            gates=self._gates,
        )


@implementer(IClusterTrust)
class KeyTrust(_Trust):
    """
    Whoever holds the cluster key belongs to the cluster, in the role that it
    says it has.

    The node's certificate is made anew by each object of this class, at the
    first wrapping; its key is never written anywhere.
    """

    _stranger = OTHER_KEY

    def __init__(self, key: ClusterKey, identity: Identity) -> None:
        super().__init__(identity)
        self._key = key

    def _load(self) -> Credentials:
        return self._key.derive().issue(self.identity)


@implementer(IClusterTrust)
class CertificateTrust(_Trust):
    """
    Each node has a certificate of its own, which says its name and what it may
    do: the role in the certificate is the node's role.

    A node's certificate is signed directly by C{ca}, has exactly one URI among
    its subject alternative names, see L{wazuh_cluster.trust.names}, and if it
    has an extended key usage, that allows C{serverAuth} and C{clientAuth}.
    """

    _stranger = OTHER_AUTHORITY

    def __init__(
        self,
        ca: x509.Certificate,
        certificate: x509.Certificate,
        privateKey: NodeKey,
        where: str = WHERE,
        revoked: x509.CertificateRevocationList | None = None,
    ) -> None:
        """
        @param where: the file and section in which these are configured, for
            the errors.
        @param revoked: the authority's list of certificates that are not
            trusted any more.

        @raise ConfigError: unless all fit together and name a node.
        """
        self._credentials = Credentials(certificate, privateKey, ca, revoked)
        identity, _ = checkCredentials(self._credentials, where)
        super().__init__(identity)

    @classmethod
    def fromPEM(
        cls, ca: bytes, certificate: bytes, privateKey: bytes, where: str = WHERE
    ) -> CertificateTrust:
        """
        The same from the contents of three PEM files, the key's without a
        passphrase.

        @raise ConfigError: if one of them cannot be read, or they do not fit.
        """
        return cls(
            readCertificate(ca, "ca", where),
            readCertificate(certificate, "certificate", where),
            readKey(privateKey, where),
            where,
        )

    def _load(self) -> Credentials:
        return self._credentials


@implementer(IClusterTrust)
class FileTrust(_Trust):
    """
    A L{CertificateTrust} whose files can be read again while it is in use, so
    that certificates can be renewed and revoked.
    """

    _stranger = OTHER_AUTHORITY

    def __init__(
        self,
        files: CertificateFiles,
        identity: Identity,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        """
        Nothing is read yet.

        @param identity: whom the certificate must be for.
        @param wallClock: seconds since the epoch, for the warnings.
        """
        super().__init__(identity)
        self._files = files
        self._wallClock = wallClock

    def read(self) -> Opened:
        """
        Read and check the files; nothing changes by that. Blocks.

        @raise ConfigError: see L{openFiles}.
        """
        return openFiles(self._files, self.identity, self._wallClock())

    def use(self, opened: Opened) -> int:
        """
        Use what was read for all new links. A link that is there goes on with
        what it began with, but ends, with the reason, if its peer is not
        trusted any more.

        @return: how many were ended.
        """
        return self._use(opened.terms)

    def _load(self) -> Credentials:
        return self.read().credentials
