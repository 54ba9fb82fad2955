"""
Journal: the logger whose events say which node and which task they are about.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, cast

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, Logger

#: The tasks that people's log parsers know.
MAIN = "Main"
KEEP_ALIVE = "Keep Alive"
INTEGRITY_CHECK = "Integrity check"
INTEGRITY_SYNC = "Integrity sync"
AGENT_INFO_SYNC = "Agent-info sync"
LOCAL_INTEGRITY = "Local integrity"
ENROLLMENT = "Enrollment"

NAMESPACE = "wazuh_cluster"


class Journal(Logger):
    """
    A L{Logger} that adds C{clusterTag} and C{clusterTask} to every event. An
    event that names one of them itself keeps its own.

    Unlike a plain L{Logger} it is the same whether it is an attribute of an
    instance or of a class.

    @ivar task: what the node is doing, without brackets: C{"Integrity sync"}.
    @ivar tag: whom it is about, without brackets: C{"Master"},
        C{"Worker worker-1"}, C{"Local Server"}; C{None} for the node itself.
    """

    def __init__(
        self,
        task: str,
        tag: str | None = None,
        observer: ILogObserver | Callable[[LogEvent], object] | None = None,
    ) -> None:
        """
        @param observer: to whom the events go; by default Twisted's global
            publisher.
        """
        super().__init__(NAMESPACE, None, cast("ILogObserver | None", observer))
        self.task = task
        self.tag = tag

    def __get__(self, instance: object, owner: type | None = None) -> Journal:
        return self

    def __repr__(self) -> str:
        return f"<Journal [{self.tag}] [{self.task}]>"

    def emit(self, level: Any, format: str | None = None, **kwargs: object) -> None:
        """
        Emit an event with the two fields added.
        """
        kwargs.setdefault("clusterTag", self.tag)
        kwargs.setdefault("clusterTask", self.task)
        # What other observers, such as twistd's, show in brackets.
        kwargs.setdefault("log_system", f"{self.tag or NAMESPACE} {self.task}#{level.name}")
        super().emit(level, format, **kwargs)

    def bound(self, tag: str | None) -> Journal:
        """
        The same journal, about somebody else.
        """
        return Journal(self.task, tag, self.observer)

    def forTask(self, task: str) -> Journal:
        """
        The same journal, for another task.
        """
        return Journal(task, self.tag, self.observer)


class Repeats:
    """
    Lets one log line through per key and interval, and counts the others.

    It remembers a bounded number of keys. While all of them are within their
    interval, every further key shares one place, so that a peer that invents
    keys cannot flood a log either.

    @ivar interval: in seconds.
    @ivar maxKeys: how many keys are remembered.
    """

    def __init__(self, clock: IReactorTime, interval: float = 1.0, maxKeys: int = 256) -> None:
        self.interval = interval
        self.maxKeys = maxKeys
        self._clock = clock
        # Key to (when its last line went through, how many were held back
        # since), the longest ago first.
        self._seen: dict[Hashable, tuple[float, int]] = {}

    def allow(self, key: Hashable) -> int | None:
        """
        Ask whether a line may be written now.

        @return: C{None} if it must be held back; otherwise how many lines of
            this key were held back since its last one.
        """
        now = self._clock.seconds()
        if key not in self._seen and len(self._seen) >= self.maxKeys:
            self._forgetOld(now)
            if len(self._seen) >= self.maxKeys:
                key = _OTHERS
        last, held = self._seen.get(key, (None, 0))
        if last is not None and now - last < self.interval:
            self._seen[key] = (last, held + 1)
            return None
        self._seen.pop(key, None)
        self._seen[key] = (now, 0)
        return held

    def _forgetOld(self, now: float) -> None:
        """
        Forget the keys whose interval is over, and what they held back.
        """
        for key, (last, _) in list(self._seen.items()):
            if now - last < self.interval:
                break
            del self._seen[key]


#: The place that keys share when there is no room for their own.
_OTHERS = object()
