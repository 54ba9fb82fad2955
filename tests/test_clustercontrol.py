"""
Tests for C{cluster_control}: its output is what Wazuh's programs and playbooks
read.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import wazuh_cluster
from tests.test_statuscommands import NASTY, CommandsCase
from wazuh_cluster.errors import HomeError, MasterUnreachable, RequestRefused
from wazuh_cluster.model import WorkerInfo
from wazuh_cluster.scripts.clustercontrol import (
    Refusal,
    brief,
    complaint,
    detailed,
    listAgents,
    listNodes,
    main,
    showHealth,
    table,
)
from wazuh_cluster.status import LastSync, NodeReport, NodeStatus, ThreadStatus
from wazuh_cluster.status.values import FAILED, LEFT
from wazuh_cluster.status.wazuhhealth import date, health, seconds, version

#: 2026-11-22 18:03:11 UTC.
THEN = 1795370591.0

_DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"

MASTER = NodeStatus("master", "master", address="127.0.0.1", wazuhVersion="v4.14.7")
WORKER = NodeStatus(
    "w1",
    "worker",
    address="127.0.0.1",
    wazuhVersion="Wazuh v4.14.7",
    lastKeepAlive=THEN,
    lastCheck=THEN + 0.005,
    agents={"active": 5, "pending": 2},
    report=NodeReport(
        lastSync=LastSync(THEN + 1, created=1, updated=2, mended=1, deleted=4, seconds=0.007),
        threads=(
            ThreadStatus("Integrity", 9.0, started=THEN, ended=THEN + 0.005, duration=0.005),
            ThreadStatus("Agent info", 10.0, started=THEN, ended=THEN + 0.07, duration=0.07),
        ),
        chunks=3,
    ),
)


class ShapesTests(SynchronousTestCase):
    """
    The layouts, by the letter.
    """

    def test_table(self) -> None:
        """
        Columns are as wide as their widest cell and two blanks; an empty line
        ends the table.
        """
        rows = [
            ("master", "master", "4.14.7", "127.0.0.1"),
            ("w2", "worker", "4.14.7", "127.0.0.1"),
        ]
        self.assertEqual(
            [
                "NAME    TYPE    VERSION  ADDRESS    ",
                "master  master  4.14.7   127.0.0.1  ",
                "w2      worker  4.14.7   127.0.0.1  ",
                "",
            ],
            table(("NAME", "TYPE", "VERSION", "ADDRESS"), rows),
        )

    def test_brief(self) -> None:
        """
        C{-i}: the master is counted and listed nowhere.
        """
        found = health([WORKER, MASTER])
        self.assertEqual(
            [
                "Cluster name: wazuh",
                "",
                "Last completed synchronization for connected nodes (1):",
                "    w1 (127.0.0.1): Integrity check: 2026-11-22T18:03:11.005000Z | "
                "Integrity sync: 2026-11-22T18:03:12.000000Z | "
                "Agents-info: 2026-11-22T18:03:11.070000Z | Agent-groups: n/a | "
                "Agent-groups full: n/a | Last keep alive: 2026-11-22T18:03:11.000000Z.",
                "",
            ],
            list(brief("wazuh", found)),
        )

    def test_detailed(self) -> None:
        """
        C{-i more}: all nodes by name, the master without a status.
        """
        text = "\n".join(detailed("wazuh", health([WORKER, MASTER])))
        self.assertEqual(
            """\
Cluster name: wazuh

