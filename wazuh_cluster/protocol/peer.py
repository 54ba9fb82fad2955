"""
One end of a link: AMP with bounds on all that a peer can make us keep.

AMP itself bounds nothing but a value's length. A L{Peer} bounds keys and bytes
of a box, commands that are being answered, answers that wait to be written,
and how long a peer may take nothing of what waits for it. It lets a peer send
only what its role may, and only Hello before it was admitted. It is made of
AMP's dispatcher and a parser of its own instead of being an C{amp.AMP}, which
would answer StartTLS to anyone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from typing import Protocol as TypingProtocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionClosed, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.errors import (
    ClusterError,
    LinkClosed,
    LinkStalled,
    ProtocolViolation,
)
from wazuh_cluster.journal import Journal
from wazuh_cluster.protocol.boxes import BoxParser, chunkBox
from wazuh_cluster.protocol.commands import COMMANDS, ClusterCommand, Hello
from wazuh_cluster.protocol.flow import Flow
from wazuh_cluster.protocol.limits import Limits


class Locators:
    """
    Several responder locators as one: the first that knows a command answers.
    """

    def __init__(self, locators: Sequence[amp.IResponderLocator]) -> None:
        self._locators = locators

    def locateResponder(self, name: bytes) -> Callable[[amp.AmpBox], object] | None:
        """
        The responder for a command, or C{None} if nobody has one.
        """
        for locator in self._locators:
            responder = locator.locateResponder(name)
            if responder is not None:
                return responder
        return None


class IDirect(TypingProtocol):
    """
    What takes commands that want no answer, of which there are many, without a
    Deferred for each.
    """

    def directly(self) -> Mapping[bytes, tuple[type[amp.Command], Callable[..., None]]]:
        """
        A command's name to the command and what is called with its arguments.
        """


@implementer(IHandshakeListener, amp.IBoxSender)
class Peer(Protocol, amp.BoxDispatcher):
    """
    One end of a link. It ends by L{abort} or by the connection's loss, once,
    and says so to whoever called L{whenClosed}.

    @ivar remoteRole: the role of the other end, which decides what it may
        send.
    @ivar flow: whether the transport takes more.
    """

    # Protocol's is an ITransport, which cannot be aborted or paused.
    transport: Any

    def __init__(
        self,
        remoteRole: str,
        locators: Sequence[amp.IResponderLocator],
        clock: IReactorTime,
        limits: Limits,
        onHandshake: Callable[[Peer], None],
        direct: IDirect | None = None,
    ) -> None:
        amp.BoxDispatcher.__init__(self, Locators(locators))
        self._parser = BoxParser(self.ampBoxReceived, limits.boxKeys, limits.boxBytes)
        self._direct = direct.directly() if direct is not None else {}
        self.remoteRole = remoteRole
        self.limits = limits
        self.clock = clock
        self.flow = Flow(clock, limits.stallTimeout, self._stalled)
        self._onHandshake = onHandshake
        self._log = Journal(task="Main")
        self._address = "an unknown address"
        self._closing: ClusterError | None = None
        self._closed: BaseException | None = None
        self._closeWaiters: list[Deferred[BaseException]] = []
        self._admitted = False
        self._responding = 0
        self._answersWaiting = 0
        self._greeting: IDelayedCall | None = None
        self.flow.subscribe(self._drained)

    # What the owner of the link calls.

    def admit(self) -> None:
        """
        Hello was answered: the peer may send all that its role may.
        """
        self._admitted = True
        self._stopGreeting()

    async def call(
        self, command: type[amp.Command], timeout: float | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """
        Ask the peer, and wait for its answer.

        @param timeout: seconds; the limit C{answerTimeout} by default.
        @raise LinkClosed: if there is no link, or none any more.
        @raise LinkStalled: if the answer did not come in time; the link is
            aborted then.
        """
        limit = self.limits.answerTimeout if timeout is None else timeout
        late = LinkStalled(f"no answer to {command.commandName.decode('ascii')} within {limit:g} s")
        timer = self.clock.callLater(limit, self.abort, late)
        try:
            return await self.ask(command, **arguments)
        finally:
            if timer.active():
                timer.cancel()

    async def ask(self, command: type[amp.Command], **arguments: Any) -> dict[str, Any]:
        """
        Ask the peer, and wait for its answer as long as there is a link: for
        what a disk or a database at the other end may hold up.

        @raise LinkClosed: if there is no link, or none any more.
        """
        asked: Deferred[dict[str, Any]] = self.callRemote(command, **arguments)
        try:
            return await asked
        except (ConnectionClosed, ConnectionDone, ConnectionLost):
            raise self.closeReason() from None

    def tell(self, command: type[ClusterCommand], **arguments: Any) -> None:
        """
        Send a command that has no answer. Without a link, nothing happens.
        """
        if self._closed is None and self._closing is None:
            self.callRemote(command, **arguments)

    def abort(self, reason: ClusterError) -> None:
        """
        End the link at once. What waits to be written is lost; the first
        reason is the one that is told.
        """
        if self._closing is None and self._closed is None:
            self._closing = reason
            self._stopGreeting()
            if self.transport is not None:
                self.transport.abortConnection()

    def close(self) -> None:
        """
        End the link after what was written, or by force after half a second.
        """
        if self._closed is None and self._closing is None and self.transport is not None:
            self._closing = LinkClosed("closed by this node")
            self._stopGreeting()
            self.flow.close()
            # With a producer, losing a connection waits for its end.
            self.transport.unregisterProducer()
            self.transport.loseConnection()
            force = self.clock.callLater(0.5, self.transport.abortConnection)
            self.whenClosed().addCallback(lambda _: force.cancel() if force.active() else None)

    def whenClosed(self) -> Deferred[BaseException]:
        """
        A Deferred that fires, never fails, with why the link ended.
        """
        waiter: Deferred[BaseException] = Deferred()
        if self._closed is not None:
            waiter.callback(self._closed)
        else:
            self._closeWaiters.append(waiter)
        return waiter

    def closeReason(self) -> ClusterError:
        """
        Why the link ended, or ends.
        """
        if isinstance(self._closed, ClusterError):
            return self._closed
        if self._closing is not None:
            return self._closing
        return LinkClosed("the connection was lost")

    @property
    def live(self) -> bool:
        """
        Whether the link is there and is not being ended.
        """
        return self.transport is not None and self._closed is None and self._closing is None

    def address(self) -> str:
        """
        Where the peer is, or was, for people.
        """
        if self.transport is not None:
            host = getattr(self.transport.getPeer(), "host", None)
            self._address = str(host) if host is not None else "a local socket"
        return self._address

    # What the transport calls.

    def connectionMade(self) -> None:
        """
        The peer has this long to be admitted.
        """
        self.startReceivingBoxes(self)
        self.address()
        late = LinkStalled(f"it did not say Hello within {self.limits.greetTimeout:g} s")
        self._greeting = self.clock.callLater(self.limits.greetTimeout, self.abort, late)

    def handshakeCompleted(self) -> None:
        """
        TLS has judged the peer, as far as this end can tell.
        """
        self.transport.registerProducer(self.flow, True)
        self._onHandshake(self)

    def dataReceived(self, data: bytes) -> None:
        """
        Take what came apart, unless the link is being ended.
        """
        if self._closing is not None:
            return
        try:
            self._parser.feed(data)
        except ProtocolViolation as violation:
            self.abort(violation)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The link is gone: whoever waits for an answer is told why.
        """
        self._stopGreeting()
        self.flow.close()
        # Trust knows better than a timer why a stranger never became a peer.
        explained = isinstance(reason.value, ClusterError)
        if self._closing is not None and (self._admitted or not explained):
            reason = Failure(self._closing)
        # The frames of a violation would keep what they read.
        if reason.value is not None:
            reason.value.__traceback__ = None
        self._closed = why = reason.value or LinkClosed("the connection was lost")
        self.stopReceivingBoxes(reason)
        self.transport = None
        waiting, self._closeWaiters = self._closeWaiters, []
        for waiter in waiting:
            waiter.callback(why)

    # What AMP's parts call.

    def ampBoxReceived(self, box: amp.AmpBox) -> None:
        """
        A whole box came.
        """
        if self._closing is not None:
            return
        for kind in (amp.ANSWER, amp.ERROR):
            if kind in box and box[kind] not in (self._outstandingRequests or ()):
                raise ProtocolViolation("an answer to what was not asked")
        if amp.ERROR in box and not {amp.ERROR_CODE, amp.ERROR_DESCRIPTION} <= box.keys():
            raise ProtocolViolation("an error without a code")
        name = box.get(amp.COMMAND)
        if name is not None and name in self._direct and amp.ASK not in box:
            self._permit(name)
            command, take = self._direct[name]
            take(**command.parseArguments(box, self))
            return
        try:
            super().ampBoxReceived(box)
        except amp.NoEmptyBoxes:
            raise ProtocolViolation("a box that neither asks nor answers") from None

    def dispatchCommand(self, box: amp.AmpBox) -> Deferred[Any]:
        """
        Let the responder answer, if the peer may ask.
        """
        name = box[amp.COMMAND]
        self._permit(name)
        self._responding += 1
        if self._responding >= self.limits.openResponders:
            self._stopReading()
        answering: Deferred[Any] = super().dispatchCommand(box)
        answering.addBoth(self._responded)
        return answering.addErrback(self._responderFailed, name, amp.ASK in box)

    def _permit(self, name: bytes) -> None:
        command = COMMANDS.get(name)
        if command is not None and self.remoteRole not in command.senders:
            raise ProtocolViolation(f"a {self.remoteRole} may not send {_shown(name)}")
        if not self._admitted and command is not Hello:
            raise ProtocolViolation(f"{_shown(name)} came before Hello was answered")

    def _responded(self, result: object) -> object:
        self._responding -= 1
        self._readAgain()
        return result

    def _responderFailed(self, failure: Failure, name: bytes, asked: bool) -> object:
        if failure.check(ProtocolViolation):
            self.abort(failure.value)  # type: ignore[arg-type]
            return amp.AmpBox()
        if asked and failure.check(amp.RemoteAmpError):
            return failure
        if failure.check(CancelledError, LinkClosed) and not self.live:
            return amp.AmpBox()
        if not failure.check(amp.RemoteAmpError):
            self._log.failure(
                "Responder of {command} failed: this is a bug.", failure, command=_shown(name)
            )
        elif not asked:
            # Nobody waits for an answer in which to say that it is unknown.
            self.abort(ProtocolViolation(f"unknown command {_shown(name)}"))
        if not asked:
            return amp.AmpBox()
        return Failure(amp.RemoteAmpError(amp.UNKNOWN_ERROR_CODE, b"Unknown Error"))

    def sendBox(self, box: amp.AmpBox) -> None:
        """
        Write a box. Answers that the peer does not take stop the reading.
        """
        if self.transport is None or self._closing is not None:
            return
        octets = box.serialize()
        self.transport.write(octets)
        if self.flow.paused and (amp.ANSWER in box or amp.ERROR in box):
            self._answersWaiting += len(octets)
            if self._answersWaiting > self.limits.answerBytes:
                self._stopReading()

    def sendChunk(self, transfer: int, sequence: int, data: memoryview) -> None:
        """
        Write a FileChunk, of which there are many, without an object for it.
        """
        if self.transport is not None and self._closing is None:
            self.transport.write(chunkBox(transfer, sequence, data))

    def unhandledError(self, failure: Failure) -> None:
        """
        An answer that nobody expected to fail did.
        """
        if failure.check(ConnectionClosed, LinkClosed, CancelledError):
            return
        if failure.check(ProtocolViolation):
            self.abort(failure.value)  # type: ignore[arg-type]
        else:
            self._log.failure("Answer could not be handled: this is a bug.", failure)
            self.abort(LinkClosed("an answer could not be handled"))

    # Reading stops and goes on.

    def _drained(self) -> None:
        self._answersWaiting = 0
        self._readAgain()

    @property
    def paused(self) -> bool:
        """
        Whether nothing more is read for now.
        """
        return self._parser.paused

    def _stopReading(self) -> None:
        self._parser.paused = True
        self.transport.pauseProducing()

    def _readAgain(self) -> None:
        if (
            self._parser.paused
            and self.live
            and self._responding < self.limits.openResponders
            and self._answersWaiting <= self.limits.answerBytes
        ):
            self._parser.paused = False
            self.transport.resumeProducing()
            self.dataReceived(b"")

    def _stalled(self) -> None:
        self.abort(
            LinkStalled(f"it took nothing of what was sent for {self.limits.stallTimeout:g} s")
        )

    def _stopGreeting(self) -> None:
        if self._greeting is not None and self._greeting.active():
            self._greeting.cancel()
        self._greeting = None


def _shown(name: bytes) -> str:
    return name[:64].decode("ascii", "backslashreplace")
