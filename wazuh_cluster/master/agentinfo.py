"""
What a master decides about agents' records: whose are kept, and how old they
are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wazuh_cluster.agents.heard import decodeBatch
from wazuh_cluster.agents.interfaces import IAgentSource, IAgentStore, IRegistrar
from wazuh_cluster.agents.model import Batch
from wazuh_cluster.agents.plain import batchSource, batchStore
from wazuh_cluster.agents.sending import Answer, Sent, sendPending
from wazuh_cluster.errors import ClusterError, ProtocolViolation, Stopped, StoreFailed
from wazuh_cluster.failures import Failures
from wazuh_cluster.journal import AGENT_INFO_SYNC, Journal
from wazuh_cluster.master.session import Session
from wazuh_cluster.repeats import Repeats
from wazuh_cluster.steadyclock import SteadyClock

#: How many batches are taken apart, and wait for the store, at a time; others
#: wait as they came.
AT_ONCE = 32

#: How long the store may take until a worker is told that it does not answer,
#: in seconds. What it was given it still takes when it does.
PATIENCE = 60.0

#: How often records that cannot be used are logged for one node, in seconds.
REMIND_AFTER = 300.0


@define(eq=False)
class _Work:
    """
    A batch on its way into the store.

    @ivar removed: agents that were removed meanwhile.
    """

    removed: set[int] = field(factory=set)


class MasterAgentInfo:
    """
    The master's side of agent info, for its workers and for its own agents.
    """

    def __init__(
        self,
        store: IAgentStore,
        registrar: IRegistrar,
        reactor: IReactorTime,
        clock: SteadyClock,
        uptime: Callable[[], float],
        name: str,
        own: IAgentSource | None = None,
    ) -> None:
        """
        @param clock: the one that the store's times are on.
        @param name: the master's own node name.
        @param own: the records of the agents that report to the master itself.
        """
        self._store = batchStore(store)
        self._registrar = registrar
        self._reactor = reactor
        self._clock = clock
        self._uptime = uptime
        self._name = name
        self._own = own
        self._turn = DeferredSemaphore(AT_ONCE)
        self._working: list[_Work] = []
        self._log = Journal(AGENT_INFO_SYNC)
        self._refusals = Repeats(reactor, REMIND_AFTER)
        self._failures = Failures("The store of agents' records", reactor, self._log)

    async def start(self) -> None:
        """
        See whether the store can be used, and say so if not.
        """
        try:
            await self._store.records(())
        except ClusterError:
            self._failures.failed(Failure())

    async def sync(self, session: Session, tick: int, records: bytes, details: bytes) -> Answer:
        """
        Take a worker's batch.

        @param tick: the worker's uptime when it was sent, in microseconds.
        @param records: their heads, as they came.
        @param details: what belongs to them, likewise.
        @raise StoreFailed: if it could not be kept.
        @raise ProtocolViolation: if they are not JSON.
        """
        session.requireJoined()
        assert session.identity is not None
        name = session.identity.name
        # By the arrival, whatever the batch has to wait for.
        sent = self._clock.seconds() - (self._uptime() - session.ticks.see(tick / 1e6))
        await self._turn.acquire()
        try:
            return await self._take(name, sent, records, details, session.log)
        except (StoreFailed, ProtocolViolation):
            raise
        except ClusterError as error:
            raise StoreFailed(str(error)) from None
        finally:
            self._turn.release()

    async def takeOwn(self, batch: Batch) -> Answer:
        """
        Take a batch of the master's own agents.
        """
        sent = self._clock.seconds() - (self._uptime() - batch.tick)
        return await self._take(self._name, sent, batch.records, batch.details, self._log)

    async def forget(self, ids: Collection[int]) -> None:
        """
        These agents are registered no more: what is known of them goes. Their
        records that are on their way are not kept.
        """
        for work in self._working:
            work.removed.update(ids)
        await self._store.remove(ids)
        if self._own is not None:
            await self._own.removed(ids)

    async def _take(
        self, node: str, sent: float, records: bytes, details: bytes, log: Journal
    ) -> Answer:
        now = self._clock.seconds()
        batch, refused = decodeBatch(records, details, sent)
        if refused:
            self._complain(node, refused, log)
        if not len(batch):
            return Answer(0)
        work = _Work()
        self._working.append(work)
        try:
            known = await self._registrar.known(batch.ids)
            unknown = tuple(frozenset(batch.ids) - known)
            if unknown:
                batch = batch.only([agent in known for agent in batch.ids])
            if not len(batch):
                return Answer(0, unknown)
            incomplete = await self._within(self._store.takeBatch(node, batch, now))
            if work.removed:
                # Whichever came first: they are gone.
                await self._store.remove(work.removed)
        finally:
            self._working.remove(work)
        return Answer(len(batch) - len(incomplete), unknown, incomplete)

    async def _within(self, taking: Deferred[Sequence[int]]) -> Sequence[int]:
        waiting: Deferred[Sequence[int]] = Deferred()
        taking.addBoth(lambda result: None if waiting.called else waiting.callback(result))
        late = self._reactor.callLater(
            PATIENCE,
            waiting.errback,
            StoreFailed(f"the master's store has not answered for {PATIENCE:g} s"),
        )
        try:
            incomplete = await waiting
        except Stopped:
            # So is the master.
            raise
        except ClusterError:
            self._failures.failed(Failure())
            raise
        finally:
            if late.active():
                late.cancel()
        self._failures.succeeded()
        return incomplete

    def _complain(self, node: str, refused: Sequence[str], log: Journal) -> None:
        if self._refusals.allow(node) is not None:
            log.forTask(AGENT_INFO_SYNC).warn(
                "{count} records of agents cannot be used; the first: {why}.",
                count=len(refused),
                why=refused[0],
            )


class OwnAgents:
    """
    The thread Agent info of a master: the records of the agents that report to
    itself.
    """

    def __init__(
        self, agentInfo: MasterAgentInfo, source: IAgentSource, uptime: Callable[[], float]
    ) -> None:
        """
        @param uptime: the clock of C{source}'s times.
        """
        self._agentInfo = agentInfo
        self._source = batchSource(source, uptime)
        self._all = True

    async def run(self) -> str:
        """
        Take what is pending.

        @return: what came of it, for people.
        """
        if self._all:
            await self._source.markAll()
            self._all = False
        done = Sent()
        await sendPending(self._source, self._agentInfo.takeOwn, done)
        return f"{done.records} records in {done.batches} chunks, {done.unknown} unknown"
