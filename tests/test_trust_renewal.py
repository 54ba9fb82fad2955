"""
Tests for certificates that change while a node runs: L{FileTrust}, lists of
revoked ones, and what becomes of the links that are there.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone

from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from zope.interface.verify import verifyObject

from tests.certificatefiles import HUB, NOW, SIEM, WHERE, FilesCase, revoke
from wazuh_cluster.errors import ConfigError, NotTrusted, Revoked, WrongKey
from wazuh_cluster.interfaces import IClusterTrust
from wazuh_cluster.model import MASTER
from wazuh_cluster.testing.trust import (
    MemoryLink,
    OneProtocol,
    Recorder,
    connectFactories,
    testKey,
)
from wazuh_cluster.trust import (
    Authority,
    FileTrust,
    Opened,
    identityToURI,
    keyToPEM,
    makeAuthority,
    peerIdentity,
)


def dated(authority: Authority, last: int, following: int, serials: list[int]) -> bytes:
    """
    A list of the authority's with other dates.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(datetime(last, 1, 1))
        .next_update(datetime(following, 1, 1))
    )
    for serial in serials:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW).build()
        )
    return builder.sign(authority._privateKey, None).public_bytes(Encoding.PEM)


def sign(
    key: Ed25519PrivateKey, authority: Ed25519PrivateKey, *purposes: x509.ObjectIdentifier
) -> x509.Certificate:
    """
    A worker's certificate, signed by anybody.
    """
    one, none = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "one")]), x509.Name([])
    builder = (
        x509.CertificateBuilder()
        .subject_name(one if key is authority else none)
        .issuer_name(one)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2001, 1, 1))
        .not_valid_after(datetime(2090, 1, 1))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identityToURI(SIEM))]),
            critical=True,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return builder.sign(authority, None)


