"""
Tests for L{CertificateTrust}: nodes with certificates of their own.
"""

from __future__ import annotations

import warnings
from datetime import datetime, timezone

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
)
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as newEC
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from OpenSSL import crypto
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wazuh_cluster.errors import ConfigError, NotTrusted, WrongKey
from wazuh_cluster.interfaces import IClusterTrust
from wazuh_cluster.model import MASTER, WORKER, Identity
from wazuh_cluster.testing.trust import OneProtocol, Recorder, connectFactories, testTrust
from wazuh_cluster.trust import (
    OTHER_AUTHORITY,
    CertificateTrust,
    Credentials,
    identityToURI,
    peerIdentity,
)
from wazuh_cluster.trust.tls import makeContext, wrapFactory


class CompanyCA:
    """
    An authority as an operator has one, with P-256 keys, below another one.
    """

    def __init__(self, name: str, signer: CompanyCA | None = None) -> None:
        self.key = newEC(SECP256R1())
        above = newEC(SECP256R1()) if signer is None else signer.key
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root of " + name)])
        root = root if signer is None else signer.name
        self.certificate = (
            self.builder(self.name, root, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(above, SHA256())
        )

    def builder(
        self, subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, until: int = 2090
    ) -> x509.CertificateBuilder:
        """
        What all certificates have.
        """
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2001, 1, 1, tzinfo=timezone.utc))
            .not_valid_after(datetime(until, 1, 1, tzinfo=timezone.utc))
        )

    def issue(
        self, identity: Identity, until: int = 2090
    ) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
        """
        A node's certificate, with a common name and a DNS name beside the URI.
        """
        key = newEC(SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.name)])
        names = [
            x509.DNSName("node.example.org"),
            x509.UniformResourceIdentifier(identityToURI(identity)),
        ]
        builder = self.builder(subject, self.name, key, until).add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        return builder.sign(self.key, SHA256()), key

    def trust(self, role: str, name: str, until: int = 2090) -> CertificateTrust:
        """
        The trust of a node with a certificate of this authority.
        """
        certificate, key = self.issue(Identity("wazuh", role, name), until)
        return CertificateTrust(self.certificate, certificate, key)


def pem(key: EllipticCurvePrivateKey, passphrase: bytes = b"") -> bytes:
    """
    A private key as a file holds it.
    """
    return key.private_bytes(
        Encoding.PEM,
        PrivateFormat.PKCS8,
        BestAvailableEncryption(passphrase) if passphrase else NoEncryption(),
    )


