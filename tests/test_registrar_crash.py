"""
A registrar whose process, or machine, dies at any moment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.agents import Agent, Registration
from wazuh_cluster.agents.clientkeys import isRemoved, parseAgent
from wazuh_cluster.agents.forcerules import ForceRules
from wazuh_cluster.agents.registrar import ClientKeysRegistrar
from wazuh_cluster.journal import MAIN, Journal
from wazuh_cluster.state import DirectoryState
from wazuh_cluster.testing.filesystem import MemoryFileSystem
from wazuh_cluster.testing.registrar import counting
from wazuh_cluster.testing.registrarcontract import ALWAYS, NOW
from wazuh_cluster.testing.runner import ClockRunner

KEYS = b"/home/etc/client.keys"
REMARK = b"# somebody's remark"

#: What the story does to agents that it has registered: the request of one, the
#: request of another, and the id of a third.
REPLACED = b"%016d" % 0
UNDONE = b"%016d" % 1
REMOVED = 5


class World:
    """
    A home, and what those who asked were told.

    @ivar asked: when each request was made first.
    @ivar told: the agents that somebody was told of, by request.
    @ivar removed: the ids of which somebody was told that they are gone.
    @ivar ids: all ids that somebody was told.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.fs = MemoryFileSystem(self.clock)
        self.fs.put(KEYS, REMARK + b"\n002 old any k\n", 0o640)
        self.fs.makeFolders(b"/home/queue/wazuh_cluster")
        self.fs.settle()
        self.random = counting()
        self.asked: dict[bytes, float] = {}
        self.told: dict[bytes, Agent] = {}
        self.removed: set[int] = set()
        self.ids: list[int] = []
        self.isDead = False
        self.seen = 0
        self.start()

    def start(self, rules: ForceRules = ALWAYS) -> None:
        """
        A new process.
        """
        self.isDead = False
        self.runner = ClockRunner(self.clock)
        self.registrar = ClientKeysRegistrar(
            "/home",
            self.runner,
            self.clock,
            DirectoryState(self.fs, b"/home/queue/wazuh_cluster"),
            fileSystem=self.fs,
            rules=rules,
            purge=False,
            wallClock=self.clock.seconds,
            monotonic=self.clock.seconds,
            random=self.random,
            journal=Journal(MAIN, observer=lambda event: None),
        )

    def dieAt(self, step: int) -> None:
        """
        Die before some operation on the file system, and do no other then.
        """

        def die() -> None:
            self.seen += 1
            if self.seen >= step:
                self.isDead = True
                raise KeyboardInterrupt

        self.fs.before("*", None, die, times=None)

    def live(self) -> None:
        """
        Let operations be done again.
        """
        self.fs._rules.clear()

    def register(self, name: str, requestId: bytes) -> None:
        """
        Ask for a registration, and note the answer.
        """

        def told(agent: Agent) -> None:
            self.told[requestId] = agent
            if agent.id not in self.ids:
                self.ids.append(agent.id)

        self.asked.setdefault(requestId, self.clock.seconds())
        self.waiting(self.registrar.register(Registration(name), requestId, "hub"), told)

    def undo(self, requestId: bytes) -> None:
        """
        Ask for an undo.
        """

        def told(agent: Agent | None) -> None:
            if agent is not None:
                self.removed.add(agent.id)

        self.waiting(self.registrar.undo(requestId, "hub"), told)

    def remove(self, ids: list[int], purge: bool) -> None:
        """
        Ask for a removal.
        """
        self.waiting(
            self.registrar.remove(ids, purge),
            lambda agents: self.removed.update(agent.id for agent in agents),
        )

    def waiting(self, asked: Deferred[Any], told: Callable[[Any], None]) -> None:
        """
        Do what is to be done, or until the process dies.
        """

        def answered(result: object) -> None:
            if not isinstance(result, Failure) and not self.isDead:
                told(result)

        asked.addBoth(answered)

    def work(self) -> None:
        """
        Do all that was asked for, or until the process dies.
        """
        for _ in range(400):
            if self.isDead or not self.clock.getDelayedCalls():
                break
            try:
                self.clock.advance(0.001)
            except KeyboardInterrupt:
                self.isDead = True

    def story(self) -> None:
        """
        What happens in the first process, as far as it lives.
        """
        for chapter in (self.storm, self.mixed, self.removals, self.later, self.muchLater):
            if not self.isDead:
                chapter()
                self.work()

    def storm(self) -> None:
        for number, name in enumerate(("a", "b", "c", "d")):
            self.register(name, b"%016d" % number)

    def mixed(self) -> None:
        self.register("e", b"%016d" % 4)
        self.undo(UNDONE)
        # Takes the place of the first.
        self.register("a", b"%016d" % 5)

    def removals(self) -> None:
        self.remove([2], False)
        self.remove([REMOVED], True)

    def later(self) -> None:
        # The journal begins anew.
        self.clock.advance(601)
        self.register("f", b"%016d" % 6)

    def muchLater(self) -> None:
        self.clock.advance(601)
        self.register("g", b"%016d" % 7)
        self.register("g", b"%016d" % 7)

    def lines(self) -> list[bytes]:
        """
        The lines of C{client.keys}.
        """
        content = self.fs.get(KEYS)
        assert content.endswith(b"\n"), content
        return content[:-1].split(b"\n")

    def agents(self) -> dict[int, Agent]:
        """
        The agents in C{client.keys}.
        """
        found = {}
        for line in self.lines():
            agent = parseAgent(line)
            if agent is not None:
                assert agent.id not in found, f"{agent.id} was given twice"
                found[agent.id] = agent
        return found


