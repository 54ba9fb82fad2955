"""
Tests for L{wazuh_cluster.master.administration}.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.agentcase import Registered, Store
from tests.test_requests import RequestsCase
from wazuh_cluster.agents import ACTIVE, Agent, AgentRecord, IRememberingRegistrar
from wazuh_cluster.errors import RegistrationRefused, Stopped, StoreFailed
from wazuh_cluster.master.administration import Administration
from wazuh_cluster.master.assignments import MasterAssignments
from wazuh_cluster.testing.assignments import MemoryAssignments
from wazuh_cluster.testing.runner import ClockRunner, ImmediateRunner
from wazuh_cluster.testing.state import MemoryState


@implementer(IRememberingRegistrar)
class Remembering(Registered):
    """
    A registrar that removed agent 2 before.
    """

    def removedBefore(self) -> Deferred[Collection[int]]:
        return succeed([2])


class AdministrationTests(SynchronousTestCase):
    """
    What is removed leaves no trace, whatever fails when.
    """

    def setUp(self) -> None:
        """
        Agents 1 to 5, of all of which something is known.
        """
        self.registrar = Registered(*range(1, 6))
        self.store = Store(*(AgentRecord(n, ACTIVE, 1.0) for n in range(1, 6)))
        self.assignments = MemoryAssignments()
        self.assignments.assigned = dict.fromkeys(range(1, 6), ("default",))
        self.state = MemoryState()
        self.changes = 0
        self.administration = self.another()

    def another(self) -> Administration:
        """
        As the next process has it.
        """
        groups = MasterAssignments(self.registrar, self.assignments, lambda: None, Clock())
        return Administration(
            self.registrar, self.store.remove, groups, self.state, ImmediateRunner(), self.changed
        )

    def changed(self) -> None:
        self.changes += 1

    def remove(self, *ids: int, purge: bool | None = None) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.administration.remove(ids, purge))

    def finish(self) -> str:
        return self.successResultOf(Deferred.fromCoroutine(self.administration.finish()))

    def left(self) -> tuple[list[int], list[int], list[int]]:
        """
        Who is registered, of whom something is known, and who is in a group.
        """
        return (
            list(self.registrar.agents),
            list(self.store.kept),
            list(self.assignments.assigned),
        )

    def test_endToEnd(self) -> None:
        """
        An agent goes from everywhere, and the workers are to hear of it.
        """
        removed = self.successResultOf(self.remove(2, 4, purge=True))
        self.assertEqual(["agent-2", "agent-4"], [agent.name for agent in removed])
        self.assertEqual(([1, 3, 5],) * 3, self.left())
        self.assertEqual([2, 4], self.registrar.purged)
        self.assertGreater(self.changes, 0)

    def test_unknown(self) -> None:
        """
        What is left of one that is not registered goes too.
        """
        del self.registrar.agents[2]
        self.assertEqual([], self.successResultOf(self.remove(2, 77)))
        self.assertEqual(([1, 3, 4, 5],) * 3, self.left())

    def test_refused(self) -> None:
        """
        If the registrar refuses, nothing of the agent goes, then or later.
        """
        self.registrar.failure = RegistrationRefused.of(9001, "Internal error")
        self.failureResultOf(self.remove(2), RegistrationRefused)
        self.finish()
        self.assertEqual(([1, 2, 3, 4, 5],) * 3, self.left())
        self.assertEqual("nothing to remove", self.finish())

    def test_storeFails(self) -> None:
        """
        If the database refuses, the agent is removed nevertheless, the line
        says what is left, and that goes by itself later.
        """
        self.store.failure = StoreFailed("the database is locked")
        failure = self.failureResultOf(self.remove(2), StoreFailed)
        self.assertIn("1 agents were removed from client.keys", str(failure.value))
        self.assertIn("the database is locked", str(failure.value))
        self.assertEqual([1, 3, 4, 5], self.left()[0])
        # Workers are not left with its groups for as long as that takes.
        self.assertEqual([1, 3, 4, 5], self.left()[2])
        self.failureResultOf(Deferred.fromCoroutine(self.administration.finish()), StoreFailed)
        self.store.failure = None
        self.finish()
        self.assertEqual(([1, 3, 4, 5],) * 3, self.left())

    def test_killedAnywhere(self) -> None:
        """
        A process that dies at whatever moment has removed the agent from
        everywhere, or from nowhere, when the next one looked.
        """
        for step in range(5):
            self.setUp()
            waiting: list[Deferred[None]] = []
            self.hang(waiting)
            removing = self.remove(2)
            for _ in range(step):
                waiting.pop(0).callback(None)
                if not waiting:
                    break
            self.unhang()
            if waiting:
                self.assertNoResult(removing)
            self.administration = self.another()
            self.finish()
            found = self.left()
            self.assertIn(found, (([1, 3, 4, 5],) * 3, ([1, 2, 3, 4, 5],) * 3), step)

    def hang(self, waiting: list[Deferred[None]]) -> None:
        """
        Let every call wait before it does anything, as a process does that is
        about to die.
        """
        self.plain = {}
        for thing, names in (
            (self.registrar, ("remove", "known")),
            (self.store, ("remove",)),
            (self.assignments, ("remove",)),
        ):
            for name in names:
                self.plain[thing, name] = plain = getattr(thing, name)

                def wait(*arguments: Any, plain: Any = plain) -> Deferred[Any]:
                    waiting.append(Deferred())
                    return waiting[-1].addCallback(lambda _: plain(*arguments))

                setattr(thing, name, wait)

    def unhang(self) -> None:
        for (thing, name), plain in self.plain.items():
            setattr(thing, name, plain)

    def test_lateRecord(self) -> None:
        """
        A record that was under way while its agent was removed goes with the
        next look.
        """
        self.successResultOf(self.remove(2))
        self.store.kept[2] = AgentRecord(2, ACTIVE, 2.0)
        self.finish()
        self.assertEqual([1, 3, 4, 5], self.left()[1])
        self.assertEqual("nothing to remove", self.finish())

    def test_givenAgain(self) -> None:
        """
        An id that was registered anew meanwhile is left alone.
        """
        self.successResultOf(self.remove(2))
        self.registrar.agents[2] = Agent(2, "new", "any", "b" * 64)
        self.store.kept[2] = AgentRecord(2, ACTIVE, 2.0)
        self.finish()
        self.assertIn(2, self.store.kept)

    def test_damagedState(self) -> None:
        """
        What was written down and is damaged says nothing.
        """
        for content in (b"\xff", b"{}", b'["x", -1, true]', b"[" * 1000):
            self.state.contents["removing"] = content
            self.administration = self.another()
            self.assertEqual("nothing to remove", self.finish())

    def test_stateCannotBeKept(self) -> None:
        """
        Where it cannot be written down, nothing is removed.
        """

        def save(name: str, content: bytes) -> None:
            raise OSError(28, "No space left on device")

        self.patch(self.state, "save", save)
        failure = self.failureResultOf(self.remove(2), StoreFailed)
        self.assertIn("No space left on device", str(failure.value))
        self.assertEqual(([1, 2, 3, 4, 5],) * 3, self.left())

    def test_stops(self) -> None:
        """
        A node that stops says so to whoever waits, at whatever step.
        """
        for steps in range(3):
            clock = Clock()
            runner = ClockRunner(clock)
            administration = Administration(
                self.registrar, None, None, self.state, runner, self.changed
            )
            removing = Deferred.fromCoroutine(administration.remove([2], None))
            clock.pump([0.001] * steps)
            runner.stop()
            self.failureResultOf(removing, Stopped)


class RemovedTests(RequestsCase):
    """
    Removing through the service.
    """

    def test_removed(self) -> None:
        """
        A worker that may, removes agents; it hears which, and which were not
        there.
        """
        self.start()
        self.assignments.assigned[1] = ("web",)
        answer = self.get("agents.remove", ids=[1, 77, 2, 1], purge=False)
        self.assertEqual(
            {
                "removed": [{"id": "001", "name": "agent-1"}, {"id": "002", "name": "agent-2"}],
                "unknown": ["077"],
            },
            answer,
        )
        self.assertEqual(({}, {}), (self.store.kept, self.assignments.assigned))

    def test_killedBefore(self) -> None:
        """
        Of agents that were undone or replaced right before a master was killed,
        nothing stays at the next one; others who are not registered are nobody's
        business.
        """
        store = Store(*(AgentRecord(n, ACTIVE, 1.0) for n in range(1, 5)))
        assignments = MemoryAssignments()
        assignments.assigned = dict.fromkeys(range(1, 5), ("default",))
        self.master(registrar=Remembering(1, 3), store=store, assignments=assignments)
        self.assertEqual(([1, 3, 4],) * 2, (list(store.kept), list(assignments.assigned)))

    def test_later(self) -> None:
        """
        What came meanwhile goes within a minute, by itself.
        """
        self.start()
        self.get("agents.remove", ids=[1])
        self.store.kept[1] = AgentRecord(1, ACTIVE, 2.0)
        self.pass_(61)
        self.assertEqual({}, self.store.kept)
