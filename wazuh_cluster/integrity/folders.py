"""
Opening what lies below items by its path, without following a link there.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from attrs import frozen
from zope.interface import implementer

from wazuh_cluster.errors import HostilePath
from wazuh_cluster.integrity.items import Item, Items
from wazuh_cluster.integrity.kept import Kept
from wazuh_cluster.integrity.pack import ICarriedFiles
from wazuh_cluster.interfaces import IFileSystem, IFolder, IOpenFile

#: The permissions of folders on the way to a single file.
_WAY_MODE = 0o770

_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_NOT_ALLOWED = (errno.EPERM, errno.EACCES, errno.EINVAL)


@frozen
class Owner:
    """
    Whom files belong to: numbers of a user and a group.
    """

    uid: int
    gid: int


def giveTo(owner: Owner, setOwner: Callable[[int, int], None]) -> bool:
    """
    Set the owner of something as far as this process may: a daemon that does
    not run as root may set the group at best.

    @return: whether it has that owner now.
    """
    for uid in (owner.uid, -1):
        try:
            setOwner(uid, owner.gid)
            return uid == owner.uid
        except OSError as error:
            if error.errno not in _NOT_ALLOWED:
                raise
    return False


def joined(folder: bytes, path: bytes) -> bytes:
    """
    C{path} below C{folder}; C{folder} itself if C{path} is empty.
    """
    return folder.rstrip(b"/") + b"/" + path if path else folder


class Folders:
    """
    The folders of carried files, by path relative to the home. The items'
    own folders are the operator's and may be links; below them no link is
    followed.

    Only the chain of folders down to the last one is held open, so paths are
    best given in order. A folder that was returned stays open until the next
    call.

    @ivar changed: folders in which others were made.
    @ivar madeRoots: whether an item's own folder was made.
    """

    def __init__(self, fileSystem: IFileSystem, home: bytes, items: Iterable[Item]) -> None:
        self._fileSystem = fileSystem
        self._home = home
        # Longest first: the innermost item counts.
        self._roots = sorted(
            {i.path.rpartition(b"/")[0] if i.isFile else i.path for i in items},
            key=len,
            reverse=True,
        )
        self._bare = {i.path.rpartition(b"/")[0] for i in items if i.isFile} - {
            i.path for i in items if not i.isFile
        }
        self._modes = {i.path: i.folderMode for i in items if not i.isFile}
        self._chain: list[tuple[bytes, IFolder]] = []
        self.changed: list[bytes] = []
        self.madeRoots = False

    def open(self, path: bytes) -> IFolder:
        """
        Open a folder in which carried files can be.

        @raise HostilePath: if no item allows files there.
        @raise OSError: if it is not there (C{ENOENT}), or is or lies below a
            link (C{ELOOP}) or a file (C{ENOTDIR}).
        """
        chain = self._chain
        if chain and chain[-1][0] == path:
            return chain[-1][1]
        root = self.root(path)
        while chain and not (chain[0][0] == root and _isAt(path, chain[-1][0])):
            chain.pop()[1].close()
        if not chain:
            chain.append((root, self._fileSystem.openFolder(joined(self._home, root))))
        while chain[-1][0] != path:
            above, folder = chain[-1]
            name = path[len(above) + 1 :].partition(b"/")[0]
            chain.append((above + b"/" + name, folder.openFolder(name)))
        return chain[-1][1]

    def parent(self, path: bytes) -> tuple[IFolder, bytes]:
        """
        The folder in which C{path} lies, and its name there; as L{open}. That
        in which an item's own folder lies is the operator's, too.
        """
        above, _, name = path.rpartition(b"/")
        if path in self._modes:
            self.close()
            folder = self._fileSystem.openFolder(joined(self._home, above))
            self._chain.append((above, folder))
            return folder, name
        return self.open(above), name

    def make(self, path: bytes, owner: Owner | None) -> IFolder:
        """
        Like L{open}, but makes what is missing, the item's own folder too.
        """
        try:
            return self.open(path)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        if path == self.root(path):
            makeWay(self._fileSystem, self._home, path, self._modes.get(path, _WAY_MODE), owner)
            self.madeRoots = True
        else:
            above, _, name = path.rpartition(b"/")
            mode = self._modes[self.root(path)]
            _makeOne(self.make(above, owner), name, mode, owner)
            self.changed.append(above)
        return self.open(path)

    def nearest(self, path: bytes, owner: Owner | None) -> tuple[bytes, IFolder]:
        """
        The deepest folder on the way to the folder C{path} that is there. Only
        the item's own folder is made if it is missing.
        """
        root = self.root(path)
        while path != root:
            try:
                return path, self.open(path)
            except OSError as error:
                if error.errno not in _NO_FOLDER:
                    raise
            path = path.rpartition(b"/")[0]
        return root, self.make(root, owner)

    def close(self) -> None:
        """
        Close what is held open. It can be used again.
        """
        while self._chain:
            self._chain.pop()[1].close()

    def root(self, path: bytes) -> bytes:
        """
        The operator's own folder in which a folder of carried files lies.

        @raise HostilePath: if no item allows files there.
        """
        for root in self._roots:
            if path == root or (root not in self._bare and path.startswith(root + b"/")):
                return root
        raise HostilePath(path, "no item has files in this folder")


def _isAt(path: bytes, folder: bytes) -> bool:
    return path == folder or not folder or path.startswith(folder + b"/")


def makeWay(
    fileSystem: IFileSystem, home: bytes, path: bytes, mode: int, owner: Owner | None = None
) -> None:
    """
    Make the folder C{path} below C{home} and those on the way to it, as far as
    they are missing. Links among those that are there are the operator's.
    """
    done = home
    for name in path.split(b"/"):
        above = fileSystem.openFolder(done)
        try:
            done = joined(done, name)
            try:
                fileSystem.openFolder(done).close()
            except FileNotFoundError:
                _makeOne(above, name, mode, owner)
        finally:
            above.close()


def _makeOne(above: IFolder, name: bytes, mode: int, owner: Owner | None) -> None:
    try:
        above.makeFolder(name, mode)
    except FileExistsError:
        return
    if owner is not None:
        giveTo(owner, partial(above.setOwner, name))


@implementer(ICarriedFiles)
class CarriedFiles:
    """
    Opens carried files as a scan does: a link to a regular file is followed if
    that lies in an allowed folder, no other is.
    """

    def __init__(
        self,
        folders: Folders,
        items: Items,
        allowed: Sequence[bytes],
        denied: Sequence[bytes],
        kept: Kept | None = None,
    ) -> None:
        """
        @param items: nothing else is opened.
        @param allowed: as L{IFolder.openLinked} takes it.
        @param denied: likewise.
        @param kept: what files were a moment ago.
        """
        self._folders = folders
        self._items = items
        self._allowed = tuple(allowed)
        self._denied = tuple(denied)
        self._kept = kept

    def open(self, path: bytes, digest: bytes | None = None) -> IOpenFile:
        """
        See L{ICarriedFiles.open}.

        @raise HostilePath: if no item carries it.
        """
        self._items.check(path)
        if self._kept is not None and digest is not None:
            file = self._kept.open(path, digest)
            if file is not None:
                return file
        folder, name = self._folders.parent(path)
        try:
            return folder.openRead(name)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        return folder.openLinked(name, self._allowed, self._denied)

    def close(self) -> None:
        """
        See L{ICarriedFiles.close}.
        """
        self._folders.close()
