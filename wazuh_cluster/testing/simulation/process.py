"""
A process of a simulated cluster: one life of a node, from its start to its end.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from functools import partial
from traceback import format_exc
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from wazuh_cluster.errors import BadInput
from wazuh_cluster.integrity import DirectoryTree, Outcome, Plan, Staging
from wazuh_cluster.interfaces import Slices
from wazuh_cluster.model import Identity
from wazuh_cluster.protocol import Limits
from wazuh_cluster.state import DirectoryState
from wazuh_cluster.testing.simulation.clock import ProcessClock, SimCall
from wazuh_cluster.testing.simulation.disk import ProcessDisk
from wazuh_cluster.testing.simulation.runner import MAX_OPERATIONS, SimRunner
from wazuh_cluster.testing.simulation.underway import UnderWay, WatchedTrust
from wazuh_cluster.testing.simulation.watcher import SimWatcher

if TYPE_CHECKING:
    from wazuh_cluster.testing.simulation.machine import SimMachine

#: A small window, so that files need not be large to be more than one.
LIMITS = Limits(window=256 * 1024)

#: What each process is said to have in memory: the real number is chance.
MEMORY = 64 * 1024 * 1024

#: The name of an installation that is under way.
INSTALL = "install"

#: The home on every machine.
HOME = b"/var/ossec"

#: Within how many seconds a node that is told to stop is gone, whatever hangs.
STOP_BOUND = 3.0


class ProcessDied(BaseException):
    """
    A process dies at this moment: nothing in it may catch this.
    """


class SimTree(DirectoryTree):
    """
    A node's tree, of which the cluster's parts hear what is installed.
    """

    def __init__(self, process: SimProcess) -> None:
        machine = process.machine
        super().__init__(
            HOME,
            items=machine.cluster.items,
            fileSystem=process.disk,
            wallClock=machine.wallClock,
            randomBytes=process.randomBytes,
        )
        self._process = process

    def install(
        self, plan: Plan, staging: Staging, reasons: Mapping[bytes, str] | None = None
    ) -> Slices[Outcome]:
        """
        See L{DirectoryTree.install}.
        """
        parts = self._process.machine.cluster.parts
        self._process.installing = True
        self._process.doing(INSTALL)
        for part in parts:
            part.installing(self._process, plan)
        try:
            outcome = yield from super().install(plan, staging, reasons)
        finally:
            self._process.installing = False
        for part in parts:
            part.installed(self._process, plan, outcome)
        return outcome


class SimProcess:
    """
    One process. What happens in it goes through L{enter}; what it does to its
    disk, through L{operating}.

    @ivar number: the machine had so many processes before.
    @ivar name: the machine's.
    @ivar nodeName: the node's.
    @ivar clock: its monotonic clock, which is its reactor.
    @ivar disk: its file system.
    @ivar tree: the carried files.
    @ivar state: what outlives it.
    @ivar trust: whom it trusts.
    @ivar underWay: what is under way on its links.
    @ivar service: what it runs.
    @ivar dead: whether it is no more.
    @ivar stopping: fires when it has stopped; C{None} unless it was told to.
    @ivar killAt: it dies at the file operation of this number.
    @ivar killAfter: it dies after so many events; C{None} for never.
    @ivar operations: file operations so far.
    @ivar installing: whether an installation is under way.
    @ivar refused: whether the disk refused anything, or may have.
    @ivar syncFailed: whether it refused to make something durable.
    """

    def __init__(self, machine: SimMachine, number: int) -> None:
        """
        @param number: the machine had so many processes before.
        """
        cluster, random = machine.cluster, machine.random
        self.machine = machine
        self.number = number
        self.name = machine.name
        self.nodeName = machine.nodeName
        self.randomBytes = random.randbytes
        # Its clock is not the one of the process before, and no two are equal.
        rate = 1.0 + random.uniform(-1e-3, 1e-3)
        self.clock = ProcessClock(cluster.clock, 1000.0 * number, rate, self.enter)
        self.disk: ProcessDisk = ProcessDisk(machine.disk, self)
        self.tree = SimTree(self)
        self.state = DirectoryState(self.disk, HOME + b"/queue/wazuh_cluster", sweeps=True)
        self.underWay = UnderWay(self.clock, self.doing)
        identity = Identity(cluster.name, machine.role, machine.nodeName)
        self.trust = WatchedTrust(cluster.makeTrust(identity), self.underWay)
        self.dead = False
        self.stopping: Deferred[Any] | None = None
        self.killAt: int | None = None
        self.killAfter: int | None = None
        self.operations = 0
        self.installing = False
        self.refused = False
        self.syncFailed = False
        self._dying = False
        self._mayBlock = False
        self._sliceBegan = 0
        self._touched: bytes | None = None
        self._frozen: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] | None = None
        self._given: dict[str, Any] | None = None
        self.service: Any = cluster.makeService(self)
        self._addServices()

    # What a service is made with.

    @property
    def masterEndpoint(self) -> IStreamClientEndpoint:
        """
        Where the master is.
        """
        cluster = self.machine.cluster
        return cluster.network.clientOf(self, cluster.masterName)

    @property
    def ownEndpoint(self) -> IStreamServerEndpoint:
        """
        Where a master listens.
        """
        return self.machine.cluster.network.serverOf(self)

    def makeRunner(self, name: str) -> SimRunner:
        """
        Where blocking work runs.
        """
        return SimRunner(self, name)

    @property
    def keywords(self) -> dict[str, Any]:
        """
        The collaborators that both services take as keywords, with what the
        cluster's parts give.
        """
        machine = self.machine
        if self._given is None:
            self._given = {}
            for part in machine.cluster.parts:
                self._given.update(part.keywords(self))
        return {
            "cluster": machine.cluster.name,
            "state": self.state,
            "runner": self.makeRunner,
            "wallClock": machine.wallClock,
            "uptime": machine.uptime,
            "random": self.randomBytes,
            "limits": LIMITS,
            "memory": lambda: MEMORY,
            **self._given,
        }

    @property
    def masterKeywords(self) -> dict[str, Any]:
        """
        The same for a master.
        """
        machine = self.machine
        watcher = SimWatcher(self, HOME) if machine.cluster.watched else None
        return {
            **self.keywords,
            "bootId": machine.bootId,
            "hostName": self.name,
            "watcher": watcher,
        }

    @property
    def workerKeywords(self) -> dict[str, Any]:
        """
        The same for a worker.
        """
        machine = self.machine
        random = machine.random
        return {
            **self.keywords,
            "jitter": lambda: random.uniform(0.0, 0.5),
            "wazuhStarts": lambda: (),
            **machine.intervals,
        }

    @property
    def node(self) -> Any:
        """
        The node's own service: what it runs, or the part of it that is called
        C{worker} or C{master}; C{None} if there is none.
        """
        service: Any = self.service
        role = self.machine.role
        if service.name == role or not isinstance(service, MultiService):
            return service
        return next((each for each in service.services if each.name == role), None)

    def _addServices(self) -> None:
        node = self.node
        more = [each for part in self.machine.cluster.parts for each in part.services(self, node)]
        if not more:
            return
        service = self.service
        if service is node or not isinstance(service, MultiService):
            self.service = MultiService()
            service.setServiceParent(self.service)
        for each in more:
            each.setServiceParent(self.service)

    # Living.

    def enter(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """
        Let something happen in this process, unless it is dead.

        @return: what the function returns; C{None} if it did not.
        """
        if self.dead:
            self.machine.keep((function, arguments, keywords))
            return None
        if self._frozen is not None:
            self._frozen.append((function, arguments, keywords))
            return None
        if self.killAfter is not None:
            self.killAfter -= 1
            if self.killAfter < 0:
                self.machine.kill("dies")
                return None
        cluster = self.machine.cluster
        before, cluster.current = cluster.current, self.name
        try:
            return function(*arguments, **keywords)
        except ProcessDied:
            return None
        except Exception:
            # A reactor logs it and goes on; nothing here may need that.
            self.broken(f"what a reactor calls failed: {format_exc()}")
            return None
        finally:
            cluster.current = before
            if self._touched is not None:
                self._look()
            if self._dying and not self.dead:
                self.machine.kill("dies at a file operation")

    def later(self, delay: float, function: Callable[..., Any], *arguments: Any) -> SimCall:
        """
        Let something happen in this process after some of the world's seconds.
        """
        return self.machine.cluster.clock.callLater(delay, self.enter, function, *arguments)

    def begin(self) -> None:
        """
        What happens first.
        """
        service: IService = self.service
        self._mayBlock = True
        try:
            service.privilegedStartService()
            service.startService()
        except (OSError, BadInput) as error:
            # As the daemon does: it ends, and somebody starts it again.
            self.machine.failed(error)
        finally:
            self._mayBlock = False

    def stop(self) -> None:
        """
        What happens when it is told to stop.
        """
        self.stopping = maybeDeferred(self.service.stopService)
        self.stopping.addBoth(lambda _: self.later(0.0, self._stopped))
        self.later(STOP_BOUND, self.broken, f"it did not stop within {STOP_BOUND:g} s")

    def _stopped(self) -> None:
        cluster = self.machine.cluster
        for part in cluster.parts:
            part.stopped(self)
        left = [str(call) for call in cluster.clock.callsOf(self.clock)]
        if left:
            self.broken(f"calls are left behind after a stop: {', '.join(left)}")
        if cluster.network.endsOf(self):
            self.broken("connections are left behind after a stop")
        self.machine.ended()

    def freeze(self) -> None:
        """
        Nothing happens in it for now.
        """
        if self._frozen is None:
            self._frozen = []
            self.clock.freeze()

    def thaw(self) -> None:
        """
        What should have happened meanwhile happens.
        """
        frozen, self._frozen = self._frozen or [], None
        # As a reactor does: first what is due, then what came.
        self.clock.thaw()
        for function, arguments, keywords in frozen:
            self.later(0.0, partial(function, **keywords), *arguments)

    def doing(self, what: str) -> None:
        """
        Something is under way now: a command, or an installation.
        """
        for watcher in self.machine.cluster.watchers:
            watcher(self, what)

    def broken(self, text: str) -> None:
        """
        Something is so in this process that must never be.
        """
        self.machine.cluster.broken(f"{self.name}: {text}")

    # What it does to its disk.

    def beginSlice(self) -> None:
        """
        A slice of blocking work begins: the process is off its reactor's thread.
        """
        self._mayBlock = True
        self._sliceBegan = self.operations

    def endSlice(self) -> None:
        """
        It ended.
        """
        self._mayBlock = False
        done = self.operations - self._sliceBegan
        if done > MAX_OPERATIONS:
            self.broken(f"{done} file operations in one slice")

    def operating(self, operation: str, path: bytes, changes: bool) -> None:
        """
        A file operation begins: it may fail, or be the process's last.
        """
        if self._touched is not None:
            self._look()
        if self.dead or self._dying:
            self._die()
        self.operations += 1
        if self.killAt is not None and self.operations >= self.killAt:
            self._die()
        if not self._mayBlock:
            self.broken(f"{operation} of {path!r} on the reactor's thread")
        machine = self.machine
        if changes and machine.disk.readOnly:
            self.refused = True
            raise OSError(errno.EROFS, "Read-only file system")
        if machine.failures:
            code = machine.failing(changes)
            if code is not None:
                self.refused = True
                self.syncFailed = self.syncFailed or "sync" in operation
                raise OSError(code, errno.errorcode[code])
        if changes:
            # Where there is too little room, it may refuse this.
            self.refused = self.refused or machine.disk.free is not None
            self._touched = path
            machine.disk.version += 1
            machine.disk.watcher(path)

    def _die(self) -> None:
        self._dying = True
        if self.dead:
            # What Python cleans up of it.
            raise OSError(errno.EIO, "this process is dead")
        raise ProcessDied

    def _look(self) -> None:
        """
        Have observers look at what the last operation did.
        """
        path, self._touched = self._touched, None
        assert path is not None
        for part in self.machine.cluster.parts:
            part.touched(self, path)
