"""
One node to a home: a lock that the system releases when the process is gone,
however it went.

A pid file outlives a process that was killed, and its number may be another
program's by then; in a container it nearly always is.
"""

from __future__ import annotations

import errno
import fcntl
import os

from wazuh_cluster.errors import HomeError
from wazuh_cluster.home import Home

_NAME = "var/run/wazuh-cluster.lock"


class HomeLock:
    """
    The lock of one home. It is kept over forks, until the last of the
    processes that have it open is gone.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._path = home.join(_NAME)
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """
        Take the lock, unless it is taken already. Blocks for no one.

        @return: whether it is held now; C{False} where the home has no place
            for it.
        @raise HomeError: if another process has it.
        """
        if self._descriptor is not None:
            return True
        try:
            # Readable by all: a node that was root's may be another user's now.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise HomeError(
                "another node runs in this home", self._home.path, "stop that one first"
            ) from None
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """
        Let another process have it.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
