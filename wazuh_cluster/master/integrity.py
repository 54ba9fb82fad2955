"""
What a master decides about files: whether a worker's are its own, what it
sends, and who hears of a new generation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wazuh_cluster.errors import ClusterError, LinkClosed, ProtocolViolation, TransferAborted
from wazuh_cluster.integrity import DIGEST_SIZES, Manifest, Snapshot, Wants, WantsDecoder
from wazuh_cluster.interfaces import IRunner, ITree
from wazuh_cluster.journal import INTEGRITY_CHECK, INTEGRITY_SYNC, LOCAL_INTEGRITY, Journal
from wazuh_cluster.master.generations import Generations
from wazuh_cluster.master.roster import Roster
from wazuh_cluster.master.session import Session
from wazuh_cluster.model import Generation
from wazuh_cluster.protocol import (
    BytesSource,
    IntegrityChanged,
    ISource,
    LaterSource,
    Limits,
    RunnerSink,
    RunnerSource,
)
from wazuh_cluster.protocol.compression import Codec, CompressedSource, choose
from wazuh_cluster.protocol.streams import BlockingSource
from wazuh_cluster.repeats import Latest, Repeats, repeated

if TYPE_CHECKING:
    from wazuh_cluster.master.status import MasterStatus

#: Held paths that are logged one by one.
_SHOWN = 20

#: Failures and holds of a report that are kept, and how much of one is shown.
_FAILURES = 200
_HOLDS = 50
_LONGEST = 1000

#: Lines about what workers say that may be written at once, and a second.
_TOLD = 1024
_TOLD_RATE = 50.0

_COUNTS = re.compile(
    "Files to create: ([0-9]{1,9}) \\| Files to update: ([0-9]{1,9}) \\| "
    "Files to delete: ([0-9]{1,9})"
)


class MasterIntegrity:
    """
    The master's side of integrity. It pushes nothing: workers ask.
    """

    def __init__(
        self,
        tree: ITree,
        generations: Generations,
        packRunners: Sequence[IRunner],
        limits: Limits,
        roster: Roster,
        clock: IReactorTime,
        watch: MasterStatus,
        codecs: Sequence[Codec] = (),
    ) -> None:
        """
        @param packRunners: where files are read for workers; several, so that
            one slow read does not hold up every worker.
        @param roster: who is told of new generations.
        @param watch: is told of them, too, and of what workers install.
        @param codecs: what packs may be compressed with, the best one first.
        """
        self._codecs = codecs
        self._clock = clock
        self._watch = watch
        self._tree = tree
        self._generations = generations
        self._packRunners = packRunners
        self._turn = 0
        self._limits = limits
        self._roster = roster
        self._log = Journal(LOCAL_INTEGRITY)
        self._heldSaid: frozenset[bytes] = frozenset()
        # Of each worker what it says at most once a second.
        told = Repeats(clock, maxKeys=2 * _TOLD, burst=_TOLD, rate=_TOLD_RATE)
        self._told = Latest(clock, told)
        self._checks = Repeats(clock, maxKeys=_TOLD)

    @property
    def generation(self) -> Generation | None:
        """
        The current generation; C{None} before the first scan ended.
        """
        return self._generations.current

    @property
    def manifest(self) -> Manifest:
        """
        The current generation's.

        @raise NoSuchGeneration: before the first scan ended.
        """
        return self._generations.manifest

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
        status = session.requireJoined()
        status.lastCheck = self._clock.seconds()
        if equal:
            status.generation = generation
            status.behindSince = None
        elif status.behindSince is None:
            status.behindSince = status.lastCheck
        if self._checks.allow(session.describe()) is not None:
            session.log.forTask(INTEGRITY_CHECK).debug(
                "Finished. The worker is {state} generation {generation}.",
                state="at" if equal else "behind",
                generation=generation.describe(),
            )
        return generation, carried, equal

    def sendManifest(
        self, session: Session, transfer: int, window: int, mark: bytes | None
    ) -> Generation:
        """
        Begin to send the manifest, or what changed since the one that the
        worker has.

        @param mark: of the manifest that it has, if any.
        @return: the generation that is sent.
        @raise NoSuchGeneration: before the first scan ended.
        """
        generation = self._generations.require()
        source = self._manifestSource(mark)
        session.transfers.send(transfer, source, window, digested=True).addErrback(
            self._transferFailed, session
        )
        return generation

    def _manifestSource(self, mark: bytes | None) -> ISource:
        changes = None if mark is None else self._generations.since(mark, self._nextRunner())
        if changes is None:
            return BytesSource(self._generations.encoded)
        later = LaterSource()
        changes.addCallbacks(lambda encoded: later.become(BytesSource(encoded)), later.fail)
        return later

    def _nextRunner(self) -> IRunner:
        self._turn += 1
        return self._packRunners[self._turn % len(self._packRunners)]

    def sendFiles(
        self,
        session: Session,
        wants: int,
        transfer: int,
        window: int,
        algorithm: str,
        compressions: str | None,
    ) -> str | None:
        """
        Take in what a worker wants, and send it that.

        @param compressions: see L{RequestFiles<wazuh_cluster.protocol.RequestFiles>}.
        @return: the name of the one that is used, if one is.
        @raise NoSuchGeneration: before the first scan ended.
        @raise TooBusy: if too many transfers are open.
        """
        self._generations.require()
        if algorithm not in DIGEST_SIZES:
            raise ProtocolViolation("an unknown digest algorithm")
        runner = self._nextRunner()
        later = LaterSource()
        limits = self._limits
        decoder = WantsDecoder(self._tree.items, algorithm, limits.wantedFiles, limits.wantedBytes)
        sending = session.transfers.send(transfer, later, window)
        sending.addErrback(self._transferFailed, session)
        try:
            # A worker has it in its hands already.
            wanted = session.transfers.receive(
                wants,
                RunnerSink(runner, decoder),
                limits.wantedBytes,
                digested=True,
                timeout=limits.stallTimeout,
            )
        except ClusterError:
            later.fail(Failure(TransferAborted("the list of wants was refused")))
            raise

        codec = choose(self._codecs, compressions)

        def opened(wants: Wants) -> None:
            pack: BlockingSource = self._tree.openPack(wants, algorithm)
            if codec is not None:
                pack = CompressedSource(pack, codec)
            later.become(RunnerSource(runner, pack))

        wanted.addCallbacks(opened, later.fail).addErrback(later.fail)
        return None if codec is None else codec.name

    def _transferFailed(self, failure: Failure, session: Session) -> None:
        log = session.log.forTask(INTEGRITY_SYNC)
        # The link's end is told by who sees it.
        write = log.debug if failure.check(LinkClosed) or not session.peer.live else log.info
        reason = failure.getErrorMessage()
        self._told.note(
            f"{session.describe()}, a transfer",
            "transfer",
            lambda held: repeated(
                write,
                held,
                "A transfer to the worker ended early: {reason}",
                reason=reason,
            ),
        )

    def report(self, session: Session, report: dict[str, Any]) -> None:
        """
        A worker says what it applied.
        """
        status = session.requireJoined()
        if report["root"] == report["generation"]:
            status.generation = _generation(report)
            if status.generation == self._generations.current:
                status.behindSince = None
        failures = _lines(report["failures"])[:_FAILURES]
        status.failed = dict(_failure(line) for line in failures)
        status.holds = tuple(_lines(report["holds"])[:_HOLDS])
        self._watch.installed(
            session,
            f"generation {_generation(report).describe()}: {report['counts']}, "
            f"{report['failed']} failed; {report['received']:,} bytes in "
            f"{report['milliseconds'] / 1000:.3f} s",
            _sums(report),
        )
        # The line may have to wait, and keeps no more than it needs.
        report = {**report, "failures": (failures or ["?"])[0][:_LONGEST], "holds": status.holds}
        self._told.note(
            session.describe(), "report", lambda held: self._sayReport(session, report, held)
        )

    def _sayReport(self, session: Session, report: dict[str, Any], held: int) -> None:
        log = session.log.forTask(INTEGRITY_SYNC)
        repeated(
            log.info,
            held,
            "Finished in {seconds:.3f}s. {counts}. {received} bytes sent, {failed} files failed. "
            "{state} generation {generation}.",
            seconds=report["milliseconds"] / 1000,
            counts=_inWorker(report["counts"]),
            generation=_generation(report).describe(),
            received=report["received"],
            failed=report["failed"],
            state=_state(report),
        )
        if report["failed"]:
            log.warn(
                "{failed} files could not be installed there; the first: {first}",
                failed=report["failed"],
                first=report["failures"],
            )
        # What it holds back is said once.
        holds = report["holds"]
        new = [hold for hold in holds if hold not in session.holdsSaid]
        if new:
            log.warn("It holds back: {holds}.", holds="; ".join(new))
        if session.holdsSaid and not holds:
            log.info("It holds nothing back any more.")
        session.holdsSaid = frozenset(holds)

    def close(self) -> None:
        """
        Nothing more is to be told.
        """
        self._told.close()

    async def recalculate(self, snapshot: Snapshot) -> str:
        """
        Take in a scan of the master's own home, and tell the workers if there
        is something new.

        @return: what came of it, for people.
        """
        manifest = snapshot.manifest
        if not await self._generations.publish(manifest):
            return f"{len(manifest)} files, nothing new"
        generation = self._generations.require()
        self._watch.generation(generation, len(manifest), manifest.totalSize)
        told = 0
        for session in self._roster:
            session.peer.tell(IntegrityChanged, number=generation.number, root=generation.root)
            told += 1
        self._log.info(
            "Generation {generation}: {files} files, {size} bytes, {hashed} read; "
            "{told} workers told.",
            generation=generation.describe(),
            files=len(manifest),
            size=manifest.totalSize,
            hashed=snapshot.scanned.hashed,
            told=told,
        )
        self._sayHeld(snapshot)
        return f"{len(manifest)} files, generation {generation.describe()}"

    def _sayHeld(self, snapshot: Snapshot) -> None:
        """
        Log what is there and is not carried, once.
        """
        held: dict[bytes, str] = dict(snapshot.problems)
        for each in snapshot.manifest.held:
            held.setdefault(each.path, each.why)
        new = sorted(held.keys() - self._heldSaid)
        for path in new[:_SHOWN]:
            self._log.warn(
                "{path} is not carried, and stays as it is on workers: {why}.",
                path=path.decode("utf-8", "backslashreplace"),
                why=held[path],
            )
        if len(new) > _SHOWN:
            self._log.warn("And {more} more paths.", more=len(new) - _SHOWN)
        self._heldSaid = frozenset(held)


def _generation(report: dict[str, Any]) -> Generation:
    return Generation(report["master"], report["number"], report["generation"])


def _lines(text: str) -> list[str]:
    return text.split("\n") if text else []


def _failure(line: str) -> tuple[bytes, str]:
    path, _, why = line.partition(": ")
    return path.encode("utf-8", "backslashreplace"), why


def _sums(report: dict[str, Any]) -> dict[str, Any]:
    """
    What a report says in numbers, as L{Tally.add
    <wazuh_cluster.status.tally.Tally.add>} takes them.
    """
    match = _COUNTS.fullmatch(report["counts"])
    created, updated, deleted = (0, 0, 0) if match is None else map(int, match.groups())
    return {
        "seconds": report["milliseconds"] / 1000,
        "created": created,
        "updated": updated,
        "deleted": deleted,
        "failed": report["failed"],
        "received": report["received"],
    }


def _inWorker(counts: str) -> str:
    """
    A worker's counts, in the words that people's parsers know on a master. Any
    other text of a worker stays as it is.
    """
    if _COUNTS.fullmatch(counts) is None:
        return counts
    return counts.replace(": ", " in worker: ")


def _state(report: dict[str, Any]) -> str:
    if report["root"] != report["generation"]:
        return "Not yet at"
    return f"But for {report['held']} held files at" if report["held"] else "Now at"
