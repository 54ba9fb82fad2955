"""
Tests for L{wazuh_cluster.descriptors}.
"""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

import wazuh_cluster
from wazuh_cluster.descriptors import descriptorsFor
from wazuh_cluster.protocol import Limits

_ALLOW = """
import resource, sys
from wazuh_cluster.descriptors import allowDescriptors
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(allowDescriptors(wanted), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


class DescriptorsTests(SynchronousTestCase):
    """
    The soft limit is raised as far as is needed and allowed.
    """

    def allow(self, soft: int, hard: int, wanted: int) -> list[int]:
        """
        In a process of its own: what it may have, and its limits.
        """
        checkout = os.path.dirname(os.path.dirname(wazuh_cluster.__file__))
        out = subprocess.run(
            [sys.executable, "-c", _ALLOW, str(soft), str(hard), str(wanted)],
            env={**os.environ, "PYTHONPATH": checkout},
            check=True,
            capture_output=True,
        ).stdout
        return [int(number) for number in out.split()]

    def test_raised(self) -> None:
        """
        To what is wanted; to what is allowed; and not if there is enough.
        """
        self.assertEqual([300, 300, 400], self.allow(200, 400, 300))
        self.assertEqual([250, 250, 250], self.allow(200, 250, 300))
        self.assertEqual([200, 200, 400], self.allow(200, 400, 100))

    def test_enough(self) -> None:
        """
        A node wants enough for all whom it lets connect at once.
        """
        limits = Limits(greeting=10, workers=100)
        for isMaster, agents, most in ((True, 0, 120), (True, 50, 170), (False, 50, 50)):
            self.assertGreater(descriptorsFor(limits, isMaster, agents), most + 100)
