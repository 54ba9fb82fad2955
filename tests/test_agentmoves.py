"""
Tests for what must never break: an older record never replaces a newer one.

One agent moves between two workers. What they heard of it arrives in any order,
however late; the dates of all nodes are set to and fro by hours.
"""

from __future__ import annotations

from typing import Any, cast

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.recordcase import AgentCase
from tests.test_agentinfo import Register
from wazuh_cluster.agents import EVENTS, AgentRecord, IAgentStore
from wazuh_cluster.agents.heard import encodeRecord
from wazuh_cluster.journal import Journal
from wazuh_cluster.master.agentinfo import MasterAgentInfo
from wazuh_cluster.master.session import Session
from wazuh_cluster.master.ticks import LATEST, KnownTicks, Ticks
from wazuh_cluster.model import WORKER, Identity
from wazuh_cluster.steadyclock import SteadyClock
from wazuh_cluster.testing.agentstore import MemoryAgentStore

AGENT = 7
HOUR = 3600.0


@define
class Link:
    """
    What the master's decisions need of a session.
    """

    identity: Identity
    ticks: Ticks
    log: Journal = field(factory=lambda: Journal("Main"))

    def requireJoined(self) -> None:
        """
        It did.
        """


@define
class Worker:
    """
    A worker that hears the agent.

    @ivar uptime: what its monotonic clock is ahead of the test's, in seconds.
    @ivar sent: batches that are on their way: what was heard, when they were
        sent by its clock, and the head and details.
    """

    link: Link
    uptime: float
    record: AgentRecord | None = None
    number: int = -1
    sent: list[tuple[int, float, bytes, bytes]] = field(factory=list)


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("hear"), st.integers(0, 1), st.sampled_from(EVENTS)),
        st.tuples(st.just("send"), st.integers(0, 1)),
        st.tuples(st.just("deliver"), st.integers(0, 1), st.integers(0, 7)),
        st.tuples(st.just("wait"), st.floats(0.02, 30.0)),
        st.tuples(st.just("date"), st.floats(-30 * HOUR, 30 * HOUR)),
        st.tuples(st.just("again"), st.integers(0, 1)),
    ),
    max_size=40,
)


class MovingAgentTests(AgentCase):
    """
    Whatever happens, the store has the newest of what came.
    """

    def play(self, store: IAgentStore, steps: list[Any], uptimes: tuple[float, float]) -> None:
        """
        Let it happen, and look after each delivery.
        """
        clock = Clock()
        clock.advance(100_000.0)
        date = [1_800_000_000.0]
        steady = SteadyClock(lambda: date[0] + clock.seconds(), clock.seconds)
        register: Any = Register(AGENT)
        info = MasterAgentInfo(store, register, clock, steady, clock.seconds, "hub")
        known = KnownTicks(clock.seconds)
        workers = []
        for name, uptime in zip(("w1", "w2"), uptimes, strict=True):
            ticks = known.of(name, b"1")
            ticks.see(clock.seconds() + uptime)
            workers.append(Worker(Link(Identity("wazuh", WORKER, name), ticks), uptime))
        heard, newest = 0, -1
        for step in [*steps, ("send", 0), ("send", 1), ("deliver", 0, 0), ("deliver", 1, 0)]:
            # No two things happen at the same moment.
            clock.advance(0.02)
            if step[0] == "wait":
                clock.advance(step[1])
                continue
            if step[0] == "date":
                date[0] += step[1]
                continue
            worker = workers[step[1]]
            if step[0] == "hear":
                worker.number, heard = heard, heard + 1
                version = f"event {worker.number}"
                now = clock.seconds() + worker.uptime
                worker.record = AgentRecord(AGENT, step[2], now, version=version)
            elif step[0] == "send" and worker.record is not None:
                now = clock.seconds() + worker.uptime
                head, details = encodeRecord(worker.record, now - worker.record.heard)
                worker.sent.append((worker.number, now, b"[%s]" % head, details))
            elif step[0] == "again":
                # Its link ended, and it joined anew. Its Hello may be late.
                name = worker.link.identity.name
                worker.link.ticks = known.of(name, b"1")
                worker.link.ticks.see(clock.seconds() + worker.uptime - 5.0)
            elif step[0] == "deliver" and worker.sent:
                number, now, heads, details = worker.sent.pop(step[2] % len(worker.sent))
                if clock.seconds() + worker.uptime - now > LATEST - 0.01:
                    # Its link ended before.
                    continue
                session = cast("Session", worker.link)
                taken = Deferred.fromCoroutine(info.sync(session, int(now * 1e6), heads, details))
                self.successResultOf(taken)
                newest = max(newest, number)
                found: Deferred[Any] = store.records([AGENT])
                record = self.successResultOf(found)[AGENT]
                self.assertEqual(f"event {newest}", record.version)
                self.assertLessEqual(record.heard, steady.seconds())

    @settings(max_examples=200, deadline=None)
    @given(_STEPS, st.tuples(st.floats(-99_000, 1e6), st.floats(-99_000, 1e6)))
    def test_inMemory(self, steps: list[Any], uptimes: tuple[float, float]) -> None:
        """
        With a store of records.
        """
        self.play(MemoryAgentStore(), steps, uptimes)

    @settings(max_examples=60, deadline=None)
    @given(_STEPS, st.tuples(st.floats(-99_000, 1e6), st.floats(-99_000, 1e6)))
    def test_inAFile(self, steps: list[Any], uptimes: tuple[float, float]) -> None:
        """
        With the store in a file.
        """
        store = self.fleetStore()
        try:
            self.play(store, steps, uptimes)
        finally:
            store.stop()
