"""
Transfers: streams of chunks, both ways, over one link.

A transfer is opened by a command of its receiver or its sender, has a number
that is never used again on the link, and ends by EndTransfer or AbortTransfer.
Any size costs a window of memory on the receiving and a block on the sending
end. The numbers that a worker chooses are odd, those of a master even.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.protocols import amp

from wazuh_cluster.errors import LinkClosed, ProtocolViolation, TooBusy
from wazuh_cluster.model import WORKER
from wazuh_cluster.protocol.commands import AbortTransfer, EndTransfer, FileChunk, TransferCredit
from wazuh_cluster.protocol.interfaces import ISink, ISource
from wazuh_cluster.protocol.limits import Limits
from wazuh_cluster.protocol.peer import Peer
from wazuh_cluster.protocol.receiving import Receiver
from wazuh_cluster.protocol.sending import Sender


class Transfers(amp.CommandLocator):
    """
    The transfers of one link, and the responders of what is said about them.
    """

    def __init__(self, role: str, clock: IReactorTime, limits: Limits) -> None:
        """
        @param role: this end's.
        """
        super().__init__()
        self._limits = limits
        self._next = 1 if role == WORKER else 2
        self._sender = Sender(clock, limits.transferTimeout, limits.stallTimeout)
        self._receiver = Receiver(clock, limits.window, limits.transferTimeout)

    def attach(self, peer: Peer) -> None:
        """
        The link is there; its transfers end with it.
        """
        self._sender.attach(peer)
        self._receiver.attach(peer)
        peer.whenClosed().addCallback(self._linkClosed, peer)

    def directly(self) -> Mapping[bytes, tuple[type[amp.Command], Callable[..., None]]]:
        """
        See L{wazuh_cluster.protocol.locators.IDirect}.
        """
        return {
            FileChunk.commandName: (FileChunk, self._chunk),
            TransferCredit.commandName: (TransferCredit, self._credit),
        }

    def _chunk(self, transfer: int, sequence: int, data: bytes) -> None:
        self._receiver.chunk(transfer, sequence, data)

    def _credit(self, transfer: int, taken: int) -> None:
        self._sender.credit(transfer, taken)

    @property
    def window(self) -> int:
        """
        How many bytes this end lets a transfer have under way.
        """
        return self._limits.window

    def number(self) -> int:
        """
        A number for a transfer that this end opens. They must be used in the
        order in which they were taken.
        """
        number = self._next
        self._next += 2
        return number

    def send(
        self, number: int, source: ISource, window: int, digested: bool = False
    ) -> Deferred[int]:
        """
        Send what a source gives.

        @param window: what the receiver lets be under way, in bytes.
        @param digested: whether to tell a digest of the whole at the end.
        @return: fires with the number of bytes when all was sent.
        @raise TooBusy: if too many are open.
        """
        if len(self._sender) >= self._limits.transfers:
            raise TooBusy(f"{len(self._sender)} transfers are open: ask again later")
        if window < 1:
            raise ProtocolViolation("a window without room")
        return self._sender.send(number, source, window, digested)

    def receive(
        self,
        number: int,
        sink: ISink,
        most: int | None = None,
        digested: bool = False,
        timeout: float | None = None,
    ) -> Deferred[object]:
        """
        Receive into a sink.

        @param most: how many bytes may come in all.
        @param digested: whether a digest of the whole must come at the end.
        @param timeout: how long its sender may send nothing, in seconds; by
            default the limit C{transferTimeout}.
        @return: fires with the sink's result.
        @raise TooBusy: if too many are open.
        """
        if len(self._receiver) >= self._limits.transfers:
            raise TooBusy(f"{len(self._receiver)} transfers are open: ask again later")
        return self._receiver.receive(number, sink, most, digested, timeout)

    def abort(self, number: int, reason: str) -> None:
        """
        Want no more of a transfer that this end receives.
        """
        self._receiver.abort(number, reason)

    def _linkClosed(self, why: BaseException, peer: Peer) -> None:
        reason = peer.closeReason()
        if not isinstance(reason, LinkClosed):
            reason = LinkClosed(str(reason))
        self._sender.close(reason)
        self._receiver.close(reason)

    @FileChunk.responder
    def fileChunk(self, transfer: int, sequence: int, data: bytes) -> dict[str, object]:
        """
        See L{FileChunk}.
        """
        self._chunk(transfer, sequence, data)
        return {}

    @EndTransfer.responder
    def endTransfer(self, transfer: int, size: int, digest: bytes | None) -> dict[str, object]:
        """
        See L{EndTransfer}.
        """
        self._receiver.end(transfer, size, digest)
        return {}

    @AbortTransfer.responder
    def abortTransfer(self, transfer: int, reason: str) -> dict[str, object]:
        """
        See L{AbortTransfer}.
        """
        known = self._receiver.aborted(transfer, reason)
        if not self._sender.aborted(transfer, reason) and not known:
            raise ProtocolViolation(f"transfer {transfer} was never opened")
        return {}

    @TransferCredit.responder
    def transferCredit(self, transfer: int, taken: int) -> dict[str, object]:
        """
        See L{TransferCredit}.
        """
        self._credit(transfer, taken)
        return {}
