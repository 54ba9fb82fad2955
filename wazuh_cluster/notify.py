"""
What a service manager such as systemd is told of the daemon: that it is up, how
it is, and again and again that its reactor turns.

It listens on a datagram socket whose name is in C{NOTIFY_SOCKET}; a message is a
few lines C{NAME=value}. Without that variable nobody is told anything.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, FirstError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from wazuh_cluster.escape import escape
from wazuh_cluster.journal import MAIN, Journal

#: Where a service manager listens.
SOCKET_VARIABLE = "NOTIFY_SOCKET"

#: Seconds between two looks at what there is to say of the node.
STATUS_INTERVAL = 2.0

#: After how many seconds what had no room is sent again.
RETRY = 1.0

#: Messages that wait for room, and characters of a status.
_MOST = 16
_LONGEST = 400

_NO_ROOM = (errno.EAGAIN, errno.ENOBUFS)


def sendDatagram(address: str, data: bytes) -> None:
    """
    Send a message to a unix socket, without ever waiting.

    @param address: its path; or, with an C{@} first, its abstract name.
    @raise OSError: if that is not possible now.
    """
    if address.startswith("@"):
        address = "\0" + address[1:]
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_UNIX, kind) as sender:
        sender.sendto(data, address)


class Notifier:
    """
    Sends messages to a service manager. What it has no room for is sent again, in
    order; what cannot be sent at all is said once in the log.
    """

    def __init__(
        self,
        address: str,
        clock: IReactorTime,
        log: Journal,
        send: Callable[[str, bytes], None] = sendDatagram,
    ) -> None:
        self._address = address
        self._clock = clock
        self._log = log
        self._send = send
        # When it is full, the oldest make room.
        self._waiting: deque[bytes] = deque(maxlen=_MOST)
        self._retry: IDelayedCall | None = None
        self._complained = False

    def tell(self, **fields: object) -> None:
        """
        Send a message of these lines.
        """
        lines = (f"{name}={escape(str(value))}\n" for name, value in fields.items())
        message = "".join(lines).encode("utf-8")
        if message not in self._waiting:
            self._waiting.append(message)
        if self._retry is None:
            self._flush()

    def close(self) -> None:
        """
        Send what waits, as far as there is room, and nothing later.
        """
        if self._retry is not None:
            self._retry.cancel()
            self._flush()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._waiting.clear()

    def _flush(self) -> None:
        self._retry = None
        while self._waiting:
            try:
                self._send(self._address, self._waiting[0])
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._retry = self._clock.callLater(RETRY, self._flush)
                    return
                self._complain(error)
            self._waiting.popleft()

    def _complain(self, error: OSError) -> None:
        if self._complained:
            return
        self._complained = True
        self._log.warn(
            "The service manager is not told how this node is: {address} ({variable}) does not "
            "take messages ({reason}).",
            address=self._address,
            variable=SOCKET_VARIABLE,
            reason=error.strerror or str(error),
        )


class Supervised(Service):
    """
    Tells a service manager how the node is, from the reactor: a reactor that
    hangs is silent, and the manager, if it has a watchdog, ends the process.

    The node counts as up when the reactor turns and all its ports are open.
    """

    def __init__(
        self,
        reactor: Any,
        notifier: Notifier,
        watchdog: Callable[[], float | None],
        describe: Callable[[], str],
        whenListening: Sequence[Callable[[], Deferred[Any]]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        @param watchdog: gives within how many seconds the manager wants to hear of
            this process, again and again; C{None} if it does not.
        @param describe: how the node is, on one line.
        @param whenListening: each gives what fires when a port is open.
        @param monotonic: the system's own clock, which the manager goes by.
        """
        self.setName("supervised")
        self._reactor = reactor
        self._notifier = notifier
        self._watchdog = watchdog
        self._describe = describe
        self._whenListening = tuple(whenListening)
        self._monotonic = monotonic
        self._said = ""
        self._loops: list[LoopingCall] = []
        self._up = False

    @classmethod
    def fromEnvironment(
        cls,
        reactor: Any,
        environment: Mapping[str, str],
        describe: Callable[[], str],
        whenListening: Sequence[Callable[[], Deferred[Any]]],
        processId: Callable[[], int] = os.getpid,
    ) -> Supervised | None:
        """
        What a process's environment asks for; C{None} if there is nobody to tell.

        @param processId: this process's; asked when it has its last one.
        """
        address = environment.get(SOCKET_VARIABLE, "")
        if not address:
            return None
        notifier = Notifier(address, reactor, Journal(MAIN))
        asked = dict(environment)
        return cls(
            reactor, notifier, lambda: _watchdog(asked, processId()), describe, whenListening
        )

    def startService(self) -> None:
        """
        Begin to tell, as soon as the reactor turns.
        """
        super().startService()
        self._reactor.callWhenRunning(self._running)

    def stopService(self) -> None:
        """
        Say that the node stops. The watchdog goes on, for stopping may hang too.
        """
        super().stopService()
        self._up = False
        self._notifier.tell(STOPPING=1, STATUS="Stopping.")

    def close(self) -> None:
        """
        The node has stopped: say nothing more.
        """
        for loop in self._loops:
            loop.stop()
        self._loops = []
        self._notifier.close()

    def reloading(self) -> None:
        """
        The node reads anew what is in files.
        """
        if self._up:
            self._notifier.tell(RELOADING=1, MONOTONIC_USEC=int(self._monotonic() * 1e6))

    def reloaded(self) -> None:
        """
        It has done so.
        """
        if self._up:
            self._notifier.tell(READY=1)

    def failed(self, problem: object) -> None:
        """
        The node cannot start.

        @param problem: why, on one line.
        """
        self._notifier.tell(STATUS=str(problem)[:_LONGEST])
        self._notifier.close()

    def _running(self) -> None:
        if not self.running:
            return
        within = self._watchdog()
        if within is not None:
            # Twice as often as it is wanted, for any turn may be late.
            self._loop(within / 2, self._alive)
        ports = [each() for each in self._whenListening]
        waiting = DeferredList(ports, fireOnOneErrback=True, consumeErrors=True)
        waiting.addCallbacks(self._listening, self._notListening).addErrback(self._bug)

    def _listening(self, _: object) -> None:
        if not self.running:
            return
        self._up = True
        self._said = self._describe()[:_LONGEST]
        self._notifier.tell(READY=1, STATUS=self._said)
        self._loop(STATUS_INTERVAL, self._saySomethingNew, now=False)

    def _notListening(self, failure: Failure) -> None:
        # An endpoint that failed later than at the start: the process goes on,
        # and does not count as up.
        error = failure.value
        reason = error.subFailure.value if isinstance(error, FirstError) else error
        self._notifier.tell(STATUS=f"A port cannot be opened: {reason}"[:_LONGEST])

    def _alive(self) -> None:
        self._notifier.tell(WATCHDOG=1)

    def _saySomethingNew(self) -> None:
        text = self._describe()[:_LONGEST]
        if self._up and text != self._said:
            self._said = text
            self._notifier.tell(STATUS=text)

    def _loop(self, interval: float, function: Callable[[], None], now: bool = True) -> None:
        loop = LoopingCall(function)
        loop.clock = self._reactor
        self._loops.append(loop)
        loop.start(interval, now=now).addErrback(self._bug)

    def _bug(self, failure: Failure) -> None:
        Journal(MAIN).failure("The service manager hears nothing more: this is a bug.", failure)


def _watchdog(environment: Mapping[str, str], processId: int) -> float | None:
    """
    Within how many seconds a manager wants to hear of this process.
    """
    if environment.get("WATCHDOG_PID", str(processId)) != str(processId):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    if not (text.isascii() and text.isdigit()):
        return None
    return int(text) / 1e6 or None
