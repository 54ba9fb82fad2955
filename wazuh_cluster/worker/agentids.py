"""
The highest agent id that a worker ever held: a master that was made anew must
not give it, nor one below it, a second time.
"""

from __future__ import annotations

import re

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.agents import MAX_AGENT_ID, Agent
from wazuh_cluster.errors import ClusterError, Stopped
from wazuh_cluster.failures import oneLine
from wazuh_cluster.interfaces import IRunner, IState, ITree, IWorkerObserver, Slices
from wazuh_cluster.journal import INTEGRITY_SYNC, Journal
from wazuh_cluster.model import MasterInfo, SyncReport

KEYS = b"etc/client.keys"

_STATE = "highest-agent"

#: As much of the file as is looked at between two yields.
_PIECE = 512 * 1024

# Removed agents count too; what stands before them does not.
_ID = re.compile(rb"^([0-9]{1,8}) ", re.M)


@implementer(IWorkerObserver)
class HighestAgentId:
    """
    Keeps the id over restarts. It looks into C{client.keys} at the start and
    when a new one was installed, after which the old one is gone.
    """

    def __init__(self, tree: ITree, state: IState, runner: IRunner) -> None:
        """
        @param runner: the one on which files are installed, so that what was
            installed is looked at before the next is.
        """
        self._tree = tree
        self._state = state
        self._runner = runner
        self._log = Journal(INTEGRITY_SYNC)
        self._highest = 0
        self._looked = False

    async def get(self) -> int:
        """
        The id; 0 for none. Only the first time this takes long.
        """
        if not self._looked:
            await self._look().addErrback(self._notSeen)
            self._looked = True
        return self._highest

    def saw(self, agent: Agent) -> None:
        """
        The master registered an agent through this worker. It is kept with the
        next C{client.keys}, in which it stands.
        """
        self._highest = max(self._highest, agent.id)

    def joined(self, master: MasterInfo) -> None:
        """
        See L{IWorkerObserver}.
        """

    def synced(self, report: SyncReport) -> None:
        """
        See L{IWorkerObserver}.
        """
        if KEYS in report.created or KEYS in report.updated:
            self._look().addErrback(self._notSeen)

    def lost(self, reason: Failure) -> None:
        """
        See L{IWorkerObserver}.
        """

    def _look(self) -> Deferred[None]:
        return self._runner.run(self._read(self._highest)).addCallback(self._found)

    def _found(self, highest: int) -> None:
        self._highest = max(self._highest, highest)

    def _read(self, known: int) -> Slices[int]:
        """
        Find it, and keep it if it is higher than what is kept.
        """
        kept = self._kept()
        highest = max(known, kept)
        content = self._content()
        position = 0
        while position < len(content):
            yield
            end = content.find(b"\n", position + _PIECE)
            piece = content[position:] if end < 0 else content[position : end + 1]
            position += len(piece)
            highest = max(highest, max(map(int, _ID.findall(piece)), default=0))
        if highest > kept:
            self._state.save(_STATE, b"%d\n" % highest)
        return highest

    def _content(self) -> bytes:
        try:
            return self._tree.content(KEYS) or b""
        except OSError as error:
            self._log.warn(
                "The agents' keys cannot be looked at for their ids: {reason}",
                reason=error.strerror,
            )
            return b""

    def _kept(self) -> int:
        try:
            content = (self._state.load(_STATE) or b"0").strip()
            return min(int(content), MAX_AGENT_ID)
        except (ClusterError, ValueError):
            # It is found again, but for agents that are gone.
            return 0

    def _notSeen(self, failure: Failure) -> None:
        failure.trap(OSError, ClusterError, CancelledError)
        if not failure.check(Stopped, CancelledError):
            self._log.warn("The highest agent id cannot be kept: {reason}", reason=oneLine(failure))
