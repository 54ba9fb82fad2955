"""
A source of agents' records in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from wazuh_cluster.agents import AgentRecord, IAgentSource


@implementer(IAgentSource)
class MemoryAgentSource:
    """
    An L{IAgentSource} whose records a test L{put}s there.

    @ivar kept: the records, by agent.
    @ivar stopped: whether it was stopped.
    """

    def __init__(self) -> None:
        self.kept: dict[int, AgentRecord] = {}
        self.stopped = False
        # The agents that are pending, the longest waiting first, and those
        # that are kept back.
        self._pending: dict[int, None] = {}
        self._unknown: set[int] = set()
        self._subscribers: list[Callable[[], None]] = []

    def put(self, *records: AgentRecord) -> None:
        """
        These agents were heard.
        """
        news = False
        for record in records:
            before = self.kept.get(record.id)
            news = news or before is None or before.event != record.event
            self.kept[record.id] = record
            self._unknown.discard(record.id)
            self._pending.pop(record.id, None)
            self._pending[record.id] = None
        if news:
            self._tell()

    def markAll(self) -> Deferred[None]:
        """
        See L{IAgentSource.markAll}.
        """
        self._unknown.clear()
        self._pending = dict.fromkeys([*self._pending, *self.kept])
        return succeed(None)

    def pending(self, most: int) -> Deferred[Sequence[AgentRecord]]:
        """
        See L{IAgentSource.pending}.
        """
        return succeed([self.kept[agent] for agent in list(self._pending)[:most]])

    def taken(self, records: Sequence[AgentRecord]) -> Deferred[None]:
        """
        See L{IAgentSource.taken}.
        """
        for record in records:
            if self.kept.get(record.id) == record:
                self._pending.pop(record.id, None)
        return succeed(None)

    def unknown(self, ids: Collection[int]) -> Deferred[None]:
        """
        See L{IAgentSource.unknown}.
        """
        for agent in ids:
            if agent in self.kept:
                self._unknown.add(agent)
                self._pending.pop(agent, None)
        return succeed(None)

    def registered(self, ids: Iterable[int]) -> Deferred[None]:
        """
        See L{IAgentSource.registered}.
        """
        known = frozenset(ids)
        self.removed([agent for agent in self.kept if agent not in known])
        again, self._unknown = self._unknown, set()
        self._pending.update(dict.fromkeys(sorted(again)))
        if again:
            self._tell()
        return succeed(None)

    def removed(self, ids: Collection[int]) -> Deferred[None]:
        """
        See L{IAgentSource.removed}.
        """
        for agent in ids:
            self.kept.pop(agent, None)
            self._pending.pop(agent, None)
            self._unknown.discard(agent)
        return succeed(None)

    def subscribe(self, changed: Callable[[], None]) -> None:
        """
        See L{IAgentSource.subscribe}.
        """
        self._subscribers.append(changed)

    def stop(self) -> None:
        """
        See L{IAgentSource.stop}.
        """
        self.stopped = True

    def _tell(self) -> None:
        for changed in self._subscribers:
            changed()
