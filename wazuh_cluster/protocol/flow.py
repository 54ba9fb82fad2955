"""
Whether a transport takes more, and since when it does not.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer


@implementer(IPushProducer)
class Flow:
    """
    The one producer of a connection. Whoever writes much looks at L{paused}
    first and is called when it ends.

    @ivar paused: the transport has enough for now.
    """

    def __init__(self, clock: IReactorTime, timeout: float, stalled: Callable[[], None]) -> None:
        """
        @param timeout: how long the peer may take nothing, in seconds.
        @param stalled: called when it took nothing for that long.
        """
        self.paused = False
        self._clock = clock
        self._timeout = timeout
        self._stalled = stalled
        self._closed = False
        self._timer: IDelayedCall | None = None
        self._subscribers: list[Callable[[], None]] = []

    def subscribe(self, drained: Callable[[], None]) -> None:
        """
        Have C{drained} called whenever the transport takes more again.
        """
        self._subscribers.append(drained)

    def pauseProducing(self) -> None:
        """
        The transport's buffer is full.
        """
        self.paused = True
        if self._timer is None and not self._closed:
            self._timer = self._clock.callLater(self._timeout, self._expired)

    def resumeProducing(self) -> None:
        """
        The transport's buffer is empty.
        """
        self._cancel()
        self.paused = False
        for drained in list(self._subscribers):
            if self.paused or self._closed:
                break
            drained()

    def stopProducing(self) -> None:
        """
        The connection is gone.
        """
        self.close()

    def close(self) -> None:
        """
        Nothing more is to be written.
        """
        self._closed = True
        self.paused = True
        self._cancel()

    def _expired(self) -> None:
        self._timer = None
        self._stalled()

    def _cancel(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
