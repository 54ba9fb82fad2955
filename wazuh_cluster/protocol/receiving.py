"""
The receiving ends of a connection's transfers.

What arrived and was not taken in yet is bounded by the window that this end
grants; the sender hears by credit how far the stream was taken in.
"""

from __future__ import annotations

from hashlib import sha256

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from wazuh_cluster.errors import (
    ClusterError,
    LimitExceeded,
    LinkStalled,
    ProtocolViolation,
    TransferAborted,
)
from wazuh_cluster.protocol.commands import AbortTransfer, TransferCredit
from wazuh_cluster.protocol.interfaces import ISink
from wazuh_cluster.protocol.peer import Peer

#: At the latest after so many seconds a sender hears how far a transfer is taken
#: in, again if that is as far as before: so it can tell a disk that is slow from
#: a peer that does not want to go on.
CREDIT_INTERVAL = 1.0

#: Pieces that are smaller, in bytes, are kept together.
_SMALL = 1024


class Receiving:
    """
    The receiving end of one transfer.

    @ivar done: fires with what the sink's C{finish} gave, or fails.
    """

    def __init__(
        self,
        number: int,
        sink: ISink,
        most: int | None,
        digested: bool,
        timeout: float,
        timer: IDelayedCall,
    ) -> None:
        self.number = number
        self.sink = sink
        self.most = most
        self.done: Deferred[object] = Deferred()
        self.sequence = 0
        self.received = 0
        self.taken = 0
        self.credited = 0
        self.queue: list[bytes] = []
        self.queued = 0
        self.writing = False
        self.ended = False
        self.hash = sha256() if digested else None
        self.timeout = timeout
        self.timer = timer

    def keep(self, data: bytes) -> None:
        """
        Keep what arrived until the sink takes it.
        """
        # A thousand pieces of one byte cost more than their bytes.
        if self.queue and len(data) < _SMALL and len(self.queue[-1]) < _SMALL:
            self.queue[-1] += data
        else:
            self.queue.append(data)
        self.queued += len(data)


