"""
Tests for L{wazuh_cluster.agents.fleet}.
"""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from tests.recordcase import AgentCase
from wazuh_cluster.agents import (
    ACTIVE,
    DISCONNECTED,
    NEVER_CONNECTED,
    PENDING,
    Agent,
    AgentRecord,
    AgentState,
    AgentStatus,
    FleetCounts,
    FleetFilter,
    IRegistrationTimes,
)
from wazuh_cluster.agents.fleet import Fleet, StoredTimes, statusOf
from wazuh_cluster.steadyclock import SteadyClock
from wazuh_cluster.testing.agentcontracts import NOW, fullRecord

T = TypeVar("T")


class Registered:
    """
    What the fleet asks of a registrar.
    """

    def __init__(self, ids: Iterable[int]) -> None:
        self.agents = {
            agent: Agent(agent, f"web-{agent}", "any", "a" * 64) for agent in sorted(ids)
        }
        self.pages = 0

    def page(self, after: int, most: int) -> Deferred[Sequence[Agent]]:
        self.pages += 1
        return succeed([agent for agent in self.agents.values() if agent.id > after][:most])

    def get(self, agent: int) -> Deferred[Agent | None]:
        return succeed(self.agents.get(agent))


class Groups:
    """
    What the fleet asks of the assignments.
    """

    def __init__(self, groups: Mapping[int, tuple[str, ...]]) -> None:
        self.groups = groups

    def of(self, ids: Collection[int]) -> Deferred[Mapping[int, tuple[str, ...]]]:
        return succeed({agent: self.groups[agent] for agent in ids if agent in self.groups})


class StatusTests(AgentCase):
    """
    What an event and its age make of an agent.
    """

    def test_statuses(self) -> None:
        """
        With Wazuh's thresholds.
        """
        for event, age, status in (
            (ACTIVE, 0.0, ACTIVE),
            (ACTIVE, 899.0, ACTIVE),
            (ACTIVE, 900.0, DISCONNECTED),
            (PENDING, 10.0, PENDING),
            (PENDING, 901.0, DISCONNECTED),
            (DISCONNECTED, 1.0, DISCONNECTED),
            (ACTIVE, -5.0, ACTIVE),
        ):
            state = AgentState(7, event, NOW - age, "w1")
            self.assertEqual(status, statusOf(state, NOW, 900.0), (event, age))
        self.assertEqual(NEVER_CONNECTED, statusOf(None, NOW, 900.0))
        self.assertEqual(DISCONNECTED, statusOf(AgentState(7, ACTIVE, NOW - 60, ""), NOW, 60.0))


def filtering(**filters: Iterable[Any]) -> FleetFilter:
    return FleetFilter(**{name: frozenset(values) for name, values in filters.items()})


