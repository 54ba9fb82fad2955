"""
What a worker holds back, and the operator's word that releases it.
"""

from __future__ import annotations

from attrs import evolve, frozen

from wazuh_cluster.integrity import (
    Comparison,
    Hold,
    Holds,
    Manifest,
    Owner,
    Plan,
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
    @ivar first: the id of the master that was joined first; C{None} for none.
    @ivar other: whether this master is another one.
    @ivar refused: extra valid files that the master refused.
    """

    comparison: Comparison
    holds: Holds
    plan: Plan
    released: frozenset[str]
    first: bytes | None
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
        self._gone: frozenset[bytes] = frozenset()
        self._kept: frozenset[str] | None = None
        self.holds = Holds()

    async def prepare(self) -> None:
        """
        Read what was held when the process before ended.
        """
        self._gone = await self._runner.call(self._memory.gone)

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
        @param master: the master's id.
        @param refused: extra valid files that the master refused.
        """
        released = await self._runner.call(self._memory.released)
        first = await self._runner.call(self._memory.master)
        other = first is not None and first != master

        def work() -> Slices[Decision]:
            yield
            items = self._tree.items
            holds = findHolds(comparison, local, manifest, items, other, released, refused)
            yield
            plan = makePlan(comparison, holds, manifest, owner, refused)
            return Decision(comparison, holds, plan, released, first, other, refused)

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
            makePlan, decision.comparison, holds, plan.manifest, plan.owner, decision.refused
        )
        return evolve(decision, holds=holds, plan=plan)

    async def remember(self, decision: Decision, master: bytes, complete: bool) -> None:
        """
        Keep what was decided.

        @param complete: whether all that was planned was done.
        """
        holds = self.holds = decision.holds
        if decision.first is None or (decision.other and not holds.all):
            await self._runner.call(self._memory.saveMaster, master)
        gone = await self._runner.run(self._heldGone(decision.comparison, holds))
        if gone != self._gone:
            await self._runner.call(self._memory.saveGone, gone)
            self._gone = gone
        ids = frozenset(hold.id for hold in holds.all)
        if ids != self._kept:
            await self._runner.call(self._memory.saveHolds, holds.all)
            self._kept = ids
        if complete and decision.released - ids:
            await self._runner.call(self._memory.forgetReleased, decision.released - ids)

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

    def _heldGone(self, comparison: Comparison, holds: Holds) -> Slices[frozenset[bytes]]:
        """
        Extra valid files that were deleted on the master, and are held here.
        """
        found: list[bytes] = []
        for steps, path in enumerate(comparison.extra):
            if steps % _STEP == 0:
                yield
            item = self._tree.items.find(path)
            if path in holds and item is not None and item.extraValid:
                found.append(path)
        return frozenset(found)
