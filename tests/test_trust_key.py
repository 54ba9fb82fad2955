"""
Tests for L{wazuh_cluster.trust.key}, L{wazuh_cluster.trust.authority} and
L{wazuh_cluster.trust.names}.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from datetime import datetime, timezone

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import BadKey, IdentityMismatch
from wazuh_cluster.model import MASTER, WORKER, Identity
from wazuh_cluster.testing.trust import KEY, OTHER, testKey
from wazuh_cluster.trust import (
    ClusterKey,
    identityFromURI,
    identityOf,
    identityToURI,
)
from wazuh_cluster.trust.authority import deriveAuthority

IDENTITY = Identity("wazuh", WORKER, "siem-7")


class ClusterKeyTests(SynchronousTestCase):
    """
    A key is checked once and never shown.
    """

    def test_wrongLength(self) -> None:
        """
        A key that is too short or too long is refused with its length.
        """
        for text in ("a", KEY[:-1], KEY + "a"):
            error = self.assertRaises(BadKey, ClusterKey, text)
            self.assertIn(f"{len(text)} characters, not 32", str(error))

    def test_empty(self) -> None:
        """
        No key at all has a text of its own.
        """
        self.assertIn("no cluster key", str(self.assertRaises(BadKey, ClusterKey, "")))

    def test_wrongCharacters(self) -> None:
        """
        Blanks, line ends, punctuation and letters outside ASCII are refused.
        """
        for end in (" ", "\n", "-", "é", "٣"):
            self.assertRaises(BadKey, ClusterKey, KEY[:-1] + end)
        self.assertRaises(BadKey, ClusterKey, KEY[:-1].encode() + b"\xff")

    def test_errorTellsWhereAndNotWhat(self) -> None:
        """
        The error names the place and the remedy, in one line, without the key.
        """
        error = self.assertRaises(BadKey, ClusterKey, KEY[:-1], "/o/ossec.conf: <key>")
        self.assertTrue(str(error).startswith("/o/ossec.conf: <key>: "))
        self.assertIn("wazuh-cluster init", error.remedy)
        self.assertNotIn(KEY[:8], str(error))
        self.assertNotIn("\n", str(error))

    def test_neverShown(self) -> None:
        """
        No text form of a key, of what is derived from it or of a node's
        credentials has the key or private key material in it.
        """
        key = testKey()
        shown = [repr(key), str(key), f"{key}", f"{[key]!r}", repr(key.derive())]
        shown.append(repr(key.derive().issue(IDENTITY)))
        for text in shown:
            self.assertNotIn(KEY, text)
            self.assertNotIn("PrivateKey", text)

    def test_neverPickled(self) -> None:
        """
        A key can be neither pickled nor copied, by any pickle protocol.
        """
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            self.assertRaises(TypeError, pickle.dumps, ClusterKey(KEY), protocol)
        self.assertRaises(TypeError, copy.deepcopy, ClusterKey(KEY))

    def test_equality(self) -> None:
        """
        Keys are equal by their text, given as text or bytes, and to nothing else.
        """
        self.assertEqual(ClusterKey(KEY), ClusterKey(KEY.encode("ascii")))
        self.assertEqual(hash(ClusterKey(KEY)), hash(ClusterKey(KEY)))
        self.assertNotEqual(ClusterKey(KEY), ClusterKey(OTHER))
        self.assertNotEqual(ClusterKey(KEY), KEY)

    def test_derivedOnce(self) -> None:
        """
        The second derivation returns the object of the first.
        """
        self.assertIs(testKey().derive(), testKey().derive())


class AuthorityTests(SynchronousTestCase):
    """
    The same key makes the same authority everywhere.
    """

    def test_deterministic(self) -> None:
        """
        Two derivations give the same certificate, byte for byte; another key
        gives another.
        """
        first = testKey().derive().certificate
        second = deriveAuthority(KEY.encode("ascii")).certificate
        self.assertEqual(first.public_bytes(Encoding.DER), second.public_bytes(Encoding.DER))
        self.assertNotEqual(
            first.public_key(),
            testKey(OTHER).derive().certificate.public_key(),
        )

    def test_knownAnswer(self) -> None:
        """
        The authority of a known key is this one: a change here separates nodes
        of different versions, so it must be a new protocol version.
        """
        certificate = testKey().derive().certificate
        self.assertEqual(FINGERPRINT, certificate.fingerprint(SHA256()).hex())

    def test_datesDoNotMatter(self) -> None:
        """
        Authority and node certificates are valid from 2000 to 9999.
        """
        authority = testKey().derive()
        for certificate in (authority.certificate, authority.issue(IDENTITY).certificate):
            self.assertEqual(
                certificate.not_valid_before_utc, datetime(2000, 1, 1, tzinfo=timezone.utc)
            )
            self.assertEqual(certificate.not_valid_after_utc.year, 9999)

    def test_authorityCannotIssueAuthorities(self) -> None:
        """
        The authority signs node certificates and nothing below them.
        """
        constraints = (
            testKey()
            .derive()
            .certificate.extensions.get_extension_for_class(x509.BasicConstraints)
            .value
        )
        self.assertTrue(constraints.ca)
        self.assertEqual(0, constraints.path_length)

    def test_leaf(self) -> None:
        """
        A node's certificate has an empty subject, one critical URI, both
        purposes, no authority of its own, and is signed by the cluster's.
        """
        credentials = testKey().derive().issue(IDENTITY)
        leaf = credentials.certificate
        leaf.verify_directly_issued_by(testKey().derive().certificate)
        self.assertEqual(0, len(list(leaf.subject)))
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        self.assertTrue(names.critical)
        self.assertEqual(
            [x509.UniformResourceIdentifier("wazuh-cluster:wazuh/worker/siem-7")],
            list(names.value),
        )
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual(
            {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}, set(purposes)
        )
        self.assertFalse(leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)

    def test_freshKeyEachTime(self) -> None:
        """
        Two certificates of one node share neither key nor serial number.
        """
        authority = testKey().derive()
        first, second = authority.issue(IDENTITY), authority.issue(IDENTITY)
        self.assertNotEqual(first.certificate.public_key(), second.certificate.public_key())
        self.assertNotEqual(first.certificate.serial_number, second.certificate.serial_number)

    def test_longName(self) -> None:
        """
        A node name of 128 characters fits.
        """
        identity = Identity("c" * 128, MASTER, "n" * 128)
        self.assertEqual(identity, identityOf(testKey().derive().issue(identity).certificate))


NODE_NAMES = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}", fullmatch=True)


class NameTests(SynchronousTestCase):
    """
    Identities as URIs.
    """

    @settings(deadline=None, max_examples=100)
    @given(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64),
        st.sampled_from([MASTER, WORKER]),
        NODE_NAMES,
    )
    def test_roundTrip(self, cluster: str, role: str, name: str) -> None:
        """
        What was written is read again, whatever the cluster is called.
        """
        identity = Identity(cluster, role, name)
        uri = identityToURI(identity)
        self.assertTrue(uri.isascii())
        self.assertEqual(identity, identityFromURI(uri))

    @settings(deadline=None, max_examples=200)
    @given(
        st.one_of(
            st.text(max_size=80),
            st.text("w%2f2F/-.a\x00é", max_size=40).map(lambda t: "wazuh-cluster:" + t),
            st.tuples(st.text(max_size=9), st.text(max_size=9)).map(
                lambda t: f"wazuh-cluster:{t[0]}/worker/{t[1]}"
            ),
        )
    )
    def test_oneTextPerIdentity(self, uri: str) -> None:
        """
        Any text is refused with L{IdentityMismatch}, or is exactly how its
        identity is written.
        """
        try:
            identity = identityFromURI(uri)
        except IdentityMismatch:
            return
        self.assertEqual(uri, identityToURI(identity))

    def test_refused(self) -> None:
        """
        Other schemes, roles, shapes, spellings and lengths name nobody.
        """
        for uri in (
            "",
            "wazuh-cluster:",
            "https://wazuh/worker/a",
            "WAZUH-CLUSTER:wazuh/worker/a",
            "wazuh-cluster:wazuh/worker",
            "wazuh-cluster:wazuh/worker/a/b",
            "wazuh-cluster:wazuh/worker/",
            "wazuh-cluster:/worker/a",
            "wazuh-cluster:wazuh/admin/a",
            "wazuh-cluster:wazuh/worker/%61",
            "wazuh-cluster:wazuh/worker/a%2Fb",
            "wazuh-cluster:wazuh/worker/.a",
            "wazuh-cluster:%ff/worker/a",
            "wazuh-cluster:w%2fz/worker/a",
            "wazuh-cluster:" + "w" * 3000 + "/worker/a",
        ):
            self.assertRaises(IdentityMismatch, identityFromURI, uri)

    def test_certificates(self) -> None:
        """
        A certificate names a node if it has exactly one URI; other kinds of
        names beside it do not matter.
        """
        uri = x509.UniformResourceIdentifier("wazuh-cluster:wazuh/worker/siem-7")
        other = x509.UniformResourceIdentifier("wazuh-cluster:wazuh/master/siem-7")
        dns = x509.DNSName("siem-7.example.org")
        self.assertEqual(IDENTITY, identityOf(selfSigned([uri])))
        self.assertEqual(IDENTITY, identityOf(selfSigned([dns, uri])))
        several: list[list[x509.GeneralName]] = [[], [dns], [uri, other], [uri, uri]]
        for names in several:
            self.assertRaises(IdentityMismatch, identityOf, selfSigned(names))

    def test_malformedNames(self) -> None:
        """
        Nor does one whose alternative names cannot be read, or are of a kind
        that nobody reads.
        """
        for raw in (
            b"",
            b"\xff\xff",
            b"0\2\xa3\0",
            b"0\2\xa5\0",
            b"0\4\x86\2\xff\xfe",
            b"0\3\x88\1\xff",
        ):
            extension = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, raw)
            self.assertRaises(IdentityMismatch, identityOf, selfSigned(extension))


def selfSigned(
    names: Sequence[x509.GeneralName] | x509.UnrecognizedExtension,
) -> x509.Certificate:
    """
    A certificate with these alternative names, and no such extension for none;
    or with an extension as it is.
    """
    key = Ed25519PrivateKey.generate()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(2040, 1, 1))
    )
    if isinstance(names, x509.UnrecognizedExtension):
        builder = builder.add_extension(names, critical=True)
    elif names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    return builder.sign(key, None)


#: SHA-256 of the authority's certificate for L{KEY}.
FINGERPRINT = "ce14c11a13b5c1fdb5de81af6e7b95a2be926da05f51f62b8e008ad801da5eb0"
