"""
A crowd of agents that asks a master's registrar at once, where there is nobody
yet and where there are very many.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from functools import partial

from benchmarks.figures import Figure, mib, ratio
from benchmarks.harness import Bench
from benchmarks.nodes import CHECKOUT, BenchmarkFailed
from benchmarks.report import Section
from wazuh_cluster.home import Home, makeHome


def run(bench: Bench) -> Section:
    """
    See the module.
    """
    count = bench.sizes.registrations
    section = Section(f"{count:,} registrations at once, at the registrar; {bench.runs} runs")
    found: dict[int, list[dict[str, float]]] = {0: [], bench.sizes.registered: []}

    def work(there: int) -> None:
        found[there].append(_register(bench, there, count))

    bench.alternate([partial(work, there) for there in found])
    for there, results in found.items():
        name = f"{there:,} agents there"
        limit = Figure([count / each["limit"] for each in results], "/s")
        section.add(f"limit {there}", f"{name}: the same bytes written and synced", limit)
        crowd = Figure([count / each["crowd"] for each in results], "/s")
        section.add(f"crowd {there}", f"{name}: all at once", crowd, limit=ratio(crowd, limit))
        single = Figure([1000 * each["single"] for each in results], "ms")
        section.add(f"single {there}", f"{name}: one after the other, each", single)
        load = Figure([each["load"] for each in results])
        section.add(f"load {there}", f"{name}: reading them at the start", load)
        memory = mib(int(each["memory"]) for each in results)
        section.add(f"memory {there}", f"{name}: memory for them", memory)
    section.notes += [
        "Each registration is durable when it is answered: journal, client.keys and",
        "agents-timestamp are written and synced, and the files replaced as a whole.",
    ]
    return section


def _register(bench: Bench, there: int, count: int) -> dict[str, float]:
    """
    Let a process register agents in a new home.
    """
    home = Home(bench.place(f"home-{there}"))
    makeHome(home)
    fill(home, there)
    command = [sys.executable, "-m", "benchmarks.registering", home.path, str(count)]
    ended = subprocess.run(
        command,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=bench.sizes.patience,
    )
    if ended.returncode:
        raise BenchmarkFailed(f"registering ended with {ended.returncode}:\n{ended.stderr}")
    result: dict[str, float] = json.loads(ended.stdout)
    return result


def fill(home: Home, count: int) -> None:
    """
    Let there be agents in a home.
    """
    with (
        open(home.join("etc/client.keys"), "w", encoding="ascii") as keys,
        open(home.join("queue/agents-timestamp"), "w", encoding="ascii") as times,
    ):
        for n in range(1, count + 1):
            key = hashlib.sha256(b"%d" % n).hexdigest()
            keys.write(f"{n:03d} agent-{n} any {key}\n")
            day, minute = divmod(n, 1440)
            date = f"2024-{day // 28 % 12 + 1:02d}-{day % 28 + 1:02d}"
            times.write(f"{n:03d} agent-{n} any {date} {minute // 60:02d}:{minute % 60:02d}:00\n")
        for file in (keys, times):
            file.flush()
            os.fsync(file.fileno())
