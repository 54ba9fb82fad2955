"""
Tests for agents in a simulation: whoever looks at registrations from outside finds
what must never be, and agents enroll as Wazuh's do.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.agents import ACTIVE, DISCONNECTED
from wazuh_cluster.requests.names import AGENTS_REMOVE, GROUPS_ASSIGN, GROUPS_CREATE
from wazuh_cluster.testing.simulation import Agents, Files, SimCluster
from wazuh_cluster.testing.simulation.contents import KEYS
from wazuh_cluster.testing.simulation.disk import SimDisk
from wazuh_cluster.testing.simulation.enrolling import Attempt
from wazuh_cluster.testing.simulation.files import write
from wazuh_cluster.testing.simulation.registrations import History

_PATH = b"/var/ossec/" + KEYS


def lineOf(id: int, name: str, key: int = 1) -> bytes:
    return b"%03d %s any %064x\n" % (id, name.encode("ascii"), key)


class HistoryTests(SynchronousTestCase):
    """
    What must never be of a registration is found.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.problems: list[str] = []
        self.history = History(self.problems.append, self.clock.seconds)
        self.disk = SimDisk(self.clock, Random(0))
        self.disk.makeFolders(b"/var/ossec/etc")

    def file(self, *lines: bytes, durable: bool = True) -> None:
        """
        A process writes C{client.keys}.
        """
        content = b"".join(lines)
        if self.disk.statusOf(_PATH) is not None:
            self.disk.remove(_PATH)
        self.disk.put(_PATH, content)
        if durable:
            self.disk.settle()
        self.history.changed(content)

    def asks(self, name: str, ip: str = "any") -> Attempt:
        attempt = Attempt(name, ip, b"", "w1")
        self.history.asks(attempt)
        return attempt

    def told(self, attempt: Attempt, line: bytes) -> None:
        """
        An agent is told its line of C{client.keys}.
        """
        attempt.written += b"OSSEC K:'%s'" % line.rstrip(b"\n")
        self.history.wrote(attempt, self.disk, _PATH)
        self.history.ended(attempt)

    def registered(self, id: int, name: str) -> bytes:
        """
        An agent is registered, and told so.
        """
        attempt = self.asks(name)
        line = lineOf(id, name, id)
        self.file(*self.lines(), line)
        self.told(attempt, line)
        return line

    def lines(self) -> list[bytes]:
        return (self.disk.contentOf(_PATH) or b"").splitlines(keepends=True)

    def assertBroken(self, text: str) -> None:
        self.assertEqual(len(self.problems), 1, self.problems)
        self.assertIn(text, self.problems[0])

    def test_well(self) -> None:
        """
        Agents come, are removed, edited and replaced: nothing is wrong with that.
        """
        for n in range(1, 5):
            self.registered(n, f"a{n}")
        two, three, four = self.lines()[1:]
        self.history.leaves(1)
        self.file(two, three, four)
        self.history.removed(1)
        self.disk.put(_PATH, three + four)
        self.history.edited(three + four)
        attempt = self.asks("a3")
        self.file(four, lineOf(5, "a3", 5))
        self.told(attempt, lineOf(5, "a3", 5))
        self.assertEqual(self.history.ids(), [4, 5])
        self.assertEqual((self.problems, self.history.left(lambda _: False)), ([], None))

    def test_notThere(self) -> None:
        """
        An answer without a registration, or with one that a power cut would undo.
        """
        self.told(self.asks("a1"), lineOf(1, "a1"))
        self.assertBroken("a power cut would undo it")
        self.problems.clear()
        attempt = self.asks("a2")
        self.file(lineOf(2, "a2"), durable=False)
        self.told(attempt, lineOf(2, "a2"))
        self.assertBroken("a power cut would undo it")

    def test_lost(self) -> None:
        """
        An agent that was told so is not there any more.
        """
        self.registered(1, "a1")
        self.file()
        self.assertBroken("agent 1 is lost")

    def test_lostByPower(self) -> None:
        """
        The same by a power cut.
        """
        self.registered(1, "a1")
        self.history.lostPower(b"")
        self.assertBroken("agent 1 is lost by a power cut")

    def test_unheardMayGo(self) -> None:
        """
        One that nobody was told of may go; what stays of it is found in the end,
        unless whoever had to tell is no more.
        """
        self.asks("a1")
        self.file(lineOf(1, "a1"))
        self.assertIn("nobody was told of agent 1", str(self.history.left(lambda _: False)))
        self.assertIsNone(self.history.left(lambda _: True))
        self.file()
        self.assertEqual(self.problems, [])

    def test_removedComesBack(self) -> None:
        """
        One that is said to be removed is there, or comes back.
        """
        line = self.registered(1, "a1")
        self.history.leaves(1)
        self.history.removed(1)
        self.assertBroken("is said to be removed")
        self.problems.clear()
        self.file()
        self.history.lostPower(line)
        self.assertBroken("comes back after a power cut")
        self.problems.clear()
        self.file()
        self.file(line)
        self.assertBroken("comes back")

    def test_givenTwice(self) -> None:
        """
        An id is given to two, or one that is not the next.
        """
        self.registered(2, "a2")
        self.file(lineOf(2, "a2", 7))
        self.assertBroken("agent 2 is lost")
        self.problems.clear()
        self.file()
        self.file(lineOf(2, "a3", 8))
        self.assertBroken("id 2 is given twice")
        self.problems.clear()
        self.file(lineOf(1, "a1"))
        self.assertBroken("id 1 is given after 2")

    def test_keyOfAnother(self) -> None:
        """
        A stranger with the same text gets the key that is there.
        """
        line = self.registered(1, "a1")
        self.told(self.asks("a1"), line)
        self.assertBroken("gets the key of another")

    def test_answers(self) -> None:
        """
        What an agent is told is an answer, one and whole, and its own.
        """
        for text in (b"OSSEC K:'001", b"ERROR: a. Unable to add agentERROR: b", b""):
            attempt = self.asks("a1")
            attempt.written = text
            self.history.wrote(attempt, self.disk, _PATH)
            self.assertBroken("is told")
            self.problems.clear()
        self.file(lineOf(1, "a1"))
        self.told(self.asks("b1"), lineOf(1, "a1"))
        self.assertBroken("b1 is told")

    def test_ownDuplicate(self) -> None:
        """
        Who is refused for another of its name, and there was none but itself.
        """
        refusal = b"ERROR: Duplicate name. Unable to add agent"
        attempt = self.asks("a1")
        self.file(lineOf(1, "a1"))
        attempt.written = refusal
        self.history.wrote(attempt, self.disk, _PATH)
        self.assertBroken("is in its own way")
        self.problems.clear()
        another = self.asks("a1")
        another.written = refusal
        self.history.wrote(another, self.disk, _PATH)
        self.assertEqual(self.problems, [])

    def test_otherMaster(self) -> None:
        """
        A master that is another one, or as it was, may give its ids again.
        """
        self.registered(1, "a1")
        before = self.asks("a2")
        self.disk.remove(_PATH)
        self.history.replaced(b"")
        self.registered(1, "b1")
        self.told(before, lineOf(2, "a2"))
        self.assertEqual(self.problems, [])


