"""
The jobs: what is measured, one small module each, in the order in which they
run. A job is a function that takes a L{Bench} and gives a L{Section}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.harness import Bench
from benchmarks.jobs import (
    agentinfo,
    change,
    crowd,
    enrolling,
    firstsync,
    joined,
    nothingtodo,
    registrations,
    rest,
    stream,
)
from benchmarks.report import Section

JOBS: Mapping[str, Callable[[Bench], Section]] = {
    "joined": joined.run,
    "small": firstsync.small,
    "large": firstsync.large,
    "text": firstsync.text,
    "stream": stream.run,
    "nothing": nothingtodo.run,
    "change": change.run,
    "rest": rest.run,
    "crowd": crowd.run,
    "registrations": registrations.run,
    "enrolling": enrolling.run,
    "agents": agentinfo.run,
    "fleet": agentinfo.fleet,
}
