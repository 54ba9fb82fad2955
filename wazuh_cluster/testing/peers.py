"""
A worker's and a master's peer, connected in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from attrs import define
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock

from wazuh_cluster.model import MASTER, WORKER
from wazuh_cluster.protocol import Limits, OwnLocator, Peer, Transfers, locatorsFor
from wazuh_cluster.testing.network import MemoryNetwork, MemoryTransport


@define
class PeerPair:
    """
    Both ends of a link, over a network in memory. Everything is serialised
    both ways. Advance the clock to let it travel.

    @ivar worker: the worker's end; what it calls, the master's locators answer.
    @ivar master: the master's end.
    """

    clock: Clock
    network: MemoryNetwork
    worker: Peer
    master: Peer
    workerTransfers: Transfers
    masterTransfers: Transfers

    def settle(self) -> None:
        """
        Let all happen that can happen without time going by.
        """
        self.clock.advance(0)

    @property
    def masterTransport(self) -> MemoryTransport:
        """
        Beneath the master's end.
        """
        (found,) = (each for each in self.network.transports if each.protocol is self.master)
        return found


def connectPeers(
    clock: Clock,
    workerLocators: Sequence[OwnLocator] = (),
    masterLocators: Sequence[OwnLocator] = (),
    limits: Limits | None = None,
    admitted: bool = True,
) -> PeerPair:
    """
    Connect two peers, without TLS, each with its transfers.

    @param workerLocators: what the worker answers with; see C{locators} of
        the services. What is no locator is called with that end's L{Peer}.
    @param masterLocators: what the master answers with.
    @param admitted: whether Hello is taken as answered already.
    """
    limits = limits or Limits()
    network = MemoryNetwork(clock)
    ends: list[Peer] = []
    tables: list[Transfers] = []
    for role, other, locators in (
        (WORKER, MASTER, workerLocators),
        (MASTER, WORKER, masterLocators),
    ):
        transfers = Transfers(role, clock, limits)
        own = locatorsFor(locators, partial(ends.__getitem__, len(ends)))
        peer = Peer(other, [transfers, *own], clock, limits, lambda _: None, transfers)
        transfers.attach(peer)
        tables.append(transfers)
        ends.append(peer)
    worker, master = ends
    network.server("master").listen(Factory.forProtocol(lambda: master))
    network.client("master").connect(Factory.forProtocol(lambda: worker))
    clock.advance(0)
    for peer in ends:
        peer.handshakeCompleted()
        if admitted:
            peer.admit()
    return PeerPair(clock, network, worker, master, *tables)
