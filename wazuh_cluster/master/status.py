"""
What a master knows of its cluster: itself, the workers that are joined, and
those that left or failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorTime

from wazuh_cluster import __version__
from wazuh_cluster.errors import BadArgument, Refused, RequestRefused
from wazuh_cluster.integrity import Items, Snapshot
from wazuh_cluster.journal import INTEGRITY_CHECK
from wazuh_cluster.master.agentcounts import AgentCounts
from wazuh_cluster.master.integrity import MasterIntegrity
from wazuh_cluster.master.known import KnownNodes
from wazuh_cluster.master.roster import Roster
from wazuh_cluster.master.session import Session
from wazuh_cluster.model import MASTER, Generation, Identity, JoinedWorker, WorkerInfo
from wazuh_cluster.periodic import Periodic
from wazuh_cluster.protocol.bodies import readBody
from wazuh_cluster.repeats import Repeats
from wazuh_cluster.status import events as kinds
from wazuh_cluster.status.asked import AskedRuns
from wazuh_cluster.status.codec import readKnown
from wazuh_cluster.status.events import EventRing
from wazuh_cluster.status.explaining import describeItem, factsOf, heldBy, judged, requireItem
from wazuh_cluster.status.files import shown, snapshotTroubles
from wazuh_cluster.status.reasons import judge, nodeReasons, reason
from wazuh_cluster.status.tally import Tally
from wazuh_cluster.status.threads import threadStatuses
from wazuh_cluster.status.values import (
    JOINED,
    ClusterStatus,
    Completion,
    Explanation,
    Health,
    NodeReport,
    NodeStatus,
    OwnStatus,
    Reason,
    SyncOutcome,
    Trouble,
)
from wazuh_cluster.status.words import size

#: Seconds between two looks for reasons that are new or over.
INTERVAL = 5.0

#: For how many seconds a node that may not join is a reason, and of how many
#: this is remembered: it comes back every twenty.
REFUSED_FOR = 60.0
_MOST_REFUSED = 64

#: Seconds within which the same node's installations, and the master's
#: generations, are one event; and of how many nodes.
OFTEN = 10.0
_MOST_TOLD = 2048

#: Reasons, new or over, that are told one by one of one look.
_MOST_REASONS = 20


class MasterStatus:
    """
    Watches who comes and goes, and gives account.

    @ivar events: what happened in the cluster.
    @ivar tally: what installations on workers added up to.
    @ivar known: the workers, also those that are not joined.
    """

    def __init__(
        self,
        identity: Identity,
        items: Items,
        known: KnownNodes,
        counts: AgentCounts,
        clock: IReactorTime,
        wallClock: Callable[[], float],
        events: EventRing,
        memory: Callable[[], int],
        threads: Callable[[], Iterable[Periodic]],
        snapshot: Callable[[], Snapshot | None],
        address: str = "",
        wazuhVersion: str = "",
        troubles: Sequence[Trouble] = (),
    ) -> None:
        """
        @param memory: how many bytes the process has.
        @param threads: those of this node; File integrity is one of them.
        @param snapshot: the last look at the files.
        @param troubles: what is wrong with the node's configuration.
        """
        self.events = events
        self.tally = Tally()
        self.known = known
        self._identity = identity
        self._items = items
        self._counts = counts
        self._clock = clock
        self._wallClock = wallClock
        self._memory = memory
        self._threads = threads
        self._snapshot = snapshot
        self._address = address
        self._wazuhVersion = wazuhVersion
        self._configured = tuple(troubles)
        self._asked = AskedRuns(clock)
        self._started = wallClock()
        self._roster: Roster | None = None
        self._integrity: MasterIntegrity | None = None
        self._refused: dict[str, tuple[float, str]] = {}
        self._told = Repeats(clock, OFTEN, maxKeys=_MOST_TOLD)
        self._reasons: dict[tuple[str, str], Reason] = {}

    def begin(self, roster: Roster, integrity: MasterIntegrity) -> None:
        """
        The node runs. Blocks, by one small file.
        """
        self._roster = roster
        self._integrity = integrity
        self._started = self._wallClock()
        self.known.load()
        self.events.note(kinds.STARTED, self._identity.name, "this master began")

    def end(self) -> None:
        """
        The node is being stopped: that all links end is nobody's fault.
        """
        self._roster = None

    # Who comes and goes.

    def joined(self, info: WorkerInfo) -> None:
        """
        A worker joined.
        """
        self.known.joined(info)
        self._refused.pop(info.name, None)
        self.events.note(kinds.JOINED, info.name, f"joined from {info.address}, {info.software}")

    def left(self, session: Session, why: BaseException) -> None:
        """
        A worker's last link ended.
        """
        status = session.status
        if self._roster is None or status is None:
            return
        node = self._joined(status, session)
        if session.leaving:
            text = "it was stopped"
        elif isinstance(why, (ConnectionDone, ConnectionLost, ConnectionAborted)):
            text = "its connection was lost"
        else:
            text = str(why).rstrip(".")[:300]
        self.known.gone(node, text, session.leaving)
        self.events.note(kinds.LEFT if session.leaving else kinds.FAILED, node.name, text)

    def refused(self, session: Session, refusal: Refused) -> None:
        """
        A node may not join.
        """
        name = "" if session.identity is None else session.identity.name
        text = f"at {session.peer.address()}: {refusal}"
        if self._refused.get(name, (0.0, ""))[1] != text:
            self.events.note(kinds.REFUSED, name, text)
        self._refused.pop(name, None)
        self._refused[name] = (self._wallClock(), text)
        while len(self._refused) > _MOST_REFUSED:
            self._refused.pop(next(iter(self._refused)))

    def generation(self, generation: Generation, files: int, octets: int) -> None:
        """
        The master's files changed.
        """
        self._often(
            kinds.GENERATION,
            self._identity.name,
            f"generation {generation.describe()}: {files:,} files, {size(octets)}",
        )

    def installed(self, session: Session, text: str, sums: dict[str, Any]) -> None:
        """
        A worker said what it installed.

        @param sums: the same for the tally.
        """
        name = "" if session.identity is None else session.identity.name
        self.tally.add(name, **sums)
        self._often(kinds.SYNCED, name, text)

    def _often(self, kind: str, node: str, text: str) -> None:
        """
        What may happen every second, as while agents enroll: told once in a
        while, so that it does not drive out all other events.
        """
        held = self._told.allow((kind, node))
        if held is not None:
            self.events.note(kind, node, text + (f" (and {held} more before)" if held else ""))

    def asked(self, request: str, asker: str) -> None:
        """
        Somebody asked for a change.
        """
        self.events.note(kinds.ASKED, "", f"{request} is asked for by {asker}")

    def report(self, session: Session, body: bytes) -> None:
        """
        A worker says what is new of it.

        @raise BadArgument: if that cannot be read.
        """
        session.requireJoined()
        found = readBody(body, dict)
        try:
            changed = readKnown(NodeReport, found)
        except ValueError as error:
            raise BadArgument(f"a status with {error}") from None
        sent = found.get("now")
        if isinstance(sent, (int, float)) and abs(sent) < 1e12 and changed:
            moved = NodeReport(**changed).shifted(self._wallClock() - sent)
            changed = {name: getattr(moved, name) for name in changed}
        session.report = evolve(session.report, **changed)
        if found.get("leaving") is True:
            session.leaving = True
        session.log.forTask(INTEGRITY_CHECK).debug("Status received.")

    # What is asked.

    async def cluster(self) -> ClusterStatus:
        """
        The cluster as a whole.
        """
        counts = await self._counts.get()
        nodes = self.nodes()
        generation, manifest = self._generation()
        states: dict[str, int] = {}
        for node in nodes:
            states[node.state] = states.get(node.state, 0) + 1
        return ClusterStatus(
            now=self._wallClock(),
            cluster=self._identity.cluster,
            master=self._identity.name,
            health=judge(self._allReasons(nodes)),
            generation=0 if generation is None else generation.number,
            root="" if generation is None else generation.root.hex(),
            files=0 if manifest is None else len(manifest),
            bytes=0 if manifest is None else manifest.totalSize,
            nodes=states,
            agents=dict(counts.statuses),
            events=self.events.last,
        )

    async def counted(self) -> None:
        """
        Let what L{nodes} says of agents be fresh.
        """
        await self._counts.get()

    def nodes(self) -> list[NodeStatus]:
        """
        All nodes, the master first.
        """
        found = [self._self()]
        for node in self.known:
            session = None if self._roster is None else self._roster.get(node.name)
            if session is not None and session.status is not None:
                node = self._joined(session.status, session)
            agents = dict(self._counts.last.nodes.get(node.name, {}))
            found.append(evolve(node, agents=agents))
        return found

    def node(self, name: str) -> NodeStatus:
        """
        One of them.

        @raise RequestRefused: if there is none of this name.
        """
        for node in self.nodes():
            if node.name == name:
                return node
        raise RequestRefused(f"no node {name[:140]!r} is known: 'wazuh-cluster status' shows all")

    def session(self, name: str) -> Session:
        """
        The link of a worker.

        @raise RequestRefused: if it is not joined.
        """
        session = None if self._roster is None else self._roster.get(name)
        if session is None:
            node = self.node(name)
            raise RequestRefused(
                f"{name} is not joined ({node.state}, {node.why}): ask that node itself, by the "
                "same command there"
            )
        return session

    def isSelf(self, name: str) -> bool:
        """
        Whether this is the master's own name.
        """
        return name == self._identity.name

    def forget(self, name: str) -> None:
        """
        Forget a worker that is not joined.

        @raise RequestRefused: if that cannot be.
        """
        if self.isSelf(name):
            raise RequestRefused(f"{name} is the master itself, which is never forgotten")
        self.known.forget(name)
        self.tally.drop(name)
        self.events.note(kinds.FORGOTTEN, name, "it was forgotten")

    def own(self) -> OwnStatus:
        """
        See L{wazuh_cluster.status.answers.IKnowsItself}.
        """
        now = self._wallClock()
        return OwnStatus(now, self._identity.cluster, self._self(), self._ownHealth())

    def explain(self, path: bytes) -> Explanation:
        """
        See L{wazuh_cluster.status.answers.IKnowsItself}.
        """
        return self.compared(Explanation(node=self._identity.name, path=shown(path)), path)

    def compared(self, facts: Explanation, path: bytes) -> Explanation:
        """
        What a node says of a file, with what the master says of it.

        @raise RequestRefused: if no item carries the path.
        """
        item = requireItem(self._items, path)
        generation, manifest = self._generation()
        mine = factsOf(manifest, path)
        snapshot = self._snapshot()
        held = heldBy(manifest, path)
        if held and snapshot is not None:
            held = snapshot.problems.get(path, held)
        facts = evolve(
            facts,
            item=describeItem(item),
            algorithm=facts.algorithm if manifest is None else manifest.algorithm,
            master=mine,
            generation=0 if generation is None else generation.number,
            held=f"the master does not carry it: {held}" if held else facts.held,
        )
        if self.isSelf(facts.node):
            facts = evolve(facts, here=mine, looked=self._looked())
        return judged(facts)

    async def sync(self, begin: bool, verbose: bool) -> SyncOutcome:
        """
        See L{wazuh_cluster.status.answers.IKnowsItself}: workers are told of what
        is new.
        """
        thread = self._fileIntegrity()
        ended = await self._asked.wait(thread, begin)
        record = thread.record
        since = 0.0 if record.started is None else self._clock.seconds() - record.started
        return SyncOutcome(
            node=self._identity.name,
            thread=str(thread.name),
            ended=ended,
            result=record.result or "",
            failure=(record.failure or "") if ended else "",
            seconds=round(since if record.duration is None else record.duration, 4),
            completion=self._self().report.completion,
        )

    # The thread Status.

    def look(self) -> str:
        """
        Tell what is wrong and was not before, and keep what is known of nodes.

        @return: what came of it, for people.
        """
        found = {(each.name, each.node): each for each in self._allReasons(self.nodes())}
        new = [each for key, each in found.items() if key not in self._reasons]
        for each in new[:_MOST_REASONS]:
            self.events.note(kinds.REASON, each.node, f"{each.name}: {each.text}")
        over = sorted(self._reasons.keys() - found.keys())
        for name, node in over[:_MOST_REASONS]:
            self.events.note(kinds.OVER, node, f"{name} is over")
        for kind, all_ in ((kinds.REASON, new), (kinds.OVER, over)):
            if len(all_) > _MOST_REASONS:
                self.events.note(kind, "", f"and {len(all_) - _MOST_REASONS} more reasons")
        self._reasons = found
        self.known.save()
        return f"{len(self.known)} workers known, {len(found)} reasons"

    def _ownHealth(self) -> Health:
        return judge(self._ownReasons(self._self(), self._wallClock()))

    def _allReasons(self, nodes: Iterable[NodeStatus]) -> list[Reason]:
        now = self._wallClock()
        found: list[Reason] = []
        for node in nodes:
            if node.role == MASTER:
                found += self._ownReasons(node, now)
            else:
                found += nodeReasons(node, now)
        for name, (at, text) in self._refused.items():
            if now - at < REFUSED_FOR:
                found.append(reason("NODE_REFUSED", name, f"it may not join, {text}"))
        return found

    def _ownReasons(self, node: NodeStatus, now: float) -> Iterator[Reason]:
        yield from nodeReasons(node, now)
        if node.generation == 0:
            yield reason(
                "NO_GENERATION",
                node.name,
                "its files have not been looked through yet, so that workers get none: wait for "
                "the first look; if this stays, logs/cluster.log says why",
            )
        if self.known.failure is not None:
            yield reason(
                "DISK_TROUBLE",
                node.name,
                f"what is known of workers cannot be kept: {self.known.failure}: make room or mend "
                "the disk; it is tried again by itself",
            )
        failure = self._counts.failure
        if failure is not None:
            name = "AGENTS_STORE_DAMAGED" if self._counts.damaged else "DISK_TROUBLE"
            yield reason(name, node.name, f"agents cannot be counted: {failure}")

    def _generation(self) -> tuple[Generation | None, Any]:
        integrity = self._integrity
        if integrity is None or integrity.generation is None:
            return None, None
        return integrity.generation, integrity.manifest

    def _fileIntegrity(self) -> Periodic:
        (found,) = (each for each in self._threads() if each.name == "File integrity")
        return found

    def _looked(self) -> float | None:
        started = self._fileIntegrity().record.started
        return None if started is None else self._wallClock() - self._clock.seconds() + started

    def _self(self) -> NodeStatus:
        generation, manifest = self._generation()
        return NodeStatus(
            name=self._identity.name,
            role=MASTER,
            state=JOINED,
            since=self._started,
            address=self._address,
            software=f"wazuh_cluster {__version__}",
            wazuhVersion=self._wazuhVersion,
            lastCheck=self._looked(),
            generation=0 if generation is None else generation.number,
            current=generation is not None,
            agents=dict(self._counts.last.nodes.get(self._identity.name, {})),
            report=NodeReport(
                started=self._started,
                memory=self._memory(),
                completion=Completion()
                if manifest is None
                else Completion(len(manifest), manifest.totalSize),
                troubles=(*self._configured, *snapshotTroubles(self._snapshot())),
                threads=threadStatuses(self._threads(), self._clock.seconds, self._wallClock),
            ),
        )

    def _joined(self, status: JoinedWorker, session: Session) -> NodeStatus:
        """
        A worker that is joined, or was just now.
        """
        info = status.info
        generation, manifest = self._generation()
        known = self.known.get(info.name)
        report = session.report
        if report.clockOffset is None:
            report = evolve(report, clockOffset=status.clockOffset)
        behind = status.behindSince
        current = generation is not None and status.generation == generation
        if manifest is not None and not current and not report.completion.files:
            # It has not said how far it is.
            whole = Completion(len(manifest), manifest.totalSize, len(manifest), manifest.totalSize)
            report = evolve(report, completion=whole)
        return NodeStatus(
            name=info.name,
            role="worker",
            state=JOINED,
            since=self._wall(status.joinedAt) if known is None else known.since,
            address=info.address,
            software=info.software,
            wazuhVersion=info.wazuhVersion,
            lastKeepAlive=self._wall(status.lastKeepAlive),
            lastCheck=None if status.lastCheck is None else self._wall(status.lastCheck),
            generation=0 if status.generation is None else status.generation.number,
            current=current,
            behindSince=None if current or behind is None else self._wall(behind),
            report=report,
        )

    def _wall(self, seconds: float) -> float:
        return round(self._wallClock() - self._clock.seconds() + seconds, 3)
