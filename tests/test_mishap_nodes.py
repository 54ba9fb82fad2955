"""
Tests of whole nodes whose system calls fail, whose disks are full, whose files
are mounted by themselves, whose homes are emptied and whose clocks are set.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import signal
from collections.abc import Sequence
from functools import partial

from twisted.python.filepath import FilePath
from twisted.trial.unittest import SkipTest

from tests.filecalls import STRACE
from tests.processes import ProcessCase

#: A node whose clock is set two hours back by SIGUSR1, and nine forward by
#: SIGUSR2.
_SET_BACK = """
import signal, time
real, back = time.time, []
time.time = lambda: real() - sum(back)
signal.signal(signal.SIGUSR1, lambda *_: back.append(2 * 3600))
signal.signal(signal.SIGUSR2, lambda *_: back.append(-9 * 3600))
from twisted.scripts.twistd import run
run()
"""


#: A node that is killed before it renames something to, or removes, a file.
_DIES = """
import os, signal
def dying(real, at, victim):
    def call(*arguments, **keywords):
        if arguments[at] == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments, **keywords)
    return call
os.rename = dying(os.rename, 1, %r)
os.unlink = dying(os.unlink, 0, %r)
from twisted.scripts.twistd import run
run()
"""


def _removed(path: str) -> bool:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        try:
            if os.path.isdir(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            return False
    return True


class MishapCase(ProcessCase):
    """
    A master and a worker that are equal, and stay so.
    """

    timeout = 300

    def begin(self) -> None:
        """
        Make the homes.
        """
        self.hub, self.one = self.cluster("one")
        self.turn = 0
        self.edit()

    async def start(self, **code: str) -> None:
        """
        Start the nodes, and wait until they are equal.
        """
        self.nodes = {self.hub: self.node(self.hub, **code)}
        await self.until(lambda: "Starting" in self.log(self.hub), "the master's port")
        self.nodes[self.one] = self.node(self.one, **code)
        await self.untilEqual(self.hub, self.one)

    async def ended(self, home: FilePath[str]) -> int:
        """
        Wait until a node is gone, and return its status.
        """
        node = self.nodes[home]
        await self.until(lambda: not node.running, "the end of a node")
        return await node.ended

    def edit(self) -> None:
        """
        Give the master about thirty new files.
        """
        self.turn += 1
        files = {f"etc/rules/r{n}.xml": b"<group>%d %d</group>" % (self.turn, n) for n in range(24)}
        files[f"etc/lists/{self.turn}"] = b"key:value\n" * 20_000 + b"%d" % self.turn
        files["etc/client.keys"] = b"001 web any %064x\n002 db any %064x\n" % (self.turn, 2)
        files["etc/shared/default/agent.conf"] = b"<agent_config>%d" % self.turn
        files[f"queue/agent-groups/{self.turn:03}"] = b"default"
        for path, content in files.items():
            self.hub.preauthChild(path).setContent(content)
        for path in (f"etc/lists/{self.turn - 1}", f"queue/agent-groups/{self.turn - 1:03}"):
            with contextlib.suppress(FileNotFoundError):
                self.hub.preauthChild(path).remove()

    async def untilWell(self) -> None:
        """
        Equal, with nothing left over, and no traceback in a log.
        """
        await self.untilEqual(self.hub, self.one)
        await self.until(lambda: not self.leftovers(self.one), "a clean staging folder")
        for home in (self.hub, self.one):
            log = self.log(home)
            self.assertNotIn("Traceback", log)
            self.assertNotIn("bug", log)


class TracedCase(MishapCase):
    """
    Nodes whose system calls fail, or are their last, by strace.
    """

    if STRACE is None:
        skip = "there is no strace"

    async def inject(self, home: FilePath[str], *faults: str, paths: tuple[str, ...] = ()) -> None:
        """
        Start a node whose system calls fail.

        @param paths: only calls about these files of its home fail.
        """
        options = [
            "--seccomp-bpf",
            "-e",
            "trace=" + ",".join(fault.partition(":")[0] for fault in faults),
        ]
        for fault in faults:
            options += ["-e", f"inject={fault}"]
        for path in paths:
            options += ["-P", home.preauthChild(path).path]
        await self.traced(home, options)

    async def traced(self, home: FilePath[str], options: Sequence[str], *own: str) -> None:
        """
        Start a node under strace.

        @param options: strace's.
        @param own: the node's.
        """
        assert STRACE is not None
        with contextlib.suppress(FileNotFoundError):
            self.pidFile(home).remove()
        self.trace = FilePath(self.mktemp())
        wrapper = [STRACE, "-f", "-o", self.trace.path, *options]
        # The node outlives an strace that is killed.
        self.addCleanup(self.end, home)
        self.nodes[home] = traced = self.node(home, *own, wrapper=wrapper)
        await self.until(lambda: self.pid(home) or not traced.running, "the node under strace")
        if not traced.running and b"ptrace" in traced.err:
            raise SkipTest(f"strace may not trace here: {traced.err.decode()}")

    def pidFile(self, home: FilePath[str]) -> FilePath[str]:
        return home.preauthChild("var/run/wazuh-cluster.pid")

    def pid(self, home: FilePath[str]) -> int | None:
        try:
            return int(self.pidFile(home).getContent())
        except (FileNotFoundError, ValueError):
            return None

    def end(self, home: FilePath[str]) -> None:
        """
        Kill the node that runs in a home, if one does.
        """
        pid = self.pid(home)
        if pid is not None and self.nodes[home].running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def hits(self, call: str) -> int:
        """
        How many calls failed.
        """
        rows = self.trace.getContent().splitlines()
        return sum(b"(INJECTED)" in row and call.encode() in row for row in rows)


class SystemCallTests(TracedCase):
    """
    System calls that fail.
    """

    async def test_worker(self) -> None:
        """
        A worker whose disk refuses to make files durable, to rename, to open
        and to remove them, one after the other, gets all of them in the end.
        """
        self.begin()
        self.nodes = {self.hub: self.node(self.hub)}
        await self.until(lambda: "Starting" in self.log(self.hub), "the master's port")
        await self.inject(
            self.one,
            "fsync:error=EIO:when=5..7",
            "syncfs:error=EIO:when=1",
            "renameat:error=EROFS:when=9..12",
            "unlinkat:error=EIO:when=14..15",
        )
        await self.untilEqual(self.hub, self.one)
        self.edit()
        await self.untilWell()
        for call in ("fsync", "syncfs", "renameat", "unlinkat"):
            self.assertTrue(self.hits(call), call)
        log = self.log(self.one)
        for line in (
            "cannot make the new files durable: Input/output error",
            "Read-only file system",
            "Integrity works again",
        ):
            self.assertIn(line, log)

    async def test_writes(self) -> None:
        """
        A worker that cannot write two files, for whatever reason, has the
        others, and these as soon as it can.
        """
        self.begin()
        names = []
        for n in (5, 6):
            content = b"<group>%d %d</group>" % (self.turn, n)
            digest = hashlib.md5(content).hexdigest()
            names.append(f"queue/wazuh_cluster/staging/md5-{digest}")
        self.nodes = {self.hub: self.node(self.hub)}
        await self.until(lambda: "Starting" in self.log(self.hub), "the master's port")
        await self.inject(self.one, "write:error=ENOSPC:when=1..4", paths=tuple(names))
        await self.untilWell()
        line = "was not installed: cannot stage it: No space left on device"
        for n in (5, 6):
            self.assertIn(f"etc/rules/r{n}.xml {line}", self.log(self.one))

    async def test_master(self) -> None:
        """
        A master that cannot keep its state, list a folder or read a file says
        so; workers have the rest, and that as soon as the master has it.
        """
        self.begin()
        await self.start()
        self.end(self.hub)
        await self.ended(self.hub)
        self.edit()
        paths = ("etc/rules/r5.xml", "etc/lists", "queue/wazuh_cluster/.generation.tmp")
        await self.inject(
            self.hub,
            "read:error=EIO:when=1..2",
            "getdents64:error=EIO:when=1..2",
            "fsync:error=ENOSPC:when=1..2",
            paths=paths,
        )
        await self.untilWell()
        log = self.log(self.hub)
        for line in (
            "etc/rules/r5.xml is not carried, and stays as it is on workers: cannot be read",
            "etc/lists/ is not carried, and stays as it is on workers: cannot be listed",
            "/generation: No space left on device",
            "is kept.",
        ):
            self.assertIn(line, log)


class DiskTests(MishapCase):
    """
    Disks and mounts as they are.
    """

    async def test_full(self) -> None:
        """
        A worker on a disk that fills up keeps its old files, says so, and gets
        the new ones when there is room.
        """
        self.begin()
        await self.start()
        self.nodes[self.one].kill()
        await self.ended(self.one)
        filler = self.mountSmall(self.one)
        self.node(self.one)
        await self.until(lambda: self.log(self.one).count("Successfully connected") == 2, "a link")
        self.fill(filler)
        self.edit()
        large = self.hub.preauthChild("etc/lists/large")
        large.setContent(b"key:value\n" * 100_000)
        await self.until(lambda: self.failed(large), "the master's line")
        filler.remove()
        await self.untilWell()
        self.assertIn("No space left on device", self.log(self.hub))

    def failed(self, large: FilePath[str]) -> bool:
        log = self.log(self.hub)
        return "could not be installed there" in log and "No space left on device" in log

    async def test_mounts(self) -> None:
        """
        A staging folder on another file system, items that are links, and a
        file that is mounted by itself: that one is written in place and named.
        """
        self.begin()
        staging = self.one.preauthChild("queue/wazuh_cluster/staging")
        staging.makedirs()
        self.mount("-t", "tmpfs", "-o", "size=8m", "none", staging.path)
        for home in (self.hub, self.one):
            lists, elsewhere = home.preauthChild("etc/lists"), FilePath(self.mktemp())
            lists.moveTo(elsewhere)
            os.symlink(os.path.abspath(elsewhere.path), lists.path)
        mounted, content = self.one.preauthChild("etc/rules/r0.xml"), FilePath(self.mktemp())
        mounted.setContent(b"")
        content.setContent(b"<group>mounted</group>")
        self.mount("--bind", content.path, mounted.path)
        await self.start()
        self.edit()
        await self.untilWell()
        line = "etc/rules/r0.xml is mounted by itself: it was written in place."
        self.assertIn(line, self.log(self.one))
        self.assertNotIn("ERROR", self.log(self.one))
        self.assertEqual(
            self.hub.preauthChild("etc/rules/r0.xml").getContent(), content.getContent()
        )
        self.assertTrue(self.one.preauthChild("etc/lists").islink())

    async def test_emptied(self) -> None:
        """
        A worker whose home is emptied while it runs has all again, its log too;
        and is well after its next start.
        """
        self.begin()
        await self.start()
        kept = self.one.preauthChild("etc/ossec.conf").getContent()
        settings = self.one.preauthChild("etc/wazuh_cluster.ini").getContent()
        for child in self.one.children():
            # The node may make something in a folder that is being emptied.
            await self.until(partial(_removed, child.path), "an empty home")
        await self.untilEqual(self.hub, self.one)
        self.edit()
        await self.untilWell()
        self.assertIn("Now at generation", self.log(self.one))
        self.assertNotIn("ERROR", self.log(self.one))
        self.nodes[self.one].kill()
        await self.ended(self.one)
        self.one.preauthChild("etc/ossec.conf").setContent(kept)
        self.one.preauthChild("etc/wazuh_cluster.ini").setContent(settings)
        self.edit()
        self.node(self.one)
        await self.untilWell()

    async def test_clockIsSet(self) -> None:
        """
        A clock that is set by hours, back and forth, stops nobody.
        """
        self.begin()
        await self.start(code=_SET_BACK)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            for home in (self.hub, self.one):
                self.nodes[home].kill(number)
                self.edit()
                await self.untilWell()
        for home in (self.hub, self.one):
            self.assertNotIn("ERROR", self.log(home))
            self.assertNotIn("The link to the master ended", self.log(home))

    async def test_killed(self) -> None:
        """
        A worker that is killed in the middle of an installation has old and
        new files, each whole; its next process brings the rest.
        """
        self.begin()
        await self.start()
        for victims in ((b"r20.xml", b""), (b"", b"2")):
            before = {rule: rule.getContent() for rule in self.rules(self.one)}
            self.nodes[self.one].kill()
            await self.ended(self.one)
            self.edit()
            self.nodes[self.one] = self.node(self.one, code=_DIES % victims)
            self.assertEqual(-signal.SIGKILL, await self.ended(self.one))
            self.assertFalse(self.equal(self.hub, self.one))
            for rule in self.rules(self.one):
                master = self.hub.preauthChild(f"etc/rules/{rule.basename()}")
                self.assertIn(rule.getContent(), (before.get(rule), master.getContent()))
            self.nodes[self.one] = self.node(self.one)
            await self.untilWell()

    def rules(self, home: FilePath[str]) -> list[FilePath[str]]:
        children = home.preauthChild("etc/rules").children()
        return [child for child in children if not child.basename().startswith(".")]
