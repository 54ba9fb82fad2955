"""
The values that rooms hand to each other: frozen, without behaviour that needs
a collaborator.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from attrs import Factory, define, evolve, field, frozen

from wazuh_cluster.errors import BadName

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}\Z")

MASTER = "master"
WORKER = "worker"


def checkName(name: str, kind: str = "node name") -> str:
    """
    Return C{name} if it can name a node or a cluster.

    @raise BadName: unless it is 1 to 128 letters, digits, C{_}, C{.} or C{-}
        and does not begin with a dot.
    """
    if not _NAME.match(name):
        shown = name if len(name) <= 140 else name[:140] + "…"
        raise BadName(
            f"{shown!r} cannot be a {kind}: use 1 to 128 letters, digits, '_', '.' "
            "or '-', not beginning with a dot"
        )
    return name


class NodeName(str):
    """
    A node's name, checked. It is a C{str} in every other respect.

    @raise BadName: see L{checkName}.
    """

    __slots__ = ()

    def __new__(cls, name: str) -> NodeName:
        return super().__new__(cls, checkName(name))


@frozen
class Identity:
    """
    Who a node is, as its certificate says.

    @ivar cluster: the cluster's name.
    @ivar role: L{MASTER} or L{WORKER}.
    @ivar name: the node's name.
    """

    cluster: str
    role: str
    name: str


@frozen
class CertificateFiles:
    """
    Where an operator keeps a node's certificate: PEM files.

    @ivar ca: the certificate of the only authority that is trusted.
    @ivar certificate: the node's own.
    @ivar privateKey: that certificate's, without a passphrase.
    @ivar revoked: the authority's list of revoked certificates, if there is
        one.
    @ivar where: the file and section in which these are configured, for the
        errors.
    """

    ca: str
    certificate: str
    privateKey: str
    revoked: str | None = None
    where: str = "[certificates]"

    def within(self, folder: str) -> CertificateFiles:
        """
        The same with absolute paths; relative ones begin at C{folder}.
        """
        return evolve(
            self,
            ca=os.path.join(folder, self.ca),
            certificate=os.path.join(folder, self.certificate),
            privateKey=os.path.join(folder, self.privateKey),
            revoked=None if self.revoked is None else os.path.join(folder, self.revoked),
        )

    def named(self) -> Iterator[tuple[str, str]]:
        """
        Each file that there must be: its key in the settings, and its path.
        """
        yield "ca", self.ca
        yield "certificate", self.certificate
        yield "private_key", self.privateKey
        if self.revoked is not None:
            yield "revoked", self.revoked


@frozen
class Generation:
    """
    One state of the master's items.

    @ivar master: the master's persistent id, 16 bytes.
    @ivar number: counts up by one whenever the root changes; from 1.
    @ivar root: the manifest's root, 32 bytes.
    @ivar epoch: the term of the master's office, for clusters whose master
        can be replaced; 0 where it cannot.
    """

    master: bytes
    number: int
    root: bytes
    epoch: int = 0

    def describe(self) -> str:
        """
        How a person names this generation: number and the root's beginning.
        """
        return f"{self.number}/{self.root[:4].hex()}"


@frozen
class FileEntry:
    """
    One carried file.

    @ivar path: relative to the home, C{/} between components, as bytes.
    @ivar size: in bytes.
    @ivar mtime: in whole seconds since the epoch.
    @ivar digest: of the content, by the manifest's algorithm.
    """

    path: bytes
    size: int
    mtime: int
    digest: bytes


@frozen
class HeldPath:
    """
    A path that the master can see but does not carry.

    @ivar path: relative to the home; with a final C{/} it stands for
        everything below it.
    @ivar why: for people: C{"link"}, C{"unreadable"}, …
    """

    path: bytes
    why: str


@frozen
class SyncReport:
    """
    What one installation did, or could not do. Paths are relative to the home.

    @ivar generation: the generation that was applied, as far as it was.
    @ivar created: files that were missing.
    @ivar updated: files whose content was replaced.
    @ivar restamped: files of which only time, mode or owner were mended.
    @ivar deleted: files that were removed.
    @ivar failed: path to one line saying why.
    @ivar inPlace: files that had to be written in place, because they are
        mounted by themselves.
    @ivar received: bytes of file content that came over the link.
    @ivar staged: bytes of it that were here from an attempt before.
    @ivar seconds: how long it all took, by the node's monotonic clock.
    """

    generation: Generation
    created: tuple[bytes, ...] = ()
    updated: tuple[bytes, ...] = ()
    restamped: tuple[bytes, ...] = ()
    deleted: tuple[bytes, ...] = ()
    failed: Mapping[bytes, str] = Factory(dict)
    inPlace: tuple[bytes, ...] = ()
    received: int = 0
    staged: int = 0
    seconds: float = 0.0


@frozen
class MasterInfo:
    """
    What a worker learned of the master when it joined.

    @ivar name: the master's node name.
    @ivar software: name and version of its cluster software.
    @ivar wazuhVersion: the manager's version, or C{""}.
    @ivar version: the protocol version that the link speaks.
    @ivar homeId: the master's persistent id, 16 bytes.
    """

    name: str
    software: str
    wazuhVersion: str
    version: int
    homeId: bytes


@frozen
class WorkerInfo:
    """
    What a master knows of a worker that joined.

    @ivar name: the worker's node name.
    @ivar address: where it dialled from, for people.
    @ivar software: name and version of its cluster software.
    @ivar wazuhVersion: the manager's version, or C{""}.
    @ivar version: the protocol version that the link speaks.
    @ivar homeId: the id of its home, 16 bytes.
    @ivar nonce: the id of its process, 16 bytes.
    @ivar highestAgentId: the highest agent id that it ever held; 0 for none.
    """

    name: str
    address: str
    software: str
    wazuhVersion: str
    version: int
    homeId: bytes
    nonce: bytes
    highestAgentId: int = 0


@define
class RunRecord:
    """
    What a thread's last run was like: the health rooms show it.

    @ivar started: seconds on the node's clock, or C{None} before the first.
    @ivar ended: likewise; C{None} while it runs.
    @ivar failure: one line, or C{None} when it went well.
    @ivar kind: what kind of failure that is: C{"disk"}, C{"damaged"} (a database
        that its operator must see to), C{"link"} or C{"other"}.
    @ivar result: one line that the thread gave of it.
    @ivar runs: how many were begun.
    @ivar failures: how many of them failed.
    """

    started: float | None = None
    ended: float | None = None
    failure: str | None = None
    kind: str | None = None
    result: str | None = None
    runs: int = 0
    failures: int = 0

    @property
    def running(self) -> bool:
        """
        Whether a run is under way.
        """
        return self.started is not None and self.ended is None

    @property
    def duration(self) -> float | None:
        """
        How long the last complete run took, in seconds.
        """
        if self.started is None or self.ended is None:
            return None
        return self.ended - self.started


@define
class JoinedWorker:
    """
    A worker that is joined, as its link tells the master.

    @ivar joinedAt: seconds on the master's clock.
    @ivar lastKeepAlive: likewise.
    @ivar clockOffset: the node's wall clock minus the master's, in seconds.
    @ivar generation: the last generation that the node was seen to have.
    @ivar failed: path to why it could not be installed there, from the node's
        last report; at most 200.
    @ivar holds: what the node holds back, from its last report, a line each.
    @ivar lastCheck: when its files were last compared, on the master's clock.
    @ivar behindSince: since when they are not the master's; C{None} if they are.
    """

    info: WorkerInfo
    joinedAt: float
    lastKeepAlive: float
    clockOffset: float = 0.0
    generation: Generation | None = None
    failed: Mapping[bytes, str] = field(factory=dict)
    holds: tuple[str, ...] = ()
    lastCheck: float | None = None
    behindSince: float | None = None
