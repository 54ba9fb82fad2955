"""
Tests for C{wazuh-cluster demo}: its options, its failures, and the whole of it
with real nodes.
"""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

import wazuh_cluster
from tests.test_demo_nodes import FakeProcess
from wazuh_cluster.demo.command import DemoOptions, demonstrate
from wazuh_cluster.demo.doors import Doors
from wazuh_cluster.demo.nodes import IProcess, Node
from wazuh_cluster.demo.pace import Pace
from wazuh_cluster.demo.show import Screen
from wazuh_cluster.errors import BadInput
from wazuh_cluster.home import Home

#: Longer than any demo takes, in seconds.
LONGEST = 120


def parse(*arguments: str) -> DemoOptions:
    """
    The options that these arguments give.
    """
    options = DemoOptions()
    options.parseOptions(list(arguments))
    return options


def processesNaming(text: str) -> list[str]:
    """
    The ids of this machine's processes whose arguments have a text.
    """
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if os.fsencode(text) in file.read():
                    found.append(pid)
        except OSError:
            continue
    return found


def masterRuns(home: Home, process: FakeProcess) -> None:
    """
    Have a fake master look as if it had begun.
    """
    if home.path.endswith("hub"):
        with open(os.path.join(home.stateFolder, "generation"), "w") as file:
            file.write('{"number": 1, "mark": "00"}')


class ClosedOutput(io.StringIO):
    """
    An output whose reader goes away when the first bar is drawn.
    """

    def write(self, text: str) -> int:
        """
        See L{io.StringIO.write}.
        """
        if "\x1b" in text:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)


class OptionsTests(SynchronousTestCase):
    """
    Tests for L{DemoOptions}.
    """

    def test_defaults(self) -> None:
        """
        There are two workers and a list of 128 MB; for many workers it is
        smaller.
        """
        options = parse()
        self.assertEqual((2, 128, 0), (options["workers"], options["size"], options["keep"]))
        self.assertEqual(32, parse("--workers", "8")["size"])
        self.assertEqual(200, parse("--workers", "8", "--size", "200")["size"])

    def test_refused(self) -> None:
        """
        Numbers that are none, or too small or large, are refused by name.
        """
        for option, value in (
            *(("--workers", each) for each in ("0", "9", "-1", "two", "", "٣", "1" * 5000)),
            *(("--size", each) for each in ("0", "1.5", "10001")),
        ):
            error = self.assertRaises(usage.UsageError, parse, option, value)
            self.assertIn(option, str(error))
            self.assertTrue(len(str(error)) < 120)
        self.assertRaises(usage.UsageError, parse, "more")


