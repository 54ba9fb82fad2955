"""
Tests for L{wazuh_cluster.enrollment.undoing}.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.enrollment import UndoList
from wazuh_cluster.enrollment.undoing import BATCH, MOST
from wazuh_cluster.errors import LinkClosed, Stopped
from wazuh_cluster.testing.runner import ClockRunner, ImmediateRunner
from wazuh_cluster.testing.state import MemoryState

STATE = "undo-registrations"


def ids(count: int, start: int = 0) -> list[bytes]:
    return [b"%016d" % n for n in range(start, start + count)]


class CountingState(MemoryState):
    """
    Counts how often something is saved; can be full.
    """

    saves = 0
    full = False

    def save(self, name: str, content: bytes) -> None:
        self.saves += 1
        if self.full:
            raise OSError(28, "No space left on device")
        super().save(name, content)


class UndoListTests(SynchronousTestCase):
    """
    The list of what is to be undone.
    """

    def setUp(self) -> None:
        self.state = CountingState()
        self.undone: list[bytes] = []
        self.batches: list[int] = []

    def make(self) -> UndoList:
        return UndoList(self.state, ImmediateRunner())

    async def undo(self, batch: Sequence[bytes]) -> None:
        self.batches.append(len(batch))
        self.undone.extend(batch)

    def work(self, undoing: UndoList) -> str:
        return self.successResultOf(Deferred.fromCoroutine(undoing.work(self.undo)))

    def test_outlivesTheProcess(self) -> None:
        """
        What was added is there for the next process, once, in its order, and
        gone when it is undone.
        """
        undoing = self.make()
        for each in (*ids(3), ids(1)[0]):
            self.successResultOf(undoing.add(each))
        again = self.make()
        self.successResultOf(again.add(ids(1, 9)[0]))
        self.assertEqual("4 undone", self.work(again))
        self.assertEqual([*ids(3), *ids(1, 9)], self.undone)
        self.assertEqual((0, None), (len(again), self.state.load(STATE)))
        self.assertEqual("0 undone", self.work(self.make()))

    def test_nothingToDo(self) -> None:
        """
        Without anything to undo, nothing is written.
        """
        undoing = self.make()
        self.work(undoing)
        self.successResultOf(undoing.whenSaved())
        self.assertEqual(0, self.state.saves)

    def test_fails(self) -> None:
        """
        What could not be undone stays, also that which follows it.
        """
        undoing = self.make()
        for each in ids(BATCH + 1):
            self.successResultOf(undoing.add(each))

        async def half(batch: Sequence[bytes]) -> None:
            if self.batches:
                raise LinkClosed("the connection was lost")
            await self.undo(batch)

        self.failureResultOf(Deferred.fromCoroutine(undoing.work(half)), LinkClosed)
        self.assertEqual(1, len(undoing))
        self.work(undoing)
        self.assertEqual(([BATCH, 1], ids(BATCH + 1)), (self.batches, self.undone))

    def test_full(self) -> None:
        """
        A disk that is full is told of; what was added is still undone, and is
        saved when that is possible.
        """
        undoing = self.make()
        self.state.full = True
        self.failureResultOf(undoing.add(ids(1)[0]), OSError)
        self.state.full = False
        self.successResultOf(undoing.add(ids(1, 1)[0]))
        self.work(self.make())
        self.assertEqual(ids(2), self.undone)

    def test_damaged(self) -> None:
        """
        What cannot be read is taken as nothing.
        """
        self.state.damaged.add(STATE)
        undoing = self.make()
        self.successResultOf(undoing.add(ids(1)[0]))
        self.state.contents[STATE] = b"garbage\n" + self.state.contents[STATE] + b"00\n"
        self.work(self.make())
        self.assertEqual(ids(1), self.undone)

    def test_tooMany(self) -> None:
        """
        It does not grow without bounds.
        """
        undoing = self.make()
        for each in ids(MOST + 5):
            undoing.add(each)
        self.work(undoing)
        self.assertEqual(ids(MOST, 5), self.undone)

    def test_addedMeanwhile(self) -> None:
        """
        What is added while others are undone is undone too.
        """
        undoing = self.make()
        undoing.add(ids(1)[0])

        async def undo(batch: Sequence[bytes]) -> None:
            if not self.undone:
                undoing.add(ids(1, 1)[0])
            await self.undo(batch)

        self.successResultOf(Deferred.fromCoroutine(undoing.work(undo)))
        self.assertEqual(ids(2), self.undone)
        self.assertIsNone(self.state.load(STATE))


class SavingTests(SynchronousTestCase):
    """
    Saving takes time.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.runner = ClockRunner(self.clock, 1.0)
        self.state = CountingState()
        self.undoing = UndoList(self.state, self.runner)

    def test_together(self) -> None:
        """
        What comes while something is saved is saved together, and each is told
        only when it is.
        """
        first = self.undoing.add(ids(1)[0])
        self.clock.pump([1.0] * 3)
        self.assertNoResult(first)
        others = [self.undoing.add(each) for each in ids(9, 1)]
        self.clock.advance(1.0)
        self.successResultOf(first)
        for each in others:
            self.assertNoResult(each)
        self.clock.pump([1.0] * 2)
        for each in others:
            self.successResultOf(each)
        self.assertEqual(2, self.state.saves)
        self.successResultOf(self.undoing.whenSaved())

    def test_cancelled(self) -> None:
        """
        Whoever does not want to wait any more stops nothing.
        """
        waiting = self.undoing.add(ids(1)[0])
        waiting.cancel()
        self.failureResultOf(waiting)
        saved = self.undoing.whenSaved()
        self.clock.pump([1.0] * 6)
        self.successResultOf(saved)
        self.assertEqual(33, len(self.state.load(STATE) or b""))

    def test_stopped(self) -> None:
        """
        A runner that stops tells those who wait.
        """
        waiting = self.undoing.add(ids(1)[0])
        self.runner.stop()
        self.failureResultOf(waiting, Stopped)
        self.failureResultOf(self.undoing.add(ids(1)[0]), Stopped)
