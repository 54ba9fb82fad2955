"""
Contracts: what every adapter of a port must do, as mixins for test cases.

Mix one in before C{SynchronousTestCase} and give it what it asks for.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zope.interface.verify import verifyObject

from wazuh_cluster.enrollment import IOpenRequests
from wazuh_cluster.interfaces import IFileSystem, IFolder, IOpenFile, IState

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _TestCase
else:
    _TestCase = object


class FileSystemContractMixin(_TestCase):
    """
    Any L{IFileSystem}.
    """

    def makeFileSystem(self) -> tuple[IFileSystem, bytes]:
        """
        A file system, and the absolute path of an empty folder in it.
        """
        raise NotImplementedError

    def makeLink(self, path: bytes, target: bytes) -> None:
        """
        Make a symbolic link in the file system made last.
        """
        raise NotImplementedError

    def makeFifo(self, path: bytes) -> None:
        """
        Make a named pipe in the file system made last.
        """
        raise NotImplementedError

    def setUp(self) -> None:
        """
        Open the empty folder.
        """
        self.fileSystem, self.top = self.makeFileSystem()
        self.folder = self.fileSystem.openFolder(self.top)
        self.addCleanup(self.folder.close)

    def write(self, folder: IFolder, name: bytes, content: bytes, mode: int = 0o660) -> None:
        """
        Make a file.
        """
        file = folder.create(name, mode)
        file.write(content)
        file.close()

    def content(self, folder: IFolder, name: bytes) -> bytes:
        """
        What is in a file.
        """
        file = folder.openRead(name)
        self.addCleanup(file.close)
        return file.read(1 << 20)

    def assertErrno(self, code: int, function: Callable[..., object], *args: object) -> None:
        """
        The call fails with exactly this C{errno}.
        """
        error = self.assertRaises(OSError, function, *args)
        self.assertEqual(error.errno, code, str(error))

    def test_interfaces(self) -> None:
        """
        File system, folders and files provide their interfaces.
        """
        verifyObject(IFileSystem, self.fileSystem)
        verifyObject(IFolder, self.folder)
        file = self.folder.create(b"a", 0o600)
        self.addCleanup(file.close)
        verifyObject(IOpenFile, file)

    def test_writtenIsRead(self) -> None:
        """
        What is written can be read, in pieces and from a position.
        """
        self.write(self.folder, b"a", b"hello world")
        file = self.folder.openRead(b"a")
        self.addCleanup(file.close)
        self.assertEqual([file.read(5), file.read(100), file.read(5)], [b"hello", b" world", b""])
        file.seek(6)
        self.assertEqual(file.read(3), b"wor")

    def test_writeInPlace(self) -> None:
        """
        An existing file can be overwritten in part, and cut.
        """
        self.write(self.folder, b"a", b"hello world")
        before = self.folder.status(b"a").inode
        file = self.folder.openWrite(b"a")
        file.seek(1)
        file.write(b"ipp")
        file.truncate(5)
        file.close()
        self.assertEqual(self.content(self.folder, b"a"), b"hippo")
        self.assertEqual(self.folder.status(b"a").inode, before)

    def test_createOnce(self) -> None:
        """
        Creating never takes an existing file.
        """
        self.write(self.folder, b"a", b"old")
        self.assertErrno(errno.EEXIST, self.folder.create, b"a", 0o600)
        self.assertEqual(self.content(self.folder, b"a"), b"old")

    def test_exactMode(self) -> None:
        """
        Files and folders get the mode that was asked for, whatever the umask.
        """
        self.write(self.folder, b"a", b"", 0o666)
        self.folder.makeFolder(b"b", 0o777)
        self.assertEqual(stat.S_IMODE(self.folder.status(b"a").mode), 0o666)
        self.assertEqual(stat.S_IMODE(self.folder.status(b"b").mode), 0o777)

    def test_status(self) -> None:
        """
        A status says kind, size, device and links, of the entry or the open
        file alike.
        """
        self.write(self.folder, b"a", b"hello")
        status = self.folder.status(b"a")
        file = self.folder.openRead(b"a")
        self.addCleanup(file.close)
        self.assertEqual(file.status(), status)
        self.assertTrue(stat.S_ISREG(status.mode))
        self.assertEqual((status.size, status.links), (5, 1))
        self.assertEqual(status.device, self.folder.device)

    def test_folder(self) -> None:
        """
        An open folder knows its own number, and what room there is.
        """
        self.folder.makeFolder(b"a", 0o770)
        folder = self.folder.openFolder(b"a")
        self.addCleanup(folder.close)
        self.assertEqual(folder.inode, self.folder.status(b"a").inode)
        self.assertNotEqual(folder.inode, self.folder.inode)
        self.assertTrue(folder.room > 0)

    def test_removedFolder(self) -> None:
        """
        Nothing can be made in, or moved to, a folder that was removed, though
        it is open.
        """
        self.folder.makeFolder(b"a", 0o770)
        self.write(self.folder, b"b", b"x")
        folder = self.folder.openFolder(b"a")
        self.addCleanup(folder.close)
        self.folder.removeFolder(b"a")
        self.assertErrno(errno.ENOENT, folder.create, b"c", 0o600)
        self.assertErrno(errno.ENOENT, folder.makeFolder, b"c", 0o700)
        self.assertErrno(errno.ENOENT, self.folder.rename, b"b", folder, b"c")

    def test_entriesAndNames(self) -> None:
        """
        A folder lists all entries with their status, links as links, and which
        of them are folders.
        """
        self.write(self.folder, b"a", b"hello")
        self.folder.makeFolder(b"b", 0o770)
        self.makeLink(self.top + b"/c", b"b")
        found = dict(self.folder.entries())
        self.assertEqual(
            {name: stat.S_IFMT(status.mode) for name, status in found.items()},
            {b"a": stat.S_IFREG, b"b": stat.S_IFDIR, b"c": stat.S_IFLNK},
        )
        self.assertEqual(found[b"a"], self.folder.status(b"a"))
        self.assertEqual(sorted(self.folder.names()), [(b"a", False), (b"b", True), (b"c", False)])

    def test_anyBytesInNames(self) -> None:
        """
        A name may hold bytes that are no UTF-8.
        """
        self.write(self.folder, b"caf\xe9\n", b"x")
        self.assertEqual(list(self.folder.names()), [(b"caf\xe9\n", False)])
        self.assertEqual(self.content(self.folder, b"caf\xe9\n"), b"x")

    def test_onlyNames(self) -> None:
        """
        What is not the name of one entry is refused by every call.
        """
        other = self.folder
        for name in (b"", b".", b"..", b"a/b", b"/", b"a\0b"):
            for function, args in (
                (self.folder.status, (name,)),
                (self.folder.openFolder, (name,)),
                (self.folder.openRead, (name,)),
                (self.folder.openLinked, (name, [self.top])),
                (self.folder.openWrite, (name,)),
                (self.folder.create, (name, 0o600)),
                (self.folder.makeFolder, (name, 0o700)),
                (self.folder.rename, (name, other, b"x")),
                (self.folder.rename, (b"x", other, name)),
                (self.folder.unlink, (name,)),
                (self.folder.removeFolder, (name,)),
                (self.folder.setOwner, (name, 0, 0)),
                (self.folder.setMode, (name, 0o600)),
                (self.folder.setTimes, (name, 1)),
            ):
                self.assertRaises(ValueError, function, *args)

    def test_missing(self) -> None:
        """
        What is not there is C{ENOENT}.
        """
        self.assertErrno(errno.ENOENT, self.folder.status, b"a")
        self.assertErrno(errno.ENOENT, self.folder.openRead, b"a")
        self.assertErrno(errno.ENOENT, self.folder.openWrite, b"a")
        self.assertErrno(errno.ENOENT, self.folder.openFolder, b"a")
        self.assertErrno(errno.ENOENT, self.folder.unlink, b"a")
        self.assertErrno(errno.ENOENT, self.fileSystem.openFolder, self.top + b"/a")

    def test_linksAreNotFollowed(self) -> None:
        """
        Reading, writing, entering and changing the mode stop at a link.
        """
        self.write(self.folder, b"file", b"secret", 0o640)
        self.folder.makeFolder(b"folder", 0o750)
        self.makeLink(self.top + b"/toFile", b"file")
        self.makeLink(self.top + b"/toFolder", b"folder")
        self.assertErrno(errno.ELOOP, self.folder.openRead, b"toFile")
        self.assertErrno(errno.ELOOP, self.folder.openWrite, b"toFile")
        error = self.assertRaises(OSError, self.folder.openFolder, b"toFolder")
        self.assertIn(error.errno, (errno.ELOOP, errno.ENOTDIR))
        self.assertErrno(errno.ELOOP, self.folder.setMode, b"toFile", 0o600)
        self.folder.setTimes(b"toFile", 1)
        self.assertEqual(stat.S_IMODE(self.folder.status(b"file").mode), 0o640)
        self.assertNotEqual(self.folder.status(b"file").mtimeNs, 1_000_000_000)
        self.assertEqual(self.folder.status(b"toFile").mtimeNs, 1_000_000_000)

    def test_operatorsPathFollowsLinks(self) -> None:
        """
        An absolute path may go through links.
        """
        self.folder.makeFolder(b"real", 0o770)
        self.makeLink(self.top + b"/alias", b"real")
        opened = self.fileSystem.openFolder(self.top + b"/alias")
        self.addCleanup(opened.close)
        self.write(opened, b"a", b"x")
        below = self.folder.openFolder(b"real")
        self.addCleanup(below.close)
        self.assertEqual(self.content(below, b"a"), b"x")
        self.assertRaises(ValueError, self.fileSystem.openFolder, b"relative")

    def test_specialFiles(self) -> None:
        """
        A named pipe is refused at once, without waiting for its other end; so
        is a folder.
        """
        self.makeFifo(self.top + b"/pipe")
        self.folder.makeFolder(b"folder", 0o770)
        self.makeLink(self.top + b"/toPipe", b"pipe")
        self.assertErrno(errno.EINVAL, self.folder.openRead, b"pipe")
        self.assertErrno(errno.EINVAL, self.folder.openWrite, b"pipe")
        self.assertErrno(errno.EINVAL, self.folder.setMode, b"pipe", 0o600)
        self.assertErrno(errno.EINVAL, self.folder.openRead, b"folder")
        self.assertErrno(errno.EINVAL, self.folder.openLinked, b"toPipe", [self.top])

    def test_openLinked(self) -> None:
        """
        A link is followed to a file in an allowed folder, over other links and
        C{..}, and nowhere else.
        """
        for name in (b"home", b"homework", b"elsewhere"):
            self.folder.makeFolder(name, 0o770)
            below = self.folder.openFolder(name)
            self.write(below, b"file", name)
            below.close()
        home = self.folder.openFolder(b"home")
        self.addCleanup(home.close)
        self.makeLink(self.top + b"/alias", b"home")
        self.makeLink(self.top + b"/home/inside", b"file")
        self.makeLink(self.top + b"/home/winding", b"../alias/inside")
        self.makeLink(self.top + b"/home/outside", b"../elsewhere/file")
        self.makeLink(self.top + b"/home/near", b"../homework/file")
        self.makeLink(self.top + b"/home/nowhere", b"../nothing")
        self.makeLink(self.top + b"/home/round", b"round")
        allowed = [self.top + b"/alias"]

        def linked(name: bytes, denied: Sequence[bytes] = ()) -> bytes:
            file = home.openLinked(name, allowed, denied)
            self.addCleanup(file.close)
            return file.read(100)

        self.assertEqual(linked(b"inside"), b"home")
        self.assertEqual(linked(b"winding"), b"home")
        self.assertErrno(errno.EACCES, linked, b"outside")
        self.assertErrno(errno.EACCES, linked, b"near")
        self.assertErrno(errno.ENOENT, linked, b"nowhere")
        self.assertErrno(errno.ELOOP, linked, b"round")
        self.assertErrno(errno.EACCES, linked, b"inside", [self.top + b"/alias/file"])
        self.assertEqual(linked(b"inside", [self.top + b"/alias/fil"]), b"home")
        allowed.append(self.top + b"/elsewhere")
        self.assertEqual(linked(b"outside"), b"elsewhere")

    def test_rename(self) -> None:
        """
        Renaming moves between folders and replaces a file or a link itself.
        """
        self.folder.makeFolder(b"other", 0o770)
        other = self.folder.openFolder(b"other")
        self.addCleanup(other.close)
        self.write(other, b"new", b"new")
        self.write(self.folder, b"kept", b"kept")
        self.makeLink(self.top + b"/a", b"kept")
        reader = self.folder.openRead(b"kept")
        self.addCleanup(reader.close)
        other.rename(b"new", self.folder, b"a")
        self.assertEqual(self.content(self.folder, b"a"), b"new")
        self.folder.rename(b"a", self.folder, b"kept")
        self.assertEqual(self.content(self.folder, b"kept"), b"new")
        self.assertEqual(reader.read(10), b"kept")
        self.assertErrno(errno.ENOENT, self.folder.rename, b"a", other, b"b")
        self.assertErrno(errno.EISDIR, self.folder.rename, b"kept", self.folder, b"other")

    def test_remove(self) -> None:
        """
        Files are unlinked, links themselves too; only empty folders go.
        """
        self.folder.makeFolder(b"folder", 0o770)
        below = self.folder.openFolder(b"folder")
        self.addCleanup(below.close)
        self.write(below, b"a", b"x")
        self.makeLink(self.top + b"/link", b"folder/a")
        self.folder.unlink(b"link")
        self.assertErrno(errno.ENOTEMPTY, self.folder.removeFolder, b"folder")
        self.assertErrno(errno.ENOTDIR, below.removeFolder, b"a")
        below.unlink(b"a")
        self.folder.removeFolder(b"folder")
        self.assertEqual(self.folder.entries(), [])

    def test_modeOwnerTimes(self) -> None:
        """
        Mode, owner and times can be set by name, also of a file that nobody may
        read, and on an open file.
        """
        self.write(self.folder, b"a", b"x", 0o000)
        found = self.folder.status(b"a")
        self.folder.setMode(b"a", 0o640)
        self.folder.setOwner(b"a", found.uid, found.gid)
        self.folder.setTimes(b"a", 1234567890)
        self.assertEqual(stat.S_IMODE(self.folder.status(b"a").mode), 0o640)
        self.assertEqual(self.folder.status(b"a").mtimeNs, 1234567890_000_000_000)
        file = self.folder.openWrite(b"a")
        self.addCleanup(file.close)
        file.setMode(0o600)
        file.setOwner(found.uid, found.gid)
        file.setTimes(1234567891.5)
        found = self.folder.status(b"a")
        self.assertEqual(stat.S_IMODE(found.mode), 0o600)
        self.assertEqual(found.mtimeNs, 1234567891_500_000_000)

    def test_again(self) -> None:
        """
        A further handle reads the same file from its beginning, and from any
        position, whatever became of the name, and of the first handle.
        """
        self.write(self.folder, b"a", b"hello world")
        file = self.folder.openRead(b"a")
        file.seek(6)
        again = file.again()
        self.addCleanup(again.close)
        third = again.again()
        self.addCleanup(third.close)
        self.write(self.folder, b"b", b"other")
        self.folder.rename(b"b", self.folder, b"a")
        self.assertEqual((again.read(3), file.read(5)), (b"hel", b"world"))
        file.close()
        self.assertEqual((again.read(9), third.read(9)), (b"lo world", b"hello wor"))
        again.seek(2)
        self.assertEqual(again.read(3), b"llo")
        self.assertEqual(again.status().size, 11)
        self.assertErrno(errno.EINVAL, again.seek, -1)
        self.assertErrno(errno.EBADF, again.write, b"x")
        self.assertRaises(OSError, file.again)

    def test_sync(self) -> None:
        """
        Files, folders and whole file systems can be made durable.
        """
        file = self.folder.create(b"a", 0o600)
        self.addCleanup(file.close)
        file.write(b"x")
        file.sync()
        self.folder.sync()
        self.fileSystem.syncAll([self.folder, self.folder])
        self.assertEqual(self.content(self.folder, b"a"), b"x")

    def test_closing(self) -> None:
        """
        Closing twice is fine; what is closed is of no more use.
        """
        file = self.folder.create(b"a", 0o600)
        file.close()
        file.close()
        self.assertErrno(errno.EBADF, file.read, 1)
        self.assertErrno(errno.EBADF, file.setTimes, 1)
        self.folder.close()
        self.folder.close()
        self.assertErrno(errno.EBADF, self.folder.status, b"a")
        self.assertErrno(errno.EBADF, self.folder.entries)
        self.assertErrno(errno.EBADF, list, self.folder.names())
        self.assertErrno(errno.EBADF, self.folder.unlink, b"a")
        self.assertErrno(errno.EBADF, self.folder.sync)


class StateContractMixin(_TestCase):
    """
    Any L{IState}.
    """

    def makeState(self) -> IState:
        """
        An empty state.
        """
        raise NotImplementedError

    def test_interface(self) -> None:
        """
        It provides the interface.
        """
        verifyObject(IState, self.makeState())

    def test_nothingSaved(self) -> None:
        """
        What was never saved is C{None}, and can be removed.
        """
        state = self.makeState()
        self.assertIsNone(state.load("home-id"))
        state.remove("home-id")

    def test_savedIsLoaded(self) -> None:
        """
        The last content saved under a name is loaded, whatever its bytes.
        """
        state = self.makeState()
        state.save("home-id", b"one")
        state.save("other", b"")
        state.save("home-id", b"\0two\xff" * 1000)
        self.assertEqual(state.load("home-id"), b"\0two\xff" * 1000)
        self.assertEqual(state.load("other"), b"")

    def test_removed(self) -> None:
        """
        What was removed is C{None} again; the others stay.
        """
        state = self.makeState()
        state.save("home-id", b"one")
        state.save("other", b"two")
        state.remove("home-id")
        self.assertIsNone(state.load("home-id"))
        self.assertEqual(state.load("other"), b"two")

    def test_names(self) -> None:
        """
        A name that could lead elsewhere is refused.
        """
        state = self.makeState()
        for name in ("", ".", "..", ".hidden", "a/b", "a\0", "a b", "é", "x" * 101, "a\n"):
            self.assertRaises(ValueError, state.load, name)
            self.assertRaises(ValueError, state.save, name, b"")
            self.assertRaises(ValueError, state.remove, name)


class OpenRequestsContractMixin(_TestCase):
    """
    Any L{IOpenRequests} that notes something.
    """

    def makeOpenRequests(self) -> IOpenRequests:
        """
        What notes nothing yet, and has begun.
        """
        raise NotImplementedError

    def next(self, openRequests: IOpenRequests) -> IOpenRequests:
        """
        As the process has it that follows on one which was killed, or ended.
        """
        raise NotImplementedError

    def test_interface(self) -> None:
        """
        It provides the interface.
        """
        verifyObject(IOpenRequests, self.makeOpenRequests())

    def test_outlivesTheProcess(self) -> None:
        """
        What is noted is there for the next one, and the one after that, until
        it is forgotten.
        """
        first = self.makeOpenRequests()
        ids = [b"%016d" % n for n in range(1, 5)]
        for each in (*ids, ids[0]):
            first.add(each)
        first.discard(ids[1])
        second = self.next(first)
        left = second.load()
        self.assertEqual({ids[0], *ids[2:]}, set(left))
        self.assertEqual(3, len(left))
        second.discard(ids[0])
        second.add(ids[1])
        second.close()
        third = self.next(second)
        self.assertEqual(set(ids[1:]), set(third.load()))
        for each in ids:
            third.discard(each)
        third.close()
        self.assertEqual((), tuple(self.next(third).load()))
