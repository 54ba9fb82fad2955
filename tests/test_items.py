"""
Tests for L{wazuh_cluster.integrity.items} and L{wazuh_cluster.integrity.paths}.
"""

from __future__ import annotations

import os.path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import BadInput, HostilePath
from wazuh_cluster.integrity.items import WAZUH_ITEMS, Item, Items
from wazuh_cluster.integrity.paths import PathSet, isWithin, pathFault

_PIECES = st.one_of(
    st.sampled_from([b"etc", b"shared", b"rules", b"..", b".", b"", b"a\\b", b"\0", b"x" * 256]),
    st.binary(max_size=6),
)
_FOLDERS = st.sampled_from(
    [b"etc", b"etc/rules", b"etc/rules/a", b"queue/agent-groups", b"queue/agent-groups/a", b"x"]
)
_SIMILAR = st.tuples(
    _FOLDERS,
    st.sampled_from([b"a", b"", b".", b"..", b"a~", b"client.keys", b"x\0", b"x\\", b"x" * 256]),
).map(b"/".join)
_PATHS = st.lists(_PIECES, max_size=6).map(b"/".join)


class PathFaultTests(SynchronousTestCase):
    """
    Which relative paths are sound.
    """

    def test_sound(self) -> None:
        """
        Whatever a file name can hold is fine, dots, control characters and
        bytes that are no UTF-8 too.
        """
        for path in (
            b"etc/client.keys",
            b"etc/shared/caf\xe9",
            b"a/...",
            b"a/.b",
            b"a/b..",
            b"a/line\nbreak",
            b"x" * 255,
            b"/".join([b"x"] * 64),
            b"/".join([b"x" * 64] * 63),
        ):
            self.assertIsNone(pathFault(path), path)

    def test_faults(self) -> None:
        """
        Each rule that a path can break is named.
        """
        for path, why in (
            (b"", "empty"),
            (b"/etc/passwd", "absolute"),
            (b"a/../b", "'..'"),
            (b"..", "'..'"),
            (b"a/./b", "'..'"),
            (b"a//b", "empty name"),
            (b"a/", "empty name"),
            (b"a\0b", "NUL"),
            (b"a\\..\\b", "backslash"),
            (b"x" * 256, "name longer"),
            (b"/".join([b"x"] * 65), "deeper"),
            (b"x/" * 2048 + b"x", "longer than 4096"),
        ):
            self.assertIn(why, pathFault(path) or "nothing", path)

    @settings(deadline=None, max_examples=200)
    @given(_PATHS)
    def test_neverLeadsOut(self, path: bytes) -> None:
        """
        A sound path is its own normal form and stays below its folder.
        """
        if pathFault(path) is None:
            self.assertEqual(os.path.normpath(path), path)
            self.assertTrue(isWithin(os.path.normpath(b"/home/" + path), b"/home"))

    def test_isWithin(self) -> None:
        """
        A folder with the same beginning is another folder.
        """
        self.assertTrue(isWithin(b"etc", b"etc"))
        self.assertTrue(isWithin(b"etc/a", b"etc"))
        self.assertFalse(isWithin(b"etcetera", b"etc"))


class PathSetTests(SynchronousTestCase):
    """
    Sets of paths that cover all below them.
    """

    def test_covers(self) -> None:
        """
        A path covers itself and what is below it, with or without a final
        slash, and nothing beside it.
        """
        paths = PathSet([b"etc/shared/a/", b"etc/rules/x"])
        for path in (b"etc/shared/a", b"etc/shared/a/", b"etc/shared/a/b/c", b"etc/rules/x/y"):
            self.assertIn(path, paths)
        for path in (b"etc/shared", b"etc/shared/ab", b"etc/shared/a.b", b"etc", b""):
            self.assertNotIn(path, paths)

    def test_value(self) -> None:
        """
        Sets of the same paths are equal and hash alike.
        """
        self.assertEqual(PathSet([b"b", b"a/"]), PathSet([b"a", b"b"]))
        self.assertEqual(hash(PathSet([b"b", b"a/"])), hash(PathSet([b"a", b"b"])))
        self.assertEqual(list(PathSet([b"b", b"a/"])), [b"a", b"b"])
        self.assertFalse(PathSet())
        self.assertNotIn(b"a", PathSet())


