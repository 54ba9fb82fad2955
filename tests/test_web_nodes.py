"""
Tests of the pages of whole nodes, and of a browser that shows them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from io import BytesIO
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers

from tests.processes import Process, ProcessCase, freePort

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_DRIVER = shutil.which("chromedriver")

_BROWSER = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class _Said(Protocol):
    """
    What a page is sent.
    """

    transport: Any

    def __init__(self) -> None:
        self.sections: dict[str, str] = {}
        self._rest = b""
        self.ended: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                self.sections.update(json.loads(line[6:])["sections"])


class PageTests(ProcessCase):
    """
    A master and a worker that show themselves.
    """

    def setUp(self) -> None:
        super().setUp()
        pool = HTTPConnectionPool(reactor, persistent=False)
        self.agent = Agent(reactor, pool=pool)

    async def address(self, home: FilePath[str]) -> str:
        """
        Where a node's page is.
        """
        found = await self.until(
            lambda: re.findall(r"The page is at (http://\S+/)", self.log(home)), "the page"
        )
        address: str = found[-1]
        return address

    async def get(self, address: str) -> tuple[int, bytes]:
        """
        An answer's code and body.
        """
        response: Any = await self.agent.request(b"GET", address.encode("ascii"))
        return response.code, await readBody(response)

    async def test_nodesComeAndGo(self) -> None:
        """
        An open page shows that a worker was killed, and that it is back; so does
        what programs ask. A token keeps others out.
        """
        hub, one = self.cluster("one")
        self.settings(one, "[integrity]\ninterval = 1\n[http]\ntoken_file = etc/token\n")
        secret = one.preauthChild("etc/token")
        secret.setContent(b"0123456789abcdef\n")
        secret.chmod(0o600)
        self.node(hub, "--http", "tcp:0")
        page = await self.address(hub)
        worker = self.node(one, "--http", "tcp:0")
        said = _Said()
        stream: Any = await self.agent.request(b"GET", f"{page}stream".encode("ascii"))
        stream.deliverBody(said)

        def shown(*texts: str) -> bool:
            return all(text in said.sections.get("nodes", "") for text in texts)

        await self.until(lambda: shown("/node/one", "● joined", "100%"), "the worker on the page")
        code, body = await self.get(f"{page}cluster/ruleset/synchronization")
        self.assertEqual((200, True), (code, b'"name":"one"' in body))
        address = await self.address(one)
        self.assertEqual(401, (await self.get(address))[0])
        token = Headers({"Authorization": ["Bearer 0123456789abcdef"]})
        answer: Any = await self.agent.request(b"GET", address.encode("ascii"), token)
        text = await readBody(answer)
        self.assertEqual((200, True), (answer.code, b"/node/hub" in text))
        worker.kill()
        await self.until(lambda: shown("✖ failed"), "the worker's end on the page")
        await self.until(
            lambda: "NODE_FAILED" in said.sections["verdict"], "the reason on the page"
        )
        self.assertEqual(503, (await self.get(f"{page}health?cluster"))[0])
        self.assertEqual(200, (await self.get(f"{page}health"))[0])
        metrics = (await self.get(f"{page}metrics"))[1]
        self.assertIn(b'wazuh_cluster_node_up{node="one"} 0.0', metrics)
        self.node(one)
        await self.until(
            lambda: not shown("✖ failed") and shown("● joined"), "it on the page again"
        )
        await self.until(
            lambda: "NODE_FAILED" not in said.sections["verdict"], "no reason on the page"
        )
        said.transport.loseConnection()
        await said.ended
        self.assertNotIn("Traceback", self.log(hub) + self.log(one))

    async def drive(self, method: bytes, path: str, body: Any = None) -> Any:
        """
        Tell the browser's driver something.

        @return: what it answers.
        """
        producer = FileBodyProducer(BytesIO(json.dumps(body or {}).encode("ascii")))
        address = f"http://127.0.0.1:{self.driver}{path}".encode("ascii")
        headers = Headers({"Content-Type": ["application/json"]})
        answer: Any = await self.agent.request(method, address, headers, producer)
        return json.loads(await readBody(answer))["value"]

    async def open(self, page: str) -> str:
        """
        Start a browser that shows a page.

        @return: the path of its session at the driver.
        """
        self.driver = freePort()
        process = Process()
        assert _DRIVER is not None
        reactor.spawnProcess(process, _DRIVER, [_DRIVER, f"--port={self.driver}"], os.environ)
        self.processes.append(process)
        await self.until(lambda: b"started successfully" in process.out, "the driver")
        profile = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, profile, ignore_errors=True)
        options = {"binary": _CHROMIUM, "args": [*_BROWSER, f"--user-data-dir={profile}"]}
        wanted = {"alwaysMatch": {"goog:chromeOptions": options}}
        session = (await self.drive(b"POST", "/session", {"capabilities": wanted}))["sessionId"]
        path = f"/session/{session}"
        self.addCleanup(lambda: Deferred.fromCoroutine(self.drive(b"DELETE", path)))
        await self.drive(b"POST", f"{path}/url", {"url": page})
        return path

    async def untilSeen(self, browser: str, condition: str, what: str) -> None:
        """
        Wait until a page is so.

        @param condition: in the page's own language.
        """
        body = {"script": f"return Boolean({condition});", "args": []}
        while not await self.drive(b"POST", f"{browser}/execute/sync", body):
            await deferLater(reactor, 0.1)
            self.assertFalse(self.over, what)

    async def test_browser(self) -> None:
        """
        A browser runs the page's script under its policy: it is live, counts
        ages, shows a worker that is killed, keeps who looks where they are, and
        says when the node itself is gone.
        """
        hub, one = self.cluster("one")
        master = self.node(hub, "--http", "tcp:0")
        worker = self.node(one)
        await self.untilEqual(hub, one)
        browser = await self.open(await self.address(hub))
        live = "document.getElementById('live').textContent"
        row = "document.querySelector('#nodes a[href=\"/node/one\"]').closest('tr').textContent"
        await self.untilSeen(browser, f"{live} === 'Live'", "a live page")
        await self.untilSeen(browser, f"{row}.includes('joined')", "the worker")
        await self.untilSeen(browser, f"/\\d+ s ago/.test({row})", "ages")
        focus = "document.querySelector('#nodes a[href=\"/node/one\"]').focus(); return 1;"
        await self.drive(b"POST", f"{browser}/execute/sync", {"script": focus, "args": []})
        worker.kill()
        await self.untilSeen(browser, f"{row}.includes('failed')", "the worker's end")
        await self.untilSeen(
            browser, "document.activeElement.getAttribute('href') === '/node/one'", "the focus"
        )
        master.kill()
        await self.untilSeen(browser, f"{live}.includes('does not answer')", "the master's end")

    if not os.environ.get("WAZUH_CLUSTER_BROWSER"):
        test_browser.skip = "WAZUH_CLUSTER_BROWSER is not set"  # type: ignore[attr-defined]
    elif _CHROMIUM is None or _DRIVER is None:
        test_browser.skip = "there is no Chromium with its driver"  # type: ignore[attr-defined]
