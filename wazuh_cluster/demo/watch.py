"""
Watching what arrives at the workers, a line for each.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wazuh_cluster.demo.arrivals import Arrivals
from wazuh_cluster.demo.nodes import DemoFailed, Node
from wazuh_cluster.demo.pace import Pace
from wazuh_cluster.demo.show import Screen
from wazuh_cluster.errors import ClusterError

T = TypeVar("T")

#: What every wait ends after, in seconds.
PATIENCE = 60.0


class Line:
    """
    One worker's line while something arrives.

    @ivar ended: when all of it had arrived, by the pace's clock.
    """

    def __init__(self, worker: Node, arrivals: Arrivals) -> None:
        self.worker = worker
        self.arrivals = arrivals
        self.ended: float | None = None


class Watcher:
    """
    Waits for things to happen, while all nodes that were started run.
    """

    def __init__(self, nodes: Sequence[Node], screen: Screen, pace: Pace) -> None:
        self._nodes = nodes
        self._screen = screen
        self._pace = pace
        self._width = max(len(node.name) for node in nodes)

    def say(self, node: Node, text: str) -> None:
        """
        Print a line that is about one node.
        """
        self._screen.say(self._line(node, text))

    def check(self) -> None:
        """
        See that nobody interrupted, and that no node ended by itself.
        """
        self._pace.check()
        for node in self._nodes:
            if node.pid is not None:
                node.check()

    def until(self, happened: Callable[[], bool], node: Node, otherwise: str) -> None:
        """
        Wait for something.

        @param otherwise: what is wrong with C{node} if it does not happen.
        """
        end = self._pace.seconds() + PATIENCE
        while not happened():
            self.check()
            if self._pace.seconds() > end:
                raise DemoFailed(f"{node.name} {otherwise} after {PATIENCE:.0f} s.", node)
            self._pace.pause(0.01)

    def each(
        self,
        nodes: Sequence[Node],
        has: Callable[[Node], bool],
        said: str,
        otherwise: str,
        began: float,
    ) -> None:
        """
        Wait until each of some nodes has something, and print a line for each
        that says after how long.

        @param said: what is true of it then.
        @param otherwise: what is wrong with a node that never has it.
        @param began: since when, by the pace's clock.
        """
        waiting = list(nodes)

        def reached(wanted: Node) -> bool:
            for node in list(waiting):
                if has(node):
                    waiting.remove(node)
                    self.say(node, f"{said} after {self._pace.seconds() - began:.2f} s")
            return wanted not in waiting

        for node in nodes:
            self.until(partial(reached, node), node, otherwise)

    def result(self, work: Coroutine[Deferred[Any], Any, T], node: Node) -> T:
        """
        Wait for what some work gives that goes on while the pace pauses.

        @param node: whose answer that is.
        @raise DemoFailed: for what the work fails with.
        """
        results: list[T] = []
        failures: list[Failure] = []
        working = Deferred.fromCoroutine(work)
        working.addCallbacks(results.append, failures.append)
        try:
            self.until(lambda: bool(results or failures), node, "did not answer")
        finally:
            working.cancel()
        for failure in failures:
            # That a node ended says more than that it does not answer.
            self.check()
            failure.trap(ClusterError)
            raise DemoFailed(f"{node.name}: {failure.getErrorMessage()}.", node) from None
        return results[0]

    def arrivals(
        self,
        lines: Sequence[Line],
        show: Callable[[Line], str],
        look: Callable[[], None] = lambda: None,
        every: float = 0.02,
    ) -> None:
        """
        Show lines until all has arrived.

        @param show: what a line says.
        @param look: is called again and again.
        @param every: seconds between two looks.
        """
        best, moved = -1, self._pace.seconds()
        while True:
            before = self._pace.seconds()
            for line in lines:
                if line.ended is None:
                    line.arrivals.look()
                    if line.arrivals.complete:
                        line.ended = self._pace.seconds()
            look()
            texts = [self._line(line.worker, show(line)) for line in lines]
            waiting = [line.worker for line in lines if line.ended is None]
            if not waiting:
                self._screen.settle(texts)
                return
            self._screen.show(texts)
            self.check()
            now = self._pace.seconds()
            there = sum(line.arrivals.last.bytes + line.arrivals.last.installed for line in lines)
            if there > best:
                best, moved = there, now
            elif now - moved > PATIENCE:
                raise DemoFailed(f"{waiting[0].name} got nothing for {PATIENCE:.0f} s.", waiting[0])
            # Looking must not take the time that the nodes need.
            self._pace.pause(max(every, 2 * (now - before)))

    def _line(self, node: Node, text: str) -> str:
        return f"   {node.name.ljust(self._width)}  {text}"
