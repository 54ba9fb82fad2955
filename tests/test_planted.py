"""
Tests of the simulation by bugs that are planted: each is found.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests import plantedagents
from tests.plantedbugs import BUGS, SEEDS, find, isFound
from wazuh_cluster.testing.simulation import run


class PlantedTests(SynchronousTestCase):
    """
    Each bug is found by what is kept for it, which was cut from the schedule of one of
    the first L{SEEDS<tests.plantedbugs.SEEDS>} seeds; or, where the package has changed
    since, by one of these. Without the bug the same run harms nobody.
    """

    def test_found(self) -> None:
        """
        See the class.
        """
        self.assertTrue(len(BUGS) >= 10)
        for planted in BUGS:
            setup = planted.setup()
            if not isFound(planted, setup):
                module = plantedagents.__name__ if planted.agents else "tests.plantedbugs"
                again = f"python -m {module} {planted.name}"
                print(f"its case does not find {planted.name} any more: {again}", end=" ")
                found = find(planted)
                self.assertIsNotNone(found, f"{planted.name} is not found by {SEEDS} seeds")
                assert found is not None
                setup = found
            self.assertEqual((planted.name, None), (planted.name, run(setup).problem))
