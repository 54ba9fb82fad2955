"""
What tells a simulated master of changes: mostly it does, late or early, and not
of everything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from random import Random
from typing import TYPE_CHECKING

from zope.interface import implementer

from wazuh_cluster.integrity.paths import isWithin
from wazuh_cluster.interfaces import IRunner, IWatcher

if TYPE_CHECKING:
    from wazuh_cluster.testing.simulation.process import SimProcess

#: How often a change is not told of at all, and how often something is told that
#: stands for everything.
_LOST = 0.05
_OVERFLOWS = 0.02


@implementer(IWatcher)
class SimWatcher:
    """
    An L{IWatcher} of one process, which its machine's disk tells what happens.
    """

    def __init__(self, process: SimProcess, home: bytes) -> None:
        machine = process.machine
        self._process = process
        self._home = home + b"/"
        self._items = machine.cluster.items
        # Its own: what else happens by chance must not depend on it.
        self._random = Random(f"{machine.bootId()} {process.number}")
        self._changed: Callable[[Collection[bytes] | None], None] | None = None
        self._untold: set[bytes] = set()
        self._waking = False
        self.watching = False
        machine.disk.watcher = self.happened

    def start(self, runner: IRunner, changed: Callable[[Collection[bytes] | None], None]) -> None:
        """
        See L{IWatcher.start}.
        """
        self._changed = changed

    async def follow(self, folders: Collection[bytes]) -> None:
        """
        See L{IWatcher.follow}.
        """
        if self._changed is not None and not self.watching:
            self.watching = True
            self._changed(None)

    def look(self) -> None:
        """
        See L{IWatcher.look}.
        """
        untold, self._untold = self._untold, set()
        if not untold or self._changed is None:
            return
        everything = self._random.random() < _OVERFLOWS or any(
            self._items.around(path) is None for path in untold
        )
        self._changed(None if everything else untold)

    def stop(self) -> None:
        """
        See L{IWatcher.stop}.
        """
        self._changed = None
        self.watching = False

    def happened(self, path: bytes) -> None:
        """
        Something happens at an absolute path.
        """
        if not self.watching or not path.startswith(self._home):
            return
        path = path[len(self._home) :]
        carried = self._items.find(path) is not None or any(
            isWithin(item.path, path) or (isWithin(path, item.path) and not item.isFile)
            for item in self._items
        )
        if not carried or self._random.random() < _LOST:
            return
        self._untold.add(path)
        if not self._waking:
            self._waking = True
            self._process.later(self._random.uniform(0.0, 0.05), self._wake)

    def _wake(self) -> None:
        self._waking = False
        self.look()
