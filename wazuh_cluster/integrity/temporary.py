"""
The names of files that stand beside their targets for a moment, and their
removal when the process that made them died.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from contextlib import suppress

from wazuh_cluster.integrity.folders import Folders
from wazuh_cluster.integrity.items import Item, Items
from wazuh_cluster.interfaces import IFileSystem, Slices

#: Every part of it is checked, so that nothing else is ever removed. That it
#: ends in C{.tmp} keeps it out of scans.
_TEMPORARY = re.compile(rb"\.[^/]+\.[0-9a-f]{12}\.wctmp\.tmp\Z", re.DOTALL)
_LONGEST = 255 - len(b"..0123456789ab.wctmp.tmp")
_STEPS = 256
_SKIPPED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EIO)


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
    """
    folders = Folders(fileSystem, home, items)
    removed = 0
    try:
        for item in items:
            removed += yield from _sweepItem(folders, item)
    finally:
        folders.close()
    return removed


def _sweepItem(folders: Folders, item: Item) -> Slices[int]:
    removed = steps = 0
    waiting = [item.path.rpartition(b"/")[0] if item.isFile else item.path]
    while waiting:
        path = waiting.pop()
        yield
        try:
            folder = folders.open(path)
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
            if error.errno not in _SKIPPED:
                raise
            continue
        for name in found:
            with suppress(OSError):
                folder.unlink(name)
                removed += 1
    return removed
