"""
ClusterLog: the observer that writes C{logs/cluster.log}, or C{logs/cluster.json}.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Event, Lock
from typing import Protocol, TextIO

from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

from wazuh_cluster.logfile import LogFile
from wazuh_cluster.logline import Line, LineFormat, LocalTime, Render, plainLine
from wazuh_cluster.threads import StartThread, startDaemon

#: After how many seconds a write that failed is tried again.
RETRY = 1.0

#: Writes what waits; returns after how many seconds it wants to be called
#: again, or C{None} if only when there is more.
Drain = Callable[[], "float | None"]


class LogThread(Protocol):
    """
    What calls a L{Drain}, never two calls at a time.
    """

    def start(self, drain: Drain) -> None:
        """
        Begin: from now on C{drain} is called.
        """

    def wake(self) -> None:
        """
        Have it called soon. Never waits.
        """

    def stop(self, timeout: float) -> bool:
        """
        Have it called until it wants no further call at once, then end.

        @return: whether that was done within C{timeout} seconds.
        """


class WriterThread:
    """
    A L{LogThread} on a daemon thread of its own.
    """

    def __init__(self, startThread: StartThread = startDaemon) -> None:
        self._startThread = startThread
        self._work = Event()
        self._stop = Event()
        self._ended = Event()

    def start(self, drain: Drain) -> None:
        """
        See L{LogThread.start}.
        """
        # New ones, for a thread that was left behind by a stop has the old.
        self._work, self._stop, self._ended = Event(), Event(), Event()
        work, stop, ended = self._work, self._stop, self._ended

        def serve() -> None:
            try:
                pause: float | None = 0
                while not stop.is_set():
                    work.wait(pause)
                    work.clear()
                    pause = drain()
                while drain() == 0:
                    pass
            finally:
                ended.set()

        self._startThread("cluster.log", serve)

    def wake(self) -> None:
        """
        See L{LogThread.wake}.
        """
        self._work.set()

    def stop(self, timeout: float) -> bool:
        """
        See L{LogThread.stop}.
        """
        self._stop.set()
        self._work.set()
        return self._ended.wait(timeout)


def tellStandardError(text: str) -> None:
    """
    Write one line to standard error, which twistd takes into its own log.
    """
    if sys.stderr is not None:
        sys.stderr.write(text + "\n")


@implementer(ILogObserver)
class ClusterLog:
    """
    Writes events as lines of C{cluster.log}::

        2026/11/22 18:03:11 INFO: [Worker worker-1] [Integrity sync] Finished in 0.004s.

    or, with another C{render}, as others.

    It opens and starts nothing before L{start}, and keeps the events until
    then. No event waits for the disk: lines go through a queue to a thread,
    and when the queue is full they are dropped, counted, and the count is
    written once there is room.

    @ivar path: the file's.
    """

    def __init__(
        self,
        path: str,
        tag: str,
        *,
        level: object = LogLevel.info,
        strangersLevel: object = LogLevel.warn,
        queueSize: int = 10_000,
        wallClock: Callable[[], float] = time.time,
        localTime: LocalTime = time.localtime,
        render: Render = plainLine,
        thread: LogThread | None = None,
        tell: Callable[[str], None] = tellStandardError,
    ) -> None:
        """
        @param tag: that of events that have none, without brackets.
        @param level: the lowest level that is written.
        @param strangersLevel: likewise, for what comes from outside this package.
        @param queueSize: how many lines may wait.
        @param render: makes the bytes of each line.
        @param tell: told, in one line, of what keeps the log from being
            written; once, until it was written again.
        """
        self.path = path
        self._format = LineFormat(tag, level, localTime, render, strangersLevel)
        self._wallClock = wallClock
        self._queueSize = queueSize
        self._thread = WriterThread() if thread is None else thread
        self._tell = tell
        self._file = LogFile(path, self._say, wallClock=wallClock, localTime=localTime)
        # Guards what follows, and is never held while something blocks.
        self._lock = Lock()
        self._queue: deque[Line] = deque()
        self._dropped = 0
        self._started = False
        self._reopen = False
        # The thread's own: what it took from the queue, whether the file cannot
        # be written now, and why lines were dropped.
        self._taken: deque[Line] = deque()
        self._failing = False
        self._why = _TOO_SLOW

    def __call__(self, event: LogEvent) -> None:
        """
        Take an event. Never blocks and never raises.
        """
        now = self._wallClock()
        try:
            lines = self._format.lines(event, now)
        except Exception as error:
            # An event that cannot be formatted must not harm who logs it.
            text = f"an event could not be written: {type(error).__name__}"
            lines = [self._format.line(now, LogLevel.error, text)]
        if not lines:
            return
        with self._lock:
            room = max(0, self._queueSize - len(self._queue))
            self._queue.extend(lines[:room])
            self._dropped += len(lines[room:])
            started = self._started
        if started:
            self._thread.wake()

    def hide(self, secret: str) -> None:
        """
        Show C{***} from now on wherever a line would show this text.
        """
        self._format.hide(secret)

    def start(self) -> None:
        """
        Begin to write. For after the process went into the background, for
        threads do not survive that.
        """
        with self._lock:
            if self._started:
                return
            self._started = True
        try:
            self._thread.start(self._drain)
        except RuntimeError as error:
            with self._lock:
                self._started = False
            self._say(f"{self.path} cannot be written: {error}")
            return
        self._thread.wake()

    def reopen(self) -> None:
        """
        Open the file again by its name before the next line.
        """
        with self._lock:
            self._reopen = True

    def stop(self, timeout: float = 1.0) -> None:
        """
        Write what waits, for at most C{timeout} seconds, and close the file.
        Events that come later are kept for another start.
        """
        with self._lock:
            if not self._started:
                return
            self._started = False
        if not self._thread.stop(timeout):
            self._say(f"{self.path}: its disk is too slow, and its last lines may be missing")

    def _drain(self) -> float | None:
        """
        Do some of what there is to do. See L{Drain}.
        """
        with self._lock:
            started = self._started
            reopen, self._reopen = self._reopen, False
            if not self._taken:
                self._taken, self._queue = self._queue, deque()
                dropped, self._dropped = self._dropped, 0
                if dropped:
                    self._taken.append(self._droppedLine(dropped))
        try:
            if reopen:
                self._file.close()
            self._file.write(self._taken)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            self._why = f"the log could not be written: {why}"
            if not self._failing:
                self._failing = True
                self._say(f"{self.path} cannot be written: {why}")
            return RETRY
        self._failing = False
        with self._lock:
            if self._dropped:
                return 0
            self._why = _TOO_SLOW
            if self._queue:
                return 0
        if not started:
            self._file.finish()
            return None
        return 0 if self._file.archiveSome() else None

    def _droppedLine(self, count: int) -> Line:
        text = f"{count} lines were dropped because {self._why}"
        return self._format.line(self._wallClock(), LogLevel.warn, text)

    def _say(self, text: str) -> None:
        try:
            self._tell(text)
        except (OSError, ValueError):
            # Standard error is closed: there is nobody left to tell.
            return


@implementer(ILogObserver)
class ClusterLogs:
    """
    Several logs of the same events, each in a file and with a thread of its own:
    what keeps one from being written holds up no other.
    """

    def __init__(self, logs: Sequence[ClusterLog]) -> None:
        self._logs = tuple(logs)

    def __call__(self, event: LogEvent) -> None:
        """
        See L{ClusterLog.__call__}.
        """
        for log in self._logs:
            log(event)

    def hide(self, secret: str) -> None:
        """
        See L{ClusterLog.hide}.
        """
        for log in self._logs:
            log.hide(secret)

    def start(self) -> None:
        """
        See L{ClusterLog.start}.
        """
        for log in self._logs:
            log.start()

    def reopen(self) -> None:
        """
        See L{ClusterLog.reopen}.
        """
        for log in self._logs:
            log.reopen()

    def stop(self, timeout: float = 1.0) -> None:
        """
        See L{ClusterLog.stop}; C{timeout} is for all of them together.
        """
        for log in self._logs:
            log.stop(timeout / len(self._logs))


@implementer(ILogObserver)
class TerminalLog:
    """
    Writes the same lines to a terminal, at once.
    """

    def __init__(
        self,
        stream: TextIO,
        form: LineFormat,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        self._stream = stream
        self._format = form
        self._wallClock = wallClock

    def __call__(self, event: LogEvent) -> None:
        """
        Write an event's lines.

        @raise OSError: if the terminal is gone.
        """
        for line in self._format.lines(event, self._wallClock()):
            self._stream.write(line.data.decode("utf-8"))
        self._stream.flush()


_TOO_SLOW = "the disk was too slow"
