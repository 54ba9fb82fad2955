"""
What the demo prints: lines, a table, and on a terminal bars that grow.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import TextIO

_BAR = 20


def size(count: int) -> str:
    """
    A number of bytes for people.
    """
    if count < 1000:
        return f"{count} bytes"
    if count < 1_000_000:
        return f"{count / 1000:.1f} kB"
    return f"{count / 1_000_000:.1f} MB"


def number(count: int, one: str, many: str | None = None) -> str:
    """
    So many things: C{"1 worker"}, C{"2 workers"}.
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def bar(done: int, total: int, width: int = _BAR) -> str:
    """
    A bar and a percentage. It is full only when all is done.
    """
    share = 1.0 if total <= 0 else min(1.0, max(0.0, done / total))
    filled = int(share * width)
    return f"[{'#' * filled}{'.' * (width - filled)}] {int(share * 100):3}%"


def table(
    heads: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str] = ()
) -> list[str]:
    """
    Lines of a table.

    @param right: the heads of the columns that are set right.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if head in right else cell.ljust(width)
            for head, cell, width in zip(heads, row, widths, strict=True)
        ).rstrip()
        for row in [list(heads), *cells]
    ]


def isTerminal(out: TextIO, environment: Mapping[str, str]) -> bool:
    """
    Whether lines that were printed can be overwritten.
    """
    return out.isatty() and environment.get("TERM", "dumb") != "dumb"


class Screen:
    """
    Where the demo prints.

    @ivar live: whether lines can be overwritten.
    """

    def __init__(self, out: TextIO, live: bool, width: int | None = None) -> None:
        """
        @param width: of the terminal, in characters, instead of looking.
        """
        self.live = live
        self._out = out
        self._width = width
        self._shown: list[str] = []
        self._steps = 0

    def step(self, title: str) -> None:
        """
        Print the title of the next step, with its number.
        """
        self._steps += 1
        self.say(f"\n{self._steps}. {title}")

    def say(self, text: str = "") -> None:
        """
        Print lines that stay.
        """
        self._out.write(f"{text}\n")
        self._out.flush()

    def show(self, lines: Sequence[str]) -> None:
        """
        Print lines in place of those that were shown last; nothing where lines
        cannot be overwritten.
        """
        if not self.live or list(lines) == self._shown:
            return
        # A line that wraps would be two to go up.
        width = (self._width or shutil.get_terminal_size().columns) - 1
        self._overwrite([line[:width] for line in lines])
        self._shown = list(lines)

    def settle(self, lines: Sequence[str]) -> None:
        """
        As L{show}, but these lines stay, whole.
        """
        if self.live:
            self._overwrite(lines)
            self._shown = []
        else:
            for line in lines:
                self.say(line)

    def _overwrite(self, lines: Sequence[str]) -> None:
        up = f"\x1b[{len(self._shown)}A" if self._shown else ""
        self._out.write(up + "".join(f"\r{line}\x1b[K\n" for line in lines))
        self._out.flush()


def screenFor(out: TextIO) -> Screen:
    """
    A screen for this output.
    """
    return Screen(out, isTerminal(out, os.environ))
