"""
The folder in which somebody keeps an authority for nodes' certificates.
"""

from __future__ import annotations

import os
import secrets
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from wazuh_cluster.errors import ConfigError
from wazuh_cluster.model import Identity
from wazuh_cluster.plannedfile import PlannedFile, writePlanned
from wazuh_cluster.trust import Authority, authorityFromPEM, makeAuthority

#: The authority's certificate and its list of revoked ones, which all nodes
#: get, and its key, which none gets.
CA = "ca.pem"
REVOKED = "revoked.pem"
KEY = "ca_key.pem"

#: Copies of all certificates that were issued, to be revoked one day.
ISSUED = "issued"

_RESTORE = "name the authority's folder by --ca, or restore it"


class AuthorityFolder:
    """
    An authority on disk: C{ca.pem}, C{ca_key.pem}, C{revoked.pem}, and copies
    of what it issued in C{issued/}.

    @ivar path: the folder, absolute.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    def join(self, name: str) -> str:
        """
        The absolute path of something in the folder.
        """
        return os.path.join(self.path, name)

    def isEmpty(self) -> bool:
        """
        Whether there is no authority yet, nor a part of one.
        """
        return not any(os.path.lexists(self.join(name)) for name in (CA, KEY, REVOKED))

    def make(self, now: datetime) -> Authority:
        """
        Make an authority with a fresh key, and an empty list of revoked
        certificates.

        @raise BadInput: if it cannot be written, or is there already.
        """
        authority = makeAuthority(f"wazuh_cluster {secrets.token_hex(4)}")
        nothing = authority.revoke({}, 1, now)
        makeFolder(self.path, 0o700)
        for name, content, mode in (
            (KEY, authority.privateKeyPEM(), 0o600),
            (REVOKED, nothing.public_bytes(Encoding.PEM), 0o644),
            (CA, authority.certificate.public_bytes(Encoding.PEM), 0o644),
        ):
            writePlanned(PlannedFile(self.join(name), content, mode))
        return authority

    def load(self) -> Authority:
        """
        The authority that is there.

        @raise ConfigError: if it cannot be read.
        """
        certificate, key = self.read(CA), self.read(KEY)
        try:
            return authorityFromPEM(certificate, key)
        except ValueError:
            raise ConfigError(
                f"{CA} and {KEY} are not those of an authority that 'wazuh-cluster certify' made",
                self.path,
                _RESTORE,
            ) from None

    def read(self, name: str) -> bytes:
        """
        One of its files.

        @raise ConfigError: if it cannot be read.
        """
        path = self.join(name)
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise ConfigError(f"it cannot be read ({error.strerror})", path, _RESTORE) from None

    def keep(self, identity: Identity, certificate: x509.Certificate) -> str:
        """
        Keep a copy of what was issued.

        @return: its absolute path.
        """
        folder = self.join(ISSUED)
        makeFolder(folder, 0o700)
        path = os.path.join(folder, f"{identity.name}-{certificate.serial_number:x}.pem")
        writePlanned(PlannedFile(path, certificate.public_bytes(Encoding.PEM), 0o644))
        return path

    def revoke(self, authority: Authority, serial: int, now: datetime) -> bool:
        """
        Add a certificate to the list of revoked ones.

        @return: whether it was not on it.

        @raise ConfigError: if there is no list that can be read.
        """
        before = self.read(REVOKED)
        try:
            listed = x509.load_pem_x509_crl(before)
            number = listed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        except (ValueError, x509.ExtensionNotFound):
            raise ConfigError(
                "it is no list that 'wazuh-cluster certify' made", self.join(REVOKED), _RESTORE
            ) from None
        serials = {each.serial_number: each.revocation_date_utc for each in listed}
        if serial in serials:
            return False
        serials[serial] = now
        after = authority.revoke(serials, number + 1, now).public_bytes(Encoding.PEM)
        writePlanned(PlannedFile(self.join(REVOKED), after, 0o644, replaces=before))
        return True


def makeFolder(path: str, mode: int) -> None:
    """
    Make a folder, with this mode whatever the umask, unless it is there.

    @raise ConfigError: if it cannot be made.
    """
    if os.path.isdir(path):
        return
    try:
        os.makedirs(path)
        os.chmod(path, mode)
    except OSError as error:
        raise ConfigError(
            f"the folder cannot be made ({error.strerror})", path, "name another one"
        ) from None
