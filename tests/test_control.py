"""
Tests for L{wazuh_cluster.control}.
"""

from __future__ import annotations

import array
import contextlib
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.protocols.amp import AmpBox
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.agentcase import Reports, never
from tests.controlcase import (
    MEMBER,
    NOW,
    OTHER_MEMBER,
    OWNER,
    ROOT,
    STRANGER,
    THE_OWNER,
    UNTOLD,
    ControlCase,
    Fleetful,
)
from wazuh_cluster.agents import ACTIVE, AgentRecord, FleetFilter, Group
from wazuh_cluster.agents.statusjson import MAX_REPORT, writeReport
from wazuh_cluster.control import (
    ControlClient,
    ControlService,
    Credentials,
    connect,
)
from wazuh_cluster.control.commands import CountAgents, ReportAgents
from wazuh_cluster.control.connections import MOST, MOST_OF_ONE
from wazuh_cluster.control.service import ANSWER_WITHIN, UNDER_WAY
from wazuh_cluster.errors import (
    BadArgument,
    HomeError,
    LinkClosed,
    MasterUnreachable,
    RequestRefused,
)
from wazuh_cluster.home import Home, makeHome
from wazuh_cluster.protocol import BODY_SIZE
from wazuh_cluster.requests import Asking
from wazuh_cluster.requests.names import ADMINISTRATION
from wazuh_cluster.testing.network import MemoryTransport


def changes(client: ControlClient) -> dict[str, Callable[[], Coroutine[Any, Any, Any]]]:
    """
    All that changes the cluster, by the request's name.
    """
    return {
        "agents.remove": lambda: client.removeAgents([9]),
        "groups.create": lambda: client.createGroup("new"),
        "groups.delete": lambda: client.deleteGroup("web"),
        "groups.assign": lambda: client.assign(1, ["default"]),
        "groups.unassign": lambda: client.unassign(1),
    }


class PermissionsTests(ControlCase):
    """
    The home's group may look and report; root and the owner may do the rest.
    """

    def looks(self, client: ControlClient) -> list[Callable[[], Coroutine[Any, Any, Any]]]:
        """
        All that only looks, or reports.
        """
        return [
            lambda: client.page(),
            lambda: client.counts(),
            lambda: client.groups(),
            lambda: client.report([AgentRecord(1, ACTIVE, 0.0)], 0.0),
        ]

    def test_everything(self) -> None:
        """
        Root and the owner may do everything.
        """
        self.start()
        for who in (ROOT, THE_OWNER):
            self.master.assignments.names.add("web")
            client = self.client(who)
            for look in self.looks(client):
                self.wait(look())
            mine = {name for name in ADMINISTRATION if not name.startswith("cluster.")}
            self.assertEqual(mine, changes(client).keys())
            for change in changes(client).values():
                self.wait(change())
            self.wait(client.deleteGroup("new"))

    def test_group(self) -> None:
        """
        Members of the home's group, by whatever way, may look and report, and
        are told who may do more.
        """
        self.start()
        for who in (MEMBER, OTHER_MEMBER, UNTOLD):
            client = self.client(who)
            for look in self.looks(client):
                self.wait(look())
            for change in changes(client).values():
                self.assertEqual(
                    f"user {who.uid} may not change the cluster: run this as root or as "
                    "the owner of the home's etc (user 990)",
                    self.refused(change(), RequestRefused),
                )
        self.assertEqual(9, len(self.master.registrar.agents))
        self.assertEqual({"default", "web"}, self.master.assignments.names)
        self.assertEqual({}, self.master.assignments.assigned)

    def test_stranger(self) -> None:
        """
        Whoever else gets through to the socket may nothing.
        """
        self.start()
        client = self.client(STRANGER)
        for work in (*self.looks(client), *changes(client).values()):
            line = self.refused(work(), RequestRefused)
            self.assertIn("user 1002 may not talk to this node", line)
        self.assertEqual([], self.reports.taken)

    def test_eachItsOwn(self) -> None:
        """
        What one may is not what another may that connected later.
        """
        self.start()
        owner, member = self.client(THE_OWNER), self.client(MEMBER)
        self.wait(owner.createGroup("one"))
        self.refused(member.createGroup("two"), RequestRefused)
        self.wait(owner.createGroup("three"))

    def test_nameless(self) -> None:
        """
        Somebody of whom the system does not say who it is, is cut off.
        """
        service = self.start()

        def fails(transport: object) -> Credentials:
            raise OSError(107, "not connected")

        self.patch(service._factory, "_credentialsOf", fails)
        client = self.client()
        self.refused(client.counts(), LinkClosed)


