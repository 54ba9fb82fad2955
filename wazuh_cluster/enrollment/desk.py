"""
What is decided about a request at this node, and what its log says of it.

Never logged: a password, a key, a hash of one, or a request as it came.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wazuh_cluster.agents import Agent, formatId
from wazuh_cluster.enrollment.fields import shown
from wazuh_cluster.enrollment.interfaces import Enrolled, IEnroller
from wazuh_cluster.enrollment.password import PasswordFile
from wazuh_cluster.enrollment.request import RequestRules, readRequest
from wazuh_cluster.errors import ClusterError, EnrollmentRefused, Stopped
from wazuh_cluster.journal import ENROLLMENT, Journal
from wazuh_cluster.repeats import Repeats

#: How often the refusal of requests from one address is said again, for the
#: same reason; and how often that there is no password. In seconds.
REPEAT_AFTER = 10.0
REMIND_AFTER = 300.0

_NO_PASSWORD = "Enrollment password not available"


class Desk:
    """
    Takes requests, and says in the log what came of them.
    """

    def __init__(
        self,
        enroller: IEnroller,
        rules: RequestRules,
        password: PasswordFile | None,
        clock: IReactorTime,
    ) -> None:
        """
        @param password: C{None} if agents need none.
        """
        self._enroller = enroller
        self._rules = rules
        self._password = password
        self._log = Journal(ENROLLMENT)
        self._refusals = Repeats(clock, REPEAT_AFTER)
        self._reminders = Repeats(clock, REMIND_AFTER)

    async def enroll(self, line: bytes, host: str | None) -> Enrolled:
        """
        Do what a request asks for.

        @param line: the request, without its end.
        @param host: from where it comes.
        @raise EnrollmentRefused: with what the agent is told.
        """
        password = None if self._password is None else await self._secret(self._password)
        request = readRequest(line, host, self._rules, password)
        return await self._enroller.enroll(request)

    async def checkPassword(self) -> None:
        """
        Say in the log if nobody can enroll because there is no password.
        """
        if self._password is not None:
            try:
                await self._secret(self._password)
            except (EnrollmentRefused, CancelledError):
                return

    async def _secret(self, password: PasswordFile) -> bytes:
        try:
            return await password.current()
        except Stopped:
            raise EnrollmentRefused(_NO_PASSWORD) from None
        except ClusterError as problem:
            if self._reminders.allow(str(problem)) is not None:
                self._log.error("No agent can enroll here: {problem}", problem=problem)
            raise EnrollmentRefused(_NO_PASSWORD) from None

    def enrolled(self, agent: Agent, host: str | None) -> None:
        """
        An agent was answered.
        """
        self._log.info(
            "Agent {id} {name} ({ip}) enrolled from {address}.",
            id=formatId(agent.id),
            name=agent.name,
            ip=agent.ip,
            address=_place(host),
        )

    def refused(self, why: str, host: str | None) -> None:
        """
        Somebody was not enrolled.
        """
        # Not by what somebody made up: each would have a line of its own.
        kind = why.partition(":")[0]
        suppressed = self._refusals.allow((host, kind))
        if suppressed is not None:
            more = f" ({suppressed} like it before)" if suppressed else ""
            self._log.warn(
                "Enrollment from {address} refused: {reason}{more}",
                address=_place(host),
                reason=why,
                more=more,
            )

    def passedBy(self, why: str, host: str | None) -> None:
        """
        Somebody said nothing, as load balancers and port scans do.
        """
        self._log.debug(
            "A connection from {address} ended: {reason}", address=_place(host), reason=why
        )

    def gone(self, host: str | None) -> None:
        """
        Somebody went away before the answer.
        """
        if self._refusals.allow((host, "gone")) is not None:
            self._log.info(
                "An agent at {address} went away before its answer: what was registered for it "
                "is undone.",
                address=_place(host),
            )

    def failed(self, failure: Failure) -> None:
        """
        Enrolling failed in a way that nobody declares.
        """
        self._log.failure("An enrollment failed: this is a bug.", failure)


def _place(host: str | None) -> str:
    return "a local socket" if host is None else shown(host)
