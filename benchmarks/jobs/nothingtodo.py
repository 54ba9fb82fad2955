"""
A look at whether there is anything to do, when there is nothing.
"""

from __future__ import annotations

import os
import time

from benchmarks.figures import Figure, ratio
from benchmarks.harness import Bench
from benchmarks.nodes import BenchmarkFailed, TwistdProcess, checkedWorker, node
from benchmarks.probe import CHECK_NOW
from benchmarks.report import Section
from benchmarks.rsync import MISSING


def run(bench: Bench) -> Section:
    """
    See the module.
    """
    spec = bench.sizes.small
    section = Section(f"nothing to do, {spec.files:,} files; {bench.runs} runs")
    patience = bench.sizes.patience
    master = bench.master(spec, "etc/shared")
    home = bench.workerHome(master)
    checks: list[float] = []
    cpu: list[float] = []
    pulls: list[float] = []
    program = bench.rsync
    with node(master.home) as hub, checkedWorker(home) as worker:
        hub.start().until("Generation .* files", patience)
        worker.start().until("Finished in .*Now at generation", patience)
        # Until the files are old enough that the next scan need not read them.
        time.sleep(bench.sizes.fresh)
        _check(worker, patience)
        _check(worker, patience)
        bench.disturbance.living += [hub.processorTime, worker.processorTime]

        def ours() -> None:
            before = hub.processorTime() + worker.processorTime()
            checks.append(_check(worker, patience))
            cpu.append(hub.processorTime() + worker.processorTime() - before)

        if program is None:
            bench.alternate([ours])
        else:
            copy = bench.place("rsynced")
            with bench.rsyncDaemon(program, master) as daemon:
                daemon.start().pull(copy)
                bench.alternate([ours, lambda: pulls.append(daemon.pull(copy))])
        bench.disturbance.living.clear()
    figure = Figure(checks)
    if pulls:
        rsync = section.add("rsync", "rsync -a, its whole process", Figure(pulls))
        section.add("check", "worker: scan to answer", figure, rsync=ratio(figure, rsync))
    else:
        section.notes.append(MISSING)
        section.add("check", "worker: scan to answer", figure)
    section.add("cpu", "both nodes: processor time", Figure(cpu))
    section.notes.append(
        "The check is one run of the worker's thread Integrity: scan, question, answer."
    )
    return section


def _check(worker: TwistdProcess, patience: float) -> float:
    """
    @return: how long one check took, in seconds.
    """
    before = len(worker.events())
    os.kill(worker.pid, CHECK_NOW)
    match = worker.until(r"Checked in ([0-9.]+)s: (.*)|nothing was checked", patience, before)
    if not match[1] or not match[2].startswith("up to date"):
        raise BenchmarkFailed(f"a check with nothing to do found something: {match.string}")
    return float(match[1])