Connected nodes (1):

    master (127.0.0.1)
        Version: 4.14.7
        Type: master
        Active agents: 0

    w1 (127.0.0.1)
        Version: 4.14.7
        Type: worker
        Active agents: 5
        Status:
            Last keep Alive:
                Last received: 2026-11-22T18:03:11.000000Z.
            Integrity check:
                Last integrity check: 0.005s (<date> - <date>).
                Permission to check integrity: True.
            Integrity sync:
                Last integrity synchronization: 0.007s (<date> - <date>).
                Synchronized files: Shared: 3 | Missing: 1 | Extra: 4.
            Agents-info:
                Last synchronization: 0.07s (<date> - <date>).
                Number of synchronized chunks: 3.
                Permission to synchronize agent-info: True.
            Agents-groups:
                Last synchronization: n/a (n/a - n/a).
                Number of synchronized chunks: 0.
            Agents-groups full:
                Last synchronization: n/a (n/a - n/a).
                Number of synchronized chunks: 0.
""",
            re.sub(rf"\({_DATE} - {_DATE}\)", "(<date> - <date>)", text),
        )

    def test_nothingYet(self) -> None:
        """
        A worker that has just joined has no dates.
        """
        text = "\n".join(detailed("wazuh", health([NodeStatus("w1", "worker")])))
        self.assertIn("Last received: n/a.", text)
        self.assertIn("Last integrity check: n/a (n/a - n/a).", text)

    def test_gone(self) -> None:
        """
        Nodes that left or failed are none that are connected.
        """
        gone = [NodeStatus("a", "worker", state=LEFT), NodeStatus("b", "worker", state=FAILED)]
        self.assertEqual({"n_connected_nodes": 0, "nodes": {}}, health(gone))
        self.assertEqual([], list(health([WORKER], ["w2"])["nodes"]))

    def test_words(self) -> None:
        """
        Dates, versions, and spans of time.
        """
        self.assertEqual("n/a", date(None))
        self.assertEqual("n/a", date(1e18))
        self.assertEqual("1970-01-01T00:00:00.000000Z", date(0.0))
        self.assertEqual("0.001s", seconds(date(THEN), date(THEN)))
        self.assertEqual("1234.567s", seconds(date(THEN), date(THEN + 1234.567)))
        self.assertEqual("4.14.7", version(WORKER))
        self.assertEqual("26.1", version(NodeStatus("n", "worker", software="wazuh_cluster 26.1")))


class ControlTests(CommandsCase):
    """
    On a cluster.
    """

    def test_nodes(self) -> None:
        """
        C{-l}, on any node, and with names.
        """
        for service in (self.theMaster, self.theWorker):
            lines = self.does(listNodes(self.client(service), self.out))
            self.assertEqual(["NAME", "TYPE", "VERSION", "ADDRESS"], lines[0].split())
            self.assertEqual(["hub", "w1"], [line.split()[0] for line in lines[1:-1]])
            self.assertEqual("", lines[-1])
        lines = self.does(listNodes(self.client(self.theMaster), self.out, ["w1"]))
        self.assertEqual(["w1"], [line.split()[0] for line in lines[1:-1]])

    def test_unknownNode(self) -> None:
        """
        A node that is not connected: Wazuh's code, and one line.
        """
        client = self.client(self.theMaster)
        for work in (
            listNodes(client, self.out, ["w9"]),
            listAgents(client, self.out, ["w9"]),
            showHealth(client, self.out, ["w9"]),
        ):
            self.assertEqual("no node 'w9' is connected", self.fails(work, Refusal))

    def test_health(self) -> None:
        """
        C{-i} and C{-i more}.
        """
        client = self.client(self.theWorker)
        lines = self.does(showHealth(client, self.out))
        self.assertRegex(
            lines[3],
            rf"^    w1 \(w1\): Integrity check: {_DATE} \| Integrity sync: {_DATE} \| Agents-info: "
            rf"n/a \| Agent-groups: n/a \| Agent-groups full: n/a \| Last keep alive: {_DATE}\.$",
        )
        text = "\n".join(self.does(showHealth(client, self.out, more=True)))
        self.assertIn("Synchronized files: Shared: 0 | Missing: 6 | Extra: 0.", text)
        text = "\n".join(self.does(showHealth(client, self.out, ["w1"], more=True)))
        self.assertNotIn("hub", text)

    def test_nasty(self) -> None:
        """
        Whatever nodes say moves no terminal.
        """
        info = WorkerInfo("nasty", NASTY, NASTY, NASTY, 1, b"h" * 16, b"n" * 16)
        self.theMaster.status.known.joined(info)
        client = self.client(self.theMaster)
        for work in (listNodes(client, self.out), showHealth(client, self.out, more=True)):
            for line in self.does(work):
                self.assertTrue(line.isprintable(), line)

    def test_withoutMaster(self) -> None:
        """
        A worker without a link cannot say.
        """
        self.stop(self.theMaster)
        self.pass_(2)
        client = self.client(self.theWorker)
        self.fails(listNodes(client, self.out), MasterUnreachable)


class ArgumentsTests(SynchronousTestCase):
    """
    What is called wrongly ends with a line, and Wazuh's exit status.
    """

    def run_(self, *arguments: str) -> tuple[int, str]:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            try:
                status = main(arguments)
            except SystemExit as end:
                status = int(str(end.code))
        return status, out.getvalue()

    def test_help(self) -> None:
        """
        With nothing to do, or asked for it.
        """
        for arguments in ((), ("-h",), ("--help",), ("-h", "-l")):
            status, text = self.run_(*arguments)
            self.assertEqual(0, status)
            for option in ("-l", "-a", "-i", "-fn", "-fs", "-d"):
                self.assertIn(option, text)
        status, text = self.run_("-u")
        self.assertEqual(0, status)
        self.assertIn("cluster_control -i more", text)

    def test_clash(self) -> None:
        """
        What excludes each other: 1, and why.
        """
        for arguments, words in (
            (("-l", "-a"), "-l, -a and -i exclude each other"),
            (("-a", "-i", "more"), "-l, -a and -i exclude each other"),
            (("-l", "-fs", "active"), "-fs is for -a"),
            (("-fn", "w1"), "-fn is for -l, -a and -i"),
            (("-i", "less"), "-i takes 'more' or nothing, not 'less'"),
            (("-a", "-fs", "sad\x1b"), "'sad\\x1b' is no status: use active"),
        ):
            status, text = self.run_(*arguments)
            self.assertEqual(1, status)
            self.assertIn(f"ERROR: {words}", text)
            self.assertEqual(1, text.count("\n"))

    def test_unknown(self) -> None:
        """
        What is unknown: 2.
        """
        for arguments in (("-x",), ("--lis",), ("w1",), ("-fn",)):
            self.assertEqual(2, self.run_(*arguments)[0])

    def test_errors(self) -> None:
        """
        An error is a line that begins as Wazuh's.
        """
        for error, line in (
            (
                HomeError("no node runs here", "/var/ossec", "start one"),
                "ERROR: Cluster is not running (/var/ossec: no node runs here: start one)",
            ),
            (MasterUnreachable("no\nlink"), "ERROR: Error 3023 - no link"),
            (
                Refusal(3022, "no node 'x' is connected"),
                "ERROR: Error 3022 - no node 'x' is connected",
            ),
            (RequestRefused("\x1b"), "ERROR: Error 1000 - \\x1b"),
        ):
            self.assertEqual(line, complaint(error))


class ProcessTests(SynchronousTestCase):
    """
    The program itself.
    """

    def test_notRunning(self) -> None:
        """
        Without a node: 1, and why.
        """
        found = subprocess.run(
            [sys.executable, "-m", "wazuh_cluster.scripts.clustercontrol", "-l", "-d"],
            env={**os.environ, "WAZUH_HOME": os.path.abspath(self.mktemp())},
            cwd=Path(wazuh_cluster.__file__).parent.parent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(1, found.returncode)
        self.assertTrue(found.stdout.startswith("ERROR: Cluster is not running (/"), found.stdout)
        self.assertEqual(1, found.stdout.count("\n"))
        self.assertTrue(found.stderr.startswith("HomeError: "), found.stderr)
