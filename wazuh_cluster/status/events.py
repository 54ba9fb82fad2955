"""
What happened on a node, or in a cluster: the last of it, numbered, in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from wazuh_cluster.protocol.bodies import writeBody
from wazuh_cluster.protocol.commands import BODY_SIZE
from wazuh_cluster.status.codec import write
from wazuh_cluster.status.values import Event, EventPage

# The kinds of events.
STARTED = "started"
JOINED = "joined"
LEFT = "left"
FAILED = "failed"
REFUSED = "refused"
LOST = "lost"
GENERATION = "generation"
SYNCED = "synced"
REASON = "reason"
OVER = "over"
ASKED = "asked"
FORGOTTEN = "forgotten"

#: Each kind, and what it tells.
KINDS = {
    STARTED: "this node began",
    JOINED: "a worker joined, or this worker did",
    LEFT: "a worker was stopped",
    FAILED: "a worker's link ended otherwise",
    REFUSED: "a node may not join",
    LOST: "this worker has no link to its master",
    GENERATION: "the master's files changed",
    SYNCED: "files were installed on a worker",
    REASON: "the verdict has a new reason",
    OVER: "a reason is none any more",
    ASKED: "somebody asked for a change",
    FORGOTTEN: "a node was forgotten",
}

#: How many events are kept, how many one page has, and how long a text may be.
KEPT = 1000
PAGE = 200
LONGEST = 500

_ROOM = BODY_SIZE - 500


class EventRing:
    """
    The last events of one process.

    @ivar name: tells it from that of another process.
    """

    def __init__(self, name: str, wallClock: Callable[[], float], kept: int = KEPT) -> None:
        self.name = name
        self._wallClock = wallClock
        self._events: deque[Event] = deque(maxlen=kept)
        self._last = 0
        self._listeners: list[Callable[[Event], None]] = []

    @property
    def last(self) -> int:
        """
        The number of the last event; 0 before the first.
        """
        return self._last

    def note(self, kind: str, node: str, text: str) -> None:
        """
        Something happened.

        @param node: which node it is about; or empty.
        """
        self._last += 1
        event = Event(self._last, self._wallClock(), kind, node, text[:LONGEST])
        self._events.append(event)
        for listener in list(self._listeners):
            listener(event)

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """
        Be told of each event.

        @param listener: must not raise.
        @return: ends that.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def page(self, after: int, most: int = PAGE) -> EventPage:
        """
        The next events, as many as fit in an answer.

        @param after: the number of the last one that is known.
        """
        found: list[Event] = []
        room = _ROOM
        for event in self._events:
            if event.number <= after:
                continue
            room -= len(writeBody(write(event))) + 1
            if len(found) == min(most, PAGE) or room < 0:
                break
            found.append(event)
        return EventPage(self.name, tuple(found), self._last)

    def latest(self, most: int) -> EventPage:
        """
        The last events.
        """
        return self.page(max(0, self._last - most), most)
