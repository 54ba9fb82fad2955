"""
Tests for L{wazuh_cluster.integrity.agreement}.
"""

from __future__ import annotations

import string

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.integrity import (
    WAZUH_ITEMS,
    Item,
    Items,
    explainDifference,
    itemsDigest,
    itemsText,
)
from wazuh_cluster.integrity.agreement import MAX_TEXT
from wazuh_cluster.protocol import Hello

THREATS = Item(b"etc/threats", names=(b"*.json", b"*.csv"))

_NAMES = st.binary(min_size=1, max_size=4).filter(lambda name: not set(name) & set(b"\0/\\"))
_ITEMS = st.builds(
    Item,
    path=st.lists(_NAMES.filter(lambda name: name not in (b".", b"..")), min_size=1, max_size=2)
    .map(b"/".join)
    .map(lambda path: b"x/" + path + b"x"),
    isFile=st.booleans(),
    recursive=st.booleans(),
    names=st.lists(_NAMES, min_size=1, max_size=2).map(tuple),
    extraValid=st.booleans(),
    ownTime=st.booleans(),
)


def plus(*items: Item) -> Items:
    """
    Wazuh's items and these.
    """
    return Items((*WAZUH_ITEMS, *items))


def longItems() -> list[Item]:
    """
    More than fit into a text, and all of them before Wazuh's.
    """
    return [Item(b"etc/%03d" % n + b"-" * 93) for n in range(200)]


def meaning(item: Item) -> tuple[object, ...]:
    """
    What is carried of an item, and how.
    """
    return (
        item.path,
        item.isFile,
        item.isFile or item.recursive,
        frozenset() if item.isFile or b"*" in item.names else frozenset(item.names),
        item.extraValid,
        item.ownTime,
    )


class TextTests(SynchronousTestCase):
    """
    Items as a text, and its digest.
    """

    def test_wazuh(self) -> None:
        """
        What a Wazuh cluster carries, as people read it.
        """
        self.assertEqual(
            "etc/client.keys file own-time\n"
            "etc/decoders\n"
            "etc/lists\n"
            "etc/rules\n"
            "etc/shared\n"
            "never: *.lock *.swp *.tmp *~ ar.conf ossec.conf\n"
            "queue/agent-groups flat extra-valid\n"
            "var/multigroups names merged.mg",
            itemsText(WAZUH_ITEMS),
        )

    def test_whatCounts(self) -> None:
        """
        Whatever changes what is carried changes the digest; what is a node's
        own, and the order of things, does not.
        """
        same = [
            THREATS,
            evolve(THREATS, mode=0o640),
            evolve(THREATS, restart=True),
            evolve(THREATS, order=9),
            evolve(THREATS, names=(b"*.csv", b"*.json", b"*.csv")),
        ]
        others = [
            evolve(THREATS, path=b"etc/threat"),
            evolve(THREATS, names=(b"*.json",)),
            evolve(THREATS, names=(b"*",)),
            evolve(THREATS, recursive=False),
            evolve(THREATS, isFile=True),
            evolve(THREATS, extraValid=True),
            evolve(THREATS, ownTime=True),
        ]
        self.assertEqual(1, len({itemsDigest(plus(item)) for item in same}))
        different = {itemsDigest(plus(item)) for item in (THREATS, *others)}
        self.assertEqual(1 + len(others), len(different))
        self.assertEqual(
            itemsDigest(plus(THREATS, Item(b"etc/a"))), itemsDigest(plus(Item(b"etc/a"), THREATS))
        )
        for excluded in (
            evolve(plus(THREATS), excludedNames=(b"ossec.conf",)),
            evolve(plus(THREATS), excludedSuffixes=(b"~",)),
            evolve(plus(THREATS), excludedNames=(), excludedSuffixes=()),
        ):
            self.assertNotIn(itemsDigest(excluded), different)

    @settings(deadline=None, max_examples=300)
    @given(_ITEMS, _ITEMS)
    def test_unambiguous(self, one: Item, other: Item) -> None:
        """
        Two items have one text only if they mean the same, whatever bytes they
        are named with; and all of it is printable ASCII.
        """
        texts = [itemsText(Items((each,))) for each in (one, other)]
        self.assertEqual(texts[0] == texts[1], meaning(one) == meaning(other), texts)
        for text in texts:
            self.assertEqual(set(), set(text) - set(string.printable[:-5]) - {"\n"})

    def test_cut(self) -> None:
        """
        A long text is cut after a line, and its digest counts all of it.
        """
        many = longItems()
        text = itemsText(plus(*many))
        self.assertLessEqual(len(text), MAX_TEXT)
        self.assertGreater(len(text), MAX_TEXT - 110)
        *lines, last = text.split("\n")
        self.assertEqual("...", last)
        self.assertEqual([item.path.decode("ascii") for item in many][: len(lines)], lines)
        self.assertNotEqual(itemsDigest(plus(*many)), itemsDigest(plus(*many[:-1])))

    def test_travels(self) -> None:
        """
        Hello has room for it.
        """
        argument = dict(Hello.arguments)[b"itemsText"]
        text = "x" * MAX_TEXT
        self.assertEqual(text, argument.fromString(argument.toString(text)))
        self.assertRaises(ValueError, argument.fromString, b"x" * (MAX_TEXT + 1))


