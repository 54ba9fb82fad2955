"""
Tests of the simulation by bugs that are planted: each is found.
"""

from __future__ import annotations

from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import SynchronousTestCase

from tests.plantedbugs import BUGS
from wazuh_cluster.testing.simulation import run


class PlantedTests(SynchronousTestCase):
    """
    Each bug is found by the schedule that is kept for it, which was cut from that of
    one of the first L{SEEDS<tests.plantedbugs.SEEDS>} seeds; and without the bug that
    schedule harms nobody.
    """

    def test_found(self) -> None:
        """
        See the class.
        """
        self.assertTrue(len(BUGS) >= 10)
        for planted in BUGS:
            setup = planted.setup()
            self.assertEqual((planted.name, None), (planted.name, run(setup).problem))
            patcher = MonkeyPatcher()
            planted.plant(patcher.addPatch)
            problem = patcher.runWithPatches(run, setup).problem or "nothing"
            self.assertIn(planted.found, problem, planted.name)
