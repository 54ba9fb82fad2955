"""
The memory of a master and a worker that have joined and have nothing to do.
"""

from __future__ import annotations

import time

from benchmarks.harness import Bench
from benchmarks.jobs.memory import MemoryRuns
from benchmarks.nodes import node
from benchmarks.report import Section
from benchmarks.trees import TreeSpec


def run(bench: Bench) -> Section:
    """
    See the module.
    """
    section = Section(f"a master and a worker that joined, no files; {bench.runs} runs")
    master = bench.master(TreeSpec(0, 0, 0), "etc/shared")
    memory = MemoryRuns()

    def ours() -> None:
        with node(master.home) as hub, node(bench.workerHome(master)) as worker:
            hub.start().until("Generation .* files", bench.sizes.patience)
            worker.start().until("Finished. Up to date with", bench.sizes.patience)
            time.sleep(2 * bench.sizes.pause)
            memory.addNodes(hub.memory(), worker.memory())

    bench.alternate([ours, lambda: memory.addBare(bench.bareMemory())])
    memory.addRows(section, "a moment later")
    section.notes.append("The peak is VmHWM since the process's start.")
    return section
