"""
The thread Integrity: the worker's files become the master's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from wazuh_cluster.errors import (
    ClusterError,
    InstallFailed,
    LinkClosed,
    NoSuchGeneration,
    ProtocolViolation,
)
from wazuh_cluster.failures import said
from wazuh_cluster.integrity import (
    DIGEST_SIZES,
    Holds,
    Installed,
    Manifest,
    Outcome,
    PathSet,
    Plan,
    Snapshot,
)
from wazuh_cluster.interfaces import IState, ITree, IWorkerObserver, Slices
from wazuh_cluster.journal import INTEGRITY_CHECK, INTEGRITY_SYNC, Journal
from wazuh_cluster.model import Generation, MasterInfo
from wazuh_cluster.protocol import CheckIntegrity, Codec, Limits, Peer, Transfers
from wazuh_cluster.worker.account import Account, describeCounts, describeOutcome
from wazuh_cluster.worker.assignments import Offers
from wazuh_cluster.worker.fetch import Fetcher, Progress, Runners
from wazuh_cluster.worker.hints import Hints, placesOf
from wazuh_cluster.worker.holding import Holding
from wazuh_cluster.worker.memory import Applied, WorkerMemory
from wazuh_cluster.worker.postponed import Postponed
from wazuh_cluster.worker.restarts import Restarts
from wazuh_cluster.worker.workplace import Workplace

#: Seconds between two lines about a fetch that takes long.
PROGRESS_INTERVAL = 10.0

#: How many paths are looked at between two yields.
_STEP = 8192

#: What is waited longer than to the end of a second, for timers can be early.
_MARGIN = 0.01


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
    @ivar fetching: whether one is under way.
    @ivar wanted: the manifest that was last to be applied; C{None} before the
        first.
    @ivar holds: what is held back now.
    """

    def __init__(
        self,
        tree: ITree,
        state: IState,
        runners: Runners,
        clock: IReactorTime,
        wallClock: Callable[[], float],
        limits: Limits,
        observer: IWorkerObserver,
        wazuhStarts: Callable[[], Iterable[float]],
        interval: float,
        codecs: Sequence[Codec] = (),
    ) -> None:
        """
        @param interval: seconds between two looks at everything.
        """
        self.tree = tree
        memory = WorkerMemory(state, tree.items)
        self._restarts = Restarts(state, tree.items, runners.main, wallClock, wazuhStarts)
        self._holding = Holding(memory, tree, runners.main)
        self._workplace = Workplace(tree, memory, self._holding, runners.main)
        self._runners = runners
        self._runner = runners.main
        self._clock = clock
        self._wallClock = wallClock
        self._limits = limits
        self._codecs = codecs
        self._observer = observer
        self._check = Journal(INTEGRITY_CHECK)
        self._sync = Journal(INTEGRITY_SYNC)
        self._link: _Link | None = None
        self._postponed = Postponed()
        self._hints = Hints(clock, interval)
        self._algorithm = tree.algorithm
        self.snapshot: Snapshot | None = None
        self._offers = Offers(tree, runners.main, clock)
        self._settled: Mapping[bytes, bytes] = {}
        self._account = Account(self._sync, tree.path, clock)
        self.progress = Progress()
        self.fetching = False
        self._wanted: Manifest | None = None

    @property
    def wanted(self) -> Manifest | None:
        """
        See the class.
        """
        if self._wanted is None and self.applied is not None:
            return self.applied.manifest
        return self._wanted

    @property
    def holds(self) -> Holds:
        """
        See the class.
        """
        return self._holding.holds

    @property
    def applied(self) -> Applied | None:
        """
        See the class.
        """
        return self._workplace.applied

    def joined(
        self, peer: Peer, transfers: Transfers, master: MasterInfo, again: Callable[[], None]
    ) -> None:
        """
        There is a link.

        @param again: asks for a run before the next interval.
        """
        self._hints.joined(again)
        self._offers.joined()
        self._settled = {}
        fetcher = Fetcher(
            peer,
            transfers,
            self._runners,
            self.tree.items,
            self._limits,
            self._clock,
            self._postponed,
            self._codecs,
        )
        self._link = _Link(peer, fetcher, master)

    def left(self) -> None:
        """
        There is none any more.
        """
        self._hints.left()
        self._link = None

    def changed(self) -> None:
        """
        The master says that it has something new: look soon.
        """
        self._hints.heard()

    async def run(self) -> str:
        """
        Compare, and mend what differs.

        @return: what came of it, for people.
        """
        link = self._require()
        try:
            return await self._run(link)
        except ProtocolViolation as violation:
            link.peer.abort(violation)
            raise

    async def _run(self, link: _Link) -> str:
        started = self._clock.seconds()
        await self._runners.idle()
        await self._workplace.prepare(self._algorithm)
        await self._restarts.look()
        known, reached = self.applied, self._hints.take()
        if known is not None and known.generation == reached:
            return await self._follow(link, started, known)
        snapshot = await self._scan()
        try:
            generation, upToDate, snapshot = await self._ask(link, snapshot)
        except NoSuchGeneration:
            return "the master has no generation yet"
        if upToDate:
            self._account.alreadyAt(generation)
        if known is not None and known.generation == generation:
            manifest = known.manifest
            mends = await self._runner.run(self.tree.findMends(snapshot))
            strays = self.tree.findStrays(snapshot, manifest)
            unfinished = (
                not self._workplace.settled
                or self._holding.remembersTooMuch(manifest, snapshot)
                or await self._holding.anyReleased()
            )
            if upToDate and not (mends or strays or unfinished):
                self._hints.reached(generation)
                return f"up to date with generation {generation.describe()}"
        else:
            usable = known is not None and known.manifest.algorithm == self._algorithm
            generation, manifest, _ = await link.fetcher.manifest(known if usable else None)
            self._forThis(link, generation)
        return await self._mend(link, started, snapshot, generation, manifest, None)

    async def _follow(self, link: _Link, started: float, known: Applied) -> str:
        """
        Everything was at a generation a moment ago, and there is another one
        now: mend what differs between the two.
        """
        try:
            generation, manifest, changed = await link.fetcher.manifest(known)
        except NoSuchGeneration:
            return "the master has no generation yet"
        self._forThis(link, generation)
        assert self.snapshot is not None
        places = None
        if changed is not None and manifest.algorithm == self._algorithm:
            places = await self._runner.call(
                placesOf, changed, self.snapshot, manifest, self.tree.items
            )
        snapshot = await self._scan(only=places)
        return await self._mend(link, started, snapshot, generation, manifest, places)

    async def _mend(
        self,
        link: _Link,
        started: float,
        snapshot: Snapshot,
        generation: Generation,
        manifest: Manifest,
        places: frozenset[bytes] | None,
    ) -> str:
        """
        Do what there is to do, and tell the master if it could not be done.

        @param places: where to look when it is done; C{None} for everywhere.
        """
        try:
            done, refusal = await self._apply(link, started, snapshot, generation, manifest, places)
        except (InstallFailed, OSError) as failure:
            root = await self._runner.run(self._root(snapshot))
            why = said(failure) if isinstance(failure, OSError) else str(failure)
            await self._account.tellFailure(link.peer, generation, root, why)
            raise
        if refusal is not None:
            raise refusal
        return done

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

    async def _scan(
        self, installed: Installed | None = None, only: frozenset[bytes] | None = None
    ) -> Snapshot:
        previous = self.snapshot
        if previous is not None and previous.manifest.algorithm != self._algorithm:
            previous = None
        self.snapshot = snapshot = await self._runner.run(
            self.tree.scan(previous, self._algorithm, False, installed, only)
        )
        return snapshot

    def _root(self, snapshot: Snapshot) -> Slices[bytes]:
        without: list[bytes] = list(self.holds.paths)
        if self.applied is not None:
            without.extend(held.path for held in self.applied.manifest.held)
        manifest = snapshot.manifest
        for steps, (path, digest) in enumerate(self._settled.items()):
            if steps % _STEP == 0:
                yield
            index = manifest.index(path)
            if index is not None and manifest.digest(index) == digest:
                without.append(path)
        yield
        root: bytes = yield from snapshot.manifest.rootSlices(self.tree.items, PathSet(without))
        return root

    async def _ask(
        self, link: _Link, snapshot: Snapshot, again: bool = False
    ) -> tuple[Generation, bool, Snapshot]:
        """
        Ask whether the files are the master's.

        @param again: whether this was just asked, with another algorithm.
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
            if again or answer["algorithm"] not in DIGEST_SIZES:
                raise ProtocolViolation(
                    f"the master now uses the digest algorithm {answer['algorithm']!r}"
                )
            self._check.info(
                "The master uses {algorithm}: files are read again.",
                algorithm=answer["algorithm"],
            )
            self._algorithm = answer["algorithm"]
            await self._workplace.useAlgorithm(self._algorithm)
            return await self._ask(link, await self._scan(), again=True)
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
        places: frozenset[bytes] | None,
    ) -> tuple[str, OSError | None]:
        """
        Do what there is to do.

        @param places: see L{_mend}.
        @return: what came of it, for people; and what kept this worker from
            noting it.
        """
        if snapshot.manifest.algorithm != manifest.algorithm:
            raise ProtocolViolation("its manifest came with another algorithm than it said")
        self._wanted = manifest
        await self._workplace.begin()
        known = self.applied
        lastApplied = known.manifest if known is not None else None
        comparison = await self._runner.run(self.tree.compare(snapshot, manifest, lastApplied))
        comparison = await self._runner.call(self._holding.recall, comparison)
        offered = await self._offers.offer(
            link.peer, comparison.extraValid, snapshot.manifest, generation
        )
        owner = await self._runner.call(self.tree.owner)
        decision = await self._holding.decide(
            comparison, snapshot.manifest, manifest, generation.master, owner, offered.refused
        )
        plan = decision.plan
        counts = describeCounts(plan)
        fetching = bool(plan.create or plan.update)
        if fetching or plan.delete or plan.clear:
            self._account.starting(counts, fetching)
        failures = await self._fetch(link, plan)
        decision = await self._holding.decideAgents(decision, self._workplace.staging)
        plan, holds = decision.plan, decision.holds
        outcome = Outcome()
        workplace = self._workplace
        if plan:
            untidy, workplace.untidy = workplace.untidy, True
            await self._holding.expect(plan, failures)
            install = partial(self._install, plan, failures)
            outcome = await self._restarts.installing(plan, failures, install)
            workplace.untidy = untidy or outcome.untidy
            changed = frozenset((*outcome.created, *outcome.updated))
            snapshot = await self._scan(Installed(manifest, changed, self.tree.items), places)
        self._settled = offered.settled
        complete = not (outcome.failed or outcome.postponed)
        refusal = await workplace.settle(
            Applied(generation, manifest), lastApplied, decision, complete, snapshot
        )
        if outcome.notDurable is not None:
            workplace.settled = False
        if outcome.postponed and self._link is not None:
            # They wait for the next second of the clock that gives files their time.
            self._hints.later(1.0 - self._wallClock() % 1.0 + _MARGIN)
        root = await self._runner.run(self._root(snapshot))
        report = describeOutcome(
            generation,
            outcome,
            self.progress,
            self._clock.seconds() - started,
        )
        reached = root == generation.root
        if reached and complete and refusal is None and workplace.settled:
            self._hints.reached(generation)
        if self._account.say(report, outcome, holds, reached, counts):
            if link.peer.live:
                await self._account.tell(link.peer, report, holds, root, counts)
            self._observer.synced(report)
        return (
            f"{'at' if reached else 'not yet at'} generation {generation.describe()}: {counts}, "
            f"{len(outcome.failed)} failed, {len(holds)} held",
            refusal,
        )

    async def _fetch(self, link: _Link, plan: Plan) -> dict[bytes, str]:
        self.progress = Progress()
        if not (plan.create or plan.update):
            return {}
        saying = LoopingCall(lambda: self.sayProgress(self.progress))
        saying.clock = self._clock
        saying.start(PROGRESS_INTERVAL, now=False).addErrback(self._bug)
        self.fetching = True
        try:
            return await link.fetcher.contents(self._workplace.staging, plan, self.progress)
        finally:
            self.fetching = False
            saying.stop()

    def sayProgress(self, progress: Progress) -> None:
        """
        Write to the log how far a fetch has come.
        """
        self._account.sayProgress(progress)

    def _bug(self, failure: Failure) -> None:
        self._sync.failure("The progress could not be said: this is a bug.", failure)

    async def _install(self, plan: Plan, failures: dict[bytes, str]) -> Outcome:
        return await self._runner.run(self.tree.install(plan, self._workplace.staging, failures))
