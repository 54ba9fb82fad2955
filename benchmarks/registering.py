"""
A process that registers agents in a home, and tells how long that took.

C{python -m benchmarks.registering HOME COUNT} writes one line of JSON. It does
what a master does: its registrar on a thread, its journal and files in the home.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from benchmarks.processes import memoryOf
from wazuh_cluster.agents import ClientKeysRegistrar, Registration
from wazuh_cluster.agents.groupcommit import MOST
from wazuh_cluster.home import Home
from wazuh_cluster.integrity.filesystem import RealFileSystem
from wazuh_cluster.journal import MAIN, Journal
from wazuh_cluster.state import DirectoryState
from wazuh_cluster.threads import ThreadRunner

#: How many are asked for one after the other.
SINGLE = 20

#: The files that a batch writes, below the home.
WRITTEN = ("etc/client.keys", "queue/agents-timestamp")
JOURNAL = "queue/wazuh_cluster/registrations"


async def register(reactor: Any, path: str, count: int) -> dict[str, float]:
    """
    Register agents.

    @return: how long things took, in seconds, and the memory that the
        registrar's own needs took, in bytes.
    """
    home = Home(path)
    fileSystem = RealFileSystem()
    runner = ThreadRunner(reactor, "registrar")
    registrar = ClientKeysRegistrar(
        home.path,
        runner,
        reactor,
        DirectoryState(fileSystem, home.stateFolder),
        fileSystem=fileSystem,
        journal=Journal(MAIN, observer=lambda event: None),
    )
    found: dict[str, float] = {}
    before = memoryOf(os.getpid()).resident
    began = time.monotonic()
    await registrar.load()
    found["load"] = time.monotonic() - began
    found["memory"] = memoryOf(os.getpid()).resident - before
    asked = [(Registration(f"crowd-{n}"), b"crowd-%010d" % n) for n in range(count)]
    began = time.monotonic()
    agents = await gatherResults([registrar.register(each, id, "hub") for each, id in asked])
    found["crowd"] = time.monotonic() - began
    assert len({agent.id for agent in agents}) == count
    began = time.monotonic()
    for n in range(SINGLE):
        await registrar.register(Registration(f"single-{n}"), b"single-%09d" % n, "hub")
    found["single"] = (time.monotonic() - began) / SINGLE
    runner.stop()
    found["limit"] = write(home, count)
    return found


def write(home: Home, count: int, most: int = MOST) -> float:
    """
    Write and sync what a crowd does, deciding nothing: the journal and both
    files, once for the first who asks, and once for each batch of the others.

    @param most: how many a batch has.
    @return: how long that took, in seconds.
    """
    contents = []
    for name in WRITTEN:
        with open(home.join(name), "rb") as file:
            contents.append((home.join(name), file.read()))
    records = os.urandom(36 * count)
    began = time.monotonic()
    for start in (0, *range(36, len(records), 36 * most)):
        record = records[start : 36 * most + start] if start else records[:36]
        with open(home.join(JOURNAL), "ab") as file:
            _synced(file.fileno(), record)
        for path, content in contents:
            with open(path + ".new", "xb") as file:
                _synced(file.fileno(), content)
            os.rename(path + ".new", path)
            folder = os.open(os.path.dirname(path), os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
    return time.monotonic() - began


def _synced(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


def main(reactor: Any, path: str, count: str) -> Deferred[None]:
    """
    The process.
    """

    async def run() -> None:
        found = await register(reactor, path, int(count))
        sys.stdout.write(json.dumps(found) + "\n")

    return Deferred.fromCoroutine(run())


if __name__ == "__main__":
    react(main, sys.argv[1:])
