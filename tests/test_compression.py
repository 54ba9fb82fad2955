"""
Tests for L{wazuh_cluster.protocol.compression}.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.clustercase import ClusterCase, Story
from wazuh_cluster.errors import MalformedStream
from wazuh_cluster.master import integrity as masterIntegrity
from wazuh_cluster.protocol import Codec, Transfers, codecsHere
from wazuh_cluster.protocol.compression import (
    LEAST,
    MAX_CONTENT,
    CompressedSource,
    Decompressed,
    choose,
    offer,
)

BLOCK = 50_000


def _unzip(data: bytes, most: int) -> bytes:
    unzip = zlib.decompressobj()
    try:
        return unzip.decompress(data, most)
    except zlib.error as error:
        raise ValueError(str(error)) from None


def zlibCodec(tried: list[int] | None = None) -> Codec:
    """
    A codec that every Python has.

    @param tried: is told the sizes of what is compressed.
    """

    def pack(data: bytes) -> bytes:
        if tried is not None:
            tried.append(len(data))
        return zlib.compress(data, 1)

    return Codec("zlib", lambda: pack, _unzip)


def realCodec() -> Codec:
    """
    The first one that nodes have here.

    @raise SkipTest: if there is none.
    """
    codecs = codecsHere()
    if not codecs:
        raise SkipTest("neither Python 3.14 nor backports.zstd")
    return codecs[0]


class Content:
    """
    A source of given bytes.
    """

    def __init__(self, content: bytes) -> None:
        self.left = content
        self.closed = False

    def read(self, size: int) -> bytes:
        part, self.left = self.left[:size], self.left[size:]
        return part

    def close(self) -> None:
        self.closed = True


def compressed(content: bytes, codec: Codec, size: int = BLOCK) -> list[bytes]:
    """
    What a source with that content says, compressed.
    """
    source = CompressedSource(Content(content), codec)
    blocks = []
    while block := source.read(size):
        blocks.append(block)
    return blocks


def block(kind: int, size: int, content: int, data: bytes = b"") -> bytes:
    """
    A block, however wrong.
    """
    return struct.pack("!BII", kind, size, content) + data


class StreamTests(SynchronousTestCase):
    """
    What was compressed comes out as it was.
    """

    @settings(deadline=None, max_examples=40)
    @given(
        st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.integers(1, 4000)), max_size=6),
        st.integers(10, 70_000),
        st.integers(1, 70_000),
    )
    def test_roundTrip(self, parts: list[tuple[bytes, int]], size: int, feed: int) -> None:
        """
        Whatever it is, and in whatever pieces it is read and fed.
        """
        content = b"".join(part * count for part, count in parts)
        stream = b"".join(compressed(content, zlibCodec(), size))
        came: list[bytes] = []
        decompressed = Decompressed(came.append, zlibCodec())
        for position in range(0, len(stream), feed):
            decompressed.feed(stream[position : position + feed])
        decompressed.finish()
        self.assertEqual(content, b"".join(came))
        self.assertTrue(all(len(piece) <= size for piece in came))

    def test_zstd(self) -> None:
        """
        With what nodes use, text becomes much smaller, each block by itself.
        """
        codec = realCodec()
        content = b"".join(b"10.0.%d.%d:bad\n" % (n >> 8, n & 255) for n in range(60_000))
        blocks = compressed(content, codec, 500_000)
        self.assertEqual(2, len(blocks))
        self.assertLess(sum(map(len, blocks)), len(content) / 3)
        came: list[bytes] = []
        Decompressed(came.append, codec).feed(b"".join(blocks))
        self.assertEqual(content, b"".join(came))
        last: list[bytes] = []
        Decompressed(last.append, codec).feed(blocks[1])
        self.assertEqual(came[1:], last)

    def test_inVain(self) -> None:
        """
        What does not become smaller goes as it is, and is tried less and less
        often; after some that does, each block is tried again.
        """
        tried: list[int] = []
        noise = os.urandom(60 * BLOCK)
        blocks = compressed(noise, zlibCodec(tried))
        self.assertLess(len(tried), 9)
        self.assertLessEqual(sum(map(len, blocks)), len(noise) + 9 * len(blocks))
        del tried[:]
        blocks = compressed(noise[: 2 * BLOCK] + bytes(200 * BLOCK), zlibCodec(tried))
        self.assertGreater(len(tried), 190)
        self.assertLess(sum(map(len, blocks)), 5 * BLOCK)

    def test_little(self) -> None:
        """
        What is small is not tried.
        """
        tried: list[int] = []
        compressed(bytes(LEAST - 1), zlibCodec(tried))
        self.assertEqual([], tried)

    def test_closed(self) -> None:
        """
        The source is closed with it.
        """
        content = Content(b"")
        CompressedSource(content, zlibCodec()).close()
        self.assertTrue(content.closed)

    def test_choose(self) -> None:
        """
        The first of one's own that the other end has; C{None} without one.
        """
        one, other = zlibCodec(), Codec("other", zlibCodec().packer, _unzip)
        self.assertEqual("other zlib", offer([other, one]))
        self.assertIsNone(offer([]))
        self.assertIs(one, choose([one, other], "new other zlib"))
        self.assertIs(other, choose([one, other], "other"))
        for none in (None, "", "new", "zlibother"):
            self.assertIsNone(choose([one, other], none))


class HostileTests(SynchronousTestCase):
    """
    A sender cannot make its peer unpack more than a block's bound.
    """

    def refused(self, stream: bytes, codec: Codec | None = None) -> str:
        """
        How a stream is refused; nothing comes of it.
        """
        came: list[bytes] = []
        decompressed = Decompressed(came.append, codec or zlibCodec())
        error = self.assertRaises(MalformedStream, decompressed.feed, stream)
        self.assertEqual([], came)
        return str(error)

    def test_heads(self) -> None:
        """
        A block of another kind, without content, or too large is refused as
        soon as its head is there.
        """
        for head in (
            block(2, 5, 5),
            block(0, 5, 6),
            block(0, 0, 0),
            block(1, 0, 5),
            block(1, 6, 5),
            block(1, 5, MAX_CONTENT + 1),
            block(0, 2**32 - 1, 2**32 - 1),
        ):
            self.assertIn("in a compressed stream", self.refused(head))

    def test_bomb(self) -> None:
        """
        A block that unpacks to more than it says is stopped there, and is a
        violation of the format; one that unpacks to less is, too.
        """
        bomb = zlib.compress(bytes(50_000_000), 9)
        asked: list[int] = []

        def unpack(data: bytes, most: int) -> bytes:
            content = _unzip(data, most)
            asked.append(len(content))
            return content

        codec = Codec("zlib", zlibCodec().packer, unpack)
        self.refused(block(1, len(bomb), len(bomb) - 1, bomb), codec)
        stream = block(1, len(bomb), len(bomb) + 1, bomb)
        came: list[bytes] = []
        Decompressed(came.append, codec).feed(stream)
        self.assertEqual([len(bomb) + 1], asked)
        little = zlib.compress(b"x")
        self.assertIn("1 bytes and not 9", self.refused(block(1, len(little), 9, little)))

    def test_garbage(self) -> None:
        """
        So is what cannot be unpacked.
        """
        for codec in (zlibCodec(), *codecsHere()):
            self.assertIn("unpacked", self.refused(block(1, 4, 9, b"\xff" * 4), codec))

    def test_largeWindow(self) -> None:
        """
        A frame that wants a large window to be unpacked is refused: that would
        take its memory.
        """
        codec = realCodec()
        # Magic, a descriptor without anything, a window of 128 MiB; a raw block.
        frame = b"\x28\xb5\x2f\xfd\x00" + bytes([(27 - 10) << 3]) + b"\x01\0\0" + b"!"
        self.assertIn("unpacked", self.refused(block(1, len(frame), 20, frame), codec))

    def test_cut(self) -> None:
        """
        A stream that ends within a block is refused at its end.
        """
        (whole,) = compressed(bytes(1000), zlibCodec())
        decompressed = Decompressed(lambda content: None, zlibCodec())
        decompressed.feed(whole + whole[:-1])
        self.assertRaises(MalformedStream, decompressed.finish)


class ClusterTests(ClusterCase):
    """
    Nodes agree on a way to compress, or on none.
    """

    def synced(self, masters: list[Codec], workers: list[Codec]) -> int:
        """
        Sync some text.

        @return: how many bytes the largest pack had on the wire.
        """
        home, workerHome = self.makeHome("m"), self.makeHome("w")
        for n in range(20):
            self.write(home, f"etc/lists/list-{n}", b"%d: bad\n" % n * 5000)
        sent: list[int] = []
        send = Transfers.send

        def sending(transfers: Transfers, *args: Any, **keywords: Any) -> Deferred[int]:
            def ended(size: int) -> int:
                sent.append(size)
                return size

            return send(transfers, *args, **keywords).addCallback(ended)

        self.patch(Transfers, "send", sending)
        story = Story()
        self.master(home, codecs=masters)
        self.worker(home=workerHome, observer=story, codecs=workers)
        self.pass_(1)
        self.assertEqual(20, len(story.reports[0].created))
        self.assertSameFiles(home, workerHome)
        return max(sent)

    def test_both(self) -> None:
        """
        Where both have one, packs are smaller.
        """
        self.assertLess(self.synced([zlibCodec()], [zlibCodec()]), 100_000)

    def test_masterWithout(self) -> None:
        """
        From a master that has none, packs come as they are.
        """
        self.assertGreater(self.synced([], [zlibCodec()]), 500_000)

    def test_workerWithout(self) -> None:
        """
        To a worker that has none, too.
        """
        self.assertGreater(self.synced([zlibCodec()], []), 500_000)

    def test_noneInCommon(self) -> None:
        """
        And where each has another one.
        """
        other = Codec("other", zlibCodec().packer, _unzip)
        self.assertGreater(self.synced([other], [zlibCodec()]), 500_000)

    def test_notOffered(self) -> None:
        """
        A master that compresses in a way that it was not offered breaks the
        protocol.
        """
        self.patch(masterIntegrity, "choose", lambda codecs, offered: codecs[0])
        home = self.makeHome("m")
        self.write(home, "etc/lists/list", b"bad\n" * 5000)
        self.master(home, codecs=[zlibCodec()])
        story = Story()
        self.worker(observer=story)
        self.pass_(0.1)
        self.assertEqual([], story.reports)
        self.assertIn("was not offered", str(story.reasons[0].value))
