"""
Tests for what happens to a cluster's files and disks: whatever it is, it spoils
only itself, is one clear line, and is over when its cause is.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from itertools import count

from tests.memorycase import HOME, LARGE, MemoryCase

STALE = "it changed since the manifest was made; it comes with the next generation"


class FileTests(MemoryCase):
    """
    A file that cannot be sent spoils only itself: it is reported on both nodes,
    and comes with the next generation.
    """

    def spoil(self, mishap: Callable[[], object], why: str, path: str = "etc/lists/large") -> None:
        """
        Something happens to a file between the look at it and its sending.
        """
        self.fill()
        disk, name = self.disks["master"], HOME + b"/" + path.encode()
        master = self.startMaster()
        disk.before("openRead", name, mishap)
        self.startWorker()
        everything = self.carried("master")
        everything.pop(path.encode(), None)
        ours = self.carried("worker")
        self.assertIsNone(ours.pop(path.encode(), None))
        self.assertEqual(everything, ours)
        self.assertIn(f"{path} was not installed: {why}.", self.problems)
        self.assertEqual({path.encode(): why}, dict(master.statuses()[0].failed))
        self.pass_(20)
        self.assertEqualHomes()
        self.assertEqual({}, dict(master.statuses()[0].failed))

    def test_changes(self) -> None:
        """
        One that changes.
        """
        self.spoil(lambda: self.put("master", "etc/lists/large", LARGE[::-1], 3), STALE)
        self.assertEqual(LARGE[::-1], self.get("worker", "etc/lists/large"))

    def test_changesInTheMiddle(self) -> None:
        """
        One that changes when half of it was sent.
        """
        self.fill()
        self.startMaster()
        name = HOME + b"/etc/lists/large"
        reads = count(1)

        def change() -> None:
            if next(reads) == 2:
                self.put("master", "etc/lists/large", LARGE[::-1], 3)

        self.disks["master"].before("file.read", name, change, times=None)
        self.startWorker()
        self.assertIn(f"etc/lists/large was not installed: {STALE}.", self.problems)
        self.pass_(20)
        self.assertEqual(LARGE[::-1], self.get("worker", "etc/lists/large"))
        self.assertEqualHomes()

    def test_shrinks(self) -> None:
        """
        One that is cut short.
        """
        self.spoil(lambda: self.put("master", "etc/lists/large", b"short", 3), STALE)

    def test_grows(self) -> None:
        """
        One that is appended to comes as it was, and then as it is.
        """
        self.fill()
        self.startMaster()
        grown = LARGE + b"more\n"
        name = HOME + b"/etc/lists/large"
        self.disks["master"].before(
            "openRead", name, lambda: self.put("master", "etc/lists/large", grown, 3)
        )
        self.startWorker()
        self.assertEqual(LARGE, self.get("worker", "etc/lists/large"))
        self.assertEqual([], self.problems)
        self.pass_(10)
        self.assertEqual(grown, self.get("worker", "etc/lists/large"))
        self.assertEqualHomes()

    def test_vanishes(self) -> None:
        """
        One that vanishes.
        """
        self.spoil(lambda: self.remove("master", "etc/lists/large"), "it vanished from the master")

    def test_cannotBeOpened(self) -> None:
        """
        One that cannot be opened, for a while.
        """

        def refuse() -> None:
            raise OSError(errno.EACCES, "Permission denied")

        self.spoil(refuse, "the master cannot open it: Permission denied")

    def test_cannotBeRead(self) -> None:
        """
        One that can be read in part only, for a while: the part is not sent
        again.
        """
        self.fill()
        self.startMaster()
        disk, name = self.disks["master"], HOME + b"/etc/lists/large"
        disk.failOn("file.read", name, errno.EIO, times=None, after=1)
        self.startWorker()
        why = "the master cannot read it: Input/output error"
        self.assertIn(f"etc/lists/large was not installed: {why}.", self.problems)
        carried = self.network.carried
        disk.heal()
        self.pass_(20)
        self.assertEqualHomes()
        self.assertTrue(self.network.carried - carried < len(LARGE))

    def test_staysUnreadable(self) -> None:
        """
        One that stays unreadable costs nothing at each look, and is said once.
        """
        self.fill()
        self.startMaster()
        name = HOME + b"/etc/lists/large"
        self.disks["master"].failOn("file.read", name, errno.EIO, times=None, after=1)
        self.startWorker()
        carried = self.network.carried
        self.pass_(180)
        self.assertTrue(self.network.carried - carried < 60_000, self.network.carried - carried)
        self.assertEqual(1, sum("etc/lists/large was not" in line for line in self.problems))


class HeldPathTests(MemoryCase):
    """
    What the master sees and cannot carry is named in its log, and workers keep
    what they have there, until it can.
    """

    def begin(self) -> None:
        self.fill()
        self.startMaster()
        self.startWorker()
        self.assertEqualHomes()

    def held(self, path: str, why: str) -> None:
        """
        A path is held for a minute, and said once.
        """
        before = self.carried("worker")
        self.pass_(60)
        self.assertEqual(before, self.carried("worker"))
        line = f"{path} is not carried, and stays as it is on workers: {why}."
        self.assertEqual([line], self.problems)
        self.assertEqual([], self.memory().keptHolds())

    def test_link(self) -> None:
        """
        A link out of the home in a file's place.
        """
        self.begin()
        disk = self.disks["master"]
        disk.put(b"/elsewhere/r0.xml", b"secret")
        disk.link(HOME + b"/etc/rules/r0.xml", b"/elsewhere/r0.xml")
        self.held("etc/rules/r0.xml", "is a link to what may not be carried or read")
        self.remove("master", "etc/rules/r0.xml")
        self.put("master", "etc/rules/r0.xml", b"<group>new</group>", 5)
        self.pass_(10)
        self.assertEqualHomes()

    def test_linkedFolder(self) -> None:
        """
        A link in a folder's place: all that was below it stays.
        """
        self.begin()
        self.remove("master", "etc/lists/deep")
        self.disks["master"].link(HOME + b"/etc/lists/deep", b"/nowhere")
        self.held("etc/lists/deep", "is a link that leads nowhere")
        self.remove("master", "etc/lists/deep")
        self.put("master", "etc/lists/deep/l1", b"new", 5)
        self.pass_(10)
        self.assertEqualHomes()

    def test_unreadable(self) -> None:
        """
        A file that cannot be read, and a folder that cannot be listed.
        """
        for path, operation, why in (
            ("etc/rules/r0.xml", "openRead", "cannot be opened: Permission denied"),
            ("etc/lists/deep/", "names", "cannot be listed: Permission denied"),
            ("etc/lists/deep/", "openFolder", "cannot be opened: Permission denied"),
        ):
            self.begin()
            disk = self.disks["master"]
            place = HOME + b"/" + path.rstrip("/").encode()
            disk.failOn(operation, place, errno.EACCES, times=None)
            changed = path + "l0" if path.endswith("/") else path
            self.put("master", changed, b"new", 5)
            self.held(path, why)
            disk.heal()
            self.pass_(10)
            self.assertEqualHomes(path)
            self.again()

    def test_unreadableOnTheWorker(self) -> None:
        """
        A worker that cannot read a folder of its own says what it could not
        install in it, and nothing else; it is mended when it can.
        """
        self.begin()
        folder = HOME + b"/etc/lists/deep"
        self.disks["worker"].failOn("openFolder", folder, errno.EACCES, times=None)
        self.put("master", "etc/lists/deep/l0", b"new", 5)
        self.put("master", "etc/rules/r0.xml", b"<group>new</group>", 5)
        self.pass_(30)
        self.assertEqual(b"<group>new</group>", self.get("worker", "etc/rules/r0.xml"))
        for name in ("l0", "l1"):
            line = f"etc/lists/deep/{name} was not installed: cannot make it ready: Permission"
            self.assertEqual(1, sum(line in each for each in self.problems), self.problems)
        self.disks["worker"].heal()
        self.pass_(10)
        self.assertEqualHomes()
