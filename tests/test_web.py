"""
Tests for L{wazuh_cluster.web}: whole requests, as bytes, and their answers.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from attrs import evolve
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.test_contrib import CONTRIB, run
from wazuh_cluster.errors import ConfigError, MasterUnreachable, RequestRefused
from wazuh_cluster.protocol.bodies import readBody, writeBody
from wazuh_cluster.requests import names
from wazuh_cluster.requests.table import Asker
from wazuh_cluster.settings import readSettings
from wazuh_cluster.status import (
    ClusterStatus,
    Completion,
    Event,
    EventPage,
    Explanation,
    FileFacts,
    Health,
    LastSync,
    NodeReport,
    NodeStatus,
    OwnStatus,
    Reason,
    ThreadStatus,
)
from wazuh_cluster.status.codec import write
from wazuh_cluster.status.tally import BOUNDS, MOST, Tally
from wazuh_cluster.web import Access, WebService
from wazuh_cluster.web.delay import KEPT, ReactorDelay
from wazuh_cluster.web.endpoint import readWebEndpoint
from wazuh_cluster.web.live import MOST as MOST_VIEWERS
from wazuh_cluster.web.service import MOST as MOST_CONNECTIONS
from wazuh_cluster.web.service import PATIENCE
from wazuh_cluster.web.token import readToken

NOW = 1_800_000_000.0
TOKEN = "0123456789abcdef0123"
HOSTILE = "<script>alert('x')</script>\u202e\x1b[31m&"


class Cluster:
    """
    Answers as a node does.

    @ivar asked: the names of requests, with whose they were.
    @ivar reachable: whether the master can be asked.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, Asker]] = []
        self.reachable = True
        self.bug: Exception | None = None
        self.hub = NodeStatus(
            "hub",
            "master",
            since=NOW - 90,
            address="192.0.2.1",
            software="wazuh_cluster 1",
            current=True,
        )
        self.one = NodeStatus(
            "one",
            "worker",
            since=NOW - 60,
            address="192.0.2.2",
            wazuhVersion="v4.14.7",
            lastKeepAlive=NOW - 3,
            generation=6,
            agents={"active": 4, "disconnected": 1},
            report=NodeReport(
                memory=50_000_000,
                chunks=1234,
                completion=Completion(100, 1000, 25, 250),
                lastSync=LastSync(NOW - 5, 6, 1, 2, 3, received=4096, seconds=0.25),
                roundTrip=0.002,
                clockOffset=-0.5,
                threads=(
                    ThreadStatus(
                        "Keep alive", 60, False, NOW - 3, NOW - 2.99, 0.01, "well", runs=7
                    ),
                    ThreadStatus("Integrity", 9, failure="no <room>", kind="disk", failures=2),
                    ThreadStatus("Agent info", 10, True, NOW - 1),
                ),
            ),
        )
        self.two = NodeStatus("two", "worker", "failed", NOW - 180, "its connection was lost")
        reasons = (Reason("NODE_FAILED", "ERROR", "two", "last seen 3 min ago: start it"),)
        self.health = Health("ERROR", reasons)
        self.ownHealth = Health()
        self.events = [Event(1, NOW - 60, "joined", "one", "joined from 192.0.2.2")]
        self.agents = [
            {
                "id": "001",
                "name": HOSTILE,
                "ip": "any",
                "status": "active",
                "last_keep_alive": NOW - 9,
                "node": "one",
                "groups": ["default", "web"],
            }
        ]

    @property
    def nodes(self) -> list[NodeStatus]:
        """
        All nodes.
        """
        return [self.hub, self.one, self.two]

    async def perform(self, asker: Asker, name: str, body: bytes) -> bytes:
        """
        See L{wazuh_cluster.requests.IAnswers}.
        """
        self.asked.append((name, asker))
        if self.bug is not None:
            raise self.bug
        if not self.reachable and name not in names.OWN:
            raise MasterUnreachable("the master cannot be asked now (no link)")
        return writeBody(self.answer(name, readBody(body, dict)))

    def answer(self, name: str, fields: Mapping[str, Any]) -> Any:
        """
        What is said.
        """
        me = self.hub if self.reachable else self.one
        if name == names.NODE_STATUS:
            return write(OwnStatus(NOW, "wazuh", me, self.ownHealth))
        if name == names.CLUSTER_STATUS:
            counts = {"active": 4, "disconnected": 1}
            return write(
                ClusterStatus(
                    NOW,
                    "wazuh",
                    "hub",
                    self.health,
                    7,
                    "ab",
                    100,
                    1000,
                    {"joined": 2, "failed": 1},
                    counts,
                    1,
                )
            )
        if name == names.CLUSTER_NODES:
            return {"nodes": [write(each) for each in self.nodes], "next": None}
        if name in (names.CLUSTER_EVENTS, names.NODE_EVENTS):
            return write(EventPage("ring", tuple(self.events), 1))
        if name in (names.CLUSTER_EXPLAIN, names.NODE_EXPLAIN):
            if fields["path"] == "etc/shadow":
                raise RequestRefused("etc/shadow is no file that is carried")
            facts = FileFacts(5, 1_799_999_000, "d41d8c")
            path = fields["path"]
            node = fields.get("node", "one")
            return write(Explanation(node, path, "differs", "it is older", here=facts, again=3.0))
        if name == names.AGENTS_PAGE:
            self.wanted = fields
            return {"agents": self.agents, "next": 200, "now": NOW}
        raise AssertionError(name)


