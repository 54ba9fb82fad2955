"""
Tests for L{wazuh_cluster.protocol.deadlines}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import GroupRefused, StoreFailed, TooBusy
from wazuh_cluster.protocol.deadlines import Deadlines


class DeadlinesTests(SynchronousTestCase):
    """
    L{Deadlines} see to it that answers come.
    """

    def setUp(self) -> None:
        """
        Some work, and an answer to it.
        """
        self.clock = Clock()
        self.logged: list[str] = []
        self.work: Deferred[int] = Deferred()

        class Log:
            error = staticmethod(lambda text, **fields: self.logged.append(text.format(**fields)))

        log: Any = Log()
        self.deadlines = Deadlines(self.clock, 10.0, 2, log)
        self.answer = self.ask()

    def ask(self) -> Deferred[int]:
        """
        Ask for the work's result.
        """

        async def work() -> int:
            return await self.work

        return self.deadlines.bound(work, StoreFailed("late"))

    def test_inTime(self) -> None:
        """
        What ends in time is the answer, and no timer is left.
        """
        self.clock.advance(9)
        self.work.callback(7)
        self.assertEqual(7, self.successResultOf(self.answer))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_fails(self) -> None:
        """
        So is a failure.
        """
        self.work.errback(GroupRefused("no"))
        self.failureResultOf(self.answer, GroupRefused)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_late(self) -> None:
        """
        Else the answer is that it is late, and how the work ends is no one's
        answer any more.
        """
        self.clock.advance(10)
        self.failureResultOf(self.answer, StoreFailed)
        self.work.callback(7)
        self.assertEqual([], self.logged)

    def test_lateFailure(self) -> None:
        """
        A failure after that is in the log.
        """
        self.clock.advance(10)
        self.failureResultOf(self.answer, StoreFailed)
        self.work.errback(GroupRefused("no"))
        self.assertEqual(["Work of which nobody hears any more failed: no"], self.logged)

    def test_linkLost(self) -> None:
        """
        When the link is gone nobody is answered, and no timer is left; failures
        are told all the same.
        """
        self.deadlines.close()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.work.errback(GroupRefused("no"))
        self.assertNoResult(self.answer)
        self.assertEqual(["Work of which nobody hears any more failed: no"], self.logged)

    def test_tooMuch(self) -> None:
        """
        What was too late still counts as under way: beyond the most, no more
        is begun until some of it ends.
        """
        self.clock.advance(10)
        self.failureResultOf(self.answer, StoreFailed)
        second = self.ask()
        self.failureResultOf(self.ask(), TooBusy)
        self.assertNoResult(second)
        self.work.callback(7)
        self.work = Deferred()
        self.assertNoResult(self.ask())
        self.deadlines.close()
