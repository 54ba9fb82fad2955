"""
Tests for L{wazuh_cluster.agents.keyids}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.agents.keyids import keyIds
from wazuh_cluster.testing.runner import ImmediateRunner


class KeyIdsTests(SynchronousTestCase):
    """
    The agents in a C{client.keys}.
    """

    def ids(self, content: bytes) -> list[int]:
        return list(self.successResultOf(ImmediateRunner().run(keyIds(content))))

    def test_ids(self) -> None:
        """
        Those that are registered; not removed ones, comments, or what is no
        agent at all.
        """
        key = b"a" * 64
        content = b"\n".join(
            [
                b"001 web-1 any " + key,
                b"99999999 db.example 10.0.0.0/8 " + key,
                b"002 !gone any " + key,
                b"003 #*#*gone any " + key,
                b"# 004 comment any " + key,
                b" 005 blank any " + key,
                b"",
                b"006",
                b"007 short",
                b"123456789 long any " + key,
                b"-08 minus any " + key,
                b"\xff\xfe\x00 x y " + key,
                b"010 last any " + key,
            ]
        )
        self.assertEqual([1, 99_999_999, 10], self.ids(content))
        self.assertEqual([], self.ids(b""))

    def test_slices(self) -> None:
        """
        A large file is worked off in slices.
        """
        content = b"".join(b"%03d a any k\n" % n for n in range(1, 50_001))
        slices = 0

        def count() -> None:
            nonlocal slices
            slices += 1

        ids = self.successResultOf(ImmediateRunner(count).run(keyIds(content)))
        self.assertEqual(50_000, len(ids))
        self.assertGreater(slices, 4)
