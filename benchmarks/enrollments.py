"""
What a measured worker has besides what it always has: it enrolls agents on
demand. And who asks for it, in another process.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from benchmarks.nodes import TwistdProcess
from wazuh_cluster.agents import Registration
from wazuh_cluster.agents.clientkeys import formatAgent
from wazuh_cluster.enrollment import IEnroller
from wazuh_cluster.errors import EnrollmentRefused

#: What makes an enrolling worker read which agents there are to enroll.
ENROLL_NOW = signal.SIGUSR2

#: Names of files in a process's folder.
_NAMES = "names.json"
_ANSWERS = "answers.json"


class Enrollments(Service):
    """
    Enrolls the agents that a file names, all at once, whenever the process gets
    L{ENROLL_NOW}: by asking the master, as the listener does. The answers go to
    another file.
    """

    def __init__(self, reactor: Any, enroller: IEnroller, folder: str) -> None:
        self._reactor = reactor
        self._enroller = enroller
        self._folder = folder
        self._log = Logger()

    def startService(self) -> None:
        """
        Listen to the signal.
        """
        super().startService()
        signal.signal(ENROLL_NOW, lambda *_: self._reactor.callFromThread(self._begin))

    def _begin(self) -> None:
        Deferred.fromCoroutine(self._enroll()).addErrback(
            lambda failure: self._log.failure("Not all agents were enrolled", failure)
        )

    async def _enroll(self) -> None:
        with open(os.path.join(self._folder, _NAMES), encoding="utf-8") as file:
            names = json.load(file)
        answers: list[tuple[str, float]] = []

        async def enroll(name: str) -> None:
            enrolled = None
            while enrolled is None:
                # A master that is busy for too long refuses: agents ask again.
                with suppress(EnrollmentRefused):
                    enrolled = await self._enroller.enroll(Registration(name))
            answers.append((formatAgent(enrolled.agent).decode("ascii"), time.time()))

        began = time.monotonic()
        await gatherResults(
            [Deferred.fromCoroutine(enroll(name)) for name in names], consumeErrors=True
        )
        seconds = time.monotonic() - began
        with open(os.path.join(self._folder, _ANSWERS), "w", encoding="utf-8") as file:
            json.dump(answers, file)
        self._log.info("Enrolled {count} in {seconds:.6f}s", count=len(answers), seconds=seconds)


def ask(worker: TwistdProcess, names: Sequence[str]) -> int:
    """
    Let an enrolling worker enroll agents.

    @return: how many events its log had before.
    """
    with open(os.path.join(worker.folder, _NAMES), "w", encoding="utf-8") as file:
        json.dump(list(names), file)
    before = len(worker.events())
    worker.signal(ENROLL_NOW)
    return before


def answered(
    worker: TwistdProcess, patience: float, before: int
) -> tuple[float, dict[bytes, float]]:
    """
    Wait until they are enrolled.

    @param before: as L{ask} gave it.
    @return: how long all together took, in seconds; and the agents' lines in
        C{client.keys}, with when each was there for its agent, in seconds since
        the epoch.
    """
    match = worker.until("Enrolled [0-9]+ in ([0-9.]+)s", patience, before)
    with open(os.path.join(worker.folder, _ANSWERS), encoding="utf-8") as file:
        return float(match[1]), {line.encode("ascii"): when for line, when in json.load(file)}
