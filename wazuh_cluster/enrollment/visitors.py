"""
Who is connected to the listener, within bounds.

A connection costs next to nothing until its first byte: only that builds TLS. It
has a few seconds to send its request; when there are too many, the address that
has most of them makes room.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IReactorTime,
    IWriteDescriptor,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

#: Connections at the same time, as in Wazuh.
MOST = 1000

#: From the connection to the end of the request, in seconds.
REQUEST_TIME = 10.0

#: How long an answer may take at the very most; whoever gives it promises ten.
ANSWER_TIME = 20.0

#: From the answer to the end of the connection.
LEAVE_TIME = 10.0

#: One address may replace its own requests that take longer than this.
GRACE = 1.0


#: Why a visitor is turned away when the node stops: nobody's fault.
STOPS = "this node stops"


class Stage(Enum):
    """
    What a visitor is waiting for.
    """

    SILENT = auto()
    TALKING = auto()
    ASKING = auto()
    LEAVING = auto()
    GONE = auto()


class Visitor(Protocol):
    """
    One connection, beneath TLS.

    @ivar stage: what it is waiting for.
    @ivar host: from where it comes, as the transport gives it; C{None} for a
        transport that has none. Behind a proxy that is known only at the first
        byte.
    @ivar crowd: what it counts as, for fairness.
    @ivar since: when it came.
    @ivar why: why it was turned away, if it was.
    """

    def __init__(self, visitors: Visitors, since: float) -> None:
        self._visitors = visitors
        self._inner: IProtocol | None = None
        self._deadline: IDelayedCall | None = None
        self.since = since
        self.stage = Stage.SILENT
        self.host: str | None = None
        self.crowd = ""
        self.why: str | None = None

    def connectionMade(self) -> None:
        """
        Somebody came.
        """
        self.look()
        self._visitors.came(self)

    def dataReceived(self, data: bytes) -> None:
        """
        Pass on; the first byte builds what it is for.
        """
        if self.stage is Stage.GONE:
            return
        if self._inner is None:
            self._inner = self._visitors.build(self)
            self._inner.makeConnection(self.transport)  # type: ignore[arg-type]
        self._inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Somebody went.
        """
        self._visitors.left(self)
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.connectionLost(reason)
        elif self.why is not None:
            self._visitors.turnedAway(self)
        self._visitors.lost()

    @property
    def closing(self) -> bool:
        """
        Whether nothing more can be said to it.
        """
        return self.stage is Stage.GONE or bool(getattr(self.transport, "disconnecting", False))

    def push(self) -> None:
        """
        Give to the system what was written, as far as it takes it now, and not
        only in the reactor's next turn.
        """
        transport: Any = self.transport
        # One that is closing wants the reactor to hear what comes of it; any
        # other is told again, if it could not write.
        if IWriteDescriptor.providedBy(transport) and not self.closing:
            transport.doWrite()

    def turnAway(self, why: str) -> None:
        """
        End the connection at once.
        """
        if self.why is None:
            self.why = why
        self._visitors.left(self)
        self.transport.abortConnection()  # type: ignore[union-attr]

    def allow(self, clock: IReactorTime, seconds: float, why: str) -> None:
        """
        Turn it away if it does not get on within this time.
        """
        self.relax()
        self._deadline = clock.callLater(seconds, self.turnAway, why)

    def relax(self) -> None:
        """
        It has all the time in the world.
        """
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()

    def look(self) -> None:
        """
        See from where it comes.
        """
        host = getattr(self.transport.getPeer(), "host", None)  # type: ignore[union-attr]
        self.host = host if isinstance(host, str) else None
        self.crowd = crowdOf(self.host)


class _Crowd:
    """
    The visitors of one address whose request has not come: each kind in the
    order in which they came.
    """

    def __init__(self) -> None:
        self.silent: dict[Visitor, None] = {}
        self.talking: dict[Visitor, None] = {}

    def __len__(self) -> int:
        return len(self.silent) + len(self.talking)

    def first(self) -> Visitor:
        """
        Whom to turn away: who said nothing, else who talks longest.
        """
        return next(iter(self.silent or self.talking))


