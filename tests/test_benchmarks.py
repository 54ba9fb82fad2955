"""
Tests for the benchmarks' harness.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import redirect_stderr
from io import StringIO

from twisted.logger import LogLevel
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.command import Options, main, measure, requireRoom
from benchmarks.figures import Figure, excess, mib, ratio
from benchmarks.harness import Bench, Sizes
from benchmarks.jobs import JOBS
from benchmarks.machine import Disturbance, describeMachine
from benchmarks.nodes import BenchmarkFailed, TwistdProcess
from benchmarks.probe import EventFile
from benchmarks.processes import memoryOf, processorTimeOf
from benchmarks.report import Section
from benchmarks.rsync import MISSING, findRsync
from benchmarks.trees import MTIME, TreeSpec, lastChange, makeTree, seen


def contents(folder: str) -> dict[str, bytes]:
    """
    Path to content of every file below a folder.
    """
    found = {}
    for path in seen(folder):
        with open(os.path.join(folder, path), "rb") as file:
            found[path] = file.read()
    return found


class FigureTests(SynchronousTestCase):
    """
    L{Figure} and what is made of two.
    """

    def test_spread(self) -> None:
        """
        A figure is its median with the lowest and highest value.
        """
        figure = Figure([3.0, 1.0, 8.0, 2.0, 150.0])
        self.assertEqual((3.0, 1.0, 150.0), (figure.median, figure.lowest, figure.highest))
        self.assertEqual("3.000 s (1.000 to 150)", figure.describe())

    def test_noRun(self) -> None:
        """
        There is no figure of nothing.
        """
        self.assertRaises(ValueError, Figure, [])

    def test_ratioRunByRun(self) -> None:
        """
        A ratio is that of each run, not of two medians.
        """
        found = ratio(Figure([2.0, 10.0, 9.0]), Figure([1.0, 10.0, 3.0]))
        self.assertEqual((2.0, 1.0, 3.0), found.values)
        self.assertEqual("x", found.unit)

    def test_differentRuns(self) -> None:
        """
        Figures of different numbers of runs are not compared.
        """
        self.assertRaises(ValueError, ratio, Figure([1.0]), Figure([1.0, 2.0]))

    def test_excess(self) -> None:
        """
        An excess keeps the unit.
        """
        found = excess(mib([3 << 20]), mib([1 << 20]))
        self.assertEqual(Figure([2.0], "MiB"), found)


class SectionTests(SynchronousTestCase):
    """
    L{Section}.
    """

    def setUp(self) -> None:
        self.section = Section("things", ["a note"])
        theirs = self.section.add("theirs", "them", Figure([2.0]))
        ours = Figure([1.0])
        self.section.add("ours", "us", ours, with_all=ratio(ours, theirs))

    def test_text(self) -> None:
        """
        The text has a title, a line for each row, and the notes.
        """
        self.assertEqual(
            [
                "things",
                "------",
                "  them  2.000 s (2.000 to 2.000)",
                "  us    1.000 s (1.000 to 1.000); 0.500 x (0.500 to 0.500) with all",
                "  a note",
            ],
            self.section.toText().splitlines(),
        )

    def test_json(self) -> None:
        """
        The JSON has every value.
        """
        rows = json.loads(json.dumps(self.section.toJSON()))["rows"]
        self.assertEqual([2.0], rows["theirs"]["values"])
        self.assertEqual(0.5, rows["ours"]["beside"]["with all"]["median"])


class TreeTests(SynchronousTestCase):
    """
    L{makeTree}.
    """

    def test_sameAgain(self) -> None:
        """
        A specification always gives the same tree; another seed gives another.
        """
        trees = []
        for seed in (1, 1, 2):
            folder = self.mktemp()
            makeTree(TreeSpec(12, 1000, 90_000, 5, seed), folder)
            trees.append(contents(folder))
        self.assertEqual(trees[0], trees[1])
        self.assertEqual(trees[0].keys(), trees[2].keys())
        self.assertFalse(set(trees[0].values()) & set(trees[2].values()))

    def test_asSpecified(self) -> None:
        """
        Number, sizes, folders and times are those of the specification, and no
        content comes twice.
        """
        folder = self.mktemp()
        spec = TreeSpec(12, 100, 200, 5)
        makeTree(spec, folder)
        found = seen(folder)
        self.assertEqual(sorted(spec.sizes()), sorted(size for size, _ in found.values()))
        self.assertEqual(spec.totalSize, sum(spec.sizes()))
        self.assertTrue(all(100 <= size <= 200 for size, _ in found.values()))
        self.assertEqual({MTIME}, {mtime for _, mtime in found.values()})
        self.assertEqual(3, len(os.listdir(folder)))
        self.assertEqual(12, len(set(contents(folder).values())))

    def test_namedSizes(self) -> None:
        """
        The files of the issue are 10,000 with 46 MB.
        """
        self.assertEqual(10_000, Sizes().small.files)
        self.assertEqual(46, round(Sizes().small.totalSize / 1e6))

    def test_lastChange(self) -> None:
        """
        A file that came to its name by a rename counts from then on, however
        old it is.
        """
        folder = self.mktemp()
        makeTree(TreeSpec(2, 10, 10), folder)
        path = os.path.join(folder, "folder-0000", "rules-000000.xml")
        before = lastChange(folder)
        while lastChange(folder) == before:
            os.rename(path, path + ".new")
            os.rename(path + ".new", path)
        self.assertEqual(MTIME, int(os.stat(path).st_mtime))
        self.assertLess(abs(lastChange(folder) - time.time()), 60.0)


class MachineTests(SynchronousTestCase):
    """
    What is asked of the system.
    """

    def test_memory(self) -> None:
        """
        This process's memory is in the order of a Python's, and was never less
        at the peak.
        """
        memory = memoryOf(os.getpid())
        self.assertGreater(memory.resident, 10 << 20)
        self.assertGreaterEqual(memory.peak, memory.resident)

    def test_processorTime(self) -> None:
        """
        Work uses processor time.
        """
        before = processorTimeOf(os.getpid())
        sum(range(2_000_000))
        # The system counts when a thread leaves its processor.
        os.sched_yield()
        self.assertGreater(processorTimeOf(os.getpid()), before)

    def test_describe(self) -> None:
        """
        The machine is told in one line.
        """
        self.assertEqual(1, len(describeMachine().splitlines()))
        self.assertIn("Twisted", describeMachine())

    def test_busy(self) -> None:
        """
        What others used is said first, and in how many runs.
        """
        found = Disturbance([0.0, 0.3], [0.0, 0.0], [0.1, 1.5], [20.0, 400.0])
        self.assertTrue(found.describe().startswith("THE MACHINE WAS BUSY in 1 of 2 runs"))
        self.assertIn("30%", found.describe())
        self.assertIn("20 to 400 µs", found.describe())
        self.assertIn("quiet", Disturbance([0.0], [0.0], [0.0]).describe())

    def test_ownIsNotOthers(self) -> None:
        """
        Processor time of ours that a living process used is taken off, in
        parts of the machine.
        """
        spent = iter([0.0, 1e9])
        found = Disturbance(living=[lambda: next(spent)])
        with found:
            sum(range(100_000))
        self.assertEqual([0.0], found.others)
        self.assertEqual([1, 1], [len(found.stolen), len(found.load)])


class EventTests(SynchronousTestCase):
    """
    L{EventFile} and who reads it.
    """

    def test_roundTrip(self) -> None:
        """
        Events are read as they were logged, and a line that is not whole yet is
        read later.
        """
        process = TwistdProcess(self.mktemp(), [], {})
        os.makedirs(process.folder)
        with open(process.eventsPath, "w", encoding="utf-8") as file:
            write = EventFile(file)
            write({"log_time": 1.5, "log_level": LogLevel.info, "log_format": "{a}\n", "a": "ä"})
            file.write('{"time": 2, ')
            file.flush()
            (event,) = process.events()
            self.assertEqual((1.5, "info", "ä\n"), (event.time, event.level, event.text))
            file.write('"level": "error", "text": "bad"}\n')
            file.flush()
            self.assertEqual(2, len(process.events()))
        self.assertEqual(["bad"], process.problems())
        match = process.until("b(a)d", 0.0, after=1)
        self.assertEqual(2, process.eventOf(match).time)

    def test_never(self) -> None:
        """
        What does not come is told, with the end of the log.
        """
        process = TwistdProcess(self.mktemp(), [], {})
        os.makedirs(process.folder)
        for path in (process.eventsPath, os.path.join(process.folder, "output")):
            with open(path, "w", encoding="utf-8") as file:
                file.write('{"time": 1, "level": null, "text": "other"}\n')
        error = self.assertRaises(BenchmarkFailed, process.until, "it", 0.0)
        self.assertIn("other", str(error))


class BenchTests(SynchronousTestCase):
    """
    L{Bench}.
    """

    def test_alternate(self) -> None:
        """
        Each work is done once per run, and who is first changes.
        """
        folder = self.mktemp()
        os.makedirs(folder)
        bench = Bench(folder, 3, Sizes(pause=0.0), None, lambda text: None)
        done: list[str] = []
        bench.alternate([lambda: done.append("a"), lambda: done.append("b")])
        self.assertEqual("abbaab", "".join(done))
        self.assertEqual(6, len(bench.disturbance.others))

    def test_newPlaces(self) -> None:
        """
        No folder is used twice.
        """
        bench = Bench(self.mktemp(), 1, Sizes(), None, lambda text: None)
        self.assertNotEqual(bench.place("x"), bench.place("x"))


class CommandTests(SynchronousTestCase):
    """
    The command line.
    """

    def test_defaults(self) -> None:
        """
        All jobs are run five times; twice if it is to be quick.
        """
        options = Options()
        options.parseOptions([])
        self.assertEqual((tuple(JOBS), 5), (options["jobs"], options["runs"]))
        options = Options()
        options.parseOptions(["--quick"])
        self.assertEqual(2, options["runs"])

    def test_refused(self) -> None:
        """
        What makes no sense is refused.
        """
        for arguments in (["no-such-job"], ["--runs", "0"], ["--runs", "many"]):
            self.assertRaises(usage.UsageError, Options().parseOptions, arguments)
        with redirect_stderr(StringIO()) as said:
            self.assertEqual(2, main(["no-such-job"]))
        self.assertEqual(1, len(said.getvalue().splitlines()))

    def test_noRoom(self) -> None:
        """
        A disk that is too small is refused before anything is written.
        """
        huge = Sizes(large=TreeSpec(1, 1 << 60, 1 << 60))
        folder = self.mktemp()
        os.makedirs(folder)
        error = self.assertRaises(BenchmarkFailed, requireRoom, folder, ["large"], 5, huge)
        self.assertIn("--folder", str(error))
        self.assertRaises(BenchmarkFailed, requireRoom, folder, ["text"], 5, huge)
        requireRoom(folder, ["nothing"], 5, Sizes(small=TreeSpec(1, 1, 1)))

    def test_realProcesses(self) -> None:
        """
        Jobs give tables, between real processes; without rsync too.
        """
        jobs = ["small", "text", "nothing", "change", "rest", "crowd", "agents"]
        sizes = Sizes(
            TreeSpec(20, 100, 200, 5),
            TreeSpec(2, 9, 9),
            rules=TreeSpec(20, 100, 200, 5),
            workers=(1,),
            resting=(10,),
            crowd=3,
            agents=(300,),
            fleet=300,
            patience=40.0,
            pause=0.0,
            fresh=0.0,
            between=0.0,
            idle=0.5,
            settling=0.0,
        )
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        said: list[str] = []
        result = measure(jobs, folder, 1, sizes, findRsync(), said.append)
        found = json.loads(json.dumps(result.toJSON()))["jobs"]
        self.assertEqual(jobs, list(found))
        small = found["small"]["rows"]
        self.assertGreater(small["in place"]["median"], small["joined"]["median"])
        self.assertGreater(small["worker peak"]["median"], 10)
        self.assertIn("check", found["nothing"]["rows"])
        self.assertGreater(found["change"]["rows"]["1"]["median"], 0)
        self.assertGreater(found["rest"]["rows"]["10 worker resident"]["median"], 10)
        self.assertGreater(found["crowd"]["rows"]["told"]["median"], 0)
        agents = found["agents"]["rows"]
        self.assertGreater(agents["300 rate"]["median"], 0)
        self.assertIn("of SQLite alone", agents["300 committed"]["beside"])
        if findRsync() is None:
            self.assertIn(MISSING, said[0])
        else:
            self.assertIn("rsync", small["in place"]["beside"])
            self.assertIn("-az", found["text"]["rows"]["rsync"]["label"])

    def test_stream(self) -> None:
        """
        So does the one between two ends that have no disk.
        """
        sizes = Sizes(patience=60.0, pause=0.0, stream=3_000_000)
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        result = measure(["stream"], folder, 1, sizes, None, lambda text: None)
        rows = json.loads(json.dumps(result.toJSON()))["jobs"]["stream"]["rows"]
        self.assertGreater(rows["transfer"]["median"], 0)
        self.assertIn("of it", rows["transfer"]["beside"])
        self.assertGreater(rows["blocking receiver"]["median"], 0)

    def test_registrations(self) -> None:
        """
        So does the one that needs no nodes.
        """
        sizes = Sizes(patience=60.0, pause=0.0, registered=30, registrations=20)
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        result = measure(["registrations"], folder, 1, sizes, None, lambda text: None)
        rows = json.loads(json.dumps(result.toJSON()))["jobs"]["registrations"]["rows"]
        for there in (0, 30):
            self.assertGreater(rows[f"crowd {there}"]["median"], 1)
            self.assertIn("limit", rows[f"crowd {there}"]["beside"])

    def test_enrolling(self) -> None:
        """
        And the one in which agents enroll at a worker.
        """
        sizes = Sizes(patience=60.0, pause=0.0, fresh=0.0, registered=25, registrations=30)
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        result = measure(["enrolling"], folder, 1, sizes, None, lambda text: None)
        rows = json.loads(json.dumps(result.toJSON()))["jobs"]["enrolling"]["rows"]
        self.assertGreater(rows["crowd 25"]["median"], 1)
        self.assertIn("limit", rows["crowd 25"]["beside"])
        self.assertEqual(5, len(rows["soon 25"]["values"]))
        self.assertGreater(rows["slowest 25"]["median"], 0)
