"""
Tests for L{wazuh_cluster.status}, and for what nodes know of themselves and
their cluster.
"""

from __future__ import annotations

import json
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.protocols.amp import UnhandledCommand
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from tests.agentcase import Fleet as FleetTwin
from tests.agentcase import Registered, never
from tests.clustercase import NOW, FilledCase
from wazuh_cluster.agents.store import SqliteAgentStore, fleetDatabase
from wazuh_cluster.errors import (
    ClusterError,
    InstallFailed,
    LinkClosed,
    MasterUnreachable,
    RequestRefused,
    StoreFailed,
)
from wazuh_cluster.integrity import Manifest
from wazuh_cluster.master import MasterService
from wazuh_cluster.master.agentcounts import AgentCounts
from wazuh_cluster.master.known import MOST, KnownNodes
from wazuh_cluster.model import WORKER, HeldPath, SyncReport, WorkerInfo
from wazuh_cluster.protocol import BODY_SIZE, ReportStatus
from wazuh_cluster.protocol.bodies import writeBody
from wazuh_cluster.protocol.commands import STATUS_SIZE
from wazuh_cluster.requests import Asker, IAnswers
from wazuh_cluster.requests.names import ADMINISTRATION, OWN, OWN_CHANGES, READING
from wazuh_cluster.status import (
    ClusterStatus,
    Completion,
    EventRing,
    Explanation,
    FileFacts,
    FileTrouble,
    LastSync,
    NodeReport,
    NodeStatus,
    RestartStatus,
    StatusReader,
    ThreadStatus,
    Trouble,
)
from wazuh_cluster.status.codec import read, readKnown, write, writeKnown
from wazuh_cluster.status.events import KEPT, KINDS
from wazuh_cluster.status.explaining import VERDICTS, judged
from wazuh_cluster.status.reasons import (
    BEHIND_AFTER,
    CLOCK_OFFSET,
    GRACE,
    SEVERITIES,
    STALE_AFTER,
    judge,
    nodeReasons,
    reason,
)
from wazuh_cluster.status.reasons import (
    MOST as MOST_REASONS,
)
from wazuh_cluster.status.values import ERROR, FAILED, JOINED, LEFT, OK, WARN
from wazuh_cluster.testing.runner import ClockRunner, ImmediateRunner
from wazuh_cluster.testing.state import MemoryState
from wazuh_cluster.worker import WorkerService
from wazuh_cluster.worker.status import _fitting

T = TypeVar("T")

ROOT = Asker("user 0", administers=True, remedy="")
MEMBER = Asker("user 1000", administers=False, remedy="ask root")


def reader(answers: IAnswers, asker: Asker = ROOT) -> StatusReader:
    """
    Asks a node in this process.
    """
    return StatusReader(lambda name, body: answers.perform(asker, name, body))


def names(status: ClusterStatus) -> list[str]:
    """
    The reasons of a verdict.
    """
    return [each.name for each in status.health.reasons]


class CodecTests(SynchronousTestCase):
    """
    Values travel as JSON, between versions too.
    """

    node = NodeStatus(
        "w1",
        WORKER,
        since=5.5,
        agents={"active": 3},
        report=NodeReport(
            lastSync=LastSync(7.0, created=2),
            failed=(FileTrouble("etc/rules/a", "no room"),),
            restartDue=RestartStatus(1.0, 2, ("etc/rules/a",)),
            troubles=(Trouble("KEY_IS_PUBLIC", "change it"),),
            threads=(ThreadStatus("Integrity", 9.0, hung=True),),
            roundTrip=0.5,
        ),
    )

    def test_there(self) -> None:
        """
        A value comes back as it was, in full or without what is a default.
        """
        for full in (False, True):
            travelled = json.loads(json.dumps(write(self.node, full)))
            self.assertEqual(self.node, read(NodeStatus, travelled))

    def test_names(self) -> None:
        """
        JSON has names with lines, and no defaults unless all is wanted.
        """
        brief = write(self.node)
        self.assertNotIn("address", brief)
        self.assertEqual({"at": 7.0, "created": 2}, brief["report"]["last_sync"])
        self.assertEqual("", write(self.node, full=True)["address"])

    def test_unknown(self) -> None:
        """
        What a newer node says besides is ignored.
        """
        found = {**write(self.node), "colour": "blue"}
        self.assertEqual(self.node, read(NodeStatus, found))

    def test_malformed(self) -> None:
        """
        What is no value is refused, by the name of what is wrong.
        """
        for change, line in (
            ({"name": 3}, "name: no text"),
            ({"since": "now"}, "since: no number"),
            ({"since": float("inf")}, "since: no number"),
            ({"since": True}, "since: no number"),
            ({"since": 10**400}, "since: no number"),
            ({"generation": 2.5}, "generation: no number"),
            ({"current": 1}, "current: no flag"),
            ({"agents": []}, "agents: no object"),
            ({"report": {"threads": {}}}, "report: threads: no array"),
            ({"report": {"threads": [{}]}}, "report: threads: ThreadStatus without name"),
            ({"report": 5}, "report: NodeReport that is no object"),
        ):
            error = self.assertRaises(ValueError, read, NodeStatus, {**write(self.node), **change})
            self.assertEqual(line, str(error))
        self.assertRaises(ValueError, read, NodeStatus, {"role": WORKER})

    def test_some(self) -> None:
        """
        Some attributes travel alone, defaults too.
        """
        written = writeKnown(NodeReport(), frozenset({"lastSync", "memory"}))
        self.assertEqual({"last_sync": None, "memory": 0}, written)
        self.assertEqual({"lastSync": None, "memory": 0}, readKnown(NodeReport, written))

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(
                        ["name", "role", "since", "report", "agents", "threads", "holds"]
                    ),
                    inner,
                )
            ),
        )
    )
    @settings(max_examples=200, deadline=None)
    def test_anything(self, found: object) -> None:
        """
        Whatever came, it is a value or a ValueError.
        """
        try:
            node = read(NodeStatus, found)
        except ValueError:
            return
        self.assertEqual(node, read(NodeStatus, json.loads(json.dumps(write(node)))))


