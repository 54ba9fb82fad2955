"""
Nodes to measure: homes, and real twistd processes in them.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO

from attrs import define, field, frozen

import benchmarks
from benchmarks.probe import CROWD, HOME, QUIET, ROLE, nodeEnvironment
from benchmarks.processes import Memory, forgetPeak, memoryOf, processorTimeOf
from wazuh_cluster.scripts.main import main as wazuhCluster

ADDRESS = "127.0.0.1"

#: How often a log is looked at, and how long a node is given to end.
_POLL = 0.01
_GRACE = 5.0

#: Where the packages are.
CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(benchmarks.__file__)))
_TWISTD = "from twisted.scripts.twistd import run; run()"
_APPLICATIONS = os.path.join(os.path.dirname(os.path.abspath(benchmarks.__file__)), "applications")


class BenchmarkFailed(Exception):
    """
    Something did not do what is measured: one line, and perhaps a log's end.
    """


@frozen
class Event:
    """
    One event of a process's log.

    @ivar time: in seconds since the epoch.
    @ivar level: its name, or C{None}.
    @ivar text: the whole text.
    """

    time: float
    level: str | None
    text: str


def freePort() -> int:
    """
    A port that nobody uses right now.
    """
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port: int = probe.getsockname()[1]
        return port


def makeHome(
    path: str, role: str, port: int, keyFile: str | None = None, name: str | None = None
) -> str:
    """
    Make a node's home as an operator does.

    @param keyFile: a worker takes the key from there.
    @param name: the node's; by default that of its role.
    """
    arguments = ["init", "--home", path, "--node-name", name or f"the-{role}", "--role", role]
    arguments += ["--port", str(port), "--bind-addr", ADDRESS]
    if role == "worker":
        assert keyFile is not None
        arguments += ["--master", ADDRESS, "--key-file", keyFile]
    with redirect_stdout(StringIO()):
        status = wazuhCluster(arguments)
    if status != 0:
        raise BenchmarkFailed(f"{path}: wazuh-cluster init ended with status {status}")
    return path


@define
class TwistdProcess:
    """
    One twistd. Use it in a C{with} block, which ends the process.

    @ivar started: when it was started, in seconds since the epoch.
    """

    folder: str
    arguments: Sequence[str]
    environment: dict[str, str]
    started: float = 0.0
    _process: subprocess.Popen[bytes] | None = None
    _events: list[Event] = field(factory=list)
    _read: int = 0

    @property
    def eventsPath(self) -> str:
        """
        Where its log events are written.
        """
        return os.path.join(self.folder, "events.json")

    @property
    def pid(self) -> int:
        """
        Its id.
        """
        assert self._process is not None
        return self._process.pid

    def start(self) -> TwistdProcess:
        """
        Start it. What an earlier process wrote to the folder is forgotten.
        """
        os.makedirs(self.folder, exist_ok=True)
        self._events, self._read = [], 0
        with open(self.eventsPath, "wb"), open(os.path.join(self.folder, "output"), "wb") as out:
            self.started = time.time()
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _TWISTD,
                    "--nodaemon",
                    "--logger=benchmarks.probe.observer",
                    f"--pidfile={os.path.join(self.folder, 'twistd.pid')}",
                    *self.arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=nodeEnvironment({**os.environ, **self.environment}, CHECKOUT, self.eventsPath),
                start_new_session=True,
            )
        return self

    def events(self) -> list[Event]:
        """
        All events so far.
        """
        with open(self.eventsPath, "rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                found = json.loads(line)
                self._events.append(Event(found["time"], found["level"], found["text"]))
        return self._events

    def until(self, pattern: str, patience: float, after: int = 0) -> re.Match[str]:
        """
        Wait for an event whose text has a pattern.

        @param after: how many events are passed over.
        @return: the match; L{eventOf} has the event.
        """
        deadline = time.monotonic() + patience
        while True:
            ended = self._process is not None and self._process.poll() is not None
            for event in self.events()[after:]:
                match = re.search(pattern, event.text)
                if match is not None:
                    return match
            if ended:
                raise BenchmarkFailed(f"a process ended by itself:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"no {pattern!r} within {patience:g} s:\n{self.tail()}")
            time.sleep(_POLL)

    def eventOf(self, match: re.Match[str]) -> Event:
        """
        The event of a match.
        """
        return next(event for event in self._events if event.text is match.string)

    def memory(self) -> Memory:
        """
        Its memory now.
        """
        return memoryOf(self.pid)

    def forgetPeak(self) -> None:
        """
        Let the peak of its memory begin anew.
        """
        forgetPeak(self.pid)

    def processorTime(self) -> float:
        """
        Seconds of a core that it has used.
        """
        return processorTimeOf(self.pid)

    def signal(self, number: int) -> None:
        """
        Send a signal.
        """
        assert self._process is not None
        self._process.send_signal(number)

    def problems(self) -> list[str]:
        """
        Errors that it logged.
        """
        return [each.text for each in self.events() if each.level in ("error", "critical")]

    def tail(self) -> str:
        """
        The end of what it wrote.
        """
        with open(os.path.join(self.folder, "output"), encoding="utf-8", errors="replace") as file:
            output = file.read()[-2000:]
        return "\n".join([*(each.text for each in self.events()[-10:]), output]).strip()

    def end(self) -> None:
        """
        End it, by force if it does not.
        """
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> TwistdProcess:
        return self

    def __exit__(self, *reason: object) -> None:
        self.end()


def node(home: str) -> TwistdProcess:
    """
    A node as an operator runs it, with debug lines in its log.
    """
    return TwistdProcess(
        os.path.join(home, "benchmark"), ["wazuh-cluster", f"--home={home}", "--verbose"], {}
    )


def quietNode(home: str) -> TwistdProcess:
    """
    The same without them: what many peers say is not logged.
    """
    arguments = ["wazuh-cluster", f"--home={home}"]
    return TwistdProcess(os.path.join(home, "benchmark"), arguments, {QUIET: "1"})


def checkedWorker(home: str) -> TwistdProcess:
    """
    A worker that also checks on demand.
    """
    return _application("checked", home)


def keepingMaster(home: str) -> TwistdProcess:
    """
    A master that keeps agents' records.
    """
    return _application("keeping", home)


def reportingWorker(home: str) -> TwistdProcess:
    """
    A worker that tells of its agents, and of keep-alives on demand.
    """
    return _application("reporting", home)


def _application(name: str, home: str) -> TwistdProcess:
    path = os.path.join(_APPLICATIONS, f"{name}.py")
    return TwistdProcess(os.path.join(home, "benchmark"), [f"--python={path}"], {HOME: home})


def enrollingWorker(home: str) -> TwistdProcess:
    """
    A worker that also enrolls agents on demand.
    """
    return _application("enrolling", home)


def crowd(home: str, size: int) -> TwistdProcess:
    """
    Many workers of the master of one worker's home.
    """
    made = _application("crowd", home)
    made.environment[CROWD] = str(size)
    return made


def bareTwistd(folder: str, role: str) -> TwistdProcess:
    """
    A twistd that has the imports of a role and runs nothing.
    """
    application = os.path.join(_APPLICATIONS, "bare.py")
    return TwistdProcess(folder, [f"--python={application}"], {ROLE: role})
