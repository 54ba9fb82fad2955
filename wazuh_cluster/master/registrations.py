"""
What a master decides about registrations that workers ask for, and their
responders.

A worker is believed about nothing but that an agent asked at it: where a
request comes from is what its certificate says, and what it asks for is checked
as if an agent had asked here.

A registration whose worker went away before it could be answered may belong to
a process that was killed and cannot undo it. If the worker does not ask again
within L{ABANDON_AFTER}, which is long after it would have given up, it is
undone here. It cannot have been answered: when the same request came on several
links, only the last of them counts, and what was handed to that one is never
taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.protocols.amp import CommandLocator
from twisted.python.failure import Failure

from wazuh_cluster.agents import MAX_AGENT_ID, Agent, IRegistrar, Registration
from wazuh_cluster.enrollment.fields import checkAddress, checkGroups, checkName, readHash
from wazuh_cluster.errors import (
    ClusterError,
    EnrollmentRefused,
    ProtocolViolation,
    RegistrationRefused,
    TooBusy,
)
from wazuh_cluster.failures import oneLine
from wazuh_cluster.journal import ENROLLMENT, Journal
from wazuh_cluster.master.session import Session
from wazuh_cluster.protocol import Limits, RegisterAgent, UndoRegistration
from wazuh_cluster.repeats import Repeats

#: Seconds after which a registration is undone that nobody could be told of.
ABANDON_AFTER = 30.0

#: Registrations that may be under way, and wait to be undone, over all workers.
MOST = 1024

#: A worker that says it held a higher id is not believed: there must be ids
#: left to give.
HIGHEST_BELIEVED = MAX_AGENT_ID // 2

#: How often the same trouble of a worker is said again, in seconds.
REMIND_AFTER = 60.0

_REQUEST_ID = 16


class Registrations:
    """
    The registrations of all workers.
    """

    def __init__(
        self, registrar: IRegistrar, clock: IReactorTime, limits: Limits, hostName: str
    ) -> None:
        """
        @param hostName: the manager's own, which no agent can have.
        """
        self._registrar = registrar
        self.hostName = hostName
        self.limits = limits
        self._clock = clock
        self._log = Journal(ENROLLMENT)
        self._complaints = Repeats(clock, REMIND_AFTER)
        self._underWay = 0
        # By worker and request: the link on which it was asked for last.
        self._latest: dict[tuple[str, bytes], Session] = {}
        # By worker and request: what nobody could be told of.
        self._abandoned: dict[tuple[str, bytes], IDelayedCall] = {}
        self._stopped = False

    def joined(self, session: Session) -> Session:
        """
        A worker joined: the ids that it ever held are not given again.
        """
        highest = session.requireJoined().info.highestAgentId
        if highest > HIGHEST_BELIEVED:
            session.log.forTask(ENROLLMENT).error(
                "It says that it held agent {id}, which is not believed: remove "
                "queue/wazuh_cluster/highest-agent there, and what is wrong in its "
                "etc/client.keys.",
                id=highest,
            )
        elif highest:
            self._registrar.seen(highest).addErrback(self._complain, "seen")
        return session

    async def register(self, session: Session, requestId: bytes, request: Registration) -> Agent:
        """
        Register an agent.

        @raise RegistrationRefused: if it may not be.
        @raise TooBusy: if there are too many under way.
        """
        origin = session.requireJoined().info.name
        if self._underWay >= MOST:
            raise TooBusy("as many registrations as possible are under way")
        key = (origin, requestId)
        self._pickUp(origin, requestId)
        self._underWay += 1
        self._latest[key] = session
        try:
            agent = await self._registrar.register(request, requestId, origin)
        except RegistrationRefused:
            raise
        except ClusterError as error:
            self._complain(Failure(error), "register")
            raise RegistrationRefused.of(9001, "Internal error") from None
        finally:
            self._underWay -= 1
            # If it was asked for again on another link, that one is answered.
            latest = self._latest.get(key) is session
            if latest:
                del self._latest[key]
        if latest and not session.peer.live:
            self._abandon(origin, requestId)
        return agent

    def _abandon(self, origin: str, requestId: bytes) -> None:
        """
        An agent was registered, and there is nobody to tell.
        """
        if self._stopped:
            return
        if len(self._abandoned) >= MOST:
            # The one that waits longest has waited long enough.
            (first, call) = next(iter(self._abandoned.items()))
            call.cancel()
            self._undoAbandoned(*first)
        self._abandoned[origin, requestId] = self._clock.callLater(
            ABANDON_AFTER, self._undoAbandoned, origin, requestId
        )

    async def undo(self, origin: str, requestIds: list[bytes]) -> None:
        """
        A worker says that these agents never got their answers.

        @raise RegistrationRefused: if they cannot be undone now.
        """
        for requestId in requestIds:
            self._pickUp(origin, requestId)
        try:
            undone = await gatherResults(
                [self._registrar.undo(each, origin) for each in requestIds], consumeErrors=True
            ).addErrback(_firstError)
        except ClusterError as error:
            self._complain(Failure(error), "undo")
            raise RegistrationRefused.of(9001, "Internal error") from None
        count = sum(agent is not None for agent in undone)
        if count:
            self._log.info(
                "Removed {count} agents that asked at {node} and never got an answer.",
                count=count,
                node=origin,
            )

    def stop(self) -> None:
        """
        Leave what was abandoned: a worker that lives asks again.
        """
        self._stopped = True
        for call in self._abandoned.values():
            call.cancel()
        self._abandoned.clear()

    def _pickUp(self, origin: str, requestId: bytes) -> None:
        call = self._abandoned.pop((origin, requestId), None)
        if call is not None:
            call.cancel()

    def _undoAbandoned(self, origin: str, requestId: bytes) -> None:
        del self._abandoned[origin, requestId]

        def again(failure: Failure) -> None:
            failure.trap(RegistrationRefused)
            self._abandon(origin, requestId)

        undoing = Deferred.fromCoroutine(self.undo(origin, [requestId]))
        undoing.addErrback(again).addErrback(self._bug)

    def _complain(self, failure: Failure, what: str) -> None:
        reason = oneLine(failure)
        if not failure.check(ClusterError, OSError):
            self._bug(failure)
        elif self._complaints.allow((what, reason)) is not None:
            self._log.error("The registrar failed: {reason}", reason=reason)

    def _bug(self, failure: Failure) -> None:
        self._log.failure("The registrar failed: this is a bug.", failure)


class SessionRegistrations:
    """
    What one worker may ask about registrations, on one link.
    """

    def __init__(self, all: Registrations, session: Session) -> None:
        self._all = all
        self._session = session
        self._underWay = 0

    async def register(self, requestId: bytes, request: Callable[[], Registration]) -> Agent:
        """
        Register an agent.

        @param request: makes the request, or refuses it.
        @raise RegistrationRefused: if it may not be.
        @raise TooBusy: if this worker, or all together, ask for too much.
        """
        if self._underWay >= self._all.limits.registrations:
            raise TooBusy("this worker has as many registrations under way as it may")
        checked = request()
        self._underWay += 1
        try:
            return await self._all.register(self._session, requestId, checked)
        finally:
            self._underWay -= 1

    def check(self, name: str, ip: str, groups: str | None, keyHash: str | None) -> Registration:
        """
        A request in which all is as it should be.

        @raise RegistrationRefused: otherwise, by authd's numbers.
        """
        try:
            checkName(name)
        except EnrollmentRefused:
            raise RegistrationRefused.of(9005, "No such name") from None
        if name == self._all.hostName:
            raise RegistrationRefused.of(9008, "Duplicate name")
        try:
            address = checkAddress(ip)
        except EnrollmentRefused:
            raise RegistrationRefused.of(9006, "No such IP") from None
        try:
            known = () if groups is None else checkGroups(groups)
        except EnrollmentRefused:
            raise RegistrationRefused.of(9014, "Invalid Group(s) Name(s)") from None
        return Registration(name, address, known, None if keyHash is None else readHash(keyHash))

    async def undo(self, requests: bytes) -> None:
        """
        Undo what was registered.

        @raise RegistrationRefused: if that cannot be done now.
        """
        origin = self._session.requireJoined().info.name
        if len(requests) % _REQUEST_ID:
            raise ProtocolViolation("request ids of 16 octets each, and a rest")
        ids = [
            requests[start : start + _REQUEST_ID] for start in range(0, len(requests), _REQUEST_ID)
        ]
        await self._all.undo(origin, ids)


class RegistrationsLocator(CommandLocator):
    """
    The responders for one session.
    """

    def __init__(self, registrations: SessionRegistrations) -> None:
        super().__init__()
        self._registrations = registrations

    @RegisterAgent.responder
    def registerAgent(
        self, request: bytes, name: str, ip: str, groups: str | None, keyHash: str | None
    ) -> Deferred[dict[str, Any]]:
        """
        See L{RegisterAgent}.
        """
        registrations = self._registrations
        return Deferred.fromCoroutine(
            registrations.register(request, lambda: registrations.check(name, ip, groups, keyHash))
        ).addCallback(_answer)

    @UndoRegistration.responder
    def undoRegistration(self, requests: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{UndoRegistration}.
        """
        undoing = Deferred.fromCoroutine(self._registrations.undo(requests))
        return undoing.addCallback(lambda _: {})


def _answer(agent: Agent) -> dict[str, Any]:
    return {"id": agent.id, "name": agent.name, "ip": agent.ip, "key": agent.key}


def _firstError(failure: Failure) -> Failure:
    # gatherResults wraps the error that came first.
    wrapped: Failure = failure.value.subFailure  # type: ignore[union-attr]
    return wrapped
