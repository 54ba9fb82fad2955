"""
Tests for L{wazuh_cluster.protocol.peer}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.protocols.amp import (
    AmpBox,
    Command,
    CommandLocator,
    String,
    UnhandledCommand,
    UnknownRemoteError,
)
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from wazuh_cluster.errors import (
    BadArgument,
    LimitExceeded,
    LinkClosed,
    LinkStalled,
    NoSuchGeneration,
    ProtocolViolation,
)
from wazuh_cluster.protocol import (
    CheckIntegrity,
    FileChunk,
    Hello,
    IntegrityChanged,
    KeepAlive,
    Limits,
)
from wazuh_cluster.testing.peers import PeerPair, connectPeers


class Shout(Command):
    """
    An application's own command.
    """

    arguments = [(b"text", String())]
    response = [(b"text", String())]


class Ponder(Command):
    """
    One that takes long to answer.
    """


class Answers(CommandLocator):
    """
    A locator whose answers the test decides.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []
        self.answer: Any = None
        self.pondering: Deferred[dict[str, Any]] = Deferred()

    @KeepAlive.responder
    def keepAlive(self, clock: int, tick: int | None) -> Any:
        self.asked.append(clock)
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"clock": clock + 1} if self.answer is None else self.answer

    @CheckIntegrity.responder
    def check(self, root: bytes, algorithm: str) -> Any:
        raise NoSuchGeneration("wait for it")

    @Ponder.responder
    def ponder(self) -> Any:
        return self.pondering

    @Shout.responder
    def shout(self, text: bytes) -> Any:
        return {"text": text.upper()}


