"""
Tests for L{wazuh_cluster.agents.groupcommit}.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.agents.groupcommit import GroupCommit
from wazuh_cluster.errors import StoreFailed, TooBusy


class GroupCommitTests(SynchronousTestCase):
    """
    L{GroupCommit}.
    """

    def setUp(self) -> None:
        self.batches: list[tuple[list[int], Deferred[None]]] = []
        self.commit: GroupCommit[int, int] = GroupCommit(self.work, most=3, mostWaiting=5)

    async def work(self, items: Sequence[int]) -> Sequence[int]:
        done: Deferred[None] = Deferred()
        self.batches.append((list(items), done))
        await done
        return [-item for item in items]

    def end(self) -> None:
        """
        Let the batch under way end.
        """
        self.batches[-1][1].callback(None)

    def test_together(self) -> None:
        """
        What comes while a batch is under way is the next one, in its order,
        but not more than so many at once.
        """
        asked = [self.commit.add(n) for n in range(5)]
        self.assertEqual([items for items, _ in self.batches], [[0]])
        self.assertNoResult(asked[0])
        self.end()
        self.assertEqual([items for items, _ in self.batches], [[0], [1, 2, 3]])
        self.end()
        self.end()
        self.assertEqual([self.successResultOf(each) for each in asked], [0, -1, -2, -3, -4])
        asked.append(self.commit.add(9))
        self.assertEqual(self.batches[-1][0], [9])
        self.end()
        self.assertEqual(self.successResultOf(asked[-1]), -9)

    def test_failed(self) -> None:
        """
        A batch that fails is no matter of the next.
        """
        asked = [self.commit.add(n) for n in range(4)]
        self.end()
        self.batches[-1][1].errback(StoreFailed("full"))
        for each in asked[1:]:
            self.assertEqual(str(self.failureResultOf(each, StoreFailed).value), "full")
        last = self.commit.add(7)
        self.end()
        self.assertEqual(self.successResultOf(last), -7)

    def test_cancelled(self) -> None:
        """
        Who does not want to wait any longer does not hold up the others, and
        is not forgotten.
        """
        asked = [self.commit.add(n) for n in range(3)]
        asked[1].cancel()
        self.failureResultOf(asked[1], CancelledError)
        self.end()
        self.assertEqual(self.batches[-1][0], [1, 2])
        self.end()
        self.assertEqual(self.successResultOf(asked[2]), -2)

    def test_tooMany(self) -> None:
        """
        Only so many may wait.
        """
        asked = [self.commit.add(n) for n in range(7)]
        self.failureResultOf(asked[6], TooBusy)
        for _ in range(3):
            self.end()
        self.assertEqual(
            [self.successResultOf(each) for each in asked[:6]], [0, -1, -2, -3, -4, -5]
        )

    def test_withinACallback(self) -> None:
        """
        Who asks again at once is served by the next batch.
        """
        first = self.commit.add(1)
        again: list[Deferred[int]] = []
        first.addCallback(lambda result: again.append(self.commit.add(2)))
        self.end()
        self.assertEqual(self.batches[-1][0], [2])
        self.end()
        self.assertEqual(self.successResultOf(again[0]), -2)
