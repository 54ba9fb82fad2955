"""
A program that takes batches into a store and says how far it is, for a test
that kills it.
"""

from __future__ import annotations

import sys
from typing import Any

from wazuh_cluster.agents.heard import HeardBatch
from wazuh_cluster.agents.store import SqliteAgentStore, fleetDatabase
from wazuh_cluster.testing.agentcontracts import NOW, fullRecord
from wazuh_cluster.testing.runner import ImmediateRunner

#: How many agents a batch has.
BATCH = 50


def main(path: str) -> None:
    """
    Take one batch after the other, and write a line when it was answered.
    """
    store = SqliteAgentStore(fleetDatabase(path), ImmediateRunner())
    number = 0
    while True:
        ids = range(number * BATCH + 1, (number + 1) * BATCH + 1)
        batch = HeardBatch.of([fullRecord(agent, NOW) for agent in ids])
        store.takeBatch("w1", batch, NOW).addCallbacks(_say, _fail, callbackArgs=(number,))
        number += 1


def _say(result: Any, number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _fail(failure: Any) -> None:
    sys.exit(failure.getErrorMessage())


if __name__ == "__main__":
    main(sys.argv[1])
