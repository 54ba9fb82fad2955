"""
Tests for L{wazuh_cluster.protocol.transfer} and both its ends.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from wazuh_cluster.errors import (
    LimitExceeded,
    LinkClosed,
    LinkStalled,
    MalformedStream,
    ProtocolViolation,
    TooBusy,
    TransferAborted,
)
from wazuh_cluster.protocol import (
    AbortTransfer,
    BytesSource,
    EndTransfer,
    FileChunk,
    ISink,
    ISource,
    LaterSource,
    Limits,
    RunnerSink,
    RunnerSource,
    TransferCredit,
)
from wazuh_cluster.testing.peers import PeerPair, connectPeers
from wazuh_cluster.testing.runner import ImmediateRunner


@implementer(ISink)
class Collected:
    """
    A sink that keeps what comes, and can hold back or fail.
    """

    def __init__(self) -> None:
        self.content = b""
        self.held: Deferred[None] | None = None
        self.hold = False
        self.failure: Exception | None = None
        self.aborted = 0
        self.largest = 0

    def write(self, chunks: list[bytes]) -> Deferred[None]:
        if self.failure is not None:
            return fail(self.failure)
        self.content += b"".join(chunks)
        self.largest = max(self.largest, sum(map(len, chunks)))
        if self.hold:
            self.held = Deferred()
            return self.held
        return succeed(None)

    def release(self) -> None:
        held, self.held = self.held, None
        assert held is not None
        held.callback(None)

    def finish(self) -> Deferred[object]:
        return succeed(self.content)

    def abort(self) -> None:
        self.aborted += 1


@implementer(ISource)
class Scripted:
    """
    A source whose reads the test answers.
    """

    def __init__(self) -> None:
        self.reads: list[Deferred[bytes]] = []
        self.closed = 0

    def read(self, size: int) -> Deferred[bytes]:
        self.reads.append(Deferred())
        return self.reads[-1]

    def close(self) -> None:
        self.closed += 1


CONTENT = bytes(range(256)) * 4096


class TransferCase(SynchronousTestCase):
    """
    Two connected peers, and transfers between them.
    """

    def setUp(self) -> None:
        self.clock = Clock()

    def connect(self, **limits: Any) -> PeerPair:
        self.pair = connectPeers(self.clock, limits=Limits(**limits))
        return self.pair

    def transfer(
        self, source: Any, sink: Any, digested: bool = False, most: int | None = None
    ) -> tuple[Deferred[int], Deferred[object]]:
        """
        Send from the master to the worker, as far as it goes at once.
        """
        pair = self.pair
        number = pair.workerTransfers.number()
        receiving = pair.workerTransfers.receive(number, sink, most, digested)
        sending = pair.masterTransfers.send(number, source, pair.workerTransfers.window, digested)
        pair.settle()
        return sending, receiving

    def assertMasterEnds(self, kind: type[Exception], text: str = "") -> None:
        self.pair.settle()
        reason = self.successResultOf(self.pair.master.whenClosed())
        self.assertIsInstance(reason, kind)
        self.assertIn(text, str(reason))
        self.assertEqual([], [str(call) for call in self.clock.getDelayedCalls()])

    def assertWorkerEnds(self, kind: type[Exception], text: str = "") -> None:
        self.pair.settle()
        reason = self.successResultOf(self.pair.worker.whenClosed())
        self.assertIsInstance(reason, kind)
        self.assertIn(text, str(reason))


class TransferTests(TransferCase):
    """
    A stream goes from a source at one end into a sink at the other.
    """

    def test_interfaces(self) -> None:
        """
        The sources and sinks provide what they say.
        """
        runner = ImmediateRunner()
        for source in (BytesSource(b""), LaterSource(), RunnerSource(runner, None)):  # type: ignore[arg-type]
            verifyObject(ISource, source)
        verifyObject(ISink, RunnerSink(runner, None))  # type: ignore[arg-type]

    def test_arrivesWhole(self) -> None:
        """
        A stream of many windows arrives byte for byte, and leaves no timer.
        """
        self.connect()
        content = CONTENT * 4
        sink = Collected()
        sending, receiving = self.transfer(BytesSource(content), sink, digested=True)
        self.assertEqual(len(content), self.successResultOf(sending))
        self.assertEqual(content, self.successResultOf(receiving))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_empty(self) -> None:
        """
        An empty stream arrives as one.
        """
        self.connect()
        sending, receiving = self.transfer(BytesSource(b""), Collected(), digested=True)
        self.assertEqual(0, self.successResultOf(sending))
        self.assertEqual(b"", self.successResultOf(receiving))

    def test_slowSinkBoundsWhatIsUnderWay(self) -> None:
        """
        A sink that takes nothing in is sent a window and no more; when it goes
        on, so does the sender.
        """
        self.connect(window=200_000)
        sink = Collected()
        sink.hold = True
        _sending, receiving = self.transfer(BytesSource(CONTENT), sink)
        before = self.pair.network.carried
        self.assertLess(before, 210_000)
        while sink.held is not None:
            sink.release()
            self.pair.settle()
        self.assertEqual(CONTENT, self.successResultOf(receiving))
        self.assertLessEqual(sink.largest, 200_000)

    def test_readsAhead(self) -> None:
        """
        The next block is read when the one before was written, not when it was
        taken in; and none before that, however long the receiver takes.
        """
        self.connect(window=100_000)
        source, sink = Scripted(), Collected()
        sink.hold = True
        sending, receiving = self.transfer(source, sink)
        source.reads[0].callback(b"a" * 150_000)
        self.pair.settle()
        self.assertEqual(1, len(source.reads))
        while len(source.reads) == 1:
            sink.release()
            self.pair.settle()
        self.assertLess(len(sink.content), 150_000)
        source.reads[1].callback(b"b" * 50_000)
        while len(source.reads) == 2:
            sink.release()
            self.pair.settle()
        source.reads[2].callback(b"")
        while sink.held is not None:
            sink.release()
            self.pair.settle()
        self.assertEqual(b"a" * 150_000 + b"b" * 50_000, self.successResultOf(receiving))
        self.assertEqual(200_000, self.successResultOf(sending))
        self.assertEqual(3, len(source.reads))

    def test_manyAtOnce(self) -> None:
        """
        Several transfers go on side by side: a short one does not wait for a
        long one.
        """
        self.connect()
        long = Collected()
        long.hold = True
        self.transfer(BytesSource(CONTENT * 8), long)
        _, short = self.transfer(BytesSource(b"short"), Collected())
        self.assertEqual(b"short", self.successResultOf(short))
        self.assertLess(len(long.content), len(CONTENT) * 8)

    def test_bothWays(self) -> None:
        """
        Two nodes that send to each other both finish.
        """
        pair = self.connect()
        up = Collected()
        number = pair.workerTransfers.number()
        upward = pair.masterTransfers.receive(number, up)
        pair.workerTransfers.send(number, BytesSource(CONTENT * 2), pair.masterTransfers.window)
        _, downward = self.transfer(BytesSource(CONTENT * 3), Collected())
        self.assertEqual(CONTENT * 2, self.successResultOf(upward))
        self.assertEqual(CONTENT * 3, self.successResultOf(downward))

    def test_smallPieces(self) -> None:
        """
        Thousands of tiny chunks are kept as a few pieces, in order.
        """
        pair = self.connect()
        sink = Collected()
        sink.hold = True
        pieces: list[int] = []
        receiving = pair.workerTransfers.receive(1, sink)
        pair.masterTransfers.send(1, Scripted(), 10).addErrback(lambda _: None)
        content = CONTENT[:5000]
        for n, octet in enumerate(content):
            pair.master.tell(FileChunk, transfer=1, sequence=n, data=bytes([octet]))
        pair.settle()
        original = sink.write

        def write(chunks: list[bytes]) -> Deferred[None]:
            pieces.append(len(chunks))
            return original(chunks)

        sink.write = write  # type: ignore[method-assign]
        sink.hold = False
        sink.release()
        pair.master.tell(EndTransfer, transfer=1, size=5000, digest=None)
        pair.settle()
        self.assertEqual(content, self.successResultOf(receiving))
        self.assertEqual([5], pieces)

    def test_sourceFails(self) -> None:
        """
        When the source fails, the receiver hears why, and both ends let go.
        The link goes on.
        """
        self.connect()
        source, sink = Scripted(), Collected()
        sending, receiving = self.transfer(source, sink)
        source.reads[0].errback(OSError(5, "Input/output error"))
        self.pair.settle()
        self.failureResultOf(sending, OSError)
        self.assertIn("Input/output", str(self.failureResultOf(receiving, TransferAborted).value))
        self.assertEqual((1, 1), (source.closed, sink.aborted))
        self.assertTrue(self.pair.worker.live)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_sinkFails(self) -> None:
        """
        When the sink fails, the sender hears why and stops; what is under way
        is dropped, and the link goes on.
        """
        self.connect()
        sink = Collected()
        sink.failure = OSError(28, "No space left on device")
        sending, receiving = self.transfer(BytesSource(CONTENT * 4), sink)
        self.failureResultOf(receiving, OSError)
        self.assertIn("No space", str(self.failureResultOf(sending, TransferAborted).value))
        self.assertEqual(1, sink.aborted)
        _, again = self.transfer(BytesSource(b"again"), Collected())
        self.assertEqual(b"again", self.successResultOf(again))

    def test_malformedStreamEndsTheLink(self) -> None:
        """
        A sink that finds the stream malformed ends the link, not only the
        transfer.
        """
        self.connect()
        sink = Collected()
        sink.failure = MalformedStream("this is not a pack")
        sending, receiving = self.transfer(BytesSource(b"x"), sink)
        self.failureResultOf(receiving, MalformedStream)
        self.assertWorkerEnds(MalformedStream)
        self.successResultOf(sending)

    def test_receiverAborts(self) -> None:
        """
        A receiver that wants no more of a transfer ends it at both ends.
        """
        self.connect()
        source, sink = Scripted(), Collected()
        sending, receiving = self.transfer(source, sink)
        self.pair.workerTransfers.abort(1, "not wanted")
        self.pair.settle()
        self.failureResultOf(receiving, TransferAborted)
        self.assertIn("not wanted", str(self.failureResultOf(sending, TransferAborted).value))
        self.assertEqual(1, source.closed)
        source.reads[0].callback(b"late")
        self.pair.settle()
        self.assertTrue(self.pair.worker.live)

    def test_linkLost(self) -> None:
        """
        When the link is lost, both ends fail with L{LinkClosed} and let go.
        """
        self.connect()
        source, sink = Scripted(), Collected()
        sending, receiving = self.transfer(source, sink)
        self.pair.network.cut("master")
        self.failureResultOf(sending, LinkClosed)
        self.failureResultOf(receiving, LinkClosed)
        self.assertEqual((1, 1), (source.closed, sink.aborted))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_receiverTakesNothing(self) -> None:
        """
        A sender whose receiver gives no credit for the limit ends the link.
        """
        self.connect(window=100_000, transferTimeout=30)
        sink = Collected()
        number = self.pair.workerTransfers.number()
        sending = self.pair.masterTransfers.send(number, BytesSource(CONTENT), 100_000)
        receiving = self.pair.workerTransfers.receive(number, sink)
        sink.hold = True
        self.pair.settle()
        self.clock.advance(30)
        self.failureResultOf(sending, LinkStalled)
        self.assertIn("took nothing", str(self.pair.master.closeReason()))
        self.pair.settle()
        self.failureResultOf(receiving, LinkClosed)

    def test_receiverSaysNothing(self) -> None:
        """
        A receiver that says nothing when its credit is used up is given up
        much sooner: one that is only slow would say so.
        """
        self.connect()
        # What is under way in the system's buffers says nothing.
        self.pair.worker.transport.pauseProducing()
        sending = self.pair.masterTransfers.send(1, BytesSource(CONTENT), 10_000)
        self.clock.pump([1.0] * 7)
        self.assertTrue(self.pair.master.live)
        self.clock.pump([1.0])
        self.failureResultOf(sending, LinkStalled)
        reason = str(self.pair.master.closeReason())
        self.assertIn("did not say for 8 s how much of transfer 1 it has taken", reason)

    def test_slowReceiver(self) -> None:
        """
        One whose disk is slow says each second that it goes on, and is not
        given up before the limit for standstill; then it is, though it says so.
        """
        self.connect(window=100_000)
        sink = Collected()
        receiving = self.pair.workerTransfers.receive(1, sink)
        sending = self.pair.masterTransfers.send(1, BytesSource(CONTENT), 100_000)
        sink.hold = True
        for _ in range(5):
            self.clock.pump([0.5] * 100)
            self.assertTrue(self.pair.master.live)
            sink.release()
        self.assertNoResult(sending)
        self.clock.pump([0.5] * 130)
        self.failureResultOf(sending, LinkStalled)
        self.assertIn("took nothing of transfer 1 for 60 s", str(self.pair.master.closeReason()))
        self.failureResultOf(receiving, LinkClosed)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_slowNetwork(self) -> None:
        """
        A receiver to which little comes is not silent either.
        """
        self.connect(window=1_000_000)
        source, sink = Scripted(), Collected()
        sending, receiving = self.transfer(source, sink)
        for n in range(30):
            source.reads[n].callback(b"x" * 1000)
            self.clock.pump([0.5] * 14)
        source.reads[30].callback(b"")
        self.pair.settle()
        self.assertEqual(30_000, self.successResultOf(sending))
        self.successResultOf(receiving)

    def test_silentSender(self) -> None:
        """
        A sender that sends nothing and does not answer whether it lives is
        given up long before the limit for standstill.
        """
        self.connect()
        receiving = self.pair.workerTransfers.receive(1, Collected())
        self.pair.network.stall("master")
        self.clock.pump([1.0] * 7)
        self.assertTrue(self.pair.worker.live)
        self.clock.pump([1.0])
        self.failureResultOf(receiving, LinkClosed, LinkStalled)
        self.assertWorkerEnds(LinkStalled, "it said nothing for 8 s")

    def test_livelySender(self) -> None:
        """
        One whose disk is slow answers, and has all of that limit.
        """
        self.connect()
        receiving = self.pair.workerTransfers.receive(1, Collected())
        self.clock.pump([1.0] * 59)
        self.assertTrue(self.pair.worker.live)
        self.clock.pump([1.0])
        self.failureResultOf(receiving, LinkStalled)

    def test_senderSendsNothing(self) -> None:
        """
        A receiver whose sender sends nothing for the limit ends the link.
        """
        self.connect(transferTimeout=30)
        receiving = self.pair.workerTransfers.receive(1, Collected())
        self.clock.advance(30)
        self.failureResultOf(receiving, LinkStalled)
        self.assertWorkerEnds(LinkStalled, "sent nothing")

    def test_senderMustHurry(self) -> None:
        """
        For one transfer the limit can be another.
        """
        self.connect(transferTimeout=30)
        receiving = self.pair.workerTransfers.receive(1, Collected(), timeout=5)
        source = Scripted()
        self.pair.masterTransfers.send(1, source, 10).addErrback(lambda _: None)
        self.clock.advance(4)
        source.reads[0].callback(b"x")
        self.pair.settle()
        self.clock.advance(4.9)
        self.assertTrue(self.pair.worker.live)
        self.clock.advance(0.1)
        self.failureResultOf(receiving, LinkStalled)
        self.assertWorkerEnds(LinkStalled, "sent nothing of transfer 1 for 5 s")

    def test_ownSlowDiskIsNotThePeersFault(self) -> None:
        """
        While this end's own source or sink takes long, the limit does not
        run.
        """
        self.connect(transferTimeout=30)
        source, sink = Scripted(), Collected()
        sending, receiving = self.transfer(source, sink)
        sink.hold = True
        source.reads[0].callback(b"x" * 10)
        self.pair.settle()
        for _ in range(5):
            self.clock.advance(29)
            self.pair.settle()
        self.assertTrue(self.pair.worker.live)
        self.assertNoResult(receiving)
        self.pair.network.cut("master")
        self.failureResultOf(sending)
        self.failureResultOf(receiving)

    def test_tooMany(self) -> None:
        """
        More transfers than the limit are refused, at either end.
        """
        pair = self.connect(transfers=2)
        for number in (1, 3):
            pair.workerTransfers.receive(number, Collected()).addErrback(lambda _: None)
            pair.masterTransfers.send(number, Scripted(), 10).addErrback(lambda _: None)
        self.assertRaises(TooBusy, pair.workerTransfers.receive, 5, Collected())
        self.assertRaises(TooBusy, pair.masterTransfers.send, 5, Scripted(), 10)
        pair.network.cut("master")

    def test_numbersAreNeverUsedAgain(self) -> None:
        """
        A number that was used opens nothing, at either end; the two ends'
        numbers differ.
        """
        pair = self.connect()
        self.transfer(BytesSource(b""), Collected())
        self.assertRaises(ProtocolViolation, pair.workerTransfers.receive, 1, Collected())
        self.assertRaises(ProtocolViolation, pair.masterTransfers.send, 1, Scripted(), 10)
        self.assertNotEqual(pair.workerTransfers.number() % 2, pair.masterTransfers.number() % 2)

    def test_windowWithoutRoom(self) -> None:
        """
        A receiver that grants no window breaks the protocol.
        """
        pair = self.connect()
        self.assertRaises(ProtocolViolation, pair.masterTransfers.send, 1, Scripted(), 0)


class HostileTransferTests(TransferCase):
    """
    What a peer may not do to a transfer ends the link at once.
    """

    def open(self, **limits: Any) -> Deferred[object]:
        """
        Have the master expect transfer 1 from the worker.
        """
        pair = self.connect(**limits)
        self.sink = Collected()
        self.sink.hold = True
        receiving = pair.masterTransfers.receive(1, self.sink, most=1_000_000, digested=True)
        receiving.addErrback(lambda _: None)
        pair.workerTransfers.send(1, Scripted(), 1).addErrback(lambda _: None)
        return receiving

    def chunk(self, sequence: int, data: bytes = b"x", transfer: int = 1) -> None:
        self.pair.worker.tell(FileChunk, transfer=transfer, sequence=sequence, data=data)
        self.pair.settle()

    def test_outOfOrder(self) -> None:
        """
        Chunks out of order.
        """
        self.open()
        self.chunk(1)
        self.assertMasterEnds(ProtocolViolation, "out of order")

    def test_twice(self) -> None:
        """
        A chunk that comes twice.
        """
        self.open()
        self.chunk(0)
        self.chunk(0)
        self.assertMasterEnds(ProtocolViolation, "out of order")

    def test_moreThanTheWindow(self) -> None:
        """
        More than the receiver granted.
        """
        self.open(window=100_000)
        self.chunk(0, b"x" * 65_000)
        self.chunk(1, b"x" * 65_000)
        self.assertMasterEnds(LimitExceeded, "more than it may")
        self.assertLessEqual(len(self.sink.content), 65_000)

    def test_moreThanAgreed(self) -> None:
        """
        More than this transfer may have in all.
        """
        self.open(window=10_000_000)
        for n in range(16):
            self.chunk(n, b"x" * 65_000)
        self.assertMasterEnds(LimitExceeded, "larger than")

    def test_neverOpened(self) -> None:
        """
        A chunk, an end, credit or an abort for what nobody opened.
        """
        for command, arguments in (
            (FileChunk, {"sequence": 0, "data": b"x"}),
            (EndTransfer, {"size": 0, "digest": None}),
            (TransferCredit, {"taken": 0}),
            (AbortTransfer, {"reason": "no"}),
        ):
            self.open()
            self.pair.worker.tell(command, transfer=99, **arguments)
            self.assertMasterEnds(ProtocolViolation, "never opened")

    def test_goesOnAfterItsEnd(self) -> None:
        """
        More chunks after an abort than can have been under way.
        """
        self.open(window=100_000)
        self.pair.masterTransfers.abort(1, "no")
        self.chunk(0, b"x" * 65_000)
        self.assertTrue(self.pair.master.live)
        self.chunk(1, b"x" * 65_000)
        self.assertMasterEnds(ProtocolViolation, "goes on after its end")

    def test_emptyAndLargeChunks(self) -> None:
        """
        A chunk of no bytes, or of more than a chunk has.
        """
        for data in (b"", b"x" * 65_001):
            self.open()
            self.pair.worker.callRemoteString(
                b"FileChunk", requiresAnswer=False, transfer=b"1", sequence=b"0", data=data
            )
            self.assertMasterEnds(ProtocolViolation, "'data'")

    def test_wrongSize(self) -> None:
        """
        An end that tells another size.
        """
        self.open()
        self.chunk(0)
        self.pair.worker.tell(EndTransfer, transfer=1, size=2, digest=sha256(b"x").digest())
        self.assertMasterEnds(ProtocolViolation, "another size")

    def test_wrongOrMissingDigest(self) -> None:
        """
        An end that tells another digest, or none where one is agreed.
        """
        for digest in (None, b"d" * 32):
            self.open()
            self.chunk(0)
            self.pair.worker.tell(EndTransfer, transfer=1, size=1, digest=digest)
            self.assertMasterEnds(ProtocolViolation, "another digest")

    def test_endTwice(self) -> None:
        """
        An end after the end, while the first is being taken in.
        """
        self.open()
        self.chunk(0)
        for _ in range(2):
            self.pair.worker.tell(EndTransfer, transfer=1, size=1, digest=sha256(b"x").digest())
        self.assertMasterEnds(ProtocolViolation)

    def test_creditBeyondWhatWasSent(self) -> None:
        """
        Credit for bytes that were not sent, or less than before.
        """
        for credits in ((1,), (65_000, 0)):
            self.connect()
            pair = self.pair
            source = Scripted()
            sending = pair.masterTransfers.send(1, source, 100_000)
            sending.addErrback(lambda _: None)
            pair.workerTransfers.receive(1, Collected()).addErrback(lambda _: None)
            if len(credits) > 1:
                source.reads[0].callback(b"x" * 65_000)
                pair.settle()
            for taken in credits:
                pair.worker.tell(TransferCredit, transfer=1, taken=taken)
            self.assertMasterEnds(ProtocolViolation, "did not send")