class WebCase(SynchronousTestCase):
    """
    A node's pages, and visitors.
    """

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.tally = Tally()
        self.start()

    def start(self, token: str | None = None, hosts: tuple[str, ...] = ()) -> None:
        """
        Begin anew.
        """
        self.reactor = MemoryReactorClock()
        endpoint = readWebEndpoint(self.reactor, "tcp:8080", token is not None, "the settings")
        self.service = WebService(
            self.reactor,
            endpoint,
            self.cluster,
            self.tally,
            Access((*hosts, endpoint.interface), token, endpoint.secure),
            {"name": "wazuh", "node_type": "master"},
        )
        self.service.startService()
        self.factory = self.reactor.tcpServers[0][1]

    def connect(self) -> tuple[Any, Any]:
        """
        A connection's protocol and transport.
        """
        protocol: Any = self.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5))
        transport = StringTransport()
        transport.abortConnection = transport.loseConnection  # type: ignore[method-assign]
        protocol.makeConnection(transport)
        return protocol, transport

    def say(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """
        Send bytes.

        @return: the code, the headers by their names in small letters, the body.
        """
        protocol, transport = self.connect()
        protocol.dataReceived(request)
        return parsed(transport.value())

    def get(
        self, path: str, method: str = "GET", host: str = "localhost:8080", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """
        Ask for something.
        """
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return self.say(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode())

    def page(self, path: str) -> str:
        """
        A page's text.
        """
        code, headers, body = self.get(path)
        self.assertEqual((200, "text/html; charset=utf-8"), (code, headers["content-type"]))
        return body.decode("utf-8")


def parsed(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    """
    An answer taken apart.
    """
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip()
        for name, _, value in (each.partition(":") for each in lines[1:])
    }
    return int(lines[0].split()[1]), headers, body


class AccessTests(WebCase):
    """
    Who may look.
    """

    def test_names(self) -> None:
        """
        Only those who ask for this machine by a name that it has: another
        site's name may lead here.
        """
        self.start(hosts=("hub.example.com", "2001:db8::1"))
        for host in (
            "localhost",
            "127.0.0.1:8080",
            "[::1]:9",
            "HUB.example.com.",
            "[2001:DB8:0::1]:1",
        ):
            self.assertEqual(200, self.get("/health", host=host)[0], host)
        for host in (
            "evil.example.com",
            "hub.example.com.evil",
            "",
            "[::2]",
            "a:b:c",
            "localhost:x",
        ):
            code, _, body = self.get("/health", host=host)
            self.assertEqual((421, b"this node is not known by that name"), (code, body[:35]), host)
        self.assertEqual(400, self.say(b"GET /health HTTP/1.1\r\n\r\n")[0])

    def test_oldProbe(self) -> None:
        """
        A probe that speaks HTTP/1.0 need not say a name.
        """
        self.assertEqual(200, self.say(b"GET /health HTTP/1.0\r\n\r\n")[0])

    def test_getOnly(self) -> None:
        """
        Nothing can be changed.
        """
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "HEAD"):
            code, headers, _ = self.get("/health", method)
            self.assertEqual((405, "GET"), (code, headers["allow"]), method)
        self.get("/")
        self.get("/metrics")
        self.assertEqual({False}, {asker.administers for _, asker in self.cluster.asked})

    def test_token(self) -> None:
        """
        Where there is one it must be shown; a browser then has a cookie that no
        script and no other site gets.
        """
        self.start(TOKEN)
        code, headers, body = self.get("/")
        self.assertEqual(401, code)
        self.assertTrue(headers["www-authenticate"].startswith("Basic "))
        self.assertIn(b"show the node's token", body)
        for wrong in ("Bearer x", "Bearer " + TOKEN[:-1], "Basic !", "Basic", "Digest " + TOKEN):
            self.assertEqual(401, self.get("/", Authorization=wrong)[0], wrong)
        self.assertEqual(401, self.get(f"/?token={TOKEN}")[0])
        self.assertEqual(401, self.get("/", Cookie=f"wazuh_cluster={TOKEN}")[0])
        basic = base64.b64encode(f"me:{TOKEN}".encode()).decode()
        for right in (f"Bearer {TOKEN}", f"basic {basic}"):
            code, headers, _ = self.get("/health", Authorization=right)
            self.assertEqual(200, code)
        cookie, *rest = headers["set-cookie"].split("; ")
        self.assertIn("HttpOnly", rest)
        self.assertIn("SameSite=strict", rest)
        self.assertNotIn(TOKEN, cookie)
        self.assertEqual(200, self.get("/health", Cookie=cookie)[0])

    def test_headers(self) -> None:
        """
        Nothing is kept, framed or loaded from elsewhere, whatever the answer.
        """
        for path in ("/", "/health", "/nothing", "/static/page.js"):
            headers = self.get(path)[1]
            policy = headers["content-security-policy"]
            self.assertTrue(policy.startswith("default-src 'none'; style-src 'self'; script-src"))
            self.assertNotIn("unsafe", policy)
            self.assertEqual("nosniff", headers["x-content-type-options"])
            self.assertEqual("no-store", headers["cache-control"])
            self.assertEqual("wazuh_cluster", headers["server"])

    def test_notThere(self) -> None:
        """
        What is not there is said in a line.
        """
        for path in ("/nothing", "/static/../setup.cfg", "/static/x", "/node", "/node/nobody"):
            code, headers, body = self.get(path)
            self.assertEqual((404, 1), (code, body.count(b"\n")), path)
            self.assertEqual("text/plain; charset=utf-8", headers["content-type"])
        self.assertEqual(414, self.get("/?" + "x" * 5000)[0])
        self.assertEqual(400, self.get("/file?node=one&path=etc/shadow")[0])

    def test_bug(self) -> None:
        """
        Who looks sees no traceback; the log has it.
        """
        self.cluster.bug = ZeroDivisionError("secret")
        code, _, body = self.get("/health")
        self.assertEqual(500, code)
        self.assertNotIn(b"secret", body)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))


