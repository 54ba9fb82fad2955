"""
The demo's nodes: real twistd processes, each in a session of its own so that a
Ctrl-C on the terminal reaches the demo alone.
"""

from __future__ import annotations

import os
import signal
import site
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import wazuh_cluster
from wazuh_cluster.demo.homes import ADDRESS
from wazuh_cluster.demo.pace import Pace
from wazuh_cluster.errors import ClusterError
from wazuh_cluster.home import Home

#: How long a node is given to end before it is killed, in seconds.
GRACE = 5.0

_TAIL = 10


class DemoFailed(ClusterError):
    """
    The demo did not come to its end.

    @ivar node: the node that it concerns, or C{None}.
    """

    def __init__(self, line: str, node: Node | None = None) -> None:
        super().__init__(line)
        self.node = node


class IProcess(Protocol):
    """
    What is needed of a C{subprocess.Popen}.
    """

    @property
    def pid(self) -> int:
        """
        Its id.
        """

    def poll(self) -> int | None:
        """
        Its exit status once it ended, which frees the id.
        """

    def send_signal(self, sig: int) -> None:
        """
        Signal it, if it has not ended.
        """

    def wait(self) -> int:
        """
        Wait for its end.
        """


#: Starts a node's process.
Launch = Callable[["Node"], IProcess]


class Node:
    """
    One node of the demo.

    @ivar name: its name in the cluster.
    @ivar role: C{"master"} or C{"worker"}.
    @ivar home: its home.
    @ivar enrollmentPort: where agents enroll when it is started; C{None} for
        nowhere.
    @ivar pagePort: where browsers see it, likewise.
    """

    enrollmentPort: int | None = None
    pagePort: int | None = None

    def __init__(self, name: str, role: str, home: Home, launch: Launch) -> None:
        self.name = name
        self.role = role
        self.home = home
        self._launch = launch
        self._process: IProcess | None = None

    @property
    def page(self) -> str:
        """
        The address of its page.
        """
        return f"http://{ADDRESS}:{self.pagePort}/"

    @property
    def output(self) -> str:
        """
        Where twistd's own log goes.
        """
        return self.home.join("logs/twistd.log")

    @property
    def pid(self) -> int | None:
        """
        The process's id while there is one.
        """
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """
        Start it.
        """
        assert self._process is None, f"{self.name} runs already"
        try:
            self._process = self._launch(self)
        except OSError as error:
            raise DemoFailed(f"{self.name} cannot be started: {error.strerror}.") from None

    def check(self) -> None:
        """
        See that it runs.

        @raise DemoFailed: if it ended by itself.
        """
        assert self._process is not None, f"{self.name} was not started"
        status = self._process.poll()
        if status is not None:
            raise DemoFailed(f"{self.name} {_how(status)}.", self)

    def kill(self) -> None:
        """
        Have the system end it, at once, and wait for that.
        """
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def terminate(self) -> None:
        """
        Ask it to end.
        """
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def hasEnded(self) -> bool:
        """
        Whether there is no process any more.
        """
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        return self._process is None

    def tail(self, lines: int = _TAIL) -> tuple[str, list[str]]:
        """
        A log's name and its last lines: of the cluster's log, or of twistd's
        if the node did not come so far.
        """
        for path in (self.home.log, self.output):
            try:
                with open(path, "rb") as file:
                    found = file.read().decode("utf-8", "backslashreplace").splitlines()
            except OSError:
                continue
            if found:
                return path, found[-lines:]
        return self.home.log, []


def end(nodes: Iterable[Node], pace: Pace, grace: float = GRACE) -> list[str]:
    """
    End nodes. Nothing interrupts this.

    @return: the names of those that had to be killed.
    """
    nodes = [node for node in nodes if not node.hasEnded()]
    for node in nodes:
        node.terminate()
    pace.until(lambda: all(node.hasEnded() for node in nodes), grace)
    killed = [node for node in nodes if not node.hasEnded()]
    for node in killed:
        node.kill()
    return [node.name for node in killed]


def twistdCommand(node: Node) -> list[str]:
    """
    What runs a node: the same Python, and twistd's own C{main}. A script
    C{twistd} need not be there.
    """
    command = [
        sys.executable,
        "-c",
        "from twisted.scripts.twistd import run; run()",
        "--nodaemon",
        f"--pidfile={node.home.pidFile}",
        "wazuh-cluster",
        f"--home={node.home.path}",
    ]
    if node.enrollmentPort is not None:
        command.append(f"--enrollment=tcp:{node.enrollmentPort}:interface={ADDRESS}")
    if node.pagePort is not None:
        command.append(f"--http=tcp:{node.pagePort}:interface={ADDRESS}")
    return command


def nodeEnvironment(environment: Mapping[str, str]) -> dict[str, str]:
    """
    An environment in which Python finds this package, and Twisted its plugin,
    also where the package is not installed.
    """
    found = dict(environment)
    place = os.path.dirname(os.path.dirname(os.path.abspath(wazuh_cluster.__file__)))
    # Installed packages must not come before Python's own library.
    if place not in (*site.getsitepackages(), site.getusersitepackages()):
        before = environment.get("PYTHONPATH")
        found["PYTHONPATH"] = f"{place}{os.pathsep}{before}" if before else place
    return found


def launchTwistd(node: Node) -> IProcess:
    """
    Start a node's process. What it says is added to the node's output.
    """
    with open(node.output, "ab") as file:
        return subprocess.Popen(
            twistdCommand(node),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            # Of the folders there none is taken for a package of Python's.
            cwd="/",
            env=nodeEnvironment(os.environ),
            start_new_session=True,
        )


def _how(status: int) -> str:
    if status < 0:
        return f"was ended by the signal {-status}"
    return f"ended by itself with status {status}"
