"""
The cluster under faults by seed: new seeds each time, and every schedule that ever
went wrong.

C{WAZUH_CLUSTER_SEED} in the environment sets the first seed, C{WAZUH_CLUSTER_SECONDS} for
how long new ones are run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from time import monotonic

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.testing.simulation import Setup, run
from wazuh_cluster.testing.simulation.report import describe, parseCase
from wazuh_cluster.testing.simulation.shrink import shrink

_CASES = Path(__file__).parent / "cases"

#: How many runs a failing test may spend on its schedule.
_ATTEMPTS = 80

_GIVEN = os.environ.get("WAZUH_CLUSTER_SEED")
BASE = int(_GIVEN) if _GIVEN else int.from_bytes(os.urandom(4), "big")

SECONDS = float(os.environ.get("WAZUH_CLUSTER_SECONDS", "40"))


class SeedTests(SynchronousTestCase):
    """
    Whatever befalls, nothing happens that must never, and when it is over, all
    becomes well.
    """

    def check(self, setups: Iterable[Setup]) -> None:
        """
        Nothing may go wrong in these runs.
        """
        for setup in setups:
            result = run(setup)
            if result.problem is not None:
                self.fail(describe(result, shrink(result, run, _ATTEMPTS)))

    def seeds(
        self,
        turn: int,
        share: float,
        tls: bool = False,
        heals: bool = True,
        agents: bool = False,
    ) -> Iterator[Setup]:
        """
        New runs, as many as there is time for; one at least.

        @param share: of all the time.
        """
        first = BASE + 1_000_000 * turn
        until = monotonic() + share * SECONDS
        for seed in count(first):
            yield Setup(seed, tls=tls, heals=heals, agents=agents)
            if monotonic() >= until:
                print(f"seeds {first} to {seed}", end=" ", flush=True)
                return

    def test_heals(self) -> None:
        """
        Faults end, and all becomes well.
        """
        self.check(self.seeds(0, 0.4))

    def test_healsOverTLS(self) -> None:
        """
        The same over TLS.
        """
        self.check(self.seeds(1, 0.15, tls=True))

    def test_withoutEnd(self) -> None:
        """
        Faults never end; all nodes stop in time nevertheless.
        """
        self.check(self.seeds(2, 0.1, heals=False))

    def test_agents(self) -> None:
        """
        Faults end, and all becomes well, with agents who come and go meanwhile.
        """
        self.check(self.seeds(3, 0.25, agents=True))

    def test_agentsWithoutEnd(self) -> None:
        """
        The same, while faults never end.
        """
        self.check(self.seeds(4, 0.1, heals=False, agents=True))

    def test_cases(self) -> None:
        """
        What went wrong once does not any more.
        """
        paths = sorted(_CASES.glob("*.txt"))
        self.assertTrue(paths)
        self.check(parseCase(path.read_text(encoding="ascii")) for path in paths)

    def test_casesOverTLS(self) -> None:
        """
        The same over TLS.
        """
        cases = (parseCase(path.read_text(encoding="ascii")) for path in _CASES.glob("*.txt"))
        self.check(evolve(case, tls=True) for case in cases)
