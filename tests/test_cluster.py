"""
Tests for the services: a master and workers in one process, over TLS and a
network in memory, on homes on disk.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from wazuh_cluster.errors import (
    DisplacedClone,
    LinkClosed,
    NameInUse,
    NotTrusted,
    WrongCluster,
    WrongKey,
)
from wazuh_cluster.home import Home, makeHome
from wazuh_cluster.integrity import WAZUH_ITEMS, DirectoryTree
from wazuh_cluster.interfaces import IWorkerObserver
from wazuh_cluster.master import MasterService
from wazuh_cluster.model import MasterInfo, NodeName, SyncReport
from wazuh_cluster.protocol import Limits
from wazuh_cluster.restartdue import RestartDue
from wazuh_cluster.testing.network import MemoryNetwork
from wazuh_cluster.testing.runner import ImmediateRunner
from wazuh_cluster.testing.state import MemoryState
from wazuh_cluster.testing.trust import testTrust
from wazuh_cluster.worker import WorkerService
from wazuh_cluster.worker.memory import WorkerMemory

NOW = 1_800_000_000.0


class Stranger(Protocol):
    """
    Somebody who connects and says nothing.
    """

    gone = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone = True


@implementer(IWorkerObserver)
class Story:
    """
    An observer that remembers what it was told.
    """

    def __init__(self) -> None:
        self.masters: list[MasterInfo] = []
        self.reports: list[SyncReport] = []
        self.reasons: list[Failure] = []

    def joined(self, master: MasterInfo) -> None:
        self.masters.append(master)

    def synced(self, report: SyncReport) -> None:
        self.reports.append(report)

    def lost(self, reason: Failure) -> None:
        self.reasons.append(reason)


class ClusterCase(SynchronousTestCase):
    """
    A cluster in memory. Nothing happens but when the clock advances.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.services: list[Any] = []
        self.addCleanup(self.stopAll)

    def stopAll(self) -> None:
        """
        Stop what runs; nothing may be left behind.
        """
        stopping = [service.stopService() for service in reversed(self.services)]
        self.clock.pump([0.5] * 6)
        for each in stopping:
            self.successResultOf(each)
        self.assertEqual([], [str(call) for call in self.clock.getDelayedCalls()])

    def makeHome(self, name: str) -> FilePath[str]:
        home = FilePath(self.mktemp() + "-" + name)
        makeHome(Home(home.path))
        return home

    def master(self, home: FilePath[str] | None = None, **keywords: Any) -> MasterService:
        """
        Start a master, at the address C{master}.
        """
        self.masterHome = self.makeHome("master") if home is None else home
        trust = keywords.pop("trust", None) or testTrust("master", "hub")
        service = MasterService(
            self.clock,
            NodeName("hub"),
            trust,
            self.network.server("master"),
            tree=self.tree(self.masterHome),
            state=keywords.pop("state", None) or MemoryState(),
            runner=lambda name: ImmediateRunner(),
            wallClock=self.wallClock,
            **keywords,
        )
        service.startService()
        self.services.append(service)
        self.clock.advance(0)
        return service

    def worker(self, name: str = "w1", **keywords: Any) -> WorkerService:
        """
        Start a worker, at an address of its own name.
        """
        home = keywords.pop("home", None) or self.makeHome(name)
        service = WorkerService(
            self.clock,
            NodeName(name),
            keywords.pop("trust", None) or testTrust("worker", name),
            self.network.client("master", source=keywords.pop("source", name)),
            tree=self.tree(home),
            state=keywords.pop("state", None) or MemoryState(),
            runner=lambda name: ImmediateRunner(),
            wallClock=keywords.pop("wallClock", None) or self.wallClock,
            jitter=lambda: 0.0,
            observer=keywords.pop("observer", None) or Story(),
            **keywords,
        )
        service.startService()
        self.services.append(service)
        self.clock.advance(0)
        return service

    def stop(self, service: Any) -> None:
        self.services.remove(service)
        stopping = service.stopService()
        self.clock.pump([0.5] * 4)
        self.successResultOf(stopping)

    def wallClock(self) -> float:
        return NOW + self.clock.seconds()

    def tree(self, home: FilePath[str]) -> DirectoryTree:
        # Files of these tests are made now, by the real clock: far from it, a
        # scan trusts what it saw.
        return DirectoryTree(home.path, wallClock=self.wallClock)

    def write(self, home: FilePath[str], path: str, content: bytes, mtime: int = 1000) -> None:
        target = home.preauthChild(path)
        if not target.parent().exists():
            target.parent().makedirs()
        target.setContent(content)
        os.utime(target.path, (mtime, mtime))

    def assertSameFiles(self, *homes: FilePath[str]) -> None:
        """
        The homes carry the same files.
        """
        roots = set()
        for home in homes:
            tree = self.tree(home)
            snapshot = self.successResultOf(ImmediateRunner().run(tree.scan()))
            roots.add(snapshot.manifest.root(tree.items))
        self.assertEqual(1, len(roots))

    def pass_(self, seconds: float, step: float = 0.25) -> None:
        self.clock.pump([step] * int(seconds / step))