class AgentsTests(SynchronousTestCase):
    """
    Agents in a cluster that nothing befalls.
    """

    def setUp(self) -> None:
        self.agents = Agents()
        self.cluster = SimCluster(1, 2, [Files(), self.agents])
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__)
        self.cluster.peaceful = True
        self.cluster.start()
        self.cluster.run(5)

    def ask(self, name: str, node: str) -> bytes:
        """
        An agent asks at a node.

        @return: what it is told.
        """
        told: list[bytes] = []
        attempt = Attempt(name, "any", f"OSSEC A:'{name}'\n".encode("ascii"), node)
        self.agents.history.asks(attempt)
        wrote: Callable[[Attempt], None] = self.agents._wrote
        self.agents._host.ask(attempt, wrote, lambda attempt: told.append(attempt.received))
        self.assertTrue(self.cluster.runUntil(lambda: bool(told), 15, 0.1))
        return told[0]

    def test_everywhere(self) -> None:
        """
        Agents enroll at the master and at workers, where all nodes then have their
        keys.
        """
        for n, node in enumerate(("hub", "w1", "w2"), 1):
            self.assertTrue(self.ask(f"a{n}", node).startswith(b"OSSEC K:'00%d a%d " % (n, n)))
        self.assertIn(b"Duplicate agent name", self.ask("a1", "hub"))
        self.assertIn(b"Duplicate name", self.ask("a1", "w1"))
        self.assertEqual(self.agents.history.ids(), [1, 2, 3])
        files: Any = self.cluster.parts[0]
        self.assertTrue(self.cluster.runUntil(lambda: files.unwell() is None, 30))
        self.heal()

    def enroll(self, agent: int, node: str) -> int:
        """
        One of the part's own agents enrolls.

        @return: its id.
        """
        own = self.agents._agents[agent]
        # Until it asks for no group that is not there.
        while own.line is None:
            self.agents._ask(own, node)
            self.assertTrue(self.cluster.runUntil(lambda: own.attempt is None, 15, 0.1))
        return int(own.line.split()[0])

    def operate(self, node: str, name: str, body: dict[str, Any]) -> None:
        """
        Somebody asks a node for something, and is answered.
        """
        answers: list[bytes] = []
        self.agents._operate(self.cluster.machines[node], name, body, answers.append)
        self.assertTrue(self.cluster.runUntil(lambda: bool(answers), 5, 0.1))

    def test_lives(self) -> None:
        """
        An agent reports at one node and then at another, comes into a group and is
        removed: all is well after each step, and as it should be.
        """
        id = self.enroll(0, "w1")
        agent = self.agents._agents[0]
        self.cluster.run(5)
        for node, event in (("w1", ACTIVE), ("w2", DISCONNECTED), ("hub", ACTIVE)):
            self.agents._hears(self.cluster.machines[node], agent, event)
            self.cluster.run(12)
            record = self.agents._of(self.cluster.master).fleet.rows[id]
            self.assertEqual((record.event, record.node), (event, node))
        self.operate("w2", GROUPS_CREATE, {"name": "web"})
        self.operate("hub", GROUPS_ASSIGN, {"id": id, "groups": ["web"], "add": False})
        self.cluster.run(12)
        place = self.cluster.machines["w2"].path(b"queue/agent-groups/%03d" % id)
        self.assertEqual(self.cluster.machines["w2"].disk.contentOf(place), b"web\n")
        self.heal()
        self.agents.history.leaves(id)
        self.operate("w1", AGENTS_REMOVE, {"ids": [id], "purge": True})
        self.agents.history.removed(id)
        self.cluster.run(12)
        self.assertEqual(self.agents._of(self.cluster.master).fleet.rows, {})
        self.assertIsNone(self.cluster.machines["w2"].disk.contentOf(place))
        self.heal()

    def heal(self) -> None:
        """
        All becomes well, and people see it so.
        """
        self.agents.heal()

        def well() -> bool:
            self.agents.tend()
            return self.agents.unwell() is None

        self.assertTrue(self.cluster.runUntil(well, 40, 3.0), self.agents.unwell())

    def test_unwell(self) -> None:
        """
        What should not be in the end is found.
        """
        id = self.enroll(0, "hub")
        self.heal()
        master = self.cluster.master
        rows = self.agents._of(master).fleet
        right = dict(rows.rows)

        def found(text: str) -> None:
            self.assertIn(text, str(self.agents.unwell()))

        rows.commit({**right, 77: right[id]})
        found("has records of [77]")
        rows.commit({})
        found("has not heard what a0 reported last")
        rows.commit(right)
        write(master, b"queue/agent-groups/077", b"default\n")
        found("is of nobody")
        master.disk.remove(master.path(b"queue/agent-groups/077"))
        write(master, b"queue/agent-groups/%03d" % id, b"default,db\n")
        found("which is not there")
        master.disk.remove(master.path(b"queue/agent-groups/%03d" % id))
        self.assertIsNone(self.agents.unwell())
        self.agents._page = {}
        found("are not")
        self.agents._page = {id: "disconnected"}
        found("is disconnected, and it is active")

    def test_keyBeforeGroups(self) -> None:
        """
        A worker that has an agent's groups and not its key is found.
        """
        id = self.enroll(0, "w1")
        self.cluster.run(5)
        worker = self.cluster.machines["w1"]
        process = worker.process
        assert process is not None
        path = worker.path(b"queue/agent-groups/%03d" % id)
        worker.disk.put(path, b"default\n")
        self.agents.touched(process, path)
        self.assertEqual(self.cluster.problems, [])
        worker.disk.put(worker.path(KEYS), b"")
        self.agents.touched(process, worker.path(KEYS))
        self.agents.touched(process, path)
        self.assertIn("before it has its key", self.cluster.problems.pop())

    def test_away(self) -> None:
        """
        Nobody is told anything by a node that is away.
        """
        self.cluster.peaceful = False
        self.cluster.machines["w1"].kill()
        self.assertEqual(self.ask("a1", "w1"), b"")

    def test_byHand(self) -> None:
        """
        What somebody adds and removes by hand is known, though nobody asked for it.
        """
        for content in (lineOf(7, "byhand"), b""):
            write(self.cluster.master, KEYS, content)
            self.agents.history.edited(content)
            self.cluster.run(12)
        self.assertIn(b"'008 a1", self.ask("a1", "w1"))

    def test_removed(self) -> None:
        """
        An agent that is removed is gone, and none has its id after it.
        """
        self.ask("a1", "hub")
        master = self.cluster.master.process
        assert master is not None
        self.agents.history.leaves(1)
        administration = master.node.agents.administration
        removing = master.enter(Deferred.fromCoroutine, administration.remove([1], True))
        self.cluster.run(5)
        self.successResultOf(removing)
        self.agents.history.removed(1)
        self.assertIn(b"002 a2", self.ask("a2", "w2"))
        self.assertEqual(self.agents.history.ids(), [2])
