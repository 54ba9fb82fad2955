"""
The command C{python -m benchmarks}.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from attrs import frozen
from twisted.python import usage

from benchmarks.harness import QUICK, Bench, Sizes
from benchmarks.jobs import JOBS
from benchmarks.machine import Disturbance, describeMachine
from benchmarks.nodes import BenchmarkFailed
from benchmarks.report import Section
from benchmarks.rsync import MISSING, findRsync, rsyncVersion

RUNS = 5
QUICK_RUNS = 2

#: Trees and copies that one run of a job makes, and room for the rest.
_COPIES = 2.2
_ROOM = 500_000_000


class Options(usage.Options):
    """
    What the command takes.
    """

    synopsis = f"python -m benchmarks [options] [{' '.join(JOBS)}]"
    longdesc = (
        "Measures nodes between real processes on this machine, beside rsync and a bare "
        "twistd. Without the name of a job, all are run."
    )
    optFlags = [
        ["quick", "q", "Less and smaller: to see that it works, not to quote."],
        ["keep", None, "Leave the working folder there."],
    ]
    optParameters = [
        ["runs", "n", None, f"How often to measure [default: {RUNS}, quick: {QUICK_RUNS}]", int],
        ["json", None, None, "A file for all values."],
        ["folder", None, None, "Where to work [default: the system's temporary folder]"],
    ]

    def parseArgs(self, *jobs: str) -> None:
        """
        Take the jobs' names.
        """
        self["jobs"] = jobs or tuple(JOBS)

    def postOptions(self) -> None:
        """
        Check.
        """
        for job in self["jobs"]:
            if job not in JOBS:
                raise usage.UsageError(f"{job}: there is no such job; there are {', '.join(JOBS)}")
        if self["runs"] is None:
            self["runs"] = QUICK_RUNS if self["quick"] else RUNS
        if self["runs"] < 1:
            raise usage.UsageError("--runs: at least 1")


@frozen
class Result:
    """
    What was found.

    @ivar machine: what this is.
    @ivar rsync: its version, or that it is missing.
    @ivar sections: by job.
    @ivar disturbances: likewise.
    """

    machine: str
    rsync: str
    sections: dict[str, Section]
    disturbances: dict[str, Disturbance]

    def toJSON(self) -> dict[str, object]:
        """
        For programs.
        """
        return {
            "machine": self.machine,
            "rsync": self.rsync,
            "jobs": {
                name: {
                    **section.toJSON(),
                    "disturbance": self.disturbances[name].toJSON(),
                }
                for name, section in self.sections.items()
            },
        }


def measure(
    jobs: Sequence[str],
    folder: str,
    runs: int,
    sizes: Sizes,
    rsync: str | None,
    say: Callable[[str], None],
) -> Result:
    """
    Run jobs.

    @param folder: an empty folder.
    @param say: is told each job's table, and what is being done.

    @raise BenchmarkFailed: if something did not do what is measured.
    """
    machine = describeMachine()
    theirs = MISSING if rsync is None else rsyncVersion(rsync)
    say(f"{machine}\n{theirs}\nEach figure: median (lowest to highest) of {runs} runs.\n")
    sections: dict[str, Section] = {}
    disturbances: dict[str, Disturbance] = {}
    # The first start compiles modules and writes the cache of plugins.
    Bench(folder, 1, sizes, rsync, say).bareMemory()
    for name in jobs:
        bench = Bench(os.path.join(folder, name), runs, sizes, rsync, say)
        os.mkdir(bench.folder)
        began = time.monotonic()
        section = JOBS[name](bench)
        section.notes.append(bench.disturbance.describe())
        say(f"{section.toText()}\n  ({name}, {time.monotonic() - began:.0f} s)\n")
        sections[name] = section
        disturbances[name] = bench.disturbance
    return Result(machine, theirs, sections, disturbances)


def requireRoom(folder: str, jobs: Sequence[str], runs: int, sizes: Sizes) -> None:
    """
    See that the disk has room: nothing is deleted before the end.
    """
    needed = float(_ROOM)
    for name, spec, copies in (
        ("small", sizes.small, 1 + _COPIES * runs),
        ("large", sizes.large, 1 + _COPIES * runs),
        ("text", sizes.large, 1 + _COPIES * runs),
        ("nothing", sizes.small, 1 + _COPIES),
    ):
        if name in jobs:
            needed += copies * (spec.totalSize + 4096 * spec.files)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BenchmarkFailed(
            f"{folder}: there is room for {free / 1e9:.1f} GB, and {needed / 1e9:.1f} GB are "
            "needed: name another --folder, or take fewer --runs or --quick"
        )


def main(arguments: Sequence[str]) -> int:
    """
    The command.

    @return: the exit status.
    """
    options = Options()
    try:
        options.parseOptions(list(arguments))
    except usage.UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sizes = QUICK if options["quick"] else Sizes()
    if options["folder"] is not None and not os.path.isdir(options["folder"]):
        sys.stderr.write(f"--folder: {options['folder']} is not a folder: make it first\n")
        return 1
    folder = tempfile.mkdtemp(prefix="wazuh-cluster-benchmarks-", dir=options["folder"])
    try:
        requireRoom(folder, options["jobs"], options["runs"], sizes)
        result = measure(options["jobs"], folder, options["runs"], sizes, findRsync(), _say)
    except BenchmarkFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        if options["keep"]:
            _say(f"Left in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if options["json"] is not None:
        with open(options["json"], "w", encoding="utf-8") as file:
            json.dump(result.toJSON(), file, indent=1)
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