class ItemsTests(SynchronousTestCase):
    """
    What a Wazuh cluster carries, and what it never does.
    """

    def test_carried(self) -> None:
        """
        Files of the declared items are found with their item's rules.
        """
        for path, place, mode in (
            (b"etc/client.keys", b"etc/client.keys", 0o640),
            (b"etc/shared/agent-template.conf", b"etc/shared", 0o660),
            (b"etc/shared/default/merged.mg", b"etc/shared", 0o660),
            (b"var/multigroups/0a1b2c3d/merged.mg", b"var/multigroups", 0o660),
            (b"etc/rules/local_rules.xml", b"etc/rules", 0o660),
            (b"etc/lists/amazon/aws-eventnames", b"etc/lists", 0o660),
            (b"etc/lists/amazon/aws-eventnames.cdb", b"etc/lists", 0o660),
            (b"queue/agent-groups/001", b"queue/agent-groups", 0o660),
        ):
            item = WAZUH_ITEMS.check(path)
            self.assertEqual((item.path, item.mode), (place, mode))
            self.assertIs(WAZUH_ITEMS.find(path), item)

    def test_rules(self) -> None:
        """
        Keys go before assignments and these before the rest; rules, decoders
        and lists make a restart due; only assignments are sent up; only
        client.keys takes the time of its installation.
        """
        items = list(WAZUH_ITEMS)
        self.assertEqual(len(WAZUH_ITEMS), 7)
        self.assertEqual([i.path for i in items if i.order == 0], [b"etc/client.keys"])
        self.assertEqual(
            [i.path for i in items if i.order == 1],
            [b"etc/shared", b"queue/agent-groups", b"var/multigroups"],
        )
        self.assertEqual(
            [i.path for i in items if i.restart], [b"etc/decoders", b"etc/lists", b"etc/rules"]
        )
        self.assertEqual([i.path for i in items if i.extraValid], [b"queue/agent-groups"])
        self.assertEqual([i.path for i in items if i.ownTime], [b"etc/client.keys"])

    def test_refused(self) -> None:
        """
        Whatever leads out of the items, or is never carried, is hostile, and
        the error says why.
        """
        for path, why in (
            (b"etc/ossec.conf", "in no item"),
            (b"etc/passwd", "in no item"),
            (b"etc/rulesets/a", "in no item"),
            (b"etc/rules", "folder of items"),
            (b"etc/client.keys/a", "single file"),
            (b"etc/rules/../ossec.conf", "'..'"),
            (b"/etc/rules/a", "absolute"),
            (b"etc/shared/default/ar.conf", "never carried"),
            (b"etc/shared/ossec.conf", "never carried"),
            (b"etc/rules/a~", "never carried"),
            (b"etc/rules/.a.tmp", "never carried"),
            (b"etc/rules/a.lock", "never carried"),
            (b"etc/rules/.a.swp", "never carried"),
            (b"var/multigroups/0a1b2c3d/other", "patterns"),
            (b"queue/agent-groups/deeper/001", "no folders"),
            (b"", "empty"),
        ):
            error = self.assertRaises(HostilePath, WAZUH_ITEMS.check, path)
            self.assertIn(why, str(error))
            self.assertEqual(error.path, path)
            self.assertIsNone(WAZUH_ITEMS.find(path))

    @settings(deadline=None, max_examples=300)
    @given(_PATHS)
    def test_onlyItems(self, path: bytes) -> None:
        """
        Whatever the path, it is refused or names something below an item.
        """
        item = WAZUH_ITEMS.find(path)
        if item is not None:
            self.assertTrue(isWithin(os.path.normpath(path), item.path))

    @settings(deadline=None, max_examples=300)
    @given(st.lists(_SIMILAR, max_size=8))
    def test_anyOrder(self, paths: list[bytes]) -> None:
        """
        What was asked before makes no difference.
        """
        used = Items(WAZUH_ITEMS)
        for path in paths:
            new = Items(WAZUH_ITEMS)
            self.assertEqual(used.find(path), new.find(path))
            try:
                used.check(path)
            except HostilePath as error:
                self.assertEqual(str(self.assertRaises(HostilePath, new.check, path)), str(error))

    def test_sameFolder(self) -> None:
        """
        Nor in a folder of which a file is carried.
        """
        long = b"etc/rules" + b"/%s" % (b"d" * 250) * 16
        for good, bad, why in (
            (b"etc/rules/a", b"etc/rules/..", "'..'"),
            (b"etc/rules/a", b"etc/rules/", "empty name"),
            (b"etc/rules/a", b"etc/rules/a\0", "NUL"),
            (b"etc/rules/a", b"etc/rules/a\\b", "backslash"),
            (b"etc/rules/a", b"etc/rules/" + b"x" * 256, "name longer"),
            (b"etc/rules/a", b"etc/rules/a~", "never carried"),
            (b"var/multigroups/x/merged.mg", b"var/multigroups/x/other", "patterns"),
            (long + b"/a", long + b"/" + b"x" * 200, "longer than 4096"),
        ):
            WAZUH_ITEMS.check(good)
            self.assertIn(why, str(self.assertRaises(HostilePath, WAZUH_ITEMS.check, bad)))
            WAZUH_ITEMS.check(good)

    def test_held(self) -> None:
        """
        A held path may be an item or anything in it, with a final slash, but
        nothing else.
        """
        for path in (b"etc/rules/", b"etc/rules/a/b/", b"etc/client.keys", b"var/multigroups/x"):
            self.assertTrue(isWithin(path, WAZUH_ITEMS.checkHeld(path).path))
        for path in (b"", b"/", b"etc/", b"etc/rules//", b"etc/rules/../", b"etc/ossec.conf"):
            self.assertRaises(HostilePath, WAZUH_ITEMS.checkHeld, path)

    def test_operatorsItems(self) -> None:
        """
        Items are data: an operator can add some, with patterns.
        """
        items = Items(
            [
                *WAZUH_ITEMS,
                Item(b"ruleset/sca", names=(b"*.yml", b"*.yaml")),
                Item(b"etc/my.conf", isFile=True),
            ]
        )
        self.assertEqual(items.check(b"ruleset/sca/x/a.yml").path, b"ruleset/sca")
        self.assertIsNone(items.find(b"ruleset/sca/a.txt"))
        self.assertEqual(items.check(b"etc/my.conf").path, b"etc/my.conf")

    def test_badItems(self) -> None:
        """
        Items that overlap, lead out of the home or would carry what is local to
        a node are refused in one line that names them.
        """
        for item in (
            Item(b"../etc"),
            Item(b"/etc"),
            Item(b""),
            Item(b"etc"),
            Item(b"etc/ossec.conf", isFile=True),
            Item(b"queue"),
            Item(b"queue/wazuh_cluster/staging"),
            Item(b"etc/rules/mine"),
            Item(b"etc/rules"),
            Item(b"etc/foo.tmp", isFile=True),
        ):
            error = self.assertRaises(BadInput, Items, [*WAZUH_ITEMS, item])
            self.assertEqual(len(str(error).splitlines()), 1)
            self.assertTrue(error.where.startswith("item "))
