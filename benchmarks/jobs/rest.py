"""
A master and a worker that have nothing to do, with more and more files: what
that costs.
"""

from __future__ import annotations

import time

from attrs import evolve

from benchmarks.figures import Figure, mib
from benchmarks.harness import Bench
from benchmarks.nodes import BenchmarkFailed, node
from benchmarks.relay import Relay
from benchmarks.report import Section


def run(bench: Bench) -> Section:
    """
    See the module.
    """
    seconds = bench.sizes.idle
    section = Section(f"a master and a worker at rest; {bench.runs} times {seconds:g} s")
    for files in bench.sizes.resting:
        _rest(bench, files, section)
    section.notes.append(
        "Processor time is part of one core. Bytes are those of TLS in both directions, counted "
        "by a relay between the two. A worker says a keep-alive a minute, and looks every 9 s."
    )
    return section


def _rest(bench: Bench, files: int, section: Section) -> None:
    patience, seconds = bench.sizes.patience, bench.sizes.idle
    master = bench.master(evolve(bench.sizes.small, files=files), "etc/shared")
    cpu: dict[str, list[float]] = {"master": [], "worker": []}
    carried: list[float] = []
    with Relay(master.port) as relay, node(master.home) as hub:
        home = bench.workerHome(evolve(master, port=relay.port))
        hub.start().until("Generation .* files", patience)
        with node(home) as worker:
            worker.start().until("Finished in .*Now at generation", patience)
            # Until every file is trusted by a scan.
            time.sleep(bench.sizes.settling)
            processes = {"master": hub, "worker": worker}
            bench.disturbance.living += [hub.processorTime, worker.processorTime]

            def measure() -> None:
                before = {role: each.processorTime() for role, each in processes.items()}
                said, began = relay.carried, time.monotonic()
                time.sleep(seconds)
                passed = time.monotonic() - began
                carried.append((relay.carried - said) / passed)
                for role, each in processes.items():
                    cpu[role].append((each.processorTime() - before[role]) / passed * 100)

            bench.alternate([measure])
            bench.disturbance.living.clear()
            memory = {role: each.memory().resident for role, each in processes.items()}
            problems = [*hub.problems(), *worker.problems()]
    if problems:
        raise BenchmarkFailed(f"a node logged an error: {problems[0]}")
    label = f"{files:,} files"
    for role, values in cpu.items():
        section.add(f"{files} {role} cpu", f"{label}: {role}'s processor time", Figure(values, "%"))
    section.add(f"{files} bytes", f"{label}: said", Figure(carried, "bytes/s"))
    for role, resident in memory.items():
        section.add(f"{files} {role} resident", f"{label}: {role} resident", mib([resident]))
