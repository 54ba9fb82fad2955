"""
What a worker notes of restarts of Wazuh: that one is due, and that it was done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Iterable

from wazuh_cluster.errors import InstallFailed, StateDamaged
from wazuh_cluster.failures import said
from wazuh_cluster.integrity import Items, Outcome, Plan
from wazuh_cluster.interfaces import IRunner, IState, Slices
from wazuh_cluster.journal import INTEGRITY_SYNC, Journal
from wazuh_cluster.restartdue import DueRestart, RestartDue

#: How many paths are looked at between two yields.
_STEP = 8192


class Restarts:
    """
    Keeps the mark that a restart is due.
    """

    def __init__(
        self,
        state: IState,
        items: Items,
        runner: IRunner,
        wallClock: Callable[[], float],
        wazuhStarts: Callable[[], Iterable[float]],
    ) -> None:
        """
        @param wazuhStarts: when wazuh-analysisd was started.
        """
        self._due = RestartDue(state)
        self._items = items
        self._runner = runner
        self._wallClock = wallClock
        self._wazuhStarts = wazuhStarts
        self._log = Journal(INTEGRITY_SYNC)
        self._damage = ""

    async def look(self) -> None:
        """
        Take the mark away if Wazuh was restarted.
        """
        await self._runner.call(self._clear)

    async def installing(
        self, plan: Plan, missing: Container[bytes], install: Callable[[], Awaitable[Outcome]]
    ) -> Outcome:
        """
        Install, with the mark made before: files that are there are not
        noticed again after a crash.

        @param missing: paths of files that will not be installed, for their
            contents are not here.
        """
        planned = await self._runner.run(self._concerned(plan, missing))
        before = await self._runner.call(self._due.readOrForget)
        if planned:
            await self._runner.call(self._due.add, planned, self._wallClock())
        try:
            outcome = await install()
        except InstallFailed:
            # Nothing has changed.
            if planned:
                await self._runner.call(self._settle, before, (), 0.0)
            raise
        done = outcome.restart
        if planned or done:
            await self._runner.call(self._settle, before, done, self._wallClock())
        if done:
            self._log.info(
                "A restart of Wazuh is due: {count} rules, decoders or lists changed "
                "({path}{more}).",
                count=len(done),
                path=done[0].decode("utf-8", "backslashreplace"),
                more=", …" if len(done) > 1 else "",
            )
        return outcome

    def _settle(self, before: DueRestart | None, done: Iterable[bytes], now: float) -> None:
        """
        Name in the mark what was installed, and no more; what a disk refuses
        of that harms nobody.
        """
        try:
            self._due.settle(before, done, now)
        except (OSError, StateDamaged) as error:
            self._log.error(
                "The note that a restart is due may name files that did not come: {error}",
                error=said(error) if isinstance(error, OSError) else error,
            )

    def _clear(self) -> None:
        # A note must not keep files from coming.
        try:
            restarted = self._due.clearIfRestarted(self._wazuhStarts())
        except StateDamaged as damage:
            self._sayDamage(str(damage))
            return
        except OSError as error:
            self._sayDamage(f"The note that a restart is due cannot be removed: {said(error)}")
            return
        self._damage = ""
        if restarted:
            self._log.info("Wazuh was restarted: no restart is due any more.")

    def _sayDamage(self, damage: str) -> None:
        if damage != self._damage:
            self._log.error("{damage}.", damage=damage)
        self._damage = damage

    def _concerned(self, plan: Plan, missing: Container[bytes]) -> Slices[list[bytes]]:
        """
        The files that make a restart due when a plan is carried out.
        """
        found: list[bytes] = []
        for steps, path in enumerate(plan.changed):
            if steps % _STEP == 0:
                yield
            item = self._items.find(path)
            if item is not None and item.restart and path not in missing:
                found.append(path)
        return found