class PeerTests(SynchronousTestCase):
    """
    A peer speaks AMP within bounds.
    """

    def connect(self, admitted: bool = True, **limits: Any) -> PeerPair:
        self.clock = Clock()
        self.answers = Answers()
        return connectPeers(self.clock, [], [self.answers], Limits(**limits), admitted)

    def ask(self, pair: PeerPair, command: Any = KeepAlive, **arguments: Any) -> Deferred[Any]:
        if command is KeepAlive and not arguments:
            arguments = {"clock": 7}
        asked = Deferred.fromCoroutine(pair.worker.call(command, **arguments))
        pair.settle()
        return asked

    def assertEnds(self, pair: PeerPair, kind: type[Exception], text: str = "") -> None:
        """
        The master's end ended its link for this reason, and left no timer.
        """
        pair.settle()
        reason = self.successResultOf(pair.master.whenClosed())
        self.assertIsInstance(reason, kind)
        self.assertIn(text, str(reason))
        self.assertEqual([], [str(call) for call in self.clock.getDelayedCalls()])

    def raw(self, pair: PeerPair, data: bytes) -> None:
        """
        Have the worker write bytes of the test's own.
        """
        pair.worker.transport.write(data)
        pair.settle()

    def test_asksAndAnswers(self) -> None:
        """
        A command is answered by the other end's locator.
        """
        pair = self.connect()
        self.assertEqual({"clock": 8}, self.successResultOf(self.ask(pair)))

    def test_declaredError(self) -> None:
        """
        An error that the command declares arrives as itself, and the link
        goes on.
        """
        pair = self.connect()
        asked = self.ask(pair, CheckIntegrity, root=b"r" * 32, algorithm="md5")
        self.assertIn("wait for it", str(self.failureResultOf(asked, NoSuchGeneration).value))
        self.assertTrue(pair.master.live)

    def test_undeclaredErrorIsABug(self) -> None:
        """
        What a responder raises undeclared is logged here, told as unknown
        there without its text, and does not end the link.
        """
        pair = self.connect()
        self.answers.answer = RuntimeError("secret")
        failure = self.failureResultOf(self.ask(pair), UnknownRemoteError)
        self.assertNotIn("secret", str(failure.value))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        self.assertTrue(pair.worker.live)

    def test_applicationsCommand(self) -> None:
        """
        A command that is not the cluster's own reaches a locator that knows
        it.
        """
        pair = self.connect()
        asked = self.ask(pair, Shout, text=b"hello")
        self.assertEqual({"text": b"HELLO"}, self.successResultOf(asked))

    def test_locatorOfTheLink(self) -> None:
        """
        An application's locator can be made for a link, when it is first
        needed: it knows who asks.
        """
        clock, made = Clock(), []

        class Knows(CommandLocator):
            def __init__(self, other: Any) -> None:
                super().__init__()
                made.append(other)
                self.other = other

            @Shout.responder
            def shout(self, text: bytes) -> Any:
                return {"text": text + self.other.remoteRole.encode("ascii")}

        pairs = [connectPeers(clock, masterLocators=[Knows]) for _ in range(2)]
        self.answers = Answers()
        for pair in pairs:
            pair.settle()
            self.assertNotIn(pair.master, made)
            for _ in range(2):
                answer = self.successResultOf(self.ask(pair, Shout, text=b"a "))
                self.assertEqual({"text": b"a worker"}, answer)
        self.assertEqual([pair.master for pair in pairs], made)

    def test_locatorRaises(self) -> None:
        """
        One that cannot be made is a bug of the application, not the link's end.
        """

        def fails(other: object) -> Any:
            raise RuntimeError("not today")

        pair = connectPeers(Clock(), masterLocators=[fails])
        self.failureResultOf(self.ask(pair, Shout, text=b"a"), UnknownRemoteError)
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        self.assertTrue(pair.master.live)

    def test_unknownCommand(self) -> None:
        """
        An unknown command is answered as such: an older version lives with a
        newer.
        """
        pair = self.connect()
        asked = pair.worker.callRemoteString(b"Mystery")
        outcome: list[Any] = []
        asked.addBoth(outcome.append)
        pair.settle()
        self.assertTrue(outcome[0].check(UnhandledCommand))
        self.assertTrue(pair.master.live)

    def test_startTLS(self) -> None:
        """
        AMP's own way into TLS ends the link, whether or not an answer is
        wanted.
        """
        for ask in ({}, {b"_ask": b"1"}):
            pair = self.connect()
            self.raw(pair, AmpBox({b"_command": b"StartTLS", **ask}).serialize())
            self.assertEnds(pair, ProtocolViolation, "TLS within TLS")

    def test_longName(self) -> None:
        """
        A command whose name no answer could repeat ends the link.
        """
        pair = self.connect()
        self.raw(pair, AmpBox(_command=b"\xff" * 60_000, _ask=b"1").serialize())
        self.assertEnds(pair, ProtocolViolation, "a name of 60000 bytes")

    def test_unreadableAnswer(self) -> None:
        """
        An answer that cannot be read fails the call, and ends the link.
        """
        pair = self.connect()
        asked = Deferred.fromCoroutine(pair.master.call(KeepAlive, clock=1))
        self.raw(pair, AmpBox(_answer=b"1", clock=b"soon").serialize())
        self.failureResultOf(asked, BadArgument)
        self.assertEnds(pair, BadArgument)

    def test_nothingBeforeHello(self) -> None:
        """
        Before Hello was answered, every other command ends the link.
        """
        pair = self.connect(admitted=False)
        self.failureResultOf(self.ask(pair), LinkClosed)
        self.assertEqual([], self.answers.asked)
        self.assertEnds(pair, ProtocolViolation, "before Hello")

    def test_wrongRole(self) -> None:
        """
        A command that the role may not send ends the link.
        """
        pair = self.connect()
        pair.worker.tell(IntegrityChanged, number=1, root=b"r" * 32)
        self.assertEnds(pair, ProtocolViolation, "a worker may not send IntegrityChanged")

    def test_masterMayNotSayHello(self) -> None:
        """
        The same in the other direction.
        """
        pair = self.connect()
        pair.master.callRemote(
            Hello,
            cluster="wazuh",
            name="m",
            role="master",
            oldest=1,
            newest=1,
            homeId=b"h" * 16,
            nonce=b"n" * 16,
            software="",
            wazuh="",
        ).addErrback(lambda _: None)
        pair.settle()
        self.assertIsInstance(self.successResultOf(pair.worker.whenClosed()), ProtocolViolation)

    def test_tooManyKeys(self) -> None:
        """
        A box with too many keys ends the link at the first key too many.
        """
        pair = self.connect(boxKeys=4)
        self.raw(pair, b"".join(b"\0\x01%c\0\0" % n for n in b"abcde"))
        self.assertEnds(pair, LimitExceeded, "4 keys")

    def test_boxWithoutEnd(self) -> None:
        """
        A box that grows beyond the limit ends the link, whatever its keys.
        """
        pair = self.connect()
        self.raw(pair, b"".join(b"\0\x01%c\xff\xff" % n + b"x" * 65535 for n in b"abc"))
        self.assertEnds(pair, LimitExceeded)

    def test_garbage(self) -> None:
        """
        Bytes that are not AMP end the link.
        """
        pair = self.connect()
        self.raw(pair, b"GET / HTTP/1.1\r\n\r\n")
        self.assertEnds(pair, ProtocolViolation, "not AMP")

    def test_badArguments(self) -> None:
        """
        Arguments that are missing or malformed end the link, and are not
        logged as a bug.
        """
        for box, text in (
            (AmpBox(_command=b"KeepAlive", _ask=b"1"), "'clock' is missing"),
            (AmpBox(_command=b"KeepAlive", _ask=b"1", clock=b"-4"), "whole number"),
            (AmpBox(_command=b"KeepAlive", clock=b"9" * 19), "too large"),
        ):
            pair = self.connect()
            self.raw(pair, box.serialize())
            self.assertEnds(pair, BadArgument, text)
            self.assertEqual([], self.flushLoggedErrors())

    def test_strangeBoxes(self) -> None:
        """
        An answer to nothing, an error without a code and a box that is neither
        question nor answer each end the link.
        """
        for box in (
            AmpBox(_answer=b"77", clock=b"1"),
            AmpBox(_error=b"77"),
            AmpBox(hello=b"there"),
        ):
            pair = self.connect()
            self.raw(pair, box.serialize())
            self.assertEnds(pair, ProtocolViolation)

    def test_unknownCommandWithoutAnswer(self) -> None:
        """
        An unknown command that wants no answer ends the link: it is sent only
        where the version knows it.
        """
        pair = self.connect()
        self.raw(pair, AmpBox(_command=b"Mystery").serialize())
        self.assertEnds(pair, ProtocolViolation, "unknown command Mystery")

    def test_openResponders(self) -> None:
        """
        While as many commands as allowed are being answered, no more is read;
        then it goes on where it was.
        """
        # Besides its name, a question has a number and a clock of one octet each.
        for limits in ({"openResponders": 3}, {"openBytes": 3 * (len("KeepAlive") + 2)}):
            self.assertOpen(**limits)

    def assertOpen(self, **limits: Any) -> None:
        """
        Three commands are worked on at a time.
        """
        pair = self.connect(**limits)
        self.answers.asked.clear()
        answers: list[Deferred[Any]] = [Deferred() for _ in range(5)]
        pending = list(answers)
        original = self.answers.asked

        def keepAlive(clock: int) -> Deferred[Any]:
            original.append(clock)
            return pending.pop(0)

        self.patch(
            pair.master.locator,
            "locateResponder",
            lambda name: lambda box: keepAlive(int(box[b"clock"])),
        )
        for n in range(5):
            self.ask(pair, clock=n)
        self.assertEqual([0, 1, 2], original)
        answers[1].callback(AmpBox(clock=b"1"))
        pair.settle()
        self.assertEqual([0, 1, 2, 3], original)
        for each in (answers[0], answers[2], answers[3], answers[4]):
            each.callback(AmpBox(clock=b"1"))
            pair.settle()
        self.assertEqual([0, 1, 2, 3, 4], original)

    def test_answersNeverRead(self) -> None:
        """
        A peer that asks and never reads the answers is not read from once too
        many of them wait, and is closed when it takes nothing for the limit.
        """
        pair = self.connect(answerBytes=1000, unreadAnswers=10_000)
        pair.worker.transport.pauseProducing()
        asked = 0
        while not pair.master.paused and asked < 5000:
            self.raw(
                pair, AmpBox(_command=b"KeepAlive", _ask=b"%d" % asked, clock=b"5").serialize()
            )
            asked += 1
        self.assertTrue(pair.master.paused)
        kept = len(self.answers.asked)
        self.raw(pair, AmpBox(_command=b"KeepAlive", _ask=b"x", clock=b"5").serialize())
        self.assertEqual(kept, len(self.answers.asked))
        self.clock.advance(10)
        self.assertEnds(pair, LinkStalled, "took nothing")

    def test_readsOnWhenAnswersAreTaken(self) -> None:
        """
        When the waiting answers are taken, reading goes on and nothing was
        lost.
        """
        pair = self.connect(answerBytes=1000, unreadAnswers=10_000)
        pair.worker.transport.pauseProducing()
        calls: list[Deferred[Any]] = []
        while not pair.master.paused and len(calls) < 5000:
            calls.append(self.ask(pair, clock=len(calls)))
        calls.append(self.ask(pair, clock=99))
        pair.worker.transport.resumeProducing()
        pair.settle()
        self.assertFalse(pair.master.paused)
        self.assertEqual({"clock": 100}, self.successResultOf(calls[-1]))

    def test_takenButNotRead(self) -> None:
        """
        A peer that asks much must show that it reads, though the system takes
        the answers for it: it is asked for a KeepAlive, and is closed if it
        does not answer that in time.
        """
        pair = self.connect(unreadAnswers=20, answerBytes=1_000_000, stallTimeout=10)
        pair.network.stall("10.0.0.2")
        for n in range(20):
            pair.master.dataReceived(
                AmpBox(_command=b"KeepAlive", _ask=b"%d" % n, clock=b"5").serialize()
            )
        pair.settle()
        self.assertEqual(20, len(self.answers.asked))
        self.clock.advance(9.9)
        self.assertTrue(pair.master.live)
        self.clock.advance(0.1)
        pair.network.heal("10.0.0.2")
        self.assertEnds(pair, LinkStalled, "no answer to KeepAlive within 10 s")

    def test_takenAndRead(self) -> None:
        """
        A peer that shows that it reads may go on asking, and one that asks
        little is not asked.
        """
        pair = self.connect(unreadAnswers=20)
        for n in range(100):
            self.assertEqual({"clock": n + 1}, self.successResultOf(self.ask(pair, clock=n)))
        self.assertTrue(pair.master.live)
        for _ in range(40):
            self.clock.advance(5)
            self.successResultOf(self.ask(pair))
        self.assertTrue(pair.master.live)
        pair.network.cut("master")
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_halfABox(self) -> None:
        """
        A box that is begun must be all there in time, however it drips; the
        time between two boxes does not count.
        """
        pair = self.connect(stallTimeout=10)
        box = AmpBox(_command=b"KeepAlive", clock=b"5").serialize()
        for _ in range(3):
            self.raw(pair, box[:9])
            self.clock.advance(9)
            self.raw(pair, box[9:] + box[:3])
            self.clock.advance(9)
            self.raw(pair, box[3:])
            self.clock.advance(60)
        self.assertEqual(6, len(self.answers.asked))
        for n in range(9):
            self.raw(pair, box[n : n + 1])
            self.clock.advance(1)
        self.assertTrue(pair.master.live)
        self.clock.advance(1)
        self.assertEnds(pair, LinkStalled, "the rest of a box within 10 s")

    def test_takesTurns(self) -> None:
        """
        Of many boxes that come at once, so many are worked on that the others
        have their turn between; none is lost, and nothing is read meanwhile.
        """
        pair = self.connect(boxesPerTurn=10)
        boxes = [AmpBox(_command=b"KeepAlive", clock=b"%d" % n).serialize() for n in range(35)]
        pair.master.dataReceived(b"".join(boxes))
        seen: list[int] = []

        def another() -> None:
            seen.append(len(self.answers.asked))
            if pair.master.paused:
                self.clock.callLater(0, another)

        another()
        pair.settle()
        self.assertEqual([10, 20, 30, 35], sorted(set(seen)))
        self.assertEqual(list(range(35)), self.answers.asked)

    def test_silentStranger(self) -> None:
        """
        A peer that does not say Hello in time is closed.
        """
        pair = self.connect(admitted=False, greetTimeout=10)
        pair.worker.admit()
        self.clock.advance(9.9)
        self.assertTrue(pair.master.live)
        self.clock.advance(0.1)
        self.assertEnds(pair, LinkStalled, "Hello within 10 s")

    def test_unansweredCall(self) -> None:
        """
        A call that is not answered in time fails, and the link ends.
        """
        pair = self.connect(answerTimeout=3.0)
        self.answers.answer = Deferred()
        asked = self.ask(pair)
        self.clock.advance(3)
        pair.settle()
        self.assertIn("KeepAlive", str(self.failureResultOf(asked, LinkStalled).value))
        self.assertFalse(pair.worker.live)
        self.answers.answer.callback({"clock": 1})

    def test_silentPeer(self) -> None:
        """
        A peer that owes an answer and says nothing at all is asked whether it
        lives, and given up before the answer's own time.
        """
        pair = self.connect()
        asked = Deferred.fromCoroutine(pair.worker.call(Shout, text=b"a"))
        pair.network.stall("master")
        self.clock.pump([1.0] * 7)
        self.assertTrue(pair.worker.live)
        self.clock.pump([1.0])
        self.failureResultOf(asked, LinkStalled)
        self.assertIn("said nothing for 8 s", str(pair.worker.closeReason()))

    def test_livelyPeer(self) -> None:
        """
        One that works on the answer still answers that, and has all the time
        that an answer may take.
        """
        pair = self.connect()
        asked = self.ask(pair, Ponder)
        self.clock.pump([1.0] * 19)
        self.assertTrue(pair.worker.live)
        self.clock.pump([1.0])
        self.assertIn("no answer to Ponder", str(self.failureResultOf(asked, LinkStalled).value))
        pair.settle()
        self.answers.pondering.callback({})

    def test_callWithoutLink(self) -> None:
        """
        A call on a link that is gone fails with why it went.
        """
        pair = self.connect()
        pair.network.cut("master")
        pair.settle()
        self.failureResultOf(self.ask(pair), LinkClosed)
        pair.worker.tell(FileChunk, transfer=1, sequence=0, data=b"x")

    def test_callsInFlightFail(self) -> None:
        """
        What waits for an answer when the link is lost fails with L{LinkClosed}.
        """
        pair = self.connect()
        self.answers.answer = Deferred()
        asked = self.ask(pair)
        pair.network.cut("master")
        self.failureResultOf(asked, LinkClosed)
        self.answers.answer.callback({"clock": 1})
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_closeIsOrderly(self) -> None:
        """
        Closing sends what was written before.
        """
        pair = self.connect()
        asked = Deferred.fromCoroutine(pair.worker.call(KeepAlive, clock=1))
        pair.worker.close()
        pair.settle()
        self.assertEqual([1], self.answers.asked)
        self.failureResultOf(asked, LinkClosed)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_closeEndsWithinASecond(self) -> None:
        """
        Closing to a peer that takes nothing ends by force.
        """
        pair = self.connect()
        pair.master.transport.pauseProducing()
        pair.worker.transport.write(b"x" * 100)
        pair.worker.close()
        pair.settle()
        closed = pair.worker.whenClosed()
        self.assertNoResult(closed)
        self.clock.advance(1)
        pair.settle()
        self.assertIsInstance(self.successResultOf(closed), LinkClosed)

    def test_quiet(self) -> None:
        """
        A link that comes and goes logs nothing by itself.
        """
        events: list[Any] = []

        @implementer(ILogObserver)
        def observe(event: Any) -> None:
            events.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        pair = self.connect()
        pair.network.cut("master")
        pair.settle()
        self.assertEqual([], [e for e in events if "AMP" in str(e.get("log_format"))])
