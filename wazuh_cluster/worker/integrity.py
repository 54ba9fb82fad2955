"""
The thread Integrity: the worker's files become the master's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, evolve
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from wazuh_cluster.errors import (
    ClusterError,
    InstallFailed,
    LinkClosed,
    NoSuchGeneration,
    StateDamaged,
)
from wazuh_cluster.integrity import (
    Comparison,
    Hold,
    Holds,
    Installed,
    Manifest,
    Outcome,
    Owner,
    PathSet,
    Plan,
    Snapshot,
    Staging,
    agentsHold,
    findHolds,
    makePlan,
)
from wazuh_cluster.interfaces import IRunner, IState, ITree, IWorkerObserver, Slices
from wazuh_cluster.journal import INTEGRITY_CHECK, INTEGRITY_SYNC, Journal
from wazuh_cluster.model import Generation, MasterInfo
from wazuh_cluster.protocol import CheckIntegrity, Limits, Peer, Transfers
from wazuh_cluster.restartdue import RestartDue
from wazuh_cluster.worker.account import Account, describeCounts, describeOutcome
from wazuh_cluster.worker.fetch import Fetcher, Progress
from wazuh_cluster.worker.memory import Applied, WorkerMemory

#: Seconds between two lines about a fetch that takes long.
PROGRESS_INTERVAL = 10.0

#: How many paths are looked at between two yields.
_STEP = 8192


@define
class _Link:
    """
    What there is while a link is there.
    """

    peer: Peer
    fetcher: Fetcher
    master: MasterInfo


class IntegrityThread:
    """
    One worker's integrity, over all its links.

    @ivar tree: the worker's files.
    @ivar snapshot: the last look at the worker's own files.
    @ivar applied: the last manifest that was applied, and its generation.
    @ivar progress: of the fetch that is under way, or was last.
    @ivar holds: what is held back now.
    """

    def __init__(
        self,
        tree: ITree,
        state: IState,
        runner: IRunner,
        clock: IReactorTime,
        wallClock: Callable[[], float],
        limits: Limits,
        observer: IWorkerObserver,
        wazuhStarts: Callable[[], Iterable[float]],
    ) -> None:
        self.tree = tree
        self._memory = WorkerMemory(state, tree.items)
        self._restart = RestartDue(state)
        self._runner = runner
        self._clock = clock
        self._wallClock = wallClock
        self._limits = limits
        self._observer = observer
        self._wazuhStarts = wazuhStarts
        self._check = Journal(INTEGRITY_CHECK)
        self._sync = Journal(INTEGRITY_SYNC)
        self._link: _Link | None = None
        self._again: Callable[[], None] = lambda: None
        self._soon: IDelayedCall | None = None
        self._saidDamage = False
        self._prepared = False
        self._owner: Owner | None = None
        self._staging: Staging
        self._algorithm = tree.algorithm
        self.snapshot: Snapshot | None = None
        self._gone: frozenset[bytes] = frozenset()
        self._pending: frozenset[bytes] = frozenset()
        self._keptHolds: frozenset[str] | None = None
        self._account = Account(self._sync, tree.path)
        self.applied: Applied | None = None
        self.progress = Progress()
        self.holds = Holds()

    def joined(
        self, peer: Peer, transfers: Transfers, master: MasterInfo, again: Callable[[], None]
    ) -> None:
        """
        There is a link.

        @param again: asks for a run before the next interval.
        """
        self._again = again
        fetcher = Fetcher(peer, transfers, self._runner, self.tree.items, self._limits, self._clock)
        self._link = _Link(peer, fetcher, master)

    def left(self) -> None:
        """
        There is none any more.
        """
        if self._soon is not None and self._soon.active():
            self._soon.cancel()
        self._soon = None
        self._link = None

    async def run(self) -> str:
        """
        Compare, and mend what differs.

        @return: what came of it, for people.
        """
        link = self._require()
        started = self._clock.seconds()
        if not self._prepared:
            await self._prepare()
        await self._runner.call(self._clearRestart)
        snapshot = await self._scan()
        try:
            generation, upToDate, snapshot = await self._ask(link, snapshot)
        except NoSuchGeneration:
            return "the master has no generation yet"
        known = self.applied
        if known is not None and known.generation == generation:
            manifest = known.manifest
            mends = await self._runner.run(self.tree.findMends(snapshot))
            strays = self.tree.findStrays(snapshot, manifest)
            if upToDate and not mends and not strays and not await self._released():
                return f"up to date with generation {generation.describe()}"
        else:
            generation, manifest = await link.fetcher.manifest()
            self._forThis(link, generation)
        try:
            return await self._apply(link, started, snapshot, generation, manifest)
        except InstallFailed as failure:
            root = await self._runner.run(self._root(snapshot))
            await self._account.tellFailure(link.peer, generation, root, failure)
            raise

    async def _released(self) -> bool:
        """
        Whether the operator accepted something that is held.
        """
        if not self.holds.all:
            return False
        released = await self._runner.call(self._memory.released)
        return any(hold.id in released for hold in self.holds.all)

    def _require(self) -> _Link:
        if self._link is None:
            raise LinkClosed("there is no link to the master")
        return self._link

    def _forThis(self, link: _Link, generation: Generation) -> None:
        if generation.master != link.master.homeId:
            raise ClusterError(
                "the master sent a generation of another master: restart it; if that stays so, "
                "report it"
            )

    async def _prepare(self) -> None:
        removed = await self._runner.run(self.tree.sweep())
        if removed:
            self._sync.info("Removed {count} temporary files of an earlier run.", count=removed)
        self.applied = await self._runner.run(self._memory.loadApplied())
        self._gone = await self._runner.call(self._memory.gone)
        self._owner = await self._runner.call(self.tree.owner)
        self._staging = await self._runner.call(self.tree.openStaging, self._algorithm)
        self._prepared = True

    def _clearRestart(self) -> None:
        try:
            restarted = self._restart.clearIfRestarted(self._wazuhStarts())
        except StateDamaged as damage:
            # A note must not keep files from coming.
            if not self._saidDamage:
                self._sync.error("{damage}.", damage=damage)
            self._saidDamage = True
            return
        if restarted:
            self._sync.info("Wazuh was restarted: no restart is due any more.")

    async def _scan(self, installed: Installed | None = None) -> Snapshot:
        previous = self.snapshot
        if previous is not None and previous.manifest.algorithm != self._algorithm:
            previous = None
        self.snapshot = snapshot = await self._runner.run(
            self.tree.scan(previous, self._algorithm, False, installed)
        )
        return snapshot

    def _root(self, snapshot: Snapshot) -> Slices[bytes]:
        without: list[bytes] = [*self.holds.paths, *self._pending]
        if self.applied is not None:
            without.extend(held.path for held in self.applied.manifest.held)
        yield
        root: bytes = yield from snapshot.manifest.rootSlices(self.tree.items, PathSet(without))
        return root

    async def _ask(self, link: _Link, snapshot: Snapshot) -> tuple[Generation, bool, Snapshot]:
        """
        Ask whether the files are the master's.

        @return: the master's generation, whether they are, and a scan with
            the algorithm that the master uses.
        """
        answer = await link.peer.call(
            CheckIntegrity,
            root=await self._runner.run(self._root(snapshot)),
            algorithm=self._algorithm,
        )
        generation = Generation(
            answer["master"], answer["number"], answer["root"], answer["epoch"] or 0
        )
        self._forThis(link, generation)
        if answer["algorithm"] != self._algorithm:
            self._check.info(
                "The master uses {algorithm}: files are read again.",
                algorithm=answer["algorithm"],
            )
            self._algorithm = answer["algorithm"]
            await self._runner.call(self._staging.close)
            self._staging = await self._runner.call(self.tree.openStaging, self._algorithm)
            self.applied = None
            return await self._ask(link, await self._scan())
        self._check.debug(
            "Finished. {state} generation {generation}.",
            state="Up to date with" if answer["upToDate"] else "Behind",
            generation=generation.describe(),
        )
        return generation, bool(answer["upToDate"]), snapshot

    # Mending.

    async def _apply(
        self,
        link: _Link,
        started: float,
        snapshot: Snapshot,
        generation: Generation,
        manifest: Manifest,
    ) -> str:
        if snapshot.manifest.algorithm != manifest.algorithm:
            raise ClusterError("the master's manifest came with another algorithm than it said")
        known = self.applied
        lastApplied = known.manifest if known is not None else None
        comparison = await self._runner.run(self.tree.compare(snapshot, manifest, lastApplied))
        released = await self._runner.call(self._memory.released)
        first = await self._runner.call(self._memory.master)
        other = first is not None and first != generation.master
        comparison, holds, plan = await self._runner.run(
            self._decide(comparison, snapshot.manifest, manifest, other, released)
        )
        counts = describeCounts(plan)
        fetching = bool(plan.create or plan.update)
        if fetching or plan.delete or plan.clear:
            self._account.starting(counts, fetching)
        failures = await self._fetch(link, plan)
        agents = await self._runner.run(self._agentsHold(plan))
        if agents is not None and agents.id not in released:
            holds = holds.plus(agents)
            plan = await self._runner.call(makePlan, comparison, holds, manifest, self._owner)
        outcome = Outcome()
        if plan:
            outcome = await self._install(plan, failures)
            changed = frozenset((*outcome.created, *outcome.updated))
            snapshot = await self._scan(Installed(manifest, changed, self.tree.items))
        self.holds = holds
        self._pending = frozenset(comparison.extraValid)
        self.applied = Applied(generation, manifest)
        if known is None or known.generation != generation:
            await self._runner.run(self._memory.saveApplied(self.applied))
        if first is None or (other and not holds.all):
            await self._runner.call(self._memory.saveMaster, generation.master)
        await self._remember(comparison, outcome, holds, released)
        if outcome.postponed and self._link is not None:
            self._soon = self._clock.callLater(1.0, self._again)
        root = await self._runner.run(self._root(snapshot))
        report = describeOutcome(
            generation,
            outcome,
            self.progress,
            self._clock.seconds() - started,
        )
        reached = root == generation.root
        if self._account.say(report, outcome, holds, reached, counts):
            if link.peer.live:
                await self._account.tell(link.peer, report, holds, root, counts)
            self._observer.synced(report)
        return (
            f"{'at' if reached else 'not yet at'} generation {generation.describe()}: {counts}, "
            f"{len(outcome.failed)} failed, {len(holds)} held"
        )

    async def _fetch(self, link: _Link, plan: Plan) -> dict[bytes, str]:
        self.progress = Progress()
        if not (plan.create or plan.update):
            return {}
        saying = LoopingCall(lambda: self.sayProgress(self.progress))
        saying.clock = self._clock
        saying.start(PROGRESS_INTERVAL, now=False).addErrback(self._bug)
        try:
            return await link.fetcher.contents(self._staging, plan, self.progress)
        finally:
            saying.stop()

    def sayProgress(self, progress: Progress) -> None:
        """
        Write to the log how far a fetch has come.
        """
        self._account.sayProgress(progress)

    def _bug(self, failure: Failure) -> None:
        self._sync.failure("The progress could not be said: this is a bug.", failure)

    async def _install(self, plan: Plan, failures: dict[bytes, str]) -> Outcome:
        """
        Install, with the mark that a restart is due made before: files that
        are there are not noticed again after a crash.
        """
        planned = await self._runner.run(self._forRestart(plan))
        before = await self._runner.call(self._restart.readOrForget)
        if planned:
            await self._runner.call(self._restart.add, planned, self._wallClock())
        done: tuple[bytes, ...] = ()
        try:
            outcome = await self._runner.run(self.tree.install(plan, self._staging, failures))
            done = outcome.restart
        except InstallFailed:
            # Nothing has changed.
            if planned:
                await self._runner.call(self._restart.settle, before, (), 0.0)
            raise
        if planned or done:
            await self._runner.call(self._restart.settle, before, done, self._wallClock())
        if done:
            self._account.sayRestart(done)
        return outcome

    def _forRestart(self, plan: Plan) -> Slices[list[bytes]]:
        """
        The files that make a restart due when a plan is carried out.
        """
        found: list[bytes] = []
        for steps, path in enumerate(plan.changed):
            if steps % _STEP == 0:
                yield
            item = self.tree.items.find(path)
            if item is not None and item.restart:
                found.append(path)
        return found

    def _agentsHold(self, plan: Plan) -> Slices[Hold | None]:
        """
        Look at the agents that an installation would lose.
        """
        index = plan.manifest.index(_KEYS)
        if index is not None and index in plan.update:
            digest = plan.manifest.digest(index)
            if not self._staging.has(digest):
                return None
            new = self._staging.content(digest)
        elif _KEYS in plan.delete:
            new = b""
        else:
            return None
        return (yield from agentsHold(self.tree.content(_KEYS) or b"", new))

    def _decide(
        self,
        comparison: Comparison,
        local: Manifest,
        manifest: Manifest,
        other: bool,
        released: frozenset[str],
    ) -> Slices[tuple[Comparison, Holds, Plan]]:
        """
        What is held, and what is done, of what differs.
        """
        comparison = self._knowGone(comparison)
        yield
        holds = findHolds(comparison, local, manifest, self.tree.items, other, released)
        yield
        return comparison, holds, makePlan(comparison, holds, manifest, self._owner)

    def _knowGone(self, comparison: Comparison) -> Comparison:
        """
        What was deleted on the master and is held here is extra, not extra
        valid, though the last manifest does not have it any more.
        """
        if not self._gone:
            return comparison
        gone = self._gone.intersection(comparison.extraValid)
        return evolve(
            comparison,
            extra=tuple(sorted((*comparison.extra, *gone))),
            extraValid=tuple(path for path in comparison.extraValid if path not in gone),
        )

    async def _remember(
        self,
        comparison: Comparison,
        outcome: Outcome,
        holds: Holds,
        released: frozenset[str],
    ) -> None:
        gone = await self._runner.run(self._heldGone(comparison, holds))
        if gone != self._gone:
            await self._runner.call(self._memory.saveGone, gone)
            self._gone = gone
        ids = frozenset(hold.id for hold in holds.all)
        if ids != self._keptHolds:
            await self._runner.call(self._memory.saveHolds, holds.all)
            self._keptHolds = ids
        if outcome.failed or outcome.postponed:
            return
        if released - ids:
            await self._runner.call(self._memory.forgetReleased, released - ids)
        await self._runner.run(self._staging.sweep())

    def _heldGone(self, comparison: Comparison, holds: Holds) -> Slices[frozenset[bytes]]:
        """
        Extra valid files that were deleted on the master, and are held here.
        """
        found: list[bytes] = []
        for steps, path in enumerate(comparison.extra):
            if steps % _STEP == 0:
                yield
            if path in holds and self.tree.items.check(path).extraValid:
                found.append(path)
        return frozenset(found)


#: The agents' keys: held back by the agents in it.
_KEYS = b"etc/client.keys"
