"""
What a measured node has besides what it always has: an observer that writes its
log events to a file with exact times, and checks on demand.

Nothing here changes what a node does.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from typing import IO, Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.agents import ACTIVE, AgentRecord
from wazuh_cluster.model import RunRecord
from wazuh_cluster.uptime import uptime
from wazuh_cluster.worker import WorkerService

#: Names of environment variables.
EVENTS = "WAZUH_CLUSTER_BENCHMARK_EVENTS"
HOME = "WAZUH_CLUSTER_BENCHMARK_HOME"
ROLE = "WAZUH_CLUSTER_BENCHMARK_ROLE"
CROWD = "WAZUH_CLUSTER_BENCHMARK_CROWD"
QUIET = "WAZUH_CLUSTER_BENCHMARK_QUIET"

#: What makes a checked worker look at its integrity now.
CHECK_NOW = signal.SIGUSR2

#: How many keep-alives are told at once.
KEEP_ALIVES = 10_000


@implementer(ILogObserver)
class EventFile:
    """
    Writes each event as one line of JSON: its time in seconds since the epoch,
    its level and its text.
    """

    def __init__(self, file: IO[str], quiet: bool = False) -> None:
        """
        @param quiet: whether debug lines are left out.
        """
        self._file = file
        self._quiet = quiet

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level")
        if self._quiet and level is LogLevel.debug:
            return
        text = formatEvent(event)
        failure = event.get("log_failure")
        if isinstance(failure, Failure):
            text += f"\n{failure.getTraceback()}"
        line = {
            "time": event["log_time"],
            "level": None if level is None else level.name,
            "text": text,
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def observer() -> EventFile:
    """
    For C{twistd --logger}.
    """
    return EventFile(open(os.environ[EVENTS], "a", encoding="utf-8"), QUIET in os.environ)


class Checks(Service):
    """
    Runs a worker's thread Integrity whenever the process gets L{CHECK_NOW}, and
    logs how long that took.
    """

    def __init__(self, reactor: Any, worker: WorkerService) -> None:
        self._reactor = reactor
        self._worker = worker
        self._log = Logger()

    def startService(self) -> None:
        """
        Listen to the signal.
        """
        super().startService()
        signal.signal(CHECK_NOW, lambda *_: self._reactor.callFromThread(self._check))

    def _check(self) -> None:
        thread = self._worker.threads.get("Integrity")
        if thread is None:
            self._log.error("There is no link: nothing was checked.")
        else:
            thread.runNow().addCallbacks(self._checked, self._failed)

    def _checked(self, record: RunRecord) -> None:
        self._log.info(
            "Checked in {seconds:.6f}s: {result}",
            seconds=record.duration,
            result=record.failure or record.result,
        )

    def _failed(self, failure: Failure) -> None:
        self._log.failure("The check did not end", failure)


class KeepAlives(Service):
    """
    Lets a worker hear keep-alives of its first agents whenever the process gets
    L{CHECK_NOW}, and logs how long it took to tell the master.
    """

    def __init__(self, reactor: Any, worker: WorkerService) -> None:
        self._reactor = reactor
        self._worker = worker
        self._log = Logger()

    def startService(self) -> None:
        """
        Listen to the signal.
        """
        super().startService()
        signal.signal(CHECK_NOW, lambda *_: self._reactor.callFromThread(self._hear))

    def _hear(self) -> None:
        Deferred.fromCoroutine(self._tell()).addErrback(
            lambda failure: self._log.failure("Nothing was told", failure)
        )

    async def _tell(self) -> None:
        source: Any = self._worker.agents.source
        thread = self._worker.threads["Agent info"]
        heard = uptime()
        await source.report(
            AgentRecord(agent, ACTIVE, heard) for agent in range(1, KEEP_ALIVES + 1)
        )
        record = await thread.runNow()
        self._log.info(
            "Told in {seconds:.6f}s: {result}",
            seconds=record.duration,
            result=record.failure or record.result,
        )


def workerOf(service: IService) -> WorkerService:
    """
    The worker in what C{makeService} made.
    """
    worker = service.getServiceNamed("worker")  # type: ignore[attr-defined]
    assert isinstance(worker, WorkerService)
    return worker


def plainEnvironment(checkout: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """
    An environment in which a process finds the packages in a checkout; and
    keeps their bytecode, as an installed package has it.
    """
    before = environment.get("PYTHONPATH")
    path = f"{checkout}{os.pathsep}{before}" if before else checkout
    plain = {**environment, "PYTHONPATH": path}
    plain.pop("PYTHONDONTWRITEBYTECODE", None)
    return plain


def nodeEnvironment(environment: Mapping[str, str], checkout: str, events: str) -> dict[str, str]:
    """
    An environment in which a process finds the package, its plugin and this
    module in a checkout.
    """
    return {**plainEnvironment(checkout, environment), EVENTS: events}
