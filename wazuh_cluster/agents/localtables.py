"""
The tables of L{LocalAgents<wazuh_cluster.agents.local.LocalAgents>}, and what
is done with them. All of it blocks, and is for a runner.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from attrs import evolve, frozen

from wazuh_cluster.agents.database import Database
from wazuh_cluster.agents.heard import HeardBatch
from wazuh_cluster.agents.model import AgentRecord, Batch
from wazuh_cluster.agents.records import MAX_AGE, MAX_RECORDS, decodeDetails
from wazuh_cluster.agents.rows import Rows, idRanges
from wazuh_cluster.interfaces import Slices
from wazuh_cluster.journal import AGENT_INFO_SYNC, Journal

_VERSION = 1

# Each change has a number, and what was taken is what has one up to the last
# that was taken: nothing is written for an agent because the master took it.
# "told" is the number of the change of the details.
_SCHEMA = """
CREATE TABLE boots (one INTEGER PRIMARY KEY CHECK (one = 1), boot TEXT, began REAL);
CREATE TABLE agents (
    id INTEGER PRIMARY KEY,
    event TEXT NOT NULL,
    heard REAL NOT NULL,
    code INTEGER NOT NULL,
    digest INTEGER,
    change INTEGER NOT NULL,
    told INTEGER NOT NULL
);
CREATE UNIQUE INDEX changes ON agents (change);
CREATE TABLE details (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE unknown (id INTEGER PRIMARY KEY)
"""

_NEWS = Rows(
    2,
    """
    SELECT count(*) FROM {v} LEFT JOIN agents a ON a.id = v.column1
    WHERE a.event IS NOT v.column2
    """,
)
_REPORT = Rows(
    6,
    """
    INSERT INTO agents (id, event, heard, code, digest, change, told)
    SELECT column1, column2, column3, column4, column5, column6, column6 FROM {v} WHERE true
    ON CONFLICT (id) DO UPDATE SET event=excluded.event, heard=excluded.heard,
        code=excluded.code, digest=coalesce(excluded.digest, digest), change=excluded.change,
        told=CASE WHEN excluded.digest IS NULL OR excluded.digest IS digest
            THEN told ELSE excluded.told END
    WHERE excluded.heard >= heard
    """,
)
# Only of those that were new enough.
_DETAILS = Rows(
    3,
    """
    INSERT INTO details (id, text)
    SELECT v.column1, v.column3 FROM {v} CROSS JOIN agents a
    WHERE a.id = v.column1 AND a.change = v.column2
    ON CONFLICT (id) DO UPDATE SET text=excluded.text WHERE text IS NOT excluded.text
    """,
)
_KNOWN = Rows(1, "DELETE FROM unknown WHERE id IN (SELECT column1 FROM {v})")
_UNKNOWN = Rows(
    1,
    """
    INSERT OR IGNORE INTO unknown
    SELECT a.id FROM {v} CROSS JOIN agents a WHERE a.id = v.column1
    """,
)
_FORGET = tuple(
    Rows(1, f"DELETE FROM {table} WHERE id IN (SELECT column1 FROM {{v}})")
    for table in ("agents", "details", "unknown")
)
_CHANGES = Rows(1, "SELECT a.change FROM {v} CROSS JOIN agents a WHERE a.id = v.column1")
_SAME_AS_HERE = Rows(
    5,
    """
    SELECT a.change FROM {v} CROSS JOIN agents a WHERE a.id = v.column1 AND a.event = v.column2
        AND a.heard = v.column3 AND a.code = v.column4 AND a.digest IS v.column5
    """,
)

# Two texts for a whole batch, made where no other thread has to wait for it. Ages
# are rounded up, for nothing may look newer than it is.
_HEAD = '{"id":%d,"event":"%s","age":%d,"code":%d'
_BATCH = f"""
    SELECT count(*), max(change), CAST('[' || group_concat(CASE
            WHEN digest IS NULL
            THEN printf('{_HEAD}}}', id, event, age, code)
            WHEN text IS NULL
            THEN printf('{_HEAD},"digest":%d}}', id, event, age, code, digest)
            ELSE printf(
                '{_HEAD},"digest":%d,"size":%d}}', id, event, age, code, digest, length(text)
            ) END) || ']' AS BLOB),
        CAST(coalesce(group_concat(text, ''), '') AS BLOB)
    FROM (
        SELECT change, id, event, code, digest,
            min({MAX_AGE}, max(0, (:now - heard) * 1000 + 0.999)) AS age,
            CASE WHEN told > :told AND digest IS NOT NULL
                THEN (SELECT text FROM details d WHERE d.id = a.id) END AS text
        FROM agents a WHERE change > :given AND change <= :last
        ORDER BY change LIMIT :most
    )
"""
_PENDING = """
    SELECT a.id, a.event, a.heard, a.code, a.change, d.text
    FROM agents a LEFT JOIN details d ON d.id = a.id
    WHERE a.change > ? ORDER BY a.change LIMIT ?
"""

#: How many rows are looked at or changed in one slice, where it may be all.
_STEP = 5000

#: How many batches are written at a time.
_TOGETHER = 4

#: By how many seconds clocks may differ that are the same.
_SAME = 1.0


@frozen
class Place:
    """
    Where a batch stands among the changes.

    @ivar mark: how often all was marked before.
    @ivar given: the last change before it.
    @ivar until: its own last one.
    """

    mark: int
    given: int
    until: int


class LocalTables:
    """
    The records of one node's agents.

    @ivar last: the number of the last change; C{None} before the file was
        opened.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float],
        wallClock: Callable[[], float],
        boot: Callable[[], str],
    ) -> None:
        self._database = database
        self._clock = clock
        self._wallClock = wallClock
        self._boot = boot
        self.last: int | None = None
        self._began = 0.0
        self._anyUnknown = True
        self._rows = 100

    def change(
        self, items: Sequence[Callable[[sqlite3.Connection], Slices[Any]]]
    ) -> Slices[list[Any]]:
        """
        Do some changes in one transaction.

        @return: what each gave.
        """
        results: list[Any] = []
        yield from self._prepare()
        try:
            with self._database.transaction() as connection:
                for item in items:
                    results.append((yield from item(connection)))
        except BaseException:
            # What was counted did not happen.
            self.last = None
            raise
        return results

    def _prepare(self) -> Slices[sqlite3.Connection]:
        """
        Open the file, and know where it stands.
        """
        yield
        if self.last is None or not self._database.isOpen:
            with self._database.transaction() as connection:
                yield from self._sinceBoot(connection)
                (change,) = connection.execute("SELECT max(change) FROM agents").fetchone()
                (unknown,) = connection.execute("SELECT count(*) FROM unknown").fetchone()
            self.last, self._anyUnknown = change or 0, unknown > 0
        return self._database.connection()

    def _sinceBoot(self, connection: sqlite3.Connection) -> Slices[None]:
        """
        After a restart of the system, put all times on its new clock.
        """
        boot, began = self._boot(), self._wallClock() - self._clock()
        row = connection.execute("SELECT boot, began FROM boots").fetchone()
        if row is not None:
            shift = row[1] - began
            # Where systems do not tell their starts apart, the clocks do.
            if row[0] != boot or (not boot and abs(shift) > _SAME):
                for above, until in idRanges(connection, "agents"):
                    connection.execute(
                        "UPDATE agents SET heard = min(0.0, heard + ?) WHERE id > ? AND id <= ?",
                        (shift, above, until),
                    )
                    yield
        self._keepBoot(connection, boot, began)

    def _keepBoot(self, connection: sqlite3.Connection, boot: str, began: float) -> None:
        connection.execute("INSERT OR REPLACE INTO boots VALUES (1, ?, ?)", (boot, began))
        self._began = began

    # Changes.

    def keep(
        self, connection: sqlite3.Connection, batch: HeardBatch, now: float
    ) -> Slices[tuple[int, bool]]:
        """
        These were heard.

        @return: how many were new, and whether one of them is worth telling.
        """
        began = self._wallClock() - self._clock()
        if abs(began - self._began) > _SAME:
            self._keepBoot(connection, self._boot(), began)
        looked = _NEWS.run(connection, [batch.ids, batch.events])
        news = sum(count for cursor in looked for (count,) in cursor) > 0
        yield
        changes = self._number(len(batch))
        heard = [min(each, now) for each in batch.heard]
        newer = _REPORT.change(
            connection, [batch.ids, batch.events, heard, batch.codes, batch.digests, changes]
        )
        yield
        ids = [
            None if text is None else agent
            for agent, text in zip(batch.ids, batch.details, strict=True)
        ]
        _DETAILS.change(connection, [ids, changes, batch.details])
        if self._anyUnknown:
            _KNOWN.change(connection, [batch.ids])
        yield
        return newer, news

    def answered(
        self, connection: sqlite3.Connection, unknown: Sequence[int], incomplete: Sequence[int]
    ) -> Slices[list[int]]:
        """
        The master knows nothing, or not enough, of these.

        @return: the last changes of those that are unknown.
        """
        yield
        if unknown:
            _UNKNOWN.change(connection, [unknown])
            self._anyUnknown = True
        self._again(connection, incomplete)
        return [change for cursor in _CHANGES.run(connection, [unknown]) for (change,) in cursor]

    def forgetUnknown(self, connection: sqlite3.Connection) -> Slices[None]:
        """
        Nothing is known of what the master knows.
        """
        connection.execute("DELETE FROM unknown")
        self._anyUnknown = False
        yield

    def compare(self, connection: sqlite3.Connection, ids: Iterator[int]) -> Slices[bool]:
        """
        These are registered, and no others.

        @return: whether something is pending again.
        """
        connection.execute("CREATE TEMP TABLE IF NOT EXISTS registered (id INTEGER PRIMARY KEY)")
        connection.execute("DELETE FROM registered")
        while some := [(agent,) for agent in islice(ids, _STEP)]:
            connection.executemany("INSERT OR IGNORE INTO registered VALUES (?)", some)
            yield
        while gone := connection.execute(
            "SELECT id FROM agents WHERE id NOT IN (SELECT id FROM registered) LIMIT ?", (_STEP,)
        ).fetchall():
            yield from self.forget(connection, [agent for (agent,) in gone])
        connection.execute("DELETE FROM registered")
        again = [agent for (agent,) in connection.execute("SELECT id FROM unknown")]
        self._again(connection, again)
        yield from self.forgetUnknown(connection)
        return bool(again)

    def forget(self, connection: sqlite3.Connection, ids: Sequence[int]) -> Slices[None]:
        """
        Nothing of these stays.
        """
        for statement in _FORGET:
            statement.change(connection, [ids])
            yield

    def _again(self, connection: sqlite3.Connection, ids: Sequence[int]) -> None:
        """
        Have these sent, with all that is known of them.
        """
        connection.executemany(
            "UPDATE agents SET change = ?1, told = ?1 WHERE id = ?2",
            zip(self._number(len(ids)), ids, strict=True),
        )

    def _number(self, count: int) -> range:
        assert self.last is not None
        first = self.last + 1
        self.last += count
        return range(first, first + count)

    # Reading.

    def write(self, place: Place, told: int, last: int, size: int) -> Slices[list[Batch]]:
        """
        Write some batches: not one alone, for each way to this thread and back
        costs as much as it does.

        @param place: C{given} is what was given before the first.
        @param told: the master knows the details of changes up to this one.
        @param last: the last change that is of interest.
        @param size: the most bytes of one batch.
        """
        connection = yield from self._prepare()
        batches: list[Batch] = []
        with self._database.complaining():
            while len(batches) < _TOGETHER:
                now = self._clock()
                values = {"now": now, "told": told, "given": place.given, "last": last}
                count, until, records, details = connection.execute(
                    _BATCH, {**values, "most": self._rows}
                ).fetchone()
                yield
                if count == 0:
                    break
                length = len(records) + len(details)
                # How many of these would have filled it.
                fitting = int(0.97 * count * size / length)
                if length > size:
                    self._rows = max(1, min(fitting, count - 1))
                    continue
                self._rows = max(1, min(fitting, MAX_RECORDS))
                place = evolve(place, until=until)
                batches.append(Batch(records, details, count, now, place))
                place = evolve(place, given=until)
        return batches

    def readPending(
        self, most: int, taken: int, ahead: frozenset[int]
    ) -> Slices[tuple[int, list[AgentRecord]]]:
        """
        Records after a change.

        @param ahead: changes after it that are left out.
        @return: a change up to which nothing is pending, and the records.
        """
        connection = yield from self._prepare()
        found: list[AgentRecord] = []
        with self._database.complaining():
            rows = connection.execute(_PENDING, (taken, most + len(ahead)))
            for agent, event, heard, code, change, text in rows:
                if change not in ahead and len(found) < most:
                    version, info, labels = decodeDetails(text)
                    found.append(AgentRecord(agent, event, heard, "", version, code, info, labels))
                elif not found:
                    taken = change
        return taken, found

    def find(self, batch: HeardBatch) -> Slices[list[int]]:
        """
        The last changes of those that are here as they are there.
        """
        connection = yield from self._prepare()
        columns: list[Sequence[Any]] = [
            batch.ids,
            batch.events,
            batch.heard,
            batch.codes,
            batch.digests,
        ]
        with self._database.complaining():
            looked = _SAME_AS_HERE.run(connection, columns)
            return [change for cursor in looked for (change,) in cursor]


def localDatabase(path: str) -> Database:
    """
    The file of a L{LocalAgents<wazuh_cluster.agents.local.LocalAgents>}.

    @param path: absolute.
    """
    return Database(path, _SCHEMA, _VERSION, Journal(AGENT_INFO_SYNC))
