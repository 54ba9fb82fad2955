"""
C{wazuh-cluster forget}: a node that left or failed is not shown any more.
"""

from __future__ import annotations

import sys
from typing import TextIO

from twisted.python import usage

from wazuh_cluster.control import ControlClient
from wazuh_cluster.scripts.asking import MixedOptions, ask
from wazuh_cluster.scripts.table import shown, writeLines


class ForgetOptions(MixedOptions):
    """
    Options of C{forget}.
    """

    arguments = "NODE ..."
    longdesc = (
        "Forgets nodes that left or failed: they are not shown any more, and not missed. If one "
        "joins again, it is known again. As root or as the owner of the home's etc, on the master, "
        "or on a worker that the master lists."
    )

    def parseArgs(self, *rest: str) -> None:
        """
        The nodes.
        """
        if not rest:
            raise usage.UsageError("name the nodes")
        self.nodes = tuple(dict.fromkeys(rest))


def run(options: ForgetOptions) -> int:
    """
    Do it.
    """
    return ask(options.home, lambda client: forget(client, options, sys.stdout))


async def forget(client: ControlClient, options: ForgetOptions, out: TextIO) -> int:
    """
    Forget them, and say so.
    """
    for node in options.nodes:
        await client.status.forget(node)
        writeLines(out, [f"Forgot {shown(node, 140)}."])
    return 0
