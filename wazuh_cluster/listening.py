"""
A port that a service opens once, and whoever waits for it.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.failure import Failure


class Listening:
    """
    An endpoint at which something listens, or not yet, or not any more.
    """

    def __init__(self, endpoint: IStreamServerEndpoint) -> None:
        self._endpoint = endpoint
        self._opening: Deferred[None] | None = None
        self._port: IListeningPort | None = None
        self._failure: Failure | None = None
        self._waiters: list[Deferred[IListeningPort]] = []

    @property
    def begun(self) -> bool:
        """
        Whether it was opened, or is about to be.
        """
        return self._opening is not None

    def open(
        self,
        factory: IProtocolFactory,
        opened: Callable[[IListeningPort], None] = lambda port: None,
    ) -> None:
        """
        Listen.

        @param opened: called with the port, before whoever waits for it.
        @raise twisted.internet.error.CannotListenError: if that fails at once.
        """
        self._failure = None
        self._opening = self._endpoint.listen(factory).addCallbacks(
            self._opened, self._failed, callbackArgs=(opened,)
        )
        self._raise()

    def when(self) -> Deferred[IListeningPort]:
        """
        A Deferred that fires with the open port, or fails with why it could
        not be opened.
        """
        waiting: Deferred[IListeningPort] = Deferred()
        if self._port is not None:
            waiting.callback(self._port)
        elif self._failure is not None:
            waiting.errback(self._failure)
        else:
            self._waiters.append(waiting)
        return waiting

    async def close(self) -> None:
        """
        Listen no more.
        """
        opening, self._opening = self._opening, None
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        elif opening is not None:
            opening.cancel()

    def _raise(self) -> None:
        if self._failure is not None:
            self._failure.raiseException()

    def _opened(self, port: IListeningPort, opened: Callable[[IListeningPort], None]) -> None:
        self._port = port
        opened(port)
        waiting, self._waiters = self._waiters, []
        for waiter in waiting:
            waiter.callback(port)

    def _failed(self, failure: Failure) -> None:
        self._failure = failure
        waiting, self._waiters = self._waiters, []
        for waiter in waiting:
            waiter.errback(failure)
