"""
What a job found, as text for people and as JSON for programs.
"""

from __future__ import annotations

from attrs import define, field, frozen

from benchmarks.figures import Figure


@frozen
class Row:
    """
    One line of a table.

    @ivar key: its name in JSON.
    @ivar label: its name for people.
    @ivar figure: what was measured.
    @ivar beside: the same compared with something, and with what.
    """

    key: str
    label: str
    figure: Figure
    beside: tuple[tuple[str, Figure], ...] = ()


@define
class Section:
    """
    One job's table.

    @ivar title: what was done, and to what.
    @ivar notes: how the figures are to be read, one line each.
    """

    title: str
    notes: list[str] = field(factory=list)
    rows: list[Row] = field(factory=list)

    def add(self, key: str, label: str, figure: Figure, **beside: Figure) -> Figure:
        """
        Append a row.

        @param beside: comparisons, by what they compare with; C{_} stands for
            a blank there.
        """
        named = tuple((name.replace("_", " "), value) for name, value in beside.items())
        self.rows.append(Row(key, label, figure, named))
        return figure

    def toText(self) -> str:
        """
        The table.
        """
        width = max((len(row.label) for row in self.rows), default=0)
        lines = [self.title, "-" * len(self.title)]
        for row in self.rows:
            beside = "".join(f"; {figure.describe()} {name}" for name, figure in row.beside)
            lines.append(f"  {row.label:{width}}  {row.figure.describe()}{beside}")
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines)

    def toJSON(self) -> dict[str, object]:
        """
        The same, with every value.
        """
        return {
            "title": self.title,
            "notes": self.notes,
            "rows": {
                row.key: {
                    "label": row.label,
                    **row.figure.toJSON(),
                    "beside": {name: figure.toJSON() for name, figure in row.beside},
                }
                for row in self.rows
            },
        }
