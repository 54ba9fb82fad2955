"""
Very many workers of one master: what each costs it.
"""

from __future__ import annotations

import os
import time

from benchmarks.figures import Figure
from benchmarks.harness import Bench, MasterHome
from benchmarks.nodes import BenchmarkFailed, TwistdProcess, crowd, quietNode
from benchmarks.report import Section
from benchmarks.trees import TreeSpec

#: Seconds between two keep-alives of a worker of the crowd.
_KEEP_ALIVE = 10.0


def run(bench: Bench) -> Section:
    """
    See the module.
    """
    size, patience = bench.sizes.crowd, bench.sizes.patience
    section = Section(f"{size:,} workers in one process, and their master; {bench.runs} runs")
    memory: list[float] = []
    cpu: list[float] = []
    told: list[float] = []

    def ours() -> None:
        master = bench.master(TreeSpec(0, 0, 0), "etc/rules")
        with open(os.path.join(master.home, "etc", "wazuh_cluster.ini"), "a") as settings:
            settings.write(f"[limits]\nworkers = {size + 10}\n")
        with quietNode(master.home) as hub, crowd(bench.workerHome(master), size) as workers:
            hub.start().until("Changes are noticed at once", patience)
            time.sleep(bench.sizes.between)
            before = hub.memory().resident
            workers.start().until("The crowd is there", patience)
            time.sleep(bench.sizes.between)
            memory.append((hub.memory().resident - before) / size / 1024)
            cpu.append(_keepAlives(hub, size, bench.sizes.idle))
            told.append(_tell(master, workers, patience))
            # Workers may have had to try again: they come faster than they are
            # greeted.
            problems = hub.problems()
        if problems:
            raise BenchmarkFailed(f"a node logged an error: {problems[0]}")

    bench.alternate([ours])
    section.add("memory", "master: memory a connection", Figure(memory, "KiB"))
    section.add("cpu", "master: processor time a keep-alive", Figure(cpu, "µs"))
    section.add("told", "until all were told of a change", Figure(told, "ms"))
    section.notes.append(
        "Memory is what the resident set has grown by since before they came, from their TLS on. "
        "A change: from before a rule is written on the master to the last worker that heard of "
        "it. Real workers' protocol, with homes in memory."
    )
    return section


def _keepAlives(hub: TwistdProcess, size: int, seconds: float) -> float:
    """
    @return: microseconds of the master's processor time for each.
    """
    before, began = hub.processorTime(), time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    return (hub.processorTime() - before) / (size * passed / _KEEP_ALIVE) * 1e6


def _tell(master: MasterHome, workers: TwistdProcess, patience: float) -> float:
    """
    @return: milliseconds.
    """
    after = len(workers.events())
    path = os.path.join(master.tree, "rule.xml")
    os.makedirs(master.tree, exist_ok=True)
    began = time.time()
    with open(f"{path}.tmp", "wb") as file:
        file.write(b"<rule/>\n" * 256)
    os.rename(f"{path}.tmp", path)
    match = workers.until("The crowd has heard", patience, after)
    return (workers.eventOf(match).time - began) * 1000