class AnswersTests(ControlCase):
    """
    What the node answers is what the client gives.
    """

    def test_agents(self) -> None:
        """
        The fleet comes page by page, with the master's time.
        """
        self.master.fleet.rows = [never(n) for n in range(1, 451)]
        self.start()
        client = self.client()

        async def all_() -> list[Any]:
            return [page async for page in client.agents()]

        pages = self.wait(all_())
        self.assertEqual([200, 200, 50], [len(page.agents) for page in pages])
        self.assertEqual(self.master.fleet.rows, [row for page in pages for row in page.agents])
        self.assertEqual(NOW, pages[0].now)
        self.assertEqual([200, 400, None], [page.next for page in pages])

    def test_filters(self) -> None:
        """
        Filters reach the fleet.
        """
        self.master.fleet.rows = [never(1, ("web",)), never(2)]
        self.start()
        page = self.wait(self.client().page(0, FleetFilter(groups=frozenset(("web", "db")))))
        self.assertEqual([1], [row.id for row in page.agents])

    def test_counts(self) -> None:
        """
        So do the counts.
        """
        self.start()
        self.assertEqual({"never_connected": 9}, self.wait(self.client().counts()))

    def test_remove(self) -> None:
        """
        It says which agents were removed, and which were not there.
        """
        self.start()
        removal = self.wait(self.client().removeAgents([1, 77], purge=True))
        self.assertEqual(({1: "agent-1"}, (77,)), (removal.removed, removal.unknown))
        self.assertEqual([1], self.master.registrar.purged)

    def test_groups(self) -> None:
        """
        Groups are made, shown, assigned, taken away and removed.
        """
        self.start()
        client = self.client()
        self.wait(client.createGroup("db"))
        self.assertEqual(("web",), self.wait(client.assign(1, ["web"])))
        self.assertEqual(("web", "db"), self.wait(client.assign(1, ["db"], add=True)))
        self.assertEqual(
            [Group("db", 1), Group("default", 0), Group("web", 1)], self.wait(client.groups())
        )
        self.assertEqual(("db",), self.wait(client.unassign(1, ["web"])))
        self.assertEqual(1, self.wait(client.deleteGroup("db")))
        self.assertEqual({1: ("default",)}, self.master.assignments.assigned)

    def test_manyQuestions(self) -> None:
        """
        A large fleet is hundreds of pages: who asks so much is not taken for
        one that reads no answers.
        """
        self.start()
        client = self.client()
        for _ in range(600):
            self.assertEqual(9, len(self.wait(client.page()).agents))
        self.clock.pump([1.0] * 10)
        self.assertEqual({"never_connected": 9}, self.wait(client.counts()))

    def test_manyGroups(self) -> None:
        """
        However many groups there are, all come.
        """
        names = {f"g{n:04}" for n in range(1000)}
        self.master.assignments.names = names
        self.start()
        self.assertEqual(sorted(names), [group.name for group in self.wait(self.client().groups())])

    def test_refusals(self) -> None:
        """
        What the master refuses arrives with its line.
        """
        self.start()
        client = self.client()
        for work, text in (
            (client.deleteGroup("nosuch"), "nosuch"),
            (client.createGroup("\x1b[31m"), r"\x1b[31m"),
            (client.createGroup("\u202eweb"), r"\u202e"),
            (client.createGroup("x" * 50_000), "longer than 255"),
            (client.createGroup("x" * 70_000), "too long"),
            (client.assign(77, ["web"]), "077 is not registered"),
            (client.assign(1, ["../../etc"]), "cannot be a group"),
            (client.assign(1, ["a\nb"]), "cannot be a group"),
            (client.assign(1, ["a\0b"]), "cannot be a group"),
            (client.page(0, FleetFilter(statuses=frozenset(("\x1b",)))), "is no status"),
        ):
            self.assertIn(text, self.refused(work, RequestRefused))

    def test_malformedAnswers(self) -> None:
        """
        An answer that cannot be read is the node's fault, not the program's.
        """

        answers = [b"[]", b"{}", b'{"agents":[{}],"next":null,"now":0}']

        class Odd:
            async def perform(self, asker: object, name: str, body: bytes) -> bytes:
                return answers.pop(0) if answers else b'{"groups":7,"removed":1,"counts":[]}'

        self.start(Odd())
        client = self.client()
        while answers:
            self.refused(client.page(), BadArgument)
        for work in (
            client.groups(),
            client.assign(1, ["web"]),
            client.unassign(1),
            client.deleteGroup("a"),
            client.counts(),
            client.removeAgents([1]),
        ):
            self.refused(work, BadArgument)


