"""
KeysFile: C{etc/client.keys}, and who stands where in it.

Lines of others (remarks, damaged ones, a second line with an id) stay where
they are, byte for byte. Agents' lines come before the marks of removed ones,
which are last. In memory is an index, of 19 to 30 bytes for each agent, and of 11 to
22 more for one that has an address.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from wazuh_cluster.agents.clientkeys import (
    AGENT_LINE,
    formatAgent,
    formatRemoved,
    parseAgent,
)
from wazuh_cluster.agents.keysindex import IndexBuilder, KeysIndex, Remarks, indexedAddress
from wazuh_cluster.agents.linefile import BLOCK, FileChanged, LineFile, OpenLines
from wazuh_cluster.agents.model import Agent, formatId
from wazuh_cluster.interfaces import FileStat, IFileSystem, Slices

#: The file's place, and its permissions.
FOLDER = b"etc"
NAME = b"client.keys"
MODE = 0o640

#: How long another program's change must have lasted before it is read, in
#: seconds.
QUIET = 1.0

#: How many that seem to share a name are looked at more closely.
_MAX_SAME = 200

_INDEX_STEP = 8192
_DUPLICATES_STEP = 64


class KeysFile:
    """
    The file of one home. All calls but C{index.has} and C{index.those} block, and must not
    overlap.

    @ivar index: what is in the file; C{None} before it was read.
    @ivar remarks: what is to be said, once each time that the file was read;
        whoever says it, in whatever thread, takes it away.
    """

    def __init__(self, fileSystem: IFileSystem, home: bytes, blockSize: int = BLOCK) -> None:
        self.index: KeysIndex | None = None
        self.remarks: deque[Remarks] = deque()
        self._file = LineFile(fileSystem, home.rstrip(b"/") + b"/" + FOLDER, NAME, MODE, blockSize)
        # A change by another program that was seen, and when first.
        self._seen: tuple[FileStat | None, float] | None = None

    @property
    def path(self) -> str:
        """
        Where it is, for people.
        """
        return self._file.path

    def refresh(self, now: float) -> Slices[None]:
        """
        Look at the file, and read it if it is not the one that is known.

        What another program has changed is not read before it has been the same
        for L{QUIET}: a file that is just being written must not be taken for
        whole.

        @param now: seconds on any clock.
        @raise FileChanged: if it must be looked at again later.
        @raise StoreFailed: if it cannot be read.
        """
        status = self._file.status()
        layout = self._file.layout
        if layout is not None:
            if layout.status == status:
                self._seen = None
                if not self._isWorn():
                    return
            elif self._seen is None or self._seen[0] != status:
                self._seen = status, now
                raise self._changing()
            # A clock that was set back must not make this wait.
            elif 0 <= now - self._seen[1] < QUIET:
                raise self._changing()
        builder = IndexBuilder()
        layout = yield from self._file.load(builder.take)
        if layout.status != status:
            raise self._changing()
        layout = self._file.setTail(layout, builder.tailAt)
        index = yield from builder.build()
        # Both at once: nothing but this stands between two slices.
        self._file.layout = layout
        self.index = index
        yield from self._findSameNames(builder)
        builder.remarks.agents, builder.remarks.highest = len(index), index.highest
        self.remarks.append(builder.remarks)

    @contextmanager
    def open(self) -> Iterator[OpenKeys]:
        """
        Open the file as it is known.

        @raise FileChanged: if it is another one now.
        @raise StoreFailed: if it cannot be read.
        """
        assert self.index is not None, "the file was never read"
        with self._file.open() as lines:
            yield OpenKeys(self.index, lines)

    def _changing(self) -> FileChanged:
        return FileChanged(f"{self.path}: another program keeps changing it: end that program")

    def _isWorn(self) -> bool:
        """
        Whether so many agents were removed that the index is worth making anew.
        """
        assert self.index is not None
        return self.index.ids.dropped > 10_000 + len(self.index)

    def _findSameNames(self, builder: IndexBuilder) -> Slices[None]:
        """
        See which of those that seem to share a name do.
        """
        if not builder.sameNames:
            return
        builder.remarks.more += len(builder.sameNames[_MAX_SAME:])
        with self.open() as keys:
            for n, (slot, line) in enumerate(builder.sameNames[:_MAX_SAME]):
                if n % _DUPLICATES_STEP == 0:
                    yield
                agent = keys.at(slot)
                first = keys.named(agent.name)[0]
                if first.id != agent.id:
                    what = f"its name is that of agent {formatId(first.id)} too"
                    builder.remarks.add(line, what, agent.name.encode("ascii"))


class OpenKeys:
    """
    A L{KeysFile} that is open.
    """

    def __init__(self, index: KeysIndex, lines: OpenLines) -> None:
        self.index = index
        self._lines = lines

    def get(self, id: int) -> Agent | None:
        """
        A registered agent.
        """
        slot = self.index.ids.slot(id)
        return None if slot is None else self.at(slot)

    def at(self, slot: int) -> Agent:
        """
        The agent of a slot in use.
        """
        return self._find(slot, 0)[0]

    def _find(self, slot: int, begin: int) -> tuple[Agent, int]:
        """
        The agent of a slot in use, and where the line after its own begins.

        @param begin: where a line of its block begins that may be its own.
        """
        id = self.index.ids.idAt(slot)
        assert id is not None
        block = self._lines.block(self.index.ids.blockAt(slot))
        if id not in self.index.repeated:
            # As nearly all are written; a damaged line may begin so too.
            start = b"%03d " % id
            at = begin if block.startswith(start, begin) else block.find(b"\n" + start) + 1
            end = _endOfLine(block, at)
            agent = parseAgent(block[at:end])
            if agent is not None and agent.id == id:
                return agent, end + 1
        for line in block.split(b"\n"):
            agent = parseAgent(line)
            if agent is not None and agent.id == id:
                return agent, 0
        raise FileChanged(f"agent {formatId(id)} is not where it was")

    def named(self, name: str) -> list[Agent]:
        """
        The agents of this name.
        """
        agents = [self.at(slot) for slot in sorted(self.index.named(name))]
        return [agent for agent in agents if agent.name == name]

    def addressed(self, ip: str) -> list[Agent]:
        """
        The agents with this address, which is not C{any}.
        """
        agents = [self.at(slot) for slot in sorted(self.index.at(ip))]
        return [agent for agent in agents if indexedAddress(agent.ip) == ip]

    def page(self, after: int, most: int) -> Slices[list[Agent]]:
        """
        The next C{most} agents of those above the id C{after}.
        """
        ids = self.index.ids
        found: dict[int, Agent] = {}
        # Block by block: the file need not be in the order of the ids. But mostly
        # it is, and then no line has to be looked for.
        block, begin = -1, 0
        for n, slot in enumerate(sorted(ids.after(after, most), key=ids.blockAt)):
            if ids.blockAt(slot) != block:
                block, begin = ids.blockAt(slot), 0
            found[slot], begin = self._find(slot, begin)
            if n % _INDEX_STEP == 0:
                yield
        return [found[slot] for slot in sorted(found)]

    def replace(
        self, added: Sequence[Agent], gone: Collection[Agent], kept: Iterable[Agent]
    ) -> Slices[None]:
        """
        Replace the file, durably, and know what is in it then.

        @param added: agents to add, by ascending ids that are new.
        @param gone: registered agents whose lines go.
        @param kept: removed agents of which a mark is to stay.
        @raise FileChanged: if another program changed it meanwhile; nothing was
            done then.
        @raise StoreFailed: if it cannot be written.
        """
        index = self.index
        byBlock: dict[int, set[int]] = {}
        for n, agent in enumerate(gone):
            if n % _INDEX_STEP == 0:
                yield
            slot = index.ids.slot(agent.id)
            assert slot is not None
            for block in (index.ids.blockAt(slot), *index.repeated.get(agent.id, ())):
                byBlock.setdefault(block, set()).add(agent.id)
        edits = {}
        for block, ids in byBlock.items():
            edits[block] = _without(self._lines.block(block), ids)
            if len(edits) % _DUPLICATES_STEP == 0:
                yield
        places = yield from self._lines.replace(
            edits,
            [formatAgent(agent) for agent in added],
            b"".join(formatRemoved(agent) for agent in kept),
        )
        for n, agent in enumerate(gone):
            if n % _INDEX_STEP == 0:
                yield
            index.drop(agent)
        for agent, place in zip(added, places, strict=True):
            index.add(agent, place)


def _endOfLine(block: bytes, start: int) -> int:
    end = block.find(b"\n", start)
    return len(block) if end < 0 else end


def _without(block: bytes, ids: Collection[int]) -> bytes:
    """
    A block without the agents' lines that have one of these ids.
    """
    if not block.endswith(b"\n"):
        block += b"\n"
    kept = []
    for line in block.split(b"\n"):
        match = AGENT_LINE.fullmatch(line)
        if match is None or int(match[1]) not in ids:
            kept.append(line)
    return b"\n".join(kept)
