"""
What is told of runs: the command that repeats one, its schedule, and the part of its
trace that matters.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from wazuh_cluster.testing.simulation.run import SECONDS, Result, Setup
from wazuh_cluster.testing.simulation.schedule import parseSchedule
from wazuh_cluster.testing.simulation.trace import Event

_MODULE = "wazuh_cluster.testing.simulation"

#: How many seconds of a trace are shown from before the first action on.
_BEFORE = 1.0

#: The most lines of a trace that are shown.
_LINES = 200


def commandOf(setup: Setup) -> str:
    """
    The command that repeats a run whose schedule is its seed's.
    """
    parts = [f"python -m {_MODULE} --seed {setup.seed}"]
    if setup.workers is not None:
        parts.append(f"--workers {setup.workers}")
    if setup.seconds != SECONDS:
        parts.append(f"--seconds {setup.seconds:g}")
    if setup.tls:
        parts.append("--tls")
    if setup.agents:
        parts.append("--agents")
    if not setup.heals:
        parts.append("--safety")
    return " ".join(parts)


def formatCase(setup: Setup) -> str:
    """
    A setup as text, for L{parseCase}: it outlives changes to what seeds mean.
    """
    lines = [
        f"seed {setup.seed}",
        *([f"workers {setup.workers}"] if setup.workers is not None else []),
        *(["tls"] if setup.tls else []),
        *(["agents"] if setup.agents else []),
        *([] if setup.heals else ["safety"]),
        f"seconds {setup.seconds:.6f}",
        "",
        *(str(action) for action in setup.schedule or ()),
    ]
    return "\n".join(lines) + "\n"


def parseCase(text: str) -> Setup:
    """
    Read what L{formatCase} gave. Lines that begin with C{#} are skipped.

    @raise ValueError: if it is not that.
    """
    head, _, actions = text.strip().partition("\n\n")
    setup = Setup(0)
    for line in head.splitlines():
        name, _, value = line.strip().partition(" ")
        if name.startswith("#"):
            continue
        if name == "seed":
            setup = evolve(setup, seed=int(value))
        elif name == "workers":
            setup = evolve(setup, workers=int(value))
        elif name == "seconds":
            setup = evolve(setup, seconds=float(value))
        elif line.strip() == "tls":
            setup = evolve(setup, tls=True)
        elif line.strip() == "agents":
            setup = evolve(setup, agents=True)
        elif line.strip() == "safety":
            setup = evolve(setup, heals=False)
        else:
            raise ValueError(f"{line!r} is not understood")
    return evolve(setup, schedule=tuple(parseSchedule(actions.splitlines())))


def relevant(result: Result) -> list[Event]:
    """
    The part of a trace that matters: the nodes that something befell, the master
    and those of which the problem speaks, from the first action on.
    """
    schedule = result.setup.schedule or ()
    nodes = {"", "hub", *(action.node for action in schedule)}
    since = min((action.at for action in schedule), default=0.0) - _BEFORE
    problem = result.problem or ""
    return [
        event
        for event in result.events
        if event.time >= since and (event.node in nodes or f"{event.node}:" in problem)
    ][-_LINES:]


def describe(result: Result, shrunk: Result | None = None) -> str:
    """
    What to tell somebody who is to find out why a run went wrong.

    @param shrunk: the same with a shorter schedule.
    """
    setup = result.setup
    lines = [f"It is repeated by: {commandOf(evolve(setup, schedule=None))}", ""]
    shown = result if shrunk is None else shrunk
    count = len(shown.setup.schedule or ())
    lines.append(f"What befalls ({count} of {len(setup.schedule or ())} actions are needed):")
    lines.extend(_indented(formatCase(shown.setup).splitlines()))
    lines.append("")
    lines.append("What happened (seconds, node, event):")
    lines.extend(_indented(str(event) for event in relevant(shown)))
    lines.append("")
    lines.append(f"What is wrong: {shown.problem}")
    return "\n".join(lines)


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]
