"""
Nodes' certificates in files, for tests.
"""

from __future__ import annotations

from datetime import datetime, timezone

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.task import Clock
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.model import MASTER, WORKER, CertificateFiles, Identity
from wazuh_cluster.trust import Authority, Credentials, FileTrust, keyToPEM, makeAuthority

NOW = datetime(2030, 6, 1, tzinfo=timezone.utc)
HUB = Identity("wazuh", MASTER, "hub")
SIEM = Identity("wazuh", WORKER, "siem-7")
WHERE = "x.ini, [certificates]"


def revoke(authority: Authority, *certificates: x509.Certificate) -> bytes:
    """
    The authority's list of revoked certificates, as a file holds it.
    """
    serials = {each.serial_number: NOW for each in certificates}
    return authority.revoke(serials, 1, NOW).public_bytes(Encoding.PEM)


class FilesCase(SynchronousTestCase):
    """
    Nodes' certificates in files.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.authority = makeAuthority("one")
        self.folder = FilePath(self.mktemp())
        self.folder.makedirs()

    def write(self, node: str, **contents: bytes) -> None:
        """
        Write some of a node's files.
        """
        for name, content in contents.items():
            path = self.folder.child(f"{node}-{name}")
            path.setContent(content)
            path.chmod(0o600)

    def writeIssued(self, node: str, issued: Credentials) -> None:
        """
        Write what an authority issued.
        """
        self.write(
            node,
            ca=issued.ca.public_bytes(Encoding.PEM),
            certificate=issued.certificate.public_bytes(Encoding.PEM),
            key=keyToPEM(issued.privateKey),
        )

    def files(self, node: str, revoked: bool = False) -> CertificateFiles:
        """
        Where a node's files are.
        """
        files = CertificateFiles(
            f"{node}-ca",
            f"{node}-certificate",
            f"{node}-key",
            f"{node}-revoked" if revoked else None,
            WHERE,
        )
        return files.within(self.folder.path)

    def trust(self, identity: Identity, revoked: bool = True) -> FileTrust:
        """
        The trust of a new node of the authority.
        """
        self.writeIssued(identity.name, self.authority.issue(identity))
        self.write(identity.name, revoked=revoke(self.authority))
        return FileTrust(self.files(identity.name, revoked), identity, lambda: NOW.timestamp())

    def certificate(self, trust: FileTrust) -> x509.Certificate:
        """
        The certificate in a node's files.
        """
        return trust.read().credentials.certificate