class EventsTests(SynchronousTestCase):
    """
    Events are numbered, and the last of them are kept.
    """

    def setUp(self) -> None:
        self.now = 100.0
        self.ring = EventRing("here", lambda: self.now, kept=5)

    def test_pages(self) -> None:
        """
        Pages follow each other by number.
        """
        for n in range(1, 4):
            self.now += 1
            self.ring.note("joined", f"w{n}", "joined")
        page = self.ring.page(0, 2)
        self.assertEqual(
            [(1, 101.0, "w1"), (2, 102.0, "w2")],
            [(each.number, each.at, each.node) for each in page.events],
        )
        self.assertEqual(("here", 3), (page.ring, page.last))
        self.assertEqual([3], [each.number for each in self.ring.page(2).events])
        self.assertEqual((), self.ring.page(3).events)
        self.assertEqual([2, 3], [each.number for each in self.ring.latest(2).events])

    def test_gap(self) -> None:
        """
        What is gone shows as a gap between the numbers.
        """
        for _ in range(9):
            self.ring.note("joined", "w", "")
        self.assertEqual([5, 6, 7, 8, 9], [each.number for each in self.ring.page(2).events])
        self.assertEqual(9, self.ring.last)

    def test_fits(self) -> None:
        """
        A page fits in an answer, however long the texts are.
        """
        ring = EventRing("here", lambda: self.now)
        for _ in range(KEPT + 10):
            ring.note("failed", "w" * 128, "\u202e" * 10_000)
        page = ring.page(0)
        self.assertLess(10, len(page.events))
        self.assertLessEqual(len(writeBody(write(page))), BODY_SIZE)
        self.assertEqual(11, page.events[0].number)

    def test_subscribe(self) -> None:
        """
        Who subscribes is told of each, until it had enough.
        """
        heard: list[int] = []
        stop = self.ring.subscribe(lambda event: heard.append(event.number))
        self.ring.note("joined", "w", "")
        stop()
        self.ring.note("joined", "w", "")
        self.assertEqual([1], heard)


class ReasonsTests(SynchronousTestCase):
    """
    What is wrong has a name and a line that says what to do.
    """

    well = NodeStatus(
        "w1", WORKER, since=NOW - 1000, lastKeepAlive=NOW - 30, generation=3, current=True
    )

    def reasons(self, **changes: Any) -> dict[str, str]:
        """
        Those of a node, which is well but for some changes.
        """
        report = {key: changes.pop(key) for key in list(changes) if hasattr(NodeReport(), key)}
        node = evolve(self.well, report=NodeReport(**report), **changes)
        found = {each.name: each for each in nodeReasons(node, NOW)}
        for name, each in found.items():
            self.assertEqual((SEVERITIES[name], "w1"), (each.severity, each.node))
            self.assertTrue(each.line().startswith(f"{name}: w1, "))
        return {name: each.text for name, each in found.items()}

    def test_none(self) -> None:
        """
        A node that is well has none; nor has one that was stopped.
        """
        self.assertEqual({}, self.reasons())
        self.assertEqual({}, self.reasons(state=LEFT))

    def test_failed(self) -> None:
        """
        A node that is gone without a word, once it had time to come back.
        """
        gone = {"state": FAILED, "why": "its connection was lost"}
        self.assertEqual({}, self.reasons(since=NOW - GRACE + 1, **gone))
        self.assertEqual(
            {
                "NODE_FAILED": "last seen 3 min ago (its connection was lost): start it, or see "
                "that it reaches the master (its logs/cluster.log says more); if it is gone for "
                "good: wazuh-cluster forget w1"
            },
            self.reasons(since=NOW - 180, lastKeepAlive=NOW - 200, **gone),
        )

    def test_stale(self) -> None:
        """
        A node that is connected and says nothing.
        """
        (text,) = self.reasons(lastKeepAlive=NOW - STALE_AFTER).values()
        self.assertIn("last seen 1 min ago though it is connected", text)
        self.assertEqual({}, self.reasons(lastKeepAlive=NOW - STALE_AFTER + 1))

    def test_clock(self) -> None:
        """
        A clock that goes wrong, in either direction.
        """
        self.assertEqual({}, self.reasons(clockOffset=CLOCK_OFFSET - 0.1))
        for offset, words in ((61.5, "61.5 s ahead of"), (-61.5, "61.5 s behind")):
            found = self.reasons(clockOffset=offset)
            self.assertIn(f"its clock is {words} the master's", found["CLOCK_OFFSET"])

    def test_files(self) -> None:
        """
        Files that could not be installed, and those that are late.
        """
        found = self.reasons(
            failed=(FileTrouble("etc/rules/a", "no room"),), lastSync=LastSync(NOW, failed=7)
        )
        self.assertIn(
            "7 files could not be installed; the first is etc/rules/a (no room)",
            found["FILES_FAILED"],
        )
        late = {"current": False, "completion": Completion(10, 5000, 2, 1500)}
        self.assertEqual({}, self.reasons(behindSince=NOW - BEHIND_AFTER + 1, **late))
        found = self.reasons(behindSince=NOW - BEHIND_AFTER, **late)
        self.assertIn("for 5 min; 2 files and 1.5 KB to go", found["NODE_BEHIND"])

    def test_operator(self) -> None:
        """
        What waits for a person: what is held, and a restart.
        """
        found = self.reasons(holds=("etc/rules would lose 12 files", "another"))
        self.assertIn("(and 1 more): etc/rules would lose 12 files", found["REMOVALS_HELD"])
        self.assertIn("wazuh-cluster accept", found["REMOVALS_HELD"])
        found = self.reasons(restartDue=RestartStatus(NOW - 7200, 2, ("etc/rules/a",)))
        self.assertIn("2 new rules, decoders or lists (etc/rules/a, …)", found["RESTART_DUE"])
        self.assertIn("2 h ago", found["RESTART_DUE"])

    def test_threads(self) -> None:
        """
        Threads that hang or fail, by what they fail of; not those that only lost
        their link.
        """
        for kind, name in (
            ("disk", "DISK_TROUBLE"),
            ("damaged", "AGENTS_STORE_DAMAGED"),
            ("other", "THREAD_FAILED"),
            (None, "THREAD_FAILED"),
        ):
            thread = ThreadStatus("Integrity", 9.0, failure="it broke", kind=kind)
            found = self.reasons(threads=(thread,))
            self.assertEqual([name], list(found))
            self.assertIn("Integrity failed: it broke: ", found[name])
        lost = ThreadStatus("Integrity", 9.0, failure="no link", kind="link")
        self.assertEqual({}, self.reasons(threads=(lost,)))
        hung = ThreadStatus("Integrity", 9.0, running=True, started=NOW - 1200, hung=True)
        found = self.reasons(threads=(hung,))
        self.assertIn("Integrity has not ended for 20 min", found["THREAD_HUNG"])

    def test_troubles(self) -> None:
        """
        What a node says of itself; a name that is not known is a warning.
        """
        self.assertEqual(
            {"KEY_IS_PUBLIC": "change it"},
            self.reasons(troubles=(Trouble("KEY_IS_PUBLIC", "change it"),)),
        )
        self.assertEqual(WARN, reason("NEW_ONE", "w1", "x").severity)
        self.assertEqual(400, len(reason("NEW_ONE", "w1", "x" * 1000).text))

    def test_verdict(self) -> None:
        """
        The worst reason is the verdict, and stands first.
        """
        self.assertEqual(OK, judge(()).verdict)
        warning, error = reason("RESTART_DUE", "a", ""), reason("NODE_FAILED", "b", "")
        self.assertEqual(WARN, judge([warning]).verdict)
        health = judge([warning, error])
        self.assertEqual((ERROR, (error, warning)), (health.verdict, health.reasons))
        many = judge([warning] * (MOST_REASONS + 5))
        self.assertEqual((MOST_REASONS, 5), (len(many.reasons), many.more))

    def test_completion(self) -> None:
        """
        Only when nothing is to go it is 100 percent.
        """
        self.assertEqual(100.0, Completion(10, 1000).percent)
        self.assertEqual(100.0, Completion().percent)
        self.assertEqual(99.9, Completion(10, 10**9, 1, 1).percent)
        self.assertEqual(50.0, Completion(10, 990, 5, 495).percent)
        self.assertEqual(0.0, Completion(0, 0, 5, 5).percent)


