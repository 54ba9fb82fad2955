"""
What a log says of work that is tried again and again: that it fails, when that
is new, and that it works again.
"""

from __future__ import annotations

import os

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.protocols.amp import AmpError
from twisted.python.failure import Failure

from wazuh_cluster.errors import (
    ClusterError,
    InstallFailed,
    LinkClosed,
    StateDamaged,
    StoreFailed,
)
from wazuh_cluster.journal import Journal

#: How often the same failure is said again, in seconds.
REMIND_AFTER = 300.0


class Failures:
    """
    The failures of one thread.
    """

    def __init__(self, thread: str, clock: IReactorTime, journal: Journal) -> None:
        self._thread = thread
        self._clock = clock
        self._journal = journal
        self._reason: str | None = None
        self._said = 0.0
        self._unsaid = 0

    def failed(self, failure: Failure) -> str:
        """
        A run failed.

        @return: why, in one line.
        """
        reason = oneLine(failure)
        if failure.check(LinkClosed, CancelledError):
            # Whoever owns the link, or stops this, says so.
            self._journal.debug("{thread} ended: {reason}", thread=self._thread, reason=reason)
            return reason
        now = self._clock.seconds()
        if reason == self._reason and now - self._said < REMIND_AFTER:
            self._unsaid += 1
            return reason
        again = f" (and {self._unsaid} times before)" if reason == self._reason else ""
        # A peer that answers with an error of its own is no bug here.
        if failure.check(ClusterError, OSError, AmpError):
            self._journal.error(
                "{thread} failed: {reason}{again}", thread=self._thread, reason=reason, again=again
            )
        else:
            self._journal.failure(
                "{thread} failed{again}", failure, thread=self._thread, again=again
            )
        self._reason, self._said, self._unsaid = reason, now, 0
        return reason

    def succeeded(self) -> None:
        """
        A run went well.
        """
        if self._reason is not None:
            self._journal.info("{thread} works again", thread=self._thread)
            self._reason = None
            self._unsaid = 0


def kindOf(failure: Failure) -> str:
    """
    What kind of failure it is: see L{wazuh_cluster.model.RunRecord}.
    """
    if isinstance(failure.value, StoreFailed):
        return "damaged" if failure.value.damaged else "disk"
    if failure.check(LinkClosed):
        return "link"
    return "disk" if failure.check(OSError, InstallFailed, StateDamaged) else "other"


def oneLine(failure: Failure) -> str:
    """
    A failure for people.
    """
    error = failure.value
    text = " ".join(str(error).split())
    if isinstance(error, ClusterError) and text:
        return text
    if isinstance(error, OSError) and error.strerror:
        return said(error)
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind


def said(error: OSError) -> str:
    """
    What the system refused, for people.
    """
    text = error.strerror or str(error)
    # Calls on an open folder name its descriptor, which tells nobody anything.
    if isinstance(error.filename, (str, bytes)):
        return f"{os.fsdecode(error.filename)}: {text}"
    return text
