"""
Tests for C{twistd wazuh-cluster} as real processes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import stat
from itertools import count

from twisted.internet import reactor
from twisted.python.filepath import FilePath

from tests.processes import COMMAND, Process, ProcessCase

_HANGS = """
import time
from wazuh_cluster.integrity.filesystem import RealFileSystem
RealFileSystem.syncAll = lambda *arguments: time.sleep(100)
from twisted.scripts.twistd import run
run()
"""

_JSON_TOO = b"""<ossec_config>
  <logging>
    <log_format>plain,json</log_format>
  </logging>
</ossec_config>
"""

_TOTALS = r" in \d+\.\d{3}s\. Files to create: \d+ \| Files to update: \d+ \| Files to delete: \d+"


class NodesTests(ProcessCase):
    """
    A master and its workers, started by twistd.
    """

    async def end(self, process: Process) -> None:
        """
        SIGTERM ends a node within two seconds. In the end twistd lets the
        signal end itself, so that whoever started it can see why.
        """
        before = reactor.seconds()
        process.kill(signal.SIGTERM)
        self.assertEqual(-signal.SIGTERM, await process.ended)
        self.assertLess(reactor.seconds() - before, 2.0)

    async def test_syncAndStop(self) -> None:
        """
        What the master has is on two workers; an edit follows; all stop
        cleanly, and their logs show no error and no key. Each sync has its line of
        totals on both sides; the master's log is there as JSON too, as it is asked for.
        """
        master, one, two = homes = self.cluster("one", "two")
        conf = master.preauthChild("etc/ossec.conf")
        conf.setContent(conf.getContent() + _JSON_TOO)
        rules = master.preauthChild("etc/rules/local_rules.xml")
        rules.setContent(b"<group>1</group>")
        processes = [self.node(master)]
        # A worker that is there before its master says so, as an error.
        await self.until(lambda: "Starting" in self.log(master), "the master's port")
        processes += [self.node(one), self.node(two)]
        await self.untilEqual(*homes)
        rules.setContent(b"<group>2</group>")
        await self.until(lambda: all(b"2" in self.rule(home) for home in (one, two)), "the edit")
        for process in reversed(processes):
            await self.end(process)
        key = master.preauthChild("etc/ossec.conf").getContent().split(b"<key>")[1][:32]
        for home in homes:
            log = self.log(home)
            self.assertIn("Stopping.", log)
            self.assertNotIn("ERROR", log)
            self.assertNotIn("Traceback", log)
            self.assertNotIn(key.decode("ascii"), log)
            path = home.preauthChild("logs/cluster.log").path
            self.assertEqual(0o640, stat.S_IMODE(os.stat(path).st_mode))
            self.assertFalse(home.preauthChild("var/run/wazuh-cluster.pid").exists())
            self.assertEqual(home is master, home.preauthChild("logs/cluster.json").exists())
        self.assertRegex(self.log(one), r"\[Worker one\] \[Integrity sync\] Finished" + _TOTALS)
        totals = _TOTALS.replace(": ", " in worker: ")
        self.assertRegex(self.log(master), r"\[Worker one\] \[Integrity sync\] Finished" + totals)
        records = [
            json.loads(row)
            for row in master.preauthChild("logs/cluster.json").getContent().splitlines()
        ]
        self.assertEqual(
            [row.partition(": ")[2] for row in self.log(master).splitlines()],
            ["[{node}] [{task}] {description}".format(**record) for record in records],
        )

    def rule(self, home: FilePath[str]) -> bytes:
        path = home.preauthChild("etc/rules/local_rules.xml")
        return path.getContent() if path.exists() else b""

    async def test_background(self) -> None:
        """
        Two nodes on one machine go to the background with twistd's defaults;
        what they make has its modes in spite of twistd's umask.
        """
        master, worker = homes = self.cluster("one")
        master.preauthChild("etc/shared/default/agent.conf").setContent(b"<agent_config/>")
        pids = []
        for home in homes:
            starting = self.spawn(["wazuh-cluster", "--home", home.path])
            self.assertEqual(0, await starting.ended, starting.err)
            pidFile = home.preauthChild("var/run/wazuh-cluster.pid")
            pids.append(int(pidFile.getContent()))
            self.addCleanup(_end, pids[-1])
        await self.untilEqual(*homes)
        installed = worker.preauthChild("etc/shared/default/agent.conf").path
        self.assertEqual(0o660, stat.S_IMODE(os.stat(installed).st_mode))
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
            await self.until(lambda: not _alive(pid), "the end", 3)  # noqa: B023

    async def test_stopWhileHanging(self) -> None:
        """
        A node whose disk hangs in the middle of an installation stops within
        two seconds too.
        """
        master, worker = self.cluster("one")
        for n in range(20):
            master.preauthChild(f"etc/rules/{n}.xml").setContent(b"<group/>")
        self.node(master)
        hanging = self.node(worker, code=_HANGS)
        staging = worker.preauthChild("queue/wazuh_cluster/staging")
        await self.until(lambda: staging.exists() and len(staging.listdir()) == 20, "staged")
        await self.end(hanging)

    async def command(self, home: FilePath[str], *arguments: str, status: int = 0) -> bytes:
        """
        What C{wazuh-cluster} writes, or complains.
        """
        process = self.spawn([*arguments, "--home", home.path], code=COMMAND)
        self.assertEqual(status, await process.ended, process.err)
        self.assertNotIn(b"Traceback", process.err)
        return process.err if status else process.out

    async def test_localPrograms(self) -> None:
        """
        Commands ask the node in their home: groups are seen on any, and changed
        on the master, or on the worker that it lists; so is the state of all, files
        are compared on demand, and a worker that was stopped is forgotten. Without
        its master a worker says so.
        """
        master, one, two = self.cluster("one", "two")
        self.settings(master, "[integrity]\ninterval = 1\n[administration]\nworkers = two\n")
        nodes = [self.node(master)]
        await self.until(lambda: "Starting" in self.log(master), "the master's port")
        nodes += [self.node(home) for home in (one, two)]
        for home in (one, two):
            await self.until(lambda: "Successfully connected" in self.log(home), "joined")  # noqa: B023
        self.assertEqual(
            b"Group web was made.\n", await self.command(master, "groups", "create", "web")
        )
        line = await self.command(one, "groups", "create", "db", status=1)
        self.assertIn(b"worker one may not change the cluster: run this on the master", line)
        await self.command(two, "groups", "create", "db")
        for home in (master, one, two):
            out = await self.command(home, "groups", "list")
            self.assertEqual(
                [b"NAME", b"db", b"default", b"web"], [row.split()[0] for row in out.splitlines()]
            )
            folder = home.preauthChild("etc/shared/db/agent.conf")
            await self.until(folder.exists, "the group's folder")
        line = await self.command(two, "groups", "assign", "001", "db", status=1)
        self.assertIn(b"agent 001 is not registered", line)
        await self.command(two, "groups", "delete", "db")
        out = await self.command(two, "sync", "one", "--json")
        self.assertEqual(("one", True), (json.loads(out)["node"], json.loads(out)["ended"]))
        found = json.loads(await self.command(one, "status", "--json"))
        self.assertEqual(["hub", "one", "two"], [node["name"] for node in found["nodes"]])
        self.assertEqual(("OK", {"joined": 3}), (found["verdict"], found["cluster"]["nodes"]))
        await self.end(nodes[2])
        self.assertEqual(b"Forgot two.\n", await self.command(master, "forget", "two"))
        await self.end(nodes[0])
        await self.until(lambda: "The link to the master ended" in self.log(one), "the link's end")
        line = await self.command(one, "groups", "list", status=1)
        self.assertIn(b"the master cannot be asked now", line)
        line = await self.command(master, "groups", "list", status=1)
        self.assertIn(b"no node runs there: start it with 'twistd wazuh-cluster --home", line)
        self.assertFalse(master.preauthChild("queue/wazuh_cluster/control.sock").exists())

    async def test_killedAndBack(self) -> None:
        """
        A node that was killed leaves its socket; the next one takes its place.
        """
        (master,) = self.cluster()
        node = self.node(master)
        socket = master.preauthChild("queue/wazuh_cluster/control.sock")
        await self.until(socket.exists, "the socket")
        node.kill()
        await node.ended
        left = os.stat(socket.path).st_ctime_ns
        self.assertIn(b"no node runs", await self.command(master, "groups", "list", status=1))
        self.node(master)

        def isNext() -> bool:
            try:
                return os.stat(socket.path).st_ctime_ns > left
            except FileNotFoundError:
                # Between the two.
                return False

        await self.until(isNext, "the next socket")
        await self.command(master, "groups", "list")

    async def killInTheMiddle(self, victim: str) -> None:
        """
        Kill a node three times in the middle of a large transfer.
        """
        master, worker = homes = self.cluster("one")
        chance = random.Random(5)
        content = chance.randbytes(20_000_000)
        for n in range(3):
            master.preauthChild(f"etc/lists/{n}").setContent(content[n:])
        nodes = {home: self.node(home) for home in homes}
        staging = worker.preauthChild("queue/wazuh_cluster/staging")
        killed = master if victim == "master" else worker
        for turn in count(1):
            staged = chance.randrange(turn * 7_000_000, turn * 14_000_000)

            def enough() -> bool:
                return self.equal(*homes) or _size(staging) > staged  # noqa: B023

            await self.until(enough, "a transfer")
            if self.equal(*homes) or turn > 3:
                break
            nodes[killed].kill()
            await nodes[killed].ended
            nodes[killed] = self.node(killed)
        await self.untilEqual(*homes)
        await self.until(lambda: not self.leftovers(worker), "a clean staging folder")
        self.assertIn("Now at generation", self.log(worker))

    async def test_killedWorkers(self) -> None:
        """
        A worker that is killed in the middle of transfers ends equal, with
        nothing left over.
        """
        await self.killInTheMiddle("worker")

    async def test_killedMasters(self) -> None:
        """
        So does one whose master is killed.
        """
        await self.killInTheMiddle("master")

    async def test_otherItems(self) -> None:
        """
        A worker that lacks an item of its master's says so, once, and so does
        the master; with the same item it gets the files.
        """
        master, worker = self.cluster("one")
        settings = "[integrity]\ninterval = 1\n[item threats]\npath = etc/threats\n"
        self.settings(master, settings)
        master.preauthChild("etc/threats").makedirs()
        master.preauthChild("etc/threats/one.json").setContent(b"{}")
        self.node(master)
        await self.until(lambda: "Generation" in self.log(master), "the master")
        process = self.node(worker)
        for home, beginning in (
            (master, "WARNING: [Master] [Main] Refused one at"),
            (worker, "ERROR: [Worker one] [Main] Could not connect"),
        ):
            await self.until(lambda: beginning in self.log(home), "the line")  # noqa: B023
            (line,) = [line for line in self.log(home).splitlines() if beginning in line]
            self.assertIn("only the master has 'etc/threats': make [item ...]", line)
        await self.end(process)
        self.settings(worker, settings)
        self.node(worker)
        copy = worker.preauthChild("etc/threats/one.json")
        await self.until(copy.exists, "the file")

    async def test_wrongKey(self) -> None:
        """
        A worker with another key gets nothing and says why; so does the
        master.
        """
        master, worker = self.cluster("one")
        conf = worker.preauthChild("etc/ossec.conf")
        key = conf.getContent().split(b"<key>")[1][:32]
        conf.setContent(conf.getContent().replace(key, b"x1y2z3w4" * 4))
        self.node(master)
        await self.until(lambda: "Generation" in self.log(master), "the master")
        self.node(worker)
        await self.until(lambda: "has another cluster key" in self.log(worker), "the reason")
        await self.until(lambda: "127.0.0.1" in self.log(master), "the master's line")
        self.assertEqual([], worker.preauthChild("etc/rules").listdir())


class BadInputTests(ProcessCase):
    """
    What cannot be run ends with status 1 and one line that says what, where
    and what to do, before the daemon leaves the terminal.
    """

    async def refused(
        self, home: FilePath[str], *texts: str, options: tuple[str, ...] = ()
    ) -> None:
        process = self.spawn(["wazuh-cluster", "--home", home.path, *options])
        status = await process.ended
        lines = (process.out + process.err).decode("utf-8").strip().splitlines()
        self.assertEqual((1, 1), (status, len(lines)), lines)
        for text in texts:
            self.assertIn(text, lines[0])
        self.assertNotIn("Traceback", lines[0])
        self.assertFalse(home.preauthChild("var/run/wazuh-cluster.pid").exists())

    def edit(self, home: FilePath[str], old: str, new: str) -> None:
        conf = home.preauthChild("etc/ossec.conf")
        text = conf.getContent().decode("utf-8")
        self.assertIn(old, text)
        conf.setContent(text.replace(old, new).encode("utf-8"))

    async def test_configuration(self) -> None:
        """
        A configuration that cannot be used names file and element.
        """
        for old, new, text in (
            (f"<port>{self.port}</port>", "<port>lots</port>", "<port>"),
            (f"<port>{self.port}</port>", "<port>70000</port>", "<port>"),
            ("<node_type>master<", "<node_type>boss<", "<node_type>"),
            ("<node_name>hub<", "<node_name>h u b<", "<node_name>"),
            ("<bind_addr>127.0.0.1<", "<bind_addr>nowhere<", "<bind_addr>"),
            ("<name>wazuh<", "<name>a b<", "<name>"),
            ("</cluster>", "", "line"),
            ("<cluster>", "<clusters>", "cluster"),
        ):
            (home,) = self.cluster()
            self.edit(home, old, new)
            await self.refused(home, "ossec.conf", text)

    async def test_key(self) -> None:
        """
        An empty or short key says how to make one.
        """
        for key in ("", "short"):
            (home,) = self.cluster()
            conf = home.preauthChild("etc/ossec.conf").getContent().decode("utf-8")
            self.edit(home, conf.split("<key>")[1].split("</key>")[0], key)
            await self.refused(home, "ossec.conf", "<key>", "openssl rand -hex 16")

    async def test_missing(self) -> None:
        """
        A home or configuration that is not there says how to make one.
        """
        (home,) = self.cluster()
        home.preauthChild("etc/ossec.conf").remove()
        await self.refused(home, "ossec.conf", "wazuh-cluster init")
        await self.refused(FilePath(os.path.abspath(self.mktemp())), "wazuh-cluster init")

    async def test_portInUse(self) -> None:
        """
        A port in use names it.
        """
        one, two = self.cluster()[0], self.cluster()[0]
        self.node(one)
        await self.until(lambda: "Starting" in self.log(one), "the first")
        await self.refused(two, str(self.port), "in use")

    async def test_controlSocket(self) -> None:
        """
        A place for the socket that is taken ends the node, with the line in its
        log.
        """
        (home,) = self.cluster()
        home.preauthChild("queue/wazuh_cluster").makedirs(ignoreExistingDirectory=True)
        home.preauthChild("queue/wazuh_cluster/control.sock").setContent(b"precious")
        for options in ([], ["--nodaemon"]):
            process = self.spawn([*options, "wazuh-cluster", "--home", home.path])
            self.assertEqual(1, await process.ended)
            self.assertNotIn(b"Traceback", process.out + process.err)
            line = self.log(home).splitlines()[-1]
            self.assertIn("control.sock: it is not a socket: move it away", line)
        self.assertIn(b"it is not a socket: move it away", process.out + process.err)

    async def test_settings(self) -> None:
        """
        Settings that cannot be used name file and key.
        """
        (home,) = self.cluster()
        self.settings(home, "[limits]\nwindows = 5\n")
        await self.refused(home, "wazuh_cluster.ini", "windows", "window")

    async def test_role(self) -> None:
        """
        So does an option.
        """
        (home,) = self.cluster()
        await self.refused(home, "--role", "boss", options=("--role", "boss"))

    async def test_disabled(self) -> None:
        """
        A cluster that is disabled ends with status 0 and a line that says so.
        """
        (home,) = self.cluster()
        self.edit(home, "<disabled>no<", "<disabled>yes<")
        process = self.spawn(["wazuh-cluster", "--home", home.path])
        self.assertEqual(0, await process.ended)
        self.assertIn(b"disabled", process.out)
        self.assertEqual(b"", process.err)


def _size(folder: FilePath[str]) -> int:
    total = 0
    for name in os.listdir(folder.path) if folder.exists() else ():
        try:
            total += os.stat(os.path.join(folder.path, name)).st_size
        except FileNotFoundError:
            continue
    return total


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
