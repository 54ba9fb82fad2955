"""
Tests for L{wazuh_cluster.integrity.holds}: an empty redeployed master must not
wipe a cluster.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.twohomes import TwoHomes, drive
from wazuh_cluster.integrity import WAZUH_ITEMS, Hold, Holds, agentsHold, findHolds
from wazuh_cluster.integrity.holds import AGENTS, ITEM, MASTER, isMishap


def rules(*numbers: int) -> dict[bytes, bytes]:
    """
    So many rule files.
    """
    return {b"etc/rules/%02d.xml" % n: b"%d" % n for n in numbers}


def keys(*numbers: int) -> bytes:
    """
    A C{client.keys} with these agents.
    """
    return b"".join(b"%03d web%d any %064x\n" % (n, n, n) for n in numbers)


class HoldsTests(SynchronousTestCase):
    """
    Removals and overwrites that look like a mishap wait for the operator.
    """

    def find(
        self,
        ours: dict[bytes, bytes],
        theirs: dict[bytes, bytes],
        otherMaster: bool = False,
        released: tuple[str, ...] = (),
        refused: tuple[bytes, ...] = (),
    ) -> Holds:
        homes = TwoHomes()
        homes.put(b"/worker", ours)
        homes.put(b"/master", theirs)
        return findHolds(
            homes.compare(),
            homes.snapshot().manifest,
            homes.manifest(),
            WAZUH_ITEMS,
            otherMaster,
            released,
            refused,
        )

    @given(st.integers(0, 40), st.integers(0, 40))
    def test_rule(self, lost: int, kept: int) -> None:
        """
        All of two or more, or more than half and at least ten.
        """
        total = lost + kept
        expected = (lost == total >= 2) or (lost >= 10 and lost / total > 0.5)
        self.assertEqual(isMishap(lost, total), expected)

    def test_allGone(self) -> None:
        """
        An item that would lose all of two files is held; other items are not.
        """
        found = self.find({**rules(1, 2), b"etc/lists/a": b""}, {b"etc/lists/b": b""})
        self.assertEqual(found.paths, frozenset(rules(1, 2)))
        (hold,) = found.all
        self.assertEqual(hold.kind, ITEM)
        self.assertEqual(
            hold.text,
            "etc/rules: the master lacks 2 of 2 files (etc/rules/01.xml, etc/rules/02.xml); "
            "they are kept until that is accepted",
        )

    def test_everythingGone(self) -> None:
        """
        A master without any file wipes nobody, however few files an item has.
        """
        ours = {**rules(1), b"etc/lists/a": b"", b"etc/client.keys": keys(1)}
        (hold,) = self.find(ours, {}).all
        self.assertEqual(frozenset(hold.paths), frozenset(ours))
        self.assertEqual(
            hold.text,
            "the master has no files at all: 3 files (etc/client.keys, etc/lists/a, "
            "etc/rules/01.xml) are kept until that is accepted",
        )
        self.assertEqual(self.find(ours, {}, released=(hold.id,)).all, ())
        self.assertEqual(self.find(rules(1), {}).all, ())

    def test_linksAreNoFiles(self) -> None:
        """
        Links that only the worker has do not count as files that are lost.
        """
        homes = TwoHomes()
        homes.put(b"/worker", rules(1, 2, 3))
        homes.put(b"/master", rules(1))
        homes.fs.link(b"/worker/etc/rules/link", b"/elsewhere")
        compared = homes.compare()
        self.assertIn(b"etc/rules/link", compared.extra)
        found = findHolds(compared, homes.snapshot().manifest, homes.manifest(), WAZUH_ITEMS)
        self.assertEqual(found.all, ())

    def test_mostGone(self) -> None:
        """
        More than half and at least ten are held; fewer go.
        """
        self.assertEqual(len(self.find(rules(*range(19)), rules(*range(9)))), 10)
        self.assertEqual(len(self.find(rules(*range(20)), rules(*range(10)))), 0)
        self.assertEqual(len(self.find(rules(*range(10)), rules(0))), 0)

    def test_replacedByFolders(self) -> None:
        """
        Files that stand in the way of the master's count as lost too.
        """
        ours = {b"etc/shared/a": b"1", b"etc/shared/b": b"1"}
        theirs = {b"etc/shared/a/x": b"1", b"etc/shared/b/x": b"1"}
        self.assertEqual(self.find(ours, theirs).paths, frozenset(ours))

    def test_refusedExtraValid(self) -> None:
        """
        Assignments are held when the master refused so many, not before.
        """
        ours = {b"queue/agent-groups/%03d" % n: b"g" for n in range(12)}
        self.assertEqual(len(self.find(ours, {})), 0)
        self.assertEqual(len(self.find(ours, {}, refused=tuple(ours))), 12)

    def test_release(self) -> None:
        """
        A release lets that very set go, and no other one.
        """
        (hold,) = self.find(rules(1, 2), {}).all
        self.assertEqual(self.find(rules(1, 2), {}, released=(hold.id,)).all, ())
        self.assertEqual(len(self.find(rules(1, 2, 3), {}, released=(hold.id,))), 3)
        self.assertEqual(self.find(rules(2, 1), {}).all[0].id, hold.id)

    def test_otherMaster(self) -> None:
        """
        Another master overwrites and removes nothing; what it adds comes.
        """
        ours = {**rules(1, 2), b"etc/shared/g": b"1"}
        theirs = {**rules(3), b"etc/rules/01.xml": b"other", b"etc/shared/g/x": b"1"}
        found = self.find(ours, theirs, otherMaster=True)
        self.assertEqual(found.paths, frozenset(ours))
        (hold,) = found.all
        self.assertEqual(hold.kind, MASTER)
        self.assertIn("1 files that it would overwrite and 2 that it would remove", hold.text)
        self.assertEqual(self.find(ours, theirs, True, (hold.id,)).all, ())
        self.assertEqual(self.find({}, theirs, True).all, ())

    def test_collection(self) -> None:
        """
        Holds are the collection of the paths they keep, and can be added to.
        """
        hold = Hold("1", ITEM, (b"b", b"a"), "text")
        holds = Holds().plus(hold).plus(None).plus(Hold("2", AGENTS, (b"c",), ""), released=("2",))
        self.assertEqual(list(holds), [b"a", b"b"])
        self.assertEqual((len(holds), b"a" in holds, b"c" in holds), (2, True, False))
        self.assertFalse(Holds())


class AgentsHoldTests(SynchronousTestCase):
    """
    C{client.keys} is judged by its agents.
    """

    def find(self, old: bytes, new: bytes) -> Hold | None:
        return drive(agentsHold(old, new))

    def test_allGone(self) -> None:
        """
        The loss of all of two or more agents holds the whole file.
        """
        hold = self.find(keys(1, 2), b"")
        assert hold is not None
        self.assertEqual(hold.paths, (b"etc/client.keys",))
        self.assertEqual(hold.kind, AGENTS)
        self.assertEqual(
            hold.text,
            "etc/client.keys: the master lacks 2 of 2 agents (web1, web2); the file is kept "
            "until that is accepted",
        )
        self.assertIsNone(self.find(keys(1), b""))
        self.assertIsNone(self.find(keys(1, 2), keys(1)))

    def test_mostGone(self) -> None:
        """
        The loss of more than half and at least ten holds it too.
        """
        self.assertIsNotNone(self.find(keys(*range(1, 20)), keys(*range(1, 10))))
        self.assertIsNone(self.find(keys(*range(1, 21)), keys(*range(1, 11))))

    def test_removalMarks(self) -> None:
        """
        Lines of removed agents, comments and rubbish are no agents, on both
        sides.
        """
        marked = keys(1, 2).replace(b" web", b" !web")
        self.assertIsNone(self.find(marked + b"# x y z\n x 1 2 3\nrubbish\n\n", b""))
        self.assertIsNotNone(self.find(keys(1, 2), marked))
        self.assertIsNotNone(self.find(keys(1, 2), keys(1, 2).replace(b" web", b" #web")))

    def test_orderAndKeys(self) -> None:
        """
        Another order, key, address, or spelling of an id is no loss; another
        agent under an old id is.
        """
        self.assertIsNone(self.find(keys(1, 2), b"002 web2 10.0.0.1 k\n1 web1 any k"))
        self.assertIsNotNone(self.find(keys(1, 2), b"001 a any k\n002 b any k\n"))

    def test_id(self) -> None:
        """
        The id stands for the very agents that would be lost.
        """
        first, second = self.find(keys(1, 2), b""), self.find(keys(2, 1), b"")
        third = self.find(keys(1, 2, 3), b"")
        assert first is not None and second is not None and third is not None
        self.assertEqual(first.id, second.id)
        self.assertNotEqual(first.id, third.id)
