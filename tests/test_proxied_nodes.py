"""
Tests of three whole nodes whose links go through a bad network.
"""

from __future__ import annotations

import os
from functools import partial

from twisted.internet import reactor
from twisted.python.filepath import FilePath

from tests.faultproxy import FaultProxy
from tests.processes import ProcessCase


class ProxiedTests(ProcessCase):
    """
    A master and two workers that reach it through a proxy.
    """

    async def begin(self, small: bool = False) -> None:
        """
        Start the nodes, and wait until they are equal.

        @param small: whether the second worker's disk is.
        """
        self.hub = self.init("hub", "--role", "master", "--bind-addr", "127.0.0.1")
        key = self.hub.preauthChild("etc/ossec.conf").path
        self.proxy = FaultProxy(reactor, self.port)
        self.port = await self.proxy.listen()
        self.addCleanup(self.proxy.stop)
        self.workers = [
            self.init(name, "--role", "worker", "--master", "127.0.0.1", "--key-file", key)
            for name in ("one", "two")
        ]
        if small:
            self.filler = self.mountSmall(self.workers[1])
        self.edit("first")
        self.node(self.hub)
        await self.until(lambda: "Starting" in self.log(self.hub), "the master's port")
        for home in self.workers:
            self.node(home)
        await self.untilEqual(self.hub, *self.workers)

    def edit(self, text: str, size: int = 0) -> None:
        """
        Somebody changes files on the master.
        """
        for n in range(5):
            rule = self.hub.preauthChild(f"etc/rules/r{n}.xml")
            rule.setContent(f"<group>{text} {n}</group>".encode("ascii"))
        self.hub.preauthChild("etc/lists/random").setContent(os.urandom(size))

    def joins(self, home: FilePath[str]) -> int:
        """
        How often a worker joined.
        """
        return self.log(home).count("Successfully connected")

    async def untilJoined(self, home: FilePath[str], before: int) -> None:
        """
        Wait until a worker joined once more.
        """
        await self.until(lambda: self.joins(home) > before, "a worker that joins again")

    def isTidy(self, home: FilePath[str]) -> bool:
        """
        Whether a node has nothing unfinished.
        """
        return not self.leftovers(home)

    async def test_badNetwork(self) -> None:
        """
        Whatever befalls the network, both workers have the master's files soon after,
        and no log has a traceback.
        """
        await self.begin()
        proxy = self.proxy
        proxy.delay = 0.15
        self.edit("late", 200_000)
        await self.untilEqual(self.hub, *self.workers)
        proxy.heal()
        proxy.rate = 300_000.0
        self.edit("slow", 400_000)
        await self.untilEqual(self.hub, *self.workers)
        proxy.rate = 20_000.0
        self.edit("cut in the middle", 3_000_000)
        staging = self.workers[0].preauthChild("queue/wazuh_cluster/staging")
        for turn in range(3):
            joined = {home: self.joins(home) for home in self.workers}
            await self.until(staging.listdir, f"piece {turn} of the list")
            proxy.reset()
            for home, before in joined.items():
                await self.untilJoined(home, before)
        proxy.heal()
        await self.untilEqual(self.hub, *self.workers)
        proxy.stalled = True
        self.edit("unseen", 100_000)
        await self.until(
            lambda: self.log(self.hub).count("Generation") >= 5, "the master's last generation"
        )
        proxy.heal()
        await self.untilWell()

    async def test_fullDisk(self) -> None:
        """
        Behind a slow network that is cut, one worker's disk fills up: the other has all
        meanwhile, and it has all when there is room again.
        """
        await self.begin(small=True)
        proxy = self.proxy
        proxy.delay, proxy.rate = 0.05, 1_000_000.0
        self.fill(self.filler)
        self.edit("large", 1_500_000)
        await self.untilEqual(self.hub, self.workers[0])
        await self.until(
            lambda: "No space left on device" in self.log(self.hub), "the master's line"
        )
        joined = self.joins(self.workers[1])
        proxy.reset()
        await self.untilJoined(self.workers[1], joined)
        self.assertFalse(self.equal(self.hub, self.workers[1]))
        self.filler.remove()
        proxy.heal()
        await self.untilWell()

    async def untilWell(self) -> None:
        """
        Wait until all are equal; nothing is left over, and no log has a traceback.
        """
        await self.untilEqual(self.hub, *self.workers)
        for home in (self.hub, *self.workers):
            self.assertNotIn("Traceback", self.log(home))
            self.assertNotIn("bug", self.log(home))
        for home in self.workers:
            # A manifest may be on its way to the disk.
            await self.until(partial(self.isTidy, home), "no leftovers")
