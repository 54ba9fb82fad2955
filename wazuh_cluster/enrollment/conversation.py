"""
The conversation with one agent: a line, an answer, the end.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.agents import formatId
from wazuh_cluster.enrollment.desk import Desk
from wazuh_cluster.enrollment.interfaces import Enrolled
from wazuh_cluster.enrollment.tls import explainTLS, namesHost
from wazuh_cluster.enrollment.visitors import STOPS, Visitor, Visitors
from wazuh_cluster.errors import EnrollmentRefused

#: Octets of a request, without its end.
MAX_REQUEST = 65_536 + 4096

#: Characters of a refusal that are told, by Wazuh's buffer.
_MAX_TEXT = 2000

_REFUSED = "ERROR: {}. Unable to add agent"


class _State(Enum):
    """
    What a conversation is waiting for.
    """

    REQUEST = auto()
    ANSWER = auto()
    END = auto()


@implementer(IHandshakeListener)
class Conversation(Protocol):
    """
    What takes an agent's bytes, above TLS.

    Whether an agent gets its answer is decided in one turn of the reactor, that
    in which the enroller's answer comes: if the connection is lost before, the
    enrollment is cancelled, and thereby undone; if it is being lost at that
    moment, it is undone instead of written; and what was handed to the transport
    is never undone, for nobody can know whether it arrived.
    """

    # Protocol's has no getPeerCertificate.
    transport: Any

    def __init__(self, visitor: Visitor, visitors: Visitors, desk: Desk, verifyHost: bool) -> None:
        """
        @param verifyHost: whether the agent's certificate must name the
            address from which it connects.
        """
        self._visitor = visitor
        self._visitors = visitors
        self._desk = desk
        self._verifyHost = verifyHost
        self._state = _State.REQUEST
        self._received = bytearray()
        self._enrolling: Deferred[None] | None = None

    def handshakeCompleted(self) -> None:
        """
        TLS takes the agent; so must we.
        """
        if not self._verifyHost:
            return
        shown = self.transport.getPeerCertificate()
        host = self._visitor.host or ""
        if shown is None or not namesHost(shown.to_cryptography(), host):
            self._visitor.turnAway(
                "its certificate does not name the address from which it connects"
            )

    def dataReceived(self, data: bytes) -> None:
        """
        A piece of the request. What follows its end means nothing.
        """
        # TLS delivers what it has, also of one that was turned away just now.
        if self._state is not _State.REQUEST or self._visitor.closing:
            return
        end = data.find(b"\n")
        self._received += data if end < 0 else data[:end]
        if len(self._received) > MAX_REQUEST:
            self._state = _State.ANSWER
            self._refuse(EnrollmentRefused("Invalid request for new agent"))
        elif end >= 0:
            self._state = _State.ANSWER
            self._visitors.asking(self._visitor)
            line = bytes(self._received)
            self._received.clear()
            asking = Deferred.fromCoroutine(self._desk.enroll(line, self._visitor.host))
            self._enrolling = asking.addCallbacks(self._enrolled, self._notEnrolled)
            self._enrolling.addErrback(self._desk.failed)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The agent is gone.
        """
        state, self._state = self._state, _State.END
        enrolling, self._enrolling = self._enrolling, None
        if state is _State.ANSWER and enrolling is not None:
            self._desk.gone(self._visitor.host)
            enrolling.cancel()
        elif state is _State.REQUEST:
            self._explain(reason)
        # Its frames would keep all this until the next garbage collection.
        reason.cleanFailure()

    def _explain(self, reason: Failure) -> None:
        """
        Say why there was no request.
        """
        host = self._visitor.host
        why = self._visitor.why
        if why == STOPS:
            self._desk.passedBy(why, host)
        elif why is not None:
            self._desk.refused(why, host)
        elif reason.check(SSL.Error):
            self._desk.refused(explainTLS(reason.value), host)  # type: ignore[arg-type]
        elif reason.check(ConnectionClosed):
            self._desk.passedBy("it was closed before a request came", host)
        else:
            self._desk.passedBy(reason.getErrorMessage(), host)

    def _enrolled(self, enrolled: Enrolled) -> None:
        if self._state is not _State.ANSWER or self._visitor.closing:
            self._desk.gone(self._visitor.host)
            enrolled.undo()
            return
        agent = enrolled.agent
        self._say(f"OSSEC K:'{formatId(agent.id)} {agent.name} {agent.ip} {agent.key}'")
        self._desk.enrolled(agent, self._visitor.host)

    def _notEnrolled(self, failure: Failure) -> None:
        if self._state is not _State.ANSWER:
            failure.trap(EnrollmentRefused, CancelledError)
            return
        if failure.check(EnrollmentRefused):
            self._refuse(failure.value)  # type: ignore[arg-type]
            return
        self._desk.failed(failure)
        self._refuse(EnrollmentRefused("Internal manager error"))

    def _refuse(self, refusal: EnrollmentRefused) -> None:
        text = str(refusal)[:_MAX_TEXT]
        self._say(_REFUSED.format(text))
        self._desk.refused(text, self._visitor.host)

    def _say(self, text: str) -> None:
        self._state = _State.END
        self._enrolling = None
        self._visitors.leaving(self._visitor)
        self.transport.write(text.encode("utf-8"))
        # Whatever is written is not undone, so it should not lie here when this
        # process is killed.
        self._visitor.push()
        self.transport.loseConnection()
