"""
Files that a command writes for an operator: whole, durably, and never over
something that it did not mean to replace.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets

from attrs import field, frozen

from wazuh_cluster.errors import ConfigError, HomeError
from wazuh_cluster.home import Owner


@frozen
class PlannedFile:
    """
    One file that is to be written as a whole.

    @ivar path: absolute.
    @ivar content: all of it.
    @ivar mode: the permissions.
    @ivar owner: whose it is to be; C{None} for whoever writes it.
    @ivar replaces: the content that must still be there when it is replaced;
        C{None} if there must be no such file.
    """

    path: str
    content: bytes = field(repr=False)
    mode: int
    owner: Owner | None = None
    replaces: bytes | None = field(repr=False, default=None)


def writePlanned(planned: PlannedFile) -> None:
    """
    Write a file whole and durably. At no moment does anybody see half of it, or
    see it with other permissions.

    @raise ConfigError: if the file changed, or appeared, since it was planned.
    @raise HomeError: if it cannot be written; nothing is left of it then.
    """
    try:
        _write(planned)
    except FileExistsError:
        raise ConfigError("somebody made it just now", planned.path, "look at it") from None
    except OSError as error:
        raise HomeError(
            f"it cannot be written ({error.strerror})",
            planned.path,
            "run as the home's owner or as root",
        ) from None


def _write(planned: PlannedFile) -> None:
    folder, name = os.path.split(planned.path)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(8)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(handle, "wb") as file:
            if planned.owner is not None:
                _giveTo(handle, planned.owner)
            os.fchmod(handle, planned.mode)
            file.write(planned.content)
            file.flush()
            os.fsync(handle)
        if planned.replaces is None:
            _linkOrRename(temporary, planned.path)
        else:
            _requireUnchanged(planned)
            os.rename(temporary, planned.path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    folderHandle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folderHandle)
    finally:
        os.close(folderHandle)


def _linkOrRename(temporary: str, path: str) -> None:
    """
    Give a file its name, unless there is one of this name.
    """
    try:
        # Unlike a rename, a link never replaces what came meanwhile.
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        # This file system has no links: the best that is left.
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from None
        os.rename(temporary, path)


def _giveTo(handle: int, owner: Owner) -> None:
    status = os.fstat(handle)
    if (status.st_uid, status.st_gid) != (owner.uid, owner.gid):
        os.fchown(handle, owner.uid, owner.gid)


def _requireUnchanged(planned: PlannedFile) -> None:
    with open(planned.path, "rb") as file:
        if file.read() != planned.replaces:
            raise ConfigError("somebody changed it just now", planned.path, "try again")
