"""
Tests for L{wazuh_cluster.integrity.rescan}.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Collection

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.test_scan import HOME, finish
from wazuh_cluster.integrity.items import WAZUH_ITEMS
from wazuh_cluster.integrity.scan import Snapshot, scan
from wazuh_cluster.integrity.snapshot import StatusColumns
from wazuh_cluster.integrity.walk import MOST_RESTS
from wazuh_cluster.testing.filesystem import MemoryFileSystem

RULES = b"etc/rules"
SHARED = b"etc/shared"
KEYS = b"etc/client.keys"


class World:
    """
    A home, and which of its paths were touched.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.disk = MemoryFileSystem(self.clock)
        for folder in (RULES, SHARED, b"queue/agent-groups"):
            self.disk.makeFolders(HOME + b"/" + folder)
        self.touched: set[bytes] = set()

    def path(self, path: bytes) -> bytes:
        """
        Where that is; something happens there.
        """
        self.touched.add(path)
        return HOME + b"/" + path

    def way(self, path: bytes) -> None:
        """
        Make the folders that lead to a path.
        """
        there = self.disk.listTree(HOME)
        parts = path.split(b"/")[:-1]
        for end in range(1, len(parts) + 1):
            above = b"/".join(parts[:end])
            if above in there:
                raise NotADirectoryError(above)
            if above + b"/" not in there:
                self.disk.makeFolders(self.path(above))

    def put(self, path: bytes, content: bytes = b"x", mtime: float | None = None) -> None:
        """
        Write a file.
        """
        self.way(path)
        self.disk.put(self.path(path), content, mtime=mtime)

    def remove(self, path: bytes) -> None:
        """
        Remove whatever is there.
        """
        if {path, path + b"/"}.isdisjoint(self.disk.listTree(HOME)):
            raise FileNotFoundError(path)
        self.disk.remove(self.path(path))

    def move(self, path: bytes, to: bytes) -> None:
        """
        Rename, as programs do.
        """
        source, _, name = path.rpartition(b"/")
        target, _, newName = to.rpartition(b"/")
        folder = self.disk.openFolder(HOME + b"/" + source)
        other = self.disk.openFolder(HOME + b"/" + target)
        folder.rename(name, other, newName)
        self.touched.update((path, to))

    def scan(
        self, previous: Snapshot | None = None, only: Collection[bytes] | None = None
    ) -> Snapshot:
        """
        Scan it.
        """
        return finish(
            scan(self.disk, HOME, WAZUH_ITEMS, "md5", previous, self.clock.seconds, only=only)
        )


class RescanCase(SynchronousTestCase):
    """
    A world, and what was seen of it first.
    """

    world: World
    first: Snapshot

    def assertSame(self, seen: Snapshot, wanted: Snapshot) -> None:
        """
        Both saw the same.
        """
        self.assertEqual(wanted.manifest, seen.manifest)
        self.assertEqual(wanted.folders, seen.folders)
        self.assertEqual(
            {kind: sorted(paths) for kind, paths in wanted.folderKinds.items()},
            {kind: sorted(paths) for kind, paths in seen.folderKinds.items()},
        )
        self.assertEqual(wanted.links, seen.links)
        self.assertEqual(wanted.problems, seen.problems)
        self.assertEqual(wanted.columns.inodes, seen.columns.inodes)
        self.assertEqual(wanted.columns.ctimesNs, seen.columns.ctimesNs)
        self.assertEqual(len(seen.manifest), len(seen.trusted))
        self.assertEqual(len(seen.manifest), seen.scanned.files)

    def assertEnough(self) -> Snapshot:
        """
        To look at what was touched is enough.
        """
        seen = self.world.scan(self.first, self.world.touched)
        self.assertSame(seen, self.world.scan(self.first))
        return seen


