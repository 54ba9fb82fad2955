"""
Tests for C{wazuh-cluster certify}.
"""

from __future__ import annotations

import os
import stat
from contextlib import redirect_stdout
from datetime import datetime, timedelta, timezone
from io import StringIO

from cryptography import x509
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from tests.test_scripts import call
from wazuh_cluster.model import MASTER, WORKER, CertificateFiles, Identity
from wazuh_cluster.scripts.certify import CertifyOptions, certify
from wazuh_cluster.settings import readSettings
from wazuh_cluster.testing.trust import OneProtocol
from wazuh_cluster.trust import FileTrust

FILES = ["ca.pem", "certificate.pem", "private_key.pem", "revoked.pem"]


class CertifyTests(SynchronousTestCase):
    """
    An authority in a folder, and what it issues.
    """

    def setUp(self) -> None:
        self.ca = FilePath(os.path.abspath(self.mktemp()))
        self.out = FilePath(os.path.abspath(self.mktemp()))

    def certify(self, *arguments: str) -> str:
        """
        Run the command, which does what it is told.
        """
        status, out, err = call("certify", "--ca", self.ca.path, *arguments)
        self.assertEqual((0, ""), (status, err))
        return out

    def refused(self, status: int, *arguments: str) -> str:
        """
        The one line with which it refuses.
        """
        found, out, err = call("certify", *arguments)
        self.assertEqual((status, "", 1), (found, out, err.count("\n")), err)
        return err

    def issue(self, *more: str) -> str:
        return self.certify(*self.node(), *more)

    def node(self) -> tuple[str, ...]:
        return ("--role", "worker", "--node-name", "siem-7", "--out", self.out.path)

    def files(self) -> CertificateFiles:
        return CertificateFiles(*FILES).within(self.out.path)

    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.out.child("certificate.pem").getContent())

    def revoked(self) -> x509.CertificateRevocationList:
        return x509.load_pem_x509_crl(self.ca.child("revoked.pem").getContent())

    def mode(self, path: FilePath[str]) -> int:
        return stat.S_IMODE(os.stat(path.path).st_mode)

    def test_authority(self) -> None:
        """
        The authority is made once; nobody but its owner can read the key,
        whatever the umask.
        """
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.assertIn("Made an authority", self.certify())
        kept = self.ca.child("ca_key.pem")
        self.assertEqual((0o700, 0o600), (self.mode(self.ca), self.mode(kept)))
        key = kept.getContent()
        self.assertIn("There is an authority", self.certify())
        self.assertEqual(key, kept.getContent())

    def test_node(self) -> None:
        """
        A node's files are what its settings need, and only its owner can read
        the key; what is printed can be copied into the settings.
        """
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        out = self.issue()
        self.assertEqual(FILES, sorted(self.out.listdir()))
        self.assertEqual(
            (0o700, 0o600), (self.mode(self.out), self.mode(self.out.child("private_key.pem")))
        )
        trust = FileTrust(self.files(), Identity("wazuh", WORKER, "siem-7"))
        self.assertEqual((), trust.read().warnings)
        trust.wrapClient(OneProtocol(None), None)  # type: ignore[arg-type]
        settings = readSettings("\n".join(out[out.index("  [") :].split("\n  ")), "w.ini")
        assert settings.certificates is not None
        self.assertEqual(
            [f"etc/wazuh_cluster/{name}" for name in FILES],
            sorted(path for _, path in settings.certificates.named()),
        )

    def test_master(self) -> None:
        """
        A master's is for a master, of the cluster that is named.
        """
        self.certify(
            *("--role", "master", "--node-name", "hub", "--cluster-name", "x", "--out"),
            self.out.path,
        )
        FileTrust(self.files(), Identity("x", MASTER, "hub")).read()

    def test_days(self) -> None:
        """
        A certificate can end some day; by default it does not.
        """
        self.issue()
        self.assertEqual(9999, self.certificate().not_valid_after_utc.year)
        self.out.remove()
        now = datetime(2030, 6, 1, 12, 0, tzinfo=timezone.utc)
        options = CertifyOptions()
        options.parseOptions(["--ca", self.ca.path, *self.node(), "--days", "90"])
        with redirect_stdout(StringIO()):
            certify(options, now.timestamp)
        self.assertEqual(now + timedelta(days=90), self.certificate().not_valid_after_utc)

    def test_revoke(self) -> None:
        """
        Certificates are revoked by the copies that the authority kept, one
        after the other; each list has a higher number.
        """
        serials = set()
        for turn in range(2):
            self.issue()
            serials.add(self.certificate().serial_number)
            (copy,) = [
                child
                for child in self.ca.child("issued").children()
                if child.getContent() == self.out.child("certificate.pem").getContent()
            ]
            self.assertIn("Revoked the certificate", self.certify("--revoke", copy.path))
            self.assertIn("was revoked already", self.certify("--revoke", copy.path))
            listed = self.revoked()
            self.assertEqual(serials, {each.serial_number for each in listed})
            number = listed.extensions.get_extension_for_class(x509.CRLNumber)
            self.assertEqual(turn + 2, number.value.crl_number)
            self.out.remove()

    def test_newNodesKnowTheRevoked(self) -> None:
        """
        A node's files have the list as it is then.
        """
        self.issue()
        (copy,) = self.ca.child("issued").children()
        self.certify("--revoke", copy.path)
        self.out.remove()
        self.issue()
        self.assertEqual(
            self.ca.child("revoked.pem").getContent(), self.out.child("revoked.pem").getContent()
        )

    def test_misuse(self) -> None:
        """
        A command line that cannot be meant says which option, and makes
        nothing.
        """
        ca = ("--ca", self.ca.path)
        for option, arguments in (
            ("--ca", ()),
            ("--role", (*ca, "--node-name", "x")),
            ("--role", (*ca, "--role", "boss", "--node-name", "x")),
            ("--node-name", (*ca, "--role", "worker")),
            ("--out", (*ca, "--role", "worker", "--node-name", "x")),
            ("--days", (*ca, *self.node(), "--days", "soon")),
            ("--days", (*ca, *self.node(), "--days", "0")),
            ("--revoke", (*ca, *self.node(), "--revoke", "x")),
        ):
            self.assertIn(f"wazuh-cluster: {option}: ", self.refused(2, *arguments))
        self.assertFalse(self.ca.exists() or self.out.exists())

    def test_refused(self) -> None:
        """
        So does a name that is none, and files that are in the way; those stay.
        """
        ca = ("--ca", self.ca.path)
        bad = ("--role", "worker", "--node-name", ".x", "--out", self.out.path)
        self.assertIn("--node-name: '.x' cannot be", self.refused(1, *ca, *bad))
        self.assertFalse(self.ca.exists() or self.out.exists())
        self.issue()
        before = self.certificate()
        self.assertIn("there is such a file already", self.refused(1, *ca, *self.node()))
        self.assertEqual(before, self.certificate())
        self.assertEqual(1, len(self.ca.child("issued").listdir()))

    def test_notRevocable(self) -> None:
        """
        What is no node's certificate of this authority is not revoked.
        """
        ca = ("--ca", self.ca.path)
        self.assertIn("ca.pem: it cannot be read", self.refused(1, *ca, "--revoke", "x"))
        self.issue()
        mine = self.ca.child("ca.pem").path
        self.assertIn("is no node's", self.refused(1, *ca, "--revoke", mine))
        key = self.out.child("private_key.pem").path
        self.assertIn("no certificate in PEM form", self.refused(1, *ca, "--revoke", key))
        other = FilePath(self.mktemp())
        self.assertEqual(0, call("certify", "--ca", other.path)[0])
        certificate = self.out.child("certificate.pem").path
        error = self.refused(1, "--ca", other.path, "--revoke", certificate)
        self.assertIn(f"is no node's that the authority in {os.path.abspath(other.path)}", error)
        self.assertEqual([], list(self.revoked()))

    def test_damagedAuthority(self) -> None:
        """
        An authority of which a part is missing, or is not its own, is not made
        anew over the rest.
        """
        self.certify()
        ca = ("--ca", self.ca.path)
        key = self.ca.child("ca_key.pem")
        content = key.getContent()
        key.remove()
        self.assertIn(f"{key.path}: it cannot be read", self.refused(1, *ca, *self.node()))
        for wrong in (b"", self.ca.child("ca.pem").getContent(), self.otherKey()):
            key.setContent(wrong)
            self.assertIn("ca.pem and ca_key.pem are not", self.refused(1, *ca, *self.node()))
        key.setContent(content)
        self.issue()
        self.ca.child("revoked.pem").setContent(b"nothing")
        (copy,) = self.ca.child("issued").children()
        error = self.refused(1, *ca, "--revoke", copy.path)
        self.assertIn("revoked.pem: it is no list", error)

    def otherKey(self) -> bytes:
        folder = FilePath(self.mktemp())
        self.assertEqual(0, call("certify", "--ca", folder.path)[0])
        return folder.child("ca_key.pem").getContent()

    def test_noList(self) -> None:
        """
        An authority without its list of revoked certificates issues nothing.
        """
        self.certify()
        self.ca.child("revoked.pem").remove()
        self.refused(1, "--ca", self.ca.path, *self.node())
        self.assertEqual([], self.out.listdir())
        self.assertFalse(self.ca.child("issued").exists())

    def test_noRoom(self) -> None:
        """
        A folder that cannot be made is named.
        """
        self.out.setContent(b"a file")
        below = self.out.child("below").path
        arguments = ("--role", "worker", "--node-name", "siem-7", "--out", below)
        error = self.refused(1, "--ca", self.ca.path, *arguments)
        self.assertIn(f"{below}: the folder cannot be made (Not a directory)", error)
