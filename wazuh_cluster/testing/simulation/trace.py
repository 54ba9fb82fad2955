"""
What happened in a simulation, for people and for comparing two runs.
"""

from __future__ import annotations

from collections import deque
from hashlib import sha256

from attrs import frozen


@frozen
class Event:
    """
    @ivar time: virtual seconds.
    @ivar node: at whose machine; C{""} for the world.
    @ivar text: one line.
    """

    time: float
    node: str
    text: str

    def __str__(self) -> str:
        node = self.node or "-"
        return f"{self.time:10.4f}  {node:<5}  {self.text}"


class Trace:
    """
    The events of one run: the last ones as they were, and a digest of all.

    @ivar count: how many there were.
    """

    def __init__(self, keep: int = 4000) -> None:
        """
        @param keep: how many of the last ones are kept.
        """
        self.count = 0
        self._events: deque[tuple[float, str, str]] = deque(maxlen=keep)
        self._hash = sha256()

    def add(self, time: float, node: str, text: str) -> None:
        """
        One more thing happened.
        """
        self.count += 1
        self._events.append((time, node, text))
        self._hash.update(f"{time:.6f} {node} {text}\n".encode("utf-8", "backslashreplace"))

    def digest(self) -> str:
        """
        A digest of all events so far: two runs of one seed have the same.
        """
        return self._hash.hexdigest()

    @property
    def events(self) -> list[Event]:
        """
        Those that are kept.
        """
        return [Event(*each) for each in self._events]
