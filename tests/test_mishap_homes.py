"""
Tests for homes that are emptied, replaced or restored, for what a worker holds
back then, and for clocks that do not agree.
"""

from __future__ import annotations

import errno
import sys
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from tests.clustercase import FilledCase
from tests.memorycase import HOME, LARGE, STATE, MemoryCase
from wazuh_cluster.integrity import RealFileSystem
from wazuh_cluster.scripts.main import main
from wazuh_cluster.state import DirectoryState
from wazuh_cluster.testing.filesystem import MemoryFileSystem


class HomeTests(MemoryCase):
    """
    Whatever somebody does to a home while its node runs, or does not.
    """

    def begin(self, **keywords: Any) -> None:
        """
        Two nodes that are equal.
        """
        self.fill()
        self.theMaster = self.startMaster()
        self.theWorker = self.startWorker(**keywords)
        self.pass_(10)
        self.assertEqualHomes()
        self.problems.clear()

    def copy(self, node: str) -> dict[bytes, bytes]:
        """
        A backup of all files of a home, with the node's state.
        """
        disk = self.disks[node]
        return {
            path: disk.get(HOME + b"/" + path)
            for path in disk.listTree(HOME)
            if not path.endswith(b"/")
        }

    def empty(self, node: str) -> None:
        """
        Remove all that is in a home.
        """
        for path in self.disks[node].listTree(HOME):
            if b"/" not in path.rstrip(b"/"):
                self.disks[node].remove(HOME + b"/" + path.rstrip(b"/"))

    def restore(self, node: str, backup: dict[bytes, bytes], ago: float) -> None:
        """
        Put a backup in place of a home.
        """
        self.empty(node)
        for path, content in backup.items():
            self.put(node, path.decode(), content, ago)

    def restart(self, node: str) -> None:
        """
        End a node's process and start another.
        """
        if node == "master":
            self.stop(self.theMaster)
            self.theMaster = self.startMaster()
        else:
            self.stop(self.theWorker)
            self.theWorker = self.startWorker()

    def test_emptiedWorker(self) -> None:
        """
        A worker whose home was emptied while it runs has all again at the next
        look, with its state.
        """
        self.begin()
        self.empty("worker")
        self.pass_(10)
        self.assertEqualHomes()
        self.assertEqual([], self.problems)
        self.put("master", "etc/rules/r0.xml", b"<group>new</group>", 3)
        self.pass_(10)
        self.assertEqualHomes()
        self.assertEqual(self.stateOf("master").load("home-id"), self.memoryOfMaster())
        self.restart("worker")
        self.pass_(10)
        self.assertEqualHomes()

    def memoryOfMaster(self) -> bytes:
        master = self.memory().master()
        assert master is not None
        return master.hex().encode("ascii") + b"\n"

    def test_emptiedWorkerStartsAgain(self) -> None:
        """
        What such a worker knew of its master's files it notes again: an assignment
        that is deleted while it does not run does not look new.
        """
        self.begin()
        self.empty("worker")
        self.pass_(10)
        self.stop(self.theWorker)
        self.remove("master", "queue/agent-groups/001")
        self.pass_(10)
        self.theWorker = self.startWorker()
        self.pass_(10)
        self.assertIsNone(self.get("worker", "queue/agent-groups/001"))
        self.assertEqualHomes()

    def test_emptiedInTheMiddle(self) -> None:
        """
        The same in the middle of a transfer: the staging folder is gone too.
        """
        self.begin()
        self.put("master", "etc/lists/large", LARGE[::-1], 3)
        self.put("master", "etc/lists/zzz", b"last", 3)
        self.disks["worker"].before("file.write", None, lambda: self.empty("worker"))
        self.pass_(30)
        self.assertEqualHomes()

    def test_emptiedMaster(self) -> None:
        """
        A master whose home was emptied while it runs wipes nobody, and is said
        on both nodes; when the files are back, nothing is held.
        """
        self.begin()
        before = self.carried("worker")
        backup = self.copy("master")
        self.empty("master")
        self.pass_(30)
        self.assertEqual(before, self.carried("worker"))
        held, told = sorted(self.problems)
        self.assertIn("Held: the master has no files at all: 12 files (etc/client.keys, ", held)
        self.assertIn("To accept it: wazuh-cluster accept --home /home ", held)
        self.assertIn("It holds back: the master has no files at all: 12 files", told)
        self.restore("master", backup, 2000)
        self.pass_(20)
        self.assertEqualHomes()
        self.assertEqual([], self.memory().keptHolds())
        self.assertIn("It holds nothing back any more.", self.lines)

    def test_emptiedMasterStartsAgain(self) -> None:
        """
        One that starts anew in the emptied home is another master, and wipes
        nobody either.
        """
        self.begin()
        before = self.carried("worker")
        self.empty("master")
        self.restart("master")
        self.pass_(30)
        self.assertEqual(before, self.carried("worker"))
        self.assertIn("this is another master than the one joined first", self.problems[-1])

    def test_restoredMaster(self) -> None:
        """
        An older copy of the master's home counts, running or started with it.
        """
        for running in (True, False):
            self.begin()
            backup = self.copy("master")
            self.put("master", "etc/rules/r0.xml", b"<group>new</group>", 3)
            self.put("master", "etc/rules/r9.xml", b"<group>new</group>", 3)
            self.put("master", "queue/agent-groups/009", b"new", 3)
            self.pass_(10)
            self.assertEqualHomes()
            self.restore("master", backup, 1000)
            if not running:
                self.restart("master")
            self.pass_(20)
            self.assertEqual(b"<group>0</group>", self.get("worker", "etc/rules/r0.xml"))
            self.assertEqualHomes(running)
            self.again()

    def test_restoredWorker(self) -> None:
        """
        An older copy of a worker's home is mended at the next look: what the
        master deleted since is not taken for new.
        """
        for running in (True, False):
            self.begin()
            backup = self.copy("worker")
            self.put("master", "etc/rules/r0.xml", b"<group>new</group>", 3)
            self.remove("master", "queue/agent-groups/002")
            self.pass_(10)
            self.assertEqualHomes()
            self.restore("worker", backup, 1000)
            if not running:
                self.restart("worker")
            self.pass_(20)
            if running:
                # What appears while a worker runs is new to it, whoever brings it.
                self.disks["worker"].remove(HOME + b"/queue/agent-groups/002")
            self.assertEqualHomes(running)
            self.assertEqual([], [line for line in self.problems if "Held" in line])
            self.again()

    def test_homeGoneAndBack(self) -> None:
        """
        A home that is not there for a while, as on a disk that is not mounted,
        wipes nobody, and is said once.
        """
        for node in ("worker", "master"):
            self.begin()
            before = self.carried("worker")
            disk = self.disks[node]
            kept = disk._root.children.pop(HOME[1:])
            self.pass_(40)
            why = "the home cannot be read: No such file or directory"
            self.assertEqual(1, sum(why in line for line in self.problems), self.problems)
            disk._root.children[HOME[1:]] = kept
            self.pass_(20)
            self.assertEqual(before, self.carried("worker"))
            self.assertEqualHomes(node)
            self.again()

    def test_clocks(self) -> None:
        """
        Clocks that are hours apart, or are set while the nodes run, do not
        matter: not to files, nor to C{client.keys}, which has its own time.
        """
        for apart in (5 * 3600.0, -5 * 3600.0):
            shift = [apart]
            self.begin(wallClock=lambda: self.clock.seconds() + shift[0])  # noqa: B023
            for n, step in enumerate((apart, -3 * apart, 2 * apart)):
                keys = self.get("master", "etc/client.keys") or b""
                new = keys + b"%03d new any %064x\n" % (n + 10, n)
                self.put("master", "etc/client.keys", new, 3)
                self.put("master", "etc/rules/r0.xml", b"<group>%d</group>" % n, 3)
                self.pass_(20)
                self.assertEqualHomes((apart, n))
                shift[0] += step
                self.pass_(20)
            self.assertEqual([], self.problems)
            self.again()


