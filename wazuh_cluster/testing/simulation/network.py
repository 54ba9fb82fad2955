"""
The network of a simulation: late, slow, cut, silent and deaf by chance.

What happens at an end of a connection happens in the process whose end it is, and
not at all if that is dead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
)
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from wazuh_cluster.testing.network import (
    HIGH_WATER,
    MemoryAddress,
    MemoryNetwork,
    MemoryPort,
    MemoryServer,
    MemoryTransport,
)

if TYPE_CHECKING:
    from wazuh_cluster.testing.simulation.clock import SimClock

#: How many seconds a piece takes about, in networks of several kinds.
_LATENCIES = (0.001, 0.001, 0.02)

#: Seconds after which a connection attempt that nobody answers is given up, and
#: after how many it is repeated meanwhile, as by TCP.
CONNECT_TIMEOUT = 30.0
CONNECT_AGAIN = (1.0, 3.0, 7.0, 15.0)

#: The most bytes that one end of a connection may have waiting: the high-water
#: mark, a chunk on top of it, and the answers that a peer lets wait, with TLS's share.
MAX_WAITING = 512 * 1024


class Host(Protocol):
    """
    Whose end of a connection one is: a
    L{SimProcess<wazuh_cluster.testing.simulation.process.SimProcess>}, or somebody who
    is no node.

    @ivar name: where it is on the network.
    """

    name: str

    def enter(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """
        Let something happen there.
        """

    def later(self, delay: float, function: Callable[..., Any], *arguments: Any) -> Any:
        """
        The same after some of the world's seconds.
        """

    def broken(self, text: str) -> None:
        """
        Something is so there that must never be.
        """


class SimTransport(MemoryTransport):
    """
    One end of a connection between two processes, or who else talks to one.

    @ivar process: whose end it is.
    @ivar gone: whether that process is no more.
    @ivar hole: whether the network forgot this connection: nothing is delivered
        ever more, and nobody is told.
    """

    _network: SimNetwork
    other: SimTransport

    def __init__(self, network: SimNetwork, process: Host, host: IAddress, peer: IAddress) -> None:
        super().__init__(network, host, peer)
        self.process = process
        self.gone = False
        self.hole = False
        self._orphan = False

    def write(self, data: bytes) -> None:
        """
        See L{MemoryTransport}; what waits is bounded.
        """
        super().write(data)
        if len(self._outgoing) > MAX_WAITING:
            self.process.broken(f"{len(self._outgoing)} bytes wait on one connection")

    def die(self, told: bool) -> None:
        """
        This end's process is no more: nobody is there to be told anything.

        @param told: whether the system tells the other end; what was written
            may be delivered before.
        """
        if self.gone or self._lost:
            return
        self.gone = True
        network = self._network
        self._producer = None
        if told and self._outgoing and network.random.random() < 0.5:
            # The system has it, and sends it.
            del self._outgoing[HIGH_WATER:]
            self._orphan = True
            self.schedule()
            return
        self._lost = True
        self._outgoing.clear()
        network.transports.pop(self, None)
        if told:
            network.after(self.other, self.other.lose, ConnectionLost())

    def _deliver(self) -> None:
        self._scheduled = False
        other, network = self.other, self._network
        if self._lost or self.hole or network.holds(self):
            return
        if other.gone:
            network.unheard(self)
            return
        if not other._reading:
            return
        piece = bytes(self._outgoing[: network.pieceSize])
        if piece:
            del self._outgoing[: len(piece)]
            network.delivered(self, piece)
            if not other._lost:
                other.process.enter(other.protocol.dataReceived, piece)
        if self._outgoing:
            self.schedule()
        elif self._orphan:
            self._lost = True
            network.transports.pop(self, None)
            network.after(other, other.lose, ConnectionDone())
        elif self._producer is not None or self.disconnecting or self._halfClosing:
            self.process.enter(self._emptied)


@define(eq=False)
class _Port(MemoryPort):
    """
    A port that a process listens on.
    """

    process: Host = field(kw_only=True)


@implementer(IStreamClientEndpoint)
@define
class _Client:
    network: SimNetwork
    process: Host
    target: MemoryAddress

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return _Attempt(self.network, self.process, self.target, protocolFactory).begin()


@define(eq=False)
class _Attempt:
    """
    One attempt to connect.
    """

    network: SimNetwork
    process: Host
    target: MemoryAddress
    factory: IProtocolFactory
    result: Deferred[IProtocol] = None  # type: ignore[assignment]
    tries: int = 0

    def begin(self) -> Deferred[IProtocol]:
        self.result = Deferred()
        self.process.later(self.network.delay(self.process.name, self.target.host), self._try)
        return self.result

    def _try(self) -> None:
        if self.result.called:
            return
        network, source = self.network, self.process.name
        if network.isCut(source, self.target.host):
            since = (0.0, *CONNECT_AGAIN)[self.tries]
            self.tries += 1
            last = self.tries > len(CONNECT_AGAIN)
            then = CONNECT_TIMEOUT if last else CONNECT_AGAIN[self.tries - 1]
            self.process.later(then - since, self._giveUp if last else self._try)
            return
        port = network.listening.get(self.target)
        if port is None or self.target.host in network.refusing:
            self.result.errback(ConnectionRefusedError())
            return
        address = MemoryAddress(source, 40000)
        serverSide = port.process.enter(port.factory.buildProtocol, address)
        if serverSide is None:
            self.result.errback(ConnectionRefusedError())
            return
        clientSide = self.factory.buildProtocol(self.target)
        if clientSide is None:
            self.result.errback(ConnectionAborted())
            return
        here, there = network.connected(self.process, port.process, address, self.target)
        here.protocol, there.protocol = clientSide, serverSide
        port.process.enter(serverSide.makeConnection, there)
        clientSide.makeConnection(here)
        self.result.callback(clientSide)

    def _giveUp(self) -> None:
        if not self.result.called:
            self.result.errback(TimeoutError())


class SimNetwork(MemoryNetwork):
    """
    A L{MemoryNetwork} between processes, whose latency is a matter of chance.

    Hosts are machines, by their names.

    @ivar slow: hosts, to how many seconds more each piece takes from or to them.
    @ivar refusing: hosts whose ports answer that nobody listens.
    @ivar silent: hosts that have gone without a word.
    @ivar mute: hosts of which nothing arrives anywhere.
    @ivar deaf: hosts at which nothing arrives.
    @ivar frozen: hosts whose process takes nothing for now.
    @ivar secrets: a host to a text that must never leave it.
    """

    clock: SimClock
    transports: dict[SimTransport, None]  # type: ignore[assignment]

    def __init__(self, clock: SimClock, random: Random, broken: Callable[[str], object]) -> None:
        """
        @param broken: is told of what must never be.
        """
        super().__init__(clock, random.choice(_LATENCIES))
        self.random = random
        self.listening: dict[MemoryAddress, _Port] = {}
        self.slow: dict[str, float] = {}
        self.refusing: dict[str, None] = {}
        self.silent: dict[str, None] = {}
        self.mute: dict[str, None] = {}
        self.deaf: dict[str, None] = {}
        self.frozen: dict[str, None] = {}
        self.secrets: dict[str, bytes] = {}
        self._broken = broken
        self._held: dict[SimTransport, None] = {}

    def serverOf(self, process: Host, port: int = 1516) -> IStreamServerEndpoint:
        """
        An endpoint on which a process can listen.
        """
        address = MemoryAddress(process.name, port)
        return MemoryServer(self.listening, address, partial(_Port, process=process))

    def clientOf(self, process: Host, host: str, port: int = 1516) -> IStreamClientEndpoint:
        """
        An endpoint with which a process can connect to a host.
        """
        return _Client(self, process, MemoryAddress(host, port))

    def connected(
        self, here: Host, there: Host, source: MemoryAddress, target: MemoryAddress
    ) -> tuple[SimTransport, SimTransport]:
        """
        The two ends of a new connection.
        """
        one = SimTransport(self, here, source, target)
        two = SimTransport(self, there, target, source)
        one.other, two.other = two, one
        self.transports[one] = self.transports[two] = None
        return one, two

    def delay(self, *hosts: str) -> float:
        """
        How long a piece takes between these hosts.
        """
        slow = self.slow
        more = sum(slow.get(host, 0.0) for host in hosts) if slow else 0.0
        return self.latency * (0.2 + self.random.random()) + more

    def after(self, end: MemoryTransport, function: Any, *arguments: Any) -> None:
        """
        See L{MemoryNetwork}.
        """
        assert isinstance(end, SimTransport)
        delay = self.delay(end.process.name, end.other.process.name)
        # What is delivered concerns both ends, and goes to each by itself.
        if function.__name__ == "_deliver":
            self.clock.callLater(delay, function, *arguments)
        else:
            end.process.later(delay, function, *arguments)

    def soon(self, end: MemoryTransport, function: Any, *arguments: Any) -> None:
        """
        See L{MemoryNetwork}.
        """
        assert isinstance(end, SimTransport)
        end.process.later(0.0, function, *arguments)

    def isCut(self, source: str, target: str) -> bool:
        """
        Whether a packet from one host to another, or its answer, is lost.
        """
        return (
            source in self.silent
            or target in self.silent
            or source in self.mute
            or source in self.deaf
            or target in self.mute
            or target in self.deaf
            or target in self.frozen
        )

    def holds(self, end: SimTransport) -> bool:
        """
        Whether nothing of what this end wrote is delivered for now. It is as soon
        as that changes.
        """
        if not (self.mute or self.deaf or self.frozen):
            return False
        source, target = end.process.name, end.other.process.name
        if source in self.mute or target in self.deaf or target in self.frozen:
            self._held[end] = None
            return True
        return False

    def release(self) -> None:
        """
        Something that held pieces does so no more.
        """
        held, self._held = self._held, {}
        for end in held:
            end.schedule()

    def unheard(self, end: SimTransport) -> None:
        """
        A piece came to a process that is no more: the system there says so, if
        it is there.
        """
        if end.other.process.name not in self.silent:
            end.process.later(self.random.random(), end.lose, ConnectionLost())

    def delivered(self, end: SimTransport, piece: bytes) -> None:
        """
        A piece went over a connection.
        """
        self.carried += len(piece)
        secret = self.secrets.get(end.process.name)
        if secret is not None and secret in piece:
            self._broken(f"the local configuration of {end.process.name} travels")

    # What befalls hosts.

    def kill(self, process: Host, told: bool) -> list[SimTransport]:
        """
        A process is no more.

        @param told: whether its peers hear of it.
        @return: its ends of connections.
        """
        for address in [each for each, port in self.listening.items() if port.process is process]:
            del self.listening[address]
        ends = self.endsOf(process)
        for end in ends:
            end.die(told)
        return ends

    def back(self, host: str) -> None:
        """
        A host is there again: what was sent to what is no more there is answered
        by a reset.
        """
        self.silent.pop(host, None)
        for end in list(self.transports):
            if end.other.gone and end.other.process.name == host:
                end.schedule()

    def cut(self, host: str) -> None:
        """
        Somebody between resets all connections from and to a host. Both ends hear
        it, not at the same moment.
        """
        for end in self.endsAt(host):
            self.after(end, end.lose, ConnectionLost())
            self.after(end.other, end.other.lose, ConnectionLost())

    def forget(self, host: str) -> None:
        """
        Somebody between forgets all connections from and to a host: nothing
        passes any more, and nobody is told.
        """
        for end in self.endsAt(host):
            end.hole = end.other.hole = True

    def endHalf(self, host: str, seconds: float) -> None:
        """
        The ends at a host hear that their peers write no more, the peers only
        some time later.
        """
        for end in self.endsAt(host):
            self.after(end, end.lose, ConnectionDone())
            end.other.process.later(seconds, end.other.lose, ConnectionDone())

    def clear(self) -> None:
        """
        Let go of all connections, and of whoever is told of what must never be.
        """
        self._broken = str
        self.transports.clear()
        self.listening.clear()
        self._held.clear()

    def endsAt(self, host: str) -> list[SimTransport]:
        """
        The ends of connections at a host.
        """
        return [end for end in self.transports if end.process.name == host]

    def endsOf(self, process: Host) -> list[SimTransport]:
        """
        A process's ends of connections.
        """
        return [end for end in self.transports if end.process is process]

    def stall(self, host: str) -> None:
        """
        Let nothing pass from or to a host, without anyone being told.
        """
        self.mute[host] = self.deaf[host] = None

    def heal(self, host: str) -> None:
        """
        Let everything pass again.
        """
        for held in (self.mute, self.deaf):
            held.pop(host, None)
        self.release()
