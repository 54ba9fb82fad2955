"""
The password that agents must know: the first line of a file.
"""

from __future__ import annotations

import os

from wazuh_cluster.errors import ConfigError
from wazuh_cluster.interfaces import IRunner

#: Wazuh takes nothing shorter.
SHORTEST = 3

#: As much of the file as is looked at.
_MOST = 4096

_REMEDY = "write a password into its first line (3 characters or more), mode 0640"


class PasswordFile:
    """
    The password as the file has it now: it is read again when it changed.
    """

    def __init__(self, path: str, runner: IRunner) -> None:
        self._path = path
        self._runner = runner
        self._seen: tuple[int, ...] | None = None
        self._password = b""

    async def current(self) -> bytes:
        """
        The password.

        @raise ConfigError: if there is none.
        """
        return await self._runner.call(self._look)

    def _look(self) -> bytes:
        try:
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                self._password = self._read()
                self._seen = seen
        except OSError as error:
            self._seen = None
            raise ConfigError(
                f"the password for agents cannot be read ({error.strerror})", self._path, _REMEDY
            ) from None
        if len(self._password) < SHORTEST:
            raise ConfigError("there is no password for agents", self._path, _REMEDY)
        return self._password

    def _read(self) -> bytes:
        with open(self._path, "rb") as file:
            return file.read(_MOST).partition(b"\n")[0].rstrip(b"\r")