class RescanTests(RescanCase):
    """
    A scan of some paths.
    """

    def setUp(self) -> None:
        self.world = World()
        for path in (b"a", b"a-b/one", b"a/one", b"a/two", b"b"):
            if path != b"a":
                self.world.put(RULES + b"/" + path, path)
        self.world.put(KEYS, b"001 a any k\n")
        self.world.clock.advance(10)
        self.world.touched.clear()
        self.first = self.world.scan()

    def test_nothing(self) -> None:
        """
        Where nothing changed, all is the very same.
        """
        seen = self.world.scan(self.first, [RULES + b"/b", RULES + b"/a", RULES + b"/none"])
        self.assertIs(self.first.manifest, seen.manifest)
        self.assertIs(self.first.columns, seen.columns)

    def test_sameFolders(self) -> None:
        """
        The list of folders is the same one if no folder changed.
        """
        self.world.put(RULES + b"/a/one", b"other")
        self.assertIs(self.first.folders, self.assertEnough().folders)

    def test_onlyThese(self) -> None:
        """
        A file that changed is read again; nothing else is looked at but
        C{client.keys}.
        """
        self.world.put(RULES + b"/a/two", b"other")
        self.world.disk.operations.clear()
        seen = self.world.scan(self.first, [RULES + b"/a/two"])
        self.assertEqual(1, seen.scanned.hashed)
        looked = {path for name, path in self.world.disk.operations if name == "status"}
        self.assertEqual({HOME + b"/" + RULES + b"/a/two", HOME + b"/" + KEYS}, looked)

    def test_keys(self) -> None:
        """
        Keys are looked at with whatever else is, and are never older.
        """
        self.world.put(b"queue/agent-groups/002", b"default")
        self.world.put(KEYS, b"001 a any k\n002 b any k\n")
        seen = self.world.scan(self.first, [b"queue/agent-groups/002"])
        self.assertSame(seen, self.world.scan(self.first))

    def test_fileBecomesFolder(self) -> None:
        """
        A file that is a folder now, and a folder that is a file.
        """
        self.world.remove(RULES + b"/b")
        self.world.put(RULES + b"/b/new", b"new")
        self.world.remove(RULES + b"/a")
        self.world.put(RULES + b"/a", b"a file")
        seen = self.assertEnough()
        self.assertIn(RULES + b"/a", seen.manifest.paths)
        self.assertIn(RULES + b"/b/new", seen.manifest.paths)

    def test_itemGoes(self) -> None:
        """
        An item that is not there any more, and one that is back.
        """
        self.world.remove(RULES)
        gone = self.assertEnough()
        self.assertEqual([KEYS], gone.manifest.paths)
        self.first = gone
        self.world.touched.clear()
        self.world.disk.makeFolders(self.world.path(RULES))
        self.world.put(RULES + b"/deep/er/one", b"x")
        self.assertEnough()

    def test_single(self) -> None:
        """
        Keys that go, are no file, and come.
        """
        self.world.remove(KEYS)
        self.assertEnough()
        self.world.disk.makeFolders(self.world.path(KEYS))
        self.first = self.assertEnough()
        self.assertEqual([KEYS + b"/"], [held.path for held in self.first.manifest.held])
        self.world.remove(KEYS)
        self.world.put(KEYS, b"")
        self.assertEnough()

    def test_heldFolder(self) -> None:
        """
        A folder that cannot be read is held; when it can, what is in it is
        carried, and when it is gone, it is forgotten.
        """
        self.world.disk.failOn("openFolder", HOME + b"/" + RULES + b"/a", errno.EACCES, None)
        self.first = self.world.scan(self.first, [RULES + b"/a"])
        self.assertEqual([RULES + b"/a/"], [held.path for held in self.first.manifest.held])
        self.world.touched.add(RULES + b"/a/one")
        self.assertEnough()
        self.world.disk.heal()
        self.world.touched = {RULES + b"/a"}
        self.assertEnough()
        self.world.remove(RULES + b"/a")
        self.assertEnough()

    def test_fileInHeldFolder(self) -> None:
        """
        A file in a folder that could not be listed shows that the folder must
        be looked at anew: no path is held and carried.
        """
        self.world.disk.failOn("names", HOME + b"/" + RULES, errno.EIO, 1)
        self.first = self.world.scan()
        self.assertEqual([RULES + b"/"], [held.path for held in self.first.manifest.held])
        self.world.put(RULES + b"/b", b"other")
        self.world.touched = {RULES + b"/b"}
        self.assertEnough()

    def test_exhausted(self) -> None:
        """
        A system that has run out of files says nothing about these.
        """
        self.world.disk.failOn("openFolder", HOME + b"/" + RULES + b"/a", errno.EMFILE, None)
        self.assertRaises(OSError, self.world.scan, self.first, [RULES + b"/a/one"])

    def test_unplain(self) -> None:
        """
        Where it is not plain what changed, everything is looked at.
        """
        self.world.put(RULES + b"/b", b"other")
        for path in (b"etc", b"elsewhere", RULES + b"/none/x", RULES + b"/a-b/one/x"):
            self.assertSame(self.world.scan(self.first, [path]), self.world.scan(self.first))

    def test_otherAlgorithm(self) -> None:
        """
        A snapshot of another algorithm is no help.
        """
        self.world.put(RULES + b"/b", b"other")
        world = self.world
        seen = finish(
            scan(
                world.disk,
                HOME,
                WAZUH_ITEMS,
                "sha256",
                self.first,
                world.clock.seconds,
                only=[RULES + b"/a"],
            )
        )
        self.assertEqual(len(self.first.manifest), seen.scanned.hashed)


