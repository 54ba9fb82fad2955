"""
Tests for disks that fill, fail, hang or turn read-only at any step: both nodes
go on, say in one line what is wrong, and all is well when the disk is.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from tests.memorycase import HOME, LARGE, STATE, MemoryCase
from wazuh_cluster.interfaces import IRunner, Slices
from wazuh_cluster.protocol import Limits
from wazuh_cluster.restartdue import RestartDue
from wazuh_cluster.state import DirectoryState
from wazuh_cluster.testing.runner import ImmediateRunner

CODES = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE)


class Fault:
    """
    Makes the operations of a disk fail, from the C{at}th on that is counted.
    """

    def __init__(self, case: MemoryCase, node: str, at: int, code: int, seconds: float) -> None:
        """
        @param seconds: for how long; 0 for one operation.
        """
        self._clock = case.clock
        self._at = at
        self._code = code
        self._seconds = seconds
        self._end: float | None = None
        self._disk = case.disks[node]
        self._disk.before("*", None, self._act, times=None)
        self.seen = 0
        self.hit = ""
        self.over = False

    def _act(self) -> None:
        operation, path = self._disk.operations[-1]
        if operation == "file.close" or self.over:
            return
        self.seen += 1
        now = self._clock.seconds()
        if self.seen >= self._at and self._end is None:
            self._end = now + self._seconds
            self.hit = f"{operation} {path.decode()}"
        elif self._end is None or now >= self._end:
            return
        raise OSError(self._code, os.strerror(self._code), path)


class AnyStepTests(MemoryCase):
    """
    Whatever step of a sync a disk refuses, once or for half a minute.
    """

    def change(self) -> None:
        """
        Change files of all kinds on the master.
        """
        for n in (0, 2):
            self.put("master", f"etc/rules/r{n}.xml", b"<group>new %d</group>" % n, 500)
        self.put("master", "etc/shared/web/agent.conf", b"<agent_config/>", 500)
        self.put("master", "etc/lists/same", b"0123456789" * 20_000, 500)
        self.put("master", "etc/lists/same too", b"0123456789" * 20_000, 500)
        keys = self.get("master", "etc/client.keys") or b""
        self.put("master", "etc/client.keys", keys + b"004 agent4 any %064x\n" % 4, 500)
        self.remove("master", "etc/rules/r3.xml")
        self.remove("master", "etc/lists/large")
        self.remove("master", "queue/agent-groups/002")

    def attempt(self, node: str, at: int, code: int, seconds: float) -> int:
        """
        A sync with a fault; then another without.

        @return: how many steps it had.
        """
        self.fill()
        master = self.startMaster()
        self.startWorker()
        before = self.carried("worker")
        fault = Fault(self, node, at, code, seconds)
        self.change()
        self.pass_(19 + seconds, 1)
        fault.over = True
        what = (at, os.strerror(code), fault.hit, self.problems)
        after = self.carried("master")
        for path, content in self.carried("worker").items():
            self.assertIn(content, (before.get(path), after.get(path)), (path, *what))
        self.pass_(65, 1)
        self.assertEqualHomes(what)
        for line in self.problems:
            for ugly in ("Errno", "\n", "b'", "Traceback", "  "):
                self.assertNotIn(ugly, line)
        if fault.hit:
            self.assertFalse([line for line in self.problems if "bug" in line])
        memory = self.memory()
        self.assertEqual(master.integrity.generation, self.kept(), what)
        self.assertEqual((memory.gone(), memory.keptHolds()), (frozenset(), []), what)
        due = RestartDue(DirectoryState(self.disks["worker"], STATE)).read()
        assert due is not None
        self.assertIn(b"etc/rules/r0.xml", due.files)
        return fault.seen

    def kept(self) -> Any:
        applied = self.successResultOf(ImmediateRunner().run(self.memory().loadApplied()))
        return None if applied is None else applied.generation

    def steps(self, node: str, step: int, seconds: float) -> None:
        total = self.attempt(node, 1 << 30, errno.EIO, seconds)
        self.assertEqual([], self.problems)
        self.assertTrue(total > 150, total)
        for turn, at in enumerate(range(1, total, step)):
            self.again()
            self.attempt(node, at, CODES[turn % len(CODES)], seconds)

    def test_worker(self) -> None:
        """
        A step of the worker's.
        """
        self.steps("worker", 11, 0)

    def test_workerForAWhile(self) -> None:
        """
        All steps of the worker's from one on.
        """
        self.steps("worker", 37, 30)

    def test_master(self) -> None:
        """
        A step of the master's.
        """
        self.steps("master", 11, 0)

    def test_masterForAWhile(self) -> None:
        """
        All steps of the master's from one on.
        """
        self.steps("master", 37, 30)


@implementer(IRunner)
class HangingRunner:
    """
    An L{ImmediateRunner} that keeps works back while its disk hangs.
    """

    def __init__(self) -> None:
        self._runner = ImmediateRunner()
        self._hangs = False
        self._waiting: list[tuple[Slices[Any], Deferred[Any]]] = []

    def hang(self) -> None:
        """
        The slice under way is the last one for now.
        """
        self._hangs = True

    def answer(self) -> None:
        """
        Go on.
        """
        self._hangs = False
        waiting, self._waiting = self._waiting, []
        for work, done in waiting:
            if not done.called:
                self._runner.run(work).chainDeferred(done)

    def run(self, work: Slices[Any]) -> Deferred[Any]:
        """
        See L{IRunner.run}.
        """
        done: Deferred[Any] = Deferred()
        self._waiting.append((work, done))
        if not self._hangs:
            self.answer()
        return done

    def call(self, function: Callable[..., Any], *args: object) -> Deferred[Any]:
        """
        See L{IRunner.call}.
        """

        def work() -> Slices[Any]:
            yield
            return function(*args)

        return self.run(work())

    def stop(self) -> None:
        """
        See L{IRunner.stop}.
        """
        self._runner.stop()
        for _, done in self._waiting:
            done.cancel()


class DiskTests(MemoryCase):
    """
    Single ways in which a disk fails.
    """

    def begin(self) -> None:
        """
        Two nodes that are equal.
        """
        self.fill()
        self.theMaster = self.startMaster()
        self.theWorker = self.startWorker()
        self.assertEqualHomes()
        self.problems.clear()

    def test_full(self) -> None:
        """
        On a full disk the old files stay, whole; when there is room again, the
        new ones come at the next look.
        """
        self.begin()
        old = self.carried("worker")
        self.disks["worker"].free = 0
        self.put("master", "etc/rules/r0.xml", b"<group>new</group>", 3)
        self.put("master", "etc/lists/large", LARGE[::-1], 3)
        self.pass_(120)
        self.assertEqual(old, self.carried("worker"))
        why = "cannot stage it: No space left on device; it is tried again within a minute"
        for path in ("etc/rules/r0.xml", "etc/lists/large"):
            self.assertIn(f"{path} was not installed: {why}.", self.problems)
            self.assertEqual(why, self.theMaster.statuses()[0].failed[path.encode()])
        self.assertTrue(len(self.problems) < 8, self.problems)
        self.disks["worker"].free = 10_000_000
        self.pass_(10)
        self.assertEqualHomes()
        self.assertEqual({}, dict(self.theMaster.statuses()[0].failed))

    def test_sameContent(self) -> None:
        """
        Of two files with a content for which there is no room, both say why.
        """
        self.begin()
        self.disks["worker"].free = 1_000_000
        for name in ("one", "two"):
            self.put("master", f"etc/lists/{name}", LARGE[::-1], 3)
        self.pass_(9)
        why = "was not installed: cannot stage it: No space left on device"
        self.assertEqual(2, sum(why in line for line in self.problems))

    def test_readOnlyWorker(self) -> None:
        """
        A worker's disk that turns read-only says so on both nodes, once.
        """
        self.begin()
        old = self.carried("worker")
        self.disks["worker"].readOnly = True
        self.put("master", "etc/rules/r0.xml", b"<group>new</group>", 3)
        self.pass_(60)
        self.assertEqual(old, self.carried("worker"))
        why = "etc/rules/r0.xml: cannot stage it: Read-only file system"
        self.assertEqual(
            [
                f"1 files could not be installed there; the first: {why}",
                f"Integrity failed: {why}",
            ],
            self.problems,
        )
        self.disks["worker"].readOnly = False
        self.pass_(10)
        self.assertEqualHomes()
        self.assertIn("Integrity works again", self.lines)

    def test_readOnlyMaster(self) -> None:
        """
        A master whose disk is read-only serves what somebody else wrote to it;
        the generation's number is kept when that can be written again.
        """
        self.begin()
        self.put("master", "etc/rules/r0.xml", b"<group>new</group>", 3)
        self.disks["master"].readOnly = True
        self.pass_(60)
        self.assertEqualHomes()
        where = STATE.decode() + "/generation"
        self.assertEqual(
            [f"Could not keep the generation number 2: {where}: Read-only file system"],
            self.problems,
        )
        self.disks["master"].readOnly = False
        self.pass_(10)
        self.assertIn("The generation number 2 is kept.", self.lines)
        self.assertIn(b'"number": 2', self.stateOf("master").load("generation") or b"")

    def test_stateCannotBeSaved(self) -> None:
        """
        Files come though what must be known after a restart cannot be saved;
        that is said, and done as soon as it can be.
        """
        self.begin()
        where = STATE + b"/.manifest.tmp"
        self.disks["worker"].failOn("create", where, errno.ENOSPC, times=3)
        self.put("master", "etc/rules/r0.xml", b"<group>new</group>", 3)
        self.pass_(9)
        self.assertEqualHomes()
        why = f"{STATE.decode()}/manifest: No space left on device"
        self.assertEqual([f"Integrity failed: {why}"], self.problems)
        self.assertIn("Now at generation", "".join(self.lines))
        self.pass_(36)
        self.assertIn("Integrity works again", self.lines)
        applied = self.successResultOf(ImmediateRunner().run(self.memory().loadApplied()))
        assert applied is not None
        self.assertEqual(self.theMaster.integrity.generation, applied.generation)

    def test_syncRefused(self) -> None:
        """
        A disk that refuses to make files durable before they are installed
        keeps the old ones; one that refuses it afterwards is told.
        """
        self.begin()
        for n in range(20):
            self.put("master", f"etc/rules/many{n}.xml", b"<group/>", 3)
        old = self.carried("worker")
        self.disks["worker"].failOn("syncAll", errno=errno.EIO)
        self.pass_(8.25)
        self.assertEqual(old, self.carried("worker"))
        self.assertIn("cannot make the new files durable: Input/output error", self.problems[0])
        self.disks["worker"].failOn("sync", HOME + b"/etc/rules", errno=errno.EIO)
        self.pass_(9)
        self.assertEqualHomes()
        self.assertIn("cannot make it durable: Input/output error.", self.problems[-1])

    def test_nothingIsLeft(self) -> None:
        """
        What a disk does not let go of while files are installed is removed when
        it does.
        """
        self.begin()
        refusing = [True]

        def refuse() -> None:
            if refusing[0] and b".wctmp.tmp" in self.disks["worker"].operations[-1][1]:
                raise OSError(errno.EROFS, "Read-only file system")

        self.disks["worker"].before("unlink", None, refuse, times=None)
        self.put("master", "etc/lists/deep/l0", b"new", 3)
        self.put("master", "etc/shared/web/agent.conf", b"new", 3)
        self.pass_(9)
        self.assertEqual(b"new", self.get("worker", "etc/lists/deep/l0"))
        self.assertNotEqual([], self.leftovers())
        refusing[0] = False
        self.pass_(9)
        self.assertEqualHomes()

    def test_hangs(self) -> None:
        """
        While a worker's disk hangs, its link lives on and the master serves
        others; when the disk answers, the worker goes on.
        """
        runner = HangingRunner()
        self.fill()
        master = self.startMaster()
        self.patch(self, "runner", lambda name: runner)
        self.startWorker()
        self.assertEqualHomes()
        runner.hang()
        self.put("master", "etc/lists/large", LARGE[::-1], 3)
        self.pass_(300, 0.5)
        self.assertEqual(1, len(master.statuses()))
        self.assertEqual([], self.problems)
        self.assertEqual(LARGE, self.get("worker", "etc/lists/large"))
        runner.answer()
        self.pass_(10)
        self.assertEqualHomes()

    def test_hangsInTheMiddle(self) -> None:
        """
        The same in the middle of a transfer: the master gives that link up at
        last, for it cannot know why nothing is taken; the next one lives on.
        """
        runner = HangingRunner()
        self.fill()
        master = self.startMaster()
        self.patch(self, "runner", lambda name: runner)
        self.startWorker()
        # More than a window, however it is compressed.
        large = Random(1).randbytes(2 * Limits().window)
        self.put("master", "etc/lists/large", large, 3)
        self.disks["worker"].before("file.write", None, runner.hang)
        self.pass_(600, 0.5)
        self.assertEqual(1, len(master.statuses()))
        (line,) = self.problems
        self.assertIn("The link to the master ended: ", line)
        runner.answer()
        self.pass_(20)
        self.assertEqualHomes()
        self.assertEqual([line], self.problems)