class ReportsTests(ControlCase):
    """
    What local programs heard of agents.
    """

    def test_taken(self) -> None:
        """
        Records arrive as they were, by the node's own clock.
        """
        self.start()
        record = AgentRecord(7, ACTIVE, 100.0, "", "v1", 3, {"os_name": "x"}, (("a", "\u202e"),))
        self.clock.advance(10)
        self.assertEqual(1, self.wait(self.client(MEMBER).report([record], 101.5)))
        (taken,) = self.reports.taken
        self.assertEqual(5010.0 - 1.5, taken.heard)
        self.assertEqual(
            (7, ACTIVE, "v1", 3, {"os_name": "x"}, (("a", "\u202e"),)),
            (taken.id, taken.event, taken.version, taken.statusCode, taken.info, taken.labels),
        )

    def test_many(self) -> None:
        """
        Any number goes in batches that fit in a box.
        """
        self.start()
        client = self.client()
        sent: list[int] = []
        call = client._peer.call

        async def counted(command: Any, timeout: Any, **arguments: bytes) -> Any:
            sent.append(len(arguments["reports"]))
            return await call(command, timeout, **arguments)

        self.patch(client._peer, "call", counted)
        info = {"x": "y" * 400}
        records = [AgentRecord(n, ACTIVE, 0.0, info=info) for n in range(1, 1001)]
        self.assertEqual(1000, self.wait(client.report(records, 0.0)))
        self.assertEqual(
            records, [AgentRecord(r.id, ACTIVE, 0.0, info=r.info) for r in self.reports.taken]
        )
        self.assertLessEqual(max(sent), BODY_SIZE)
        self.assertLess(len(sent), 12)

    def test_refused(self) -> None:
        """
        A report that is none is refused with its number, and with it its batch.
        """
        self.start()
        client = self.client()
        good = writeReport(AgentRecord(1, ACTIVE, 0.0))
        for bad, why in (
            ({}, "no agent's id"),
            ({"id": 1, "event": "\x1b"}, "its event"),
            ({"id": 1, "labels": {"a": 1}}, "label 'a'"),
            ({"id": 1, "info": {"a": "x" * MAX_REPORT}}, "more than"),
        ):
            line = self.refused(client.reportAll([good, bad]), RequestRefused)
            self.assertTrue(line.startswith("report 2: "), line)
            self.assertIn(why, line)
        self.reports.refusing = 5
        line = self.refused(client.reportAll([good, {"id": 5}]), RequestRefused)
        self.assertEqual("agent 5 is refused", line)
        self.assertIn(
            "too large", self.refused(client.reportAll([{"x": "y" * 70_000}]), RequestRefused)
        )
        self.assertEqual([], self.reports.taken)

    def test_malformed(self) -> None:
        """
        So is a batch that is none; the connection goes on.
        """
        self.start()
        client = self.client()
        for reports in (b"{}", b"\xff\xff", b"[" * 10_000):
            self.refused(client._peer.call(ReportAgents, reports=reports), RequestRefused)
        self.assertEqual(1, self.wait(client.reportAll([{"id": 1}])))

    def test_nobodyTakesThem(self) -> None:
        """
        A node that takes none says so.
        """
        self.start(reports=None)
        self.assertIn(
            "takes no reports", self.refused(self.client().reportAll([{"id": 1}]), RequestRefused)
        )


