"""
What keeps a log from being flooded: one line per key and interval, few lines
for many keys, and the last word about each subject.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from attrs import define
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Repeats:
    """
    Lets one log line through per key and interval, and counts the others.

    It remembers a bounded number of keys. While all of them are within their
    interval, every further key shares one place, so that a peer that invents
    keys cannot flood a log either.

    @ivar interval: in seconds.
    @ivar maxKeys: how many keys are remembered.
    """

    def __init__(
        self,
        clock: IReactorTime,
        interval: float = 1.0,
        maxKeys: int = 256,
        burst: int | None = None,
        rate: float = 1.0,
    ) -> None:
        """
        @param burst: how many lines of all keys together may go through at
            once; C{None} for any number.
        @param rate: how many of all keys a second after that.
        """
        self.interval = interval
        self.maxKeys = maxKeys
        self._clock = clock
        self._burst = burst
        self._rate = rate
        self._room = float(burst or 0)
        self._counted = clock.seconds()
        # Key to (when its last line went through, how many were held back
        # since), the longest ago first.
        self._seen: dict[Hashable, tuple[float, int]] = {}

    def allow(self, key: Hashable) -> int | None:
        """
        Ask whether a line may be written now.

        @return: C{None} if it must be held back; otherwise how many lines of
            this key were held back since its last one.
        """
        now = self._clock.seconds()
        if key not in self._seen and len(self._seen) >= self.maxKeys:
            self._forgetOld(now)
            if len(self._seen) >= self.maxKeys:
                key = _OTHERS
        last, held = self._seen.get(key, (None, 0))
        if last is not None and now - last < self.interval:
            self._seen[key] = (last, held + 1)
            return None
        through = self._takeRoom(now)
        self._seen.pop(key, None)
        self._seen[key] = (now, 0 if through else held + 1)
        return held if through else None

    def _takeRoom(self, now: float) -> bool:
        """
        Whether there is room for a line of any key.
        """
        if self._burst is None:
            return True
        since, self._counted = now - self._counted, now
        self._room = min(float(self._burst), self._room + since * self._rate)
        if self._room < 1:
            return False
        self._room -= 1
        return True

    def _forgetOld(self, now: float) -> None:
        """
        Forget the keys whose interval is over, and what they held back.
        """
        for key, (last, _) in list(self._seen.items()):
            if now - last < self.interval:
                break
            del self._seen[key]


#: The place that keys share when there is no room for their own.
_OTHERS = object()


#: How often a line that was held back is tried, once an interval.
_TRIES = 3


@define
class _Unsaid:
    """
    A line that was held back.

    @ivar counted: how often its key counted it as that.
    """

    kind: str
    write: Callable[[int], None]
    counted: int = 1


class Latest:
    """
    Lines about subjects that come and go: a kind of line goes through once per
    subject and interval. What was held back last about a subject goes through
    a little later, unless something newer does: the log ends with how things
    are. In a flood of subjects what is held back is not said at all.
    """

    def __init__(self, clock: IReactorTime, repeats: Repeats) -> None:
        """
        @param repeats: lets the lines through; its keys are pairs of a subject
            and a kind.
        """
        self._clock = clock
        self._repeats = repeats
        self._unsaid: dict[str, _Unsaid] = {}
        self._timer: IDelayedCall | None = None

    def note(self, subject: str, kind: str, write: Callable[[int], None]) -> None:
        """
        Something is so now.

        @param write: writes the line, now or later; it gets how many like it
            were held back before it. It must not hold what costs memory.
        """
        self._unsaid.pop(subject, None)
        self._try(subject, _Unsaid(kind, write, 0))

    def close(self) -> None:
        """
        Forget what was held back.
        """
        self._unsaid.clear()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _try(self, subject: str, line: _Unsaid) -> None:
        held = self._repeats.allow((subject, line.kind))
        if held is not None:
            line.write(max(0, held - line.counted))
            return
        line.counted += 1
        if line.counted > _TRIES or len(self._unsaid) >= self._repeats.maxKeys:
            return
        self._unsaid[subject] = line
        if self._timer is None:
            self._timer = self._clock.callLater(self._repeats.interval, self._again)

    def _again(self) -> None:
        self._timer = None
        unsaid, self._unsaid = self._unsaid, {}
        for subject, line in unsaid.items():
            self._try(subject, line)


def repeated(write: Callable[..., None], held: int, format: str, **fields: object) -> None:
    """
    Write a line, and in it how many like it were held back before.

    @param write: a method of a L{Journal<wazuh_cluster.journal.Journal>}.
    """
    if held:
        format += " ({suppressed} like it before)"
        fields["suppressed"] = held
    write(format, **fields)
