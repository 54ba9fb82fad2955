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
#: What a state is called before it has its name.
_TEMPORARY = re.compile(rb"\.[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.tmp\Z")
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

    def __init__(self, fileSystem: IFileSystem, path: bytes | str, sweeps: bool = False) -> None:
        """
        @param path: the folder, absolute.
        @param sweeps: whether to remove what a process that died in the middle
            of a save left: for the node itself.
        """
        self._fileSystem = fileSystem
        self._path = os.fsencode(path)
        self._sweeps = sweeps
        # What a save that failed could not remove.
        self._left: set[bytes] = set()

    def load(self, name: str) -> bytes | None:
        """
        See L{IState.load}.
        """
        entry = checkStateName(name).encode("ascii")
        try:
            with closing(self._fileSystem.openFolder(self._path)) as folder:
                self._tidy(folder)
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

        @raise OSError: with the file's path, if the system refuses; the old
            one is still there then, unless only the name is not durable yet.
        """
        entry = checkStateName(name).encode("ascii")
        try:
            with closing(openOrMake(self._fileSystem, self._path, FOLDER_MODE)) as folder:
                self._tidy(folder)
                try:
                    with replacing(folder, entry, FILE_MODE) as file:
                        file.write(content)
                except OSError:
                    self._left.add(b"." + entry + b".tmp")
                    self._tidy(folder)
                    raise
        except OSError as error:
            raise self._located(error, entry) from error

    def remove(self, name: str) -> None:
        """
        See L{IState.remove}.
        """
        entry = checkStateName(name).encode("ascii")
        try:
            with (
                suppress(FileNotFoundError),
                closing(self._fileSystem.openFolder(self._path)) as folder,
            ):
                folder.unlink(entry)
                folder.sync()
        except OSError as error:
            raise self._located(error, entry) from error

    def _tidy(self, folder: IFolder) -> None:
        """
        Remove what no save will rename any more. What cannot be removed now is
        tried again.
        """
        if self._sweeps:
            try:
                names = [name for name, isFolder in folder.names() if not isFolder]
            except OSError:
                return
            self._left.update(name for name in names if _TEMPORARY.match(name))
            self._sweeps = False
        for name in sorted(self._left):
            with suppress(OSError):
                with suppress(FileNotFoundError):
                    folder.unlink(name)
                self._left.discard(name)

    def _located(self, error: OSError, entry: bytes) -> OSError:
        """
        The same error about the whole path, for calls on an open folder name
        what they were given, or nothing.
        """
        where = os.fsdecode(self._path + b"/" + entry)
        return OSError(error.errno, _said(error), where) if error.errno else error


def _content(folder: IFolder, name: bytes) -> bytes:
    with closing(folder.openRead(name)) as file:
        pieces = []
        while piece := file.read(_PIECE):
            pieces.append(piece)
        return b"".join(pieces)


def _said(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
