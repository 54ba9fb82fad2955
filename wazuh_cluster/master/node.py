"""
What a master decides: who joins, what is answered, who is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorTime

from wazuh_cluster.errors import (
    IdentityMismatch,
    ItemsDiffer,
    LinkClosed,
    NameInUse,
    NotAWorker,
    Refused,
    VersionTooOld,
    WrongCluster,
)
from wazuh_cluster.integrity import Items, explainDifference, itemsDigest
from wazuh_cluster.interfaces import IClusterTrust
from wazuh_cluster.journal import KEEP_ALIVE
from wazuh_cluster.master.chronicle import Chronicle
from wazuh_cluster.master.roster import Roster
from wazuh_cluster.master.session import Session
from wazuh_cluster.master.ticks import KnownTicks
from wazuh_cluster.model import WORKER, Identity, JoinedWorker, WorkerInfo
from wazuh_cluster.protocol import (
    NEWEST_VERSION,
    OLDEST_VERSION,
    Limits,
)

if TYPE_CHECKING:
    from wazuh_cluster.master.status import MasterStatus


class MasterNode:
    """
    The decisions of a master. It has no network of its own: sessions come to
    it, and it answers them.

    @ivar homeId: the master's persistent id, 16 bytes; set before anyone may
        come.
    @ivar roster: who joined.
    @ivar chronicle: tells the log who comes and goes.
    """

    def __init__(
        self,
        trust: IClusterTrust,
        clock: IReactorTime,
        wallClock: Callable[[], float],
        uptime: Callable[[], float],
        homeId: bytes,
        software: str,
        wazuhVersion: str,
        items: Items,
        limits: Limits,
        watch: MasterStatus,
    ) -> None:
        """
        @param items: what the master carries; workers must carry the same.
        @param watch: is told who comes and goes.
        """
        self.identity: Identity = trust.identity
        self.homeId = homeId
        self.wallClock = wallClock
        self._ticks = KnownTicks(uptime)
        self.roster = Roster(limits.workers)
        self._clock = clock
        self._software = software
        self._wazuhVersion = wazuhVersion
        self._items = items
        self._itemsDigest = itemsDigest(items)
        self.chronicle = Chronicle(clock)
        self._watch = watch

    # Who belongs to the cluster.

    async def join(self, session: Session, hello: dict[str, Any]) -> dict[str, Any]:
        """
        Let a worker join.

        @raise Refused: or say why not.
        """
        try:
            version = self._judge(session, hello)
            info = WorkerInfo(
                name=hello["name"],
                address=session.peer.address(),
                software=hello["software"],
                wazuhVersion=hello["wazuh"],
                version=version,
                homeId=hello["homeId"],
                nonce=hello["nonce"],
                highestAgentId=hello["agentId"] or 0,
            )
            await self.roster.claim(session, info)
        except Refused as refusal:
            session.refusal = refusal
            self.chronicle.refused(session.describe(), refusal)
            self._watch.refused(session, refusal)
            raise
        session.ticks = self._ticks.of(info.name, info.nonce)
        if hello["tick"] is not None:
            session.ticks.see(hello["tick"] / 1e6)
        self.chronicle.joined(session.log, info)
        self._watch.joined(info)
        return {
            "name": self.identity.name,
            "version": version,
            "homeId": self.homeId,
            "software": self._software,
            "wazuh": self._wazuhVersion,
        }

    def _judge(self, session: Session, hello: dict[str, Any]) -> int:
        identity = session.greeted()
        if hello["role"] != WORKER:
            raise NotAWorker(
                f"a node of type {hello['role']!r} cannot join: a master does not have a master "
                "of its own; set <node_type> to worker"
            )
        if (hello["cluster"], hello["role"], hello["name"]) != (
            identity.cluster,
            identity.role,
            identity.name,
        ):
            raise IdentityMismatch(
                "Hello names another node than the certificate: both must say the same"
            )
        if identity.cluster != self.identity.cluster:
            raise WrongCluster(
                f"this is the cluster {self.identity.cluster!r}, not {identity.cluster!r}: set "
                f"<name> to {self.identity.cluster} in the worker's <cluster> block"
            )
        if identity.name == self.identity.name:
            raise NameInUse(
                f"the node name {identity.name!r} is the master's own: give the worker another "
                "<node_name>"
            )
        version = min(hello["newest"], NEWEST_VERSION)
        if version < max(hello["oldest"], OLDEST_VERSION):
            raise VersionTooOld(
                f"the master speaks the protocol versions {OLDEST_VERSION} to {NEWEST_VERSION}, "
                f"the worker {hello['oldest']} to {hello['newest']}: upgrade the older one "
                f"(master: {self._software})"
            )
        # A worker that does not tell them ends the link itself where they differ.
        if hello["items"] not in (None, self._itemsDigest):
            raise ItemsDiffer(explainDifference(self._items, hello["itemsText"] or ""))
        return int(version)

    def left(self, session: Session, why: BaseException) -> None:
        """
        A session's connection is gone.
        """
        status = session.status
        if self.roster.remove(session) and status is not None:
            self.chronicle.left(session.log, status.info.name, why)
            self._watch.left(session, why)
        elif status is not None:
            self.chronicle.replaced(session.log, status.info.name, why)
        elif session.refusal is None:
            self.chronicle.stranger(session.peer.address(), why)

    def keepAlive(self, session: Session, clock: int, tick: int | None) -> int:
        """
        A worker is alive.

        @param clock: its wall clock, in microseconds.
        @param tick: its monotonic clock, likewise, if it says.
        @return: the master's wall clock.
        """
        status = session.requireJoined()
        if tick is not None:
            session.ticks.see(tick / 1e6)
        status.lastKeepAlive = self._clock.seconds()
        now = int(self.wallClock() * 1e6)
        status.clockOffset = (clock - now) / 1e6
        self.chronicle.heard(session.log, status.info.name)
        return now

    def dropSilent(self, silence: float) -> str:
        """
        End the links of workers that sent no keep-alive for this long.

        @return: what was done, for people.
        """
        now, dropped = self._clock.seconds(), 0
        for session in self.roster:
            quiet = now - session.requireJoined().lastKeepAlive
            if quiet > silence:
                dropped += 1
                session.log.forTask(KEEP_ALIVE).warn(
                    "No keep-alive for {quiet:.0f} s: the link is closed.", quiet=quiet
                )
                session.peer.abort(LinkClosed(f"no keep-alive for {quiet:.0f} s"))
        return f"{len(self.roster)} workers, {dropped} dropped"

    def statuses(self) -> list[JoinedWorker]:
        """
        The workers that are joined, by name.
        """
        found = [session.status for session in self.roster if session.status is not None]
        return sorted(found, key=lambda status: status.info.name)
