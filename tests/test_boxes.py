"""
Tests for L{wazuh_cluster.protocol.boxes}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.protocols.amp import AmpBox
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import LimitExceeded, ProtocolViolation
from wazuh_cluster.protocol.boxes import BoxParser, chunkBox
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


class ChunkBoxTests(SynchronousTestCase):
    """
    The box that is put together by hand is AMP's.
    """

    def test_same(self) -> None:
        """
        It says what the command says.
        """
        for data in (b"x", bytes(CHUNK_SIZE)):
            boxes: list[AmpBox] = []
            BoxParser(boxes.append, 16, 70_000).feed(chunkBox(70, 123456, memoryview(data)))
            (box,) = boxes
            expected = FileChunk.makeArguments(
                {"transfer": 70, "sequence": 123456, "data": data}, None
            )
            expected[b"_command"] = FileChunk.commandName
            self.assertEqual(dict(expected), dict(box))
