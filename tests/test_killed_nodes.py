"""
Tests of whole nodes that are killed at their file operations, one after the other.
"""

from __future__ import annotations

import random

from twisted.python.filepath import FilePath

from tests.test_mishap_nodes import TracedCase

#: The calls by which a worker installs files, and about how many there are of each.
_WORKERS = {
    "fchmod": 30,
    "utimensat": 30,
    "fsync": 8,
    "syncfs": 2,
    "renameat": 30,
    "unlinkat": 8,
}

#: The calls by which a master keeps its state, of which there are few.
_MASTERS = {"fsync": 3, "renameat": 1, "unlinkat": 1}

#: How many times a node is killed: all calls in turn would take an hour.
_WORKER_KILLS = 10
_MASTER_KILLS = 3

#: The folders and files in which the edits are.
_EDITED = ("etc/client.keys", "etc/shared", "etc/rules", "etc/lists", "queue/agent-groups")


class KilledTests(TracedCase):
    """
    A node that is killed at any file operation leaves whole files, and its next process
    does the rest. Which operations it is, is left to chance.
    """

    timeout = 240

    def setUp(self) -> None:
        super().setUp()
        self.meant: dict[str, set[bytes]] = {}
        self.killed = 0

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

    def chosen(self, calls: dict[str, int], number: int) -> list[tuple[str, int]]:
        """
        At which calls a node is to die; the first is one that surely comes.
        """
        names = random.sample(list(calls) * (1 + number // len(calls)), number)
        chosen = [(name, random.randint(1, calls[name])) for name in names]
        chosen[0] = ("renameat", 1)
        print(chosen, end=" ", flush=True)
        return chosen

    async def killedAt(self, home: FilePath[str], call: str, number: int) -> None:
        """
        Start a node that is killed at a call; wait for that, or until all is equal.
        """
        await self.inject(home, f"{call}:signal=KILL:when={number}")
        node = self.nodes[home]
        await self.until(lambda: not node.running or self.equal(self.hub, self.one), "the end")
        self.killed += not node.running
        self.end(home)
        await self.ended(home)

    async def test_worker(self) -> None:
        """
        A worker.
        """
        self.begin()
        await self.start()
        self.end(self.one)
        await self.ended(self.one)
        for call, number in self.chosen(_WORKERS, _WORKER_KILLS):
            self.edit()
            await self.killedAt(self.one, call, number)
            self.assertWhole()
        self.assertTrue(self.killed > 0)
        self.nodes[self.one] = self.node(self.one)
        await self.untilWell()

    async def test_master(self) -> None:
        """
        A master: workers keep what they have, and have what is new when it is back.
        """
        self.begin()
        await self.start()
        self.end(self.hub)
        await self.ended(self.hub)
        for call, number in self.chosen(_MASTERS, _MASTER_KILLS):
            self.edit()
            await self.killedAt(self.hub, call, number)
            self.assertWhole()
        self.nodes[self.hub] = self.node(self.hub)
        await self.untilWell()
