"""
The worker's link to its master, as a table of states.

::

    Idle --start--> Connecting --handshaken--> Greeting --joined--> Joined
                        |                         |                   |
                        +---------failed----------+-----failed--------+--> Waiting
                        ^                                                     |
                        +-------------------------retry-----------------------+

    any of these --stop--> Stopping --ended--> Idle

C{ClientService} is not used: with AMP, a peer lost during the handshake leaves
it in a state without a way out. Its backoff is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from typing import Protocol as TypingProtocol

from attrs import define, field
from automat import TypeMachineBuilder
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from wazuh_cluster.errors import ProtocolViolation
from wazuh_cluster.interfaces import IClusterTrust
from wazuh_cluster.model import MasterInfo
from wazuh_cluster.protocol import Peer


class ILinkOwner(TypingProtocol):
    """
    What a link asks its worker to do.
    """

    def buildPeer(self, handshaken: Callable[[Peer], None]) -> Peer:
        """
        Make the protocol for one attempt.
        """

    async def greet(self, peer: Peer) -> MasterInfo:
        """
        Say Hello and judge the answer.
        """

    def linkUp(self, peer: Peer, master: MasterInfo) -> None:
        """
        The worker joined.
        """

    def linkDown(self, reason: Failure, joined: bool, delay: float) -> None:
        """
        The link ended, or an attempt failed; the next comes after C{delay}
        seconds.
        """


class Link(TypingProtocol):
    """
    The inputs of the machine.
    """

    def start(self) -> None:
        """
        Join, and join again whenever the link is lost.
        """

    def stop(self) -> None:
        """
        End the link and do not join again.
        """

    def retry(self) -> None:
        """
        The wait is over, or not needed any more.
        """

    def _handshaken(self, peer: Peer) -> None: ...

    def _joined(self, peer: Peer, master: MasterInfo) -> None: ...

    def _failed(self, reason: Failure) -> None: ...

    def _ended(self) -> None: ...


@define
class LinkCore:
    """
    What the machine works with.

    @ivar attempts: that failed since the last link that was cut.
    @ivar stopWaiters: fire when the machine is idle again.
    """

    owner: ILinkOwner
    endpoint: IStreamClientEndpoint
    trust: IClusterTrust
    clock: IReactorTime
    backoff: Callable[[int], float]
    attempts: int = 0
    peer: Peer | None = None
    connecting: Deferred[IProtocol] | None = None
    timer: IDelayedCall | None = None
    stopWaiters: list[Deferred[None]] = field(factory=list)

    def connect(self, link: Link) -> None:
        """
        Begin an attempt, of which the machine hears by its inputs.
        """

        def build() -> Peer:
            self.peer = peer = self.owner.buildPeer(link._handshaken)
            peer.whenClosed().addCallback(closed, peer)
            return peer

        def closed(why: BaseException, peer: Peer) -> None:
            if self.peer is peer:
                self.peer = None
                link._failed(Failure(why))

        def unconnected(reason: Failure) -> None:
            self.connecting = None
            if self.peer is None and not reason.check(CancelledError):
                link._failed(reason)

        factory = Factory.forProtocol(build)
        factory.noisy = False
        wrapped = self.trust.wrapClient(factory, self.clock)
        self.connecting = self.endpoint.connect(wrapped)
        self.connecting.addCallbacks(self._connected, unconnected)

    def _connected(self, protocol: Any) -> None:
        self.connecting = None

    def greet(self, link: Link, peer: Peer) -> None:
        """
        Say Hello.
        """

        def answered(master: MasterInfo) -> None:
            if self.peer is peer and peer.live:
                link._joined(peer, master)

        def refused(reason: Failure) -> None:
            if self.peer is peer:
                self.peer = None
                peer.close()
                link._failed(reason)

        Deferred.fromCoroutine(self.owner.greet(peer)).addCallbacks(answered, refused)

    def wait(self, link: Link, reason: Failure, joined: bool) -> None:
        """
        Try again later.
        """
        # A link that ends because the master says what it may not ends for a
        # reason that the next one has too; one that was cut does not.
        cut = joined and not reason.check(ProtocolViolation)
        self.attempts = 1 if cut else self.attempts + 1
        delay = self.backoff(self.attempts)
        self.timer = self.clock.callLater(delay, link.retry)
        self.owner.linkDown(reason, joined, delay)

    def cancelTimer(self) -> None:
        """
        Do not try again.
        """
        timer, self.timer = self.timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def end(self, link: Link) -> None:
        """
        Let go of whatever there is, and say so when it is gone.
        """
        self.cancelTimer()
        peer, self.peer = self.peer, None
        connecting, self.connecting = self.connecting, None
        if connecting is not None:
            connecting.addErrback(_cancelled)
            connecting.cancel()
        if peer is not None:
            peer.close()
            peer.whenClosed().addCallback(lambda _: link._ended())
        else:
            link._ended()

    def finish(self) -> None:
        """
        The machine is idle.
        """
        self.attempts = 0
        waiters, self.stopWaiters = self.stopWaiters, []
        for waiter in waiters:
            waiter.callback(None)


def _cancelled(failure: Failure) -> None:
    failure.trap(CancelledError)


def _makeMachine() -> Callable[[LinkCore], Link]:
    builder = TypeMachineBuilder(Link, LinkCore)

    idle = builder.state("Idle")
    connecting = builder.state("Connecting")
    greeting = builder.state("Greeting")
    joined = builder.state("Joined")
    waiting = builder.state("Waiting")
    stopping = builder.state("Stopping")

    @idle.upon(Link.start).to(connecting)
    def start(link: Link, core: LinkCore) -> None:
        core.connect(link)

    @connecting.upon(Link._handshaken).to(greeting)
    def greet(link: Link, core: LinkCore, peer: Peer) -> None:
        core.greet(link, peer)

    @greeting.upon(Link._joined).to(joined)
    def up(link: Link, core: LinkCore, peer: Peer, master: MasterInfo) -> None:
        core.owner.linkUp(peer, master)

    @connecting.upon(Link._failed).to(waiting)
    def attemptFailed(link: Link, core: LinkCore, reason: Failure) -> None:
        core.wait(link, reason, joined=False)

    @greeting.upon(Link._failed).to(waiting)
    def greetingFailed(link: Link, core: LinkCore, reason: Failure) -> None:
        core.wait(link, reason, joined=False)

    @joined.upon(Link._failed).to(waiting)
    def down(link: Link, core: LinkCore, reason: Failure) -> None:
        core.wait(link, reason, joined=True)

    @waiting.upon(Link.retry).to(connecting)
    def retry(link: Link, core: LinkCore) -> None:
        core.cancelTimer()
        core.connect(link)

    for state in (connecting, greeting, joined, waiting):

        @state.upon(Link.stop).to(stopping)
        def stop(link: Link, core: LinkCore) -> None:
            core.end(link)

    @stopping.upon(Link._ended).to(idle)
    def ended(link: Link, core: LinkCore) -> None:
        core.finish()

    @idle.upon(Link.stop).loop()
    def stopIdle(link: Link, core: LinkCore) -> None:
        core.finish()

    stopping.upon(Link.stop).loop().returns(None)
    stopping.upon(Link._failed).loop().returns(None)
    # An endpoint that tries several addresses may give a second connection.
    for state in (idle, greeting, joined, waiting, stopping):

        @state.upon(Link._handshaken).loop()
        def stray(link: Link, core: LinkCore, peer: Peer) -> None:
            peer.close()

    for state in (connecting, greeting, joined, waiting):
        state.upon(Link.start).loop().returns(None)
    for state in (idle, connecting, greeting, joined, stopping):
        state.upon(Link.retry).loop().returns(None)
    for state in (idle, waiting):
        state.upon(Link._failed).loop().returns(None)
    return builder.build()


#: Makes the machine of a core.
makeLink = _makeMachine()

__all__ = ["ILinkOwner", "Link", "LinkCore", "makeLink"]
