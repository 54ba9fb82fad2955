"""
C{wazuh-cluster status}: whether the cluster is well, and if not, why.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any, TextIO

from twisted.internet.task import deferLater
from twisted.python import usage

from wazuh_cluster.control import ControlClient
from wazuh_cluster.errors import ClusterError
from wazuh_cluster.scripts import clusterview
from wazuh_cluster.scripts.asking import MixedOptions, ask
from wazuh_cluster.scripts.clusterview import EXITS, HEAD, THREADS_HEAD, Seen
from wazuh_cluster.scripts.table import Table, writeLines
from wazuh_cluster.status.codec import write

#: The exit status if nobody answers.
UNKNOWN = 3

#: Seconds between two looks.
WATCH = 2.0

#: From one look to the next.
Rest = Callable[[], Awaitable[Any]]


class StatusOptions(MixedOptions):
    """
    Options of C{status}.
    """

    longdesc = (
        "Shows whether the cluster is well, and if not, why and what to do; then all nodes. On any "
        "node; without a link to the master, what this node knows itself. The exit status is 0 for "
        "OK, 1 for WARN, 2 for ERROR, and 3 if nobody answers."
    )
    optFlags = [
        ["json", None, "One JSON object, with all that is known."],
        ["threads", None, "Show the nodes' threads too."],
        ["watch", "w", "Go on showing it, until interrupted."],
    ]

    def parseArgs(self, *rest: str) -> None:
        """
        There is nothing else.
        """
        if rest:
            raise usage.UsageError("nothing follows the options: '--help' lists them")


def run(options: StatusOptions) -> int:
    """
    Show it.
    """
    try:
        # However it ends, the terminal is as it was.
        with ExitStack() as after:
            return ask(options.home, lambda client: show(client, options, sys.stdout, _rest, after))
    except ClusterError as error:
        print(f"wazuh-cluster: {' '.join(str(error).split())}", file=sys.stderr)
        return UNKNOWN


def _rest() -> Awaitable[Any]:
    from twisted.internet import reactor

    return deferLater(reactor, WATCH)


async def show(
    client: ControlClient, options: StatusOptions, out: TextIO, rest: Rest, after: ExitStack
) -> int:
    """
    Show it, once or again and again.

    @param rest: waits until the next look.
    @param after: what is to be done when it ends.
    @return: the exit status.
    """
    if options["json"]:
        return await _again(client, options, rest, lambda seen: writeLines(out, [asJSON(seen)]))
    from wazuh_cluster.scripts import terminal

    threads = bool(options["threads"])
    if not terminal.isTerminal(out):
        return await _again(client, options, rest, lambda seen: plain(seen, out, threads))
    console = terminal.console(out)
    if not options["watch"]:
        return await _again(
            client,
            options,
            rest,
            lambda seen: console.print(terminal.clusterPicture(seen, console.width, threads)),
        )
    from rich.live import Live

    live = after.enter_context(
        Live(console=console, auto_refresh=False, screen=True, vertical_overflow="crop")
    )
    return await _again(
        client,
        options,
        rest,
        lambda seen: live.update(
            terminal.clusterPicture(seen, console.width, threads), refresh=True
        ),
    )


async def _again(
    client: ControlClient, options: StatusOptions, rest: Rest, draw: Callable[[Seen], None]
) -> int:
    while True:
        seen = await clusterview.look(client)
        draw(seen)
        if not options["watch"]:
            return EXITS.get(seen.health.verdict, UNKNOWN)
        await rest()


def plain(seen: Seen, out: TextIO, threads: bool) -> None:
    """
    Where no person looks, or only later.
    """
    writeLines(out, _lines(seen))
    Table(out, HEAD).write([clusterview.row(node, seen.now) for node in seen.nodes])
    if threads:
        writeLines(out, [""])
        Table(out, THREADS_HEAD).write(list(clusterview.threads(seen.nodes, seen.now)))


def _lines(seen: Seen) -> Iterator[str]:
    yield clusterview.verdict(seen)
    yield from (f"  {line}" for _, line in clusterview.reasons(seen))
    yield from clusterview.summary(seen)
    yield ""


def asJSON(seen: Seen) -> str:
    """
    All of it as a line of JSON, in ASCII: nothing in it moves a terminal.
    """
    return json.dumps(
        {
            "verdict": seen.health.verdict,
            "reasons": write(seen.health.reasons, full=True),
            "cluster": None if seen.cluster is None else write(seen.cluster, full=True),
            "nodes": [
                {
                    **write(node, full=True),
                    "version": node.version,
                    "percent": clusterview.percent(node),
                }
                for node in seen.nodes
            ],
            "now": seen.now,
            "unreachable": seen.why or None,
        }
    )
