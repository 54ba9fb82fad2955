"""
Sources and stores of single records as those of batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from wazuh_cluster.agents.heard import HeardBatch, encodeRecord
from wazuh_cluster.agents.interfaces import (
    IAgentBatchSource,
    IAgentBatchStore,
    IAgentSource,
    IAgentStore,
)
from wazuh_cluster.agents.model import AgentRecord, AgentState, Batch
from wazuh_cluster.agents.records import checkRecord, digestOf, encodeDetails
from wazuh_cluster.errors import RecordRefused
from wazuh_cluster.journal import AGENT_INFO_SYNC, Journal
from wazuh_cluster.uptime import uptime

#: How many records are asked of a source at once.
_MOST = 500


def batchSource(source: IAgentSource, clock: Callable[[], float] = uptime) -> IAgentBatchSource:
    """
    A source as one of batches.

    @param clock: the one that its times are on.
    """
    if IAgentBatchSource.providedBy(source):
        return source
    return PlainSource(source, clock)


def batchStore(store: IAgentStore) -> IAgentBatchStore:
    """
    A store as one of batches.
    """
    if IAgentBatchStore.providedBy(store):
        return store
    return PlainStore(store)


@implementer(IAgentBatchSource)
class PlainSource:
    """
    Writes the batches of a source that gives records.
    """

    def __init__(self, source: IAgentSource, clock: Callable[[], float]) -> None:
        self._source = source
        self._clock = clock
        self._log = Journal(AGENT_INFO_SYNC)
        self._complained = ""
        self._waiting: deque[AgentRecord] = deque()
        # Batches that were given; until they are taken the source gives the
        # same records again.
        self._open = 0

    def rewind(self) -> None:
        """
        See L{IAgentBatchSource}.
        """
        self._waiting.clear()
        self._open = 0

    def nextBatch(self, size: int) -> Deferred[Batch | None]:
        """
        See L{IAgentBatchSource}. None while others are not taken yet.
        """
        return Deferred.fromCoroutine(self._next(size))

    def batchTaken(
        self, batch: Batch, unknown: Collection[int], incomplete: Collection[int]
    ) -> Deferred[None]:
        """
        See L{IAgentBatchSource}. Records always go with all that there is of
        them: none is incomplete.
        """
        return Deferred.fromCoroutine(self._taken(batch, unknown))

    async def _next(self, size: int) -> Batch | None:
        if not self._waiting and not self._open:
            await self._fetch()
        now = self._clock()
        heads: list[bytes] = []
        parts: list[bytes] = []
        records: list[AgentRecord] = []
        room = size - 2
        while self._waiting:
            head, details = encodeRecord(self._waiting[0], now - self._waiting[0].heard)
            room -= len(head) + 1 + len(details)
            if room < 0 and heads:
                break
            heads.append(head)
            parts.append(details)
            records.append(self._waiting.popleft())
        if not heads:
            return None
        self._open += 1
        return Batch(b"[%s]" % b",".join(heads), b"".join(parts), len(heads), now, tuple(records))

    async def _fetch(self) -> None:
        """
        Ask the source. What it should not give is never asked for again.
        """
        while not self._waiting:
            bad: list[AgentRecord] = []
            records = await self._source.pending(_MOST)
            for record in records:
                try:
                    checkRecord(record)
                except RecordRefused as why:
                    bad.append(record)
                    self._complain(str(why))
                else:
                    self._waiting.append(record)
            if not bad:
                return
            await self._source.taken(bad)

    def _complain(self, why: str) -> None:
        if why != self._complained:
            self._complained = why
            self._log.error("A record of this node's agents is left out: {why}.", why=why)

    async def _taken(self, batch: Batch, unknown: Collection[int]) -> None:
        self._open = max(0, self._open - 1)
        assert isinstance(batch.token, tuple)
        await self._source.taken(batch.token)
        if unknown:
            await self._source.unknown(unknown)

    # What goes on to the source as it is.

    def markAll(self) -> Deferred[None]:
        """
        See L{IAgentSource}.
        """
        return self._source.markAll()

    def pending(self, most: int) -> Deferred[Sequence[AgentRecord]]:
        """
        See L{IAgentSource}.
        """
        return self._source.pending(most)

    def taken(self, records: Sequence[AgentRecord]) -> Deferred[None]:
        """
        See L{IAgentSource}.
        """
        return self._source.taken(records)

    def unknown(self, ids: Collection[int]) -> Deferred[None]:
        """
        See L{IAgentSource}.
        """
        return self._source.unknown(ids)

    def registered(self, ids: Iterable[int]) -> Deferred[None]:
        """
        See L{IAgentSource}.
        """
        return self._source.registered(ids)

    def removed(self, ids: Collection[int]) -> Deferred[None]:
        """
        See L{IAgentSource}.
        """
        return self._source.removed(ids)

    def subscribe(self, changed: Callable[[], None]) -> None:
        """
        See L{IAgentSource}.
        """
        self._source.subscribe(changed)

    def stop(self) -> None:
        """
        See L{IAgentSource}.
        """
        self._source.stop()


@implementer(IAgentBatchStore)
class PlainStore:
    """
    Gives batches to a store that takes records.
    """

    def __init__(self, store: IAgentStore) -> None:
        self._store = store

    def takeBatch(self, node: str, batch: HeardBatch, now: float) -> Deferred[Sequence[int]]:
        """
        See L{IAgentBatchStore}.
        """
        return Deferred.fromCoroutine(self._take(node, batch, now))

    async def _take(self, node: str, batch: HeardBatch, now: float) -> Sequence[int]:
        rows = list(zip(batch.ids, batch.digests, batch.details, strict=True))
        claimed = {
            agent: digest
            for agent, digest, details in rows
            if details is None and digest is not None
        }
        wrong: frozenset[int] = frozenset()
        if claimed:
            here = await self._store.records(claimed)
            wrong = frozenset(
                agent for agent, digest in claimed.items() if _digest(here.get(agent)) != digest
            )
        if wrong:
            batch = batch.only(
                [details is not None or agent not in wrong for agent, _, details in rows]
            )
        await self._store.take(batch.records(node), now)
        return tuple(wrong)

    # What goes on to the store as it is.

    def take(self, records: Sequence[AgentRecord], now: float) -> Deferred[int]:
        """
        See L{IAgentStore}.
        """
        return self._store.take(records, now)

    def remove(self, ids: Collection[int]) -> Deferred[None]:
        """
        See L{IAgentStore}.
        """
        return self._store.remove(ids)

    def records(self, ids: Collection[int]) -> Deferred[Mapping[int, AgentRecord]]:
        """
        See L{IAgentStore}.
        """
        return self._store.records(ids)

    def states(self, first: int, last: int) -> Deferred[Sequence[AgentState]]:
        """
        See L{IAgentStore}.
        """
        return self._store.states(first, last)

    def stop(self) -> None:
        """
        See L{IAgentStore}.
        """
        self._store.stop()


def _digest(record: AgentRecord | None) -> int | None:
    details = None if record is None else encodeDetails(record)
    return None if details is None else digestOf(details)
