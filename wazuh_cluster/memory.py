"""
The daemon's memory: how glibc keeps what is freed, and giving back what a
burst left.

For the daemon only: a library does not touch its process's allocator. Where
the C library is another one, nothing here does anything.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable

from wazuh_cluster.journal import MAIN, Journal

#: Growth, in bytes, from which on memory is looked through and given back.
GROWTH = 8 * 1024 * 1024

#: Seconds between two looks.
INTERVAL = 5.0

#: How many looks are left out at most when giving back did not help.
_LONGEST_PAUSE = 7

_PAGE = 4096

# The names of mallopt(3). A chunk of a transfer is taken and freed thousands
# of times a second: by default glibc hands it to the system and asks for it
# again each time, which costs a third of a link's speed.
_OPTIONS = (
    (-1, 16 * 1024 * 1024),  # M_TRIM_THRESHOLD
    (-2, 1024 * 1024),  # M_TOP_PAD
    (-3, 4 * 1024 * 1024),  # M_MMAP_THRESHOLD
    (-8, 2),  # M_ARENA_MAX: a node's threads take turns.
)


def tuneAllocator() -> bool:
    """
    Set how glibc keeps freed memory.

    @return: whether this is glibc.
    """
    mallopt = _find("mallopt")
    if mallopt is None:
        return False
    for option, value in _OPTIONS:
        mallopt(option, value)
    return True


def residentSize() -> int:
    """
    The process's resident memory, in bytes; 0 where the system does not say.
    """
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def giveBack() -> None:
    """
    Free what only cycles hold, and give free pages to the system.
    """
    gc.collect()
    trim = _find("malloc_trim")
    if trim is not None:
        trim(0)


class Housekeeper:
    """
    Gives memory back when it has grown: connections of strangers and the like
    leave cycles and holes behind. Where that did not help, because what has
    grown is in use, it is tried again later: it may not be in use for ever.
    """

    def __init__(
        self,
        size: Callable[[], int] = residentSize,
        giveBack: Callable[[], None] = giveBack,
        growth: int = GROWTH,
    ) -> None:
        self._size = size
        self._giveBack = giveBack
        self._growth = growth
        self._least: int | None = None
        self._pause = 0
        self._skip = 0
        self._log = Journal(MAIN)

    def look(self) -> str | None:
        """
        One look.

        @return: what came of it, for people; C{None} for nothing.
        """
        before = self._size()
        if self._least is None:
            self._least = before
        if before < self._least + self._growth:
            self._least = min(self._least, before)
            self._pause = self._skip = 0
            return None
        if self._skip:
            self._skip -= 1
            return None
        self._giveBack()
        after = self._size()
        helped = after < self._least + self._growth
        self._pause = 0 if helped else min(2 * self._pause + 1, _LONGEST_PAUSE)
        self._skip = self._pause
        self._least = min(self._least, after)
        self._log.debug("Memory: {before} bytes, {after} after.", before=before, after=after)
        return f"{before} to {after} bytes"


def _find(name: str) -> Callable[..., int] | None:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
    found: Callable[..., int] = function
    return found
