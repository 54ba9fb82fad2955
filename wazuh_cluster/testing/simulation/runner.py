"""
A simulated process's threads: the real runner, with threads whose slices take
virtual time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wazuh_cluster.interfaces import Slices
from wazuh_cluster.threads import ThreadRunner, _Job, _Lane

if TYPE_CHECKING:
    from wazuh_cluster.testing.simulation.process import SimProcess

T = TypeVar("T")

#: The most works that may wait for one runner: a node's thread waits for one, and so
#: does each transfer, of which a link has a few.
MAX_QUEUE = 32

#: The most file operations of one slice, which is 100 ms of work at most: an operation
#: on a slow disk takes a fifth of a millisecond.
MAX_OPERATIONS = 500


class SimRunner(ThreadRunner):
    """
    A L{ThreadRunner} whose threads are on the simulation's clock: only who does
    the slices, and when, is not the real one's.
    """

    def __init__(self, process: SimProcess, name: str) -> None:
        super().__init__(process.clock, name)  # type: ignore[arg-type]
        self._process = process

    def run(self, work: Slices[T]) -> Deferred[T]:
        """
        See L{ThreadRunner}; the queue is bounded.
        """
        if len(self._waiting) > MAX_QUEUE:
            self._process.broken(f"{len(self._waiting)} works wait for the runner {self.name}")
        return super().run(work)

    def _startLane(self) -> _Lane:
        self._started += 1
        return _SimLane(self, self._process)


class _SimLane(_Lane):
    """
    A thread on virtual time.
    """

    def __init__(self, runner: SimRunner, process: SimProcess) -> None:
        super().__init__()
        self._runner = runner
        self._process = process
        self.jobs = self  # type: ignore[assignment]

    def put(self, job: _Job | None) -> None:
        """
        The runner gives a work, or wants no more of this thread.
        """
        if job is not None:
            self._schedule(job)

    def _schedule(self, job: _Job) -> None:
        """
        The thread begins a slice. What that does, it does at some moment until
        its end; a slice that takes no time to speak of, at its end.
        """
        process = self._process
        machine = process.machine
        if machine.pace > 0.01 and machine.random.random() < 0.5:
            process.later(0.0, self._earlySlice, job)
        else:
            machine.whenSliceEnds(process, self._slice, job)

    def _earlySlice(self, job: _Job) -> None:
        ended = self._step(job)
        self._process.machine.whenSliceEnds(self._process, self._after, job, ended)

    def _slice(self, job: _Job) -> None:
        # Work that is not wanted any more may have been seen to be so in time.
        if job.unwanted and self._process.machine.random.random() < 0.5:
            self._after(job, self._inThread(job, job.work.close))
        else:
            self._after(job, self._step(job))

    def _step(self, job: _Job) -> tuple[object] | None:
        return self._inThread(job, lambda: next(job.work))

    def _after(self, job: _Job, ended: tuple[object] | None) -> None:
        if ended is None and job.unwanted:
            ended = self._inThread(job, job.work.close) or (None,)
        if ended is None:
            self._schedule(job)
        elif not self.ended:
            self._runner._done(self, job, ended[0])

    def _inThread(self, job: _Job, act: Callable[[], Any]) -> tuple[object] | None:
        """
        Do a part of a work.

        @return: what came of the whole, if that was its end.
        """
        process = self._process
        process.beginSlice()
        try:
            act()
        except StopIteration as end:
            return (end.value,)
        except Exception:
            return (Failure(),)
        finally:
            process.endSlice()
        return None if act != job.work.close else (None,)
