"""
Tests for L{wazuh_cluster.integrity.plan}, L{wazuh_cluster.integrity.prepare},
L{wazuh_cluster.integrity.mounted} and L{wazuh_cluster.integrity.install}.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from array import array
from collections.abc import Callable

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.test_compare import _homes
from tests.twohomes import NOW, TwoHomes, drive, manifestOf
from wazuh_cluster.errors import HostilePath, InstallFailed
from wazuh_cluster.integrity import Hold, Holds, Item, Items, Outcome, Owner, Plan, mounted
from wazuh_cluster.integrity.holds import ITEM
from wazuh_cluster.integrity.prepare import FEW
from wazuh_cluster.integrity.temporary import isTemporary
from wazuh_cluster.testing.filesystem import MemoryFile, MemoryFolder

MASTER = {
    b"etc/client.keys": b"001 web1 any key\n002 web2 any key\n",
    b"queue/agent-groups/001": b"default\n",
    b"etc/shared/default/agent.conf": b"<agent_config/>",
    b"etc/shared/default/merged.mg": b"same content",
    b"var/multigroups/0a1b2c3d/merged.mg": b"same content",
    b"etc/rules/local.xml": b"<group>new</group>",
    b"etc/rules/same.xml": b"<same/>",
    b"etc/lists/folder/list": b"a:b",
    b"etc/decoders/file": b"",
}
WORKER = {
    b"etc/client.keys": b"001 web1 any key\n",
    b"etc/shared/default/agent.conf": b"<agent_config>old</agent_config>",
    b"etc/shared/gone/deep/agent.conf": b"<agent_config/>",
    b"etc/rules/local.xml": b"<group>old</group>",
    b"etc/rules/same.xml": b"<same/>",
    b"etc/rules/extra.xml": b"<extra/>",
    # In the way of the master's folder, and folder in the way of its file.
    b"etc/lists/folder": b"in the way",
    b"etc/decoders/file/inside": b"in the way",
}
FAULTS = (errno.ENOSPC, errno.EROFS, errno.EIO, errno.EACCES, errno.EBUSY, errno.EXDEV)


class Homes(TwoHomes):
    """
    A worker that differs from its master in every way.
    """

    def __init__(self, staging: bytes | None = None) -> None:
        super().__init__(staging=staging)
        self.put(b"/master", MASTER)
        self.put(b"/worker", WORKER)
        self.fs.put(b"/worker/etc/rules/same.xml", b"<same/>", 0o600, NOW - 7)
        self.fs.put(b"/worker/etc/ossec.conf", b"<local/>")


class InstallTests(SynchronousTestCase):
    """
    After an installation the worker has what the master has.
    """

    def setUp(self) -> None:
        self.homes = Homes()
        self.fs = self.homes.fs

    def modeOf(self, path: bytes) -> int:
        return stat.S_IMODE(self.fs.status(b"/worker/" + path).mode)

    def test_everything(self) -> None:
        """
        One installation makes both homes equal, and its outcome says how.
        """
        outcome = self.homes.sync()
        self.assertEqual(self.homes.files(b"/worker"), MASTER)
        self.assertEqual(*self.homes.roots())
        self.assertEqual(
            set(outcome.created),
            {
                b"queue/agent-groups/001",
                b"etc/shared/default/merged.mg",
                b"var/multigroups/0a1b2c3d/merged.mg",
                b"etc/lists/folder/list",
                b"etc/decoders/file",
            },
        )
        self.assertEqual(
            set(outcome.updated),
            {b"etc/client.keys", b"etc/shared/default/agent.conf", b"etc/rules/local.xml"},
        )
        self.assertEqual(outcome.restamped, (b"etc/rules/same.xml",))
        self.assertEqual(outcome.mended, (b"etc/rules/same.xml",))
        self.assertEqual(
            outcome.deleted,
            (
                b"etc/decoders/file/inside",
                b"etc/lists/folder",
                b"etc/rules/extra.xml",
                b"etc/shared/gone/deep/agent.conf",
            ),
        )
        self.assertEqual(
            outcome.removedFolders,
            (b"etc/decoders/file", b"etc/shared/gone/deep", b"etc/shared/gone"),
        )
        self.assertEqual((outcome.failed, outcome.inPlace, outcome.notDurable), ({}, (), None))
        self.assertEqual(
            set(outcome.restart),
            {
                b"etc/lists/folder/list",
                b"etc/lists/folder",
                b"etc/decoders/file",
                b"etc/decoders/file/inside",
                b"etc/rules/local.xml",
                b"etc/rules/extra.xml",
            },
        )

    def test_nothingLeft(self) -> None:
        """
        After it there is nothing to do, nothing staged and nothing temporary;
        what is local is untouched.
        """
        self.homes.sync()
        self.assertFalse(self.homes.plan())
        tree = self.fs.listTree(b"/worker")
        self.assertEqual([p for p in tree if isTemporary(p.rpartition(b"/")[2])], [])
        self.assertEqual(self.fs.listTree(b"/worker/queue/wazuh_cluster/staging"), [])
        self.assertEqual(self.fs.get(b"/worker/etc/ossec.conf"), b"<local/>")

    def test_modesOwnersTimes(self) -> None:
        """
        Files have their item's mode, the owner of the home's C{etc} and the
        master's time; C{client.keys} has the time of its installation.
        """
        folder = self.fs.openFolder(b"/worker")
        folder.setOwner(b"etc", 12, 34)
        self.homes.sync()
        for path in MASTER:
            status = self.fs.status(b"/worker/" + path)
            keys = path == b"etc/client.keys"
            self.assertEqual((status.uid, status.gid), (12, 34), path)
            self.assertEqual(self.modeOf(path), 0o640 if keys else 0o660, path)
            self.assertEqual(status.mtimeNs // 10**9, NOW if keys else NOW - 1000, path)
        made = self.fs.status(b"/worker/var/multigroups/0a1b2c3d")
        self.assertEqual((made.uid, made.gid, made.mode & 0o777), (12, 34, 0o770))

    def test_order(self) -> None:
        """
        C{client.keys} is replaced first, then assignments and group files, then
        the rest; extra files go last.
        """
        self.homes.sync()
        done = [
            path[len(b"/worker/") :]
            for operation, path in self.fs.operations
            if (operation == "rename" and not path.startswith(b"/worker/queue/wazuh_cluster"))
            or (operation == "unlink" and path.endswith(b"extra.xml"))
        ]
        done = [path for path in done if not isTemporary(path.rpartition(b"/")[2])]
        ranks = [
            0
            if path == b"etc/client.keys"
            else 1
            if path.startswith((b"queue", b"etc/shared", b"var"))
            else 3
            if path.endswith(b"extra.xml")
            else 2
            for path in done
        ]
        self.assertEqual(ranks, sorted(ranks))
        self.assertEqual(len(done), 9)

    def test_syncedBeforeReplaced(self) -> None:
        """
        Every content is durable before the first file is replaced: by one
        fsync each for few files, at once for many.
        """
        for more in (0, 20):
            homes = Homes()
            homes.put(b"/master", {b"etc/rules/%d.xml" % n: b"%d" % n for n in range(more)})
            homes.sync()
            names = [name for name, _ in homes.fs.operations]
            replaced = homes.fs.operations.index(("rename", b"/worker/etc/client.keys"))
            if more:
                self.assertIn("syncAll", names[:replaced])
                self.assertNotIn("file.sync", names)
            else:
                self.assertEqual(names[:replaced].count("file.sync"), 8)
                self.assertNotIn("syncAll", names[:replaced])
            last = max(n for n, name in enumerate(names) if name in ("rename", "unlink"))
            self.assertIn("sync", [name.lower().replace("all", "") for name in names[last:]])

    def test_newFoldersDurable(self) -> None:
        """
        A folder that was made is durable in the one above it; if an item's own
        folder was made, the file system is synced as a whole.
        """
        homes = TwoHomes()
        homes.fs.makeFolders(b"/worker/etc/shared")
        homes.put(b"/master", {b"etc/shared/a/b/c": b"1"})
        homes.sync()
        synced = [path for name, path in homes.fs.operations if name == "sync"]
        self.assertEqual(
            sorted(synced), [b"/worker/etc/shared" + end for end in (b"", b"/a", b"/a/b")]
        )
        homes.put(b"/master", {b"etc/rules/r": b"1"})
        homes.sync()
        self.assertEqual(homes.fs.operations[-1][0], "syncAll")

    def test_keysOncePerSecond(self) -> None:
        """
        C{client.keys} never gets the time that it already has: a second
        installation in the same second leaves it for the next.
        """
        self.homes.sync()
        self.homes.put(b"/master", {b"etc/client.keys": b"001 web1 any other\n"})
        outcome = self.homes.sync()
        self.assertEqual(outcome.postponed, (b"etc/client.keys",))
        self.assertEqual(outcome.updated, ())
        self.homes.clock.advance(1)
        self.homes.received = 0
        outcome = self.homes.sync()
        self.assertEqual((outcome.updated, outcome.postponed), ((b"etc/client.keys",), ()))
        self.assertEqual(self.homes.received, 0)
        mtime = self.fs.status(b"/worker/etc/client.keys").mtimeNs
        self.assertEqual(mtime // 10**9, NOW + 1)

    def test_newAssignmentsWaitForKeys(self) -> None:
        """
        Where client.keys has to wait for the next second, or did not come,
        agents that are new here get no groups before; others do.
        """
        new, keys = b"queue/agent-groups/009", b"001 web1 any x\n009 new any x\n"
        self.homes.sync()
        self.homes.put(
            b"/master",
            {
                b"etc/client.keys": keys,
                b"queue/agent-groups/001": b"web\n",
                new: b"web\n",
            },
        )
        outcome = self.homes.sync()
        self.assertEqual(outcome.postponed, (b"etc/client.keys", new))
        self.assertEqual(outcome.updated, (b"queue/agent-groups/001",))
        self.assertNotIn(new, self.homes.files(b"/worker"))
        self.homes.clock.advance(1)
        plan = self.homes.plan()
        staging = self.homes.worker.openStaging()
        staging.remove(hashlib.md5(keys).digest())
        self.homes.put(b"/master", {b"etc/client.keys": b"# and again\n" + keys})
        self.homes.fetch(plan, staging)
        outcome = drive(self.homes.worker.install(plan, staging, self.homes.failures))
        staging.close()
        self.assertEqual(
            outcome.failed,
            {
                b"etc/client.keys": "it changed since the manifest was made; "
                "it comes with the next generation",
                new: "it waits for etc/client.keys, which could not be had",
            },
        )
        self.assertNotIn(new, self.homes.files(b"/worker"))
        self.assertEqual(self.homes.sync().created, (new,))
        self.assertEqual(self.homes.files(b"/worker"), self.homes.files(b"/master"))

    def test_sameContentOnce(self) -> None:
        """
        A content that two files have comes once.
        """
        self.homes.sync()
        sizes = sum(len(MASTER[p]) for p in MASTER if MASTER[p] != WORKER.get(p))
        self.assertEqual(self.homes.received, sizes - len(b"same content"))

    def test_notReceived(self) -> None:
        """
        A file whose content did not come is named with the reason; the others
        are installed.
        """
        vanished = b"/master/etc/rules/local.xml"
        self.fs.before("openRead", vanished, lambda: self.fs.remove(vanished))
        plan = self.homes.plan()
        staging = self.homes.worker.openStaging()
        self.homes.put(b"/master", {b"queue/agent-groups/001": b"changed\n"})
        self.fs.remove(b"/master/etc/shared/default/agent.conf")
        self.homes.fetch(plan, staging)
        outcome = drive(self.homes.worker.install(plan, staging, self.homes.failures))
        self.assertEqual(
            outcome.failed,
            {
                b"etc/shared/default/agent.conf": "it vanished from the master",
                b"queue/agent-groups/001": "it changed since the manifest was made; "
                "it comes with the next generation",
            },
        )
        self.assertIn(b"etc/client.keys", outcome.updated)

    def test_unstaged(self) -> None:
        """
        Without any contents nothing is replaced, and every file says so.
        """
        plan = self.homes.plan()
        outcome = drive(self.homes.worker.install(plan, self.homes.worker.openStaging()))
        self.assertEqual(set(outcome.failed.values()), {"its content has not come in"})
        self.assertEqual(len(outcome.failed), 8)

    def test_linkReplaced(self) -> None:
        """
        A link, FIFO or socket where a carried file must go is replaced, and
        never written through.
        """
        self.fs.put(b"/outside", b"precious")
        self.fs.remove(b"/worker/etc/rules/local.xml")
        self.fs.link(b"/worker/etc/rules/local.xml", b"/outside")
        self.fs.special(b"/worker/queue/agent-groups/001")
        self.homes.sync()
        self.assertEqual(self.fs.get(b"/outside"), b"precious")
        self.assertEqual(self.homes.files(b"/worker"), MASTER)
        self.assertTrue(stat.S_ISREG(self.fs.status(b"/worker/etc/rules/local.xml").mode))

    def test_linkedFolderReplaced(self) -> None:
        """
        A link where the master has a folder is replaced by a folder; nothing
        is written or deleted where it led.
        """
        self.fs.put(b"/outside/agent.conf", b"precious")
        self.fs.put(b"/outside/other", b"precious")
        self.fs.remove(b"/worker/etc/shared/default")
        self.fs.link(b"/worker/etc/shared/default", b"/outside")
        self.homes.sync()
        self.assertEqual(self.fs.listTree(b"/outside"), [b"agent.conf", b"other"])
        self.assertEqual(self.fs.get(b"/outside/agent.conf"), b"precious")
        self.assertEqual(self.homes.files(b"/worker"), MASTER)

    def swapping(self, path: bytes, moment: str, at: bytes | None) -> Outcome:
        """
        Install, while somebody turns a folder of the worker into a link to
        C{/outside}.
        """
        for name in (b"agent.conf", b"merged.mg", b"deep/agent.conf", b"extra.xml"):
            self.fs.put(b"/outside/" + name, b"precious")

        def swap() -> None:
            self.fs.remove(b"/worker/" + path)
            self.fs.link(b"/worker/" + path, b"/outside")

        plan = self.homes.plan()
        staging = self.homes.worker.openStaging()
        self.homes.fetch(plan, staging)
        self.fs.before(moment, at, swap)
        outcome = drive(self.homes.worker.install(plan, staging))
        self.assertEqual(
            self.fs.listTree(b"/outside"),
            [b"agent.conf", b"deep/", b"deep/agent.conf", b"extra.xml", b"merged.mg"],
        )
        for name in (b"agent.conf", b"merged.mg", b"deep/agent.conf", b"extra.xml"):
            self.assertEqual(self.fs.get(b"/outside/" + name), b"precious")
        return outcome

    def test_swappedBefore(self) -> None:
        """
        A folder that became a link to elsewhere since the scan: nothing is
        written or deleted there, and the files are named as failed.
        """
        outcome = self.swapping(b"etc/shared/default", "openWrite", None)
        self.assertIn(b"etc/shared/default/agent.conf", outcome.failed)
        self.assertIn(b"etc/shared/default/merged.mg", outcome.failed)
        for line in outcome.failed.values():
            self.assertNotIn("\n", line)
        self.assertEqual(self.homes.sync().failed, {})
        self.assertEqual(self.homes.files(b"/worker"), MASTER)

    def test_swappedBeforeDeletion(self) -> None:
        """
        The same for a folder in which files are to be deleted.
        """
        outcome = self.swapping(b"etc/shared/gone", "rename", b"/worker/etc/client.keys")
        self.assertEqual(
            set(outcome.failed),
            {b"etc/shared/gone/deep/agent.conf", b"etc/shared/gone/deep", b"etc/shared/gone"},
        )

    def test_hardLink(self) -> None:
        """
        A file with a second name is not given another mode or owner.
        """
        self.fs.openFolder(b"/worker").setOwner(b"etc", 7, 7)
        node = self.fs._resolve(b"/worker/etc/rules/same.xml")[1]
        node.links = 2
        outcome = self.homes.sync()
        self.assertEqual(
            outcome.failed,
            {b"etc/rules/same.xml": "it has 2 names (hard links): left as it is"},
        )
        self.assertEqual(node.uid, 0)

    def test_notAllowedToMend(self) -> None:
        """
        What this process may not give away is named once, and not tried again;
        new files are installed nevertheless.
        """
        self.fs.openFolder(b"/worker").setOwner(b"etc", 7, 7)
        self.fs.failOn("setOwner", errno=errno.EPERM, times=None)
        self.fs.failOn("file.setOwner", errno=errno.EPERM, times=None)
        outcome = self.homes.sync()
        folders = (
            b"etc/decoders",
            b"etc/lists",
            b"etc/rules",
            b"etc/shared",
            b"etc/shared/default",
        )
        gone = (b"etc/shared/gone", b"etc/shared/gone/deep")
        self.assertEqual(outcome.unmended, (*folders, *gone, b"etc/rules/same.xml"))
        self.assertEqual((outcome.failed, outcome.mended), ({}, ()))
        self.assertEqual(self.homes.files(b"/worker"), MASTER)
        self.homes.sync()
        self.assertFalse(self.homes.plan())

    def test_folders(self) -> None:
        """
        Items' own folders and those below get their mode and owner too, and
        nothing beside them does; they are durable then.
        """
        deep = b"etc/shared/default"
        self.homes.sync()
        parent = self.fs.openFolder(b"/worker/etc")
        parent.setMode(b"rules", 0o755)
        self.fs.openFolder(b"/worker/etc/shared").setMode(b"default", 0o2700)
        queue = self.fs.openFolder(b"/worker/queue")
        queue.setOwner(b"agent-groups", 5, 5)
        queue.setMode(b"wazuh_cluster", 0o711)
        self.fs.operations.clear()
        outcome = self.homes.sync()
        self.assertEqual(outcome.mended, (b"etc/rules", deep, b"queue/agent-groups"))
        for path in outcome.mended:
            status = self.fs.status(b"/worker/" + path)
            self.assertEqual((self.modeOf(path), status.uid, status.gid), (0o770, 0, 0))
            self.assertIn(("sync", b"/worker/" + path), self.fs.operations)
        self.assertEqual(self.modeOf(b"queue/wazuh_cluster"), 0o711)
        self.assertFalse(self.homes.plan())

    def test_linkedItemsFolder(self) -> None:
        """
        The folder to which an item's link leads is the operator's.
        """
        self.homes.sync()
        self.fs.put(b"/elsewhere/local.xml", MASTER[b"etc/rules/local.xml"], mtime=NOW - 1000)
        self.fs.put(b"/elsewhere/same.xml", MASTER[b"etc/rules/same.xml"], mtime=NOW - 1000)
        self.fs.openFolder(b"/").setMode(b"elsewhere", 0o711)
        self.fs.remove(b"/worker/etc/rules")
        self.fs.link(b"/worker/etc/rules", b"/elsewhere")
        self.assertFalse(self.homes.plan())

    def test_itemsFolderMode(self) -> None:
        """
        An item can say what its folders are like, made or mended.
        """
        items = Items([Item(b"etc/threats", mode=0o640, folderMode=0o750)])
        homes = TwoHomes(items)
        homes.put(b"/master", {b"etc/threats/deep/er/list": b"1", b"etc/threats/list": b"1"})
        for made in (True, False):
            homes.sync()
            for path in (b"etc/threats", b"etc/threats/deep", b"etc/threats/deep/er"):
                self.assertEqual(homes.fs.status(b"/worker/" + path).mode & 0o7777, 0o750, made)
                above, _, name = path.rpartition(b"/")
                homes.fs.openFolder(b"/worker/" + above).setMode(name, 0o777)

    def test_modeThatIsForgotten(self) -> None:
        """
        A file system that takes a mode and forgets it is not asked again and
        again.
        """
        self.homes.sync()
        self.fs.openFolder(b"/worker/etc").setMode(b"rules", 0o755)
        self.patch(MemoryFolder, "setMode", lambda *arguments: None)
        self.assertEqual(self.homes.sync().unmended, (b"etc/rules",))
        self.assertFalse(self.homes.plan())

    def test_folderWithStrangers(self) -> None:
        """
        A folder in which something is not carried stays, silently if it is
        only to be tidied up, as a failure if it stands in the way.
        """
        self.fs.put(b"/worker/etc/shared/gone/notes.tmp", b"")
        self.fs.put(b"/worker/etc/decoders/file/notes.tmp", b"")
        outcome = self.homes.sync()
        self.assertEqual(
            outcome.failed,
            {
                b"etc/decoders/file": "cannot replace it: Is a directory",
            },
        )
        self.assertIn(b"etc/shared/gone/", self.fs.listTree(b"/worker"))
        self.fs.remove(b"/worker/etc/decoders/file/notes.tmp")
        self.assertEqual(self.homes.sync().failed, {})
        self.assertEqual(self.homes.files(b"/worker"), MASTER)

    def test_missingItems(self) -> None:
        """
        Items that the worker does not have at all are made, and stay when they
        become empty.
        """
        self.homes.sync()
        self.fs.remove(b"/master/var")
        self.fs.remove(b"/master/etc/lists")
        outcome = self.homes.sync()
        self.assertEqual(outcome.removedFolders, (b"etc/lists/folder", b"var/multigroups/0a1b2c3d"))
        self.assertIn(b"var/multigroups/", self.fs.listTree(b"/worker"))
        self.assertIn(b"etc/lists/", self.fs.listTree(b"/worker"))

    def test_linkedItem(self) -> None:
        """
        An item's own folder may be a link: the operator's choice is followed.
        """
        self.fs.remove(b"/worker/etc/shared")
        self.fs.makeFolders(b"/data/shared")
        self.fs.link(b"/worker/etc/shared", b"/data/shared")
        self.homes.sync()
        self.assertEqual(self.homes.files(b"/worker"), MASTER)
        self.assertEqual(
            self.fs.listTree(b"/data/shared"),
            [b"default/", b"default/agent.conf", b"default/merged.mg"],
        )


class HeldTests(SynchronousTestCase):
    """
    Held paths stay, and the rest goes on.
    """

    def test_held(self) -> None:
        """
        A held file is neither overwritten nor removed, nor is what cannot be
        beside it installed; the plan names all of them.
        """
        homes = Homes()
        kept = (
            b"etc/decoders/file/inside",
            b"etc/lists/folder",
            b"etc/rules/extra.xml",
            b"etc/rules/local.xml",
        )
        holds = Holds((Hold("1", ITEM, kept, ""),))
        self.assertEqual(
            homes.plan(holds).held,
            frozenset([*kept, b"etc/decoders/file", b"etc/lists/folder/list"]),
        )
        outcome = homes.sync(holds)
        self.assertEqual(outcome.failed, {})
        files = homes.files(b"/worker")
        for path in kept:
            self.assertEqual(files[path], WORKER[path])
        self.assertEqual(files[b"etc/client.keys"], MASTER[b"etc/client.keys"])
        held = homes.plan(holds).held
        self.assertEqual(
            homes.manifest().root(homes.items, held),
            homes.snapshot().manifest.root(homes.items, held),
        )

    def test_refused(self) -> None:
        """
        An extra valid file stays until the master refuses it.
        """
        homes = Homes()
        homes.put(b"/worker", {b"queue/agent-groups/009": b"web\n"})
        self.assertNotIn(b"queue/agent-groups/009", homes.sync().deleted)
        outcome = homes.sync(refused=[b"queue/agent-groups/009", b"etc/rules/local.xml"])
        self.assertEqual(outcome.deleted, (b"queue/agent-groups/009",))

    def test_outsideItems(self) -> None:
        """
        A plan with paths that no item carries is refused, whatever made it.
        """
        homes = Homes()
        plan = homes.plan()
        hostile = manifestOf({b"etc/ossec.conf": b"x", b"etc/rules/a": b"x"})
        for wrong in (
            evolve(plan, delete=(b"etc/ossec.conf",)),
            evolve(plan, mend=(b"etc/rules/../ossec.conf",)),
            Plan(hostile, array("I", [0]), array("I"), array("I")),
        ):
            staging = homes.worker.openStaging()
            with contextlib.suppress(HostilePath):
                drive(homes.worker.install(wrong, staging))
            self.assertEqual(homes.fs.get(b"/worker/etc/ossec.conf"), b"<local/>")


class MountedTests(SynchronousTestCase):
    """
    Other file systems, and files and folders that are mounted by themselves.
    """

    def test_stagingElsewhere(self) -> None:
        """
        Where staging is on another file system, copies beside the targets are
        renamed; nothing temporary or staged is left.
        """
        for more in (0, 20):
            homes = TwoHomes(staging=b"/staging")
            homes.fs.mount(b"/staging", 2)
            homes.put(b"/master", MASTER)
            homes.put(b"/master", {b"etc/rules/%d.xml" % n: b"%d" % n for n in range(more)})
            homes.put(b"/worker", WORKER)
            outcome = homes.sync()
            self.assertEqual((outcome.failed, outcome.inPlace), ({}, ()))
            self.assertEqual(*homes.roots())
            self.assertEqual(homes.fs.listTree(b"/staging"), [])
            self.assertFalse(homes.plan())
            tree = homes.fs.listTree(b"/worker")
            self.assertEqual([p for p in tree if isTemporary(p.rpartition(b"/")[2])], [])

    def test_mountedFile(self) -> None:
        """
        A file that is mounted by itself is written in place, proved, and
        reported by name.
        """
        homes = Homes()
        path = b"/worker/etc/client.keys"
        homes.fs.failOn("rename", path, errno=errno.EBUSY, times=None)
        inode = homes.fs.status(path).inode
        outcome = homes.sync()
        self.assertEqual(outcome.inPlace, (b"etc/client.keys",))
        self.assertIn(b"etc/client.keys", outcome.updated)
        self.assertEqual(outcome.failed, {})
        self.assertEqual(homes.files(b"/worker"), MASTER)
        status = homes.fs.status(path)
        self.assertEqual((status.inode, status.mtimeNs // 10**9), (inode, NOW))
        self.assertEqual(homes.fs.listTree(b"/worker/queue/wazuh_cluster/staging"), [])

    def test_mountedFileShrinks(self) -> None:
        """
        In place a file also becomes shorter.
        """
        homes = Homes()
        homes.put(b"/worker", {b"etc/rules/local.xml": b"x" * 5000})
        homes.fs.failOn("rename", b"/worker/etc/rules/local.xml", errno=errno.EXDEV, times=None)
        self.assertEqual(homes.sync().inPlace, (b"etc/rules/local.xml",))
        self.assertEqual(homes.files(b"/worker"), MASTER)

    def test_mountedFolder(self) -> None:
        """
        A folder below an item that is mounted by itself, though with the same
        device number, gets its files by copies in it: whole, not in place.
        """
        homes = Homes()
        path = b"/worker/etc/shared/default/agent.conf"
        homes.fs.failOn("rename", path, errno=errno.EXDEV)
        outcome = homes.sync()
        self.assertEqual((outcome.failed, outcome.inPlace), ({}, ()))
        self.assertEqual(homes.files(b"/worker"), MASTER)

    def test_mountedItem(self) -> None:
        """
        The same for an item's own folder: that is noticed before, so that all
        its files are made durable at once.
        """
        homes = Homes()
        homes.put(b"/master", {b"etc/rules/%d.xml" % n: b"%d" % n for n in range(20)})
        staging = b"/worker/queue/wazuh_cluster/staging/"

        def refuse() -> None:
            last = homes.fs.operations[-1][1]
            if last.startswith(b"/worker/etc/rules/.probe"):
                raise OSError(errno.EXDEV, "mounted")

        homes.fs.before("rename", None, refuse, times=None)
        outcome = homes.sync()
        self.assertEqual((outcome.failed, outcome.inPlace), ({}, ()))
        self.assertEqual(*homes.roots())
        self.assertEqual(homes.fs.listTree(staging), [])
        self.assertNotIn("file.sync", [name for name, _ in homes.fs.operations])
        beside = [
            path
            for name, path in homes.fs.operations
            if name == "create" and path.startswith(b"/worker/etc/rules/")
        ]
        self.assertEqual(len(beside), 21)

    def test_failedElsewhere(self) -> None:
        """
        What could not be replaced, with staging on another file system, stays
        staged and does not come again.
        """
        homes = Homes(b"/staging")
        homes.fs.mount(b"/staging", 2)
        homes.fs.failOn("rename", b"/worker/etc/rules/local.xml", errno=errno.EACCES)
        self.assertEqual(
            homes.sync().failed,
            {b"etc/rules/local.xml": "cannot replace it: Permission denied"},
        )
        homes.received = 0
        self.assertEqual(homes.sync().updated, (b"etc/rules/local.xml",))
        self.assertEqual(homes.received, 0)

    def test_inPlaceProved(self) -> None:
        """
        What was written in place is read again.
        """
        homes = Homes()
        path = b"/worker/etc/client.keys"
        homes.fs.failOn("rename", path, errno=errno.EBUSY, times=None)
        size = len(MASTER[b"etc/client.keys"])
        homes.fs.before("file.sync", path, lambda: homes.fs.put(path, b"x" * size))
        outcome = homes.sync()
        self.assertEqual(
            outcome.failed, {b"etc/client.keys": "cannot replace it: Input/output error"}
        )
        self.assertEqual(outcome.inPlace, ())

    def test_inPlaceTakenBack(self) -> None:
        """
        If a file mounted by itself cannot be written whole, what it was is
        written back.
        """
        for operation in ("file.write", "file.truncate", "file.sync"):
            homes = Homes()
            path = b"/worker/etc/client.keys"
            homes.fs.failOn("rename", path, errno=errno.EBUSY, times=None)
            homes.fs.failOn(operation, path, errno=errno.ENOSPC)
            outcome = homes.sync()
            self.assertEqual(
                outcome.failed,
                {b"etc/client.keys": "cannot replace it: No space left on device"},
            )
            self.assertEqual(homes.fs.get(path), WORKER[b"etc/client.keys"])

    def test_largeInPlace(self) -> None:
        """
        A large file in place is never in memory as a whole: what it was stands
        aside until the new one is there, and is written back if that fails.
        """
        path = b"/worker/etc/lists/large"
        old, new = (bytes([n]) * (mounted.SMALL + 70_000) for n in (1, 2))
        for fault in (None, "file.write", "file.truncate", "file.sync", "create"):
            homes = Homes()
            homes.put(b"/worker", {b"etc/lists/large": old})
            homes.put(b"/master", {b"etc/lists/large": new})
            homes.fs.failOn("rename", path, errno=errno.EBUSY, times=None)
            if fault == "create":

                def refuse() -> None:
                    name = homes.fs.operations[-1][1].rpartition(b"/")[2]  # noqa: B023
                    if name.startswith(b".large."):
                        raise OSError(errno.ENOSPC, "No space left on device")

                homes.fs.before("create", None, refuse, times=None)
            elif fault is not None:
                homes.fs.failOn(fault, path, errno=errno.ENOSPC, after=fault == "file.write")
            largest = 0
            write = MemoryFile.write

            def writing(file: MemoryFile, data: bytes) -> None:
                nonlocal largest
                if file.path == path:
                    largest = max(largest, len(data))
                write(file, data)  # noqa: B023

            self.patch(MemoryFile, "write", writing)
            outcome = homes.sync()
            self.patch(MemoryFile, "write", write)
            line = "cannot replace it: No space left on device"
            failed = {} if fault is None else {b"etc/lists/large": line}
            self.assertEqual(outcome.failed, failed, fault)
            self.assertEqual(homes.fs.get(path), new if fault is None else old, fault)
            self.assertTrue(largest <= 1 << 20, largest)
            found = homes.fs.listTree(b"/worker")
            self.assertEqual([p for p in found if isTemporary(p.rpartition(b"/")[2])], [])

    def test_readOnlyItem(self) -> None:
        """
        An item on a read-only file system fails by itself.
        """
        homes = Homes()
        homes.fs.remove(b"/worker/etc/rules")
        homes.fs.mount(b"/worker/etc/rules", 3)
        homes.put(b"/worker", {b"etc/rules/local.xml": b"<group>old</group>"})
        for operation in ("create", "rename"):

            def refuse() -> None:
                if homes.fs.operations[-1][1].startswith(b"/worker/etc/rules/"):
                    raise OSError(errno.EROFS, "read-only")

            homes.fs.before(operation, None, refuse, times=None)
        outcome = homes.sync()
        self.assertEqual(
            outcome.failed,
            dict.fromkeys(
                (b"etc/rules/local.xml", b"etc/rules/same.xml"),
                "cannot make it ready: Read-only file system",
            ),
        )
        self.assertIn(b"etc/client.keys", outcome.updated)


class FaultTests(SynchronousTestCase):
    """
    Whatever step fails, every carried file is whole, old or new; the failure
    is one clear line; and the next try brings everything.
    """

    def begin(self, staging: bytes | None = None) -> Callable[[], Outcome]:
        self.homes = Homes(staging)
        if staging is not None:
            self.homes.fs.mount(staging, 2)
        plan = self.homes.plan()
        folder = self.homes.worker.openStaging()
        self.homes.fetch(plan, folder)
        self.active = True
        self.seen = 0
        return lambda: drive(self.homes.worker.install(plan, folder))

    def fail(self, at: int, times: int, code: int) -> None:  # type: ignore[override]
        def act() -> None:
            if self.active:
                self.seen += 1
                if at <= self.seen < at + times:
                    raise OSError(code, os.strerror(code))

        self.homes.fs.before("*", None, act, times=None)

    def checkWhole(self) -> None:
        """
        Every carried file is the old or the new one.
        """
        self.active = False
        home = b"/worker/"
        for name in self.homes.fs.listTree(b"/worker"):
            if name.endswith(b"/") or self.homes.items.find(name) is None:
                continue
            expected = [files[name] for files in (MASTER, WORKER) if name in files]
            self.assertIn(self.homes.fs.get(home + name), expected, name)
        self.assertEqual(self.homes.fs.get(b"/worker/etc/ossec.conf"), b"<local/>")
        for path in set(WORKER) & set(MASTER):
            self.assertTrue(self.homes.fs.get(home + path))

    def checkConverges(self) -> None:
        """
        A new process brings everything.
        """
        self.homes.clock.advance(5)
        self.homes.worker = self.homes.tree(b"/worker", self.homes.worker._staging)
        drive(self.homes.worker.sweep())
        outcome = self.homes.sync()
        self.assertEqual(outcome.failed, {})
        for path, content in MASTER.items():
            self.assertEqual(self.homes.fs.get(b"/worker/" + path), content)
        self.assertFalse(self.homes.plan())

    def attempt(self, install: Callable[[], Outcome]) -> None:
        """
        Install with a fault, then without.
        """
        before = {
            path: self.homes.fs.get(b"/worker/" + path)
            for path in WORKER
            if path not in (b"etc/lists/folder", b"etc/decoders/file/inside")
        }
        try:
            outcome = install()
        except InstallFailed as error:
            self.assertNotIn("\n", str(error))
            self.assertIn("cannot", str(error))
            for path, content in before.items():
                self.assertEqual(self.homes.fs.get(b"/worker/" + path), content)
        else:
            for line in outcome.failed.values():
                self.assertNotIn("\n", line)
        self.checkWhole()
        self.checkConverges()

    def steps(self, staging: bytes | None = None) -> int:
        install = self.begin(staging)
        self.fail(1 << 30, 1, errno.EIO)
        install()
        return self.seen

    def test_oneFault(self) -> None:
        """
        One failing step.
        """
        steps = self.steps()
        self.assertTrue(steps > 150, steps)
        for at in range(1, steps + 1):
            install = self.begin()
            self.fail(at, 1, FAULTS[at % 6])
            self.attempt(install)

    def test_faultsFromThereOn(self) -> None:
        """
        All steps fail from one on, as on a disk that is full or goes away.
        """
        for at in range(1, self.steps() + 1, 2):
            install = self.begin()
            self.fail(at, 1 << 30, FAULTS[at // 2 % 4])
            self.attempt(install)

    def test_faultsWithStagingElsewhere(self) -> None:
        """
        One failing step, with the staging folder on another file system.
        """
        for at in range(1, self.steps(b"/staging") + 1, 2):
            install = self.begin(b"/staging")
            self.fail(at, 1, FAULTS[at // 2 % 6])
            self.attempt(install)

    def test_diskFull(self) -> None:
        """
        With no room for the copies nothing changes, and the line says so.
        """
        install = self.begin(b"/staging")
        self.homes.fs.free = 50
        error = self.assertRaises(InstallFailed, install)
        self.assertIn("cannot make it ready: No space left on device", str(error))
        self.homes.fs.free = None
        for path, content in WORKER.items():
            self.assertEqual(self.homes.fs.get(b"/worker/" + path), content)
        tree = self.homes.fs.listTree(b"/worker")
        self.assertEqual([p for p in tree if isTemporary(p.rpartition(b"/")[2])], [])
        self.checkConverges()

    def test_stopped(self) -> None:
        """
        An installation that is stopped between two slices leaves whole files
        and nothing temporary.
        """
        slices = 0
        while True:
            self.begin(b"/staging")
            plan = self.homes.plan()
            staging = self.homes.worker.openStaging()
            self.homes.fetch(plan, staging)
            work = self.homes.worker.install(plan, staging)
            try:
                for _ in range(slices):
                    next(work)
            except StopIteration:
                break
            work.close()
            self.checkWhole()
            tree = self.homes.fs.listTree(b"/worker")
            self.assertEqual([p for p in tree if isTemporary(p.rpartition(b"/")[2])], [])
            self.checkConverges()
            slices += 1
        self.assertTrue(slices > 8, slices)

    def test_died(self) -> None:
        """
        So does one whose process dies at any step; what is left beside the
        targets is swept by the next.
        """
        for staging in (None, b"/staging"):
            for at in range(1, self.steps(staging) + 1, 5):
                install = self.begin(staging)

                def die(at: int = at) -> None:
                    if self.active:
                        self.seen += 1
                        if self.seen >= at:
                            raise KeyboardInterrupt

                self.homes.fs.before("*", None, die, times=None)
                self.assertRaises(KeyboardInterrupt, install)
                self.checkWhole()
                self.checkConverges()
                tree = self.homes.fs.listTree(b"/worker")
                self.assertEqual([p for p in tree if isTemporary(p.rpartition(b"/")[2])], [])


class ManyTests(SynchronousTestCase):
    """
    Of many files each is dressed while it comes in, and looked at once more
    before it is installed.
    """

    def begin(self) -> Callable[[], Outcome]:
        self.homes = homes = TwoHomes()
        self.files = {b"etc/rules/%d/%03d" % (n % 3, n): b"rule %d" % n for n in range(2 * FEW)}
        # One content, by two items that give it different permissions.
        self.files |= {b"etc/client.keys": b"same", b"etc/lists/same": b"same"}
        homes.put(b"/master", self.files)
        self.plan = evolve(homes.plan(), owner=Owner(7, 8))
        self.staging = homes.worker.openStaging()
        homes.fetch(self.plan, self.staging)
        del homes.fs.operations[:]
        return lambda: drive(homes.worker.install(self.plan, self.staging))

    def staged(self, path: bytes) -> bytes:
        index = self.plan.manifest.index(path)
        assert index is not None
        return self.staging._path + b"/" + self.staging.name(self.plan.manifest.digest(index))

    def check(self) -> None:
        """
        All is there, with mode, owner and time.
        """
        for path, content in self.files.items():
            status = self.homes.fs.status(b"/worker/" + path)
            item = self.homes.items.check(path)
            self.assertEqual(self.homes.fs.get(b"/worker/" + path), content)
            self.assertEqual(stat.S_IMODE(status.mode), item.mode, path)
            self.assertEqual((status.uid, status.gid), (7, 8), path)
            if not item.ownTime:
                self.assertEqual(status.mtimeNs, (NOW - 1000) * 10**9)

    def test_notOpenedAgain(self) -> None:
        """
        A file that is as it should be is renamed, and not opened before.
        """
        outcome = self.begin()()
        self.assertEqual((len(outcome.created), outcome.failed), (len(self.files), {}))
        self.check()
        opened = [path for operation, path in self.homes.fs.operations if operation == "openWrite"]
        # Both files with the same content: the copy, and what it is of.
        self.assertTrue(len(opened) <= 2, opened)

    def test_changedMeanwhile(self) -> None:
        """
        Whatever is not as it should be any more is mended; a file of another
        size is not installed.
        """
        a, b, c, d = (b"etc/rules/%d/%03d" % (n % 3, n) for n in range(4))
        install = self.begin()
        fs = self.homes.fs
        folder = fs.openFolder(self.staging._path)
        folder.setMode(self.staged(a).rpartition(b"/")[2], 0o666)
        folder.setOwner(self.staged(b).rpartition(b"/")[2], 0, 0)
        folder.setTimes(self.staged(c).rpartition(b"/")[2], 5)
        fs.put(self.staged(d), b"longer than it was", 0o660, NOW - 1000)
        outcome = install()
        self.assertEqual(list(outcome.failed), [d])
        self.assertIn("cannot make it ready", outcome.failed[d])
        del self.files[d]
        self.check()

    def test_gone(self) -> None:
        """
        If one is not there any more, nothing changes at all.
        """
        install = self.begin()
        self.homes.fs.remove(self.staged(b"etc/rules/1/013"))
        error = self.assertRaises(InstallFailed, install)
        self.assertIn("etc/rules/1/013: cannot make it ready", str(error))
        self.assertEqual(self.homes.files(b"/worker"), {})

    def test_link(self) -> None:
        """
        Nor if a link stands there.
        """
        install = self.begin()
        name = self.staged(b"etc/rules/1/013")
        self.homes.fs.remove(name)
        self.homes.fs.put(b"/elsewhere", b"rule 13", 0o660, NOW - 1000)
        self.homes.fs.link(name, b"/elsewhere")
        self.assertRaises(InstallFailed, install)
        self.assertEqual(self.homes.files(b"/worker"), {})
        self.assertEqual(self.homes.fs.status(b"/elsewhere").uid, 0)

    def test_faults(self) -> None:
        """
        Whatever step fails, what is installed is whole and dressed, and the
        next try brings the rest.
        """
        self.begin()()
        steps = len(self.homes.fs.operations)
        for at in range(1, steps + 1, 7):
            install = self.begin()
            count = [0]

            def act(at: int = at, count: list[int] = count) -> None:
                count[0] += 1
                if count[0] == at:
                    raise OSError(FAULTS[at % 6], "refused")

            self.homes.fs.before("*", None, act, times=None)
            with contextlib.suppress(InstallFailed):
                install()
            for path, content in self.homes.files(b"/worker").items():
                self.assertEqual(content, self.files[path])
            self.homes.clock.advance(5)
            self.plan = evolve(self.homes.plan(), owner=Owner(7, 8))
            self.homes.fetch(self.plan, self.staging)
            drive(self.homes.worker.install(self.plan, self.staging))
            self.check()


class AnyHomesTests(SynchronousTestCase):
    """
    Any worker becomes any master.
    """

    @settings(deadline=None, max_examples=100)
    @given(_homes, _homes, st.booleans())
    def test_converges(
        self, ours: dict[bytes, bytes], theirs: dict[bytes, bytes], elsewhere: bool
    ) -> None:
        """
        One sync makes the roots equal, whatever both had, but for assignments
        that only the worker has.
        """
        homes = TwoHomes(staging=b"/staging" if elsewhere else None)
        if elsewhere:
            homes.fs.mount(b"/staging", 2)
        homes.put(b"/worker", ours)
        homes.put(b"/master", theirs)
        outcome = homes.sync()
        self.assertEqual(outcome.failed, {})
        pending = {path for path in ours if path.startswith(b"queue/") and path not in theirs}
        files = homes.files(b"/worker")
        self.assertEqual(set(files) - set(theirs), pending)
        self.assertEqual({path: files[path] for path in theirs}, theirs)
        self.assertFalse(homes.plan())
