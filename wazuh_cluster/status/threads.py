"""
Threads as people look at them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from wazuh_cluster.periodic import Periodic
from wazuh_cluster.status.values import ThreadStatus

#: How much of a line is kept.
_LONGEST = 300


def threadStatuses(
    threads: Iterable[Periodic], seconds: Callable[[], float], wallClock: Callable[[], float]
) -> tuple[ThreadStatus, ...]:
    """
    Some threads, by name.

    @param seconds: the clock by which they run.
    @param wallClock: the one that people read.
    """
    ahead = wallClock() - seconds()
    return tuple(_status(each, ahead) for each in sorted(threads, key=lambda each: str(each.name)))


def _status(thread: Periodic, ahead: float) -> ThreadStatus:
    record = thread.record
    started, ended = record.started, record.ended
    return ThreadStatus(
        name=str(thread.name),
        interval=thread.interval,
        running=record.running,
        started=None if started is None else round(started + ahead, 3),
        ended=None if ended is None else round(ended + ahead, 3),
        duration=None if record.duration is None else round(record.duration, 4),
        result=None if record.result is None else record.result[:_LONGEST],
        failure=None if record.failure is None else record.failure[:_LONGEST],
        kind=record.kind,
        runs=record.runs,
        failures=record.failures,
        hung=thread.hung,
    )