class JoinTests(ClusterCase):
    """
    Workers join, are refused with a reason, and come back.
    """

    def test_joins(self) -> None:
        """
        A worker joins, and both ends know whom they have.
        """
        master = self.master()
        story = Story()
        worker = self.worker(observer=story)
        info = self.successResultOf(worker.whenJoined())
        self.assertEqual("hub", info.name)
        self.assertEqual([info], story.masters)
        (status,) = master.statuses()
        self.assertEqual(("w1", "w1"), (status.info.name, status.info.address))

    def test_listens(self) -> None:
        """
        C{whenListening} fires with the port; a port in use raises at once.
        """
        master = self.master()
        self.successResultOf(master.whenListening())
        self.assertRaises(CannotListenError, self.master)

    def test_wrongKey(self) -> None:
        """
        A worker with another key gets nothing, and says so.
        """
        master = self.master()
        story = Story()
        other = testTrust("worker", "w1", key="b" * 16 + "c" * 16)
        worker = self.worker(trust=other, observer=story)
        self.assertNoResult(worker.whenJoined())
        self.assertIn("another cluster key", story.reasons[0].getErrorMessage())
        story.reasons[0].trap(WrongKey)
        self.assertEqual([], master.statuses())

    def test_wrongCluster(self) -> None:
        """
        A worker of another cluster is told the right name.
        """
        self.master()
        story = Story()
        self.worker(trust=testTrust("worker", "w1", cluster="other"), observer=story)
        story.reasons[0].trap(WrongCluster)
        self.assertIn("set <name> to wazuh", story.reasons[0].getErrorMessage())

    def test_mastersOwnName(self) -> None:
        """
        A worker cannot go by the master's name.
        """
        self.master()
        story = Story()
        self.worker("hub", observer=story)
        story.reasons[0].trap(NameInUse)

    def test_nameInUse(self) -> None:
        """
        Another home cannot have the name of a worker that lives, which stays
        joined.
        """
        master = self.master()
        first = self.worker("w1")
        story = Story()
        self.worker("w1", observer=story, source="elsewhere")
        story.reasons[0].trap(NameInUse)
        self.assertIn("at w1", story.reasons[0].getErrorMessage())
        self.assertIsNotNone(first.master)
        self.assertEqual(["w1"], [status.info.address for status in master.statuses()])

    def test_nameOfTheDead(self) -> None:
        """
        Another home gets the name of a worker that does not answer.
        """
        master = self.master()
        self.worker("w1")
        self.network.stall("w1")
        second = self.worker("w1", source="elsewhere")
        self.assertIsNone(second.master)
        self.pass_(5)
        self.assertIsNotNone(second.master)
        self.assertEqual(["elsewhere"], [status.info.address for status in master.statuses()])
        self.network.heal("w1")

    def test_sameHomeComesBack(self) -> None:
        """
        A home whose process was killed joins at once, though the master has
        not heard that the old link is dead.
        """
        master = self.master()
        state = MemoryState()
        home = self.makeHome("w1")
        self.worker("w1", home=home, state=state)
        self.network.stall("w1")
        again = self.worker("w1", home=home, state=state, source="same-machine")
        self.successResultOf(again.whenJoined())
        self.assertEqual(["same-machine"], [s.info.address for s in master.statuses()])

    def test_cloneIsRefused(self) -> None:
        """
        Two processes of one home do not displace each other for ever: the one
        that was displaced is refused while the other lives.
        """
        self.master()
        state = MemoryState()
        first, second = Story(), Story()
        self.worker("w1", state=state, observer=first)
        self.worker("w1", state=state, observer=second, source="clone")
        self.assertEqual(1, len(second.masters))
        self.pass_(30)
        self.assertEqual((1, 1), (len(first.masters), len(second.masters)))
        self.assertEqual([], second.reasons)
        first.reasons[-1].trap(DisplacedClone)
        self.assertIn("stop one of the two", first.reasons[-1].getErrorMessage())

    def test_cloneMayComeBack(self) -> None:
        """
        When the process that displaced it is gone, a displaced one joins.
        """
        self.master()
        state = MemoryState()
        first = Story()
        self.worker("w1", state=state, observer=first)
        second = self.worker("w1", state=state, source="clone")
        self.stop(second)
        self.pass_(25)
        self.assertEqual(2, len(first.masters))

    def test_nobodyThere(self) -> None:
        """
        A worker whose master refuses connections goes on trying, and joins
        within five seconds of its return after a short absence.
        """
        story = Story()
        worker = self.worker(observer=story)
        self.pass_(8)
        self.assertIn("refused", str(story.reasons[0].value).lower())
        self.master()
        self.pass_(5)
        self.assertIsNotNone(worker.master)

    def test_reconnects(self) -> None:
        """
        After a short cut a worker is back within five seconds.
        """
        self.master()
        story = Story()
        worker = self.worker(observer=story)
        self.network.cut("master")
        self.assertIsNone(worker.master)
        self.pass_(5)
        self.assertIsNotNone(worker.master)
        story.reasons[0].trap(LinkClosed, Exception)

    def test_silentPeer(self) -> None:
        """
        A stranger that says nothing is closed after ten seconds, and the
        worker after it is served.
        """
        self.master()
        stranger = Stranger()
        self.network.client("master").connect(Factory.forProtocol(lambda: stranger))
        self.clock.advance(0)
        self.pass_(9.5)
        self.assertFalse(stranger.gone)
        self.pass_(1)
        self.assertTrue(stranger.gone)
        self.successResultOf(self.worker().whenJoined())

    def test_dialsSomethingElse(self) -> None:
        """
        A worker that dials a program that never answers says what it looks
        like.
        """
        self.network.server("master").listen(Factory.forProtocol(Protocol))
        story = Story()
        self.worker(observer=story)
        self.pass_(11)
        story.reasons[0].trap(NotTrusted)
        self.assertIn("stock wazuh-clusterd", story.reasons[0].getErrorMessage())

    def test_floodOfStrangers(self) -> None:
        """
        Beyond the limit the stranger that waits longest makes room, and a
        worker still gets in.
        """
        self.master(limits=Limits(greeting=5, greetingPerAddress=4))
        strangers = []
        for n in range(12):
            stranger = Stranger()
            strangers.append(stranger)
            client = self.network.client("master", source=f"10.9.9.{n % 3}")
            client.connect(Factory.forProtocol(lambda: stranger))  # noqa: B023
            self.clock.advance(0)
        self.assertEqual(5, sum(not each.gone for each in strangers))
        self.successResultOf(self.worker().whenJoined())


