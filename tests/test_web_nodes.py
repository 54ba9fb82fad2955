"""
Tests of the pages of whole nodes, and of a browser that shows them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.web.client import Agent, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers

from tests.processes import ProcessCase

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

_BROWSER = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--timeout=3000",
    "--dump-dom",
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

    async def test_browser(self) -> None:
        """
        A browser runs the page's script under its policy: it is live, and counts
        ages.
        """
        (hub,) = self.cluster()
        self.node(hub, "--http", "tcp:0")
        page = await self.address(hub)
        profile = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, profile, ignore_errors=True)
        arguments = [*_BROWSER, f"--user-data-dir={profile}", page]
        out, errors, _ = await getProcessOutputAndValue(_CHROMIUM, arguments, os.environ)
        html = out.decode("utf-8")
        self.assertRegex(html, r'<p id="live" role="status" class="quiet">Live</p>')
        self.assertRegex(html, r"<time data-at=\"[0-9.]+\">\d+ s ago</time>")
        self.assertIn('href="/node/hub"', html)
        self.assertNotIn(b"Content Security Policy", errors)

    if _CHROMIUM is None:
        test_browser.skip = "there is no Chromium"  # type: ignore[attr-defined]
