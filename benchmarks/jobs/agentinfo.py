"""
Agents' records from a worker's source into the master's store, beside SQLite
alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial

from attrs import define, field

from benchmarks.agents import fill, keptIn, sqliteAlone
from benchmarks.figures import Figure, mib, ratio
from benchmarks.harness import Bench, MasterHome
from benchmarks.nodes import BenchmarkFailed, TwistdProcess, keepingMaster, reportingWorker
from benchmarks.probe import CHECK_NOW, KEEP_ALIVES
from benchmarks.report import Section
from benchmarks.trees import TreeSpec

_NO_FILES = TreeSpec(0, 0, 0)
_FINISHED = r"Finished in ([0-9.]+)s. Updated ([0-9]+) chunks. ([0-9]+) records"


@define
class _Times:
    """
    What each run of one size found.
    """

    committed: list[float] = field(factory=list)
    alone: list[float] = field(factory=list)
    masterCpu: list[float] = field(factory=list)
    workerCpu: list[float] = field(factory=list)
    keepAlives: list[float] = field(factory=list)
    above: list[int] = field(factory=list)


def run(bench: Bench) -> Section:
    """
    Some sizes, one after the other in each run.
    """
    sizes = bench.sizes.agents
    section = Section(
        f"records of about 0.5 KB each from a worker's source into the master's store; "
        f"{bench.runs} runs"
    )
    found = {count: _Times() for count in sizes}
    bench.alternate([partial(_once, bench, count, found[count]) for count in sizes])
    for count in sizes:
        times = found[count]
        alone = Figure(times.alone)
        section.add(f"{count} alone", f"{count:,} records: SQLite alone", alone)
        committed = Figure(times.committed)
        section.add(
            f"{count} committed",
            f"{count:,} records: all committed",
            committed,
            of_SQLite_alone=ratio(alone, committed),
        )
        rates = [count / seconds for seconds in times.committed]
        section.add(f"{count} rate", f"{count:,} records: a second", Figure(rates, "records"))
        _addRest(section, count, times)
    section.notes.append(
        "From the beginning of the worker's run to the answer for the last batch. SQLite alone: "
        "the same rows into the same tables by executemany, one transaction, no other process."
    )
    return section


def fleet(bench: Bench) -> Section:
    """
    As many as a large fleet has: memory.
    """
    count = bench.sizes.fleet
    section = Section(f"{count:,} records from one worker; {bench.runs} runs")
    times = _Times()
    bench.alternate([partial(_once, bench, count, times)])
    section.add("committed", "all committed", Figure(times.committed))
    _addRest(section, count, times)
    return section


def _addRest(section: Section, count: int, times: _Times) -> None:
    label = f"{count:,} records: "
    section.add(f"{count} master cpu", f"{label}master's processor time", Figure(times.masterCpu))
    section.add(f"{count} worker cpu", f"{label}worker's processor time", Figure(times.workerCpu))
    section.add(
        f"{count} above",
        f"{label}master's peak above what it had before the worker came",
        mib(times.above),
    )
    section.add(
        f"{count} keep-alives",
        f"{label}then {KEEP_ALIVES:,} keep-alives",
        Figure([seconds * 1000 for seconds in times.keepAlives], "ms"),
    )


def _once(bench: Bench, count: int, times: _Times) -> None:
    master = bench.master(_NO_FILES, "etc/shared")
    home = bench.workerHome(master)
    fill(home, count)
    patience = bench.sizes.patience
    with keepingMaster(master.home) as hub, reportingWorker(home) as worker:
        hub.start().until("Generation .* files", patience)
        time.sleep(bench.sizes.pause)
        hub.forgetPeak()
        before = hub.memory().resident
        cpu = hub.processorTime()
        match = worker.start().until(_FINISHED, patience)
        if int(match[3]) != count:
            raise BenchmarkFailed(f"{match[3]} records were sent, not {count}")
        times.committed.append(float(match[1]))
        times.masterCpu.append(hub.processorTime() - cpu)
        times.workerCpu.append(worker.processorTime())
        times.keepAlives.append(_keepAlives(worker, patience, bench.sizes.pause))
        times.above.append(hub.memory().peak - before)
        problems = [*hub.problems(), *worker.problems()]
    if problems:
        raise BenchmarkFailed(f"a node logged an error: {problems[0]}")
    _check(master, count)
    times.alone.append(sqliteAlone(master.home, bench.place("alone.db")))


def _keepAlives(worker: TwistdProcess, patience: float, pause: float) -> float:
    """
    @return: the middle of three times in seconds.
    """
    found: list[float] = []
    for _ in range(3):
        time.sleep(pause)
        after = len(worker.events())
        os.kill(worker.pid, CHECK_NOW)
        match = worker.until(r"Told in ([0-9.]+)s: (.*)|Nothing was told", patience, after)
        if not match[1] or not match[2].startswith(f"{KEEP_ALIVES} records"):
            raise BenchmarkFailed(f"the keep-alives did not come: {match.string}")
        found.append(float(match[1]))
    return _middle(found)


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _check(master: MasterHome, count: int) -> None:
    kept = keptIn(master.home)
    if kept != count:
        raise BenchmarkFailed(f"the master has {kept} records, not {count}")
