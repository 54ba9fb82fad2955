"""
Tests for agent info between nodes: what workers send, and what the master makes
of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.protocols.amp import UnhandledCommand

from tests.clustercase import ClusterCase
from tests.recordcase import AgentCase
from wazuh_cluster.agents import ACTIVE, DISCONNECTED, PENDING, AgentRecord
from wazuh_cluster.agents.heard import HeardBatch
from wazuh_cluster.agents.local import LocalAgents
from wazuh_cluster.errors import ProtocolViolation, StoreFailed
from wazuh_cluster.master import MasterService
from wazuh_cluster.master.agentinfo import AT_ONCE, PATIENCE
from wazuh_cluster.protocol import KeepAlive, SyncAgentInfo
from wazuh_cluster.testing.agentcontracts import fullRecord
from wazuh_cluster.testing.agentsource import MemoryAgentSource
from wazuh_cluster.testing.agentstore import MemoryAgentStore
from wazuh_cluster.worker import WorkerService
from wazuh_cluster.worker.agentinfo import SOON


class Register:
    """
    What agent info asks of a registrar.

    @ivar agents: who is registered.
    @ivar waiting: if it is a list, questions that the test answers.
    """

    def __init__(self, *agents: int) -> None:
        self.agents = set(agents)
        self.waiting: list[Deferred[None]] | None = None
        self.asked = 0

    def load(self) -> Deferred[int]:
        return succeed(0)

    def stop(self) -> None:
        pass

    def observe(self, observer: object) -> None:
        pass

    def remove(self, ids: Collection[int], purge: bool | None) -> Deferred[list[object]]:
        return succeed([])

    def known(self, ids: Collection[int]) -> Deferred[frozenset[int]]:
        self.asked += 1
        found = frozenset(self.agents.intersection(ids))
        if self.waiting is None:
            return succeed(found)
        waiting: Deferred[None] = Deferred()
        self.waiting.append(waiting)
        return waiting.addCallback(lambda _: found)


class HeldStore(MemoryAgentStore):
    """
    A store that takes nothing before the test lets it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[Deferred[Any], Any]] = []

    def take(self, records: Any, now: float) -> Deferred[int]:
        held: Deferred[int] = Deferred()
        self.held.append((held, (records, now)))
        return held.addCallback(lambda _: super(HeldStore, self).take(records, now))

    def release(self) -> None:
        """
        Take all that is held.
        """
        held, self.held = self.held, []
        for each, _ in held:
            if not each.called:
                each.callback(None)


class AgentInfoCase(AgentCase, ClusterCase):
    """
    A master with a store, and workers with sources.
    """

    def setUp(self) -> None:
        super().setUp()
        self.register = Register(*range(1, 1000))

    def hub(self, store: Any = None, **keywords: Any) -> MasterService:
        """
        A master.
        """
        self.store = self.fleetStore() if store is None else store
        return self.master(store=self.store, registrar=self.register, **keywords)

    def siem(self, name: str = "w1", **keywords: Any) -> tuple[WorkerService, LocalAgents]:
        """
        A worker whose source is in a file.
        """
        source = self.localAgents(wallClock=self.wallClock)
        return self.worker(name, agents=source, **keywords), source

    def report(self, source: LocalAgents, *records: AgentRecord) -> None:
        self.successResultOf(source.report(records))

    def kept(self, agent: int) -> AgentRecord | None:
        found: Deferred[Any] = self.store.records([agent])
        record: AgentRecord | None = self.successResultOf(found).get(agent)
        return record

    def lines(self, events: Sequence[Any], level: LogLevel = LogLevel.info) -> list[str]:
        """
        What was logged of agent info.
        """
        return [
            formatEvent(event)
            for event in events
            if event.get("clusterTask") == "Agent-info sync" and event["log_level"] >= level
        ]


