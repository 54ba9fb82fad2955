"""
HashIndex: which numbers go with a text, in a few bytes each, for texts that
stand somewhere else.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

#: Of how many numbers with the same text one can be found.
MOST = 8

_LEAST_PLACES = 64
_FREE = 0
# No number is so large: it stands where one was removed.
_GONE = 0xFFFF_FFFF
_MARK = 0xFFFF_FFFF


class HashIndex:
    """
    A hash table that keeps 32 bits of each text's hash and a number below
    2**32-2: what it finds is to be compared with the text itself. It takes 11 to
    22 bytes for each number.

    The hash is Python's own, which nobody can foresee.
    """

    def __init__(self, expected: int = 0) -> None:
        """
        @param expected: for how many numbers there is to be room.
        """
        places = _LEAST_PLACES
        while 2 * expected > places:
            places *= 2
        # Hash in the upper half, number + 1 in the lower; linear probing. At
        # most three quarters of the places are taken.
        self._table = array("Q", bytes(8 * places))
        self._used = 0

    def add(self, text: bytes, number: int) -> None:
        """
        Let C{text} find C{number} too. Beyond L{MOST} numbers for one text,
        nothing is kept.
        """
        self.addMark(markOf(text), number)

    def addMark(self, mark: int, number: int) -> None:
        """
        The same for a text of which only L{markOf} is at hand.
        """
        if 4 * self._used >= 3 * len(self._table):
            self._grow()
        self._put(mark << 32 | number + 1)

    def fill(self, marks: Sequence[int], start: int, end: int) -> list[int]:
        """
        Add the numbers from C{start} to before C{end}, each with its mark in
        C{marks}: much faster than one by one.

        @return: those that found their mark taken.
        """
        same: list[int] = []
        for number in range(start, end):
            if 4 * self._used >= 3 * len(self._table):
                self._grow()
            mark = marks[number]
            table = self._table
            last = len(table) - 1
            place = mark & last
            while (there := table[place]) != _FREE and there >> 32 != mark:
                place = place + 1 & last
            if there == _FREE:
                table[place] = mark << 32 | number + 1
                self._used += 1
            else:
                same.append(number)
                self._put(mark << 32 | number + 1)
        return same

    def find(self, text: bytes) -> Iterator[int]:
        """
        The numbers that may be the text's, in no order, few of which are not.
        """
        return self.findMark(markOf(text))

    def findMark(self, mark: int) -> Iterator[int]:
        """
        The same for what L{markOf} gave.
        """
        table = self._table
        last = len(table) - 1
        place = mark & last
        while (entry := table[place]) != _FREE:
            if entry >> 32 == mark and entry & _MARK != _GONE:
                yield (entry & _MARK) - 1
            place = place + 1 & last

    def remove(self, text: bytes, number: int) -> None:
        """
        Let C{text} not find C{number} any more; nothing happens if it does not.
        """
        place = self._placeOf(text, number)
        if place is not None:
            self._table[place] |= _GONE

    def replace(self, text: bytes, old: int, new: int) -> None:
        """
        Let C{text} find C{new} where it found C{old}.
        """
        place = self._placeOf(text, old)
        if place is not None:
            self._table[place] = markOf(text) << 32 | new + 1

    def _placeOf(self, text: bytes, number: int) -> int | None:
        table = self._table
        last = len(table) - 1
        mark = markOf(text)
        wanted = mark << 32 | number + 1
        place = mark & last
        while (entry := table[place]) != _FREE:
            if entry == wanted:
                return place
            place = place + 1 & last
        return None

    def _put(self, entry: int) -> None:
        table = self._table
        last = len(table) - 1
        mark = entry >> 32
        place = mark & last
        same = 0
        gone = None
        while (there := table[place]) != _FREE:
            if there & _MARK == _GONE:
                gone = place if gone is None else gone
            elif there >> 32 == mark:
                same += 1
                if same == MOST:
                    return
            place = place + 1 & last
        if gone is None:
            self._used += 1
            gone = place
        table[gone] = entry

    def _grow(self) -> None:
        """
        Make room, without what was removed.
        """
        old = self._table
        live = sum(1 for entry in old if entry != _FREE and entry & _MARK != _GONE)
        places = _LEAST_PLACES
        while 2 * live >= places:
            places *= 2
        self._table = array("Q", bytes(8 * places))
        self._used = 0
        for entry in old:
            if entry != _FREE and entry & _MARK != _GONE:
                self._put(entry)


def markOf(text: bytes) -> int:
    """
    The 32 bits that are kept of a text.
    """
    return hash(text) & _MARK
