"""
Tests for L{wazuh_cluster.integrity.tree}, L{wazuh_cluster.integrity.folders}
and L{wazuh_cluster.integrity.temporary}, on the real file system where that
matters.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.twohomes import NOW, TwoHomes, counter, drive
from wazuh_cluster.errors import BadInput, HomeError, HostilePath
from wazuh_cluster.integrity import (
    WAZUH_ITEMS,
    DirectoryTree,
    Holds,
    Item,
    Items,
    Manifest,
    Outcome,
    Owner,
    PackReader,
    Receiver,
    Want,
    WantsWriter,
    makePlan,
)
from wazuh_cluster.integrity.folders import Folders, giveTo
from wazuh_cluster.integrity.temporary import isTemporary, sweepTemporary, temporaryName
from wazuh_cluster.interfaces import ITree
from wazuh_cluster.testing.filesystem import MemoryFileSystem


class TreeTests(SynchronousTestCase):
    """
    A tree on the real file system.
    """

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())

    def home(self, name: str, files: dict[str, bytes]) -> str:
        """
        Make a home.
        """
        home = os.path.join(self.path, name)
        os.makedirs(os.path.join(home, "etc"))
        for path, content in files.items():
            self.write(os.path.join(home, path), content)
        return home

    def write(self, path: str, content: bytes) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        os.utime(path, (NOW, NOW))

    def sync(self, master: DirectoryTree, worker: DirectoryTree) -> tuple[Outcome, Manifest]:
        """
        One whole sync.
        """
        manifest = drive(master.scan()).manifest
        local = drive(worker.scan(carryLinks=False))
        comparison = drive(worker.compare(local, manifest, None))
        plan = makePlan(comparison, Holds(), manifest, worker.owner())
        staging = worker.openStaging()
        self.addCleanup(staging.close)
        needed = drive(staging.needed(manifest, plan.contents))
        receiver = Receiver(staging, manifest, needed)
        reader = PackReader(receiver)
        source = master.openPack(needed.wants)
        while data := source.read(65000):
            reader.feed(data)
        reader.finish()
        source.close()
        return drive(worker.install(plan, staging, receiver.failures)), manifest

    def test_interface(self) -> None:
        """
        It is an L{ITree}, and making one touches nothing.
        """
        tree = DirectoryTree(self.path)
        self.assertTrue(verifyObject(ITree, tree))
        self.assertEqual(tree.path, os.fsencode(self.path))
        self.assertIs(tree.items, WAZUH_ITEMS)
        self.assertFalse(os.path.exists(self.path))

    def test_badAlgorithm(self) -> None:
        """
        An unknown algorithm is refused with one line.
        """
        error = self.assertRaises(BadInput, DirectoryTree, self.path, WAZUH_ITEMS, "crc32")
        self.assertEqual(
            str(error), "algorithm: 'crc32' is not a digest algorithm: use md5 or sha256"
        )

    def test_sync(self) -> None:
        """
        What a memory file system promises holds on a real one: contents,
        modes, times, deletions, links in the way, whatever the umask.
        """
        many = {f"etc/lists/l{n}": b"%d" % n for n in range(30)}
        master = DirectoryTree(
            self.home(
                "master",
                {"etc/client.keys": b"k", "etc/shared/g/a": b"1", "etc/rules/r": b"new", **many},
            )
        )
        home = self.home("worker", {"etc/rules/r": b"old", "etc/rules/gone/x": b"1"})
        outside = self.home("outside", {"a": b"precious"})
        os.mkdir(os.path.join(home, "etc/shared"))
        os.symlink(outside, os.path.join(home, "etc/shared/g"))
        worker = DirectoryTree(home)
        self.addCleanup(os.umask, os.umask(0o077))
        outcome, manifest = self.sync(master, worker)
        self.assertEqual((outcome.failed, outcome.notDurable), ({}, None))
        local = drive(worker.scan(carryLinks=False))
        self.assertEqual(local.manifest.root(WAZUH_ITEMS), manifest.root(WAZUH_ITEMS))
        for path, mode in (("etc/client.keys", 0o640), ("etc/shared/g/a", 0o660)):
            status = os.lstat(os.path.join(home, path))
            self.assertEqual(stat.S_IMODE(status.st_mode), mode)
        self.assertEqual(sorted(os.listdir(outside)), ["a", "etc"])
        with open(os.path.join(outside, "a"), "rb") as file:
            self.assertEqual(file.read(), b"precious")
        self.assertFalse(os.path.exists(os.path.join(home, "etc/rules/gone")))
        staging = os.path.join(home, "queue/wazuh_cluster/staging")
        self.assertEqual(os.listdir(staging), [])
        self.assertEqual(stat.S_IMODE(os.stat(staging).st_mode), 0o750)

    def test_open(self) -> None:
        """
        A reader that has the old file open keeps it whole.
        """
        master = DirectoryTree(self.home("master", {"etc/rules/r": b"new"}))
        home = self.home("worker", {"etc/rules/r": b"old content"})
        with open(os.path.join(home, "etc/rules/r"), "rb") as file:
            self.sync(master, DirectoryTree(home))
            self.assertEqual(file.read(), b"old content")

    def test_private(self) -> None:
        """
        A link to a file of the node's own is not carried, nor sent to whoever
        asks for it.
        """
        path = self.home("master", {"etc/own.key": b"secret", "etc/rules/r": b"rule"})
        os.symlink("../own.key", os.path.join(path, "etc/rules/link"))
        own = os.path.join(path, "etc/own.key")
        writer = WantsWriter()
        writer.add(Want(b"etc/rules/link", hashlib.md5(b"secret").digest(), 6))
        wants = writer.finish()
        for private, carried in (((), True), ((own,), False)):
            tree = DirectoryTree(path, private=private)
            manifest = drive(tree.scan()).manifest
            self.assertEqual(carried, b"etc/rules/link" in manifest.paths)
            source = tree.openPack(wants)
            sent = b"".join(iter(partial(source.read, 65000), b""))
            self.assertEqual(carried, b"secret" in sent)
            source.close()

    def test_sha256(self) -> None:
        """
        A worker follows the algorithm of the master's manifest.
        """
        master = DirectoryTree(self.home("master", {"etc/rules/r": b"new"}), algorithm="sha256")
        home = self.home("worker", {})
        outcome, _ = self.sync(master, DirectoryTree(home, algorithm="sha256"))
        self.assertEqual(outcome.created, (b"etc/rules/r",))

    def test_content(self) -> None:
        """
        The content of one carried file; nothing if it is not there; no link to
        elsewhere, no file that is not carried.
        """
        home = self.home("home", {"etc/client.keys": b"k", "secret": b"s"})
        tree = DirectoryTree(home)
        self.assertEqual(tree.content(b"etc/client.keys"), b"k")
        self.assertIsNone(tree.content(b"etc/shared/a/b"))
        for path in (b"secret", b"etc/ossec.conf", b"etc/rules/../../secret"):
            self.assertRaises(HostilePath, tree.content, path)
        os.mkdir(os.path.join(home, "etc/rules"))
        os.symlink("/etc/passwd", os.path.join(home, "etc/rules/x"))
        self.assertRaises(PermissionError, tree.content, b"etc/rules/x")

    def test_noStaging(self) -> None:
        """
        A staging folder that cannot be used is one clear line.
        """
        home = self.home("home", {"queue": b"a file"})
        error = self.assertRaises(HomeError, DirectoryTree(home).openStaging)
        self.assertEqual(
            str(error),
            f"{home}/queue/wazuh_cluster/staging: cannot use the staging folder: "
            "Not a directory: make it a folder that the cluster's daemon may write to",
        )
        elsewhere = DirectoryTree(home, staging=os.path.join(self.path, "missing"))
        self.assertRaises(HomeError, elsewhere.openStaging)

    def test_owner(self) -> None:
        """
        The owner is that of the home's C{etc}, if it has one.
        """
        home = self.home("home", {})
        status = os.stat(os.path.join(home, "etc"))
        self.assertEqual(DirectoryTree(home).owner(), Owner(status.st_uid, status.st_gid))
        os.rmdir(os.path.join(home, "etc"))
        self.assertIsNone(DirectoryTree(home).owner())

    def test_findMends(self) -> None:
        """
        Wrong modes are found without a master.
        """
        home = self.home("home", {"etc/rules/r": b"", "etc/rules/s": b""})
        os.chmod(os.path.join(home, "etc/rules/r"), 0o600)
        os.chmod(os.path.join(home, "etc/rules/s"), 0o660)
        os.chmod(os.path.join(home, "etc/rules"), 0o770)
        tree = DirectoryTree(home)
        self.assertEqual(drive(tree.findMends(drive(tree.scan()))), (b"etc/rules/r",))


class FoldersTests(SynchronousTestCase):
    """
    Folders are opened without leaving the items.
    """

    def setUp(self) -> None:
        self.fs = MemoryFileSystem(Clock())
        self.fs.makeFolders(b"/home/etc/shared/a/b")
        self.folders = Folders(self.fs, b"/home", WAZUH_ITEMS)

    def opened(self) -> list[bytes]:
        return [path for name, path in self.fs.operations if name == "openFolder"]

    def test_chain(self) -> None:
        """
        What is open on the way is used again.
        """
        self.folders.open(b"etc/shared/a/b")
        self.folders.open(b"etc/shared/a/b")
        self.folders.open(b"etc/shared/a")
        self.folders.open(b"etc/shared/a/b")
        self.assertEqual(
            self.opened(),
            [
                b"/home/etc/shared",
                b"/home/etc/shared/a",
                b"/home/etc/shared/a/b",
                b"/home/etc/shared/a/b",
            ],
        )

    def test_outside(self) -> None:
        """
        Only folders in which items have files can be opened: C{etc} is one for
        the sake of C{client.keys}, what lies below it is not.
        """
        self.folders.open(b"etc")
        for path in (b"etc/ssl", b"", b"var", b"queue/wazuh_cluster", b"etc/sharedx"):
            self.assertRaises(HostilePath, self.folders.open, path)

    def test_links(self) -> None:
        """
        An item may be a link, a folder below it may not.
        """
        self.fs.makeFolders(b"/data/rules/x")
        self.fs.link(b"/home/etc/rules", b"/data/rules")
        self.fs.link(b"/home/etc/shared/l", b"/data/rules")
        self.folders.open(b"etc/rules/x")
        error = self.assertRaises(OSError, self.folders.open, b"etc/shared/l/x")
        self.assertIn(error.errno, (errno.ELOOP, errno.ENOTDIR))

    def test_make(self) -> None:
        """
        Missing folders are made, the item's own included, with mode and owner.
        """
        self.folders.make(b"var/multigroups/a/b", Owner(5, 6))
        for path in (b"var", b"var/multigroups", b"var/multigroups/a", b"var/multigroups/a/b"):
            status = self.fs.status(b"/home/" + path)
            self.assertEqual((status.uid, status.gid, status.mode & 0o777), (5, 6, 0o770))

    def test_nearest(self) -> None:
        """
        The nearest folder that is there is found, past files and links too.
        """
        self.fs.link(b"/home/etc/shared/l", b"/data")
        self.fs.put(b"/home/etc/shared/f", b"")
        for path, nearest in (
            (b"etc/shared/a/b", b"etc/shared/a/b"),
            (b"etc/shared/a/x/y", b"etc/shared/a"),
            (b"etc/shared/l/x", b"etc/shared"),
            (b"etc/shared/f/x", b"etc/shared"),
            (b"etc/rules/x", b"etc/rules"),
        ):
            self.assertEqual(self.folders.nearest(path, None)[0], nearest)

    def test_giveTo(self) -> None:
        """
        Who may not give files away sets the group at least, or nothing; other
        failures are raised.
        """
        calls: list[tuple[int, int]] = []

        def refuse(uid: int, gid: int) -> None:
            calls.append((uid, gid))
            if uid != -1 or gid == 0:
                raise OSError(errno.EPERM, "no")

        self.assertFalse(giveTo(Owner(1, 2), refuse))
        self.assertFalse(giveTo(Owner(1, 0), refuse))
        self.assertEqual(calls, [(1, 2), (-1, 2), (1, 0), (-1, 0)])
        self.assertTrue(giveTo(Owner(-1, 2), refuse))

        def fail(uid: int, gid: int) -> None:
            raise OSError(errno.EIO, "no")

        self.assertRaises(OSError, giveTo, Owner(1, 2), fail)


class TemporaryTests(SynchronousTestCase):
    """
    Temporary files are recognised with certainty.
    """

    @settings(deadline=None, max_examples=100)
    @given(st.binary(min_size=1, max_size=255).filter(lambda name: b"/" not in name))
    def test_names(self, name: bytes) -> None:
        """
        Every name has a temporary one, which a file system takes, which is
        known as ours and which no scan carries.
        """
        temporary = temporaryName(name, counter())
        self.assertTrue(isTemporary(temporary))
        self.assertTrue(len(temporary) <= 255)
        self.assertTrue(WAZUH_ITEMS.excludes(temporary))

    def test_others(self) -> None:
        """
        Names of other people's files are not.
        """
        for name in (
            b"a.tmp",
            b".a.wctmp.tmp",
            b".a.0123456789.wctmp.tmp",
            b".a.0123456789ab.wctmp.tmp.xml",
            b".a.0123456789AB.wctmp.tmp",
            b"a.0123456789ab.wctmp.tmp",
            b".a.0123456789ab.wctmp.tmp\n",
        ):
            self.assertFalse(isTemporary(name), name)

    def test_sweep(self) -> None:
        """
        They go from everywhere in the items, and nowhere else; links are not
        followed.
        """
        homes = TwoHomes()
        ours = temporaryName(b"x", homes.random)
        for path in (b"etc/", b"etc/rules/", b"etc/shared/g/h/", b"queue/agent-groups/"):
            homes.fs.put(b"/worker/" + path + ours, b"")
            homes.fs.put(b"/worker/" + path + b"mine.tmp", b"")
        homes.fs.put(b"/worker/etc/ssl/" + ours, b"")
        homes.fs.put(b"/worker/queue/agent-groups/sub/" + ours, b"")
        homes.fs.put(b"/outside/" + ours, b"")
        homes.fs.link(b"/worker/etc/rules/link", b"/outside")
        homes.fs.makeFolders(b"/worker/etc/lists/" + ours)
        self.assertEqual(drive(homes.worker.sweep()), 4)
        self.assertEqual(homes.fs.listTree(b"/outside"), [ours])
        left = [path for path in homes.fs.listTree(b"/worker") if ours in path]
        self.assertEqual(
            left,
            [b"etc/lists/" + ours + b"/", b"etc/ssl/" + ours, b"queue/agent-groups/sub/" + ours],
        )

    def test_settle(self) -> None:
        """
        What is there is made durable, once for each file system; what is
        missing is not made.
        """
        homes = TwoHomes()
        homes.fs.mount(b"/worker/etc/lists", 7)
        homes.put(b"/worker", {b"etc/lists/l": b"1", b"etc/rules/r.xml": b"2"})
        homes.worker.settle()
        synced = [path for operation, path in homes.fs.operations if operation == "syncAll"]
        self.assertEqual(set(synced), {b"/worker", b"/worker/etc/lists", b"/worker/etc/rules"})
        for path in (b"etc/lists/l", b"etc/rules/r.xml"):
            node = homes.fs._resolve(b"/worker/" + path)[1]
            self.assertEqual(node.synced, bytes(node.content))
        self.assertNotIn(b"etc/decoders/", homes.fs.listTree(b"/worker"))

    def test_sweepUnreadable(self) -> None:
        """
        A folder that cannot be read does not keep the others from being swept,
        but is not passed over in silence.
        """
        items = Items([Item(b"a"), Item(b"b")])
        fs = MemoryFileSystem(Clock())
        name = temporaryName(b"x", counter())
        fs.put(b"/home/a/" + name, b"")
        fs.put(b"/home/b/" + name, b"")
        fs.failOn("names", b"/home/a", errno=errno.EACCES)
        error = self.assertRaises(OSError, drive, sweepTemporary(fs, b"/home", items))
        self.assertEqual(error.errno, errno.EACCES)
        self.assertEqual(fs.listTree(b"/home/b"), [])
        fs.failOn("unlink", errno=errno.EIO)
        self.assertRaises(OSError, drive, sweepTemporary(fs, b"/home", items))
        self.assertEqual(drive(sweepTemporary(fs, b"/home", items)), 1)
