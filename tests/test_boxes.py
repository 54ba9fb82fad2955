"""
Tests for L{wazuh_cluster.protocol.boxes}.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.protocols.amp import AmpBox
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import LimitExceeded, ProtocolViolation
from wazuh_cluster.protocol.boxes import BoxParser, chunkBoxes
from wazuh_cluster.protocol.commands import CHUNK_SIZE, FileChunk

BOXES = st.lists(
    st.dictionaries(
        st.binary(min_size=1, max_size=255), st.binary(max_size=400), min_size=1, max_size=5
    ),
    max_size=6,
)


class BoxParserTests(SynchronousTestCase):
    """
    A stream is taken apart as AMP puts it together, however it is cut.
    """

    def setUp(self) -> None:
        self.boxes: list[AmpBox] = []
        self.parser = BoxParser(self.boxes.append, 16, 70_000)

    @settings(deadline=None, max_examples=60)
    @given(BOXES, st.lists(st.integers(1, 700), min_size=1, max_size=30))
    def test_anyCut(self, boxes: list[dict[bytes, bytes]], cuts: list[int]) -> None:
        """
        Boxes arrive whole and in order, whatever pieces they come in.
        """
        self.setUp()
        stream = b"".join(AmpBox(box).serialize() for box in boxes)
        position = turn = 0
        while position < len(stream):
            size = cuts[turn % len(cuts)]
            self.parser.feed(stream[position : position + size])
            position += size
            turn += 1
        self.assertEqual(boxes, self.boxes)

    @settings(deadline=None, max_examples=60)
    @given(st.binary(max_size=2000))
    def test_anyBytes(self, data: bytes) -> None:
        """
        Any bytes are boxes, wait for more, or break the protocol; nothing
        else is raised.
        """
        self.setUp()
        try:
            self.parser.feed(data)
        except ProtocolViolation:
            return
        self.assertLessEqual(sum(map(len, self.boxes)), len(data))

    def test_paused(self) -> None:
        """
        A parser that is paused while it delivers keeps the rest, in order,
        for when it is fed again.
        """

        def deliver(box: AmpBox) -> None:
            self.boxes.append(box)
            parser.paused = True

        parser = BoxParser(deliver, 16, 70_000)
        sent = [AmpBox(n=b"%d" % n) for n in range(3)]
        parser.feed(b"".join(box.serialize() for box in sent))
        self.assertEqual(sent[:1], self.boxes)
        parser.feed(AmpBox(n=b"3").serialize())
        self.assertEqual(sent[:1], self.boxes)
        for count in (2, 3, 4):
            parser.paused = False
            parser.feed(b"")
            self.assertEqual(count, len(self.boxes))

    def test_fedWhileDelivering(self) -> None:
        """
        What is fed while a box is being delivered comes after it.
        """
        second = AmpBox(n=b"2")

        def deliver(box: AmpBox) -> None:
            self.boxes.append(box)
            if len(self.boxes) == 1:
                parser.feed(second.serialize())
                self.assertEqual(1, len(self.boxes))

        parser = BoxParser(deliver, 16, 70_000)
        parser.feed(AmpBox(n=b"1").serialize())
        self.assertEqual([AmpBox(n=b"1"), second], self.boxes)

    def test_limits(self) -> None:
        """
        A box that is too large is refused at the length that makes it so,
        before its bytes are kept.
        """
        parser = BoxParser(self.boxes.append, 2, 1000)
        self.assertRaises(LimitExceeded, parser.feed, b"\0\x01a\x03\xe8")
        parser = BoxParser(self.boxes.append, 2, 1000)
        self.assertRaises(LimitExceeded, parser.feed, b"\0\1a\0\0\0\1b\0\0\0\1c")
        parser = BoxParser(self.boxes.append, 2, 1000)
        self.assertRaises(ProtocolViolation, parser.feed, b"\1\0")

    def test_failedDelivery(self) -> None:
        """
        What C{deliver} raises passes through, and the box is not delivered
        again.
        """

        def deliver(box: AmpBox) -> None:
            self.boxes.append(box)
            raise ProtocolViolation("no")

        parser = BoxParser(deliver, 16, 70_000)
        self.assertRaises(ProtocolViolation, parser.feed, AmpBox(n=b"1").serialize())
        self.assertEqual(1, len(self.boxes))


def ampChunk(transfer: int, sequence: int, data: bytes) -> AmpBox:
    """
    A FileChunk as AMP makes it.
    """
    values = {"transfer": transfer, "sequence": sequence, "data": data}
    box = FileChunk.makeArguments(values, None)
    box[b"_command"] = FileChunk.commandName
    return box


def asBoxes(came: Sequence[object]) -> list[object]:
    """
    What came, with chunks as the boxes that they are.
    """
    return [dict(ampChunk(*each)) if isinstance(each, tuple) else each for each in came]


NUMBERS = st.integers(0, 10**18 - 1)


class ChunkTests(SynchronousTestCase):
    """
    FileChunks, which are put together and taken apart without a box, are AMP's.
    """

    def setUp(self) -> None:
        self.came: list[object] = []
        self.parser = BoxParser(self.came.append, 16, 70_000, self.take)

    def take(self, transfer: int, sequence: int, data: bytes) -> None:
        self.assertIsInstance(data, bytes)
        self.came.append((transfer, sequence, data))

    def test_same(self) -> None:
        """
        They are written as AMP writes them, byte for byte.
        """
        data = bytes(range(256)) * 600
        boxes, after = chunkBoxes(70, 9, memoryview(data))
        pieces = [data[n : n + CHUNK_SIZE] for n in range(0, len(data), CHUNK_SIZE)]
        expected = [ampChunk(70, 9 + n, piece).serialize() for n, piece in enumerate(pieces)]
        self.assertEqual((b"".join(expected), 12), (boxes, after))
        self.assertEqual((b"", 5), chunkBoxes(70, 5, memoryview(b"")))

    @settings(deadline=None, max_examples=80)
    @given(
        st.lists(
            st.one_of(
                st.dictionaries(
                    st.binary(min_size=1, max_size=9),
                    st.binary(max_size=90),
                    min_size=1,
                    max_size=5,
                ),
                st.tuples(NUMBERS, NUMBERS, st.binary(min_size=1, max_size=900)),
            ),
            max_size=8,
        ),
        st.lists(st.integers(1, 2000), min_size=1, max_size=30),
    )
    def test_anyCut(
        self, sent: list[dict[bytes, bytes] | tuple[int, int, bytes]], cuts: list[int]
    ) -> None:
        """
        Chunks and other boxes come whole and in order, whatever pieces they
        come in. A chunk whose head was cut may come as a box.
        """
        self.setUp()
        stream = b"".join(
            AmpBox(each).serialize()
            if isinstance(each, dict)
            else chunkBoxes(each[0], each[1], memoryview(each[2]))[0]
            for each in sent
        )
        position = turn = 0
        while position < len(stream):
            size = cuts[turn % len(cuts)]
            self.parser.feed(stream[position : position + size])
            position += size
            turn += 1
        self.assertEqual(asBoxes(sent), asBoxes(self.came))

    def test_odd(self) -> None:
        """
        A FileChunk that is written in another way, or says what none may say,
        is a box like any other.
        """
        chunk = ampChunk(7, 8, b"data")
        for odd in (
            {**chunk, b"data": b""},
            {**chunk, b"data": bytes(CHUNK_SIZE + 1)},
            {**chunk, b"sequence": b"9" * 19},
            {**chunk, b"sequence": b""},
            {**chunk, b"sequence": b"-1"},
            {**chunk, b"transfer": b"1x"},
            {**chunk, b"zzz": b""},
            {**chunk, b"_ask": b"1"},
        ):
            self.setUp()
            self.parser.feed(AmpBox(odd).serialize() + chunk.serialize())
            self.assertEqual([odd, (7, 8, b"data")], self.came)
        self.setUp()
        backwards = b"".join(
            len(text).to_bytes(2, "big") + text
            for key in sorted(chunk, reverse=True)
            for text in (key, chunk[key])
        )
        self.parser.feed(backwards + b"\0\0")
        self.assertEqual([dict(chunk)], self.came)

    @settings(deadline=None, max_examples=80)
    @given(st.integers(0, 80), st.binary(max_size=40), st.integers(1, 90))
    def test_damaged(self, start: int, garbage: bytes, cut: int) -> None:
        """
        What is damaged comes as the same boxes, or ends in the same way, as
        where chunks are no exception.
        """
        stream = ampChunk(7, 8, b"data" * 4).serialize() * 3
        damaged = stream[:start] + garbage + stream[start + len(garbage) :]
        outcomes = []
        for take in (self.take, None):
            self.came = []
            parser = BoxParser(self.came.append, 16, 70_000, take)
            try:
                for position in range(0, len(damaged), cut):
                    parser.feed(damaged[position : position + cut])
                # A chunk is looked at when it is all there.
                parser.feed(b"\xff" * 70_000)
            except ProtocolViolation as violation:
                self.came.append(str(violation))
            outcomes.append(asBoxes(self.came))
        self.assertEqual(*outcomes)

    def test_paused(self) -> None:
        """
        While the parser is paused, chunks wait as boxes do.
        """

        def take(transfer: int, sequence: int, data: bytes) -> None:
            self.take(transfer, sequence, data)
            parser.paused = True

        parser = BoxParser(self.came.append, 16, 70_000, take)
        parser.feed(ampChunk(1, 0, b"a").serialize() + ampChunk(1, 1, b"b").serialize())
        self.assertEqual([(1, 0, b"a")], self.came)
        parser.paused = False
        parser.feed(b"")
        self.assertEqual([(1, 0, b"a"), (1, 1, b"b")], self.came)

    def test_refused(self) -> None:
        """
        A chunk that was refused is not delivered again.
        """

        def take(transfer: int, sequence: int, data: bytes) -> None:
            self.take(transfer, sequence, data)
            raise ProtocolViolation("no")

        parser = BoxParser(self.came.append, 16, 70_000, take)
        self.assertRaises(ProtocolViolation, parser.feed, ampChunk(1, 0, b"a").serialize())
        parser.feed(b"")
        self.assertEqual(1, len(self.came))

    def test_limits(self) -> None:
        """
        Where the bounds of boxes are smaller than chunks, they hold for those.
        """
        for keys, size in ((3, 70_000), (16, 1000)):
            parser = BoxParser(self.came.append, keys, size, self.take)
            box = ampChunk(1, 0, bytes(2000)).serialize()
            self.assertRaises(LimitExceeded, parser.feed, box)
        self.assertEqual([], self.came)
