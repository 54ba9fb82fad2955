"""
Counsel: what a registrar must ask of others, who may be slow or broken: which
groups there are, and what is known of an agent that stands in the way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wazuh_cluster.agents.groupcommit import GroupCommit
from wazuh_cluster.agents.interfaces import IAssignments, IRegistrationTimes
from wazuh_cluster.agents.model import Agent, AgentStatus, formatId
from wazuh_cluster.errors import ClusterError, Stopped, StoreFailed
from wazuh_cluster.failures import Failures, oneLine
from wazuh_cluster.journal import Journal

T = TypeVar("T")

#: For how long a registration waits for an answer, in seconds.
ANSWER_WITHIN = 3.0


class Counsel:
    """
    Asks others, and goes without their answer if it does not come in time.

    @ivar assignments: the groups; C{None} if there are none.
    @ivar times: what is known of agents; C{None} if nobody is to be asked, and
        all count as never connected. Either may be set before the first
        registration: who knows the agents may need the registrar.
    """

    def __init__(
        self,
        clock: IReactorTime,
        journal: Journal,
        known: Callable[[Collection[int]], Awaitable[frozenset[int]]],
        assignments: IAssignments | None,
        times: IRegistrationTimes | None,
    ) -> None:
        """
        @param known: tells those of some ids that are registered.
        """
        self.assignments = assignments
        self.times = times
        self._clock = clock
        self._log = journal
        self._known = known
        self._groupFailures = Failures("Asking for groups", clock, journal)
        self._statusFailures = Failures("Asking for an agent's status", clock, journal)
        self._asked: GroupCommit[tuple[str, ...], frozenset[str]] = GroupCommit(
            self._findMissing, journal=journal
        )
        self._given: GroupCommit[tuple[int, tuple[str, ...]], str | None] = GroupCommit(
            self._assignAll, journal=journal
        )

    async def missing(self, groups: tuple[str, ...]) -> Sequence[str]:
        """
        Those of some groups that do not exist.

        @raise ClusterError: if that cannot be said in time.
        """
        if not groups:
            return ()
        if self.assignments is None:
            return groups
        missing = await self._within(self._asked.add(groups))
        return [group for group in groups if group in missing]

    async def _findMissing(self, asked: Sequence[tuple[str, ...]]) -> Sequence[frozenset[str]]:
        """
        Which of the groups of several requests do not exist.
        """
        assert self.assignments is not None
        names = {name for groups in asked for name in groups}
        try:
            missing = frozenset(await self.assignments.missing(sorted(names)))
        except Stopped:
            # So does whoever asks.
            raise
        except Exception:
            self._groupFailures.failed(Failure())
            raise
        self._groupFailures.succeeded()
        return [missing] * len(asked)

    async def statuses(self, agents: Sequence[Agent]) -> Mapping[int, AgentStatus | None] | None:
        """
        What is known of agents; C{None} for one of which it cannot be said in
        time. C{None} instead of all of it if nobody is to be asked.
        """
        if self.times is None:
            return None
        asked = [self._within(maybeDeferred(self.times.status, agent.id)) for agent in agents]
        found: dict[int, AgentStatus | None] = {}
        for agent, answer in zip(agents, asked, strict=True):
            try:
                found[agent.id] = await answer
                self._statusFailures.succeeded()
            except Stopped:
                found[agent.id] = None
            except Exception:
                found[agent.id] = None
                self._statusFailures.failed(Failure())
        return found

    async def assign(self, agent: Agent, groups: tuple[str, ...], isNew: bool) -> None:
        """
        Give a registered agent its groups, which exist. It stays registered if
        that fails; the log says so.

        @param isNew: whether it was registered now, and not when the same
            request came before.
        """
        assert self.assignments is not None
        id = agent.id
        try:
            if not isNew and id in await self._within(self.assignments.of([id])):
                # Given before, and perhaps changed by somebody since.
                return
            why = await self._within(self._given.add((id, groups)))
        except Exception:
            why = oneLine(Failure())
        if why is not None:
            self._log.warn(
                "Agent {id} is registered, but its groups ({groups}) are not assigned: {reason}",
                id=formatId(id),
                groups=", ".join(groups),
                reason=why,
            )

    async def _assignAll(
        self, given: Sequence[tuple[int, tuple[str, ...]]]
    ) -> Sequence[str | None]:
        """
        Give several agents their groups.

        @return: why not, for each.
        """
        assert self.assignments is not None
        # Not those whom an undo has overtaken.
        here = await self._known([id for id, _ in given])
        groups = {id: names for id, names in given if id in here}
        try:
            await self.assignments.assign(groups)
            return [None] * len(given)
        except ClusterError as error:
            if len(groups) == 1:
                return [oneLine(Failure(error)) if id in here else None for id, _ in given]
        # One of them spoiled it.
        refused: dict[int, str] = {}
        for id, names in groups.items():
            try:
                await self.assignments.assign({id: names})
            except ClusterError as error:
                refused[id] = oneLine(Failure(error))
        return [refused.get(id) for id, _ in given]

    def _within(self, answer: Deferred[T]) -> Deferred[T]:
        """
        What others have to say, if they say it in time.
        """

        def late(result: T | Failure, _: float) -> T | Failure:
            return Failure(StoreFailed(f"there was no answer within {ANSWER_WITHIN:g} s"))

        return answer.addTimeout(ANSWER_WITHIN, self._clock, late)
