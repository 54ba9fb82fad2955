"""
IdIndex: where the lines of agents stand, in eight bytes each.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

_GONE = 0xFFFF_FFFF


class IdIndex:
    """
    Ids, each with the number of a block of a file, by slots that never move.

    One thread may change it while another asks L{has} and L{those}.
    """

    def __init__(self, ids: array[int] | None = None, blocks: array[int] | None = None) -> None:
        """
        @param ids: ascending, each once: what there is, by slots.
        @param blocks: the block of each.
        """
        self._ids = array("I") if ids is None else ids
        # A slot whose id was dropped is _GONE.
        self._blocks = array("I") if blocks is None else blocks
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._ids) - self._dropped

    def __iter__(self) -> Iterator[int]:
        """
        All ids, ascending.
        """
        for id, block in zip(self._ids, self._blocks, strict=True):
            if block != _GONE:
                yield id

    @property
    def dropped(self) -> int:
        """
        How many slots are of no use any more.
        """
        return self._dropped

    @property
    def highest(self) -> int:
        """
        The highest id that was ever added, 0 for none.
        """
        return self._ids[-1] if self._ids else 0

    def has(self, id: int) -> bool:
        """
        Whether this id is there.
        """
        return self.slot(id) is not None

    def those(self, ids: Iterable[int]) -> frozenset[int]:
        """
        Those of some ids that are there.
        """
        mine, blocks = self._ids, self._blocks
        count = len(mine)
        found = []
        for id in ids:
            slot = bisect_left(mine, id, 0, count)
            if slot < count and mine[slot] == id and blocks[slot] != _GONE:
                found.append(id)
        return frozenset(found)

    def slot(self, id: int) -> int | None:
        """
        The slot of an id that is there.
        """
        slot = bisect_left(self._ids, id)
        if slot < len(self._ids) and self._ids[slot] == id and self._blocks[slot] != _GONE:
            return slot
        return None

    def idAt(self, slot: int) -> int | None:
        """
        The id of a slot, C{None} if it was dropped.
        """
        return None if self._blocks[slot] == _GONE else self._ids[slot]

    def blockAt(self, slot: int) -> int:
        """
        The block of a slot that was not dropped.
        """
        return self._blocks[slot]

    def add(self, id: int, block: int) -> int:
        """
        Add an id that is higher than every one before.

        @return: its slot.
        """
        if id <= self.highest:
            raise ValueError(f"{id} is not above {self.highest}")
        # In this order, for who asks meanwhile goes by the ids.
        self._blocks.append(block)
        self._ids.append(id)
        return len(self._ids) - 1

    def drop(self, slot: int) -> None:
        """
        Drop the id of a slot.
        """
        if self._blocks[slot] != _GONE:
            self._blocks[slot] = _GONE
            self._dropped += 1

    def after(self, id: int, most: int) -> list[int]:
        """
        The next C{most} slots in use, of ids above C{id}.
        """
        found: list[int] = []
        for slot in range(bisect_right(self._ids, id), len(self._ids)):
            if len(found) >= most:
                break
            if self._blocks[slot] != _GONE:
                found.append(slot)
        return found


def sortedFirst(ids: array[int]) -> tuple[list[int] | range, list[int]]:
    """
    Where in C{ids} each id stands first, by ascending ids; and where one stands
    that was there before.
    """
    previous = 0
    for id in ids:
        if id <= previous:
            break
        previous = id
    else:
        return range(len(ids)), []
    first: list[int] = []
    again: list[int] = []
    last = -1
    # Stable: of two with one id, the first stays first.
    for place in sorted(range(len(ids)), key=ids.__getitem__):
        if ids[place] == last:
            again.append(place)
        else:
            last = ids[place]
            first.append(place)
    return first, sorted(again)
