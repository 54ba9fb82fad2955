"""
Tests for L{wazuh_cluster.agents.hashindex} and L{wazuh_cluster.agents.idindex}.
"""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.agents.hashindex import MOST, HashIndex, markOf
from wazuh_cluster.agents.idindex import IdIndex, sortedFirst


class HashIndexTests(SynchronousTestCase):
    """
    L{HashIndex}.
    """

    def test_many(self) -> None:
        """
        Of many texts each finds its number, few find others, and what is not
        there finds next to nothing.
        """
        index = HashIndex()
        for n in range(20_000):
            index.add(b"text %d" % n, n)
        found = [list(index.find(b"text %d" % n)) for n in range(20_000)]
        self.assertTrue(all(n in each for n, each in enumerate(found)))
        self.assertLess(sum(map(len, found)), 20_010)
        self.assertLess(sum(len(list(index.find(b"other %d" % n))) for n in range(20_000)), 10)

    def test_filled(self) -> None:
        """
        A whole range is added at once, and whose mark was taken is told.
        """
        marks = array("I", [markOf(b"text %d" % (n % 900)) for n in range(1000)])
        index = HashIndex(10)
        same = index.fill(marks, 0, 600) + index.fill(marks, 600, 1000)
        self.assertEqual(same, list(range(900, 1000)))
        self.assertEqual(sorted(index.find(b"text 5")), [5, 905])
        self.assertEqual(list(index.find(b"text 500")), [500])

    def test_removed(self) -> None:
        """
        What was removed is not found, and makes room: however often a text
        gets a new number, it finds that one.
        """
        index = HashIndex()
        for n in range(5000):
            index.add(b"text", n)
            index.remove(b"text", n - 1)
            index.remove(b"nothing", n)
            self.assertEqual(list(index.find(b"text")), [n])
        index.replace(b"text", 4999, 7)
        index.replace(b"text", 4999, 8)
        self.assertEqual(list(index.find(b"text")), [7])

    def test_mostOfOne(self) -> None:
        """
        Of very many numbers with one text a bounded number is found, in
        bounded time.
        """
        index = HashIndex()
        for n in range(50_000):
            index.add(b"text", n)
        index.add(b"other", 1)
        self.assertEqual(list(index.find(b"text")), list(range(MOST)))
        self.assertEqual(list(index.find(b"other")), [1])

    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 30))))
    def test_likeADictionary(self, steps: list[tuple[bool, int, int]]) -> None:
        """
        It finds what was added and not removed.
        """
        index = HashIndex()
        expected: dict[bytes, set[int]] = {}
        for isAdded, text, number in steps:
            key = b"%d" % text
            there = expected.setdefault(key, set())
            if not isAdded:
                index.remove(key, number)
                there.discard(number)
            elif number not in there and len(there) < MOST:
                index.add(key, number)
                there.add(number)
        for key, numbers in expected.items():
            self.assertEqual(set(index.find(key)), numbers)


class IdIndexTests(SynchronousTestCase):
    """
    L{IdIndex}.
    """

    def test_slots(self) -> None:
        """
        Slots never move; dropped ids are not there any more.
        """
        index = IdIndex(array("I", [3, 5, 9]), array("I", [0, 7, 1]))
        slot = index.add(12, 4)
        self.assertEqual([index.slot(id) for id in (3, 5, 9, 12, 4, 99)], [0, 1, 2, 3, None, None])
        self.assertEqual((slot, index.blockAt(3), index.blockAt(1)), (3, 4, 7))
        index.drop(1)
        index.drop(1)
        self.assertEqual([index.has(id) for id in (3, 5, 9)], [True, False, True])
        self.assertEqual((index.idAt(0), index.idAt(1), index.idAt(3)), (3, None, 12))
        self.assertEqual(list(index), [3, 9, 12])
        self.assertEqual((len(index), index.dropped, index.highest), (3, 1, 12))
        self.assertEqual(index.those([1, 3, 5, 12, 13]), {3, 12})
        self.assertEqual(index.after(3, 9), [2, 3])
        self.assertEqual(index.after(0, 2), [0, 2])
        self.assertEqual(index.after(0, 0), [])

    def test_ascending(self) -> None:
        """
        An id is added after all others, also after one that was dropped.
        """
        index = IdIndex()
        self.assertEqual((index.highest, len(index), index.has(0)), (0, 0, False))
        index.drop(index.add(5, 0))
        self.assertRaises(ValueError, index.add, 5, 0)
        self.assertRaises(ValueError, index.add, 4, 0)
        index.add(6, 0)

    @given(st.lists(st.integers(1, 50)))
    def test_sortedFirst(self, ids: list[int]) -> None:
        """
        Each id once, ascending, by where it stands first.
        """
        first, again = sortedFirst(array("I", ids))
        self.assertEqual([ids[place] for place in first], sorted(set(ids)))
        self.assertEqual(sorted([*first, *again]), list(range(len(ids))))
        for place in first:
            self.assertEqual(ids.index(ids[place]), place)
        self.assertEqual(again, sorted(again))
