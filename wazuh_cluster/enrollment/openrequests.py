"""
Where a node notes which requests are open, so that the process after one that
was killed knows it.

A note must be there in the moment in which something is asked, and be gone in
that in which an agent gets its answer, and neither may wait for a disk. So it is
made in memory that the system keeps for the machine's life, not only for the
process's. When the machine dies it is gone: then nobody can say what agents have
heard, and nothing is undone.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
import stat
from collections.abc import Sequence
from contextlib import suppress

from zope.interface import implementer

from wazuh_cluster.enrollment.interfaces import IOpenRequests
from wazuh_cluster.journal import ENROLLMENT, Journal

#: Where there are files in memory, and what says which life of the machine this
#: is.
MEMORY = "/dev/shm"
BOOT_ID = "/proc/sys/kernel/random/boot_id"

#: How many requests can be noted; more are not.
MOST = 1024

_ID_SIZE = 16
_NONE = bytes(_ID_SIZE)
_HEAD_SIZE = 64
_SIZE = _HEAD_SIZE + MOST * _ID_SIZE


def pathFor(home: str, folder: str = MEMORY) -> str:
    """
    The file of a home, for the user that this process runs as.
    """
    status = os.stat(home)
    named = f"{os.path.realpath(home)}\0{status.st_dev}\0{status.st_ino}"
    digest = hashlib.sha256(os.fsencode(named)).hexdigest()[:16]
    return os.path.join(folder, f"wazuh_cluster-{os.geteuid()}-{digest}")


@implementer(IOpenRequests)
class NoOpenRequests:
    """
    Notes nothing.
    """

    def load(self) -> Sequence[bytes]:
        """
        See L{IOpenRequests.load}.
        """
        return ()

    def add(self, requestId: bytes) -> None:
        """
        See L{IOpenRequests.add}.
        """

    def discard(self, requestId: bytes) -> None:
        """
        See L{IOpenRequests.discard}.
        """

    def close(self) -> None:
        """
        See L{IOpenRequests.close}.
        """


@implementer(IOpenRequests)
class OpenRequests:
    """
    Notes in a file that is in memory, and is made when there is something to
    note. Where that cannot be, nothing is noted.

    A request is a slot of the file with its id, which is not all zeros.
    """

    def __init__(self, home: str, folder: str = MEMORY, bootId: str = BOOT_ID) -> None:
        """
        @param folder: where there are files in memory.
        @param bootId: a file that says something else each time that the
            machine starts.
        """
        self._home = home
        self._folder = folder
        self._bootId = bootId
        self._log = Journal(ENROLLMENT)
        self._isUsable = False
        self._path = ""
        self._descriptor = -1
        self._map: mmap.mmap | None = None
        self._slots: dict[bytes, int] = {}
        self._free: list[int] = []

    def load(self) -> Sequence[bytes]:
        """
        See L{IOpenRequests.load}.
        """
        self._isUsable = os.path.isdir(self._folder)
        if self._isUsable:
            self._path = pathFor(self._home, self._folder)
            if os.path.lexists(self._path):
                self._begin()
        return tuple(self._slots)

    def add(self, requestId: bytes) -> None:
        """
        See L{IOpenRequests.add}.
        """
        if self._map is None and self._isUsable:
            self._begin()
        if self._free and requestId not in self._slots:
            slot = self._slots[requestId] = self._free.pop()
            self._write(slot, requestId)

    def discard(self, requestId: bytes) -> None:
        """
        See L{IOpenRequests.discard}.
        """
        slot = self._slots.pop(requestId, None)
        if slot is not None:
            self._write(slot, _NONE)
            self._free.append(slot)

    def close(self) -> None:
        """
        See L{IOpenRequests.close}.
        """
        opened, self._map = self._map, None
        if opened is not None:
            opened.close()
            if not self._slots:
                with suppress(OSError):
                    os.unlink(self._path)
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
        self._isUsable = False
        self._slots.clear()
        self._free.clear()

    def _begin(self) -> None:
        try:
            self._open()
        except OSError as error:
            self.close()
            self._log.warn(
                "What is registered for agents is not undone if this process is killed in that "
                "moment: {path} cannot be used: {reason}",
                path=self._path,
                reason=error.strerror,
            )

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it is somebody else's")
        # Held as long as the file is open.
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with open(self._bootId, "rb") as file:
            head = file.read(_HEAD_SIZE).ljust(_HEAD_SIZE, b"\0")
        if os.pread(self._descriptor, _HEAD_SIZE, 0) != head or status.st_size != _SIZE:
            # What was noted before the machine died says nothing.
            os.ftruncate(self._descriptor, 0)
            # With all its memory: to write where there is none ends the process.
            os.posix_fallocate(self._descriptor, 0, _SIZE)
            os.pwrite(self._descriptor, head, 0)
        self._map = mmap.mmap(self._descriptor, _SIZE)
        for slot in range(MOST):
            start = _HEAD_SIZE + slot * _ID_SIZE
            requestId = self._map[start : start + _ID_SIZE]
            if requestId == _NONE:
                self._free.append(slot)
            else:
                self._slots[requestId] = slot

    def _write(self, slot: int, content: bytes) -> None:
        assert self._map is not None
        start = _HEAD_SIZE + slot * _ID_SIZE
        self._map[start : start + _ID_SIZE] = content
