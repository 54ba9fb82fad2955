"""
What a node must know after a restart: small named files in one folder.
"""

from __future__ import annotations

import os
import re
from contextlib import closing, suppress

from zope.interface import implementer

from wazuh_cluster.durable import openOrMake, replacing
from wazuh_cluster.errors import StateDamaged
from wazuh_cluster.interfaces import IFileSystem, IFolder, IState

#: The permissions of the files and of their folder.
FILE_MODE = 0o640
FOLDER_MODE = 0o750

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_PIECE = 1024 * 1024


def checkStateName(name: str) -> str:
    """
    Return C{name} if a state can go by it.

    @raise ValueError: unless it is 1 to 100 letters, digits, C{.}, C{_} or
        C{-}, and begins with a letter or digit.
    """
    if not _NAME.match(name):
        raise ValueError(f"{name!r} is not the name of a state")
    return name


@implementer(IState)
class DirectoryState:
    """
    One file per name in a folder, which is made when something is saved.

    A file is replaced by renaming, when its content is on the disk: after a
    crash either the old or the new one is there, whole. One process at a time
    may save.
    """

    def __init__(self, fileSystem: IFileSystem, path: bytes | str) -> None:
        """
        @param path: the folder, absolute.
        """
        self._fileSystem = fileSystem
        self._path = os.fsencode(path)

    def load(self, name: str) -> bytes | None:
        """
        See L{IState.load}.
        """
        entry = checkStateName(name).encode("ascii")
        try:
            with closing(self._fileSystem.openFolder(self._path)) as folder:
                return _content(folder, entry)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateDamaged(
                f"it cannot be read: {_said(error)}",
                os.fsdecode(self._path + b"/" + entry),
                "mend its permissions or its disk, or remove it to begin anew",
            ) from None

    def save(self, name: str, content: bytes) -> None:
        """
        See L{IState.save}.

        @raise OSError: if the system refuses; the old one is still there then.
        """
        entry = checkStateName(name).encode("ascii")
        with (
            closing(openOrMake(self._fileSystem, self._path, FOLDER_MODE)) as folder,
            replacing(folder, entry, FILE_MODE) as file,
        ):
            file.write(content)

    def remove(self, name: str) -> None:
        """
        See L{IState.remove}.
        """
        entry = checkStateName(name).encode("ascii")
        with (
            suppress(FileNotFoundError),
            closing(self._fileSystem.openFolder(self._path)) as folder,
        ):
            folder.unlink(entry)
            folder.sync()


def _content(folder: IFolder, name: bytes) -> bytes:
    with closing(folder.openRead(name)) as file:
        pieces = []
        while piece := file.read(_PIECE):
            pieces.append(piece)
        return b"".join(pieces)


def _said(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
