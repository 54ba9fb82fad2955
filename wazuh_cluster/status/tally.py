"""
What installations added up to since the process began, node by node.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator

from attrs import define, field

#: The upper bounds of how long an installation takes, in seconds.
BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

#: Of how many nodes sums are kept.
MOST = 1000


@define
class Sums:
    """
    Those of one node.

    @ivar buckets: how many installations took at most each of L{BOUNDS} and
        more than the one before; and, last, how many took longer than all.
    @ivar seconds: how long all took.
    @ivar created: how many files were.
    @ivar updated: likewise.
    @ivar deleted: likewise.
    @ivar failed: how many could not be installed.
    @ivar received: how many bytes came.
    """

    buckets: list[int] = field(factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    failed: int = 0
    received: int = 0


class Tally:
    """
    The sums of some nodes; of those that were heard last, if they are too many.
    """

    def __init__(self) -> None:
        self._nodes: OrderedDict[str, Sums] = OrderedDict()

    def add(
        self,
        node: str,
        seconds: float,
        *,
        created: int = 0,
        updated: int = 0,
        deleted: int = 0,
        failed: int = 0,
        received: int = 0,
    ) -> None:
        """
        A node installed something.
        """
        sums = self._nodes.setdefault(node, Sums())
        self._nodes.move_to_end(node)
        if len(self._nodes) > MOST:
            self._nodes.popitem(last=False)
        sums.buckets[bisect_left(BOUNDS, seconds)] += 1
        sums.seconds += seconds
        sums.created += created
        sums.updated += updated
        sums.deleted += deleted
        sums.failed += failed
        sums.received += received

    def drop(self, node: str) -> None:
        """
        A node was forgotten.
        """
        self._nodes.pop(node, None)

    def __iter__(self) -> Iterator[tuple[str, Sums]]:
        return iter(sorted(self._nodes.items()))
