"""
What strangers leave behind in a master: a real process, looked at from outside.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.python.filepath import FilePath

from tests.attackers import Attacker, Attacks, chunk, end, keepAlive, requestFiles, wantsOf
from tests.processes import ProcessCase
from wazuh_cluster.model import WORKER, Identity
from wazuh_cluster.testing.trust import OTHER, testKey
from wazuh_cluster.trust.tls import makeContext

#: How many come.
CONNECTIONS = 2000

#: How many come at once.
_AT_ONCE = 50

#: By how much the master's memory may be larger when they are gone, in bytes:
#: connections that held on to what they cost would have left ten times as much.
_MORE = 48 * 1024 * 1024

#: How many lines the log may have that are not for the time: a few for the first
#: strangers, and two for each worker that joins.
_LINES = 16 + 2 * CONNECTIONS // 4

_PAGE = os.sysconf("SC_PAGESIZE")


class ManyTests(Attacks, ProcessCase):
    """
    Two thousand hostile connections to a master by twistd, which has a good
    worker.
    """

    def setUp(self) -> None:
        super().setUp()
        self.attackers: list[Attacker] = []
        self.addCleanup(self.endAttackers)

    async def until(self, condition: Callable[[], Any], what: str, patience: float = 60.0) -> Any:
        return await ProcessCase.until(self, condition, what, patience)

    def resident(self) -> int:
        """
        The master's memory, in bytes.
        """
        with open(f"/proc/{self.pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    # What they do.

    async def silent(self, n: int) -> None:
        await self.connect()

    async def goes(self, n: int) -> None:
        (await self.connect()).transport.loseConnection()

    async def garbage(self, n: int) -> None:
        (await self.connect()).say(b"garbage")

    async def begins(self, n: int) -> None:
        (await self.connect()).say(b"\x16\x03\x01\x02\x00\x01")

    async def otherKey(self, n: int) -> None:
        await self.connect(self.foreign(self.otherContext))

    async def helloless(self, n: int) -> None:
        await self.connect(self.foreign(self.context))

    async def violates(self, n: int) -> None:
        (await self.joined(f"violates-{n}")).say(b"\xff" * 100)

    async def greedy(self, n: int) -> None:
        attacker = await self.joined(f"greedy-{n}")
        attacker.transport.pauseProducing()
        wants = wantsOf(b"etc/lists/large", size=10_000_000)
        attacker.say(requestFiles(1, 3, 2**62) + chunk(wants) + end(wants))
        attacker.say(keepAlive() * 20)

    async def start(self) -> tuple[FilePath[str], FilePath[str]]:
        """
        A master, and a good worker that has the master's files.
        """
        master, worker = self.cluster("good")
        self.settings(
            master,
            "[integrity]\ninterval = 1\n[limits]\ngreetTimeout = 2\nstallTimeout = 2\n",
        )
        conf = master.preauthChild("etc/ossec.conf").getContent()
        self.key = conf.split(b"<key>")[1][:32].decode("ascii")
        self.context = self.ownContext("evil")
        self.otherContext = makeContext(
            testKey(OTHER).derive().issue(Identity("wazuh", WORKER, "good"))
        )
        master.preauthChild("etc/lists").makedirs(ignoreExistingDirectory=True)
        master.preauthChild("etc/lists/large").setContent(b"0123456789" * 1_000_000)
        process = self.node(master)
        await self.until(lambda: "Starting" in self.log(master), "the master's port")
        self.node(worker)
        await self.untilEqual(master, worker)
        assert process.transport is not None
        self.pid = process.transport.pid
        return master, worker

    async def attack(self, numbers: range) -> None:
        """
        Have some come, each in its way.
        """
        ways: list[Callable[[int], Coroutine[Any, Any, None]]] = [
            *(self.silent, self.goes, self.garbage, self.begins),
            *(self.otherKey, self.helloless, self.violates, self.greedy),
        ]
        coming = [Deferred.fromCoroutine(ways[n % len(ways)](n)) for n in numbers]
        await gatherResults(coming, consumeErrors=True)

    async def test_leaveNothingBehind(self) -> None:
        """
        When they are gone the master has the memory and the descriptors that it
        had before, and its log is as long as its time allows; its worker stayed
        joined, and got what changed meanwhile.
        """
        master, worker = await self.start()
        descriptors, resident = self.descriptors(), self.resident()
        began, lines = reactor.seconds(), len(self.log(master).splitlines())
        for first in range(0, CONNECTIONS, _AT_ONCE):
            await self.attack(range(first, first + _AT_ONCE))
            if first == CONNECTIONS // 2:
                master.preauthChild("etc/rules/local_rules.xml").setContent(b"<group/>")
                await self.untilEqual(master, worker)
        await self.until(lambda: self.descriptors() <= descriptors, "closed descriptors")
        await self.until(lambda: self.resident() < resident + _MORE, "freed memory")
        took = reactor.seconds() - began
        log = [line for line in self.log(master).splitlines()[lines:] if "DEBUG" not in line]
        self.assertLess(len(log), _LINES + 4 * took, log[-20:])
        self.assertEqual([], [line for line in log if "ERROR" in line])
        self.assertEqual(1, self.log(worker).count("Successfully connected"))
