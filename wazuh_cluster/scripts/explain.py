"""
C{wazuh-cluster explain}: why a file is, or is not, in sync on a node.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import TextIO

from twisted.python import usage

from wazuh_cluster.control import ControlClient
from wazuh_cluster.errors import MasterUnreachable
from wazuh_cluster.scripts.asking import MixedOptions, ask
from wazuh_cluster.scripts.table import shown, writeLines
from wazuh_cluster.status import Explanation, FileFacts
from wazuh_cluster.status.codec import write
from wazuh_cluster.status.explaining import IN_SYNC
from wazuh_cluster.status.words import span

_LONGEST = 1000


class ExplainOptions(MixedOptions):
    """
    Options of C{explain}.
    """

    arguments = "NODE PATH"
    longdesc = (
        "Says why a file is, or is not, in sync on a node: the rule that applies, the file there "
        "and on the master, the last error, and when it is tried again. PATH is relative to the "
        "home. The exit status is 0 if the file is in sync, and 1 if it is not."
    )
    optFlags = [["json", None, "One JSON object."]]

    def parseArgs(self, *rest: str) -> None:
        """
        The node and the file.
        """
        if len(rest) != 2:
            raise usage.UsageError("name a node, and a file relative to the home")
        self.node, self.path = rest


def run(options: ExplainOptions) -> int:
    """
    Explain it.
    """
    return ask(options.home, lambda client: show(client, options, sys.stdout))


async def show(client: ControlClient, options: ExplainOptions, out: TextIO) -> int:
    """
    Ask for it, and say it.
    """
    note = ""
    own = await client.status.own()
    try:
        found = await client.status.explain(options.node, options.path)
    except MasterUnreachable as error:
        if own.node.name != options.node:
            raise
        note = f"{error}; by what this node knows itself:"
        found = await client.status.ownExplain(options.path)
    if options["json"]:
        writeLines(out, [json.dumps(write(found, full=True))])
    else:
        writeLines(out, lines(found, own.now, note))
    return 0 if found.verdict == IN_SYNC else 1


def lines(found: Explanation, now: float, note: str = "") -> Iterator[str]:
    """
    An explanation for people.

    @param now: by the clock of the node that was asked.
    """
    if note:
        yield shown(note, _LONGEST)
    verdict = found.verdict.upper().replace("_", " ")
    yield (
        f"{shown(found.path, _LONGEST)} on {shown(found.node, 140)}: {shown(verdict)}: "
        f"{shown(found.text, _LONGEST)}"
    )
    rows = [
        ("rule", found.item),
        ("there", _facts(found.here, found.algorithm)),
        ("master", _facts(found.master, found.algorithm)),
        ("generation", str(found.generation) if found.generation else "not known"),
        ("looked", "not since it is joined" if found.looked is None else _ago(now - found.looked)),
    ]
    if found.failure:
        rows.append(("last error", found.failure))
    if found.again is not None:
        rows.append(("next look", f"in {span(found.again + 0.999)}"))
    for name, text in rows:
        yield f"  {name:<11} {shown(text, _LONGEST)}"


def _facts(facts: FileFacts | None, algorithm: str) -> str:
    if facts is None:
        return "no such file"
    try:
        changed = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(facts.mtime))
    except (OverflowError, ValueError, OSError):
        changed = str(facts.mtime)
    return f"{facts.size:,} bytes, changed {changed}, {algorithm or 'digest'} {facts.digest}"


def _ago(seconds: float) -> str:
    return f"{span(seconds)} ago"