class RenewalTests(FilesCase):
    """
    A master and a worker whose files change.
    """

    def setUp(self) -> None:
        super().setUp()
        self.hub, self.siem = self.trust(HUB), self.trust(SIEM)
        self.links: list[MemoryLink] = []
        self.addCleanup(self.closeAll)

    def closeAll(self) -> None:
        for link in self.links:
            link.close()
        self.assertEqual([], self.clock.getDelayedCalls())

    def connect(self, steps: int | None = None) -> tuple[Recorder, Recorder, MemoryLink]:
        """
        A link between the two: the master's end, the worker's, and what is
        between them.

        @param steps: how often bytes move; until nothing moves by default.
        """
        server, client = Recorder(), Recorder()
        link = connectFactories(
            self.hub.wrapServer(OneProtocol(server), self.clock),
            self.siem.wrapClient(OneProtocol(client), self.clock),
            self.clock,
        )
        self.links.append(link)
        if steps is None:
            link.flush()
        else:
            for _ in range(steps):
                link.step()
        return server, client, link

    def why(self, recorder: Recorder) -> NotTrusted:
        assert isinstance(recorder.reason, Failure)
        assert isinstance(recorder.reason.value, NotTrusted), recorder.reason
        self.assertNotIn("\n", str(recorder.reason.value))
        return recorder.reason.value

    def test_provides(self) -> None:
        """
        It is a trust, and reads its files by itself where nobody did.
        """
        verifyObject(IClusterTrust, self.hub)
        server, _, _ = self.connect()
        self.assertEqual(SIEM, peerIdentity(server.transport))

    def test_revoked(self) -> None:
        """
        When the master reads that a worker's certificate was revoked, the link
        to that worker ends, that to another stays, and a new one is refused;
        each with the reason.
        """
        server, _, link = self.connect()
        self.siem, revokedSiem = self.trust(evolve(SIEM, name="siem-8")), self.siem
        other, _, _ = self.connect()
        self.write("hub", revoked=revoke(self.authority, self.certificate(revokedSiem)))
        self.assertEqual(1, self.hub.use(self.hub.read()))
        link.flush()
        self.assertIsInstance(self.why(server), Revoked)
        self.assertIn("10.0.0.7:40000 was revoked", str(self.why(server)))
        self.assertNotIn("lost", other.events)
        self.siem = revokedSiem
        server, client, _ = self.connect()
        self.assertNotIn("handshake", server.events)
        self.assertIsInstance(self.why(server), Revoked)
        self.assertIn("this node's certificate, which was revoked", str(self.why(client)))

    def test_revokedMaster(self) -> None:
        """
        The same the other way round.
        """
        _, client, link = self.connect()
        self.write("siem-7", revoked=revoke(self.authority, self.certificate(self.hub)))
        self.assertEqual(1, self.siem.use(self.siem.read()))
        link.flush()
        self.assertIn("the certificate of the master at 10.0.0.1:1516", str(self.why(client)))
        _, client, _ = self.connect()
        self.assertIsInstance(self.why(client), Revoked)

    def test_renewed(self) -> None:
        """
        A new certificate is used for new links; one that is there stays.
        """
        server, _, _ = self.connect()
        old = self.certificate(self.siem)
        self.writeIssued("siem-7", self.authority.issue(SIEM))
        self.assertEqual(0, self.siem.use(self.siem.read()))
        self.assertNotIn("lost", server.events)
        server, _, _ = self.connect()
        shown = server.transport.getPeerCertificate().to_cryptography()  # type: ignore[union-attr]
        self.assertNotEqual(old.serial_number, shown.serial_number)
        self.assertEqual(self.certificate(self.siem), shown)

    def test_otherAuthority(self) -> None:
        """
        A master that changes its authority ends the links of the old one's
        workers.
        """
        server, _, link = self.connect()
        self.authority = makeAuthority("two")
        self.hub.use(self.trust(HUB).read())
        link.flush()
        self.assertIsInstance(self.why(server), WrongKey)
        self.assertIn("another authority", str(self.why(server)))

    def test_expired(self) -> None:
        """
        A link whose certificate expired meanwhile ends when files are read
        again.
        """
        server, _, link = self.connect()
        expired = self.authority.issue(SIEM, datetime(2001, 1, 1, tzinfo=timezone.utc))
        # As if it had been good when the link was made.
        server.transport.getPeerCertificate = lambda: _Shown(  # type: ignore[union-attr]
            expired.certificate
        )
        self.assertEqual(1, self.hub.use(self.hub.read()))
        link.flush()
        self.assertIn("has expired", str(self.why(server)))

    def test_duringTheHandshake(self) -> None:
        """
        A handshake that is under way when the files are read does not slip
        through by the old ones.
        """
        for steps in range(5):
            server, _, link = self.connect(steps)
            if "handshake" in server.events:
                break
            self.write("hub", revoked=revoke(self.authority, self.certificate(self.siem)))
            self.hub.use(self.hub.read())
            link.flush()
            self.assertEqual(["connected", "lost"], server.events)
            self.assertIn("during the TLS handshake", str(self.why(server)))
            self.write("hub", revoked=revoke(self.authority))
            self.hub.use(self.hub.read())
        else:
            self.fail("no handshake came about")
        self.assertGreater(steps, 0)

    def test_forgotten(self) -> None:
        """
        Links that ended are not looked at again.
        """
        _, _, link = self.connect()
        link.close()
        self.authority = makeAuthority("two")
        self.assertEqual(0, self.hub.use(self.trust(HUB).read()))
        self.assertEqual(set(), self.hub._gates)

    def test_oldListStillCounts(self) -> None:
        """
        A list that should have been replaced long ago, or is from the future,
        parts nobody but those on it.
        """
        for last, following in ((2001, 2002), (2090, 2091)):
            for revoked in (False, True):
                self.write("hub", revoked=revoke(self.authority))
                self.hub.use(self.hub.read())
                before, _, link = self.connect()
                serials = [self.certificate(self.siem).serial_number] if revoked else []
                self.write("hub", revoked=dated(self.authority, last, following, serials))
                self.hub.use(self.hub.read())
                link.flush()
                after, _, _ = self.connect()
                self.assertEqual(revoked, "lost" in before.events)
                self.assertEqual(revoked, "handshake" not in after.events)
                if revoked:
                    self.assertIsInstance(self.why(before), Revoked)
                    self.assertIsInstance(self.why(after), Revoked)


class _Shown:
    """
    A certificate as a connection shows it.
    """

    def __init__(self, certificate: x509.Certificate) -> None:
        self.to_cryptography = lambda: certificate