class Receiver:
    """
    All receiving ends of one connection.
    """

    def __init__(self, clock: IReactorTime, window: int, timeout: float) -> None:
        """
        @param window: bytes of one transfer that may be under way.
        @param timeout: how long a sender may send nothing, in seconds.
        """
        self._clock = clock
        self._window = window
        self._timeout = timeout
        self._open: dict[int, Receiving] = {}
        self._highest = 0
        self._late = 0
        self._peer: Peer | None = None
        self._word: IDelayedCall | None = None

    def attach(self, peer: Peer) -> None:
        """
        From now on this is the connection.
        """
        self._peer = peer

    def __len__(self) -> int:
        return len(self._open)

    def receive(
        self,
        number: int,
        sink: ISink,
        most: int | None = None,
        digested: bool = False,
        timeout: float | None = None,
    ) -> Deferred[object]:
        """
        Expect a transfer.

        @param most: how many bytes it may have in all.
        @param digested: whether its end must tell its digest.
        @param timeout: how long the sender of this one may send nothing.
        @raise ProtocolViolation: if the number was used before.
        """
        if number <= self._highest:
            raise ProtocolViolation(f"transfer {number} was opened before")
        self._highest = number
        timeout = self._timeout if timeout is None else timeout
        timer = self._clock.callLater(timeout, self._stalled, number)
        receiving = self._open[number] = Receiving(number, sink, most, digested, timeout, timer)
        if self._word is None:
            self._word = self._clock.callLater(CREDIT_INTERVAL, self._giveWord)
        if self._peer is not None:
            self._peer.owes()
        return receiving.done

    def chunk(self, number: int, sequence: int, data: bytes) -> None:
        """
        A piece arrived.
        """
        receiving = self._find(number, len(data))
        if receiving is None:
            return
        if receiving.ended or sequence != receiving.sequence:
            raise ProtocolViolation(f"a chunk of transfer {number} is out of order")
        receiving.sequence += 1
        receiving.received += len(data)
        if receiving.received > receiving.credited + self._window:
            raise LimitExceeded(f"transfer {number} sends more than it may")
        if receiving.most is not None and receiving.received > receiving.most:
            raise LimitExceeded(f"transfer {number} is larger than {receiving.most} bytes")
        if receiving.hash is not None:
            receiving.hash.update(data)
        receiving.keep(data)
        receiving.timer.reset(receiving.timeout)
        self._drain(receiving)

    def end(self, number: int, size: int, digest: bytes | None) -> None:
        """
        The sender has sent all.
        """
        receiving = self._find(number, 0)
        if receiving is None:
            return
        if receiving.ended or size != receiving.received:
            raise ProtocolViolation(f"transfer {number} ends at another size than it sent")
        if receiving.hash is not None and digest != receiving.hash.digest():
            raise ProtocolViolation(f"transfer {number} ends with another digest than it sent")
        receiving.ended = True
        self._drain(receiving)

    def aborted(self, number: int, reason: str) -> bool:
        """
        The sender sends no more of it.

        @return: whether it was one of this receiver's.
        """
        receiving = self._open.get(number)
        if receiving is None:
            return 0 < number <= self._highest
        self._fail(receiving, Failure(TransferAborted(reason)))
        return True

    def abort(self, number: int, reason: str) -> None:
        """
        Want no more of it. Nothing happens if it has ended.
        """
        receiving = self._open.get(number)
        if receiving is not None:
            self._tellAbort(receiving, reason)
            self._fail(receiving, Failure(TransferAborted(reason)))

    def close(self, reason: ClusterError) -> None:
        """
        The connection is gone.
        """
        for receiving in list(self._open.values()):
            self._fail(receiving, Failure(reason))

    def _find(self, number: int, size: int) -> Receiving | None:
        receiving = self._open.get(number)
        if receiving is not None:
            return receiving
        if not 0 < number <= self._highest:
            raise ProtocolViolation(f"transfer {number} was never opened")
        # What was under way when a transfer ended is dropped, and no more.
        self._late -= size
        if self._late < 0:
            raise ProtocolViolation(f"transfer {number} goes on after its end")
        return None

    def _drain(self, receiving: Receiving) -> None:
        if receiving.writing:
            return
        if receiving.queue:
            chunks, receiving.queue = receiving.queue, []
            size, receiving.queued = receiving.queued, 0
            receiving.writing = True
            receiving.sink.write(chunks).addCallback(self._written, receiving, size).addErrback(
                self._failed, receiving
            )
        elif receiving.ended:
            receiving.writing = True
            receiving.sink.finish().addCallback(self._finished, receiving).addErrback(
                self._failed, receiving
            )

    def _written(self, result: object, receiving: Receiving, size: int) -> None:
        receiving.writing = False
        if receiving.number not in self._open:
            return
        receiving.taken += size
        receiving.timer.reset(receiving.timeout)
        # Coarse, so that it costs nothing; fine enough that a sender never
        # waits while there is room.
        if not receiving.ended and receiving.taken - receiving.credited >= self._window // 4:
            self._credit(receiving)
        self._drain(receiving)

    def _credit(self, receiving: Receiving) -> None:
        receiving.credited = receiving.taken
        if self._peer is not None:
            self._peer.tell(TransferCredit, transfer=receiving.number, taken=receiving.taken)

    def _giveWord(self) -> None:
        for receiving in self._open.values():
            # Before the first chunk the sender may not know of the transfer yet.
            if receiving.received and not receiving.ended:
                self._credit(receiving)
        self._word = self._clock.callLater(CREDIT_INTERVAL, self._giveWord)

    def _finished(self, result: object, receiving: Receiving) -> None:
        if self._close(receiving):
            receiving.done.callback(result)

    def _failed(self, failure: Failure, receiving: Receiving) -> None:
        if receiving.number not in self._open:
            return
        if self._peer is not None:
            if failure.check(ProtocolViolation):
                self._peer.abort(failure.value)  # type: ignore[arg-type]
            elif not receiving.ended:
                self._tellAbort(receiving, failure.getErrorMessage())
        self._fail(receiving, failure)

    def _fail(self, receiving: Receiving, failure: Failure) -> None:
        if self._close(receiving):
            receiving.sink.abort()
            receiving.done.errback(failure)

    def _close(self, receiving: Receiving) -> bool:
        if self._open.pop(receiving.number, None) is None:
            return False
        if receiving.timer.active():
            receiving.timer.cancel()
        if self._peer is not None:
            self._peer.paid()
        if not self._open and self._word is not None:
            self._word.cancel()
            self._word = None
        if not receiving.ended:
            self._late += self._window
        receiving.queue = []
        return True

    def _stalled(self, number: int) -> None:
        receiving = self._open.get(number)
        if receiving is None:
            return
        if receiving.writing:
            # It is our own disk that is slow; the peer cannot help it.
            receiving.timer = self._clock.callLater(receiving.timeout, self._stalled, number)
            return
        reason = LinkStalled(f"it sent nothing of transfer {number} for {receiving.timeout:g} s")
        if self._peer is not None:
            self._peer.abort(reason)
        self._fail(receiving, Failure(reason))

    def _tellAbort(self, receiving: Receiving, reason: str) -> None:
        if self._peer is not None:
            self._peer.tell(AbortTransfer, transfer=receiving.number, reason=reason)
