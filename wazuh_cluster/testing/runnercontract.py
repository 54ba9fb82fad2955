"""
What every L{IRunner} promises, as mixins for test cases.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from zope.interface.verify import verifyObject

from wazuh_cluster.errors import ClusterError, Stopped
from wazuh_cluster.interfaces import IRunner, Slices

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _Case
else:
    _Case = object

T = TypeVar("T")

ENDLESS = 1_000_000_000


class Works:
    """
    Makes works that note what happens to them, all in one C{log}.
    """

    def __init__(self) -> None:
        self.log: list[str] = []

    def make(self, name: str, slices: int = 3) -> Slices[str]:
        """
        A work that returns its name.
        """
        self.log.append(f"{name} begins")
        try:
            for _ in range(slices):
                yield
            return name
        finally:
            self.log.append(f"{name} closed")


class RunnerContract(_Case):
    """
    What holds for a runner whatever the moment at which it does its slices.
    """

    def makeRunner(self) -> IRunner:
        """
        Override: a new runner, which nothing must outlive the test.
        """
        raise NotImplementedError

    def until(self, condition: Callable[[], bool]) -> None:
        """
        Override: let the runner go on until C{condition} holds, or fail.
        """
        raise NotImplementedError

    def ended(self, deferred: Deferred[T]) -> T:
        """
        The result of a Deferred that fires if the runner goes on.
        """
        fired: list[Any] = []
        deferred.addBoth(fired.append)
        self.until(lambda: bool(fired))
        deferred.addCallback(lambda _: fired[0])
        return self.successResultOf(deferred)

    def test_interface(self) -> None:
        """
        The runner provides L{IRunner}.
        """
        verifyObject(IRunner, self.makeRunner())

    def test_result(self) -> None:
        """
        A work is driven to its end, and its Deferred fires with its result.
        """
        works = Works()
        self.assertEqual(self.ended(self.makeRunner().run(works.make("a"))), "a")
        self.assertEqual(works.log, ["a begins", "a closed"])

    def test_failure(self) -> None:
        """
        What a work raises fails its Deferred, and the next work runs.
        """

        def failing() -> Slices[None]:
            yield
            raise ClusterError("spoiled")

        runner = self.makeRunner()
        spoiled = runner.run(failing())
        self.assertEqual(self.ended(runner.run(Works().make("b"))), "b")
        self.assertEqual(str(self.failureResultOf(spoiled, ClusterError).value), "spoiled")

    def test_order(self) -> None:
        """
        Works run in the order given, and none begins before the one before it
        ended.
        """
        runner = self.makeRunner()
        works = Works()
        names = ["a", "b", "c", "d"]
        all = [runner.run(works.make(name)) for name in names]
        self.ended(all[-1])
        self.assertEqual([self.successResultOf(one) for one in all[:-1]], names[:-1])
        self.assertEqual(works.log, [f"{n} {what}" for n in names for what in ("begins", "closed")])

    def test_call(self) -> None:
        """
        A function is called with its arguments, in its turn.
        """
        runner = self.makeRunner()
        works = Works()
        runner.run(works.make("a")).addErrback(lambda _: None)
        self.assertEqual(self.ended(runner.call(lambda x, y: (works.log[-1], x + y), 1, 2))[1], 3)
        self.assertEqual(works.log[-1], "a closed")

    def test_callFails(self) -> None:
        """
        What a function raises fails the Deferred.
        """
        failed = self.ended(self.makeRunner().call(int, "x").addErrback(lambda f: f.type))
        self.assertIs(failed, ValueError)

    def test_stopped(self) -> None:
        """
        A stopped runner takes no more, and stopping again does nothing.
        """
        runner = self.makeRunner()
        runner.stop()
        runner.stop()
        works = Works()
        self.failureResultOf(runner.run(works.make("a")), Stopped)
        self.failureResultOf(runner.call(works.log.append, "called"), Stopped)
        self.assertEqual(works.log, [])


class InterruptContract(RunnerContract):
    """
    What holds besides for a runner that leaves its caller time to interrupt it.
    """

    def begin(self, runner: IRunner, works: Works, name: str = "a") -> Deferred[str]:
        """
        Run an endless work, and return once it has begun.
        """
        deferred = runner.run(works.make(name, ENDLESS))
        self.until(lambda: f"{name} begins" in works.log)
        return deferred

    def test_cancelRunning(self) -> None:
        """
        A work that is cancelled fails with C{CancelledError} at once, is
        closed, and lets the next one run.
        """
        runner = self.makeRunner()
        works = Works()
        running = self.begin(runner, works)
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.assertEqual(self.ended(runner.run(works.make("b"))), "b")
        self.assertEqual(works.log, ["a begins", "a closed", "b begins", "b closed"])

    def test_cancelWaiting(self) -> None:
        """
        A work that is cancelled before its turn never begins.
        """
        runner = self.makeRunner()
        works = Works()
        running = self.begin(runner, works)
        waiting = runner.run(works.make("b"))
        last = runner.run(works.make("c"))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertNoResult(running)
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.assertEqual(self.ended(last), "c")
        self.assertNotIn("b begins", works.log)

    def test_stop(self) -> None:
        """
        Stopping cancels the running work, which is closed, and all that wait.
        """
        runner = self.makeRunner()
        works = Works()
        running = self.begin(runner, works)
        waiting = runner.run(works.make("b"))
        runner.stop()
        self.failureResultOf(running, CancelledError)
        self.failureResultOf(waiting, CancelledError)
        self.until(lambda: "a closed" in works.log)
        self.assertEqual(works.log, ["a begins", "a closed"])
