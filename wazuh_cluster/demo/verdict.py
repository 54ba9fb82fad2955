"""
What a node has, computed from the files in its home and not taken from its
word.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from attrs import evolve, field, frozen

from wazuh_cluster.demo.pace import Pace
from wazuh_cluster.home import Home
from wazuh_cluster.integrity import WAZUH_ITEMS, DirectoryTree, Manifest, Snapshot
from wazuh_cluster.integrity.filesystem import RealFileSystem
from wazuh_cluster.model import MASTER, FileEntry
from wazuh_cluster.state import DirectoryState
from wazuh_cluster.worker.memory import WorkerMemory


@frozen
class Seen:
    """
    What a home holds.

    @ivar root: over its carried files, 32 bytes.
    @ivar generation: the number that the node's state file tells; C{None}
        where there is none.
    """

    manifest: Manifest = field(repr=False)
    root: bytes
    generation: int | None


class Inspector:
    """
    Looks at one home again and again; a file that did not change is not read
    again.
    """

    def __init__(self, home: Home, role: str, pace: Pace) -> None:
        self._tree = DirectoryTree(home.path)
        self._state = DirectoryState(RealFileSystem(), home.stateFolder)
        self._role = role
        self._pace = pace
        self._snapshot: Snapshot | None = None

    def look(self) -> Seen:
        """
        What is there now.
        """
        self._snapshot = self._pace.drive(self._tree.scan(self._snapshot))
        manifest = self._snapshot.manifest
        root = self._pace.drive(manifest.rootSlices(self._tree.items))
        return Seen(manifest, root, self._generation())

    def _generation(self) -> int | None:
        if self._role == MASTER:
            content = self._state.load("generation")
            return None if content is None else int(json.loads(content)["number"])
        memory = WorkerMemory(self._state, self._tree.items)
        applied = self._pace.drive(memory.loadApplied())
        return None if applied is None else applied.generation.number


def differences(master: Manifest, worker: Manifest) -> list[str]:
    """
    The paths that are not the same on both, sorted.
    """
    ours, theirs = _byPath(master), _byPath(worker)
    return [
        os.fsdecode(path)
        for path in sorted(ours.keys() | theirs.keys())
        if ours.get(path) != theirs.get(path)
    ]


def _byPath(manifest: Manifest) -> dict[bytes, FileEntry]:
    """
    The files of a manifest, without the times that do not count.
    """
    found = {}
    for entry in manifest:
        item = WAZUH_ITEMS.find(entry.path)
        own = item is not None and item.ownTime
        found[entry.path] = evolve(entry, mtime=0) if own else entry
    return found


def allEqual(seen: Sequence[Seen]) -> bool:
    """
    Whether all roots are the same.
    """
    return len({each.root for each in seen}) == 1