class SyncTests(AgentInfoCase):
    """
    Records go to the master.
    """

    def test_atOnceAfterJoining(self) -> None:
        """
        What a worker has is on the master at once, as it is, at the time at
        which it was heard on the master's clock.
        """
        self.hub()
        source = self.localAgents(wallClock=self.wallClock)
        now = self.clock.seconds()
        self.report(source, fullRecord(7, now - 60), AgentRecord(8, PENDING, now - 5))
        self.worker("w1", agents=source)
        self.assertEqual(fullRecord(7, self.wallClock() - 60), self.kept(7))
        self.assertEqual(AgentRecord(8, PENDING, self.wallClock() - 5, "w1"), self.kept(8))

    def test_everyTenSeconds(self) -> None:
        """
        Keep-alives go together every ten seconds, and only what changed does.
        """
        self.hub()
        worker, source = self.siem()
        self.report(source, fullRecord(7, self.clock.seconds()), fullRecord(8, 1000.0))
        self.pass_(12)
        self.register.asked = 0
        self.report(source, AgentRecord(7, ACTIVE, self.clock.seconds()))
        heard = self.wallClock()
        self.pass_(3)
        self.assertEqual(0, self.register.asked)
        self.pass_(10)
        self.assertEqual(fullRecord(7, heard), self.kept(7))
        self.assertEqual(1, self.register.asked)
        self.assertEqual(
            "1 records in 1 chunks, 0 unknown",
            self.onlyResult(worker),
        )
        self.pass_(20)
        self.assertEqual(1, self.register.asked)

    def onlyResult(self, worker: WorkerService) -> str | None:
        """
        What came of the last run that sent something.
        """
        assert worker.agents.info is not None
        thread = worker.threads["Agent info"]
        self.assertIsNone(thread.record.failure)
        return thread.record.result

    def test_eventsSoon(self) -> None:
        """
        What is more than a keep-alive is on the master after a second.
        """
        self.hub()
        _, source = self.siem()
        self.pass_(2)
        self.report(source, fullRecord(7, self.clock.seconds()))
        self.pass_(SOON + 0.5)
        self.assertEqual(ACTIVE, self.event(7))
        self.report(source, AgentRecord(7, DISCONNECTED, self.clock.seconds(), statusCode=3))
        self.pass_(SOON + 0.5)
        self.assertEqual(DISCONNECTED, self.event(7))

    def event(self, agent: int) -> str | None:
        record = self.kept(agent)
        return None if record is None else record.event

    def test_everythingAfterAJoin(self) -> None:
        """
        After a new join everything goes again: the master may be another one.
        """
        self.hub()
        _, source = self.siem()
        self.report(source, *(fullRecord(agent, 1000.0) for agent in range(1, 301)))
        self.pass_(3)
        self.successResultOf(self.store.remove(range(1, 301)))
        self.network.cut("master")
        self.pass_(5)
        self.assertEqual(300, len(self.successResultOf(self.store.states(1, 999))))

    def test_ownSource(self) -> None:
        """
        A source of the application's own, and a store of its own, do as well.
        """
        self.hub(store=MemoryAgentStore())
        source = MemoryAgentSource()
        source.put(fullRecord(7, self.clock.seconds() - 60), AgentRecord(8, PENDING, 999.0))
        self.worker("w1", agents=source)
        self.assertEqual(fullRecord(7, self.wallClock() - 60), self.kept(7))
        self.pass_(2)
        source.put(fullRecord(7, self.clock.seconds(), DISCONNECTED))
        self.pass_(SOON + 0.5)
        self.assertEqual(DISCONNECTED, self.event(7))
        self.assertEqual([], self.successResultOf(source.pending(10)))

    def test_detailsOnce(self) -> None:
        """
        A worker whose agent came back does not let the master keep what another
        worker said of it meanwhile.
        """
        self.hub()
        _, one = self.siem("w1")
        _, two = self.siem("w2")
        self.report(one, fullRecord(7, self.clock.seconds(), node="w1"))
        self.pass_(12)
        self.report(two, fullRecord(7, self.clock.seconds(), node="w2"))
        self.pass_(12)
        self.report(one, AgentRecord(7, ACTIVE, self.clock.seconds()))
        heard = self.wallClock()
        # It is asked for all, and sends it soon.
        self.pass_(10 + SOON + 0.5)
        self.assertEqual(fullRecord(7, heard, node="w1"), self.kept(7))

    def test_unknown(self) -> None:
        """
        Records of agents that are not registered are not kept, and are not sent
        again before something changes.
        """
        self.hub()
        _, source = self.siem()
        self.report(source, fullRecord(5000, 1000.0), fullRecord(7, 1000.0))
        self.pass_(3)
        self.assertIsNone(self.kept(5000))
        self.assertIsNotNone(self.kept(7))
        asked = self.register.asked
        self.pass_(30)
        self.assertEqual(asked, self.register.asked)
        self.register.agents.add(5000)
        self.report(source, AgentRecord(5000, ACTIVE, self.clock.seconds()))
        self.pass_(12)
        self.assertIsNotNone(self.kept(5000))

    def test_newKeys(self) -> None:
        """
        When client.keys comes, what was kept back is sent again, and what is not
        in it is forgotten.
        """
        self.home = self.makeHome("m")
        self.write(self.home, "etc/client.keys", b"007 a any " + b"a" * 64 + b"\n")
        self.store = self.fleetStore()
        self.register.agents = {7}
        self.master(self.home, store=self.store, registrar=self.register)
        _, source = self.siem()
        self.pass_(3)
        self.report(source, fullRecord(8, 1000.0), fullRecord(9, 1000.0))
        self.pass_(3)
        self.assertIsNone(self.kept(8))
        self.register.agents = {7, 8}
        keys = b"007 a any " + b"a" * 64 + b"\n008 b any " + b"b" * 64 + b"\n"
        self.write(self.home, "etc/client.keys", keys, 2000)
        self.pass_(25)
        self.assertIsNotNone(self.kept(8))
        self.assertEqual([], self.successResultOf(source.pending(10)))
        self.successResultOf(source.markAll())
        found: Any = self.successResultOf(source.pending(10))
        self.assertEqual([8], [record.id for record in found])

    def test_masterKeepsNone(self) -> None:
        """
        Where the master keeps no records a worker says so once for each link,
        and rests.
        """
        self.master()
        _, source = self.siem()
        with capturedLogs() as events:
            self.report(source, fullRecord(7, self.clock.seconds()))
            self.pass_(40)
        text = "The master keeps no records of agents: none are sent on this link."
        self.assertEqual([text], self.lines(events))
        with capturedLogs() as events:
            self.network.cut("master")
            self.pass_(40)
        self.assertEqual([text], self.lines(events))
        self.flushLoggedErrors(UnhandledCommand)

    def test_mastersOwn(self) -> None:
        """
        Agents that report to the master itself are in its store, under its name,
        as those of workers are.
        """
        source = self.localAgents(wallClock=self.wallClock)
        self.report(source, fullRecord(7, self.clock.seconds() - 60), fullRecord(5000, 1.0))
        self.hub(agents=source)
        expected = evolve(fullRecord(7, self.wallClock() - 60), node="hub")
        self.assertEqual(expected, self.kept(7))
        self.assertIsNone(self.kept(5000))
        self.report(source, AgentRecord(7, DISCONNECTED, self.clock.seconds(), statusCode=3))
        self.pass_(12)
        self.assertEqual(DISCONNECTED, self.event(7))


