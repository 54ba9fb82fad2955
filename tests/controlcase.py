"""
A node that local programs ask, for tests: over a network in memory, with
credentials of the test's choice.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.agentcase import Fleet, Registered, Reports, Store, never
from wazuh_cluster.agents import AgentStatus
from wazuh_cluster.control import ControlClient, ControlService, Credentials, Permissions, connectTo
from wazuh_cluster.master.administration import Administration
from wazuh_cluster.master.assignments import MasterAssignments
from wazuh_cluster.master.requests import MasterAnswers
from wazuh_cluster.requests import Requests
from wazuh_cluster.testing.assignments import MemoryAssignments
from wazuh_cluster.testing.network import MemoryNetwork
from wazuh_cluster.testing.runner import ImmediateRunner
from wazuh_cluster.testing.state import MemoryState

T = TypeVar("T")

NOW = 1_800_000_000.0

#: Whom the home of these tests belongs to.
OWNER = Permissions(uid=990, gid=991)

ROOT = Credentials(0, 0, frozenset())
THE_OWNER = Credentials(990, 5, frozenset())
MEMBER = Credentials(1000, 991, frozenset())
OTHER_MEMBER = Credentials(1001, 1001, frozenset({7, 991}))
STRANGER = Credentials(1002, 1002, frozenset({1002}))
UNTOLD = Credentials(1003, 1003)


class Fleetful:
    """
    A master's decisions, on twins in memory, without a network.

    @ivar requests: what it answers.
    """

    def __init__(self, clock: Clock, rows: list[AgentStatus] | None = None) -> None:
        self.registrar = Registered(*range(1, 10))
        self.store = Store()
        self.assignments = MemoryAssignments()
        self.assignments.names.add("web")
        self.fleet = Fleet([never(n) for n in range(1, 10)] if rows is None else rows)
        groups = MasterAssignments(self.registrar, self.assignments, lambda: None, clock)
        administration = Administration(
            self.registrar,
            self.store.remove,
            groups,
            MemoryState(),
            ImmediateRunner(),
            lambda: None,
        )
        self.requests: Requests = MasterAnswers(
            self.fleet, groups, administration, lambda: NOW + clock.seconds()
        ).table()


class ControlCase(SynchronousTestCase):
    """
    A node's control socket in memory. Nothing happens but when the clock
    advances.

    @ivar who: whose next connection it is.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.who = ROOT
        self.reports = Reports()
        self.master = Fleetful(self.clock)
        self.service: ControlService | None = None
        self.addCleanup(self.stop)

    def start(self, answers: Any = None, reports: Any = True) -> ControlService:
        """
        Start the service.
        """
        self.service = ControlService(
            self.clock,
            self.network.server("node"),
            self.master.requests if answers is None else answers,
            lambda: OWNER,
            reports=self.reports if reports else None,
            credentialsOf=lambda transport: self.who,
            uptime=lambda: 5000.0 + self.clock.seconds(),
        )
        self.service.startService()
        return self.service

    def stop(self) -> None:
        """
        Stop it; nothing may be left behind.
        """
        if self.service is not None:
            stopping = self.service.stopService()
            self.clock.pump([0.25] * 4)
            self.successResultOf(stopping)
        self.assertEqual([], [str(call) for call in self.clock.getDelayedCalls()])
        self.assertEqual({}, self.network.transports)

    def client(self, who: Credentials = ROOT) -> ControlClient:
        """
        Connect a local program.
        """
        self.who = who
        return self.wait(connectTo(self.clock, self.network.client("node")))

    def ask(self, work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        """
        Begin some work.
        """
        asking = Deferred.fromCoroutine(work)
        self.clock.advance(0)
        return asking

    def wait(self, work: Coroutine[Deferred[Any], Any, T]) -> T:
        """
        What some work gives.
        """
        return self.successResultOf(self.ask(work))

    def refused(self, work: Coroutine[Deferred[Any], Any, Any], kind: type[Exception]) -> str:
        """
        The one line with which some work is refused.
        """
        line = str(self.failureResultOf(self.ask(work), kind).value)
        self.assertTrue(line.isprintable(), line)
        return line
