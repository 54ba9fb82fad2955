"""
How many agents have which status: counted when somebody asks, and not more
often than that is worth.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from wazuh_cluster.agents.interfaces import IFleet
from wazuh_cluster.agents.model import FleetCounts
from wazuh_cluster.errors import ClusterError, StoreFailed

#: Seconds for which a count is good enough, and how many times as long as it
#: took itself.
FRESH = 10.0
TIMES = 20.0


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
        self._waiting: list[Deferred[FleetCounts]] | None = None

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
        A count that is fresh enough; the last one, if it fails.
        """
        if self._fleet is None:
            return self._counts
        now = self._clock.seconds()
        if self._due is not None and now < self._due:
            return self._counts
        if self._waiting is not None:
            waiting: Deferred[FleetCounts] = Deferred()
            self._waiting.append(waiting)
            return await waiting
        self._waiting = []
        try:
            self._counts = await self._fleet.counts()
            self.failure = None
        except ClusterError as error:
            self.failure = error
        finally:
            ended = self._clock.seconds()
            self._due = ended + max(FRESH, TIMES * (ended - now))
            others, self._waiting = self._waiting, None
            for each in others:
                each.callback(self._counts)
        return self._counts
