"""
Tests for L{wazuh_cluster.agents.transactions} and L{wazuh_cluster.agents.ahead}.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.agents.ahead import Ahead
from wazuh_cluster.agents.transactions import MOST, TOGETHER, Transactions
from wazuh_cluster.errors import Stopped, StoreFailed
from wazuh_cluster.interfaces import Slices
from wazuh_cluster.testing.runner import ClockRunner


class TransactionsTests(SynchronousTestCase):
    """
    L{Transactions} on a runner that takes its time.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.groups: list[list[str]] = []
        self.commits = Transactions(ClockRunner(self.clock, 1.0), self.work, "the store")

    def work(self, items: Sequence[str]) -> Slices[list[str]]:
        self.groups.append(list(items))
        yield
        if "bad" in items:
            raise StoreFailed("it is full")
        return [item.upper() for item in items]

    def test_together(self) -> None:
        """
        What comes while the first is done is done together, in its order, and
        each gets its own result.
        """
        done = [self.commits.add(item) for item in "abc"]
        self.clock.pump([1.0] * 2)
        self.assertEqual("A", self.successResultOf(done[0]))
        self.assertNoResult(done[1])
        done.append(self.commits.add("d"))
        self.clock.pump([1.0] * 4)
        self.assertEqual(["B", "C", "D"], [self.successResultOf(each) for each in done[1:]])
        self.assertEqual([["a"], ["b", "c"], ["d"]], self.groups)

    def test_failure(self) -> None:
        """
        What fails fails for all that was done together, and the next goes on.
        """
        done = [self.commits.add(item) for item in ("a", "b", "bad")]
        self.clock.pump([1.0] * 2)
        done.append(self.commits.add("c"))
        self.clock.pump([1.0] * 4)
        self.assertEqual("A", self.successResultOf(done[0]))
        for each in done[1:3]:
            self.failureResultOf(each, StoreFailed)
        self.assertEqual("C", self.successResultOf(done[3]))

    def test_bounded(self) -> None:
        """
        Not all is done at once, and not everything may wait.
        """
        done = [self.commits.add(item, TOGETHER // 2) for item in "abcde"]
        self.clock.pump([1.0] * 8)
        self.assertEqual([["a"], ["b", "c"], ["d", "e"]], self.groups)
        for each in done:
            self.successResultOf(each)
        waiting = [self.commits.add(item, MOST // 2) for item in "abc"]
        error = self.failureResultOf(self.commits.add("d", 1), StoreFailed).value
        self.assertIn("the store does not answer, and 2 pieces of work wait", str(error))
        self.clock.pump([1.0] * 6)
        for each in waiting:
            self.successResultOf(each)

    def test_hugeAlone(self) -> None:
        """
        One that is larger than all that may wait is done, if nothing waits.
        """
        done = self.commits.add("a", 2 * MOST)
        self.clock.pump([1.0] * 2)
        self.assertEqual("A", self.successResultOf(done))

    def test_stopped(self) -> None:
        """
        Stopping ends what is under way and what waits, and nothing more comes.
        """
        done = [self.commits.add(item) for item in "ab"]
        self.commits.stop()
        done.append(self.commits.add("c"))
        for each in done:
            self.failureResultOf(each, Stopped)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_cancelled(self) -> None:
        """
        Who does not want to wait any more spoils nothing.
        """
        done = [self.commits.add(item) for item in "abc"]
        done[1].addErrback(lambda _: None)
        done[1].cancel()
        self.clock.pump([1.0] * 4)
        self.assertEqual("C", self.successResultOf(done[2]))


class AheadTests(SynchronousTestCase):
    """
    L{Ahead} with elements that the test makes.
    """

    def setUp(self) -> None:
        self.making: list[Deferred[Sequence[str]]] = []
        self.ahead: Ahead[str] = Ahead(self.make, 2)

    def make(self) -> Deferred[Sequence[str]]:
        self.making.append(Deferred())
        return self.making[-1]

    def test_made(self) -> None:
        """
        Who asks waits until it is made; what is there is given at once, and
        more is made before all is gone.
        """
        first = self.ahead.next()
        self.assertNoResult(first)
        self.making[0].callback(["a", "b", "c", "d"])
        self.assertEqual("a", self.successResultOf(first))
        self.assertEqual("b", self.successResultOf(self.ahead.next()))
        self.assertEqual(1, len(self.making))
        self.assertEqual("c", self.successResultOf(self.ahead.next()))
        self.assertEqual(2, len(self.making))
        self.assertEqual("d", self.successResultOf(self.ahead.next()))
        waiting = self.ahead.next()
        self.assertNoResult(waiting)
        self.making[1].callback(["e"])
        self.assertEqual("e", self.successResultOf(waiting))

    def test_end(self) -> None:
        """
        After the last there is nothing, however often one asks.
        """
        first = self.ahead.next()
        self.making[0].callback(["a"])
        self.successResultOf(first)
        last = self.ahead.next()
        self.making[1].callback([])
        for _ in range(2):
            self.assertIsNone(self.successResultOf(last))
            last = self.ahead.next()
        self.assertEqual(2, len(self.making))
        self.successResultOf(last)

    def test_failed(self) -> None:
        """
        A failure comes after what was made before it.
        """
        first = self.ahead.next()
        self.making[0].callback(["a", "b"])
        self.successResultOf(first)
        self.assertEqual("b", self.successResultOf(self.ahead.next()))
        self.making[1].errback(StoreFailed("it is damaged"))
        for _ in range(2):
            self.failureResultOf(self.ahead.next(), StoreFailed)

    def test_failedWhileWaiting(self) -> None:
        """
        Who waits is told.
        """
        first = self.ahead.next()
        self.making[0].errback(StoreFailed("it is damaged"))
        self.failureResultOf(first, StoreFailed)

    def test_atOnce(self) -> None:
        """
        What is made at once is given at once.
        """
        made = iter([["a"], ["b", "c"], []])
        ahead: Ahead[str] = Ahead(lambda: _fired(next(made)), 2)
        given = [self.successResultOf(ahead.next()) for _ in range(5)]
        self.assertEqual(["a", "b", "c", None, None], given)


def _fired(elements: Sequence[str]) -> Deferred[Sequence[str]]:
    fired: Deferred[Sequence[str]] = Deferred()
    fired.callback(elements)
    return fired
