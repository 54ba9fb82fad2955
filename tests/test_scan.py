"""
Tests for L{wazuh_cluster.integrity.scan} and L{wazuh_cluster.integrity.snapshot}.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import HomeError
from wazuh_cluster.integrity.filesystem import RealFileSystem
from wazuh_cluster.integrity.items import WAZUH_ITEMS, Item, Items
from wazuh_cluster.integrity.manifest import Manifest
from wazuh_cluster.integrity.manifestdecoder import ManifestDecoder
from wazuh_cluster.integrity.scan import LINK, NO_FOLDER, SPECIAL, UNREADABLE, Snapshot, scan
from wazuh_cluster.integrity.snapshot import FolderKind
from wazuh_cluster.interfaces import IFileSystem, Slices
from wazuh_cluster.model import FileEntry
from wazuh_cluster.testing.filesystem import MemoryFileSystem

HOME = b"/var/ossec"


def finish(slices: Slices[Snapshot]) -> Snapshot:
    """
    Drive a scan to its end.
    """
    while True:
        try:
            next(slices)
        except StopIteration as end:
            found = end.value
            assert isinstance(found, Snapshot)
            return found


class ScanTestCase(SynchronousTestCase):
    """
    A home in memory.
    """

    def setUp(self) -> None:
        """
        An empty home.
        """
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.fileSystem = MemoryFileSystem(self.clock)
        self.fileSystem.makeFolders(HOME + b"/etc")

    def put(self, path: bytes, content: bytes = b"x", mtime: float | None = None) -> None:
        """
        Write a file of the home.
        """
        self.fileSystem.put(HOME + b"/" + path, content, mtime=mtime)

    def scan(
        self,
        previous: Snapshot | None = None,
        algorithm: str = "md5",
        items: Items = WAZUH_ITEMS,
        followInto: tuple[bytes, ...] = (),
        carryLinks: bool = True,
        private: tuple[bytes, ...] = (),
    ) -> Snapshot:
        """
        Scan the home.
        """
        return finish(
            scan(
                self.fileSystem,
                HOME,
                items,
                algorithm,
                previous,
                self.clock.seconds,
                followInto,
                carryLinks,
                private=private,
            )
        )

    def held(self, snapshot: Snapshot) -> dict[bytes, str]:
        """
        What is held, and why. Every held path has a problem of one line.
        """
        for each in snapshot.manifest.held:
            self.assertEqual(len(snapshot.problems[each.path].splitlines()), 1)
        return {each.path: each.why for each in snapshot.manifest.held}


class WhatIsCarriedTests(ScanTestCase):
    """
    Which files a scan finds.
    """

    def test_files(self) -> None:
        """
        The files of all items are listed with size, whole-second mtime and
        digest, sorted bytewise.
        """
        self.put(b"etc/client.keys", b"001 a any k")
        self.put(b"etc/shared/default/merged.mg", b"merged")
        self.put(b"etc/shared/default-x/agent.conf", b"conf", mtime=99.75)
        self.put(b"etc/rules/local_rules.xml", b"<group/>")
        self.put(b"queue/agent-groups/001", b"default")
        self.put(b"var/multigroups/0a1b2c3d/merged.mg", b"m")
        found = self.scan()
        paths = [
            b"etc/client.keys",
            b"etc/rules/local_rules.xml",
            b"etc/shared/default-x/agent.conf",
            b"etc/shared/default/merged.mg",
            b"queue/agent-groups/001",
            b"var/multigroups/0a1b2c3d/merged.mg",
        ]
        self.assertEqual(found.manifest.paths, paths)
        self.assertEqual(paths, sorted(paths))
        self.assertEqual(
            found.manifest.entry(2),
            FileEntry(paths[2], 4, 99, hashlib.md5(b"conf").digest()),
        )
        self.assertEqual(found.manifest.held, ())
        self.assertEqual(found.scanned.files, 6)
        self.assertEqual(found.scanned.hashed, 6)

    def test_leftOut(self) -> None:
        """
        Names that are never carried, names that match no pattern, folders of
        items without folders, and all outside the items are left out.
        """
        for path in (
            b"etc/ossec.conf",
            b"etc/shared/default/ar.conf",
            b"etc/rules/a.xml~",
            b"etc/rules/.a.tmp",
            b"etc/rules/a.lock",
            b"etc/rules/.a.swp",
            b"var/multigroups/x/other",
            b"queue/agent-groups/folder/001",
            b"logs/cluster.log",
        ):
            self.put(path)
        found = self.scan()
        self.assertEqual(found.manifest.paths, [])
        self.assertEqual(found.problems, {})

    def test_folders(self) -> None:
        """
        The folders below items are known, also empty ones.
        """
        self.put(b"etc/shared/a/b/file")
        self.fileSystem.makeFolders(HOME + b"/etc/shared/empty")
        self.assertEqual(
            self.scan().folders, [b"etc/shared/a", b"etc/shared/a/b", b"etc/shared/empty"]
        )

    def test_folderKinds(self) -> None:
        """
        Folders are known by what they are like: the items' own too, but not
        where those are links, and folders that cannot be opened.
        """
        self.put(b"etc/shared/a/b/file")
        self.put(b"etc/shared/c/file")
        self.fileSystem.openFolder(HOME + b"/etc/shared").setMode(b"c", 0o700)
        self.fileSystem.makeFolders(b"/elsewhere")
        self.fileSystem.link(HOME + b"/etc/rules", b"/elsewhere")
        self.fileSystem.failOn("openFolder", HOME + b"/etc/shared/c", errno=errno.EACCES)
        kinds = self.scan().folderKinds
        self.assertEqual(
            kinds[FolderKind(0o770, 0o700, 0, 0)],
            [b"etc/shared/c"],
        )
        found = sorted(path for paths in kinds.values() for path in paths)
        self.assertNotIn(b"etc/rules", found)
        for path in (b"etc/shared", b"etc/shared/a", b"etc/shared/a/b"):
            self.assertIn(path, found)

    def test_columns(self) -> None:
        """
        The status of each file stands beside it.
        """
        self.put(b"etc/rules/a", b"abc")
        folder = self.fileSystem.openFolder(HOME + b"/etc/rules")
        folder.setOwner(b"a", 12, 34)
        folder.setMode(b"a", 0o604)
        columns = self.scan().columns
        self.assertEqual(
            (columns.modes[0], columns.uids[0], columns.gids[0], columns.sizes[0]),
            (stat.S_IFREG | 0o604, 12, 34, 3),
        )

    def test_algorithm(self) -> None:
        """
        The digests are of the algorithm that was asked for; a snapshot of
        another one is no help.
        """
        self.put(b"etc/rules/a", b"abc")
        self.clock.advance(10)
        found = self.scan(self.scan(), "sha256")
        self.assertEqual(found.manifest.digest(0), hashlib.sha256(b"abc").digest())
        self.assertEqual(found.manifest.algorithm, "sha256")

    def test_noHome(self) -> None:
        """
        A home that is not there is an error in one line, not an empty manifest.
        """
        self.fileSystem.remove(HOME)
        error = self.assertRaises(HomeError, self.scan)
        self.assertIn("/var/ossec: the home cannot be read", str(error))

    def test_decodable(self) -> None:
        """
        Whatever lies in a home, other nodes take the manifest of it.
        """
        for name in (b"a\\b", b"caf\xe9\n", b"..x", b"a"):
            self.put(b"etc/rules/" + name)
            self.fileSystem.link(HOME + b"/etc/lists/" + name, b"nowhere")
            self.fileSystem.special(HOME + b"/etc/decoders/" + name)
        self.put(b"etc/shared/" + b"d/" * 70 + b"file")
        self.put(b"etc/shared/back\\slash/file")
        found = self.scan()
        decoder = ManifestDecoder(WAZUH_ITEMS)
        decoder.feed(found.manifest.encode())
        self.assertEqual(decoder.finish(), found.manifest)
        self.assertEqual(
            found.manifest.paths, [b"etc/rules/" + n for n in (b"..x", b"a", b"caf\xe9\n")]
        )
        self.assertIn("backslash", found.problems[b"etc/rules/a\\b"])
        self.assertIn("backslash", found.problems[b"etc/shared/back\\slash/"])
        self.assertTrue(any("deeper" in each for each in found.problems.values()))


class HeldTests(ScanTestCase):
    """
    What is there but is not carried.
    """

    def test_links(self) -> None:
        """
        A link to a regular file of the home is carried by content; all others
        are held.
        """
        self.put(b"etc/rules/real", b"content")
        self.put(b"etc/ossec.conf", b"<key>secret</key>")
        self.put(b"queue/wazuh_cluster/state", b"secret")
        self.put(b"etc/wazuh_cluster/private_key.pem", b"secret")
        self.fileSystem.put(b"/srv/shared/list", b"list")
        self.fileSystem.put(b"/etc/shadow", b"secret")
        for name, target in (
            (b"carried", b"../rules/real"),
            (b"folder", b"../rules"),
            (b"nowhere", b"nothing"),
            (b"outside", b"/etc/shadow"),
            (b"listed", b"/srv/shared/list"),
            (b"config", b"../ossec.conf"),
            (b"key", b"../wazuh_cluster/private_key.pem"),
            (b"state", b"../../queue/wazuh_cluster/state"),
        ):
            self.fileSystem.link(HOME + b"/etc/lists/" + name, target)
        found = self.scan()
        self.assertEqual(found.manifest.paths, [b"etc/lists/carried", b"etc/rules/real"])
        self.assertEqual(found.manifest.digest(0), hashlib.md5(b"content").digest())
        self.assertEqual(found.links, {b"etc/lists/carried"})
        self.assertEqual(
            self.held(found),
            dict.fromkeys(
                (
                    b"etc/lists/" + name
                    for name in (
                        b"folder",
                        b"nowhere",
                        b"outside",
                        b"listed",
                        b"config",
                        b"key",
                        b"state",
                    )
                ),
                LINK,
            ),
        )
        found = self.scan(followInto=(b"/srv/shared",))
        self.assertIn(b"etc/lists/listed", found.manifest.paths)
        self.assertNotIn(b"etc/lists/outside", found.manifest.paths)
        found = self.scan(followInto=(b"/srv/shared",), private=(b"/srv/shared/list",))
        self.assertNotIn(b"etc/lists/listed", found.manifest.paths)

    def test_linksOnWorkers(self) -> None:
        """
        Where links are not carried, every link is held.
        """
        self.put(b"etc/rules/real", b"content")
        self.fileSystem.link(HOME + b"/etc/rules/link", b"real")
        found = self.scan(carryLinks=False)
        self.assertEqual(found.manifest.paths, [b"etc/rules/real"])
        self.assertEqual(self.held(found), {b"etc/rules/link": LINK})

    def test_linkedItem(self) -> None:
        """
        An item may itself be a link, out of the home too; links in it may lead
        to files in it.
        """
        self.fileSystem.put(b"/srv/rules/a", b"a")
        self.fileSystem.link(b"/srv/rules/b", b"a")
        self.fileSystem.link(HOME + b"/etc/rules", b"/srv/rules")
        found = self.scan()
        self.assertEqual(found.manifest.paths, [b"etc/rules/a", b"etc/rules/b"])

    def test_itemLinkedNowhere(self) -> None:
        """
        An item that leads to what is not there, as to a disk that is not
        mounted, is held; one that is not there at all is just empty.
        """
        self.fileSystem.link(HOME + b"/etc/rules", b"/mnt/rules")
        self.assertEqual(self.held(self.scan()), {b"etc/rules/": UNREADABLE})

    def test_itemIsNoFolder(self) -> None:
        """
        A file where an item's folder should be is held, and the reverse.
        """
        self.put(b"etc/rules")
        self.put(b"etc/client.keys/folder")
        self.assertEqual(
            self.held(self.scan()), {b"etc/client.keys/": SPECIAL, b"etc/rules/": NO_FOLDER}
        )

    def test_special(self) -> None:
        """
        Pipes, sockets and devices are held, and never opened.
        """
        for kind in (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK):
            self.fileSystem.special(HOME + b"/etc/rules/%d" % kind, kind)
        self.assertEqual(set(self.held(self.scan()).values()), {SPECIAL})
        self.assertNotIn("openRead", [operation for operation, _ in self.fileSystem.operations])

    def test_unreadable(self) -> None:
        """
        Files and folders that cannot be read are held with what the system
        said, and the rest is carried.
        """
        self.put(b"etc/rules/bad")
        self.put(b"etc/rules/broken")
        self.put(b"etc/rules/good")
        self.put(b"etc/shared/secret/file")
        self.put(b"etc/shared/slow/file")
        fail = self.fileSystem.failOn
        fail("openRead", HOME + b"/etc/rules/bad", errno.EACCES)
        fail("file.read", HOME + b"/etc/rules/broken", errno.EIO)
        fail("openFolder", HOME + b"/etc/shared/secret", errno.EACCES)
        fail("names", HOME + b"/etc/shared/slow", errno.EIO)
        found = self.scan()
        self.assertEqual(found.manifest.paths, [b"etc/rules/good"])
        self.assertEqual(
            self.held(found),
            dict.fromkeys(
                (
                    b"etc/rules/bad",
                    b"etc/rules/broken",
                    b"etc/shared/secret/",
                    b"etc/shared/slow/",
                ),
                UNREADABLE,
            ),
        )
        self.assertIn("Permission denied", found.problems[b"etc/rules/bad"])

    def test_exhausted(self) -> None:
        """
        A system that has run out of open files ends the scan: that is not the
        files' fault.
        """
        self.put(b"etc/rules/a")
        self.fileSystem.failOn("openRead", errno=errno.EMFILE)
        error = self.assertRaises(OSError, self.scan)
        self.assertEqual(error.errno, errno.EMFILE)


class RescanTests(ScanTestCase):
    """
    What is read again.
    """

    def test_unchanged(self) -> None:
        """
        Files that did not change are not read again, and the manifest and its
        columns are the same objects.
        """
        for n in range(5):
            self.put(b"etc/rules/%d" % n)
        self.clock.advance(3)
        first = self.scan()
        self.fileSystem.operations.clear()
        second = self.scan(first)
        self.assertEqual((second.scanned.files, second.scanned.hashed), (5, 0))
        self.assertIs(second.manifest, first.manifest)
        self.assertIs(second.columns, first.columns)
        self.assertNotIn("openRead", [operation for operation, _ in self.fileSystem.operations])

    def test_onlyHeldChanged(self) -> None:
        """
        A path that comes to be held, or is held no more, shows where all files
        stayed the same.
        """
        self.put(b"etc/rules/a")
        self.clock.advance(3)
        first = self.scan()
        self.fileSystem.link(HOME + b"/etc/rules/b", b"nowhere")
        second = self.scan(first)
        self.assertEqual(self.held(second), {b"etc/rules/b": LINK})
        self.fileSystem.remove(HOME + b"/etc/rules/b")
        self.assertEqual(self.scan(second).manifest, first.manifest)

    def test_fresh(self) -> None:
        """
        A file whose status was taken within 2 seconds of its last change is
        read again, once: then a change in the same tick is seen.
        """
        self.put(b"etc/rules/a", b"one", mtime=5)
        first = self.scan()
        self.assertEqual(bytes(first.trusted), b"\0")
        self.put(b"etc/rules/a", b"two", mtime=5)
        self.assertEqual(
            first.columns.ctimesNs[0], self.fileSystem.status(HOME + b"/etc/rules/a").ctimeNs
        )
        self.clock.advance(2)
        second = self.scan(first)
        self.assertEqual(second.manifest.digest(0), hashlib.md5(b"two").digest())
        self.assertEqual(bytes(second.trusted), b"\1")
        self.assertEqual(self.scan(second).scanned.hashed, 0)

    def test_freshMtime(self) -> None:
        """
        A status near the file's mtime is not trusted either.
        """
        self.put(b"etc/rules/a", mtime=self.clock.seconds() + 10)
        self.clock.advance(9)
        self.assertEqual(bytes(self.scan().trusted), b"\0")
        self.clock.advance(3)
        self.assertEqual(bytes(self.scan().trusted), b"\1")

    def test_clockBehind(self) -> None:
        """
        A file server whose clock is ahead makes no status trusted too early; a
        clock that was set back by more than an hour costs nothing.
        """
        self.put(b"etc/rules/a")
        self.clock.advance(-100)
        self.assertEqual(bytes(self.scan().trusted), b"\0")
        self.clock.advance(-4000)
        self.assertEqual(bytes(self.scan().trusted), b"\1")

    def test_keptTime(self) -> None:
        """
        A change that keeps size and mtime is seen.
        """
        self.put(b"etc/rules/a", b"one", mtime=5)
        self.clock.advance(3)
        first = self.scan()
        self.clock.advance(3)
        self.put(b"etc/rules/a", b"two", mtime=5)
        second = self.scan(first)
        self.assertEqual(second.scanned.hashed, 1)
        self.assertEqual(second.manifest.digest(0), hashlib.md5(b"two").digest())

    def test_replaced(self) -> None:
        """
        Another file of the same size and times by its inode is seen.
        """
        self.put(b"etc/rules/a", b"one")
        self.clock.advance(3)
        first = self.scan()
        self.clock.advance(-3)
        self.fileSystem.remove(HOME + b"/etc/rules/a")
        self.put(b"etc/rules/a", b"two")
        self.clock.advance(3)
        self.assertEqual(self.scan(first).manifest.digest(0), hashlib.md5(b"two").digest())

    def test_modeOnly(self) -> None:
        """
        A changed mode makes new columns, and leaves the manifest as it was.
        """
        self.put(b"etc/rules/a")
        self.clock.advance(3)
        first = self.scan()
        self.clock.advance(3)
        self.fileSystem.openFolder(HOME + b"/etc/rules").setMode(b"a", 0o600)
        second = self.scan(first)
        self.assertIs(second.manifest, first.manifest)
        self.assertEqual(stat.S_IMODE(second.columns.modes[0]), 0o600)

    def test_vanishes(self) -> None:
        """
        A file, or a folder, that vanishes during the scan is left out, and is
        no problem.
        """
        self.put(b"etc/rules/a")
        self.put(b"etc/rules/b")
        self.put(b"etc/shared/x/y")
        for operation, path in (
            ("status", b"/etc/rules/a"),
            ("openRead", b"/etc/rules/b"),
            ("openFolder", b"/etc/shared/x"),
        ):
            self.fileSystem.before(
                operation, HOME + path, partial(self.fileSystem.remove, HOME + path)
            )
        found = self.scan()
        self.assertEqual((found.manifest.paths, found.problems), ([], {}))

    def test_keysAreSeenLast(self) -> None:
        """
        Keys that are written while a scan is under way are in it: an agent is
        registered before it is assigned, so no manifest has an assignment
        without the key.
        """
        keys, groups = HOME + b"/etc/client.keys", HOME + b"/queue/agent-groups"
        for before in (None, b"001 a any k\n"):
            if before is not None:
                self.put(b"etc/client.keys", before)
            self.put(b"etc/decoders/a")
            self.put(b"queue/agent-groups/001")
            previous = None if before is None else self.scan()

            def register(before: bytes | None = before) -> None:
                self.put(b"etc/client.keys", (before or b"") + b"002 b any k\n")
                self.put(b"queue/agent-groups/002")

            self.fileSystem.before("names", groups, register)
            found = self.scan(previous)
            self.assertEqual(
                [
                    b"etc/client.keys",
                    b"etc/decoders/a",
                    b"queue/agent-groups/001",
                    b"queue/agent-groups/002",
                ],
                found.manifest.paths,
            )
            content = self.fileSystem.get(keys)
            entry = found.manifest.entry(0)
            self.assertEqual(
                (len(content), hashlib.md5(content).digest()), (entry.size, entry.digest)
            )
            self.assertEqual(found.manifest, self.scan().manifest)
            self.assertEqual(4, len(found.columns.inodes))
            self.fileSystem.remove(HOME + b"/queue/agent-groups/002")
            self.fileSystem.remove(keys)

    def test_keysThatCannotBeSeenAgain(self) -> None:
        """
        A second look that fails changes nothing.
        """
        self.put(b"etc/client.keys", b"one")
        groups = HOME + b"/queue/agent-groups"
        self.fileSystem.makeFolders(groups)
        before = self.scan().manifest
        for vanish in (
            lambda: self.fileSystem.failOn("status", HOME + b"/etc/client.keys"),
            lambda: self.fileSystem.failOn("openFolder", HOME + b"/etc"),
        ):
            self.fileSystem.before("names", groups, vanish)
            self.assertEqual(before, self.scan().manifest)
        self.fileSystem.before("names", groups, lambda: self.put(b"etc/client.keys", b"two"))
        self.fileSystem.failOn("openRead", HOME + b"/etc/client.keys", after=1)
        self.assertEqual(before, self.scan().manifest)
        self.fileSystem.failOn("openRead", HOME + b"/etc/client.keys", errno.EACCES)
        held = self.scan().manifest
        self.assertEqual([b"etc/client.keys"], [each.path for each in held.held])
        self.assertEqual([], held.paths)

    def test_becomesLink(self) -> None:
        """
        A file that becomes a link during the scan is not followed.
        """
        self.put(b"etc/rules/a")
        self.fileSystem.before(
            "openRead", None, lambda: self.fileSystem.link(HOME + b"/etc/rules/a", b"/etc/shadow")
        )
        self.assertEqual(self.held(self.scan()), {b"etc/rules/a": LINK})

    def test_changesWhileRead(self) -> None:
        """
        A file that changes while it is read is not trusted, and read again.
        """
        self.put(b"etc/rules/a", b"one")
        self.clock.advance(10)
        path = HOME + b"/etc/rules/a"
        self.fileSystem.before("file.read", path, lambda: self.fileSystem.put(path, b"longer"))
        first = self.scan()
        self.assertEqual(bytes(first.trusted), b"\0")
        self.assertEqual(list(first.manifest.sizes), [6])
        self.clock.advance(10)
        second = self.scan(first)
        self.assertEqual(second.manifest.digest(0), hashlib.md5(b"longer").digest())
        self.assertEqual(bytes(second.trusted), b"\1")

    def test_farTimes(self) -> None:
        """
        Times far beyond what columns hold do no harm.
        """
        self.put(b"etc/rules/a", mtime=10**12)
        self.clock.advance(10)
        found = self.scan(self.scan())
        self.assertEqual(list(found.manifest.mtimes), [10**12])

    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([b"a", b"a-b", b"a/b", b"a/c", b"b/x", b"b.x", b"c", b"z"]),
                st.sampled_from([b"", b"one", b"two", None]),
                st.sampled_from([0, 1, 5]),
            ),
            max_size=25,
        )
    )
    def test_asFromScratch(self, steps: list[tuple[bytes, bytes | None, int]]) -> None:
        """
        However files come, change and go, a rescan finds what a first scan
        does, in order.
        """
        self.setUp()
        self.put(b"etc/shared/keep")
        previous = self.scan()
        for name, content, wait in steps:
            path = HOME + b"/etc/shared/" + name
            there = b"etc/shared/" + name in previous.manifest.paths
            if content is None:
                if there:
                    self.fileSystem.remove(path)
            elif name != b"a" and name[:2] == b"a/" and b"etc/shared/a" in previous.manifest.paths:
                self.fileSystem.remove(HOME + b"/etc/shared/a")
                self.fileSystem.put(path, content)
            elif name == b"a" and b"etc/shared/a" in previous.folders:
                self.fileSystem.remove(path)
                self.fileSystem.put(path, content)
            else:
                self.fileSystem.put(path, content)
            self.clock.advance(wait)
            previous = self.scan(previous)
            fresh = self.scan()
            self.assertEqual(previous.manifest, fresh.manifest)
            self.assertEqual(previous.folders, fresh.folders)
            self.assertEqual(
                previous.manifest.paths, sorted(set(previous.manifest.paths)), "not sorted"
            )
            for column in ("sizes", "mtimesNs", "ctimesNs", "inodes", "modes", "trusted"):
                self.assertEqual(len(getattr(previous.columns, column)), len(fresh.manifest))


class SlicesTests(ScanTestCase):
    """
    A scan never takes long at a stretch.
    """

    def test_largeFile(self) -> None:
        """
        A large file is read in pieces of at most 1 MiB a slice.
        """
        self.put(b"etc/rules/a", bytes(5 * 1024 * 1024))
        slices = scan(self.fileSystem, HOME, WAZUH_ITEMS, "md5", None, self.clock.seconds)
        self.assertGreaterEqual(len(list(slices)), 5)

    def test_manyFiles(self) -> None:
        """
        A folder with many files takes many slices, and its files are in order.
        """
        for n in range(2000):
            self.put(b"queue/agent-groups/%d" % n)
        self.clock.advance(5)
        first = self.scan()
        slices = scan(self.fileSystem, HOME, WAZUH_ITEMS, "md5", first, self.clock.seconds)
        self.assertGreaterEqual(len(list(slices)), 15)

    def test_stopped(self) -> None:
        """
        A scan that is closed in the middle closes what it opened.
        """
        self.put(b"etc/rules/a", bytes(5 * 1024 * 1024))
        real: IFileSystem = RealFileSystem()
        home = os.path.abspath(os.fsencode(self.mktemp()))
        os.makedirs(home + b"/etc/shared/a/b")
        with open(home + b"/etc/shared/a/b/c", "wb") as file:
            file.write(bytes(3 * 1024 * 1024))
        before = len(os.listdir("/proc/self/fd"))
        slices = scan(real, home, WAZUH_ITEMS, "md5", None, self.clock.seconds)
        next(slices)
        self.assertGreater(len(os.listdir("/proc/self/fd")), before)
        slices.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class RealScanTests(SynchronousTestCase):
    """
    A scan of the real file system.
    """

    def test_realHome(self) -> None:
        """
        Files, links, pipes and names in any bytes are found as in memory, and
        nothing is read twice when nothing changed.
        """
        home = os.path.abspath(os.fsencode(self.mktemp()))
        os.makedirs(home + b"/etc/rules/sub")
        for name in (b"a.xml", b"sub/b.xml", b"sub-c.xml", b"caf\xe9"):
            with open(home + b"/etc/rules/" + name, "wb") as file:
                file.write(name)
            os.utime(home + b"/etc/rules/" + name, (1000, 1000))
        os.symlink(b"sub/b.xml", home + b"/etc/rules/link")
        os.symlink(b"/etc/passwd", home + b"/etc/rules/out")
        os.mkfifo(home + b"/etc/rules/pipe")

        def later() -> float:
            return time.time() + 10

        items = Items([Item(b"etc/rules")])
        first = finish(scan(RealFileSystem(), home, items, "md5", None, later))
        self.assertEqual(
            first.manifest.paths,
            [
                b"etc/rules/" + n
                for n in (b"a.xml", b"caf\xe9", b"link", b"sub-c.xml", b"sub/b.xml")
            ],
        )
        self.assertEqual(set(first.manifest.mtimes), {1000})
        self.assertEqual(first.manifest.digest(2), hashlib.md5(b"sub/b.xml").digest())
        self.assertEqual(
            {each.path: each.why for each in first.manifest.held},
            {b"etc/rules/out": LINK, b"etc/rules/pipe": SPECIAL},
        )
        second = finish(scan(RealFileSystem(), home, items, "md5", first, later))
        self.assertEqual(second.scanned.hashed, 0)
        self.assertIsInstance(second.manifest, Manifest)
        self.assertIs(second.manifest, first.manifest)
