"""
Tests for the databases of simulated nodes: they are stores and sources as others, lose
what was not committed, and suffer what befalls them.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.recordcase import AgentCase
from wazuh_cluster.agents import ACTIVE, DISCONNECTED, IAgentBatchStore, IAgentSource
from wazuh_cluster.agents.model import AgentRecord
from wazuh_cluster.errors import Stopped, StoreFailed
from wazuh_cluster.testing.agentcontracts import (
    AgentBatchStoreContractMixin,
    AgentSourceContractMixin,
    fullRecord,
)
from wazuh_cluster.testing.simulation import SimCluster
from wazuh_cluster.testing.simulation.databases import Health, Rows, SimSource, SimStore, Table
from wazuh_cluster.testing.simulation.statuses import Statuses


class ClusterMixin:
    """
    A cluster with a master that does nothing, and its database.
    """

    def makeTable(self) -> Table:
        nothing = lambda process: Service()  # noqa: E731
        self.cluster = SimCluster(1, 0, makeMaster=nothing)
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__)  # type: ignore[attr-defined]
        self.cluster.start()
        self.master = self.cluster.master
        self.health = Health()
        self.table = Table(self.master, b"agents.db", Random(1), [{}])
        self.commits: list[tuple[Rows, Rows]] = []
        return self.table

    def open(self) -> SimStore:
        """
        What the process that runs now has.
        """
        process = self.master.process
        assert process is not None
        return SimStore(process, self.health, self.table, lambda *rows: self.commits.append(rows))


class _Driven:
    """
    A store or source of whose Deferreds all have fired.
    """

    def __init__(self, inner: Any, run: Callable[[float], None]) -> None:
        self._inner = inner
        self._run = run

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*arguments: Any) -> Any:
            result = found(*arguments)
            if isinstance(result, Deferred):
                self._run(1.0)
            return result

        return call


@implementer(IAgentBatchStore)
class _DrivenStore(_Driven):
    pass


@implementer(IAgentSource)
class _DrivenSource(_Driven):
    pass


class SimStoreTests(ClusterMixin, AgentBatchStoreContractMixin, SynchronousTestCase):
    """
    The store keeps the contract of all.
    """

    def makeStore(self) -> Any:
        self.makeTable()
        return _DrivenStore(self.open(), self.cluster.run)


class SimSourceTests(ClusterMixin, AgentSourceContractMixin, AgentCase):
    """
    So does the source.
    """

    def makeSource(self) -> Any:
        self.makeTable()
        process = self.master.process
        assert process is not None
        source = SimSource(process, self.health, self.table, lambda record: record.heard)
        return _DrivenSource(source, self.cluster.run)

    def put(self, *records: AgentRecord) -> None:
        self.source.report(records)  # type: ignore[attr-defined]


class DatabaseTests(ClusterMixin, SynchronousTestCase):
    """
    What befalls a database.
    """

    def setUp(self) -> None:
        self.makeTable()
        self.store = self.open()

    def take(self, agent: int = 1) -> Deferred[int]:
        return self.store.take([fullRecord(agent, 5.0)], 10.0)

    def test_committed(self) -> None:
        """
        What is committed outlives the process; what is not does not. Whoever looks
        from outside hears what was there before.
        """
        self.take(1)
        self.cluster.run(1)
        self.take(2)
        self.master.kill()
        self.master.start()
        self.store = self.open()
        self.cluster.run(1)
        found = self.store.states(0, 9)
        self.cluster.run(1)
        self.assertEqual([state.id for state in self.successResultOf(found)], [1])
        self.assertEqual([(list(a), list(b)) for a, b in self.commits], [([], [1])])

    def test_together(self) -> None:
        """
        What waits is committed together.
        """
        self.take(1)
        done = [self.take(2), self.take(3)]
        self.cluster.run(1)
        self.assertEqual([self.successResultOf(each) for each in done], [1, 1])
        self.assertEqual(len(self.commits), 2)

    def test_powerCut(self) -> None:
        """
        A power cut may take what was committed last, and leaves what was there
        before.
        """
        seen = set()
        for agent in range(1, 60):
            self.take(agent)
            self.cluster.run(1)
            before = len(self.table.rows)
            self.table.losePower()
            seen.add(before - len(self.table.rows))
        self.assertIn(0, seen)
        self.assertIn(1, seen)
        self.assertTrue(len(self.table.rows) > 10)

    def test_removed(self) -> None:
        """
        What was removed stays so.
        """
        for _ in range(20):
            self.take(1)
            self.cluster.run(1)
            self.store.remove([1])
            self.cluster.run(1)
            self.table.losePower()
            self.assertEqual(dict(self.table.rows), {})

    def test_goesWithTheHome(self) -> None:
        """
        Another home has another database, and a copy of one has the same.
        """
        self.take(1)
        self.cluster.run(1)
        saved = self.master.disk.snapshot(b"/var/ossec")
        self.take(2)
        self.cluster.run(1)
        self.master.disk.restore(b"/var/ossec", saved)
        self.assertEqual(list(self.table.rows), [1])
        self.master.format()
        self.assertEqual(list(self.table.rows), [])

    def test_fails(self) -> None:
        """
        One that is locked says so in two seconds, one that fails at once; and
        nothing is there then.
        """
        self.health.locked = True
        locked = self.take()
        self.cluster.run(1.9)
        self.assertNoResult(locked)
        self.cluster.run(1)
        self.failureResultOf(locked, StoreFailed)
        self.health.heal()
        self.health.failing = 1.0
        failing = self.take()
        self.cluster.run(0.1)
        self.failureResultOf(failing, StoreFailed)
        self.assertEqual(dict(self.table.rows), {})

    def test_slow(self) -> None:
        """
        One that is slow takes its time.
        """
        self.health.slow = 5.0
        taken = self.take()
        self.cluster.run(4.9)
        self.assertNoResult(taken)
        self.cluster.run(1)
        self.successResultOf(taken)

    def test_hangs(self) -> None:
        """
        One that does not answer does later what it was asked.
        """
        self.health.hanging = []
        taken = self.take()
        self.cluster.run(100)
        self.assertNoResult(taken)
        self.health.answer()
        self.cluster.run(1)
        self.successResultOf(taken)

    def test_stopped(self) -> None:
        """
        What waits when it is closed fails, and so does what comes then.
        """
        under, waits = self.take(), self.take()
        self.store.stop()
        for each in (under, waits, self.take()):
            self.failureResultOf(each, Stopped)
        self.cluster.run(1)
        self.assertEqual(self.commits, [])

    def test_bounded(self) -> None:
        """
        Not everything waits.
        """
        self.health.hanging = []
        for _ in range(300):
            self.take()
        self.assertIn("wait for a database", self.cluster.problems[0])
        self.cluster.problems.clear()


class StatusesTests(SynchronousTestCase):
    """
    Whoever sets a status back is found.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.problems: list[str] = []
        self.statuses = Statuses(self.problems.append, self.clock.seconds)
        self.older = self.statuses.hear(1, ACTIVE, "w1", 500.0)
        self.clock.advance(10.0)
        self.newer = self.statuses.hear(1, DISCONNECTED, "w2", 3.0)

    def test_forward(self) -> None:
        """
        A newer one may come, and the same one again, and another at nearly the
        same moment.
        """
        self.clock.advance(1.0)
        same = self.statuses.hear(1, ACTIVE, "w1", 501.0)
        self.statuses.committed({}, {1: same})
        self.statuses.committed({1: same}, {1: self.newer})
        self.statuses.committed({1: self.older}, {1: self.newer})
        self.statuses.committed({1: self.newer}, {1: evolve(self.newer, heard=9.0)})
        self.statuses.committed({1: self.newer}, {})
        self.assertEqual(self.problems, [])
        self.assertEqual(self.statuses.heardAt(self.newer), 10.0)

    def test_back(self) -> None:
        """
        An older one may not, unless the master's clock was another one.
        """
        self.statuses.excuse([1])
        self.statuses.committed({1: self.newer}, {1: self.older})
        self.assertEqual(self.problems, [])
        self.statuses.committed({1: self.newer}, {1: self.older})
        self.assertIn("agent 1 is set back: w2 heard disconnected at 10.000", self.problems[0])
