"""
Tests for the sources of agents' records.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from tests.recordcase import AgentCase
from wazuh_cluster.agents import ACTIVE, DISCONNECTED, AgentRecord, IAgentSource
from wazuh_cluster.agents.local import LocalAgents
from wazuh_cluster.agents.plain import PlainSource
from wazuh_cluster.agents.records import MAX_AGE, MAX_DETAILS
from wazuh_cluster.errors import RecordRefused, StoreFailed
from wazuh_cluster.testing.agentcontracts import (
    AgentBatchSourceContractMixin,
    AgentSourceContractMixin,
    fullRecord,
)
from wazuh_cluster.testing.agentsource import MemoryAgentSource


class MemoryAgentSourceTests(AgentSourceContractMixin, AgentCase):
    """
    The source in memory.
    """

    def makeSource(self) -> IAgentSource:
        """
        A new one.
        """
        self.memory = MemoryAgentSource()
        return self.memory

    def put(self, *records: AgentRecord) -> None:
        """
        Put them there.
        """
        self.memory.put(*records)


class PlainSourceTests(AgentBatchSourceContractMixin, AgentCase):
    """
    A source of records as one of batches.
    """

    def makeSource(self) -> IAgentSource:
        """
        Around one in memory.
        """
        self.memory = MemoryAgentSource()
        return PlainSource(self.memory, self.clock.seconds)

    def put(self, *records: AgentRecord) -> None:
        """
        Put them there.
        """
        self.memory.put(*records)


class LocalAgentsContractTests(AgentBatchSourceContractMixin, AgentCase):
    """
    The source in a file.
    """

    def makeSource(self) -> IAgentSource:
        """
        In a folder that is not there yet.
        """
        self.local = self.localAgents()
        return self.local

    def put(self, *records: AgentRecord) -> None:
        """
        Have them reported.
        """
        self.successResultOf(self.local.report(records))


class LocalAgentsTests(AgentCase):
    """
    What only the source in a file does.
    """

    def report(self, source: LocalAgents, *records: AgentRecord) -> int:
        """
        Report, and tell how many were new.
        """
        return self.successResultOf(source.report(records))

    def pending(self, source: LocalAgents) -> list[AgentRecord]:
        """
        What is pending.
        """
        found: Sequence[AgentRecord] = self.successResultOf(source.pending(100))
        return list(found)

    def batches(self, source: LocalAgents, take: bool = True) -> list[list[dict[str, Any]]]:
        """
        The heads of the batches that are given.
        """
        source.rewind()
        found = []
        while (batch := self.successResultOf(source.nextBatch(60_000))) is not None:
            found.append(json.loads(batch.records))
            if take:
                self.successResultOf(source.batchTaken(batch, (), ()))
        return found

    def test_olderChangesNothing(self) -> None:
        """
        What is reported late is passed over.
        """
        source = self.localAgents()
        self.assertEqual(1, self.report(source, fullRecord(7, 900.0, node="")))
        self.assertEqual(0, self.report(source, fullRecord(7, 899.0, DISCONNECTED, "")))
        self.assertEqual([fullRecord(7, 900.0, node="")], self.pending(source))

    def test_future(self) -> None:
        """
        What is reported of the future counts as now.
        """
        source = self.localAgents()
        self.report(source, fullRecord(7, 5000.0, node=""))
        self.assertEqual([1000.0], [record.heard for record in self.pending(source)])
        self.clock.advance(10.0)
        self.assertEqual(1, self.report(source, fullRecord(7, 1005.0, node="")))

    def test_refused(self) -> None:
        """
        With a record that cannot be kept, none of those beside it is.
        """
        source = self.localAgents()
        large = AgentRecord(8, ACTIVE, 1.0, labels=(("a", "x" * 65_536),))
        refused = self.assertRaises(RecordRefused, source.report, [fullRecord(7, 1.0), large])
        self.assertIn("agent 008: its details are 65", str(refused))
        self.assertEqual([], self.pending(source))

    def test_largest(self) -> None:
        """
        The largest record that is kept fits into a batch.
        """
        source = self.localAgents()
        empty = {"version": "", "info": {}, "labels": [["a", ""]]}
        frame = len(json.dumps(empty, separators=(",", ":")))
        label = ("a", "x" * (MAX_DETAILS - frame))
        self.report(source, AgentRecord(99_999_999, DISCONNECTED, -1e9, labels=(label,)))
        (batch,) = self.batches(source)
        self.assertEqual((MAX_DETAILS, MAX_AGE), (batch[0]["size"], batch[0]["age"]))

    def test_onlyWhatChanged(self) -> None:
        """
        Details go once; after that a keep-alive says which they are. With a new
        master they go again.
        """
        source = self.localAgents()
        self.report(source, fullRecord(7, 900.0), fullRecord(8, 900.0))
        (full,) = self.batches(source)
        self.assertEqual([True, True], ["size" in head for head in full])
        self.report(source, AgentRecord(7, ACTIVE, 950.0))
        self.report(source, fullRecord(8, 960.0))
        (short,) = self.batches(source)
        self.assertEqual(
            [
                {"id": 7, "event": ACTIVE, "age": 50_000, "code": 0, "digest": full[0]["digest"]},
                {"id": 8, "event": ACTIVE, "age": 40_000, "code": 0, "digest": full[1]["digest"]},
            ],
            short,
        )
        self.report(source, fullRecord(7, 970.0, version="Wazuh v5.0.0"))
        ((changed,),) = self.batches(source)
        self.assertIn("size", changed)
        self.assertEqual([], self.batches(source))
        self.successResultOf(source.markAll())
        (again,) = self.batches(source)
        self.assertEqual([True, True], ["size" in head for head in again])

    def test_incomplete(self) -> None:
        """
        Of what the master wants whole, all goes, though nothing changed.
        """
        source = self.localAgents()
        self.report(source, fullRecord(7, 900.0), fullRecord(8, 900.0))
        self.batches(source)
        self.report(source, AgentRecord(7, ACTIVE, 950.0))
        source.rewind()
        batch = self.successResultOf(source.nextBatch(60_000))
        assert batch is not None
        self.successResultOf(source.batchTaken(batch, (), [7]))
        ((head,),) = self.batches(source)
        self.assertEqual((7, 50_000, True), (head["id"], head["age"], "size" in head))

    def test_lostBatch(self) -> None:
        """
        A batch that was not taken is given again, with all after it.
        """
        source = self.localAgents()
        self.report(source, *(fullRecord(agent, 900.0) for agent in range(1, 301)))
        source.rewind()
        given = [self.successResultOf(source.nextBatch(60_000)) for _ in range(2)]
        assert given[1] is not None
        self.successResultOf(source.batchTaken(given[1], (), ()))
        ids = [head["id"] for batch in self.batches(source) for head in batch]
        self.assertEqual(list(range(1, 301)), ids)

    def test_otherMastersAnswer(self) -> None:
        """
        What an earlier master took counts for nothing with the next one.
        """
        source = self.localAgents()
        self.report(source, fullRecord(7, 900.0))
        source.rewind()
        batch = self.successResultOf(source.nextBatch(60_000))
        assert batch is not None
        self.successResultOf(source.markAll())
        self.successResultOf(source.batchTaken(batch, (), ()))
        self.assertEqual(1, len(self.batches(source)))

    def test_noEndlessRun(self) -> None:
        """
        What is reported during a run waits for the next one.
        """
        source = self.localAgents()
        self.report(source, fullRecord(1, 900.0))
        self.batches(source)
        self.report(source, fullRecord(2, 900.0))
        source.rewind()
        first = self.successResultOf(source.nextBatch(60_000))
        assert first is not None
        self.report(source, fullRecord(3, 900.0))
        self.assertIsNone(self.successResultOf(source.nextBatch(60_000)))
        self.successResultOf(source.batchTaken(first, (), ()))
        ((head,),) = self.batches(source)
        self.assertEqual(3, head["id"])

    def test_restart(self) -> None:
        """
        A new process has all that the old one had, with the same ages, and can
        number changes on.
        """
        path = self.path("local-agents.db")
        source = self.localAgents(path)
        self.report(source, fullRecord(7, 900.0), fullRecord(8, 900.0))
        self.successResultOf(source.unknown([8]))
        source.stop()
        self.clock.advance(60.0)
        again = self.localAgents(path)
        self.successResultOf(again.registered([7, 8]))
        self.report(again, AgentRecord(7, DISCONNECTED, 1050.0, statusCode=3))
        ((first, second),) = self.batches(again)
        self.assertEqual((8, 160_000), (first["id"], first["age"]))
        self.assertEqual((7, 10_000, 3), (second["id"], second["age"], second["code"]))

    def test_reboot(self) -> None:
        """
        After a restart of the system a record is as old as the wall clocks say:
        the time before it and the time since.
        """
        path = self.path("local-agents.db")
        source = self.localAgents(path, wallClock=lambda: 1_000_000.0)
        # The system has run for 1000 s; the agent was heard 100 s ago.
        self.report(source, fullRecord(7, 900.0))
        source.stop()
        booted = Clock()
        booted.advance(30.0)
        again = self.localAgents(
            path,
            wallClock=lambda: 1_000_400.0,
            clock=booted.seconds,
            boot=lambda: "another boot",
        )
        ((head,),) = self.batches(again)
        self.assertEqual(500_000, head["age"])
        # And what is heard now is newer than that.
        self.assertEqual(1, self.report(again, AgentRecord(7, ACTIVE, 29.0)))

    def test_rebootWithAWrongClock(self) -> None:
        """
        However wrong the date is after a restart of the system, no record is
        younger than that, and an hour of difference makes none younger at all.
        """
        for wrong in (-10_000_000.0, -3600.0, 0.0, 3600.0):
            path = self.path("local-agents.db")
            source = self.localAgents(path, wallClock=lambda: 1_000_000.0)
            self.report(source, fullRecord(7, 900.0), fullRecord(8, 1000.0))
            source.stop()
            booted = Clock()
            booted.advance(30.0)
            again = self.localAgents(
                path,
                wallClock=lambda wrong=wrong: 1_000_400.0 + wrong,  # type: ignore[misc]
                clock=booted.seconds,
                boot=lambda: "another boot",
            )
            ((first, second),) = self.batches(again)
            self.assertGreaterEqual(first["age"], 30_000)
            self.assertGreaterEqual(second["age"], 30_000)
            self.assertGreaterEqual(first["age"], second["age"])

    def test_noBootIds(self) -> None:
        """
        Where a system does not tell its starts apart, the clocks do.
        """
        path = self.path("local-agents.db")
        wall = 1_000_000.0
        source = self.localAgents(path, wallClock=lambda: wall, boot=lambda: "")
        self.report(source, fullRecord(7, 900.0))
        source.stop()
        same = self.localAgents(path, wallClock=lambda: wall, boot=lambda: "")
        ((head,),) = self.batches(same)
        self.assertEqual(100_000, head["age"])
        same.stop()
        booted = Clock()
        booted.advance(30.0)
        other = self.localAgents(
            path, wallClock=lambda: wall + 60.0, clock=booted.seconds, boot=lambda: ""
        )
        ((head,),) = self.batches(other)
        self.assertEqual(160_000, head["age"])

    def test_dateIsSet(self) -> None:
        """
        A change of the date moves no age; the one that is known when the system
        is started anew is the last.
        """
        path = self.path("local-agents.db")
        wall = [1_000_000.0]
        source = self.localAgents(path, wallClock=lambda: wall[0])
        self.report(source, fullRecord(7, 900.0))
        wall[0] += 86_400.0
        self.report(source, fullRecord(8, 1000.0))
        ((first, second),) = self.batches(source)
        self.assertEqual((100_000, 0), (first["age"], second["age"]))
        source.stop()
        booted = Clock()
        booted.advance(30.0)
        again = self.localAgents(
            path, wallClock=lambda: wall[0] + 60.0, clock=booted.seconds, boot=lambda: "2"
        )
        ((first, second),) = self.batches(again)
        self.assertEqual((160_000, 60_000), (first["age"], second["age"]))

    def test_damaged(self) -> None:
        """
        With a damaged file everything fails in one line, until there is
        another.
        """
        path = self.path("local-agents.db")
        os.makedirs(os.path.dirname(path))
        with open(path, "wb") as file:
            file.write(b"no database" * 1000)
        source = self.localAgents(path)
        self.failureResultOf(source.report([fullRecord(7, 900.0)]), StoreFailed)
        self.failureResultOf(source.markAll(), StoreFailed)
        source.rewind()
        self.failureResultOf(source.nextBatch(60_000), StoreFailed)
        os.rename(path, path + ".aside")
        self.report(source, fullRecord(7, 900.0))
        self.assertEqual(1, len(self.batches(source)))

    def test_halfKept(self) -> None:
        """
        What failed half-way left nothing, and changes are numbered on.
        """
        path = self.path("local-agents.db")
        source = self.localAgents(path)
        self.report(source, fullRecord(7, 900.0))
        other = sqlite3.connect(path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute(
            "CREATE TRIGGER bad BEFORE INSERT ON details WHEN new.id = 8 "
            "BEGIN SELECT RAISE(ABORT, 'no such thing'); END"
        )
        self.failureResultOf(source.report([fullRecord(8, 900.0)]), StoreFailed)
        other.execute("DROP TRIGGER bad")
        self.report(source, fullRecord(9, 900.0))
        ((first, second),) = self.batches(source)
        self.assertEqual((7, 9), (first["id"], second["id"]))


class PlainSourceBadTests(AgentCase):
    """
    A source that gives what it should not.
    """

    def test_badRecord(self) -> None:
        """
        What cannot be sent is left out, said once, and spoils nothing else.
        """
        memory = MemoryAgentSource()
        source = PlainSource(memory, self.clock.seconds)
        bad = AgentRecord(8, ACTIVE, 900.0, labels=(("a", "x" * 65_536),))
        memory.put(bad, fullRecord(7, 900.0))
        with capturedLogs() as events:
            source.rewind()
            self.assertIsNotNone(self.successResultOf(source.nextBatch(60_000)))
            source.rewind()
            batch = self.successResultOf(source.nextBatch(60_000))
            assert batch is not None
            self.assertEqual(1, batch.count)
        (event,) = events
        self.assertIn("agent 008: its details", formatEvent(event))
        self.successResultOf(source.batchTaken(batch, (), ()))
        self.assertIsNone(self.successResultOf(source.nextBatch(60_000)))
        self.assertEqual([], self.successResultOf(memory.pending(10)))
