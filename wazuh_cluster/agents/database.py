"""
A SQLite file of a node: opened as the file system allows, and complained of in
one line.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from wazuh_cluster.errors import StoreFailed
from wazuh_cluster.journal import Journal

FILE_MODE = 0o640
FOLDER_MODE = 0o750

#: How long another program's lock is waited for, in seconds.
PATIENCE = 2.0

#: SQLite's memory for pages, in KiB.
CACHE = 4096

#: What its log may grow to before it is worked into the file, in pages of 4 KiB:
#: that waits for the disk, and the records of a hundred thousand agents fit in.
CHECKPOINT = 20_000

_OURS = "stop the node, and let 'wazuh-cluster agents reset-store' move the file aside"

#: What SQLite says, and what to do about it. The first that fits.
_REMEDIES = (
    ("locked", "end the other program that has it open"),
    ("full", "make room on its disk"),
    ("readonly", "let the daemon's user write it and its folder"),
    ("unable to open", "let the daemon's user write it and its folder"),
    ("not a database", _OURS),
    ("malformed", _OURS),
    ("no such", _OURS),
    ("newer version", _OURS),
)


class Database:
    """
    One file, and the connection to it. All calls block; they may come from any
    thread, one at a time.

    It is never removed or made anew because of what is in it: that is for its
    operator to say.

    @ivar damaged: whether what failed last would not with another file.
    """

    def __init__(
        self,
        path: str,
        schema: str,
        version: int,
        journal: Journal,
        connect: Callable[..., sqlite3.Connection] = sqlite3.connect,
    ) -> None:
        """
        @param path: the file, absolute. It and its folder are made when they
            are missing.
        @param schema: statements that make the tables in an empty file.
        @param version: of the schema, from 1.
        """
        self.path = path
        self._schema = schema
        self._version = version
        self._journal = journal
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self.damaged = False
        # Whether a commit may be undone by a power cut.
        self._isLax = False

    @property
    def isOpen(self) -> bool:
        """
        Whether there is a connection.
        """
        return self._connection is not None

    def connection(self) -> sqlite3.Connection:
        """
        The connection, opened if there is none.

        @raise StoreFailed: if the file cannot be used.
        """
        if self._connection is None:
            with self.complaining():
                self._connection = self._open()
        return self._connection

    def close(self) -> None:
        """
        Let go of the file.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def check(self) -> None:
        """
        Read all of it.

        @raise StoreFailed: if it cannot be used.
        """
        connection = self.connection()
        with self.complaining():
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(f"malformed: {found}")

    @contextmanager
    def transaction(self, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """
        What is done within is there as a whole, or not at all.

        @param durable: whether it, and all before it, must outlive a power cut too.
        @raise StoreFailed: if SQLite does not do it.
        """
        connection = self.connection()
        with self.complaining():
            stricter = durable and self._isLax
            if stricter:
                connection.execute("PRAGMA synchronous=FULL")
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                    raise
            finally:
                if stricter:
                    with suppress(sqlite3.Error):
                        connection.execute("PRAGMA synchronous=NORMAL")

    @contextmanager
    def complaining(self) -> Iterator[None]:
        """
        What SQLite or the system says within becomes a L{StoreFailed}, and the
        file is opened anew next time.
        """
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self.close()
            said = error.strerror if isinstance(error, OSError) else str(error)
            said = " ".join(str(said).split())
            remedy = next((do for word, do in _REMEDIES if word in said), "look at its disk")
            self.damaged = remedy is _OURS
            raise StoreFailed(f"{self.path}: SQLite says: {said}: {remedy}", self.damaged) from None

    def _open(self) -> sqlite3.Connection:
        self._makeFile()
        connection = self._connect(
            self.path,
            timeout=PATIENCE,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )
        try:
            (found,) = connection.execute("PRAGMA user_version").fetchone()
            if found > self._version:
                raise sqlite3.DatabaseError("it was written by a newer version of this software")
            self._tune(connection)
            if found == 0:
                connection.executescript(
                    f"BEGIN IMMEDIATE; {self._schema}; PRAGMA user_version={self._version}; COMMIT;"
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def _makeFile(self) -> None:
        """
        SQLite gives its other files the mode and owner of this one.
        """
        folder = os.path.dirname(self.path)
        os.makedirs(folder, FOLDER_MODE, exist_ok=True)
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(self.path, flags, FILE_MODE)
        except FileExistsError:
            return
        try:
            os.fchmod(file, FILE_MODE)
            status = os.stat(folder)
            # What root makes for a daemon that runs as another user is that user's.
            with suppress(PermissionError):
                os.fchown(file, status.st_uid, status.st_gid)
        finally:
            os.close(file)

    def _tune(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA cache_size=-{CACHE}")
        connection.execute("PRAGMA secure_delete=OFF")
        connection.execute("PRAGMA temp_store=MEMORY")
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            # The shared memory is not there before the first read.
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise
            mode = str(error)
        self._isLax = mode == "wal"
        if self._isLax:
            # A commit outlives the process. What a power cut takes is sent
            # again: it cuts the links too, and after a join everything is sent.
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT}")
            return
        connection.execute("PRAGMA journal_mode=TRUNCATE").fetchone()
        # Without it a power cut could damage the file.
        connection.execute("PRAGMA synchronous=FULL")
        self._journal.info(
            "{path}: its file system has no write-ahead log for SQLite ({mode}): each commit "
            "waits for the disk.",
            path=self.path,
            mode=mode,
        )
