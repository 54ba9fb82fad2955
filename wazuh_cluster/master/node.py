"""
What a master decides: who joins, what is answered, who is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wazuh_cluster.errors import (
    ClusterError,
    IdentityMismatch,
    LinkClosed,
    NameInUse,
    NotAWorker,
    ProtocolViolation,
    Refused,
    TransferAborted,
    VersionTooOld,
    WrongCluster,
)
from wazuh_cluster.integrity import DIGEST_SIZES, WantsDecoder
from wazuh_cluster.interfaces import IClusterTrust, IRunner, ITree
from wazuh_cluster.journal import (
    INTEGRITY_CHECK,
    INTEGRITY_SYNC,
    KEEP_ALIVE,
    LOCAL_INTEGRITY,
    MAIN,
    Journal,
    Repeats,
)
from wazuh_cluster.master.generations import Generations
from wazuh_cluster.master.roster import Roster
from wazuh_cluster.master.session import Session
from wazuh_cluster.model import WORKER, Generation, Identity, NodeStatus, WorkerInfo
from wazuh_cluster.protocol import (
    NEWEST_VERSION,
    OLDEST_VERSION,
    BytesSource,
    IntegrityChanged,
    LaterSource,
    Limits,
    RunnerSink,
    RunnerSource,
)


class MasterNode:
    """
    The decisions of a master. It has no network of its own: sessions come to
    it, and it answers them.

    @ivar homeId: the master's persistent id, 16 bytes; set before anyone may
        come.
    @ivar roster: who joined.
    """

    def __init__(
        self,
        trust: IClusterTrust,
        clock: IReactorTime,
        wallClock: Callable[[], float],
        tree: ITree,
        generations: Generations,
        packRunners: Sequence[IRunner],
        limits: Limits,
        homeId: bytes,
        software: str,
        wazuhVersion: str,
    ) -> None:
        """
        @param packRunners: where files are read for workers; several, so that
            one slow read does not hold up every worker.
        """
        self.identity: Identity = trust.identity
        self.homeId = homeId
        self.wallClock = wallClock
        self.roster = Roster()
        self._clock = clock
        self._tree = tree
        self._generations = generations
        self._packRunners = packRunners
        self._turn = 0
        self._limits = limits
        self._software = software
        self._wazuhVersion = wazuhVersion
        self._log = Journal(MAIN)
        self._repeats = Repeats(clock)

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
            self._repeated(
                f"{session.describe()}: {type(refusal).__name__}",
                "Refused {worker}: {reason}",
                worker=session.describe(),
                reason=str(refusal),
            )
            raise
        session.log.info(
            "Joined from {address}, {software}.", address=info.address, software=info.software
        )
        return {
            "name": self.identity.name,
            "version": version,
            "homeId": self.homeId,
            "software": self._software,
            "wazuh": self._wazuhVersion,
        }

    def _judge(self, session: Session, hello: dict[str, Any]) -> int:
        identity = session.identity
        if session.status is not None or identity is None:
            raise ProtocolViolation("Hello comes once, after the handshake")
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
        return int(version)

    def left(self, session: Session, why: BaseException) -> None:
        """
        A session's connection is gone.
        """
        if self.roster.remove(session):
            session.log.info("Left: {reason}.", reason=_line(why))
        elif session.status is not None:
            session.log.info("Replaced: {reason}.", reason=_line(why))
        else:
            self.strangerLeft(session.peer.address(), why)

    def strangerLeft(self, address: str, why: BaseException) -> None:
        """
        A connection ended without having joined.
        """
        reason = _line(why)
        self._repeated(
            f"{address} {reason}",
            "A connection from {address} ended before it joined: {reason}",
            address=address,
            reason=reason,
        )

    def _repeated(self, key: str, format: str, **fields: object) -> None:
        suppressed = self._repeats.allow(key)
        if suppressed is None:
            return
        if suppressed:
            format += " ({suppressed} like it before)"
        self._log.warn(format, suppressed=suppressed, **fields)

    def keepAlive(self, session: Session, clock: int) -> int:
        """
        A worker is alive.

        @param clock: its wall clock, in microseconds.
        @return: the master's.
        """
        status = _joined(session)
        status.lastKeepAlive = self._clock.seconds()
        now = int(self.wallClock() * 1e6)
        status.clockOffset = (clock - now) / 1e6
        session.log.forTask(KEEP_ALIVE).debug("Received.")
        return now

    def dropSilent(self, silence: float) -> str:
        """
        End the links of workers that sent no keep-alive for this long.

        @return: what was done, for people.
        """
        now, dropped = self._clock.seconds(), 0
        for session in self.roster:
            quiet = now - _joined(session).lastKeepAlive
            if quiet > silence:
                dropped += 1
                session.log.forTask(KEEP_ALIVE).warn(
                    "No keep-alive for {quiet:.0f} s: the link is closed.", quiet=quiet
                )
                session.peer.abort(LinkClosed(f"no keep-alive for {quiet:.0f} s"))
        return f"{len(self.roster)} workers, {dropped} dropped"

    def statuses(self) -> list[NodeStatus]:
        """
        The workers that are joined, by name.
        """
        found = [session.status for session in self.roster if session.status is not None]
        return sorted(found, key=lambda status: status.info.name)

    # Integrity.

    @property
    def generation(self) -> Generation | None:
        """
        The current generation; C{None} before the first scan ended.
        """
        return self._generations.current

    def check(self, session: Session, root: bytes, algorithm: str) -> tuple[Generation, str, bool]:
        """
        Compare a worker's root with the master's.

        @return: the generation, its manifest's algorithm, whether they are
            equal.
        @raise NoSuchGeneration: before the first scan ended.
        """
        generation = self._generations.require()
        carried = self._generations.manifest.algorithm
        equal = algorithm == carried and root == generation.root
        if equal:
            _joined(session).generation = generation
        session.log.forTask(INTEGRITY_CHECK).debug(
            "Finished. The worker is {state} generation {generation}.",
            state="at" if equal else "behind",
            generation=generation.describe(),
        )
        return generation, carried, equal

    def sendManifest(self, session: Session, transfer: int, window: int) -> Generation:
        """
        Begin to send the manifest.

        @return: the generation that is sent.
        @raise NoSuchGeneration: before the first scan ended.
        """
        generation = self._generations.require()
        source = BytesSource(self._generations.encoded)
        session.transfers.send(transfer, source, window, digested=True).addErrback(
            self._transferFailed, session
        )
        return generation

    def sendFiles(
        self, session: Session, wants: int, transfer: int, window: int, algorithm: str
    ) -> None:
        """
        Take in what a worker wants, and send it that.

        @raise NoSuchGeneration: before the first scan ended.
        @raise TooBusy: if too many transfers are open.
        """
        self._generations.require()
        if algorithm not in DIGEST_SIZES:
            raise ProtocolViolation("an unknown digest algorithm")
        runner = self._packRunners[self._turn % len(self._packRunners)]
        self._turn += 1
        later = LaterSource()
        limits = self._limits
        decoder = WantsDecoder(self._tree.items, algorithm, limits.wantedFiles, limits.wantedBytes)
        sending = session.transfers.send(transfer, later, window)
        sending.addErrback(self._transferFailed, session)
        try:
            wanted = session.transfers.receive(
                wants, RunnerSink(runner, decoder), limits.wantedBytes, digested=True
            )
        except ClusterError:
            later.fail(Failure(TransferAborted("the list of wants was refused")))
            raise

        def open(wants: Any) -> None:
            later.become(RunnerSource(runner, self._tree.openPack(wants, algorithm)))

        wanted.addCallbacks(open, later.fail).addErrback(later.fail)

    def _transferFailed(self, failure: Failure, session: Session) -> None:
        session.log.forTask(INTEGRITY_SYNC).info(
            "A transfer to the worker ended early: {reason}", reason=failure.getErrorMessage()
        )

    def report(self, session: Session, report: dict[str, Any]) -> None:
        """
        A worker says what it applied.
        """
        status = _joined(session)
        generation = Generation(report["master"], report["number"], report["generation"])
        if report["root"] == report["generation"]:
            status.generation = generation
        log = session.log.forTask(INTEGRITY_SYNC)
        failures = report["failures"].splitlines()[:200]
        status.failed = dict(_failure(line) for line in failures)
        log.info(
            "Finished in {seconds:.3f}s. {counts}. Generation {generation}{state}.",
            seconds=report["milliseconds"] / 1000,
            counts=report["counts"],
            generation=generation.describe(),
            state="" if report["root"] == report["generation"] else ", not reached yet",
        )
        if report["failed"]:
            log.warn(
                "{failed} files could not be installed there; the first: {first}",
                failed=report["failed"],
                first=failures[0] if failures else "?",
            )

    async def recalculate(self, scanned: Any) -> str:
        """
        Take in a scan of the master's own home, and tell the workers if there
        is something new.

        @return: what came of it, for people.
        """
        manifest = scanned.manifest
        if not await self._generations.publish(manifest):
            return f"{len(manifest)} files, nothing new"
        generation = self._generations.require()
        told = 0
        for session in self.roster:
            session.peer.tell(IntegrityChanged, number=generation.number, root=generation.root)
            told += 1
        log = self._log.forTask(LOCAL_INTEGRITY)
        log.info(
            "Generation {generation}: {files} files, {size} bytes, {hashed} read; "
            "{told} workers told.",
            generation=generation.describe(),
            files=len(manifest),
            size=manifest.totalSize,
            hashed=scanned.scanned.hashed,
            told=told,
        )
        for held in manifest.held[:20]:
            log.warn(
                "Not carried, and left as it is on workers: {path} ({why}).",
                path=held.path.decode("utf-8", "backslashreplace"),
                why=held.why,
            )
        return f"{len(manifest)} files, generation {generation.describe()}"


def _joined(session: Session) -> NodeStatus:
    if session.status is None:
        raise ProtocolViolation("only a worker that joined may say this")
    return session.status


def _line(why: BaseException) -> str:
    if isinstance(why, (ConnectionDone, ConnectionLost, ConnectionAborted)):
        return "the connection was lost"
    return str(why).rstrip(".")


def _failure(line: str) -> tuple[bytes, str]:
    path, _, why = line.partition(": ")
    return path.encode("utf-8", "backslashreplace"), why
