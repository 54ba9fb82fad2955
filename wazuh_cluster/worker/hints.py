"""
What a worker makes of its master's hints: when it looks before the interval is
over, and whether at everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from wazuh_cluster.integrity import Items, Manifest, Snapshot
from wazuh_cluster.model import Generation

#: Hints that are followed at once; then one a second.
BURST = 3

#: What part of the interval passes at least between two looks at everything: the
#: clock may be early.
_MOST_OF_IT = 0.9


class Hints:
    """
    A worker's hints, over all its links.

    Who was at a generation a moment ago and hears of another one need only look
    at what changed between them. That everything is as it was then, the look at
    the interval sees.
    """

    def __init__(self, clock: IReactorTime, interval: float) -> None:
        """
        @param interval: seconds between two looks at everything.
        """
        self._clock = clock
        self._interval = interval
        self._again: Callable[[], None] = lambda: None
        self._soon: IDelayedCall | None = None
        self._room = float(BURST)
        self._counted = clock.seconds()
        self._heard = False
        self._reached: Generation | None = None
        self._wholeAt = 0.0

    def joined(self, again: Callable[[], None]) -> None:
        """
        There is a link.

        @param again: asks for a look.
        """
        self._again = again
        self._heard = False
        self._reached = None

    def left(self) -> None:
        """
        There is none any more.
        """
        self._cancel()
        self._reached = None

    def heard(self) -> None:
        """
        The master says that it has something new: look soon. However often it
        says so, there are few looks at once, and one a second after those.
        """
        self._heard = True
        if self._soon is not None and self._soon.active():
            return
        now = self._clock.seconds()
        since, self._counted = now - self._counted, now
        self._room = min(float(BURST), self._room + since) - 1
        if self._room >= 0:
            self._again()
        else:
            self._soon = self._clock.callLater(-self._room, self._again)

    def later(self, seconds: float) -> None:
        """
        Look again after a while, whatever is heard meanwhile.
        """
        self._cancel()
        self._soon = self._clock.callLater(seconds, self._again)

    def take(self) -> Generation | None:
        """
        A look begins.

        @return: the generation at which everything was a moment ago, if it is
            enough to look at what has changed since; else C{None}.
        """
        now = self._clock.seconds()
        heard, self._heard = self._heard, False
        reached, self._reached = self._reached, None
        if heard and 0 <= now - self._wholeAt < _MOST_OF_IT * self._interval:
            return reached
        self._wholeAt = now
        return None

    def reached(self, generation: Generation) -> None:
        """
        A look ended, and everything is as it should be at a generation.
        """
        self._reached = generation

    def _cancel(self) -> None:
        soon, self._soon = self._soon, None
        if soon is not None and soon.active():
            soon.cancel()


def placesOf(
    changed: Iterable[bytes], snapshot: Snapshot, manifest: Manifest, items: Items
) -> frozenset[bytes]:
    """
    Where to look before and after files are installed.

    @param changed: the paths of these files.
    @param snapshot: what there is.
    @param manifest: what there is to be.
    @return: paths, each of which stands for all that is below it: a folder that
        is to be made, or may go, in place of a file in it.
    """
    folders = {*snapshot.folders, *(item.path for item in items)}
    found: set[bytes] = set()
    for path in changed:
        place, above = path, path.rpartition(b"/")[0]
        item = items.around(path)
        while item is not None and not item.isFile and above != item.path:
            if above not in folders or not manifest.below(above):
                place = above
            above = above.rpartition(b"/")[0]
        found.add(place)
    return frozenset(found)
