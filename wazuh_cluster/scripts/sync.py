"""
C{wazuh-cluster sync}: lets a node look at its files now, and shows what it did.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TextIO

from twisted.python import usage

from wazuh_cluster.control import ControlClient
from wazuh_cluster.scripts.asking import MixedOptions, ask
from wazuh_cluster.scripts.table import shown, writeLines
from wazuh_cluster.status import SyncOutcome
from wazuh_cluster.status.codec import write
from wazuh_cluster.status.words import count, size

_LONGEST = 1000


class SyncOptions(MixedOptions):
    """
    Options of C{sync}.
    """

    arguments = "[NODE]"
    longdesc = (
        "Lets a node compare its files with the master's now, and shows what that did; a master "
        "looks for what is new. Without NODE, this node does. As root or as the owner of the "
        "home's etc; for another node, on the master, or on a worker that the master lists. The "
        "exit status is 1 if something failed."
    )
    optFlags = [
        ["json", None, "One JSON object."],
        ["verbose", "v", "Name the files, and say why each changed."],
    ]

    def parseArgs(self, *rest: str) -> None:
        """
        The node.
        """
        if len(rest) > 1:
            raise usage.UsageError("name one node, or none for this one")
        self.node = rest[0] if rest else None


def run(options: SyncOptions) -> int:
    """
    Do it.
    """
    return ask(options.home, lambda client: show(client, options, sys.stdout, sys.stderr))


async def show(client: ControlClient, options: SyncOptions, out: TextIO, errors: TextIO) -> int:
    """
    Ask for it, and say what came of it.

    @param errors: where it says how far it is.
    """
    node = options.node
    if node is not None and node == (await client.status.own()).node.name:
        node = None
    verbose = bool(options["verbose"])
    begin = True
    while True:
        if node is None:
            outcome = await client.status.ownSync(begin, verbose)
        else:
            outcome = await client.status.sync(node, begin, verbose)
        if outcome.ended:
            break
        begin = False
        writeLines(errors, [_progress(outcome)])
    if options["json"]:
        writeLines(out, [json.dumps(write(outcome, full=True))])
    else:
        writeLines(out, lines(outcome))
    return 1 if outcome.failure or (outcome.sync is not None and outcome.sync.failed) else 0


def lines(outcome: SyncOutcome) -> Iterator[str]:
    """
    An outcome for people.
    """
    head = f"{shown(outcome.node, 140)}, {shown(outcome.thread)}"
    if outcome.failure:
        yield f"{head} failed after {outcome.seconds:.3f} s: {shown(outcome.failure, _LONGEST)}"
    else:
        yield f"{head}, {outcome.seconds:.3f} s: {shown(outcome.result or 'done', _LONGEST)}"
    sync = outcome.sync
    if sync is not None:
        yield (
            f"{sync.created} created, {sync.updated} updated, {sync.deleted} deleted, "
            f"{sync.mended} mended, {sync.failed} failed; {sync.received:,} bytes received"
        )
    for each in outcome.files:
        yield f"  {shown(each.path, _LONGEST)}: {shown(each.why, _LONGEST)}"
    if outcome.more:
        yield f"  and {count(outcome.more, 'file')} more"


def _progress(outcome: SyncOutcome) -> str:
    left = outcome.completion
    return (
        f"{shown(outcome.node, 140)} is still at it after {outcome.seconds:.0f} s: "
        f"{left.percent:.1f}%, {count(left.filesToGo, 'file')} and {size(left.bytesToGo)} to go"
    )
