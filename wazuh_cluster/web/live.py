"""
Pages that stay as it is now: what is new goes to whoever looks, as server-sent
events.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IPushProducer
from twisted.web.server import Request
from zope.interface import implementer

from wazuh_cluster.errors import ClusterError, TooBusy
from wazuh_cluster.web.look import Look, View
from wazuh_cluster.web.render import Sections, flatten

#: Seconds between two looks.
INTERVAL = 1.0

#: How many may look at the same time.
MOST = 64

#: After how many looks without anything new a viewer hears that all is as it was.
_QUIET = 15

#: Draws a page: the sections, from what is known.
Draw = Callable[[View], Awaitable[Sections]]


@implementer(IPushProducer)
@define(eq=False)
class _Viewer:
    """
    One open page.

    @ivar page: which, so that viewers of the same share the work.
    @ivar sent: the sections as they are there.
    @ivar paused: whether it takes nothing now: it gets what is newest then.
    """

    request: Request
    page: str
    draw: Draw
    sent: dict[str, bytes] = field(factory=dict)
    quiet: int = 0
    paused: bool = False

    def pauseProducing(self) -> None:
        """
        See L{IPushProducer}.
        """
        self.paused = True

    def resumeProducing(self) -> None:
        """
        See L{IPushProducer}.
        """
        self.paused = False

    def stopProducing(self) -> None:
        """
        See L{IPushProducer}.
        """
        self.paused = True


class Live:
    """
    All who look.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._viewers: dict[_Viewer, None] = {}

    def __len__(self) -> int:
        return len(self._viewers)

    def add(self, request: Any, page: str, draw: Draw) -> None:
        """
        Somebody looks at a page, until the connection ends.

        @raise TooBusy: if too many do.
        """
        if len(self._viewers) >= MOST:
            raise TooBusy(f"{MOST} pages are open already: close some, or reload this one by hand")
        viewer = _Viewer(request, page, draw)
        self._viewers[viewer] = None
        request.notifyFinish().addBoth(lambda _: self._viewers.pop(viewer, None))
        request.setHeader(b"content-type", b"text/event-stream")
        # Also through a proxy that would keep it until it is worth sending.
        request.setHeader(b"x-accel-buffering", b"no")
        request.write(b"retry: 2000\n\n")
        request.registerProducer(viewer, True)

    async def look(self) -> str:
        """
        Tell all who look what is new.

        @return: what came of it, for people.
        """
        if not self._viewers:
            return "nobody looks"
        view = await self._look.view()
        drawn: dict[str, dict[str, bytes]] = {}
        for viewer in list(self._viewers):
            if viewer.page not in drawn:
                drawn[viewer.page] = await self._drawn(viewer.draw, view)
            self._tell(viewer, drawn[viewer.page], view.now)
        return f"{len(self._viewers)} look"

    def close(self) -> None:
        """
        Nobody looks any more.
        """
        for viewer in list(self._viewers):
            viewer.request.unregisterProducer()
            viewer.request.finish()
        self._viewers.clear()

    async def _drawn(self, draw: Draw, view: View) -> dict[str, bytes]:
        try:
            sections = await draw(view)
        except ClusterError:
            # Such as a node that was forgotten meanwhile.
            return {}
        return {name: await flatten(tag) for name, tag in sections.items()}

    def _tell(self, viewer: _Viewer, drawn: dict[str, bytes], now: float) -> None:
        if viewer not in self._viewers or viewer.paused:
            return
        new = {name: html for name, html in drawn.items() if viewer.sent.get(name) != html}
        if not new:
            viewer.quiet += 1
            if viewer.quiet >= _QUIET:
                viewer.quiet = 0
                viewer.request.write(b": as before\n\n")
            return
        viewer.quiet = 0
        viewer.sent.update(new)
        said = {"now": now, "sections": {name: html.decode("utf-8") for name, html in new.items()}}
        viewer.request.write(b"event: sections\ndata: %s\n\n" % json.dumps(said).encode("ascii"))
