"""
The real file system behind L{IFileSystem}.

Every call below an open folder names one entry relative to that folder's
descriptor, so nobody who swaps a folder for a link can lead it elsewhere.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence

from zope.interface import implementer

from wazuh_cluster.interfaces import FileStat, IFileSystem, IFolder, IOpenFile

_REGULAR = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PATH: int | None = getattr(os, "O_PATH", None)
_DESCRIPTORS = b"/proc/self/fd/"
_NO_NAMES = frozenset((b"", b".", b".."))
_ENCODING = sys.getfilesystemencoding()
_ERRORS = sys.getfilesystemencodeerrors()


def checkEntryName(name: bytes) -> None:
    """
    @raise ValueError: unless C{name} can be the name of one entry of a folder.
    """
    # Numbers: to look for a byte as bytes takes five times as long.
    if 0x2F in name or 0 in name or name in _NO_NAMES:
        raise ValueError(f"{name!r} is not the name of an entry")


def _checkEntryNames(names: Sequence[bytes]) -> None:
    """
    The same for many.
    """
    joined = b"/".join(names)
    if joined.count(b"/") >= max(1, len(names)) or 0 in joined or not _NO_NAMES.isdisjoint(names):
        for name in names:
            checkEntryName(name)


def fileStat(found: os.stat_result) -> FileStat:
    """
    What the port says of what the system says.
    """
    # Unpacking is much faster than asking for each field.
    mode, inode, device, links, uid, gid, size, _, _, _ = found
    return FileStat(
        (mode, size, found.st_mtime_ns, found.st_ctime_ns, inode, device, uid, gid, links)
    )


def _failure(code: int, name: bytes) -> OSError:
    return OSError(code, os.strerror(code), name)


def _setTimes(target: int | bytes, mtime: float, folder: int | None = None) -> None:
    try:
        if folder is None:
            os.utime(target, (mtime, mtime))
        else:
            os.utime(target, (mtime, mtime), dir_fd=folder, follow_symlinks=False)
    except OverflowError:
        raise OSError(errno.EINVAL, f"{mtime} is no time that a file can have") from None


@implementer(IOpenFile)
class RealFile:
    """
    One open regular file, by its descriptor.
    """

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def status(self) -> FileStat:
        return fileStat(os.fstat(self._descriptor))

    def read(self, size: int) -> bytes:
        return os.read(self._descriptor, size)

    def write(self, data: bytes | memoryview) -> None:
        written = os.write(self._descriptor, data)
        while written < len(data):
            written += os.write(self._descriptor, memoryview(data)[written:])

    def seek(self, offset: int) -> None:
        os.lseek(self._descriptor, offset, os.SEEK_SET)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def setMode(self, mode: int) -> None:
        os.fchmod(self._descriptor, mode)

    def setOwner(self, uid: int, gid: int) -> None:
        os.fchown(self._descriptor, uid, gid)

    def setTimes(self, mtime: float) -> None:
        if self._descriptor < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        _setTimes(self._descriptor, mtime)

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def again(self) -> RealFile:
        return _SameFile(os.dup(self._descriptor))

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class _SameFile(RealFile):
    """
    A further handle on an open file, to read. The system's position is common
    to all of them, so this one has its own.
    """

    __slots__ = ("_position",)

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._position = 0

    def read(self, size: int) -> bytes:
        data = os.pread(self._descriptor, size, self._position)
        self._position += len(data)
        return data

    def write(self, data: bytes | memoryview) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def seek(self, offset: int) -> None:
        if offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._position = offset


@implementer(IFolder)
class RealFolder:
    """
    One open folder, by its descriptor.
    """

    __slots__ = ("_descriptor", "_path")

    def __init__(self, descriptor: int, path: bytes) -> None:
        """
        @param path: how it was reached; only used where the system cannot say
            where an open file is.
        """
        self._descriptor = descriptor
        self._path = path

    @property
    def device(self) -> int:
        return os.fstat(self._descriptor).st_dev

    @property
    def inode(self) -> int:
        return os.fstat(self._descriptor).st_ino

    @property
    def room(self) -> int:
        found = os.statvfs(self._descriptor)
        return found.f_bavail * found.f_frsize

    @property
    def owner(self) -> tuple[int, int]:
        found = os.fstat(self._descriptor)
        return found.st_uid, found.st_gid

    @property
    def descriptor(self) -> int:
        """
        For L{RealFileSystem}; -1 once it is closed.
        """
        return self._descriptor

    def entries(self) -> list[tuple[bytes, FileStat]]:
        found = []
        with os.scandir(self._open()) as scanned:
            for each in scanned:
                try:
                    status = each.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                found.append((each.name.encode(_ENCODING, _ERRORS), fileStat(status)))
        return found

    def names(self) -> Iterator[tuple[bytes, bool]]:
        try:
            with os.scandir(self._open()) as scanned:
                for each in scanned:
                    try:
                        isFolder = each.is_dir(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    yield each.name.encode(_ENCODING, _ERRORS), isFolder
        except OSError as error:
            # The system knows it as a number, of which it may not even tell.
            error.filename = self._path
            raise

    def status(self, name: bytes) -> FileStat:
        checkEntryName(name)
        return fileStat(os.stat(name, dir_fd=self._descriptor, follow_symlinks=False))

    def countSame(
        self,
        names: Sequence[bytes],
        sizes: Sequence[int],
        mtimesNs: Sequence[int],
        ctimesNs: Sequence[int],
        inodes: Sequence[int],
    ) -> int:
        _checkEntryNames(names)
        look, folder, count = os.stat, self._descriptor, 0
        try:
            for name, size, mtime, ctime, inode in zip(
                names, sizes, mtimesNs, ctimesNs, inodes, strict=False
            ):
                found = look(name, dir_fd=folder, follow_symlinks=False)
                if (
                    found.st_ctime_ns != ctime
                    or found.st_mtime_ns != mtime
                    or found.st_size != size
                    or found.st_ino != inode
                ):
                    break
                count += 1
        except OSError:
            # Who looks at it alone hears why.
            pass
        return count

    def openFolder(self, name: bytes) -> RealFolder:
        checkEntryName(name)
        descriptor = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self._open())
        return RealFolder(descriptor, os.path.join(self._path, name))

    def openRead(self, name: bytes) -> RealFile:
        checkEntryName(name)
        return self._regular(name, os.O_RDONLY | _REGULAR)

    def openWrite(self, name: bytes) -> RealFile:
        checkEntryName(name)
        return self._regular(name, os.O_RDWR | _REGULAR)

    def openLinked(
        self, name: bytes, allowed: Sequence[bytes], denied: Sequence[bytes] = ()
    ) -> RealFile:
        checkEntryName(name)
        if _PATH is None or not os.path.isdir(_DESCRIPTORS):
            return self._openResolved(name, allowed, denied)
        # O_PATH opens nothing yet: no device is woken up, and what is looked at
        # is what is opened afterwards.
        seen = os.open(name, _PATH | os.O_CLOEXEC, dir_fd=self._open())
        try:
            place = b"%s%d" % (_DESCRIPTORS, seen)
            if not stat.S_ISREG(os.fstat(seen).st_mode):
                raise _failure(errno.EINVAL, name)
            if not _isAllowed(os.readlink(place), allowed, denied):
                raise _failure(errno.EACCES, name)
            return RealFile(os.open(place, os.O_RDONLY | _REGULAR & ~os.O_NOFOLLOW))
        finally:
            os.close(seen)

    def create(self, name: bytes, mode: int) -> RealFile:
        checkEntryName(name)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=self._open())
        try:
            os.fchmod(descriptor, mode)
        except BaseException:
            os.close(descriptor)
            os.unlink(name, dir_fd=self._descriptor)
            raise
        return RealFile(descriptor)

    def makeFolder(self, name: bytes, mode: int) -> None:
        checkEntryName(name)
        os.mkdir(name, 0o700, dir_fd=self._open())
        self.setMode(name, mode)

    def rename(self, name: bytes, target: IFolder, newName: bytes) -> None:
        checkEntryName(name)
        checkEntryName(newName)
        if not isinstance(target, RealFolder):
            raise TypeError(f"{target!r} is on another kind of file system")
        os.rename(name, newName, src_dir_fd=self._open(), dst_dir_fd=target._open())

    def unlink(self, name: bytes) -> None:
        checkEntryName(name)
        os.unlink(name, dir_fd=self._open())

    def removeFolder(self, name: bytes) -> None:
        checkEntryName(name)
        os.rmdir(name, dir_fd=self._open())

    def setOwner(self, name: bytes, uid: int, gid: int) -> None:
        checkEntryName(name)
        os.chown(name, uid, gid, dir_fd=self._open(), follow_symlinks=False)

    def setMode(self, name: bytes, mode: int) -> None:
        checkEntryName(name)
        if _PATH is None or not os.path.isdir(_DESCRIPTORS):
            os.chmod(name, mode, dir_fd=self._open(), follow_symlinks=False)
            return
        # A file that nobody may read can be reached by O_PATH only, and chmod
        # cannot be told not to follow links by every system.
        seen = os.open(name, _PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._open())
        try:
            kind = os.fstat(seen).st_mode
            if stat.S_ISLNK(kind):
                raise _failure(errno.ELOOP, name)
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                raise _failure(errno.EINVAL, name)
            os.chmod(b"%s%d" % (_DESCRIPTORS, seen), mode)
        finally:
            os.close(seen)

    def setTimes(self, name: bytes, mtime: float) -> None:
        checkEntryName(name)
        _setTimes(name, mtime, self._open())

    def sync(self) -> None:
        os.fsync(self._open())

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _open(self) -> int:
        """
        The descriptor, never -1, for which some calls take the process's own
        folder.
        """
        if self._descriptor < 0:
            raise _failure(errno.EBADF, self._path)
        return self._descriptor

    def _regular(self, name: bytes, flags: int) -> RealFile:
        try:
            descriptor = os.open(name, flags, dir_fd=self._open())
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise _failure(errno.EINVAL, name) from None
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise _failure(errno.EINVAL, name)
        return RealFile(descriptor)

    def _openResolved(
        self, name: bytes, allowed: Sequence[bytes], denied: Sequence[bytes]
    ) -> RealFile:
        """
        L{openLinked} where the system cannot say where an open file is.
        """
        real = os.path.realpath(os.path.join(self._path, name))
        if not _isAllowed(real, allowed, denied):
            raise _failure(errno.EACCES, name)
        with RealFileSystem().openFolder(os.path.dirname(real)) as folder:
            return folder.openRead(os.path.basename(real))

    def __enter__(self) -> RealFolder:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()


@implementer(IFileSystem)
class RealFileSystem:
    """
    The file system of this machine.
    """

    def openFolder(self, path: bytes) -> RealFolder:
        if not path.startswith(b"/"):
            raise ValueError(f"{path!r} is not absolute")
        return RealFolder(os.open(path, _FOLDER), path)

    def syncAll(self, folders: Iterable[IFolder]) -> None:
        done: set[int] = set()
        for folder in folders:
            if not isinstance(folder, RealFolder):
                raise TypeError(f"{folder!r} is on another kind of file system")
            device = folder.device
            if device not in done:
                _syncFileSystem(folder.descriptor)
                done.add(device)


def _isAllowed(real: bytes, allowed: Sequence[bytes], denied: Sequence[bytes]) -> bool:
    """
    Whether a real path is in one of the allowed folders and in nothing denied.
    """
    return _isIn(real, allowed) and not _isIn(real, denied)


def _isIn(real: bytes, places: Sequence[bytes]) -> bool:
    below = real + b"/"
    return any(below.startswith(os.path.realpath(each).rstrip(b"/") + b"/") for each in places)


def _syncFileSystem(descriptor: int) -> None:
    """
    C{syncfs}; where there is none, the folder's C{fsync} and C{sync}.
    """
    own = getattr(os, "syncfs", None)
    if own is not None:
        own(descriptor)
        return
    try:
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        os.fsync(descriptor)
        os.sync()
        return
    if call(descriptor) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
