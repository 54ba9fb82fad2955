"""
KeysIndex: which agents there are in C{client.keys}, and in which block of the
file the line of each is.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from attrs import define, field, frozen

from wazuh_cluster.agents.addresses import ANY, normalAddress
from wazuh_cluster.agents.clientkeys import (
    AGENT_LINE,
    faultOf,
    idIn,
    isRemark,
    isRemoved,
)
from wazuh_cluster.agents.hashindex import HashIndex, markOf
from wazuh_cluster.agents.idindex import IdIndex, sortedFirst
from wazuh_cluster.agents.model import Agent, formatId
from wazuh_cluster.interfaces import Slices

#: How many damaged lines are told one by one.
MAX_FAULTS = 20

_STEP = 8192

# The mark of an address that is none.
_NONE = -1


@frozen
class Fault:
    """
    A line that is not an agent's, or shares a name.

    @ivar line: its number, from 1.
    @ivar what: what is wrong with it, one phrase.
    @ivar mark: tells it from other lines. The line itself may hold a key, which
        no log is to show.
    """

    line: int
    what: str
    mark: int


@define
class Remarks:
    """
    What there is to say of a file that was read.

    @ivar faults: the first L{MAX_FAULTS} lines that are damaged, or share an
        id or a name with one before.
    @ivar more: how many there are besides.
    @ivar others: how many lines are empty, or have C{#} or a blank at their
        beginning.
    @ivar agents: how many agents there are.
    @ivar highest: the highest id, of whatever line.
    """

    faults: list[Fault] = field(factory=list)
    more: int = 0
    others: int = 0
    agents: int = 0
    highest: int = 0

    def add(self, line: int, what: str, content: bytes) -> None:
        """
        Note a damaged line.
        """
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(line, what, markOf(content)))
        else:
            self.more += 1


class KeysIndex:
    """
    The agents of one C{client.keys}: which there are, and in which block the
    line of each is.

    One thread may change it while another asks L{has} and L{those}.

    @ivar ids: the agents' ids, with the block of each one's line.
    @ivar highest: the highest id in the file, also of a removed agent or of a
        damaged line.
    @ivar repeated: ids of which there are several lines, with the blocks of
        the further ones.
    """

    def __init__(self, ids: IdIndex, addresses: int) -> None:
        """
        @param ids: of the agents that are there, whose names and addresses are
            yet to be told.
        @param addresses: how many of them have an address.
        """
        self.ids = ids
        self.highest = ids.highest
        self.repeated: dict[int, list[int]] = {}
        self._names = HashIndex(len(ids))
        self._addresses = HashIndex(addresses)

    def __len__(self) -> int:
        return len(self.ids)

    def has(self, id: int) -> bool:
        """
        Whether an agent is registered.
        """
        return self.ids.has(id)

    def those(self, ids: Iterable[int]) -> frozenset[int]:
        """
        Those of some ids that are registered.
        """
        return self.ids.those(ids)

    def named(self, name: str) -> list[int]:
        """
        Slots of agents that may have this name.
        """
        return self._live(self._names.find(name.encode("ascii")))

    def at(self, ip: str) -> list[int]:
        """
        Slots of agents that may have this address, which is not C{any}.
        """
        return self._live(self._addresses.find(ip.encode("ascii")))

    def add(self, agent: Agent, block: int) -> None:
        """
        Add an agent, whose id is higher than all before.
        """
        slot = self.ids.add(agent.id, block)
        self._names.add(agent.name.encode("ascii"), slot)
        if agent.ip != ANY:
            self._addresses.add(indexedAddress(agent.ip).encode("ascii"), slot)
        self.highest = max(self.highest, agent.id)

    def fillNames(self, marks: Sequence[int], start: int, end: int) -> list[int]:
        """
        Add the names of a range of slots, of which L{markOf} is at hand.

        @return: the slots that may have a name that one before has.
        """
        return self._names.fill(marks, start, end)

    def addAddress(self, mark: int, slot: int) -> None:
        """
        Add the address of a slot, of which L{markOf} is at hand.
        """
        self._addresses.addMark(mark, slot)

    def drop(self, agent: Agent) -> None:
        """
        Drop an agent.
        """
        slot = self.ids.slot(agent.id)
        if slot is not None:
            self._names.remove(agent.name.encode("ascii"), slot)
            self._addresses.remove(indexedAddress(agent.ip).encode("ascii"), slot)
            self.ids.drop(slot)
            self.repeated.pop(agent.id, None)

    def _live(self, slots: Iterable[int]) -> list[int]:
        return [slot for slot in slots if self.ids.idAt(slot) is not None]


class IndexBuilder:
    """
    Makes an index from the blocks of a file.

    @ivar tailAt: where the marks of removed agents begin with which the file
        ends.
    @ivar sameNames: slots and lines of agents that may have a name that one
        before has.
    """

    def __init__(self) -> None:
        self.remarks = Remarks()
        self.tailAt = 0
        self.sameNames: list[tuple[int, int]] = []
        self._offset = 0
        self._line = 0
        self._highest = 0
        # One entry each for every agent's line, in the order of the file.
        self._ids = array("I")
        self._blocks = array("I")
        self._lines = array("I")
        self._names = array("I")
        self._addresses = array("q")

    def take(self, block: int, content: bytes) -> None:
        """
        Take in the next block.
        """
        match = AGENT_LINE.fullmatch
        lines = content.split(b"\n")
        if not lines[-1]:
            del lines[-1]
        number = self._line
        self._line += len(lines)
        end = self._offset
        self._offset += len(content)
        for line in lines:
            number += 1
            end += len(line) + 1
            found = match(line)
            if found is None:
                self._takeOther(line, number, end)
                continue
            self.tailAt = end
            id, name, ip, _ = found.groups()
            self._ids.append(int(id))
            self._blocks.append(block)
            self._lines.append(number)
            self._names.append(markOf(name))
            self._addresses.append(
                _NONE
                if ip == b"any"
                else markOf(indexedAddress(ip.decode("ascii")).encode("ascii"))
            )
        # Its last line may lack its end.
        self.tailAt = min(self.tailAt, self._offset)

    def build(self) -> Slices[KeysIndex]:
        """
        The index of all that came.
        """
        ids = self._ids
        order, again = sortedFirst(ids)
        yield
        names = array("I", map(self._names.__getitem__, order))
        yield
        index = KeysIndex(
            IdIndex(
                array("I", map(ids.__getitem__, order)),
                array("I", map(self._blocks.__getitem__, order)),
            ),
            len(ids) - self._addresses.count(_NONE),
        )
        for start in range(0, len(names), _STEP):
            yield
            same = index.fillNames(names, start, min(start + _STEP, len(names)))
            self.sameNames += ((slot, self._lines[order[slot]]) for slot in same)
        for slot, entry in enumerate(order):
            if slot % _STEP == 0:
                yield
            if self._addresses[entry] != _NONE:
                index.addAddress(self._addresses[entry], slot)
        for entry in again:
            id = ids[entry]
            index.repeated.setdefault(id, []).append(self._blocks[entry])
            what = f"its id is that of a line before: {formatId(id)}"
            self.remarks.add(self._lines[entry], what, b"")
        index.highest = max(index.ids.highest, self._highest)
        return index

    def _takeOther(self, line: bytes, number: int, end: int) -> None:
        if isRemoved(line):
            self._highest = max(self._highest, idIn(line))
            return
        self.tailAt = end
        if isRemark(line):
            self.remarks.others += 1
            return
        self._highest = max(self._highest, idIn(line))
        self.remarks.add(number, faultOf(line), line)


def indexedAddress(ip: str) -> str:
    """
    An address from the file as it is found: somebody may have written it in
    another way.
    """
    if ":" not in ip:
        return ip
    try:
        return normalAddress(ip)
    except ValueError:
        return ip
