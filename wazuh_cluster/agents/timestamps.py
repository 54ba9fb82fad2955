"""
Timestamps: C{queue/agents-timestamp}, where Wazuh keeps when each agent was
registered, a line C{id name ip YYYY-MM-DD HH:MM:SS} in local time for each.
"""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Callable, Collection, Sequence

from wazuh_cluster.agents.idindex import IdIndex, sortedFirst
from wazuh_cluster.agents.linefile import BLOCK, LineFile
from wazuh_cluster.agents.model import Agent, formatId
from wazuh_cluster.interfaces import IFileSystem, Slices

FOLDER = b"queue"
NAME = b"agents-timestamp"

#: As Wazuh installs it.
MODE = 0o600

_LINE = re.compile(
    rb"^(?!0+ )([0-9]{1,8}) [^ \n]+ [^ \n]+ ([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2})"
    rb":([0-9]{2}):([0-9]{2})$",
    re.MULTILINE,
)
_HOUR = "%Y-%m-%d %H"
_FORMAT = "%Y-%m-%d %H:%M:%S"
_MAX_HOURS = 10_000
_STEP = 8192


class Timestamps:
    """
    The file of one home. All calls block, and must not overlap.
    """

    def __init__(self, fileSystem: IFileSystem, home: bytes, blockSize: int = BLOCK) -> None:
        self._file = LineFile(fileSystem, home.rstrip(b"/") + b"/" + FOLDER, NAME, MODE, blockSize)
        self._ids = IdIndex()
        # By slot, in whole seconds since the epoch.
        self._times = array("Q")

    @property
    def highest(self) -> int:
        """
        The highest id in it, 0 for none.
        """
        return self._ids.highest

    def when(self, id: int) -> int:
        """
        When an agent was registered, in seconds since the epoch; 0 if nobody
        knows.
        """
        slot = self._ids.slot(id)
        return 0 if slot is None else self._times[slot]

    def refresh(self) -> Slices[None]:
        """
        Look at the file, and read it if it is not the one that is known.

        @raise FileChanged: if it changes at this moment.
        @raise StoreFailed: if it cannot be read.
        """
        layout = self._file.layout
        if layout is not None and self._file.status() == layout.status:
            return
        builder = _Builder()
        layout = yield from self._file.load(builder.take)
        ids, times = yield from builder.build()
        self._file.layout, self._ids, self._times = layout, ids, times

    def replace(self, added: Sequence[tuple[Agent, float]], gone: Collection[int]) -> Slices[None]:
        """
        Note, durably, that agents were registered and others removed.

        @param added: agents, by ascending ids, each with when it was
            registered, in seconds since the epoch.
        @raise FileChanged: if another program changed the file meanwhile;
            nothing was done then.
        @raise StoreFailed: if it cannot be written.
        """
        slots = [slot for slot in map(self._ids.slot, gone) if slot is not None]
        if not slots and not added:
            return
        byBlock: dict[int, set[int]] = {}
        for n, slot in enumerate(slots):
            if n % _STEP == 0:
                yield
            id = self._ids.idAt(slot)
            assert id is not None
            byBlock.setdefault(self._ids.blockAt(slot), set()).add(id)
        lines = [_line(agent, when) for agent, when in added]
        with self._file.open() as opened:
            edits = {}
            for block, ids in byBlock.items():
                edits[block] = _without(opened.block(block), ids)
                yield
            places = yield from opened.replace(edits, lines)
        for n, slot in enumerate(slots):
            if n % _STEP == 0:
                yield
            self._ids.drop(slot)
        if added and added[0][0].id <= self._ids.highest:
            # Somebody else has written of later ones: look anew.
            self._file.layout = None
            return
        for (agent, when), place in zip(added, places, strict=True):
            self._ids.add(agent.id, place)
            self._times.append(max(0, int(when)))

    def prune(self, isKnown: Callable[[int], bool]) -> Slices[None]:
        """
        Remove the lines of agents that are not registered any more, durably.

        @raise StoreFailed: if the file cannot be written.
        """
        strangers = []
        for n, id in enumerate(self._ids):
            if n % _STEP == 0:
                yield
            if not isKnown(id):
                strangers.append(id)
        yield from self.replace((), strangers)


class _Builder:
    """
    Takes the blocks of a file in.
    """

    def __init__(self) -> None:
        self._ids = array("I")
        self._blocks = array("I")
        self._times = array("Q")
        # To read a date takes longer than all the rest.
        self._hours: dict[bytes, int] = {}

    def take(self, block: int, content: bytes) -> None:
        """
        Take in the next block.
        """
        hours = self._hours
        if len(hours) > _MAX_HOURS:
            hours.clear()
        for number, hour, minutes, seconds in _LINE.findall(content):
            if hour not in hours:
                hours[hour] = _parsed(hour)
            self._ids.append(int(number))
            self._blocks.append(block)
            self._times.append(hours[hour] + 60 * int(minutes) + int(seconds))

    def build(self) -> Slices[tuple[IdIndex, array[int]]]:
        """
        The index, and the times by its slots. Of several lines with an id the
        last counts.
        """
        columns = self._ids, self._blocks, self._times
        order, again = sortedFirst(self._ids)
        if again:
            # The first, from behind.
            for column in columns:
                column.reverse()
            order, _ = sortedFirst(self._ids)
        sortedColumns = []
        for column in columns:
            yield
            sortedColumns.append(array(column.typecode, map(column.__getitem__, order)))
        ids, blocks, times = sortedColumns
        return IdIndex(ids, blocks), times


def _line(agent: Agent, when: float) -> bytes:
    date = time.strftime(_FORMAT, time.localtime(when))
    return f"{formatId(agent.id)} {agent.name} {agent.ip} {date}\n".encode("ascii")


def _parsed(hour: bytes) -> int:
    try:
        return max(0, int(time.mktime(time.strptime(hour.decode("ascii"), _HOUR))))
    except (ValueError, OverflowError):
        return 0


def _without(block: bytes, ids: Collection[int]) -> bytes:
    if not block.endswith(b"\n"):
        block += b"\n"
    kept = []
    for line in block.split(b"\n"):
        match = _LINE.fullmatch(line)
        if match is None or int(match[1]) not in ids:
            kept.append(line)
    return b"\n".join(kept)