class CertificateTrustTests(SynchronousTestCase):
    """
    Links between such nodes.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.ca = CompanyCA("one")
        self.server, self.client = Recorder(), Recorder(early=b"hello")

    def connect(self, master: IClusterTrust, worker: IClusterTrust) -> None:
        """
        Connect the recorders, let everything move, and end it.
        """
        link = connectFactories(
            master.wrapServer(OneProtocol(self.server), self.clock),
            worker.wrapClient(OneProtocol(self.client), self.clock),
            self.clock,
        )
        link.flush()
        link.close()
        self.assertEqual([], self.clock.getDelayedCalls())

    def why(self, recorder: Recorder) -> str:
        """
        What a recorder was told.
        """
        assert recorder.reason is not None
        self.assertIsInstance(recorder.reason.value, NotTrusted)
        return str(recorder.reason.value)

    def test_trusted(self) -> None:
        """
        Nodes of one authority trust each other, by the names in their
        certificates; the authority need not be a root.
        """
        hub, siem = self.ca.trust(MASTER, "hub"), self.ca.trust(WORKER, "siem-7")
        verifyObject(IClusterTrust, hub)
        self.assertEqual(Identity("wazuh", MASTER, "hub"), hub.identity)
        self.connect(hub, siem)
        self.assertEqual(b"hello", self.server.received)
        self.assertEqual(siem.identity, peerIdentity(self.server.transport))
        self.assertEqual(hub.identity, peerIdentity(self.client.transport))

    def test_otherAuthority(self) -> None:
        """
        Nodes of another authority are not trusted, even if it has the same
        name; both ends are told to compare it.
        """
        self.connect(self.ca.trust(MASTER, "hub"), CompanyCA("one").trust(WORKER, "siem-7"))
        self.assertEqual(b"", self.server.received)
        for recorder in (self.server, self.client):
            self.assertIn("[certificates]", self.why(recorder))
            assert recorder.reason is not None
            self.assertIsInstance(recorder.reason.value, WrongKey)

    def test_keyAndCertificates(self) -> None:
        """
        A node with a certificate and one with the key do not trust each other.
        """
        self.connect(self.ca.trust(MASTER, "hub"), testTrust(WORKER, "siem-7"))
        self.assertEqual(b"", self.server.received)
        self.assertIn("another cluster key", self.why(self.client))
        self.assertIn("another authority", self.why(self.server))

    def test_roleIsTheCertificates(self) -> None:
        """
        A worker's certificate does not make a master.
        """
        self.connect(self.ca.trust(WORKER, "siem-2"), self.ca.trust(WORKER, "siem-7"))
        self.assertNotIn("handshake", self.client.events)

    def test_expired(self) -> None:
        """
        A certificate that has expired is refused, and both ends hear that it
        is about dates.
        """
        self.connect(self.ca.trust(MASTER, "hub", until=2002), self.ca.trust(WORKER, "siem-7"))
        self.assertNotIn("handshake", self.client.events + self.server.events)
        self.assertIn("has expired", self.why(self.client))
        self.assertIn("finds this node's certificate expired", self.why(self.server))

    def test_authorityInBetween(self) -> None:
        """
        A certificate is signed by the authority itself: not by one that it
        signed, though that comes with it.
        """
        between = CompanyCA("between", signer=self.ca)
        certificate, key = between.issue(Identity("wazuh", WORKER, "siem-7"))
        context = makeContext(Credentials(certificate, key, self.ca.certificate))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.add_extra_chain_cert(crypto.X509.from_cryptography(between.certificate))
        client = wrapFactory(
            OneProtocol(self.client),
            self.clock,
            currentContext=lambda: context,
            role=WORKER,
            stranger=OTHER_AUTHORITY,
        )
        master = self.ca.trust(MASTER, "hub")
        link = connectFactories(
            master.wrapServer(OneProtocol(self.server), self.clock), client, self.clock
        )
        link.flush()
        link.close()
        self.assertEqual(["connected", "lost"], self.server.events)
        self.assertIn("another authority", self.why(self.server))


class CertificateFilesTests(SynchronousTestCase):
    """
    What an operator may have configured.
    """

    def setUp(self) -> None:
        self.ca = CompanyCA("one")
        certificate, self.key = self.ca.issue(Identity("wazuh", WORKER, "siem-7"))
        self.caPEM = self.ca.certificate.public_bytes(Encoding.PEM)
        self.certificatePEM = certificate.public_bytes(Encoding.PEM)

    def refused(self, ca: bytes, certificate: bytes, key: bytes) -> str:
        """
        The one line with which these three files are refused.
        """
        error = self.assertRaises(
            ConfigError, CertificateTrust.fromPEM, ca, certificate, key, "x.ini: [certificates]"
        )
        self.assertTrue(str(error).startswith("x.ini: [certificates]: "))
        self.assertNotIn("\n", str(error))
        return str(error)

    def test_good(self) -> None:
        """
        Three files that fit together give the node's identity.
        """
        trust = CertificateTrust.fromPEM(self.caPEM, self.certificatePEM, pem(self.key))
        self.assertEqual(Identity("wazuh", WORKER, "siem-7"), trust.identity)

    def test_unreadable(self) -> None:
        """
        A file that is not what it should be is named.
        """
        key = pem(self.key)
        self.assertIn("'ca'", self.refused(b"", self.certificatePEM, key))
        self.assertIn("'certificate'", self.refused(self.caPEM, key, key))
        for wrong in (b"", self.caPEM, pem(self.key, b"secret"), ed448PEM()):
            self.assertIn("'private_key'", self.refused(self.caPEM, self.certificatePEM, wrong))

    def test_doNotFit(self) -> None:
        """
        A key or an authority that belongs to another certificate is refused,
        also an authority of the same name.
        """
        other = pem(newEC(SECP256R1()))
        self.assertIn("'private_key' is", self.refused(self.caPEM, self.certificatePEM, other))
        sameName = CompanyCA("one").certificate.public_bytes(Encoding.PEM)
        text = self.refused(sameName, self.certificatePEM, pem(self.key))
        self.assertIn("did not sign", text)

    def test_namesNobody(self) -> None:
        """
        A certificate without a node's URI is refused, and the URI described.
        """
        key = newEC(SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "siem-7")])
        bare = self.ca.builder(subject, self.ca.name, key).sign(self.ca.key, SHA256())
        text = self.refused(self.caPEM, bare.public_bytes(Encoding.PEM), pem(key))
        self.assertIn("wazuh-cluster:<cluster>/<role>/<node>", text)


def ed448PEM() -> bytes:
    """
    A key of a kind that few programs know.
    """
    return Ed448PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
