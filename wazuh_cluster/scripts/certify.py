"""
C{wazuh-cluster certify}: an authority for nodes' certificates, and what it
issues and revokes.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.python import usage

from wazuh_cluster.clusterblock import DEFAULT_CLUSTER
from wazuh_cluster.configvalues import parseName
from wazuh_cluster.errors import ConfigError, IdentityMismatch
from wazuh_cluster.integrity.items import LOCAL_FOLDER
from wazuh_cluster.model import MASTER, WORKER, Identity
from wazuh_cluster.plannedfile import PlannedFile, writePlanned
from wazuh_cluster.scripts.authorityfolder import (
    CA,
    ISSUED,
    KEY,
    REVOKED,
    AuthorityFolder,
    makeFolder,
)
from wazuh_cluster.scripts.homeoptions import CommandOptions
from wazuh_cluster.trust import Authority, identityOf, identityToURI, keyToPEM

#: The node's files, named as its settings are.
CERTIFICATE = "certificate.pem"
PRIVATE_KEY = "private_key.pem"

_MOST_DAYS = 36_500


class CertifyOptions(CommandOptions):
    """
    Options of C{certify}.
    """

    longdesc = (
        "Makes an authority for certificates in a folder, if there is none, and with it a "
        "node's certificate, or revokes one. Keep the folder on a safe machine: whoever has its "
        f"{KEY} can make any node."
    )
    optParameters = [
        ["ca", None, None, "The authority's folder"],
        ["cluster-name", None, DEFAULT_CLUSTER, "The cluster's name"],
        ["role", None, None, "What the node may be: master or worker"],
        ["node-name", None, None, "The node's name"],
        ["out", None, None, "A folder for the node's files"],
        ["days", None, None, "For how long the certificate is good [default: until revoked]"],
        ["revoke", None, None, f"A certificate that is not good any more; see {ISSUED}/"],
    ]

    def postOptions(self) -> None:
        """
        Check what can be checked without looking at anything.
        """
        if not self["ca"]:
            raise usage.UsageError("--ca: name the authority's folder")
        self.issues = any(self[name] is not None for name in ("role", "node-name", "out", "days"))
        if self.issues and self["revoke"] is not None:
            raise usage.UsageError("--revoke: issue and revoke one after the other")
        if not self.issues:
            return
        if self["role"] not in (MASTER, WORKER):
            raise usage.UsageError("--role: choose master or worker")
        if self["node-name"] is None:
            raise usage.UsageError("--node-name: name the node")
        if not self["out"]:
            raise usage.UsageError("--out: name a folder for the node's files")
        days = self["days"]
        if days is not None:
            if not (days.isascii() and days.isdigit() and 1 <= int(days[:9]) <= _MOST_DAYS):
                raise usage.UsageError(
                    f"--days: {days[:40]!r} is not a number from 1 to {_MOST_DAYS}"
                )
            self["days"] = int(days)


def run(options: CertifyOptions) -> int:
    """
    Do it.
    """
    certify(options)
    return 0


def certify(options: CertifyOptions, wallClock: Callable[[], float] = time.time) -> None:
    """
    Make the authority if there is none, then issue or revoke, and say what to
    do next.

    @raise BadInput: if something is wrong; a node's files are then all there or
        none of them.
    """
    now = datetime.fromtimestamp(wallClock(), timezone.utc).replace(microsecond=0)
    folder = AuthorityFolder(options["ca"])
    if options["revoke"] is not None:
        _revoke(folder, options["revoke"], now)
        return
    identity = None
    if options.issues:
        identity = Identity(
            parseName(options["cluster-name"], "--cluster-name", "cluster name"),
            options["role"],
            parseName(options["node-name"], "--node-name", "node name"),
        )
        _makeRoom(os.path.abspath(options["out"]))
    if folder.isEmpty():
        authority = folder.make(now)
        print(f"Made an authority in {shlex.quote(folder.path)}.")
        print(f"Its {KEY} must stay there: whoever has it can make any node.")
    else:
        authority = folder.load()
        if identity is None:
            print(f"There is an authority in {shlex.quote(folder.path)} already.")
    if identity is not None:
        days = options["days"]
        until = None if days is None else now + timedelta(days=days)
        _issue(folder, authority, identity, os.path.abspath(options["out"]), until)


def _issue(
    folder: AuthorityFolder,
    authority: Authority,
    identity: Identity,
    out: str,
    until: datetime | None,
) -> None:
    shared = [(name, folder.read(name)) for name in (CA, REVOKED)]
    issued = authority.issue(identity) if until is None else authority.issue(identity, until)
    # First, so that nothing is in use that could not be revoked.
    copy = folder.keep(identity, issued.certificate)
    _writeAll(
        [
            PlannedFile(os.path.join(out, PRIVATE_KEY), keyToPEM(issued.privateKey), 0o600),
            PlannedFile(
                os.path.join(out, CERTIFICATE), issued.certificate.public_bytes(Encoding.PEM), 0o644
            ),
            *(PlannedFile(os.path.join(out, name), content, 0o644) for name, content in shared),
        ]
    )
    ends = "" if until is None else f", good until {until:%Y-%m-%d}"
    print(f"Made {shlex.quote(out)} for {identityToURI(identity)}{ends}.")
    print(f"To revoke it one day: --revoke {shlex.quote(copy)}")
    print(f"Take the four files to the node, into {LOCAL_FOLDER}/ of its home, and write into")
    print(f"its {LOCAL_FOLDER}.ini:")
    print("  [certificates]")
    for key, name in (
        ("ca", CA),
        ("certificate", CERTIFICATE),
        ("private_key", PRIVATE_KEY),
        ("revoked", REVOKED),
    ):
        print(f"  {key} = {LOCAL_FOLDER}/{name}")


def _writeAll(planned: list[PlannedFile]) -> None:
    """
    Write all, or leave none.
    """
    written: list[str] = []
    try:
        for each in planned:
            writePlanned(each)
            written.append(each.path)
    except BaseException:
        for path in written:
            with contextlib.suppress(OSError):
                os.unlink(path)
        raise


def _revoke(folder: AuthorityFolder, path: str, now: datetime) -> None:
    authority = folder.load()
    try:
        with open(path, "rb") as file:
            certificate = x509.load_pem_x509_certificate(file.read())
    except (ValueError, x509.InvalidVersion):
        raise ConfigError("it is no certificate in PEM form", path, _WHICH) from None
    except OSError as error:
        raise ConfigError(f"it cannot be read ({error.strerror})", path, _WHICH) from None
    try:
        certificate.verify_directly_issued_by(authority.certificate)
        who = identityToURI(identityOf(certificate))
    except (InvalidSignature, ValueError, TypeError, IdentityMismatch):
        raise ConfigError(
            f"it is no node's that the authority in {folder.path} issued", path, _WHICH
        ) from None
    if folder.revoke(authority, certificate.serial_number, now):
        print(f"Revoked the certificate {certificate.serial_number:x} of {who}.")
    else:
        print(f"The certificate {certificate.serial_number:x} of {who} was revoked already.")
    print(f"Take {shlex.quote(folder.join(REVOKED))} to the other nodes, as 'revoked' under")
    print("[certificates], and send them SIGHUP: links to that node end then.")


_WHICH = f"name one of the files in the authority's {ISSUED}/"


def _makeRoom(out: str) -> None:
    """
    See that there is a folder, and that nobody's files are in the way.
    """
    for name in (PRIVATE_KEY, CERTIFICATE, CA, REVOKED):
        path = os.path.join(out, name)
        if os.path.lexists(path):
            raise ConfigError("there is such a file already", path, "name a new folder by --out")
    makeFolder(out, 0o700)
