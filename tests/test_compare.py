"""
Tests for L{wazuh_cluster.integrity.compare}.
"""

from __future__ import annotations

import stat

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.twohomes import NOW, TwoHomes, drive, entryOf, manifestOf
from wazuh_cluster.integrity import WAZUH_ITEMS, Comparison, Manifest, Owner
from wazuh_cluster.integrity.compare import compare, findMends, findStrays
from wazuh_cluster.model import HeldPath

_PATHS = [
    b"etc/client.keys",
    b"etc/rules/a",
    b"etc/rules/a-b",
    b"etc/rules/a/b",
    b"etc/rules/a/b/c",
    b"etc/rules/b",
    b"queue/agent-groups/001",
    b"queue/agent-groups/002",
]


def soundly(files: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """
    Leave out files below other files.
    """
    return {
        path: content
        for path, content in files.items()
        if not any(path.startswith(other + b"/") for other in files)
    }


_homes = st.dictionaries(st.sampled_from(_PATHS), st.binary(max_size=1)).map(soundly)


class CompareTests(SynchronousTestCase):
    """
    A comparison names every difference once, in Wazuh's words.
    """

    def setUp(self) -> None:
        self.homes = TwoHomes()

    def compare(self, lastApplied: Manifest | None = None) -> Comparison:
        return self.homes.compare(lastApplied)

    def paths(self, indexes: object) -> list[bytes]:
        manifest = self.homes.manifest()
        assert hasattr(indexes, "__iter__")
        return [manifest.paths[index] for index in indexes]

    def test_same(self) -> None:
        """
        Equal homes have no differences.
        """
        for home in (b"/master", b"/worker"):
            self.homes.put(home, {b"etc/rules/a.xml": b"1", b"etc/client.keys": b"k"})
        found = self.compare()
        self.assertEqual(found, Comparison(found.missing, found.shared, found.restamp))
        self.assertEqual([*found.missing, *found.shared, *found.restamp], [])

    def test_words(self) -> None:
        """
        Missing is on the master only, shared differs, extra is on the worker
        only, and a different time alone is neither.
        """
        homes = self.homes
        homes.put(b"/master", {b"etc/rules/m": b"1", b"etc/rules/s": b"1", b"etc/rules/t": b"1"})
        homes.put(b"/worker", {b"etc/rules/e": b"1", b"etc/rules/s": b"2"})
        homes.put(b"/worker", {b"etc/rules/t": b"1"}, NOW - 5)
        found = self.compare()
        self.assertEqual(self.paths(found.missing), [b"etc/rules/m"])
        self.assertEqual(self.paths(found.shared), [b"etc/rules/s"])
        self.assertEqual(self.paths(found.restamp), [b"etc/rules/t"])
        self.assertEqual(found.extra, (b"etc/rules/e",))
        self.assertEqual(found.inTheWay, ())

    def test_ownTime(self) -> None:
        """
        The time of C{client.keys} does not count.
        """
        self.homes.put(b"/master", {b"etc/client.keys": b"k"}, NOW - 9000)
        self.homes.put(b"/worker", {b"etc/client.keys": b"k"}, NOW - 5)
        self.assertEqual(list(self.compare().restamp), [])

    def test_extraValid(self) -> None:
        """
        An assignment that only the worker has is extra valid, unless it stood
        in the manifest that was applied last: then the master deleted it.
        """
        self.homes.put(
            b"/worker", {b"queue/agent-groups/001": b"a", b"queue/agent-groups/002": b""}
        )
        self.assertEqual(
            self.compare().extraValid, (b"queue/agent-groups/001", b"queue/agent-groups/002")
        )
        found = self.compare(manifestOf({b"queue/agent-groups/001": b"old"}))
        self.assertEqual(found.extraValid, (b"queue/agent-groups/002",))
        self.assertEqual(found.extra, (b"queue/agent-groups/001",))

    def test_unreadableExtraValid(self) -> None:
        """
        An assignment that cannot be read now stays, unless the master deleted it; a
        link in its place does not.
        """
        paths = [b"queue/agent-groups/%03d" % n for n in (1, 2, 3)]
        self.homes.put(b"/worker", dict.fromkeys(paths[:2], b"default"))
        self.homes.fs.link(b"/worker/" + paths[2], b"/elsewhere")
        for path in paths[:2]:
            self.homes.fs.failOn("openRead", b"/worker/" + path, times=None)
        found = self.compare(manifestOf({paths[1]: b"default"}))
        self.assertEqual((found.extra, found.extraValid), (tuple(paths[1:]), ()))
        local = self.homes.snapshot().manifest
        self.assertEqual(findStrays(local, self.homes.manifest(), WAZUH_ITEMS), (paths[2],))

    def test_heldByMaster(self) -> None:
        """
        What the master holds, and all below it, is left alone.
        """
        self.homes.fs.link(b"/master/etc/shared/g", b"/elsewhere")
        self.homes.fs.link(b"/master/etc/rules/x", b"/elsewhere/x")
        self.homes.put(b"/worker", {b"etc/shared/g/a": b"1", b"etc/rules/x": b"1"})
        found = self.compare()
        self.assertEqual((found.extra, found.emptyFolders, found.inTheWay), ((), (), ()))

    def test_heldFolder(self) -> None:
        """
        Files below a folder that the master could not read stay, and so does
        the folder around it.
        """
        self.homes.put(b"/worker", {b"etc/shared/g/deep/a": b"1", b"etc/shared/h/a": b"1"})
        master = Manifest.fromEntries("md5", [], [HeldPath(b"etc/shared/g/deep/", "unreadable")])
        found = drive(compare(self.homes.snapshot(), master, None, WAZUH_ITEMS))
        self.assertEqual(found.extra, (b"etc/shared/h/a",))
        self.assertEqual(found.emptyFolders, (b"etc/shared/h",))

    def test_fileInTheWay(self) -> None:
        """
        A file or a link where the master has a folder is in the way, not extra.
        """
        self.homes.put(b"/master", {b"etc/shared/g/a": b"1", b"etc/shared/h/a": b"1"})
        self.homes.put(b"/worker", {b"etc/shared/g": b"1", b"etc/shared/g-x": b"1"})
        self.homes.fs.link(b"/worker/etc/shared/h", b"/tmp")
        found = self.compare()
        self.assertEqual(found.inTheWay, (b"etc/shared/g", b"etc/shared/h"))
        self.assertEqual(found.extra, (b"etc/shared/g-x",))
        self.assertEqual(self.paths(found.missing), [b"etc/shared/g/a", b"etc/shared/h/a"])

    def test_folderInTheWay(self) -> None:
        """
        A folder where the master has a file is in the way with all below it.
        """
        self.homes.put(b"/master", {b"etc/shared/g": b"1"})
        self.homes.put(b"/worker", {b"etc/shared/g/deep/a": b"1", b"etc/shared/g/b": b"1"})
        found = self.compare()
        self.assertEqual(found.inTheWay, (b"etc/shared/g/b", b"etc/shared/g/deep/a"))
        self.assertEqual(found.foldersInTheWay, (b"etc/shared/g", b"etc/shared/g/deep"))
        self.assertEqual(found.emptyFolders, ())

    def test_emptyFolders(self) -> None:
        """
        Folders in which the master has nothing are named, items never.
        """
        self.homes.put(b"/master", {b"etc/shared/g/a": b"1"})
        self.homes.put(b"/worker", {b"etc/shared/gone/sub/a": b"1", b"etc/shared/g/a": b"1"})
        self.homes.fs.makeFolders(b"/worker/etc/lists")
        found = self.compare()
        self.assertEqual(found.emptyFolders, (b"etc/shared/gone", b"etc/shared/gone/sub"))

    def test_mend(self) -> None:
        """
        Files with the right content but a wrong mode or owner are named, by
        the comparison and without a manifest.
        """
        files = {b"etc/rules/a": b"1", b"etc/rules/b": b"1", b"etc/rules/c": b"1"}
        self.homes.put(b"/master", files)
        self.homes.put(b"/worker", files)
        self.homes.put(b"/worker", {b"etc/client.keys": b"k", b"etc/rules/c": b"other"})
        self.homes.fs.put(b"/worker/etc/rules/b", b"1", 0o644, NOW - 1000)
        self.homes.fs.put(b"/worker/etc/rules/c", b"other", 0o644, NOW - 1000)
        self.assertEqual(self.compare().mend, (b"etc/rules/b",))
        snapshot = self.homes.snapshot()
        self.assertTrue(stat.S_ISREG(snapshot.columns.modes[0]))
        self.assertEqual(
            drive(findMends(snapshot, WAZUH_ITEMS, None)), (b"etc/rules/b", b"etc/rules/c")
        )
        found = drive(findMends(snapshot, WAZUH_ITEMS, Owner(7, 7)))
        self.assertEqual((len(found), found[0]), (5, b"etc/rules"))

    def test_mendFolders(self) -> None:
        """
        So are folders, unless the master does not want to say what is there or
        has a file in their place.
        """
        files = {b"etc/shared/%s/agent.conf" % name: b"1" for name in (b"a", b"held", b"file")}
        self.homes.put(b"/worker", files)
        self.homes.put(b"/master", {b"etc/shared/a/agent.conf": b"1", b"etc/shared/file": b"1"})
        self.homes.fs.link(b"/master/etc/shared/held", b"/nowhere")
        folder = self.homes.fs.openFolder(b"/worker/etc/shared")
        for name in (b"a", b"held", b"file"):
            folder.setMode(name, 0o700)
        self.assertEqual(self.compare().mend, (b"etc/shared/a",))

    def test_otherAlgorithm(self) -> None:
        """
        Digests of different algorithms are not compared.
        """
        master = Manifest.fromEntries("sha256", [])
        slices = compare(self.homes.snapshot(), master, None, WAZUH_ITEMS)
        self.assertRaises(ValueError, drive, slices)

    @settings(deadline=None, max_examples=150)
    @given(_homes, _homes)
    def test_complete(self, ours: dict[bytes, bytes], theirs: dict[bytes, bytes]) -> None:
        """
        Every path of either side is in exactly one set, or the same.
        """
        self.setUp()
        self.homes.put(b"/worker", ours)
        master = Manifest.fromEntries("md5", [entryOf(p, c) for p, c in theirs.items()])
        found = drive(compare(self.homes.snapshot(), master, None, WAZUH_ITEMS))
        named = [master.paths[n] for n in [*found.missing, *found.shared, *found.restamp]]
        self.assertEqual(
            sorted(named), sorted(path for path in theirs if ours.get(path) != theirs[path])
        )
        gone = [*found.extra, *found.extraValid, *found.inTheWay]
        self.assertEqual(sorted(gone), sorted(set(ours) - set(theirs)))
