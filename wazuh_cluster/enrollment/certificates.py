"""
The listener's certificate and private key: read, or made where Wazuh has them
when there are none. Everything here blocks.
"""

from __future__ import annotations

import os
from contextlib import closing, suppress
from datetime import datetime, timezone

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wazuh_cluster.errors import ConfigError
from wazuh_cluster.interfaces import IFileSystem

#: The permissions of both files, as Wazuh has them.
FILE_MODE = 0o640

#: So that clocks do not matter: agents trust a certificate that they were
#: given, not its dates.
_SINCE = datetime(2000, 1, 1, tzinfo=timezone.utc)
_UNTIL = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)

_LARGEST = 1024 * 1024
_PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@frozen
class Credentials:
    """
    What a listener shows.

    @ivar chain: its certificate, and those that lead to an authority.
    """

    chain: tuple[x509.Certificate, ...]
    privateKey: _PrivateKey = field(repr=False)


def loadCredentials(certificate: str, privateKey: str) -> Credentials:
    """
    Read certificate and private key.

    @raise ConfigError: if one is missing or cannot be used, or they do not
        belong together.
    """
    chain = _readChain(certificate)
    key = _readKey(privateKey)
    if chain[0].public_key() != key.public_key():
        raise ConfigError(
            f"its private key is not the one in {privateKey}",
            certificate,
            "put certificate and private key there that belong together",
        )
    return Credentials(chain, key)


def makeMissing(
    fileSystem: IFileSystem, certificate: str, privateKey: str, hostName: str
) -> list[str]:
    """
    Make a private key and a certificate that it signed itself, durably, where
    neither is; only the certificate where the key is left of a start that was
    cut short.

    @param hostName: stands in the certificate.
    @return: the paths that were made.
    @raise ConfigError: if they cannot be made, or a certificate is there
        without its private key.
    """
    made: list[str] = []
    if os.path.lexists(certificate):
        if not os.path.lexists(privateKey):
            raise ConfigError(
                "there is no such file, but its certificate is there",
                privateKey,
                f"restore it, or remove {certificate}: both are made anew then",
            )
        return made
    try:
        if not os.path.lexists(privateKey):
            new = ec.generate_private_key(ec.SECP256R1())
            content = new.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            _write(fileSystem, privateKey, content)
            made.append(privateKey)
        content = _selfSigned(_readKey(privateKey), hostName).public_bytes(Encoding.PEM)
        _write(fileSystem, certificate, content)
        made.append(certificate)
    except OSError as error:
        raise ConfigError(
            f"a certificate for agents cannot be made ({error.strerror})",
            os.path.dirname(certificate),
            "let the user that the daemon is started as write there",
        ) from None
    return made


def _readChain(path: str) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(_content(path)))
    except ValueError:
        raise ConfigError(
            "it is not a certificate in PEM", path, "write one there, or remove it and its key"
        ) from None


def _readKey(path: str) -> _PrivateKey:
    try:
        key = load_pem_private_key(_content(path), None)
    except TypeError:
        raise ConfigError(
            "the private key is encrypted", path, "write it there without a passphrase"
        ) from None
    except ValueError:
        raise ConfigError("it is not a private key in PEM", path, "write one there") from None
    if not isinstance(key, _PrivateKey):
        raise ConfigError("agents cannot use this kind of key", path, "use RSA or a NIST curve")
    return key


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_LARGEST)
    except OSError as error:
        raise ConfigError(
            f"it cannot be read ({error.strerror})",
            path,
            "let the user that the daemon is started as read it",
        ) from None


def _selfSigned(key: _PrivateKey, hostName: str) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostName[:64] or "Wazuh")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_SINCE)
        .not_valid_after(_UNTIL)
        # An agent that was given this certificate as its authority accepts it.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    if hostName and hostName.isascii():
        names = x509.SubjectAlternativeName([x509.DNSName(hostName)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, SHA256())


def _write(fileSystem: IFileSystem, path: str, content: bytes) -> None:
    """
    Make a file whole, durable, and its folder's owner's.
    """
    folderPath, _, name = os.fsencode(path).rpartition(b"/")
    temporary = b"." + name + b".tmp"
    with closing(fileSystem.openFolder(folderPath)) as folder:
        with suppress(FileNotFoundError):
            folder.unlink(temporary)
        with closing(folder.create(temporary, FILE_MODE)) as file:
            file.write(content)
            # Who is not root may not, and need not.
            with suppress(PermissionError):
                file.setOwner(*folder.owner)
            file.sync()
        folder.rename(temporary, folder, name)
        folder.sync()
