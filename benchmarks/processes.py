"""
What the system says of a process: memory and processor time.
"""

from __future__ import annotations

import os

from attrs import frozen


@frozen
class Memory:
    """
    A process's memory, in bytes.

    @ivar resident: C{VmRSS}: what is in memory now.
    @ivar peak: C{VmHWM}: the most that ever was.
    @ivar proportional: C{Pss}: like resident, but pages that several processes
        share are divided between them; C{None} where the system does not say.
    """

    resident: int
    peak: int
    proportional: int | None


def memoryOf(pid: int) -> Memory:
    """
    The memory of a process that runs.
    """
    status = _fields(f"/proc/{pid}/status")
    try:
        proportional: int | None = _fields(f"/proc/{pid}/smaps_rollup")["Pss"]
    except (OSError, KeyError):
        proportional = None
    return Memory(status["VmRSS"], status["VmHWM"], proportional)


def forgetPeak(pid: int) -> None:
    """
    Let the peak of a process's memory begin anew with what it is now.
    """
    with open(f"/proc/{pid}/clear_refs", "wb") as file:
        file.write(b"5")


def processorTimeOf(pid: int) -> float:
    """
    Seconds of a core that the threads of a process have used so far.
    """
    spent = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat", "rb") as file:
                spent += int(file.read().split()[0])
        except FileNotFoundError:
            continue
    return spent / 1e9


def _fields(path: str) -> dict[str, int]:
    """
    The lines C{Name: number kB} of a file, in bytes.
    """
    found: dict[str, int] = {}
    with open(path, encoding="ascii", errors="replace") as file:
        for line in file:
            name, _, rest = line.partition(":")
            words = rest.split()
            if len(words) == 2 and words[1] == "kB":
                found[name] = int(words[0]) * 1024
    return found
