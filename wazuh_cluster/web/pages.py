"""
The pages for people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from twisted.web.template import tags

from wazuh_cluster.errors import MasterUnreachable
from wazuh_cluster.protocol.bodies import readBody, writeBody
from wazuh_cluster.requests.names import AGENTS_PAGE
from wazuh_cluster.status import Health, NodeStatus
from wazuh_cluster.status.reasons import judge, nodeReasons
from wazuh_cluster.web import render
from wazuh_cluster.web.front import Answer, Asked, Handler, NotThere
from wazuh_cluster.web.live import Live
from wazuh_cluster.web.look import Look, View

_STATIC = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}

_HOME = ("Cluster", "/")


class Pages:
    """
    Each answers what its name says.
    """

    def __init__(self, look: Look, live: Live, perform: Callable[..., Any]) -> None:
        """
        @param perform: asks a request, from its name and body to the answer's.
        """
        self._look = look
        self._live = live
        self._perform = perform
        folder = files("wazuh_cluster.web") / "static"
        # Read once: a page must not wait for a disk.
        self._static = {name: (folder / name).read_bytes() for name in _STATIC}

    def handlers(self) -> Iterator[tuple[str, Handler]]:
        """
        By the first part of their addresses.
        """
        yield "", self.overview
        yield "stream", self.stream
        yield "node", self.node
        yield "file", self.file
        yield "agents", self.agents
        yield "static", self.static

    async def static(self, asked: Asked) -> Answer:
        """
        What pages load.
        """
        name = asked.path[0] if len(asked.path) == 1 else ""
        if name not in self._static:
            raise NotThere("there is no such file")
        return Answer(self._static[name], _STATIC[name])

    async def overview(self, asked: Asked) -> Answer:
        """
        The cluster at a glance.
        """
        view = await self._look.view()
        body = render.placed(render.overview(view))
        return await _whole(_title(view), [], body, view.now, "/stream")

    async def stream(self, asked: Asked) -> None:
        """
        What is new of that, or of a node.
        """
        if not asked.path:
            self._live.add(asked.request, "", _overview)
            return
        name = asked.path[0]

        async def draw(view: View) -> render.Sections:
            node, health = await self._find(view, name)
            return render.nodeSections(view, node, health)

        self._live.add(asked.request, name, draw)

    async def node(self, asked: Asked) -> Answer:
        """
        One node.
        """
        if len(asked.path) != 1:
            raise NotThere("name a node: /node/NAME")
        view = await self._look.view()
        node, health = await self._find(view, asked.path[0])
        body = [
            *render.placed(render.nodeSections(view, node, health)),
            tags.section(tags.h2("A file"), render.fileForm(node.name)),
        ]
        stream = "/stream" + render.nodeAddress(node.name).removeprefix("/node")
        return await _whole(render.safe(node.name), [_HOME], body, view.now, stream)

    async def file(self, asked: Asked) -> Answer:
        """
        Why a file is, or is not, in sync on a node.
        """
        name, path = asked.query.get("node", ""), asked.query.get("path", "").strip()
        view = await self._look.view()
        if not path:
            raise NotThere("name a file: /file?node=NAME&path=PATH")
        if view.cluster is None and name == view.own.node.name:
            found = await self._look.reader.ownExplain(path)
        else:
            found = await self._look.reader.explain(name, path)
        trail = [_HOME, (render.safe(name), render.nodeAddress(name))]
        body = [
            tags.section(render.explanation(found)),
            tags.section(tags.h2("Another file"), render.fileForm(name, path)),
        ]
        return await _whole(render.safe(path), trail, body, view.now)

    async def agents(self, asked: Asked) -> Answer:
        """
        Agents, a page at a time.
        """
        chosen = {
            key: asked.query[key] for key in ("status", "node", "group") if key in asked.query
        }
        after = asked.query.get("after", "0")
        if not (after.isascii() and after.isdigit() and len(after) < 10):
            raise NotThere(f"after={after[:20]!r} is no agent id: write a number")
        fields: dict[str, Any] = {"after": int(after)}
        fields.update(
            (plural, [chosen[key]])
            for key, plural in (("status", "statuses"), ("node", "nodes"), ("group", "groups"))
            if key in chosen
        )
        found = readBody(await self._perform(AGENTS_PAGE, writeBody(fields)), dict)
        rows = [render.agentRow(each) for each in found.get("agents", ())]
        said = ", ".join(f"{key} {render.safe(value)}" for key, value in chosen.items())
        body: list[Any] = [tags.section(render.agentTable(rows))]
        if not rows:
            body = [tags.section(tags.p("No agents."))]
        following = found.get("next")
        if isinstance(following, int):
            body.append(tags.p(tags.a("Next", href=_again(chosen, following), rel="next")))
        title = f"Agents: {said}" if said else "Agents"
        return await _whole(title, [_HOME], body, float(found.get("now", 0.0)))

    async def _find(self, view: View, name: str) -> tuple[NodeStatus, Health]:
        for node in view.nodes:
            if node.name == name:
                if name == view.own.node.name:
                    return node, view.own.health
                return node, judge(nodeReasons(node, view.now))
        if view.cluster is None:
            raise MasterUnreachable(view.problem)
        raise NotThere(f"no node {render.safe(name[:140])!r} is known: see /")


async def _overview(view: View) -> render.Sections:
    return render.overview(view)


async def _whole(
    title: str, trail: list[tuple[str, str]], body: list[Any], now: float, stream: str | None = None
) -> Answer:
    html = await render.flatten(render.page(title, trail, body, now, stream))
    return Answer(b"<!DOCTYPE html>\n" + render.withAges(html, now) + b"\n")


def _title(view: View) -> str:
    if view.cluster is None:
        return render.safe(f"{view.own.node.name} of {view.own.cluster}")
    return render.safe(f"{view.cluster.cluster}")


def _again(chosen: dict[str, str], after: int) -> str:
    return "/agents?" + urlencode({**chosen, "after": after})
