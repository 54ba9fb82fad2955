"""
C{var/run/wazuh-clusterd-PID.pid}: where Wazuh's control script, and its API, look
for the daemon.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.application.service import Service

from wazuh_cluster.home import Home
from wazuh_cluster.logline import PROGRAM

_MODE = 0o640
_NAME = re.compile(re.escape(PROGRAM) + r"-([0-9]{1,10})\.pid")


class PidFile(Service):
    """
    The file is there from the start of the service to the end of the reactor.
    Those of processes that are gone are removed before.
    """

    def __init__(self, reactor: Any, home: Home, processId: Callable[[], int] = os.getpid) -> None:
        """
        @param processId: this process's; asked when it has its last one.
        """
        self._reactor = reactor
        self._folder = home.runFolder
        self._processId = processId

    def startService(self) -> None:
        """
        Write the file.

        @raise OSError: if that cannot be.
        """
        super().startService()
        mine = self._processId()
        for name in os.listdir(self._folder):
            match = _NAME.fullmatch(name)
            if match is not None and (int(match[1]) == mine or not _runs(int(match[1]))):
                # Another user's stays.
                with suppress(OSError):
                    os.unlink(os.path.join(self._folder, name))
        path = os.path.join(self._folder, f"{PROGRAM}-{mine}.pid")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, _MODE), "wb") as file:
            os.fchmod(file.fileno(), _MODE)
            file.write(b"%d\n" % mine)
        self._reactor.addSystemEventTrigger("after", "shutdown", _remove, path)


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def _runs(processId: int) -> bool:
    try:
        os.kill(processId, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
