"""
Tests for how C{wazuh-cluster demo} enrolls agents.
"""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from tests.enrollmentcase import keyOf
from tests.test_enrollment_listener import ListenerCase
from wazuh_cluster.agents import Agent, Registration
from wazuh_cluster.demo.enrolling import AGAIN, NotEnrolled, enroll


class EnrollTests(ListenerCase):
    """
    Tests for L{enroll}, at a listener in memory.
    """

    def enroll(self, name: str, endpoint: IStreamClientEndpoint | None = None) -> Deferred[Agent]:
        """
        Begin to enroll an agent.
        """
        if endpoint is None:
            endpoint = self.network.client("node", 1515)
        enrolling = Deferred.fromCoroutine(enroll(self.clock, endpoint, name))
        self.clock.advance(0)
        return enrolling

    def test_enrolled(self) -> None:
        """
        An agent that enrolls knows what it is, and no connection is left.
        """
        self.start()
        agent = self.successResultOf(self.enroll("desk-1"))
        self.assertEqual(Agent(1, "desk-1", "any", keyOf(1)), agent)
        self.assertEqual([Registration("desk-1")], self.enroller.requests)
        self.assertEqual({}, self.network.transports)

    def test_refused(self) -> None:
        """
        One that is refused says with which words.
        """
        self.start()
        self.enroller.refusal = "Duplicate name"
        failure = self.failureResultOf(self.enroll("desk-1"), NotEnrolled)
        self.assertIn("desk-1", failure.getErrorMessage())
        self.assertIn(
            "'ERROR: Duplicate name. Unable to add agent'",
            failure.getErrorMessage(),
        )

    def test_another(self) -> None:
        """
        The key of another agent is none.
        """
        self.start()
        self.enroller.hold = True
        enrolling = self.enroll("desk-1")
        self.enroller.requests[0] = Registration("desk-2")
        self.enroller.release()
        self.clock.advance(0)
        self.assertIn("desk-2", self.failureResultOf(enrolling, NotEnrolled).getErrorMessage())

    def test_nobodyListens(self) -> None:
        """
        Where nobody listens yet it tries again.
        """
        enrolling = self.enroll("desk-1")
        self.clock.advance(AGAIN)
        self.assertNoResult(enrolling)
        self.start()
        self.clock.advance(AGAIN)
        self.assertEqual("desk-1", self.successResultOf(enrolling).name)

    def test_noAnswer(self) -> None:
        """
        If the connection is lost before an answer, that is told.
        """

        class Rude(Protocol):
            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                self.transport.loseConnection()

        self.network.server("node", 1515).listen(Factory.forProtocol(Rude))
        failure = self.failureResultOf(self.enroll("desk-1"), NotEnrolled)
        self.assertIn("it was told: 'nothing'", failure.getErrorMessage())

    def test_cannotConnect(self) -> None:
        """
        If there is no way, that is told.
        """

        class Nowhere:
            def connect(self, factory: object) -> Deferred[object]:
                raise ConnectError("no route")

        endpoint = cast("IStreamClientEndpoint", Nowhere())
        failure = self.failureResultOf(self.enroll("desk-1", endpoint), NotEnrolled)
        self.assertIn("no route", failure.getErrorMessage())

    def test_cancelled(self) -> None:
        """
        One that is cancelled leaves no connection.
        """
        self.start()
        self.enroller.hold = True
        enrolling = self.enroll("desk-1")
        enrolling.cancel()
        self.clock.advance(0)
        self.failureResultOf(enrolling)
        self.assertEqual({}, self.network.transports)
