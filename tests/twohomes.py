"""
A master's and a worker's home in memory, and a whole sync from the one to the
other without a network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable
from itertools import count
from typing import TypeVar

from twisted.internet.task import Clock

from wazuh_cluster.integrity import (
    WAZUH_ITEMS,
    Comparison,
    DirectoryTree,
    Holds,
    Items,
    Manifest,
    Outcome,
    PackReader,
    Plan,
    Receiver,
    Snapshot,
    Staging,
    WantsDecoder,
    makePlan,
)
from wazuh_cluster.interfaces import IFileSystem
from wazuh_cluster.model import FileEntry
from wazuh_cluster.testing.filesystem import MemoryFileSystem

T = TypeVar("T")

#: When tests begin, in seconds since the epoch.
NOW = 1_700_000_000


def drive(slices: Generator[None, None, T]) -> T:
    """
    Run slices to their end.
    """
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: T = end.value
            return result


def counter() -> Callable[[int], bytes]:
    """
    Random bytes that are never the same.
    """
    numbers = count()
    return lambda size: next(numbers).to_bytes(size, "big")


def entryOf(path: bytes, content: bytes, mtime: int = NOW - 1000) -> FileEntry:
    """
    The MD5 entry of a content.
    """
    return FileEntry(path, len(content), mtime, hashlib.md5(content).digest())


def manifestOf(files: dict[bytes, bytes], mtime: int = NOW - 1000) -> Manifest:
    """
    The manifest of some files.
    """
    return Manifest.fromEntries("md5", [entryOf(p, c, mtime) for p, c in files.items()])


class TwoHomes:
    """
    C{/master} and C{/worker} on one file system in memory.
    """

    def __init__(self, items: Items = WAZUH_ITEMS, staging: bytes | None = None) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.fs = MemoryFileSystem(self.clock)
        for home in (b"/master", b"/worker"):
            self.fs.makeFolders(home + b"/etc")
        self.items = items
        self.random = counter()
        self.master = self.tree(b"/master")
        self.worker = self.tree(b"/worker", staging=staging)
        self.received = 0
        self.failures: dict[bytes, str] = {}

    def tree(self, path: bytes, staging: bytes | None = None) -> DirectoryTree:
        """
        A tree as a new process has it.
        """
        fs: IFileSystem = self.fs
        return DirectoryTree(
            path,
            self.items,
            fileSystem=fs,
            staging=staging,
            wallClock=self.clock.seconds,
            randomBytes=self.random,
        )

    def put(self, home: bytes, files: dict[bytes, bytes], mtime: float = NOW - 1000) -> None:
        """
        Put files into a home.
        """
        for path, content in files.items():
            mode = 0o640 if path.endswith(b"client.keys") else 0o660
            self.fs.put(home + b"/" + path, content, mode, mtime)

    def manifest(self) -> Manifest:
        """
        What the master carries now.
        """
        return drive(self.master.scan()).manifest

    def snapshot(self) -> Snapshot:
        """
        What the worker has now.
        """
        return drive(self.worker.scan(carryLinks=False))

    def compare(self, lastApplied: Manifest | None = None) -> Comparison:
        """
        The worker compared with the master.
        """
        return drive(self.worker.compare(self.snapshot(), self.manifest(), lastApplied))

    def plan(self, holds: Holds | None = None, refused: Iterable[bytes] = ()) -> Plan:
        """
        What a sync would do.
        """
        manifest = self.manifest()
        comparison = drive(self.worker.compare(self.snapshot(), manifest, None))
        return makePlan(comparison, holds or Holds(), manifest, self.worker.owner(), refused)

    def fetch(self, plan: Plan, staging: Staging, chunk: int = 65000) -> None:
        """
        Bring what a plan needs to the worker's staging folder.
        """
        needed = drive(staging.needed(plan.manifest, plan.contents))
        decoder = WantsDecoder(self.items, staging.algorithm)
        decoder.feed(needed.wants.encoded)
        source = self.master.openPack(decoder.finish())
        receiver = Receiver(staging, plan.manifest, needed, self.items, plan.owner)
        reader = PackReader(receiver)
        try:
            while data := source.read(chunk):
                reader.feed(data)
            reader.finish()
        finally:
            source.close()
            receiver.close()
            self.received += receiver.received
            self.failures = receiver.failures

    def sync(self, holds: Holds | None = None, refused: Iterable[bytes] = ()) -> Outcome:
        """
        One whole sync.
        """
        plan = self.plan(holds, refused)
        staging = self.worker.openStaging()
        try:
            self.fetch(plan, staging)
            return drive(self.worker.install(plan, staging, self.failures))
        finally:
            staging.close()

    def files(self, home: bytes) -> dict[bytes, bytes]:
        """
        All carried files of a home, by scanning it.
        """
        manifest = drive(self.tree(home).scan()).manifest
        return {path: self.fs.get(home + b"/" + path) for path in manifest.paths}

    def roots(self) -> tuple[bytes, bytes]:
        """
        The master's and the worker's.
        """
        return (
            self.manifest().root(self.items),
            self.snapshot().manifest.root(self.items),
        )