class DifferenceTests(SynchronousTestCase):
    """
    In which items two nodes differ.
    """

    def told(self, master: Items, worker: str) -> str:
        """
        What is told, which is one line that ends with a remedy.
        """
        text = explainDifference(master, worker)
        self.assertTrue(text.isascii() and text.isprintable(), text)
        self.assertLess(len(text), 1500)
        begins, ends = "master and worker do not carry the same items: ", ": make [item ...] in "
        self.assertTrue(text.startswith(begins) and ends in text, text)
        return text[len(begins) : text.rindex(ends)]

    def test_onlyOne(self) -> None:
        """
        An item that one of them has is named, with its rules.
        """
        line = "'etc/threats names *.csv *.json'"
        self.assertEqual(
            f"only the master has {line}", self.told(plus(THREATS), itemsText(WAZUH_ITEMS))
        )
        self.assertEqual(
            f"only the worker has {line}", self.told(WAZUH_ITEMS, itemsText(plus(THREATS)))
        )

    def test_otherRules(self) -> None:
        """
        An item with other rules stands on both sides.
        """
        flat = evolve(THREATS, names=(b"*",), recursive=False)
        self.assertEqual(
            "only the master has 'etc/threats names *.csv *.json'; "
            "only the worker has 'etc/threats flat'",
            self.told(plus(THREATS), itemsText(plus(flat))),
        )

    def test_many(self) -> None:
        """
        Of many, the first are named and all are counted.
        """
        many = plus(*(Item(b"etc/x%d" % n) for n in range(9)))
        self.assertEqual(
            "only the master has 'etc/x0', 'etc/x1', 'etc/x2' and 6 more",
            self.told(many, itemsText(WAZUH_ITEMS)),
        )

    def test_cut(self) -> None:
        """
        What a cut text does not tell is not said to be missing.
        """
        many = longItems()
        text = itemsText(plus(*many))
        first = many[0].path.decode("ascii")
        self.assertEqual(
            "the texts of their items do not say where", self.told(plus(*many[:-1]), text)
        )
        self.assertEqual(f"only the worker has '{first}'", self.told(plus(*many[1:]), text))
        self.assertEqual(
            f"only the master has '{first}'", self.told(plus(*many), itemsText(plus(*many[1:])))
        )

    def test_strangers(self) -> None:
        """
        Whatever a worker says its items are, the line is one that can be shown.
        """
        for text in ("", "\n" * 16_000, "...", "\x1b[2J\u202e", "x" * 16_000, "a'\\\r\0", "\ud7ff"):
            self.told(WAZUH_ITEMS, text)
