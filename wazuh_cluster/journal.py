"""
Journal: the logger whose events say which node and which task they are about,
and whose texts are safe to show.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.logger import ILogObserver, LogEvent, Logger

from wazuh_cluster.escape import escape

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
    event that names one of them itself keeps its own. Fields that are texts are
    escaped: some are a peer's, and not every observer is as careful as the
    cluster's own log.

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
        for name, value in kwargs.items():
            if isinstance(value, str):
                kwargs[name] = escape(value)
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
