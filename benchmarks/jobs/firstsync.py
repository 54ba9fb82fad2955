"""
The first full sync of a worker that has nothing, beside C{rsync -a}.
"""

from __future__ import annotations

import os
import time

from attrs import define, field

from benchmarks.figures import Figure, ratio
from benchmarks.harness import Bench, MasterHome
from benchmarks.jobs.memory import MemoryRuns
from benchmarks.machine import settle
from benchmarks.nodes import BenchmarkFailed, node
from benchmarks.report import Section
from benchmarks.rsync import MISSING
from benchmarks.trees import TreeSpec, lastChange, seen
from wazuh_cluster.protocol import codecsHere
from wazuh_cluster.protocol.compression import offer


def small(bench: Bench) -> Section:
    """
    Many small files.
    """
    return _firstSync(bench, bench.sizes.small, "etc/shared")


def large(bench: Bench) -> Section:
    """
    A few large ones.
    """
    return _firstSync(bench, bench.sizes.large, "etc/lists")


def text(bench: Bench) -> Section:
    """
    The same, which can be compressed well, beside C{rsync -z}.
    """
    return _firstSync(bench, bench.sizes.large, "etc/lists", compressed=True)


@define
class _Times:
    """
    Seconds of each run.
    """

    joined: list[float] = field(factory=list)
    inPlace: list[float] = field(factory=list)
    finished: list[float] = field(factory=list)
    workerCpu: list[float] = field(factory=list)
    masterCpu: list[float] = field(factory=list)
    rsync: list[float] = field(factory=list)
    rsyncDurable: list[float] = field(factory=list)
    memory: MemoryRuns = field(factory=MemoryRuns)


def _firstSync(bench: Bench, spec: TreeSpec, item: str, compressed: bool = False) -> Section:
    section = Section(
        f"first sync of {spec.files:,} files of {_sizes(spec)} "
        f"({spec.totalSize / 1e6:.1f} MB) to an empty worker; {bench.runs} runs"
    )
    master = bench.master(spec, item)
    expected = seen(master.tree)
    times = _Times()

    def ours() -> None:
        _ours(bench, master, expected, times)

    def bare() -> None:
        times.memory.addBare(bench.bareMemory())

    works = [ours, bare]
    program = bench.rsync
    if program is not None:
        works.insert(1, lambda: _theirs(bench, program, master, expected, times, compressed))
    bench.alternate(works)
    _rows(section, times, compressed)
    return section


def _ours(
    bench: Bench, master: MasterHome, expected: dict[str, tuple[int, int]], times: _Times
) -> None:
    patience = bench.sizes.patience
    home = bench.workerHome(master)
    with node(master.home) as hub, node(home) as worker:
        hub.start().until("Generation .* files", patience)
        before = hub.processorTime()
        worker.start()
        connected = worker.until("Successfully connected", patience)
        finished = worker.until(r"Finished in ([0-9.]+)s.*Now at generation", patience)
        time.sleep(0.3)
        times.joined.append(worker.eventOf(connected).time - worker.started)
        times.finished.append(float(finished[1]))
        times.masterCpu.append(hub.processorTime() - before)
        times.workerCpu.append(worker.processorTime())
        times.memory.addNodes(hub.memory(), worker.memory())
        problems = [*hub.problems(), *worker.problems()]
    if problems:
        raise BenchmarkFailed(f"a node logged an error: {problems[0]}")
    tree = os.path.join(home, master.item)
    _check(tree, expected, "the sync")
    times.inPlace.append(lastChange(tree) - worker.started)


def _theirs(
    bench: Bench,
    program: str,
    master: MasterHome,
    expected: dict[str, tuple[int, int]],
    times: _Times,
    compressed: bool,
) -> None:
    target = bench.place("rsynced")
    with bench.rsyncDaemon(program, master) as daemon:
        daemon.start()
        seconds = daemon.pull(target, compressed)
        began = time.perf_counter()
        settle(target, 0.0)
        times.rsync.append(seconds)
        times.rsyncDurable.append(seconds + time.perf_counter() - began)
    _check(target, expected, "rsync")


def _check(tree: str, expected: dict[str, tuple[int, int]], who: str) -> None:
    found = seen(tree)
    if found != expected:
        wrong = sorted(found.items() ^ expected.items())
        raise BenchmarkFailed(f"{tree}: not the master's files after {who}: {wrong[0]}")


def _rows(section: Section, times: _Times, compressed: bool) -> None:
    rsync = durable = None
    if times.rsync:
        name = "rsync -az" if compressed else "rsync -a"
        rsync = section.add("rsync", f"{name}, its whole process", Figure(times.rsync))
        durable = section.add(
            "rsync durable", f"{name}, and one syncfs after it", Figure(times.rsyncDurable)
        )
    else:
        section.notes.append(MISSING)
    section.add("joined", "node: process start to joined", Figure(times.joined))
    for key, label, values in (
        ("in place", "node: process start to the last file in place", times.inPlace),
        ("finished", 'node: the sync itself ("Finished in")', times.finished),
    ):
        figure = Figure(values)
        beside = {}
        if rsync is not None and durable is not None:
            beside = {"rsync": ratio(figure, rsync), "with_syncfs": ratio(figure, durable)}
        section.add(key, label, figure, **beside)
    section.add("worker cpu", "worker: processor time, start included", Figure(times.workerCpu))
    section.add("master cpu", "master: processor time of the sync", Figure(times.masterCpu))
    times.memory.addRows(section, "after the sync")
    if compressed:
        names = offer(codecsHere())
        section.notes.append(
            f"The nodes compress as well, by {names}."
            if names
            else "The nodes do not compress: neither Python 3.14 nor backports.zstd is there."
        )
    section.notes.append(
        "The last file is in place when its inode changed last (the rename). The sync also "
        "makes all durable (two syncfs), looks at it again and reports; rsync does not."
    )


def _sizes(spec: TreeSpec) -> str:
    if spec.smallest == spec.largest:
        return f"{spec.largest / 1024 / 1024:g} MiB"
    return f"{spec.smallest / 1024:g} to {spec.largest / 1024:g} KiB"
