"""
From a cluster key to a certificate authority, and from that to a node's own
certificate.

Every node computes the same authority from the same key, so there is nothing
to hand around and nothing to keep on disk.
"""

from __future__ import annotations

from datetime import datetime, timezone

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
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

# Certificates live in memory for as long as a process, so their dates need not
# say anything; these never disagree with a node's wrong clock.
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
    """

    certificate: x509.Certificate
    privateKey: NodeKey = field(repr=False)
    ca: x509.Certificate


@frozen
class Authority:
    """
    A certificate authority that lives in memory only.

    @ivar certificate: its own, self-signed.
    """

    certificate: x509.Certificate
    _privateKey: Ed25519PrivateKey = field(repr=False)

    def issue(self, identity: Identity) -> Credentials:
        """
        Make a node's certificate, with a fresh key each time.

        Its subject is empty, because a common name ends at 64 characters; its
        critical alternative name is C{identity} as a URI.
        """
        leafKey = Ed25519PrivateKey.generate()
        name = x509.UniformResourceIdentifier(identityToURI(identity))
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        issuer = self._privateKey.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(_CA_NAME)
            .public_key(leafKey.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_FROM)
            .not_valid_after(_UNTIL)
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_keyUsage(digitalSignature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), False)
        )
        return Credentials(builder.sign(self._privateKey, None), leafKey, self.certificate)


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
    publicKey = privateKey.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(_CA_NAME)
        .issuer_name(_CA_NAME)
        .public_key(publicKey)
        .serial_number(_CA_SERIAL)
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_keyUsage(keyCertSign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(publicKey), critical=False)
    )
    return Authority(builder.sign(privateKey, None), privateKey)


def _keyUsage(*, digitalSignature: bool = False, keyCertSign: bool = False) -> x509.KeyUsage:
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
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
