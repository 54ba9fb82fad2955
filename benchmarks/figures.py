"""
Figures: values of the same thing in several runs, as median and spread.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from attrs import field, frozen

MIB = 1024 * 1024


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(values)


@frozen
class Figure:
    """
    What one thing was in each run.

    @ivar values: one for each run, in their order; never empty.
    @ivar unit: C{"s"}, C{"MiB"}, C{"x"} or another word.
    """

    values: tuple[float, ...] = field(converter=_floats)
    unit: str = "s"

    def __attrs_post_init__(self) -> None:
        if not self.values:
            raise ValueError("a figure of no run")

    @property
    def median(self) -> float:
        """
        The middle of the values.
        """
        return median(self.values)

    @property
    def lowest(self) -> float:
        """
        The least of them.
        """
        return min(self.values)

    @property
    def highest(self) -> float:
        """
        The greatest of them.
        """
        return max(self.values)

    def describe(self) -> str:
        """
        Median, lowest and highest, for people.
        """
        middle, low, high = (_rounded(v) for v in (self.median, self.lowest, self.highest))
        return f"{middle} {self.unit} ({low} to {high})"

    def toJSON(self) -> dict[str, object]:
        """
        All of it, for programs.
        """
        return {
            "unit": self.unit,
            "median": self.median,
            "lowest": self.lowest,
            "highest": self.highest,
            "values": list(self.values),
        }


def mib(values: Iterable[int]) -> Figure:
    """
    A figure in MiB of values in bytes.
    """
    return Figure(tuple(value / MIB for value in values), "MiB")


def ratio(ours: Figure, theirs: Figure) -> Figure:
    """
    Ours by theirs, run by run.
    """
    pairs = zip(ours.values, theirs.values, strict=True)
    return Figure(tuple(a / b for a, b in pairs), "x")


def excess(ours: Figure, theirs: Figure) -> Figure:
    """
    How much ours is above theirs, run by run.
    """
    pairs = zip(ours.values, theirs.values, strict=True)
    return Figure(tuple(a - b for a, b in pairs), ours.unit)


def _rounded(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
