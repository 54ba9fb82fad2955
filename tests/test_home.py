"""
Tests for L{wazuh_cluster.home}.
"""

from __future__ import annotations

import os
import stat

from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import HomeError, StateDamaged
from wazuh_cluster.home import (
    FOLDERS,
    Home,
    Owner,
    addWorkingFolders,
    checkHome,
    chooseOwner,
    homeId,
    makeHome,
    managerVersion,
    unmakeFolders,
)
from wazuh_cluster.testing.state import MemoryState


def mode(path: str) -> int:
    """
    A path's permissions.
    """
    return stat.S_IMODE(os.stat(path).st_mode)


class HomeTests(SynchronousTestCase):
    """
    L{Home} knows where things are.
    """

    def test_places(self) -> None:
        """
        Everything is where Wazuh, or the design, has it.
        """
        home = Home(b"/var/ossec/")
        self.assertEqual("/var/ossec", home.path)
        self.assertEqual("/var/ossec/etc/ossec.conf", home.conf)
        self.assertEqual("/var/ossec/etc/wazuh_cluster.ini", home.settings)
        self.assertEqual("/var/ossec/logs/cluster.log", home.log)
        self.assertEqual("/var/ossec/logs/cluster", home.logFolder)
        self.assertEqual("/var/ossec/var/run", home.runFolder)
        self.assertEqual("/var/ossec/var/run/wazuh-cluster.pid", home.pidFile)
        self.assertEqual("/var/ossec/queue/wazuh_cluster", home.stateFolder)
        self.assertEqual("/var/ossec/queue/wazuh_cluster/staging", home.staging)

    def test_relative(self) -> None:
        """
        A relative home is made absolute, for daemons that change their folder.
        """
        self.assertEqual(os.path.join(os.getcwd(), "h"), Home("h").path)

    def test_managerVersion(self) -> None:
        """
        The manager's version is what its file says, if that says one.
        """
        home = Home(self.mktemp())
        os.makedirs(home.path)
        self.assertEqual("", managerVersion(home))
        for content, version in (
            (b'{"version": "4.14.7", "stage": "rc1"}', "4.14.7"),
            (b'{"version": "v4.12.0"}', "4.12.0"),
            (b'{"version": 4}', ""),
            (b'{"version": "\x1b[31m"}', ""),
            (b"[]", ""),
            (b"[" * 100_000, ""),
            (b"\xff", ""),
        ):
            with open(home.join("VERSION.json"), "wb") as file:
                file.write(content)
            self.assertEqual(version, managerVersion(home))

    def test_analysisdStarts(self) -> None:
        """
        The times of wazuh-analysisd's pid files are found, and no others.
        """
        home = Home(self.mktemp() + "[a]")
        self.assertEqual([], home.analysisdStarts())
        os.makedirs(home.runFolder)
        for name, time in [
            ("wazuh-analysisd-12.pid", 100),
            ("ossec-analysisd-13.pid", 200),
            ("wazuh-remoted-14.pid", 300),
        ]:
            path = os.path.join(home.runFolder, name)
            with open(path, "wb"):
                os.utime(path, (time, time))
        self.assertEqual([100.0, 200.0], home.analysisdStarts())


class MakeHomeTests(SynchronousTestCase):
    """
    L{makeHome} and L{addWorkingFolders}.
    """

    def setUp(self) -> None:
        """
        A place for a home.
        """
        self.home = Home(self.mktemp())

    def test_foldersAndModes(self) -> None:
        """
        All folders are there with exactly their modes, whatever the umask.
        """
        previous = os.umask(0o077)
        try:
            made = makeHome(self.home)
        finally:
            os.umask(previous)
        self.assertEqual([self.home.path, *(self.home.join(name) for name, _ in FOLDERS)], made)
        self.assertEqual(dict(FOLDERS), {name: mode(self.home.join(name)) for name, _ in FOLDERS})
        self.assertEqual(0o750, mode(self.home.path))

    def test_parents(self) -> None:
        """
        Missing parents of the home are made too, open to all.
        """
        deep = Home(os.path.join(self.home.path, "a", "b"))
        makeHome(deep)
        self.assertEqual(0o755, mode(os.path.dirname(deep.path)))
        self.assertEqual(0o750, mode(deep.path))

    def test_onlyWhatIsMissing(self) -> None:
        """
        What exists stays as it is.
        """
        os.makedirs(self.home.join("etc/rules"))
        os.chmod(self.home.join("etc"), 0o711)
        made = makeHome(self.home)
        self.assertNotIn(self.home.join("etc"), made)
        self.assertNotIn(self.home.join("etc/rules"), made)
        self.assertIn(self.home.join("etc/lists"), made)
        self.assertEqual(0o711, mode(self.home.join("etc")))
        self.assertEqual([], makeHome(self.home))

    def test_nothingAfterError(self) -> None:
        """
        When something is in the way, nothing that was made is left.
        """
        os.makedirs(self.home.path)
        with open(self.home.join("queue"), "wb"):
            pass
        error = self.assertRaises(HomeError, makeHome, self.home)
        self.assertEqual(f"{self.home.join('queue')}: it is not a folder: move it away", str(error))
        self.assertEqual(["queue"], os.listdir(self.home.path))

    def test_homeIsAFile(self) -> None:
        """
        A file in place of the home is refused.
        """
        with open(self.home.path, "wb"):
            pass
        error = self.assertRaises(HomeError, makeHome, self.home)
        self.assertIn("it is not a folder", str(error))

    def test_owner(self) -> None:
        """
        New folders belong to the given owner.
        """
        makeHome(self.home, Owner(os.geteuid(), os.getegid()))
        status = os.stat(self.home.join("etc/rules"))
        self.assertEqual((os.geteuid(), os.getegid()), (status.st_uid, status.st_gid))

    def test_foreignOwner(self) -> None:
        """
        Root makes a home for Wazuh's account; parents stay root's.
        """
        if os.geteuid() != 0:
            raise self.skipTest("only root can give folders away")
        deep = Home(os.path.join(self.home.path, "a"))
        makeHome(deep, Owner(12345, 12346))
        self.assertEqual({12345}, {os.stat(deep.join(name)).st_uid for name, _ in FOLDERS})
        self.assertEqual(12346, os.stat(deep.path).st_gid)
        self.assertEqual(0, os.stat(self.home.path).st_uid)
        self.assertEqual(Owner(12345, 12346), chooseOwner(deep, 0))

    def test_unmakeKeepsWhatIsUsed(self) -> None:
        """
        Taking folders back leaves those in which there is something.
        """
        made = makeHome(self.home)
        with open(self.home.join("etc/rules/a.xml"), "wb"):
            pass
        unmakeFolders(made)
        self.assertEqual(["etc"], os.listdir(self.home.path))
        self.assertEqual(["rules"], os.listdir(self.home.join("etc")))

    def test_workingFolders(self) -> None:
        """
        A daemon adds to a home that exists only what it writes itself.
        """
        self.assertRaises(HomeError, addWorkingFolders, self.home)
        os.makedirs(self.home.join("etc"))
        addWorkingFolders(self.home)
        self.assertEqual(["etc", "logs", "queue", "var"], sorted(os.listdir(self.home.path)))
        self.assertEqual(["wazuh_cluster"], os.listdir(self.home.join("queue")))
        self.assertEqual(0o750, mode(self.home.stateFolder))