class KeepAliveTests(ClusterCase):
    """
    Links that are dead without a word are noticed at both ends.
    """

    def test_masterDropsTheSilent(self) -> None:
        """
        A worker that sends no keep-alive for 120 s is dropped.
        """
        master = self.master()
        self.worker(keepAliveInterval=10_000.0)
        self.pass_(119, 1)
        self.assertEqual(1, len(master.statuses()))
        self.pass_(62, 1)
        self.assertEqual([], [s for s in master.statuses() if s.joinedAt < 1])

    def test_masterKeepsTheLively(self) -> None:
        """
        One that does send them stays.
        """
        master = self.master()
        story = Story()
        self.worker(observer=story)
        self.pass_(400, 1)
        self.assertEqual([], story.reasons)
        self.assertLess(master.statuses()[0].joinedAt, 1)

    def test_workerNoticesADeadMaster(self) -> None:
        """
        A worker whose master answers no keep-alive closes the link.
        """
        self.master()
        story = Story()
        self.worker(observer=story, integrityInterval=10_000.0)
        self.pass_(30, 1)
        self.network.stall("master")
        self.pass_(60 + 21, 1)
        self.assertIn("KeepAlive", story.reasons[0].getErrorMessage())
        self.network.heal("master")

    def test_clockOffset(self) -> None:
        """
        Keep-alives tell how far apart the clocks are.
        """
        master = self.master()
        self.worker("w1")
        self.worker("w2", wallClock=lambda: self.wallClock() + 3600)
        offsets = [status.clockOffset for status in master.statuses()]
        self.assertEqual([0.0, 3600.0], offsets)


