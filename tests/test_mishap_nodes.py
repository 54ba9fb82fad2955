"""
Tests of whole nodes whose system calls fail, whose disks are full, whose files
are mounted by themselves, whose homes are emptied and whose clocks are set.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess

from twisted.internet import reactor
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SkipTest

from tests.processes import Process, ProcessCase

_STRACE = shutil.which("strace")

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


class MishapCase(ProcessCase):
    """
    A master and a worker that are equal, and stay so.
    """

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

    def mount(self, *arguments: str) -> None:
        """
        Mount something, until the test ends.
        """
        result = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
        if result.returncode:
            raise SkipTest(f"this user may not mount: {result.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "--lazy", arguments[-1]], check=True)

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


class SystemCallTests(MishapCase):
    """
    System calls that fail, by strace.
    """

    if _STRACE is None:
        skip = "there is no strace"

    async def inject(self, victim: FilePath[str], fault: str, path: str | None = None) -> None:
        """
        Let a system call of a running node fail while it works on an edit.

        @param path: only calls about this file fail.
        """
        before = {rule: rule.getContent() for rule in self.rules(self.one)}
        output = FilePath(self.mktemp())
        tracer = Process()
        node = self.nodes[victim].transport
        assert node is not None and node.pid is not None and _STRACE is not None
        call = fault.partition(":")[0]
        arguments = ["strace", "-f", "-o", output.path, "-e", f"trace={call}"]
        arguments += ["-e", f"inject={fault}", "-p", str(node.pid)]
        arguments += [] if path is None else ["-P", path]
        reactor.spawnProcess(tracer, _STRACE, arguments, env={**os.environ})
        self.processes.append(tracer)
        await self.until(lambda: b"attached" in tracer.err or not tracer.running, "strace")
        if not tracer.running:
            raise SkipTest(f"strace may not trace here: {tracer.err.decode()}")
        errors = self.log(victim).count(" ERROR: ")
        self.edit()
        marks = (b"INJECTED", b"killed by")

        def hit() -> bool:
            return output.exists() and any(mark in output.getContent() for mark in marks)

        await self.until(hit, fault)
        if "+" in fault:
            await self.until(lambda: self.log(victim).count(" ERROR: ") > errors, "the line")
        for rule in self.rules(self.one):
            master = self.hub.preauthChild(f"etc/rules/{rule.basename()}")
            self.assertIn(rule.getContent(), (before.get(rule), master.getContent()), fault)
        tracer.kill(signal.SIGINT)
        await tracer.ended
        if "KILL" in fault:
            await self.nodes[victim].ended
            self.nodes[victim] = self.node(victim)
        await self.untilWell()

    def rules(self, home: FilePath[str]) -> list[FilePath[str]]:
        children = home.preauthChild("etc/rules").children()
        return [child for child in children if not child.basename().startswith(".")]

    async def test_worker(self) -> None:
        """
        A worker's.
        """
        self.begin()
        await self.start()
        for fault in (
            "syncfs:error=EIO:when=1",
            "fsync:error=EIO:when=1+",
            "renameat,rename:error=EROFS:when=3",
            "openat:error=EACCES:when=9+",
            "renameat,rename:signal=KILL:when=5",
        ):
            await self.inject(self.one, fault)
        content = b"<group>%d 5</group>" % (self.turn + 1)
        name = f"queue/wazuh_cluster/staging/md5-{hashlib.md5(content).hexdigest()}"
        await self.inject(self.one, "write:error=ENOSPC:when=1+", self.one.preauthChild(name).path)
        log = self.log(self.one)
        for line in (
            "cannot make the new files durable: Input/output error",
            "etc/rules/r5.xml was not installed: cannot stage it: No space left on device",
            "Permission denied",
            "Integrity works again",
        ):
            self.assertIn(line, log)

    async def test_master(self) -> None:
        """
        A master's.
        """
        self.begin()
        await self.start()
        for fault in (
            "fsync:error=ENOSPC:when=1+",
            "read:error=EIO:when=4",
            "getdents64:error=EIO:when=3",
            "read:signal=KILL:when=12",
        ):
            await self.inject(self.hub, fault)
        log = self.log(self.hub)
        self.assertIn("Could not keep the generation number", log)
        self.assertIn("is not carried, and stays as it is on workers: cannot be", log)


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
        await self.nodes[self.one].ended
        copy = FilePath(self.mktemp())
        shutil.copytree(self.one.path, copy.path)
        self.mount("-t", "tmpfs", "-o", "size=4m", "none", self.one.path)
        shutil.copytree(copy.path, self.one.path, dirs_exist_ok=True)
        filler = self.one.child("filler")
        self.node(self.one)
        await self.until(lambda: self.log(self.one).count("Successfully connected") == 2, "a link")
        with open(filler.path, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
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
            child.remove()
        await self.untilEqual(self.hub, self.one)
        self.edit()
        await self.untilWell()
        self.assertIn("Now at generation", self.log(self.one))
        self.assertNotIn("ERROR", self.log(self.one))
        self.nodes[self.one].kill()
        await self.nodes[self.one].ended
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