class StoreTroubleTests(AgentInfoCase):
    """
    The master's store is slow, or fails.
    """

    def test_hangs(self) -> None:
        """
        A store that hangs for twenty seconds delays nothing else and loses
        nothing.
        """
        store = HeldStore()
        master = self.hub(store=store)
        source = MemoryAgentSource()
        source.put(*(fullRecord(agent, 1000.0) for agent in range(1, 901)))
        worker = self.worker("w1", agents=source, keepAliveInterval=3.0)
        before = worker.threads["Keep alive"].record.runs
        for _ in range(20):
            self.pass_(1)
            self.assertGreater(1.0, self.roundTrip(worker))
        self.assertGreater(worker.threads["Keep alive"].record.runs, before + 5)
        self.assertEqual(0, worker.threads["Keep alive"].record.failures)
        self.assertEqual("w1", master.statuses()[0].info.name)
        self.assertEqual({}, store.kept)
        thread = worker.threads["Agent info"]
        self.assertEqual((1, True), (thread.record.runs, thread.record.running))
        for _ in range(20):
            store.release()
            self.pass_(1)
        self.assertEqual(900, len(store.kept))

    def roundTrip(self, worker: WorkerService) -> float:
        """
        How long the master takes to answer.
        """
        before = self.clock.seconds()
        asked = Deferred.fromCoroutine(worker.call(KeepAlive, clock=1))
        self.clock.advance(0)
        self.successResultOf(asked)
        return self.clock.seconds() - before

    def test_hangsForLong(self) -> None:
        """
        When it does not answer at all, the worker is told, the link stays, and
        all is sent when it does.
        """
        store = HeldStore()
        self.hub(store=store)
        source = MemoryAgentSource()
        source.put(fullRecord(7, 1000.0))
        with capturedLogs() as events:
            worker = self.worker("w1", agents=source)
            self.pass_(PATIENCE + 5)
            self.assertIsNotNone(worker.master)
            store.release()
            self.pass_(12)
            store.release()
            self.pass_(12)
        lines = self.lines(events, LogLevel.warn)
        self.assertEqual(
            [
                "The store of agents' records failed: the master's store has not answered for 60 s",
                "Agent info failed: the master's store has not answered for 60 s",
            ],
            sorted(lines, reverse=True),
        )
        self.assertEqual([7], list(store.kept))
        self.assertEqual([], self.successResultOf(source.pending(10)))

    def test_cutMeanwhile(self) -> None:
        """
        What was on its way when the link ended is sent again, and what comes of
        it after all does no harm.
        """
        store = HeldStore()
        self.hub(store=store)
        source = MemoryAgentSource()
        source.put(*(fullRecord(agent, 1000.0) for agent in range(1, 901)))
        worker = self.worker("w1", agents=source)
        self.pass_(1)
        self.assertNotEqual([], store.held)
        self.network.cut("master")
        self.pass_(5)
        self.assertIsNotNone(worker.master)
        for _ in range(20):
            store.release()
            self.pass_(1)
        self.assertEqual(900, len(store.kept))
        self.assertEqual([], self.successResultOf(source.pending(10)))

    def test_manyWait(self) -> None:
        """
        While it hangs only some batches are taken apart; the others wait as
        they came.
        """
        store = HeldStore()
        self.hub(store=store)
        for number in range(AT_ONCE + 8):
            source = MemoryAgentSource()
            source.put(fullRecord(number + 1, 1000.0))
            self.worker(f"w{number}", agents=source)
        self.pass_(1)
        self.assertEqual(AT_ONCE, len(store.held))
        store.release()
        self.pass_(1)
        store.release()
        self.pass_(1)
        self.assertEqual(AT_ONCE + 8, len(store.kept))

    def test_fails(self) -> None:
        """
        When the store fails both ends say so once, and everything is sent again
        when it works.
        """
        store = self.fleetStore()
        fails, said = True, "database or disk is full: make room"
        takeBatch = store.takeBatch

        def failing(node: str, batch: HeardBatch, now: float) -> Deferred[Sequence[int]]:
            if fails:
                return fail(StoreFailed(f"agents.db: SQLite says: {said}"))
            return takeBatch(node, batch, now)

        self.patch(store, "takeBatch", failing)
        with capturedLogs() as events:
            self.hub(store=store)
            _, source = self.siem()
            self.report(source, fullRecord(7, self.clock.seconds()), fullRecord(8, 1000.0))
            self.pass_(60)
            fails = False
            self.pass_(12)
        lines = self.lines(events, LogLevel.info)
        self.assertEqual(1, sum(line.startswith("Agent info failed") for line in lines), lines)
        self.assertEqual(2, sum(said in line for line in lines), lines)
        self.assertIn("Agent info works again", lines)
        self.assertIn("The store of agents' records works again", lines)
        self.assertIsNotNone(self.kept(7))

    def test_damagedAtStart(self) -> None:
        """
        A damaged file is said when the master starts, in one line, and the
        master runs.
        """
        path = self.path()
        os.makedirs(os.path.dirname(path))
        with open(path, "wb") as file:
            file.write(b"no database" * 1000)
        with capturedLogs() as events:
            self.hub(store=self.fleetStore(path))
            self.siem()
            self.pass_(30)
        (line,) = self.lines(events, LogLevel.warn)
        self.assertIn("file is not a database: stop the node, and let 'wazuh-cluster", line)
        self.assertNotIn("Traceback", line)


