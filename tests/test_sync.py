"""
Tests for the integrity threads of a master and its workers.
"""

from __future__ import annotations

import errno
import os
import sys
from types import FrameType
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.clustercase import NOW, ClusterCase, FilledCase, Story, modeOf, mtimeOf
from tests.memorycase import HOME, MemoryCase
from tests.twohomes import drive
from wazuh_cluster.errors import InstallFailed
from wazuh_cluster.integrity import DirectoryTree, Holds, Outcome
from wazuh_cluster.interfaces import IRunner, Slices
from wazuh_cluster.journal import INTEGRITY_SYNC, Journal
from wazuh_cluster.model import Generation, SyncReport
from wazuh_cluster.protocol import Limits
from wazuh_cluster.restartdue import RestartDue
from wazuh_cluster.testing.filesystem import MemoryFileSystem
from wazuh_cluster.testing.runner import ImmediateRunner
from wazuh_cluster.testing.state import MemoryState
from wazuh_cluster.worker.account import Account


class AccountTests(SynchronousTestCase):
    """
    L{Account}.
    """

    def test_waitsForTheNextSecond(self) -> None:
        """
        An installation that has to wait for the next second is one, in the log:
        it begins once.
        """
        events: list[LogEvent] = []
        account = Account(Journal(INTEGRITY_SYNC, observer=events.append), b"/home", Clock())
        report = SyncReport(Generation(b"m", 1, b"root"))
        for outcome, updated in (
            (Outcome(postponed=(b"etc/client.keys",)), ()),
            (Outcome(updated=(b"etc/client.keys",)), (b"etc/client.keys",)),
        ):
            account.starting("Files to update: 1", True)
            account.say(evolve(report, updated=updated), outcome, Holds(), bool(updated), "-")
        account.starting("Files to update: 1", True)
        said = [formatEvent(each) for each in events if each["log_level"] is LogLevel.info]
        self.assertEqual(
            ["Starting", "Finished in 0", "Starting"], [line.partition(".")[0] for line in said]
        )


