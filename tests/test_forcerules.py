"""
Tests for L{wazuh_cluster.agents.forcerules}.
"""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.twohomes import NOW
from wazuh_cluster.agents import (
    ACTIVE,
    DISCONNECTED,
    PENDING,
    Agent,
    AgentRecord,
    AgentStatus,
)
from wazuh_cluster.agents.forcerules import (
    ForceRules,
    Standing,
    keyHash,
    neverConnected,
    whyNot,
)

AGENT = Agent(1, "web1", "any", "0f" * 32)


class ForceRulesTests(SynchronousTestCase):
    """
    L{whyNot}.
    """

    def setUp(self) -> None:
        self.rules = ForceRules()
        self.old = Standing(AGENT, NOW - 3600, neverConnected(AGENT))

    def why(self, theirHash: str | None = None) -> str | None:
        return whyNot(self.rules, self.old, theirHash, NOW, 900)

    def stands(self, status: str, ago: float, event: str | None = None) -> None:
        """
        Let the old agent have a status.
        """
        heard = NOW - ago
        record = None if event is None else AgentRecord(1, event, heard)
        self.old = evolve(
            self.old, status=AgentStatus(1, "web1", "any", status, heard, record=record)
        )

    def test_defaults(self) -> None:
        """
        Wazuh's: an hour since the registration and since the disconnection.
        """
        self.assertEqual(self.rules, ForceRules(True, True, 3600, 3600))
        self.assertIsNone(self.why())

    def test_enabled(self) -> None:
        """
        All of it can be turned off.
        """
        self.rules = ForceRules(enabled=False)
        self.assertIn("not enabled", self.why() or "")

    def test_noStatus(self) -> None:
        """
        Of whom nobody knows anything is not replaced, by no rule.
        """
        self.rules = ForceRules(disconnectedTime=None, afterRegistrationTime=0)
        self.old = evolve(self.old, status=None)
        self.assertIn("nobody can say", self.why() or "")

    def test_connected(self) -> None:
        """
        One that is connected, or about to be, is not replaced, however long
        ago it was heard; unless nobody is to look at that.
        """
        for status in (ACTIVE, PENDING):
            self.stands(status, 10**6)
            self.assertEqual(self.why(), f"it is {status}")
        self.rules = ForceRules(disconnectedTime=None)
        self.assertIsNone(self.why())

    def test_disconnected(self) -> None:
        """
        The time counts from its own word, or from when it had been silent for
        too long.
        """
        self.stands(DISCONNECTED, 3600, DISCONNECTED)
        self.assertIsNone(self.why())
        self.stands(DISCONNECTED, 3599, DISCONNECTED)
        self.assertEqual(self.why(), "it was disconnected 3599 s ago")
        for event in (ACTIVE, None):
            self.stands(DISCONNECTED, 4500, event)
            self.assertIsNone(self.why())
            self.stands(DISCONNECTED, 4499, event)
            self.assertEqual(self.why(), "it was disconnected 3599 s ago")

    def test_registered(self) -> None:
        """
        One that was registered lately stays; of one of which nobody knows when
        it was, that was long ago. A clock that was set back proves nothing.
        """
        self.old = evolve(self.old, registered=NOW - 3599)
        self.assertEqual(self.why(), "it was registered 3599 s ago")
        self.old = evolve(self.old, registered=NOW + 10)
        self.assertEqual(self.why(), "it was registered 0 s ago")
        self.rules = ForceRules(afterRegistrationTime=0)
        self.assertIsNone(self.why())
        self.rules = ForceRules()
        self.old = evolve(self.old, registered=0)
        self.assertIsNone(self.why())

    def test_key(self) -> None:
        """
        One that has the right key needs no other.
        """
        self.assertIn("key", self.why(keyHash(AGENT)) or "")
        self.assertIsNone(self.why("0" * 40))
        self.rules = ForceRules(keyMismatch=False)
        self.assertIsNone(self.why(keyHash(AGENT)))

    def test_keyHash(self) -> None:
        """
        SHA-1 of id, name and key, one after the other.
        """
        # printf '001web1%s' 0f0f… | sha1sum
        self.assertEqual(keyHash(AGENT), "fcb4e82084ed2f959e9713d5d1d8ea1c0df93bb4")
