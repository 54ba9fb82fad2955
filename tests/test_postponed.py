"""
Tests for L{wazuh_cluster.worker.postponed}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.worker.postponed import LONGEST_DELAY, Postponed

DIGEST = b"d" * 16


class PostponedTests(SynchronousTestCase):
    """
    What could not be had is left alone for a while, longer each time.
    """

    def setUp(self) -> None:
        self.postponed = Postponed()
        self.room = 0

    def left(self, now: float, size: int = 100) -> str | None:
        return self.postponed.why(DIGEST, size, now, lambda: self.room)

    def delay(self, now: float) -> float:
        """
        For how long it is left alone from now on.
        """
        return next(n / 4 for n in range(500) if self.left(now + n / 4) is None)

    def test_nothing(self) -> None:
        """
        What never failed is asked for.
        """
        self.assertIsNone(self.left(0))

    def test_longerEachTime(self) -> None:
        """
        A small file is tried again after two seconds, then ever later, never
        later than after a minute; the reason is the last one.
        """
        now, delays = 0.0, []
        for n in range(8):
            self.postponed.failed(DIGEST, f"reason {n}", 100, now)
            self.assertEqual(self.left(now), f"reason {n}")
            delays.append(round(self.delay(now)))
            now += self.delay(now)
        self.assertEqual(delays, [2, 4, 8, 16, 32, 60, 60, 60])

    def test_largeFile(self) -> None:
        """
        A file that takes long to travel is not sent for nothing at each look.
        """
        self.postponed.failed(DIGEST, "changed", 1 << 30, 0.0)
        self.assertTrue(30 < self.delay(0.0) <= LONGEST_DELAY, self.delay(0.0))

    def test_forgotten(self) -> None:
        """
        What failed long ago, or came since, counts no more.
        """
        self.postponed.failed(DIGEST, "why", 100, 0.0)
        self.postponed.came(DIGEST)
        self.postponed.came(DIGEST)
        self.assertFalse(self.postponed)
        self.postponed.failed(DIGEST, "why", 100, 0.0)
        self.postponed.forgetOld(61.0)
        self.postponed.failed(DIGEST, "why", 100, 61.0)
        self.assertEqual(round(self.delay(61.0)), 4)
        self.postponed.forgetOld(66.0 + LONGEST_DELAY)
        self.postponed.failed(DIGEST, "why", 100, 200.0)
        self.assertEqual(round(self.delay(200.0)), 2)

    def test_newGeneration(self) -> None:
        """
        What the master could not give is tried at once when it has something
        new; what our own disk refused is not.
        """
        self.postponed.failed(DIGEST, "changed", 100, 0.0)
        self.postponed.renew()
        self.assertIsNone(self.left(0.0))
        self.postponed.failed(DIGEST, "quota", 100, 0.0, full=False)
        self.postponed.renew()
        self.assertEqual(self.left(0.0), "quota")

    def test_room(self) -> None:
        """
        A file for which the disk had no room is tried every minute, or as soon
        as there is some.
        """
        self.postponed.failed(DIGEST, "no room", 100, 0.0, full=True)
        self.assertEqual(self.delay(0.0), LONGEST_DELAY)
        self.room = 99
        self.assertEqual(self.left(1.0), "no room")
        self.room = 100
        self.assertIsNone(self.left(1.0))
        # Where it says that there is some and takes nothing, that tells nothing.
        self.postponed.failed(DIGEST, "quota", 100, 0.0, full=False)
        self.assertEqual(self.left(1.0), "quota")