class FailureTests(SynchronousTestCase):
    """
    Tests for demos that do not come to their end, with fake processes.
    """

    def setUp(self) -> None:
        """
        A place for temporary folders.
        """
        self.temporary = os.path.abspath(self.mktemp())
        os.mkdir(self.temporary)
        self.patch(tempfile, "tempdir", self.temporary)
        self.processes: list[FakeProcess] = []
        self.out, self.errors = io.StringIO(), io.StringIO()
        self.screen = Screen(self.out, live=False)
        clock = Clock()
        self.pace = Pace(clock.seconds, clock.advance)
        self.doors = Doors(clock)

    def demonstrate(self, launched: Callable[[Home, FakeProcess], None]) -> int:
        """
        Run a demo.

        @param launched: is called with each process that was started.
        """

        def launch(node: Node) -> IProcess:
            process = FakeProcess()
            self.processes.append(process)
            launched(node.home, process)
            return process

        options = parse("--size", "1")
        return demonstrate(options, self.screen, self.errors, self.pace, self.doors, launch)

    def assertNothingLeft(self) -> None:
        """
        There is no folder, and no process runs.
        """
        self.assertEqual([], os.listdir(self.temporary))
        self.assertTrue(all(process.status is not None for process in self.processes))

    def test_dies(self) -> None:
        """
        A node that ends by itself is told in one line with the tail of its
        log, the status is 1, and nothing is left.
        """

        def die(home: Home, process: FakeProcess) -> None:
            with open(home.log, "w") as file:
                file.write("one\nCRITICAL: cannot listen\n")
            process.status = 1

        self.assertEqual(1, self.demonstrate(die))
        first, *tail = self.errors.getvalue().splitlines()
        self.assertEqual(
            "wazuh-cluster: the demo failed: hub ended by itself with status 1.", first
        )
        self.assertTrue(tail[0].endswith("/hub/logs/cluster.log:"))
        self.assertEqual(["  one", "  CRITICAL: cannot listen"], tail[1:])
        self.assertNothingLeft()

    def test_hangs(self) -> None:
        """
        A node that does nothing is given up, and what was started is ended.
        """
        self.assertEqual(1, self.demonstrate(lambda home, process: None))
        self.assertIn("hub has no generation after 60 s.\n", self.errors.getvalue())
        self.assertIn("hub wrote no log.", self.errors.getvalue())
        self.assertEqual([signal.SIGTERM], self.processes[0].signals)
        self.assertNothingLeft()

    def test_worker(self) -> None:
        """
        If it is a worker that dies, its log is shown.
        """

        def launched(home: Home, process: FakeProcess) -> None:
            masterRuns(home, process)
            if home.path.endswith("siem-2"):
                process.status = -11

        self.assertEqual(1, self.demonstrate(launched))
        self.assertIn("siem-2 was ended by the signal 11.\nsiem-2 wrote", self.errors.getvalue())
        self.assertEqual(3, len(self.processes))
        self.assertNothingLeft()

    def test_cannotStart(self) -> None:
        """
        If the system starts no process, that is said in one line.
        """

        def refuse(home: Home, process: FakeProcess) -> None:
            process.status = 0
            raise OSError(12, "Cannot allocate memory")

        self.assertEqual(1, self.demonstrate(refuse))
        self.assertEqual(
            "wazuh-cluster: the demo failed: hub cannot be started: Cannot allocate memory.\n",
            self.errors.getvalue(),
        )
        self.assertNothingLeft()

    def test_interrupted(self) -> None:
        """
        A signal in the very moment in which a process starts ends that process
        too.
        """
        status = self.demonstrate(lambda home, process: signal.raise_signal(signal.SIGTERM))
        self.assertEqual(128 + signal.SIGTERM, status)
        self.assertEqual([signal.SIGTERM], self.processes[0].signals)
        self.assertIn("interrupted (SIGTERM)", self.errors.getvalue())
        self.assertNothingLeft()

    def test_outputClosed(self) -> None:
        """
        If nobody reads the output any more, that ends the demo, and nothing is
        left.
        """
        self.screen = Screen(ClosedOutput(), live=True, width=80)
        self.assertRaises(BrokenPipeError, self.demonstrate, masterRuns)
        self.assertEqual(3, len(self.processes))
        self.assertNothingLeft()

    def test_badRuleset(self) -> None:
        """
        A folder without a ruleset is refused before anything is made.
        """
        options = parse("--ruleset", self.mktemp())
        error = self.assertRaises(
            BadInput,
            demonstrate,
            options,
            self.screen,
            self.errors,
            self.pace,
            self.doors,
            lambda node: self.fail("started"),
        )
        self.assertIn("--ruleset", str(error))
        self.assertEqual("", self.out.getvalue())
        self.assertNothingLeft()


