"""
One connection to the master, from the first byte to the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.protocols.amp import AmpError, IResponderLocator

from wazuh_cluster.errors import ClusterError, IdentityMismatch, ProtocolViolation, Refused
from wazuh_cluster.interfaces import IClusterTrust
from wazuh_cluster.journal import MAIN, Journal
from wazuh_cluster.master.ticks import Ticks
from wazuh_cluster.model import MASTER, WORKER, Identity, JoinedWorker, WorkerInfo
from wazuh_cluster.protocol import KeepAlive, Limits, Peer, Transfers
from wazuh_cluster.protocol.deadlines import Deadlines
from wazuh_cluster.status.values import NodeReport

if TYPE_CHECKING:
    from wazuh_cluster.master.node import MasterNode

#: For how many seconds an answer shows that a worker lives.
_PROBE_INTERVAL = 1.0


class Session:
    """
    A peer of the master: a stranger until TLS has judged it, a worker that
    joined once L{status} is set.

    @ivar identity: who its certificate says it is; C{None} before that is
        known.
    @ivar status: what the master knows of the worker; C{None} before it
        joined.
    @ivar refusal: why it may not join, if that was said.
    @ivar report: what the worker says of itself.
    @ivar leaving: whether it said that it is being stopped.
    @ivar holdsSaid: what it holds back, as far as the log says so.
    @ivar ticks: what the worker's monotonic clock is on the master's; there
        once it joined.
    @ivar deadlines: by which its commands are answered.
    """

    def __init__(
        self,
        node: MasterNode,
        trust: IClusterTrust,
        clock: IReactorTime,
        limits: Limits,
        locators: Callable[[Session], Sequence[IResponderLocator]],
        since: float | None = None,
    ) -> None:
        """
        @param locators: makes the responders of this session.
        @param since: when the connection was made; the greeting's time counts
            from then on.
        """
        self._node = node
        self._trust = trust
        self.clock = clock
        self.limits = limits
        self.identity: Identity | None = None
        self.status: JoinedWorker | None = None
        self.refusal: Refused | None = None
        self.holdsSaid: frozenset[str] = frozenset()
        self.report = NodeReport()
        self.leaving = False
        self.ticks: Ticks
        self._greeted = False
        self._heard: float | None = None
        self._probes: list[Deferred[bool]] = []
        self.log = Journal(MAIN)
        self.deadlines = Deadlines(clock, limits.answerTimeout / 2, limits.openResponders, self.log)
        self.transfers = Transfers(MASTER, clock, limits)
        self.peer = Peer(
            WORKER,
            [self.transfers, *locators(self)],
            clock,
            limits,
            self._handshaken,
            self.transfers,
            since=since,
            wallClock=node.wallClock,
        )
        self.transfers.attach(self.peer)
        self.peer.whenClosed().addCallback(self._closed)
        self._joined: Deferred[Session] = Deferred()

    def whenJoined(self) -> Deferred[Session]:
        """
        A Deferred that fires with this session when it joined, if ever. There
        is one of it.
        """
        return self._joined

    def greeted(self) -> Identity:
        """
        Hello came.

        @return: who says so.
        @raise ProtocolViolation: if it came before, or before the handshake.
        """
        if self._greeted or self.identity is None:
            raise ProtocolViolation("Hello comes once, after the handshake")
        self._greeted = True
        return self.identity

    def joined(self, info: WorkerInfo) -> None:
        """
        The worker is one of the cluster from now on.
        """
        now = self.clock.seconds()
        self.status = JoinedWorker(info, now, now)
        self.peer.admit()
        self._joined.callback(self)

    def requireJoined(self) -> JoinedWorker:
        """
        What the master knows of the worker.

        @raise ProtocolViolation: if it did not join.
        """
        if self.status is None:
            raise ProtocolViolation("only a worker that joined may say this")
        return self.status

    def describe(self) -> str:
        """
        Who and where it is, for people.
        """
        name = f"{self.identity.name} " if self.identity is not None else ""
        return f"{name}at {self.peer.address()}"

    async def probe(self) -> bool:
        """
        Whether the worker still answers. However many ask, it is asked once a
        second.
        """
        if self._heard is not None and self.clock.seconds() - self._heard < _PROBE_INTERVAL:
            return True
        waiting: Deferred[bool] = Deferred()
        self._probes.append(waiting)
        if len(self._probes) == 1:
            lives = await self._ask()
            self._heard = self.clock.seconds() if lives else None
            probes, self._probes = self._probes, []
            for each in probes:
                each.callback(lives)
        return await waiting

    async def _ask(self) -> bool:
        clock = int(self._node.wallClock() * 1e6)
        try:
            await self.peer.call(KeepAlive, self.limits.probeTimeout, clock=clock)
        except ClusterError:
            return False
        except AmpError:
            # It lives, and does not know the command.
            return True
        return True

    def _handshaken(self, peer: Peer) -> None:
        try:
            self.identity = self._trust.peerIdentity(peer.transport)
        except IdentityMismatch as error:
            peer.abort(error)
            return
        self.log = self.log.bound(f"Worker {self.identity.name}")

    def _closed(self, why: BaseException) -> None:
        self.deadlines.close()
        self._node.left(self, why)