class ChooseOwnerTests(SynchronousTestCase):
    """
    L{chooseOwner} decides whom new things belong to.
    """

    def test_unprivileged(self) -> None:
        """
        Who is not root cannot choose.
        """
        self.assertIsNone(chooseOwner(Home(self.mktemp()), 1000))

    def test_existingHome(self) -> None:
        """
        In a home that exists, who owns its C{etc} owns what is new.
        """
        home = Home(self.mktemp())
        makeHome(home)
        status = os.stat(home.join("etc"))
        self.assertEqual(Owner(status.st_uid, status.st_gid), chooseOwner(home, 0))

    def test_account(self) -> None:
        """
        For a new home root takes Wazuh's account if there is one.
        """
        home = Home(self.mktemp())
        self.assertEqual(Owner(0, 0), chooseOwner(home, 0, account="root"))
        self.assertIsNone(chooseOwner(home, 0, account="no-such-account"))


class CheckHomeTests(SynchronousTestCase):
    """
    L{checkHome} refuses a home in which a daemon cannot work.
    """

    def setUp(self) -> None:
        """
        A whole home.
        """
        self.home = Home(self.mktemp())
        makeHome(self.home)

    def test_whole(self) -> None:
        """
        A home that was just made is fine.
        """
        checkHome(self.home)

    def test_missing(self) -> None:
        """
        A missing home says how to make one.
        """
        error = self.assertRaises(HomeError, checkHome, Home(self.mktemp()))
        self.assertIn("wazuh-cluster init", str(error))

    def test_file(self) -> None:
        """
        A file is no home.
        """
        path = self.mktemp()
        with open(path, "wb"):
            pass
        self.assertIn("not a folder", str(self.assertRaises(HomeError, checkHome, Home(path))))

    def test_notWritable(self) -> None:
        """
        Each folder that the daemon writes must be writable.
        """
        for name in ("logs", "logs/cluster", "queue/wazuh_cluster", "var/run"):
            locked = self.home.join(name)
            error = self.assertRaises(
                HomeError, checkHome, self.home, lambda path, locked=locked: path != locked
            )
            self.assertTrue(str(error).startswith(f"{locked}: this user cannot write there"))

    def test_missingFolder(self) -> None:
        """
        A missing folder is fine where the daemon may make it.
        """
        os.rmdir(self.home.stateFolder)
        checkHome(self.home)
        locked = self.home.join("queue")
        self.assertRaises(HomeError, checkHome, self.home, lambda path: path != locked)

    def test_fileInPlaceOfFolder(self) -> None:
        """
        A file where a folder should be is refused by name.
        """
        os.rmdir(self.home.stateFolder)
        with open(self.home.stateFolder, "wb"):
            pass
        error = self.assertRaises(HomeError, checkHome, self.home)
        self.assertIn(self.home.stateFolder, str(error))


class HomeIdTests(SynchronousTestCase):
    """
    L{homeId} names a home for ever.
    """

    def test_madeOnce(self) -> None:
        """
        The id is random, 16 bytes, and stays.
        """
        state = MemoryState()
        first = homeId(state)
        self.assertEqual(16, len(first))
        self.assertEqual(first, homeId(state))
        self.assertNotEqual(first, homeId(MemoryState()))
        self.assertEqual(first.hex().encode() + b"\n", state.load("home-id"))

    def test_damaged(self) -> None:
        """
        What is no id is not replaced by another.
        """
        state = MemoryState()
        state.save("home-id", b"xyz\n")
        self.assertRaises(StateDamaged, homeId, state)
        self.assertEqual(b"xyz\n", state.load("home-id"))
