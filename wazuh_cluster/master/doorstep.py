"""
The doorstep: connections that have not said a byte yet.

A session with TLS beneath it costs some 100 KiB, and who says nothing is not
worth that. Only a first byte builds one.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from wazuh_cluster.errors import NotTrusted, PassedBy, TooBusy
from wazuh_cluster.protocol import Limits


class Doorstep(Protocol):
    """
    One connection. From its first byte on it is the inner protocol's.
    """

    __slots__ = ("_doorsteps", "factory", "host", "inner", "since", "why")

    def __init__(self, doorsteps: DoorstepFactory, host: str, since: float) -> None:
        self._doorsteps = doorsteps
        self.host = host
        self.since = since
        self.inner: IProtocol | None = None
        self.why: NotTrusted | TooBusy | None = None

    def dataReceived(self, data: bytes) -> None:
        """
        Come in, or go on.
        """
        if self.inner is None:
            if self.why is not None:
                return
            self.inner = self._doorsteps.enter(self)
            if self.inner is None:
                self.transport.abortConnection()  # type: ignore[union-attr]
                return
            self.inner.makeConnection(self.transport)  # type: ignore[arg-type]
        self.inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Pass on, or say that somebody passed by.
        """
        if self.inner is not None:
            inner, self.inner = self.inner, None
            inner.connectionLost(reason)
        else:
            self._doorsteps.left(self)

    def turnAway(self, why: NotTrusted | TooBusy) -> None:
        """
        End a connection that said nothing.
        """
        self.why = why
        self.transport.abortConnection()  # type: ignore[union-attr]


class DoorstepFactory(Factory):
    """
    Keeps strangers on the doorstep within bounds: each for the greeting's
    time, and not too many; the one that waits longest makes room.

    @ivar since: when the one that comes in at this moment connected; C{None}
        while nobody does.
    """

    noisy = False

    def __init__(
        self,
        inner: IProtocolFactory,
        clock: IReactorTime,
        limits: Limits,
        left: Callable[[str, Exception], None],
    ) -> None:
        """
        @param inner: builds what a connection becomes.
        @param left: told of an address, and why its connection ended, when
            that was before the first byte.
        """
        self._inner = inner
        self._clock = clock
        self._limits = limits
        self._left = left
        self.since: float | None = None
        # The one that waits longest is first.
        self._waiting: dict[Doorstep, None] = {}
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def doStart(self) -> None:
        """
        See L{Factory}.
        """
        super().doStart()
        self._inner.doStart()

    def doStop(self) -> None:
        """
        See L{Factory}.
        """
        super().doStop()
        self._inner.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """
        A new stranger.
        """
        if len(self._waiting) >= self._limits.greeting:
            first = next(iter(self._waiting))
            del self._waiting[first]
            first.turnAway(TooBusy("too many connections say nothing"))
        stranger = Doorstep(self, str(getattr(addr, "host", "")), self._clock.seconds())
        self._waiting[stranger] = None
        if self._timer is None:
            self._timer = self._clock.callLater(self._limits.greetTimeout, self._expire)
        return stranger

    def enter(self, stranger: Doorstep) -> IProtocol | None:
        """
        A stranger said something.
        """
        self._forget(stranger)
        self.since = stranger.since
        try:
            return self._inner.buildProtocol(
                stranger.transport.getPeer()  # type: ignore[union-attr]
            )
        finally:
            self.since = None

    def left(self, stranger: Doorstep) -> None:
        """
        A stranger went, or was turned away.
        """
        self._forget(stranger)
        why = stranger.why or PassedBy(
            "it closed the connection without a word: it looks like a health check"
        )
        self._left(stranger.host, why)

    def closeAll(self) -> None:
        """
        Turn everybody away.
        """
        for stranger in list(self._waiting):
            stranger.turnAway(PassedBy("this node stops"))
        self._waiting.clear()
        self._setTimer()

    def _forget(self, stranger: Doorstep) -> None:
        self._waiting.pop(stranger, None)
        if not self._waiting:
            self._setTimer()

    def _expire(self) -> None:
        self._timer = None
        timeout = self._limits.greetTimeout
        silent = NotTrusted(
            f"it said nothing for {timeout:g} s: it looks like a port scan or a health check"
        )
        for stranger in list(self._waiting):
            if stranger.since + timeout > self._clock.seconds():
                break
            del self._waiting[stranger]
            stranger.turnAway(silent)
        self._setTimer()

    def _setTimer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            due = next(iter(self._waiting)).since + self._limits.greetTimeout
            self._timer = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._expire)
