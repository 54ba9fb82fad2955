"""
Tests for the stores of agents' records.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests import storewriter
from tests.recordcase import AgentCase
from wazuh_cluster.agents import ACTIVE, AgentRecord, AgentState, IAgentStore
from wazuh_cluster.agents.heard import HeardBatch
from wazuh_cluster.agents.plain import PlainStore
from wazuh_cluster.agents.store import SqliteAgentStore, fleetDatabase
from wazuh_cluster.errors import Stopped, StoreFailed
from wazuh_cluster.testing.agentcontracts import (
    NOW,
    AgentBatchStoreContractMixin,
    AgentStoreContractMixin,
    fullRecord,
)
from wazuh_cluster.testing.agentstore import MemoryAgentStore
from wazuh_cluster.testing.runner import ClockRunner, ImmediateRunner


class MemoryAgentStoreTests(AgentStoreContractMixin, AgentCase):
    """
    The store in memory.
    """

    def makeStore(self) -> IAgentStore:
        """
        A new one.
        """
        return MemoryAgentStore()


class PlainStoreTests(AgentBatchStoreContractMixin, AgentCase):
    """
    A store of records as one of batches.
    """

    def makeStore(self) -> IAgentStore:
        """
        Around one in memory.
        """
        return PlainStore(MemoryAgentStore())


class SqliteAgentStoreContractTests(AgentBatchStoreContractMixin, AgentCase):
    """
    The store in a file.
    """

    def makeStore(self) -> IAgentStore:
        """
        In a folder that is not there yet.
        """
        return self.fleetStore()


class SqliteAgentStoreTests(AgentCase):
    """
    What only the store in a file does.
    """

    def take(self, store: SqliteAgentStore, *records: AgentRecord, now: float = NOW) -> int:
        """
        Have records taken.
        """
        return self.successResultOf(store.take(records, now))

    def ids(self, store: SqliteAgentStore) -> list[int]:
        """
        The agents that are there.
        """
        found: Sequence[AgentState] = self.successResultOf(store.states(1, 99_999_999))
        return [state.id for state in found]

    def test_removedDurably(self) -> None:
        """
        What is removed is synced at once, so that no power cut brings it back; what is
        taken is not.
        """
        store = self.fleetStore()
        connection = store._database.connection()
        said: list[str] = []
        connection.set_trace_callback(said.append)

        def steps() -> list[str]:
            kept = [each for each in said if each.startswith(("PRAGMA", "COMMIT"))]
            said.clear()
            return kept

        self.take(store, fullRecord(1, NOW), fullRecord(2, NOW))
        self.assertEqual(steps(), ["COMMIT"])
        self.successResultOf(store.remove([1]))
        self.assertEqual(
            steps(), ["PRAGMA synchronous=FULL", "COMMIT", "PRAGMA synchronous=NORMAL"]
        )
        self.assertEqual(connection.execute("PRAGMA synchronous").fetchone(), (1,))
        self.assertEqual(self.ids(store), [2])

    def test_restart(self) -> None:
        """
        A new process has all that the old one answered.
        """
        path = self.path()
        store = self.fleetStore(path)
        self.take(store, fullRecord(7, NOW), fullRecord(8, NOW, node="w2"))
        store.stop()
        again = self.fleetStore(path)
        found: Mapping[int, AgentRecord] = self.successResultOf(again.records([7, 8]))
        self.assertEqual({7: fullRecord(7, NOW), 8: fullRecord(8, NOW, node="w2")}, dict(found))

    def test_clockWasAhead(self) -> None:
        """
        What an earlier process took while the clock was ahead pins nothing.
        """
        path = self.path()
        store = self.fleetStore(path)
        later = NOW + 86_400
        agents = range(1, 12_001, 2)
        self.take(store, *(AgentRecord(agent, ACTIVE, later, "w1") for agent in agents), now=later)
        store.stop()
        again = self.fleetStore(path)
        self.take(again, fullRecord(8, NOW))
        moved = [AgentRecord(agent, ACTIVE, NOW + 9, "w2") for agent in agents]
        self.assertEqual(6000, self.take(again, *moved, now=NOW + 10))

    def test_groupCommit(self) -> None:
        """
        What comes while a transaction is under way goes into the next one, in
        its order, and each call has its own answer.
        """
        clock = Clock()
        store = self.fleetStore(runner=ClockRunner(clock, 0.001))
        events: list[str] = []
        database = store._database
        database.connection().set_trace_callback(events.append)
        first = store.takeBatch("w1", HeardBatch.of([fullRecord(7, NOW)]), NOW)
        claimed = HeardBatch.of([fullRecord(8, NOW), fullRecord(11, NOW)])
        claimed.details = [None, None]
        later: list[Deferred[Any]] = [
            *(
                store.takeBatch("w2", HeardBatch.of([fullRecord(agent, NOW - 1)]), NOW)
                for agent in (7, 8, 9)
            ),
            # The details of the first are those of the batch before it.
            store.takeBatch("w2", claimed, NOW),
            store.take([fullRecord(9, NOW - 2), fullRecord(9, NOW), fullRecord(10, NOW)], NOW),
            store.remove([10]),
            store.takeBatch("w3", HeardBatch.of([fullRecord(7, NOW, node="w3")]), NOW),
        ]
        clock.pump([0.001] * 200)
        self.assertEqual((), self.successResultOf(first))
        self.assertEqual(
            [(), (), (), (11,), 2, None, ()], [self.successResultOf(each) for each in later]
        )
        self.assertEqual(2, sum(event.startswith("BEGIN") for event in events))
        self.assertEqual(2, events.count("COMMIT"))
        states: Deferred[Sequence[AgentState]] = store.states(1, 99)
        clock.pump([0.001] * 10)
        self.assertEqual(
            [
                AgentState(7, ACTIVE, NOW, "w3"),
                AgentState(8, ACTIVE, NOW, "w2"),
                AgentState(9, ACTIVE, NOW, "w1"),
            ],
            self.successResultOf(states),
        )
        store.stop()
        clock.pump([0.001] * 10)

    def test_failed(self) -> None:
        """
        A transaction that fails leaves nothing, and says so to all whose records
        were in it; the store goes on when it can.
        """
        path = self.path()
        store = self.fleetStore(path)
        self.take(store, fullRecord(1, NOW))
        other = sqlite3.connect(path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute(
            "CREATE TRIGGER bad BEFORE INSERT ON details WHEN new.id = 8 "
            "BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"
        )
        both = store.take([fullRecord(7, NOW, node="w3"), fullRecord(8, NOW, node="w4")], NOW)
        error = self.failureResultOf(both, StoreFailed).value
        self.assertEqual(f"{path}: SQLite says: disk I/O error: look at its disk", str(error))
        self.assertEqual([1], self.ids(store))
        other.execute("DROP TRIGGER bad")
        self.take(store, fullRecord(8, NOW, node="w4"))
        found: Mapping[int, AgentRecord] = self.successResultOf(store.records([8]))
        self.assertEqual("w4", found[8].node)

    def test_sameDetailsAreNotWritten(self) -> None:
        """
        A record whose details are there already writes only the rest.
        """
        store = self.fleetStore()
        records = [fullRecord(agent, NOW - 9) for agent in range(1, 500)]
        self.take(store, *records)
        connection = store._database.connection()
        before = connection.total_changes
        self.take(store, *(evolve(record, heard=NOW) for record in records))
        self.assertEqual(len(records), connection.total_changes - before)

    def test_editedByHand(self) -> None:
        """
        Details that are none, and a node that is not there, are shown as
        nothing.
        """
        path = self.path()
        store = self.fleetStore(path)
        self.take(store, fullRecord(7, NOW))
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("UPDATE details SET text = '{\"info\":[1'")
            other.execute("DELETE FROM nodes")
        found: Mapping[int, AgentRecord] = self.successResultOf(store.records([7]))
        self.assertEqual(AgentRecord(7, ACTIVE, NOW), found[7])
        self.assertEqual([AgentState(7, ACTIVE, NOW, "")], self.successResultOf(store.states(7, 7)))

    def test_stopped(self) -> None:
        """
        A store that was stopped takes nothing more, and leaves one file.
        """
        path = self.path()
        store = self.fleetStore(path)
        self.take(store, fullRecord(7, NOW))
        store.stop()
        self.failureResultOf(store.take([fullRecord(7, NOW)], NOW), Stopped)
        self.failureResultOf(store.records([7]), Stopped)
        self.assertEqual(["agents.db"], os.listdir(os.path.dirname(path)))


class KilledTests(SynchronousTestCase):
    """
    A process that is killed while it takes batches.
    """

    def test_killed(self) -> None:
        """
        All that was answered is there, and batches are there as a whole.
        """
        path = os.path.abspath(self.mktemp())
        for _ in range(3):
            answered = self.killWriter(path)
            store = SqliteAgentStore(fleetDatabase(path), ImmediateRunner())
            found: Sequence[AgentState] = self.successResultOf(store.states(1, 99_999_999))
            store.stop()
            ids = [state.id for state in found]
            self.assertEqual(list(range(1, len(ids) + 1)), ids)
            self.assertEqual(0, len(ids) % storewriter.BATCH)
            self.assertGreaterEqual(len(ids), answered * storewriter.BATCH)

    def killWriter(self, path: str) -> int:
        """
        Run it until it has answered some batches, and kill it.

        @return: how many were answered.
        """
        answered = 0
        with subprocess.Popen(
            [sys.executable, "-m", "tests.storewriter", path],
            stdout=subprocess.PIPE,
            cwd=os.path.dirname(os.path.dirname(os.path.abspath(storewriter.__file__))),
        ) as process:
            assert process.stdout is not None
            try:
                while answered < 20 and process.stdout.readline():
                    answered += 1
            finally:
                process.kill()
            answered += len(process.stdout.read().splitlines())
        return answered
