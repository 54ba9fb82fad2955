"""
The file C{logs/cluster.log}: written, rotated at local midnight, and archived.
All of it blocks: it belongs to the log's own thread.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from gzip import GzipFile
from itertools import count
from typing import BinaryIO

from wazuh_cluster.logline import Line, LocalTime

Day = tuple[int, int, int]
Steps = Generator[None, None, None]

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_BLOCK = 256 * 1024
_FILE_MODE = 0o640
_FOLDER_MODE = 0o750
_OWN_FOLDER_MODE = 0o770
_SAFELY = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class LogFile:
    """
    The file, and its archive C{cluster/YYYY/Mon/cluster.log-DD.gz} beside it.

    A file is rotated before the first line of a later day than its last one.
    It is renamed to C{cluster.log.YYYY-MM-DD.N}, then compressed in small steps
    between writes, and removed once it is in the archive. What a process that
    died left of this is finished by the next one: no line is lost, and at worst
    the lines of one file come twice.

    @ivar path: where it is.
    """

    def __init__(
        self,
        path: str,
        tell: Callable[[str], None],
        *,
        wallClock: Callable[[], float] = time.time,
        localTime: LocalTime = time.localtime,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        """
        @param tell: told, in one line, of what cannot be rotated or archived.
        @param write: writes to a file descriptor, and returns how many bytes.
        """
        self.path = path
        self._tell = tell
        self._wallClock = wallClock
        self._localTime = localTime
        self._write = write
        self._aside = re.compile(
            re.escape(os.path.basename(path)) + r"\.(\d{4})-(0[1-9]|1[0-2])-(\d\d)\.(\d+)\Z"
        )
        self._file = -1
        # That of the last line in the file.
        self._day: Day | None = None
        self._checked = 0.0
        self._archiving: Steps | None = None
        self._lookForLeftovers = True

    def write(self, lines: deque[Line]) -> None:
        """
        Write lines, and take away from C{lines} what was written.

        @raise OSError: if that is not possible now; what is left in C{lines}
            can be tried again.
        """
        while lines:
            self._prepare(lines[0].day)
            try:
                written = self._write(self._file, _block(lines))
            except OSError:
                self.close()
                raise
            while written:
                day, data = lines.popleft()
                if len(data) > written:
                    lines.appendleft(Line(day, data[written:]))
                written -= min(len(data), written)

    def archiveSome(self) -> bool:
        """
        Do about 10 ms of archiving.

        @return: whether there may be more to do.
        """
        if self._archiving is None:
            if not self._lookForLeftovers:
                return False
            self._lookForLeftovers = False
            self._archiving = self._archiveAll()
        try:
            next(self._archiving)
        except StopIteration:
            self._archiving = None
        except OSError as error:
            self._archiving = None
            self._tell(f"{self.path}: an older log cannot be archived: {_why(error)}")
        return self._archiving is not None or self._lookForLeftovers

    def close(self) -> None:
        """
        Close the file, which the next write opens again.
        """
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def finish(self) -> None:
        """
        Close everything, in the middle of archiving too.
        """
        self.close()
        archiving, self._archiving = self._archiving, None
        if archiving is not None:
            archiving.close()
        self._lookForLeftovers = True

    def _prepare(self, day: Day) -> None:
        """
        Have the right file open for a line of that day.
        """
        now = self._wallClock()
        newDay = self._day is not None and self._day < day
        if self._file >= 0 and (newDay or abs(now - self._checked) >= 1):
            self._checked = now
            if not self._isOurs():
                self.close()
        if self._file < 0:
            self._open()
            self._checked = now
        if self._day is not None and self._day < day:
            try:
                self._setAside(self._day)
                self._open()
            except OSError as error:
                if self._file < 0:
                    raise
                self._tell(f"{self.path} cannot be rotated, and is written on: {_why(error)}")
        self._day = day

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _SAFELY
        try:
            file = os.open(self.path, flags, _FILE_MODE)
        except FileNotFoundError:
            # Somebody emptied the home, perhaps.
            _makeOwnFolder(os.path.dirname(self.path))
            file = os.open(self.path, flags, _FILE_MODE)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file", self.path)
            if stat.S_IMODE(status.st_mode) != _FILE_MODE and status.st_uid == os.geteuid():
                os.fchmod(file, _FILE_MODE)
        except OSError:
            os.close(file)
            raise
        self._file = file
        self._day = None
        if status.st_size:
            local = self._localTime(status.st_mtime)
            self._day = (local.tm_year, local.tm_mon, local.tm_mday)

    def _isOurs(self) -> bool:
        """
        Whether the open file still goes by its name.
        """
        try:
            return os.path.samestat(os.lstat(self.path), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def _setAside(self, day: Day) -> None:
        for number in count():
            aside = f"{self.path}.{day[0]:04}-{day[1]:02}-{day[2]:02}.{number}"
            if not os.path.lexists(aside):
                break
        os.rename(self.path, aside)
        self.close()
        self._lookForLeftovers = True

    def _archiveAll(self) -> Steps:
        """
        Archive the files set aside, oldest first.
        """
        folder = os.path.dirname(self.path)
        found = []
        for name in os.listdir(folder):
            match = self._aside.match(name)
            if match is not None:
                year, month, day, number = map(int, match.groups())
                found.append(((year, month, day), number, name))
        for date, _, name in sorted(found):
            yield from self._archive(os.path.join(folder, name), date)

    def _archive(self, aside: str, day: Day) -> Steps:
        folder = os.path.splitext(self.path)[0]
        _makeFolder(folder)
        for name in (f"{day[0]:04}", _MONTHS[day[1] - 1]):
            folder = os.path.join(folder, name)
            _makeFolder(folder)
        target = os.path.join(folder, f"{os.path.basename(self.path)}-{day[2]:02}.gz")
        temporary = target + ".tmp"
        try:
            with _openRead(aside) as source, _create(temporary) as out:
                if os.path.lexists(target):
                    # A gzip file may have several members, one after the other.
                    with _openRead(target) as old:
                        yield from _copy(old, out)
                mtime = os.fstat(source.fileno()).st_mtime
                with GzipFile("", "wb", 6, out, mtime) as compressed:
                    yield from _copy(source, compressed)
                out.flush()
                os.fsync(out.fileno())
            os.rename(temporary, target)
        except OSError:
            if os.path.lexists(temporary):
                os.unlink(temporary)
            raise
        _syncFolder(folder)
        os.unlink(aside)


def _block(lines: deque[Line]) -> bytes:
    """
    The first lines, as far as they are of one day, up to about L{_BLOCK} bytes.
    """
    day = lines[0].day
    size = 0
    block = []
    for line in lines:
        if line.day != day or size > _BLOCK:
            break
        block.append(line.data)
        size += len(line.data)
    return b"".join(block)


def _copy(source: BinaryIO, target: BinaryIO | GzipFile) -> Steps:
    while data := source.read(_BLOCK):
        target.write(data)
        yield


def _openRead(path: str) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | _SAFELY), "rb")


def _create(path: str) -> BinaryIO:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _SAFELY, _FILE_MODE)
    os.fchmod(file, _FILE_MODE)
    return os.fdopen(file, "wb")


def _makeFolder(path: str) -> None:
    try:
        os.mkdir(path, _FOLDER_MODE)
    except FileExistsError:
        return
    os.chmod(path, _FOLDER_MODE)


def _makeOwnFolder(path: str) -> None:
    """
    Make the folder of a log as it was, if there is still that in which it was.
    """
    above = os.stat(os.path.dirname(path))
    os.mkdir(path, 0o700)
    with suppress(PermissionError):
        os.chown(path, above.st_uid, above.st_gid)
    os.chmod(path, _OWN_FOLDER_MODE)


def _syncFolder(path: str) -> None:
    file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _why(error: OSError) -> str:
    return f"{error.strerror} ({error.filename})" if error.filename else str(error.strerror)
