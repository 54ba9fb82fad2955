"""
rsync as a peer: a daemon without encryption on loopback, and its clients.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time

from attrs import define

from benchmarks.nodes import ADDRESS, BenchmarkFailed, freePort

MISSING = (
    "rsync is not installed: its figures are left out. "
    "On Debian and Ubuntu: apt-get install -y rsync"
)

_PATIENCE = 5.0


def findRsync() -> str | None:
    """
    The program, or C{None} if there is none.
    """
    return shutil.which("rsync")


def rsyncVersion(program: str) -> str:
    """
    What it says of itself, in one line.
    """
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return " ".join(said.stdout.splitlines()[0].split())


@define
class RsyncDaemon:
    """
    A daemon that serves one folder. Use it in a C{with} block.
    """

    program: str
    folder: str
    source: str
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> RsyncDaemon:
        """
        Start it, and wait until it listens.
        """
        self.port = freePort()
        os.makedirs(self.folder, exist_ok=True)
        path = os.path.join(self.folder, "rsyncd.conf")
        lines = [
            f"port = {self.port}",
            f"address = {ADDRESS}",
            "use chroot = no",
            "reverse lookup = no",
            f"log file = {os.path.join(self.folder, 'rsyncd.log')}",
            *(["uid = root", "gid = root"] if os.geteuid() == 0 else []),
            "[tree]",
            f"path = {self.source}",
            "read only = yes",
        ]
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        self._process = subprocess.Popen(
            [self.program, "--daemon", "--no-detach", f"--config={path}"],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._await()
        return self

    def _await(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection((ADDRESS, self.port), 1.0).close()
                return
            except OSError:
                time.sleep(0.02)
        raise BenchmarkFailed(f"{self.folder}: rsync's daemon does not listen")

    def pull(self, target: str, compressed: bool = False) -> float:
        """
        Bring the folder's copy in C{target} up to date.

        @param compressed: whether it travels compressed.
        @return: how long the client's whole process took, in seconds.
        """
        os.makedirs(target, exist_ok=True)
        options = "-az" if compressed else "-a"
        source = f"rsync://{ADDRESS}:{self.port}/tree/"
        command = [self.program, options, source, f"{target}/"]
        started = time.perf_counter()
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
        seconds = time.perf_counter() - started
        if ended.returncode != 0:
            raise BenchmarkFailed(f"rsync ended with status {ended.returncode}")
        return seconds

    def end(self) -> None:
        """
        End it.
        """
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def __enter__(self) -> RsyncDaemon:
        return self

    def __exit__(self, *reason: object) -> None:
        self.end()
