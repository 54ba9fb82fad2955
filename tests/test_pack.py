"""
Tests for L{wazuh_cluster.integrity.wants} and L{wazuh_cluster.integrity.pack}.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import struct
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from wazuh_cluster.errors import (
    ClusterError,
    HostilePath,
    LimitExceeded,
    MalformedStream,
)
from wazuh_cluster.integrity import (
    WAZUH_ITEMS,
    IPackSink,
    PackReader,
    PackSource,
    Sent,
    Want,
    Wants,
    WantsDecoder,
    WantsWriter,
)
from wazuh_cluster.integrity.folders import CarriedFiles, Folders
from wazuh_cluster.testing.filesystem import MemoryFileSystem

HOME = b"/home"
_names = st.binary(min_size=1, max_size=12).filter(
    lambda name: not set(name) & set(b"/\0\\") and name not in (b".", b"..")
)
_paths = _names.map(lambda name: b"etc/rules/" + name).filter(
    lambda path: WAZUH_ITEMS.find(path) is not None
)


def wantsOf(*paths: bytes, offset: int = 0, size: int | Callable[[bytes], int] = 100) -> Wants:
    """
    Wants for these paths, which are sorted.

    @param size: of all contents, or of that at a path.
    """
    writer = WantsWriter()
    for path in sorted(paths):
        wanted = size if isinstance(size, int) else size(path)
        writer.add(Want(path, hashlib.md5(path).digest(), wanted, offset))
    return writer.finish()


def inPieces(data: bytes, size: int) -> list[bytes]:
    """
    Cut bytes.
    """
    return [data[n : n + size] for n in range(0, len(data), size)]


@implementer(IPackSink)
class Log:
    """
    A sink that remembers whole files.
    """

    def __init__(self) -> None:
        self.files: list[tuple[int, int, bytes, Sent, str]] = []
        self.largest = 0
        self.pieces = 0
        self._current: tuple[int, int] = (0, 0)
        self._content = b""

    def begin(self, index: int, offset: int) -> None:
        self._current = (index, offset)
        self._content = b""

    def data(self, data: memoryview) -> None:
        self.pieces += 1
        self.largest = max(self.largest, len(data))
        self._content += data

    def end(self, status: Sent, reason: str) -> None:
        self.files.append((*self._current, self._content, status, reason))


class WantsTests(SynchronousTestCase):
    """
    Lists of wants travel unharmed, and harmful ones do not get in.
    """

    def decode(self, encoded: bytes, size: int = 7, **limits: int) -> Wants:
        decoder = WantsDecoder(WAZUH_ITEMS, "md5", **limits)
        for piece in inPieces(encoded, size):
            decoder.feed(piece)
        return decoder.finish()

    @settings(deadline=None, max_examples=40)
    @given(
        st.lists(
            st.tuples(_paths, st.integers(0, 2**62), st.integers(0, 2**62)),
            unique_by=lambda each: each[0],
        ),
        st.integers(1, 300),
    )
    def test_roundTrip(self, given: list[tuple[bytes, int, int]], size: int) -> None:
        """
        What was written is read, whatever the pieces in which it comes.
        """
        writer = WantsWriter()
        expected = [
            Want(path, hashlib.md5(path).digest(), have + lack, have)
            for path, have, lack in sorted(given)
        ]
        for want in expected:
            writer.add(want)
        wants = writer.finish()
        decoded = self.decode(wants.encoded, size)
        self.assertEqual(list(decoded), expected)
        self.assertEqual(len(decoded), len(expected))
        self.assertEqual(decoded.encoded, wants.encoded)

    @settings(deadline=None, max_examples=80)
    @given(st.binary(max_size=80), st.integers(0, 80), st.integers(0, 80))
    def test_garbage(self, garbage: bytes, start: int, stop: int) -> None:
        """
        Damaged bytes are refused by one of our errors, or are a sound list.
        """
        encoded = wantsOf(b"etc/rules/a", b"etc/rules/b").encoded
        damaged = encoded[:start] + garbage + encoded[stop:]
        try:
            wants = self.decode(damaged, 11)
        except ClusterError:
            return
        for want in wants:
            WAZUH_ITEMS.check(want.path)

    def test_order(self) -> None:
        """
        A path that comes twice, or too late, is refused on both ends.
        """
        writer = WantsWriter()
        writer.add(Want(b"etc/rules/b", b"d" * 16, 1))
        self.assertRaises(ValueError, writer.add, Want(b"etc/rules/b", b"d" * 16, 1))
        self.assertRaises(ValueError, writer.add, Want(b"etc/rules/c", b"d" * 32, 1))
        encoded = wantsOf(b"etc/rules/a", b"etc/rules/b").encoded
        swapped = encoded.replace(b"rules/b", b"rules/a")
        self.assertRaises(MalformedStream, self.decode, swapped)

    def test_extent(self) -> None:
        """
        More bytes than there are to be, there already, and a size that no file
        has are refused on both ends.
        """
        encoded = wantsOf(b"etc/rules/a", offset=7, size=7).encoded
        self.assertEqual([(w.offset, w.size) for w in self.decode(encoded)], [(7, 7)])
        for offset, size in ((8, 7), (0, 2**63), (2**64 - 1, 2**64 - 1)):
            self.assertRaises(ValueError, wantsOf, b"etc/rules/a", offset=offset, size=size)
            extent = struct.pack("!QQ", offset, size)
            damaged = encoded.replace(struct.pack("!QQ", 7, 7), extent)
            self.assertRaises(MalformedStream, self.decode, damaged)

    def test_hostilePath(self) -> None:
        """
        A worker cannot ask for what is not carried.
        """
        encoded = wantsOf(b"etc/rules/../ossec.conf").encoded
        self.assertRaises(HostilePath, self.decode, encoded)
        encoded = wantsOf(b"etc/sslmanager.key").encoded
        self.assertRaises(HostilePath, self.decode, encoded)

    def test_limits(self) -> None:
        """
        Too many wants, too many bytes and digests of another algorithm are
        refused as soon as that shows.
        """
        encoded = wantsOf(b"etc/rules/a", b"etc/rules/b").encoded
        self.assertRaises(LimitExceeded, self.decode, encoded[:9], 9, maxWants=1)
        self.assertRaises(LimitExceeded, self.decode, encoded, 9, maxBytes=20)
        other = WantsDecoder(WAZUH_ITEMS, "sha256")
        self.assertRaises(MalformedStream, other.feed, encoded)

    def test_cutOrLonger(self) -> None:
        """
        A list that ends early or goes on is refused.
        """
        encoded = wantsOf(b"etc/rules/a").encoded
        self.assertRaises(MalformedStream, self.decode, encoded[:-1])
        self.assertRaises(MalformedStream, self.decode, encoded + b"x")
        self.assertEqual(list(self.decode(wantsOf().encoded)), [])


class PackTests(SynchronousTestCase):
    """
    A pack brings every file, or says why not.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.fs = MemoryFileSystem(self.clock)
        self.fs.makeFolders(HOME + b"/etc/rules")

    def put(self, name: bytes, content: bytes) -> bytes:
        self.fs.put(HOME + b"/etc/rules/" + name, content)
        return b"etc/rules/" + name

    def wants(self, *paths: bytes, offset: int = 0) -> Wants:
        """
        Wants for what is there now, whole.
        """

        def size(path: bytes) -> int:
            try:
                return len(self.fs.get(HOME + b"/" + path))
            except OSError:
                return offset

        return wantsOf(*paths, offset=offset, size=size)

    def source(self, wants: Wants) -> PackSource:
        folders = Folders(self.fs, HOME, WAZUH_ITEMS)
        return PackSource(
            CarriedFiles(folders, WAZUH_ITEMS, [HOME], [HOME + b"/etc/ossec.conf"]), wants
        )

    def pack(self, wants: Wants, size: int = 65000) -> bytes:
        source = self.source(wants)
        parts = []
        while part := source.read(size):
            self.assertTrue(len(part) <= max(size, 4096), len(part))
            parts.append(part)
        source.close()
        return b"".join(parts)

    def unpack(self, stream: bytes, size: int = 65000) -> Log:
        log = Log()
        reader = PackReader(log)
        for piece in inPieces(stream, size):
            reader.feed(piece)
        reader.finish()
        return log

    def test_sinkInterface(self) -> None:
        """
        The sink of these tests is one.
        """
        self.assertTrue(verifyObject(IPackSink, Log()))

    @settings(deadline=None, max_examples=40)
    @given(
        st.dictionaries(st.sampled_from([b"a", b"b", b"c", b"d"]), st.integers(0, 9000)),
        st.integers(100, 20000),
        st.integers(100, 20000),
        st.integers(0, 3),
    )
    def test_roundTrip(
        self, sizes: dict[bytes, int], readSize: int, feedSize: int, offset: int
    ) -> None:
        """
        All bytes from the offset on arrive, in order, whatever the sizes in
        which the stream is read and fed.
        """
        self.setUp()
        files = {name: b"xyz" + name + bytes(range(250)) * (n // 250) for name, n in sizes.items()}
        paths = [self.put(name, content) for name, content in files.items()]
        log = self.unpack(self.pack(self.wants(*paths, offset=offset), readSize), feedSize)
        expected = [
            (n, offset, files[name][offset:], Sent.OK, "") for n, name in enumerate(sorted(files))
        ]
        self.assertEqual(log.files, expected)

    def test_nothingBuffered(self) -> None:
        """
        A large file passes through in the pieces in which it is fed, and is
        read in pieces of the size that is asked for.
        """
        content = bytes(range(256)) * 20000
        path = self.put(b"large", content)
        log = self.unpack(self.pack(self.wants(path), 200_000), 30000)
        self.assertEqual(log.files[0][2], content)
        self.assertTrue(log.largest <= 30000, log.largest)

    @settings(deadline=None, max_examples=20)
    @given(st.integers(1, 70_000))
    def test_smallFilesWhole(self, feedSize: int) -> None:
        """
        A small file comes at once, whatever the pieces that are fed.
        """
        self.setUp()
        contents = [b"%d" % n * (n * 997) for n in range(1, 12)]
        paths = [self.put(b"%02d" % n, content) for n, content in enumerate(contents)]
        stream = self.pack(self.wants(*paths), 500_000)
        log = self.unpack(stream, feedSize)
        self.assertEqual([each[2] for each in log.files], contents)
        self.assertEqual(log.pieces, len(contents))

    def test_fullReads(self) -> None:
        """
        A read brings nearly all that was asked for, and never more, so that
        it fits the chunks in which it travels.
        """
        paths = [self.put(b"%03d" % n, bytes(n * 37)) for n in range(200)]
        source = self.source(self.wants(*paths, self.put(b"large", bytes(600_000))))
        lengths = []
        while part := source.read(65_000):
            lengths.append(len(part))
        self.assertTrue(len(lengths) > 15, lengths)
        self.assertTrue(all(65_000 - 4096 <= n <= 65_000 for n in lengths[:-1]), lengths)

    def test_vanished(self) -> None:
        """
        A file that is gone spoils only itself.
        """
        kept = self.put(b"kept", b"content")
        log = self.unpack(self.pack(self.wants(kept, b"etc/rules/gone", b"etc/shared/g/gone")))
        self.assertEqual([each[3] for each in log.files], [Sent.VANISHED, Sent.OK, Sent.VANISHED])
        self.assertEqual(log.files[0][4], "cannot open it: No such file or directory")

    def test_unreadable(self) -> None:
        """
        A file that cannot be opened or read says what the system said.
        """
        first, second = self.put(b"a", b"1"), self.put(b"b", b"22")
        self.fs.failOn("openRead", HOME + b"/" + first, errno=errno.EACCES)
        self.fs.failOn("file.read", HOME + b"/" + second, errno=errno.EIO)
        log = self.unpack(self.pack(self.wants(first, second)))
        self.assertEqual(
            [each[3:] for each in log.files],
            [
                (Sent.UNREADABLE, "cannot open it: Permission denied"),
                (Sent.UNREADABLE, "cannot read it: Input/output error"),
            ],
        )

    def changing(self, change: Callable[[bytes], None]) -> Sent:
        content = b"x" * 100_000
        path = HOME + b"/" + self.put(b"a", content)
        source = self.source(self.wants(b"etc/rules/a"))
        parts = [source.read(10_000)]
        self.clock.advance(1)
        change(path)
        while part := source.read(10_000):
            parts.append(part)
        return self.unpack(b"".join(parts)).files[0][3]

    def test_changed(self) -> None:
        """
        A file that grows, shrinks or is written while it is sent is reported,
        and no more is sent than was wanted.
        """
        self.assertEqual(self.changing(lambda path: self.fs.put(path, b"y")), Sent.CHANGED)
        self.assertEqual(self.changing(lambda path: self.fs.put(path, b"y" * 100000)), Sent.CHANGED)
        self.assertEqual(self.changing(lambda path: self.fs.put(path, b"x" * 999999)), Sent.CHANGED)
        self.assertEqual(self.changing(lambda path: None), Sent.OK)

    def test_grown(self) -> None:
        """
        Of a file that was appended to since, as much is sent as was wanted: it
        is still that content.
        """
        wants = self.wants(self.put(b"list", b"key:value\n" * 3))
        self.fs.put(HOME + b"/etc/rules/list", b"key:value\n" * 200_000)
        stream = self.pack(wants)
        self.assertEqual(
            self.unpack(stream).files,
            [(0, 0, b"key:value\n" * 3, Sent.CHANGED, "it changed while it was sent")],
        )
        self.assertTrue(len(stream) < 200, len(stream))

    def test_shrunk(self) -> None:
        """
        A file that is shorter than what was wanted is not sent.
        """
        path = self.put(b"a", b"x" * 1000)
        for wants in (self.wants(path), self.wants(path, offset=500)):
            self.fs.put(HOME + b"/" + path, b"x" * 999)
            ((_, _, content, status, reason),) = self.unpack(self.pack(wants)).files
            self.assertEqual((b"", Sent.CHANGED), (content, status))
            self.assertEqual(reason, "it has become shorter")
            self.fs.put(HOME + b"/" + path, b"x" * 1000)

    def test_links(self) -> None:
        """
        A link to a file in the home is sent by content; one that leads out, to
        what is local, or stands for a folder, is not followed.
        """
        self.fs.put(HOME + b"/shared/x", b"content")
        self.fs.put(b"/etc/shadow", b"secret")
        self.fs.put(HOME + b"/etc/ossec.conf", b"<key>secret</key>")
        self.fs.put(b"/elsewhere/x", b"secret")
        self.fs.link(HOME + b"/etc/rules/in", b"../../shared/x")
        self.fs.link(HOME + b"/etc/rules/out", b"/etc/shadow")
        self.fs.link(HOME + b"/etc/rules/own", b"../ossec.conf")
        self.fs.link(HOME + b"/etc/rules/folder", b"/elsewhere")
        paths = [b"etc/rules/" + name for name in (b"in", b"out", b"own", b"folder/x")]
        stream = self.pack(self.wants(*paths))
        self.assertNotIn(b"secret", stream)
        statuses = [(each[2], each[3]) for each in self.unpack(stream).files]
        self.assertEqual(
            statuses,
            [
                (b"", Sent.VANISHED),
                (b"content", Sent.OK),
                (b"", Sent.UNREADABLE),
                (b"", Sent.UNREADABLE),
            ],
        )

    def test_manyGone(self) -> None:
        """
        One read opens a limited number of files, however little it finds.
        """
        source = self.source(self.wants(*(b"etc/rules/%04d" % n for n in range(2000))))
        before = len(self.fs.operations)
        self.assertTrue(source.read(1 << 20))
        self.assertTrue(len(self.fs.operations) - before < 300)

    def test_closeInTheMiddle(self) -> None:
        """
        Closing a source closes the file under way, and nothing more is read.
        """
        self.put(b"a", b"x" * 100_000)
        source = self.source(self.wants(b"etc/rules/a"))
        self.assertTrue(source.read(5000))
        source.close()
        source.close()
        self.assertEqual(source.read(5000), b"")

    def test_peersText(self) -> None:
        """
        Control characters in a peer's reason do not get through.
        """
        stream = b"wcP1" + bytes(12) + bytes(4) + b"\x03\x04a\n\x1bb" + b"\xff" * 4
        self.assertEqual(self.unpack(stream).files, [(0, 0, b"", Sent.UNREADABLE, "a??b")])

    def test_malformed(self) -> None:
        """
        What is no pack is refused: another magic, a huge block, an unknown
        status, files out of order, an early end, and anything after the end.
        """
        frame = bytes(12) + bytes(4) + b"\0\0"
        for stream in (
            b"wcP2",
            b"wcP1" + bytes(12) + b"\x7f\0\0\0",
            b"wcP1" + bytes(12) + bytes(4) + b"\x04\0",
            b"wcP1" + frame + frame + b"\xff" * 4,
            b"wcP1" + frame,
            b"wcP1" + frame + b"\xff" * 4 + b"x",
            b"",
        ):
            self.assertRaises(MalformedStream, self.unpack, stream)

    @settings(deadline=None, max_examples=80)
    @given(st.binary(max_size=60), st.integers(0, 200), st.integers(1, 50))
    def test_garbage(self, garbage: bytes, start: int, size: int) -> None:
        """
        Damaged bytes end in L{MalformedStream} or pass; nothing else happens.
        """
        self.setUp()
        stream = self.pack(self.wants(self.put(b"a", b"x" * 50), self.put(b"b", b"y" * 50)))
        damaged = stream[:start] + garbage + stream[start + len(garbage) :]
        with contextlib.suppress(MalformedStream):
            self.unpack(damaged, size)
