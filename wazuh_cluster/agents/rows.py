"""
Many rows in one SQL statement.

Each step of a statement lets other threads run, and may wait for them to let
this one go on; so a hundred rows are one step.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

#: How many rows a statement has: the next larger one is filled up with rows
#: that count for nothing. SQLite takes 999 values, and 32,766 since 3.32.
WIDTHS = (1, 8, 32, 128) + ((512,) if sqlite3.sqlite_version_info >= (3, 32) else ())


def idRanges(connection: sqlite3.Connection, table: str) -> Iterator[tuple[int, int]]:
    """
    All ids of a table in ranges of some thousand rows: above the first, up to
    the second.
    """
    last = 0
    while True:
        (until,) = connection.execute(
            f"SELECT max(id) FROM (SELECT id FROM {table} WHERE id > ? ORDER BY id LIMIT 5000)",
            (last,),
        ).fetchone()
        if until is None:
            return
        yield last, until
        last = until


class Rows:
    """
    A statement about the table C{v}, whose columns are C{column1}, C{column2}, …
    """

    def __init__(self, columns: int, statement: str) -> None:
        """
        @param columns: how many columns C{v} has, at most 7.
        @param statement: with C{{v}} where the table stands.
        """
        self._columns = columns
        row = f"({','.join('?' * columns)})"
        self._statements = {
            width: statement.format(
                v=f"(SELECT * FROM (VALUES {','.join([row] * width)}) WHERE column1 IS NOT NULL) v"
            )
            for width in WIDTHS
        }

    def run(
        self, connection: sqlite3.Connection, columns: Sequence[Sequence[Any]]
    ) -> Iterator[sqlite3.Cursor]:
        """
        Execute it for all rows, some at a time.

        @param columns: of the same length each. A row whose first value is
            C{None} is passed over.
        """
        count, widest = len(columns[0]), WIDTHS[-1]
        for start in range(0, count, widest):
            here = min(widest, count - start)
            width = next(each for each in WIDTHS if each >= here)
            values: list[Any] = [None] * (width * self._columns)
            for number, column in enumerate(columns):
                values[number : here * self._columns : self._columns] = column[start : start + here]
            yield connection.execute(self._statements[width], values)

    def change(self, connection: sqlite3.Connection, columns: Sequence[Sequence[Any]]) -> int:
        """
        Execute one that changes rows.

        @return: how many it changed.
        """
        return sum(max(0, cursor.rowcount) for cursor in self.run(connection, columns))
