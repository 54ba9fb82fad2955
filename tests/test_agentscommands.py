"""
Tests for C{wazuh-cluster agents} and C{wazuh-cluster groups}.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

import wazuh_cluster
from tests.agentcase import never
from tests.controlcase import MEMBER, NOW, ControlCase
from tests.processes import Process
from tests.test_control import SocketCase
from wazuh_cluster.agents import ACTIVE, DISCONNECTED, AgentRecord, AgentStatus
from wazuh_cluster.errors import ClusterError
from wazuh_cluster.scripts.agents import remove, show
from wazuh_cluster.scripts.main import Options, main
from wazuh_cluster.scripts.report import MAX_LINE, Lines, Stream, readLine
from wazuh_cluster.scripts.table import Table, age, shown
from wazuh_cluster.testing.runner import ImmediateRunner

_CHECKOUT = os.path.dirname(os.path.dirname(wazuh_cluster.__file__))

NASTY = "\x1b[31mred\n\r\t\0\x9b\u202egnp\u2066.exe\u200b\ud800" + "x" * 65536


def parse(*arguments: str) -> Any:
    """
    The options of a command, as C{wazuh-cluster} parses them.
    """
    options = Options()
    options.parseOptions(list(arguments))
    chosen = options.subOptions
    return chosen if chosen.subCommand is None else chosen.subOptions


class CommandsCase(ControlCase):
    """
    Commands that ask a node in memory.
    """

    def output(self, work: Coroutine[Deferred[Any], Any, int]) -> list[str]:
        """
        The lines that a command writes that does what it should.
        """
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(0, self.wait(work))
        return out.getvalue().splitlines()

    def failing(self, work: Coroutine[Deferred[Any], Any, int]) -> tuple[list[str], str]:
        """
        The lines that a command writes that is refused, and with which one.
        """
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            failure = self.failureResultOf(self.ask(work), ClusterError)
        return out.getvalue().splitlines(), str(failure.value)


class ShowTests(CommandsCase):
    """
    The fleet as a table.
    """

    def show(self, *options: str) -> list[str]:
        """
        What C{wazuh-cluster agents} writes.
        """
        client = self.client(MEMBER)
        return self.output(show(client, parse("agents", *options)))

    def test_table(self) -> None:
        """
        One row for each agent, in columns.
        """
        record = AgentRecord(1, ACTIVE, NOW - 12, "siem-1", "Wazuh v4.14.7")
        self.master.fleet.rows = [
            AgentStatus(
                1, "web", "10.0.0.1", ACTIVE, NOW - 12, "siem-1", ("default", "web"), record
            ),
            AgentStatus(2, "db-with-a-name", "any", DISCONNECTED, NOW - 200_000, "siem-2"),
            never(12345),
        ]
        self.start()
        rows = [line.split() for line in self.show()]
        self.assertEqual(
            ["ID", "NAME", "IP", "STATUS", "NODE", "LAST", "KEEP", "ALIVE", "VERSION", "GROUPS"],
            rows[0],
        )
        self.assertEqual(
            [
                "001",
                "web",
                "10.0.0.1",
                "active",
                "siem-1",
                "12s",
                "Wazuh",
                "v4.14.7",
                "default,web",
            ],
            rows[1],
        )
        self.assertEqual(
            ["002", "db-with-a-name", "any", "disconnected", "siem-2", "2d", "-", "-"], rows[2]
        )
        self.assertEqual(
            ["12345", "agent-12345", "any", "never_connected", "-", "never", "-", "-"], rows[3]
        )

    def test_columns(self) -> None:
        """
        Columns stand below each other, as wide as what has come so far.
        """
        out = io.StringIO()
        table = Table(out, ("A", "LONG TITLE", "C"))
        table.write([("1", "x", "y"), ("wide", "x", "")])
        table.write([("2", "much longer than its title", "z")])
        self.assertEqual(
            [
                "A     LONG TITLE  C",
                "1     x           y",
                "wide  x",
                "2     much longer than its title  z",
            ],
            out.getvalue().splitlines(),
        )

    def test_emptyFleet(self) -> None:
        """
        No agents are a head without rows.
        """
        self.master.fleet.rows = []
        self.start()
        self.assertEqual(1, len(self.show()))
        self.assertEqual([], self.show("--json"))

    def test_manyPages(self) -> None:
        """
        Every agent of a fleet of several pages is there once.
        """
        self.master.fleet.rows = [never(n) for n in range(1, 1001)]
        self.start()
        rows = self.show()[1:]
        self.assertEqual([f"{n:03}" for n in range(1, 1001)], [row.split()[0] for row in rows])
        self.assertEqual(5, self.master.fleet.asked)

    def test_filters(self) -> None:
        """
        Options choose, several of a kind any of them.
        """
        self.master.fleet.rows = [
            AgentStatus(1, "a", "any", ACTIVE, NOW, "n1", ("web",)),
            AgentStatus(2, "b", "any", DISCONNECTED, NOW, "n2", ("db",)),
            never(3, ("web",)),
        ]
        self.start()
        for options, found in (
            (("--status", "active"), ["001"]),
            (("--status", "active,disconnected"), ["001", "002"]),
            (("--status", "active", "--status", "never_connected"), ["001", "003"]),
            (("--node", "n2"), ["002"]),
            (("--group", "web"), ["001", "003"]),
            (("--group", "web", "--status", "active"), ["001"]),
            (("--group", "nosuch"), []),
        ):
            self.assertEqual(found, [line.split()[0] for line in self.show(*options)[1:]])

    def test_json(self) -> None:
        """
        As JSON there is an object a line, with all that is known, in ASCII.
        """
        labels = (("a", NASTY[:60]),)
        record = AgentRecord(1, ACTIVE, NOW - 12, "n1", "v1", 3, {"os_name": "größe"}, labels)
        self.master.fleet.rows = [
            AgentStatus(1, "web", "any", ACTIVE, NOW - 12, "n1", ("web",), record),
            never(2),
        ]
        self.start()
        lines = self.show("--json")
        self.assertEqual(2, len(lines))
        for line in lines:
            self.assertTrue(line.isascii() and line.isprintable())
        found, other = map(json.loads, lines)
        self.assertEqual(
            ("001", 12.0, NOW - 12, {"os_name": "größe"}, [["a", NASTY[:60]]]),
            (
                found["id"],
                found["age"],
                found["last_keep_alive"],
                found["info"],
                found["labels"],
            ),
        )
        self.assertEqual((None, None), (other["age"], other["last_keep_alive"]))

    def test_largeInJSON(self) -> None:
        """
        What was too large to travel is said to be cut.
        """
        record = AgentRecord(1, ACTIVE, NOW, "n1", info={"x": "y" * 70_000})
        self.master.fleet.rows = [AgentStatus(1, "web", "any", ACTIVE, NOW, "n1", (), record)]
        self.start()
        (line,) = self.show("--json")
        self.assertTrue(json.loads(line)["cut"])
        self.assertNotIn("info", json.loads(line))

    def test_nastyTexts(self) -> None:
        """
        Whatever is in a record, a row is one line that moves no terminal and
        floods none.
        """
        record = AgentRecord(1, ACTIVE, NOW, NASTY, NASTY)
        self.master.fleet.rows = [
            AgentStatus(1, NASTY[:3000], NASTY[:3000], ACTIVE, NOW, NASTY[:3000], (), record)
        ]
        self.start()
        _, line = self.show()
        self.assertTrue(line.isprintable())
        self.assertLess(len(line), 1500)
        self.assertIn(r"\x1b[31mred\n", line)
        self.assertIn(r"\u202egnp", line)

    def test_shown(self) -> None:
        """
        A terminal that knows few characters gets what it knows.
        """
        out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        Table(out, ("A",)).write([("größe …",)])
        out.seek(0)
        self.assertEqual("A\ngr\\xf6\\xdfe \\u2026\n", out.read())
        self.assertEqual("x" * 59 + "…", shown("x" * 61))

    def test_ages(self) -> None:
        """
        Ages are in the largest unit that fits.
        """
        self.assertEqual(
            ["0s", "0s", "59s", "1m", "59m", "1h", "23h", "1d", "11574d"],
            [age(s) for s in (-5, 0.9, 59.9, 60, 3599, 3600, 86399, 86400, 1e9)],
        )


class RemoveTests(CommandsCase):
    """
    Removing agents.
    """

    def test_removed(self) -> None:
        """
        It says which were removed.
        """
        self.start()
        lines = self.output(remove(self.client(), parse("agents", "remove", "1", "002", "001")))
        self.assertEqual(["Removed agent 001, agent-1.", "Removed agent 002, agent-2."], lines)
        self.assertEqual([], self.master.registrar.purged)
        self.output(remove(self.client(), parse("agents", "remove", "--purge", "3")))
        self.assertEqual([3], self.master.registrar.purged)

    def test_unknown(self) -> None:
        """
        Those that were not registered are named, and the status says so.
        """
        self.start()
        ids = [str(n) for n in range(9, 60)]
        out, line = self.failing(remove(self.client(), parse("agents", "remove", *ids)))
        self.assertEqual(["Removed agent 009, agent-9."], out)
        self.assertRegex(line, "^not registered: 010, .* 029 and 30 more$")

    def test_thousands(self) -> None:
        """
        Any number goes in parts.
        """
        self.start()
        ids = [str(n) for n in range(1, 2500)]
        out, _ = self.failing(remove(self.client(), parse("agents", "remove", *ids)))
        self.assertEqual(9, len(out))

    def test_mayNot(self) -> None:
        """
        Who may not is told who may.
        """
        self.start()
        out, line = self.failing(remove(self.client(MEMBER), parse("agents", "remove", "1")))
        self.assertEqual([], out)
        self.assertIn("user 1000 may not change the cluster", line)


class GroupsTests(CommandsCase):
    """
    Groups by the command.
    """

    def groups(self, *arguments: str) -> list[str]:
        """
        What C{wazuh-cluster groups} writes.
        """
        return self.output(parse("groups", *arguments).use(self.client()))

    def test_life(self) -> None:
        """
        A group is made, shown, given agents, and removed.
        """
        self.start()
        self.assertEqual(["Group db was made."], self.groups("create", "db"))
        self.assertEqual(["Agent 001 is in db now."], self.groups("assign", "1", "db"))
        self.assertEqual(
            ["Agent 001 is in db,web now."], self.groups("assign", "--add", "001", "web")
        )
        self.assertEqual(
            ["NAME     AGENTS", "db       1", "default  0", "web      1"], self.groups("list")
        )
        self.assertEqual(
            [{"name": "db", "agents": 1}, {"name": "default", "agents": 0}],
            [json.loads(line) for line in self.groups("list", "--json")][:2],
        )
        self.assertEqual(["Agent 001 is in web now."], self.groups("unassign", "001", "db"))
        self.assertEqual(["Agent 001 is in default now."], self.groups("unassign", "001"))
        self.assertEqual(
            ["Group db was removed; 0 agents were in it."], self.groups("delete", "db")
        )

    def test_refused(self) -> None:
        """
        What the master refuses is one line.
        """
        self.start()
        for arguments, text in (
            (("create", "web"), "there is a group 'web' already"),
            (("delete", "default"), "default"),
            (("delete", "nosuch"), "nosuch"),
            (("assign", "77", "web"), "077 is not registered"),
            (("assign", "1", "nosuch"), "group"),
            (("unassign", "1", "web"), "agent 001 is not in 'web'"),
        ):
            out, line = self.failing(parse("groups", *arguments).use(self.client()))
            self.assertEqual([], out)
            self.assertIn(text, line)


class OptionsTests(SynchronousTestCase):
    """
    Command lines that are wrong are so before any node is asked.
    """

    def test_misuse(self) -> None:
        """
        One line with status 2.
        """
        for arguments, why in (
            (("agents", "--status", "Active"), "'Active' is no status"),
            (("agents", "--status", "\x1b[31m"), r"\x1b[31m"),
            (("agents", "bogus"), "bogus"),
            (("agents", "remove"), "name the agents"),
            (("agents", "remove", "web"), "'web' is no agent's id"),
            (("agents", "remove", "0"), "'0' is no agent's id"),
            (("agents", "remove", "1", "--bogus"), "option --bogus not recognized"),
            (("agents", "remove", "1", "--home"), "option --home requires argument"),
            (("agents", "remove", "--", "-1"), "'-1' is no agent's id"),
            (("agents", "remove", "\u202e1"), r"'\u202e1' is no agent's id"),
            (("agents", "remove", "1" * 65536), "is no agent's id"),
            (("agents", "report"), "name the agent"),
            (("agents", "report", "x"), "'-' for a stream"),
            (("agents", "report", "-", "-"), "'-' for a stream"),
            (("agents", "report", "-", "--id", "1"), "'-' for a stream"),
            (("agents", "report", "--id", "1", "-"), "use one of them"),
            (("agents", "report", "--id", "x"), "no agent's id"),
            (("agents", "report", "--id", "1", "--event", "Active"), "its event is 'Active'"),
            (("agents", "report", "--id", "1", "--age", "x"), "'x' is no number"),
            (("agents", "report", "--id", "1", "--age=-1"), "its age is -1"),
            (("agents", "report", "--id", "1", "--age", "nan"), "its age is nan"),
            (("agents", "report", "--id", "1", "--code", "1.5"), "no number"),
            (("agents", "report", "--id", "1", "--code", "999"), "its code is 999"),
            (("agents", "report", "--id", "1", "--version", "v" * 300), "its version"),
            (("agents", "report", "--id", "1", "--label", "x"), "NAME=VALUE"),
            (("agents", "report", "--id", "1", "--label", "=x"), "NAME=VALUE"),
            (("agents", "report", "--id", "1", "--label", "a=" + "x" * 65536), "more than 50,000"),
            (("groups",), "use list, create"),
            (("groups", "bogus"), "bogus"),
            (("groups", "create"), "name one group"),
            (("groups", "create", "a", "b"), "name one group"),
            (("groups", "create", "../etc"), "'../etc' cannot be a group"),
            (("groups", "create", "it's"), "cannot be a group"),
            (("groups", "create", "a\nb"), r"'a\nb' cannot be a group"),
            (("groups", "create", "\u202eweb"), r"'\u202eweb' cannot be a group"),
            (("groups", "create", "x" * 65536), "longer than 255"),
            (("groups", "delete", "\x1b[31m"), r"'\x1b[31m' cannot be a group"),
            (("groups", "assign", "1"), "and the groups"),
            (("groups", "assign", "x", "web"), "no agent's id"),
            (("groups", "assign", "1", "a,b"), "cannot be a group"),
            (("groups", "unassign"), "name an agent"),
            (("groups", "unassign", "1", ".."), "cannot be a group"),
            (("agents", "--home", ""), "empty name"),
            (("groups", "list", "--home", ""), "empty name"),
        ):
            err = io.StringIO()
            with contextlib.redirect_stderr(err):
                self.assertEqual(2, main(arguments), arguments)
            line = err.getvalue()
            self.assertIn(why, line)
            self.assertEqual(1, line.count("\n"), line)
            self.assertTrue(line[:-1].isprintable(), line)
            self.assertLess(len(line), 400)

    def test_anyOrder(self) -> None:
        """
        Options may stand before, between and after what follows.
        """
        for words in (
            ("--purge", "1", "2"),
            ("1", "--purge", "2"),
            ("1", "2", "--purge"),
            ("1", "2", "--pur"),
        ):
            options = parse("agents", "remove", *words)
            self.assertEqual(((1, 2), 1), (options.ids, options["purge"]))
        options = parse("groups", "assign", "1", "web", "--home", "/h", "db", "--add")
        self.assertEqual(
            (1, ["web", "db"], "/h"), (options.agent, options.groups, options.home.path)
        )
        options = parse("agents", "report", "-", "--home=/h")
        self.assertEqual((True, "/h"), (options.stream, options.home.path))

    def test_homes(self) -> None:
        """
        The home may stand before the second word or after.
        """
        for arguments in (
            ("groups", "--home", "/h", "list"),
            ("groups", "list", "--home", "/h"),
            ("groups", "--home", "/x", "list", "--home", "/h"),
        ):
            self.assertEqual("/h", parse(*arguments).home.path)

    def test_help(self) -> None:
        """
        Each has a help that says how it is called.
        """
        for arguments, text in (
            (("agents",), "Usage: wazuh-cluster agents [options]\n"),
            (("agents", "remove"), "Usage: wazuh-cluster agents remove [options] ID ...\n"),
            (("agents", "report"), "Usage: wazuh-cluster agents report [options] [-]\n"),
            (("groups", "assign"), "Usage: wazuh-cluster groups assign [options] ID GROUP ...\n"),
        ):
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                self.assertRaises(SystemExit, main, [*arguments, "--help"])
            self.assertTrue(out.getvalue().startswith(text), out.getvalue())

    def test_report(self) -> None:
        """
        All of a record can be said by options.
        """
        options = parse(
            *("agents", "report", "--id", "7", "--event", "disconnected", "--age", "2.5"),
            *("--code", "3", "--version", "Wazuh v4.14.7", "--os-name", "Debian"),
            *("--os-version", "12", "--merged-sum", "x", "--label", "a=b=c", "--label", "a="),
        )
        self.assertEqual(
            {
                "id": "007",
                "event": "disconnected",
                "age": 2.5,
                "code": 3,
                "version": "Wazuh v4.14.7",
                "info": {"os_name": "Debian", "os_version": "12", "merged_sum": "x"},
                "labels": [["a", "b=c"], ["a", ""]],
            },
            options.report(),
        )
        self.assertRaises(usage.UsageError, parse, "agents", "report", "--id", "7", "-")


class LinesTests(SynchronousTestCase):
    """
    A stream is taken apart whatever its pieces are.
    """

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=12).filter(lambda b: b"\n" not in b)), st.integers(1, 9))
    def test_pieces(self, lines: list[bytes], size: int) -> None:
        """
        The lines are the same however they come.
        """
        data = b"".join(line + b"\n" for line in lines)
        taken = Lines()
        found = []
        for start in range(0, len(data), size):
            found += taken.feed(data[start : start + size])
        found += taken.finish()
        self.assertEqual(list(enumerate(lines, 1)), found)

    def test_tooLong(self) -> None:
        """
        A line that is too long is one, wherever its pieces end, and costs no
        memory.
        """
        taken = Lines()
        found = taken.feed(b"a\n")
        for _ in range(100):
            found += taken.feed(b"x" * 60_000)
            self.assertLessEqual(len(taken._rest), MAX_LINE)
        found += taken.feed(b"y\nb\n" + b"z" * (MAX_LINE + 1))
        found += taken.finish()
        self.assertEqual([(1, b"a"), (2, None), (3, b"b"), (4, None)], found)

    def test_noEnd(self) -> None:
        """
        The last line needs no end.
        """
        taken = Lines()
        self.assertEqual([], taken.feed(b"abc"))
        self.assertEqual([(1, b"abc")], taken.finish())


class StreamTests(CommandsCase):
    """
    Reports from a stream.
    """

    def report(self, data: bytes) -> Stream:
        """
        The stream of some bytes.
        """
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        # A pipe takes that much without a reader.
        self.assertLess(len(data), 60_000)
        os.write(writing, data)
        os.close(writing)
        return Stream(self.client(MEMBER), ImmediateRunner(), reading)

    def lines(self, *objects: Any) -> bytes:
        return b"".join(json.dumps(each).encode() + b"\n" for each in objects)

    def test_taken(self) -> None:
        """
        Each line is a record; blank ones are passed over.
        """
        self.start()
        data = self.lines({"id": 1}, {"id": "002", "event": "pending", "age": 3}) + b"\n \n"
        data += b'{"id": 3, "labels": {"a": "b"}}'
        self.assertEqual(["Taken: 3 records."], self.output(self.report(data).run()))
        self.assertEqual(
            [(1, 5000.0), (2, 4997.0), (3, 5000.0)],
            [(record.id, record.heard) for record in self.reports.taken],
        )

    def test_one(self) -> None:
        """
        One is a record.
        """
        self.start()
        self.assertEqual(
            ["Taken: 1 record."], self.output(self.report(self.lines({"id": 1})).run())
        )

    def test_badLines(self) -> None:
        """
        What is wrong is told with its line's number; the rest is taken.
        """
        self.start()
        data = self.lines({"id": 1}) + b"no json\n" + self.lines({"id": 0}, {"id": 2})
        data += b'\xff\n{"id": 3, "event": "\\u001b"}\n{"id": 4, "labels": [' + b"[" * 5000 + b"\n"
        data += b'{"id": 1, "id": 1e999}\n[1]\n' + self.lines({"id": 5})
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            out, line = self.failing(self.report(data).run())
        self.assertEqual(["Taken: 3 records."], out)
        self.assertEqual("7 lines were refused", line)
        told = err.getvalue().splitlines()
        self.assertEqual([2, 3, 5, 6, 7, 8, 9], [int(each.split()[2].rstrip(":")) for each in told])
        self.assertEqual("wazuh-cluster: line 2: it is no JSON", told[0])
        self.assertTrue(all(each.isprintable() for each in told))
        self.assertEqual([1, 2, 5], [record.id for record in self.reports.taken])

    def test_manyBadLines(self) -> None:
        """
        Thousands of bad lines are not thousands of complaints.
        """
        self.start()
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            _, line = self.failing(self.report(b"x\n" * 5000).run())
        self.assertEqual(("5000 lines were refused", 20), (line, err.getvalue().count("\n")))

    def test_nodeRefuses(self) -> None:
        """
        What the node refuses ends it, with the lines that it may be, and how
        many were taken.
        """
        self.start()
        self.reports.refusing = 2
        _, line = self.failing(self.report(self.lines({"id": 1}, {"id": 2})).run())
        self.assertEqual("lines 1 to 2: agent 2 is refused; 0 records were taken before", line)

    def test_readLine(self) -> None:
        """
        A line by itself.
        """
        self.assertIsNone(readLine(b"  \t"))
        self.assertIn("longer than 65,536", str(self.assertRaises(ValueError, readLine, None)))


class ProcessesCase(SocketCase):
    """
    The commands as processes, and a node in this one.
    """

    timeout = 120

    def setUp(self) -> None:
        super().setUp()
        self.processes: list[Process] = []
        self.addCleanup(self.endAll)

    async def endAll(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            if process.running:
                await process.ended

    def command(self, *arguments: str) -> Any:
        """
        Begin C{wazuh-cluster}.
        """
        process = Process()
        reactor.spawnProcess(
            process,
            sys.executable,
            [sys.executable, "-m", "wazuh_cluster.scripts.main", *arguments],
            env={**os.environ, "PYTHONPATH": _CHECKOUT, "WAZUH_HOME": self.home},
        )
        self.processes.append(process)
        return process

    async def run_(self, *arguments: str, status: int = 0) -> tuple[str, str]:
        """
        What a command writes, and complains.
        """
        process = self.command(*arguments)
        process.transport.closeStdin()
        ended = await process.ended
        err = process.err.decode()
        self.assertEqual(status, ended, err)
        self.assertNotIn("Traceback", err)
        return process.out.decode(), err


class ProcessesTests(ProcessesCase):
    """
    The whole way, from a command line to a node.
    """

    async def test_show(self) -> None:
        """
        Twenty thousand agents.
        """
        self.master(20_000)
        out, _ = await self.run_("agents")
        lines = out.splitlines()
        self.assertEqual(20_001, len(lines))
        self.assertEqual("20000", lines[-1].split()[0])

    async def test_pager(self) -> None:
        """
        A reader that has enough ends it without a word.
        """
        self.master(20_000)
        process = self.command("agents")
        while not process.out:
            await deferLater(reactor, 0.01)
        process.transport.closeStdout()
        self.assertEqual(141, await process.ended)
        self.assertEqual(b"", process.err)

    async def test_interrupted(self) -> None:
        """
        Somebody who interrupts it while it waits for input gets no traceback.
        """
        self.master(1)
        process = self.command("agents", "report", "-")
        process.transport.write(b'{"id": 1}\n')
        while not self.reports.taken:
            await deferLater(reactor, 0.01)
        process.kill(signal.SIGINT)
        self.assertEqual(130, await process.ended)
        self.assertEqual(b"", process.err)

    async def test_changes(self) -> None:
        """
        Groups and agents.
        """
        self.master(9)
        self.assertEqual(("Group db was made.\n", ""), await self.run_("groups", "create", "db"))
        await self.run_("groups", "assign", "3", "db")
        out, _ = await self.run_("groups", "list", "--json")
        self.assertIn('{"name": "db", "agents": 1}\n', out)
        self.assertEqual(
            ("Removed agent 003, agent-3.\n", ""), await self.run_("agents", "remove", "003")
        )
        out, err = await self.run_("agents", "remove", "003", status=1)
        self.assertEqual(("", "wazuh-cluster: not registered: 003\n"), (out, err))

    async def test_report(self) -> None:
        """
        One record, and a stream of them as it comes.
        """
        self.master(1)
        out, _ = await self.run_("agents", "report", "--id", "1", "--os-name", "Debian")
        self.assertEqual("Taken: 1 record.\n", out)
        process = self.command("agents", "report", "-")
        for n in range(2, 5):
            process.transport.write(b'{"id": %d}\n' % n)
            while len(self.reports.taken) < n:
                await deferLater(reactor, 0.01)
        process.transport.write(b'nonsense\n{"id": 5}')
        process.transport.closeStdin()
        self.assertEqual(1, await process.ended)
        self.assertEqual(b"Taken: 4 records.\n", process.out)
        self.assertEqual(
            b"wazuh-cluster: line 4: it is no JSON\nwazuh-cluster: 1 lines were refused\n",
            process.err,
        )
        self.assertEqual([1, 2, 3, 4, 5], [record.id for record in self.reports.taken])

    async def test_largeStream(self) -> None:
        """
        A stream that is larger than any pipe.
        """
        self.master(1)
        process = self.command("agents", "report", "-")
        process.transport.write(
            b"".join(b'{"id": %d, "info": {"x": "%s"}}\n' % (n, b"y" * 400) for n in range(1, 3001))
        )
        process.transport.closeStdin()
        self.assertEqual(0, await process.ended, process.err)
        self.assertEqual(list(range(1, 3001)), [record.id for record in self.reports.taken])

    async def test_nobody(self) -> None:
        """
        Where no node runs, each says so in one line.
        """
        for arguments in (
            ("agents",),
            ("agents", "--json"),
            ("agents", "remove", "1"),
            ("agents", "report", "--id", "1"),
            ("agents", "report", "-"),
            ("groups", "list"),
            ("groups", "create", "web"),
        ):
            out, err = await self.run_(*arguments, status=1)
            self.assertEqual("", out)
            self.assertEqual(
                f"wazuh-cluster: {self.home}: no node runs there: start it with "
                f"'twistd wazuh-cluster --home {self.home}'\n",
                err,
            )

    async def test_nodeEnds(self) -> None:
        """
        A node that ends meanwhile is one line too.
        """
        service = self.master(1)
        process = self.command("agents", "report", "-")
        process.transport.write(b'{"id": 1}\n')
        while not self.reports.taken:
            await deferLater(reactor, 0.01)
        await self.stop(service)
        process.transport.write(b'{"id": 2}\n')
        self.assertEqual(1, await process.ended)
        self.assertEqual(1, process.err.count(b"\n"), process.err)
        self.assertIn(b"wazuh-cluster: ", process.err)

    def master(self, agents: int) -> Any:
        """
        A node with so many agents.
        """
        service = self.start()
        self.fleetful.fleet.rows = [never(n) for n in range(1, agents + 1)]
        return service
