"""
A node's credentials from the files in which its operator keeps them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from attrs import frozen

from wazuh_cluster.errors import BadInput, ConfigError
from wazuh_cluster.model import CertificateFiles, Identity
from wazuh_cluster.trust.authority import Credentials
from wazuh_cluster.trust.credentials import (
    checkCredentials,
    readCertificate,
    readKey,
    readRevoked,
)
from wazuh_cluster.trust.names import identityToURI
from wazuh_cluster.trust.tls import Terms

#: The largest file that is read: a list of some hundred thousand certificates.
_LARGEST = 16 * 1024 * 1024

#: How long before a certificate expires that is warned of.
_SOON = timedelta(days=30)


@frozen
class Opened:
    """
    What the files held when they were read: good credentials.

    @ivar credentials: a node's.
    @ivar terms: those on which they are used.
    @ivar warnings: one line each, for the log: what works but should be
        changed.
    """

    credentials: Credentials
    terms: Terms
    warnings: tuple[str, ...] = ()


@frozen
class _Content:
    """
    One file: what is in it, and whether everybody may read that.
    """

    octets: bytes
    open: bool


def openFiles(files: CertificateFiles, identity: Identity, now: float) -> Opened:
    """
    Read all files, and see that they fit together. Blocks.

    @param identity: whom the certificate must be for.
    @param now: in seconds since the epoch, for the warnings.

    @raise ConfigError: one line that says what is wrong, where, and what to do.
    """
    contents = {name: _read(path, f"{files.where} {name}") for name, path in files.named()}
    credentials = Credentials(
        readCertificate(contents["certificate"].octets, "certificate", files.where),
        readKey(contents["private_key"].octets, files.where),
        readCertificate(contents["ca"].octets, "ca", files.where),
        readRevoked(contents["revoked"].octets, files.where) if "revoked" in contents else None,
    )
    found, terms = checkCredentials(credentials, files.where)
    if found != identity:
        raise ConfigError(
            f"'certificate' is for {identityToURI(found)}, and this node is "
            f"{identityToURI(identity)}",
            files.where,
            "issue one for this node, or correct <name>, <node_type> and <node_name> in ossec.conf",
        )
    warnings = [*_dates(credentials, files.where, datetime.fromtimestamp(now, timezone.utc))]
    if contents["private_key"].open:
        key = files.privateKey
        warnings.append(
            _line(
                f"everybody on this machine can read {key}",
                f"{files.where} private_key",
                f"chmod 0640 {key}",
            )
        )
    return Opened(credentials, terms, tuple(warnings))


def _read(path: str, where: str) -> _Content:
    try:
        # Without waiting for whoever writes a FIFO.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(handle, "rb") as file:
            mode = os.fstat(handle).st_mode
            content = file.read(_LARGEST + 1) if stat.S_ISREG(mode) else b""
    except FileNotFoundError:
        raise ConfigError(
            f"there is no file {path}", where, "'wazuh-cluster certify' makes such files"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror})",
            where,
            "let the user that the daemon runs as read it",
        ) from None
    if not stat.S_ISREG(mode) or len(content) > _LARGEST:
        raise ConfigError(f"{path} is no file of this kind", where, "name a PEM file")
    return _Content(content, bool(mode & 0o004))


def _dates(credentials: Credentials, where: str, now: datetime) -> Iterator[str]:
    """
    What is wrong about dates, or will be soon.
    """
    for name, one in (("certificate", credentials.certificate), ("ca", credentials.ca)):
        since, until = one.not_valid_before_utc, one.not_valid_after_utc
        if until < now + _SOON:
            expires = "has expired on" if until < now else "expires on"
            yield _line(
                f"{name!r} {expires} {until:%Y-%m-%d}", where, "issue another one, and send SIGHUP"
            )
        elif since > now:
            yield _line(
                f"{name!r} is not valid before {since:%Y-%m-%d}",
                where,
                "see that the clock is right",
            )
    revoked = credentials.revoked
    following = None if revoked is None else revoked.next_update_utc
    if following is not None and following < now:
        yield _line(
            f"'revoked' should have been followed by another list on {following:%Y-%m-%d}",
            where,
            "get the authority's new one, and send SIGHUP; this one is used meanwhile",
        )


def _line(what: str, where: str, remedy: str) -> str:
    return str(BadInput(what, where, remedy))