class WorkerTests(ControlCase):
    """
    On a worker, what only the master can say goes through the link.
    """

    def setUp(self) -> None:
        """
        A link that the test answers for.
        """
        super().setUp()
        self.asked: list[str] = []
        self.answer: Any = {"body": b'{"counts":{"active":1}}'}

        async def call(command: object, name: str, body: bytes) -> dict[str, Any]:
            self.asked.append(name)
            if isinstance(self.answer, Exception):
                raise self.answer
            answer: dict[str, Any] = self.answer
            return answer

        self.start(Asking(call))

    def test_asked(self) -> None:
        """
        The master's answer is the node's.
        """
        self.assertEqual({"active": 1}, self.wait(self.client(MEMBER).counts()))
        self.assertEqual(["agents.counts"], self.asked)

    def test_localRightsFirst(self) -> None:
        """
        Who may not change anything here does not reach the master.
        """
        client = self.client(MEMBER)
        for change in changes(client).values():
            self.refused(change(), RequestRefused)
        self.assertEqual([], self.asked)
        self.answer = {"body": b"{}"}
        self.wait(self.client(THE_OWNER).createGroup("new"))
        self.assertEqual(["groups.create"], self.asked)

    def test_mastersRefusal(self) -> None:
        """
        What the master refuses this node arrives with its line.
        """
        self.answer = RequestRefused("worker w1 may not change the cluster: run this …")
        line = self.refused(self.client().createGroup("new"), RequestRefused)
        self.assertIn("worker w1 may not", line)

    def test_noLink(self) -> None:
        """
        Without a link there is one clear line; reports are taken all the same.
        """
        self.answer = LinkClosed("there is no link to the master")
        client = self.client()
        for work in (client.counts(), client.createGroup("new")):
            line = self.refused(work, MasterUnreachable)
            self.assertIn("there is no link to the master", line)
            self.assertIn("run this on the master", line)
        self.assertEqual(1, self.wait(client.reportAll([{"id": 1}])))


