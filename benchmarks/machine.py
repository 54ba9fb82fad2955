"""
The machine: what it is, and whether somebody else used it during a run.
"""

from __future__ import annotations

import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable

import cryptography
import OpenSSL
from attrs import define, field, frozen

import twisted

#: What others may use of all cores before a run counts as disturbed, and what
#: the hypervisor may take away.
BUSY = 0.10
STOLEN = 0.02

_IDLE = 3, 4
_STEAL = 7


def describeMachine() -> str:
    """
    Cores, processor, system and versions in one line.
    """
    model = platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return (
        f"{os.cpu_count()} x {model}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, Twisted {twisted.__version__}, "
        f"cryptography {cryptography.__version__}, pyOpenSSL {OpenSSL.__version__}"
    )


@frozen
class _Sample:
    """
    The system's clocks, in seconds of one core since some time.
    """

    total: float
    used: float
    stolen: float
    own: float

    @classmethod
    def take(cls, living: float) -> _Sample:
        with open("/proc/stat", "rb") as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]
        rate = os.sysconf("SC_CLK_TCK")
        total = sum(ticks) / rate
        idle = sum(ticks[n] for n in _IDLE) / rate
        stolen = ticks[_STEAL] / rate
        own = living + sum(
            usage.ru_utime + usage.ru_stime
            for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )
        return cls(total, total - idle - stolen, stolen, own)


@define
class Disturbance:
    """
    What others took of this machine while a C{with} block ran. Processes that
    the block starts must have ended when it does, or be among C{living}.

    The kernel's own work for us, such as writing to the disk, counts as
    others'.

    @ivar others: parts of all cores, from 0 to 1, for each block.
    @ivar stolen: likewise, what the hypervisor took.
    @ivar load: the system's load average of one minute after each block.
    @ivar creation: microseconds that an empty file took to be made before each
        block: many times more than usual for minutes after a mass deletion,
        whoever's that was.
    @ivar living: give the processor time of processes of ours that live longer
        than a block.
    """

    others: list[float] = field(factory=list)
    stolen: list[float] = field(factory=list)
    load: list[float] = field(factory=list)
    creation: list[float] = field(factory=list)
    living: list[Callable[[], float]] = field(factory=list)
    _began: list[_Sample] = field(factory=list)

    def __enter__(self) -> Disturbance:
        self._began.append(_Sample.take(self._ownLiving()))
        return self

    def __exit__(self, *reason: object) -> None:
        before, after = self._began.pop(), _Sample.take(self._ownLiving())
        elapsed = max(after.total - before.total, 1e-9)
        used = after.used - before.used - (after.own - before.own)
        self.others.append(min(1.0, max(0.0, used / elapsed)))
        self.stolen.append(max(0.0, (after.stolen - before.stolen) / elapsed))
        self.load.append(os.getloadavg()[0])

    def _ownLiving(self) -> float:
        return sum(each() for each in self.living)

    def describe(self) -> str:
        """
        One line, which begins with whether the figures are to be trusted.
        """
        disturbed = sum(
            other > BUSY or stolen > STOLEN
            for other, stolen in zip(self.others, self.stolen, strict=True)
        )
        state = "The machine was quiet"
        if disturbed:
            state = f"THE MACHINE WAS BUSY in {disturbed} of {len(self.others)} runs"
        return (
            f"{state}: others used up to {max(self.others):.0%} of all cores (the kernel's "
            f"writing for us included), {max(self.stolen):.0%} stolen, load up to "
            f"{max(self.load):.1f}{self._creationSaid()}."
        )

    def _creationSaid(self) -> str:
        if not self.creation:
            return ""
        low, high = min(self.creation), max(self.creation)
        return f"; to make an empty file took {low:.0f} to {high:.0f} µs"

    def toJSON(self) -> dict[str, object]:
        """
        The same for programs.
        """
        return {
            "others": self.others,
            "stolen": self.stolen,
            "load": self.load,
            "creation": self.creation,
        }


def creationCost(folder: str, files: int = 200) -> float:
    """
    How long an empty file takes to be made in a new folder, in microseconds.
    """
    place = tempfile.mkdtemp(prefix="creation-", dir=folder)
    began = time.perf_counter()
    for number in range(files):
        os.close(os.open(os.path.join(place, str(number)), os.O_WRONLY | os.O_CREAT, 0o600))
    return (time.perf_counter() - began) / files * 1e6


def settle(folder: str, seconds: float) -> None:
    """
    Have the disk take what waits for it, and let a moment pass.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        syncFileSystem(descriptor)
    finally:
        os.close(descriptor)
    time.sleep(seconds)


def syncFileSystem(descriptor: int) -> None:
    """
    C{syncfs} where Python has it, else all file systems.
    """
    own = getattr(os, "syncfs", None)
    if own is None:
        os.sync()
    else:
        own(descriptor)
