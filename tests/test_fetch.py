"""
Tests for L{wazuh_cluster.worker.fetch}: packs that are staged side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from tests.clustercase import ClusterCase, Story
from wazuh_cluster.integrity import DirectoryTree
from wazuh_cluster.interfaces import IRunner, Slices
from wazuh_cluster.testing.filesystem import MemoryFileSystem
from wazuh_cluster.testing.runner import ImmediateRunner
from wazuh_cluster.worker import fetch

T = TypeVar("T")

FILES = 40
IN_A_PACK = 5


class SlowRunner(ImmediateRunner):
    """
    A runner whose disk can hang.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hangs = False
        self._held: list[Callable[[], object]] = []

    def run(self, work: Slices[T]) -> Deferred[T]:
        if not self.hangs:
            return super().run(work)
        waiting: Deferred[T] = Deferred()
        self._held.append(lambda: super(SlowRunner, self).run(work).chainDeferred(waiting))
        return waiting

    def goOn(self) -> None:
        self.hangs = False
        held, self._held = self._held, []
        for each in held:
            each()


class LaneTests(ClusterCase):
    """
    Packs come side by side, each staged by a runner of its own.
    """

    def setUp(self) -> None:
        super().setUp()
        self.patch(fetch, "PACK_FILES", IN_A_PACK)
        self.slow = SlowRunner()
        self.home = self.makeHome("m")
        for n in range(FILES):
            self.write(self.home, f"etc/lists/list-{n:02d}", b"%d" % n * 9000)
        self.workerHome = self.makeHome("w")

    def runner(self, name: str) -> IRunner:
        return self.slow if name == "staging-1" else super().runner(name)

    def start(self) -> tuple[Any, Story]:
        story = Story()
        self.master(self.home)
        worker = self.worker(home=self.workerHome, observer=story)
        return worker, story

    def test_oneHangs(self) -> None:
        """
        While the staging of one pack hangs, the others come; only the
        installation waits for it.
        """
        self.slow.hangs = True
        worker, story = self.start()
        self.assertEqual(0, worker.integrity.progress.files)
        self.slow.goOn()
        self.slow.hangs = True
        self.pass_(1)
        progress = worker.integrity.progress
        self.assertEqual((FILES, FILES - IN_A_PACK), (progress.files, progress.filesDone))
        self.assertEqual([], story.reports)
        self.slow.goOn()
        self.pass_(1)
        self.assertEqual(FILES, len(story.reports[0].created))
        self.assertEqual(FILES, progress.filesDone)
        self.assertSameFiles(self.home, self.workerHome)

    def test_cutWhileOneHangs(self) -> None:
        """
        When the link is lost while the staging of a pack hangs, nothing is
        staged over the next link before that has ended.
        """
        self.network.latency = 0.01
        worker, story = self.start()
        while worker.integrity.progress.filesDone < IN_A_PACK:
            self.clock.advance(0.01)
        self.slow.hangs = True
        self.pass_(0.5, 0.01)
        before = worker.integrity.progress
        self.network.cut("w1")
        self.pass_(5, 0.01)
        self.assertIsNotNone(worker.master)
        self.assertIs(before, worker.integrity.progress)
        self.slow.goOn()
        self.pass_(2, 0.01)
        progress = worker.integrity.progress
        self.assertEqual(FILES, len(story.reports[0].created))
        self.assertLess(progress.bytesDone, FILES * 9000 * 2)
        self.assertSameFiles(self.home, self.workerHome)
        self.assertEqual([], self.workerHome.preauthChild("queue/wazuh_cluster/staging").listdir())

    def flushes(self, **keywords: Any) -> tuple[list[bytes], Story, MemoryFileSystem]:
        """
        Sync to a worker on a file system in memory.

        @return: where that was synced before the first file came to its place,
            the worker's story, and the file system.
        """
        files = MemoryFileSystem(self.clock)
        home = b"/worker"
        files.makeFolders(home + b"/etc/lists")
        files.makeFolders(home + b"/queue/wazuh_cluster/staging")
        if keywords:
            files.failOn("syncAll", **keywords)
        tree, plain = DirectoryTree(home, fileSystem=files, wallClock=self.wallClock), self.tree
        self.patch(self, "tree", lambda path: tree if path is self.workerHome else plain(path))
        _, story = self.start()
        self.pass_(1)
        first = files.operations.index(("rename", home + b"/etc/lists/list-00"))
        synced = [path for name, path in files.operations[:first] if name == "syncAll"]
        return synced, story, files

    def test_flushed(self) -> None:
        """
        While more comes, what was staged is written to the disk, once for so
        many bytes: that leaves little to the sync of the installation.
        """
        self.patch(fetch, "FLUSH_BYTES", 2 * IN_A_PACK * 9000)
        synced, story, _ = self.flushes()
        self.assertEqual(FILES, len(story.reports[0].created))
        self.assertEqual({b"/worker/queue/wazuh_cluster/staging"}, set(synced))
        self.assertGreater(len(synced), 3)

    def test_littleIsNotFlushed(self) -> None:
        """
        For a small change the sync of the installation is enough.
        """
        synced, story, _ = self.flushes()
        self.assertEqual((FILES, 1), (len(story.reports[0].created), len(synced)))

    def test_flushFails(self) -> None:
        """
        What an early flush meets is left to the sync of the installation; and
        it has opened the folder by itself, so that the system tells both.
        """
        self.patch(fetch, "FLUSH_BYTES", 1)
        _, story, files = self.flushes(times=3)
        self.assertEqual(FILES, len(story.reports[0].created))
        self.assertEqual(b"7" * 9000, files.get(b"/worker/etc/lists/list-07"))

    def test_counts(self) -> None:
        """
        What is counted is what came.
        """
        worker, story = self.start()
        progress = worker.integrity.progress
        total = sum(len(b"%d" % n * 9000) for n in range(FILES))
        self.assertEqual((FILES, total), (progress.filesDone, progress.bytesDone))
        self.assertEqual((total, 0), (story.reports[0].received, story.reports[0].staged))