class CrashTests(SynchronousTestCase):
    """
    After every death, and a restart, nothing that anybody was told is untrue.
    """

    def steps(self) -> int:
        """
        How many operations the story takes.
        """
        world = World()
        world.story()
        self.assertEqual(len(world.told), 8)
        self.assertEqual(sorted(world.ids), [3, 4, 5, 6, 7, 8, 9, 10])
        self.assertEqual(world.removed, {2, 4, 5})
        return len(world.fs.operations)

    def check(self, world: World) -> None:
        """
        The file is whole, has who was told to be in it, and nobody who was
        told to be gone.
        """
        for line in world.lines():
            self.assertTrue(line == REMARK or isRemoved(line) or parseAgent(line) is not None, line)
        self.assertIn(REMARK, world.lines())
        agents = world.agents()
        for requestId, agent in world.told.items():
            if agent.id in agents:
                self.assertEqual(agents[agent.id], agent)
            elif requestId == REPLACED:
                # By another of its name, at the same moment.
                self.assertIn("a", [each.name for each in agents.values()])
            else:
                # Somebody asked for it.
                self.assertTrue(requestId == UNDONE or agent.id == REMOVED, agent)
        self.assertEqual(world.removed & agents.keys(), set())

    def survive(self, world: World, step: int) -> None:
        """
        Start again, ask for all of it again as those do who got no answer, and
        for somebody else.
        """
        world.live()
        self.check(world)
        world.start(ForceRules(enabled=False))
        before, world.told = world.told, {}
        there = world.agents()
        names = ("a", "b", "c", "d", "e", "a", "f", "g")
        for number, name in enumerate(names):
            world.register(name, b"%016d" % number)
        world.register("new", b"n" * 16)
        world.work()
        for requestId, agent in before.items():
            # A retry within ten minutes gives the same agent, but for one whose
            # undo had begun.
            ago = world.clock.seconds() - world.asked[requestId]
            if agent.id in there and ago <= 600 and requestId != UNDONE:
                self.assertEqual(world.told.get(requestId), agent)
        world.told = {**world.told, **before}
        self.check(world)
        new = world.told[b"n" * 16]
        self.assertGreater(new.id, max([2, *world.ids[:-1]]), step)
        self.assertEqual(len(set(world.ids)), len(world.ids))
        # No request has two agents.
        named = [agent.name for agent in world.agents().values()]
        self.assertEqual(len(named), len(set(named)), named)

    def every(self, lose: Callable[[World], None]) -> None:
        """
        Die before each operation.
        """
        for step in range(1, self.steps() + 1):
            world = World()
            world.dieAt(step)
            world.story()
            self.assertTrue(world.isDead)
            for call in world.clock.getDelayedCalls():
                call.cancel()
            lose(world)
            self.survive(world, step)

    def test_process(self) -> None:
        """
        The process dies: what it wrote is there.
        """
        self.every(lambda world: None)

    def test_machine(self) -> None:
        """
        The machine dies: what was not made durable is gone.
        """
        self.every(lambda world: world.fs.crash())

    def test_machineThatKnowsNames(self) -> None:
        """
        The machine dies, and names are on the disk whose content is not.
        """
        self.every(lambda world: world.fs.crash(namesStay=True))
