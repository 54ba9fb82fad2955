"""
FileDraft: the next C{client.keys}, before it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wazuh_cluster.agents.keysfile import OpenKeys
from wazuh_cluster.agents.model import Agent
from wazuh_cluster.agents.requestjournal import Entry, RequestJournal


class FileDraft:
    """
    An L{IDraft<wazuh_cluster.agents.judge.IDraft>} over what is on the disk,
    which stays as it is.

    @ivar added: agents to add, by id, ascending.
    @ivar gone: agents to remove, by id.
    @ivar kept: removed agents of which a mark is to stay.
    @ivar entries: what to note of requests, in order.
    @ivar highest: the highest id that was ever given.
    """

    def __init__(
        self,
        keys: OpenKeys,
        journal: RequestJournal,
        highest: int,
        when: Callable[[int], float | None],
        now: float,
    ) -> None:
        """
        @param when: tells when an agent was registered, as L{registeredAt}
            does; C{None} if it cannot be said.
        @param now: when what is added is registered, in seconds since the
            epoch.
        """
        self.added: dict[int, Agent] = {}
        self.gone: dict[int, Agent] = {}
        self.kept: list[Agent] = []
        self.entries: list[Entry] = []
        self.highest = highest
        self._keys = keys
        self._journal = journal
        self._when = when
        self._now = now
        self._requests: dict[bytes, Entry] = {}
        self._names: dict[str, list[Agent]] = {}
        self._addresses: dict[str, list[Agent]] = {}

    def agent(self, id: int) -> Agent | None:
        """
        An agent.
        """
        if id in self.gone:
            return None
        return self.added.get(id) or self._keys.get(id)

    def named(self, name: str) -> Sequence[Agent]:
        """
        The agents of a name.
        """
        return self._there(self._keys.named(name), self._names.get(name, ()))

    def addressed(self, ip: str) -> Sequence[Agent]:
        """
        The agents with an address.
        """
        return self._there(self._keys.addressed(ip), self._addresses.get(ip, ()))

    def registeredAt(self, id: int) -> float:
        """
        When an agent was registered, in seconds since the epoch; 0 if nobody
        knows. One of which it cannot be said now is a new one: it stays.
        """
        when = None if id in self.added else self._when(id)
        return self._now if when is None else when

    def nextId(self) -> int:
        """
        The id of the next agent.
        """
        return self.highest + 1

    def add(self, agent: Agent) -> None:
        """
        Add an agent with the next id.
        """
        self.highest = agent.id
        self.added[agent.id] = agent
        self._names.setdefault(agent.name, []).append(agent)
        self._addresses.setdefault(agent.ip, []).append(agent)

    def remove(self, agent: Agent, purge: bool) -> None:
        """
        Remove an agent that is there.
        """
        if self.added.pop(agent.id, None) is None:
            self.gone[agent.id] = agent
        if not purge:
            self.kept.append(agent)

    def request(self, key: bytes) -> Entry | None:
        """
        What became of a request.
        """
        return self._requests.get(key) or self._journal.find(key)

    def note(self, entry: Entry) -> None:
        """
        Say what became of a request.
        """
        self._requests[entry.key] = entry
        self.entries.append(entry)

    def _there(self, inFile: Sequence[Agent], new: Sequence[Agent]) -> list[Agent]:
        return [agent for agent in inFile if agent.id not in self.gone] + [
            agent for agent in new if agent.id in self.added
        ]