class RemovalTests(AgentInfoCase):
    """
    Agents are removed from the cluster.
    """

    def forget(self, master: MasterService, *ids: int) -> None:
        """
        What whoever removes agents does.
        """
        self.register.agents.difference_update(ids)
        assert master.agents.agentInfo is not None
        self.successResultOf(Deferred.fromCoroutine(master.agents.agentInfo.forget(ids)))

    def test_removed(self) -> None:
        """
        The record goes, and what comes of it later is refused.
        """
        master = self.hub()
        _, source = self.siem()
        self.report(source, fullRecord(7, self.clock.seconds()), fullRecord(8, 1000.0))
        self.pass_(3)
        self.forget(master, 7)
        self.assertIsNone(self.kept(7))
        self.report(source, AgentRecord(7, ACTIVE, self.clock.seconds()))
        self.pass_(12)
        self.assertIsNone(self.kept(7))
        self.assertIsNotNone(self.kept(8))

    def test_mastersOwn(self) -> None:
        """
        So are records of the master's own agents.
        """
        source = self.localAgents(wallClock=self.wallClock)
        self.report(source, fullRecord(7, 1000.0))
        master = self.hub(agents=source)
        self.assertIsNotNone(self.kept(7))
        self.forget(master, 7)
        self.assertIsNone(self.kept(7))
        self.successResultOf(source.markAll())
        self.assertEqual([], self.successResultOf(source.pending(10)))

    def test_whileOnItsWay(self) -> None:
        """
        So is what was on its way when it was removed, wherever it was.
        """
        for hold in ("registrar", "store"):
            store = HeldStore()
            self.register.agents.update((7, 8))
            master = self.hub(store=store)
            if hold == "registrar":
                self.register.waiting = []
            source = MemoryAgentSource()
            source.put(fullRecord(7, 1000.0), fullRecord(8, 1000.0))
            worker = self.worker("w1", agents=source)
            self.pass_(1)
            self.forget(master, 7)
            for waiting in self.register.waiting or ():
                waiting.callback(None)
            self.register.waiting = None
            self.pass_(1)
            store.release()
            self.pass_(1)
            self.assertEqual([8], list(store.kept), hold)
            self.stop(worker)
            self.stop(master)


