"""
Tests of whole nodes that are killed at their file operations: these are counted in one
run, then a node is killed at each of them in turn, or at some by chance, started again,
and must be well.

C{WAZUH_CLUSTER_KILLS} in the environment says at how many in each test; C{all} for all.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Awaitable, Callable
from sqlite3 import connect as connectTo
from typing import TypeVar

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.python.filepath import FilePath

from tests.filecalls import Call, countOptions, readCalls, sample
from tests.processes import PATIENCE, freePort
from tests.stormcase import Crowd, checkKeys
from tests.test_mishap_nodes import TracedCase
from wazuh_cluster.agents.model import ACTIVE, AgentRecord
from wazuh_cluster.control.client import ControlClient, connect
from wazuh_cluster.errors import ClusterError

T = TypeVar("T")

_GIVEN = os.environ.get("WAZUH_CLUSTER_KILLS", "2")
COUNT = None if _GIVEN == "all" else int(_GIVEN)

#: The folders and files in which the edits are.
_EDITED = ("etc/client.keys", "etc/shared", "etc/rules", "etc/lists", "queue/agent-groups")

#: A line of C{client.keys}.
_KEY = re.compile(rb"[0-9]{3,} \S+ \S+ [0-9a-f]{64}\n")

_AGENTS = (1, 2, 3)


class KilledCase(TracedCase):
    """
    A master and a worker, one of which is killed.
    """

    timeout = 300 if COUNT is not None else 7200

    async def walk(
        self,
        victim: FilePath[str],
        act: Callable[[], Awaitable[object]],
        check: Callable[[], Awaitable[object]],
        *options: str,
    ) -> None:
        """
        Kill a node at its operations. What is in its home is the same each time.

        @param victim: its home; it does not run.
        @param act: lets the operations happen, until all have, or the node is dead.
        @param check: sees what is there after that, when the node runs again.
        @param options: the node's.
        """
        saved = FilePath(self.mktemp())
        shutil.copytree(victim.path, saved.path, ignore=shutil.ignore_patterns("*.sock"))
        self.restore(victim, saved)
        await self.traced(victim, countOptions(), *options)
        await act()
        await self.killed(victim)
        with open(self.trace.path, encoding="ascii") as trace:
            calls = readCalls(trace, victim.path)
        # Not each of them comes again: some more, until enough were met.
        chosen = sample(calls, None if COUNT is None else 3 * COUNT)
        print(f"{len(chosen)} of {len(calls)} operations:", end=" ", flush=True)
        deaths = 0
        for call in chosen:
            if deaths == COUNT:
                break
            self.restore(victim, saved)
            await self.traced(victim, call.options(), *options)
            await act()
            died = not self.nodes[victim].running
            deaths += died
            print(self.short(call, victim), "killed" if died else "not met", end="; ", flush=True)
            await self.killed(victim)
            self.nodes[victim] = self.node(victim, *options)
            await check()
            for home in (self.hub, self.one):
                self.assertNotIn("Traceback", self.log(home), call)
                self.assertNotIn("a bug", self.log(home), call)
            self.nodes[victim].kill()
            await self.ended(victim)
        self.assertGreater(deaths, 0, "no operation was met")

    def restore(self, home: FilePath[str], saved: FilePath[str]) -> None:
        home.remove()
        shutil.copytree(saved.path, home.path)

    def short(self, call: Call, home: FilePath[str]) -> str:
        return str(call).replace(home.path + "/", "").replace(home.path, "its home")

    async def killed(self, home: FilePath[str]) -> None:
        """
        Kill the node that runs under strace, if it still does.
        """
        self.end(home)
        await self.ended(home)

    def dead(self, home: FilePath[str]) -> bool:
        return not self.nodes[home].running

    def count(self, home: FilePath[str], text: str) -> int:
        return self.log(home).count(text)


class InstallTests(KilledCase):
    """
    An installation on a worker, and a generation on a master.
    """

    def setUp(self) -> None:
        super().setUp()
        self.meant: dict[str, set[bytes]] = {}

    def edit(self) -> None:
        """
        See L{MishapCase.edit}; what was ever meant is kept.
        """
        super().edit()
        for path in self.carried(self.hub):
            content = self.hub.preauthChild(path).getContent()
            self.meant.setdefault(path, set()).add(content)

    def carried(self, home: FilePath[str]) -> list[str]:
        """
        The files of a home that may be carried.
        """
        found = []
        for item in _EDITED:
            place = home.preauthChild(item)
            for each in place.walk() if place.exists() else ():
                if each.isfile() and not each.basename().endswith(".tmp"):
                    found.append("/".join(each.segmentsFrom(home)))
        return found

    def assertWhole(self) -> None:
        """
        What the worker has, somebody meant.
        """
        for path in self.carried(self.one):
            content = self.one.preauthChild(path).getContent()
            self.assertIn(content, self.meant.get(path, ()), path)

    async def prepare(self, victim: FilePath[str]) -> None:
        """
        Both nodes are equal, then the one that is to be killed stops, and somebody
        edits files.
        """
        await self.start()
        self.nodes[victim].kill()
        await self.ended(victim)
        self.edit()

    async def test_worker(self) -> None:
        """
        A worker has whole files, old and new ones, and its next process brings the
        rest.
        """
        self.begin()
        await self.prepare(self.one)
        await self.until(lambda: self.count(self.hub, "Generation") >= 2, "a generation")

        def applied() -> bool:
            return "Now at generation" in self.log(self.one).rpartition("Starting: ")[2]

        async def act() -> None:
            await self.until(lambda: self.dead(self.one) or applied(), "an installation")
            self.assertWhole()

        await self.walk(self.one, act, self.untilWell)

    async def test_master(self) -> None:
        """
        A master's workers keep what they have, and have what is new when it is back.
        """
        self.begin()
        await self.prepare(self.hub)
        before = self.count(self.hub, "Generation")

        async def act() -> None:
            await self.until(
                lambda: self.dead(self.hub) or self.count(self.hub, "Generation") > before,
                "a generation",
            )
            self.assertWhole()

        await self.walk(self.hub, act, self.untilWell)


class RegistrationTests(KilledCase):
    """
    Registrations on a master.
    """

    async def test_master(self) -> None:
        """
        Whoever was given a key has it, no id, name or key is given twice, and nothing
        is left over.
        """
        self.begin()
        await self.start()
        self.nodes[self.hub].kill()
        await self.ended(self.hub)
        port = freePort()
        self.crowd: Crowd | None = None

        async def act() -> None:
            said = "Agents can enroll at"
            before = self.count(self.hub, said)
            await self.until(
                lambda: self.dead(self.hub) or self.count(self.hub, said) > before, "a listener"
            )
            crowd = self.crowd = Crowd([port], 3, lanes=1, tries=4)
            self.addCleanup(crowd.stop)
            crowd.start()
            await self.until(lambda: self.dead(self.hub) or crowd.ended.called, "three keys")
            path = self.hub.preauthChild("etc/client.keys")
            for line in path.getContent().splitlines(True):
                self.assertTrue(_KEY.fullmatch(line), line)

        async def check() -> None:
            crowd = self.crowd
            assert crowd is not None
            await self.until(lambda: crowd.ended.called, "the last agent")
            await self.untilWell()
            undoing = self.hub.preauthChild("queue/wazuh_cluster/undo-registrations")
            await self.until(lambda: not undoing.exists(), "nothing to undo")
            self.assertEqual([], self.leftovers(self.hub))
            keys = self.hub.preauthChild("etc/client.keys").getContent()
            # Two agents were there before.
            old = [line for line in keys.splitlines(True) if b" storm-" not in line]
            self.assertEqual([b"001", b"002"], [line[:3] for line in old])
            checkKeys(self, crowd, b"".join(keys.splitlines(True)[2:]))

        await self.walk(self.hub, act, check, "--enrollment", f"tcp:{port}:interface=127.0.0.1")


class AgentInfoTests(KilledCase):
    """
    Commits of agents' records.
    """

    async def prepare(self) -> None:
        """
        A master that knows three agents, and a worker that heard all.
        """
        self.begin()
        keys = b"".join(b"%03d agent%d any %064x\n" % (n, n, n) for n in _AGENTS)
        self.hub.preauthChild("etc/client.keys").setContent(keys)
        await self.start()
        self.turn = 0
        self.assertTrue(await self.report())
        self.assertTrue(await self.untilTaken())

    @property
    def version(self) -> str:
        """
        Of the agents in this turn.
        """
        return f"Wazuh v4.{self.turn}.0"

    async def report(self) -> bool:
        """
        Say to the worker what was heard of all agents.

        @return: whether it took that; not if it is dead.
        """
        now = time.monotonic()
        records = [AgentRecord(agent, ACTIVE, now, version=self.version) for agent in _AGENTS]
        return await self.asked(self.one, lambda client: client.report(records)) == len(records)

    async def untilTaken(self) -> bool:
        """
        Wait until the master has what was heard of all agents.

        @return: whether it has; not if a node is dead.
        """
        while True:
            page = await self.asked(self.hub, lambda client: client.page())
            if page is None or self.dead(self.one):
                return False
            found = [each.record and each.record.version for each in page.agents]
            if found == [self.version] * len(_AGENTS):
                return True

    async def asked(
        self, home: FilePath[str], question: Callable[[ControlClient], Awaitable[T]]
    ) -> T | None:
        """
        Ask a node something, as soon as that can be.

        @return: its answer; C{None} if it is dead.
        """
        deadline = reactor.seconds() + PATIENCE
        while not self.dead(home):
            try:
                client = await connect(reactor, home.path)
                answer = await question(client)
                await client.close()
                return answer
            except ClusterError as error:
                # It is about to start, or to end.
                self.assertLess(reactor.seconds(), deadline, f"{error}\n{self.story()}")
            await deferLater(reactor, 0.05)
        return None

    async def check(self) -> None:
        """
        What a worker took is on the master, and no database was damaged.
        """
        if not self.taken:
            self.assertTrue(await self.report())
        self.assertTrue(await self.untilTaken())
        for home in (self.hub, self.one):
            for name in ("agents.db", "local-agents.db"):
                path = home.preauthChild("queue/wazuh_cluster").child(name)
                if path.exists():
                    found = connectTo(path.path).execute("PRAGMA integrity_check").fetchall()
                    self.assertEqual([("ok",)], found, path.path)

    async def act(self) -> None:
        """
        A worker hears all agents, and the master is told.
        """
        self.turn += 1
        self.taken = await self.report()
        if self.taken:
            await self.untilTaken()

    async def test_master(self) -> None:
        """
        A master.
        """
        await self.prepare()
        self.nodes[self.hub].kill()
        await self.ended(self.hub)
        await self.walk(self.hub, self.act, self.check)

    async def test_worker(self) -> None:
        """
        A worker: what it took from a local program outlives it.
        """
        await self.prepare()
        self.nodes[self.one].kill()
        await self.ended(self.one)
        await self.walk(self.one, self.act, self.check)
