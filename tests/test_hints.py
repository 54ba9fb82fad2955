"""
Tests for L{wazuh_cluster.worker.hints}, and for a worker that looks only at what
has changed.
"""

from __future__ import annotations

import os

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.clustercase import FilledCase
from tests.test_difference import manifestOf
from tests.test_manifest import entry
from wazuh_cluster.integrity import WAZUH_ITEMS, DirectoryTree, Snapshot
from wazuh_cluster.integrity.snapshot import StatusColumns
from wazuh_cluster.model import Generation
from wazuh_cluster.testing.watcher import ToldWatcher
from wazuh_cluster.worker.hints import BURST, Hints, placesOf

ONE = Generation(b"m" * 16, 1, b"r" * 32)
INTERVAL = 9.0


class HintsTests(SynchronousTestCase):
    """
    L{Hints}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)
        self.looks = 0
        self.hints = Hints(self.clock, INTERVAL)
        self.hints.joined(self.look)

    def look(self) -> None:
        self.looks += 1

    def test_followed(self) -> None:
        """
        Who was at a generation and hears of another looks at what changed; at
        everything, if it hears nothing.
        """
        self.assertIsNone(self.hints.take())
        self.hints.reached(ONE)
        self.hints.heard()
        self.assertEqual(1, self.looks)
        self.assertEqual(ONE, self.hints.take())
        self.hints.reached(ONE)
        self.assertIsNone(self.hints.take())

    def test_notReached(self) -> None:
        """
        After a look that did not end well, and on a new link, everything is
        looked at.
        """
        self.hints.take()
        self.hints.heard()
        self.assertIsNone(self.hints.take())
        self.hints.reached(ONE)
        self.hints.left()
        self.hints.joined(self.look)
        self.hints.heard()
        self.assertIsNone(self.hints.take())

    def test_interval(self) -> None:
        """
        However much is heard, everything is looked at at each interval.
        """
        wholes = 0
        for _ in range(90):
            self.clock.advance(1)
            self.hints.heard()
            wholes += self.hints.take() is None
            self.hints.reached(ONE)
        self.assertTrue(9 <= wholes <= 11, wholes)

    def test_pace(self) -> None:
        """
        A few hints are followed at once, then one a second.
        """
        for _ in range(100):
            self.hints.heard()
        self.assertEqual(BURST, self.looks)
        for _ in range(100):
            self.clock.advance(0.125)
            self.hints.heard()
        self.assertTrue(12 <= self.looks - BURST <= 13, self.looks)
        self.hints.left()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_later(self) -> None:
        """
        A look for which something waits comes at its time.
        """
        self.hints.later(0.5)
        self.hints.later(0.75)
        self.clock.advance(0.625)
        self.assertEqual(0, self.looks)
        self.clock.advance(0.25)
        self.assertEqual(1, self.looks)

    def test_places(self) -> None:
        """
        A file in a folder that is to be made, or that may go, stands for that
        folder.
        """
        snapshot = Snapshot(
            manifestOf(), StatusColumns(), folders=[b"etc/rules/a", b"etc/rules/a/b"]
        )
        manifest = manifestOf(
            entry(path)
            for path in (b"etc/rules/a/one", b"etc/rules/new/er/two", b"etc/client.keys")
        )
        changed = [
            b"etc/rules/a/one",
            b"etc/rules/a/b/gone",
            b"etc/rules/new/er/two",
            b"etc/rules/top",
            b"etc/client.keys",
        ]
        self.assertEqual(
            {
                b"etc/rules/a/one",
                b"etc/rules/a/b",
                b"etc/rules/new",
                b"etc/rules/top",
                b"etc/client.keys",
            },
            placesOf(changed, snapshot, manifest, WAZUH_ITEMS),
        )


class FollowingTests(FilledCase):
    """
    A worker whose master notices changes.
    """

    def setUp(self) -> None:
        super().setUp()
        self.watcher = ToldWatcher()
        for n in range(3):
            self.write(self.home, f"etc/rules/deep/{n}.xml", b"<rule/>")
        self.theMaster = self.master(self.home, watcher=self.watcher)
        self.theWorker = self.worker(home=self.workerHome)
        self.pass_(2)
        self.scans: list[object] = []
        scan = DirectoryTree.scan
        mine = os.fsencode(os.path.abspath(self.workerHome.path))

        def noted(tree: DirectoryTree, *arguments: object, **keywords: object) -> object:
            # Not those of this test.
            if tree.path == mine and arguments:
                self.scans.append(arguments[-1])
            return scan(tree, *arguments, **keywords)  # type: ignore[arg-type]

        self.patch(DirectoryTree, "scan", noted)

    def tell(self, *paths: str) -> None:
        self.watcher.tell(*(path.encode() for path in paths))
        self.pass_(0.5, 0.05)

    def test_onlyThese(self) -> None:
        """
        It looks at what changed, before and after, and at nothing else; and
        all is right when everything is looked at.
        """
        self.write(self.home, "etc/rules/deep/new/one.xml", b"<rule/>")
        self.home.preauthChild("etc/rules/deep/1.xml").remove()
        self.write(self.home, "etc/rules/deep/2.xml", b"<other/>")
        self.tell("etc/rules/deep/new", "etc/rules/deep/1.xml", "etc/rules/deep/2.xml")
        self.assertSameFiles(self.home, self.workerHome)
        places = {b"etc/rules/deep/new", b"etc/rules/deep/1.xml", b"etc/rules/deep/2.xml"}
        self.assertEqual([places, places], self.scans)
        self.home.preauthChild("etc/rules/deep").remove()
        self.tell("etc/rules/deep")
        self.assertSameFiles(self.home, self.workerHome)
        self.assertFalse(self.workerHome.preauthChild("etc/rules/deep").exists())
        self.assertEqual([{b"etc/rules/deep"}] * 2, self.scans[2:])
        seen = self.theWorker.integrity.snapshot
        self.pass_(10)
        whole = self.theWorker.integrity.snapshot
        assert seen is not None and whole is not None
        self.assertEqual(whole.manifest, seen.manifest)
        self.assertEqual(whole.folders, seen.folders)
        self.assertEqual(
            {kind: sorted(paths) for kind, paths in whole.folderKinds.items()},
            {kind: sorted(paths) for kind, paths in seen.folderKinds.items()},
        )

    def test_ownEdits(self) -> None:
        """
        What somebody changed on the worker is mended at the interval.
        """
        self.write(self.workerHome, "etc/rules/deep/0.xml", b"<mine/>")
        self.write(self.home, "etc/rules/deep/1.xml", b"<other/>")
        self.tell("etc/rules/deep/1.xml")
        self.pass_(10)
        self.assertSameFiles(self.home, self.workerHome)

    def test_oftenAndEverything(self) -> None:
        """
        Changes without pause are all followed.
        """
        for n in range(60):
            self.write(self.home, f"etc/rules/deep/{n % 5}.xml", b"<rule>%d</rule>" % n)
            self.tell(f"etc/rules/deep/{n % 5}.xml")
        self.pass_(2)
        self.assertSameFiles(self.home, self.workerHome)
        self.assertIn(None, self.scans)
