"""
Contents that could not be had, and that are therefore not asked for at each
look: a large file for which there is no room, or that the master cannot read,
would else travel for nothing again and again.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

#: For how many seconds a content is left alone after the first failure, beside
#: those that it may take to travel; twice as long after each further one.
FIRST_DELAY = 2.0

#: The most of that.
LONGEST_DELAY = 60.0

#: At how many bytes a second a content may travel.
_PACE = 32 * 1024 * 1024


@frozen
class _Failure:
    """
    @ivar why: one line.
    @ivar delay: for how long the content is left alone.
    @ivar due: when that is over.
    @ivar noRoom: whether it is the worker's own disk that did not take it.
    @ivar full: whether the disk had no room for it as far as it told.
    """

    why: str
    delay: float
    due: float
    noRoom: bool
    full: bool


class Postponed:
    """
    What one worker leaves alone for now, by digest.
    """

    def __init__(self) -> None:
        self._failures: dict[bytes, _Failure] = {}

    def failed(
        self, digest: bytes, why: str, size: int, now: float, full: bool | None = None
    ) -> None:
        """
        A content could not be had.

        @param why: one line.
        @param size: of the whole content.
        @param full: whether the worker's disk has no room for it, as far as it
            tells, if it is that which refused it; else C{None}.
        """
        before = self._failures.get(digest)
        delay = 2 * before.delay if before is not None else FIRST_DELAY + size / _PACE
        # Where the disk tells that there is no room, it also tells when there is.
        delay = LONGEST_DELAY if full else min(delay, LONGEST_DELAY)
        self._failures[digest] = _Failure(why, delay, now + delay, full is not None, bool(full))

    def why(self, digest: bytes, size: int, now: float, room: Callable[[], int]) -> str | None:
        """
        Why a content is not asked for now; C{None} if it is.

        @param room: how many bytes the worker's disk takes, as far as it tells.
        """
        failure = self._failures.get(digest)
        if failure is None or failure.due <= now or (failure.full and room() >= size):
            return None
        return failure.why

    def __len__(self) -> int:
        return len(self._failures)

    def came(self, digest: bytes) -> None:
        """
        A content is here.
        """
        self._failures.pop(digest, None)

    def forgetOld(self, now: float) -> None:
        """
        Forget what failed long ago: it came since, or is not wanted any more.
        """
        self._failures = {
            digest: failure
            for digest, failure in self._failures.items()
            if now < failure.due + LONGEST_DELAY
        }

    def renew(self) -> None:
        """
        The master has something new: what could not be had from it before, may
        be had now.
        """
        self._failures = {d: failure for d, failure in self._failures.items() if failure.noRoom}
