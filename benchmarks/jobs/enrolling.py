"""
Agents that enroll at a worker, and how soon every worker has their keys.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from threading import Event, Thread

from attrs import define, field

from benchmarks.enrollments import answered, ask
from benchmarks.figures import Figure, ratio
from benchmarks.harness import Bench
from benchmarks.jobs.registrations import fill
from benchmarks.nodes import BenchmarkFailed, enrollingWorker, node
from benchmarks.registering import write
from benchmarks.report import Section
from benchmarks.trees import TreeSpec
from wazuh_cluster.enrollment.visitors import MOST
from wazuh_cluster.home import Home
from wazuh_cluster.protocol import Limits

#: How many come one after the other, when nothing else is going on.
SINGLE = 5

#: How often files are looked at, in seconds.
_POLL = 0.002


@define
class _Times:
    """
    Seconds of each run.
    """

    limit: list[float] = field(factory=list)
    crowd: list[float] = field(factory=list)
    single: list[float] = field(factory=list)
    soon: list[float] = field(factory=list)
    slowest: list[float] = field(factory=list)


def run(bench: Bench) -> Section:
    """
    See the module.
    """
    count = _crowdOf(bench)
    section = Section(
        f"{count:,} registrations at once, through a worker, {Limits().registrations} under way "
        f"at a time; {bench.runs} runs"
    )
    found = {there: _Times() for there in (0, bench.sizes.registered)}
    bench.alternate([partial(_once, bench, there, times) for there, times in found.items()])
    for there, times in found.items():
        name = f"{there:,} agents there"
        limit = Figure([count / seconds for seconds in times.limit], "/s")
        section.add(f"limit {there}", f"{name}: the same bytes written and synced", limit)
        crowd = Figure([count / seconds for seconds in times.crowd], "/s")
        section.add(f"crowd {there}", f"{name}: all at once", crowd, limit=ratio(crowd, limit))
        single = Figure([1000 * seconds for seconds in times.single], "ms")
        section.add(f"single {there}", f"{name}: one, when all is quiet", single)
        section.add(f"soon {there}", f"{name}: its key on both workers, after", Figure(times.soon))
        section.add(
            f"slowest {there}",
            f"{name}: all at once, the slowest key",
            Figure(times.slowest),
        )
    section.notes += [
        "A master and two workers over TLS; the worker asks as its listener does. A key is there",
        "when it stands in client.keys of both, counted from the answer. Each is installed at",
        "most once a second, for Wazuh's programs go by the seconds of its time.",
    ]
    return section


class _Watch:
    """
    Sees when lines come into files.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._seen: list[dict[bytes, float]] = [{} for _ in paths]
        self._files = [(0, 0)] * len(paths)
        self._stopped = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._stopped.set()
        self._thread.join()

    def whenEverywhere(self, lines: dict[bytes, float], patience: float) -> list[float]:
        """
        How long after some moments lines were in all files, in seconds.
        """
        deadline = time.monotonic() + patience
        while not all(lines.keys() <= seen.keys() for seen in self._seen):
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"not all keys are on all workers within {patience:g} s")
            time.sleep(_POLL)
        return [max(seen[line] for seen in self._seen) - since for line, since in lines.items()]

    def _run(self) -> None:
        while not self._stopped.wait(_POLL):
            for number, path in enumerate(self._paths):
                self._look(number, path)

    def _look(self, number: int, path: str) -> None:
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                which = (status.st_ino, status.st_mtime_ns)
                if which == self._files[number]:
                    return
                now = time.time()
                lines = file.readlines()
        except FileNotFoundError:
            return
        self._files[number] = which
        seen = self._seen[number]
        for line in reversed(lines):
            # Lines that are new stand last.
            if line in seen:
                break
            seen[line] = now


def _once(bench: Bench, there: int, times: _Times) -> None:
    """
    One run, with nodes of its own.
    """
    patience = bench.sizes.patience
    master = bench.master(TreeSpec(0, 0, 0), "etc/shared")
    fill(Home(master.home), there)
    homes = [bench.workerHome(master, name) for name in ("one", "two")]
    with (
        node(master.home) as hub,
        enrollingWorker(homes[0]) as worker,
        node(homes[1]) as other,
        _Watch([os.path.join(home, "etc", "client.keys") for home in homes]) as watch,
    ):
        hub.start().until("Generation .* files", patience)
        for each in (worker, other):
            each.start().until("Up to date with|Now at generation", patience)
        for n in range(SINGLE):
            # More than a second after the one before, and not in step with it.
            time.sleep(1.2 + n / SINGLE)
            before = ask(worker, [f"single-{n}"])
            seconds, lines = answered(worker, patience, before)
            times.single.append(seconds)
            times.soon += watch.whenEverywhere(lines, patience)
        names = [f"crowd-{n}" for n in range(_crowdOf(bench))]
        before = ask(worker, names)
        seconds, lines = answered(worker, patience, before)
        times.crowd.append(seconds)
        times.slowest.append(max(watch.whenEverywhere(lines, patience)))
        problems = [*hub.problems(), *worker.problems(), *other.problems()]
    if problems:
        raise BenchmarkFailed(f"a node logged an error: {problems[0]}")
    limit = write(Home(master.home), _crowdOf(bench), Limits().registrations)
    times.limit.append(limit)


def _crowdOf(bench: Bench) -> int:
    # No listener lets in more at a time.
    return min(bench.sizes.registrations, MOST)
