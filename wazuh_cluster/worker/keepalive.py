"""
The thread Keep alive: the link lives, and how far apart the clocks are.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from wazuh_cluster.errors import LinkStalled
from wazuh_cluster.journal import KEEP_ALIVE, Journal
from wazuh_cluster.protocol import KeepAlive, Peer

#: Failures after which the link is closed.
MAX_FAILURES = 2


class KeepAliveThread:
    """
    Asks the master for its clock on one link.

    @ivar roundTrip: of the last answer, in seconds; C{None} before the first.
    @ivar clockOffset: the master's wall clock minus this node's, in seconds,
        as well as half a round trip can tell.
    """

    def __init__(
        self,
        peer: Peer,
        clock: IReactorTime,
        wallClock: Callable[[], float],
        uptime: Callable[[], float],
        timeout: float,
    ) -> None:
        """
        @param uptime: the monotonic clock, see L{wazuh_cluster.uptime}.
        @param timeout: how long an answer may take, in seconds.
        """
        self.roundTrip: float | None = None
        self.clockOffset = 0.0
        self._peer = peer
        self._clock = clock
        self._wallClock = wallClock
        self._uptime = uptime
        self._timeout = timeout
        self._failures = 0
        self._log = Journal(KEEP_ALIVE)

    async def run(self) -> str:
        """
        One keep-alive.

        @return: what came of it, for people.
        """
        before = self._clock.seconds()
        sent = self._wallClock()
        # A late answer counts as a failure, and the second one ends the link;
        # what the peer aborts on is a silence of both together.
        try:
            answer = await self._peer.call(
                KeepAlive,
                self._timeout * MAX_FAILURES,
                clock=int(sent * 1e6),
                tick=int(self._uptime() * 1e6),
            )
        except LinkStalled:
            self._log.error("The master did not answer {n} keep-alives.", n=MAX_FAILURES)
            raise
        self.roundTrip = self._clock.seconds() - before
        self.clockOffset = answer["clock"] / 1e6 - (sent + self.roundTrip / 2)
        self._log.debug(
            "Successful response from master in {milliseconds:.1f} ms.",
            milliseconds=self.roundTrip * 1000,
        )
        return f"{self.roundTrip * 1000:.1f} ms"
