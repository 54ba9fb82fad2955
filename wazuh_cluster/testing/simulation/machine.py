"""
A machine of a simulated cluster: a disk that stays, and processes that come and
go.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.interfaces import IReactorTime

from wazuh_cluster.home import FOLDERS
from wazuh_cluster.model import MASTER, WORKER, NodeName
from wazuh_cluster.testing.simulation.disk import SimDisk
from wazuh_cluster.testing.simulation.process import HOME, SimProcess

if TYPE_CHECKING:
    from wazuh_cluster.testing.simulation.clock import SimClock
    from wazuh_cluster.testing.simulation.cluster import SimCluster

#: The wall clock at the beginning of a simulation.
EPOCH = 1_800_000_000.0

#: How many seconds a slice takes on disks that are well, of several kinds.
_PACES = (0.0005, 0.0005, 0.003, 0.02)

#: How much too fast or too slow machines' clocks go at most, and for how many seconds a
#: machine has been running at the beginning.
_RATE = 1e-4
_UP = 10_000.0

#: After how many seconds a node that could not start is started again.
SUPERVISION = 5.0


class WallClock:
    """
    A machine's wall clock.

    @ivar skew: how far it is off, in seconds.
    """

    def __init__(self, clock: SimClock, skew: float) -> None:
        self.skew = skew
        self._clock = clock

    def seconds(self) -> float:
        """
        What it shows, in seconds since the epoch.
        """
        return EPOCH + self._clock.seconds() + self.skew


class SimMachine:
    """
    One machine and its node.

    @ivar name: its host on the network.
    @ivar nodeName: its node's.
    @ivar role: C{master} or C{worker}.
    @ivar disk: its disk.
    @ivar process: its node's process; C{None} while there is none.
    @ivar wall: its wall clock.
    @ivar pace: how many seconds a slice of blocking work takes.
    @ivar usualPace: the same while its disk is well.
    @ivar failures: what its disk answers: error numbers, and how likely each is.
    @ivar transient: whether it is no part of the cluster that has to heal.
    @ivar intervals: a worker's that are not the usual ones.
    """

    def __init__(
        self,
        cluster: SimCluster,
        name: str,
        role: str,
        random: Random,
        nodeName: str | None = None,
    ) -> None:
        """
        @param nodeName: the node's, if that is not the machine's.
        """
        self.cluster = cluster
        self.name = name
        self.nodeName = NodeName(nodeName or name)
        self.role = role
        self.random = random
        self.process: SimProcess | None = None
        self.wall = WallClock(cluster.clock, random.uniform(-30.0, 30.0))
        self.pace = self.usualPace = random.choice(_PACES)
        self.failures: dict[int, float] = {}
        self.transient = False
        self.intervals: dict[str, float] = {}
        self.disk: SimDisk = SimDisk(cast(IReactorTime, self.wall), Random(random.random()))
        self._starts = 0
        self._boots = 0
        self._boot(_UP)
        self._hung: list[tuple[SimProcess, Callable[..., Any], tuple[Any, ...]]] | None = None
        self._dead: list[object] = []
        self.format()

    def wallClock(self) -> float:
        """
        What people here take for the time, in seconds since the epoch.
        """
        return self.wall.seconds()

    def uptime(self) -> float:
        """
        For how many seconds the system has been running, by its own clock.
        """
        return self.uptimeAt(self.cluster.clock.seconds())

    def uptimeAt(self, seconds: float) -> float:
        """
        What that clock shows at one of the world's times: less than nothing before
        the system was started.
        """
        return self._up + self._rate * (seconds - self._booted)

    def bootId(self) -> str:
        """
        What tells this start of the system from others.
        """
        return f"{self.name}-{self._boots}"

    def _boot(self, up: float) -> None:
        self._boots += 1
        self._booted = self.cluster.clock.seconds()
        # Chance of its own: what else befalls a seed does not change by it.
        random = Random(f"{self.bootId()} {self.wall.skew}")
        self._up = up * random.random()
        self._rate = 1.0 + random.uniform(-_RATE, _RATE)

    def path(self, relative: bytes) -> bytes:
        """
        The absolute path of something in the home.
        """
        return HOME + b"/" + relative

    @property
    def running(self) -> bool:
        """
        Whether there is a process.
        """
        return self.process is not None

    @property
    def isMaster(self) -> bool:
        """
        Whether its node is a master.
        """
        return self.role == MASTER

    @property
    def isWorker(self) -> bool:
        """
        Whether its node is a worker.
        """
        return self.role == WORKER

    def format(self) -> None:
        """
        Somebody installs Wazuh anew: the home is an empty one.
        """
        self.disk.makeFolders(HOME)
        self.disk.restore(HOME, {})
        for folder, mode in FOLDERS:
            self.disk.makeFolders(self.path(folder.encode("ascii")), mode)
        self.disk.put(self.path(b"etc/ossec.conf"), self.secret)
        self.disk.settle()

    @property
    def secret(self) -> bytes:
        """
        What its local configuration has, and nothing else on any machine.
        """
        return f"<the local configuration of {self.name}>".encode("ascii")

    # Processes.

    def start(self) -> None:
        """
        Start the node, unless it runs.
        """
        if self.process is not None:
            return
        self._starts += 1
        self.cluster.say(self.name, "starts")
        self.process = process = SimProcess(self, self._starts)
        self.cluster.network.back(self.name)
        process.enter(process.begin)

    def failed(self, error: Exception) -> None:
        """
        The node could not start. Somebody tries that again.
        """
        self.kill(f"cannot start: {error}")
        self.cluster.clock.callLater(SUPERVISION, self._startAgain)

    def _startAgain(self) -> None:
        if not self.cluster.ending:
            self.start()

    def kill(self, why: str = "is killed") -> None:
        """
        The process is killed, or dies; its system tells its peers.
        """
        self._end(why, told=True)

    def loseProcess(self, why: str) -> None:
        """
        The process is no more, and nobody is told.
        """
        self._end(why, told=False)
        self.cluster.network.silent[self.name] = None

    def losePower(self) -> None:
        """
        The machine loses its power: what was not synced may be lost, and nobody
        is told of it.
        """
        self.loseProcess("loses its power")
        self.disk.losePower()
        self._boot(0.0)
        for part in self.cluster.parts:
            part.lostPower(self)

    def stop(self) -> None:
        """
        The process is told to stop.
        """
        process = self.process
        if process is None or process.stopping is not None:
            return
        self.cluster.say(self.name, "is told to stop")
        process.enter(process.stop)

    def ended(self) -> None:
        """
        The process ended by itself.
        """
        self._end("has stopped", told=True)

    def _end(self, why: str, told: bool) -> None:
        process = self.process
        if process is None:
            return
        self.cluster.say(self.name, why)
        self.process = None
        process.dead = process.clock.dead = True
        self.cluster.network.frozen.pop(self.name, None)
        ends = self.cluster.network.kill(process, told)
        if process.stopping is None or not process.stopping.called:
            self.keep((process, ends))
        else:
            self.cluster.stopped.append(process)

    def keep(self, remains: object) -> None:
        """
        Keep what is left of a dead process until L{bury}: when Python cleans it
        up, parts of it run.
        """
        self._dead.append(remains)

    def bury(self) -> None:
        """
        Let go of what is left of dead processes.
        """
        self._dead.clear()
        self._hung = None

    def freeze(self) -> None:
        """
        The process does nothing for now, unless it is stopping.
        """
        if self.process is not None and self.process.stopping is None:
            self.process.freeze()
            self.cluster.network.frozen[self.name] = None

    def thaw(self) -> None:
        """
        It goes on.
        """
        self.cluster.network.frozen.pop(self.name, None)
        if self.process is not None:
            self.process.thaw()
        self.cluster.network.release()

    # Its disk.

    def failing(self, changes: bool) -> int | None:
        """
        The number with which an operation fails; C{None} if it does not.
        """
        for code, chance in self.failures.items():
            if (changes or code == errno.EIO) and self.random.random() < chance:
                return code
        return None

    def hang(self) -> None:
        """
        The disk answers nothing for now.
        """
        if self._hung is None:
            self._hung = []

    def unhang(self) -> None:
        """
        It answers.
        """
        hung, self._hung = self._hung or [], None
        for process, function, arguments in hung:
            process.later(self.random.random(), function, *arguments)

    def whenSliceEnds(
        self, process: SimProcess, function: Callable[..., Any], *arguments: Any
    ) -> None:
        """
        Call a function in a process when a slice that begins now ends.
        """
        if self._hung is not None:
            self._hung.append((process, function, arguments))
        else:
            process.later(self.pace, function, *arguments)
