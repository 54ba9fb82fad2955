"""
A file system in memory: the same port as the real one, with a log of all that
is done, and failures and surprises on request.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from wazuh_cluster.integrity.filesystem import checkEntryName
from wazuh_cluster.interfaces import FileStat, IFileSystem, IFolder, IOpenFile

_MAX_LINKS = 40
#: The room where there is no limit.
_PLENTY = 1 << 50


@define(eq=False)
class _Node:
    """
    What a name in a folder stands for: a file, folder, link or special file.

    @ivar kind: C{S_IFREG}, C{S_IFDIR}, C{S_IFLNK}, C{S_IFIFO}, …
    @ivar content: of a file.
    @ivar synced: the content that a crash would leave; C{None} if none.
    @ivar children: of a folder.
    @ivar syncedChildren: the entries that a crash would leave.
    @ivar target: of a link.
    """

    kind: int
    mode: int
    inode: int
    device: int
    mtimeNs: int
    ctimeNs: int
    uid: int = 0
    gid: int = 0
    links: int = 1
    content: bytearray = field(factory=bytearray)
    synced: bytes | None = None
    children: dict[bytes, _Node] = field(factory=dict)
    syncedChildren: dict[bytes, _Node] = field(factory=dict)
    target: bytes = b""

    def status(self) -> FileStat:
        size = len(self.target) if self.kind == stat.S_IFLNK else len(self.content)
        return FileStat(
            (
                self.kind | self.mode,
                size,
                self.mtimeNs,
                self.ctimeNs,
                self.inode,
                self.device,
                self.uid,
                self.gid,
                self.links,
            )
        )


def _cutOff(node: _Node) -> None:
    """
    There is no way to a node, nor to what lies below it, any more.
    """
    node.links = 0
    for child in node.children.values():
        _cutOff(child)


@define
class _Rule:
    """
    What is to happen before certain operations.
    """

    operation: str
    path: bytes | None
    act: Callable[[], object]
    times: int | None

    def concerns(self, operation: str, path: bytes) -> bool:
        return (
            self.times != 0
            and self.operation in (operation, "*")
            and (self.path is None or self.path == path)
        )


def _failure(code: int, path: bytes) -> OSError:
    return OSError(code, os.strerror(code), path)


@implementer(IFileSystem)
class MemoryFileSystem:
    """
    An L{IFileSystem} in memory. Its process may read and write everything:
    refusals come by L{failOn}.

    An operation is named as the port's method (C{"rename"}), those of an open
    file with C{"file."} before (C{"file.write"}). Its path is absolute: of the
    entry that it is about, for C{"rename"} of the new name.

    @ivar operations: every operation so far, also those that failed, as
        (operation, path).
    @ivar free: how many bytes can still be written, or C{None} for no limit;
        a file that is removed or replaced gives its own back.
    @ivar readOnly: whether every change fails with C{EROFS}.
    """

    def __init__(self, clock: IReactorTime) -> None:
        """
        @param clock: gives files their times, in seconds since the epoch.
        """
        self.operations: list[tuple[str, bytes]] = []
        self.free: int | None = None
        self.readOnly = False
        self._clock = clock
        self._inodes = 1
        self._rules: list[_Rule] = []
        self._devices = {b"/": 1}
        self._root = self._make(stat.S_IFDIR, 0o755, 1)

    # The port.

    def openFolder(self, path: bytes) -> MemoryFolder:
        if not path.startswith(b"/"):
            raise ValueError(f"{path!r} is not absolute")
        self._operate("openFolder", path)
        real, node = self._resolve(path)
        if node.kind != stat.S_IFDIR:
            raise _failure(errno.ENOTDIR, path)
        return MemoryFolder(self, real, node)

    def syncAll(self, folders: Iterable[IFolder]) -> None:
        devices = []
        for folder in folders:
            assert isinstance(folder, MemoryFolder)
            self._operate("syncAll", folder.path)
            devices.append(folder.device)
        for node in self._nodes():
            if node.device in devices:
                node.synced = bytes(node.content)
                node.syncedChildren = dict(node.children)

    # For tests: making and looking at things. None of this is logged or fails.

    def makeFolders(self, path: bytes, mode: int = 0o770) -> None:
        """
        Make a folder and those above it, as far as they are missing.
        """
        node, done = self._root, b""
        for name in path.strip(b"/").split(b"/"):
            done += b"/" + name
            if name not in node.children:
                device = self._devices.get(done, node.device)
                node.children[name] = self._make(stat.S_IFDIR, mode, device)
                self._changed(node)
            node = node.children[name]

    def put(
        self, path: bytes, content: bytes, mode: int = 0o660, mtime: float | None = None
    ) -> None:
        """
        Write a file in place, or make it and the folders above it. A link in
        the way is replaced.
        """
        parent, name = self._parent(path)
        node = parent.children.get(name)
        if node is None or node.kind != stat.S_IFREG:
            node = parent.children[name] = self._make(stat.S_IFREG, mode, parent.device)
            self._changed(parent)
        node.content[:] = content
        node.mode = mode
        self._changed(node)
        if mtime is not None:
            node.mtimeNs = _nanoseconds(mtime)

    def get(self, path: bytes) -> bytes:
        """
        A file's content, following links.
        """
        node = self._resolve(path)[1]
        if node.kind != stat.S_IFREG:
            raise _failure(errno.EINVAL, path)
        return bytes(node.content)

    def link(self, path: bytes, target: bytes) -> None:
        """
        Make a symbolic link and the folders above it.
        """
        parent, name = self._parent(path)
        node = parent.children[name] = self._make(stat.S_IFLNK, 0o777, parent.device)
        node.target = target
        self._changed(parent)

    def special(self, path: bytes, kind: int = stat.S_IFIFO) -> None:
        """
        Make a special file and the folders above it.
        """
        parent, name = self._parent(path)
        parent.children[name] = self._make(kind, 0o600, parent.device)
        self._changed(parent)

    def mount(self, path: bytes, device: int) -> None:
        """
        Say that a folder that is not there yet is on another file system.
        """
        self._devices[path] = device
        self.makeFolders(path)

    def remove(self, path: bytes) -> None:
        """
        Remove whatever is there, with all below it.
        """
        parent, name = self._parent(path)
        _cutOff(parent.children.pop(name))
        self._changed(parent)

    def status(self, path: bytes) -> FileStat:
        """
        The status of what is there, of the link itself where it is one.
        """
        parent, name = self._parent(path)
        if name not in parent.children:
            raise _failure(errno.ENOENT, path)
        return parent.children[name].status()

    def listTree(self, path: bytes = b"/") -> list[bytes]:
        """
        All below C{path}, sorted, relative to it; folders end in a slash.
        """
        found: list[bytes] = []

        def walk(node: _Node, before: bytes) -> None:
            for name, child in node.children.items():
                isFolder = child.kind == stat.S_IFDIR
                found.append(before + name + (b"/" if isFolder else b""))
                walk(child, before + name + b"/")

        walk(self._resolve(path)[1], b"")
        return sorted(found)

    # For tests: making things happen.

    def before(
        self,
        operation: str,
        path: bytes | None,
        function: Callable[[], object],
        times: int | None = 1,
    ) -> None:
        """
        Call C{function} before an operation, once or C{times} times; always if
        that is C{None}. C{"*"} stands for all operations, C{None} for all
        paths. What it raises, the operation raises.
        """
        self._rules.append(_Rule(operation, path, function, times))

    def failOn(
        self,
        operation: str,
        path: bytes | None = None,
        errno: int = errno.EIO,
        times: int | None = 1,
        after: int = 0,
    ) -> None:
        """
        Make an operation fail; see L{before}.

        @param after: how many that match go well before.
        """
        waiting = [after]

        def fail() -> None:
            if waiting[0] > 0:
                waiting[0] -= 1
                return
            raise _failure(errno, path or b"")

        total = None if times is None else times + after
        self._rules.append(_Rule(operation, path, fail, total))

    def heal(self) -> None:
        """
        Nothing of what was asked for happens any more.
        """
        self._rules.clear()

    def settle(self) -> None:
        """
        Let all that is there be on the disk, as what has been there for long.
        """
        for node in self._nodes():
            node.synced = bytes(node.content)
            node.syncedChildren = dict(node.children)

    def crash(self, namesStay: bool = False) -> None:
        """
        Lose what was not made durable, as a machine does that loses its power.
        Open files and folders are of no more use.

        @param namesStay: whether the system had written the names down all the
            same, as it may at any time: then a name may lead to a content that
            is not whole.
        """
        for node in self._nodes():
            if not namesStay:
                node.children = dict(node.syncedChildren)
            node.content = bytearray(node.synced or b"")
            node.links = 1
        self.settle()

    # For the open folders and files.

    def _operate(self, operation: str, path: bytes, changes: bool = False) -> None:
        self.operations.append((operation, path))
        for rule in list(self._rules):
            if rule.concerns(operation, path):
                if rule.times is not None:
                    rule.times -= 1
                rule.act()
        if changes and self.readOnly:
            raise _failure(errno.EROFS, path)

    def _use(self, size: int, path: bytes) -> int:
        """
        How many of C{size} new bytes find room.
        """
        if self.free is None:
            return size
        if size > 0 and self.free == 0:
            raise _failure(errno.ENOSPC, path)
        used = min(size, self.free)
        self.free -= used
        return used

    def _giveBack(self, node: _Node) -> None:
        """
        A node has lost its only name.
        """
        node.links = 0
        if self.free is not None:
            self.free += node.status().size

    def _make(self, kind: int, mode: int, device: int) -> _Node:
        self._inodes += 1
        now = self._now()
        return _Node(kind, mode, self._inodes, device, now, now)

    def _now(self) -> int:
        return _nanoseconds(self._clock.seconds())

    def _changed(self, node: _Node) -> None:
        node.mtimeNs = node.ctimeNs = self._now()

    def _parent(self, path: bytes) -> tuple[_Node, bytes]:
        above, _, name = path.rpartition(b"/")
        if above:
            self.makeFolders(above)
        return self._resolve(above or b"/")[1], name

    def _resolve(self, path: bytes) -> tuple[bytes, _Node]:
        """
        The real path and the node to which an absolute path leads.
        """
        node = self._root
        for name in path[1:].split(b"/"):
            child = node.children.get(name)
            if child is None or child.kind == stat.S_IFLNK:
                return self._resolveSlowly(path)
            node = child
        return path, node

    def _resolveSlowly(self, path: bytes) -> tuple[bytes, _Node]:
        """
        The same for a path that is not plain, or leads nowhere.
        """
        rest = [name for name in reversed(path.split(b"/")) if name not in (b"", b".")]
        way: list[tuple[bytes, _Node]] = [(b"", self._root)]
        links = 0
        while rest:
            name = rest.pop()
            node = way[-1][1]
            if node.kind != stat.S_IFDIR:
                raise _failure(errno.ENOTDIR, path)
            if name == b"..":
                if len(way) > 1:
                    way.pop()
                continue
            if name not in node.children:
                raise _failure(errno.ENOENT, path)
            child = node.children[name]
            if child.kind != stat.S_IFLNK:
                way.append((name, child))
                continue
            links += 1
            if links > _MAX_LINKS:
                raise _failure(errno.ELOOP, path)
            if child.target.startswith(b"/"):
                del way[1:]
            rest += [each for each in reversed(child.target.split(b"/")) if each not in (b"", b".")]
        return b"/".join(name for name, _ in way) or b"/", way[-1][1]

    def _realPath(self, path: bytes) -> bytes:
        try:
            return self._resolve(path)[0]
        except OSError:
            return path

    def _nodes(self) -> Iterator[_Node]:
        waiting = [self._root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.children.values()


@implementer(IFolder)
class MemoryFolder:
    """
    An open folder of a L{MemoryFileSystem}.

    @ivar path: where it was when it was opened.
    """

    def __init__(self, fileSystem: MemoryFileSystem, path: bytes, node: _Node) -> None:
        self.path = path
        self._fileSystem = fileSystem
        self._node = node
        self._closed = False

    @property
    def device(self) -> int:
        return self._node.device

    @property
    def inode(self) -> int:
        return self._node.inode

    @property
    def room(self) -> int:
        free = self._fileSystem.free
        return _PLENTY if free is None else free

    @property
    def owner(self) -> tuple[int, int]:
        status = self._node.status()
        return status.uid, status.gid

    def entries(self) -> list[tuple[bytes, FileStat]]:
        self._operate("entries")
        return [(name, node.status()) for name, node in reversed(self._node.children.items())]

    def names(self) -> Iterator[tuple[bytes, bool]]:
        self._operate("names")
        for name, node in reversed(list(self._node.children.items())):
            yield name, node.kind == stat.S_IFDIR

    def status(self, name: bytes) -> FileStat:
        self._operate("status", name)
        return self._child(name).status()

    def countSame(
        self,
        names: Sequence[bytes],
        sizes: Sequence[int],
        mtimesNs: Sequence[int],
        ctimesNs: Sequence[int],
        inodes: Sequence[int],
    ) -> int:
        wanted = zip(names, sizes, mtimesNs, ctimesNs, inodes, strict=False)
        for count, (name, *status) in enumerate(wanted):
            try:
                found = self.status(name)
            except OSError:
                return count
            if [*found[1:5]] != status:
                return count
        return len(names)

    def openFolder(self, name: bytes) -> MemoryFolder:
        self._operate("openFolder", name)
        node = self._child(name)
        if node.kind != stat.S_IFDIR:
            raise _failure(errno.ENOTDIR, name)
        return MemoryFolder(self._fileSystem, self._at(name), node)

    def openRead(self, name: bytes) -> MemoryFile:
        self._operate("openRead", name)
        return MemoryFile(self._fileSystem, self._at(name), self._regular(name), False)

    def openWrite(self, name: bytes) -> MemoryFile:
        self._operate("openWrite", name, True)
        return MemoryFile(self._fileSystem, self._at(name), self._regular(name), True)

    def openLinked(
        self, name: bytes, allowed: Sequence[bytes], denied: Sequence[bytes] = ()
    ) -> MemoryFile:
        self._operate("openLinked", name)
        real, node = self._fileSystem._resolve(self._at(name))
        if node.kind != stat.S_IFREG:
            raise _failure(errno.EINVAL, name)
        if not self._isIn(real, allowed) or self._isIn(real, denied):
            raise _failure(errno.EACCES, name)
        return MemoryFile(self._fileSystem, real, node, False)

    def create(self, name: bytes, mode: int) -> MemoryFile:
        self._operate("create", name, True)
        node = self._add(name, stat.S_IFREG, mode)
        return MemoryFile(self._fileSystem, self._at(name), node, True)

    def makeFolder(self, name: bytes, mode: int) -> None:
        self._operate("makeFolder", name, True)
        self._add(name, stat.S_IFDIR, mode)

    def rename(self, name: bytes, target: IFolder, newName: bytes) -> None:
        if not isinstance(target, MemoryFolder):
            raise TypeError(f"{target!r} is on another kind of file system")
        checkEntryName(name)
        target._operate("rename", newName, True)
        node = self._child(name)
        if node.device != target.device:
            raise _failure(errno.EXDEV, newName)
        target._requireThere(newName)
        there = target._node.children.get(newName)
        if there is node:
            return
        if there is not None:
            isFolder = there.kind == stat.S_IFDIR
            if isFolder and node.kind != stat.S_IFDIR:
                raise _failure(errno.EISDIR, newName)
            if not isFolder and node.kind == stat.S_IFDIR:
                raise _failure(errno.ENOTDIR, newName)
            if there.children:
                raise _failure(errno.ENOTEMPTY, newName)
            self._fileSystem._giveBack(there)
        del self._node.children[name]
        target._node.children[newName] = node
        self._fileSystem._changed(self._node)
        self._fileSystem._changed(target._node)
        node.ctimeNs = self._fileSystem._now()

    def unlink(self, name: bytes) -> None:
        self._operate("unlink", name, True)
        node = self._child(name)
        if node.kind == stat.S_IFDIR:
            raise _failure(errno.EISDIR, name)
        del self._node.children[name]
        self._fileSystem._giveBack(node)
        self._fileSystem._changed(self._node)

    def removeFolder(self, name: bytes) -> None:
        self._operate("removeFolder", name, True)
        node = self._child(name)
        if node.kind != stat.S_IFDIR:
            raise _failure(errno.ENOTDIR, name)
        if node.children:
            raise _failure(errno.ENOTEMPTY, name)
        _cutOff(self._node.children.pop(name))
        self._fileSystem._changed(self._node)

    def setOwner(self, name: bytes, uid: int, gid: int) -> None:
        self._operate("setOwner", name, True)
        _setOwner(self._fileSystem, self._child(name), uid, gid)

    def setMode(self, name: bytes, mode: int) -> None:
        self._operate("setMode", name, True)
        node = self._child(name)
        if node.kind == stat.S_IFLNK:
            raise _failure(errno.ELOOP, name)
        if node.kind not in (stat.S_IFREG, stat.S_IFDIR):
            raise _failure(errno.EINVAL, name)
        node.mode = mode
        node.ctimeNs = self._fileSystem._now()

    def setTimes(self, name: bytes, mtime: float) -> None:
        self._operate("setTimes", name, True)
        node = self._child(name)
        node.mtimeNs = _nanoseconds(mtime)
        node.ctimeNs = self._fileSystem._now()

    def sync(self) -> None:
        self._operate("sync")
        self._node.syncedChildren = dict(self._node.children)

    def close(self) -> None:
        self._closed = True

    def _operate(self, operation: str, name: bytes | None = None, changes: bool = False) -> None:
        if name is not None:
            checkEntryName(name)
        if self._closed:
            raise _failure(errno.EBADF, self.path)
        path = self.path if name is None else self._at(name)
        self._fileSystem._operate(operation, path, changes)

    def _at(self, name: bytes) -> bytes:
        return self.path.rstrip(b"/") + b"/" + name

    def _child(self, name: bytes) -> _Node:
        if name not in self._node.children:
            raise _failure(errno.ENOENT, name)
        return self._node.children[name]

    def _regular(self, name: bytes) -> _Node:
        node = self._child(name)
        if node.kind == stat.S_IFLNK:
            raise _failure(errno.ELOOP, name)
        if node.kind != stat.S_IFREG:
            raise _failure(errno.EINVAL, name)
        return node

    def _requireThere(self, name: bytes) -> None:
        if self._node.links == 0:
            raise _failure(errno.ENOENT, name)

    def _add(self, name: bytes, kind: int, mode: int) -> _Node:
        self._requireThere(name)
        if name in self._node.children:
            raise _failure(errno.EEXIST, name)
        if self._fileSystem.free == 0:
            raise _failure(errno.ENOSPC, name)
        node = self._fileSystem._make(kind, mode, self._node.device)
        self._node.children[name] = node
        self._fileSystem._changed(self._node)
        return node

    def _isIn(self, real: bytes, places: Sequence[bytes]) -> bool:
        below = real + b"/"
        return any(
            below.startswith(self._fileSystem._realPath(each).rstrip(b"/") + b"/")
            for each in places
        )


@implementer(IOpenFile)
class MemoryFile:
    """
    An open file of a L{MemoryFileSystem}.

    @ivar path: where it was when it was opened.
    """

    def __init__(
        self, fileSystem: MemoryFileSystem, path: bytes, node: _Node, writable: bool
    ) -> None:
        self.path = path
        self._fileSystem = fileSystem
        self._node = node
        self._writable = writable
        self._position = 0
        self._closed = False

    def status(self) -> FileStat:
        self._operate("file.status")
        return self._node.status()

    def read(self, size: int) -> bytes:
        self._operate("file.read")
        data = bytes(self._node.content[self._position : self._position + size])
        self._position += len(data)
        return data

    def write(self, data: bytes | memoryview) -> None:
        self._operate("file.write", True)
        if not self._writable:
            raise _failure(errno.EBADF, self.path)
        content = self._node.content
        end = self._position + len(data)
        room = self._fileSystem._use(max(0, end - len(content)), self.path)
        written = len(data) - (max(0, end - len(content)) - room)
        if self._position > len(content):
            content.extend(bytes(self._position - len(content)))
        content[self._position : self._position + written] = data[:written]
        self._position += written
        self._fileSystem._changed(self._node)
        if written < len(data):
            raise _failure(errno.ENOSPC, self.path)

    def seek(self, offset: int) -> None:
        self._operate("file.seek")
        if offset < 0:
            raise _failure(errno.EINVAL, self.path)
        self._position = offset

    def truncate(self, size: int) -> None:
        self._operate("file.truncate", True)
        content = self._node.content
        del content[size:]
        content.extend(bytes(size - len(content)))
        self._fileSystem._changed(self._node)

    def setMode(self, mode: int) -> None:
        self._operate("file.setMode", True)
        self._node.mode = mode
        self._node.ctimeNs = self._fileSystem._now()

    def setOwner(self, uid: int, gid: int) -> None:
        self._operate("file.setOwner", True)
        _setOwner(self._fileSystem, self._node, uid, gid)

    def setTimes(self, mtime: float) -> None:
        self._operate("file.setTimes", True)
        self._node.mtimeNs = _nanoseconds(mtime)
        self._node.ctimeNs = self._fileSystem._now()

    def sync(self) -> None:
        self._operate("file.sync")
        self._node.synced = bytes(self._node.content)

    def again(self) -> MemoryFile:
        self._operate("file.again")
        return MemoryFile(self._fileSystem, self.path, self._node, False)

    def close(self) -> None:
        self._closed = True

    def _operate(self, operation: str, changes: bool = False) -> None:
        if self._closed:
            raise _failure(errno.EBADF, self.path)
        self._fileSystem._operate(operation, self.path, changes)


def _setOwner(fileSystem: MemoryFileSystem, node: _Node, uid: int, gid: int) -> None:
    node.uid = node.uid if uid == -1 else uid
    node.gid = node.gid if gid == -1 else gid
    node.ctimeNs = fileSystem._now()


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000) if isinstance(seconds, int) else round(seconds * 1e9)