class Visitors(Factory):
    """
    Builds visitors, and keeps them within bounds.
    """

    noisy = False

    def __init__(
        self,
        build: Callable[[Visitor], IProtocol],
        clock: IReactorTime,
        turnedAway: Callable[[Visitor], None],
        most: int = MOST,
    ) -> None:
        """
        @param build: makes what takes a visitor's bytes.
        @param turnedAway: told of those who were turned away before they had
            said anything.
        """
        self._clock = clock
        self._most = most
        self._crowds: dict[str, _Crowd] = {}
        self._all: dict[Visitor, None] = {}
        # Connections, also those that are being ended.
        self._connected = 0
        self._emptyWaiters: list[Deferred[None]] = []
        self._build = build
        self.turnedAway = turnedAway

    def __len__(self) -> int:
        return len(self._all)

    def buildProtocol(self, addr: IAddress | None) -> Visitor | None:
        """
        Somebody wants to come; nobody is built for one for whom there is no
        room.
        """
        host = getattr(addr, "host", None)
        if len(self._all) >= self._most and not self._makeRoom(crowdOf(host)):
            return None
        return Visitor(self, self._clock.seconds())

    def came(self, visitor: Visitor) -> None:
        """
        A visitor is connected.
        """
        self._all[visitor] = None
        self._connected += 1
        self._crowdFor(visitor.crowd).silent[visitor] = None
        visitor.allow(self._clock, REQUEST_TIME, "it sent no request in time")

    def build(self, visitor: Visitor) -> IProtocol:
        """
        A visitor said something.
        """
        self._leaveCrowd(visitor)
        # Behind a proxy it turns out only now who it is.
        visitor.look()
        visitor.stage = Stage.TALKING
        self._crowdFor(visitor.crowd).talking[visitor] = None
        return self._build(visitor)

    def asking(self, visitor: Visitor) -> None:
        """
        A visitor's request came: nobody takes its place any more.
        """
        if visitor.stage is Stage.TALKING:
            self._leaveCrowd(visitor)
            visitor.stage = Stage.ASKING
            visitor.allow(self._clock, ANSWER_TIME, "there was no answer for it in time")

    def leaving(self, visitor: Visitor) -> None:
        """
        A visitor was answered.
        """
        if visitor.stage is not Stage.GONE:
            self._leaveCrowd(visitor)
            visitor.stage = Stage.LEAVING
            visitor.allow(self._clock, LEAVE_TIME, "it did not close the connection")

    def left(self, visitor: Visitor) -> None:
        """
        A visitor went, or is being turned away.
        """
        self._leaveCrowd(visitor)
        self._all.pop(visitor, None)
        visitor.relax()
        visitor.stage = Stage.GONE

    def lost(self) -> None:
        """
        A connection is gone.
        """
        self._connected -= 1
        if not self._connected:
            waiters, self._emptyWaiters = self._emptyWaiters, []
            for waiter in waiters:
                waiter.callback(None)

    def closeAll(self) -> Deferred[None]:
        """
        Turn everybody away.

        @return: fires when all connections are gone.
        """
        for visitor in list(self._all):
            visitor.turnAway(STOPS)
        if not self._connected:
            return succeed(None)
        empty: Deferred[None] = Deferred()
        self._emptyWaiters.append(empty)
        return empty

    def _makeRoom(self, crowd: str) -> bool:
        """
        Let the largest crowd make room for one of C{crowd}; a crowd does so for
        its own only with those that said nothing or take long.
        """
        if not self._crowds:
            return False
        largest = max(self._crowds, key=lambda each: len(self._crowds[each]))
        own = self._crowds.get(crowd)
        if own is not None and len(own) >= len(self._crowds[largest]):
            largest = crowd
        victim = self._crowds[largest].first()
        busy = victim.stage is Stage.TALKING
        if largest == crowd and busy and self._clock.seconds() - victim.since < GRACE:
            return False
        victim.turnAway("too many are connected, most of them from its address")
        return True

    def _crowdFor(self, name: str) -> _Crowd:
        return self._crowds.setdefault(name, _Crowd())

    def _leaveCrowd(self, visitor: Visitor) -> None:
        crowd = self._crowds.get(visitor.crowd)
        if crowd is not None:
            crowd.silent.pop(visitor, None)
            crowd.talking.pop(visitor, None)
            if not len(crowd):
                del self._crowds[visitor.crowd]


def crowdOf(host: object) -> str:
    """
    What an address counts as: IPv6 by its network, of which one machine has
    many addresses.
    """
    text = str(host or "").partition("%")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    if address.version == 4:
        return text
    mapped = address.ipv4_mapped
    return str(mapped) if mapped is not None else address.exploded[:19]