_NAMES = st.sampled_from([b"a", b"a-b", b"a.b", b"b", b"c~"])
_PATHS = st.builds(
    lambda item, names: b"/".join([item, *names]),
    st.sampled_from([RULES, RULES, SHARED]),
    st.lists(_NAMES, min_size=1, max_size=3),
)
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "remove", "move", "folder", "link", "keys", "pipe"]),
        _PATHS,
        _PATHS,
    ),
    max_size=12,
)


class EquivalenceTests(RescanCase):
    """
    Whatever happens, to look at what was touched is enough.
    """

    def do(self, world: World, what: str, path: bytes, other: bytes, number: int) -> None:
        content = b"%d" % number
        # What cannot be done is not done.
        with contextlib.suppress(OSError):
            if what == "put":
                world.put(path, content)
            elif what == "remove":
                world.remove(path)
            elif what == "move":
                world.way(other)
                world.move(path, other)
            elif what == "folder":
                world.way(path + b"/x")
            elif what == "link":
                world.way(path)
                world.disk.link(world.path(path), b"/" + other)
            elif what == "pipe":
                world.way(path)
                world.disk.special(world.path(path))
            else:
                world.put(KEYS, content)

    @settings(max_examples=60, deadline=None)
    @given(_STEPS, _STEPS, st.lists(_PATHS, max_size=3))
    def test_anything(
        self,
        before: list[tuple[str, bytes, bytes]],
        after: list[tuple[str, bytes, bytes]],
        more: list[bytes],
    ) -> None:
        """
        The same as a scan of everything, also with paths where nothing
        happened.
        """
        self.world = world = World()
        number = 0
        for what, path, other in before:
            number += 1
            self.do(world, what, path, other, number)
        world.clock.advance(10)
        self.first = world.scan()
        world.touched.clear()
        for what, path, other in after:
            number += 1
            world.clock.advance(0.5)
            self.do(world, what, path, other, number)
        world.touched.update(more)
        seen = self.assertEnough()
        # What was seen so is as good to go on from.
        world.clock.advance(10)
        self.assertSame(world.scan(seen), world.scan())
        self.assertEqual(StatusColumns, type(seen.columns))


