"""
Tests for L{wazuh_cluster.uptime}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.uptime import bootId, uptime


class UptimeTests(SynchronousTestCase):
    """
    The system's own clock.
    """

    def test_sameForAll(self) -> None:
        """
        It is the one that the system shows, and never goes back.
        """
        with open("/proc/uptime", encoding="ascii") as file:
            shown = float(file.read().split()[0])
        first, second = uptime(), uptime()
        self.assertLessEqual(shown, first + 0.011)
        self.assertLessEqual(first, second)

    def test_boot(self) -> None:
        """
        A start of the system has an id that stays; without one there is none.
        """
        self.assertEqual(36, len(bootId()))
        self.assertEqual(bootId(), bootId())
        self.assertEqual("", bootId(self.mktemp()))
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b"\xff\xff")
        self.assertEqual("", bootId(path))
