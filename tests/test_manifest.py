"""
Tests for L{wazuh_cluster.integrity.manifest}.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from struct import pack

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import HostilePath, LimitExceeded, MalformedStream, ProtocolViolation
from wazuh_cluster.integrity.items import WAZUH_ITEMS
from wazuh_cluster.integrity.manifest import Manifest, newHash
from wazuh_cluster.integrity.manifestdecoder import ManifestDecoder, decodeSlices
from wazuh_cluster.integrity.paths import PathSet
from wazuh_cluster.model import FileEntry, HeldPath

_NAMES = st.binary(min_size=1, max_size=8).filter(
    lambda name: b"/" not in name and WAZUH_ITEMS.find(b"etc/rules/" + name) is not None
)
_ENTRIES = st.dictionaries(
    st.tuples(st.sampled_from([b"etc/shared/", b"etc/rules/", b"etc/lists/"]), _NAMES).map(
        b"".join
    ),
    st.tuples(
        st.integers(0, 2**63 - 1),
        st.integers(-(2**63), 2**63 - 1),
        st.binary(min_size=16, max_size=16),
    ),
    max_size=6,
).map(lambda found: [FileEntry(path, *rest) for path, rest in found.items()])


def entry(path: bytes, content: bytes = b"", mtime: int = 1) -> FileEntry:
    """
    The entry of a file with this content.
    """
    return FileEntry(path, len(content), mtime, hashlib.md5(content).digest())


def decode(data: bytes, step: int = 1 << 20, **limits: int) -> Manifest:
    """
    Decode in pieces.
    """
    decoder = ManifestDecoder(WAZUH_ITEMS, **limits)
    for start in range(0, len(data), step):
        decoder.feed(data[start : start + step])
    return decoder.finish()


def handMade(*entries: FileEntry, held: tuple[HeldPath, ...] = ()) -> bytes:
    """
    An encoded manifest of just these, in this order, whatever they are.
    """
    data = b"WCMF\x01" + b"\x03md5" + pack(">II", len(entries), len(held))
    for each in entries:
        data += pack(">HQq", len(each.path), each.size, each.mtime) + each.path + each.digest
    for path in held:
        why = path.why.encode("latin-1")
        data += pack(">HH", len(path.path), len(why)) + path.path + why
    return data + hashlib.sha256(data).digest()


FILES = [
    entry(b"etc/client.keys", b"001 a any k"),
    entry(b"etc/rules/a.xml", b"<a/>", 5),
    entry(b"etc/rules/b.xml", b"<b/>", 6),
    entry(b"etc/shared/default/merged.mg", b"x" * 100, -7),
]
HELD = [HeldPath(b"etc/lists/link", "link"), HeldPath(b"etc/shared/secret/", "unreadable")]


class ManifestTests(SynchronousTestCase):
    """
    Manifests as values.
    """

    def setUp(self) -> None:
        """
        One with four files.
        """
        self.manifest = Manifest.fromEntries("md5", reversed(FILES), reversed(HELD), WAZUH_ITEMS)

    def test_columns(self) -> None:
        """
        Entries in any order become sorted columns, and can be had back.
        """
        self.assertEqual(self.manifest.paths, [each.path for each in FILES])
        self.assertEqual(list(self.manifest.sizes), [11, 4, 4, 100])
        self.assertEqual(list(self.manifest.mtimes), [1, 5, 6, -7])
        self.assertEqual(list(self.manifest), FILES)
        self.assertEqual(self.manifest.entry(2), FILES[2])
        self.assertEqual(self.manifest.digest(3), FILES[3].digest)
        self.assertEqual(self.manifest.held, tuple(HELD))
        self.assertEqual((len(self.manifest), self.manifest.totalSize), (4, 119))

    def test_index(self) -> None:
        """
        A path is found where it stands, or not at all; a folder's files are a
        range.
        """
        self.assertEqual(self.manifest.index(b"etc/rules/b.xml"), 2)
        self.assertIsNone(self.manifest.index(b"etc/rules/b"))
        self.assertIsNone(self.manifest.index(b"zzz"))
        self.assertEqual(list(self.manifest.below(b"etc/rules")), [1, 2])
        self.assertEqual(list(self.manifest.below(b"etc/rule")), [])

    def test_heldPaths(self) -> None:
        """
        Held paths cover all below them.
        """
        self.assertIn(b"etc/shared/secret/a/b", self.manifest.heldPaths())
        self.assertNotIn(b"etc/shared/default/merged.mg", self.manifest.heldPaths())

    def test_refused(self) -> None:
        """
        What makes no sense as a manifest is refused.
        """
        bad = FileEntry(b"etc/rules/a", 1, 1, b"short")
        self.assertRaises(ValueError, Manifest.fromEntries, "md5", [bad])
        self.assertRaises(ValueError, Manifest.fromEntries, "crc32", [])
        self.assertRaises(ValueError, Manifest.fromEntries, "md5", [FILES[0], FILES[0]])
        outside = entry(b"etc/ossec.conf")
        self.assertRaises(HostilePath, Manifest.fromEntries, "md5", [outside], (), WAZUH_ITEMS)

    def test_newHash(self) -> None:
        """
        Only known algorithms hash.
        """
        self.assertEqual(newHash("md5").digest_size, 16)
        self.assertEqual(newHash("sha256").digest_size, 32)
        self.assertRaises(ValueError, newHash, "sha1")


class RootTests(SynchronousTestCase):
    """
    The one digest over a manifest.
    """

    def root(self, files: list[FileEntry], without: Collection[bytes] = ()) -> bytes:
        """
        The root of these files.
        """
        return Manifest.fromEntries("md5", files).root(WAZUH_ITEMS, without)

    def test_covers(self) -> None:
        """
        Path, size, digest and mtime of every file count, and the algorithm.
        """
        roots = {self.root(FILES), self.root(FILES[1:]), self.root([])}
        for change in (
            evolve(FILES[1], path=b"etc/rules/aa.xml"),
            evolve(FILES[1], size=5),
            evolve(FILES[1], mtime=6),
            evolve(FILES[1], digest=bytes(16)),
        ):
            roots.add(self.root([FILES[0], change, *FILES[2:]]))
        roots.add(Manifest.fromEntries("sha256", []).root(WAZUH_ITEMS))
        self.assertEqual(len(roots), 8)

    def test_ownTime(self) -> None:
        """
        The mtime of client.keys does not count, its content does.
        """
        later = [evolve(FILES[0], mtime=99), *FILES[1:]]
        other = [evolve(FILES[0], digest=bytes(16)), *FILES[1:]]
        self.assertEqual(self.root(later), self.root(FILES))
        self.assertNotEqual(self.root(other), self.root(FILES))

    def test_heldDoNotCount(self) -> None:
        """
        Held paths leave the root as it is.
        """
        held = Manifest.fromEntries("md5", FILES, HELD)
        self.assertEqual(held.root(WAZUH_ITEMS), self.root(FILES))

    def test_without(self) -> None:
        """
        A root without some paths is that of a home without these files.
        """
        self.assertEqual(self.root(FILES, frozenset([FILES[3].path])), self.root(FILES[:3]))
        rules = PathSet([b"etc/rules/"])
        self.assertEqual(self.root(FILES, rules), self.root([FILES[0], FILES[3]]))

    def test_remembered(self) -> None:
        """
        Roots of different questions are not mixed up when they are remembered.
        """
        manifest = Manifest.fromEntries("md5", FILES)
        whole, part = self.root(FILES), self.root(FILES[1:])
        keys = frozenset([b"etc/client.keys"])
        for _ in range(2):
            self.assertEqual(manifest.root(WAZUH_ITEMS), whole)
            self.assertEqual(manifest.root(WAZUH_ITEMS, keys), part)
            self.assertEqual(manifest.root(WAZUH_ITEMS, PathSet(keys)), part)
            self.assertEqual(manifest.root(WAZUH_ITEMS, set()), whole)

    def test_slices(self) -> None:
        """
        A root of many files comes in several slices.
        """
        files = [entry(b"etc/shared/%05d" % n) for n in range(20_000)]
        manifest = Manifest.fromEntries("md5", files)
        self.assertEqual(len(list(manifest.rootSlices(WAZUH_ITEMS))), 6)
        self.assertEqual(manifest.root(WAZUH_ITEMS), self.root(files))


class EncodingTests(SynchronousTestCase):
    """
    Manifests as bytes.
    """

    def test_handMade(self) -> None:
        """
        The encoding is the one that other versions know.
        """
        manifest = Manifest.fromEntries("md5", FILES, HELD)
        self.assertEqual(manifest.encode(), handMade(*FILES, held=tuple(HELD)))

    @settings(deadline=None, max_examples=30)
    @given(_ENTRIES, st.integers(1, 200))
    def test_roundTrip(self, entries: list[FileEntry], step: int) -> None:
        """
        What was encoded is decoded, in pieces of whatever size.
        """
        manifest = Manifest.fromEntries(
            "md5", entries, [HeldPath(b"var/multigroups/x/", "link")], WAZUH_ITEMS
        )
        self.assertEqual(decode(manifest.encode(), step), manifest)

    def test_slices(self) -> None:
        """
        Encoding and decoding many files takes several slices.
        """
        manifest = Manifest.fromEntries(
            "sha256", [FileEntry(b"etc/shared/%05d" % n, n, n, bytes(32)) for n in range(20_000)]
        )
        slices = manifest.encodeSlices()
        count, result = 0, None
        while result is None:
            try:
                next(slices)
                count += 1
            except StopIteration as end:
                result = b"".join(end.value)
        self.assertEqual(count, 6)
        decoding = decodeSlices(result, WAZUH_ITEMS)
        for _ in range(4):
            next(decoding)
        ended = None
        while ended is None:
            try:
                next(decoding)
            except StopIteration as end:
                ended = end.value
        self.assertEqual(ended, manifest)

    def test_endsTooSoon(self) -> None:
        """
        A manifest that is cut anywhere is no manifest.
        """
        data = handMade(*FILES, held=tuple(HELD))
        for length in range(len(data)):
            self.assertRaises(MalformedStream, decode, data[:length])

    def test_anyDamageIsSeen(self) -> None:
        """
        A manifest with any byte changed, or with more after it, is refused.
        """
        data = handMade(*FILES, held=tuple(HELD))
        for at in range(len(data)):
            bad = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            self.assertRaises((ProtocolViolation, HostilePath), decode, bad)
        self.assertRaises(MalformedStream, decode, data + b"\0")

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=200), st.booleans())
    def test_garbage(self, data: bytes, begun: bool) -> None:
        """
        Garbage raises what is declared, and nothing else.
        """
        if begun:
            data = b"WCMF\x01\x03md5" + data
        self.assertRaises((ProtocolViolation, HostilePath), decode, data)

    def test_malformed(self) -> None:
        """
        Each thing that no honest manifest holds is named.
        """
        a, b = entry(b"etc/rules/a"), entry(b"etc/rules/b")
        for data, why in (
            (handMade(b, a), "comes after"),
            (handMade(a, a), "comes after"),
            (
                handMade(a, entry(b"etc/rules/a-b"), entry(b"etc/rules/a/c/d")),
                "both a file and a folder",
            ),
            (handMade(evolve(a, size=2**63)), "cannot have"),
            (handMade(a, held=(HeldPath(b"etc/rules/a", "link"),)), "both held and carried"),
            (handMade(a, held=(HeldPath(b"etc/rules/", "link"),)), "both held and carried"),
            (handMade(held=tuple(reversed(HELD))), "comes after"),
            (handMade(held=(HeldPath(b"etc/rules/x", "w" * 201),)), "too long"),
            (handMade(held=(HeldPath(b"etc/rules/x", "\xff"),)), "UTF-8"),
            (b"WCMF\x02" + handMade(a)[5:], "version"),
            (handMade(a).replace(b"\x03md5", b"\x03md4"), "algorithm"),
            (b"<xml>", "not a manifest"),
        ):
            error = self.assertRaises(MalformedStream, decode, data)
            self.assertIn(why, str(error))

    def test_hostile(self) -> None:
        """
        Every path must be one that an item carries, held paths within one.
        """
        for path in (b"etc/ossec.conf", b"../x", b"etc/rules/../../x", b"etc/rules/x\\y"):
            self.assertRaises(HostilePath, decode, handMade(entry(path)))
            self.assertRaises(HostilePath, decode, handMade(held=(HeldPath(path, "link"),)))

    def test_limits(self) -> None:
        """
        Too many entries are refused as soon as they are announced, too many
        bytes as soon as they come.
        """
        data = handMade(*FILES, held=tuple(HELD))
        self.assertRaises(LimitExceeded, decode, data[:17], maxEntries=5)
        self.assertRaises(LimitExceeded, decode, data, maxBytes=len(data) - 1)
        self.assertEqual(len(decode(data, maxEntries=6, maxBytes=len(data))), 4)
