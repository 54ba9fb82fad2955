"""
C{wazuh-cluster events}: what happened.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TextIO

from twisted.internet.task import deferLater
from twisted.python import usage

from wazuh_cluster.control import ControlClient
from wazuh_cluster.errors import MasterUnreachable, RequestRefused
from wazuh_cluster.scripts.asking import MixedOptions, ask
from wazuh_cluster.scripts.table import shown, writeLines
from wazuh_cluster.status import Event, EventPage
from wazuh_cluster.status.codec import write
from wazuh_cluster.status.events import PAGE

#: Seconds between two looks.
FOLLOW = 1.0

#: The longest line of an event.
_LONGEST = 600

Rest = Callable[[], Awaitable[Any]]


class EventsOptions(MixedOptions):
    """
    Options of C{events}.
    """

    longdesc = (
        "Shows what happened in the cluster last, by the number of each event: where one is "
        "missing, there are events that are not known any more. On any node; without a link to the "
        "master, what happened on this node."
    )
    optFlags = [
        ["json", None, "One JSON object a line."],
        ["follow", "f", "Go on showing what happens, until interrupted."],
    ]
    optParameters = [["last", "n", "20", f"How many to show at first, 0 to {PAGE}."]]

    def postOptions(self) -> None:
        """
        A number must be one.
        """
        text = self["last"]
        if not (text.isascii() and text.isdigit() and len(text) < 5 and int(text) <= PAGE):
            raise usage.UsageError(f"--last: {shown(text)!r} is no number from 0 to {PAGE}")
        self.last = int(text)

    def parseArgs(self, *rest: str) -> None:
        """
        There is nothing else.
        """
        if rest:
            raise usage.UsageError("nothing follows the options: '--help' lists them")


def run(options: EventsOptions) -> int:
    """
    Show them.
    """
    return ask(options.home, lambda client: show(client, options, sys.stdout, sys.stderr, _rest))


def _rest() -> Awaitable[Any]:
    from twisted.internet import reactor

    return deferLater(reactor, FOLLOW)


async def show(
    client: ControlClient, options: EventsOptions, out: TextIO, errors: TextIO, rest: Rest
) -> int:
    """
    Show them, and those that come, if wanted.

    @param rest: waits until the next look.
    """
    reading = client.status.events
    try:
        page = await reading(last=max(1, options.last))
    except (MasterUnreachable, RequestRefused) as error:
        print(f"{shown(str(error), _LONGEST)}; what happened on this node:", file=errors)
        reading = client.status.ownEvents
        page = await reading(last=max(1, options.last))
    written = _asJSON if options["json"] else _asText
    known = page.last
    for event in page.events if options.last else ():
        writeLines(out, [written(event)])
    while options["follow"]:
        following = await reading(after=known)
        if following.ring != page.ring:
            if not options["json"]:
                writeLines(out, ["(the node that counts began anew, and so do its numbers)"])
            known, page = 0, following
            continue
        for line in _gap(known, following):
            if not options["json"]:
                writeLines(out, [line])
        for event in following.events:
            known = event.number
            writeLines(out, [written(event)])
        if known >= following.last:
            await rest()
    return 0


def _gap(known: int, page: EventPage) -> Iterator[str]:
    """
    That there are events that cannot be shown.
    """
    if page.events and page.events[0].number > known + 1:
        yield f"({page.events[0].number - known - 1} events are not known any more)"


def _asText(event: Event) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at))
    about = f" {shown(event.node, 140)}" if event.node else ""
    return f"#{event.number} {at} {shown(event.kind)}{about}: {shown(event.text, _LONGEST)}"


def _asJSON(event: Event) -> str:
    return json.dumps(write(event, full=True))
