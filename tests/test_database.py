"""
Tests for L{wazuh_cluster.agents.database}, and for what moves a database aside.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent

from tests.recordcase import AgentCase
from wazuh_cluster.agents.aside import moveAside
from wazuh_cluster.agents.database import Database
from wazuh_cluster.agents.local import LocalAgents
from wazuh_cluster.agents.localtables import localDatabase
from wazuh_cluster.agents.store import SqliteAgentStore, fleetDatabase
from wazuh_cluster.errors import HomeError, StoreFailed
from wazuh_cluster.home import Home, makeHome
from wazuh_cluster.homelock import HomeLock
from wazuh_cluster.journal import Journal
from wazuh_cluster.testing.agentcontracts import NOW, fullRecord
from wazuh_cluster.testing.runner import ImmediateRunner

_SCHEMA = "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)"


class NoSharedMemory(sqlite3.Connection):
    """
    SQLite on a file system that has no shared memory.
    """

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        """
        The journal stays as it is.
        """
        if "journal_mode=WAL" in sql:
            return super().execute("SELECT 'delete'")
        return super().execute(sql, *arguments)


class NoLocks(sqlite3.Connection):
    """
    SQLite on a file system that refuses what a write-ahead log needs.
    """

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        """
        The log cannot be opened.
        """
        if "journal_mode=WAL" in sql:
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *arguments)


class Small(sqlite3.Connection):
    """
    SQLite on a disk with room for a few pages.
    """

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        """
        Every transaction finds little room.
        """
        if sql.startswith("BEGIN"):
            super().execute("PRAGMA max_page_count=12")
        return super().execute(sql, *arguments)


def spoil(path: str, offset: int, octets: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(octets)


class DatabaseTests(AgentCase):
    """
    One file.
    """

    def setUp(self) -> None:
        super().setUp()
        self.events: list[LogEvent] = []

    def database(self, path: str, connect: Any = sqlite3.connect, version: int = 1) -> Database:
        database = Database(
            path, _SCHEMA, version, Journal("Agent-info sync", None, self.events.append), connect
        )
        self.addCleanup(database.close)
        return database

    def write(self, database: Database) -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO things VALUES (1, 'one')")

    def failing(self, database: Database) -> str:
        """
        What is said when it is used.
        """
        error = self.assertRaises(StoreFailed, database.check)
        self.assertFalse(database.isOpen)
        text = str(error)
        self.assertEqual([text], text.splitlines())
        self.assertTrue(text.startswith(f"{database.path}: SQLite says: "), text)
        return text

    def mode(self, database: Database) -> str:
        return str(database.connection().execute("PRAGMA journal_mode").fetchone()[0])

    def test_made(self) -> None:
        """
        File and folder are made, for owner and group alone whatever the umask,
        also what SQLite keeps beside it.
        """
        self.addCleanup(os.umask, os.umask(0))
        database = self.database(self.path())
        self.write(database)
        self.assertEqual("wal", self.mode(database))
        folder = os.path.dirname(database.path)
        self.assertEqual(
            {"agents.db": 0o640, "agents.db-wal": 0o640, "agents.db-shm": 0o640},
            {
                name: stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode)
                for name in os.listdir(folder)
            },
        )

    def test_kept(self) -> None:
        """
        What was committed is there when the file is opened again.
        """
        database = self.database(self.path())
        self.write(database)
        again = self.database(database.path).connection()
        self.assertEqual([(1, "one")], again.execute("SELECT * FROM things").fetchall())

    def test_allOrNothing(self) -> None:
        """
        What raises in the middle of a transaction leaves nothing of it.
        """
        database = self.database(self.path())
        try:
            with database.transaction() as connection:
                connection.execute("INSERT INTO things VALUES (1, 'one')")
                raise KeyError("x")
        except KeyError:
            pass
        self.assertEqual([], database.connection().execute("SELECT * FROM things").fetchall())

    def test_withoutLog(self) -> None:
        """
        Where the file system has no write-ahead log, each commit waits for the
        disk, and one line says so.
        """
        for connect, why in ((NoSharedMemory, "delete"), (NoLocks, "disk I/O error")):
            database = self.database(self.path(), connect)
            self.write(database)
            self.assertEqual("truncate", self.mode(database))
            (synchronous,) = database.connection().execute("PRAGMA synchronous").fetchone()
            self.assertEqual(2, synchronous)
            line = formatEvent(self.events.pop())
            self.assertEqual([], self.events)
            self.assertIn(f"no write-ahead log for SQLite ({why})", line)
            database.close()
            self.database(database.path).check()

    def test_noDatabase(self) -> None:
        """
        A file that is none is left as it is, and the line names a remedy.
        """
        path = self.path()
        os.makedirs(os.path.dirname(path))
        with open(path, "wb") as file:
            file.write(b"PK\x03\x04" * 1000)
        for _ in range(2):
            text = self.failing(self.database(path))
            self.assertIn("file is not a database", text)
            self.assertIn("wazuh-cluster agents reset-store", text)
        with open(path, "rb") as file:
            self.assertEqual(b"PK\x03\x04" * 1000, file.read())

    def test_damagedWithin(self) -> None:
        """
        So is one whose pages are damaged.
        """
        database = self.database(self.path())
        with database.transaction() as connection:
            connection.executemany(
                "INSERT INTO things VALUES (?, ?)", [(n, "x" * 500) for n in range(100)]
            )
        database.close()
        spoil(database.path, 4096, b"\xa5" * 8192)
        self.assertIn("malformed", self.failing(database))
        self.assertTrue(database.damaged)

    def test_otherTables(self) -> None:
        """
        So is one that lacks tables.
        """
        path = self.path()
        database = self.database(path)
        with database.transaction() as connection:
            connection.execute("DROP TABLE things")
        error = self.assertRaises(StoreFailed, self.write, database)
        self.assertIn("no such table", str(error))
        self.assertTrue(database.damaged)

    def test_newerVersion(self) -> None:
        """
        One that a newer version wrote is not touched.
        """
        database = self.database(self.path(), version=2)
        database.connection()
        database.close()
        self.assertIn("newer version", self.failing(self.database(database.path)))

    def test_locked(self) -> None:
        """
        One that another program has locked can be used when that is gone.
        """
        database = self.database(self.path())
        database.check()
        other = sqlite3.connect(database.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN EXCLUSIVE")
        database.connection().execute("PRAGMA busy_timeout=10")
        error = self.assertRaises(StoreFailed, self.write, database)
        self.assertIn("locked: end the other program", str(error))
        self.assertFalse(database.damaged)
        other.execute("ROLLBACK")
        self.write(database)

    def test_full(self) -> None:
        """
        A disk that is full: nothing of the transaction stays, and it is no
        damage.
        """
        database = self.database(self.path(), Small)
        with self.assertRaises(StoreFailed) as raised, database.transaction() as connection:
            connection.executemany(
                "INSERT INTO things VALUES (?, ?)", [(n, "x" * 2000) for n in range(100)]
            )
        self.assertIn("full: make room", str(raised.exception))
        self.assertFalse(database.damaged)
        self.assertEqual([], database.connection().execute("SELECT * FROM things").fetchall())

    def test_unwritable(self) -> None:
        """
        What the system says is said, with the path.
        """
        path = self.path()
        os.makedirs(path)
        self.assertIn("let the daemon's user write it", self.failing(self.database(path)))


class MoveAsideTests(AgentCase):
    """
    Databases that are moved aside.
    """

    def setUp(self) -> None:
        super().setUp()
        self.home = Home(os.path.abspath(self.mktemp()))
        makeHome(self.home)

    def fill(self) -> None:
        """
        A store and a source with an agent each, in the home.
        """
        store = SqliteAgentStore(fleetDatabase(self.home.agentsDatabase), ImmediateRunner())
        self.successResultOf(store.take([fullRecord(7, NOW)], NOW))
        store.stop()
        source = LocalAgents(localDatabase(self.home.localAgentsDatabase), ImmediateRunner())
        self.successResultOf(source.report([fullRecord(7, 1.0)]))
        source.stop()

    def moved(self, everything: bool = False) -> list[tuple[str, str]]:
        return moveAside(self.home, everything, lambda: 1_800_000_000.0)

    def kept(self) -> int:
        """
        How many agents the home's store has.
        """
        store = SqliteAgentStore(fleetDatabase(self.home.agentsDatabase), ImmediateRunner())
        found: Deferred[Any] = store.records([7])
        count = len(self.successResultOf(found))
        store.stop()
        return count

    def test_nothingDamaged(self) -> None:
        """
        What is not damaged stays where it is, and so does what is not there.
        """
        self.assertEqual([], self.moved())
        self.fill()
        self.assertEqual([], self.moved())
        self.assertEqual(1, self.kept())

    def test_damaged(self) -> None:
        """
        What is damaged is renamed, and the other is left; twice in a second as
        well.
        """
        self.fill()
        seen = set()
        for _ in range(2):
            with open(self.home.agentsDatabase, "wb") as file:
                file.write(b"no database" * 1000)
            ((old, new),) = self.moved()
            self.assertEqual(self.home.agentsDatabase, old)
            with open(new, "rb") as file:
                self.assertEqual(b"no database" * 1000, file.read())
            seen.add(new)
            self.assertEqual(0, self.kept())
        self.assertEqual(2, len(seen))

    def test_everything(self) -> None:
        """
        By its operator's word all goes, with what stands beside it.
        """
        self.fill()
        with open(self.home.agentsDatabase + "-journal", "wb") as file:
            file.write(b"old")
        moved = self.moved(everything=True)
        self.assertEqual(
            [self.home.agentsDatabase, self.home.localAgentsDatabase], [old for old, _ in moved]
        )
        self.assertFalse(os.path.exists(self.home.agentsDatabase + "-journal"))
        self.assertTrue(os.path.exists(moved[0][1] + "-journal"))
        self.assertEqual(0, self.kept())

    def test_nodeRuns(self) -> None:
        """
        Nothing is moved under a node that runs.
        """
        self.fill()
        lock = HomeLock(self.home)
        lock.acquire()
        self.addCleanup(lock.release)
        self.assertRaises(HomeError, self.moved, True)
        lock.release()
        self.assertEqual(2, len(self.moved(True)))
