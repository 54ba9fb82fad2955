"""
Tests for L{wazuh_cluster.integrity.kept}, and for what a worker gets of a file
that is replaced without pause.
"""

from __future__ import annotations

import hashlib
import os

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.twohomes import NOW, TwoHomes, drive, manifestOf
from wazuh_cluster.integrity import DirectoryTree, Manifest, makePlan
from wazuh_cluster.integrity.holds import Holds
from wazuh_cluster.integrity.kept import Kept
from wazuh_cluster.interfaces import IOpenFile
from wazuh_cluster.testing.filesystem import MemoryFileSystem

KEYS = b"etc/client.keys"


def digestOf(content: bytes) -> bytes:
    return hashlib.md5(content).digest()


class KeptTests(SynchronousTestCase):
    """
    L{Kept} on a file system in memory.
    """

    def setUp(self) -> None:
        self.fileSystem = MemoryFileSystem(Clock())
        self.files: list[IOpenFile] = []

    def keep(self, kept: Kept, *contents: bytes) -> None:
        """
        Keep one version after the other.
        """
        self.fileSystem.makeFolders(b"/etc")
        folder = self.fileSystem.openFolder(b"/etc")
        for content in contents:
            file = folder.create(b"client.keys", 0o640)
            file.write(content)
            folder.unlink(b"client.keys")
            self.files.append(file)
            kept.keep(KEYS, digestOf(content), len(content), file)

    def held(self, kept: Kept, *contents: bytes) -> list[bytes]:
        """
        What can be read of some versions.
        """
        found = []
        for content in contents:
            file = kept.open(KEYS, digestOf(content))
            if file is not None:
                found.append(file.read(100))
                file.close()
        return found

    def open(self) -> int:
        """
        How many files are open still.
        """
        still = 0
        for file in self.files:
            try:
                file.status()
            except OSError:
                continue
            still += 1
        return still

    def test_versions(self) -> None:
        """
        Versions are read by their digests, each by any number of readers, and
        only those of the path.
        """
        kept = Kept()
        self.keep(kept, b"one", b"two", b"three")
        self.assertEqual([b"one", b"three"], self.held(kept, b"one", b"three"))
        first, second = (kept.open(KEYS, digestOf(b"two")) for _ in range(2))
        assert first is not None
        assert second is not None
        self.assertEqual((b"t", b"two", b"wo"), (first.read(1), second.read(9), first.read(9)))
        self.assertIsNone(kept.open(KEYS, digestOf(b"four")))
        self.assertIsNone(kept.open(b"etc/rules/r", digestOf(b"two")))

    def test_most(self) -> None:
        """
        There are so many at most, and of so many bytes beside the last; who
        reads one that goes reads on.
        """
        for kept in (Kept(most=2), Kept(mostBytes=5)):
            self.keep(kept, b"one", b"two")
            reader = kept.open(KEYS, digestOf(b"one"))
            assert reader is not None
            self.keep(kept, b"a very large one")
            self.assertEqual([b"two"], self.held(kept, b"one", b"two"))
            self.assertEqual(b"one", reader.read(9))
            kept.close()
        self.assertEqual(0, self.open())

    def test_settled(self) -> None:
        """
        When a scan found nothing new only the last one stays; when it did not
        find the file, none.
        """
        kept = Kept()
        self.keep(kept, b"one", b"two")
        kept.settle(manifestOf({KEYS: b"two"}))
        self.assertEqual(2, self.open())
        # As a scan that reads it again.
        self.keep(kept, b"two")
        kept.settle(manifestOf({KEYS: b"two"}))
        self.assertEqual([b"two"], self.held(kept, b"one", b"two"))
        self.assertEqual(1, self.open())
        kept.settle(manifestOf({}))
        self.assertEqual([], self.held(kept, b"two"))
        self.assertEqual(0, self.open())


class ReplacedTests(SynchronousTestCase):
    """
    A worker gets what the manifest says, though the file is another by now.
    """

    def setUp(self) -> None:
        self.homes = TwoHomes()

    def replace(self, content: bytes) -> None:
        """
        Put another file in the place of the master's keys.
        """
        fs = self.homes.fs
        self.homes.clock.advance(0.01)
        if KEYS in fs.listTree(b"/master"):
            fs.remove(b"/master/" + KEYS)
        fs.put(b"/master/" + KEYS, content, 0o640)

    def fetched(self, manifest: Manifest) -> bytes:
        """
        What a worker gets for its keys.
        """
        homes = self.homes
        comparison = drive(homes.worker.compare(homes.snapshot(), manifest, None))
        plan = makePlan(comparison, Holds(), manifest, homes.worker.owner(), ())
        staging = homes.worker.openStaging()
        try:
            homes.fetch(plan, staging)
            outcome = drive(homes.worker.install(plan, staging, homes.failures))
        finally:
            staging.close()
        self.assertEqual({}, outcome.failed)
        content: bytes = homes.fs.get(b"/worker/" + KEYS)
        homes.fs.remove(b"/worker/" + KEYS)
        return content

    def test_replaced(self) -> None:
        """
        Also when it was replaced some times since, and while it was scanned.
        """
        self.replace(b"one")
        one = self.homes.manifest()
        self.homes.fs.before("file.read", b"/master/" + KEYS, lambda: self.replace(b"three"))
        self.replace(b"two")
        two = self.homes.manifest()
        self.assertEqual(digestOf(b"three"), two.digest(0))
        for content in (b"four", b"five"):
            self.replace(content)
        self.assertEqual(b"one", self.fetched(one))
        self.assertEqual(b"three", self.fetched(two))
        self.assertEqual(b"five", self.fetched(self.homes.manifest()))

    def test_inPlace(self) -> None:
        """
        Of a file that is written in place there is no other version: it comes
        with the next manifest.
        """
        self.replace(b"one")
        manifest = self.homes.manifest()
        self.homes.fs.put(b"/master/" + KEYS, b"two", 0o640)
        plan = makePlan(
            drive(self.homes.worker.compare(self.homes.snapshot(), manifest, None)),
            Holds(),
            manifest,
            self.homes.worker.owner(),
            (),
        )
        staging = self.homes.worker.openStaging()
        self.homes.fetch(plan, staging)
        staging.close()
        self.assertEqual([KEYS], list(self.homes.failures))
        self.assertEqual(b"two", self.fetched(self.homes.manifest()))

    def test_whatIsKept(self) -> None:
        """
        Only what is an item by itself is held open, only where it is sent from,
        and until the tree is closed.
        """
        path = os.path.abspath(self.mktemp())
        for name in ("etc/client.keys", "etc/rules/r"):
            place = os.path.join(path, name)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "wb") as file:
                file.write(b"x")
            os.utime(place, (NOW, NOW))
        before = len(os.listdir("/proc/self/fd"))
        tree = DirectoryTree(path)
        drive(tree.scan(carryLinks=False))
        self.assertEqual(before, len(os.listdir("/proc/self/fd")))
        for _ in range(2):
            drive(tree.scan())
            self.assertEqual(before + 1, len(os.listdir("/proc/self/fd")))
        tree.close()
        self.assertEqual(before, len(os.listdir("/proc/self/fd")))
