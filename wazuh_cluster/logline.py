"""
How an event becomes lines of C{cluster.log}, or of C{cluster.json}.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.logger import LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure

from wazuh_cluster.errors import ClusterError
from wazuh_cluster.escape import escape
from wazuh_cluster.failures import said
from wazuh_cluster.journal import MAIN, NAMESPACE

#: The most bytes in a line, with its end.
MAX_LINE = 8192

#: How often it is said that another log of the process cannot be written, in
#: seconds.
REMIND_AFTER = 300.0

LocalTime = Callable[[float], time.struct_time]

_NAMES = {
    LogLevel.debug: "DEBUG",
    LogLevel.info: "INFO",
    LogLevel.warn: "WARNING",
    LogLevel.error: "ERROR",
    LogLevel.critical: "CRITICAL",
}

_JSON_NAMES = {
    LogLevel.debug: "debug",
    LogLevel.info: "info",
    LogLevel.warn: "warning",
    LogLevel.error: "error",
    LogLevel.critical: "critical",
}

#: The daemon's name in Wazuh's logs.
PROGRAM = "wazuh-clusterd"

# Who says that an observer raised an exception.
_OBSERVERS = "twisted.logger._observer"
_CUT = " [cut]"
# Of a tag or a task in JSON, where what comes after them must not be cut off.
_LONGEST_TAG = 200


class Line(NamedTuple):
    """
    One line.

    @ivar day: year, month and day of its local time.
    @ivar data: UTF-8, with the line's end.
    """

    day: tuple[int, int, int]
    data: bytes


#: Makes the bytes of one line, less than L{MAX_LINE} and without its end, of its
#: local time, as text, its level, and three texts that may not be safe to show:
#: the tag, the task, and what there is to say.
Render = Callable[[str, object, str, str, str], bytes]


def plainLine(when: str, level: object, tag: str, task: str, text: str) -> bytes:
    """
    A line of C{cluster.log}. See L{Render}.
    """
    data = (
        f"{when} {_NAMES.get(level, 'INFO')}: " + escape(f"[{tag}] [{task}] {text[:MAX_LINE]}")
    ).encode("utf-8")
    if len(data) >= MAX_LINE or len(text) > MAX_LINE:
        room = MAX_LINE - len(_CUT) - 1
        data = data[:room].decode("utf-8", "ignore").encode("utf-8") + _CUT.encode()
    return data


def jsonLine(when: str, level: object, tag: str, task: str, text: str) -> bytes:
    """
    A line of C{cluster.json}: an object with the members that Wazuh's daemons
    write, and C{node} and C{task}. See L{Render}.
    """
    record = {
        "timestamp": when,
        "tag": PROGRAM,
        "level": _JSON_NAMES.get(level, "info"),
        "node": escape(tag[:_LONGEST_TAG]),
        "task": escape(task[:_LONGEST_TAG]),
        "description": "",
    }
    description = escape(text[:MAX_LINE])
    room = MAX_LINE - 1 - len(_json(record))
    if len(text) > MAX_LINE or len(_json(description)) - 2 > room:
        room -= len(_CUT)
        kept = 0
        for character in description:
            room -= len(_json(character)) - 2
            if room < 0:
                break
            kept += 1
        description = description[:kept] + _CUT
    record["description"] = description
    return _json(record)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


class LineFormat:
    """
    Makes lines of events, and leaves out those that do not belong in the log:
    what is below C{level}, and, from outside this package, what is below a
    warning.

    @ivar tag: the tag of events that have none.
    @ivar level: the lowest level that is written.
    """

    def __init__(
        self,
        tag: str,
        level: object = LogLevel.info,
        localTime: LocalTime = time.localtime,
        render: Render = plainLine,
        strangersLevel: Any = LogLevel.warn,
    ) -> None:
        """
        @param render: makes the bytes of each line.
        @param strangersLevel: what is below it from outside this package is left
            out too.
        """
        self.tag = tag
        self.level = level
        self._strangersLevel = strangersLevel
        self._render = render
        self._localTime = localTime
        self._secrets: list[str] = []
        # What another log failed of, and when that was said.
        self._otherLog = ("", 0.0)

    def hide(self, secret: str) -> None:
        """
        Show C{***} from now on wherever a line would show this text.
        """
        for form in (secret, repr(secret)[1:-1]):
            if form and form not in self._secrets:
                self._secrets.append(form)

    def lines(self, event: LogEvent, now: float) -> list[Line]:
        """
        The lines of one event.

        @param now: its time if it has none, in seconds since the epoch.
        """
        level = event.get("log_level") or LogLevel.info
        lowest = self.level
        if not str(event.get("log_namespace") or "").startswith(NAMESPACE):
            lowest = max(lowest, self._strangersLevel)
        if level < lowest:
            return []
        when = event.get("log_time", now)
        tag = event.get("clusterTag")
        task = event.get("clusterTask")
        failure = event.get("log_failure")
        text = formatEvent(event)
        if not isinstance(failure, Failure):
            return [self.line(when, level, text, tag, task)]
        if event.get("log_namespace") == _OBSERVERS and isinstance(failure.value, OSError):
            # With the disk it comes back by itself; for each event it tells.
            return self._otherLogFailed(when, said(failure.value))
        if level is LogLevel.critical:
            level = LogLevel.error
        # Old-style events have the traceback in their text.
        beginning = text.split("\n", 1)[0].rstrip(": ")
        text = ": ".join(part for part in (beginning, _describe(failure)) if part)
        lines = [self.line(when, level, text, tag, task)]
        if self.level is LogLevel.debug:
            lines += [
                self.line(when, LogLevel.debug, row, tag, task)
                for row in failure.getTraceback().splitlines()
            ]
        return lines

    def _otherLogFailed(self, when: float, why: str) -> list[Line]:
        before, then = self._otherLog
        if why == before and 0 <= when - then < REMIND_AFTER:
            return []
        self._otherLog = (why, when)
        text = f"another log of this process cannot be written: {why}"
        return [self.line(when, LogLevel.warn, text)]

    def line(
        self,
        when: float,
        level: object,
        text: str,
        tag: str | None = None,
        task: str | None = None,
    ) -> Line:
        """
        One line, at most L{MAX_LINE} bytes long.

        @param when: in seconds since the epoch.
        """
        for secret in self._secrets:
            text = text.replace(secret, "***")
        local = self._localTime(when)
        date = (
            f"{local.tm_year:04}/{local.tm_mon:02}/{local.tm_mday:02} "
            f"{local.tm_hour:02}:{local.tm_min:02}:{local.tm_sec:02}"
        )
        data = self._render(date, level, tag or self.tag, task or MAIN, text)
        return Line((local.tm_year, local.tm_mon, local.tm_mday), data + b"\n")


def _describe(failure: Failure) -> str:
    message = failure.getErrorMessage()
    if message and isinstance(failure.value, ClusterError):
        return message
    kind = type(failure.value).__name__
    return f"{kind}: {message}" if message else kind
