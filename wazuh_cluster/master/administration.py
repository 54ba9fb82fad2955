"""
Removing agents, from everything that the master keeps.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, DeferredLock

from wazuh_cluster.agents.interfaces import IRegistrar
from wazuh_cluster.agents.model import Agent
from wazuh_cluster.errors import ClusterError, Stopped, StoreFailed
from wazuh_cluster.interfaces import IRunner, IState
from wazuh_cluster.master.assignments import MasterAssignments

#: Removes what is known of some agents.
Forget = Callable[[Collection[int]], Awaitable[None]]

_STATE = "removing"


class Administration:
    """
    Removes agents end to end: first from C{client.keys}, durably; then their
    groups, and what is known of them. What was begun is written down before, and
    done again by L{finish}: so neither a death in the middle, nor a record that
    was under way, leaves a trace.
    """

    def __init__(
        self,
        registrar: IRegistrar,
        forget: Forget | None,
        assignments: MasterAssignments | None,
        state: IState,
        runner: IRunner,
        changed: Callable[[], None],
    ) -> None:
        """
        @param forget: removes what is known of agents.
        @param runner: where the state is kept.
        @param changed: called when the files that workers have must change.
        """
        self._registrar = registrar
        self._forget = forget
        self._assignments = assignments
        self._state = state
        self._runner = runner
        self._changed = changed
        self._turn = DeferredLock()
        self._begun: frozenset[int] | None = None

    async def remove(self, ids: Collection[int], purge: bool | None) -> Sequence[Agent]:
        """
        Remove agents; those that are not registered have what is left of them
        removed.

        @param purge: see L{IRegistrar.remove}.
        @return: those that were registered.
        @raise StoreFailed: if something is left of them, which is removed
            later.
        """
        await self._turn.acquire()
        try:
            await self._note((await self._noted()).union(ids))
            removed = await self._registrar.remove(ids, purge)
            if removed:
                self._changed()
            try:
                await self._clean(ids)
            except ClusterError as error:
                raise StoreFailed(
                    f"{len(removed)} agents were removed from client.keys, but not all that is "
                    f"known of them ({error}): that is tried again by itself"
                ) from None
            return removed
        finally:
            self._turn.release()

    async def finish(self) -> str:
        """
        Remove what is left, and what came meanwhile, of agents that were
        removed since the last time.

        @return: what came of it, for people.
        """
        await self._turn.acquire()
        try:
            begun = await self._noted()
            if not begun:
                return "nothing to remove"
            await self._clean(begun)
            await self._note(())
            return f"cleaned up after {len(begun)} agents"
        finally:
            self._turn.release()

    async def _clean(self, ids: Collection[int]) -> None:
        gone = frozenset(ids) - await self._registrar.known(ids)
        if not gone:
            return
        # First what workers have: a database may take its time.
        if self._assignments is not None:
            await self._assignments.forget(sorted(gone))
            self._changed()
        if self._forget is not None:
            await self._forget(gone)

    async def _noted(self) -> frozenset[int]:
        if self._begun is None:
            content = await self._call(self._state.load, _STATE)
            self._begun = _parse(content or b"[]")
        return self._begun

    async def _note(self, ids: Iterable[int]) -> None:
        begun = frozenset(ids)
        if begun == self._begun:
            return
        try:
            if begun:
                content = json.dumps(sorted(begun)).encode("ascii")
                await self._call(self._state.save, _STATE, content)
            else:
                await self._call(self._state.remove, _STATE)
        except OSError as error:
            raise StoreFailed(
                f"the state {_STATE!r} cannot be kept ({error.strerror}): mend that, then try again"
            ) from None
        self._begun = begun

    async def _call(self, function: Callable[..., Any], *arguments: object) -> Any:
        try:
            return await self._runner.call(function, *arguments)
        except CancelledError:
            raise Stopped("the node stops") from None


def _parse(content: bytes) -> frozenset[int]:
    """
    What was written down; a file that says something else says nothing.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return frozenset()
    if not isinstance(found, list):
        return frozenset()
    return frozenset(each for each in found if type(each) is int and each > 0)
