"""
Tests for L{wazuh_cluster.agents.registrar} and the registrar in memory.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from wazuh_cluster.agents import (
    Agent,
    IAssignments,
    IRegistrar,
    IRegistrarObserver,
    IRegistrationTimes,
    Registration,
)
from wazuh_cluster.agents.clientkeys import formatAgent, formatRemoved
from wazuh_cluster.agents.forcerules import ForceRules
from wazuh_cluster.agents.registrar import ClientKeysRegistrar
from wazuh_cluster.errors import RegistrationRefused, Stopped, StoreFailed
from wazuh_cluster.integrity.filesystem import RealFileSystem
from wazuh_cluster.interfaces import IRunner
from wazuh_cluster.journal import MAIN, Journal
from wazuh_cluster.state import DirectoryState
from wazuh_cluster.testing.filesystem import MemoryFileSystem
from wazuh_cluster.testing.registrar import MemoryRegistrar, counting
from wazuh_cluster.testing.registrarcontract import NOW, Heard, RegistrarContractMixin
from wazuh_cluster.testing.runner import ClockRunner, ImmediateRunner
from wazuh_cluster.testing.state import MemoryState
from wazuh_cluster.threads import ThreadRunner

KEYS = b"/home/etc/client.keys"

#: Rules under which nobody is replaced.
NEVER = ForceRules(enabled=False)
ALWAYS = ForceRules(disconnectedTime=None, afterRegistrationTime=0)


class MemoryRegistrarTests(RegistrarContractMixin, SynchronousTestCase):
    """
    The registrar in memory.
    """

    def makeRegistrar(
        self,
        rules: ForceRules,
        hostName: str,
        assignments: IAssignments,
        times: IRegistrationTimes,
        observers: Sequence[IRegistrarObserver],
    ) -> IRegistrar:
        """
        A new one.
        """
        return MemoryRegistrar(
            self.clock,
            rules=rules,
            hostName=hostName,
            assignments=assignments,
            times=times,
            observers=observers,
        )


class ClientKeysRegistrarTests(RegistrarContractMixin, SynchronousTestCase):
    """
    The registrar of a home.
    """

    def makeRegistrar(
        self,
        rules: ForceRules,
        hostName: str,
        assignments: IAssignments,
        times: IRegistrationTimes,
        observers: Sequence[IRegistrarObserver],
    ) -> IRegistrar:
        """
        One in an empty home.
        """
        fs = MemoryFileSystem(self.clock)
        fs.makeFolders(b"/home/etc")
        return ClientKeysRegistrar(
            "/home",
            ImmediateRunner(),
            self.clock,
            MemoryState(),
            fileSystem=fs,
            rules=rules,
            hostName=hostName,
            assignments=assignments,
            times=times,
            observers=observers,
            wallClock=self.clock.seconds,
            monotonic=self.clock.seconds,
            random=counting(),
        )


class Home:
    """
    A home in memory, with the registrars of one process after the other.

    @ivar events: what they logged.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.fs = MemoryFileSystem(self.clock)
        self.fs.makeFolders(b"/home/etc")
        self.state = DirectoryState(self.fs, b"/home/queue/wazuh_cluster")
        self.random = counting()
        self.events: list[LogEvent] = []
        self.heard = Heard()
        self.requests = 0

    def start(self, runner: IRunner | None = None, **options: Any) -> ClientKeysRegistrar:
        """
        The registrar of a new process.
        """
        self.registrar = ClientKeysRegistrar(
            "/home",
            ImmediateRunner() if runner is None else runner,
            self.clock,
            self.state,
            fileSystem=self.fs,
            observers=[self.heard],
            wallClock=self.clock.seconds,
            monotonic=self.clock.seconds,
            random=self.random,
            journal=Journal(MAIN, observer=self.events.append),
            **options,
        )
        return self.registrar

    def ask(self, name: str, requestId: bytes | None = None, ip: str = "any") -> Deferred[Agent]:
        """
        Ask for a registration.
        """
        if requestId is None:
            self.requests += 1
            requestId = b"%016d" % self.requests
        return self.registrar.register(Registration(name, ip), requestId, "hub")

    def content(self) -> bytes:
        """
        What is in C{client.keys}.
        """
        return self.fs.get(KEYS)

    def said(self, *levels: str) -> list[str]:
        """
        The lines of the log of some levels, all but debugging if none is
        named.
        """
        return [
            formatEvent(event)
            for event in self.events
            if event["log_level"].name in (levels or ("info", "warn", "error", "critical"))
        ]


