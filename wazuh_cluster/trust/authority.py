"""
A certificate authority, derived from a cluster key or made once and kept; and
from that a node's own certificate.

Every node computes the same authority from the same key, so there is nothing
to hand around and nothing to keep on disk. One that is made is somebody's to
keep: what it signs is all that it tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wazuh_cluster.model import Identity
from wazuh_cluster.trust.names import identityToURI

# All of these are part of the wire: nodes that disagree in one of them take
# each other for holders of different keys. The salt is fixed rather than the
# cluster's name so that a wrong name can be told from a wrong key.
_SALT = b"wazuh_cluster cluster key 1"
_CA_LABEL = b"wazuh_cluster certificate authority 1"
_CA_SERIAL = 1
_CA_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wazuh_cluster")])

# These never disagree with a node's wrong clock. A certificate that lives in
# memory only, or can be revoked, needs no others.
_FROM = datetime(2000, 1, 1, tzinfo=timezone.utc)
_UNTIL = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)

#: The kinds of private key that a node's certificate may have.
NodeKey = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey


@frozen
class Credentials:
    """
    What a node shows its peers and what it demands of them.

    @ivar certificate: the node's own.
    @ivar privateKey: that certificate's; never shown.
    @ivar ca: the only authority whose certificates are trusted.
    @ivar revoked: the authority's list of those that are not; its dates do not
        count.
    """

    certificate: x509.Certificate
    privateKey: NodeKey = field(repr=False)
    ca: x509.Certificate
    revoked: x509.CertificateRevocationList | None = None


@frozen
class Authority:
    """
    A certificate authority that can sign.

    @ivar certificate: its own, self-signed.
    """

    certificate: x509.Certificate
    _privateKey: Ed25519PrivateKey = field(repr=False)

    def issue(self, identity: Identity, until: datetime = _UNTIL) -> Credentials:
        """
        Make a node's certificate, with a fresh key each time.

        Its subject is empty, because a common name ends at 64 characters; its
        critical alternative name is C{identity} as a URI.

        @param until: when it expires; by default never, so that no clock
            matters.
        """
        leafKey = Ed25519PrivateKey.generate()
        name = x509.UniformResourceIdentifier(identityToURI(identity))
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        issuer = self._privateKey.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.certificate.subject)
            .public_key(leafKey.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_FROM)
            .not_valid_after(until)
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_keyUsage(digitalSignature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), False)
        )
        return Credentials(builder.sign(self._privateKey, None), leafKey, self.certificate)

    def revoke(
        self, serials: Mapping[int, datetime], number: int, now: datetime
    ) -> x509.CertificateRevocationList:
        """
        Make the list of certificates that are not trusted any more.

        @param serials: serial numbers to when each was revoked.
        @param number: the list's own; higher than that of the list before.
        """
        issuer = self._privateKey.public_key()
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now)
            .next_update(_UNTIL)
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), False)
        )
        for serial, when in sorted(serials.items()):
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when).build()
            )
        return builder.sign(self._privateKey, None)

    def privateKeyPEM(self) -> bytes:
        """
        The authority's own key, for whoever keeps it. Whoever has it can make
        any node.
        """
        return keyToPEM(self._privateKey)


def keyToPEM(key: NodeKey) -> bytes:
    """
    A private key as a file holds it, without a passphrase.
    """
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def authorityFromPEM(certificate: bytes, privateKey: bytes) -> Authority:
    """
    An authority that L{makeAuthority} made, from its two files.

    @raise ValueError: if they are not of one such authority.
    """
    try:
        key = load_pem_private_key(privateKey, password=None)
        shown = x509.load_pem_x509_certificate(certificate)
        fit = key.public_key() == shown.public_key()
    except (TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        # TypeError: the key has a passphrase.
        raise ValueError(str(error)) from None
    if not fit or not isinstance(key, Ed25519PrivateKey):
        raise ValueError("the key is not that of the certificate")
    return Authority(shown, key)


def makeAuthority(name: str) -> Authority:
    """
    Make an authority with a fresh key, for certificates that each node keeps.

    @param name: its common name, for people.
    """
    privateKey = Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = _keyUsage(keyCertSign=True, crlSign=True)
    return _selfSigned(privateKey, subject, x509.random_serial_number(), usage)


def deriveAuthority(secret: bytes) -> Authority:
    """
    Compute the authority of a cluster key: the same secret gives the same key
    and, byte for byte, the same certificate, always and everywhere.

    Blocks for about 75 ms and takes 33 MiB meanwhile: that is what every guess
    costs someone who guesses keys.
    """
    master = Scrypt(salt=_SALT, length=32, n=2**15, r=8, p=1).derive(secret)
    seed = HKDF(algorithm=SHA256(), length=32, salt=None, info=_CA_LABEL).derive(master)
    privateKey = Ed25519PrivateKey.from_private_bytes(seed)
    return _selfSigned(privateKey, _CA_NAME, _CA_SERIAL, _keyUsage(keyCertSign=True))


def _selfSigned(
    privateKey: Ed25519PrivateKey, name: x509.Name, serial: int, usage: x509.KeyUsage
) -> Authority:
    publicKey = privateKey.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(publicKey)
        .serial_number(serial)
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(publicKey), critical=False)
    )
    return Authority(builder.sign(privateKey, None), privateKey)


def _keyUsage(
    *, digitalSignature: bool = False, keyCertSign: bool = False, crlSign: bool = False
) -> x509.KeyUsage:
    """
    A key usage of exactly the bits given.
    """
    return x509.KeyUsage(
        digital_signature=digitalSignature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=keyCertSign,
        crl_sign=crlSign,
        encipher_only=False,
        decipher_only=False,
    )
