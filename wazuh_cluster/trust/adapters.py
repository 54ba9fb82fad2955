"""
The adapters of L{IClusterTrust}: a node is trusted because it holds the
cluster key, or because of a certificate of its own.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from zope.interface import implementer

from wazuh_cluster.errors import ConfigError, IdentityMismatch
from wazuh_cluster.interfaces import IClusterTrust
from wazuh_cluster.model import MASTER, WORKER, Identity
from wazuh_cluster.trust.authority import Credentials, NodeKey
from wazuh_cluster.trust.explain import OTHER_AUTHORITY, OTHER_KEY, Stranger
from wazuh_cluster.trust.key import ClusterKey
from wazuh_cluster.trust.names import identityOf
from wazuh_cluster.trust.tls import makeContext, wrapFactory

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
    What both adapters do once a node has its credentials.
    """

    identity: Identity
    _stranger: Stranger
    _context: SSL.Context | None = None

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
            self._context = makeContext(self._load())
        return self._context

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
        self.identity = identity
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
    ) -> None:
        """
        @param where: the file and section in which these three are configured,
            for the errors.

        @raise ConfigError: unless the three fit together and name a node.
        """
        try:
            certificate.verify_directly_issued_by(ca)
        except (InvalidSignature, ValueError, TypeError):
            raise ConfigError(
                "'ca' did not sign 'certificate'", where, "name the authority that signed it"
            ) from None
        if certificate.public_key() != privateKey.public_key():
            raise ConfigError(
                "'private_key' is not the one of 'certificate'",
                where,
                "name the one it was made with",
            )
        try:
            self.identity = identityOf(certificate)
        except IdentityMismatch as problem:
            raise ConfigError(
                f"'certificate' names no node: {problem}", where, "issue one with that URI"
            ) from None
        self._credentials = Credentials(certificate, privateKey, ca)

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
            _readCertificate(ca, "ca", where),
            _readCertificate(certificate, "certificate", where),
            _readKey(privateKey, where),
            where,
        )

    def _load(self) -> Credentials:
        return self._credentials


def _readCertificate(content: bytes, name: str, where: str) -> x509.Certificate:
    """
    The first certificate of a PEM file.
    """
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError:
        raise ConfigError(
            f"{name!r} is not a certificate in PEM form", where, "name a file that holds one"
        ) from None


def _readKey(content: bytes, where: str) -> NodeKey:
    """
    The private key of a PEM file.
    """
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # TypeError: it has a passphrase.
        key = None
    if not isinstance(key, (Ed25519PrivateKey, EllipticCurvePrivateKey, RSAPrivateKey)):
        raise ConfigError(
            "'private_key' is not an Ed25519, EC or RSA key in PEM form without a passphrase",
            where,
            "name a file that holds one",
        )
    return key
