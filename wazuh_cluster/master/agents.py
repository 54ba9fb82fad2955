"""
What a master does for agents, put together from the ports that it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.protocols.amp import IResponderLocator
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.agents.fleet import Fleet, StoredTimes
from wazuh_cluster.agents.interfaces import (
    IAgentSource,
    IAgentStore,
    IAssignments,
    IFleet,
    IRegistrar,
    IRegistrarObserver,
    IRegistrationTimes,
    IRememberingRegistrar,
)
from wazuh_cluster.agents.model import Agent
from wazuh_cluster.enrollment import IOpenRequests, UndoList
from wazuh_cluster.errors import ClusterError
from wazuh_cluster.interfaces import IRunner, IState
from wazuh_cluster.journal import AGENT_INFO_SYNC, ENROLLMENT, MAIN, Journal
from wazuh_cluster.master.administration import Administration, Forget
from wazuh_cluster.master.agentinfo import MasterAgentInfo, OwnAgents
from wazuh_cluster.master.assignments import AssignmentsLocator, MasterAssignments
from wazuh_cluster.master.enroller import DirectEnroller
from wazuh_cluster.master.locator import AgentInfoLocator
from wazuh_cluster.master.registrations import (
    Registrations,
    RegistrationsLocator,
    SessionRegistrations,
)
from wazuh_cluster.master.requests import MasterAnswers, workerAsker
from wazuh_cluster.master.session import Session
from wazuh_cluster.periodic import Periodic
from wazuh_cluster.protocol import Limits
from wazuh_cluster.requests.locator import RequestsLocator
from wazuh_cluster.steadyclock import SteadyClock

#: Seconds between two looks for registrations to undo; there is one at once
#: when one comes.
UNDO_INTERVAL = 10.0

#: Seconds between two looks for what is left of removed agents.
REMOVED_INTERVAL = 60.0


@implementer(IRegistrarObserver)
class MasterAgents(MultiService):
    """
    Registrations, groups and records, as far as there are ports for them, and
    what holds them together: what is registered reaches the workers soon, and
    of what is removed nothing stays.

    @ivar agentInfo: the decisions about agents' records; C{None} for a master
        that keeps none.
    @ivar fleet: all agents with their statuses; likewise.
    @ivar times: what the force rules ask about an agent; likewise.
    @ivar enroller: enrolls agents by the registrar; C{None} without one.
    @ivar assignments: the decisions about groups; C{None} for a master that
        keeps none.
    @ivar administration: the decisions about what is removed; C{None} without a
        registrar.
    @ivar administrators: the workers at which agents may be removed and groups
        changed.
    @ivar requests: what workers, and programs on this node, may ask.
    """

    def __init__(
        self,
        name: str,
        reactor: IReactorTime,
        state: IState,
        runner: Callable[[str], IRunner],
        limits: Limits,
        clock: SteadyClock,
        uptime: Callable[[], float],
        random: Callable[[int], bytes],
        hostName: str,
        changed: Callable[[], None],
        openRequests: IOpenRequests,
        *,
        registrar: IRegistrar | None,
        store: IAgentStore | None,
        source: IAgentSource | None,
        fleet: IFleet | None,
        assignments: IAssignments | None,
        administrators: Collection[str],
        agentInfoInterval: float,
        disconnectionTime: float,
    ) -> None:
        """
        @param name: this node's.
        @param clock: the one that the store's times are on.
        @param source: the records of the agents that report to this node.
        @param fleet: by default, registrar and store together.
        @param hostName: the manager's own, which no agent may have.
        @param changed: called when the files that workers have must change.
        """
        super().__init__()
        self.setName("agents")
        self._log = Journal(MAIN)
        self._changed = changed
        self._registrar = registrar
        self.administrators = frozenset(administrators)
        self._runners: list[IRunner] = []
        self._registrations: Registrations | None = None
        self.enroller: DirectEnroller | None = None
        self.agentInfo: MasterAgentInfo | None = None
        self.fleet = fleet
        self.times: IRegistrationTimes | None = None
        self.assignments: MasterAssignments | None = None
        self.administration: Administration | None = None
        if assignments is not None:
            self.assignments = MasterAssignments(registrar, assignments, changed, reactor)
        self._ports = [each for each in (store, source) if each is not None]
        if registrar is not None and store is not None:
            self.agentInfo = MasterAgentInfo(store, registrar, reactor, clock, uptime, name, source)
            self.times = StoredTimes(store, clock, disconnectionTime)
            if fleet is None:
                self.fleet = Fleet(registrar, store, assignments, clock, disconnectionTime)
            if source is not None:
                Periodic(
                    "Agent info",
                    agentInfoInterval,
                    OwnAgents(self.agentInfo, source, uptime).run,
                    reactor,
                    Journal(AGENT_INFO_SYNC),
                ).setServiceParent(self)
        if registrar is not None:
            removing, undoing = runner("administration"), runner("registrations")
            self._runners = [removing, undoing]
            self.administration = Administration(
                registrar, self._forgetting(store), self.assignments, state, removing, changed
            )
            self._registrations = Registrations(registrar, reactor, limits, hostName)
            self.enroller = DirectEnroller(
                registrar,
                assignments,
                name,
                UndoList(state, undoing),
                openRequests,
                reactor,
                random,
                lambda: self._undo.poke(),
            )
            self._undo = Periodic(
                "Undo registrations",
                UNDO_INTERVAL,
                self.enroller.undo,
                reactor,
                Journal(ENROLLMENT),
            )
            self._undo.setServiceParent(self)
            Periodic(
                "Removed agents", REMOVED_INTERVAL, self.administration.finish, reactor, self._log
            ).setServiceParent(self)
            registrar.observe(self)
        answers = MasterAnswers(self.fleet, self.assignments, self.administration, clock.wall)
        self.requests = answers.table()

    def _forgetting(self, store: IAgentStore | None) -> Forget | None:
        """
        What forgets what is known of agents, also what is on its way.
        """
        if self.agentInfo is not None:
            return self.agentInfo.forget
        return None if store is None else store.remove

    def joining(self, session: Session) -> None:
        """
        A session begins; it may join.
        """
        if self._registrations is not None:
            session.whenJoined().addCallback(self._registrations.joined)

    def locators(self, session: Session) -> list[IResponderLocator]:
        """
        What answers on one session.
        """
        found: list[IResponderLocator] = []
        if self._registrations is not None:
            registrations = SessionRegistrations(self._registrations, session)
            found.append(RegistrationsLocator(registrations))
        if self.agentInfo is not None:
            found.append(AgentInfoLocator(self.agentInfo, session))
        # One who knows no agents would refuse all that workers have.
        if self.assignments is not None and self._registrar is not None:
            found.append(AssignmentsLocator(self.assignments, session))
        asker = partial(workerAsker, session, self.administrators)
        found.append(RequestsLocator(self.requests, asker, session.deadlines))
        return found

    def keysChanged(self) -> None:
        """
        C{client.keys} is another one, by a registrar or by hand: an id that
        somebody put there is not given again, also if nobody asks for an agent
        before it goes.
        """
        if self._registrar is not None:
            self._registrar.load().addErrback(lambda _: None)

    # What a registrar tells.

    def added(self, agents: Sequence[Agent]) -> None:
        """
        See L{IRegistrarObserver.added}: their keys are to reach the workers.
        """
        self._changed()

    def removed(self, agents: Sequence[Agent]) -> None:
        """
        See L{IRegistrarObserver.removed}: nothing is to stay of them.
        """
        self._changed()
        self._removeAll([agent.id for agent in agents])

    def _removeAll(self, ids: Collection[int]) -> None:
        """
        See that nothing stays of agents that are not registered any more.
        """
        if ids:
            assert self.administration is not None
            removing = Deferred.fromCoroutine(self.administration.remove(ids, None))
            removing.addErrback(self._notRemoved)

    def _notRemoved(self, failure: Failure) -> None:
        # What was begun is finished by its thread, which says what is wrong.
        failure.trap(ClusterError)

    # The service.

    def startService(self) -> None:
        """
        Begin, and bring to its end what a process before this one did not.
        """
        super().startService()
        if self.enroller is not None:
            self.enroller.start()
        if self._registrar is not None:
            # What it cannot read it says itself, and tries again.
            loading: Deferred[Any] = self._registrar.load()
            if IRememberingRegistrar.providedBy(self._registrar):
                registrar: Any = self._registrar
                loading.addCallback(lambda _: registrar.removedBefore())
                loading.addCallback(self._removeAll)
            loading.addErrback(lambda _: None)
        if self.agentInfo is not None:
            Deferred.fromCoroutine(self.agentInfo.start()).addErrback(self._bug)

    def stopService(self) -> Deferred[None]:
        """
        End what waits.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self.enroller is not None:
            await self.enroller.stop()
        if self._registrations is not None:
            self._registrations.stop()
        await maybeDeferred(super().stopService)
        if self._registrar is not None:
            self._registrar.stop()
        for each in (*self._ports, *self._runners):
            each.stop()

    def _bug(self, failure: Failure) -> None:
        self._log.failure("The store of agents' records failed: this is a bug.", failure)
