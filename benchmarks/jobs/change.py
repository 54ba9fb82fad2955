"""
One rule that is written on the master, until it is in place on every worker.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from attrs import define, field

from benchmarks.figures import Figure
from benchmarks.harness import Bench, MasterHome
from benchmarks.nodes import BenchmarkFailed, TwistdProcess, node
from benchmarks.report import Section

#: How large the rule is, in bytes.
_SIZE = 2048

_ITEM = "etc/rules"

#: Seconds between two looks.
_POLL = 0.002


@define
class _Times:
    """
    What each change took.
    """

    seconds: list[float] = field(factory=list)
    masterCpu: list[float] = field(factory=list)
    workerCpu: list[float] = field(factory=list)


def run(bench: Bench) -> Section:
    """
    Some numbers of workers, one after the other, beside the same master.
    """
    spec = bench.sizes.rules
    section = Section(
        f"a rule of {_SIZE:,} bytes written on the master until it is in place on all workers, "
        f"{spec.files:,} files; {bench.runs} changes"
    )
    master = bench.master(spec, _ITEM)
    patience = bench.sizes.patience
    with ExitStack() as running:
        hub = running.enter_context(node(master.home))
        hub.start().until("Changes are noticed at once", patience)
        workers: list[TwistdProcess] = []
        homes: list[str] = []
        bench.disturbance.living.append(hub.processorTime)
        for count in bench.sizes.workers:
            while len(workers) < count:
                homes.append(bench.workerHome(master, f"worker-{len(homes):03d}"))
                worker = running.enter_context(node(homes[-1]))
                workers.append(worker.start())
            for worker in workers:
                worker.until("Now at generation|Up to date with", patience)
            bench.disturbance.living[1:] = [each.processorTime for each in workers]
            times = _Times()
            bench.alternate([partial(_change, bench, master, homes, hub, workers, times)])
            _addRows(section, count, times)
        bench.disturbance.living.clear()
        problems = [each for process in (hub, *workers) for each in process.problems()]
    if problems:
        raise BenchmarkFailed(f"a node logged an error: {problems[0]}")
    section.notes.append(
        "From before the file is opened on the master to the last rename on a worker. Each "
        "worker is a process of its own on this machine, and all share its cores."
    )
    return section


def _addRows(section: Section, count: int, times: _Times) -> None:
    workers = f"{count} worker{'s' if count > 1 else ''}"
    milliseconds = [seconds * 1000 for seconds in times.seconds]
    section.add(f"{count}", f"{workers}: until all have it", Figure(milliseconds, "ms"))
    section.add(
        f"{count} master cpu",
        f"{workers}: master's processor time",
        Figure([seconds * 1000 for seconds in times.masterCpu], "ms"),
    )
    section.add(
        f"{count} worker cpu",
        f"{workers}: a worker's processor time",
        Figure([seconds * 1000 for seconds in times.workerCpu], "ms"),
    )


def _change(
    bench: Bench,
    master: MasterHome,
    homes: Sequence[str],
    hub: TwistdProcess,
    workers: Sequence[TwistdProcess],
    times: _Times,
) -> None:
    time.sleep(bench.sizes.between)
    content = os.urandom(_SIZE // 2).hex().encode("ascii")
    name = f"rule-{content[:16].decode()}.xml"
    before = hub.processorTime(), sum(each.processorTime() for each in workers)
    began = time.time()
    path = os.path.join(master.tree, name)
    with open(f"{path}.tmp", "wb") as file:
        file.write(content)
    os.rename(f"{path}.tmp", path)
    places = [os.path.join(home, _ITEM, name) for home in homes]
    ended = _untilAll(places, began + bench.sizes.patience)
    times.seconds.append(ended - began)
    # What follows an installation is part of its price.
    time.sleep(bench.sizes.between)
    times.masterCpu.append(hub.processorTime() - before[0])
    times.workerCpu.append(
        (sum(each.processorTime() for each in workers) - before[1]) / len(workers)
    )
    for place in places:
        with open(place, "rb") as file:
            if file.read() != content:
                raise BenchmarkFailed(f"{place} is not what was written on the master")


def _untilAll(places: Sequence[str], deadline: float) -> float:
    """
    Wait until there is a file at every place.

    @return: when the last one came, as exactly as the system's tick.
    """
    missing = list(places)
    while missing:
        missing = [place for place in missing if not os.path.exists(place)]
        if missing:
            if time.time() > deadline:
                raise BenchmarkFailed(f"{missing[0]} did not come")
            time.sleep(_POLL)
    return max(os.stat(place).st_ctime_ns for place in places) / 1e9
