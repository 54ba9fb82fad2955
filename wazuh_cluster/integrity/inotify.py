"""
Linux's inotify: the kernel tells what happens in folders.

Twisted has an inotify of its own. It does not tell that the kernel's queue ran
over, and ends as a whole when one watched folder is deleted; here each of these
is an event like others.
"""

from __future__ import annotations

import ctypes
import errno
import os
from struct import Struct
from typing import NamedTuple

ATTRIB = 0x4
CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
UNMOUNT = 0x2000
OVERFLOW = 0x4000
IGNORED = 0x8000
IS_FOLDER = 0x40000000

#: What is told of a watched folder. Reading tells nothing, nor does writing
#: before the file is closed.
_WATCHED = ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF
_ONLY_FOLDERS = 0x1000000
_DONT_FOLLOW = 0x2000000
_EXCLUDE_UNLINKED = 0x4000000

_HEAD = Struct("=iIII")
_READ = 64 * 1024


class Event(NamedTuple):
    """
    What happened.

    @ivar watch: the folder's watch; -1 where it is about none.
    @ivar mask: what it was, and whether to a folder.
    @ivar name: of the entry; empty if it is about the folder itself.
    """

    watch: int
    mask: int
    name: bytes


class Inotify:
    """
    One instance of it. Folders may be added in another thread.
    """

    def __init__(self) -> None:
        """
        @raise OSError: C{ENOSYS} where there is no inotify; C{EMFILE} if the
            user has as many instances as are allowed.
        """
        try:
            self._library = ctypes.CDLL(None, use_errno=True)
            begin = self._library.inotify_init1
        except (OSError, AttributeError, TypeError):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
        self._descriptor: int = _checked(begin(os.O_NONBLOCK | os.O_CLOEXEC))

    def fileno(self) -> int:
        """
        The descriptor, which can be read when something happened.
        """
        return self._descriptor

    def add(self, folder: bytes, follow: bool) -> int:
        """
        Watch a folder.

        @param follow: whether it may be a link to one.
        @return: its watch: the same number if it is watched already, by
            whatever path; else one that was never used.
        @raise OSError: if that cannot be; C{ENOSPC} if the user has as many
            watches as are allowed.
        """
        mask = _WATCHED | _ONLY_FOLDERS | _EXCLUDE_UNLINKED
        if not follow:
            mask |= _DONT_FOLLOW
        watch: int = self._library.inotify_add_watch(self._descriptor, folder, mask)
        return _checked(watch)

    def remove(self, watch: int) -> None:
        """
        Watch a folder no more, if it still is.
        """
        self._library.inotify_rm_watch(self._descriptor, watch)

    def read(self) -> list[Event]:
        """
        What happened since: at most some thousand events at once.
        """
        try:
            data = os.read(self._descriptor, _READ)
        except BlockingIOError:
            return []
        events = []
        at = 0
        while at < len(data):
            watch, mask, _, length = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            events.append(Event(watch, mask, data[at : at + length].rstrip(b"\0")))
            at += length
        return events

    def close(self) -> None:
        """
        Watch nothing more.
        """
        os.close(self._descriptor)


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
