"""
Real nodes for tests: twistd processes on loopback.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SkipTest, TestCase

import wazuh_cluster
from wazuh_cluster.enrollment.openrequests import pathFor
from wazuh_cluster.integrity import DirectoryTree
from wazuh_cluster.scripts.main import main
from wazuh_cluster.testing.runner import ImmediateRunner

T = TypeVar("T")

#: How long any condition may take to come true.
PATIENCE = 40.0

_CHECKOUT = os.path.dirname(os.path.dirname(wazuh_cluster.__file__))
#: What a node runs.
RUN = "from twisted.scripts.twistd import run; run()"

#: C{wazuh-cluster}.
COMMAND = """
import sys
from wazuh_cluster.scripts.main import main
sys.exit(main())
"""


class Process(ProcessProtocol):
    """
    A child process: what it wrote, and how it ended.
    """

    def __init__(self) -> None:
        self.out = b""
        self.err = b""
        self.ended: Deferred[int] = Deferred()
        self.running = True

    def outReceived(self, data: bytes) -> None:
        self.out += data

    def errReceived(self, data: bytes) -> None:
        self.err += data

    def processEnded(self, reason: Failure) -> None:
        self.running = False
        value = reason.value
        assert isinstance(value, (ProcessDone, ProcessTerminated))
        code = value.exitCode if value.exitCode is not None else -int(value.signal or 0)
        self.ended.callback(code)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """
        Send a signal, if it is there to get it.
        """
        if self.running and self.transport is not None:
            assert self.transport.pid is not None
            os.kill(self.transport.pid, number)


def freePort() -> int:
    """
    A port that nobody uses right now.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ProcessCase(TestCase):
    """
    Runs nodes, and ends each of them by its id.
    """

    timeout = 120

    def setUp(self) -> None:
        self.processes: list[Process] = []
        self.over = False
        self.port = freePort()
        self._seen: dict[str, Any] = {}
        self._homes: list[FilePath[str]] = []
        self.addCleanup(self.endAll)

    async def endAll(self) -> None:
        # A test that took too long goes on, and must not start anything now.
        self.over = True
        for process in self.processes:
            process.kill()
        for process in self.processes:
            if process.running:
                await process.ended
        for home in self._homes:
            # What those leave that were killed while agents enrolled.
            with suppress(OSError):
                os.unlink(pathFor(home.path))

    def init(self, name: str, *options: str) -> FilePath[str]:
        """
        Make a home by the command.
        """
        home = FilePath(os.path.abspath(self.mktemp() + "-" + name))
        arguments = ["init", "--home", home.path, "--node-name", name, *options]
        arguments += ["--port", str(self.port)]
        with redirect_stdout(StringIO()):
            self.assertEqual(0, main(arguments))
        self.settings(home, "[integrity]\ninterval = 1\n")
        self._homes.append(home)
        return home

    def settings(self, home: FilePath[str], text: str) -> None:
        home.preauthChild("etc/wazuh_cluster.ini").setContent(text.encode("ascii"))

    def cluster(self, *workers: str) -> list[FilePath[str]]:
        """
        Homes of a master and workers that fit together.
        """
        master = self.init("hub", "--role", "master", "--bind-addr", "127.0.0.1")
        key = master.preauthChild("etc/ossec.conf").path
        homes = [
            self.init(name, "--role", "worker", "--master", "127.0.0.1", "--key-file", key)
            for name in workers
        ]
        return [master, *homes]

    def spawn(
        self,
        arguments: list[str],
        code: str = RUN,
        wrapper: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        sockets: Sequence[socket.socket] = (),
    ) -> Process:
        """
        Start Python with arguments, in a folder of its own.

        @param wrapper: a program, absolute, with arguments, that starts it.
        @param variables: added to its environment.
        @param sockets: what it has as descriptors 3, 4, …
        """
        assert not self.over, "the test is over"
        process = Process()
        folder = FilePath(self.mktemp())
        folder.makedirs()
        environment = {**os.environ, "PYTHONPATH": _CHECKOUT, **(variables or {})}
        descriptors: dict[int, Any] = {0: "w", 1: "r", 2: "r"}
        descriptors.update((3 + n, each.fileno()) for n, each in enumerate(sockets))
        command = [*wrapper, sys.executable, "-c", code, *arguments]
        reactor.spawnProcess(
            process,
            command[0],
            command,
            env=environment,
            path=folder.path,
            childFDs=descriptors,
        )
        self.processes.append(process)
        return process

    def node(self, home: FilePath[str], *options: str, code: str = RUN, **keywords: Any) -> Process:
        """
        Start a node in the foreground.

        @param keywords: see L{spawn}.
        """
        arguments = ["--nodaemon", "wazuh-cluster", "--home", home.path, "--verbose", *options]
        return self.spawn(arguments, code, **keywords)

    async def until(self, condition: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
        """
        Wait for something to come true.
        """
        deadline = reactor.seconds() + patience
        while not (result := condition()):
            if reactor.seconds() > deadline:
                self.fail(f"{what}: not within {patience:g} s\n{self.story()}")
            await deferLater(reactor, 0.02)
        return result

    def story(self) -> str:
        """
        What the processes wrote, for a failing test.
        """
        parts = [process.err[-2000:] + process.out[-3000:] for process in self.processes]
        return "\n---\n".join(part.decode("utf-8", "replace") for part in parts)

    def mount(self, *arguments: str) -> None:
        """
        Mount something, until the test ends.
        """
        result = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
        if result.returncode:
            raise SkipTest(f"this user may not mount: {result.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "--lazy", arguments[-1]], check=True)

    def mountSmall(self, home: FilePath[str], size: str = "4m") -> FilePath[str]:
        """
        Put a home that is not used now on a small file system of its own.

        @return: a file in it, for L{fill}.
        """
        copy = FilePath(self.mktemp())
        shutil.copytree(home.path, copy.path, ignore=shutil.ignore_patterns("*.sock"))
        self.mount("-t", "tmpfs", "-o", f"size={size}", "none", home.path)
        shutil.copytree(copy.path, home.path, dirs_exist_ok=True)
        return home.child("filler")

    def fill(self, filler: FilePath[str]) -> None:
        """
        Write into a file until there is no room.
        """
        with open(filler.path, "wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    def root(self, home: FilePath[str]) -> bytes:
        """
        The root of what a home carries, seen from outside.
        """
        tree = DirectoryTree(home.path)
        result: list[Any] = []
        previous = self._seen.get(home.path)
        ImmediateRunner().run(tree.scan(previous)).addBoth(result.append)
        if isinstance(result[0], Failure):
            result[0].raiseException()
        self._seen[home.path] = result[0]
        root: bytes = result[0].manifest.root(tree.items)
        return root

    def equal(self, *homes: FilePath[str]) -> bool:
        return len({self.root(home) for home in homes}) == 1

    def untilEqual(self, *homes: FilePath[str]) -> Awaitable[bool]:
        return self.until(lambda: self.equal(*homes), "equal files")

    def log(self, home: FilePath[str]) -> str:
        path = home.preauthChild("logs/cluster.log")
        return path.getContent().decode("utf-8") if path.exists() else ""

    def leftovers(self, home: FilePath[str]) -> list[str]:
        """
        Files that an unfinished installation leaves.
        """
        staging = home.preauthChild("queue/wazuh_cluster/staging")
        found = [child.path for child in staging.children()] if staging.exists() else []
        found += [child.path for child in home.walk() if re.search(r"\.tmp$", child.path)]
        return found
