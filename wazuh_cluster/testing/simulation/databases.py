"""
The databases of simulated nodes, in place of SQLite's: what is committed outlives the
process, and they can be slow, locked, failing, or answer nothing for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, evolve
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.agents import AgentRecord, AgentState, IAgentBatchStore, IAgentSource
from wazuh_cluster.agents.heard import HeardBatch
from wazuh_cluster.agents.plain import PlainStore
from wazuh_cluster.errors import Stopped, StoreFailed
from wazuh_cluster.testing.agentsource import MemoryAgentSource
from wazuh_cluster.testing.agentstore import MemoryAgentStore

if TYPE_CHECKING:
    from wazuh_cluster.testing.simulation.machine import SimMachine
    from wazuh_cluster.testing.simulation.process import SimProcess

T = TypeVar("T")
Rows = Mapping[int, AgentRecord]

#: How long another program's lock is waited for, in seconds.
_LOCKED = 2.0

#: The most pieces of work that may wait for one database: the batches that a master
#: works on at a time, and what enrolling agents ask.
_WAITING = 256


@define(eq=False)
class Health:
    """
    How the databases of one machine are.

    @ivar slow: how many seconds more each commit takes.
    @ivar failing: how likely one fails.
    @ivar locked: whether another program has them.
    @ivar hanging: what waits for them to answer anything; C{None} while they do.
    """

    slow: float = 0.0
    failing: float = 0.0
    locked: bool = False
    hanging: list[tuple[SimProcess, Callable[[], None]]] | None = None

    def begin(self, process: SimProcess, work: Callable[[], None]) -> None:
        """
        Do some work in a process when a commit that begins now ends.
        """
        if self.hanging is not None:
            self.hanging.append((process, work))
        else:
            process.later(process.machine.pace + self.slow, work)

    def answer(self) -> None:
        """
        They answer again, if they did not.
        """
        waiting, self.hanging = self.hanging or [], None
        for process, work in waiting:
            self.begin(process, work)

    def heal(self) -> None:
        """
        They are well.
        """
        self.slow = self.failing = 0.0
        self.locked = False
        self.answer()


class Table:
    """
    The rows of one database in a home: they go where the home goes.
    """

    def __init__(
        self, machine: SimMachine, name: bytes, random: Random, versions: list[Rows]
    ) -> None:
        """
        @param versions: what was ever in a table of the cluster. The file in the
            home, which may be a copy of another home's, says which of it is there.
        """
        self._machine = machine
        self._path = machine.path(b"queue/wazuh_cluster/" + name)
        self._random = random
        self._versions = versions
        self._durable = 0

    @property
    def rows(self) -> Rows:
        """
        What is committed.
        """
        return self._versions[self._version()]

    def _version(self) -> int:
        content = self._machine.disk.contentOf(self._path)
        return int(content) if content else 0

    def commit(self, rows: Rows, durable: bool = False) -> None:
        """
        This is there now. A power cut may leave what was there before, unless it is
        durable.
        """
        self._versions.append(dict(rows))
        self._keep(len(self._versions) - 1)
        if self._random.random() < 0.3 or durable:
            self._durable = len(self._versions) - 1

    def losePower(self) -> None:
        """
        What was committed last may be lost.
        """
        if self._version() != self._durable and self._random.random() < 0.5:
            self._keep(self._durable)

    def replaced(self) -> None:
        """
        Another home is there.
        """
        self._durable = self._version()

    def _keep(self, version: int) -> None:
        self._machine.disk.keep(self._path, b"%d" % version)


class _Connection:
    """
    A process's way to one database: what waits is committed together.
    """

    def __init__(
        self,
        process: SimProcess,
        health: Health,
        begin: Callable[[], None],
        commit: Callable[[], None],
    ) -> None:
        """
        @param begin: called before something is done.
        @param commit: called when all of it is.
        """
        self._process = process
        self._health = health
        self._begin = begin
        self._commit = commit
        self._waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self._group: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self._stopped = False

    def do(self, act: Callable[[], T]) -> Deferred[T]:
        """
        Do something.
        """
        if self._stopped:
            return fail(Stopped("the database was closed"))
        done: Deferred[T] = Deferred()
        self._waiting.append((act, done))
        if len(self._waiting) > _WAITING:
            self._process.broken(f"{len(self._waiting)} pieces of work wait for a database")
        self._next()
        return done

    def stop(self) -> None:
        """
        What waits and what is under way fails.
        """
        self._stopped = True
        waiting, self._waiting, self._group = [*self._group, *self._waiting], [], []
        for _, done in waiting:
            done.errback(Stopped("the database was closed"))

    def _next(self) -> None:
        if self._waiting and not self._group:
            self._group, self._waiting = self._waiting, []
            self._health.begin(self._process, self._work)

    def _work(self) -> None:
        health, process = self._health, self._process
        random = process.machine.random
        if health.locked:
            process.later(_LOCKED, self._fail, "database is locked")
        elif random.random() < health.failing:
            self._fail("disk I/O error")
        elif not self._stopped:
            self._begin()
            results = [act() for act, _ in self._group]
            self._commit()
            # A process may die when all is done, and nobody has heard of it.
            process.later(random.choice((0.0, process.machine.pace)), self._done, results)

    def _fail(self, why: str) -> None:
        self._done([Failure(StoreFailed(f"SQLite says: {why}"))] * len(self._group))

    def _done(self, results: Sequence[Any]) -> None:
        group, self._group = self._group, []
        self._next()
        # It may have been stopped meanwhile.
        for (_, done), result in zip(group, results, strict=False):
            done.callback(result)


@implementer(IAgentBatchStore)
class SimStore:
    """
    A master's store of agents' records.
    """

    def __init__(
        self,
        process: SimProcess,
        health: Health,
        table: Table,
        committed: Callable[[Rows, Rows], None],
    ) -> None:
        """
        @param committed: is told what was there before and what is there now.
        """
        self._table = table
        self._committed = committed
        self._memory = MemoryAgentStore()
        self._plain = PlainStore(self._memory)
        self._removes = False
        self._connection = _Connection(process, health, self._begin, self._commit)

    def _begin(self) -> None:
        self._memory.kept = dict(self._table.rows)

    def _commit(self) -> None:
        before, after = self._table.rows, self._memory.kept
        removes, self._removes = self._removes, False
        if before != after:
            self._table.commit(after, removes)
            self._committed(before, after)

    def take(self, records: Sequence[AgentRecord], now: float) -> Deferred[int]:
        """
        See L{IAgentStore<wazuh_cluster.agents.IAgentStore>}.
        """
        return self._connection.do(lambda: _now(self._memory.take(records, now)))

    def takeBatch(self, node: str, batch: HeardBatch, now: float) -> Deferred[Sequence[int]]:
        """
        See L{IAgentBatchStore<wazuh_cluster.agents.IAgentBatchStore>}.
        """
        return self._connection.do(lambda: _now(self._plain.takeBatch(node, batch, now)))

    def remove(self, ids: Collection[int]) -> Deferred[None]:
        """
        See L{IAgentStore<wazuh_cluster.agents.IAgentStore>}.
        """
        return self._connection.do(lambda: self._forget(ids))

    def _forget(self, ids: Collection[int]) -> None:
        self._removes = True
        _now(self._memory.remove(ids))

    def records(self, ids: Collection[int]) -> Deferred[Mapping[int, AgentRecord]]:
        """
        See L{IAgentStore<wazuh_cluster.agents.IAgentStore>}.
        """
        return self._connection.do(lambda: _now(self._memory.records(ids)))

    def states(self, first: int, last: int) -> Deferred[Sequence[AgentState]]:
        """
        See L{IAgentStore<wazuh_cluster.agents.IAgentStore>}.
        """
        return self._connection.do(lambda: _now(self._memory.states(first, last)))

    def stop(self) -> None:
        """
        See L{IAgentStore<wazuh_cluster.agents.IAgentStore>}.
        """
        self._connection.stop()


@implementer(IAgentSource)
class SimSource:
    """
    A node's store of what it heard of its own agents. In the table, C{heard} is in
    the world's seconds: that a system was started anew is seen to.
    """

    def __init__(
        self,
        process: SimProcess,
        health: Health,
        table: Table,
        heard: Callable[[AgentRecord], float],
    ) -> None:
        """
        @param heard: tells when a record was heard, in the world's seconds.
        """
        self._table = table
        self._heard = heard
        self._memory = MemoryAgentSource()
        uptimeAt = process.machine.uptimeAt
        self._memory.kept = {
            id: evolve(record, heard=uptimeAt(record.heard)) for id, record in table.rows.items()
        }
        self._connection = _Connection(process, health, lambda: None, self._commit)
        self._kept = dict(self._memory.kept)

    def _commit(self) -> None:
        kept = self._memory.kept
        if kept != self._kept:
            self._kept = dict(kept)
            self._table.commit(
                {id: evolve(record, heard=self._heard(record)) for id, record in kept.items()}
            )

    def report(self, records: Sequence[AgentRecord]) -> Deferred[None]:
        """
        A program on this node heard of agents.
        """
        return self._connection.do(lambda: self._memory.put(*records))

    def markAll(self) -> Deferred[None]:
        """
        See L{IAgentSource<wazuh_cluster.agents.IAgentSource>}.
        """
        return self._connection.do(lambda: _now(self._memory.markAll()))

    def pending(self, most: int) -> Deferred[Sequence[AgentRecord]]:
        """
        See L{IAgentSource<wazuh_cluster.agents.IAgentSource>}.
        """
        return self._connection.do(lambda: _now(self._memory.pending(most)))

    def taken(self, records: Sequence[AgentRecord]) -> Deferred[None]:
        """
        See L{IAgentSource<wazuh_cluster.agents.IAgentSource>}.
        """
        return self._connection.do(lambda: _now(self._memory.taken(records)))

    def unknown(self, ids: Collection[int]) -> Deferred[None]:
        """
        See L{IAgentSource<wazuh_cluster.agents.IAgentSource>}.
        """
        return self._connection.do(lambda: _now(self._memory.unknown(ids)))

    def registered(self, ids: Iterable[int]) -> Deferred[None]:
        """
        See L{IAgentSource<wazuh_cluster.agents.IAgentSource>}.
        """
        return self._connection.do(lambda: _now(self._memory.registered(ids)))

    def removed(self, ids: Collection[int]) -> Deferred[None]:
        """
        See L{IAgentSource<wazuh_cluster.agents.IAgentSource>}.
        """
        return self._connection.do(lambda: _now(self._memory.removed(ids)))

    def subscribe(self, changed: Callable[[], None]) -> None:
        """
        See L{IAgentSource<wazuh_cluster.agents.IAgentSource>}.
        """
        self._memory.subscribe(changed)

    def stop(self) -> None:
        """
        See L{IAgentSource<wazuh_cluster.agents.IAgentSource>}.
        """
        self._connection.stop()


def _now(done: Deferred[T]) -> T:
    """
    The result of what is done already.
    """
    results: list[T] = []
    done.addCallback(results.append)
    (result,) = results
    return result