class RestingTests(RescanCase):
    """
    A scan of everything, where nothing changes.
    """

    def setUp(self) -> None:
        self.world = World()
        for path in (b"a/one", b"a/two", b"a/deep/er/three", b"b/four", b"five", b"six~"):
            self.world.put(RULES + b"/" + path, path)
        self.world.disk.makeFolders(HOME + b"/" + RULES + b"/empty")
        self.world.put(KEYS, b"001 a any k\n")
        self.world.clock.advance(10)
        self.first = self.world.scan()

    def listed(self) -> list[bytes]:
        """
        Scan, and tell which folders were listed. All is seen as it is.
        """
        self.world.disk.operations.clear()
        self.first = self.world.scan(self.first)
        listed = [path for name, path in self.world.disk.operations if name == "names"]
        self.assertSame(self.first, self.world.scan())
        return [path[len(HOME) + 1 :] for path in listed]

    def test_rests(self) -> None:
        """
        A folder that nobody changed is not listed, but now and then.
        """
        for _ in range(MOST_RESTS):
            manifest = self.first.manifest
            self.assertEqual([], self.listed())
            self.assertIs(manifest, self.first.manifest)
        self.assertIn(RULES + b"/a/deep", self.listed())
        self.assertEqual([], self.listed())

    def test_oneLook(self) -> None:
        """
        Each file is looked at once.
        """
        self.world.disk.operations.clear()
        self.world.scan(self.first)
        looks = [path for name, path in self.world.disk.operations if name == "status"]
        files = [HOME + b"/" + path for path in self.first.manifest.paths if path != KEYS]
        self.assertEqual(sorted(files), sorted(path for path in looks if path in files))

    def test_changes(self) -> None:
        """
        Whatever changes in a folder is seen, and where the names are others,
        that folder is listed.
        """
        world = self.world
        world.put(RULES + b"/a/one", b"other")
        self.assertEqual([], self.listed())
        world.put(RULES + b"/a/new", b"new")
        self.assertEqual([RULES + b"/a"], self.listed())
        world.clock.advance(10)
        world.remove(RULES + b"/a/deep/er")
        self.assertIn(RULES + b"/a/deep", self.listed())
        world.clock.advance(10)
        world.put(RULES + b"/empty/one", b"x")
        self.assertIn(RULES + b"/empty", self.listed())
        world.clock.advance(10)
        world.remove(RULES + b"/b/four")
        world.disk.link(world.path(RULES + b"/b/four"), HOME + b"/" + RULES + b"/five")
        self.assertIn(RULES + b"/b", self.listed())

    def test_fresh(self) -> None:
        """
        A folder that was changed a moment ago is listed again.
        """
        self.world.put(RULES + b"/b/new", b"new")
        self.assertEqual([RULES + b"/b"], self.listed())
        self.assertEqual([RULES + b"/b"], self.listed())
        self.world.clock.advance(10)
        self.assertEqual([RULES + b"/b"], self.listed())
        self.assertEqual([], self.listed())

    def test_odd(self) -> None:
        """
        A folder with something odd in it is listed each time.
        """
        self.world.disk.link(self.world.path(RULES + b"/a/link"), b"/elsewhere")
        self.world.clock.advance(10)
        for _ in range(3):
            self.assertEqual([RULES + b"/a"], self.listed())

    def test_heldFile(self) -> None:
        """
        A file that cannot be read is held, also when it can be looked at again.
        """
        path = RULES + b"/a/one"
        self.world.put(path, b"other")
        self.world.disk.failOn("openRead", HOME + b"/" + path, errno.EACCES, None)
        self.first = self.world.scan(self.first)
        self.first = self.world.scan(self.first, [path])
        self.assertEqual([path], [held.path for held in self.first.manifest.held])
        for _ in range(2):
            self.assertEqual([RULES + b"/a"], self.listed())
        self.world.disk.heal()
        self.assertIn(path, self.world.scan(self.first).manifest.paths)