class HomeTests(SynchronousTestCase):
    """
    L{ClientKeysRegistrar}, in its home.
    """

    def setUp(self) -> None:
        self.home = Home()
        self.fs = self.home.fs
        self.clock = self.home.clock
        self.registrar = self.home.start()

    def restart(self, **options: Any) -> None:
        self.registrar = self.home.start(**options)

    def register(self, name: str, requestId: bytes | None = None, ip: str = "any") -> Agent:
        return self.successResultOf(self.home.ask(name, requestId, ip))

    def assertInternal(self, asked: Deferred[Any]) -> None:
        """
        It was refused with authd's answer to a fault of the manager's.
        """
        error = self.failureResultOf(asked, RegistrationRefused).value
        self.assertEqual(str(error), "9001 Internal error")

    def quiet(self) -> None:
        """
        Let so much time pass that an edit is read.
        """
        self.clock.pump([1.1, 1.1])

    def known(self, *ids: int) -> frozenset[int]:
        return self.successResultOf(self.registrar.known(ids))

    def test_files(self) -> None:
        """
        A registration is a line in C{client.keys} and in
        C{queue/agents-timestamp}; nothing else is left in C{etc}.
        """
        one, two = self.register("web1"), self.register("web2", ip="fe80::1")
        self.assertEqual(self.home.content(), formatAgent(one) + formatAgent(two))
        self.assertEqual(self.fs.listTree(b"/home/etc"), [b"client.keys"])
        lines = self.fs.get(b"/home/queue/agents-timestamp").decode().splitlines()
        whom = [line.rsplit(" ", 2)[0] for line in lines]
        self.assertEqual(whom, ["001 web1 any", f"002 web2 {two.ip}"])

    def test_restart(self) -> None:
        """
        The next process knows all of it: agents, requests, what was undone,
        when agents were registered, and the highest id.
        """
        agent = self.register("web1", b"r" * 16)
        undone = self.register("web2", b"u" * 16)
        self.successResultOf(self.registrar.undo(b"u" * 16, "hub"))
        self.successResultOf(self.registrar.undo(b"v" * 16, "hub"))
        self.clock.advance(3599)
        self.restart()
        self.assertEqual(self.register("web1", b"r" * 16), agent)
        for requestId in (b"u" * 16, b"v" * 16):
            self.assertInternal(self.home.ask("web3", requestId))
        self.failureResultOf(self.home.ask("web1"), RegistrationRefused)
        self.clock.advance(1)
        self.assertEqual(self.register("web1").id, undone.id + 1)

    def test_removedWithAndWithoutTrace(self) -> None:
        """
        A removed agent's line goes, or stays as a mark after all others, as is
        configured, or as whoever removes it says.
        """
        for purge in (True, False):
            self.fs.put(KEYS, b"")
            self.restart(purge=purge)
            agents = [self.register(f"web{n}") for n in range(4)]
            self.successResultOf(self.registrar.remove([agents[0].id], not purge))
            self.successResultOf(self.registrar.remove([agents[1].id]))
            marked = agents[1] if not purge else agents[0]
            self.assertEqual(
                self.home.content(),
                formatAgent(agents[2]) + formatAgent(agents[3]) + formatRemoved(marked),
            )
            self.assertEqual(self.known(*(a.id for a in agents)), {a.id for a in agents[2:]})
            times = self.fs.get(b"/home/queue/agents-timestamp")
            self.assertEqual(len(times.splitlines()), 2)

    def test_undoLeavesNoTrace(self) -> None:
        """
        Of an agent that nobody ever was, no mark is kept.
        """
        self.restart(purge=False)
        self.register("web1", b"r" * 16)
        self.successResultOf(self.registrar.undo(b"r" * 16, "hub"))
        self.assertEqual(self.home.content(), b"")

    def test_idsNeverTwice(self) -> None:
        """
        Whatever was removed, by whom and when, its id is not given again.
        """
        for n in range(3):
            self.register(f"web{n}")
        self.successResultOf(self.registrar.remove([3], True))
        self.restart()
        self.assertEqual(self.register("web3").id, 4)
        # By hand, while nothing runs; long ago.
        self.fs.put(KEYS, b"")
        self.fs.remove(b"/home/queue/agents-timestamp")
        self.clock.advance(10**6)
        self.restart()
        self.assertEqual(self.register("web4").id, 5)
        # The journal forgets, the state does not.
        for n in range(30):
            self.clock.advance(100)
            self.register(f"later{n}")
        self.fs.put(KEYS, b"")
        self.fs.remove(b"/home/queue/agents-timestamp")
        for name in (b"registrations", b"registrations.before"):
            self.fs.remove(b"/home/queue/wazuh_cluster/" + name)
        self.restart()
        highest = self.successResultOf(self.registrar.load())
        self.assertGreater(highest, 25)
        self.assertLessEqual(highest, 35)

    def test_countedFromEverywhere(self) -> None:
        """
        Ids in the file, in marks, in the times and from other nodes count.
        """
        self.fs.put(KEYS, b"005 web5 any k\n008 !web8 any k\n")
        self.restart()
        self.assertEqual(self.register("web1").id, 9)
        self.fs.put(b"/home/queue/agents-timestamp", b"040 web40 any 2023-11-14 12:00:00\n")
        self.restart()
        self.assertEqual(self.register("web2").id, 41)
        self.successResultOf(self.registrar.seen(50))
        self.restart()
        self.assertEqual(self.register("web3").id, 51)

    def test_edits(self) -> None:
        """
        What somebody edits is picked up, stays, and counts: a name that he
        added is taken, an id not given.
        """
        self.restart(rules=NEVER)
        agent = self.register("web1")
        mine = b"# mine\n007 hand any secret\n"
        self.fs.put(KEYS, formatAgent(agent) + mine)
        asked = [self.home.ask("hand"), self.home.ask("web2")]
        self.assertNoResult(asked[1])
        self.quiet()
        self.failureResultOf(asked[0], RegistrationRefused)
        new = self.successResultOf(asked[1])
        self.assertEqual(new.id, 8)
        self.assertEqual(self.home.content(), formatAgent(agent) + mine + formatAgent(new))

    def test_editIsSeenBySomebodyWhoAsks(self) -> None:
        """
        Who only asks who is known sees an edit within some seconds, and is
        never kept waiting.
        """
        self.register("web1")
        self.fs.put(KEYS, b"007 hand any secret\n")
        self.assertEqual(self.known(1, 7), {1})
        for _ in range(4):
            self.clock.advance(1)
            seen = self.known(1, 7)
        self.assertEqual(seen, {7})

    def test_editWhileWriting(self) -> None:
        """
        A file that somebody replaces between our look and our renaming keeps
        his edit: it is read, and all is decided anew.
        """
        self.restart(rules=NEVER)
        agent = self.register("web1")
        looks = [0]

        def edit() -> None:
            looks[0] += 1
            if looks[0] == 2:
                self.fs.put(KEYS, formatAgent(agent) + b"002 web2 any k\n")

        # The second look is the last thing before the renaming.
        self.fs.before("status", KEYS, edit, times=2)
        asked = [self.home.ask("web2"), self.home.ask("web3")]
        self.quiet()
        self.failureResultOf(asked[0], RegistrationRefused)
        new = self.successResultOf(asked[1])
        self.assertGreater(new.id, 2)
        self.assertEqual(
            self.home.content(),
            formatAgent(agent) + b"002 web2 any k\n" + formatAgent(new),
        )

    def test_neverQuiet(self) -> None:
        """
        A file that is changed again and again is given up on after some
        seconds, with one line; and used again when it is quiet.
        """
        self.register("web1")
        asked = None
        for n in range(20):
            self.fs.put(KEYS, b"%03d web any k\n" % (n + 1))
            asked = asked or self.home.ask("web2")
            self.clock.advance(0.6)
        assert asked is not None
        self.assertInternal(asked)
        self.assertEqual(len(self.home.said("error")), 1)
        self.assertIn("another program keeps changing it", self.home.said("error")[0])
        asked = self.home.ask("web2")
        self.quiet()
        self.assertEqual(self.successResultOf(asked).id, 21)

    def test_stopped(self) -> None:
        """
        What waits for a file to be quiet ends when the registrar does, and
        leaves no call behind.
        """
        self.register("web1")
        self.fs.put(KEYS, b"")
        asked = [self.home.ask("web2"), self.home.ask("web3")]
        self.registrar.stop()
        for each in asked:
            self.failureResultOf(each, Stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.home.said("error"), [])

    def test_othersLines(self) -> None:
        """
        Lines of others stay where they are, and are named once, without what
        is in them; after an edit only what is new.
        """
        others = b"# remark\n001 web1 any k\na secret\n001 web2 any k\n002 web1 any k\n"
        self.fs.put(KEYS, others)
        new = self.register("web9")
        self.assertEqual(self.home.content(), others + formatAgent(new))
        self.assertEqual(
            self.home.said("warn"),
            [
                "/home/etc/client.keys, line 3: it has 2 fields instead of 4; "
                "the line stays as it is.",
                "/home/etc/client.keys, line 4: its id is that of a line before: 001; "
                "the line stays as it is.",
                "/home/etc/client.keys, line 5: its name is that of agent 001 too; "
                "the line stays as it is.",
            ],
        )
        self.assertIn("1 lines are remarks", "".join(self.home.said("info")))
        self.home.events.clear()
        self.fs.put(KEYS, self.home.content() + b"even more\n")
        asked = self.home.ask("web10")
        self.quiet()
        self.successResultOf(asked)
        self.assertEqual(
            self.home.said("warn"),
            [
                "/home/etc/client.keys, line 7: it has 2 fields instead of 4; "
                "the line stays as it is."
            ],
        )

    def test_veryManyDamagedLines(self) -> None:
        """
        Of very many damaged lines the first are named, and the rest counted.
        """
        self.fs.put(KEYS, b"".join(b"damaged %d\n" % n for n in range(1000)))
        self.register("web1")
        said = self.home.said("warn")
        self.assertEqual(len(said), 21)
        self.assertIn("980 more lines", said[-1])

    def test_unreadable(self) -> None:
        """
        While C{client.keys} cannot be read nobody is registered, which is said
        once, and it is never overwritten; afterwards all goes on.
        """
        self.fs.put(KEYS, b"005 web5 any k\n")
        self.fs.failOn("openRead", KEYS, errno=errno.EACCES, times=9)
        for n in range(3):
            self.assertInternal(self.home.ask(f"web{n}"))
            self.failureResultOf(self.registrar.remove([5]), StoreFailed)
            self.failureResultOf(self.registrar.known([5]), StoreFailed)
        self.assertEqual(
            self.home.said("error"),
            [
                "Registration failed: /home/etc/client.keys cannot be read: Permission denied: "
                "let the daemon's user read and write it and its folder"
            ],
        )
        self.assertEqual(self.home.content(), b"005 web5 any k\n")
        self.assertEqual(self.register("web1").id, 6)
        self.assertIn("Registration works again", self.home.said("info"))

    def test_homeIsGone(self) -> None:
        """
        A home whose C{etc} is missing, because it is not mounted, is not
        begun anew.
        """
        self.fs.remove(b"/home/etc")
        self.assertInternal(self.home.ask("web1"))
        self.assertIn("its folder is missing", self.home.said("error")[0])
        self.assertNotIn(b"etc/", self.fs.listTree(b"/home"))

    def test_diskFull(self) -> None:
        """
        When the disk is full the registration is refused, with one line in the
        log and nothing half-written; when there is room it goes on, and a
        retry of that request as well.
        """
        first = self.register("web1")
        for free in (0, 10, 50, 150):
            self.home.events.clear()
            before = self.home.content()
            self.fs.free = free
            self.assertInternal(self.home.ask("web2", b"r" * 16))
            for n in range(9):
                self.assertInternal(self.home.ask(f"other{n}"))
            # The little room that there was may have held one file and not
            # the other.
            self.assertIn(len(self.home.said("error")), (1, 2))
            self.assertIn("No space left on device", self.home.said("error")[0])
            self.assertEqual(self.home.content(), before)
            self.assertEqual(self.fs.listTree(b"/home/etc"), [b"client.keys"])
            self.assertEqual(self.known(*range(1, 20)), {first.id})
            self.fs.free = None
            agent = self.register("web2", b"r" * 16)
            self.assertEqual(self.home.content(), before + formatAgent(agent))
            self.assertIn("Registration works again", self.home.said())
            self.successResultOf(self.registrar.remove([agent.id]))

    def test_timesCannotBeWritten(self) -> None:
        """
        A registration stands if only the time of it cannot be noted; the log
        says so.
        """
        path = b"/home/queue/.agents-timestamp.tmp"
        self.fs.failOn("create", path, errno=errno.ENOSPC, times=2)
        self.register("web1")
        self.register("web2")
        self.assertEqual(len(self.home.said("error")), 1)
        self.assertIn("agents-timestamp cannot be written", self.home.said("error")[0])
        # It is remembered meanwhile.
        self.failureResultOf(self.home.ask("web1"), RegistrationRefused)
        self.clock.advance(100)
        self.register("web3")
        self.assertIn("Noting the times of registration works again", self.home.said("info"))
        self.assertEqual(self.known(1, 2, 3), {1, 2, 3})
        lines = self.fs.get(b"/home/queue/agents-timestamp").decode().splitlines()
        dates = [line.split(" ", 3)[3] for line in lines]
        self.assertEqual(dates[0], dates[1])
        self.assertNotEqual(dates[1], dates[2])

    def test_timesCannotBeRead(self) -> None:
        """
        While the times cannot be read nobody is replaced, and the file is left
        alone; others are registered all the same.
        """
        path = b"/home/queue/agents-timestamp"
        self.fs.put(KEYS, b"001 old any k\n")
        self.fs.put(path, b"001 old any 2020-01-01 12:00:00\n")
        self.fs.failOn("openRead", path, errno=errno.EACCES, times=3)
        self.assertEqual(self.register("web1").id, 2)
        self.failureResultOf(self.home.ask("old"), RegistrationRefused)
        self.assertEqual(len(self.home.said("error")), 1)
        self.assertIn("agents-timestamp cannot be read", self.home.said("error")[0])
        self.assertEqual(self.fs.get(path), b"001 old any 2020-01-01 12:00:00\n")
        self.successResultOf(self.registrar.load())
        self.assertEqual(self.register("old").id, 3)
        self.assertEqual([line[:3] for line in self.fs.get(path).splitlines()], [b"002", b"003"])

    def test_fullDiskAtTheStart(self) -> None:
        """
        On a full disk it is still known who is registered.
        """
        self.fs.put(KEYS, b"009 old any k\n")
        self.successResultOf(self.registrar.seen(1))
        self.fs.free = 0
        self.restart()
        self.assertEqual(self.known(9), {9})
        self.assertInternal(self.home.ask("web1"))
        self.fs.free = None
        self.assertEqual(self.register("web1").id, 10)

    def test_nobodyKnowsWhetherItIsThere(self) -> None:
        """
        If the new file stands and cannot be said to be durable, the
        registration is refused, and what it left goes with the next one; a
        retry may come all the same.
        """
        for again in (False, True):
            self.home.events.clear()
            self.fs.failOn("sync", b"/home/etc")
            self.assertInternal(self.home.ask("web1", b"r" * 16))
            self.assertIn(b" web1 any ", self.home.content())
            if again:
                self.restart()
                self.successResultOf(self.registrar.load())
                self.clock.advance(10**6)
            asked = self.home.ask("web1" if not again else "web9")
            self.quiet()
            agent = self.successResultOf(asked)
            if not again:
                self.assertEqual(self.home.content(), formatAgent(agent))
                self.successResultOf(self.registrar.remove([agent.id]))

    def test_undoIsBroughtToItsEnd(self) -> None:
        """
        An undo that was noted, and whose process died before the agent was
        removed, is brought to its end by the next one.
        """
        self.register("web1", b"r" * 16)
        self.fs.failOn("create", b"/home/etc/.client.keys.tmp")
        self.assertInternal(self.registrar.undo(b"r" * 16, "hub"))
        self.assertEqual(self.known(1), {1})
        self.restart()
        self.successResultOf(self.registrar.load())
        self.assertEqual(self.known(1), frozenset())
        self.assertEqual(self.home.heard.names, ["+web1", "-web1"])
        self.assertInternal(self.home.ask("web1", b"r" * 16))

    def test_removedBefore(self) -> None:
        """
        The next process knows who was undone or replaced, for it may be that
        nobody else had heard of it; not who was to be replaced and is there.
        """
        self.restart(rules=ALWAYS)
        for name in ("undone", "replaced", "stays"):
            self.register(name, name.encode().ljust(16))
        self.successResultOf(self.registrar.undo(b"undone".ljust(16), "hub"))
        self.register("replaced")
        self.fs.failOn("create", b"/home/etc/.client.keys.tmp")
        self.assertInternal(self.home.ask("stays"))
        self.assertEqual(set(), self.removedBefore())
        self.restart(rules=ALWAYS)
        self.assertEqual({1, 2}, self.removedBefore())
        self.successResultOf(self.registrar.load())
        self.assertEqual(self.known(1, 2, 3, 4), {3, 4})

    def removedBefore(self) -> set[int]:
        asked: Deferred[Any] = self.registrar.removedBefore()
        return set(self.successResultOf(asked))

    def test_sameIdLaterIsSomebodyElse(self) -> None:
        """
        A retry never gets the key of an agent that somebody registered by hand
        with the same id meanwhile.
        """
        self.register("web1", b"r" * 16)
        self.fs.put(KEYS, b"001 web1 any another\n")
        asked = self.home.ask("web1", b"r" * 16)
        self.quiet()
        self.failureResultOf(asked, RegistrationRefused)

    def test_strangersInTheTimes(self) -> None:
        """
        The times of agents that are not registered go when a process begins.
        """
        self.register("web1")
        self.register("web2")
        self.fs.put(KEYS, b"002 web2 any k\n")
        self.restart()
        self.successResultOf(self.registrar.load())
        times = self.fs.get(b"/home/queue/agents-timestamp")
        self.assertEqual([line[:3] for line in times.splitlines()], [b"002"])

    def test_damagedHighest(self) -> None:
        """
        If nobody can say what was the highest id, nobody is registered until
        somebody says.
        """
        self.home.state.save("highest-agent-id", b"many\n")
        self.assertInternal(self.home.ask("web1"))
        self.assertIn("write the highest id", self.home.said("error")[0])
        self.home.state.save("highest-agent-id", b"30\n")
        self.assertEqual(self.register("web1").id, 31)

    def test_damagedJournal(self) -> None:
        """
        A damaged journal is said to be, and keeps nobody from registering.
        """
        self.fs.put(b"/home/queue/wazuh_cluster/registrations", b"damaged")
        self.register("web1")
        (said,) = self.home.said("warn")
        self.assertIn("/home/queue/wazuh_cluster/registrations cannot be read", said)

    def test_observerFails(self) -> None:
        """
        An observer that fails hurts nobody.
        """

        class Broken(Heard):
            def added(self, agents: Sequence[Agent]) -> None:
                raise RuntimeError("broken")

        heard = Heard()
        self.registrar.observe(Broken())
        self.registrar.observe(heard)
        self.register("web1")
        self.assertEqual(heard.names, ["+web1"])
        self.assertEqual(len(self.home.said("critical")), 1)

    def test_told(self) -> None:
        """
        The log says who was registered and removed, a few of many by name.
        """
        self.register("web1")
        self.assertIn("Registered 001 web1.", self.home.said())
        runner = ClockRunner(self.clock)
        self.registrar = self.home.start(runner)
        asked = [self.home.ask(f"more{n}") for n in range(20)]
        self.clock.pump([0.001] * 100)
        for each in asked:
            self.successResultOf(each)
        self.assertIn(
            "Registered 003 more1, 004 more2, 005 more3, 006 more4, 007 more5 and 14 more.",
            self.home.said(),
        )


