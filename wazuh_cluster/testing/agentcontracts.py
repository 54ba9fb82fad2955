"""
What every store and every source of agents' records promises, as mixins for
test cases.

Mix one in before C{SynchronousTestCase} and give it what it asks for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from wazuh_cluster.agents import (
    ACTIVE,
    DISCONNECTED,
    PENDING,
    AgentRecord,
    AgentState,
    Batch,
    IAgentBatchSource,
    IAgentBatchStore,
    IAgentSource,
    IAgentStore,
)
from wazuh_cluster.agents.heard import HeardBatch

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _TestCase
else:
    _TestCase = object

T = TypeVar("T")

NOW = 1_800_000_000.0

#: Names and texts that somebody may choose, all of which are just texts.
HOSTILE = (
    "with 'single' and \"double\" quotes",
    "a\nline\r\nand a\ttab",
    "../../etc/passwd",
    "nul \0 nul",
    "bidi \u202eeulav\u2066",
    "\x1b[31mterminal\x1b]0;title\x07",
    "%s {0} $(reboot) `id`; DROP TABLE agents; --",
    "\U0001f600 äöü 中文",
    "",
)


def fullRecord(
    agent: int, heard: float, event: str = ACTIVE, node: str = "w1", version: str = "Wazuh v4.14.7"
) -> AgentRecord:
    """
    A record that says all that one can say.
    """
    return AgentRecord(
        agent,
        event,
        heard,
        node,
        version,
        3 if event == DISCONNECTED else 0,
        {"os_name": "Debian GNU/Linux", "os_version": "12", "manager_host": node},
        (('#"_agent_ip"', "10.0.0.7"), ('"site"', "north")),
    )


class AgentStoreContractMixin(_TestCase):
    """
    Any L{IAgentStore}.
    """

    def makeStore(self) -> IAgentStore:
        """
        Override: an empty store, whose Deferreds have fired when they are
        given.
        """
        raise NotImplementedError

    def setUp(self) -> None:
        """
        Make the store.
        """
        super().setUp()
        self.store = self.makeStore()
        self.addCleanup(self.store.stop)

    def take(self, *records: AgentRecord, now: float = NOW) -> int:
        """
        Have records taken, and tell how many were newer.
        """
        return self.successResultOf(self.store.take(records, now))

    def all(self, ids: Iterable[int]) -> dict[int, AgentRecord]:
        """
        What the store has of some agents.
        """
        found: Mapping[int, AgentRecord] = self.successResultOf(self.store.records(list(ids)))
        return dict(found)

    def states(self, first: int, last: int) -> list[AgentState]:
        """
        What decides about their statuses.
        """
        found: Sequence[AgentState] = self.successResultOf(self.store.states(first, last))
        return list(found)

    def kept(self, agent: int = 7) -> AgentRecord | None:
        """
        What the store has of an agent.
        """
        return self.all([agent]).get(agent)

    def test_interface(self) -> None:
        """
        The store provides L{IAgentStore}.
        """
        verifyObject(IAgentStore, self.store)

    def test_kept(self) -> None:
        """
        What is taken is there as it was; of other agents there is nothing.
        """
        records = {agent: fullRecord(agent, NOW - agent) for agent in (3, 99_999_999, 7)}
        self.assertEqual(3, self.take(*records.values()))
        self.assertEqual(records, self.all([7, 3, 4, 99_999_999]))

    def test_newerReplaces(self) -> None:
        """
        A newer record replaces an older one as a whole.
        """
        self.take(fullRecord(7, NOW - 60))
        newer = AgentRecord(7, DISCONNECTED, NOW - 30, "w2", "Wazuh v4.14.8", 4, {"os_name": "x"})
        self.assertEqual(1, self.take(newer))
        self.assertEqual(newer, self.kept())

    def test_olderIsLeft(self) -> None:
        """
        An older record changes nothing, whenever it comes.
        """
        newer = fullRecord(7, NOW - 30)
        self.take(newer)
        self.assertEqual(0, self.take(fullRecord(7, NOW - 30.001, DISCONNECTED, "w2")))
        self.assertEqual(newer, self.kept())

    def test_asNew(self) -> None:
        """
        Of two that are equally new the last one counts.
        """
        self.take(fullRecord(7, NOW - 30))
        last = fullRecord(7, NOW - 30, PENDING, "w2")
        self.assertEqual(1, self.take(last))
        self.assertEqual(last, self.kept())

    def test_twiceInOne(self) -> None:
        """
        Of an agent that is there twice the newest record counts.
        """
        newest = fullRecord(7, NOW - 10, node="w2")
        self.take(fullRecord(7, NOW - 20), newest, fullRecord(7, NOW - 30, DISCONNECTED))
        self.assertEqual(newest, self.kept())

    def test_futureCounts(self) -> None:
        """
        A time in the future counts as now: the next word of the agent is newer.
        """
        self.take(fullRecord(7, NOW + 86_400))
        record = self.kept()
        assert record is not None
        self.assertEqual(NOW, record.heard)
        self.assertEqual(1, self.take(fullRecord(7, NOW + 5, node="w2"), now=NOW + 10))

    def test_clockSetBack(self) -> None:
        """
        What was taken while the clock was ahead counts as of the moment at
        which it was set back, and is replaced by what is heard after that.
        """
        self.take(fullRecord(7, NOW + 7200), now=NOW + 7200)
        self.assertEqual(0, self.take(fullRecord(7, NOW - 1, DISCONNECTED, "w2")))
        self.assertEqual(1, self.take(fullRecord(7, NOW + 1, DISCONNECTED, "w2"), now=NOW + 2))
        record = self.kept()
        assert record is not None
        self.assertEqual(("w2", NOW + 1), (record.node, record.heard))

    def test_detailsStay(self) -> None:
        """
        A record without details says nothing of them.
        """
        self.take(fullRecord(7, NOW - 60))
        self.take(AgentRecord(7, DISCONNECTED, NOW - 30, "w2", statusCode=4))
        expected = fullRecord(7, NOW - 60)
        record = self.kept()
        assert record is not None
        self.assertEqual(
            (DISCONNECTED, NOW - 30, "w2", 4), (record.event, record.heard, record.node, 4)
        )
        self.assertEqual(
            (expected.version, expected.info, expected.labels),
            (record.version, record.info, record.labels),
        )

    def test_neverDetails(self) -> None:
        """
        An agent of which there never were details has none.
        """
        bare = AgentRecord(7, PENDING, NOW - 30, "w1")
        self.take(bare)
        self.assertEqual(bare, self.kept())

    def test_texts(self) -> None:
        """
        All texts are kept as they are.
        """
        for text in HOSTILE:
            record = AgentRecord(
                7, ACTIVE, NOW, "w1", "v", 0, {"os_name": text, text: "x"}, ((text, text),)
            )
            self.take(record)
            self.assertEqual(record, self.kept())

    def test_many(self) -> None:
        """
        Any number of records, at once and one by one.
        """
        for count in (1, 2, 8, 31, 129, 400):
            records = [fullRecord(agent, NOW - 1) for agent in range(1, count + 1)]
            self.assertEqual(count, self.take(*records))
            self.assertEqual({each.id: each for each in records}, self.all(range(1, count + 1)))
        self.assertEqual(0, self.take())
        self.assertEqual({}, self.all([]))

    def test_removed(self) -> None:
        """
        What is removed is gone; what is not there may be removed.
        """
        self.take(fullRecord(7, NOW), fullRecord(8, NOW))
        self.assertIsNone(self.successResultOf(self.store.remove([7, 9])))
        self.assertIsNone(self.kept(7))
        self.assertEqual(fullRecord(8, NOW), self.kept(8))
        # And comes back with nothing of what it was.
        self.take(AgentRecord(7, PENDING, NOW - 50, "w1"))
        self.assertEqual(AgentRecord(7, PENDING, NOW - 50, "w1"), self.kept(7))

    def test_states(self) -> None:
        """
        What decides about statuses, of a range of agents.
        """
        self.take(
            fullRecord(12, NOW - 3, DISCONNECTED, "w2"),
            fullRecord(3, NOW - 1),
            fullRecord(7, NOW - 2, PENDING),
        )
        self.assertEqual(
            [AgentState(3, ACTIVE, NOW - 1, "w1"), AgentState(7, PENDING, NOW - 2, "w1")],
            self.states(3, 11),
        )
        self.assertEqual(
            [AgentState(12, DISCONNECTED, NOW - 3, "w2")],
            self.states(8, 99_999_999),
        )


class AgentBatchStoreContractMixin(AgentStoreContractMixin):
    """
    Any L{IAgentBatchStore}.
    """

    if TYPE_CHECKING:

        @property
        def batches(self) -> IAgentBatchStore: ...

    else:

        @property
        def batches(self):
            return self.store

    def takeBatch(self, node: str, *records: AgentRecord) -> list[int]:
        """
        Have a batch taken, and tell which are incomplete.
        """
        return self.incomplete(node, HeardBatch.of(records))

    def incomplete(self, node: str, batch: HeardBatch) -> list[int]:
        """
        Have a batch taken, and tell which are incomplete.
        """
        found: Sequence[int] = self.successResultOf(self.batches.takeBatch(node, batch, NOW))
        return sorted(found)

    def claimed(self, record: AgentRecord) -> HeardBatch:
        """
        A batch that says that a record's details are as before.
        """
        batch = HeardBatch.of([record])
        batch.details = [None]
        return batch

    def test_batchInterface(self) -> None:
        """
        The store provides L{IAgentBatchStore}.
        """
        verifyObject(IAgentBatchStore, self.store)

    def test_batch(self) -> None:
        """
        Batches are taken as records are.
        """
        self.assertEqual([], self.takeBatch("w1", fullRecord(7, NOW), fullRecord(8, NOW)))
        self.assertEqual(fullRecord(8, NOW), self.kept(8))
        self.assertEqual([], self.takeBatch("w2", fullRecord(7, NOW - 1, node="w2")))
        self.assertEqual(fullRecord(7, NOW), self.kept(7))
        self.assertEqual([], self.takeBatch("w2"))

    def test_asBefore(self) -> None:
        """
        Where the store has the details that are as before, the rest is taken.
        """
        self.takeBatch("w1", fullRecord(7, NOW - 60))
        later = fullRecord(7, NOW - 5)
        self.assertEqual([], self.incomplete("w1", self.claimed(later)))
        self.assertEqual(later, self.kept())

    def test_incomplete(self) -> None:
        """
        Where it has others, or none, nothing is taken and the agent is named.
        """
        self.takeBatch("w1", fullRecord(7, NOW - 60))
        other = fullRecord(7, NOW - 5, version="Wazuh v4.15.0")
        for record in (other, fullRecord(8, NOW - 5)):
            self.assertEqual([record.id], self.incomplete("w1", self.claimed(record)))
        self.assertEqual(fullRecord(7, NOW - 60), self.kept(7))
        self.assertIsNone(self.kept(8))

    def test_partlyIncomplete(self) -> None:
        """
        What is incomplete spoils nothing else.
        """
        batch = HeardBatch.of([fullRecord(agent, NOW) for agent in (7, 8, 9)])
        batch.details[1] = None
        self.assertEqual([8], self.incomplete("w1", batch))
        self.assertEqual(fullRecord(9, NOW), self.kept(9))
        self.assertIsNone(self.kept(8))


class AgentSourceContractMixin(_TestCase):
    """
    Any L{IAgentSource}.
    """

    def makeSource(self) -> IAgentSource:
        """
        Override: an empty source, whose Deferreds have fired when they are
        given. Its clock stands at 1000 s.
        """
        raise NotImplementedError

    def put(self, *records: AgentRecord) -> None:
        """
        Override: have the source made last hear of agents.
        """
        raise NotImplementedError

    def setUp(self) -> None:
        """
        Make the source.
        """
        super().setUp()
        self.source = self.makeSource()
        self.addCleanup(self.source.stop)

    def done(self, deferred: Deferred[T]) -> T:
        """
        What a Deferred fired with.
        """
        return self.successResultOf(deferred)

    def pending(self, most: int = 100) -> list[AgentRecord]:
        """
        What is pending.
        """
        found: Sequence[AgentRecord] = self.done(self.source.pending(most))
        return list(found)

    def record(self, agent: int, heard: float = 900.0, event: str = ACTIVE) -> AgentRecord:
        """
        A record as a source has it.
        """
        return fullRecord(agent, heard, event, node="")

    def test_interface(self) -> None:
        """
        The source provides L{IAgentSource}.
        """
        verifyObject(IAgentSource, self.source)

    def test_pending(self) -> None:
        """
        What was heard is pending, the longest waiting first, until it is taken.
        """
        records = [self.record(agent) for agent in (8, 3, 12)]
        for record in records:
            self.put(record)
        self.assertEqual(records, self.pending())
        self.assertEqual(records[:2], self.pending(2))
        self.done(self.source.taken(records[:1]))
        self.assertEqual(records[1:], self.pending())
        self.done(self.source.taken(records[1:]))
        self.assertEqual([], self.pending())

    def test_takenInAnyOrder(self) -> None:
        """
        Others than the first may be taken.
        """
        records = [self.record(agent) for agent in range(1, 7)]
        self.put(*records)
        self.done(self.source.taken([records[3], records[1]]))
        self.assertEqual([records[n] for n in (0, 2, 4, 5)], self.pending())
        self.assertEqual([records[n] for n in (0, 2)], self.pending(2))
        self.done(self.source.taken([records[0], records[2]]))
        self.assertEqual(records[4:], self.pending())

    def test_changedSince(self) -> None:
        """
        What changed after it was given is pending, as it is now.
        """
        self.put(self.record(7))
        given = self.pending()
        self.put(self.record(7, 950.0, DISCONNECTED))
        self.done(self.source.taken(given))
        self.assertEqual([self.record(7, 950.0, DISCONNECTED)], self.pending())

    def test_markAll(self) -> None:
        """
        With a new master all is pending.
        """
        records = [self.record(agent) for agent in (1, 2, 3)]
        self.put(*records)
        self.done(self.source.taken(records))
        self.done(self.source.unknown([2]))
        self.done(self.source.markAll())
        self.assertEqual(records, sorted(self.pending(), key=lambda record: record.id))

    def test_unknown(self) -> None:
        """
        Of agents that the master does not know nothing is pending until it
        changes.
        """
        self.put(self.record(1), self.record(2))
        self.done(self.source.unknown([1, 5]))
        self.assertEqual([self.record(2)], self.pending())
        self.put(self.record(1, 950.0))
        self.assertEqual([self.record(2), self.record(1, 950.0)], self.pending())

    def test_registered(self) -> None:
        """
        When client.keys changes, what was kept back is pending again, and what
        is not registered is forgotten.
        """
        told: list[None] = []
        self.put(self.record(1), self.record(2), self.record(3))
        self.source.subscribe(lambda: told.append(None))
        self.done(self.source.unknown([1, 2]))
        self.done(self.source.taken([self.record(3)]))
        self.done(self.source.registered([2, 3, 4]))
        self.assertEqual([self.record(2)], self.pending())
        self.assertEqual([None], told)
        self.done(self.source.markAll())
        self.assertEqual([2, 3], sorted(record.id for record in self.pending()))

    def test_removed(self) -> None:
        """
        What is removed is not pending, and comes back as if it were new.
        """
        self.put(self.record(1), self.record(2))
        self.done(self.source.removed([1, 9]))
        self.assertEqual([self.record(2)], self.pending())
        self.put(AgentRecord(1, PENDING, 800.0))
        self.assertEqual([self.record(2), AgentRecord(1, PENDING, 800.0)], self.pending())

    def test_subscribe(self) -> None:
        """
        It tells of an agent's first record and of another event, and not of
        each keep-alive.
        """
        told: list[None] = []
        self.source.subscribe(lambda: told.append(None))
        self.put(self.record(1))
        self.put(self.record(1, 950.0))
        self.assertEqual(1, len(told))
        self.put(self.record(1, 960.0, DISCONNECTED))
        self.assertEqual(2, len(told))


class AgentBatchSourceContractMixin(AgentSourceContractMixin):
    """
    Any L{IAgentBatchSource}.
    """

    if TYPE_CHECKING:

        @property
        def batches(self) -> IAgentBatchSource: ...

    else:

        @property
        def batches(self):
            return self.source

    def given(self, size: int = 60_000) -> list[Batch]:
        """
        The batches that are given one after the other, as if each was taken at
        once.
        """
        self.batches.rewind()
        batches = []
        while (batch := self.done(self.batches.nextBatch(size))) is not None:
            self.assertLessEqual(len(batch.records) + len(batch.details), size)
            batches.append(batch)
            self.done(self.batches.batchTaken(batch, (), ()))
        return batches

    def ids(self, batch: Batch) -> list[int]:
        """
        The agents of a batch.
        """
        found = [head["id"] for head in json.loads(batch.records)]
        self.assertEqual(batch.count, len(found))
        return found

    def next(self) -> Batch:
        """
        The next batch, which must be there.
        """
        batch = self.done(self.batches.nextBatch(60_000))
        assert batch is not None
        return batch

    def test_batchInterface(self) -> None:
        """
        The source provides L{IAgentBatchSource}.
        """
        verifyObject(IAgentBatchSource, self.source)

    def test_batch(self) -> None:
        """
        A batch says all of its records, with their ages.
        """
        self.put(self.record(7), AgentRecord(8, PENDING, 999.0))
        (batch,) = self.given()
        self.assertEqual(1000.0, batch.tick)
        heads = json.loads(batch.records)
        self.assertEqual((7, ACTIVE, 100_000, 0), tuple(heads[0][k] for k in _HEAD))
        self.assertEqual({"id": 8, "event": PENDING, "age": 1000, "code": 0}, heads[1])
        self.assertEqual(heads[0]["size"], len(batch.details))
        details = json.loads(batch.details)
        self.assertEqual(self.record(7).info, details["info"])

    def test_sizes(self) -> None:
        """
        Whatever the size of a batch, all is given once, and it fits.
        """
        self.put(*(self.record(agent) for agent in range(1, 301)))
        for size in (60_000, 5000, 700):
            self.done(self.source.markAll())
            given = [agent for batch in self.given(size) for agent in self.ids(batch)]
            self.assertEqual(list(range(1, 301)), given)

    def test_unevenSizes(self) -> None:
        """
        Records may be as different as they like.
        """
        for agent in range(1, 61):
            label = ('"note"', "x" * (40_000 if agent % 20 == 0 else 3))
            self.put(AgentRecord(agent, ACTIVE, 900.0, labels=(label,)))
        given = [agent for batch in self.given() for agent in self.ids(batch)]
        self.assertEqual(list(range(1, 61)), given)

    def test_untilTaken(self) -> None:
        """
        What was given and not taken is given again after it was rewound.
        """
        self.put(self.record(1), self.record(2))
        self.batches.rewind()
        self.assertEqual([1, 2], self.ids(self.next()))
        self.batches.rewind()
        batch = self.next()
        self.assertEqual([1, 2], self.ids(batch))
        self.done(self.batches.batchTaken(batch, (), ()))
        self.assertEqual([], self.given())

    def test_changedInFlight(self) -> None:
        """
        What changes while it is on its way is given again.
        """
        self.put(self.record(1), self.record(2))
        self.batches.rewind()
        batch = self.next()
        self.put(self.record(1, 990.0))
        self.done(self.batches.batchTaken(batch, (), ()))
        (batch,) = self.given()
        self.assertEqual([1], self.ids(batch))

    def test_unknownInBatch(self) -> None:
        """
        Agents of a batch that the master does not know are kept back.
        """
        self.put(self.record(1), self.record(2))
        self.batches.rewind()
        self.done(self.batches.batchTaken(self.next(), [1], ()))
        self.assertEqual([], self.given())
        self.done(self.source.registered([1, 2]))
        (batch,) = self.given()
        self.assertEqual([1], self.ids(batch))


_HEAD = ("id", "event", "age", "code")
