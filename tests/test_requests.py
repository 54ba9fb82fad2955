"""
Tests for L{wazuh_cluster.requests}, and for what a master answers.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.agentcase import Fleet, Registered, Reports, Store, never
from tests.clustercase import ClusterCase
from wazuh_cluster.agents import (
    ACTIVE,
    AgentRecord,
    AgentStatus,
    IAgentStore,
    IFleet,
    IRegistrar,
    IReports,
)
from wazuh_cluster.agents.statusjson import (
    MAX_REPORT,
    readAgent,
    readReport,
    readStatus,
    writeReport,
    writeStatus,
)
from wazuh_cluster.errors import (
    BadArgument,
    GroupRefused,
    MasterUnreachable,
    RequestRefused,
    TooBusy,
)
from wazuh_cluster.master import MasterService
from wazuh_cluster.master.requests import PAGE
from wazuh_cluster.protocol import BODY_SIZE, Request
from wazuh_cluster.requests import Asker, Entry, Requests
from wazuh_cluster.requests.asking import UNDER_WAY, WAITING, Asking
from wazuh_cluster.requests.fields import MOST, Fields
from wazuh_cluster.requests.names import ADMINISTRATION, OWN, OWN_CHANGES, READING
from wazuh_cluster.testing.assignments import MemoryAssignments
from wazuh_cluster.worker import WorkerService

NASTY = (
    "it's",
    'say "hi"',
    "a\nb",
    "../../etc",
    "a\0b",
    "\u202egnp.exe",
    "\x1b[31mred\x1b[0m",
    "x" * 65536,
)

HEARD = AgentRecord(
    1,
    ACTIVE,
    1000.5,
    "siem-1",
    "Wazuh v4.14.7",
    0,
    {"os_name": "Debian"},
    (('"site"', "north"), ("#x", "\u202e\x1b")),
)


class TwinsTests(SynchronousTestCase):
    """
    What stands in for the agents' rooms in these tests is what it says.
    """

    def test_interfaces(self) -> None:
        """
        They provide their ports.
        """
        verifyObject(IRegistrar, Registered())
        verifyObject(IAgentStore, Store())
        verifyObject(IFleet, Fleet([]))
        verifyObject(IReports, Reports())


class StatusTests(SynchronousTestCase):
    """
    Agents and reports as JSON.
    """

    def test_roundTrip(self) -> None:
        """
        What is written is read, whatever texts are in it.
        """
        for status in (
            AgentStatus(1, "web", "any", ACTIVE, 1000.5, "siem-1", ("web", "db"), HEARD),
            never(2),
        ):
            self.assertEqual(status, readStatus(json.loads(json.dumps(writeStatus(status)))))

    def test_brief(self) -> None:
        """
        What is too large travels without its details, and says so.
        """
        status = AgentStatus(1, "web", "any", ACTIVE, 1000.5, "siem-1", (), HEARD)
        found = writeStatus(status, brief=True)
        self.assertTrue(found["cut"])
        read = readStatus(found).record
        assert read is not None
        self.assertEqual(("Wazuh v4.14.7", {}, ()), (read.version, read.info, read.labels))

    def test_malformedStatus(self) -> None:
        """
        What is no agent is refused.
        """
        good = writeStatus(AgentStatus(1, "web", "any", ACTIVE, 1.0, "siem-1", (), HEARD))
        for key in ("id", "name", "ip", "status", "groups", "version", "code"):
            bad = dict(good)
            del bad[key]
            self.assertRaises(ValueError, readStatus, bad)
        for change in ({"id": "x"}, {"status": "odd"}, {"labels": 1}, {"groups": None}):
            self.assertRaises(ValueError, readStatus, {**good, **change})

    def test_report(self) -> None:
        """
        A report is read by the clock of whoever takes it, and whatever is not
        said has a default.
        """
        self.assertEqual(AgentRecord(7, ACTIVE, 100.0), readReport({"id": "007"}, 100.0))
        record = readReport(json.loads(json.dumps(writeReport(HEARD, 2.5))), 1003.0)
        self.assertEqual(AgentRecord(1, ACTIVE, 1000.5, "", *_rest(HEARD)), record)
        self.assertEqual((("a", "b"),), readReport({"id": 1, "labels": {"a": "b"}}, 0.0).labels)

    def test_badReports(self) -> None:
        """
        Each fault has a phrase of its own, fit for a terminal.
        """
        for found, why in (
            ([], "no object"),
            (None, "no object"),
            ({}, "no agent's id"),
            ({"id": 0}, "no agent's id"),
            ({"id": True}, "no agent's id"),
            ({"id": 1.0}, "no agent's id"),
            ({"id": "-1"}, "no agent's id"),
            ({"id": "٣"}, "no agent's id"),
            ({"id": 100_000_000}, "no agent's id"),
            ({"id": 1, "event": "never_connected"}, "its event"),
            ({"id": 1, "event": ["active"]}, "its event"),
            ({"id": 1, "age": -1}, "its age"),
            ({"id": 1, "age": "1"}, "its age"),
            ({"id": 1, "age": True}, "its age"),
            ({"id": 1, "age": float("nan")}, "its age"),
            ({"id": 1, "age": float("inf")}, "its age"),
            ({"id": 1, "age": 1e300}, "its age"),
            ({"id": 1, "code": -1}, "its code"),
            ({"id": 1, "code": 1.5}, "its code"),
            ({"id": 1, "version": 4}, "its version"),
            ({"id": 1, "version": "v" * 65536}, "its version"),
            ({"id": 1, "info": []}, "its info"),
            ({"id": 1, "info": {"a": 1}}, "info 'a' is no text"),
            ({"id": 1, "info": {"a": "x" * 65536}}, f"more than {MAX_REPORT:,}"),
            ({"id": 1, "labels": "x"}, "its labels"),
            ({"id": 1, "labels": [["a"]]}, "no pair"),
            ({"id": 1, "labels": [["a", 1]]}, "label 'a' is no text"),
            ({"id": 1, "labels": {"a": "\ud800"}}, "half a character"),
            ({"id": 1, "labels": {"\ud800": "a"}}, "half a character"),
            ({"id": 1, "\x1b[31m": 1}, r"no field '\x1b[31m'"),
        ):
            with self.subTest(found=str(found)[:60]):
                error = self.assertRaises(ValueError, readReport, found, 0.0)
                self.assertIn(why, str(error))
                self.assertTrue(str(error).isprintable())
                self.assertLess(len(str(error)), 250)

    def test_nastyTexts(self) -> None:
        """
        Labels and info may have any text in them.
        """
        for text in NASTY[:-1]:
            record = readReport({"id": 1, "labels": {text: text}, "info": {text: text}}, 0.0)
            self.assertEqual(((text, text),), record.labels)

    def test_agents(self) -> None:
        """
        An id is a number or digits.
        """
        self.assertEqual([1, 1, 1, 12345], [readAgent(x) for x in (1, "1", "001", "12345")])
        for value in NASTY:
            self.assertTrue(str(self.assertRaises(ValueError, readAgent, value)).isprintable())


def _rest(record: AgentRecord) -> tuple[Any, ...]:
    return record.version, record.statusCode, record.info, record.labels


class FieldsTests(SynchronousTestCase):
    """
    L{Fields} are checked.
    """

    def test_good(self) -> None:
        """
        What is there is given, what is not there has its default.
        """
        fields = Fields.read(b'{"a":"x","b":7,"c":true,"d":["x","y"],"e":[1,2]}')
        self.assertEqual(
            ("x", 7, True, ("x", "y"), (1, 2)),
            (
                fields.text("a"),
                fields.number("b"),
                fields.flag("c"),
                fields.texts("d"),
                fields.agents("e"),
            ),
        )
        self.assertEqual(
            ("", 0, None, (), ()),
            (
                fields.text("z", ""),
                fields.number("z", 0),
                fields.flag("z"),
                fields.texts("z"),
                fields.agents("z"),
            ),
        )

    def test_bad(self) -> None:
        """
        Anything else is refused.
        """
        many = json.dumps({"x": ["a"] * (MOST + 1)}).encode()
        for body, method in (
            (b"{}", "text"),
            (b'{"x":1}', "text"),
            (b"{}", "number"),
            (b'{"x":true}', "number"),
            (b'{"x":-1}', "number"),
            (b'{"x":100000000}', "number"),
            (b'{"x":1}', "flag"),
            (b'{"x":"a"}', "texts"),
            (b'{"x":[1]}', "texts"),
            (many, "texts"),
            (b'{"x":["1"]}', "agents"),
            (b'{"x":[0]}', "agents"),
            (b'{"x":[true]}', "agents"),
        ):
            self.assertRaises(BadArgument, getattr(Fields.read(body), method), "x")


class TableTests(SynchronousTestCase):
    """
    L{Requests} is an allow-list.
    """

    def setUp(self) -> None:
        """
        A table with something to read and something to change.
        """
        self.answer: Any = {"a": 1}

        async def answer(fields: Fields) -> object:
            if isinstance(self.answer, Exception):
                raise self.answer
            return {"got": fields.text("text", ""), **self.answer}

        self.requests = Requests((Entry("look", answer), Entry("change", answer, changes=True)))

    def perform(self, name: str, body: bytes = b"{}", administers: bool = False) -> Deferred[bytes]:
        """
        Ask it.
        """
        asker = Asker("worker w1", administers, "ask the master")
        return Deferred.fromCoroutine(self.requests.perform(asker, name, body))

    def refused(self, asked: Deferred[bytes]) -> str:
        """
        The one line with which it is refused.
        """
        line = str(self.failureResultOf(asked, RequestRefused).value)
        self.assertTrue(line.isprintable(), line)
        return line

    def test_answers(self) -> None:
        """
        Whoever may, is answered.
        """
        self.assertEqual(
            b'{"got":"x","a":1}', self.successResultOf(self.perform("look", b'{"text":"x"}'))
        )
        self.successResultOf(self.perform("change", administers=True))

    def test_whoAsked(self) -> None:
        """
        Who changes the cluster stands in the log, also if nothing comes of it.
        """
        said: list[str] = []

        @implementer(ILogObserver)
        def observer(event: LogEvent) -> None:
            said.append(str(formatEvent(event)))

        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.successResultOf(self.perform("look", administers=True))
        self.refused(self.perform("change"))
        self.assertEqual([], said)
        self.answer = GroupRefused("no")
        self.refused(self.perform("change", administers=True))
        self.assertEqual(["change is asked for by worker w1."], said)

    def test_permission(self) -> None:
        """
        Who may not change is told what to do instead.
        """
        self.assertEqual(
            "worker w1 may not change the cluster: ask the master",
            self.refused(self.perform("change")),
        )

    def test_unknown(self) -> None:
        """
        What is not on the list is not answered, whatever its name.
        """
        for name in ("", "other", *NASTY):
            self.assertIn("does not answer", self.refused(self.perform(name)))

    def test_malformedBodies(self) -> None:
        """
        A body that is none is refused; it may be a local program's.
        """
        for body in (b"", b"[]", b"\xff", b'{"text":1}', b"[" * 50_000):
            self.refused(self.perform("look", body))

    def test_refusals(self) -> None:
        """
        What an answer refuses with arrives as a refusal; that it is too busy
        arrives as such.
        """
        self.answer = GroupRefused("there is no group 'x'")
        self.assertEqual("there is no group 'x'", self.refused(self.perform("look")))
        self.answer = TooBusy("later")
        self.failureResultOf(self.perform("look"), TooBusy)

    def test_tooLarge(self) -> None:
        """
        An answer that fits in no box is a refusal too.
        """
        self.answer = {"a": "x" * BODY_SIZE}
        self.assertIn("too large", self.refused(self.perform("look")))

    def test_bug(self) -> None:
        """
        Anything else is a bug, and stays one.
        """
        self.answer = ZeroDivisionError("oops")
        self.failureResultOf(self.perform("look"), ZeroDivisionError)


class AskingTests(SynchronousTestCase):
    """
    L{Asking} bounds what is under way.
    """

    def test_bounded(self) -> None:
        """
        A few are asked at a time, more wait their turn, and too many are
        refused.
        """
        asked: list[Deferred[dict[str, Any]]] = []

        async def call(command: object, **arguments: Any) -> dict[str, Any]:
            asked.append(Deferred())
            return await asked[-1]

        asking = Asking(call)
        answers = [
            Deferred.fromCoroutine(asking.ask("look", b"{}")) for _ in range(UNDER_WAY + WAITING)
        ]
        self.assertEqual(UNDER_WAY, len(asked))
        self.failureResultOf(Deferred.fromCoroutine(asking.ask("look", b"{}")), TooBusy)
        for n in range(UNDER_WAY + WAITING):
            asked[n].callback({"body": b"%d" % n})
        self.assertEqual(
            [b"%d" % n for n in range(UNDER_WAY + WAITING)],
            [self.successResultOf(answer) for answer in answers],
        )


class RequestsCase(ClusterCase):
    """
    A master with a fleet, and workers that ask it.
    """

    def start(self, rows: list[AgentStatus] | None = None, **keywords: Any) -> None:
        """
        Start a master, and two workers of which C{boss} may change things.
        """
        self.registrar = Registered(*range(1, 10))
        self.store = Store(HEARD)
        self.assignments = MemoryAssignments()
        self.assignments.names.add("web")
        self.fleet = Fleet([never(n) for n in range(1, 10)] if rows is None else rows)
        self.service: MasterService = self.master(
            registrar=self.registrar,
            store=self.store,
            fleet=self.fleet,
            assignments=self.assignments,
            administrators=["boss"],
            **keywords,
        )
        self.boss = self.worker("boss")
        self.other = self.worker("other")
        self.clock.advance(0)

    def ask(self, worker: WorkerService, name: str, /, **fields: Any) -> Deferred[dict[str, Any]]:
        """
        Have a worker ask.
        """

        async def asked() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(
                await worker.asking.ask(name, json.dumps(fields).encode())
            )
            return found

        asking = Deferred.fromCoroutine(asked())
        self.clock.advance(0)
        return asking

    def get(self, name: str, /, **fields: Any) -> dict[str, Any]:
        """
        What the master answers the one that may.
        """
        return self.successResultOf(self.ask(self.boss, name, **fields))

    def refused(self, name: str, /, **fields: Any) -> str:
        """
        Why not.
        """
        asking = self.ask(self.boss, name, **fields)
        line = str(self.failureResultOf(asking, RequestRefused).value)
        self.assertTrue(line.isprintable(), line)
        self.assertLess(len(line), 400)
        return line


class MasterAnswersTests(RequestsCase):
    """
    A master answers what is on its list.
    """

    def test_permissions(self) -> None:
        """
        Every worker may look; only those that are listed may change something,
        and the others are told what to do.
        """
        self.start()
        bodies: dict[str, dict[str, Any]] = {
            "agents.remove": {"ids": [9]},
            "groups.create": {"name": "new"},
            "groups.delete": {"name": "web"},
            "groups.assign": {"id": 1, "groups": ["web"]},
            "groups.unassign": {"id": 1},
        }
        mine = {name for name in READING | ADMINISTRATION if not name.startswith("cluster.")}
        self.assertEqual(ADMINISTRATION & mine, bodies.keys())
        for name in sorted(READING & mine):
            self.successResultOf(self.ask(self.other, name))
        before = str((self.registrar.agents, self.assignments.names, self.assignments.assigned))
        for name, body in bodies.items():
            failure = self.failureResultOf(self.ask(self.other, name, **body), RequestRefused)
            self.assertEqual(
                "worker other may not change the cluster: run this on the master, or add "
                "other there to [administration] workers in etc/wazuh_cluster.ini and start it "
                "again",
                str(failure.value),
            )
        after = str((self.registrar.agents, self.assignments.names, self.assignments.assigned))
        self.assertEqual(before, after)
        for name in ("groups.create", "groups.assign", "groups.unassign", "groups.delete"):
            self.get(name, **bodies[name])
        self.get("agents.remove", ids=[9])
        self.assertIsNotNone(self.other.master)

    def test_namesOfTheTable(self) -> None:
        """
        The list is what the manual's names say, and asks administrators for
        just the changes.
        """
        self.start()
        entries = self.service.requests._entries
        self.assertEqual(READING | ADMINISTRATION | OWN, entries.keys())
        changes = {name for name, entry in entries.items() if entry.changes}
        self.assertEqual(ADMINISTRATION | OWN_CHANGES, changes)

    def test_pages(self) -> None:
        """
        A fleet comes page by page, each agent once.
        """
        self.start([never(n) for n in range(3, 3 + PAGE * 2)])
        found: list[str] = []
        after: int | None = 0
        while after is not None:
            page = self.get("agents.page", after=after)
            found += [row["id"] for row in page["agents"]]
            after = page["next"]
        self.assertEqual([row["id"] for row in map(writeStatus, self.fleet.rows)], found)
        self.assertEqual(2, self.fleet.asked)
        self.assertEqual(self.wallClock(), page["now"])

    def test_emptyFleet(self) -> None:
        """
        No agents are one page.
        """
        self.start([])
        page = self.get("agents.page")
        self.assertEqual(([], None), (page["agents"], page["next"]))

    def test_largeRows(self) -> None:
        """
        Rows of any size arrive, as many as fit; one that alone is too large
        comes without its details.
        """
        info = {"os_name": "\x1b" * 2000}
        rows = [
            AgentStatus(
                n, f"a{n}", "any", ACTIVE, 1.0, "w", (), AgentRecord(n, ACTIVE, 1.0, "w", info=info)
            )
            for n in range(1, 31)
        ]
        groups = tuple("g" * 250 + f"{n:03}" for n in range(128))
        record = AgentRecord(31, ACTIVE, 1.0, "w", "v" * 100_000, 0, {"x": "\u202e" * 60_000})
        rows.append(AgentStatus(31, "a31", "any", ACTIVE, 1.0, "w", groups, record))
        self.start([*rows, never(32)])
        found: dict[str, Any] = {}
        after: int | None = 0
        while after is not None:
            page = self.get("agents.page", after=after)
            self.assertTrue(page["agents"])
            found.update((row["id"], row) for row in page["agents"])
            after = page["next"]
        self.assertEqual(32, len(found))
        self.assertEqual(info, found["007"]["info"])
        self.assertTrue(found["031"]["cut"])
        self.assertEqual(128, len(found["031"]["groups"]))

    def test_filters(self) -> None:
        """
        Filters reach the fleet; a status that is none is refused.
        """
        self.start([never(1, ("web",)), never(2, ("db",)), never(3)])
        page = self.get("agents.page", groups=["web", "db"], statuses=["never_connected"])
        self.assertEqual(["001", "002"], [row["id"] for row in page["agents"]])
        self.assertEqual([], self.get("agents.page", nodes=["siem-1"])["agents"])
        self.assertIn("use active, pending", self.refused("agents.page", statuses=["Active"]))
        for text in NASTY[:-1]:
            self.refused("agents.page", statuses=[text])
            self.assertEqual([], self.get("agents.page", groups=[text], nodes=[text])["agents"])

    def test_counts(self) -> None:
        """
        How many agents have which status.
        """
        self.start()
        self.assertEqual({"counts": {"never_connected": 9}}, self.get("agents.counts"))

    def test_groups(self) -> None:
        """
        Groups are made, listed page by page, and removed.
        """
        self.start()
        for n in range(PAGE + 5):
            self.assignments.names.add("g" * 250 + f"{n:03}")
        self.get("groups.create", name="zebra")
        found: list[str] = []
        after: str | None = ""
        while after is not None:
            page = self.get("groups.list", after=after)
            found += [group["name"] for group in page["groups"]]
            after = page["next"]
        self.assertEqual(sorted(self.assignments.names), found)
        self.assertEqual({"agents": 0}, self.get("groups.delete", name="zebra"))
        self.assertIn("zebra", self.refused("groups.delete", name="zebra"))

    def test_assignments(self) -> None:
        """
        Agents are put into groups and taken out of them.
        """
        self.start()
        self.get("groups.create", name="db")
        for name, fields, groups in (
            ("groups.assign", {"groups": ["web"]}, ["web"]),
            ("groups.assign", {"groups": ["db", "db"]}, ["db"]),
            ("groups.assign", {"groups": ["web"], "add": True}, ["db", "web"]),
            ("groups.assign", {"groups": ["db"], "add": True}, ["web", "db"]),
            ("groups.unassign", {"groups": ["web"]}, ["db"]),
            ("groups.unassign", {"groups": ["db"]}, ["default"]),
            ("groups.assign", {"groups": ["web", "db"]}, ["web", "db"]),
            ("groups.unassign", {}, ["default"]),
        ):
            self.assertEqual({"groups": groups}, self.get(name, id=1, **fields))
            self.assertEqual({1: tuple(groups)}, self.assignments.assigned)

    def test_assignmentsRefused(self) -> None:
        """
        Agents that are not registered, groups that are not there, and groups
        that the agent is not in.
        """
        self.start()
        self.assertIn("077 is not registered", self.refused("groups.assign", id=77, groups=["web"]))
        self.assertIn("077 is not registered", self.refused("groups.unassign", id=77))
        self.assertIn("is not in 'web'", self.refused("groups.unassign", id=1, groups=["web"]))
        self.refused("groups.assign", id=1, groups=[])
        self.refused("groups.assign", id=0, groups=["web"])
        self.refused("groups.assign", id="1", groups=["web"])
        for name in NASTY[:-1]:
            self.refused("groups.assign", id=1, groups=["web", name])
            self.refused("groups.unassign", id=1, groups=[name])
            self.refused("groups.create", name=name)
            self.refused("groups.delete", name=name)
        self.assertEqual({}, self.assignments.assigned)
        self.assertEqual({"default", "web"}, self.assignments.names)

    def test_longTexts(self) -> None:
        """
        The largest name that travels is refused as any other.
        """
        self.start()
        name = "x" * (BODY_SIZE - 20)
        self.refused("groups.create", name=name)
        self.refused("groups.delete", name=name)

    def test_agentRemovedMeanwhile(self) -> None:
        """
        An agent that is removed while it is put into a group is in none.
        """
        self.start()
        assign = self.assignments.assign

        def removing(groups: Any) -> Deferred[None]:
            del self.registrar.agents[1]
            return assign(groups)

        self.patch(self.assignments, "assign", removing)
        self.refused("groups.assign", id=1, groups=["web"])
        self.assertEqual({}, self.assignments.assigned)

    def test_slow(self) -> None:
        """
        What takes too long is answered in time, holds no link up, and goes on.
        """
        self.start()
        self.registrar.waiting = []
        asking = self.ask(self.boss, "groups.assign", id=1, groups=["web"])
        self.pass_(10)
        failure = self.failureResultOf(asking, RequestRefused)
        self.assertIn("takes longer than 10 s", str(failure.value))
        waiting, self.registrar.waiting = self.registrar.waiting, None
        for each in waiting:
            each.callback(None)
        self.assertEqual({1: ("web",)}, self.assignments.assigned)
        self.assertIsNotNone(self.boss.master)

    def test_bare(self) -> None:
        """
        A master that keeps no agents says so.
        """
        self.service = self.master(administrators=["boss"])
        self.boss = self.worker("boss")
        for name, fields in (
            ("agents.page", {}),
            ("agents.counts", {}),
            ("agents.remove", {"ids": [1]}),
            ("groups.list", {}),
        ):
            self.assertIn("this master", self.refused(name, **fields))

    def test_noLink(self) -> None:
        """
        Without a link, the worker says so at once, with what to do.
        """
        self.start()
        self.stop(self.service)
        self.pass_(1)
        failure = self.failureResultOf(self.ask(self.boss, "groups.list"), MasterUnreachable)
        self.assertRegex(str(failure.value), "^the master cannot be asked now .*run this on the")

    def test_linkLost(self) -> None:
        """
        So it does when the link is lost before the answer.
        """
        self.start()
        self.registrar.waiting = []
        asking = self.ask(self.boss, "groups.assign", id=1, groups=["web"])
        self.network.cut("boss")
        self.clock.advance(0)
        self.failureResultOf(asking, MasterUnreachable)

    def test_worker(self) -> None:
        """
        A worker answers nothing by a name, and says so.
        """
        self.start()
        asking = Deferred.fromCoroutine(
            self.service.call("boss", Request, name="agents.page", body=b"{}")
        )
        self.clock.advance(0)
        failure = self.failureResultOf(asking, RequestRefused)
        self.assertIn("does not answer 'agents.page'", str(failure.value))
