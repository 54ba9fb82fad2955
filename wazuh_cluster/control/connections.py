"""
The connections of local programs: how many, and what each may cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.protocols.amp import IResponderLocator

from wazuh_cluster.control.credentials import Credentials
from wazuh_cluster.errors import LinkClosed, TooBusy
from wazuh_cluster.protocol import Limits, Peer

#: What C{Peer} calls whoever is at the other end: it may send nothing that
#: nodes say to each other.
LOCAL = "local program"

#: Connections in all, and of one user.
MOST = 64
MOST_OF_ONE = 16


class LocalPeer(Peer):
    """
    One end of a control socket: a peer without trust or Hello.

    @ivar who: the user at the other end; set before it is read from.
    @ivar lastHeard: when it last sent something, by the clock.
    """

    answersKeepAlive = False
    who: Credentials

    def __init__(
        self,
        locators: Sequence[IResponderLocator],
        clock: IReactorTime,
        limits: Limits,
        connected: Callable[[LocalPeer], None] = lambda peer: None,
    ) -> None:
        """
        @param connected: called when there is a connection.
        """
        super().__init__(LOCAL, locators, clock, limits, lambda peer: None)
        self._connected = connected
        self.lastHeard = clock.seconds()

    @property
    def busy(self) -> bool:
        """
        Whether it waits for an answer.
        """
        return self._responding > 0

    def connectionMade(self) -> None:
        """
        Nothing has to be said first.
        """
        super().connectionMade()
        self.handshakeCompleted()
        self.admit()
        self._connected(self)

    def dataReceived(self, data: bytes) -> None:
        """
        Take it apart, as any peer does.
        """
        self.lastHeard = self.clock.seconds()
        super().dataReceived(data)


class ControlFactory(Factory):
    """
    Builds the peers of local programs. When there are too many, in all or of
    one user, the one that said nothing for the longest time makes room.
    """

    noisy = False

    def __init__(
        self,
        build: Callable[[Callable[[LocalPeer], None]], LocalPeer],
        credentialsOf: Callable[[Any], Credentials],
    ) -> None:
        """
        @param build: makes a peer that calls what it is given when it is
            connected.
        @param credentialsOf: says who is at the other end of a transport.
        """
        self._build = build
        self._credentialsOf = credentialsOf
        self.peers: set[LocalPeer] = set()

    def buildProtocol(self, addr: IAddress | None) -> Peer:
        """
        A new local program.
        """
        return self._build(self._connected)

    def closeAll(self) -> None:
        """
        End all connections, after what was written.
        """
        for peer in list(self.peers):
            peer.close()

    def _connected(self, peer: LocalPeer) -> None:
        try:
            peer.who = self._credentialsOf(peer.transport)
        except OSError as error:
            peer.abort(LinkClosed(f"the system does not say who it is ({error.strerror})"))
            return
        own = [each for each in self.peers if each.who.uid == peer.who.uid]
        if len(own) >= MOST_OF_ONE:
            self._makeRoom(own, peer)
        elif len(self.peers) >= MOST:
            self._makeRoom(list(self.peers), peer)
        if peer.live:
            self.peers.add(peer)
            peer.whenClosed().addCallback(lambda _: self.peers.discard(peer))

    def _makeRoom(self, among: Sequence[LocalPeer], new: LocalPeer) -> None:
        idle = [peer for peer in among if not peer.busy]
        # All at work: then it is the new one for which there is no room.
        victim = min(idle, key=lambda peer: peer.lastHeard, default=new)
        self.peers.discard(victim)
        victim.abort(TooBusy("too many local programs are connected"))
