"""
The thread Agent info: the master hears what changed of this node's agents.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.protocols.amp import UnhandledCommand
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.agents.interfaces import IAgentSource
from wazuh_cluster.agents.keyids import keyIds
from wazuh_cluster.agents.model import Batch
from wazuh_cluster.agents.plain import batchSource
from wazuh_cluster.agents.sending import Answer, Sent, sendPending
from wazuh_cluster.errors import ClusterError, LinkClosed
from wazuh_cluster.interfaces import IRunner, ITree, IWorkerObserver, Slices
from wazuh_cluster.journal import AGENT_INFO_SYNC, Journal
from wazuh_cluster.model import MasterInfo, SyncReport
from wazuh_cluster.protocol import Peer, SyncAgentInfo

#: How long the master may take to commit a batch, in seconds, before the link
#: is given up. It says itself when its store does not answer.
PATIENCE = 120.0

#: How long a change that is worth telling waits for others, in seconds.
SOON = 1.0

_KEYS = b"etc/client.keys"


class AgentInfoThread:
    """
    One worker's agent info, over all its links.

    @ivar chunks: how many batches the last run sent.
    """

    def __init__(
        self,
        source: IAgentSource,
        tree: ITree,
        runner: IRunner,
        clock: IReactorTime,
        uptime: Callable[[], float],
    ) -> None:
        """
        @param tree: where C{client.keys} is.
        @param runner: where that is read.
        @param uptime: the clock of C{source}'s times.
        """
        self._source = batchSource(source, uptime)
        self._tree = tree
        self._runner = runner
        self._clock = clock
        self._log = Journal(AGENT_INFO_SYNC)
        self.chunks = 0
        self._peer: Peer | None = None
        self._again: Callable[[], None] = lambda: None
        self._soon: IDelayedCall | None = None
        # What is still to be done before the next batch.
        self._all = True
        self._keys = False
        self._resting = False
        self._source.subscribe(self._changed)

    def joined(self, peer: Peer, again: Callable[[], None]) -> None:
        """
        There is a link, on which nothing was sent yet.

        @param again: asks for a run before the next interval.
        """
        self._peer = peer
        self._again = again
        self._all = True
        self._resting = False

    def left(self) -> None:
        """
        There is none any more.
        """
        self._peer = None
        if self._soon is not None and self._soon.active():
            self._soon.cancel()
        self._soon = None

    def keysChanged(self) -> None:
        """
        C{client.keys} is another one.
        """
        self._keys = True
        self._changed()

    async def run(self) -> str:
        """
        Send what is pending.

        @return: what came of it, for people.
        """
        peer = self._peer
        if peer is None:
            raise LinkClosed("there is no link to the master")
        if self._keys:
            self._keys = False
            ids = await self._runner.run(self._registered())
            if ids is not None:
                await self._source.registered(ids)
        if self._resting:
            return "the master keeps no records of agents"
        everything = self._all
        if everything:
            await self._source.markAll()
            self._all = False
        return await self._send(peer, everything)

    async def _send(self, peer: Peer, everything: bool) -> str:
        async def send(batch: Batch) -> Answer:
            answer = await peer.call(
                SyncAgentInfo,
                PATIENCE,
                tick=int(batch.tick * 1e6),
                records=batch.records,
                details=batch.details,
            )
            return Answer(
                answer["taken"], _ids(answer["unknown"]), _ids(answer["incomplete"] or b"[]")
            )

        started = self._clock.seconds()
        done = Sent()
        try:
            await sendPending(self._source, send, done)
        except UnhandledCommand:
            self._resting = True
            self._log.info("The master keeps no records of agents: none are sent on this link.")
            return "the master keeps no records of agents"
        self.chunks = done.batches
        # What comes every ten seconds is not worth a line.
        say = self._log.info if everything and done.records else self._log.debug
        say(
            "Finished in {seconds:.3f}s. Updated {chunks} chunks. {records} records, {unknown} of "
            "agents that the master does not know.",
            seconds=self._clock.seconds() - started,
            chunks=done.batches,
            records=done.records,
            unknown=done.unknown,
        )
        if done.incomplete:
            self._changed()
        if done.refused:
            self._log.warn(
                "The master could not use {count} records; its log says why.", count=done.refused
            )
        return f"{done.records} records in {done.batches} chunks, {done.unknown} unknown"

    def _registered(self) -> Slices[array[int] | None]:
        """
        The agents in C{client.keys}; C{None} without one.
        """
        yield
        content = self._tree.content(_KEYS)
        if content is None:
            return None
        ids: array[int] = yield from keyIds(content)
        return ids

    def _changed(self) -> None:
        if self._peer is not None and self._soon is None:
            self._soon = self._clock.callLater(SOON, self._poke)

    def _poke(self) -> None:
        self._soon = None
        self._again()


@implementer(IWorkerObserver)
class KeysObserver:
    """
    Calls a function when C{client.keys} was installed.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def joined(self, master: MasterInfo) -> None:
        """
        See L{IWorkerObserver}.
        """

    def synced(self, report: SyncReport) -> None:
        """
        See L{IWorkerObserver}.
        """
        if _KEYS in report.created or _KEYS in report.updated:
            self._changed()

    def lost(self, reason: Failure) -> None:
        """
        See L{IWorkerObserver}.
        """


def _ids(octets: bytes) -> Sequence[int]:
    """
    The ids in an answer.
    """
    try:
        found = json.loads(octets)
        if not isinstance(found, list) or not all(type(each) is int for each in found):
            raise ValueError
    except (ValueError, RecursionError):
        raise ClusterError("the master's answer is not a list of agents") from None
    return found
