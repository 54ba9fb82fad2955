"""
When the master looks at its files before the interval is over, and at which:
what a watcher says, gathered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from wazuh_cluster.integrity import Items, Snapshot
from wazuh_cluster.interfaces import IRunner, IWatcher

#: Changes are gathered until so many seconds passed without one, and for so many
#: at the longest: programs write files by tens and hundreds.
QUIET = 0.015
LONGEST = 0.06

#: Looks that may follow each other at once; then one a second. Workers follow as
#: many hints.
BURST = 3

#: Paths that are remembered; if there are more, everything is looked at.
MOST = 4096

#: What part of the interval passes at least between two looks at everything: the
#: clock may be early.
_MOST_OF_IT = 0.9


class Wakeups:
    """
    What has changed since the last look, and the timer until the next one.

    Files whose time is their own, C{client.keys}, are looked at in the pace of
    who looks: while agents enroll they are other ones all the time.
    """

    def __init__(
        self,
        watcher: IWatcher | None,
        items: Items,
        clock: IReactorTime,
        interval: Callable[[], float],
        wake: Callable[[float | None], None],
    ) -> None:
        """
        @param watcher: C{None} if nobody tells what changes.
        @param interval: seconds between two looks at everything.
        @param wake: asks for a look; with 0 for one at once, with C{None} for
            one in the pace of who looks.
        """
        self._watcher = watcher
        self._own = frozenset(item.path for item in items if item.isFile and item.ownTime)
        self._clock = clock
        self._interval = interval
        self._wake = wake
        self._paths: set[bytes] = set()
        self._everything = True
        # Whether the next look was asked for here.
        self._asked = False
        self._wholeAt = clock.seconds()
        self._timer: IDelayedCall | None = None
        self._longest = 0.0
        self._room = float(BURST)
        self._counted = clock.seconds()

    def start(self, runner: IRunner) -> None:
        """
        Begin.

        @param runner: where folders are added.
        """
        if self._watcher is not None:
            self._watcher.start(runner, self.changed)

    def stop(self) -> None:
        """
        Watch nothing more.
        """
        self._cancel()
        if self._watcher is not None:
            self._watcher.stop()

    def changed(self, paths: Collection[bytes] | None) -> None:
        """
        Something changed: see L{IWatcher.start}.
        """
        if paths is None:
            self._everything = True
        else:
            self._note(paths)
            if self._own.issuperset(paths):
                self._asked = True
                self._wake(None)
                return
        self._gather()

    def written(self) -> None:
        """
        This node itself has changed files: keys, groups.
        """
        self._note(self._own)
        self._asked = True
        self._wake(None)

    def take(self) -> frozenset[bytes] | None:
        """
        A look begins.

        @return: the paths that it has to look at; C{None} if at all.
        """
        now = self._clock.seconds()
        watcher = self._watcher
        if watcher is not None:
            watcher.look()
        self._cancel()
        since = now - self._wholeAt
        whole = (
            watcher is None
            or not watcher.watching
            or not self._asked
            or self._everything
            or not 0 <= since < _MOST_OF_IT * self._interval()
        )
        paths, self._paths = frozenset(self._paths), set()
        self._everything = self._asked = False
        if not whole:
            return paths
        self._wholeAt = now
        return None

    async def saw(self, snapshot: Snapshot) -> None:
        """
        A look ended well.
        """
        if self._watcher is not None:
            await self._watcher.follow(snapshot.folders)

    def failed(self) -> None:
        """
        A look failed: the next one is at everything.
        """
        self._everything = True

    def _note(self, paths: Collection[bytes]) -> None:
        self._paths.update(paths)
        if len(self._paths) > MOST:
            self._paths.clear()
            self._everything = True

    def _gather(self) -> None:
        now = self._clock.seconds()
        if self._timer is None:
            wait = self._wait(now)
            self._longest = now + max(wait, LONGEST)
            self._timer = self._clock.callLater(max(wait, QUIET), self._gathered)
        elif self._timer.getTime() < self._longest:
            later = min(now + QUIET, self._longest)
            if later > self._timer.getTime():
                self._timer.reset(later - now)

    def _wait(self, now: float) -> float:
        """
        How long the next look has to wait for those before it.
        """
        since, self._counted = max(0.0, now - self._counted), now
        self._room = min(float(BURST), self._room + since) - 1
        return max(0.0, -self._room)

    def _gathered(self) -> None:
        self._timer = None
        self._asked = True
        self._wake(0.0)

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
