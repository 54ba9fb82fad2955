"""
What a worker answers: the responders, which translate and decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.protocols.amp import CommandLocator

from wazuh_cluster.protocol import IntegrityChanged, KeepAlive


class WorkerLocator(CommandLocator):
    """
    The responders for one link.
    """

    def __init__(self, wallClock: Callable[[], float], changed: Callable[[], None]) -> None:
        """
        @param changed: called when the master has a new generation.
        """
        super().__init__()
        self._wallClock = wallClock
        self._changed = changed

    @KeepAlive.responder
    def keepAlive(self, clock: int, tick: int | None) -> dict[str, Any]:
        """
        See L{KeepAlive}.
        """
        return {"clock": int(self._wallClock() * 1e6)}

    @IntegrityChanged.responder
    def integrityChanged(self, number: int, root: bytes) -> dict[str, Any]:
        """
        See L{IntegrityChanged}.
        """
        self._changed()
        return {}
