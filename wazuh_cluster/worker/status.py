"""
What a worker knows of itself: for whoever asks it, and, as far as it changed,
for its master.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import nsmallest
from itertools import islice

from attrs import evolve, fields
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.protocols.amp import UnhandledCommand
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster import __version__
from wazuh_cluster.errors import ClusterError, RequestRefused, Stopped
from wazuh_cluster.interfaces import IRunner, IState, IWorkerObserver
from wazuh_cluster.model import WORKER, Identity, MasterInfo, SyncReport
from wazuh_cluster.periodic import Periodic
from wazuh_cluster.protocol import Peer, ReportStatus
from wazuh_cluster.protocol.bodies import writeBody
from wazuh_cluster.protocol.commands import STATUS_SIZE
from wazuh_cluster.restartdue import DueRestart, RestartDue
from wazuh_cluster.status import events as kinds
from wazuh_cluster.status.asked import AskedRuns
from wazuh_cluster.status.codec import writeKnown
from wazuh_cluster.status.events import EventRing
from wazuh_cluster.status.explaining import describeItem, factsOf, heldBy, judged, requireItem
from wazuh_cluster.status.files import (
    SHOWN,
    fileTroubles,
    mountedTroubles,
    shown,
    snapshotTroubles,
)
from wazuh_cluster.status.reasons import judge, nodeReasons, reason
from wazuh_cluster.status.tally import Tally
from wazuh_cluster.status.threads import threadStatuses
from wazuh_cluster.status.values import (
    FAILED,
    JOINED,
    Completion,
    Explanation,
    FileTrouble,
    LastSync,
    NodeReport,
    NodeStatus,
    OwnStatus,
    RestartStatus,
    SyncOutcome,
    Trouble,
)
from wazuh_cluster.worker.complaints import explainLink
from wazuh_cluster.worker.integrity import IntegrityThread
from wazuh_cluster.worker.keepalive import KeepAliveThread

#: Seconds between two looks for what is to be told.
INTERVAL = 5.0

#: Seconds between two of them at least, however much happens.
PACE = 2.0

#: Seconds after which what changes all the time is told too.
ROUTINE = 60.0

#: What changes all the time: told once a minute.
_ROUTINE = frozenset({"threads", "chunks", "roundTrip", "clockOffset", "memory"})
_ALL = frozenset(each.name for each in fields(NodeReport))

#: Why a file was created, updated, deleted or mended.
_WHY = (
    "created: it was missing here",
    "updated: its content was not the master's",
    "deleted: the master does not have it",
    "mended: its time, mode or owner was another",
)

#: How many files an answer names.
_NAMED = 200


@implementer(IWorkerObserver)
class WorkerStatus:
    """
    One worker's status, over all its links.

    @ivar events: what happened here.
    @ivar tally: what installations here added up to.
    """

    def __init__(
        self,
        identity: Identity,
        integrity: IntegrityThread,
        state: IState,
        runner: IRunner,
        clock: IReactorTime,
        wallClock: Callable[[], float],
        events: EventRing,
        memory: Callable[[], int],
        chunks: Callable[[], int],
        wazuhVersion: str = "",
        troubles: Sequence[Trouble] = (),
    ) -> None:
        """
        @param runner: where the state is read.
        @param memory: how many bytes the process has.
        @param chunks: how many batches of agents' records were sent last.
        @param troubles: what is wrong with the node's configuration.
        """
        self.events = events
        self.tally = Tally()
        self._identity = identity
        self._integrity = integrity
        self._restart = RestartDue(state)
        self._runner = runner
        self._clock = clock
        self._wallClock = wallClock
        self._memory = memory
        self._chunks = chunks
        self._wazuhVersion = wazuhVersion
        self._configured = tuple(troubles)
        self._asked = AskedRuns(clock)
        self._started = wallClock()
        self._since = self._started
        self._link: Peer | None = None
        self._keepAlive: KeepAliveThread | None = None
        self._again: Callable[[], None] = lambda: None
        self._threads: tuple[Periodic, ...] = ()
        self._lost = "it has not joined yet"
        self._due: DueRestart | None = None
        self._reading = False
        self._last: SyncReport | None = None
        self._lastAt = 0.0
        self._failed: tuple[FileTrouble, ...] = ()
        self._mounted: frozenset[bytes] = frozenset()
        # What the master has heard on this link, and when all of it.
        self._told: NodeReport | None = None
        self._toldAt = 0.0
        self._resting = False
        # What was installed since somebody asked for a run.
        self._installed: SyncReport | None = None

    # What the service tells.

    def linkUp(
        self,
        peer: Peer,
        threads: Iterable[Periodic],
        keepAlive: KeepAliveThread,
        again: Callable[[], None],
    ) -> None:
        """
        There is a link.

        @param again: asks for a look before the next interval.
        """
        self._again = again
        self._link = peer
        self._threads = tuple(threads)
        self._keepAlive = keepAlive
        self._told = None
        self._resting = False
        self._since = self._wallClock()

    def linkDown(self) -> None:
        """
        There is none any more.
        """
        if self._link is not None:
            self._since = self._wallClock()
        self._link = None

    def joined(self, master: MasterInfo) -> None:
        """
        See L{IWorkerObserver}.
        """
        self.events.note(kinds.JOINED, self._identity.name, f"joined the master {master.name}")

    def synced(self, report: SyncReport) -> None:
        """
        See L{IWorkerObserver}.
        """
        self._last, self._lastAt = report, self._wallClock()
        self._failed = fileTroubles(report.failed)
        self._installed = report
        written = frozenset((*report.created, *report.updated))
        self._mounted = (self._mounted - written - frozenset(report.deleted)) | frozenset(
            report.inPlace
        )
        sync = self._sync(report)
        self.events.note(kinds.SYNCED, self._identity.name, describeSync(sync))
        self.tally.add(
            self._identity.name,
            sync.seconds,
            created=sync.created,
            updated=sync.updated,
            deleted=sync.deleted,
            failed=sync.failed,
            received=sync.received,
        )
        self._again()

    def lost(self, reason: Failure) -> None:
        """
        See L{IWorkerObserver}.
        """
        why = explainLink(reason).rstrip(".")
        if why != self._lost:
            self.events.note(kinds.LOST, self._identity.name, why)
        self._lost = why

    # What is asked.

    def own(self) -> OwnStatus:
        """
        What it knows, at once.
        """
        now = self._wallClock()
        node = self._node()
        reasons = list(nodeReasons(evolve(node, state=JOINED), now))
        if self._link is None:
            reasons.append(
                reason(
                    "NO_MASTER",
                    node.name,
                    f"it has no link to its master: {self._lost}: it tries again by itself",
                )
            )
        return OwnStatus(now, self._identity.cluster, node, judge(reasons))

    def _node(self) -> NodeStatus:
        applied = self._integrity.applied
        joined = self._link is not None
        completion = self.completion()
        return NodeStatus(
            name=self._identity.name,
            role=WORKER,
            state=JOINED if joined else FAILED,
            since=self._since,
            why="" if joined else self._lost,
            software=f"wazuh_cluster {__version__}",
            wazuhVersion=self._wazuhVersion,
            generation=0 if applied is None else applied.generation.number,
            current=joined and applied is not None and completion.percent == 100.0,
            report=self.report(),
        )

    def report(self) -> NodeReport:
        """
        What it knows of itself.
        """
        last, keepAlive = self._last, self._keepAlive
        due = self._due
        offset = None if keepAlive is None else keepAlive.clockOffset
        known = keepAlive is not None and keepAlive.roundTrip is not None
        return NodeReport(
            started=self._started,
            memory=self._memory(),
            completion=self.completion(),
            lastSync=None if last is None else self._sync(last),
            failed=self._failed,
            holds=tuple(hold.text[:400] for hold in self._integrity.holds.all[:SHOWN]),
            restartDue=None
            if due is None
            else RestartStatus(
                due.since, due.count, tuple(shown(path)[:300] for path in due.files[:SHOWN])
            ),
            troubles=(
                *self._configured,
                *snapshotTroubles(self._integrity.snapshot),
                *mountedTroubles(self._mounted),
            ),
            threads=threadStatuses(self._threads, self._clock.seconds, self._wallClock),
            chunks=self._chunks(),
            roundTrip=keepAlive.roundTrip if keepAlive is not None and known else None,
            clockOffset=-offset if offset is not None and known else None,
        )

    def completion(self) -> Completion:
        """
        How far the files are the master's.
        """
        progress, wanted = self._integrity.progress, self._integrity.wanted
        files, total = (0, 0) if wanted is None else (len(wanted), wanted.totalSize)
        if self._integrity.fetching:
            return Completion(
                files,
                total,
                max(0, progress.files - progress.filesDone),
                max(0, progress.bytes - progress.bytesDone - progress.bytesStaged),
            )
        failed = 0 if self._last is None else len(self._last.failed)
        return Completion(files, total, failed)

    def _sync(self, report: SyncReport) -> LastSync:
        return LastSync(
            at=self._lastAt,
            generation=report.generation.number,
            created=len(report.created),
            updated=len(report.updated),
            deleted=len(report.deleted),
            mended=len(report.restamped),
            failed=len(report.failed),
            received=report.received,
            seconds=round(report.seconds, 4),
        )

    def explain(self, path: bytes) -> Explanation:
        """
        A file, by what was seen at the last look and applied last.

        @raise wazuh_cluster.errors.RequestRefused: if no item carries the path.
        """
        integrity = self._integrity
        item = requireItem(integrity.tree.items, path)
        snapshot, applied = integrity.snapshot, integrity.applied
        manifest = None if applied is None else applied.manifest
        local = None if snapshot is None else snapshot.manifest
        failure = "" if self._last is None else self._last.failed.get(path, "")
        looked, again = self._looks()
        return judged(
            Explanation(
                node=self._identity.name,
                path=shown(path),
                item=describeItem(item),
                algorithm="" if local is None else local.algorithm,
                here=factsOf(local, path),
                master=factsOf(manifest, path),
                generation=0 if applied is None else applied.generation.number,
                looked=looked,
                held=self._heldText(path) or heldBy(local, path) or heldBy(manifest, path),
                failure=failure,
                again=again,
            )
        )

    def _heldText(self, path: bytes) -> str:
        for hold in self._integrity.holds.all:
            if path in hold.paths:
                return f"{hold.text}: see 'wazuh-cluster accept --list' on this node"
        return ""

    def _looks(self) -> tuple[float | None, float | None]:
        """
        When it looked last, and in how many seconds it does next.
        """
        for thread in self._threads:
            started = thread.record.started
            if thread.name == "Integrity" and started is not None and self._link is not None:
                ago = self._clock.seconds() - started
                return self._wallClock() - ago, max(0.0, thread.interval - ago)
        return None, None

    async def sync(self, begin: bool, verbose: bool) -> SyncOutcome:
        """
        See L{wazuh_cluster.status.answers.IKnowsItself}.
        """
        name = self._identity.name
        thread = next((each for each in self._threads if each.name == "Integrity"), None)
        if thread is None or self._link is None:
            raise RequestRefused(
                f"{name} has no link to its master ({self._lost}): it looks by itself once it has"
            )
        if begin:
            self._installed = None
        ended = await self._asked.wait(thread, begin)
        record, done = thread.record, self._installed
        named: tuple[FileTrouble, ...] = ()
        total = 0
        if done is not None and verbose:
            named = tuple(islice(_named(done), _NAMED))
            total = sum(map(len, (done.failed, *_done(done))))
        since = 0.0 if record.started is None else self._clock.seconds() - record.started
        return SyncOutcome(
            node=name,
            thread=str(thread.name),
            ended=ended,
            result=record.result or "",
            failure=(record.failure or "") if ended else "",
            seconds=round(since if record.duration is None else record.duration, 4),
            sync=None if done is None else self._sync(done),
            files=named,
            more=max(0, total - _NAMED),
            completion=self.completion(),
        )

    # What the master is told.

    async def look(self) -> str:
        """
        One run of the thread Status: tell the master what changed.

        @return: what came of it, for people.
        """
        self._readDue()
        link = self._link
        if link is None or self._resting:
            return "nobody to tell"
        report = self.report()
        names = self._changed(report)
        if not names:
            return "nothing new"
        body = {"now": self._wallClock(), **writeKnown(_fitting(report), names)}
        try:
            await link.call(ReportStatus, status=writeBody(body))
        except UnhandledCommand:
            # It is of a version before.
            self._resting = True
            return "the master does not want to know"
        if link is self._link:
            if self._told is None or names & _ROUTINE:
                self._toldAt = self._clock.seconds()
            self._told = report
        return f"{len(names)} fields told"

    def _readDue(self) -> None:
        """
        Look for the mark; a disk that does not answer holds nothing else up.
        """
        if self._reading:
            return
        self._reading = True
        self._runner.call(self._restart.readOrForget).addCallbacks(self._read, self._notRead)

    def _read(self, due: DueRestart | None) -> None:
        self._reading = False
        if due != self._due:
            self._due = due
            self._again()

    def _notRead(self, failure: Failure) -> None:
        # This node is being stopped.
        failure.trap(CancelledError, Stopped)

    async def leave(self, timeout: float) -> None:
        """
        Say that this node is being stopped, if there is anybody to say it to.

        @param timeout: how long that may take, in seconds.
        """
        link = self._link
        if link is None or self._resting:
            return
        body = writeBody({"now": self._wallClock(), "leaving": True})
        try:
            await link.call(ReportStatus, timeout, status=body)
        except (ClusterError, UnhandledCommand):
            return

    def _changed(self, report: NodeReport) -> frozenset[str]:
        told = self._told
        if told is None:
            return _ALL
        changed = {name for name in _ALL if getattr(report, name) != getattr(told, name)}
        due = self._clock.seconds() - self._toldAt >= ROUTINE
        if due or _alarming(report) != _alarming(told):
            return frozenset(changed)
        return frozenset(changed - _ROUTINE)


def _alarming(report: NodeReport) -> list[tuple[str, object, bool, bool]]:
    """
    What of the threads is worth telling at once: a failure, and the first result.
    """
    return [(each.name, each.failure, each.hung, each.result is None) for each in report.threads]


def _fitting(report: NodeReport) -> NodeReport:
    """
    As much of a report as fits in a command.
    """
    due = report.restartDue
    shorter = (
        report,
        evolve(report, failed=report.failed[:2], holds=report.holds[:2]),
        evolve(
            report,
            failed=report.failed[:1],
            holds=report.holds[:1],
            restartDue=None if due is None else evolve(due, files=due.files[:1]),
        ),
    )
    for each in shorter:
        if len(writeBody(writeKnown(each, _ALL))) <= STATUS_SIZE - 100:
            return each
    return report.brief()


def describeSync(sync: LastSync) -> str:
    """
    One installation, for people.
    """
    failed = f", {sync.failed} failed" if sync.failed else ""
    return (
        f"generation {sync.generation}: {sync.created} created, {sync.updated} updated, "
        f"{sync.deleted} deleted, {sync.mended} mended{failed}; {sync.received:,} bytes in "
        f"{sync.seconds:.3f} s"
    )


def _named(report: SyncReport) -> Iterator[FileTrouble]:
    """
    What was done with each file, and why.
    """
    for path in nsmallest(_NAMED, report.failed):
        yield FileTrouble(shown(path)[:300], f"failed: {report.failed[path]}"[:200])
    for paths, why in zip(_done(report), _WHY, strict=True):
        for path in paths:
            yield FileTrouble(shown(path)[:200], why)


def _done(report: SyncReport) -> tuple[Sequence[bytes], ...]:
    return report.created, report.updated, report.deleted, report.restamped
