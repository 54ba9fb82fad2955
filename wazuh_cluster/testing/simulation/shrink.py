"""
From a run that went wrong to the few things that made it so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from attrs import evolve

from wazuh_cluster.testing.simulation.run import Result, Setup
from wazuh_cluster.testing.simulation.schedule import Action

#: What differs between two runs with one problem: numbers, names of machines, what
#: was quoted, and what comes after the first line.
_VARYING = re.compile(r"\d+|\bw\d+'?|\bhub\b|'[^']*'|\"[^\"]*\"|\n.*", re.DOTALL)


def kindOf(problem: str) -> str:
    """
    What a problem is, without what chance made of it.
    """
    return " ".join(_VARYING.sub("", problem).split()).strip(": ")


def shrink(result: Result, attempt: Callable[[Setup], Result], attempts: int = 300) -> Result:
    """
    Cut from a schedule what its problem does not need.

    @param attempt: runs a setup as the result's was.
    @param attempts: how many runs that may cost.
    @return: the result of the shortest schedule found, and of the shortest time;
        that which was given if it shows no problem.
    """
    if result.problem is None or result.setup.schedule is None:
        return result
    wanted = kindOf(result.problem)
    best = result
    left = attempts

    def better(setup: Setup) -> bool:
        nonlocal best, left
        left -= 1
        tried = attempt(setup)
        if tried.problem is None or kindOf(tried.problem) != wanted:
            return False
        best = tried
        return True

    def shorter(schedule: Sequence[Action]) -> Setup:
        return evolve(best.setup, schedule=tuple(schedule))

    size = max(1, len(_schedule(best)) // 2)
    while left > 0:
        start, cut = 0, False
        while start < len(_schedule(best)) and left > 0:
            schedule = _schedule(best)
            if better(shorter(schedule[:start] + schedule[start + size :])):
                cut = True
            else:
                start += size
        if not cut:
            if size == 1:
                break
            size //= 2
    # What is left need not last to the end.
    last = max((action.at for action in _schedule(best)), default=0.0)
    for seconds in (last + 1.0, last + 30.0, last + 120.0):
        if (
            left > 0
            and seconds < best.setup.seconds
            and better(evolve(best.setup, seconds=seconds))
        ):
            break
    return best


def _schedule(result: Result) -> tuple[Action, ...]:
    assert result.setup.schedule is not None
    return result.setup.schedule
