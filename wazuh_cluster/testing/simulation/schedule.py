"""
Schedules: what befalls a simulated cluster, and when, so that it can be kept,
shown, repeated and cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, TypeVar

from attrs import frozen

if TYPE_CHECKING:
    from wazuh_cluster.testing.simulation.machine import SimMachine
    from wazuh_cluster.testing.simulation.world import World

T = TypeVar("T")

MASTER = ("master",)
WORKER = ("worker",)
BOTH = ("master", "worker")

#: How long what lasts may last, in seconds, before chance doubles or halves it.
_LASTS = (0.1, 2.0, 20.0)

#: How often something befalls soon after something else: what is rare alone may be
#: frequent in company.
_IN_COMPANY = 0.4

#: How often a fault waits until something is under way: nodes are idle nearly all the
#: time, and are not hurt then.
_BUSY = 0.6

#: How often people wait for that.
_MEANWHILE = 0.15

#: For how many seconds it waits at most.
PATIENCE = 30.0


@frozen
class Action:
    """
    One thing that befalls.

    @ivar at: when, in virtual seconds.
    @ivar kind: what, a name.
    @ivar node: at which machine.
    @ivar number: what else is left to chance, from 0 to 1.
    @ivar seconds: how long it lasts, where it lasts.
    @ivar during: a name of what has to be under way at that machine: then it befalls
        not before it is, or after C{PATIENCE}; C{""} for nothing.
    """

    at: float
    kind: str
    node: str
    number: float = 0.0
    seconds: float = 0.0
    during: str = ""

    def __str__(self) -> str:
        text = f"{self.at:.6f} {self.kind} {self.node} {self.number:.9f} {self.seconds:.6f}"
        return f"{text} {self.during}" if self.during else text

    def pick(self, among: Sequence[T]) -> T:
        """
        One of several, by the action's number.
        """
        return among[int(self.number * len(among)) % len(among)]


def parseAction(text: str) -> Action:
    """
    Read what C{str} of one gave.

    @raise ValueError: if it is not that.
    """
    if not 5 <= len(text.split()) <= 6:
        raise ValueError(f"{text!r} is not an action")
    at, kind, node, number, seconds, *during = text.split()
    return Action(float(at), kind, node, float(number), float(seconds), *during)


@frozen
class Kind:
    """
    A kind of action.

    @ivar weight: how often it is chosen.
    @ivar act: does it.
    @ivar roles: at whose machines: C{master}, C{worker}.
    @ivar isFault: whether it is one, and none may befall once faults have ended.
    """

    weight: float
    act: Callable[[World, SimMachine, Action], None]
    roles: tuple[str, ...]
    isFault: bool = False


def makeSchedule(
    random: Random,
    kinds: Mapping[str, Kind],
    nodes: Mapping[str, str],
    doings: Sequence[str],
    seconds: float,
    count: int,
) -> list[Action]:
    """
    A schedule by chance, in order.

    @param kinds: what may befall.
    @param nodes: each machine's role.
    @param doings: names of what can be under way at a machine.
    @param seconds: until when.
    @param count: how many actions.
    """
    names = list(kinds)
    weights = [kinds[name].weight for name in names]
    schedule: list[Action] = []
    for _ in range(count):
        kind = random.choices(names, weights)[0]
        node = random.choice([name for name, role in nodes.items() if role in kinds[kind].roles])
        at = random.uniform(0.0, seconds)
        if schedule and random.random() < _IN_COMPANY:
            at = min(seconds, schedule[-1].at + random.expovariate(2.0))
        lasts = random.choice(_LASTS) * random.uniform(0.5, 2.0)
        during = ""
        if random.random() < (_BUSY if kinds[kind].isFault else _MEANWHILE):
            during = random.choice(doings)
        # Rounded as text is, so that a schedule that was written down is the same.
        action = Action(at, kind, node, random.random(), lasts, during)
        schedule.append(parseAction(str(action)))
    return sorted(schedule, key=lambda action: action.at)


def parseSchedule(lines: Iterable[str]) -> list[Action]:
    """
    Read actions, one a line; empty lines and those that begin with C{#} are
    skipped.

    @raise ValueError: if a line is none.
    """
    stripped = (line.strip() for line in lines)
    return [parseAction(line) for line in stripped if line and not line.startswith("#")]