class ExplainingTests(SynchronousTestCase):
    """
    From facts to a verdict.
    """

    def verdict(self, here: FileFacts | None, master: FileFacts | None, **more: Any) -> str:
        facts = Explanation("w1", "etc/rules/a", here=here, master=master, generation=3)
        found = judged(evolve(facts, **more))
        self.assertIn(found.verdict, VERDICTS)
        self.assertTrue(found.text)
        return found.verdict

    def test_verdicts(self) -> None:
        """
        All of them.
        """
        one, other = FileFacts(3, 1000, "aa"), FileFacts(3, 1000, "bb")
        for here, master, more, verdict in (
            (one, one, {}, "in_sync"),
            (one, other, {}, "differs"),
            (one, evolve(one, mtime=1001), {}, "differs"),
            (one, evolve(one, mtime=1001), {"item": "its time does not count"}, "in_sync"),
            (None, one, {"again": 3.5}, "missing"),
            (one, None, {}, "extra"),
            (None, None, {}, "nowhere"),
            (one, None, {"held": "why"}, "held"),
            (None, one, {"failure": "no room"}, "failed"),
            (one, None, {"generation": 0}, "unknown"),
        ):
            self.assertEqual(verdict, self.verdict(here, master, **more))


class KnownNodesTests(SynchronousTestCase):
    """
    A master remembers its workers.
    """

    def setUp(self) -> None:
        self.state = MemoryState()
        self.now = NOW
        self.known = self.make()

    def make(self) -> KnownNodes:
        known = KnownNodes(self.state, ImmediateRunner(), lambda: self.now)
        known.load()
        return known

    def join(self, name: str = "w1") -> NodeStatus:
        info = WorkerInfo(name, "10.0.0.1", "wazuh_cluster 1", "", 1, b"h" * 16, b"n" * 16)
        self.known.joined(info)
        node = self.known.get(name)
        assert node is not None
        return node

    def test_kept(self) -> None:
        """
        They are there after a restart; those that were joined are awaited from
        then on.
        """
        self.known.gone(self.join("w1"), "it was stopped", True)
        self.join("w2")
        self.known.save()
        self.now += 50
        states = [(node.name, node.state, node.since) for node in self.make()]
        self.assertEqual([("w1", LEFT, NOW), ("w2", FAILED, NOW + 50)], states)

    def test_damaged(self) -> None:
        """
        What cannot be read is learned anew.
        """
        for content in (b"", b"[]", b'{"nodes": [3]}', b'{"nodes": [{"name": 1}]}', b"[" * 100_000):
            self.state.contents["nodes"] = content
            self.assertEqual(0, len(self.make()))
        self.state.damaged.add("nodes")
        self.assertEqual(0, len(self.make()))

    def test_notKept(self) -> None:
        """
        What a disk refused is tried again; what did not change is not written.
        """
        self.join()
        save = self.state.save

        def full(name: str, content: bytes) -> None:
            raise OSError(28, "No space left on device", "/home/nodes")

        self.state.save = full  # type: ignore[method-assign]
        self.known.save()
        self.assertEqual("/home/nodes: No space left on device", self.known.failure)
        self.state.save = save  # type: ignore[method-assign]
        self.known.save()
        self.assertIsNone(self.known.failure)
        self.assertEqual(1, len(self.make()))
        self.state.contents.clear()
        self.known.save()
        self.assertEqual({}, self.state.contents)

    def test_hangs(self) -> None:
        """
        What changes while a disk is busy is kept afterwards.
        """
        clock = Clock()
        self.known = KnownNodes(self.state, ClockRunner(clock), lambda: self.now)
        for name in ("w1", "w2"):
            self.join(name)
            self.known.save()
        clock.pump([1.0] * 3)
        self.assertEqual(["w1"], [node.name for node in self.make()])
        self.known.save()
        clock.pump([1.0] * 3)
        self.assertEqual(["w1", "w2"], [node.name for node in self.make()])

    def test_forget(self) -> None:
        """
        Only a node that is not joined is forgotten.
        """
        node = self.join()
        error = self.assertRaises(RequestRefused, self.known.forget, "w1")
        self.assertEqual("w1 is joined: stop it before you forget it", str(error))
        self.known.gone(node, "gone", False)
        self.known.forget("w1")
        error = self.assertRaises(RequestRefused, self.known.forget, "w1")
        self.assertIn("no node 'w1' is known", str(error))

    def test_bounded(self) -> None:
        """
        Of very many, those that went first are forgotten.
        """
        for n in range(MOST):
            self.now += 1
            self.known.gone(self.join(f"w{n}"), "gone", False)
        self.join("new")
        self.assertEqual(MOST, len(self.known))
        self.assertIsNone(self.known.get("w0"))
        self.assertIsNotNone(self.known.get("w1"))


