"""
Tests for L{wazuh_cluster.restartdue}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import StateDamaged
from wazuh_cluster.restartdue import DueRestart, RestartDue
from wazuh_cluster.testing.state import MemoryState


class RestartDueTests(SynchronousTestCase):
    """
    L{RestartDue} remembers that Wazuh must be restarted.
    """

    def setUp(self) -> None:
        """
        Nothing is due.
        """
        self.state = MemoryState()
        self.due = RestartDue(self.state)

    def test_nothing(self) -> None:
        """
        At first, and after files that are none, nothing is due.
        """
        self.due.add([], 10.0)
        self.assertIsNone(self.due.read())

    def test_add(self) -> None:
        """
        The mark says since when and because of which files, over a restart of
        the node.
        """
        self.due.add([b"etc/rules/a.xml", b"etc/rules/\xff.xml"], 10.25)
        self.assertEqual(
            DueRestart(10.25, 10.25, (b"etc/rules/a.xml", b"etc/rules/\xff.xml"), 2),
            RestartDue(self.state).read(),
        )

    def test_addMore(self) -> None:
        """
        Later files are added, each once; the beginning stays.
        """
        self.due.add([b"a", b"b"], 10.0)
        self.due.add([b"b", b"c"], 20.0)
        self.assertEqual(DueRestart(10.0, 20.0, (b"a", b"b", b"c"), 3), self.due.read())

    def test_manyFiles(self) -> None:
        """
        Only the first hundred names are kept; all are counted.
        """
        names = [b"f%d" % n for n in range(250)]
        self.due.add(names, 10.0)
        self.assertEqual(DueRestart(10.0, 10.0, tuple(names[:100]), 250), self.due.read())

    def test_clear(self) -> None:
        """
        The mark can be cleared, twice too.
        """
        self.due.add([b"a"], 10.0)
        self.due.clear()
        self.due.clear()
        self.assertIsNone(self.due.read())

    def test_clearIfRestarted(self) -> None:
        """
        Only a start after the last of the files clears it.
        """
        self.assertFalse(self.due.clearIfRestarted([99.0]))
        self.due.add([b"a"], 10.0)
        self.due.add([b"b"], 20.0)
        for starts in ([], [5.0], [15.0, 20.0]):
            self.assertFalse(self.due.clearIfRestarted(starts))
        self.assertIsNotNone(self.due.read())
        self.assertTrue(self.due.clearIfRestarted([5.0, 20.5]))
        self.assertIsNone(self.due.read())

    def test_damaged(self) -> None:
        """
        A mark that cannot be read is said to be damaged; the next files
        replace it.
        """
        for content in (b"", b"[]", b'{"since": 1}', b'{"since": "x"}', b"\xff"):
            self.state.save("restart-due", content)
            self.assertRaises(StateDamaged, self.due.read)
        self.due.add([b"a"], 10.0)
        self.assertEqual(DueRestart(10.0, 10.0, (b"a",), 1), self.due.read())

    @settings(deadline=None, max_examples=80)
    @given(st.lists(st.tuples(st.lists(st.binary(max_size=8), min_size=1), st.floats(0, 1e10))))
    def test_anyFiles(self, syncs: list[tuple[list[bytes], float]]) -> None:
        """
        Whatever the names are, what was added is what is read.
        """
        due = RestartDue(MemoryState())
        names: dict[bytes, None] = {}
        for paths, now in syncs:
            due.add(paths, now)
            names.update(dict.fromkeys(paths))
        found = due.read()
        if not syncs:
            self.assertIsNone(found)
        else:
            assert found is not None
            self.assertEqual(tuple(names)[:100], found.files)
            self.assertEqual((syncs[0][1], syncs[-1][1]), (found.since, found.latest))