class ForgottenTests(MemoryCase):
    """
    An assignment that the master had and deleted does not come back as one
    that only the worker has, whatever kept it from being removed.
    """

    def begin(self) -> None:
        self.fill()
        self.theMaster = self.startMaster()
        self.theWorker = self.startWorker()
        self.assertEqualHomes()
        self.path = HOME + b"/queue/agent-groups/002"

    def checkGone(self) -> None:
        self.pass_(30)
        self.assertEqualHomes()
        self.assertEqual(frozenset(), self.memory().gone())

    def test_notRemovable(self) -> None:
        """
        The disk did not let it go.
        """
        self.begin()
        self.disks["worker"].failOn("unlink", self.path, errno.EIO)
        self.remove("master", "queue/agent-groups/002")
        self.pass_(8.25)
        self.assertEqual(frozenset({b"queue/agent-groups/002"}), self.memory().gone())
        self.checkGone()

    def test_notSeen(self) -> None:
        """
        Its folder could not be read when the new manifest came.
        """
        self.begin()
        self.remove("master", "queue/agent-groups/002")
        self.disks["worker"].failOn("names", HOME + b"/queue/agent-groups", errno.EIO)
        self.checkGone()

    def test_masterDidNotSee(self) -> None:
        """
        The master could not read its own for a while.
        """
        self.begin()
        folder = HOME + b"/queue/agent-groups"
        self.disks["master"].failOn("names", folder, errno.EIO, times=2)
        self.pass_(17)
        self.assertIsNotNone(self.get("worker", "queue/agent-groups/002"))
        self.remove("master", "queue/agent-groups/002")
        self.checkGone()

    def test_diedBefore(self) -> None:
        """
        The process died when the file was there, and nothing said so yet.
        """
        self.begin()
        self.put("master", "queue/agent-groups/003", b"web", 3)
        self.disks["worker"].failOn("create", STATE + b"/.manifest.tmp", errno.EIO, times=None)
        self.pass_(9)
        self.assertEqual(b"web", self.get("worker", "queue/agent-groups/003"))
        self.stop(self.theWorker)
        self.disks["worker"].heal()
        self.remove("master", "queue/agent-groups/003")
        self.pass_(9)
        self.theWorker = self.startWorker()
        self.checkGone()

    def test_otherAlgorithm(self) -> None:
        """
        The master changed its algorithm at the same time.
        """
        self.begin()
        self.stop(self.theMaster)
        self.remove("master", "queue/agent-groups/002")
        self.theMaster = self.startMaster("sha256")
        self.checkGone()

    def test_newOne(self) -> None:
        """
        One that was deleted and comes anew, on the worker, is new.
        """
        self.begin()
        self.remove("master", "queue/agent-groups/002")
        self.checkGone()
        self.put("worker", "queue/agent-groups/002", b"web", 3)
        self.pass_(30)
        self.assertEqual(b"web", self.get("worker", "queue/agent-groups/002"))


