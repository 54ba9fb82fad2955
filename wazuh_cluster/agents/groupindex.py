"""
What is known of the files with agents' groups, in columns.

An agent takes 16 bytes, so that the index of a large fleet is small beside the
list of its files.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

#: So many changes stand beside the columns before they are merged.
_MANY = 4096

#: The number of the groups of an agent that is gone.
_GONE = -1


class GroupIndex:
    """
    Agents, their groups, and a mark of the file that said so.
    """

    def __init__(self) -> None:
        self._ids = array("I")
        self._marks = array("q")
        self._numbers = array("i")
        # Agent to mark and number, of what changed since.
        self._changed: dict[int, tuple[int, int]] = {}
        self._groups: list[tuple[str, ...]] = []
        self._known: dict[tuple[str, ...], int] = {}
        self._names: dict[str, str] = {}

    def get(self, agent: int) -> tuple[int, tuple[str, ...]] | None:
        """
        An agent's mark and groups.
        """
        changed = self._changed.get(agent)
        if changed is None:
            at = bisect_left(self._ids, agent)
            if at == len(self._ids) or self._ids[at] != agent:
                return None
            changed = self._marks[at], self._numbers[at]
        mark, number = changed
        return None if number == _GONE else (mark, self._groups[number])

    def put(self, agent: int, mark: int, groups: tuple[str, ...]) -> None:
        """
        This is what is known of an agent now.

        @param mark: a signed number of 64 bits.
        """
        number = self._number(groups)
        if not self._changed and (not self._ids or agent > self._ids[-1]):
            self._append(agent, mark, number)
        else:
            self._change(agent, mark, number)

    def drop(self, agent: int) -> None:
        """
        Nothing is known of an agent any more.
        """
        if self.get(agent) is not None:
            self._change(agent, 0, _GONE)

    def counts(self) -> Mapping[str, int]:
        """
        How many agents are in each group that has any.
        """
        self._merge()
        found: Counter[str] = Counter()
        for number, agents in Counter(self._numbers).items():
            for name in self._groups[number]:
                found[name] += agents
        return found

    def members(self, group: str) -> list[int]:
        """
        The agents in a group, ascending.
        """
        self._merge()
        wanted = {number for number, groups in enumerate(self._groups) if group in groups}
        numbers = zip(self._ids, self._numbers, strict=True)
        return [agent for agent, number in numbers if number in wanted] if wanted else []

    def _number(self, groups: tuple[str, ...]) -> int:
        number = self._known.get(groups)
        if number is None:
            # Thousands of orders of the same names have one text for each.
            groups = tuple(self._names.setdefault(name, name) for name in groups)
            number = self._known[groups] = len(self._groups)
            self._groups.append(groups)
        return number

    def _append(self, agent: int, mark: int, number: int) -> None:
        self._ids.append(agent)
        self._marks.append(mark)
        self._numbers.append(number)

    def _change(self, agent: int, mark: int, number: int) -> None:
        self._changed[agent] = mark, number
        if len(self._changed) >= _MANY:
            self._merge()

    def _merge(self) -> None:
        if not self._changed:
            return
        old = self._ids, self._marks, self._numbers
        self._ids, self._marks, self._numbers = array("I"), array("q"), array("i")
        new = self._ids, self._marks, self._numbers
        done = 0
        for agent in sorted(self._changed):
            at = bisect_left(old[0], agent, done)
            for ours, theirs in zip(new, old, strict=True):
                ours.extend(theirs[done:at])
            done = at + (at < len(old[0]) and old[0][at] == agent)
            mark, number = self._changed[agent]
            if number != _GONE:
                self._append(agent, mark, number)
        for ours, theirs in zip(new, old, strict=True):
            ours.extend(theirs[done:])
        self._changed.clear()
