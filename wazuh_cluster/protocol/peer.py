"""
One end of a link: AMP with bounds on all that a peer can make us keep.

AMP itself bounds nothing but a value's length. A L{Peer} bounds keys and bytes
of a box, how long one may take, how many are worked on in a turn, commands that
are being answered, answers that wait to be written or to be read, and how long
a peer may take nothing of what waits for it. It lets a peer send
only what its role may, and only Hello before it was admitted. It is made of
AMP's dispatcher and a parser of its own instead of being an C{amp.AMP}, which
would answer StartTLS to anyone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
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
from wazuh_cluster.interfaces import IWideTransport
from wazuh_cluster.journal import Journal
from wazuh_cluster.patience import Patience
from wazuh_cluster.protocol.boxes import BoxParser, chunkBoxes
from wazuh_cluster.protocol.commands import COMMANDS, ClusterCommand, FileChunk, Hello, KeepAlive
from wazuh_cluster.protocol.flow import Flow
from wazuh_cluster.protocol.limits import Limits
from wazuh_cluster.protocol.locators import IDirect, Locators
from wazuh_cluster.protocol.pace import Turn, Unfinished, Unread

#: The longest name of a command: that of a key.
_MAX_NAME = 255


@implementer(IHandshakeListener, amp.IBoxSender)
class Peer(Protocol, amp.BoxDispatcher):
    """
    One end of a link. It ends by L{abort} or by the connection's loss, once,
    and says so to whoever called L{whenClosed}.

    @ivar remoteRole: the role of the other end, which decides what it may
        send.
    @ivar flow: whether the transport takes more.
    @ivar answersKeepAlive: whether the other end is a node, which answers a
        KeepAlive.
    """

    answersKeepAlive = True

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
        *,
        since: float | None = None,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        """
        @param since: when the connection was made, by C{clock}; by default
            when this protocol gets it.
        """
        amp.BoxDispatcher.__init__(self, Locators(locators))
        self._direct = direct.directly() if direct is not None else {}
        self._parser = BoxParser(
            self.ampBoxReceived,
            limits.boxKeys,
            limits.boxBytes,
            self._chunkReceived if FileChunk.commandName in self._direct else None,
        )
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
        self._responding = self._respondingBytes = 0
        self._waiting = 0
        self._greeting: IDelayedCall | None = None
        self._since = since
        self._wallClock = wallClock
        self._boxes = 0
        self._turn = Turn(clock, limits.boxesPerTurn, self._readAgain)
        self._unfinished = Unfinished(clock, limits.stallTimeout, self._tooSlow)
        self._unread = Unread(clock, limits.unreadAnswers, self._askToShow)
        self._owed = 0
        self._silence = Patience(clock, limits.stallTimeout, self._silent, self._askIfAlive)
        self.flow.subscribe(self._drained)

    # What the owner of the link calls.

    def admit(self) -> None:
        """
        Hello was answered: the peer may send all that its role may.
        """
        self._admitted = True
        self._stopGreeting()
        if IWideTransport.providedBy(self.transport):
            self.transport.widen(self.limits.linkBuffer)

    async def call(
        self, command: type[amp.Command], timeout: float | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """
        Ask the peer, and wait for its answer.

        @param timeout: seconds; the limit C{answerTimeout} by default, and
            then the peer may not be silent meanwhile, see L{owes}.
        @raise LinkClosed: if there is no link, or none any more.
        @raise LinkStalled: if the answer did not come in time; the link is
            aborted then.
        @raise ProtocolViolation: if the answer cannot be read; the link is
            aborted then too.
        """
        limit = self.limits.answerTimeout if timeout is None else timeout
        late = LinkStalled(f"no answer to {command.commandName.decode('ascii')} within {limit:g} s")
        timer = self.clock.callLater(limit, self.abort, late)
        if timeout is None:
            self.owes()
        try:
            return await self.ask(command, **arguments)
        finally:
            if timeout is None:
                self.paid()
            if timer.active():
                timer.cancel()

    async def ask(self, command: type[amp.Command], **arguments: Any) -> dict[str, Any]:
        """
        Ask the peer, and wait for its answer as long as there is a link: for
        what a disk or a database at the other end may hold up.

        @raise LinkClosed: if there is no link, or none any more.
        @raise ProtocolViolation: if the answer cannot be read; the link is
            aborted then.
        """
        asked: Deferred[dict[str, Any]] = self.callRemote(command, **arguments)
        try:
            return await asked
        except (ConnectionClosed, ConnectionDone, ConnectionLost):
            raise self.closeReason() from None
        except ProtocolViolation as violation:
            self.abort(violation)
            raise

    def owes(self) -> None:
        """
        The peer owes an answer, or the rest of a transfer. As long as it does
        it may not be silent: it is asked for a KeepAlive if it says nothing
        for half of C{stallTimeout}, and given up after all of that.
        """
        self._owed += 1
        # Before Hello was answered there is a time for all of that.
        if self._admitted and self.live and self.answersKeepAlive:
            self._silence.begin()

    def paid(self) -> None:
        """
        It does not any more; called once for each L{owes}.
        """
        self._owed -= 1
        if not self._owed:
            self._silence.end()

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
        # Else an answer waits until the other end has acknowledged the one before
        # it, and that may take 40 ms.
        setTcpNoDelay = getattr(self.transport, "setTcpNoDelay", None)
        if setTcpNoDelay is not None:
            setTcpNoDelay(True)
        timeout = self.limits.greetTimeout
        late = LinkStalled(f"it did not say Hello within {timeout:g} s")
        waited = 0.0 if self._since is None else self.clock.seconds() - self._since
        self._greeting = self.clock.callLater(max(0.0, timeout - waited), self.abort, late)

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
        self._silence.heard()
        try:
            self._parser.feed(data)
        except ProtocolViolation as violation:
            self.abort(violation)
        if self._parser.unfinished and not self._parser.paused and self.live:
            self._unfinished.began(self._boxes)
        else:
            self._unfinished.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The link is gone: whoever waits for an answer is told why.
        """
        self._stopGreeting()
        self.flow.close()
        self._turn.close()
        self._unfinished.close()
        self._silence.end()
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
        self._count()
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

    def _chunkReceived(self, transfer: int, sequence: int, data: bytes) -> None:
        """
        What L{ampBoxReceived} does for a FileChunk that is no box.
        """
        if self._closing is None:
            self._count()
            self._permit(FileChunk.commandName)
            self._direct[FileChunk.commandName][1](transfer, sequence, data)

    def _count(self) -> None:
        self._boxes += 1
        if self._turn.count():
            self._stopReading()

    def dispatchCommand(self, box: amp.AmpBox) -> Deferred[Any]:
        """
        Let the responder answer, if the peer may ask.
        """
        name = box[amp.COMMAND]
        self._permit(name)
        size = sum(map(len, box.values()))
        self._responding += 1
        self._respondingBytes += size
        if not self._mayRespond:
            self._stopReading()
        # A locator is an application's own, and may raise.
        answering: Deferred[Any] = maybeDeferred(super().dispatchCommand, box)
        answering.addBoth(self._responded, size)
        return answering.addErrback(self._responderFailed, name, amp.ASK in box)

    def _permit(self, name: bytes) -> None:
        if len(name) > _MAX_NAME:
            raise ProtocolViolation(f"a command with a name of {len(name)} bytes")
        if name == amp.StartTLS.commandName:
            raise ProtocolViolation("it asks for TLS within TLS")
        command = COMMANDS.get(name)
        if command is not None and self.remoteRole not in command.senders:
            raise ProtocolViolation(f"a {self.remoteRole} may not send {_shown(name)}")
        if not self._admitted and command is not Hello:
            raise ProtocolViolation(f"{_shown(name)} came before Hello was answered")

    @property
    def _mayRespond(self) -> bool:
        """
        Whether one command more may be worked on.
        """
        return (
            self._responding < self.limits.openResponders
            and self._respondingBytes < self.limits.openBytes
        )

    def _responded(self, result: object, size: int) -> object:
        self._responding -= 1
        self._respondingBytes -= size
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
        Write a box. What the peer does not take stops the reading.
        """
        if self.transport is None or self._closing is not None:
            return
        octets = box.serialize()
        self.transport.write(octets)
        if self.flow.paused:
            self._waiting += len(octets)
            if self._waiting > self.limits.answerBytes:
                self._stopReading()
        if amp.ANSWER in box or amp.ERROR in box:
            self._unread.answered()

    def sendChunks(self, transfer: int, sequence: int, data: memoryview) -> int:
        """
        Write data as FileChunks, of which there are many, without an object for
        each.

        @return: the sequence number after them.
        """
        boxes, after = chunkBoxes(transfer, sequence, data)
        if self.transport is not None and self._closing is None:
            self.transport.write(boxes)
        return after

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
        self._waiting = 0
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
            and not self._turn.over
            and self._mayRespond
            and self._waiting <= self.limits.answerBytes
        ):
            self._parser.paused = False
            self.transport.resumeProducing()
            self.dataReceived(b"")

    def _stalled(self) -> None:
        self.abort(
            LinkStalled(f"it took nothing of what was sent for {self.limits.stallTimeout:g} s")
        )

    def _tooSlow(self) -> None:
        timeout = self.limits.stallTimeout
        self.abort(LinkStalled(f"it did not send the rest of a box within {timeout:g} s"))

    def _askToShow(self) -> Deferred[object]:
        if not self.answersKeepAlive:
            return succeed(None)
        clock = int(self._wallClock() * 1e6)
        asked = self.call(KeepAlive, self.limits.stallTimeout, clock=clock)
        return Deferred.fromCoroutine(asked)

    def _askIfAlive(self) -> None:
        if self.live:
            clock = int(self._wallClock() * 1e6)
            asked: Deferred[object] = self.callRemote(KeepAlive, clock=clock)
            asked.addErrback(_alive)

    def _silent(self) -> None:
        if self.flow.paused or self._parser.paused:
            # What it was asked may not have left this end, or what it said not
            # have been read; both have times of their own.
            self._silence.begin()
            return
        timeout = self.limits.stallTimeout
        self.abort(LinkStalled(f"it said nothing for {timeout:g} s, though it owes an answer"))

    def _stopGreeting(self) -> None:
        if self._greeting is not None and self._greeting.active():
            self._greeting.cancel()
        self._greeting = None


def _alive(failure: Failure) -> None:
    """
    An answer of any kind shows that it lives; and whoever ends a link says why.
    """
    failure.trap(ClusterError, amp.AmpError, ConnectionClosed, ConnectionDone, ConnectionLost)
    failure.cleanFailure()


def _shown(name: bytes) -> str:
    return name[:64].decode("ascii", "backslashreplace")
