"""
Kept: files that are replaced again and again, held open as the last scans saw
them.

While agents enroll, C{client.keys} is another file each time that a worker asks
for what the manifest says of it. Held open, the old one can still be read; it
costs no memory, and goes with the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from attrs import frozen

from wazuh_cluster.integrity.manifest import Manifest
from wazuh_cluster.interfaces import IOpenFile

#: How many versions of a file are held, and how many bytes of the disk those
#: may take that are not its last.
MOST = 8
MOST_BYTES = 256 * 1024 * 1024


@frozen
class _Version:
    """
    What a file was.
    """

    digest: bytes
    size: int
    file: IOpenFile


class Kept:
    """
    Versions of files. Calls come from several threads: scans keep what packs
    read.
    """

    def __init__(self, most: int = MOST, mostBytes: int = MOST_BYTES) -> None:
        self._most = most
        self._mostBytes = mostBytes
        self._lock = Lock()
        # By path, the last one last.
        self._versions: dict[bytes, list[_Version]] = {}
        self._new: set[bytes] = set()

    def keep(self, path: bytes, digest: bytes, size: int, file: IOpenFile) -> None:
        """
        Hold a version of a file, which is the last one now.

        @param file: is closed here, some time.
        """
        with self._lock:
            versions = self._versions.setdefault(path, [])
            if versions and versions[-1].digest == digest:
                file.close()
                return
            versions.append(_Version(digest, size, file))
            self._new.add(path)
            while len(versions) > self._most or _bytesOf(versions[:-1]) > self._mostBytes:
                versions.pop(0).file.close()

    def settle(self, manifest: Manifest) -> None:
        """
        A scan ended: of what it did not find changed only the last version is
        of use, and of what it did not find at all, none.
        """
        with self._lock:
            for path, versions in self._versions.items():
                if path not in self._new:
                    _close(versions[:-1])
                    del versions[:-1]
                if manifest.index(path) is None:
                    _close(versions)
                    versions.clear()
            self._new.clear()

    def open(self, path: bytes, digest: bytes) -> IOpenFile | None:
        """
        Open a version of a file, if it is held.
        """
        with self._lock:
            for version in self._versions.get(path, ()):
                if version.digest == digest:
                    return version.file.again()
        return None

    def close(self) -> None:
        """
        Hold nothing any more.
        """
        with self._lock:
            for versions in self._versions.values():
                _close(versions)
            self._versions.clear()
            self._new.clear()


def _bytesOf(versions: Sequence[_Version]) -> int:
    return sum(version.size for version in versions)


def _close(versions: Sequence[_Version]) -> None:
    for version in versions:
        version.file.close()