class AgentCountsTests(SynchronousTestCase):
    """
    Agents are counted when somebody asks, and not too often.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = FleetTwin([never(1), never(2)])

    def get(self, counts: AgentCounts) -> dict[str, int]:
        return dict(self.successResultOf(Deferred.fromCoroutine(counts.get())).statuses)

    def test_fresh(self) -> None:
        """
        A count is good for a while.
        """
        counts = AgentCounts(self.fleet, self.clock)
        self.assertEqual({"never_connected": 2}, self.get(counts))
        self.fleet.rows.append(never(3))
        self.assertEqual({"never_connected": 2}, self.get(counts))
        self.clock.advance(10)
        self.assertEqual({"never_connected": 3}, self.get(counts))
        self.assertEqual({"never_connected": 3}, dict(counts.last.statuses))

    def test_nobody(self) -> None:
        """
        Without a fleet there is nothing to count.
        """
        self.assertEqual({}, self.get(AgentCounts(None, self.clock)))

    def test_together(self) -> None:
        """
        However many ask, it is counted once; nobody waits for long; and a count
        that took long lasts longer.
        """
        later: Deferred[None] = Deferred()
        counted: list[int] = []
        whole = self.fleet.counts

        async def slowly() -> Any:
            counted.append(1)
            await later
            return await whole()

        self.fleet.counts = slowly  # type: ignore[method-assign]
        counts = AgentCounts(self.fleet, self.clock)
        asking = [Deferred.fromCoroutine(counts.get()) for _ in range(3)]
        self.clock.advance(2.9)
        self.assertNoResult(asking[0])
        self.clock.advance(0.1)
        for each in asking:
            self.assertEqual({}, self.successResultOf(each).statuses)
        waiting = Deferred.fromCoroutine(counts.get())
        self.clock.advance(1)
        later.callback(None)
        self.assertEqual({"never_connected": 2}, self.successResultOf(waiting).statuses)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.clock.advance(79)
        self.get(counts)
        self.assertEqual([1], counted)
        self.clock.advance(1)
        self.get(counts)
        self.assertEqual([1, 1], counted)

    def test_fails(self) -> None:
        """
        A store that fails is a reason, and the last count stays.
        """
        counts = AgentCounts(self.fleet, self.clock)
        self.get(counts)

        async def fails() -> Any:
            raise StoreFailed("malformed", damaged=True)

        whole, self.fleet.counts = self.fleet.counts, fails  # type: ignore[method-assign]
        self.clock.advance(10)
        self.assertEqual({"never_connected": 2}, self.get(counts))
        self.assertTrue(counts.damaged)
        self.fleet.counts = whole  # type: ignore[method-assign]
        self.clock.advance(10)
        self.get(counts)
        self.assertIsNone(counts.failure)


class StatusCase(FilledCase):
    """
    A cluster that is asked.
    """

    def ask(self, work: Coroutine[Deferred[Any], Any, T], seconds: float = 0.0) -> T:
        """
        What some work gives, when it has travelled.
        """
        asking = Deferred.fromCoroutine(work)
        self.pass_(seconds)
        self.clock.advance(0)
        return self.successResultOf(asking)

    def refused(
        self, work: Coroutine[Deferred[Any], Any, Any], kind: type[ClusterError] = RequestRefused
    ) -> str:
        """
        The one line with which it is refused.
        """
        asking = Deferred.fromCoroutine(work)
        self.clock.advance(0)
        return str(self.failureResultOf(asking, kind).value)

    def cluster(self, service: MasterService | WorkerService) -> ClusterStatus:
        return self.ask(reader(service.requests).cluster())

    def nodes(self, service: MasterService | WorkerService) -> dict[str, NodeStatus]:
        async def gather() -> dict[str, NodeStatus]:
            return {node.name: node async for node in reader(service.requests).nodes()}

        return self.ask(gather())

    def kill(self, worker: WorkerService) -> None:
        """
        Let a worker end without a word.
        """
        worker.status._resting = True
        self.stop(worker)

    def both(self, **keywords: Any) -> tuple[MasterService, WorkerService]:
        """
        A master and a worker that is in sync.
        """
        keywords.setdefault("wazuhStarts", lambda: [NOW + 1e6])
        master, worker, _ = self.start(**keywords)
        self.pass_(20)
        return master, worker


class ClusterTests(StatusCase):
    """
    A master knows its cluster, and whoever asks a worker hears the same.
    """

    def test_well(self) -> None:
        """
        A cluster that is well, as master and worker say.
        """
        master, worker = self.both()
        for service in (master, worker):
            status = self.cluster(service)
            self.assertEqual((OK, ()), (status.health.verdict, status.health.reasons))
            self.assertEqual(("wazuh", "hub"), (status.cluster, status.master))
            self.assertEqual((1, 6, {"joined": 2}), (status.generation, status.files, status.nodes))
            found = self.nodes(service)
            self.assertEqual(["hub", "w1"], list(found))
            w1 = found["w1"]
            self.assertEqual((JOINED, 1, True), (w1.state, w1.generation, w1.current))
            self.assertEqual(100.0, w1.report.completion.percent)
            self.assertEqual(6, w1.report.completion.files)
            assert w1.report.lastSync is not None
            self.assertEqual(6, w1.report.lastSync.created)
            threads = {each.name: each for each in w1.report.threads}
            self.assertEqual({"Integrity", "Keep alive", "Undo registrations"}, threads.keys())
            self.assertIn("generation 1/", threads["Integrity"].result or "")
            assert w1.lastKeepAlive is not None and w1.lastCheck is not None
            self.assertLessEqual(NOW, w1.lastKeepAlive)
            self.assertEqual(6, found["hub"].report.completion.files)
            self.assertIn("File integrity", [each.name for each in found["hub"].report.threads])

    def test_oneNode(self) -> None:
        """
        One node by its name; another name is refused with a line.
        """
        master, _ = self.both()
        ask = reader(master.requests)
        self.assertEqual("w1", self.ask(ask.node("w1")).name)
        self.assertIn("no node 'w9' is known", self.refused(ask.node("w9")))

    def test_stopped(self) -> None:
        """
        A worker that is stopped has left, and is forgotten by its name.
        """
        master, worker = self.both()
        self.stop(worker)
        status = self.cluster(master)
        self.assertEqual((OK, {"joined": 1, "left": 1}), (status.health.verdict, status.nodes))
        w1 = self.nodes(master)["w1"]
        self.assertEqual((LEFT, "it was stopped"), (w1.state, w1.why))
        self.assertEqual(1, w1.generation)
        self.ask(reader(master.requests).forget("w1"))
        self.assertEqual(["hub"], list(self.nodes(master)))

    def test_failed(self) -> None:
        """
        A worker whose link is cut has failed, once it had time to come back; and
        is joined again when it does.
        """
        master, worker = self.both()
        self.kill(worker)
        self.assertEqual(
            (OK, {"joined": 1, "failed": 1}),
            (
                self.cluster(master).health.verdict,
                self.cluster(master).nodes,
            ),
        )
        self.pass_(GRACE)
        self.assertEqual(["NODE_FAILED"], names(self.cluster(master)))
        self.worker(home=self.workerHome, wazuhStarts=lambda: [NOW + 1e6])
        self.pass_(20)
        self.assertEqual([], names(self.cluster(master)))
        self.assertEqual(JOINED, self.nodes(master)["w1"].state)

    def test_masterRestarts(self) -> None:
        """
        A master that was restarted awaits the workers that it had.
        """
        state = MemoryState()
        first = self.master(self.home, state=state)
        worker = self.worker(home=self.workerHome)
        self.pass_(20)
        self.stop(first)
        self.kill(worker)
        second = self.master(self.home, state=state)
        self.pass_(GRACE + 5)
        status = self.cluster(second)
        self.assertEqual(["NODE_FAILED"], names(status))
        self.assertRegex(
            status.health.reasons[0].text,
            r"^not seen for 1\d s \(it was joined before the master began anew\): start it",
        )

    def test_withoutLink(self) -> None:
        """
        A worker without a link says so, and what it knows itself.
        """
        master, worker = self.both()
        self.stop(master)
        self.pass_(2)
        ask = reader(worker.requests)
        self.assertIn(
            "the master cannot be asked now", self.refused(ask.cluster(), MasterUnreachable)
        )
        own = self.ask(ask.own())
        self.assertEqual(["NO_MASTER"], [each.name for each in own.health.reasons])
        self.assertEqual((ERROR, FAILED), (own.health.verdict, own.node.state))
        self.assertEqual((1, 6), (own.node.generation, own.node.report.completion.files))
        self.assertEqual(
            ["started", "joined", "synced", "lost"],
            [each.kind for each in self.ask(ask.ownEvents()).events[:4]],
        )

    def test_events(self) -> None:
        """
        What happens is told in order, on a master of the whole cluster.
        """
        master, worker = self.both()
        self.write(self.home, "etc/rules/new.xml", b"<group/>")
        self.pass_(20)
        self.stop(worker)
        self.ask(reader(master.requests).forget("w1"))
        page = self.ask(reader(master.requests).events(after=0))
        self.assertEqual(
            [
                ("started", "hub"),
                ("generation", "hub"),
                ("joined", "w1"),
                ("synced", "w1"),
                ("generation", "hub"),
                ("synced", "w1"),
            ],
            [(each.kind, each.node) for each in page.events if each.kind not in ("reason", "over")][
                :6
            ],
        )
        self.assertEqual(["left", "asked", "forgotten"], [each.kind for each in page.events][-3:])
        self.assertEqual(list(range(1, page.last + 1)), [each.number for each in page.events])
        self.assertEqual(set(), {each.kind for each in page.events} - KINDS.keys())

    def test_often(self) -> None:
        """
        What happens every second does not drive out all other events.
        """
        master, _ = self.both()
        for n in range(30):
            self.write(
                self.home, "etc/client.keys", b"%03d web any %s\n" % (n, b"a" * 64), 2000 + n
            )
            master.fileIntegrity.poke()
            self.pass_(1)
        page = self.ask(reader(master.requests).events(after=0))
        synced = [each for each in page.events if each.kind == "synced"]
        self.assertLess(len(synced), 8)
        self.assertRegex(synced[-1].text, r" \(and \d+ more before\)$")

    def test_manyNodes(self) -> None:
        """
        However many nodes there are, all are listed, each once.
        """
        master, _ = self.both()
        for n in range(300):
            info = WorkerInfo(f"n{n:03}", "10.0.0.1", "x" * 128, "y" * 64, 1, b"h" * 16, b"n" * 16)
            master.status.known.joined(info)
        self.assertEqual(["hub", *(f"n{n:03}" for n in range(300)), "w1"], list(self.nodes(master)))

    def test_quiet(self) -> None:
        """
        An idle worker says little: what changes all the time once a minute, and
        all of it in less than 100 bytes a second.
        """
        said: list[int] = []
        master, _ = self.both()
        report = master.status.report

        def listen(session: Any, body: bytes) -> None:
            said.append(len(body))
            report(session, body)

        master.status.report = listen  # type: ignore[method-assign]
        self.pass_(600, 1)
        self.assertLessEqual(9, len(said))
        self.assertLessEqual(len(said), 11)
        self.assertLess(sum(said) / 600, 25)


class ReportTests(StatusCase):
    """
    What a worker says of itself is data from a stranger.
    """

    def setUp(self) -> None:
        super().setUp()
        self.theMaster, self.theWorker = self.both()

    def say(self, body: bytes) -> None:
        assert self.theWorker._peer is not None
        peer = self.theWorker._peer
        saying = Deferred.fromCoroutine(peer.call(ReportStatus, status=body))
        saying.addErrback(lambda failure: None)
        self.clock.advance(0)

    def test_violation(self) -> None:
        """
        A status that cannot be read ends the link.
        """
        for body in (b"[]", b"{]", b'{"memory": "much"}', b'{"threads": [1]}'):
            self.assertEqual(1, len(self.theMaster.statuses()))
            self.say(body)
            self.pass_(0.25)
            self.assertEqual(0, len(self.theMaster.statuses()))
            self.pass_(30)

    def test_partial(self) -> None:
        """
        What is not said stays; times are the master's.
        """
        before = self.nodes(self.theMaster)["w1"].report
        sent = NOW + self.clock.seconds() - 1000
        self.say(writeBody({"now": sent, "restart_due": {"since": sent - 5, "count": 1}, "new": 1}))
        after = self.nodes(self.theMaster)["w1"].report
        self.assertEqual(before, evolve(after, restartDue=None))
        assert after.restartDue is not None
        self.assertAlmostEqual(NOW + self.clock.seconds() - 5, after.restartDue.since, 2)

    def test_boastful(self) -> None:
        """
        However much one worker says of itself, the others are shown, and it is
        with what fits.
        """
        for name in ("holds", "failed", "troubles", "threads"):
            texts = ["\u202e" * 100] * 20
            values: dict[str, Any] = {
                "holds": texts,
                "failed": [{"path": each, "why": "x"} for each in texts],
                "troubles": [{"name": f"T{i}", "text": each} for i, each in enumerate(texts)],
                "threads": [{"name": each, "interval": 1.0} for each in texts],
            }
            self.say(writeBody({name: values[name]}))
        found = self.nodes(self.theMaster)
        self.assertEqual(["hub", "w1"], list(found))
        session = self.theMaster.node.roster.get("w1")
        assert session is not None
        session.report = evolve(session.report, holds=("x" * 16_000,) * 6)
        found = self.nodes(self.theMaster)
        self.assertEqual(
            ((), 100.0), (found["w1"].report.holds, found["w1"].report.completion.percent)
        )
        self.assertEqual("w1", self.ask(reader(self.theMaster.requests).node("w1")).name)

    def test_muchToSay(self) -> None:
        """
        A worker says what fits.
        """
        long = "\U0001f600" * 300
        for report in (
            NodeReport(holds=(long,) * 20, memory=7),
            NodeReport(
                failed=(FileTrouble(long, long),) * 20,
                holds=(long,) * 20,
                restartDue=RestartStatus(1.0, 500, (long,) * 20),
                troubles=(Trouble(long, long),) * 10,
                memory=7,
            ),
        ):
            fitting = _fitting(report)
            self.assertEqual(7, fitting.memory)
            written = writeBody(write(fitting))
            self.assertLessEqual(len(written), STATUS_SIZE)
        self.assertEqual(500, fitting.restartDue.count if fitting.restartDue else 0)

    def test_older(self) -> None:
        """
        A master of a version before does not know the command, and is told
        nothing more on that link.
        """
        asked: list[object] = []

        class Older:
            async def call(self, command: object, *rest: object, **arguments: object) -> Any:
                asked.append(command)
                raise UnhandledCommand()

        status = self.theWorker.status
        status._link, status._told = Older(), None  # type: ignore[assignment]
        for line in ("the master does not want to know", "nobody to tell"):
            self.assertEqual(line, self.ask(status.look()))
        self.ask(status.leave(1.0))
        self.assertEqual([ReportStatus], asked)

    def test_leaving(self) -> None:
        """
        A worker that said it would be stopped has left, whatever ends its link.
        """
        self.say(b'{"leaving": true}')
        session = self.theMaster.node.roster.get("w1")
        assert session is not None
        session.peer.abort(LinkClosed("cut"))
        self.clock.advance(0)
        self.assertEqual(LEFT, self.nodes(self.theMaster)["w1"].state)


class ProvokedTests(StatusCase):
    """
    Reasons that real nodes give.
    """

    def reasons(self, service: MasterService | WorkerService) -> dict[str, str]:
        return {each.name: each.text for each in self.cluster(service).health.reasons}

    def test_restartDue(self) -> None:
        """
        New rules wait for a restart: RESTART_DUE.
        """
        master, _ = self.both(wazuhStarts=lambda: [])
        text = self.reasons(master)["RESTART_DUE"]
        self.assertIn("3 new rules, decoders or lists (etc/decoders/local_decoder.xml, …)", text)

    def test_held(self) -> None:
        """
        A mishap on the master is held back: REMOVALS_HELD.
        """
        for n in range(12):
            self.write(self.home, f"etc/lists/{n}", b"x")
        master, _ = self.both()
        for n in range(12):
            self.home.preauthChild(f"etc/lists/{n}").remove()
        self.home.preauthChild("etc/lists/deep").remove()
        self.pass_(30)
        self.assertIn("it holds back", self.reasons(master)["REMOVALS_HELD"])

    def test_clock(self) -> None:
        """
        A clock that goes wrong: CLOCK_OFFSET.
        """
        master, _ = self.both(wallClock=lambda: NOW + self.clock.seconds() + 600)
        self.assertIn("600.0 s ahead of", self.reasons(master)["CLOCK_OFFSET"])

    def test_configured(self) -> None:
        """
        What is wrong with a node's configuration: KEY_IS_PUBLIC.
        """
        troubles = [Trouble("KEY_IS_PUBLIC", "its key is known")]
        master = self.master(self.home, troubles=troubles)
        self.worker(home=self.workerHome, troubles=troubles, wazuhStarts=lambda: [NOW + 1e6])
        self.pass_(20)
        found = self.cluster(master).health.reasons
        self.assertEqual(
            [("KEY_IS_PUBLIC", "hub"), ("KEY_IS_PUBLIC", "w1")],
            [(each.name, each.node) for each in found],
        )

    def test_links(self) -> None:
        """
        What the master does not carry: FILE_NOT_CARRIED.
        """
        FilePath("/etc/hostname").linkTo(self.home.preauthChild("etc/rules/link.xml"))
        master, _ = self.both()
        text = self.reasons(master)["FILE_NOT_CARRIED"]
        self.assertIn("etc/rules/link.xml: is a link to what may not be carried", text)

    def test_noGeneration(self) -> None:
        """
        A master whose first look has not ended: NO_GENERATION.
        """
        master = self.master(self.home)
        master.integrity._generations._current = None
        self.assertIn("NO_GENERATION", self.reasons(master))

    def test_refused(self) -> None:
        """
        A node that may not join: NODE_REFUSED, for a while.
        """
        master, _ = self.both()
        other = self.worker("w1", home=self.makeHome("copy"), source="elsewhere")
        self.pass_(3)
        self.assertIn(
            "it may not join, at elsewhere: the node name", self.reasons(master)["NODE_REFUSED"]
        )
        self.stop(other)
        self.pass_(61)
        self.assertEqual({}, self.reasons(master))

    def test_disk(self) -> None:
        """
        A disk that refuses: DISK_TROUBLE, and over when it does not any more.
        """
        master, worker = self.both()

        def full(name: str, content: bytes) -> None:
            raise OSError(28, "No space left on device")

        state: Any = master._state
        save, state.save = state.save, full
        self.addCleanup(setattr, state, "save", save)
        self.stop(worker)
        self.pass_(10)
        self.assertIn("No space left on device", self.reasons(master)["DISK_TROUBLE"])
        state.save = save
        self.pass_(10)
        self.assertEqual({}, self.reasons(master))
        kinds = [
            (each.kind, each.text.partition(":")[0])
            for each in self.ask(reader(master.requests).events(after=0)).events
            if each.kind in ("reason", "over")
        ][-2:]
        self.assertEqual([("reason", "DISK_TROUBLE"), ("over", "DISK_TROUBLE is over")], kinds)

    def test_stale(self) -> None:
        """
        A worker that is connected and sends no keep-alives: NODE_STALE.
        """
        master, _ = self.both(keepAliveInterval=10_000.0)
        self.pass_(STALE_AFTER - 15, 1)
        self.assertIn("though it is connected", self.reasons(master)["NODE_STALE"])

    def test_behind(self) -> None:
        """
        A worker that cannot install anything: DISK_TROUBLE at once, and
        NODE_BEHIND after some minutes.
        """
        master, worker = self.both()

        def install(*arguments: Any) -> Any:
            raise InstallFailed(b"etc/rules", "cannot make a folder: No space left on device")

        tree: Any = worker.integrity.tree
        tree.install = install
        self.write(self.home, "etc/rules/new.xml", b"<group/>", 2000)
        self.pass_(20)
        text = self.reasons(master)["DISK_TROUBLE"]
        self.assertIn("Integrity failed: etc/rules: cannot make a folder: No space", text)
        self.assertNotIn("NODE_BEHIND", self.reasons(master))
        self.pass_(BEHIND_AFTER, 3)
        self.assertIn(
            "its files are not the master's for 5 min", self.reasons(master)["NODE_BEHIND"]
        )
        del tree.install
        self.pass_(20)
        self.assertEqual({}, self.reasons(master))

    def test_filesFailed(self) -> None:
        """
        A file that cannot be installed: FILES_FAILED; and one that is mounted by
        itself: MOUNTED_FILE.
        """
        master, worker = self.both()
        report = SyncReport(
            worker.integrity.applied.generation,  # type: ignore[union-attr]
            updated=(b"etc/client.keys",),
            failed={b"etc/rules/new.xml": "cannot write it: No space left on device"},
            inPlace=(b"etc/client.keys",),
        )
        worker._observers.synced(report)
        self.pass_(5)
        found = self.reasons(master)
        self.assertIn(
            "1 file could not be installed; the first is etc/rules/new.xml (cannot write "
            "it: No space left on device)",
            found["FILES_FAILED"],
        )
        self.assertIn("etc/client.keys: mount its folder instead", found["MOUNTED_FILE"])
        worker._observers.synced(evolve(report, failed={}, inPlace=()))
        self.pass_(5)
        self.assertEqual({}, self.reasons(master))

    def test_unreadable(self) -> None:
        """
        What the master cannot read: FILE_UNREADABLE; and a name that cannot
        travel: FILE_NOT_CARRIED.
        """
        self.write(self.home, "etc/rules/a\\b.xml", b"")
        master, _ = self.both()
        self.assertIn("it has a backslash in it", self.reasons(master)["FILE_NOT_CARRIED"])
        snapshot = master._snapshot
        assert snapshot is not None
        held = HeldPath(b"etc/rules/secret", "unreadable")
        problems = {held.path: "cannot be read: Permission denied"}
        master._snapshot = evolve(
            snapshot, manifest=Manifest.fromEntries("md5", [], [held]), problems=problems
        )
        text = self.reasons(master)["FILE_UNREADABLE"]
        self.assertIn("etc/rules/secret: cannot be read: Permission denied: let the user", text)

    def test_hung(self) -> None:
        """
        A run that does not end: THREAD_HUNG.
        """
        master, worker = self.both()
        self.patch(worker.integrity._workplace, "prepare", lambda algorithm: Deferred())
        self.pass_(940, 5)
        text = self.reasons(master)["THREAD_HUNG"]
        self.assertIn("Integrity has not ended for 15 min", text)

    def test_threadFails(self) -> None:
        """
        A run that fails otherwise: THREAD_FAILED.
        """
        master, worker = self.both()

        async def fail() -> None:
            raise ClusterError("nothing works")

        self.patch(worker.integrity._restarts, "look", fail)
        self.pass_(20)
        self.assertIn("Integrity failed: nothing works: ", self.reasons(master)["THREAD_FAILED"])

    def test_damaged(self) -> None:
        """
        A database that is none: AGENTS_STORE_DAMAGED.
        """
        path = os.path.abspath(self.mktemp())
        FilePath(path).setContent(b"not a database" * 1000)
        store = SqliteAgentStore(fleetDatabase(path), ImmediateRunner())
        master = self.master(self.home, registrar=Registered(1, 2), store=store)
        self.pass_(10)
        text = self.reasons(master)["AGENTS_STORE_DAMAGED"]
        self.assertIn("wazuh-cluster agents reset-store", text)


class ExplainTests(StatusCase):
    """
    Why a file is, or is not, in sync on a node.
    """

    rule = "etc/rules/local_rules.xml"

    def test_inSync(self) -> None:
        """
        On the worker and the master, asked on either.
        """
        master, worker = self.both()
        for service in (master, worker):
            for node in ("w1", "hub"):
                found = self.ask(reader(service.requests).explain(node, self.rule))
                self.assertEqual(("in_sync", node), (found.verdict, found.node))
                self.assertEqual(found.here, found.master)
                self.assertIn("etc/rules; all files", found.item)
        self.assertEqual("in_sync", self.ask(reader(worker.requests).ownExplain(self.rule)).verdict)

    def test_differs(self) -> None:
        """
        A file that cannot be installed differs, and one that is new is missing:
        with both sides, and when it is tried again.
        """
        master, worker = self.both()

        def install(*arguments: Any) -> Any:
            raise InstallFailed(b"etc/rules", "cannot make a folder: No space left on device")

        tree: Any = worker.integrity.tree
        tree.install = install
        self.write(self.home, self.rule, b"<group>three</group>\n", 2000)
        self.write(self.home, "etc/rules/new.xml", b"<group/>\n", 2000)
        self.pass_(20)
        found = self.ask(reader(master.requests).explain("w1", self.rule))
        self.assertEqual("differs", found.verdict)
        assert found.here is not None and found.master is not None
        self.assertEqual((19, 21, 2000), (found.here.size, found.master.size, found.master.mtime))
        self.assertEqual(2, found.generation)
        assert found.again is not None
        self.assertLessEqual(found.again, 9.0)
        found = self.ask(reader(master.requests).explain("w1", "etc/rules/new.xml"))
        self.assertEqual(("missing", None), (found.verdict, found.here))

    def test_nowhere(self) -> None:
        """
        A file that nobody has; paths that nobody carries.
        """
        master, _ = self.both()
        ask = reader(master.requests)
        self.assertEqual("nowhere", self.ask(ask.explain("w1", "etc/rules/none.xml")).verdict)
        for node in ("w1", "hub"):
            for path in ("etc/ossec.conf", "../etc/passwd", "/etc/passwd", "", "etc/rules/a~"):
                line = self.refused(ask.explain(node, path))
                self.assertIn("is not carried (", line)
        self.assertIn("no node 'w9'", self.refused(ask.explain("w9", self.rule)))

    def test_gone(self) -> None:
        """
        A node that is not joined is to be asked itself.
        """
        master, worker = self.both()
        self.stop(worker)
        line = self.refused(reader(master.requests).explain("w1", self.rule))
        self.assertIn("w1 is not joined (left, it was stopped)", line)


class SyncTests(StatusCase):
    """
    A look that somebody asks for.
    """

    def test_worker(self) -> None:
        """
        A worker looks now, and says what it did, by the master or itself.
        """
        master, worker = self.both()
        victim = "etc/rules/local_rules.xml"
        for ask in (
            lambda: reader(master.requests).sync("w1", verbose=True),
            lambda: reader(worker.requests).ownSync(verbose=True),
        ):
            self.workerHome.preauthChild(victim).remove()
            self.pass_(0.5)
            outcome = self.ask(ask(), 2)
            self.assertEqual(
                ("w1", "Integrity", True), (outcome.node, outcome.thread, outcome.ended)
            )
            self.assertEqual([victim], [each.path for each in outcome.files])
            self.assertIn("created: it was missing here", outcome.files[0].why)
            assert outcome.sync is not None
            self.assertEqual(1, outcome.sync.created)

    def test_master(self) -> None:
        """
        A master looks through its files.
        """
        master, _ = self.both()
        outcome = self.ask(reader(master.requests).sync("hub"), 2)
        self.assertEqual(("File integrity", True), (outcome.thread, outcome.ended))
        self.assertIn("6 files, nothing new", outcome.result)

    def test_nothing(self) -> None:
        """
        Where nothing was to do, that is the answer.
        """
        master, _ = self.both()
        outcome = self.ask(reader(master.requests).sync("w1"), 2)
        self.assertIsNone(outcome.sync)
        self.assertIn("up to date", outcome.result)

    def test_withoutLink(self) -> None:
        """
        Without a link a worker cannot look.
        """
        master, worker = self.both()
        self.stop(master)
        self.pass_(2)
        line = self.refused(reader(worker.requests).ownSync())
        self.assertIn("w1 has no link to its master", line)

    def test_permission(self) -> None:
        """
        Who may not change the cluster may look, and no more.
        """
        master, worker = self.both()
        for service in (master, worker):
            ask = reader(service.requests, MEMBER)
            self.ask(ask.cluster())
            self.ask(ask.own())
            for work in (ask.sync("w1"), ask.forget("w1"), ask.ownSync()):
                self.assertIn("user 1000 may not change the cluster", self.refused(work))
        # A worker that the master does not list may not either, whoever asks there.
        line = self.refused(reader(worker.requests).sync("hub"))
        self.assertIn("worker w1 may not change the cluster", line)


class NamesTests(SynchronousTestCase):
    """
    The tables of requests are complete.
    """

    def test_disjoint(self) -> None:
        """
        A request looks, or changes something.
        """
        self.assertEqual(set(), READING & ADMINISTRATION)
        self.assertEqual(set(), OWN & (READING | ADMINISTRATION))
        self.assertLessEqual(OWN_CHANGES, OWN)
