"""
Tests of the simulation by bugs that are planted: each is found.
"""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase

from tests import plantedagents
from tests.plantedbugs import BUGS, SEEDS, find, findNear
from wazuh_cluster.testing.simulation import run


class PlantedTests(SynchronousTestCase):
    """
    Each bug is found by the schedule that is kept for it, which was cut from that of one
    of the first L{SEEDS<tests.plantedbugs.SEEDS>} seeds; or, where the package has changed
    too much since, by one of these. Without the bug the same run harms nobody.
    """

    def tearDown(self) -> None:
        """
        Worlds that broke are left in the middle of things, and Python ends their
        coroutines in any order: whatever that says is nobody's.
        """
        gc.collect()
        self.flushLoggedErrors(ValueError)

    def test_found(self) -> None:
        """
        See the class.
        """
        self.assertTrue(len(BUGS) >= 10)
        for planted in BUGS:
            setup = findNear(planted)
            if setup is None:
                module = plantedagents.__name__ if planted.agents else "tests.plantedbugs"
                print(f"python -m {module} {planted.name} is due", end=" ")
                setup = find(planted)
            self.assertIsNotNone(setup, f"{planted.name} is not found by {SEEDS} seeds")
            assert setup is not None
            self.assertEqual((planted.name, None), (planted.name, run(setup).problem))