class FirstMasterTests(MemoryCase):
    """
    Which master was joined first is known whenever its files are there.
    """

    def otherMaster(self) -> None:
        """
        Another master takes the place of the first.
        """
        self.disks["master"] = MemoryFileSystem(self.clock)
        self.put("master", "etc/rules/r0.xml", b"<group>other</group>")
        self.put("master", "etc/client.keys", b"001 other any %064x\n" % 1)
        self.startMaster()

    def checkHeld(self) -> None:
        self.assertEqual(b"<group>0</group>", self.get("worker", "etc/rules/r0.xml"))
        (hold,) = self.memory().keptHolds()
        self.assertEqual("master", hold.kind)

    def test_diedInBetween(self) -> None:
        """
        A worker that dies when the first files are there has noted whose they
        are.
        """
        self.fill()
        master = self.startMaster()
        worker = self.startWorker()
        for name in ("manifest", "holds", "restart-due"):
            DirectoryState(self.disks["worker"], STATE).remove(name)
        self.stop(worker)
        self.stop(master)
        self.otherMaster()
        self.startWorker()
        self.pass_(20)
        self.checkHeld()

    def test_notedFirst(self) -> None:
        """
        No file comes before that is noted.
        """
        self.fill()
        self.startMaster()
        self.disks["worker"].failOn("create", STATE + b"/.master.tmp", errno.ENOSPC)
        self.startWorker()
        self.assertEqual({}, self.carried("worker"))
        self.assertIn("/master: No space left on device", self.problems[0])
        self.pass_(10)
        self.assertEqualHomes()

    def test_damaged(self) -> None:
        """
        A note that cannot be read any more is no reason to follow just anybody.
        """
        self.fill()
        master = self.startMaster()
        worker = self.startWorker()
        self.stop(worker)
        self.stop(master)
        DirectoryState(self.disks["worker"], STATE).save("master", b"\0\0\0\0")
        self.otherMaster()
        self.startWorker()
        self.pass_(20)
        self.checkHeld()

    def test_acceptedWithFewerAgents(self) -> None:
        """
        Another master that was accepted, and whose agents are held then, is the
        worker's master all the same: each needs one word of the operator's.
        """
        self.fill()
        master = self.startMaster()
        self.startWorker()
        self.stop(master)
        self.otherMaster()
        self.pass_(20)
        for kind in ("master", "agents"):
            (hold,) = self.memory().keptHolds()
            self.assertEqual(kind, hold.kind)
            self.memory().release([hold.id])
            self.pass_(20)
        self.assertEqual([], self.memory().keptHolds())
        self.assertEqualHomes()


