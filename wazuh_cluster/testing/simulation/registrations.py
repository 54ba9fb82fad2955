"""
The history of all registrations of a simulation, as somebody sees it who looks at
agents' connections and at the master's C{client.keys}, and into no node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from wazuh_cluster.agents.clientkeys import formatAgent, parseAgent
from wazuh_cluster.testing.simulation.enrolling import ANSWER, REFUSAL, Attempt

if TYPE_CHECKING:
    from wazuh_cluster.testing.simulation.disk import SimDisk

#: For how many seconds somebody's own line must be there before its id counts as seen:
#: as long as a master's interval, and what it waits for a file to be whole.
_SEEN = 15.0

#: For how many seconds after an agent's request another may have to make room for it.
_WORKED_OFF = 60.0


class History:
    """
    What was asked, what was answered, and what is in C{client.keys} of that.
    """

    def __init__(self, broken: Callable[[str], None], seconds: Callable[[], float]) -> None:
        """
        @param broken: is told of what must never be.
        """
        self._broken = broken
        self._seconds = seconds
        # Which master it is: another one, or one that was restored, is a new one.
        self._era = 0
        self._eras: dict[Attempt, int] = {}
        self._ends: dict[Attempt, float] = {}
        # Name to its attempts.
        self._attempts: dict[str, list[Attempt]] = {}
        # Those that found others of their name or address there.
        self._inTheWay: set[Attempt] = set()
        # Line to the attempt that it was the answer of, on any master.
        self._answers: dict[bytes, Attempt] = {}
        # Id to line: what is there; what is somebody's without being an answer;
        # what nobody may miss any more, and what nobody may ever see again.
        self._there: dict[int, bytes] = {}
        self._owned: dict[int, bytes] = {}
        self._leaving: set[int] = set()
        self._removed: dict[int, bytes] = {}
        self._given: dict[int, bytes] = {}
        # When somebody put an id there.
        self._byHand: dict[int, float] = {}

    @property
    def highest(self) -> int:
        """
        The highest id that this master must know.
        """
        return max(self._given, default=0)

    # What people and agents do.

    def asks(self, attempt: Attempt) -> None:
        """
        An agent asks.
        """
        self._attempts.setdefault(attempt.name, []).append(attempt)
        self._eras[attempt] = self._era
        if any(_clash(attempt.name, attempt.ip, line) for line in self._there.values()):
            self._inTheWay.add(attempt)

    def ended(self, attempt: Attempt) -> None:
        """
        Nothing more comes of an attempt.
        """
        self._ends[attempt] = self._seconds()

    def wrote(self, attempt: Attempt, disk: SimDisk, path: bytes) -> None:
        """
        A node wrote an answer.

        @param disk: the master's.
        @param path: its C{client.keys}.
        """
        text = attempt.written
        match = ANSWER.fullmatch(text)
        if match is None:
            if not REFUSAL.fullmatch(text):
                self._broken(f"{attempt.name} is told {text!r}")
            elif b"Duplicate" in text and not self._mayBeDuplicate(attempt):
                self._broken(f"{attempt.name} is told {text!r}, and is in its own way")
            return
        line = b" ".join(match.groups()) + b"\n"
        if match[2].decode("ascii") != attempt.name:
            self._broken(f"{attempt.name} is told {text!r}")
        if line in self._answers:
            self._broken(f"{attempt.name} gets the key of another: {text!r}")
        self._answers[line] = attempt
        if self._eras[attempt] != self._era:
            return
        id = int(match[1])
        given = self._given.setdefault(id, line)
        if given != line:
            self._broken(f"id {id} is given twice: {given!r}, {line!r}")
        if self._mayGo(line):
            return
        for content in (disk.contentOf(path), disk.durableContentOf(path)):
            if line not in (content or b"").splitlines(keepends=True):
                self._broken(f"{attempt.name} is answered, and a power cut would undo it")
                return

    def leaves(self, id: int) -> None:
        """
        Somebody is removing an agent.
        """
        self._leaving.add(id)

    def removed(self, id: int) -> None:
        """
        Somebody was told that an agent is removed.
        """
        line = self._given.get(id)
        if line is not None:
            self._removed[id] = line
            if id in self._there:
                self._broken(f"agent {id} is said to be removed, and is there")

    def edited(self, content: bytes) -> None:
        """
        Somebody has edited C{client.keys} on the master.
        """
        there, now = dict(_lines(content)), self._seconds()
        for id, line in there.items():
            if self._there.get(id) != line:
                self._owned[id] = self._given[id] = line
                self._byHand[id] = now
        for id in self._there.keys() - there.keys():
            if now - self._byHand.get(id, -_SEEN) < _SEEN:
                # Perhaps nobody has seen it.
                self._given.pop(id, None)
        self._leaving.update(self._there.keys() - there.keys())
        self._set(there)

    def replaced(self, content: bytes) -> None:
        """
        The master is another one, or as it was at some time.
        """
        self._era += 1
        self._there = dict(_lines(content))
        self._owned, self._given = dict(self._there), dict(self._there)
        self._leaving.clear()
        self._removed.clear()

    # What is seen.

    def changed(self, content: bytes) -> None:
        """
        A process has changed C{client.keys} on the master.
        """
        there = dict(_lines(content))
        for id, line in self._there.items():
            if there.get(id) != line and not self._mayGo(line):
                self._broken(f"agent {id} is lost: {line!r}")
        highest = self.highest
        for id, line in there.items():
            if id in self._there:
                continue
            given = self._given.get(id)
            if given is not None and given != line:
                self._broken(f"id {id} is given twice: {given!r}, {line!r}")
            elif given is not None:
                self._broken(f"agent {id} comes back: {line!r}")
            elif id <= highest:
                self._broken(f"id {id} is given after {highest}")
            self._given[id] = line
        self._set(there)

    def lostPower(self, content: bytes) -> None:
        """
        The master has lost its power: what nobody was told of may be undone.
        """
        there = dict(_lines(content))
        for id, line in self._there.items():
            if there.get(id) != line and not self._mayGo(line):
                self._broken(f"agent {id} is lost by a power cut: {line!r}")
        for id, line in there.items():
            if self._removed.get(id) == line:
                self._broken(f"agent {id} comes back after a power cut: {line!r}")
        self._set(there)

    def left(self, isForgotten: Callable[[Attempt], bool]) -> str | None:
        """
        What is in C{client.keys} and should not be, once all faults have ended;
        C{None} for nothing.

        @param isForgotten: whether nobody can know of an attempt any more.
        """
        for id, line in self._there.items():
            if line in self._answers or self._owned.get(id) == line:
                continue
            agent = parseAgent(line.rstrip(b"\n"))
            attempts = [] if agent is None else self._attempts.get(agent.name, [])
            if not any(isForgotten(attempt) for attempt in attempts):
                return f"nobody was told of agent {id}, and it is there: {line!r}"
        return None

    def isThere(self, line: bytes) -> bool:
        """
        Whether an agent is registered, by its line.
        """
        agent = parseAgent(line.rstrip(b"\n"))
        return agent is not None and self._there.get(agent.id) == line

    def ids(self) -> list[int]:
        """
        The registered agents.
        """
        return list(self._there)

    def _mayBeDuplicate(self, attempt: Attempt) -> bool:
        """
        Whether there may have been another of an agent's name, or at its address.
        """
        return (
            attempt in self._inTheWay
            or self._eras[attempt] != self._era
            or any(
                each is not attempt
                and (each.name == attempt.name or each.ip == attempt.ip != "any")
                and self._ends.get(each, attempt.began) >= attempt.began - _WORKED_OFF
                for attempts in self._attempts.values()
                for each in attempts
            )
        )

    def _set(self, there: dict[int, bytes]) -> None:
        self._there = there

    def _mayGo(self, line: bytes) -> bool:
        """
        Whether there is a reason for an agent not to be there.
        """
        agent = parseAgent(line.rstrip(b"\n"))
        assert agent is not None
        if agent.id in self._leaving:
            return True
        answered = self._answers.get(line)
        if answered is None and agent.id not in self._owned:
            return True
        # Another of its name, or at its address, may have taken its place.
        return any(
            attempt is not answered
            and (attempt.name == agent.name or attempt.ip == agent.ip != "any")
            and self._eras[attempt] == self._era
            and self._seconds() - self._ends.get(attempt, self._seconds()) < _WORKED_OFF
            for attempts in self._attempts.values()
            for attempt in attempts
        )


def _clash(name: str, ip: str, line: bytes) -> bool:
    agent = parseAgent(line.rstrip(b"\n"))
    return agent is not None and (agent.name == name or agent.ip == ip != "any")


def _lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    for line in content.splitlines():
        agent = parseAgent(line)
        if agent is not None:
            yield agent.id, formatAgent(agent)
