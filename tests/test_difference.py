"""
Tests for L{wazuh_cluster.integrity.difference},
L{wazuh_cluster.integrity.differencedecoder} and what a master and a worker do
with them.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.clustercase import FilledCase
from tests.test_manifest import entry
from wazuh_cluster.errors import HostilePath, LimitExceeded, MalformedStream
from wazuh_cluster.integrity.difference import (
    MAX_DIFFERENCE,
    Difference,
    Misfit,
    applyDifference,
    compose,
    encodeDifference,
    findDifference,
    markOf,
)
from wazuh_cluster.integrity.differencedecoder import UpdateDecoder
from wazuh_cluster.integrity.items import WAZUH_ITEMS
from wazuh_cluster.integrity.manifest import Manifest
from wazuh_cluster.master.generations import MOST_CHANGES, MOST_STEPS, Generations
from wazuh_cluster.master.service import MasterService
from wazuh_cluster.model import FileEntry, HeldPath
from wazuh_cluster.protocol.streams import BytesSource
from wazuh_cluster.testing.runner import ImmediateRunner
from wazuh_cluster.testing.state import MemoryState
from wazuh_cluster.worker.memory import Applied

MARK = bytes(range(32))
RULES = b"etc/rules/"


def manifestOf(
    entries: Iterable[FileEntry] = (), held: Iterable[HeldPath] = (), algorithm: str = "md5"
) -> Manifest:
    return Manifest.fromEntries(algorithm, entries, held, WAZUH_ITEMS)


def decode(data: bytes, mark: bytes | None = MARK, step: int = 1 << 20) -> Manifest | Difference:
    decoder = UpdateDecoder(WAZUH_ITEMS, mark)
    for start in range(0, len(data), step):
        decoder.feed(data[start : start + step])
    return decoder.finish()


class DifferenceCase(SynchronousTestCase):
    """
    What comes in slices.
    """

    def drive(self, slices: object) -> object:
        return self.successResultOf(ImmediateRunner().run(slices))  # type: ignore[arg-type]

    def between(self, old: Manifest, new: Manifest) -> Difference:
        found = self.drive(findDifference(old, new))
        assert isinstance(found, Difference)
        return found

    def encode(self, difference: Difference, mark: bytes = MARK) -> bytes:
        encoded = self.drive(encodeDifference(difference, mark))
        assert isinstance(encoded, bytes)
        return encoded

    def apply(self, base: Manifest, difference: Difference) -> Manifest:
        made = self.drive(applyDifference(base, difference))
        assert isinstance(made, Manifest)
        return made


_NAMES = st.sampled_from([b"a", b"a-b", b"b", b"c", b"d", b"e"])
_HELD = st.lists(
    st.builds(lambda name: HeldPath(b"etc/lists/" + name, "link"), _NAMES), max_size=2, unique=True
)
_MANIFESTS = st.builds(
    lambda files, held: manifestOf(
        (entry(RULES + name, content, mtime) for name, (content, mtime) in files.items()), held
    ),
    st.dictionaries(_NAMES, st.tuples(st.sampled_from([b"x", b"yy"]), st.integers(1, 2))),
    _HELD,
)


class DifferenceTests(DifferenceCase):
    """
    Differences as values, and on their way.
    """

    @settings(max_examples=60, deadline=None)
    @given(st.lists(_MANIFESTS, min_size=2, max_size=4), st.integers(1, 50), st.booleans())
    def test_anyWay(self, manifests: list[Manifest], step: int, packed: bool) -> None:
        """
        Whatever came of a manifest comes of it by the difference too, also in
        one for several steps, and with the same root and encoding.
        """
        if packed:
            manifests[0].encode()
        steps = [self.between(a, b) for a, b in itertools.pairwise(manifests)]
        composed = self.drive(compose(steps))
        assert isinstance(composed, Difference)
        received = decode(self.encode(composed), step=step)
        assert isinstance(received, Difference)
        made = self.apply(manifests[0], received)
        self.assertEqual(manifests[-1], made)
        self.assertEqual(manifests[-1].root(WAZUH_ITEMS), made.root(WAZUH_ITEMS))
        self.assertEqual(manifests[-1].encode(), made.encode())

    def test_largeAndFew(self) -> None:
        """
        A few changes in many files are found, wherever they are, and are all
        that the difference has.
        """
        files = [entry(RULES + b"%06d" % n) for n in range(20_000)]
        old = manifestOf(files)
        changed = [files[0], *files[2:9000], entry(RULES + b"009000", b"other"), *files[9001:]]
        new = manifestOf([*changed, entry(RULES + b"005000a"), entry(RULES + b"zz")])
        found = self.between(old, new)
        self.assertEqual((RULES + b"000001",), found.removed)
        self.assertEqual(
            [RULES + b"005000a", RULES + b"009000", RULES + b"zz"],
            [each.path for each in found.entries],
        )
        self.assertEqual(4, len(found))
        self.assertEqual({*found.paths()}, {*found.removed, *(e.path for e in found.entries)})
        self.assertLess(len(self.encode(found)), 400)
        self.assertEqual(new, self.apply(old, found))

    def test_packed(self) -> None:
        """
        What was packed of the manifest before is not packed again.
        """
        files = [entry(RULES + b"%06d" % n) for n in range(9000)]
        old = manifestOf(files)
        old.encode()
        new = self.apply(old, self.between(old, manifestOf([*files[:-1], entry(RULES + b"z")])))
        self.assertEqual(1, len(list(new.rootSlices(WAZUH_ITEMS))))

    def test_handMade(self) -> None:
        """
        The encoding is the one that other versions know.
        """
        file = entry(RULES + b"b", b"x", 5)
        difference = Difference(
            "md5", (RULES + b"a",), (file,), (HeldPath(b"etc/lists/l", "link"),)
        )
        data = b"WCMD\x01\x03md5" + MARK + bytes([0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1])
        data += b"\x00\x0betc/rules/a"
        data += b"\x00\x0b" + bytes([0] * 7 + [1]) + bytes([0] * 7 + [5]) + b"etc/rules/b"
        data += file.digest + b"\x00\x0b\x00\x04etc/lists/llink"
        data += hashlib.sha256(data).digest()
        self.assertEqual(data, self.encode(difference))
        self.assertEqual(difference, decode(data))

    def test_manifest(self) -> None:
        """
        A manifest is taken in its place; a difference is not where none was
        asked for.
        """
        manifest = manifestOf([entry(RULES + b"a")])
        self.assertEqual(manifest, decode(manifest.encode(), step=1))
        self.assertEqual(manifest, decode(manifest.encode(), mark=None))
        nothing = self.encode(Difference("md5", (), (), ()))
        self.assertRaises(MalformedStream, decode, nothing, None)
        for garbage in (b"", b"WCM", b"garbage" * 10):
            self.assertRaises(MalformedStream, decode, garbage)

    def test_damage(self) -> None:
        """
        Any damage is seen.
        """
        data = self.encode(Difference("md5", (RULES + b"a",), (entry(RULES + b"b"),), ()))
        for at in range(len(data)):
            damaged = bytearray(data)
            damaged[at] ^= 1
            self.assertRaises((MalformedStream, LimitExceeded), decode, bytes(damaged))
            self.assertRaises(MalformedStream, decode, data[:at])
        self.assertRaises(MalformedStream, decode, data + b"x")

    def test_refused(self) -> None:
        """
        What no master would send is refused.
        """
        one, two = entry(RULES + b"a"), entry(RULES + b"b")
        held = HeldPath(RULES + b"h", "link")
        for bad in (
            Difference("md5", (two.path, one.path), (), ()),
            Difference("md5", (), (two, one), ()),
            Difference("md5", (), (one, one), ()),
            Difference("md5", (one.path,), (one,), ()),
            Difference("md5", (), (FileEntry(one.path, 2**63, 1, one.digest),), ()),
            Difference("sha1", (), (), ()),
            Difference("md5", (), (), (held, held)),
        ):
            self.assertRaises(MalformedStream, decode, self.encode(bad))
        for path in (b"etc/passwd", b"/etc/rules/x", RULES + b"../x", RULES + b"x.tmp"):
            hostile = FileEntry(path, 1, 1, one.digest)
            self.assertRaises(HostilePath, decode, self.encode(Difference("md5", (path,), (), ())))
            self.assertRaises(
                HostilePath, decode, self.encode(Difference("md5", (), (hostile,), ()))
            )
        self.assertRaises(Misfit, decode, self.encode(Difference("md5", (), (), ()), bytes(32)))
        long = UpdateDecoder(WAZUH_ITEMS, MARK)
        long.feed(b"WCMD\x01")
        self.assertRaises(LimitExceeded, long.feed, bytes(MAX_DIFFERENCE))

    def test_counts(self) -> None:
        """
        Counts of what is not there cost nothing.
        """
        data = b"WCMD\x01\x03md5" + MARK + b"\xff" * 12
        self.assertRaises(MalformedStream, decode, data + hashlib.sha256(data).digest())

    def test_misfit(self) -> None:
        """
        What does not fit the manifest to which it is applied is refused.
        """
        one = entry(RULES + b"a")
        base = manifestOf([one])
        for bad, why in (
            (Difference("sha256", (), (), ()), Misfit),
            (Difference("md5", (), (entry(RULES + b"a/b"),), ()), MalformedStream),
            (Difference("md5", (), (), (HeldPath(RULES + b"a", "link"),)), MalformedStream),
            (Difference("md5", (), (), (HeldPath(b"etc/rules/", "unreadable"),)), MalformedStream),
            (
                Difference(
                    "md5", (), (entry(RULES + b"d/e"),), (HeldPath(RULES + b"d/", "unreadable"),)
                ),
                MalformedStream,
            ),
        ):
            self.failureResultOf(ImmediateRunner().run(applyDifference(base, bad)), why)
        deep = manifestOf([entry(RULES + b"a/b")])
        bad = Difference("md5", (), (one,), ())
        self.failureResultOf(ImmediateRunner().run(applyDifference(deep, bad)), MalformedStream)


class HistoryTests(DifferenceCase):
    """
    What a master remembers.
    """

    def setUp(self) -> None:
        self.runner = ImmediateRunner()
        self.generations = Generations(b"m" * 16, MemoryState(), self.runner, WAZUH_ITEMS)
        self.marks: list[bytes] = []
        self.files = {RULES + b"%05d" % n: b"x" for n in range(200)}

    def publish(self) -> Manifest:
        manifest = manifestOf(entry(path, content) for path, content in self.files.items())
        self.successResultOf(Deferred.fromCoroutine(self.generations.publish(manifest)))
        self.marks.append(markOf(manifest.root(WAZUH_ITEMS), manifest.held))
        return manifest

    def since(self, mark: bytes) -> Manifest | Difference | None:
        waiting = self.generations.since(mark, self.runner)
        return None if waiting is None else decode(self.successResultOf(waiting), mark)

    def test_each(self) -> None:
        """
        A difference leads from each of the last generations to this one.
        """
        manifests = []
        for n in range(5):
            self.files[RULES + b"%05d" % n] = b"y"
            self.files.pop(RULES + b"%05d" % (n + 50))
            manifests.append(self.publish())
        for n, (mark, manifest) in enumerate(zip(self.marks, manifests, strict=True)):
            difference = self.since(mark)
            assert isinstance(difference, Difference)
            self.assertEqual(2 * (4 - n), len(difference))
            self.assertEqual(manifests[-1], self.apply(manifest, difference))

    def test_once(self) -> None:
        """
        It is worked out once for all.
        """
        self.publish()
        self.files[RULES + b"new"] = b"y"
        self.publish()
        waiting = [self.generations.since(self.marks[0], self.runner) for _ in range(2)]
        first, again = (self.successResultOf(each) for each in waiting if each is not None)
        self.assertIs(first, again)

    def test_unknown(self) -> None:
        """
        Of a generation that it does not know, it says so.
        """
        self.assertIsNone(self.since(MARK))
        self.publish()
        self.assertIsNone(self.since(MARK))

    def test_bounded(self) -> None:
        """
        It forgets what was long ago, and changes that were many.
        """
        self.publish()
        for n in range(MOST_STEPS + 2):
            self.files[RULES + b"often"] = b"%d" % n
            self.publish()
        self.assertIsNone(self.since(self.marks[0]))
        self.assertIsNone(self.since(self.marks[1]))
        self.assertIsInstance(self.since(self.marks[3]), Difference)
        for n in range(MOST_CHANGES + 1):
            self.files[RULES + b"many-%05d" % n] = b""
        self.publish()
        self.assertIsNone(self.since(self.marks[-2]))
        self.assertIsInstance(self.since(self.marks[-1]), Difference)

    def test_better(self) -> None:
        """
        Where the manifest is shorter, it is sent.
        """
        self.publish()
        self.files.clear()
        manifest = self.publish()
        self.assertEqual(manifest, self.since(self.marks[0]))


class SyncTests(FilledCase):
    """
    A master and a worker.
    """

    def sent(self, master: MasterService) -> list[int]:
        """
        The sizes of what the master sends as its manifest, from now on.
        """
        sizes: list[int] = []
        begin = BytesSource.__init__

        def counted(source: BytesSource, data: bytes) -> None:
            sizes.append(len(data))
            begin(source, data)

        self.patch(BytesSource, "__init__", counted)
        return sizes

    def many(self) -> None:
        for n in range(300):
            self.write(self.home, f"etc/rules/rule-{n:03d}.xml", b"<rule/>")

    def test_littleForLittle(self) -> None:
        """
        For one file that changed, the master sends what changed.
        """
        self.many()
        master, worker, _ = self.start()
        self.pass_(2)
        sizes = self.sent(master)
        self.write(self.home, "etc/rules/rule-005.xml", b"<other/>")
        os.unlink(self.home.preauthChild("etc/rules/rule-006.xml").path)
        self.pass_(10)
        self.assertSameFiles(self.home, self.workerHome)
        applied = worker.integrity.applied
        assert applied is not None
        self.assertEqual(master.integrity.generation, applied.generation)
        # The list of wants is one of them.
        self.assertTrue(all(size < 300 for size in sizes), sizes)

    def test_wayBack(self) -> None:
        """
        So does a worker get it that was away for some generations, also in
        another process.
        """
        self.many()
        master, worker, _ = self.start()
        self.pass_(2)
        state = worker._state
        self.stop(worker)
        for n in range(3):
            self.write(self.home, f"etc/rules/rule-{n:03d}.xml", b"<other/>")
            self.pass_(10)
        sizes = self.sent(master)
        self.worker(home=self.workerHome, state=state)
        self.pass_(10)
        self.assertSameFiles(self.home, self.workerHome)
        self.assertTrue(all(size < 500 for size in sizes), sizes)

    def test_misfit(self) -> None:
        """
        A worker that has another manifest than it thinks fetches all of it.
        """
        self.many()
        _master, worker, _ = self.start()
        self.pass_(2)
        applied = worker.integrity.applied
        assert applied is not None
        wrong = manifestOf([*applied.manifest][:-1])
        worker.integrity._workplace.applied = Applied(applied.generation, wrong)
        self.write(self.home, "etc/rules/rule-005.xml", b"<other/>")
        with capturedLogs() as events:
            self.pass_(10)
        self.assertSameFiles(self.home, self.workerHome)
        said = [formatEvent(each) for each in events if "fetched anew" in each["log_format"]]
        self.assertEqual(1, len(said), said)
        self.assertIn("another root", said[0])
