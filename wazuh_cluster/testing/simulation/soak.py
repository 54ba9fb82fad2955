"""
The command C{python -m wazuh_cluster.testing.simulation.soak}: as many seeds as fit in
some minutes on all cores, and what they were like.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from multiprocessing import get_context
from threading import Semaphore
from time import monotonic, process_time

from attrs import define, field, frozen
from twisted.logger import globalLogBeginner
from twisted.python import usage

from wazuh_cluster.testing.simulation.agents import Agents
from wazuh_cluster.testing.simulation.files import Files
from wazuh_cluster.testing.simulation.report import commandOf, describe
from wazuh_cluster.testing.simulation.run import Setup, run
from wazuh_cluster.testing.simulation.shrink import kindOf, shrink
from wazuh_cluster.testing.simulation.world import IDLE, kindsOf

#: Of so many runs in turn, which are over TLS, in which faults do not end, and which are
#: with agents.
_TURNS = 6
_TLS = (2, 5)
_SAFETY = (3,)
_AGENTS = (0, 2, 3)

#: After how many runs another process takes over: what was freed is in pieces then.
_RUNS = 200

#: All that are faults, of whatever part.
_FAULTS = [name for name, kind in kindsOf((Files(), Agents())).items() if kind.isFault]

#: What runs are called in the report.
_NAMES = {
    (False, True): "healing, without TLS",
    (True, True): "healing, with TLS",
    (False, False): "faults without end",
}


def setups(base: int) -> Iterator[Setup]:
    """
    The runs of a soak, without end.

    @param base: the first one's seed.
    """
    for number in count():
        turn = number % _TURNS
        yield Setup(
            base + number, tls=turn in _TLS, heals=turn not in _SAFETY, agents=turn in _AGENTS
        )


@frozen
class Summary:
    """
    What is kept of one run.

    @ivar setup: without its schedule.
    @ivar problem: see L{wazuh_cluster.testing.simulation.run.Result}.
    @ivar seconds: likewise.
    @ivar healed: likewise.
    @ivar kinds: likewise.
    @ivar struck: likewise.
    @ivar cost: processor time, in seconds.
    """

    setup: Setup
    problem: str | None
    seconds: float
    healed: float
    kinds: Counter[str]
    struck: Counter[tuple[str, str]]
    cost: float


def summarize(setup: Setup) -> Summary:
    """
    Run one, and keep what the report needs.
    """
    began = process_time()
    result = run(setup)
    return Summary(
        setup,
        result.problem,
        result.seconds,
        result.healed,
        result.kinds,
        result.struck,
        process_time() - began,
    )


@define
class Report:
    """
    What many runs were like.

    @ivar runs: how many of each name.
    @ivar cost: processor time, by name, in seconds.
    @ivar virtual: virtual seconds, by name.
    @ivar kinds: how often each kind of action befell.
    @ivar struck: how often a fault befell while a command was under way.
    @ivar slowest: the run that took longest to become well.
    @ivar broken: the first run with each problem, and how many had it.
    """

    runs: Counter[str] = field(factory=Counter)
    cost: dict[str, float] = field(factory=dict)
    virtual: dict[str, float] = field(factory=dict)
    kinds: Counter[str] = field(factory=Counter)
    struck: Counter[tuple[str, str]] = field(factory=Counter)
    slowest: Summary | None = None
    broken: dict[str, list[Summary]] = field(factory=dict)

    def add(self, summary: Summary) -> None:
        """
        One run more.
        """
        name = _NAMES[summary.setup.tls, summary.setup.heals]
        self.runs[name] += 1
        self.cost[name] = self.cost.get(name, 0.0) + summary.cost
        self.virtual[name] = self.virtual.get(name, 0.0) + summary.seconds
        self.kinds.update(summary.kinds)
        self.struck.update(summary.struck)
        if self.slowest is None or summary.healed > self.slowest.healed:
            self.slowest = summary
        if summary.problem is not None:
            self.broken.setdefault(kindOf(summary.problem), []).append(summary)

    def lines(self) -> Iterable[str]:
        """
        The report.
        """
        yield (
            f"{sum(self.runs.values())} seeds, {sum(self.virtual.values()) / 3600:.1f} virtual "
            f"hours, {sum(self.kinds[name] for name in _FAULTS)} faults."
        )
        for name, number in sorted(self.runs.items()):
            minutes = self.cost[name] / 60.0
            yield (
                f"  {name}: {number} seeds, {number / minutes:.0f} a minute on one core, "
                f"{self.virtual[name] / 600.0 / minutes:.0f} times ten virtual minutes"
            )
        if self.slowest is not None:
            setup = self.slowest.setup
            yield f"Slowest to become well: {self.slowest.healed:.0f} s ({commandOf(setup)})."
        yield ""
        yield "What befell:"
        yield from _table((name, str(number)) for name, number in self.kinds.most_common())
        yield ""
        commands = sorted({command for _, command in self.struck} - {IDLE})
        yield f"Faults while a command was under way ({IDLE}: none was):"
        yield from _table(
            [
                ("", *[_short(command) for command in commands], IDLE),
                *(
                    (fault, *(str(self.struck[fault, each]) for each in (*commands, IDLE)))
                    for fault in _FAULTS
                ),
            ]
        )
        missing = [
            f"{fault} x {command}"
            for fault in _FAULTS
            for command in commands
            if not self.struck[fault, command]
        ]
        yield f"Never met: {', '.join(missing) or 'none'}."
        for kind, summaries in self.broken.items():
            first = summaries[0]
            yield ""
            yield f"{len(summaries)} times: {kind}"
            yield f"  {first.problem}"
            yield f"  {commandOf(first.setup)} --shrink"


def _short(command: str) -> str:
    return "".join(c for c in command if c.isupper()) + command[-3:]


def _table(rows: Iterable[Sequence[str]]) -> Iterable[str]:
    kept = [tuple(row) for row in rows]
    widths = [max(len(row[n]) for row in kept) for n in range(len(kept[0]))] if kept else []
    for row in kept:
        first, *rest = (
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  " + "  ".join([first, *rest]).rstrip()


class Options(usage.Options):
    """
    For how long, and from where on.
    """

    synopsis = "python -m wazuh_cluster.testing.simulation.soak [options] MINUTES"
    optParameters = [
        ["seed", "s", None, "The first seed; by default one that nobody chose.", int],
        ["processes", "p", None, "How many processes; by default one for each core.", int],
    ]

    def parseArgs(self, minutes: str = "10") -> None:
        """
        Take the minutes.
        """
        try:
            self["minutes"] = float(minutes)
        except ValueError:
            raise usage.UsageError(f"{minutes!r} is not a number of minutes") from None


def _begin() -> None:
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)


def main(arguments: Sequence[str]) -> int:
    """
    Do what the command does.

    @return: the exit status: 0 if all went well.
    """
    options = Options()
    try:
        options.parseOptions(list(arguments))
    except usage.UsageError as error:
        print(f"{options.getSynopsis()}\n{error}", file=sys.stderr)
        return 2
    base = options["seed"]
    if base is None:
        base = int.from_bytes(os.urandom(5), "big")
    processes = options["processes"] or len(os.sched_getaffinity(0))
    print(f"From seed {base} on, on {processes} cores, for {options['minutes']:g} minutes.")
    report = Report()
    until = monotonic() + options["minutes"] * 60.0
    # A pool takes whatever it is given, and is to stop in time nevertheless.
    room = Semaphore(2 * processes)
    with get_context("spawn").Pool(processes, _begin, (), _RUNS) as pool:
        for summary in pool.imap_unordered(summarize, _until(setups(base), until, room)):
            room.release()
            report.add(summary)
    print("\n".join(report.lines()))
    for summaries in report.broken.values():
        result = run(summaries[0].setup)
        print(f"\n{describe(result, shrink(result, run))}")
    return 1 if report.broken else 0


def _until(endless: Iterator[Setup], until: float, room: Semaphore) -> Iterator[Setup]:
    for setup in endless:
        room.acquire()
        if monotonic() >= until:
            return
        yield setup


if __name__ == "__main__":
    _begin()
    sys.exit(main(sys.argv[1:]))