class SyncTests(FilledCase):
    """
    What is on the master arrives on the workers, and stays equal.
    """

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
        self.assertEqual((0o660, 1000), (modeOf(rule), mtimeOf(rule)))
        self.assertEqual(0o640, modeOf(self.workerHome.preauthChild("etc/client.keys")))
        (status,) = master.statuses()
        assert status.generation is not None
        self.assertEqual(1, status.generation.number)
        assert worker.integrity.applied is not None
        self.assertEqual(status.generation, worker.integrity.applied.generation)

    def test_longPaths(self) -> None:
        """
        However long the paths are, no list of wants is longer than a master
        takes.
        """
        folder = "/".join(["etc/lists", *(f"{n:0200}" for n in range(14))])
        for n in range(800):
            self.write(self.home, f"{folder}/{n:0200}", b"%d" % n)
        _, worker, story = self.start()
        self.assertSameFiles(self.home, self.workerHome)
        self.assertEqual([], story.reasons)
        paths = worker.integrity.applied.manifest.paths  # type: ignore[union-attr]
        self.assertGreater(sum(map(len, paths)), Limits().wantedBytes)

    def test_installedFilesAreReadOnce(self) -> None:
        """
        What was proved while it came in is not read again to say what the
        worker has now, but by the next look, once.
        """
        _, worker, _ = self.start()
        read = []
        for _ in range(3):
            assert worker.integrity.snapshot is not None
            read.append(worker.integrity.snapshot.scanned.hashed)
            self.pass_(9)
        self.assertEqual([0, 6, 0], read)

    def test_progressOfALongFetch(self) -> None:
        """
        A fetch that takes long says every ten seconds how far it is.
        """
        for n in range(30):
            self.write(self.home, f"etc/lists/big-{n}", os.urandom(100_000))
        lines = []
        self.network.latency = 0.5
        self.master(self.home)
        worker = self.worker(home=self.workerHome)
        self.patch(worker.integrity, "sayProgress", lambda progress: lines.append(progress))
        while not worker.integrity.applied:
            self.clock.advance(0.5)
        self.assertGreater(len(lines), 1)

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
        self.assertEqual(0o660, modeOf(home.preauthChild("etc/decoders/local_decoder.xml")))

    def test_noRoom(self) -> None:
        """
        A file for which there is no room keeps nothing else from coming, is
        told once on both nodes, and is not fetched again at each interval.
        """
        files = MemoryFileSystem(self.clock)
        home = b"/worker"
        for folder in (b"etc/rules", b"etc/lists", b"queue/wazuh_cluster/staging"):
            files.makeFolders(home + b"/" + folder)
        tree = DirectoryTree(home, fileSystem=files, wallClock=self.wallClock)
        plain = self.tree
        self.patch(self, "tree", lambda path: tree if path is self.workerHome else plain(path))
        files.free = 400_000
        master, _, story = self.start()
        self.write(self.home, "etc/lists/large", os.urandom(900_000))
        self.write(self.home, "etc/rules/small.xml", b"<group>small</group>")
        carried = self.network.carried
        self.pass_(8.5)
        self.assertEqual(b"<group>small</group>", files.get(home + b"/etc/rules/small.xml"))
        self.assertEqual([b"etc/lists/large"], list(story.reports[-1].failed))
        self.assertEqual([b"etc/lists/large"], list(master.statuses()[0].failed))
        self.assertGreater(self.network.carried - carried, 900_000)
        carried = self.network.carried
        self.pass_(45)
        self.assertLess(self.network.carried - carried, 20_000)
        files.free = 4_000_000
        self.pass_(30)
        self.assertEqual(900_000, len(files.get(home + b"/etc/lists/large")))
        self.assertEqual({}, dict(master.statuses()[0].failed))

    def test_extraLinksGo(self) -> None:
        """
        A link or a pipe that only the worker has goes, what a link leads to
        stays; a folder that was empty all along stays too.
        """
        self.start()
        outside = self.makeHome("outside").child("precious")
        outside.setContent(b"mine")
        rules = self.workerHome.preauthChild("etc/rules")
        os.symlink(outside.path, rules.child("link.xml").path)
        os.mkfifo(rules.child("pipe.xml").path)
        groups = self.workerHome.preauthChild("var/multigroups")
        os.symlink(outside.parent().path, groups.child("folder").path)
        empty = self.workerHome.preauthChild("etc/shared/empty")
        empty.makedirs()
        self.pass_(9.5)
        self.assertEqual(["local_rules.xml"], rules.listdir())
        self.assertEqual([], groups.listdir())
        self.assertEqual(b"mine", outside.getContent())
        self.assertTrue(empty.exists())
        reports = len(self.story.reports)
        self.pass_(18)
        self.assertEqual(reports, len(self.story.reports))

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

    def test_nothingStaysStaged(self) -> None:
        """
        What came before a fetch failed does not stay, though nothing is missing any
        more by then.
        """
        files = MemoryFileSystem(self.clock)
        files.makeFolders(b"/worker/etc")
        tree = DirectoryTree(b"/worker", fileSystem=files, wallClock=self.wallClock)
        plain = self.tree
        self.patch(self, "tree", lambda path: tree if path is self.workerHome else plain(path))
        self.start()
        staging = b"/worker/queue/wazuh_cluster/staging"
        lost = (b"/worker/etc/rules/local_rules.xml", b"/worker/etc/decoders/local_decoder.xml")
        contents = [files.get(path) for path in lost]
        for path in lost:
            files.remove(path)
        files.failOn("create", errno=errno.EIO, after=1)
        self.pass_(9.5)
        self.assertEqual(1, len(files.listTree(staging)))
        for path, content in zip(lost, contents, strict=True):
            files.put(path, content, 0o660, 1000)
        self.pass_(20)
        self.assertEqual([], files.listTree(staging))

    def test_settledBeforeItIsReported(self) -> None:
        """
        What another process installed, or a run that did not come to its end,
        is made durable before it is noted as applied; nothing is synced when all
        is.
        """
        state = MemoryState()
        _, worker, _ = self.start(state=state)
        calls: list[bytes | None] = []
        settle = DirectoryTree.settle

        def noting(tree: DirectoryTree) -> None:
            calls.append(state.load("manifest"))
            settle(tree)

        self.patch(DirectoryTree, "settle", noting)
        self.pass_(20)
        self.assertEqual([], calls)
        self.stop(worker)
        worker = self.worker(home=self.workerHome, state=state)
        first = state.load("manifest")
        self.assertEqual([first], calls)
        install = worker.integrity.tree.install

        def stopped(*arguments: Any) -> Any:
            self.patch(worker.integrity.tree, "install", install)
            drive(install(*arguments))
            raise OSError(errno.EIO, "Input/output error")

        self.patch(worker.integrity.tree, "install", stopped)
        self.write(self.home, "etc/rules/local_rules.xml", b"<group>3</group>", 3000)
        self.pass_(20)
        self.assertSameFiles(self.home, self.workerHome)
        self.assertEqual([first, first], calls)
        self.assertNotEqual(first, state.load("manifest"))

    def test_notDurable(self) -> None:
        """
        What could not be made durable is, as soon as the disk lets it.
        """
        _, worker, story = self.start()
        calls: list[int] = []
        settle, install = DirectoryTree.settle, worker.integrity.tree.install

        def noting(tree: DirectoryTree) -> None:
            calls.append(len(story.reports))
            settle(tree)

        def refused(*arguments: Any) -> Any:
            yield
            return evolve(drive(install(*arguments)), notDurable="the disk refused")

        self.patch(DirectoryTree, "settle", noting)
        self.patch(worker.integrity.tree, "install", refused)
        self.write(self.home, "etc/rules/local_rules.xml", b"<group>3</group>", 3000)
        self.pass_(60)
        self.assertSameFiles(self.home, self.workerHome)
        self.assertEqual([2], calls)

    def test_restartDueIsMarkedFirst(self) -> None:
        """
        The mark is there before the files are: a process that dies in between
        has not forgotten it. An installation that changes nothing takes it
        back.
        """
        state = MemoryState()
        due = RestartDue(state)
        master, worker, _ = self.start(state=state)
        due.clear()
        install, seen = worker.integrity.tree.install, []

        def failing(*arguments: Any) -> Any:
            seen.append(due.read())
            if len(seen) == 1:
                raise InstallFailed(b"etc/rules/local_rules.xml", "No space left on device")
            return install(*arguments)

        self.patch(worker.integrity.tree, "install", failing)
        self.write(self.home, "etc/rules/local_rules.xml", b"<group>3</group>", 3000)
        self.pass_(8.5)
        self.assertEqual(1, len(seen))
        self.assertEqual(
            {b"etc/rules/local_rules.xml": "No space left on device"},
            dict(master.statuses()[0].failed),
        )
        self.assertIsNotNone(seen[0])
        self.assertIsNone(due.read())
        self.pass_(9)
        self.assertSameFiles(self.home, self.workerHome)
        mark = due.read()
        assert mark is not None
        self.assertEqual((b"etc/rules/local_rules.xml",), mark.files)

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

    def test_keysOncePerSecond(self) -> None:
        """
        C{client.keys} that changes twice in one second is installed a second
        time as soon as that second is over, not an interval later.
        """
        master, _worker, _ = self.start()
        self.pass_(1.5 - self.clock.seconds() % 1)
        for text in (b"001 web any " + b"b" * 64, b"001 web any " + b"c" * 64):
            self.write(self.home, "etc/client.keys", text + b"\n", 2000 + text[-1])
            master.fileIntegrity.poke()
            self.pass_(1, 0.125)
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