class BoundsTests(ControlCase):
    """
    Whatever a local program does, it costs little, and others nothing.
    """

    def raw(self, who: Credentials = ROOT) -> Raw:
        """
        A program that does not speak as it should.
        """
        self.who = who
        protocol = Raw()
        self.network.client("node").connect(Factory.forProtocol(lambda: protocol))
        self.clock.advance(0)
        return protocol

    def test_garbage(self) -> None:
        """
        What is no AMP, too large, or not for local programs ends the
        connection at once.
        """
        self.start()
        for data in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\xff" * 1000,
            b"\0\x04aaaa\xff\xff" + b"x" * 65535 + b"\0\x04bbbb\xff\xff" + b"y" * 65535,
            AmpBox(_command=b"Hello", _ask=b"1").serialize(),
            AmpBox(_command=b"AssignGroups", _ask=b"1", assignments=b"{}").serialize(),
            AmpBox(_command=b"Request", _ask=b"1", name=b"agents.page", body=b"{}").serialize(),
            AmpBox(_command=b"FileChunk", transfer=b"1", sequence=b"0", data=b"x").serialize(),
            AmpBox(_answer=b"1").serialize(),
            AmpBox(_command=b"CountAgents", _ask=b"1").serialize(),
            AmpBox(_command=b"CountAgents", _ask=b"1", body=b"").serialize(),
        ):
            protocol = self.raw()
            protocol.write(data)
            self.clock.advance(0)
            self.assertTrue(protocol.lost, data[:40])
        self.assertEqual({"never_connected": 9}, self.wait(self.client().counts()))

    def test_unknownCommand(self) -> None:
        """
        A command that this node does not know is refused, and the rest goes on.
        """
        self.start()
        protocol = self.raw()
        protocol.write(AmpBox(_command=b"Dance", _ask=b"1").serialize())
        self.clock.advance(0)
        self.assertIn(b"UNHANDLED", protocol.received)
        self.assertFalse(protocol.lost)

    def test_flood(self) -> None:
        """
        Of a program that asks and asks, a few are under way, and the rest is
        not read; others are answered meanwhile.
        """
        begun: list[Deferred[bytes]] = []

        class Slow:
            async def perform(self, asker: object, name: str, body: bytes) -> bytes:
                begun.append(Deferred())
                return await begun[-1]

        self.start(Slow())
        protocol = self.raw(MEMBER)
        for n in range(1000):
            protocol.write(AmpBox(_command=b"CountAgents", _ask=b"%d" % n, body=b"{}").serialize())
        self.clock.advance(0)
        self.assertEqual(UNDER_WAY, len(begun))
        other = self.ask(self.client().counts())
        self.assertEqual(UNDER_WAY + 1, len(begun))
        begun.pop().callback(b'{"counts":{}}')
        self.clock.advance(0)
        self.assertEqual({}, self.successResultOf(other))
        while begun:
            begun.pop(0).callback(b"{}")
            self.clock.advance(0)
        self.assertEqual(1000, protocol.received.count(b"_answer"))

    def test_stalls(self) -> None:
        """
        One that takes nothing of its answers is cut off.
        """
        self.start()
        protocol = self.raw()
        self.master.fleet.rows = [never(n, ("g" * 200,)) for n in range(1, 300)]
        protocol.transport.pauseProducing()
        for n in range(100):
            protocol.write(AmpBox(_command=b"ListAgents", _ask=b"%d" % n, body=b"{}").serialize())
        self.clock.advance(1)
        self.assertLess(self.master.fleet.asked, 30)
        self.clock.pump([1.0] * 11)
        self.assertTrue(protocol.lost)

    def test_tooLate(self) -> None:
        """
        What takes too long is answered, and goes on.
        """
        never: Deferred[bytes] = Deferred()

        class Slow:
            async def perform(self, asker: object, name: str, body: bytes) -> bytes:
                return await never

        self.start(Slow())
        asking = self.ask(self.client().counts())
        self.clock.pump([1.0] * int(ANSWER_WITHIN))
        failure = self.failureResultOf(asking, RequestRefused)
        self.assertIn("takes longer than 30 s: what was begun goes on", str(failure.value))
        never.callback(b"{}")

    def test_silentOnes(self) -> None:
        """
        Programs that connect and say nothing make room for one that does, the
        longest silent first; those of one user for those of that user.
        """
        self.start()
        silent = []
        for _ in range(MOST_OF_ONE):
            silent.append(self.raw(MEMBER))
            self.clock.advance(1)
        first = self.client(ROOT)
        self.wait(first.counts())
        silent[0].write(AmpBox(_command=b"CountAgents", _ask=b"1", body=b"{}").serialize())
        for _ in range(3):
            self.clock.advance(1)
            self.raw(MEMBER)
        self.assertEqual(
            [False, True, True, True, *[False] * (MOST_OF_ONE - 4)],
            [each.lost for each in silent],
        )
        self.wait(first.counts())

    def test_manyUsers(self) -> None:
        """
        So it is with those of many users.
        """
        service = self.start()
        for n in range(MOST * 2):
            self.raw(Credentials(2000 + n // 10, 991, frozenset()))
            self.clock.advance(1)
        self.assertEqual(MOST, len(service._factory.peers))
        self.wait(self.client().counts())

    def test_allBusy(self) -> None:
        """
        Where all that a user has are waiting for answers, a further one is not
        taken.
        """

        class Slow:
            async def perform(self, asker: object, name: str, body: bytes) -> bytes:
                return await Deferred()

        self.start(Slow())
        busy = [self.ask(self.client(MEMBER).counts()) for _ in range(MOST_OF_ONE)]
        self.assertTrue(self.raw(MEMBER).lost)
        for each in busy:
            self.assertNoResult(each)
        assert self.service is not None
        stopping = self.service.stopService()
        self.clock.pump([0.25] * 4)
        self.successResultOf(stopping)
        for each in busy:
            self.failureResultOf(each, LinkClosed)

    def test_stop(self) -> None:
        """
        When the node stops, who is connected is told.
        """
        service = self.start()
        client = self.client()
        stopping = service.stopService()
        self.clock.pump([0.25] * 4)
        self.successResultOf(stopping)
        self.refused(client.counts(), LinkClosed)


class Raw(Protocol):
    """
    A program that writes bytes of the test's own.
    """

    transport: MemoryTransport

    def __init__(self) -> None:
        self.received = b""
        self.lost = False

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost = True


def opened(path: str) -> int:
    """
    How many files or folders at a path, or below it, this process has open.
    """
    found = 0
    for each in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(f"/proc/self/fd/{each}").startswith(path)
    return found


class SocketCase(TestCase):
    """
    Real sockets in homes on disk.
    """

    timeout = 60

    def setUp(self) -> None:
        """
        Not below trial's folder: its path may be long by itself.
        """
        top = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, top, True)
        self.home = os.path.join(top, "home")
        makeHome(Home(self.home))
        self.services: list[ControlService] = []
        self.addCleanup(self.stopAll)
        self.reports = Reports()

    async def stopAll(self) -> None:
        for service in self.services:
            await service.stopService()

    @property
    def path(self) -> str:
        return os.path.join(self.home, "queue/wazuh_cluster/control.sock")

    def start(self, home: str | None = None) -> ControlService:
        """
        A node in a home.
        """
        clock: Any = reactor
        self.fleetful = Fleetful(clock)
        service = ControlService.forHome(
            reactor, home or self.home, self.fleetful.requests, self.reports
        )
        service.startService()
        self.services.append(service)
        return service

    async def stop(self, service: ControlService) -> None:
        self.services.remove(service)
        await service.stopService()

    async def use(self, home: str | None = None) -> None:
        """
        Ask the node, and change something: tests run as whoever made the home.
        """
        client = await connect(reactor, home or self.home)
        self.assertEqual({"never_connected": 9}, await client.counts())
        await client.createGroup("new")
        await client.deleteGroup("new")
        await client.close()

    async def refused(self, home: str) -> str:
        """
        Why nobody answers there.
        """
        try:
            await connect(reactor, home)
        except HomeError as error:
            self.assertTrue(str(error).isprintable())
            return str(error)
        self.fail("it was connected")


class SocketTests(SocketCase):
    """
    The socket in the home.
    """

    async def test_used(self) -> None:
        """
        A program in the same home reaches the node, which sees who it is; when
        the node is gone, so is the socket.
        """
        service = self.start()
        status = os.stat(self.path)
        etc = os.stat(os.path.join(self.home, "etc"))
        self.assertTrue(stat.S_ISSOCK(status.st_mode))
        self.assertEqual(0o660, stat.S_IMODE(status.st_mode))
        self.assertEqual((etc.st_uid, etc.st_gid), (status.st_uid, status.st_gid))
        await self.use()
        await self.stop(service)
        self.assertFalse(os.path.exists(self.path))

    async def test_belongsToTheHomesOwner(self) -> None:
        """
        Root's node gives the socket to whom the home's etc belongs.
        """
        if os.geteuid() != 0:
            return
        os.chown(os.path.join(self.home, "etc"), 12345, 23456)
        self.start()
        status = os.stat(self.path)
        self.assertEqual(
            (12345, 23456, 0o660), (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))
        )
        await self.use()

    async def test_credentials(self) -> None:
        """
        The system says who is at the other end.
        """
        seen: list[Credentials] = []
        service = self.start()
        plain = service._factory._credentialsOf

        def noting(transport: object) -> Credentials:
            seen.append(plain(transport))
            return seen[-1]

        self.patch(service._factory, "_credentialsOf", noting)
        await self.use()
        (who,) = seen
        self.assertEqual((os.geteuid(), os.getegid()), (who.uid, who.gid))
        self.assertEqual(set(os.getgroups()), set(who.groups or ()))

    async def test_longPath(self) -> None:
        """
        A home whose path has more than 107 bytes works like any other.
        """
        home = os.path.join(self.home, *["a-folder-with-quite-a-long-name"] * 8, "größe")
        os.makedirs(home)
        makeHome(Home(home))
        service = self.start(home)
        await self.use(home)
        path = os.path.join(home, "queue/wazuh_cluster/control.sock")
        self.assertGreater(len(os.fsencode(path)), 107)
        self.assertTrue(stat.S_ISSOCK(os.stat(path).st_mode))
        await self.stop(service)
        self.assertFalse(os.path.exists(path))
        self.assertIn("no node runs there", await self.refused(home))
        self.assertEqual(0, opened(home))

    async def test_deadOne(self) -> None:
        """
        The socket of a process that died is replaced.
        """
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.path)
            dead.listen()
        self.assertIn("no node runs there", await self.refused(self.home))
        self.start()
        await self.use()

    async def test_liveOne(self) -> None:
        """
        Where somebody answers already, a second node does not start, and the
        first goes on.
        """
        self.start()
        error = self.assertRaises(HomeError, self.start)
        self.assertIn("another node answers there", str(error))
        await self.use()

    async def test_foreignOne(self) -> None:
        """
        Nor does it where somebody else listens; and what is no socket is left
        alone.
        """
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(self.path)
            other.listen()
            error = self.assertRaises(HomeError, self.start)
            self.assertIn("another node answers there", str(error))
            self.assertTrue(os.path.exists(self.path))
        os.unlink(self.path)
        with open(self.path, "wb") as file:
            file.write(b"precious")
        error = self.assertRaises(HomeError, self.start)
        self.assertIn("it is not a socket: move it away", str(error))
        with open(self.path, "rb") as file:
            self.assertEqual(b"precious", file.read())

    async def test_again(self) -> None:
        """
        One that could not start, or was stopped, leaves the place to the next.
        """
        first = self.start()
        self.assertRaises(HomeError, self.start)
        await self.stop(first)
        self.start()
        await self.use()

    async def test_fileGone(self) -> None:
        """
        A socket that somebody removed, or a whole home, does not hold up the
        end of the node.
        """
        first = self.start()
        os.unlink(self.path)
        await self.stop(first)
        second = self.start()
        shutil.rmtree(self.home)
        await self.stop(second)

    async def test_nobody(self) -> None:
        """
        Where no node runs there is one line that says how to start it; where no
        home is, one that says so.
        """
        line = await self.refused(self.home)
        self.assertIn(
            f"no node runs there: start it with 'twistd wazuh-cluster --home {self.home}", line
        )
        self.assertIn("no such folder", await self.refused(self.home + "x"))
        shutil.rmtree(os.path.join(self.home, "queue"))
        self.assertIn("no node runs there", await self.refused(self.home))

    async def test_notAllowed(self) -> None:
        """
        Who may not reach the socket is told who may.
        """
        self.start()
        if os.geteuid() == 0:
            # For files, the effective user counts.
            os.seteuid(65534)
            self.addCleanup(os.seteuid, 0)
        else:
            os.chmod(self.path, 0)
        line = await self.refused(self.home)
        self.assertIn("this user may not talk to the node", line)
        self.assertIn("run it as root", line)

    async def test_passedDescriptors(self) -> None:
        """
        Files that a program passes along are closed.
        """
        self.start()
        name = os.path.join(self.home, "etc/passed")
        with socket.socket(socket.AF_UNIX) as client, open(name, "wb") as file:
            client.connect(self.path)
            fds = array.array("i", [file.fileno()] * 10)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, fds.tobytes())
            box = AmpBox(_command=b"CountAgents", _ask=b"1", body=b"{}")
            client.sendmsg([box.serialize()], [rights])
            client.setblocking(False)
            answer = b""
            while b"never_connected" not in answer:
                await deferLater(reactor, 0.01)
                try:
                    answer += client.recv(65536)
                except BlockingIOError:
                    continue
            while opened(name) > 1:
                await deferLater(reactor, 0.01)

    async def test_manyAtOnce(self) -> None:
        """
        Programs at the same time get their own answers.
        """
        self.start()
        clients = [await connect(reactor, self.home) for _ in range(10)]
        asking = [Deferred.fromCoroutine(client.counts()) for client in clients for _ in range(10)]
        for each in asking:
            self.assertEqual({"never_connected": 9}, await each)
        taken = [await client.reportAll([{"id": n + 1}]) for n, client in enumerate(clients)]
        self.assertEqual([1] * 10, taken)
        self.assertEqual(set(range(1, 11)), {record.id for record in self.reports.taken})
        for client in clients:
            await client.close()


class NoCredentialsTests(SynchronousTestCase):
    """
    Permissions by themselves.
    """

    def test_table(self) -> None:
        """
        Who may what.
        """
        for who, use, change in (
            (ROOT, True, True),
            (THE_OWNER, True, True),
            (MEMBER, True, False),
            (OTHER_MEMBER, True, False),
            (UNTOLD, True, False),
            (STRANGER, False, False),
            (Credentials(991, 990, frozenset()), False, False),
        ):
            self.assertEqual((use, change), (OWNER.mayUse(who), OWNER.mayChange(who)), who)

    def test_commandsNames(self) -> None:
        """
        No command of the control socket goes by a name of the links: those are
        a node's alone.
        """
        from wazuh_cluster.control import commands
        from wazuh_cluster.protocol import COMMANDS

        own = {
            each.commandName
            for each in vars(commands).values()
            if isinstance(each, type) and issubclass(each, commands.ControlCommand)
        }
        self.assertEqual(set(), own & COMMANDS.keys())
        self.assertIn(CountAgents.commandName, own)
