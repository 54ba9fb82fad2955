"""
One transfer over TLS, beside a TLS socket that blocks.
"""

from __future__ import annotations

import json
import subprocess
import sys

from attrs import define, field

from benchmarks.figures import Figure, ratio
from benchmarks.harness import Bench
from benchmarks.nodes import CHECKOUT, BenchmarkFailed
from benchmarks.probe import plainEnvironment
from benchmarks.report import Section
from benchmarks.streaming import BLOCKING, TRANSFER
from wazuh_cluster.model import MASTER, WORKER


@define
class _Way:
    """
    What each run of one way gave.
    """

    speed: list[float] = field(factory=list)
    sender: list[float] = field(factory=list)
    receiver: list[float] = field(factory=list)


def run(bench: Bench) -> Section:
    """
    Data that cannot be compressed, without any disk.
    """
    size = bench.sizes.stream
    section = Section(
        f"one stream of {size / 1e6:.0f} MB over TLS between two processes; {bench.runs} runs"
    )
    ways = {BLOCKING: _Way(), TRANSFER: _Way()}
    bench.alternate([lambda way=way: _run(bench, way, size, ways[way]) for way in ways])  # type: ignore[misc]
    limit = section.add(BLOCKING, "a TLS socket that blocks", Figure(ways[BLOCKING].speed, "MB/s"))
    ours = Figure(ways[TRANSFER].speed, "MB/s")
    section.add(TRANSFER, "one transfer", ours, of_it=ratio(ours, limit))
    for name, label in ((BLOCKING, "the socket"), (TRANSFER, "the transfer")):
        for end in ("sender", "receiver"):
            used = Figure(getattr(ways[name], end), "s/GB")
            section.add(f"{name} {end}", f"{label}: processor time of its {end}", used)
    return section


def _run(bench: Bench, way: str, size: int, found: _Way) -> None:
    sender = _start(way, MASTER, 0, size)
    receiver = None
    try:
        assert sender.stdout is not None
        receiver = _start(way, WORKER, int(sender.stdout.readline()), size)
        (sent, _), (received, _) = (
            each.communicate(timeout=bench.sizes.patience) for each in (sender, receiver)
        )
        theirs, ours = json.loads(sent), json.loads(received)
    except (subprocess.TimeoutExpired, ValueError) as problem:
        raise BenchmarkFailed(f"a stream by {way} did not end well: {problem}") from None
    finally:
        for each in (sender, receiver):
            if each is not None and each.poll() is None:
                each.kill()
                each.wait()
    found.speed.append(size / 1e6 / ours["seconds"])
    found.sender.append(theirs["processor"] / size * 1e9)
    found.receiver.append(ours["processor"] / size * 1e9)


def _start(way: str, end: str, port: int, size: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.streaming", way, end, str(port), str(size)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=plainEnvironment(CHECKOUT),
    )