class OpenFilesTests(FilesCase):
    """
    What is said of files that cannot be used, or should be others.
    """

    def setUp(self) -> None:
        super().setUp()
        self.siem = self.trust(SIEM)

    def refused(self) -> str:
        """
        The one line with which the files are refused.
        """
        error = str(self.assertRaises(ConfigError, self.siem.read))
        self.assertTrue(error.startswith(WHERE), error)
        self.assertNotIn("\n", error)
        return error

    def read(self) -> Opened:
        return self.siem.read()

    def path(self, name: str) -> FilePath[str]:
        return self.folder.child(f"siem-7-{name}")

    def test_good(self) -> None:
        """
        Good files say nothing.
        """
        self.assertEqual((), self.read().warnings)

    def test_missing(self) -> None:
        """
        A file that is not there, or is none, is named with its key.
        """
        names = {"ca": "ca", "certificate": "certificate", "private_key": "key"}
        for key, name in {**names, "revoked": "revoked"}.items():
            content = self.path(name).getContent()
            self.path(name).remove()
            error = self.refused()
            self.assertIn(f"[certificates] {key}: there is no file {self.path(name).path}", error)
            self.assertIn("wazuh-cluster certify", error)
            os.mkfifo(self.path(name).path)
            self.assertIn(f"[certificates] {key}", self.refused())
            self.path(name).remove()
            self.path(name).makedirs()
            self.assertIn(f"[certificates] {key}", self.refused())
            self.path(name).remove()
            self.path(name).setContent(content)
        self.read()

    def test_unreadable(self) -> None:
        """
        One that this user cannot read says so.
        """
        loop = self.path("key")
        loop.remove()
        # Root may read everything, but not this.
        os.symlink(loop.path, loop.path)
        self.assertIn(f"{loop.path} cannot be read", self.refused())

    def test_tooLarge(self) -> None:
        """
        What could never be such a file is not read to its end.
        """
        with open(self.path("revoked").path, "r+b") as file:
            file.truncate(1 << 40)
        self.assertIn("no file of this kind", self.refused())

    def test_anotherNode(self) -> None:
        """
        A certificate for another name, role or cluster is refused, and both
        names are told.
        """
        for other in (
            evolve(SIEM, name="siem-8"),
            evolve(SIEM, role=MASTER),
            evolve(SIEM, cluster="other"),
        ):
            self.writeIssued("siem-7", self.authority.issue(other))
            error = self.refused()
            self.assertIn(identityToURI(other), error)
            self.assertIn(f"this node is {identityToURI(SIEM)}", error)

    def test_notAList(self) -> None:
        """
        The list of revoked certificates must be one, and the authority's own.
        """
        self.write("siem-7", revoked=b"nothing")
        self.assertIn("'revoked' is not a list", self.refused())
        self.write("siem-7", revoked=revoke(makeAuthority("one")))
        self.assertIn("'ca' did not sign 'revoked'", self.refused())
        self.write("siem-7", revoked=revoke(makeAuthority("two")))
        self.assertIn("'ca' did not sign 'revoked'", self.refused())

    def test_notForLists(self) -> None:
        """
        A list of an authority that may sign none would keep everybody out, and
        is refused.
        """
        self.authority = testKey().derive()
        self.siem = self.trust(SIEM)
        self.assertIn("CRL signing", self.refused())

    def test_lapsedList(self) -> None:
        """
        A list that should have been replaced is warned of.
        """
        self.write("siem-7", revoked=dated(self.authority, 2001, 2002, []))
        (warning,) = self.read().warnings
        self.assertIn("followed by another list on 2002-01-01", warning)

    def test_ownRevoked(self) -> None:
        """
        A node whose own certificate was revoked does not begin to use it.
        """
        certificate = self.read().credentials.certificate
        self.write("siem-7", revoked=revoke(self.authority, certificate))
        self.assertIn("is one of those in 'revoked'", self.refused())

    def test_noAuthority(self) -> None:
        """
        A node's certificate that signed itself is no authority.
        """
        key = Ed25519PrivateKey.generate()
        certificate = sign(key, key)
        pem = certificate.public_bytes(Encoding.PEM)
        self.write("siem-7", ca=pem, certificate=pem, key=keyToPEM(key))
        self.siem = FileTrust(self.files("siem-7"), SIEM)
        self.assertIn("'ca' is no authority's certificate", self.refused())

    def test_purpose(self) -> None:
        """
        A certificate for one end of TLS alone is refused.
        """
        key = Ed25519PrivateKey.generate()
        certificate = sign(key, self.authority._privateKey, ExtendedKeyUsageOID.SERVER_AUTH)
        self.write("siem-7", certificate=certificate.public_bytes(Encoding.PEM), key=keyToPEM(key))
        self.assertIn("'certificate' is not for both ends of TLS", self.refused())

    def test_readableByAll(self) -> None:
        """
        A private key that everybody can read works, and is warned of.
        """
        self.path("key").chmod(0o644)
        (warning,) = self.read().warnings
        self.assertIn("everybody on this machine can read", warning)
        self.assertIn(f"chmod 0640 {self.path('key').path}", warning)

    def test_dates(self) -> None:
        """
        A certificate that has expired, or will soon, or is not valid yet, is
        warned of: the clock may be what is wrong.
        """
        for days, words in ((-1, "has expired on"), (29, "expires on"), (31, None)):
            until = NOW + timedelta(days=days)
            self.writeIssued("siem-7", self.authority.issue(SIEM, until))
            warnings = self.read().warnings
            self.assertEqual(words is not None, bool(warnings))
            if words is not None:
                self.assertIn(f"'certificate' {words} {until:%Y-%m-%d}", warnings[0])
        early = FileTrust(self.files("siem-7"), SIEM, lambda: 0.0)
        self.assertIn("is not valid before 2000-01-01", early.read().warnings[0])
