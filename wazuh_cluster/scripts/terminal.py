"""
What is shown where a person looks at a terminal: the same words as elsewhere, in
a table with bars. A colour never says what no word says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wazuh_cluster.scripts import clusterview
from wazuh_cluster.scripts.clusterview import Seen
from wazuh_cluster.scripts.table import shown
from wazuh_cluster.status.values import ERROR, OK, WARN

_STYLES = {OK: "bold green", WARN: "bold yellow", ERROR: "bold red"}
_BAR = 16

#: The columns that are left out where there is no room, in this order.
_LEAVES_FIRST = ("VERSION", "ROUND TRIP", "CLOCK", "ADDRESS", "GENERATION", "SEEN", "AGENTS")


def isTerminal(out: TextIO) -> bool:
    """
    Whether a person looks at it, at something that can do more than print.
    """
    return Console(file=out).is_terminal and not Console(file=out).is_dumb_terminal


def console(out: TextIO) -> Console:
    """
    A console that takes nothing in a text for more than text.
    """
    return Console(file=out, markup=False, highlight=False, emoji=False)


def clusterPicture(seen: Seen, width: int, threads: bool = False) -> RenderableType:
    """
    A cluster.

    @param width: of the terminal: where it is narrow, columns are left out.
    """
    health = seen.health
    parts: list[RenderableType] = [
        Text(clusterview.verdict(seen), style=_STYLES.get(health.verdict, ""))
    ]
    parts += [
        Padding(Text(line, style=_STYLES.get(severity, "").removeprefix("bold ")), (0, 0, 0, 2))
        for severity, line in clusterview.reasons(seen)
    ]
    parts += [Text(line) for line in clusterview.summary(seen)]
    parts.append(Text())
    rows = [clusterview.row(node, seen.now) for node in seen.nodes]
    columns = _columns(rows, width)
    parts.append(
        _table(
            [clusterview.HEAD[n] for n in columns],
            (
                [
                    _files(clusterview.percent(node), row[n])
                    if n == clusterview.FILES
                    else Text(shown(row[n]))
                    for n in columns
                ]
                for node, row in zip(seen.nodes, rows, strict=True)
            ),
        )
    )
    if threads:
        parts.append(Text())
        parts.append(
            _table(
                clusterview.THREADS_HEAD,
                (
                    [Text(shown(cell)) for cell in row]
                    for row in clusterview.threads(seen.nodes, seen.now)
                ),
            )
        )
    return Group(*parts)


def _columns(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """
    The columns for which there is room.
    """
    head = clusterview.HEAD
    wide = [max(len(shown(row[n])) for row in (head, *rows)) + 2 for n in range(len(head))]
    wide[clusterview.FILES] += _BAR + 1
    left = list(range(len(head)))
    for name in _LEAVES_FIRST:
        if sum(wide[n] for n in left) <= width:
            break
        left.remove(head.index(name))
    return left


def _files(percent: float | None, words: str) -> RenderableType:
    if percent is None or percent == 100:
        return Text(words)
    bar = Table.grid(padding=(0, 1))
    bar.add_row(ProgressBar(total=100, completed=percent, width=_BAR), Text(words))
    return bar


def _table(head: Sequence[str], rows: Iterable[Sequence[RenderableType]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in head:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
