"""
Many workers in one process, which only keep their links and listen: what they
cost is looked at on their master.
"""

from __future__ import annotations

import os
from itertools import count

from twisted.application.service import Application, Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from benchmarks.nodes import ADDRESS
from benchmarks.probe import CROWD, HOME
from wazuh_cluster.config import loadConfig
from wazuh_cluster.home import Home
from wazuh_cluster.integrity import DirectoryTree
from wazuh_cluster.model import NodeName
from wazuh_cluster.testing.filesystem import MemoryFileSystem
from wazuh_cluster.testing.runner import ImmediateRunner
from wazuh_cluster.testing.state import MemoryState
from wazuh_cluster.trust import ClusterKey
from wazuh_cluster.worker import WorkerService

#: Seconds from one worker's start to the next, and between two keep-alives.
_APART = 0.02
_KEEP_ALIVE = 10.0

_log = Logger()


class Crowd(Service):
    """
    The workers. Each has a home in memory, and looks at it once.
    """

    def __init__(self, size: int) -> None:
        config = loadConfig(Home(os.environ[HOME]).conf, home=os.environ[HOME])
        self._key = ClusterKey(config.key)
        self._port = config.port
        self._size = size
        self._numbers = iter(range(size))
        self._workers: list[WorkerService] = []
        self._joined = count(1)
        self._heard = 0

    def startService(self) -> None:
        """
        Begin, one worker after the other.
        """
        super().startService()
        self._next()

    def _next(self) -> None:
        number = next(self._numbers, None)
        if number is None:
            return
        worker = self._make(number)
        self._workers.append(worker)
        worker.startService()
        worker.whenJoined().addCallbacks(self._came, self._failed)
        reactor.callLater(_APART, self._next)

    def _make(self, number: int) -> WorkerService:
        files = MemoryFileSystem(reactor)
        files.makeFolders(b"/home/queue/wazuh_cluster")
        worker = WorkerService(
            reactor,
            NodeName(f"worker-{number:05d}"),
            self._key,
            TCP4ClientEndpoint(reactor, ADDRESS, self._port),
            DirectoryTree(b"/home", fileSystem=files),
            state=MemoryState(),
            runner=lambda name: ImmediateRunner(),
            keepAliveInterval=_KEEP_ALIVE,
            integrityInterval=86400.0,
            wazuhStarts=lambda: (),
        )
        # They hear of a change, and need not do what follows: that is others'.
        worker.integrity.changed = self._hears  # type: ignore[method-assign]
        return worker

    def _came(self, master: object) -> None:
        if next(self._joined) == self._size:
            _log.info("The crowd is there: {size} workers.", size=self._size)

    def _failed(self, failure: Failure) -> None:
        _log.failure("A worker did not join", failure)

    def _hears(self) -> None:
        self._heard += 1
        if self._heard % self._size == 0:
            _log.info("The crowd has heard.")

    def stopService(self) -> Deferred[None] | None:
        """
        The process ends, and its links with it.
        """
        super().stopService()
        return None


application = Application("crowd")
Crowd(int(os.environ[CROWD])).setServiceParent(application)
