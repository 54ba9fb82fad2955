"""
Tests for the groups of agents that first showed up on a worker: how they travel,
what the master decides, and what becomes of the files.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from tests.agentcase import Registered, agent
from tests.clustercase import FilledCase
from wazuh_cluster.agents.offers import (
    MOST_OFFERS,
    readOffers,
    readRefusals,
    splitOffers,
    writeOffers,
    writeRefusals,
)
from wazuh_cluster.errors import BadArgument, GroupRefused, StoreFailed
from wazuh_cluster.master import MasterService
from wazuh_cluster.protocol import BODY_SIZE, AssignGroups
from wazuh_cluster.protocol.bodies import readBody, writeBody
from wazuh_cluster.testing.assignments import MemoryAssignments
from wazuh_cluster.worker import WorkerService

AGENTS = st.integers(1, 99_999_999)
GROUPS = st.lists(st.text(max_size=40), max_size=5).map(tuple)


class BodiesTests(SynchronousTestCase):
    """
    Bodies are JSON, and what is none is the peer's fault.
    """

    def test_malformed(self) -> None:
        """
        Whatever is no JSON, or another kind of it, is a bad argument.
        """
        for body in (
            b"",
            b"\xff",
            b"{",
            b"[]",
            b"1",
            b"null",
            b'"text"',
            b"[" * 50_000,
            b'{"a":' * 10_000,
            b'{"a":1e9999999999}x',
            b"1" * 50_000,
        ):
            self.assertRaises(BadArgument, readBody, body, dict)
        self.assertRaises(BadArgument, readBody, b"true", int)

    def test_anyText(self) -> None:
        """
        Any text survives, half a character too.
        """
        value = {"a": "\x1b[0m\u202e\ud800\0 \U0001f600"}
        self.assertEqual(value, readBody(writeBody(value), dict))


class OffersTests(SynchronousTestCase):
    """
    Assignments on the wire.
    """

    @settings(deadline=None, max_examples=60)
    @given(st.dictionaries(AGENTS, GROUPS, max_size=30))
    def test_roundTrip(self, offers: dict[int, tuple[str, ...]]) -> None:
        """
        What is written is read.
        """
        self.assertEqual(offers, readOffers(writeOffers(offers)))

    def test_parts(self) -> None:
        """
        Parts fit in a box, and together are all.
        """
        many = {n: ("g" * 255,) * 128 if n % 100 == 0 else ("web",) for n in range(1, 2001)}
        parts = splitOffers(many)
        whole: dict[int, tuple[str, ...]] = {}
        for part in parts:
            self.assertLessEqual(len(writeOffers(part)), BODY_SIZE)
            self.assertLessEqual(len(part), MOST_OFFERS)
            whole.update(part)
        self.assertEqual(many, whole)
        self.assertLess(len(parts), 40)

    def test_malformed(self) -> None:
        """
        What is no offer is a bad argument.
        """
        for offer in (
            {"": ["web"]},
            {"0": ["web"]},
            {"000": ["web"]},
            {"-1": ["web"]},
            {"1.5": ["web"]},
            {"١": ["web"]},
            {"100000000": ["web"]},
            {"1": ["web"], "001": ["web"]},
            {"1": "web"},
            {"1": [1]},
            {"1": None},
            {"1": [["web"]]},
        ):
            self.assertRaises(BadArgument, readOffers, json.dumps(offer).encode())

    @settings(deadline=None, max_examples=60)
    @given(st.dictionaries(AGENTS, st.text(max_size=300), max_size=30))
    def test_refusals(self, refused: dict[int, str]) -> None:
        """
        Refusals are read, with as much of the reasons as there is room for.
        """
        read = readRefusals(writeRefusals(refused), refused.keys())
        self.assertEqual(refused.keys(), read.keys())
        for number, why in read.items():
            self.assertTrue(refused[number].startswith(why))

    def test_manyRefusals(self) -> None:
        """
        However many were offered in one box, their refusals fit in one.
        """
        for why in ("no", "\U0001f600" * 200):
            refused = dict.fromkeys(range(1, 5400), why)
            body = writeRefusals(refused)
            self.assertLessEqual(len(body), BODY_SIZE)
            self.assertEqual(refused.keys(), readRefusals(body, refused.keys()).keys())

    def test_malformedRefusals(self) -> None:
        """
        What was not offered cannot be refused.
        """
        for body in (b'{"2":"no"}', b'{"1":1}', b"[]", b'{"x":"no"}'):
            self.assertRaises(BadArgument, readRefusals, body, (1,))


class OfferedCase(FilledCase):
    """
    A master that knows some agents, and a worker.
    """

    def setUp(self) -> None:
        """
        Agents 1 to 9 are registered; the groups are those in C{etc/shared}.
        """
        super().setUp()
        self.registrar = Registered(*range(1, 10))
        self.write(self.home, "etc/shared/web/agent.conf", b"<agent_config/>\n")
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def files(self, home: FilePath[str]) -> Any:
        """
        The assignments of a home, as files.
        """
        from wazuh_cluster.agents import FileAssignments
        from wazuh_cluster.integrity import RealFileSystem

        return FileAssignments(RealFileSystem(), home.path, self.runner(""))

    def both(self, **keywords: Any) -> tuple[MasterService, WorkerService]:
        """
        Start both.
        """
        master = self.master(
            self.home,
            registrar=keywords.pop("registrar", self.registrar),
            assignments=keywords.pop("assignments", None) or self.files(self.home),
        )
        worker = self.worker(home=self.workerHome, **keywords)
        self.clock.advance(0)
        return master, worker

    def groupsOf(self, home: FilePath[str], name: str) -> bytes | None:
        """
        What a home's file says.
        """
        path = home.preauthChild(f"queue/agent-groups/{name}")
        return path.getContent() if path.exists() else None

    def put(self, name: str, content: bytes) -> None:
        """
        A file that only the worker has.
        """
        self.write(self.workerHome, f"queue/agent-groups/{name}", content)

    def said(self, text: str) -> int:
        """
        In how many lines of the log this stands.
        """
        return sum(text in str(formatEvent(event)) for event in self.events)


class OfferedTests(OfferedCase):
    """
    What a worker has first goes up.
    """

    def test_taken(self) -> None:
        """
        The groups of an agent that first came to a worker are the master's, and
        every worker's, within a second; a file's line end makes no difference.
        """
        other = self.makeHome("other")
        self.put("002", b"web,default")
        self.both()
        self.worker("w2", home=other)
        self.pass_(1)
        for home in (self.home, self.workerHome, other):
            self.assertEqual(b"web,default\n", self.groupsOf(home, "002"))
        self.assertSameFiles(self.home, self.workerHome, other)

    def test_laterOnes(self) -> None:
        """
        So are those of one that comes later, at the next look.
        """
        self.both()
        self.put("003", b"web\n")
        self.pass_(9.5)
        self.assertEqual(b"web\n", self.groupsOf(self.home, "003"))
        self.assertSameFiles(self.home, self.workerHome)

    def test_refused(self) -> None:
        """
        Those of unknown agents and of groups that are not there are refused,
        and go from the worker, which says why; the others are taken.
        """
        self.write(self.home, "queue/agent-groups/004", b"default\n")
        self.put("002", b"web\n")
        self.put("003", b"nosuch\n")
        self.put("099", b"web\n")
        self.both()
        for name, groups in (("002", b"web\n"), ("003", None), ("099", None)):
            self.assertEqual(groups, self.groupsOf(self.home, name))
            self.assertEqual(groups, self.groupsOf(self.workerHome, name))
        self.assertEqual(1, self.said("groups of agent 003: there is no group 'nosuch'"))
        self.assertEqual(1, self.said("groups of agent 099: the agent is not registered"))
        self.assertEqual(1, self.said("Refused the groups of 2 agents"))

    def test_mastersWins(self) -> None:
        """
        The master's own groups win, though the worker did not know of them yet.
        """
        master, _ = self.both()
        self.put("002", b"web\n")
        # Between the master's looks.
        self.write(self.home, "queue/agent-groups/002", b"default\n")
        self.patch(master.fileIntegrity, "poke", lambda: None)
        self.pass_(9.25)
        self.assertEqual(b"default\n", self.groupsOf(self.home, "002"))
        self.pass_(9)
        self.assertEqual(b"default\n", self.groupsOf(self.workerHome, "002"))
        self.assertSameFiles(self.home, self.workerHome)

    def test_manyRefusedAreHeld(self) -> None:
        """
        A master that suddenly knows nobody does not empty a worker.
        """
        for n in range(2, 14):
            self.put(f"{n:03}", b"web\n")
        _, worker = self.both(registrar=Registered())
        self.pass_(20)
        self.assertEqual(b"web\n", self.groupsOf(self.workerHome, "013"))
        self.assertEqual(12, len(worker.integrity.holds))

    def test_thousands(self) -> None:
        """
        A worker with thousands of them sends them in parts, and both ends have
        them all.
        """
        numbers = range(2, 1700)
        self.registrar.agents = {number: agent(number) for number in numbers}
        for n in numbers:
            self.put(f"{n:03}", b"web\n")
        self.both()
        self.pass_(1)
        self.assertEqual(b"web\n", self.groupsOf(self.home, "1699"))
        self.assertSameFiles(self.home, self.workerHome)

    def test_damaged(self) -> None:
        """
        What is no assignment stays, is told once, goes nowhere, and costs
        nothing per interval; once it is mended it goes up.
        """
        self.put("002", b"\xff" * 100)
        self.put("003", b"x" * 65536)
        self.put("004", b"../../etc\n")
        self.put("nobody", b"web\n")
        self.both()
        carried = self.network.carried
        self.pass_(9 * 3)
        self.assertLess(self.network.carried - carried, 9 * 3 * 120)
        self.assertEqual(4, self.said("is no assignment of an agent, and stays as it is"))
        for name in ("002", "003", "004", "nobody"):
            self.assertIsNone(self.groupsOf(self.home, name))
            self.assertIsNotNone(self.groupsOf(self.workerHome, name))
        self.put("002", b"web\n")
        self.pass_(9.5)
        self.assertEqual(b"web\n", self.groupsOf(self.home, "002"))

    def test_grownMeanwhile(self) -> None:
        """
        However large such a file has become, little of it is read.
        """
        self.put("002", b"web\n" * 1_000_000)
        _, worker = self.both()
        read: list[int | None] = []
        content = worker.integrity.tree.content

        def counted(path: bytes, most: int | None = None) -> bytes | None:
            found = content(path, most)
            read.append(None if found is None else len(found))
            return found

        self.patch(worker.integrity.tree, "content", counted)
        self.put("002", b"web\n" * 2_000_000)
        self.pass_(9.5)
        self.assertEqual([128 * 256 + 1], read)


class FaultsTests(OfferedCase):
    """
    Nothing is lost, whatever fails when.
    """

    def test_masterCannotKeep(self) -> None:
        """
        While the master's disk refuses, the file stays, both nodes go on, and
        it goes up when that is over; the log says so once.
        """
        twin = MemoryAssignments()
        twin.names.add("web")
        twin.failure = StoreFailed("queue/agent-groups: No space left on device")
        self.put("002", b"web\n")
        self.both(assignments=twin)
        self.pass_(30)
        self.assertEqual(b"web\n", self.groupsOf(self.workerHome, "002"))
        self.assertEqual(1, self.said("No space left on device"))
        self.write(self.home, "etc/rules/new.xml", b"<group/>")
        self.pass_(20)
        self.assertTrue(self.workerHome.preauthChild("etc/rules/new.xml").exists())
        twin.failure = None
        self.pass_(10)
        self.assertEqual({2: ("web",)}, twin.assigned)

    def test_masterHangs(self) -> None:
        """
        A master that takes its time to say who is known is asked again; the
        link holds.
        """
        self.registrar.waiting = []
        self.put("002", b"web\n")
        _, worker = self.both()
        self.pass_(15)
        self.assertIsNotNone(worker.master)
        waiting, self.registrar.waiting = self.registrar.waiting, None
        for each in waiting:
            each.callback(None)
        self.pass_(30)
        self.assertEqual(b"web\n", self.groupsOf(self.home, "002"))
        self.assertSameFiles(self.home, self.workerHome)

    def test_registrarFails(self) -> None:
        """
        A registrar that cannot say is as a disk that refuses.
        """
        self.put("002", b"web\n")
        _, worker = self.both()
        failing: Any = Registered(2)
        failing.known = lambda ids: Deferred.fromCoroutine(self.fails())
        self.put("003", b"web\n")
        self.patch(self.registrar, "known", failing.known)
        # What it took a moment ago made a generation, from which the interval counts.
        self.pass_(11)
        self.assertIsNotNone(worker.master)
        self.assertEqual(b"web\n", self.groupsOf(self.workerHome, "003"))
        self.assertEqual(1, self.said("The master could not take the groups of 1 agents: gone"))

    async def fails(self) -> None:
        raise GroupRefused("gone")

    def test_linkLostBeforeTheAnswer(self) -> None:
        """
        An offer whose answer never came is made again on the next link.
        """
        self.registrar.waiting = []
        self.put("002", b"web\n")
        self.both()
        self.network.cut("w1")
        self.registrar.waiting = None
        self.pass_(5)
        self.assertEqual(b"web\n", self.groupsOf(self.home, "002"))
        self.assertSameFiles(self.home, self.workerHome)

    def test_workerDies(self) -> None:
        """
        A worker that dies before it could offer them offers them when it is
        back: the file is all that it needs.
        """
        _, worker = self.both()
        self.put("002", b"web\n")
        self.stop(worker)
        self.worker(home=self.workerHome)
        self.clock.advance(0)
        self.assertEqual(b"web\n", self.groupsOf(self.home, "002"))

    def test_masterDiesAfterTheAnswer(self) -> None:
        """
        What a master took outlives it, and reaches the worker from the next
        one.
        """
        master, _ = self.both()
        self.patch(master.fileIntegrity, "poke", lambda: None)
        self.put("002", b"web")
        self.pass_(9.25)
        self.assertEqual(b"web\n", self.groupsOf(self.home, "002"))
        self.stop(master)
        self.master(self.home, registrar=self.registrar, assignments=self.files(self.home))
        self.pass_(10)
        self.assertEqual(b"web\n", self.groupsOf(self.workerHome, "002"))
        self.assertSameFiles(self.home, self.workerHome)

    def test_agentRemovedMeanwhile(self) -> None:
        """
        An agent that is removed while its groups are being taken has none
        afterwards.
        """
        assignments = MemoryAssignments()
        assignments.names.add("web")
        assign = assignments.assign

        def removing(groups: Any) -> Deferred[None]:
            del self.registrar.agents[2]
            return assign(groups)

        self.patch(assignments, "assign", removing)
        self.put("002", b"web\n")
        self.put("003", b"nosuch\n")
        self.both(assignments=assignments)
        self.assertEqual({}, assignments.assigned)
        self.assertEqual(1, self.said("agent 002: the agent is not registered any more"))

    def test_masterWithoutAssignments(self) -> None:
        """
        A master that does not know the command leaves them where they are, and
        is not asked twice on a link.
        """
        self.put("002", b"web\n")
        self.master(self.home)
        worker = self.worker(home=self.workerHome)
        self.clock.advance(0)
        carried = self.network.carried
        self.pass_(9 * 3)
        self.assertLess(self.network.carried - carried, 9 * 3 * 120)
        self.assertEqual(b"web\n", self.groupsOf(self.workerHome, "002"))
        self.assertIsNotNone(worker.master)


class HostileTests(OfferedCase):
    """
    Whatever a worker offers, the master's files are its own.
    """

    def offer(self, worker: WorkerService, body: object) -> Any:
        """
        What the master says to an offer.
        """
        assignments = json.dumps(body).encode()
        asked = Deferred.fromCoroutine(worker.call(AssignGroups, assignments=assignments))
        self.clock.advance(0)
        return asked

    def test_names(self) -> None:
        """
        No name of whatever kind reaches the disk.
        """
        _, worker = self.both()
        before = sorted(path.path for path in self.home.walk())
        for name in (
            "../../etc/ossec.conf",
            "..",
            "a/b",
            "a\0b",
            "a\nb",
            "'; drop",
            "\x1b[31m",
            "\u202eweb",
            "x" * 50_000,
            "",
        ):
            answer = self.successResultOf(self.offer(worker, {"2": ["web", name]}))
            refused = json.loads(answer["refused"])
            self.assertEqual(["002"], list(refused))
            self.assertTrue(refused["002"].isprintable())
        self.assertEqual(before, sorted(path.path for path in self.home.walk()))

    def test_noGroups(self) -> None:
        """
        Nor can an offer take an assignment away.
        """
        _, worker = self.both()
        answer = self.successResultOf(self.offer(worker, {"1": [], "2": []}))
        self.assertEqual({"001", "002"}, json.loads(answer["refused"]).keys())
        self.assertEqual(b"default", self.groupsOf(self.home, "001"))

    def test_malformedEndsTheLink(self) -> None:
        """
        What no worker says ends the link.
        """
        _, worker = self.both()
        self.failureResultOf(self.offer(worker, {"x": ["web"]}))
        self.assertIsNone(worker.master)