class TogetherTests(SynchronousTestCase):
    """
    Group commit, and what comes while it is under way.
    """

    def setUp(self) -> None:
        self.home = Home()
        self.fs = self.home.fs
        self.clock = self.home.clock
        self.runner = ClockRunner(self.clock)
        self.registrar = self.home.start(self.runner)

    def work(self) -> None:
        """
        Let all be done that is to be done.
        """
        for _ in range(200):
            self.clock.advance(0.001)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_oneFileForAll(self) -> None:
        """
        All that wait are in the same new file, and are answered when it
        stands.
        """
        asked = [self.home.ask(f"web{n}") for n in range(50)]
        self.fs.operations.clear()
        self.work()
        agents = [self.successResultOf(each) for each in asked]
        self.assertEqual(self.home.content(), b"".join(map(formatAgent, agents)))
        self.assertEqual(self.fs.operations.count(("rename", KEYS)), 2)

    def test_durableBeforeAnswered(self) -> None:
        """
        First the journal is on the disk, then C{client.keys}, then the folder;
        then there is an answer.
        """
        self.successResultOf(self.home.start().load())
        self.fs.operations.clear()
        answered: list[int] = []
        self.home.ask("web1").addCallback(lambda agent: answered.append(len(self.fs.operations)))
        done = self.fs.operations
        journal = b"/home/queue/wazuh_cluster/"
        steps = [
            n
            for n, (name, path) in enumerate(done)
            if (name, path)
            in (
                ("file.sync", journal + b".registrations.tmp"),
                ("rename", journal + b"registrations"),
                ("sync", journal[:-1]),
                ("file.write", b"/home/etc/.client.keys.tmp"),
                ("file.sync", b"/home/etc/.client.keys.tmp"),
                ("rename", KEYS),
                ("sync", b"/home/etc"),
            )
        ]
        names = [done[n][0] for n in steps]
        self.assertEqual(names[:3], ["file.sync", "rename", "sync"])
        self.assertEqual(names[-3:], ["file.sync", "rename", "sync"])
        self.assertLess(max(steps), answered[0])

    def test_undoUnderWay(self) -> None:
        """
        Whenever an undo comes, before, during or after the registration is
        worked off: the agent is not registered in the end, and the request is
        refused from then on.
        """
        for after in range(40):
            self.setUp()
            asked = self.home.ask("web1", b"r" * 16)
            asked.addErrback(lambda failure: None)
            for _ in range(after):
                self.clock.advance(0.001)
            undone = self.registrar.undo(b"r" * 16, "hub")
            self.work()
            self.successResultOf(undone)
            self.assertEqual(self.fs.get(KEYS), b"")
            again = self.home.ask("web1", b"r" * 16)
            self.work()
            self.failureResultOf(again, RegistrationRefused)

    def test_retryUnderWay(self) -> None:
        """
        A retry that comes while the first is worked off gets the same agent.
        """
        asked = [self.home.ask("web1", b"r" * 16) for _ in range(3)]
        self.work()
        agents = {self.successResultOf(each) for each in asked}
        self.assertEqual(len(agents), 1)
        self.assertEqual(self.home.content().count(b"\n"), 1)

    def test_gaveUp(self) -> None:
        """
        Who does not wait for the answer hurts nobody; the agent is there, for
        an undo to find.
        """
        asked = self.home.ask("web1", b"r" * 16)
        other = self.home.ask("web2")
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.work()
        self.successResultOf(other)
        undone = self.registrar.undo(b"r" * 16, "hub")
        self.work()
        agent = self.successResultOf(undone)
        assert agent is not None
        self.assertEqual(agent.name, "web1")
        self.assertEqual(self.home.content().count(b"\n"), 1)

    def test_runnerStops(self) -> None:
        """
        What is under way or waits when the node stops says so; no file is
        half-written.
        """
        for after in range(0, 30, 3):
            self.setUp()
            asked = [self.home.ask(f"web{n}") for n in range(3)]
            for _ in range(after):
                self.clock.advance(0.001)
            self.runner.stop()
            self.registrar.stop()
            for each in asked:
                if isinstance(each.result, Agent):
                    self.successResultOf(each)
                else:
                    self.failureResultOf(each, Stopped)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            tree = self.fs.listTree(b"/home")
            self.assertEqual([path for path in tree if path.endswith(b".tmp")], [])
            self.assertEqual(self.home.said("error", "critical"), [])

    def test_slices(self) -> None:
        """
        No slice decides or reads very much: others get their turn in between.
        """
        lines = b"".join(b"%03d web%d any k\n" % (n, n) for n in range(1, 20_001))
        self.fs.put(KEYS, lines)
        asked = [self.home.ask(f"new{n}") for n in range(500)]
        removed = self.registrar.remove(range(1, 2000))
        slices = 0
        while not removed.called:
            self.clock.advance(0.001)
            slices += 1
        for each in asked:
            self.successResultOf(each)
        self.assertEqual(len(self.successResultOf(removed)), 1999)
        self.assertGreater(slices, 30)


