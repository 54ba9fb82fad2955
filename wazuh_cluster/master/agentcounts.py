"""
How many agents have which status: counted when somebody asks, and not more
often than that is worth.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wazuh_cluster.agents.interfaces import IFleet
from wazuh_cluster.agents.model import FleetCounts
from wazuh_cluster.errors import ClusterError, StoreFailed
from wazuh_cluster.journal import MAIN, Journal

#: Seconds for which a count is good enough, and how many times as long as it
#: took itself.
FRESH = 10.0
TIMES = 20.0

#: How long an answer waits for a count, in seconds.
PATIENCE = 3.0


class AgentCounts:
    """
    Counts a fleet. However many ask, it is counted once.

    @ivar failure: why the last count failed; C{None} if it did not.
    """

    def __init__(self, fleet: IFleet | None, clock: IReactorTime) -> None:
        self.failure: ClusterError | None = None
        self._fleet = fleet
        self._clock = clock
        self._counts = FleetCounts()
        self._due: float | None = None
        self._waiting: list[Deferred[None]] | None = None
        self._log = Journal(MAIN)

    @property
    def last(self) -> FleetCounts:
        """
        The last count.
        """
        return self._counts

    @property
    def damaged(self) -> bool:
        """
        Whether a person must see to the store.
        """
        return isinstance(self.failure, StoreFailed) and self.failure.damaged

    async def get(self) -> FleetCounts:
        """
        A count that is fresh enough; the last one, if it fails or takes longer
        than an answer may wait.
        """
        now = self._clock.seconds()
        if self._fleet is None or (self._due is not None and now < self._due):
            return self._counts
        if self._waiting is None:
            self._waiting = []
            counting: Deferred[None] = Deferred.fromCoroutine(self._count(self._fleet, now))
            counting.addErrback(self._bug)
            if counting.called:
                return self._counts
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        timer = self._clock.callLater(PATIENCE, self._late, waiting)
        await waiting
        if timer.active():
            timer.cancel()
        return self._counts

    async def _count(self, fleet: IFleet, began: float) -> None:
        try:
            self._counts = await fleet.counts()
            self.failure = None
        except ClusterError as error:
            self.failure = error
        finally:
            ended = self._clock.seconds()
            self._due = ended + max(FRESH, TIMES * (ended - began))
            others, self._waiting = self._waiting or [], None
            for each in others:
                each.callback(None)

    def _late(self, waiting: Deferred[None]) -> None:
        assert self._waiting is not None
        self._waiting.remove(waiting)
        waiting.callback(None)

    def _bug(self, failure: Failure) -> None:
        self._log.failure("Agents cannot be counted: this is a bug.", failure)
