"""
A worker's own disk around its installations: the staging folder, what may be
left beside targets, and what must be known after a restart.
"""

from __future__ import annotations

import os

from wazuh_cluster.failures import said
from wazuh_cluster.integrity import Manifest, Snapshot, Staging
from wazuh_cluster.integrity.reasons import reason
from wazuh_cluster.interfaces import IRunner, ITree
from wazuh_cluster.journal import INTEGRITY_SYNC, Journal
from wazuh_cluster.model import Generation
from wazuh_cluster.worker.holding import Decision, Holding
from wazuh_cluster.worker.memory import Applied, WorkerMemory


class Workplace:
    """
    See the module.

    @ivar applied: the last manifest that was applied, and its generation.
    @ivar staging: where contents come in; there once it was prepared.
    @ivar settled: whether all that must be known after a restart is on the
        disk, and nothing that is not wanted any more is staged.
    @ivar untidy: whether an installation may have left something beside its
        targets.
    """

    staging: Staging

    def __init__(
        self, tree: ITree, memory: WorkerMemory, holding: Holding, runner: IRunner
    ) -> None:
        self._tree = tree
        self._memory = memory
        self._holding = holding
        self._runner = runner
        self._log = Journal(INTEGRITY_SYNC)
        self._prepared = False
        # The generation of the manifest on the disk.
        self._kept: Generation | None = None
        self.applied: Applied | None = None
        # Whether what was there when the look began is durable.
        self._isDurable = False
        self.settled = False
        self.untidy = True

    async def prepare(self, algorithm: str) -> None:
        """
        Take over what the process before left, and tidy up after an
        installation that was not tidy.

        @raise wazuh_cluster.errors.ClusterError: if something cannot be used.
        """
        if self.untidy:
            await self._tidy()
        if self._prepared:
            return
        self.applied = await self._runner.run(self._memory.loadApplied())
        if self.applied is not None:
            self._kept = self.applied.generation
        await self._holding.prepare()
        self.staging = await self._runner.call(self._tree.openStaging, algorithm)
        self._prepared = True

    async def _tidy(self) -> None:
        """
        What a disk does not let go of is tried again by the next run.
        """
        try:
            removed = await self._runner.run(self._tree.sweep())
        except OSError as error:
            self._log.debug("Not all temporary files were removed: {error}", error=said(error))
            return
        self.untidy = False
        if removed and not self._prepared:
            self._log.info("Removed {count} temporary files of an earlier run.", count=removed)

    async def useAlgorithm(self, algorithm: str) -> None:
        """
        From now on contents are staged by other digests.
        """
        # Where there is none, the one before is still seen to be gone.
        before = self.staging
        self.staging = await self._runner.call(self._tree.openStaging, algorithm)
        await self._runner.call(before.close)

    async def begin(self) -> None:
        """
        An installation begins, or is found not to be needed.
        """
        if not self.settled:
            self._isDurable = False
        # What is staged from now on must be used, or removed, before it is settled.
        self.settled = False
        await self._renewStaging()

    async def _renewStaging(self) -> None:
        """
        Open the staging folder again if the one that is open is not in the home
        any more, because that was emptied, restored or replaced. What was noted
        there is noted again then.
        """
        if await self._runner.call(self.staging.isGone):
            await self.useAlgorithm(self.staging.algorithm)
            self._kept = None
            self._holding.noteAgain()

    async def settle(
        self,
        applied: Applied,
        lastApplied: Manifest | None,
        decision: Decision,
        complete: bool,
        snapshot: Snapshot,
    ) -> OSError | None:
        """
        Bring to the disk what must be known after a restart; and, before that,
        carried files that somebody changed and did not sync.

        @param applied: what was applied now.
        @param lastApplied: the manifest before that.
        @param complete: whether all that was planned was done.
        @param snapshot: of what there is now.
        @return: what the system refused, if anything: what was installed is
            there nevertheless, and another call tries this again.
        """
        self.applied = applied
        try:
            if not self._isDurable:
                await self._runner.call(self._makeDurable)
                self._isDurable = True
            await self._holding.remember(
                decision,
                applied.generation.master,
                complete,
                applied.manifest,
                lastApplied,
                snapshot,
            )
            # After the rest: whoever finds it finds that.
            if self._kept != applied.generation:
                await self._runner.run(self._memory.saveApplied(applied))
                self._kept = applied.generation
            await self._holding.remembered()
            if complete:
                await self._runner.run(self.staging.sweep())
        except OSError as error:
            return error
        self.settled = True
        return None

    def _makeDurable(self) -> None:
        try:
            self._tree.settle()
        except OSError as error:
            doing = reason("make the files durable", error)
            raise OSError(error.errno, doing, os.fsdecode(self._tree.path)) from error
