"""
A watcher for tests: it tells what it is told to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from zope.interface import implementer

from wazuh_cluster.interfaces import IRunner, IWatcher


@implementer(IWatcher)
class ToldWatcher:
    """
    An L{IWatcher} in which changes are put by hand.

    @ivar followed: the folders of the last L{follow}.
    @ivar able: whether it can watch.
    """

    def __init__(self) -> None:
        self.able = True
        self.followed: Collection[bytes] | None = None
        self._changed: Callable[[Collection[bytes] | None], None] | None = None
        self._untold: list[Collection[bytes] | None] = []

    @property
    def watching(self) -> bool:
        """
        See L{IWatcher.watching}.
        """
        return self.able and self.followed is not None

    def start(self, runner: IRunner, changed: Callable[[Collection[bytes] | None], None]) -> None:
        """
        See L{IWatcher.start}.
        """
        self._changed = changed

    async def follow(self, folders: Collection[bytes]) -> None:
        """
        See L{IWatcher.follow}.
        """
        if self.able:
            self.followed = folders

    def look(self) -> None:
        """
        See L{IWatcher.look}.
        """
        untold, self._untold = self._untold, []
        if self._changed is not None:
            for paths in untold:
                self._changed(paths)

    def stop(self) -> None:
        """
        See L{IWatcher.stop}.
        """
        self._changed = None
        self.followed = None

    def happen(self, *paths: bytes) -> None:
        """
        Something changed, and L{look} will tell.
        """
        self._untold.append(paths)

    def tell(self, *paths: bytes) -> None:
        """
        Something changed, and is told now.
        """
        self.happen(*paths)
        self.look()

    def tellAll(self) -> None:
        """
        Anything may have changed.
        """
        self._untold.append(None)
        self.look()
