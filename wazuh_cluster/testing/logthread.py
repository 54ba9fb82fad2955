"""
A log thread for tests, which is none: it writes when it is woken.
"""

from __future__ import annotations

from wazuh_cluster.log import Drain


class ImmediateLogThread:
    """
    A L{wazuh_cluster.log.LogThread} that writes in the thread of the caller.

    @ivar held: while it is true, it does nothing, like a disk that hangs.
    @ivar pause: when it wanted to be called again.
    """

    def __init__(self) -> None:
        self.held = False
        self.pause: float | None = None
        self._drain: Drain | None = None

    def start(self, drain: Drain) -> None:
        """
        Begin.
        """
        self._drain = drain

    def wake(self) -> None:
        """
        Write all that waits, unless held.
        """
        if self._drain is None or self.held:
            return
        self.pause = 0
        while self.pause == 0:
            self.pause = self._drain()

    def stop(self, timeout: float) -> bool:
        """
        Write all that waits, and end.
        """
        self.wake()
        self._drain = None
        return not self.held
