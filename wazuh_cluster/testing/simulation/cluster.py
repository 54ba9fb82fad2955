"""
A master and workers in one process, on one virtual clock, from one seed.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from twisted.application.service import IService
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.integrity import WAZUH_ITEMS, Items
from wazuh_cluster.interfaces import IClusterTrust, IWorkerObserver
from wazuh_cluster.model import MASTER, WORKER, Identity, MasterInfo, SyncReport
from wazuh_cluster.testing.simulation.clock import SimClock
from wazuh_cluster.testing.simulation.machine import SimMachine
from wazuh_cluster.testing.simulation.network import SimNetwork
from wazuh_cluster.testing.simulation.part import Part
from wazuh_cluster.testing.simulation.plaintrust import PlainTrust
from wazuh_cluster.testing.simulation.process import SimProcess
from wazuh_cluster.testing.simulation.trace import Trace

#: The most lines of a node's log in a minute: an operator must be able to read it.
MAX_LINES = 120

#: What Twisted logs before it logs a failure that nobody heard.
_FIRST_OF_TWO = "Unhandled error in Deferred:"


class Broken(AssertionError):
    """
    Something that must never be so is so.
    """


@implementer(IWorkerObserver)
class TracingObserver:
    """
    Tells the trace, and the cluster's parts, of a worker's life.
    """

    def __init__(self, process: SimProcess) -> None:
        self._process = process
        self._cluster = process.machine.cluster
        self._name = process.name

    def joined(self, master: MasterInfo) -> None:
        """
        See L{IWorkerObserver.joined}.
        """
        self._cluster.say(self._name, f"joined {master.name}")

    def synced(self, report: SyncReport) -> None:
        """
        See L{IWorkerObserver.synced}.
        """
        self._cluster.say(
            self._name,
            f"synced to {report.generation.number}: +{len(report.created)} "
            f"~{len(report.updated)} -{len(report.deleted)} !{len(report.failed)}",
        )
        for part in self._cluster.parts:
            part.synced(self._process, report)

    def lost(self, reason: Failure) -> None:
        """
        See L{IWorkerObserver.lost}.
        """
        cluster = self._cluster
        cluster.say(self._name, f"lost: {reason.getErrorMessage()}")
        if cluster.peaceful and not cluster.ending:
            cluster.broken(f"{self._name}: its link ended, and no fault befell")


def makeMaster(process: SimProcess) -> IService:
    """
    The service of a master, as a process begins.
    """
    # Imported here: whoever wants only a disk or a clock needs no roles.
    from wazuh_cluster.master import MasterService

    service: IService = MasterService(
        process.clock,
        process.nodeName,
        process.trust,
        process.ownEndpoint,
        process.tree,
        **process.masterKeywords,
    )
    return service


def makeWorker(process: SimProcess) -> IService:
    """
    The service of a worker, as a process begins.
    """
    from wazuh_cluster.worker import WorkerService

    service: IService = WorkerService(
        process.clock,
        process.nodeName,
        process.trust,
        process.masterEndpoint,
        process.tree,
        observer=TracingObserver(process),
        **process.workerKeywords,
    )
    return service


class SimCluster:
    """
    A cluster. It is a context: what was found wrong with it may come to light
    when it ends. Nothing happens but by L{run}.

    @ivar clock: virtual time.
    @ivar network: between the machines, each a host by its name.
    @ivar machines: by name; the master's is L{master}.
    @ivar parts: what it takes care of.
    @ivar items: what it carries.
    @ivar name: the cluster's.
    @ivar trace: what happened.
    @ivar problems: what must never be so, and was.
    @ivar current: the machine at which something happens right now; C{""} for none.
    @ivar watched: whether a master is told of changes by its system.
    @ivar watchers: are told of a process and the name of what begins to be under
        way in it.
    @ivar stopped: processes that ended by themselves.
    @ivar peaceful: whether no fault befalls in all its life.
    @ivar ending: whether nobody starts anything any more.
    """

    masterName = "hub"

    def __init__(
        self,
        seed: int,
        workers: int = 2,
        parts: Sequence[Part] = (),
        makeTrust: Callable[[Identity], IClusterTrust] = PlainTrust,
        makeMaster: Callable[[SimProcess], IService] = makeMaster,
        makeWorker: Callable[[SimProcess], IService] = makeWorker,
        items: Items = WAZUH_ITEMS,
        name: str = "sim",
    ) -> None:
        """
        @param seed: decides everything that is left to chance.
        @param makeTrust: what nodes trust by; L{PlainTrust} has no TLS.
        @param makeMaster: makes the service of a master's process.
        @param makeWorker: makes the service of a worker's process: an application
            that embeds a worker makes its own.
        """
        self.random = Random(seed)
        self.watched = Random(f"watched {seed}").random() < 0.5
        self.clock = SimClock()
        self.trace = Trace()
        self.problems: list[str] = []
        self.parts: tuple[Part, ...] = tuple(parts)
        self.makeTrust = makeTrust
        self.items = items
        self.name = name
        self.current = ""
        self.watchers: list[Callable[[SimProcess, str], None]] = []
        self.stopped: list[SimProcess] = []
        self.ending = False
        self.peaceful = False
        self.network = SimNetwork(self.clock, Random(self.random.random()), self.broken)
        self._make = {MASTER: makeMaster, WORKER: makeWorker}
        self._lines: dict[str, list[float]] = {}
        self.machines: dict[str, SimMachine] = {}
        self.addMachine(self.masterName, MASTER)
        for number in range(workers):
            self.addMachine(f"w{number + 1}", WORKER)
        for part in self.parts:
            part.attach(self)

    def addMachine(self, name: str, role: str, nodeName: str | None = None) -> SimMachine:
        """
        One machine more, which is not started.
        """
        machine = SimMachine(self, name, role, Random(self.random.random()), nodeName)
        self.machines[name] = machine
        self.network.secrets[name] = machine.secret
        return machine

    def makeService(self, process: SimProcess) -> IService:
        """
        The service that a new process runs.
        """
        return self._make[process.machine.role](process)

    @property
    def master(self) -> SimMachine:
        """
        The master's machine.
        """
        return self.machines[self.masterName]

    @property
    def workers(self) -> list[SimMachine]:
        """
        The workers' machines, but for those that are not there to stay.
        """
        return [each for each in self.machines.values() if each.isWorker and not each.transient]

    def say(self, node: str, text: str) -> None:
        """
        Note in the trace that something happened.
        """
        self.trace.add(self.clock.seconds(), node, text)

    def broken(self, text: str) -> None:
        """
        Note that something is so that must never be.
        """
        self.problems.append(text)
        self.say("", f"BROKEN: {text}")

    # Driving.

    def __enter__(self) -> SimCluster:
        # What is logged now is the simulated nodes', and nobody else's: neither a test
        # runner nor a daemon's log is to hear of their troubles.
        publisher: Any = globalLogPublisher
        self._observers, publisher._observers = publisher._observers, [self._logged]
        self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        # When garbage is collected must not depend on what was before; and what was
        # before need not be looked through at the end.
        self._collecting = gc.isenabled()
        gc.disable()
        gc.freeze()
        return self

    def __exit__(self, *reason: object) -> None:
        publisher: Any = globalLogPublisher
        try:
            for machine in self.machines.values():
                machine.kill()
            # What nobody looked after in processes that ended comes to light.
            self.stopped.clear()
            gc.collect()
            # What is left of those that died ends here, and not in the next cluster;
            # what Python then runs of it is not heard.
            publisher._observers = []
            sys.unraisablehook = lambda _: None
            for machine in self.machines.values():
                machine.bury()
            self.clock.clear()
            self.network.clear()
            gc.collect()
            # The rest goes as soon as nobody wants it, and need not be looked for.
            self.machines.clear()
            self.watchers.clear()
            self.parts = ()
        finally:
            publisher._observers = self._observers
            sys.unraisablehook = self._hook
            gc.unfreeze()
            if self._collecting:
                gc.enable()

    def start(self) -> None:
        """
        Start all nodes.
        """
        for machine in self.machines.values():
            machine.start()

    def run(self, seconds: float) -> None:
        """
        Let time go by.

        @raise Broken: as soon as something is noted by L{broken}.
        """
        step, problems = self.clock.step, self.problems
        until = self.clock.seconds() + seconds
        while step(until):
            if problems:
                break
        self.require()

    def require(self) -> None:
        """
        @raise Broken: if something was noted by L{broken}.
        """
        if self.problems:
            raise Broken(self.problems[0])

    def runUntil(self, condition: Callable[[], bool], seconds: float, every: float = 1.0) -> bool:
        """
        Let time go by until something is so.

        @param seconds: for how long at most.
        @param every: how often to look, in seconds.
        @return: whether it is.
        @raise Broken: as soon as something is noted by L{broken}.
        """
        until = self.clock.seconds() + seconds
        while not condition():
            if self.clock.seconds() >= until:
                return False
            self.run(min(every, until - self.clock.seconds()))
        return True

    # What is heard of it.

    def _logged(self, event: LogEvent) -> None:
        level = event.get("log_level")
        if level is None or level < LogLevel.info:
            return
        line = formatEvent(event).partition("\n")[0]
        failure = event.get("log_failure")
        if event.get("log_namespace") == "wazuh_cluster":
            self.say(self.current, f"{level.name}: {line}")
            self._count()
        if level >= LogLevel.critical and line != _FIRST_OF_TWO:
            what = "" if failure is None else f": {failure.getTraceback()}"
            # What Twisted logs second of it has no text.
            self.broken(f"{self.current}: {line or 'a Deferred failed unheard'}{what}")

    def _count(self) -> None:
        lines = self._lines.setdefault(self.current, [])
        now = self.clock.seconds()
        lines.append(now)
        if len(lines) > MAX_LINES:
            if now - lines[0] < 60.0:
                self.broken(f"{self.current}: {MAX_LINES} lines of log in a minute")
                lines.clear()
            else:
                del lines[0]

    def _unraisable(self, what: Any) -> None:
        self.broken(f"what nobody could catch: {what.exc_value!r} in {what.object!r}")
