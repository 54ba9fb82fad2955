"""
Credentials from a certificate, its key and its authority, as an operator has
them: whether they fit together, or one line why not.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from wazuh_cluster.errors import ConfigError, IdentityMismatch
from wazuh_cluster.model import Identity
from wazuh_cluster.trust.authority import Credentials, NodeKey
from wazuh_cluster.trust.explain import DATE_ERRORS, REVOKED
from wazuh_cluster.trust.names import identityOf
from wazuh_cluster.trust.tls import Terms, makeTerms

_ISSUE = "issue another one"


def checkCredentials(credentials: Credentials, where: str) -> tuple[Identity, Terms]:
    """
    See that the parts of some credentials fit together, and that other nodes of
    the same authority would trust them; but for dates, for the clock here may
    be the one that is wrong.

    @param where: the place in which they are configured, for the errors.

    @return: whom they are for, and the terms on which they are used.

    @raise ConfigError: if they do not fit.
    """
    certificate, ca = credentials.certificate, credentials.ca
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        raise ConfigError(
            "'ca' did not sign 'certificate'", where, "name the authority that signed it"
        ) from None
    _checkAuthority(ca, where)
    try:
        itsKey = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        itsKey = None
    if itsKey != credentials.privateKey.public_key():
        raise ConfigError(
            "'private_key' is not the one of 'certificate'", where, "name the one it was made with"
        )
    try:
        identity = identityOf(certificate)
    except IdentityMismatch as problem:
        raise ConfigError(
            f"'certificate' names no node: {problem}", where, "issue one with that URI"
        ) from None
    _checkList(credentials, where)
    return identity, _checkUse(credentials, where)


def _checkAuthority(ca: x509.Certificate, where: str) -> None:
    """
    See that it does not say of itself that it is none: OpenSSL would take it as
    the only node that there is.
    """
    try:
        basic = ca.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        # What is wrong about it is found when it is used.
        return
    if not basic.ca:
        raise ConfigError(
            "'ca' is no authority's certificate", where, "name the authority that signs nodes'"
        )


def _checkList(credentials: Credentials, where: str) -> None:
    """
    See that the list of revoked certificates is the authority's.
    """
    revoked, ca = credentials.revoked, credentials.ca
    if revoked is None:
        return
    signed = False
    if revoked.issuer == ca.subject:
        try:
            signed = revoked.is_signature_valid(ca.public_key())  # type: ignore[arg-type]
        except TypeError:
            # An authority's key of a kind that signs no lists.
            signed = False
    if not signed:
        raise ConfigError(
            "'ca' did not sign 'revoked'", where, "name the list of the authority under 'ca'"
        )


def _checkUse(credentials: Credentials, where: str) -> Terms:
    """
    See that TLS takes them, on both ends.
    """
    try:
        terms = makeTerms(credentials)
    except SSL.Error as error:
        why = ", ".join(str(each[-1]) for each in error.args[0]) if error.args else "no reason"
        raise ConfigError(f"TLS does not take 'certificate' ({why})", where, _ISSUE) from None
    number, why = terms.judge(credentials.certificate)
    if number == REVOKED:
        raise ConfigError("'certificate' is one of those in 'revoked'", where, _ISSUE)
    if number and number not in DATE_ERRORS:
        raise ConfigError(
            f"other nodes would not trust 'certificate' ({why})",
            where,
            "issue one that OpenSSL verifies under 'ca' alone",
        )
    try:
        extensions = credentials.certificate.extensions
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return terms
    for needed in (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH):
        if needed not in purposes:
            raise ConfigError(
                "'certificate' is not for both ends of TLS",
                where,
                "issue one with serverAuth and clientAuth",
            )
    return terms


def readCertificate(content: bytes, name: str, where: str) -> x509.Certificate:
    """
    The first certificate of a PEM file.

    @param name: how the file is called in the configuration.

    @raise ConfigError: if there is none.
    """
    try:
        return x509.load_pem_x509_certificate(content)
    except (ValueError, x509.InvalidVersion):
        raise ConfigError(
            f"{name!r} is not a certificate in PEM form", where, "name a file that holds one"
        ) from None


def readKey(content: bytes, where: str) -> NodeKey:
    """
    The private key of a PEM file.

    @raise ConfigError: if there is none, or none that TLS takes.
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


def readRevoked(content: bytes, where: str) -> x509.CertificateRevocationList:
    """
    The list of revoked certificates of a PEM file.

    @raise ConfigError: if there is none.
    """
    try:
        return x509.load_pem_x509_crl(content)
    except ValueError:
        raise ConfigError(
            "'revoked' is not a list of revoked certificates (X509 CRL) in PEM form",
            where,
            "name a file that holds one",
        ) from None
