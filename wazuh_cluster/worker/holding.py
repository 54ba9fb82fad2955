"""
What a worker holds back, and the operator's word that releases it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from attrs import evolve, frozen

from wazuh_cluster.integrity import (
    Comparison,
    Hold,
    Holds,
    Manifest,
    Owner,
    Plan,
    Snapshot,
    Staging,
    agentsHold,
    findHolds,
    makePlan,
)
from wazuh_cluster.interfaces import IRunner, ITree, Slices
from wazuh_cluster.worker.memory import WorkerMemory

#: The agents' keys: held back by the agents in it.
_KEYS = b"etc/client.keys"

#: How many paths are looked at between two yields.
_STEP = 8192


@frozen
class Decision:
    """
    What is held, and what is done, of what differs.

    @ivar released: ids of holds that the operator accepted.
    @ivar other: whether this master is another than the one joined first.
    @ivar refused: extra valid files that the master refused.
    """

    comparison: Comparison
    holds: Holds
    plan: Plan
    released: frozenset[str]
    other: bool
    refused: frozenset[bytes] = frozenset()


class Holding:
    """
    Decides what is held, and remembers it.

    @ivar holds: what is held now.
    """

    def __init__(self, memory: WorkerMemory, tree: ITree, runner: IRunner) -> None:
        self._memory = memory
        self._tree = tree
        self._runner = runner
        # Extra valid files that the master had, and that are still here, or
        # may be, though it has them no more.
        self._gone: frozenset[bytes] = frozenset()
        # The same, and the ids of what is held, as they are on the disk.
        self._keptGone: frozenset[bytes] | None = frozenset()
        self._kept: frozenset[str] | None = None
        self.holds = Holds()

    async def prepare(self) -> None:
        """
        Read what was held when the process before ended.

        @raise wazuh_cluster.errors.StateDamaged: if it cannot be read.
        """
        self._gone = self._keptGone = await self._runner.call(self._memory.gone)

    def noteAgain(self) -> None:
        """
        What is on the disk may not be what was noted there: the home is another
        one.
        """
        self._keptGone = self._kept = None

    async def anyReleased(self) -> bool:
        """
        Whether the operator accepted something that is held.
        """
        if not self.holds.all:
            return False
        released = await self._runner.call(self._memory.released)
        return any(hold.id in released for hold in self.holds.all)

    async def decide(
        self,
        comparison: Comparison,
        local: Manifest,
        manifest: Manifest,
        master: bytes,
        owner: Owner | None,
        refused: frozenset[bytes] = frozenset(),
    ) -> Decision:
        """
        Decide by the paths.

        @param comparison: as L{recall} gives it.
        @param master: the master's id. The first one is remembered before any
            of its files come.
        @param refused: extra valid files that the master refused.
        @raise wazuh_cluster.errors.StateDamaged: if what was accepted, or who
            was joined first, cannot be read.
        @raise OSError: if the first master cannot be remembered.
        """
        released = await self._runner.call(self._memory.released)
        first = await self._runner.call(self._memory.master)
        if first is None:
            await self._runner.call(self._memory.saveMaster, master)
            first = master
        other = first != master

        def work() -> Slices[Decision]:
            yield
            items = self._tree.items
            holds = findHolds(comparison, local, manifest, items, other, released, refused)
            yield
            plan = makePlan(comparison, holds, manifest, owner, refused, items)
            return Decision(comparison, holds, plan, released, other, refused)

        return await self._runner.run(work())

    async def decideAgents(self, decision: Decision, staging: Staging) -> Decision:
        """
        Decide by the agents that C{client.keys} would lose, now that its new
        content is here.
        """
        hold = await self._runner.run(self._agents(decision.plan, staging))
        if hold is None or hold.id in decision.released:
            return decision
        plan, holds = decision.plan, decision.holds.plus(hold)
        plan = await self._runner.call(
            makePlan,
            decision.comparison,
            holds,
            plan.manifest,
            plan.owner,
            decision.refused,
            self._tree.items,
        )
        return evolve(decision, holds=holds, plan=plan)

    async def expect(self, plan: Plan, missing: Container[bytes]) -> None:
        """
        Remember, before they come, which extra valid files a plan brings: if
        this process dies before it can say what it applied, they are the
        master's nevertheless.

        @param missing: paths of files that will not come.
        @raise OSError: if that cannot be kept.
        """
        self._gone |= await self._runner.run(self._extraValid(plan, missing))
        await self._keepGone(self._gone)

    async def remember(
        self,
        decision: Decision,
        master: bytes,
        complete: bool,
        manifest: Manifest,
        lastApplied: Manifest | None,
        snapshot: Snapshot,
    ) -> None:
        """
        Keep what was decided.

        @param complete: whether all that was planned was done.
        @param manifest: the master's.
        @param lastApplied: the one before that.
        @param snapshot: of what there is now.
        @raise OSError: if it cannot be kept; call it again then.
        """
        holds = self.holds = decision.holds
        self._gone = await self._runner.run(self._stillGone(manifest, lastApplied, snapshot))
        # Until the new manifest is on the disk, what it has counts there too.
        await self._keepGone(self._gone | (self._keptGone or frozenset()))
        if decision.other and not holds.otherMaster:
            await self._runner.call(self._memory.saveMaster, master)
        ids = frozenset(hold.id for hold in holds.all)
        if ids != self._kept:
            await self._runner.call(self._memory.saveHolds, holds.all)
            self._kept = ids
        if complete and decision.released - ids:
            await self._runner.call(self._memory.forgetReleased, decision.released - ids)

    async def remembered(self) -> None:
        """
        The manifest is kept now, too.

        @raise OSError: if what it tells cannot be forgotten; call it again then.
        """
        await self._keepGone(self._gone)

    async def _keepGone(self, gone: frozenset[bytes]) -> None:
        if gone != self._keptGone:
            await self._runner.call(self._memory.saveGone, gone)
            self._keptGone = gone

    def _agents(self, plan: Plan, staging: Staging) -> Slices[Hold | None]:
        index = plan.manifest.index(_KEYS)
        if index is not None and index in plan.update:
            digest = plan.manifest.digest(index)
            if not staging.has(digest):
                return None
            new = staging.content(digest)
        elif _KEYS in plan.delete:
            new = b""
        else:
            return None
        return (yield from agentsHold(self._tree.content(_KEYS) or b"", new))

    def recall(self, comparison: Comparison) -> Comparison:
        """
        The comparison by what is remembered: what was deleted on the master and
        is held here is extra, not extra valid, though the last manifest does
        not have it any more.
        """
        if not self._gone:
            return comparison
        gone = self._gone.intersection(comparison.extraValid)
        return evolve(
            comparison,
            extra=tuple(sorted((*comparison.extra, *gone))),
            extraValid=tuple(path for path in comparison.extraValid if path not in gone),
        )

    def remembersTooMuch(self, manifest: Manifest, snapshot: Snapshot) -> bool:
        """
        Whether something that is remembered as deleted on the master is neither
        here any more nor unseen, or is there again: L{remember} forgets it.
        """
        if not self._gone:
            return False
        unseen = snapshot.manifest.heldPaths()
        return any(
            manifest.index(path) is not None
            or (snapshot.manifest.index(path) is None and path not in unseen)
            for path in self._gone
        )

    def _stillGone(
        self, manifest: Manifest, lastApplied: Manifest | None, snapshot: Snapshot
    ) -> Slices[frozenset[bytes]]:
        """
        Extra valid files that were deleted on the master and are still here,
        held or not removable; or may be here or there, unseen: the manifests to
        come do not tell any more that the master had them.
        """
        found: list[bytes] = []
        unseen = snapshot.manifest.heldPaths()
        for steps, path in enumerate(self._onceThere(manifest, lastApplied)):
            if steps % _STEP == 0:
                yield
            if manifest.index(path) is None and (
                snapshot.manifest.index(path) is not None or path in unseen
            ):
                found.append(path)
        return frozenset(found)

    def _extraValid(self, plan: Plan, missing: Container[bytes]) -> Slices[frozenset[bytes]]:
        found: list[bytes] = []
        for steps, index in enumerate(plan.create):
            if steps % _STEP == 0:
                yield
            path = plan.manifest.paths[index]
            item = self._tree.items.find(path)
            if item is not None and item.extraValid and path not in missing:
                found.append(path)
        return frozenset(found)

    def _onceThere(self, manifest: Manifest, lastApplied: Manifest | None) -> Iterator[bytes]:
        yield from self._gone
        if lastApplied is None or lastApplied is manifest:
            return
        for item in self._tree.items:
            if item.extraValid:
                below = lastApplied.below(item.path)
                yield from lastApplied.paths[below.start : below.stop]
