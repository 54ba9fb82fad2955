"""
How a master enrolls the agents that ask at itself: see
L{wazuh_cluster.enrollment.attempts}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from wazuh_cluster.agents import Agent, IAssignments, IRegistrar, Registration
from wazuh_cluster.enrollment import (
    Attempt,
    Attempts,
    Enrolled,
    IEnroller,
    IOpenRequests,
    UndoList,
)
from wazuh_cluster.errors import ClusterError, EnrollmentRefused, RegistrationRefused
from wazuh_cluster.journal import ENROLLMENT, Journal
from wazuh_cluster.repeats import Repeats

#: How often the same trouble is said again, in seconds.
REMIND_AFTER = 60.0


@implementer(IEnroller)
class DirectEnroller:
    """
    Registers agents by the registrar of this node.
    """

    def __init__(
        self,
        registrar: IRegistrar,
        assignments: IAssignments | None,
        origin: str,
        undoing: UndoList,
        openRequests: IOpenRequests,
        clock: IReactorTime,
        random: Callable[[int], bytes],
        wakeUp: Callable[[], None],
    ) -> None:
        """
        @param assignments: tells which group is missing, for the words in
            which an agent hears so.
        @param origin: this node's name.
        @param wakeUp: called when there is something to undo.
        """
        self._registrar = registrar
        self._assignments = assignments
        self._origin = origin
        self._attempts = Attempts(undoing, openRequests, clock, random, wakeUp)
        self._log = Journal(ENROLLMENT)
        self._complaints = Repeats(clock, REMIND_AFTER)

    def enroll(self, request: Registration) -> Deferred[Enrolled]:
        """
        See L{IEnroller.enroll}.
        """
        return self._attempts.make(
            lambda attempt: self._ask(attempt, request), _internalError(request)
        )

    async def undo(self) -> str:
        """
        Undo what is on the list.

        @return: what was done, for people.
        """

        async def undoAll(ids: Sequence[bytes]) -> None:
            for each in ids:
                await self._registrar.undo(each, self._origin)

        return await self._attempts.undo(undoAll)

    def start(self) -> None:
        """
        Begin, and bring to its end what a process before this one did not.
        """
        self._attempts.start()

    async def stop(self) -> None:
        """
        Refuse all that is under way, and take nothing more.
        """
        await self._attempts.stop()

    async def _ask(self, attempt: Attempt, request: Registration) -> Agent:
        attempt.open = True
        # The registrar goes on whether or not somebody waits: what it does
        # then is undone.
        answer: Deferred[Agent] = Deferred()
        self._registrar.register(request, attempt.id, self._origin).chainDeferred(answer)
        try:
            agent = await answer
        except RegistrationRefused as refusal:
            attempt.open = False
            raise EnrollmentRefused(await self._words(refusal, request)) from None
        except ClusterError as error:
            attempt.open = False
            if self._complaints.allow(str(error)) is not None:
                self._log.error("The registrar failed: {reason}", reason=error)
            raise EnrollmentRefused(_internalError(request)) from None
        attempt.open = False
        return agent

    async def _words(self, refusal: RegistrationRefused, request: Registration) -> str:
        """
        What an agent at a master's own port is told, which says more than what
        one at a worker's is.
        """
        if refusal.code == 9007:
            return f"Duplicate IP: {request.ip}"
        if refusal.code == 9008:
            return f"Duplicate agent name: {request.name}"
        if refusal.code == 9014:
            return f"Invalid group: {await self._missing(request.groups)}"
        return _internalError(request)

    async def _missing(self, groups: Sequence[str]) -> str:
        if self._assignments is not None:
            try:
                missing = await self._assignments.missing(groups)
            except ClusterError:
                missing = ()
            if missing:
                return missing[0]
        return ",".join(groups)


def _internalError(request: Registration) -> str:
    return f"Internal manager error adding agent: {request.name}"