class RealTests(TestCase):
    """
    On real files and a real thread.
    """

    async def test_storm(self) -> None:
        """
        Many at once, some of whom undo: each gets an id of its own, and the
        file has exactly those that stayed.
        """
        path = os.path.abspath(self.mktemp())
        os.makedirs(path + "/etc")
        fs = RealFileSystem()
        runner = ThreadRunner(cast(Any, reactor), "registrar")
        self.addCleanup(runner.stop)
        registrar = ClientKeysRegistrar(
            path,
            runner,
            reactor,
            DirectoryState(fs, path + "/queue/wazuh_cluster"),
            fileSystem=fs,
            journal=Journal(MAIN, observer=lambda event: None),
        )
        asked = [
            registrar.register(Registration(f"web{n}"), b"%016d" % n, "hub") for n in range(300)
        ]
        undone = [registrar.undo(b"%016d" % n, "hub") for n in range(0, 300, 3)]
        agents = [await each for each in asked]
        gone = {agent.id for agent in [await each for each in undone] if agent is not None}
        self.assertEqual(len({agent.id for agent in agents}), 300)
        self.assertEqual(len(gone), 100)
        with open(path + "/etc/client.keys", "rb") as file:
            content = file.read()
        left = [agent for agent in agents if agent.id not in gone]
        left.sort(key=lambda agent: agent.id)
        self.assertEqual(content, b"".join(map(formatAgent, left)))
        self.assertEqual(os.stat(path + "/etc/client.keys").st_mode & 0o777, 0o640)
        self.assertEqual(os.listdir(path + "/etc"), ["client.keys"])
        self.assertEqual(await registrar.page(0, 1000), left)
