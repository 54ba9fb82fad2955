"""
SqliteAgentStore: the records of the whole fleet, in a SQLite file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from zope.interface import implementer

from wazuh_cluster.agents.database import Database
from wazuh_cluster.agents.heard import HeardBatch
from wazuh_cluster.agents.interfaces import IAgentBatchStore
from wazuh_cluster.agents.model import ACTIVE, DISCONNECTED, PENDING, AgentRecord, AgentState
from wazuh_cluster.agents.records import decodeDetails
from wazuh_cluster.agents.rows import WIDTHS, Rows, idRanges
from wazuh_cluster.agents.transactions import Transactions
from wazuh_cluster.interfaces import IRunner, Slices
from wazuh_cluster.journal import AGENT_INFO_SYNC, Journal

_VERSION = 1

# What changes with every keep-alive is apart from what seldom changes: a page
# of the first table has a hundred agents, one of the second eight.
_SCHEMA = """
CREATE TABLE nodes (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE agents (
    id INTEGER PRIMARY KEY,
    event INTEGER NOT NULL,
    heard REAL NOT NULL,
    node INTEGER NOT NULL,
    code INTEGER NOT NULL,
    digest INTEGER
);
CREATE TABLE details (id INTEGER PRIMARY KEY, digest INTEGER, text TEXT NOT NULL)
"""

_TAKE = Rows(
    6,
    """
    INSERT INTO agents (id, event, heard, node, code, digest) SELECT * FROM {v} WHERE true
    ON CONFLICT (id) DO UPDATE SET event=excluded.event, heard=excluded.heard,
        node=excluded.node, code=excluded.code, digest=excluded.digest
    WHERE excluded.heard >= heard
    """,
)
# Only of those that are the newest now; and what is there already is not
# written again.
_DETAILS = Rows(
    4,
    """
    INSERT INTO details (id, digest, text)
    SELECT v.column1, v.column3, v.column4 FROM {v} CROSS JOIN agents a
    WHERE a.id = v.column1 AND a.heard = v.column2 AND a.digest IS v.column3
    ON CONFLICT (id) DO UPDATE SET digest=excluded.digest, text=excluded.text
    WHERE excluded.digest IS NULL OR excluded.digest IS NOT digest
    """,
)
_DIGESTS = Rows(1, "SELECT a.id, a.digest FROM {v} CROSS JOIN agents a WHERE a.id = v.column1")
_FORGET = (
    Rows(1, "DELETE FROM agents WHERE id IN (SELECT column1 FROM {v})"),
    Rows(1, "DELETE FROM details WHERE id IN (SELECT column1 FROM {v})"),
)
_READ = Rows(
    1,
    """
    SELECT a.id, a.event, a.heard, n.name, a.code, d.text FROM {v} CROSS JOIN agents a
    LEFT JOIN nodes n ON n.number = a.node LEFT JOIN details d ON d.id = a.id
    WHERE a.id = v.column1
    """,
)
_STATES = """
    SELECT id, event, heard, node FROM agents WHERE id BETWEEN ? AND ? ORDER BY id
"""

_NUMBERS = {ACTIVE: 1, PENDING: 2, DISCONNECTED: 3}
_NAMES = {number: event for event, number in _NUMBERS.items()}


@frozen
class _Take:
    """
    A batch that is to be taken.

    @ivar counted: whether somebody wants to know how many were newer.
    """

    node: str
    batch: HeardBatch
    now: float
    counted: bool = False


@frozen
class _Remove:
    ids: tuple[int, ...]


class _Rows:
    """
    Rows of some batches, for few statements instead of some for each batch.
    """

    def __init__(self) -> None:
        self._batch = HeardBatch()
        self._nodes: list[int] = []

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def haveDetails(self) -> bool:
        """
        Whether with them the details of an agent become others.
        """
        return any(self._batch.details)

    def add(self, batch: HeardBatch, node: int, now: float) -> None:
        """
        A batch that a node heard, taken at a moment.
        """
        heard = batch.heard
        if heard and max(heard) > now:
            heard = [min(each, now) for each in heard]
        self._batch.ids += batch.ids
        self._batch.events += batch.events
        self._batch.heard += heard
        self._batch.codes += batch.codes
        self._batch.digests += batch.digests
        self._batch.details += batch.details
        self._nodes += [node] * len(heard)

    def write(self, connection: sqlite3.Connection) -> int:
        """
        Write all of them.

        @return: how many were at least as new as what was there.
        """
        batch, nodes = self._batch, self._nodes
        self._batch, self._nodes = HeardBatch(), []
        if not nodes:
            return 0
        events = list(map(_NUMBERS.__getitem__, batch.events))
        newer = _TAKE.change(
            connection, [batch.ids, events, batch.heard, nodes, batch.codes, batch.digests]
        )
        ids: list[int | None] = list(batch.ids)
        if None in batch.details:
            ids = [
                None if details is None else agent
                for agent, details in zip(batch.ids, batch.details, strict=True)
            ]
        _DETAILS.change(connection, [ids, batch.heard, batch.digests, batch.details])
        return newer


@implementer(IAgentBatchStore)
class SqliteAgentStore:
    """
    An L{IAgentStore<wazuh_cluster.agents.interfaces.IAgentStore>} in one file.

    What was answered outlives the process. A power cut may take the last of
    it, but for what was removed, and never damages the file.
    """

    def __init__(self, database: Database, runner: IRunner) -> None:
        """
        @param database: see L{fleetDatabase}.
        @param runner: this store's own: however long the disk takes, nobody
            else waits for it.
        """
        self._database = database
        self._runner = runner
        self._commits = Transactions(runner, self._work, "the store of agents' records")
        self._nodes: dict[str, int] = {}
        self._latest: float | None = None

    # The port.

    def take(self, records: Sequence[AgentRecord], now: float) -> Deferred[int]:
        """
        See L{IAgentStore<wazuh_cluster.agents.interfaces.IAgentStore>}.
        """
        nodes: dict[str, list[AgentRecord]] = {}
        for record in records:
            nodes.setdefault(record.node, []).append(record)
        items = [_Take(node, HeardBatch.of(some), now, True) for node, some in nodes.items()]
        return self._commits.add(items, sum(each.batch.size for each in items)).addCallback(sum)

    def takeBatch(self, node: str, batch: HeardBatch, now: float) -> Deferred[Sequence[int]]:
        """
        See L{IAgentBatchStore<wazuh_cluster.agents.interfaces.IAgentBatchStore>}.
        """
        item = _Take(node, batch, now)
        return self._commits.add([item], batch.size).addCallback(lambda taken: taken[0])

    def remove(self, ids: Collection[int]) -> Deferred[None]:
        """
        See L{IAgentStore<wazuh_cluster.agents.interfaces.IAgentStore>}.
        """
        return self._commits.add([_Remove(tuple(ids))], 64 * len(ids)).addCallback(lambda _: None)

    def records(self, ids: Collection[int]) -> Deferred[Mapping[int, AgentRecord]]:
        """
        See L{IAgentStore<wazuh_cluster.agents.interfaces.IAgentStore>}.
        """
        return self._runner.run(self._read(tuple(ids)))

    def states(self, first: int, last: int) -> Deferred[Sequence[AgentState]]:
        """
        See L{IAgentStore<wazuh_cluster.agents.interfaces.IAgentStore>}.
        """
        return self._runner.run(self._look(first, last))

    def stop(self) -> None:
        """
        See L{IAgentStore<wazuh_cluster.agents.interfaces.IAgentStore>}.
        """
        self._commits.stop()
        # However that ends, there is nothing more to run.
        self._runner.call(self._database.close).addBoth(lambda _: self._runner.stop())

    # What runs on the runner.

    def _work(self, items: Sequence[list[_Take | _Remove]]) -> Slices[list[list[Any]]]:
        results: list[list[Any]] = []
        rows = _Rows()
        # A record that came back would stay: nobody sends it again, or removes it.
        removing = any(isinstance(each, _Remove) for item in items for each in item)
        yield
        try:
            with self._database.transaction(durable=removing) as connection:
                for item in items:
                    done = []
                    for each in item:
                        done.append((yield from self._do(connection, rows, each)))
                    results.append(done)
                rows.write(connection)
                yield
        except BaseException:
            # The numbers of nodes may not be there after all.
            self._nodes.clear()
            self._latest = None
            raise
        return results

    def _do(
        self, connection: sqlite3.Connection, rows: _Rows, item: _Take | _Remove
    ) -> Slices[Any]:
        """
        Do one thing, or leave its rows to be written with others.

        @return: how many were newer where that counts, else which are
            incomplete.
        """
        if isinstance(item, _Remove):
            rows.write(connection)
            for statement in _FORGET:
                statement.change(connection, [item.ids])
                yield
            return ()
        if self._latest is None or item.now < self._latest:
            rows.write(connection)
            yield from self._clamp(connection, item.now)
        self._latest = item.now
        batch = item.batch
        incomplete: tuple[int, ...] = ()
        if item.counted:
            rows.write(connection)
        if None in batch.details:
            if rows.haveDetails:
                rows.write(connection)
            yield
            batch, incomplete = self._complete(connection, batch)
        rows.add(batch, self._number(connection, item.node), item.now)
        if item.counted:
            return rows.write(connection)
        if len(rows) >= WIDTHS[-1]:
            rows.write(connection)
            yield
        return incomplete

    def _clamp(self, connection: sqlite3.Connection, now: float) -> Slices[None]:
        """
        The clock was set back: what is in the future counts as now, from now
        on.
        """
        yield
        for above, until in idRanges(connection, "agents"):
            connection.execute(
                "UPDATE agents SET heard = ?1 WHERE id > ?2 AND id <= ?3 AND heard > ?1",
                (now, above, until),
            )
            yield

    def _number(self, connection: sqlite3.Connection, node: str) -> int:
        number = self._nodes.get(node)
        if number is None:
            connection.execute("INSERT OR IGNORE INTO nodes (name) VALUES (?)", (node,))
            found = connection.execute("SELECT number FROM nodes WHERE name = ?", (node,))
            number = self._nodes[node] = int(found.fetchone()[0])
        return number

    def _complete(
        self, connection: sqlite3.Connection, batch: HeardBatch
    ) -> tuple[HeardBatch, tuple[int, ...]]:
        """
        Whose details are as before, by what the node says: see whether those
        are here.

        @return: what can be taken, and the agents of the rest.
        """
        silent = [
            agent
            for agent, details in zip(batch.ids, batch.details, strict=True)
            if details is None
        ]
        here: dict[int, int | None] = {}
        for cursor in _DIGESTS.run(connection, [silent]):
            here.update(cursor)
        right = [
            details is not None or digest is None or here.get(agent) == digest
            for agent, digest, details in zip(batch.ids, batch.digests, batch.details, strict=True)
        ]
        wrong = tuple(agent for agent, fits in zip(batch.ids, right, strict=True) if not fits)
        if wrong:
            batch = batch.only(right)
        digests = [
            here.get(agent) if details is None else digest
            for agent, digest, details in zip(batch.ids, batch.digests, batch.details, strict=True)
        ]
        return evolve(batch, digests=digests), wrong

    def _read(self, ids: Sequence[int]) -> Slices[dict[int, AgentRecord]]:
        found: dict[int, AgentRecord] = {}
        yield
        connection = self._database.connection()
        with self._database.complaining():
            for cursor in _READ.run(connection, [ids]):
                for agent, event, heard, node, code, text in cursor:
                    version, info, labels = decodeDetails(text)
                    found[agent] = AgentRecord(
                        agent, _NAMES[event], heard, node or "", version, code, info, labels
                    )
                yield
        return found

    def _look(self, first: int, last: int) -> Slices[list[AgentState]]:
        yield
        connection = self._database.connection()
        with self._database.complaining():
            names: dict[int, str] = dict(connection.execute("SELECT number, name FROM nodes"))
            return [
                AgentState(agent, _NAMES[event], heard, names.get(node, ""))
                for agent, event, heard, node in connection.execute(_STATES, (first, last))
            ]


def fleetDatabase(path: str) -> Database:
    """
    The file of a L{SqliteAgentStore}.

    @param path: absolute.
    """
    return Database(path, _SCHEMA, _VERSION, Journal(AGENT_INFO_SYNC))
