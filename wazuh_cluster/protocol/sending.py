"""
The sending ends of a connection's transfers: one scheduler, which is the only
one to write bulk.

It writes half a block of each transfer in turn while the transport takes more,
the receiver gave credit, and bytes are at hand. Of each it reads the next block
when it has written the one before: so a transfer whose receiver does not go on
costs a block, whatever its size.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from hashlib import sha256

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from wazuh_cluster.errors import (
    ClusterError,
    LinkStalled,
    ProtocolViolation,
    TransferAborted,
)
from wazuh_cluster.patience import Patience
from wazuh_cluster.protocol.commands import CHUNK_SIZE, AbortTransfer, EndTransfer
from wazuh_cluster.protocol.interfaces import ISource
from wazuh_cluster.protocol.peer import Peer

#: What is read of a source at once, and how much of it is written at once. Eight
#: chunks: enough to keep a link busy while the next are read, little enough for
#: hundreds of links.
BLOCK_SIZE = 8 * CHUNK_SIZE
WRITE_SIZE = 4 * CHUNK_SIZE


class Sending:
    """
    The sending end of one transfer.

    @ivar done: fires with the number of bytes sent when all is sent, fails
        with L{TransferAborted} or with why the source failed.
    """

    def __init__(
        self,
        number: int,
        source: ISource,
        window: int,
        digested: bool,
        timer: IDelayedCall,
        patience: Patience,
    ) -> None:
        self.number = number
        self.patience = patience
        self.source = source
        self.window = window
        self.done: Deferred[int] = Deferred()
        self.sent = 0
        self.taken = 0
        self.sequence = 0
        self.block = memoryview(b"")
        self.reading = False
        self.exhausted = False
        self.queued = False
        self.hash = sha256() if digested else None
        self.timer = timer

    @property
    def credit(self) -> int:
        """
        How many bytes may be sent now.
        """
        return self.taken + self.window - self.sent


class Sender:
    """
    All sending ends of one connection.
    """

    def __init__(self, clock: IReactorTime, timeout: float, silence: float) -> None:
        """
        @param timeout: how long a receiver may take in nothing, in seconds.
        @param silence: how long it may say nothing while its credit is used up.
        """
        self._clock = clock
        self._timeout = timeout
        self._silence = silence
        self._open: dict[int, Sending] = {}
        self._highest = 0
        self._ready: deque[Sending] = deque()
        self._pumping = False
        self._peer: Peer | None = None

    def attach(self, peer: Peer) -> None:
        """
        From now on this is the connection.
        """
        self._peer = peer
        peer.flow.subscribe(self._pump)

    def __len__(self) -> int:
        return len(self._open)

    def send(self, number: int, source: ISource, window: int, digested: bool) -> Deferred[int]:
        """
        Begin to send.

        @param digested: whether the end tells a digest of the whole stream.
        @raise ProtocolViolation: if the number was used before.
        """
        if number <= self._highest:
            raise ProtocolViolation(f"transfer {number} was opened before")
        self._highest = number
        timer = self._clock.callLater(self._timeout, self._stalled, number)
        patience = Patience(self._clock, self._silence, partial(self._silent, number))
        sending = Sending(number, source, window, digested, timer, patience)
        self._open[number] = sending
        self._read(sending)
        return sending.done

    def credit(self, number: int, taken: int) -> None:
        """
        The receiver took the stream in up to here.
        """
        sending = self._open.get(number)
        if sending is None:
            self._checkKnown(number, "credit for")
            return
        if not sending.taken <= taken <= sending.sent:
            raise ProtocolViolation(f"credit for what transfer {number} did not send")
        sending.patience.heard()
        if taken > sending.taken:
            sending.taken = taken
            sending.timer.reset(self._timeout)
        self._offer(sending)
        self._pump()

    def aborted(self, number: int, reason: str) -> bool:
        """
        The receiver wants no more of it.

        @return: whether it was one of this sender's.
        """
        sending = self._open.get(number)
        if sending is None:
            return 0 < number <= self._highest
        self._end(sending, Failure(TransferAborted(reason)))
        return True

    def close(self, reason: ClusterError) -> None:
        """
        The connection is gone.
        """
        for sending in list(self._open.values()):
            self._end(sending, Failure(reason))

    def _checkKnown(self, number: int, what: str) -> None:
        if number > self._highest or number < 1:
            raise ProtocolViolation(f"{what} transfer {number}, which was never opened")

    def _read(self, sending: Sending) -> None:
        if sending.reading or sending.exhausted or sending.block:
            return
        sending.reading = True
        sending.source.read(BLOCK_SIZE).addCallbacks(
            self._blockRead, self._readFailed, callbackArgs=(sending,), errbackArgs=(sending,)
        ).addErrback(self._readFailed, sending)

    def _blockRead(self, block: bytes, sending: Sending) -> None:
        sending.reading = False
        if sending.number not in self._open:
            return
        if block:
            if sending.hash is not None:
                sending.hash.update(block)
            sending.block = memoryview(block)
        else:
            sending.exhausted = True
        self._offer(sending)
        self._pump()

    def _readFailed(self, failure: Failure, sending: Sending) -> None:
        if sending.number in self._open:
            self._tellAbort(sending, failure.getErrorMessage())
            self._end(sending, failure)

    def _offer(self, sending: Sending) -> None:
        if sending.block and sending.credit <= 0:
            sending.patience.begin()
        else:
            sending.patience.end()
        ready = sending.credit > 0 if sending.block else sending.exhausted
        if ready and not sending.queued:
            sending.queued = True
            self._ready.append(sending)

    def _pump(self) -> None:
        if self._pumping or self._peer is None:
            return
        self._pumping = True
        try:
            while self._ready and not self._peer.flow.paused:
                sending = self._ready.popleft()
                sending.queued = False
                if sending.number in self._open:
                    self._sendPart(sending)
        finally:
            self._pumping = False

    def _sendPart(self, sending: Sending) -> None:
        assert self._peer is not None
        if not sending.block:
            digest = sending.hash.digest() if sending.hash is not None else None
            self._peer.tell(EndTransfer, transfer=sending.number, size=sending.sent, digest=digest)
            self._end(sending, None)
            return
        size = min(len(sending.block), sending.credit, WRITE_SIZE)
        part, sending.block = sending.block[:size], sending.block[size:]
        sending.sequence = self._peer.sendChunks(sending.number, sending.sequence, part)
        sending.sent += size
        sending.timer.reset(self._timeout)
        self._read(sending)
        self._offer(sending)

    def _stalled(self, number: int) -> None:
        sending = self._open.get(number)
        if sending is None:
            return
        if sending.reading:
            # It is our own disk that is slow; the peer cannot help it.
            sending.timer = self._clock.callLater(self._timeout, self._stalled, number)
            return
        self._giveUp(
            sending, LinkStalled(f"it took nothing of transfer {number} for {self._timeout:g} s")
        )

    def _silent(self, number: int) -> None:
        """
        The receiver's credit is used up, and it does not say that it is slow.
        """
        sending = self._open[number]
        if self._peer is not None and self._peer.flow.paused:
            # It may not have all of it yet; the flow has a time of its own.
            sending.patience.begin()
            return
        self._giveUp(
            sending,
            LinkStalled(
                f"it did not say for {self._silence:g} s how much of transfer {number} it has taken"
            ),
        )

    def _giveUp(self, sending: Sending, reason: LinkStalled) -> None:
        if self._peer is not None:
            self._peer.abort(reason)
        self._end(sending, Failure(reason))

    def _tellAbort(self, sending: Sending, reason: str) -> None:
        if self._peer is not None:
            self._peer.tell(AbortTransfer, transfer=sending.number, reason=reason)

    def _end(self, sending: Sending, failure: Failure | None) -> None:
        del self._open[sending.number]
        sending.patience.end()
        if sending.timer.active():
            sending.timer.cancel()
        sending.block = memoryview(b"")
        sending.source.close()
        if failure is None:
            sending.done.callback(sending.sent)
        else:
            sending.done.errback(failure)