class WholeTests(SynchronousTestCase):
    """
    Tests for the whole demo with real nodes.
    """

    def setUp(self) -> None:
        """
        A place for the demo's temporary folder.
        """
        self.temporary = os.path.abspath(self.mktemp())
        os.mkdir(self.temporary)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """
        Start a demo away from the checkout.
        """
        place = os.path.dirname(os.path.dirname(os.path.abspath(wazuh_cluster.__file__)))
        before = os.environ.get("PYTHONPATH")
        process = subprocess.Popen(
            [sys.executable, "-m", "wazuh_cluster.scripts.main", "demo", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.temporary,
            env={
                **os.environ,
                "TMPDIR": self.temporary,
                "PYTHONPATH": f"{place}{os.pathsep}{before}" if before else place,
            },
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.terminate)
        return process

    def assertNothingLeft(self) -> None:
        """
        There is no folder and no process.
        """
        self.assertEqual([], os.listdir(self.temporary))
        self.assertEqual([], processesNaming(self.temporary))

    def test_whole(self) -> None:
        """
        A demo of one's own ruleset ends with 0, shows equal roots of all nodes,
        resumes what was cut, shows on each node what becomes of agents, and
        leaves nothing.
        """
        rules = self.mktemp()
        os.mkdir(rules)
        with open(os.path.join(rules, "local_rules.xml"), "w") as file:
            file.write('<group name="local,"><rule id="100001" level="5"/></group>\n')
        process = self.start("--ruleset", os.path.abspath(rules), "--size", "40")
        out, errors = process.communicate(timeout=LONGEST)
        self.assertEqual((0, ""), (process.returncode, errors), out)
        self.assertIn("level 5 of the rule 100001 becomes 12", out)
        for worker in ("siem-1", "siem-2"):
            self.assertTrue(re.search(rf"{worker}  has it after [0-9.]+ s\n", out), out)
        for node in ("hub   ", "siem-1", "siem-2"):
            for said in (
                "has all 5 keys",
                "shows all 5 active at siem-1",
                "shows it active at siem-2",
                "shows desk-2 disconnected, and desk-1 active at siem-2 as before,",
                "has the group, with its 5 agents,",
                "has no key, group or status of it",
            ):
                self.assertTrue(re.search(rf"^   {node}  {said} after [0-9.]+ s$", out, re.M), out)
        self.assertIn("same on all nodes: 205 agents.", out)
        self.assertIn("same on all nodes: 204 agents.", out)
        self.assertTrue(re.search(r"^   20\d  desk-1  active +siem-2  desks$", out, re.M), out)
        roots = re.findall(
            r"^   (\S+) +(?:master|worker) +(\d+) +\d+ +\S+ MB  ([0-9a-f]{24})$", out, re.M
        )
        self.assertEqual(["hub", "siem-1", "siem-2"], [name for name, *_ in roots], out)
        self.assertEqual(1, len({(generation, root) for _, generation, root in roots}), out)
        self.assertIn("All roots are equal.", out)
        self.assertIn("were not sent again", out)
        self.assertNotIn("\x1b", out)
        self.assertNothingLeft()
        with open(os.path.join(rules, "local_rules.xml")) as file:
            self.assertIn('level="5"', file.read())

    def test_interrupted(self) -> None:
        """
        A Ctrl-C in the middle of a transfer ends the demo and leaves nothing.
        """
        process = self.start("--workers", "1", "--size", "60")
        assert process.stdout is not None
        for line in process.stdout:
            if "The master gets a list" in line:
                break
        self.assertEqual(2, len(processesNaming(self.temporary)))
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=LONGEST)
        self.assertEqual(128 + signal.SIGINT, process.returncode, out + errors)
        self.assertTrue(errors.startswith("wazuh-cluster: interrupted (SIGINT)"))
        self.assertEqual(1, errors.count("\n"))
        self.assertNothingLeft()

    def test_keep(self) -> None:
        """
        A cluster that is kept runs on until the command that is shown ends it,
        and removes its folder.
        """
        process = self.start("--workers", "1", "--size", "1", "--keep")
        out, errors = process.communicate(timeout=LONGEST)
        command = re.search(r"To end and remove it all: (.*)\n", out)
        assert command is not None, out + errors
        try:
            self.assertEqual((0, ""), (process.returncode, errors))
            self.assertEqual(2, len(processesNaming(self.temporary)))
            self.assertIn("tail -f", out)
            self.assertIn("wazuh-cluster agents --home ", out)
            self.assertIn("There is no other one: take --workers 2 to see it.", out)
        finally:
            subprocess.run(["sh", "-c", command[1]], check=False, timeout=LONGEST)
        self.assertNothingLeft()
