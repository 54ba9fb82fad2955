"""
Tests for C{wazuh-cluster status}, C{events}, C{explain}, C{sync} and C{forget}.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.python import usage

from tests.clustercase import NOW
from tests.controlcase import MEMBER, OWNER, ROOT
from tests.test_status import StatusCase
from wazuh_cluster.control import ControlClient, ControlService, Credentials, connectTo
from wazuh_cluster.errors import BadArgument, ClusterError, MasterUnreachable, RequestRefused
from wazuh_cluster.master import MasterService
from wazuh_cluster.model import WorkerInfo
from wazuh_cluster.scripts import clusterview, events, explain, forget, status, sync, terminal
from wazuh_cluster.scripts.main import Options
from wazuh_cluster.status import Completion, FileTrouble, NodeReport, NodeStatus, SyncOutcome
from wazuh_cluster.status.events import EventRing
from wazuh_cluster.status.values import FAILED, JOINED
from wazuh_cluster.worker import WorkerService

NASTY = "\x1b[31mred\n\u202e" + "x" * 1000


def parse(*arguments: str) -> Any:
    """
    The options of a command, as C{wazuh-cluster} parses them.
    """
    options = Options()
    options.parseOptions(list(arguments))
    return options.subOptions


class Terminal(io.StringIO):
    """
    Where a person looks.
    """

    def isatty(self) -> bool:
        return True


class CommandsCase(StatusCase):
    """
    A master and a worker, whose control sockets are in memory.
    """

    def setUp(self) -> None:
        super().setUp()
        self.who: Credentials = ROOT
        self.out = io.StringIO()
        self.errors = io.StringIO()
        self.theMaster, self.theWorker = self.both()

    def client(self, service: MasterService | WorkerService) -> ControlClient:
        """
        A program on a node.
        """
        name = f"control-{len(self.services)}"
        control = ControlService(
            self.clock,
            self.network.server(name),
            service.requests,
            lambda: OWNER,
            credentialsOf=lambda transport: self.who,
        )
        control.startService()
        self.services.append(control)
        return self.ask(connectTo(self.clock, self.network.client(name)))

    def does(
        self, work: Coroutine[Deferred[Any], Any, int], exit: int = 0, seconds: float = 2.0
    ) -> list[str]:
        """
        The lines that a command writes.
        """
        self.out.seek(0)
        self.out.truncate()
        self.assertEqual(exit, self.ask(work, seconds))
        return self.out.getvalue().splitlines()

    def fails(self, work: Coroutine[Deferred[Any], Any, int], kind: type[ClusterError]) -> str:
        """
        The line with which it is refused.
        """
        asking = Deferred.fromCoroutine(work)
        self.pass_(1)
        line = str(self.failureResultOf(asking, kind).value)
        self.assertTrue(line.isprintable(), line)
        return line

    async def rest(self) -> None:
        """
        Between two looks.
        """
        waiting: Deferred[None] = Deferred()
        self.clock.callLater(1.0, waiting.callback, None)
        await waiting


class StatusTests(CommandsCase):
    """
    One look tells whether the cluster is well.
    """

    def status(self, client: ControlClient, *options: str) -> Coroutine[Deferred[Any], Any, int]:
        self.after = ExitStack()
        self.addCleanup(self.after.close)
        return status.show(client, parse("status", *options), self.out, self.rest, self.after)

    def show(self, client: ControlClient, *options: str, exit: int = 0) -> list[str]:
        return self.does(self.status(client, *options), exit)

    def test_well(self) -> None:
        """
        On any node: the verdict in one line, the whole, and the nodes.
        """
        for service in (self.theMaster, self.theWorker):
            lines = self.show(self.client(service))
            self.assertEqual("OK: all is well", lines[0])
            self.assertEqual("Cluster wazuh, master hub. Nodes: 2 joined.", lines[1])
            self.assertIn("Generation 1: 6 files, ", lines[2])
            self.assertEqual(clusterview.HEAD, tuple(re.split(r" {2,}", lines[4])))
            rows = [re.split(r" {2,}", line) for line in lines[5:]]
            self.assertEqual(["hub", "master"], rows[0][:2])
            self.assertEqual(["w1", "worker"], rows[1][:2])
            self.assertEqual(["1", "100%"], rows[1][5:7])
            self.assertRegex(rows[1][4], r"^joined \d+ s$")

    def test_notWell(self) -> None:
        """
        The reasons follow, each on a line; the exit status is the verdict's.
        """
        self.kill(self.theWorker)
        self.pass_(15)
        client = self.client(self.theMaster)
        lines = self.show(client, exit=2)
        self.assertEqual("ERROR: NODE_FAILED (w1)", lines[0])
        self.assertIn("NODE_FAILED: w1, last seen ", lines[1])
        self.assertIn("Nodes: 1 joined, 1 failed.", lines[2])
        self.assertRegex(lines[-1], r"failed \d+ s ago")

    def test_withoutMaster(self) -> None:
        """
        A worker without a link says so, and what it knows itself.
        """
        self.stop(self.theMaster)
        self.pass_(2)
        lines = self.show(self.client(self.theWorker), exit=2)
        self.assertEqual("ERROR: NO_MASTER (w1)", lines[0])
        self.assertIn("the master cannot be asked now", lines[2])
        self.assertEqual("What this node knows itself:", lines[3])
        self.assertTrue(lines[-1].startswith("w1 "))

    def test_threads(self) -> None:
        """
        The threads, if wanted.
        """
        lines = self.show(self.client(self.theMaster), "--threads")
        rows = [re.split(r" {2,}", line) for line in lines]
        self.assertIn(list(clusterview.THREADS_HEAD), rows)
        (integrity,) = (row for row in rows if row[:2] == ["w1", "Integrity"])
        self.assertEqual("9 s", integrity[2])
        self.assertIn("generation 1/", integrity[-1])

    def test_json(self) -> None:
        """
        All of it for programs, in ASCII.
        """
        self.theMaster.status.known.joined(
            WorkerInfo("nasty", NASTY, NASTY, NASTY, 1, b"h" * 16, b"n" * 16)
        )
        (line,) = self.show(self.client(self.theMaster), "--json")
        self.assertTrue(line.isascii() and line.isprintable())
        found = json.loads(line)
        self.assertEqual(("OK", []), (found["verdict"], found["reasons"]))
        self.assertEqual(["hub", "nasty", "w1"], [node["name"] for node in found["nodes"]])
        self.assertEqual(100.0, found["nodes"][2]["percent"])
        self.assertIn("last_sync", found["nodes"][2]["report"])

    def test_nasty(self) -> None:
        """
        Whatever nodes say of themselves moves no terminal.
        """
        self.theMaster.status.known.joined(
            WorkerInfo("nasty", NASTY, NASTY, NASTY, 1, b"h" * 16, b"n" * 16)
        )
        client = self.client(self.theMaster)
        for line in self.show(client):
            self.assertTrue(line.isprintable(), line)
        self.out = Terminal()
        for line in self.show(client):
            self.assertNotIn("\x1b[31m", line.replace("\x1b[31m\x1b[0m", ""))
            self.assertNotIn("\u202e", line)

    def test_terminal(self) -> None:
        """
        On a terminal the same words, with bars for what is under way.
        """
        self.out = Terminal()
        self.patch_environment()
        text = "\n".join(self.show(self.client(self.theMaster)))
        for word in ("OK: all is well", "hub", "w1", "100%", "ROUND TRIP"):
            self.assertIn(word, text)
        seen = clusterview.Seen(
            self.cluster(self.theMaster),
            [
                NodeStatus(
                    "busy",
                    "worker",
                    since=NOW,
                    report=NodeReport(completion=Completion(100, 9_900, 50, 4_950)),
                )
            ],
        )
        out = Terminal()
        terminal.console(out).print(terminal.clusterPicture(seen, 200, threads=True))
        self.assertIn("50.0%, 50 files, 5.0 KB to go", " ".join(out.getvalue().split()))
        self.assertIn("━", out.getvalue())

    def test_narrow(self) -> None:
        """
        On a narrow terminal there are fewer columns, and none is broken.
        """
        seen = clusterview.Seen(
            self.cluster(self.theMaster), list(self.nodes(self.theMaster).values())
        )
        for width, there, gone in (
            (100, ("NODE", "STATE", "FILES", "AGENTS"), ("VERSION",)),
            (60, ("NODE", "STATE", "FILES"), ("VERSION", "CLOCK", "ADDRESS")),
        ):
            out = io.StringIO()
            console = terminal.console(out)
            console.width = width
            console.print(terminal.clusterPicture(seen, width))
            (head,) = (line for line in out.getvalue().splitlines() if "NODE" in line)
            for name in there:
                self.assertIn(name, head)
            for name in gone:
                self.assertNotIn(name, head)

    def patch_environment(self) -> None:
        """
        As wide a terminal as the table needs.
        """
        for name, value in (("COLUMNS", "200"), ("TERM", "xterm")):
            before = os.environ.get(name)
            os.environ[name] = value
            if before is None:
                self.addCleanup(os.environ.pop, name)
            else:
                self.addCleanup(os.environ.__setitem__, name, before)

    def test_watch(self) -> None:
        """
        It goes on until somebody has enough.
        """
        client = self.client(self.theMaster)
        watching = Deferred.fromCoroutine(self.status(client, "--watch"))
        self.pass_(3)
        self.assertNoResult(watching)
        self.assertGreaterEqual(self.out.getvalue().count("OK: all is well"), 3)
        watching.cancel()
        self.failureResultOf(watching)

    def test_watchTerminal(self) -> None:
        """
        On a terminal it is drawn in place, and the terminal is as it was when
        that ends, however it does.
        """
        self.out = Terminal()
        self.patch_environment()
        client = self.client(self.theMaster)
        watching = Deferred.fromCoroutine(self.status(client, "--watch"))
        self.pass_(3)
        self.assertNoResult(watching)
        self.assertIn("\x1b[?1049h", self.out.getvalue())
        self.assertIn("OK: all is well", self.out.getvalue())
        self.assertNotIn("\x1b[?1049l", self.out.getvalue())
        self.after.close()
        self.assertIn("\x1b[?1049l", self.out.getvalue())
        self.assertIn("\x1b[?25h", self.out.getvalue())
        watching.cancel()
        self.failureResultOf(watching)

    def test_words(self) -> None:
        """
        What is not known is a dash; what is under way says how far it is.
        """
        node = NodeStatus("n", "worker", since=NOW)
        self.assertEqual("-", clusterview.files(node))
        self.assertIsNone(clusterview.percent(evolve(node, state=FAILED)))
        whole = evolve(node, report=NodeReport(completion=Completion(10, 1000)))
        self.assertEqual("comparing", clusterview.files(whole))
        self.assertEqual("100%", clusterview.files(evolve(whole, current=True)))
        self.assertEqual("12 active, 3 pending", clusterview.agents({"pending": 3, "active": 12}))
        self.assertEqual(JOINED, node.state)

    def test_arguments(self) -> None:
        """
        Nothing follows the options.
        """
        self.assertRaises(usage.UsageError, parse, "status", "w1")
        self.assertRaises(usage.UsageError, parse, "events", "w1")


class EventsTests(CommandsCase):
    """
    What happened, by number.
    """

    def show(self, client: ControlClient, *options: str) -> list[str]:
        work = events.show(client, parse("events", *options), self.out, self.errors, self.rest)
        return self.does(work)

    def test_last(self) -> None:
        """
        The last of them; on a worker those of the cluster, too.
        """
        for service in (self.theMaster, self.theWorker):
            lines = self.show(self.client(service))
            self.assertRegex(lines[0], r"^#1 \d{4}-\d\d-\d\d \d\d:\d\d:\d\d started hub: ")
            self.assertRegex(lines[2], r"^#3 .* joined w1: joined from w1, wazuh_cluster ")
        lines = self.show(self.client(self.theMaster), "--last", "1")
        self.assertEqual(1, len(lines))
        self.assertEqual([], self.show(self.client(self.theMaster), "-n", "0"))

    def test_json(self) -> None:
        """
        For programs.
        """
        lines = self.show(self.client(self.theMaster), "--json")
        found = json.loads(lines[0])
        self.assertEqual((1, "started", "hub"), (found["number"], found["kind"], found["node"]))

    def test_withoutMaster(self) -> None:
        """
        A worker without a link shows its own, and says so.
        """
        self.stop(self.theMaster)
        self.pass_(2)
        lines = self.show(self.client(self.theWorker))
        self.assertIn("started w1: this worker began", lines[0])
        self.assertIn("; what happened on this node:", self.errors.getvalue())

    def test_follow(self) -> None:
        """
        What happens is shown when it does; what was missed shows as a gap, and a
        master that was started anew as such.
        """
        client = self.client(self.theMaster)
        work = events.show(client, parse("events", "-f", "-n0"), self.out, self.errors, self.rest)
        following = Deferred.fromCoroutine(work)
        self.pass_(0.5)
        ring = self.theMaster.status.events
        ring.note("joined", "w7", "came")
        self.pass_(2)
        ring._events.clear()
        for _ in range(3):
            ring.note("joined", "w8", NASTY)
        ring._events.popleft()
        self.pass_(2)
        self.theMaster.status.events = EventRing("other", ring._wallClock)
        self.theMaster.status.events.note("started", "hub", "anew")
        self.pass_(2)
        lines = self.out.getvalue().splitlines()
        words = [re.sub(r"^#\d+ \S+ \S+ ", "", line)[:14] for line in lines]
        self.assertEqual(
            [
                "joined w7: cam",
                "(1 events are ",
                "joined w8: \\x1",
                "joined w8: \\x1",
                "(the node that",
                "started hub: a",
            ],
            words,
        )
        following.cancel()
        self.failureResultOf(following)

    def test_arguments(self) -> None:
        """
        A number is one.
        """
        for bad in ("x", "-1", "201", "", "99999", "²"):
            self.assertRaises(usage.UsageError, parse, "events", "--last", bad)


class ExplainTests(CommandsCase):
    """
    Why a file is, or is not, in sync.
    """

    rule = "etc/rules/local_rules.xml"

    def show(self, client: ControlClient, *options: str, exit: int = 0) -> list[str]:
        return self.does(explain.show(client, parse("explain", *options), self.out), exit)

    def test_inSync(self) -> None:
        """
        The rule, both files, and when it was looked at.
        """
        lines = self.show(self.client(self.theMaster), "w1", self.rule)
        self.assertEqual(f"{self.rule} on w1: IN SYNC: it is the master's", lines[0])
        self.assertIn("  rule        etc/rules; all files", lines[1])
        self.assertIn("19 bytes, changed 19", lines[2])
        self.assertIn(", md5 ", lines[2])
        self.assertEqual(lines[2].split()[1:], lines[3].split()[1:])

    def test_notInSync(self) -> None:
        """
        Its exit status tells, too; and the JSON has all of it.
        """
        client = self.client(self.theWorker)
        lines = self.show(client, "w1", "etc/rules/none", exit=1)
        self.assertIn("NOWHERE: neither the master nor this node has such a file", lines[0])
        (line,) = self.show(client, "w1", "etc/rules/none", "--json", exit=1)
        self.assertEqual("nowhere", json.loads(line)["verdict"])

    def test_withoutMaster(self) -> None:
        """
        A node is explained by itself where the master cannot be asked; another
        one is not.
        """
        self.stop(self.theMaster)
        self.pass_(2)
        client = self.client(self.theWorker)
        lines = self.show(client, "w1", self.rule)
        self.assertIn("by what this node knows itself:", lines[0])
        self.assertIn("IN SYNC", lines[1])
        work = explain.show(client, parse("explain", "w2", self.rule), self.out)
        self.assertIn("the master cannot be asked now", self.fails(work, MasterUnreachable))

    def test_refused(self) -> None:
        """
        A path that nobody carries, a node that nobody knows: one line.
        """
        client = self.client(self.theMaster)
        for node, path, words in (
            ("w1", "../etc/passwd", "'../etc/passwd' is not carried (it has a '.' or '..' in it)"),
            ("w1", "etc/ossec.conf", "is not carried"),
            ("w1", "\x1b[31m", "is not carried"),
            ("w9", self.rule, "no node 'w9' is known"),
        ):
            work = explain.show(client, parse("explain", node, path), self.out)
            self.assertIn(words, self.fails(work, RequestRefused))

    def test_arguments(self) -> None:
        """
        A node and a file.
        """
        for bad in ((), ("w1",), ("w1", "a", "b")):
            self.assertRaises(usage.UsageError, parse, "explain", *bad)


class SyncTests(CommandsCase):
    """
    A look that somebody asks for.
    """

    def show(self, client: ControlClient, *options: str, exit: int = 0) -> list[str]:
        work = sync.show(client, parse("sync", *options), self.out, self.errors)
        return self.does(work, exit)

    def test_names(self) -> None:
        """
        What it did, and to which file, by the node's name or on it.
        """
        rule = "etc/rules/local_rules.xml"
        for service, arguments in (
            (self.theMaster, ("w1", "-v")),
            (self.theWorker, ("w1", "-v")),
            (self.theWorker, ("--verbose",)),
        ):
            self.workerHome.preauthChild(rule).remove()
            lines = self.show(self.client(service), *arguments)
            self.assertRegex(lines[0], r"^w1, Integrity, \d\.\d{3} s: at generation 1/")
            self.assertIn("1 created, 0 updated, 0 deleted, 0 mended, 0 failed;", lines[1])
            self.assertEqual([f"  {rule}: created: it was missing here"], lines[2:])

    def test_master(self) -> None:
        """
        A master looks for what is new.
        """
        lines = self.show(self.client(self.theMaster))
        self.assertIn("hub, File integrity, ", lines[0])
        self.assertIn("6 files, nothing new", lines[0])

    def test_json(self) -> None:
        """
        For programs.
        """
        (line,) = self.show(self.client(self.theMaster), "w1", "--json")
        self.assertEqual(("w1", True), (json.loads(line)["node"], json.loads(line)["ended"]))

    def test_permission(self) -> None:
        """
        Members of the home's group may not.
        """
        self.who = MEMBER
        client = self.client(self.theMaster)
        work = sync.show(client, parse("sync", "w1"), self.out, self.errors)
        self.assertIn(
            "may not change the cluster: run this as root", self.fails(work, RequestRefused)
        )

    def test_long(self) -> None:
        """
        A run that goes on says how far it is, and is asked for again.
        """
        asked: list[bool] = []

        async def slowly(begin: bool, verbose: bool) -> SyncOutcome:
            asked.append(begin)
            return SyncOutcome(
                "hub",
                "File integrity",
                ended=len(asked) > 2,
                seconds=5.0 * len(asked),
                completion=Completion(10, 990, 5, 495),
                failure="no\x1b disk" if len(asked) > 2 else "",
                files=(FileTrouble("a\x1b", "b\n"),),
                more=3,
            )

        self.theMaster.status.sync = slowly  # type: ignore[method-assign]
        lines = self.show(self.client(self.theMaster), exit=1)
        self.assertEqual([True, False, False], asked)
        self.assertIn(
            "hub is still at it after 5 s: 50.0%, 5 files and 495 B to go", self.errors.getvalue()
        )
        self.assertEqual(
            [
                "hub, File integrity failed after 15.000 s: no\\x1b disk",
                "  a\\x1b: b\\n",
                "  and 3 files more",
            ],
            lines,
        )

    def test_arguments(self) -> None:
        """
        One node at most.
        """
        self.assertRaises(usage.UsageError, parse, "sync", "w1", "w2")


class ForgetTests(CommandsCase):
    """
    A node that is gone for good.
    """

    def test_forgets(self) -> None:
        """
        It is not shown any more.
        """
        self.stop(self.theWorker)
        client = self.client(self.theMaster)
        lines = self.does(forget.forget(client, parse("forget", "w1"), self.out))
        self.assertEqual(["Forgot w1."], lines)
        self.assertEqual(["hub"], list(self.nodes(self.theMaster)))

    def test_refused(self) -> None:
        """
        One that is joined, that is not known, or is the master: one line.
        """
        client = self.client(self.theMaster)
        for node, words in (
            ("w1", "w1 is joined: stop it before you forget it"),
            ("w9", "no node 'w9' is known"),
            ("hub", "hub is the master itself"),
            ("\x1b", "no node '\\x1b' is known"),
        ):
            work = forget.forget(client, parse("forget", node), self.out)
            self.assertIn(words, self.fails(work, RequestRefused))

    def test_arguments(self) -> None:
        """
        There must be one.
        """
        self.assertRaises(usage.UsageError, parse, "forget")


class ClientTests(CommandsCase):
    """
    An answer that cannot be read is the node's fault, and says so.
    """

    def test_malformed(self) -> None:
        """
        Whatever it is.
        """
        client = self.client(self.theMaster)
        for answer in ({}, {"now": "x"}, {"now": 1.0}):

            async def bad(fields: Any, answer: Any = answer) -> Any:
                return answer

            entries = self.theMaster.requests._entries
            entries["cluster.status"] = evolve(entries["cluster.status"], answer=bad)

            async def look() -> int:
                await client.status.cluster()
                return 0

            self.assertIn("cannot be read", self.fails(look(), BadArgument))
