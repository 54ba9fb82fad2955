"""
Tests for L{wazuh_cluster.memory}.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

import wazuh_cluster
from wazuh_cluster.memory import Housekeeper, giveBack, residentSize

_MIB = 1024 * 1024

_BURST = """
from wazuh_cluster.memory import giveBack, residentSize, tuneAllocator
tuneAllocator()
before = residentSize()
pieces = [bytes(2000) for _ in range(40_000)]
last = pieces[-1]
grown = residentSize()
del pieces
giveBack()
print(before, grown, residentSize())
"""


class HousekeeperTests(SynchronousTestCase):
    """
    Memory is given back when it has grown, and not looked through otherwise.
    """

    def setUp(self) -> None:
        self.sizes: list[int] = []
        self.given = 0
        self.keeper = Housekeeper(lambda: self.sizes.pop(0), self.giveBack, 16 * _MIB)

    def giveBack(self) -> None:
        self.given += 1

    def look(self, *mebibytes: int) -> str | None:
        self.sizes[:] = [size * _MIB for size in mebibytes]
        return self.keeper.look()

    def test_littleGrowth(self) -> None:
        """
        Little growth changes nothing.
        """
        for size in (50, 60, 65, 50):
            self.assertIsNone(self.look(size))
        self.assertEqual(0, self.given)

    def test_muchGrowth(self) -> None:
        """
        Much does, once: what is left is in use. It is tried again later, and
        later each time.
        """
        self.look(50)
        self.assertIsNotNone(self.look(70, 68))
        self.assertIsNone(self.look(75))
        self.assertIsNotNone(self.look(84, 60))
        self.assertEqual(2, self.given)
        looks = [self.look(90, 90) is not None for _ in range(20)]
        self.assertEqual([0, 2, 6, 14], [n for n, given in enumerate(looks) if given])

    def test_afterAPeak(self) -> None:
        """
        What was in use at a peak and is not any more is given back, though it
        has not grown since.
        """
        self.look(50)
        self.assertIsNotNone(self.look(250, 240))
        self.assertIsNone(self.look(200))
        self.assertIsNotNone(self.look(200, 55))

    def test_afterShrinking(self) -> None:
        """
        Growth counts from the least there was.
        """
        self.look(90)
        self.look(50)
        self.assertIsNotNone(self.look(70, 50))


class ProcessTests(SynchronousTestCase):
    """
    A real process's memory.
    """

    def test_size(self) -> None:
        """
        The size of this process is that of a Python.
        """
        self.assertTrue(5 * _MIB < residentSize() < 4000 * _MIB)

    def test_cycles(self) -> None:
        """
        What only cycles hold is freed.
        """
        gone: list[int] = []

        class Cycle:
            def __init__(self) -> None:
                self.me = self

            def __del__(self) -> None:
                gone.append(1)

        gc.disable()
        self.addCleanup(gc.enable)
        Cycle()
        self.assertEqual([], gone)
        giveBack()
        self.assertEqual([1], gone)

    def test_burst(self) -> None:
        """
        After a burst the system has most of it back.
        """
        checkout = os.path.dirname(os.path.dirname(wazuh_cluster.__file__))
        output = subprocess.run(
            [sys.executable, "-c", _BURST],
            capture_output=True,
            check=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": checkout},
        ).stdout
        before, grown, after = map(int, output.split())
        self.assertGreater(grown - before, 60 * _MIB)
        self.assertLess(after - before, (grown - before) // 4)
