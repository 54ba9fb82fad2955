"""
A registrar in memory, that decides as the embedded one does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import count

from twisted.internet.interfaces import IReactorTime

from wazuh_cluster.agents.forcerules import ForceRules
from wazuh_cluster.agents.interfaces import IAssignments, IRegistrarObserver, IRegistrationTimes
from wazuh_cluster.agents.judge import Judge, Policy
from wazuh_cluster.agents.keysbook import Settled
from wazuh_cluster.agents.model import MAX_AGENT_ID, Agent
from wazuh_cluster.agents.operations import Operation, Verdict
from wazuh_cluster.agents.registrar import Registrar
from wazuh_cluster.agents.requestjournal import KEEP, Entry
from wazuh_cluster.errors import BadArgument, ClusterError
from wazuh_cluster.journal import Journal


class MemoryBook:
    """
    Registrations that last as long as the object. An
    L{IDraft<wazuh_cluster.agents.judge.IDraft>} of itself: what was decided is
    done.
    """

    def __init__(
        self,
        clock: IReactorTime,
        policy: Policy,
        random: Callable[[int], bytes],
    ) -> None:
        self.agents: dict[int, Agent] = {}
        self.failure: ClusterError | None = None
        self.last = 0
        self._clock = clock
        self._policy = policy
        self._random = random
        self._registered: dict[int, float] = {}
        self._requests: dict[bytes, tuple[float, Entry]] = {}
        self._added: list[Agent] = []
        self._removed: list[Agent] = []

    # An IBook.

    async def settle(self, operations: Sequence[Operation]) -> Settled:
        """
        Decide some operations.
        """
        if self.failure is not None:
            raise self.failure
        now = self._clock.seconds()
        self._forget(now)
        self._added, self._removed = [], []
        judge = Judge(self, self._policy, now, self._random)
        verdicts: list[Verdict] = []
        for operation in operations:
            work = judge.decide(operation)
            while True:
                try:
                    next(work)
                except StopIteration as end:
                    verdicts.append(end.value)
                    break
        return Settled(verdicts, self._added, self._removed)

    async def get(self, id: int) -> Agent | None:
        """
        A registered agent.
        """
        return self.agents.get(id)

    async def page(self, after: int, most: int) -> Sequence[Agent]:
        """
        The next C{most} agents of those above C{after}.
        """
        ids = sorted(id for id in self.agents if id > after)
        return [self.agents[id] for id in ids[:most]]

    async def known(self, ids: Collection[int]) -> frozenset[int]:
        """
        Those of C{ids} that are registered.
        """
        return frozenset(id for id in ids if id in self.agents)

    async def highest(self) -> int:
        """
        The highest id that was ever seen.
        """
        return self.last

    async def seen(self, id: int) -> None:
        """
        Never give this id, nor one below it.
        """
        if not 0 <= id <= MAX_AGENT_ID:
            raise BadArgument(f"{id} is not an agent's id: they are 1 to {MAX_AGENT_ID:,}")
        self.last = max(self.last, id)

    async def removedBefore(self) -> Collection[int]:
        """
        Nothing was before.
        """
        return ()

    def stop(self) -> None:
        """
        Nothing waits.
        """

    # An IDraft.

    def agent(self, id: int) -> Agent | None:
        """
        A registered agent.
        """
        return self.agents.get(id)

    def named(self, name: str) -> Sequence[Agent]:
        """
        The agents of a name.
        """
        return [agent for agent in self.agents.values() if agent.name == name]

    def addressed(self, ip: str) -> Sequence[Agent]:
        """
        The agents with an address.
        """
        return [agent for agent in self.agents.values() if agent.ip == ip]

    def registeredAt(self, id: int) -> float:
        """
        When an agent was registered.
        """
        return self._registered.get(id, 0)

    def nextId(self) -> int:
        """
        The id of the next agent.
        """
        return self.last + 1

    def add(self, agent: Agent) -> None:
        """
        Add an agent.
        """
        self.last = agent.id
        self.agents[agent.id] = agent
        self._registered[agent.id] = self._clock.seconds()
        self._added.append(agent)

    def remove(self, agent: Agent, purge: bool) -> None:
        """
        Remove an agent.
        """
        del self.agents[agent.id]
        self._removed.append(agent)

    def request(self, key: bytes) -> Entry | None:
        """
        What became of a request.
        """
        found = self._requests.get(key)
        return None if found is None else found[1]

    def note(self, entry: Entry) -> None:
        """
        Say what became of a request.
        """
        self._requests[entry.key] = self._clock.seconds(), entry

    def _forget(self, now: float) -> None:
        for key, (noted, _) in list(self._requests.items()):
            if now - noted > KEEP:
                del self._requests[key]


class MemoryRegistrar(Registrar):
    """
    An L{IRegistrar<wazuh_cluster.agents.IRegistrar>} that lasts as long as the
    object, and answers at once.

    @ivar agents: who is registered, by id.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        rules: ForceRules | None = None,
        hostName: str = "",
        silence: float = 900.0,
        assignments: IAssignments | None = None,
        times: IRegistrationTimes | None = None,
        observers: Iterable[IRegistrarObserver] = (),
        random: Callable[[int], bytes] | None = None,
        journal: Journal | None = None,
    ) -> None:
        """
        @param clock: also the time of registrations.
        @param random: makes the keys; by default each is another, and the same
            in each test.
        """
        self._memory = MemoryBook(
            clock,
            Policy(rules or ForceRules(), hostName, True, silence),
            counting() if random is None else random,
        )
        self.agents = self._memory.agents
        super().__init__(
            self._memory,
            clock,
            assignments=assignments,
            times=times,
            observers=observers,
            journal=journal,
        )

    def fail(self, error: ClusterError | None) -> None:
        """
        Let all that changes something fail, as when a disk is full; C{None}
        ends that.
        """
        self._memory.failure = error


def counting() -> Callable[[int], bytes]:
    """
    Random bytes that are never the same, and the same each time.
    """
    numbers = count(1)
    return lambda size: next(numbers).to_bytes(size, "big")
