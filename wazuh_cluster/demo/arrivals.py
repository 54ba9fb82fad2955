"""
How much of the master's files a worker's home has, seen from outside.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from attrs import frozen

from wazuh_cluster.home import Home
from wazuh_cluster.integrity import WAZUH_ITEMS, Manifest


@frozen
class Expected:
    """
    A file that a worker is to have.

    @ivar path: relative to the home.
    @ivar size: in bytes.
    @ivar mtime: in whole seconds since the epoch; C{None} if any will do.
    """

    path: str
    size: int
    mtime: int | None


def allOf(manifest: Manifest) -> list[Expected]:
    """
    All files of a manifest.
    """
    found = []
    for entry in manifest:
        item = WAZUH_ITEMS.find(entry.path)
        own = item is not None and item.ownTime
        found.append(Expected(os.fsdecode(entry.path), entry.size, None if own else entry.mtime))
    return found


@frozen
class Arrived:
    """
    How much is there.

    @ivar installed: files that are in their places.
    @ivar files: these, and those that wait in the staging folder.
    @ivar bytes: of all that, and of the file that is coming in.
    """

    installed: int
    files: int
    bytes: int


class Arrivals:
    """
    What comes into one worker's home.

    @ivar files: how many files are to come.
    @ivar bytes: how many bytes these have.
    @ivar last: what the last L{look} saw.
    """

    def __init__(self, home: Home, expected: Iterable[Expected]) -> None:
        self._staging = home.staging
        self._missing = [
            (home.join(each.path), each.size, each.mtime)
            for each in sorted(expected, key=lambda each: each.path)
        ]
        self.files = len(self._missing)
        self.bytes = sum(size for _, size, _ in self._missing)
        self._installed = 0
        self._installedBytes = 0
        self.last = Arrived(0, 0, 0)

    def look(self) -> Arrived:
        """
        See what is there now. It never goes back, although a file that is
        just moved from the staging folder to its place may be seen in neither.
        """
        missing = []
        for path, size, mtime in self._missing:
            if _isThere(path, size, mtime):
                self._installed += 1
                self._installedBytes += size
            else:
                missing.append((path, size, mtime))
        self._missing = missing
        staged, stagedBytes = self._staged() if missing else (0, 0)
        self.last = Arrived(
            self._installed,
            min(self.files, max(self.last.files, self._installed + staged)),
            min(self.bytes, max(self.last.bytes, self._installedBytes + stagedBytes)),
        )
        return self.last

    @property
    def complete(self) -> bool:
        """
        Whether at the last L{look} all was in its place.
        """
        return not self._missing

    def _staged(self) -> tuple[int, int]:
        files = size = 0
        for name, length in _sizes(self._staging):
            files += not name.endswith(".part")
            size += length
        return files, size


def partSize(home: Home) -> int:
    """
    The bytes that are there of the largest file that is coming in.
    """
    return max(
        (size for name, size in _sizes(home.staging) if name.endswith(".part")),
        default=0,
    )


def _isThere(path: str, size: int, mtime: int | None) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return status.st_size == size and mtime in (None, int(status.st_mtime))


def _sizes(folder: str) -> list[tuple[str, int]]:
    """
    The files in a folder, without those that vanish meanwhile.
    """
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    found.append((entry.name, entry.stat(follow_symlinks=False).st_size))
                except OSError:
                    continue
    except OSError:
        return []
    return found