class VisitorsTests(WebCase):
    """
    What a visitor may cost.
    """

    def test_silent(self) -> None:
        """
        Who sends no whole request is closed, however it drips.
        """
        protocol, transport = self.connect()
        for _ in range(int(PATIENCE * 2)):
            protocol.dataReceived(b"G")
            self.reactor.advance(1.0)
        self.assertTrue(transport.disconnecting)
        protocol, transport = self.connect()
        protocol.dataReceived(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /")
        for _ in range(int(PATIENCE * 2)):
            protocol.dataReceived(b"x")
            self.reactor.advance(1.0)
        self.assertTrue(transport.disconnecting)

    def test_many(self) -> None:
        """
        There are so many connections at most; those that end make room.
        """
        protocols = [self.connect()[0] for _ in range(MOST_CONNECTIONS)]
        self.assertIsNone(self.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5)))
        protocols[0].connectionLost(Failure(ConnectionDone()))
        self.assertEqual(200, self.get("/health")[0])

    def test_body(self) -> None:
        """
        A body is not read.
        """
        protocol, transport = self.connect()
        protocol.dataReceived(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n"
        )
        protocol.dataReceived(b"x" * 100)
        self.assertTrue(transport.disconnecting)

    def test_shared(self) -> None:
        """
        However many ask, the node is asked once a moment.
        """
        for _ in range(50):
            self.assertEqual(200, self.get("/health")[0])
        self.assertEqual(1, len(self.cluster.asked))
        self.reactor.advance(1.0)
        self.get("/health")
        self.assertEqual(2, len(self.cluster.asked))

    def test_stop(self) -> None:
        """
        A node that stops closes what is open.
        """
        silent, transport = self.connect()
        protocol, looking = self.connect()
        protocol.dataReceived(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        stopped: Deferred[None] = self.service.stopService()
        self.successResultOf(stopped)
        self.assertTrue(transport.disconnecting)
        self.assertTrue(looking.value().endswith(b"0\r\n\r\n"))
        for each in (silent, protocol):
            each.connectionLost(Failure(ConnectionDone()))
        self.assertEqual([], self.reactor.getDelayedCalls())


class PagesTests(WebCase):
    """
    What people see.
    """

    def test_overview(self) -> None:
        """
        The verdict with its reasons, all nodes, agents, and what happened; with
        ages, also without a script.
        """
        html = self.page("/")
        self.assertTrue(html.startswith("<!DOCTYPE html>\n"))
        for text in (
            "ERROR",
            "NODE_FAILED",
            '<a href="/node/two">two</a>',
            "2 of 3",
            'max="100"',
            "25 files, 250 B",
            "v4.14.7",
            "joined from 192.0.2.2",
            'title="no &lt;room&gt;"',
            '<a href="/agents?status=active&amp;node=one">4</a>',
        ):
            self.assertIn(text, html)
        self.assertIn(f'<time data-at="{NOW - 180:.3f}">3 min ago</time>', html)
        self.assertNotIn("></time>", html)
        self.assertNotRegex(html, "style=|onclick=|http://|https://")

    def test_alone(self) -> None:
        """
        A worker without its master says so, and shows what it knows.
        """
        self.cluster.reachable = False
        html = self.page("/")
        self.assertIn("the master cannot be asked now (no link)", html)
        self.assertIn('href="/node/one"', html)
        self.assertNotIn("two", html)
        self.assertEqual(503, self.get("/node/two")[0])
        self.assertEqual(503, self.get("/agents")[0])
        self.assertIn("it is older", self.page("/file?node=one&path=etc/rules/r.xml"))

    def test_node(self) -> None:
        """
        A node, all of it.
        """
        html = self.page("/node/one")
        for text in (
            "50.0 MB",
            "2.0 ms",
            "-0.500 s",
            "1 created, 2 updated",
            "Integrity",
            "/stream/one",
        ):
            self.assertIn(text, html)
        self.assertIn("its connection was lost", self.page("/node/two"))

    def test_file(self) -> None:
        """
        Why a file is not in sync.
        """
        html = self.page("/file?node=one&path=etc%2Frules%2Fr.xml")
        for text in ("differs", "it is older", "no such file", "d41d8c", "in 3 s"):
            self.assertIn(text, html)
        # A name is unquoted once.
        self.assertIn(
            "<h1>etc/rules/5%25.xml</h1>", self.page("/file?node=one&path=etc/rules/5%2525.xml")
        )

    def test_agents(self) -> None:
        """
        Agents a page at a time, as filtered; what names them is shown as text.
        """
        html = self.page("/agents?status=active&node=one")
        self.assertIn("&lt;script&gt;", html)
        for bad in ("<script>alert", "\u202e", "\x1b"):
            self.assertNotIn(bad, html)
        self.assertIn('href="/agents?status=active&amp;node=one&amp;after=200"', html)
        self.assertEqual(
            {"after": 0, "statuses": ["active"], "nodes": ["one"]}, self.cluster.wanted
        )
        self.page("/agents?after=200")
        self.assertEqual({"after": 200}, self.cluster.wanted)
        for wrong in ("x", "-1", "9999999999"):
            self.assertEqual(404, self.get(f"/agents?after={wrong}")[0])

    def test_hostile(self) -> None:
        """
        Whatever nodes say of themselves is text.
        """
        self.cluster.one = evolve(self.cluster.one, address=HOSTILE, wazuhVersion=HOSTILE)
        self.cluster.events.append(Event(2, NOW, HOSTILE, "one", HOSTILE * 100))
        for path in ("/", "/node/one", f"/file?node=one&path={'%3Cscript%3E'}"):
            html = self.page(path)
            self.assertEqual(1, html.count("<script"), path)
            self.assertNotIn("\x1b", html)
            self.assertNotIn("\u202e", html)


class LiveTests(WebCase):
    """
    Pages that stay as it is.
    """

    def look(self, path: str = "/stream") -> Any:
        """
        Open a page; its transport.
        """
        protocol, transport = self.connect()
        protocol.dataReceived(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return transport

    def said(self, transport: Any) -> list[dict[str, Any]]:
        """
        What came since, section by section.
        """
        text = transport.value().decode("utf-8")
        transport.clear()
        return [
            json.loads(line.removeprefix("data: "))["sections"]
            for line in text.split("\n")
            if line.startswith("data: ")
        ]

    def test_changes(self) -> None:
        """
        What changed comes, and only that.
        """
        transport = self.look()
        self.assertIn(b"text/event-stream", transport.value())
        self.reactor.advance(1.0)
        (first,) = self.said(transport)
        self.assertEqual({"verdict", "nodes", "agents", "events"}, set(first))
        for _ in range(20):
            self.reactor.advance(1.0)
        self.assertIn(b": as before", transport.value())
        self.assertEqual([], self.said(transport))
        self.cluster.two = evolve(self.cluster.two, state="joined", since=NOW)
        self.reactor.advance(1.0)
        (change,) = self.said(transport)
        self.assertEqual({"nodes"}, set(change))
        self.assertIn("joined", change["nodes"])

    def test_node(self) -> None:
        """
        A node's page too.
        """
        transport = self.look("/stream/one")
        self.reactor.advance(1.0)
        (first,) = self.said(transport)
        self.assertIn("threads", first)

    def test_slow(self) -> None:
        """
        A browser that takes nothing is not written to; then it gets the newest.
        """
        transport = self.look()
        self.reactor.advance(1.0)
        transport.producer.pauseProducing()
        self.said(transport)
        for number in range(5):
            self.cluster.two = evolve(self.cluster.two, since=NOW - number)
            self.reactor.advance(1.0)
        self.assertEqual(b"", transport.value())
        transport.producer.resumeProducing()
        self.reactor.advance(1.0)
        self.assertEqual(1, len(self.said(transport)))

    def test_many(self) -> None:
        """
        So many at most; nobody looks when all are gone.
        """
        protocols = []
        for _ in range(MOST_VIEWERS):
            protocol, _transport = self.connect()
            protocol.dataReceived(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            protocols.append(protocol)
        self.assertEqual(503, self.get("/stream")[0])
        for protocol in protocols:
            protocol.connectionLost(Failure(ConnectionDone()))
        self.reactor.advance(1.0)
        before = len(self.cluster.asked)
        self.reactor.advance(10.0)
        self.assertEqual(before, len(self.cluster.asked))


class MachinesTests(WebCase):
    """
    What programs read.
    """

    def test_health(self) -> None:
        """
        Of the node alone, unless the cluster is asked for; 503 if it wants help.
        """
        code, headers, body = self.get("/health")
        self.assertEqual((200, "application/json"), (code, headers["content-type"]))
        self.assertEqual("OK", json.loads(body)["verdict"])
        code, _, body = self.get("/health?cluster")
        found = json.loads(body)
        self.assertEqual((503, "ERROR"), (code, found["verdict"]))
        self.assertEqual("two", found["reasons"][0]["node"])
        self.reactor.advance(1.0)
        self.cluster.ownHealth = Health("WARN", (Reason("RESTART_DUE", "WARN", "hub", "x"),))
        self.assertEqual(200, self.get("/health")[0])

    def test_metrics(self) -> None:
        """
        Prometheus' own parser reads them.
        """
        self.tally.add("one", 0.03, created=2, received=7)
        self.tally.add("one", 400.0, failed=1)
        code, headers, body = self.get("/metrics")
        self.assertEqual(200, code)
        self.assertTrue(headers["content-type"].startswith("text/plain; version=0.0.4"))
        found = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(body.decode("utf-8"))
            for sample in family.samples
        }
        one = ("node", "one")
        for name, labels, value in (
            ("verdict", (), 2.0),
            ("nodes", (("state", "failed"),), 1.0),
            ("agents", (("status", "active"),), 4.0),
            ("node_up", (("node", "two"),), 0.0),
            ("node_keepalive_age_seconds", (one,), 3.0),
            ("node_files_to_go", (one,), 25.0),
            ("thread_failures_total", (one, ("thread", "Integrity")), 2.0),
            ("sync_duration_seconds_bucket", (("le", "0.05"), one), 1.0),
            ("sync_duration_seconds_bucket", (("le", "+Inf"), one), 2.0),
            ("sync_duration_seconds_count", (one,), 2.0),
            ("sync_files_total", (("action", "created"), one), 2.0),
            ("sync_received_bytes_total", (one,), 7.0),
            ("reactor_delay_seconds", (), 0.0),
        ):
            self.assertEqual(value, found["wazuh_cluster_" + name, labels], name)

    def test_dashboards(self) -> None:
        """
        Alert rules and the dashboard in C{contrib} ask for what there is.
        """
        self.tally.add("one", 0.03)
        text = self.get("/metrics")[2].decode("utf-8")
        there = {
            sample.name
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        for name in ("prometheus/wazuh-cluster.rules.yml", "grafana/wazuh-cluster.json"):
            wanted = set(re.findall(r"wazuh_cluster_\w+", (CONTRIB / name).read_text("utf-8")))
            self.assertGreater(len(wanted), 4)
            self.assertEqual(set(), wanted - there, name)
        json.loads((CONTRIB / "grafana/wazuh-cluster.json").read_text("utf-8"))

    def test_promtool(self) -> None:
        """
        Prometheus' own tool finds nothing wrong, where it is.
        """
        rules = CONTRIB / "prometheus/wazuh-cluster.rules.yml"
        self.assertEqual(0, *run("promtool", "check", "rules", str(rules)))

    def test_workersMetrics(self) -> None:
        """
        A worker tells of itself, without asking its master.
        """
        self.cluster.reachable = False
        body = self.get("/metrics")[2].decode("utf-8")
        self.assertIn('node_up{node="one"} 1.0', body)
        self.assertEqual({names.NODE_STATUS}, {name for name, _ in self.cluster.asked})

    def test_wazuhApi(self) -> None:
        """
        The shapes of Wazuh's API: connected nodes only, the key masked.
        """

        def items(path: str) -> list[dict[str, Any]]:
            code, _, body = self.get("/cluster/" + path)
            found = json.loads(body)
            self.assertEqual((200, 0), (code, found["error"]))
            data = found["data"]
            self.assertEqual(len(data["affected_items"]), data["total_affected_items"])
            return list(data["affected_items"])

        status = json.loads(self.get("/cluster/status")[2])
        self.assertEqual({"enabled": "yes", "running": "yes"}, status["data"])
        self.assertEqual(
            [
                {"name": "hub", "type": "master", "version": "1", "ip": "192.0.2.1"},
                {"name": "one", "type": "worker", "version": "4.14.7", "ip": "192.0.2.2"},
            ],
            items("nodes"),
        )
        self.assertEqual(
            [{"node": "hub", "cluster": "wazuh", "type": "master"}], items("local/info")
        )
        self.assertEqual("*****", items("local/config")[0]["key"])
        self.assertEqual([{"name": "one", "synced": False}], items("ruleset/synchronization"))
        hub, one = items("healthcheck")
        self.assertNotIn("status", hub)
        self.assertEqual(4, one["info"]["n_active_agents"])
        self.assertEqual(
            {"missing": 1, "shared": 2, "extra": 3},
            one["status"]["last_sync_integrity"]["total_files"],
        )
        self.assertEqual(1234, one["status"]["last_sync_agentinfo"]["n_synced_chunks"])
        self.assertFalse(one["status"]["sync_agent_info_free"])
        self.assertRegex(one["status"]["last_keep_alive"], r"^20\d\d-.*\.\d{6}Z$")
        self.assertEqual("n/a", one["status"]["last_check_integrity"]["date_end_master"])
        self.assertEqual(404, self.get("/cluster/x")[0])

    def test_wazuhApiAlone(self) -> None:
        """
        Without a master it says so as Wazuh does.
        """
        self.cluster.reachable = False
        code, _, body = self.get("/cluster/nodes")
        self.assertEqual((503, 3023), (code, json.loads(body)["error"]))
        self.assertEqual(200, self.get("/cluster/local/info")[0])


class EndpointTests(SynchronousTestCase):
    """
    Where a node may show itself.
    """

    def read(self, text: str, hasToken: bool = False) -> tuple[str, bool]:
        """
        The address, and whether it is encrypted.
        """
        endpoint = readWebEndpoint(MemoryReactorClock(), text, hasToken, "x.ini")
        return endpoint.interface, endpoint.secure

    def test_here(self) -> None:
        """
        On this machine, unless it says otherwise.
        """
        self.assertEqual(("127.0.0.1", False), self.read("tcp:8080"))
        self.assertEqual(("::1", False), self.read("tcp6:8080"))
        self.assertEqual(("127.0.0.2", False), self.read("tcp:80:interface=127.0.0.2"))
        self.assertEqual(("::1", False), self.read(r"tcp6:80:interface=\:\:1"))
        self.assertEqual(("", False), self.read("unix:page.sock"))

    def test_elsewhere(self) -> None:
        """
        Elsewhere only with TLS and a token; one line says what to write.
        """
        for text in ("tcp:80:interface=0.0.0.0", r"tcp6:80:interface=\:\:", "tcp:80:interface="):
            error = self.assertRaises(ConfigError, self.read, text, True)
            self.assertIn("unencrypted", str(error))
        error = self.assertRaises(ConfigError, self.read, "ssl:80:interface=10.0.0.1", False)
        self.assertIn("token_file", str(error))
        for text in ("8080", "tcp:x", "haproxy:tcp:80", "fd:7", ""):
            error = self.assertRaises(ConfigError, self.read, text)
            self.assertIn("--http", str(error))
            self.assertNotIn("\n", str(error))

    def test_token(self) -> None:
        """
        A token is long, and only for the node's user.
        """
        path = os.path.abspath(self.mktemp())
        error = self.assertRaises(ConfigError, readToken, path)
        self.assertIn("openssl rand", str(error))
        for content, mode, why in (
            (TOKEN + "\n", 0o644, "everybody"),
            ("short\n", 0o600, "at least 16"),
            ("two words that are long enough\n", 0o600, "without blanks"),
            ("\xe4" * 20, 0o600, "no token"),
            ("x" * 3000, 0o600, "no token"),
        ):
            with open(path, "w", encoding="latin-1") as file:
                file.write(content)
            os.chmod(path, mode)
            self.assertIn(why, str(self.assertRaises(ConfigError, readToken, path)))
        with open(path, "w", encoding="ascii") as file:
            file.write(TOKEN + "\n")
        self.assertEqual(TOKEN, readToken(path))

    def test_settings(self) -> None:
        """
        Where it is, and the names, are settings.
        """
        settings = readSettings("[http]\ntoken-file = etc/t\nhosts = a.example, [::1]\n", "x.ini")
        self.assertEqual(("etc/t", ("a.example", "[::1]")), (settings.tokenFile, settings.hosts))
        for wrong in ("hosts = a b/c", "token_file =", "port = 1"):
            error = self.assertRaises(ConfigError, readSettings, f"[http]\n{wrong}\n", "x.ini")
            self.assertIn("[http]", str(error))


class TallyTests(SynchronousTestCase):
    """
    L{Tally}.
    """

    def test_sums(self) -> None:
        """
        Each installation counts once, in its bucket.
        """
        tally = Tally()
        for seconds in (0.0, BOUNDS[0], BOUNDS[0] * 1.1, BOUNDS[-1], BOUNDS[-1] + 1):
            tally.add("a", seconds, updated=2)
        ((name, sums),) = tally
        self.assertEqual(("a", 10), (name, sums.updated))
        self.assertEqual([2, 1], sums.buckets[:2])
        self.assertEqual([1, 1], sums.buckets[-2:])
        tally.drop("a")
        self.assertEqual([], list(tally))

    def test_bounded(self) -> None:
        """
        It keeps those of so many nodes that were heard last.
        """
        tally = Tally()
        for number in range(MOST + 5):
            tally.add(str(number), 1.0)
        self.assertEqual(MOST, len(list(tally)))
        self.assertNotIn("0", dict(tally))


class DelayTests(SynchronousTestCase):
    """
    How late a reactor is.
    """

    def test_late(self) -> None:
        """
        The longest delay counts for a minute.
        """
        clock = Clock()
        delay = ReactorDelay(clock)
        delay.look()
        clock.advance(1.25)
        delay.look()
        self.assertAlmostEqual(0.25, delay.worst)
        for _ in range(KEPT):
            clock.advance(1.0)
            delay.look()
        self.assertEqual(0.0, delay.worst)
