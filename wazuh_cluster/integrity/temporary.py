"""
The names of files that stand beside their targets for a moment, and their
removal when the process that made them died.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable

from wazuh_cluster.integrity.folders import Folders
from wazuh_cluster.integrity.items import Item, Items
from wazuh_cluster.interfaces import IFileSystem, Slices

#: Every part of it is checked, so that nothing else is ever removed. That it
#: ends in C{.tmp} keeps it out of scans.
_TEMPORARY = re.compile(rb"\.[^/]+\.[0-9a-f]{12}\.wctmp\.tmp\Z", re.DOTALL)
_LONGEST = 255 - len(b"..0123456789ab.wctmp.tmp")
_STEPS = 256
_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def temporaryName(name: bytes, randomBytes: Callable[[int], bytes]) -> bytes:
    """
    A name that no file has, for a file that will be renamed to C{name}.

    @param randomBytes: as C{os.urandom}.
    """
    return b".%s.%s.wctmp.tmp" % (name[:_LONGEST], randomBytes(6).hex().encode("ascii"))


def isTemporary(name: bytes) -> bool:
    """
    Whether L{temporaryName} made this name.
    """
    return len(name) <= 255 and _TEMPORARY.match(name) is not None


def sweepTemporary(fileSystem: IFileSystem, home: bytes, items: Items) -> Slices[int]:
    """
    Remove all such files below a home's items, and return how many there were.
    No installation must be under way.

    @raise OSError: if the system refused any of it. The rest was done.
    """
    folders = Folders(fileSystem, home, items)
    sweep = _Sweep(folders)
    try:
        for item in items:
            yield from sweep.item(item)
    finally:
        folders.close()
    if sweep.refusal is not None:
        raise sweep.refusal
    return sweep.removed


class _Sweep:
    """
    One sweep.

    @ivar removed: how many files are gone.
    @ivar refusal: the first thing that the system refused.
    """

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self.removed = 0
        self.refusal: OSError | None = None

    def item(self, item: Item) -> Slices[None]:
        """
        Sweep one item.
        """
        steps = 0
        waiting = [item.path.rpartition(b"/")[0] if item.isFile else item.path]
        while waiting:
            path = waiting.pop()
            yield
            try:
                folder = self._folders.open(path)
                found = []
                for name, isFolder in folder.names():
                    steps += 1
                    if isFolder and item.recursive and not item.isFile:
                        waiting.append(path + b"/" + name)
                    elif not isFolder and isTemporary(name):
                        found.append(name)
                    if steps % _STEPS == 0:
                        yield
            except OSError as error:
                if error.errno not in _NO_FOLDER:
                    self._refused(error)
                continue
            for name in found:
                try:
                    folder.unlink(name)
                    self.removed += 1
                except FileNotFoundError:
                    continue
                except OSError as error:
                    self._refused(error)

    def _refused(self, error: OSError) -> None:
        if self.refusal is None:
            self.refusal = error
