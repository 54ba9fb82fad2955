"""
Tests for L{wazuh_cluster.notify}.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.journal import MAIN, Journal
from wazuh_cluster.notify import RETRY, STATUS_INTERVAL, Notifier, Supervised, sendDatagram


class Manager:
    """
    As much of a service manager as a process sees: a socket that messages come to.
    """

    def __init__(self, name: str) -> None:
        """
        @param name: a path, or an abstract name with C{@} first.
        """
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind("\0" + name[1:] if name.startswith("@") else name)

    def heard(self) -> list[str]:
        """
        The messages that came since.
        """
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(8192).decode("utf-8"))
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


class ManagerCase(SynchronousTestCase):
    """
    Tests with a manager.
    """

    def manager(self, name: str | None = None) -> Manager:
        manager = Manager(name or self.path())
        self.addCleanup(manager.close)
        return manager

    def path(self) -> str:
        """
        A path that is short enough for a unix socket, whatever the test's folder.
        """
        path = self.mktemp()
        os.makedirs(path)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, folder)
        return f"/proc/self/fd/{folder}/notify"


class SendTests(ManagerCase):
    """
    L{sendDatagram}.
    """

    def test_path(self) -> None:
        """
        A message comes to the socket at a path.
        """
        manager = self.manager()
        sendDatagram(manager.name, b"READY=1\n")
        self.assertEqual(["READY=1\n"], manager.heard())

    def test_abstract(self) -> None:
        """
        Or to one with an abstract name.
        """
        manager = self.manager(f"@wazuh_cluster-test-{os.getpid()}-{id(self)}")
        sendDatagram(manager.name, b"READY=1\n")
        self.assertEqual(["READY=1\n"], manager.heard())

    def test_nobody(self) -> None:
        """
        Where nobody listens, that fails.
        """
        self.assertRaises(OSError, sendDatagram, self.path(), b"x")
        self.assertRaises(OSError, sendDatagram, "/" + "x" * 200, b"x")

    def test_full(self) -> None:
        """
        Who has no room is not waited for.
        """
        manager = self.manager()

        def fill() -> None:
            while True:
                sendDatagram(manager.name, b"x" * 1000)

        error = self.assertRaises(OSError, fill)
        self.assertIn(error.errno, (errno.EAGAIN, errno.ENOBUFS))


class NotifierTests(ManagerCase):
    """
    L{Notifier}.
    """

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.sent: list[bytes] = []
        self.errors: list[OSError] = []
        self.events: list[LogEvent] = []
        log = Journal(MAIN, observer=self.events.append)
        self.notifier = Notifier("@x", self.clock, log, self.send)

    def send(self, address: str, data: bytes) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append(data)

    def test_lines(self) -> None:
        """
        Each field is a line, whatever is in it.
        """
        self.notifier.tell(READY=1, STATUS="two\nlines = é\x1b")
        self.assertEqual(["READY=1\nSTATUS=two\\nlines = é\\x1b\n".encode()], self.sent)

    def test_noRoom(self) -> None:
        """
        What there is no room for is sent a second later, in order, once, and
        nothing is lost; not before the second is over.
        """
        self.errors = [OSError(errno.EAGAIN, "x"), OSError(errno.ENOBUFS, "x")]
        self.notifier.tell(READY=1)
        self.notifier.tell(WATCHDOG=1)
        self.notifier.tell(WATCHDOG=1)
        self.clock.advance(RETRY)
        self.assertEqual([], self.sent)
        self.clock.advance(RETRY)
        self.assertEqual([b"READY=1\n", b"WATCHDOG=1\n"], self.sent)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual([], self.events)

    def test_bounded(self) -> None:
        """
        What waits for a manager that hangs does not grow for ever: the latest stays.
        """
        self.errors = [OSError(errno.EAGAIN, "x")]
        for number in range(100):
            self.notifier.tell(STATUS=number)
        self.clock.advance(RETRY)
        self.assertEqual(16, len(self.sent))
        self.assertEqual(b"STATUS=99\n", self.sent[-1])

    def test_refused(self) -> None:
        """
        A manager that is not there is said once in the log, by name.
        """
        self.errors = [OSError(errno.ECONNREFUSED, "Connection refused")] * 2
        self.notifier.tell(READY=1)
        self.notifier.tell(READY=1)
        self.notifier.tell(STATUS="x")
        self.assertEqual([b"STATUS=x\n"], self.sent)
        (event,) = self.events
        self.assertIn("@x (NOTIFY_SOCKET) does not take messages", formatEvent(event))

    def test_close(self) -> None:
        """
        Closing tries once more, and leaves nothing behind.
        """
        self.errors = [OSError(errno.EAGAIN, "x")]
        self.notifier.tell(STOPPING=1)
        self.notifier.close()
        self.assertEqual([b"STOPPING=1\n"], self.sent)
        self.errors = [OSError(errno.EAGAIN, "x")] * 2
        self.notifier.tell(STOPPING=1)
        self.notifier.close()
        self.assertEqual([], self.clock.getDelayedCalls())


class SupervisedTests(ManagerCase):
    """
    L{Supervised}.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.server = self.manager()
        self.state = "fine"

    def make(self, *waits: Deferred[Any], **environment: str) -> Supervised:
        environment = {"NOTIFY_SOCKET": self.server.name, **environment}
        made = Supervised.fromEnvironment(
            self.reactor,
            environment,
            lambda: self.state,
            [lambda each=each: each for each in waits],  # type: ignore[misc]
            lambda: 77,
        )
        assert made is not None
        self.addCleanup(made.close)
        return made

    def turn(self) -> None:
        """
        Have the reactor run.
        """
        for function, arguments, keywords in self.reactor.whenRunningHooks:
            function(*arguments, **keywords)

    def test_nobody(self) -> None:
        """
        Without the variable there is nothing.
        """
        for environment in ({}, {"NOTIFY_SOCKET": ""}):
            found = Supervised.fromEnvironment(self.reactor, environment, lambda: "", [])
            self.assertIsNone(found)

    def test_ready(self) -> None:
        """
        A node is up when the reactor turns and each of its ports is open.
        """
        one: Deferred[Any] = Deferred()
        two: Deferred[Any] = Deferred()
        supervised = self.make(one, two)
        supervised.startService()
        self.assertEqual([], self.server.heard())
        self.turn()
        one.callback("a port")
        self.assertEqual([], self.server.heard())
        two.callback("another")
        self.assertEqual(["READY=1\nSTATUS=fine\n"], self.server.heard())

    def test_portFails(self) -> None:
        """
        A port that cannot be opened keeps it from being up, and is said, once.
        """
        port: Deferred[Any] = Deferred()
        supervised = self.make(port)
        supervised.startService()
        self.turn()
        port.errback(OSError("no\nway"))
        # Nobody else is to hear of it.
        self.assertIsNone(self.successResultOf(port))
        self.assertEqual(["STATUS=A port cannot be opened: no\\nway\n"], self.server.heard())
        self.reactor.advance(STATUS_INTERVAL)
        supervised.stopService()
        self.assertNotIn("READY", "".join(self.server.heard()))

    def test_status(self) -> None:
        """
        How the node is, is said when it changes.
        """
        supervised = self.make()
        supervised.startService()
        self.turn()
        self.server.heard()
        self.reactor.advance(STATUS_INTERVAL)
        self.assertEqual([], self.server.heard())
        self.state = "x" * 1000
        self.reactor.advance(STATUS_INTERVAL)
        self.assertEqual([f"STATUS={'x' * 400}\n"], self.server.heard())

    def test_watchdog(self) -> None:
        """
        Twice in the time that the manager gives it is told, from the reactor's
        turns, also before the ports are open, until the node has stopped.
        """
        supervised = self.make(Deferred(), WATCHDOG_USEC="3000000", WATCHDOG_PID="77")
        supervised.startService()
        self.turn()
        for _ in range(3):
            self.assertEqual(["WATCHDOG=1\n"], self.server.heard())
            self.reactor.advance(1.4)
            self.assertEqual([], self.server.heard())
            self.reactor.advance(0.1)
        supervised.stopService()
        self.server.heard()
        self.reactor.advance(1.5)
        self.assertEqual(["WATCHDOG=1\n"], self.server.heard())
        supervised.close()
        self.reactor.advance(10)
        self.assertEqual([], self.server.heard())
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_noWatchdog(self) -> None:
        """
        Another process's watchdog is not fed, nor one that is none.
        """
        for environment in (
            {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "78"},
            {"WATCHDOG_USEC": "0"},
            {"WATCHDOG_USEC": "soon"},
            {"WATCHDOG_USEC": "-1"},
        ):
            supervised = self.make(**environment)
            supervised.startService()
            self.turn()
            self.reactor.advance(100)
            supervised.close()
            self.assertEqual(["READY=1\nSTATUS=fine\n"], self.server.heard())
            self.reactor.whenRunningHooks.clear()

    def test_reload(self) -> None:
        """
        Reading anew is said at its beginning, with the system's time, and at its end.
        """
        supervised = self.make()
        supervised.startService()
        supervised.reloading()
        supervised.reloaded()
        self.assertEqual([], self.server.heard())
        self.turn()
        self.server.heard()
        supervised.reloading()
        self.assertRegex("".join(self.server.heard()), r"^RELOADING=1\nMONOTONIC_USEC=\d+\n$")
        supervised.reloaded()
        self.assertEqual(["READY=1\n"], self.server.heard())

    def test_stop(self) -> None:
        """
        Stopping is said; what was on its way to be up is not any more.
        """
        port: Deferred[Any] = Deferred()
        supervised = self.make(port)
        supervised.startService()
        self.turn()
        supervised.stopService()
        port.callback("late")
        self.assertEqual(["STOPPING=1\nSTATUS=Stopping.\n"], self.server.heard())

    def test_stopBeforeItRuns(self) -> None:
        """
        A node that is stopped before the reactor turns says no more.
        """
        supervised = self.make()
        supervised.startService()
        supervised.stopService()
        self.server.heard()
        self.turn()
        self.assertEqual([], self.server.heard())

    def test_failed(self) -> None:
        """
        Why a node cannot start is its status.
        """
        self.make().failed("the port is in use")
        self.assertEqual(["STATUS=the port is in use\n"], self.server.heard())
