"""
The application's observers, of which none can hurt the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.interfaces import IWorkerObserver
from wazuh_cluster.journal import MAIN, Journal
from wazuh_cluster.model import MasterInfo, SyncReport


@implementer(IWorkerObserver)
class Observers:
    """
    Tells all of some observers. What one of them raises is logged.
    """

    def __init__(self, observers: Iterable[IWorkerObserver]) -> None:
        self._observers = list(observers)
        self._log = Journal(MAIN)

    def add(self, observer: IWorkerObserver) -> None:
        """
        Tell this one too, after the others.
        """
        self._observers.append(observer)

    def joined(self, master: MasterInfo) -> None:
        """
        See L{IWorkerObserver}.
        """
        self._tell(lambda each: each.joined(master))

    def synced(self, report: SyncReport) -> None:
        """
        See L{IWorkerObserver}.
        """
        self._tell(lambda each: each.synced(report))

    def lost(self, reason: Failure) -> None:
        """
        See L{IWorkerObserver}.
        """
        self._tell(lambda each: each.lost(reason))

    def _tell(self, call: Callable[[Any], object]) -> None:
        for observer in self._observers:
            try:
                call(observer)
            except Exception:
                self._log.failure("The observer {observer} failed.", observer=observer)
