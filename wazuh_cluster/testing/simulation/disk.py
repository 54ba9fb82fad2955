"""
A machine's disk in a simulation: it outlives processes, and loses what was not
synced when the machine dies.
"""

from __future__ import annotations

import copy
import stat
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorTime

from wazuh_cluster.interfaces import FileStat
from wazuh_cluster.testing.filesystem import MemoryFileSystem, _Node

if TYPE_CHECKING:
    from wazuh_cluster.testing.simulation.process import SimProcess


class SimDisk(MemoryFileSystem):
    """
    The disk itself, as people and other programs see it: nothing of what they do
    fails or is observed.
    """

    def __init__(self, clock: IReactorTime, random: Random) -> None:
        """
        @param clock: the machine's wall clock.
        @param random: what a power cut leaves.
        """
        super().__init__(clock)
        self.version = 0
        self.watcher: Callable[[bytes], None] = lambda path: None
        self._random = random

    def _operate(self, operation: str, path: bytes, changes: bool = False) -> None:
        return

    def put(
        self, path: bytes, content: bytes, mode: int = 0o660, mtime: float | None = None
    ) -> None:
        """
        See L{MemoryFileSystem.put}.
        """
        super().put(path, content, mode, mtime)
        self.watcher(path)

    def link(self, path: bytes, target: bytes) -> None:
        """
        See L{MemoryFileSystem.link}.
        """
        super().link(path, target)
        self.watcher(path)

    def remove(self, path: bytes) -> None:
        """
        See L{MemoryFileSystem.remove}.
        """
        super().remove(path)
        self.watcher(path)

    def losePower(self) -> None:
        """
        The machine loses its power: what was not synced may be lost, each
        folder and file by itself, and of a file a part.
        """
        random = self._random
        for node in list(self._nodes()):
            if node.kind == stat.S_IFDIR:
                if node.children != node.syncedChildren and random.random() < 0.5:
                    node.children = dict(node.syncedChildren)
            elif node.kind == stat.S_IFREG and node.synced != node.content:
                chance = random.random()
                if chance < 0.3:
                    node.content[:] = node.synced or b""
                elif chance < 0.8:
                    # Its end is missing, or was never written where it is now.
                    end = random.randrange(len(node.content) + 1)
                    missing = len(node.content) - end
                    node.content[end:] = bytes(missing) if chance < 0.6 else b""
        self._partNames()
        self.settle()

    def _partNames(self) -> None:
        """
        A file that was moved may have both names after a power cut. They are two
        files then: a file system that is mended after that sees to it.
        """
        seen: set[int] = set()
        for folder in list(self._nodes()):
            for name, child in folder.children.items():
                if child.inode in seen:
                    folder.children[name] = child = copy.deepcopy(child)
                    self._inodes += 1
                    child.inode = self._inodes
                child.links = 1
                seen.add(child.inode)

    def settle(self) -> None:
        """
        Make everything durable, as time does.
        """
        self.version += 1
        for node in self._nodes():
            if node.kind == stat.S_IFDIR:
                if node.syncedChildren != node.children:
                    node.syncedChildren = dict(node.children)
            elif node.kind == stat.S_IFREG and node.synced != node.content:
                node.synced = bytes(node.content)

    def statusOf(self, path: bytes) -> FileStat | None:
        """
        The status of what is there, of the link itself where it is one; C{None} if
        there is nothing.
        """
        node = self._node(path)
        return None if node is None else node.status()

    def contentOf(self, path: bytes) -> bytes | None:
        """
        What a regular file has; C{None} if there is none.
        """
        node = self._node(path)
        return bytes(node.content) if node is not None and node.kind == stat.S_IFREG else None

    def keep(self, path: bytes, content: bytes) -> None:
        """
        A database that sees to its own durability has this content now.
        """
        self.put(path, content)
        above, _, name = path.rpartition(b"/")
        folder, node = self._node(above), self._node(path)
        assert folder is not None and node is not None
        node.synced = bytes(content)
        folder.syncedChildren[name] = node

    def durableContentOf(self, path: bytes) -> bytes | None:
        """
        What the regular file at a path has after a power cut that spares only
        what is durable; C{None} if there is none then.
        """
        node: _Node | None = self._root
        for name in path.strip(b"/").split(b"/"):
            if node is None or node.kind != stat.S_IFDIR:
                return None
            node = node.syncedChildren.get(name)
        return node.synced if node is not None and node.kind == stat.S_IFREG else None

    def _node(self, path: bytes) -> _Node | None:
        node: _Node | None = self._root
        for name in path.strip(b"/").split(b"/"):
            if node is None or node.kind != stat.S_IFDIR:
                return None
            node = node.children.get(name)
        return node

    def isDurable(self, path: bytes) -> bool:
        """
        Whether a power cut now would leave the file at C{path} as it is, or the
        path without one as it is.
        """
        node = self._root
        for name in path.strip(b"/").split(b"/"):
            child = node.children.get(name)
            if node.syncedChildren.get(name) is not child:
                return False
            if child is None:
                return True
            node = child
        return node.kind != stat.S_IFREG or node.synced == node.content

    def snapshot(self, folder: bytes) -> Any:
        """
        A copy of all below a folder, for L{restore}.
        """
        return copy.deepcopy(self._resolve(folder)[1].children)

    def restore(self, folder: bytes, snapshot: Any) -> None:
        """
        Put back what L{snapshot} gave, in place of what is there.
        """
        node = self._resolve(folder)[1]
        for child in node.children.values():
            _empty(child)
        node.children.clear()
        node.children.update(copy.deepcopy(snapshot))
        self.settle()


def _empty(node: _Node) -> None:
    """
    Remove something with all below it: who has it open finds nothing there any more,
    and can make nothing.
    """
    node.links = 0
    for child in node.children.values():
        _empty(child)
    node.children.clear()


class ProcessDisk(MemoryFileSystem):
    """
    What one process sees of its machine's disk. Each operation is the process's
    to allow.
    """

    def __init__(self, disk: SimDisk, process: SimProcess) -> None:
        # What belongs to the disk is the disk's: there is no own state here but
        # the way to it.
        self._disk = disk
        self._process = process
        self._rules = []
        self._devices = disk._devices
        self._clock = disk._clock

    @property
    def _root(self) -> _Node:  # type: ignore[override]
        return self._disk._root

    @property
    def free(self) -> int | None:
        """
        See L{MemoryFileSystem}.
        """
        return self._disk.free

    @free.setter
    def free(self, value: int | None) -> None:
        self._disk.free = value

    def _make(self, kind: int, mode: int, device: int) -> _Node:
        return self._disk._make(kind, mode, device)

    def _operate(self, operation: str, path: bytes, changes: bool = False) -> None:
        self._process.operating(operation, path, changes)
