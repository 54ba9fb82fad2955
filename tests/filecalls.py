"""
The file operations of a real process, counted by strace, so that another one is killed
at each of them.
"""

from __future__ import annotations

import random
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence

from attrs import frozen

STRACE = shutil.which("strace")

#: The calls that change something on a disk, or make it durable.
CALLS = (
    *("openat", "write", "pwrite64", "writev", "ftruncate", "fallocate", "copy_file_range"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "link", "linkat"),
    *("mkdir", "mkdirat", "symlinkat", "chmod", "fchmod", "fchmodat", "fchown", "fchownat"),
    *("utimensat", "fsync", "fdatasync", "syncfs"),
)

#: Folders of a home in which nothing must be whole.
_LOOSE = ("logs", "var")

#: Only these may make a file where there is none.
_OPENS, _MAKES = "openat", re.compile(r"O_CREAT|O_TRUNC")
_WRITES = "write"

_STARTED = re.compile(r"(\d+) +(\w+)\((.*)")
_OPEN_FILE = re.compile(r"\b\d+<([^<>]*)>")
_TEXT = re.compile(r'"([^"]*)"')
#: A name that is another one each time.
_BY_CHANCE = re.compile(r"\.[0-9a-f]{12,}\b")


@frozen
class Call:
    """
    One operation of a process.

    @ivar name: the system call's.
    @ivar path: of the open file or folder that it is about, or of what it names;
        C{""} where that is another one each time.
    @ivar number: from 1 on, among the calls of that name about that path, or of that
        name if there is none, in one thread.
    """

    name: str
    path: str
    number: int

    def options(self) -> list[str]:
        """
        What strace takes to kill a process right before it. With C{--seccomp-bpf} no
        signal would come.
        """
        options = ["-e", f"trace={self.name}"]
        options += ["-e", f"inject={self.name}:signal=KILL:when={self.number}"]
        return [*options, *(["-P", self.path] if self.path else [])]

    def __str__(self) -> str:
        return f"{self.name} {self.number} of {self.path or 'a temporary file'}"


def countOptions() -> list[str]:
    """
    What strace takes to write down what L{readCalls} reads.
    """
    return ["--seccomp-bpf", "-y", "-s", "1000", "-e", "trace=" + ",".join(CALLS)]


def readCalls(lines: Iterable[str], home: str) -> list[Call]:
    """
    The operations in a home, in their order, of what strace wrote down.
    """
    calls = []
    # strace counts the calls of each thread by themselves.
    counted: Counter[tuple[str, str, str]] = Counter()
    for line in lines:
        started = _STARTED.match(line)
        if started is None:
            continue
        thread, name, arguments = started.groups()
        paths = [*_OPEN_FILE.findall(arguments), *_TEXT.findall(arguments)]
        for path in ["", *dict.fromkeys(paths)]:
            counted[thread, name, path] += 1
        if not paths or not _isCarried(paths[0], home):
            continue
        if name == _OPENS and not _MAKES.search(arguments):
            continue
        path = "" if _BY_CHANCE.search(paths[0]) else paths[0]
        if name == _WRITES and not path:
            # Others write more than this thread does; what is after it is in the list.
            continue
        calls.append(Call(name, path, counted[thread, name, path]))
    return list(dict.fromkeys(calls))


def _isCarried(path: str, home: str) -> bool:
    below = path[len(home) + 1 :].split("/")[0]
    return path.startswith(home) and below not in _LOOSE


def sample(calls: Sequence[Call], count: int | None) -> list[Call]:
    """
    Some of them by chance: as many kinds of calls as can be, so that what is rare is
    not missed for long.

    @param count: how many; C{None} for all.
    """
    if count is None or count >= len(calls):
        return list(calls)
    byName: dict[str, list[Call]] = {}
    for call in random.sample(calls, len(calls)):
        byName.setdefault(call.name, []).append(call)
    chosen: list[Call] = []
    while len(chosen) < count:
        for some in random.sample(list(byName.values()), len(byName)):
            if some and len(chosen) < count:
                chosen.append(some.pop())
    return chosen