class IntegrityTests(ClusterCase):
    """
    What is on the master arrives on the workers, and stays equal.
    """

    def setUp(self) -> None:
        super().setUp()
        self.home = self.makeHome("m")
        self.write(self.home, "etc/client.keys", b"001 web any " + b"a" * 64 + b"\n")
        self.write(self.home, "etc/rules/local_rules.xml", b"<group>one</group>\n")
        self.write(self.home, "etc/decoders/local_decoder.xml", b"<decoder/>\n")
        self.write(self.home, "etc/lists/deep/er/list", b"key:value\n" * 10_000)
        self.write(self.home, "etc/shared/default/agent.conf", b"<agent_config/>\n")
        self.write(self.home, "queue/agent-groups/001", b"default")
        self.workerHome = self.makeHome("w")

    def start(self, **keywords: Any) -> tuple[MasterService, WorkerService, Story]:
        self.story = Story()
        master = self.master(self.home)
        worker = self.worker(home=self.workerHome, observer=self.story, **keywords)
        self.clock.advance(0)
        return master, worker, self.story

    def test_firstSync(self) -> None:
        """
        A fresh worker has all files at once, with the items' modes, and the
        master knows it.
        """
        master, worker, story = self.start()
        self.assertSameFiles(self.home, self.workerHome)
        (report,) = story.reports
        self.assertEqual(6, len(report.created))
        self.assertEqual({}, dict(report.failed))
        rule = self.workerHome.preauthChild("etc/rules/local_rules.xml")
        self.assertEqual((0o660, 1000), (_mode(rule), _mtime(rule)))
        self.assertEqual(0o640, _mode(self.workerHome.preauthChild("etc/client.keys")))
        (status,) = master.statuses()
        assert status.generation is not None
        self.assertEqual(1, status.generation.number)
        assert worker.integrity.applied is not None
        self.assertEqual(status.generation, worker.integrity.applied.generation)

    def test_changesArrive(self) -> None:
        """
        Edits, additions and deletions on the master are on the worker when
        the master's next scan is over.
        """
        self.start()
        self.write(self.home, "etc/rules/local_rules.xml", b"<group>two</group>\n", 2000)
        self.write(self.home, "etc/shared/web/agent.conf", b"<agent_config/>\n")
        self.home.preauthChild("etc/decoders/local_decoder.xml").remove()
        self.pass_(8.5)
        self.assertSameFiles(self.home, self.workerHome)
        report = self.story.reports[-1]
        self.assertEqual((b"etc/rules/local_rules.xml",), report.updated)
        self.assertEqual((b"etc/shared/web/agent.conf",), report.created)
        self.assertEqual((b"etc/decoders/local_decoder.xml",), report.deleted)

    def test_driftIsMended(self) -> None:
        """
        What somebody changes on a worker is the master's again at the next
        interval, whatever it was.
        """
        self.start()
        home = self.workerHome
        self.write(home, "etc/rules/local_rules.xml", b"mine\n", 3000)
        home.preauthChild("etc/shared/default/agent.conf").remove()
        self.write(home, "etc/lists/extra", b"x")
        home.preauthChild("etc/decoders/local_decoder.xml").chmod(0o600)
        os.utime(home.preauthChild("etc/lists/deep/er/list").path, (5, 5))
        self.pass_(9.5)
        self.assertSameFiles(self.home, home)
        self.assertFalse(home.preauthChild("etc/lists/extra").exists())
        self.assertEqual(0o660, _mode(home.preauthChild("etc/decoders/local_decoder.xml")))

    def test_timesMoveNoBytes(self) -> None:
        """
        Where only the time differs, nothing is fetched.
        """
        self.start()
        os.utime(self.home.preauthChild("etc/lists/deep/er/list").path, (7, 7))
        self.pass_(8.5)
        self.assertSameFiles(self.home, self.workerHome)
        report = self.story.reports[-1]
        self.assertEqual((0, (b"etc/lists/deep/er/list",)), (report.received, report.restamped))

    def test_nothingToDoIsCheap(self) -> None:
        """
        At rest an interval costs a question and its answer, and no report.
        """
        self.start()
        before, reports = self.network.carried, len(self.story.reports)
        self.pass_(9 * 5)
        self.assertEqual(reports, len(self.story.reports))
        self.assertLess(self.network.carried - before, 9 * 5 * 100)

    def test_emptiedGroup(self) -> None:
        """
        When a group's folder is emptied on the master, it goes from the
        worker.
        """
        self.write(self.home, "etc/shared/web/agent.conf", b"1")
        self.start()
        self.home.preauthChild("etc/shared/web").remove()
        self.pass_(8.5)
        self.assertFalse(self.workerHome.preauthChild("etc/shared/web").exists())
        self.assertSameFiles(self.home, self.workerHome)

    def test_extraValidStays(self) -> None:
        """
        An assignment that only the worker has is kept for later, and costs
        nothing per interval.
        """
        self.write(self.workerHome, "queue/agent-groups/002", b"web")
        self.start()
        kept = self.workerHome.preauthChild("queue/agent-groups/002")
        self.assertTrue(kept.exists())
        carried = self.network.carried
        self.pass_(9 * 3)
        self.assertTrue(kept.exists())
        self.assertLess(self.network.carried - carried, 9 * 3 * 120)

    def test_assignmentDeletedOnTheMaster(self) -> None:
        """
        An assignment that the master had and deleted goes: it is not extra
        valid.
        """
        self.write(self.home, "queue/agent-groups/002", b"web")
        self.write(self.home, "queue/agent-groups/003", b"web")
        self.start()
        self.home.preauthChild("queue/agent-groups/002").remove()
        self.pass_(8.5)
        self.assertFalse(self.workerHome.preauthChild("queue/agent-groups/002").exists())

    def test_linkLostInTheMiddle(self) -> None:
        """
        A link that is lost in the middle of a transfer is taken up again, and
        what came whole is not sent again.
        """
        for n in range(40):
            self.write(self.home, f"etc/lists/big-{n}", os.urandom(100_000))
        self.network.latency = 0.01
        self.master(self.home)
        worker = self.worker(home=self.workerHome)
        while worker.integrity.progress.filesDone < 20:
            self.clock.advance(0.01)
        self.network.cut("w1")
        carried = self.network.carried
        self.pass_(10, 0.01)
        self.assertSameFiles(self.home, self.workerHome)
        self.assertLess(self.network.carried - carried, 25 * 100_000)
        self.assertEqual([], self.workerHome.preauthChild("queue/wazuh_cluster/staging").listdir())

    def test_restartedWorkerKeepsWhatItKnows(self) -> None:
        """
        A worker that restarts with all in place fetches nothing again.
        """
        state = MemoryState()
        _, worker, _ = self.start(state=state)
        self.stop(worker)
        carried = self.network.carried
        self.worker(home=self.workerHome, state=state)
        self.assertLess(self.network.carried - carried, 12_000)

    def test_restartDue(self) -> None:
        """
        Changed rules make a restart due; it is over when Wazuh's own pid file
        is newer.
        """
        state = MemoryState()
        self.start(state=state)
        due = RestartDue(state).read()
        assert due is not None
        self.assertIn(b"etc/rules/local_rules.xml", due.files)
        self.assertNotIn(b"etc/client.keys", due.files)
        pid = self.workerHome.preauthChild("var/run/wazuh-analysisd-77.pid")
        pid.setContent(b"77")
        os.utime(pid.path, (NOW + 100, NOW + 100))
        self.pass_(9.5)
        self.assertIsNone(RestartDue(state).read())

    def test_emptiedMasterWipesNobody(self) -> None:
        """
        When all of an item is gone from the master, workers keep theirs until
        that is accepted; the rest goes on.
        """
        for n in range(12):
            self.write(self.home, f"etc/rules/r{n}.xml", b"<group/>")
        state = MemoryState()
        self.start(state=state)
        self.home.preauthChild("etc/rules").remove()
        self.home.preauthChild("etc/rules").makedirs()
        self.write(self.home, "etc/lists/new", b"n:1")
        self.pass_(8.5)
        self.assertEqual(13, len(self.workerHome.preauthChild("etc/rules").listdir()))
        self.assertTrue(self.workerHome.preauthChild("etc/lists/new").exists())
        self.assertIn(b"etc/rules", state.load("holds") or b"")
        carried = self.network.carried
        self.pass_(9 * 3)
        self.assertLess(self.network.carried - carried, 9 * 3 * 120)

    def test_acceptedRemovals(self) -> None:
        """
        What the operator accepts is done at the next interval, once: the same
        loss, later, is held again.
        """
        state = MemoryState()
        self.write(self.home, "etc/rules/second.xml", b"<group/>")
        self.start(state=state)
        rules = self.home.preauthChild("etc/rules")
        memory = WorkerMemory(state, WAZUH_ITEMS)
        for _ in range(2):
            for child in rules.children():
                child.remove()
            self.pass_(9.5)
            self.assertEqual(2, len(self.workerHome.preauthChild("etc/rules").listdir()))
            (hold,) = memory.keptHolds()
            memory.release([hold.id])
            self.pass_(9.5)
            self.assertEqual([], self.workerHome.preauthChild("etc/rules").listdir())
            self.assertSameFiles(self.home, self.workerHome)
            self.assertEqual(([], frozenset()), (memory.keptHolds(), memory.released()))
            for name in ("local_rules.xml", "second.xml"):
                self.write(self.home, f"etc/rules/{name}", b"<group/>")
            self.pass_(9.5)

    def test_otherMaster(self) -> None:
        """
        A master with another id than the one joined first overwrites and
        removes nothing before that is accepted; what is missing it brings.
        """
        state = MemoryState()
        master, _, _ = self.start(state=state)
        self.stop(master)
        other = self.makeHome("other")
        self.write(other, "etc/rules/local_rules.xml", b"<group>other</group>")
        self.write(other, "etc/rules/new.xml", b"<group/>")
        self.master(other)
        self.pass_(20)
        rules = self.workerHome.preauthChild("etc/rules")
        self.assertEqual(
            b"<group>one</group>\n", rules.preauthChild("local_rules.xml").getContent()
        )
        self.assertTrue(rules.preauthChild("new.xml").exists())
        self.assertTrue(self.workerHome.preauthChild("etc/client.keys").exists())
        memory = WorkerMemory(state, WAZUH_ITEMS)
        memory.release(hold.id for hold in memory.keptHolds())
        self.pass_(20)
        self.assertSameFiles(other, self.workerHome)
        self.assertEqual([], memory.keptHolds())

    def test_keysAreHeldByTheirAgents(self) -> None:
        """
        A C{client.keys} that lost its agents is held as a whole.
        """
        keys = b"".join(b"%03d agent%d any %064x\n" % (n, n, n) for n in range(1, 31))
        self.write(self.home, "etc/client.keys", keys)
        self.start()
        self.write(self.home, "etc/client.keys", b"".join(keys.splitlines(True)[:3]), 2000)
        self.pass_(9.5)
        mine = self.workerHome.preauthChild("etc/client.keys")
        self.assertEqual(keys, mine.getContent())
        self.write(self.home, "etc/client.keys", b"".join(keys.splitlines(True)[:28]), 3000)
        self.pass_(9.5)
        self.assertSameFiles(self.home, self.workerHome)

    def test_keysOncePerSecond(self) -> None:
        """
        C{client.keys} that changes twice in one second is installed a second
        time as soon as that second is over, not an interval later.
        """
        master, _worker, _ = self.start()
        for text in (b"001 web any " + b"b" * 64, b"001 web any " + b"c" * 64):
            self.write(self.home, "etc/client.keys", text + b"\n", 2000 + text[-1])
            master.fileIntegrity.poke()
            self.clock.advance(0)
        self.pass_(2)
        self.assertSameFiles(self.home, self.workerHome)

    def test_failedFileIsReported(self) -> None:
        """
        A file that cannot be installed spoils only itself, and the master
        hears of it.
        """
        master, _, _ = self.start()
        blocked = self.workerHome.preauthChild("etc/lists/place")
        blocked.makedirs()
        self.write(self.workerHome, "etc/lists/place/ar.conf", b"not carried")
        self.write(self.home, "etc/lists/place", b"a file here")
        self.write(self.home, "etc/lists/other", b"fine")
        self.pass_(8.5)
        self.assertTrue(self.workerHome.preauthChild("etc/lists/other").exists())
        self.assertEqual([b"etc/lists/place"], list(self.story.reports[-1].failed))
        self.assertEqual([b"etc/lists/place"], list(master.statuses()[0].failed))

    def test_otherAlgorithm(self) -> None:
        """
        A worker follows the algorithm that the master uses.
        """
        self.patch(
            self,
            "tree",
            lambda home: DirectoryTree(
                home.path,
                wallClock=self.wallClock,
                algorithm="sha256" if home is self.home else "md5",
            ),
        )
        _, worker, _ = self.start()
        self.assertEqual(
            b"key:value\n" * 10_000,
            self.workerHome.preauthChild("etc/lists/deep/er/list").getContent(),
        )
        assert worker.integrity.applied is not None
        self.assertEqual("sha256", worker.integrity.applied.manifest.algorithm)

    def test_masterRestarts(self) -> None:
        """
        A master that restarts unchanged goes on with its generation's number.
        """
        state = MemoryState()
        master = self.master(self.home, state=state)
        self.stop(master)
        again = self.master(self.home, state=state)
        self.assertEqual(1, self.number(again))
        self.write(self.home, "etc/lists/new", b"n:1")
        self.pass_(8.5)
        self.assertEqual(2, self.number(again))

    def number(self, master: MasterService) -> int:
        assert master.integrity.generation is not None
        return master.integrity.generation.number


def _mode(path: FilePath[str]) -> int:
    return os.stat(path.path).st_mode & 0o7777


def _mtime(path: FilePath[str]) -> int:
    return int(os.stat(path.path).st_mtime)
