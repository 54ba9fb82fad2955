"""
The clock that nobody sets: seconds since the system was started.
"""

from __future__ import annotations

import time

# CLOCK_MONOTONIC stands still while a machine sleeps. What was heard before
# that would look newer afterwards than what others heard meanwhile.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def uptime() -> float:
    """
    Seconds since the system was started, those counted in which it slept. No
    change of the date moves it, and all processes have the same.
    """
    return time.clock_gettime(_CLOCK)


def bootId(path: str = _BOOT_ID) -> str:
    """
    What tells this start of the system from every other: L{uptime}s can be
    compared only within one. Blocks.

    @return: C{""} where the system does not say.
    """
    try:
        with open(path, encoding="ascii") as file:
            return file.read(64).strip()
    except (OSError, ValueError):
        return ""
