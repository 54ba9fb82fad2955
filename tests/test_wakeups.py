"""
Tests for L{wazuh_cluster.master.wakeups}.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.clustercase import FilledCase
from wazuh_cluster.integrity import WAZUH_ITEMS, Manifest, Snapshot
from wazuh_cluster.integrity.snapshot import StatusColumns
from wazuh_cluster.interfaces import IWatcher
from wazuh_cluster.master.wakeups import BURST, LONGEST, MOST, QUIET, Wakeups
from wazuh_cluster.testing.runner import ImmediateRunner
from wazuh_cluster.testing.watcher import ToldWatcher

RULE = b"etc/rules/one.xml"
KEYS = b"etc/client.keys"
INTERVAL = 8.0


class WakeupsTests(SynchronousTestCase):
    """
    L{Wakeups}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.watcher = ToldWatcher()
        self.woken: list[float | None] = []
        self.wakeups = Wakeups(
            self.watcher, WAZUH_ITEMS, self.clock, lambda: INTERVAL, self.woken.append
        )
        self.wakeups.start(ImmediateRunner())

    def look(self) -> frozenset[bytes] | None:
        """
        Look at what there is to look at.
        """
        taken = self.wakeups.take()
        empty = Snapshot(Manifest.fromEntries("md5", ()), StatusColumns())
        self.successResultOf(Deferred.fromCoroutine(self.wakeups.saw(empty)))
        return taken

    def test_interface(self) -> None:
        """
        The watcher of these tests is one.
        """
        verifyObject(IWatcher, self.watcher)

    def test_first(self) -> None:
        """
        The first look is at everything; what it finds is followed.
        """
        self.watcher.tell(RULE)
        self.clock.advance(1)
        self.assertIsNone(self.look())
        self.assertEqual([], self.watcher.followed)

    def test_gathered(self) -> None:
        """
        Changes that come together make one look, at what changed.
        """
        self.look()
        for n in range(3):
            self.watcher.tell(b"etc/rules/%d" % n)
            self.clock.advance(QUIET / 2)
        self.assertEqual([], self.woken)
        self.clock.advance(QUIET)
        self.assertEqual([0.0], self.woken)
        self.assertEqual({b"etc/rules/0", b"etc/rules/1", b"etc/rules/2"}, self.look())

    def test_notForEver(self) -> None:
        """
        Changes that do not end are not waited for.
        """
        self.look()
        began = self.clock.seconds()
        while not self.woken:
            self.watcher.tell(RULE)
            self.clock.advance(QUIET / 4)
        self.assertLess(self.clock.seconds() - began, LONGEST + QUIET)

    def test_pace(self) -> None:
        """
        A few looks follow each other at once, then there is one a second.
        """
        self.look()
        for _ in range(40 * 20):
            self.watcher.tell(RULE)
            self.clock.advance(0.05)
            if len(self.woken) > 0 and self.woken[-1] == 0.0:
                self.woken.append(None)
                self.look()
        looks = self.woken.count(0.0)
        self.assertTrue(40 <= looks <= 40 + BURST + 1, looks)

    def test_keysInTheirPace(self) -> None:
        """
        Keys alone are looked at in the pace of who looks.
        """
        self.look()
        self.watcher.tell(KEYS)
        self.assertEqual([None], self.woken)
        self.clock.advance(1)
        self.assertEqual([None], self.woken)
        self.assertEqual({KEYS}, self.look())

    def test_ownChanges(self) -> None:
        """
        What this node wrote is looked at in that pace too, with what the
        watcher has not told yet.
        """
        self.look()
        self.watcher.happen(RULE)
        self.wakeups.written()
        self.assertEqual([None], self.woken)
        self.assertEqual({KEYS, RULE}, self.look())
        self.clock.advance(1)
        self.assertEqual([None], self.woken)

    def test_interval(self) -> None:
        """
        Everything is looked at at each interval, however often the watcher
        wakes somebody up.
        """
        self.look()
        wholes = 0
        for _ in range(50):
            self.clock.advance(1)
            self.watcher.tell(RULE)
            self.clock.advance(LONGEST)
            wholes += self.look() is None
        self.assertTrue(5 <= wholes <= 7, wholes)

    def test_notAsked(self) -> None:
        """
        A look that nobody was woken up for is at everything.
        """
        self.look()
        self.assertIsNone(self.look())

    def test_anything(self) -> None:
        """
        When anything may have changed, or too much did, everything is looked
        at.
        """
        self.look()
        self.watcher.tellAll()
        self.clock.advance(QUIET)
        self.assertEqual([0.0], self.woken)
        self.assertIsNone(self.look())
        self.watcher.tell(*(b"etc/rules/%d" % n for n in range(MOST + 1)))
        self.clock.advance(QUIET)
        self.assertIsNone(self.look())
        self.watcher.tell(RULE)
        self.clock.advance(QUIET)
        self.assertEqual({RULE}, self.look())

    def test_failed(self) -> None:
        """
        What a look that failed was to look at is not forgotten.
        """
        self.look()
        self.watcher.tell(RULE)
        self.clock.advance(QUIET)
        self.wakeups.take()
        self.wakeups.failed()
        self.watcher.tell(b"etc/rules/two.xml")
        self.clock.advance(QUIET)
        self.assertIsNone(self.look())

    def test_notWatching(self) -> None:
        """
        Where nothing is watched, every look is at everything.
        """
        self.look()
        self.watcher.able = False
        self.wakeups.written()
        self.assertIsNone(self.look())
        alone = Wakeups(None, WAZUH_ITEMS, self.clock, lambda: INTERVAL, self.woken.append)
        alone.start(ImmediateRunner())
        alone.take()
        alone.written()
        self.assertIsNone(alone.take())
        alone.stop()

    def test_stop(self) -> None:
        """
        A stop leaves no timer behind.
        """
        self.look()
        self.watcher.tell(RULE)
        self.wakeups.stop()
        self.assertEqual([], self.clock.getDelayedCalls())


class WatchedMasterTests(FilledCase):
    """
    A master that is told of changes.
    """

    def test_atOnce(self) -> None:
        """
        A change is on the worker within a tenth of a second, and in one
        generation with those that came together with it.
        """
        watcher = ToldWatcher()
        master = self.master(self.home, watcher=watcher)
        self.worker(home=self.workerHome)
        self.pass_(2)
        before = self.number(master)
        for n in range(5):
            path = f"etc/rules/{n}.xml"
            self.write(self.home, path, b"<rule/>")
            watcher.tell(path.encode())
            self.clock.advance(0.005)
        self.pass_(0.1, 0.01)
        self.assertEqual(before + 1, self.number(master))
        self.assertSameFiles(self.home, self.workerHome)

    def test_stops(self) -> None:
        """
        A master that stops watches nothing more.
        """
        watcher = ToldWatcher()
        master = self.master(self.home, watcher=watcher)
        self.pass_(1)
        self.assertTrue(watcher.watching)
        self.stop(master)
        self.assertFalse(watcher.watching)