class BadInputTests(AgentInfoCase):
    """
    A worker that sends what it should not.
    """

    def setUp(self) -> None:
        super().setUp()
        self.service = self.hub()
        self.liar = self.worker("w1")
        self.successResultOf(self.liar.whenJoined())

    def send(self, heads: Any, details: bytes = b"", tick: float | None = None) -> Any:
        """
        Send a batch, and tell what became of it.
        """
        records = heads if isinstance(heads, bytes) else json.dumps(heads).encode()
        seconds = self.clock.seconds() if tick is None else tick
        sent = Deferred.fromCoroutine(
            self.liar.call(SyncAgentInfo, tick=int(seconds * 1e6), records=records, details=details)
        )
        self.clock.advance(0)
        return sent

    def answer(self, heads: Any, details: bytes = b"") -> tuple[int, list[int], list[int]]:
        """
        What the master answers.
        """
        found = self.successResultOf(self.send(heads, details))
        return found["taken"], json.loads(found["unknown"]), json.loads(found["incomplete"])

    def head(self, agent: int = 7, **changes: Any) -> dict[str, Any]:
        return {"id": agent, "event": ACTIVE, "age": 1000, **changes}

    def test_spoiledRecords(self) -> None:
        """
        Records that cannot be used spoil nothing beside them, and the master
        says so once.
        """
        with capturedLogs() as events:
            for _ in range(3):
                bad = [{"id": 9}, self.head(8, age=-5), self.head(6, event="\x1b[2J")]
                self.assertEqual((1, [], []), self.answer([self.head(7), *bad]))
        self.assertEqual(
            ["3 records of agents cannot be used; the first: agent 009: its event is None."],
            self.lines(events, LogLevel.warn),
        )
        self.assertIsNotNone(self.kept(7))
        for agent in (6, 8, 9):
            self.assertIsNone(self.kept(agent))

    def test_unknownIds(self) -> None:
        """
        Unknown agents are named; nothing of them is kept.
        """
        self.assertEqual((1, [5000], []), self.answer([self.head(5000), self.head(7)]))
        self.assertEqual((0, [5000], []), self.answer([self.head(5000)]))
        self.assertEqual((0, [], []), self.answer([]))
        self.assertIsNone(self.kept(5000))

    def test_twice(self) -> None:
        """
        Of an agent that is there twice, the newest counts.
        """
        heads = [
            self.head(7, age=50_000),
            self.head(7, age=10_000, event=DISCONNECTED),
            self.head(7, age=90_000),
        ]
        self.assertEqual((3, [], []), self.answer(heads))
        record = self.kept(7)
        assert record is not None
        self.assertEqual((DISCONNECTED, self.wallClock() - 10), (record.event, record.heard))

    def test_incomplete(self) -> None:
        """
        Where the master lacks details that are said to be known, it asks.
        """
        self.assertEqual((1, [], [8]), self.answer([self.head(7), self.head(8, digest=5)]))
        self.assertIsNone(self.kept(8))

    def test_forgedTime(self) -> None:
        """
        A worker that says it heard something just now, or whose clock is of the
        future, pins nothing.
        """
        self.successResultOf(self.send([self.head(7, age=0)], tick=1e9))
        record = self.kept(7)
        assert record is not None
        self.assertEqual(self.wallClock(), record.heard)
        self.pass_(1)
        _, source = self.siem("w2")
        self.report(source, fullRecord(7, self.clock.seconds()))
        self.pass_(2)
        record = self.kept(7)
        assert record is not None
        self.assertEqual("w2", record.node)

    def test_violations(self) -> None:
        """
        What is no batch at all ends the link, and is said with the worker's
        name.
        """
        for octets in (b"[{]", b"{}", b"[1]", b'[{"size":2}]', b"[" * 50_000):
            with capturedLogs() as events:
                failed = self.send(octets)
            self.failureResultOf(failed)
            (line,) = [
                formatEvent(event)
                for event in events
                if event.get("clusterTag") == "Worker w1" and "Left: " in formatEvent(event)
            ]
            self.assertRegex(line, "a batch of records is|the sizes of details are not")
            self.pass_(5)
            self.successResultOf(self.liar.whenJoined())

    def test_tooLarge(self) -> None:
        """
        A batch that is larger than one may be is not even sent by our own code.
        """
        sent = Deferred.fromCoroutine(
            self.liar.call(SyncAgentInfo, tick=1, records=b"[" + b" " * 60_000)
        )
        self.failureResultOf(sent, ValueError)

    def test_beforeHello(self) -> None:
        """
        Only a worker that joined may send records.
        """
        session = next(iter(self.service.node.roster))
        session.status = None
        assert self.service.agents.agentInfo is not None
        asked = Deferred.fromCoroutine(self.service.agents.agentInfo.sync(session, 1, b"[]", b""))
        self.failureResultOf(asked, ProtocolViolation)