class NamesTests(MemoryCase):
    """
    Whoever looks closely sees which files an installation changed.
    """

    def test_names(self) -> None:
        """
        At debug level the first twenty are named, with what was done to them.
        """
        self.fill()
        self.startMaster()
        self.startWorker()
        self.lines.clear()
        self.put("master", "etc/rules/r0.xml", b"<group>new</group>", 5)
        self.put("master", "etc/rules/r1.xml", b"<group>1</group>", 5)
        self.remove("master", "etc/rules/r2.xml")
        self.disks["worker"].openFolder(HOME + b"/etc/lists").setMode(b"deep", 0o700)
        self.put("master", "etc/lists/new", b"1", 5)
        # What happened here alone is found at the interval.
        self.pass_(18)
        done = [line for line in self.lines if line.startswith("etc/")]
        self.assertEqual(
            [
                "etc/lists/new: created.",
                "etc/rules/r0.xml: updated.",
                "etc/rules/r2.xml: deleted.",
                "etc/rules/r1.xml: its time was mended.",
                "etc/lists/deep: its mode or owner was mended.",
            ],
            done,
        )
        self.lines.clear()
        for n in range(30):
            self.put("master", f"etc/decoders/d{n}.xml", b"<decoder/>", 5)
        self.pass_(9)
        self.assertEqual(20, sum("created." in line for line in self.lines))
        self.assertIn("And 10 more files.", self.lines)


OURS = "wazuh_cluster."


class _Aside(ImmediateRunner):
    """
    A runner that says whether it is at work.
    """

    inside = 0

    def run(self, work: Slices[Any]) -> Deferred[Any]:
        return super().run(self._marked(work))

    def _marked(self, work: Slices[Any]) -> Slices[Any]:
        while True:
            _Aside.inside += 1
            try:
                next(work)
            except StopIteration as end:
                return end.value
            finally:
                _Aside.inside -= 1
            yield


class ReactorTests(ClusterCase):
    """
    What goes over all files goes on beside the reactor, which has keep-alives
    to answer.
    """

    def runner(self, name: str) -> IRunner:
        return _Aside()

    def count(self, files: int) -> int:
        """
        How many of our functions are called outside of runners while a worker
        first gets so many files, and then holds them because the master lost
        all.
        """
        home = self.makeHome("m")
        for n in range(files):
            self.write(home, f"etc/rules/{n}.xml", b"%d" % n)
        calls = 0

        def called(frame: FrameType, event: str, argument: object) -> None:
            nonlocal calls
            module = frame.f_globals.get("__name__", "")
            if event == "call" and not _Aside.inside and module.startswith(OURS):
                calls += module != "wazuh_cluster.testing.runner"

        before = sys.getprofile()
        story = Story()
        sys.setprofile(called)
        try:
            self.master(home)
            self.worker(observer=story)
            self.pass_(1)
            os.rename(home.child("etc").child("rules").path, home.child("gone").path)
            self.pass_(30)
        finally:
            sys.setprofile(before)
        self.assertEqual(len(story.reports[0].created), files)
        self.stopAll()
        self.services.clear()
        return calls

    def test_notForEachFile(self) -> None:
        """
        The reactor's part does not grow with the number of files.
        """
        counts = []
        # The first time, something is computed once for all.
        for files in (20, 20, 620):
            counts.append(self.count(files))
            self.setUp()
        self.assertTrue(counts[2] - counts[1] < 500, counts)