class FleetTests(AgentCase):
    """
    A fleet whose records are in a file.
    """

    def setUp(self) -> None:
        super().setUp()
        self.system = Clock()
        self.date = NOW
        self.steady = SteadyClock(lambda: self.date + self.system.seconds(), self.system.seconds)
        self.store = self.fleetStore()

    def fleet(
        self,
        ids: Iterable[int],
        groups: Mapping[int, tuple[str, ...]] | None = None,
        **keywords: Any,
    ) -> Fleet:
        self.register = Registered(ids)
        registrar: Any = self.register
        assignments: Any = None if groups is None else Groups(groups)
        return Fleet(registrar, self.store, assignments, self.steady, **keywords)

    def take(self, *records: AgentRecord) -> None:
        self.successResultOf(self.store.take(records, NOW))

    def done(self, work: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def ids(self, fleet: Fleet, most: int = 1000, **filters: Any) -> list[int]:
        """
        All that pass, page by page.
        """
        found: list[int] = []
        after: int | None = 0
        while after is not None:
            page = self.done(fleet.page(after, most, filtering(**filters)))
            self.assertLessEqual(len(page.agents), most)
            found += [agent.id for agent in page.agents]
            after = page.after
        return found

    def test_page(self) -> None:
        """
        Each registered agent with all that is known of it; records of others
        are not shown.
        """
        fleet = self.fleet([3, 7, 12], {7: ("default", "web")})
        record = fullRecord(7, NOW - 60, node="w2")
        self.take(record, fullRecord(8, NOW))
        page = self.done(fleet.page())
        self.assertEqual(
            [
                AgentStatus(3, "web-3", "any", NEVER_CONNECTED),
                AgentStatus(7, "web-7", "any", ACTIVE, NOW - 60, "w2", ("default", "web"), record),
                AgentStatus(12, "web-12", "any", NEVER_CONNECTED),
            ],
            list(page.agents),
        )

    def test_pages(self) -> None:
        """
        A large fleet comes page by page, each once.
        """
        fleet = self.fleet(range(1, 2501))
        for most in (1, 7, 1000, 5000):
            start = 2400 if most < 10 else 0
            page = self.done(fleet.page(start, most))
            self.assertEqual(start + 1, page.agents[0].id)
        self.assertEqual(list(range(1, 2501)), self.ids(fleet, 700))

    def test_filters(self) -> None:
        """
        By status, node, group and id, and by several of these.
        """
        fleet = self.fleet(range(1, 1501), dict.fromkeys(range(1, 1501, 100), ("web",)))
        self.take(
            *(
                fullRecord(
                    agent,
                    NOW - (1000 if agent % 5 == 0 else 10),
                    DISCONNECTED if agent % 3 == 0 else ACTIVE,
                    f"w{agent % 2}",
                )
                for agent in range(1, 1001)
            )
        )
        gone = [agent for agent in range(1, 1001) if agent % 3 == 0 or agent % 5 == 0]
        self.assertEqual(gone, self.ids(fleet, 50, statuses=[DISCONNECTED]))
        never = list(range(1001, 1501))
        self.assertEqual(never, self.ids(fleet, statuses=[NEVER_CONNECTED]))
        self.assertEqual(
            1500, len(self.ids(fleet, statuses=[DISCONNECTED, ACTIVE, NEVER_CONNECTED]))
        )
        self.assertEqual(list(range(2, 1001, 2)), self.ids(fleet, 30, nodes=["w0"]))
        self.assertEqual(list(range(1, 1501, 100)), self.ids(fleet, 4, groups=["web"]))
        self.assertEqual([], self.ids(fleet, groups=["none"]))
        self.assertEqual([3, 900], self.ids(fleet, 1, ids=frozenset([3, 900, 5000])))
        self.assertEqual(
            [201, 301, 401, 501, 601, 701, 801, 901],
            self.ids(fleet, groups=["web"], nodes=["w1"], ids=frozenset(range(150, 2000)))[:8],
        )

    def test_bounded(self) -> None:
        """
        A page for which very many agents would have to be looked at ends before
        that, and says where to go on.
        """
        fleet = self.fleet(range(1, 30_001))
        page = self.done(fleet.page(wanted=FleetFilter(frozenset({ACTIVE}))))
        self.assertEqual(([], 20_000), (list(page.agents), page.after))
        self.assertEqual(20, self.register.pages)

    def test_counts(self) -> None:
        """
        By status, and by node.
        """
        fleet = self.fleet(range(1, 2001), disconnectionTime=300.0)
        self.take(
            *(fullRecord(agent, NOW - 10, node="w1") for agent in range(1, 1201)),
            *(fullRecord(agent, NOW - 400, node="w2") for agent in range(1201, 1301)),
            fullRecord(1301, NOW, PENDING, "w2"),
            fullRecord(5000, NOW, PENDING, "w2"),
        )
        self.assertEqual(
            FleetCounts(
                {ACTIVE: 1200, DISCONNECTED: 100, PENDING: 1, NEVER_CONNECTED: 699},
                {"w1": {ACTIVE: 1200}, "w2": {DISCONNECTED: 100, PENDING: 1}},
            ),
            self.done(fleet.counts()),
        )
        self.assertEqual(FleetCounts(), self.done(self.fleet([]).counts()))

    def test_get(self) -> None:
        """
        One agent.
        """
        fleet = self.fleet([7])
        self.take(fullRecord(7, NOW - 60))
        found = self.done(fleet.get(7))
        assert found is not None
        self.assertEqual((ACTIVE, fullRecord(7, NOW - 60)), (found.status, found.record))
        self.assertIsNone(self.done(fleet.get(8)))

    def test_dateIsSet(self) -> None:
        """
        When the date is set, no status changes, and times are shown as they
        would have been.
        """
        fleet = self.fleet([7])
        self.take(fullRecord(7, self.steady.seconds() - 60))
        for hours in (-30.0, 30.0):
            self.date = NOW + hours * 3600
            found = self.done(fleet.get(7))
            assert found is not None
            self.assertEqual((ACTIVE, self.date - 60), (found.status, found.lastKeepAlive))

    def test_times(self) -> None:
        """
        What the force rules ask.
        """
        times = StoredTimes(self.store, self.steady, 300.0)
        verifyObject(IRegistrationTimes, times)
        record = fullRecord(7, NOW - 400)
        self.take(record)
        self.assertEqual(
            AgentStatus(7, "", "", DISCONNECTED, NOW - 400, "w1", record=record),
            self.successResultOf(times.status(7)),
        )
        self.assertEqual(
            AgentStatus(8, "", "", NEVER_CONNECTED), self.successResultOf(times.status(8))
        )
