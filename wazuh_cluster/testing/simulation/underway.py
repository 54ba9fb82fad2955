"""
What is under way on a process's links: the commands that a fault strikes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IReactorTime
from twisted.protocols import amp
from zope.interface import implementer

from wazuh_cluster.interfaces import IClusterTrust
from wazuh_cluster.model import Identity
from wazuh_cluster.protocol import Peer

_ENDS = ("EndTransfer", "AbortTransfer")
_CHUNK = "FileChunk"

#: For how many seconds what has no answer is taken to be under way.
_FLIGHT = 0.002

#: How many questions are kept before those that were answered are forgotten.
_MANY = 32


@define
class _Link:
    """
    One link's.

    @ivar asked: what this end asked, by its number; also what was answered since.
    @ivar told: when this end said last what has no answer.
    @ivar sending: the transfers that this end sends.
    """

    asked: dict[bytes, str] = field(factory=dict)
    told: dict[str, float] = field(factory=dict)
    sending: set[bytes] = field(factory=set)


class UnderWay:
    """
    Watches the links of one process.
    """

    def __init__(self, clock: IReactorTime, began: Callable[[str], None]) -> None:
        """
        @param began: is told of each command that begins to be under way.
        """
        self._clock = clock
        self._began = began
        self._links: dict[Peer, _Link] = {}

    def commands(self, host: str | None = None) -> list[str]:
        """
        The names of the commands that are under way, each once.

        @param host: on links to that host only.
        """
        found: dict[str, None] = {}
        since = self._clock.seconds() - _FLIGHT
        for peer, link in self._links.items():
            if host is not None and peer.address() != host:
                continue
            _forgetAnswered(peer, link)
            for name in link.asked.values():
                found[name] = None
            for name, when in link.told.items():
                if when >= since:
                    found[name] = None
            if link.sending:
                found[_CHUNK] = None
        return list(found)

    def watch(self, peer: Peer) -> None:
        """
        A link begins.
        """
        link = self._links[peer] = _Link()
        peer.whenClosed().addCallback(lambda _: self._links.pop(peer, None))
        # All that a peer says goes through these two.
        sendBox, sendChunks = peer.sendBox, peer.sendChunks

        def sending(box: amp.AmpBox) -> None:
            if amp.COMMAND in box:
                name = box[amp.COMMAND].decode("ascii", "replace")
                if amp.ASK in box:
                    if len(link.asked) > _MANY:
                        _forgetAnswered(peer, link)
                    link.asked[box[amp.ASK]] = name
                else:
                    link.told[name] = self._clock.seconds()
                    if name in _ENDS:
                        link.sending.discard(box[b"transfer"])
                self._began(name)
            sendBox(box)

        def sendingChunks(transfer: int, sequence: int, data: memoryview) -> int:
            link.sending.add(b"%d" % transfer)
            self._began(_CHUNK)
            return sendChunks(transfer, sequence, data)

        peer.sendBox = sending  # type: ignore[method-assign]
        peer.sendChunks = sendingChunks  # type: ignore[method-assign]


def _forgetAnswered(peer: Peer, link: _Link) -> None:
    open = peer._outstandingRequests or {}
    link.asked = {number: name for number, name in link.asked.items() if number in open}


@implementer(IProtocolFactory)
class _Watching:
    """
    A factory of peers that are watched.
    """

    noisy = False

    def __init__(self, inner: IProtocolFactory, built: Callable[[Peer], None]) -> None:
        self._inner = inner
        self._built = built

    def doStart(self) -> None:
        self._inner.doStart()

    def doStop(self) -> None:
        self._inner.doStop()

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        protocol: Any = self._inner.buildProtocol(addr)
        if isinstance(protocol, Peer):
            self._built(protocol)
        return protocol


@implementer(IClusterTrust)
class WatchedTrust:
    """
    Another trust, of whose links it is known what is under way.
    """

    def __init__(self, trust: IClusterTrust, underWay: UnderWay) -> None:
        self._trust = trust
        self._underWay = underWay

    @property
    def identity(self) -> Identity:
        """
        See L{IClusterTrust}.
        """
        identity: Identity = self._trust.identity
        return identity

    def wrapServer(self, factory: IProtocolFactory, clock: IReactorTime) -> IProtocolFactory:
        """
        See L{IClusterTrust.wrapServer}.
        """
        return self._trust.wrapServer(_Watching(factory, self._underWay.watch), clock)

    def wrapClient(self, factory: IProtocolFactory, clock: IReactorTime) -> IProtocolFactory:
        """
        See L{IClusterTrust.wrapClient}.
        """
        return self._trust.wrapClient(_Watching(factory, self._underWay.watch), clock)

    def peerIdentity(self, transport: object) -> Identity:
        """
        See L{IClusterTrust.peerIdentity}.
        """
        return self._trust.peerIdentity(transport)
