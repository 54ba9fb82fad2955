"""
Agents' records for tests: stores and sources in folders of their own, on
runners and clocks of the test.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.agents.local import LocalAgents
from wazuh_cluster.agents.localtables import localDatabase
from wazuh_cluster.agents.store import SqliteAgentStore, fleetDatabase
from wazuh_cluster.interfaces import IRunner
from wazuh_cluster.testing.runner import ImmediateRunner


class AgentCase(SynchronousTestCase):
    """
    What needs a file of its own.

    @ivar clock: at 1000 s.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        super().setUp()

    def path(self, name: str = "agents.db") -> str:
        """
        Where nothing is yet, in a folder that is not there either.
        """
        return os.path.join(os.path.abspath(self.mktemp()), "queue", name)

    def fleetStore(
        self, path: str | None = None, runner: IRunner | None = None
    ) -> SqliteAgentStore:
        """
        A store in a file.
        """
        store = SqliteAgentStore(fleetDatabase(path or self.path()), runner or ImmediateRunner())
        self.addCleanup(store.stop)
        return store

    def localAgents(
        self,
        path: str | None = None,
        wallClock: Callable[[], float] = lambda: 5000.0,
        **keywords: Any,
    ) -> LocalAgents:
        """
        A source in a file.
        """
        source = LocalAgents(
            localDatabase(path or self.path("local-agents.db")),
            ImmediateRunner(),
            clock=keywords.pop("clock", self.clock.seconds),
            wallClock=wallClock,
            boot=keywords.pop("boot", lambda: "this boot"),
        )
        self.addCleanup(source.stop)
        return source
