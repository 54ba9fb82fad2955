"""
Tables for people, row by row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TextIO

#: Longer texts are cut: the rest is in the JSON.
_LONGEST = 60


def shown(text: str, most: int = _LONGEST) -> str:
    """
    A text of whatever origin on a terminal: on one line, in one direction, and
    cut.
    """
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in cut)


def writeLines(out: TextIO, lines: Iterable[str]) -> None:
    """
    Write some lines, with as much of them as the terminal has characters for.
    """
    encoding = getattr(out, "encoding", None) or "utf-8"
    for line in lines:
        out.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    out.flush()


class Table:
    """
    Writes rows as they come, the head with the first of them: a column is as
    wide as what was in it so far, so that a table of any length needs no
    memory.
    """

    def __init__(self, out: TextIO, head: Sequence[str]) -> None:
        self._out = out
        self._head = [head]
        self._widths = [0] * len(head)
        self._encoding = getattr(out, "encoding", None) or "utf-8"

    def write(self, rows: Sequence[Sequence[str]]) -> None:
        """
        Write some rows.
        """
        safe = [[self._safe(cell) for cell in row] for row in (*self._head, *rows)]
        self._head = []
        for row in safe:
            self._widths = [max(w, len(cell)) for w, cell in zip(self._widths, row, strict=True)]
        for row in safe:
            cells = (cell.ljust(w) for cell, w in zip(row, self._widths, strict=True))
            self._out.write("  ".join(cells).rstrip() + "\n")
        self._out.flush()

    def _safe(self, text: str) -> str:
        """
        As much of it as the terminal has characters for.
        """
        encoded = shown(text).encode(self._encoding, "backslashreplace")
        return encoded.decode(self._encoding)


def age(seconds: float) -> str:
    """
    How long ago, in the largest unit that fits.
    """
    whole = max(0, int(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"