class AcceptTests(FilledCase):
    """
    C{wazuh-cluster accept} releases the set that it names, and no other.
    """

    def accept(self, *arguments: str) -> list[str]:
        """
        Run the command on the worker's home.
        """
        out = StringIO()
        with redirect_stdout(out):
            status = main(["accept", "--home", self.workerHome.path, *arguments])
        self.assertEqual(0, status)
        return out.getvalue().splitlines()

    def begin(self) -> None:
        """
        Two nodes that are equal; the worker's state is in its home.
        """
        folder = self.workerHome.preauthChild("queue/wazuh_cluster").path
        self.start(state=DirectoryState(RealFileSystem(), folder))

    def names(self, folder: str) -> list[str]:
        return sorted(self.workerHome.preauthChild(folder).listdir())

    def lose(self) -> None:
        """
        Two items lose all their files on the master.
        """
        for folder in ("rules", "decoders"):
            for child in self.home.preauthChild(f"etc/{folder}").children():
                child.remove()

    def test_oneOfTwo(self) -> None:
        """
        Of two sets that are held, the one that is named goes at the next look,
        the other stays until it is named; all in one word goes too.
        """
        self.write(self.home, "etc/rules/second.xml", b"<group/>")
        self.write(self.home, "etc/decoders/second.xml", b"<decoder/>")
        self.begin()
        self.assertEqual(["Nothing is held."], self.accept())
        self.lose()
        self.pass_(9.5)
        before = self.names("etc/rules"), self.names("etc/decoders")
        self.assertEqual((2, 2), tuple(map(len, before)))
        one, two = self.accept("--list")
        self.assertTrue(one.startswith("Held ") and "etc/decoders: the master lacks 2 of 2" in one)
        self.assertIn("etc/rules: the master lacks 2 of 2", two)
        self.pass_(9.5)
        self.assertEqual(before, (self.names("etc/rules"), self.names("etc/decoders")))
        accepted = self.accept(two.split()[1].rstrip(":"))
        self.assertEqual(two.replace("Held", "Accepted"), accepted[0])
        self.pass_(9.5)
        self.assertEqual(([], before[1]), (self.names("etc/rules"), self.names("etc/decoders")))
        self.assertEqual([one], self.accept("--list"))
        self.accept()
        self.pass_(9.5)
        self.assertSameFiles(self.home, self.workerHome)
        self.assertEqual(["Nothing is held."], self.accept("--list"))

    def test_thatSetOnly(self) -> None:
        """
        When more is lost before the next look, all of it is held again.
        """
        for name in ("second", "third"):
            self.write(self.home, f"etc/rules/{name}.xml", b"<group/>")
        self.begin()
        rules = self.home.preauthChild("etc/rules")
        kept = {child.basename(): child.getContent() for child in rules.children()}
        self.lose()
        self.pass_(9.5)
        self.accept()
        self.write(self.workerHome, "etc/rules/own.xml", b"<group/>")
        self.pass_(9.5)
        self.assertEqual(sorted([*kept, "own.xml"]), self.names("etc/rules"))
        (line, *_) = self.accept("--list")
        self.assertIn("the master lacks 4 of 4", line)

    def test_unknown(self) -> None:
        """
        What is not held cannot be accepted: one line says so.
        """
        self.begin()
        error = StringIO()
        self.patch(sys, "stderr", error)
        self.assertEqual(1, main(["accept", "--home", self.workerHome.path, "0123456789abcdef"]))
        (line,) = error.getvalue().splitlines()
        self.assertIn("nothing is held under '0123456789abcdef'", line)
        self.assertIn("accept --list", line)
