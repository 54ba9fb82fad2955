"""
What a master decides about groups and their agents: by the operator's word,
and when agents first showed up on a worker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.protocols.amp import CommandLocator
from twisted.python.failure import Failure

from wazuh_cluster.agents.groupnames import DEFAULT_GROUP, eachOnce, groupsFault, shownName
from wazuh_cluster.agents.interfaces import IAssignments, IRegistrar
from wazuh_cluster.agents.model import Group, formatId
from wazuh_cluster.agents.offers import readOffers, writeRefusals
from wazuh_cluster.errors import (
    ClusterError,
    GroupRefused,
    LinkClosed,
    ProtocolViolation,
    StoreFailed,
)
from wazuh_cluster.journal import INTEGRITY_SYNC, MAIN, Journal
from wazuh_cluster.protocol import AssignGroups
from wazuh_cluster.repeats import Repeats

if TYPE_CHECKING:
    from wazuh_cluster.master.session import Session

T = TypeVar("T")

#: How often refusals of the same worker are said again, in seconds.
REMIND_AFTER = 300.0


class MasterAssignments:
    """
    The groups of the fleet. Agents get groups only once they are registered,
    so that no node ever has an assignment before the key.
    """

    def __init__(
        self,
        registrar: IRegistrar | None,
        assignments: IAssignments,
        changed: Callable[[], None],
        clock: IReactorTime,
    ) -> None:
        """
        @param registrar: who is registered; C{None} for nobody.
        @param changed: called when the files that workers have must change.
        """
        self._registrar = registrar
        self._assignments = assignments
        self._changed = changed
        self._log = Journal(MAIN)
        self._refusals = Repeats(clock, REMIND_AFTER)
        # What looks first and assigns then must not be come between.
        self._turn = DeferredLock()

    # By the operator's word.

    async def groups(self) -> Sequence[Group]:
        """
        All groups, by name.
        """
        return await self._assignments.groups()

    async def create(self, name: str) -> None:
        """
        Make a group.

        @raise GroupRefused: or say why not.
        """
        await self._assignments.create(name)
        self._log.info("Group {group} was made.", group=name)
        self._changed()

    async def delete(self, name: str) -> Sequence[int]:
        """
        Remove a group, and every agent from it.

        @return: the agents that were in it.
        @raise GroupRefused: or say why not.
        """
        agents = await self._inTurn(lambda: self._assignments.delete(name))
        self._log.info(
            "Group {group} was removed; {count} agents were in it.", group=name, count=len(agents)
        )
        self._changed()
        return agents

    async def assign(self, agent: int, groups: Sequence[str], add: bool) -> tuple[str, ...]:
        """
        Make these the groups of an agent.

        @param add: whether those that it has stay, before these.
        @return: all its groups now.
        @raise GroupRefused: if the agent is not registered, or cannot be in
            them.
        """
        fault = groupsFault(eachOnce(groups))
        if fault is not None:
            raise GroupRefused(f"agent {formatId(agent)}: {fault}")
        await self._requireKnown(agent)

        def becomes(own: tuple[str, ...]) -> tuple[str, ...]:
            new = eachOnce(groups)
            kept = tuple(each for each in own if each not in new) if add else ()
            return (*kept, *new)

        return await self._change(agent, becomes)

    async def unassign(self, agent: int, groups: Sequence[str]) -> tuple[str, ...]:
        """
        Take an agent out of these groups, or of all if none are named. One that
        is in no group any more comes into C{default}.

        @return: its groups now.
        @raise GroupRefused: if the agent is not registered, or not in them.
        """
        await self._requireKnown(agent)

        def becomes(own: tuple[str, ...]) -> tuple[str, ...]:
            for each in groups:
                if each not in own:
                    raise GroupRefused(f"agent {formatId(agent)} is not in {shownName(each)}")
            left = tuple(each for each in own if each not in groups) if groups else ()
            return left or (DEFAULT_GROUP,)

        return await self._change(agent, becomes)

    async def forget(self, agents: Sequence[int]) -> None:
        """
        These agents are not registered any more.
        """
        await self._inTurn(lambda: self._assignments.remove(agents))

    async def _change(
        self, agent: int, becomes: Callable[[tuple[str, ...]], tuple[str, ...]]
    ) -> tuple[str, ...]:
        async def change() -> tuple[str, ...]:
            own = (await self._assignments.of([agent])).get(agent, ())
            new = becomes(own)
            await self._assignments.assign({agent: new})
            return new

        groups = await self._inTurn(change)
        if not await self._known([agent]):
            await self.forget([agent])
            raise _unknown(agent)
        self._log.info(
            "Agent {agent} is in {groups} now.", agent=formatId(agent), groups=",".join(groups)
        )
        self._changed()
        return groups

    async def _requireKnown(self, agent: int) -> None:
        if not await self._known([agent]):
            raise _unknown(agent)

    async def _known(self, agents: Collection[int]) -> frozenset[int]:
        if self._registrar is None:
            return frozenset()
        return await self._registrar.known(agents)

    # When agents first showed up on a worker.

    async def take(self, session: Session, offers: Mapping[int, tuple[str, ...]]) -> dict[int, str]:
        """
        Take over what a worker has first: groups of agents that have none here.

        @return: why not, of those that were not taken.
        @raise GroupRefused: if a group was removed meanwhile; nothing was taken
            then.
        @raise StoreFailed: if it could not be kept; nothing was taken then.
        """
        session.requireJoined()
        known = await self._known(list(offers))
        named = eachOnce(name for groups in offers.values() for name in groups)
        missing = frozenset(await self._assignments.missing(named))
        refused: dict[int, str] = {}
        wanted: dict[int, tuple[str, ...]] = {}
        for agent, groups in offers.items():
            lacking = [name for name in groups if name in missing]
            fault = groupsFault(groups)
            if agent not in known:
                refused[agent] = "the agent is not registered"
            elif fault is not None:
                refused[agent] = fault
            elif lacking:
                refused[agent] = f"there is no group {shownName(lacking[0])}"
            else:
                wanted[agent] = eachOnce(groups)
        new = await self._inTurn(lambda: self._assignFirst(wanted, refused))
        # One that was removed meanwhile was forgotten before it was assigned.
        still = await self._known(list(new))
        gone = [agent for agent in new if agent not in still]
        if gone:
            await self.forget(gone)
            refused.update((agent, "the agent is not registered any more") for agent in gone)
        if len(new) > len(gone):
            self._changed()
        self._say(session, len(new) - len(gone), refused)
        return refused

    async def _assignFirst(
        self, wanted: Mapping[int, tuple[str, ...]], refused: dict[int, str]
    ) -> dict[int, tuple[str, ...]]:
        own = await self._assignments.of(list(wanted))
        new: dict[int, tuple[str, ...]] = {}
        for agent, groups in wanted.items():
            if agent not in own:
                new[agent] = groups
            elif own[agent] != groups:
                refused[agent] = "the master has other groups for it"
        if new:
            await self._assignments.assign(new)
        return new

    def _say(self, session: Session, taken: int, refused: Mapping[int, str]) -> None:
        log = session.log.forTask(INTEGRITY_SYNC)
        if taken:
            log.info("Took the groups of {count} agents that first came there.", count=taken)
        identity = session.identity
        if not refused or identity is None or self._refusals.allow(identity.name) is None:
            return
        agent, why = next(iter(refused.items()))
        log.warn(
            "Refused the groups of {count} agents, among them agent {agent}: {why}.",
            count=len(refused),
            agent=formatId(agent),
            why=why,
        )

    async def _inTurn(self, do: Callable[[], Awaitable[T]]) -> T:
        await self._turn.acquire()
        try:
            return await do()
        finally:
            self._turn.release()


class AssignmentsLocator(CommandLocator):
    """
    The responder of AssignGroups, for one session.
    """

    def __init__(self, assignments: MasterAssignments, session: Session) -> None:
        super().__init__()
        self._assignments = assignments
        self._session = session

    @AssignGroups.responder
    def assignGroups(self, assignments: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{AssignGroups}.
        """
        offers = readOffers(assignments)
        deadlines = self._session.deadlines
        late = StoreFailed(f"the groups could not be kept within {deadlines.seconds:g} s")
        taken = deadlines.bound(lambda: self._assignments.take(self._session, offers), late)
        return taken.addCallbacks(lambda refused: {"refused": writeRefusals(refused)}, _declared)


def _declared(failure: Failure) -> Failure:
    """
    The failure as one that the command declares, if it is the master's world
    that failed.
    """
    if failure.check(GroupRefused, StoreFailed, ProtocolViolation, LinkClosed):
        return failure
    failure.trap(ClusterError)
    return Failure(StoreFailed(failure.getErrorMessage()))


def _unknown(agent: int) -> GroupRefused:
    return GroupRefused(f"agent {formatId(agent)} is not registered")
