"""
What strangers leave behind in a master: a real process, looked at from outside.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.python.filepath import FilePath

from tests.attackers import Attacker, Attacks, chunk, end, keepAlive, requestFiles, wantsOf
from tests.processes import ProcessCase
from wazuh_cluster.model import WORKER, Identity
from wazuh_cluster.testing.trust import OTHER, testKey
from wazuh_cluster.trust.tls import makeContext

#: How many come.
CONNECTIONS = 400

#: How many come at once.
_AT_ONCE = 50

#: By how much the master's memory may be larger when they are gone, in bytes. All
#: together cost it 40 MiB.
_MORE = 16 * 1024 * 1024

#: How many more objects there may be. A connection is dozens of them, so this is
#: less than those of one eighth of all.
_OBJECTS = CONNECTIONS // 2

#: How many lines the log may have that are not for the time: a few for the first
#: strangers, and two for each worker that joins.
_LINES = 16 + 2 * CONNECTIONS // 4

#: A node that gives back at SIGUSR1 what nothing uses, and tells how many objects
#: of connections it still has, and how much memory.
_TELLS = """
import gc, os, signal
from wazuh_cluster.memory import giveBack, residentSize
def tell(*ignored):
    giveBack()
    kinds = ("OpenSSL", "twisted", "wazuh_cluster.protocol", "wazuh_cluster.trust",
             "wazuh_cluster.master.doorstep", "wazuh_cluster.master.session")
    modules = (type(each).__module__ for each in gc.get_objects())
    count = sum(isinstance(each, str) and each.startswith(kinds) for each in modules)
    with open(%(path)r + ".new", "w") as file:
        file.write(f"{count} {residentSize()}")
    os.rename(%(path)r + ".new", %(path)r)
signal.signal(signal.SIGUSR1, tell)
from twisted.scripts.twistd import run
run()
"""


class ManyTests(Attacks, ProcessCase):
    """
    Hundreds of hostile connections to a master by twistd, which has a good
    worker.
    """

    def setUp(self) -> None:
        super().setUp()
        self.attackers: list[Attacker] = []
        self.addCleanup(self.endAttackers)

    async def until(self, condition: Callable[[], Any], what: str, patience: float = 60.0) -> Any:
        return await ProcessCase.until(self, condition, what, patience)

    async def told(self) -> tuple[int, int]:
        """
        How many objects of connections the master has, and how many bytes.
        """
        self.answer.remove()
        os.kill(self.pid, signal.SIGUSR1)
        await self.until(self.answer.exists, "what the master tells")
        count, size = self.answer.getContent().split()
        return int(count), int(size)

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
        self.answer = FilePath(os.path.abspath(self.mktemp()))
        self.answer.touch()
        process = self.node(master, code=_TELLS % {"path": self.answer.path})
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
        descriptors = self.descriptors()
        # Each way once, for what stays of a first time.
        await self.attack(range(-8, 0))
        await self.until(lambda: self.descriptors() <= descriptors, "closed descriptors")
        objects, resident = await self.told()
        began, lines = reactor.seconds(), len(self.log(master).splitlines())
        for first in range(0, CONNECTIONS, _AT_ONCE):
            await self.attack(range(first, first + _AT_ONCE))
            if first == 200:
                master.preauthChild("etc/rules/local_rules.xml").setContent(b"<group/>")
                await self.untilEqual(master, worker)
        await self.until(lambda: self.descriptors() <= descriptors, "closed descriptors")
        left, size = await self.told()
        deadline = reactor.seconds() + 30
        while (left > objects + _OBJECTS or size > resident + _MORE) and (
            reactor.seconds() < deadline
        ):
            await deferLater(reactor, 0.5)
            left, size = await self.told()
        self.assertLess(left, objects + _OBJECTS)
        self.assertLess(size, resident + _MORE)
        took = reactor.seconds() - began
        log = [line for line in self.log(master).splitlines()[lines:] if "DEBUG" not in line]
        self.assertLess(len(log), _LINES + 4 * took, log[-20:])
        self.assertEqual([], [line for line in log if "ERROR" in line])
        self.assertEqual(1, self.log(worker).count("Successfully connected"))
