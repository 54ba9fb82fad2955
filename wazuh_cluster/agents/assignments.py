"""
The groups and their agents as files, as Wazuh has them: a folder in
C{etc/shared} for each group, a line in C{queue/agent-groups} for each agent.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.agents.groupindex import GroupIndex
from wazuh_cluster.agents.groupnames import (
    DEFAULT_GROUP,
    MAX_ASSIGNMENT,
    agentOf,
    eachOnce,
    groupsFault,
    nameFault,
    readGroups,
    shownName,
    writeGroups,
)
from wazuh_cluster.agents.interfaces import IAssignments
from wazuh_cluster.agents.model import Group, formatId
from wazuh_cluster.errors import GroupRefused, Stopped, StoreFailed
from wazuh_cluster.integrity.folders import Owner, giveTo, joined, makeWay
from wazuh_cluster.integrity.paths import MAX_DEPTH
from wazuh_cluster.integrity.temporary import isTemporary, temporaryName
from wazuh_cluster.interfaces import FileStat, IFileSystem, IFolder, IRunner, Slices
from wazuh_cluster.journal import MAIN, Journal

T = TypeVar("T")

#: Where agents' groups are, and where groups are, below the home.
ASSIGNMENTS = b"queue/agent-groups"
GROUPS = b"etc/shared"

#: Seconds for which a look at all assignments is good enough for counting.
FRESH_ENOUGH = 5.0

_FOLDER_MODE = 0o770
_FILE_MODE = 0o660

#: What a new group tells its agents: nothing yet.
_AGENT_CONF = b"<agent_config>\n</agent_config>\n"

#: A status taken this close to the file's last change, in nanoseconds, may be
#: that of two contents.
_FRESH = 2_000_000_000

#: Up to so many files are synced one by one; more of them, the file system.
_FEW = 16

_STEPS = 64
_SHOWN = 20
_MISSING = (errno.ENOENT, errno.ENOTDIR)
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@implementer(IAssignments)
class FileAssignments:
    """
    The assignments below one home, of which it is the truth.

    What other programs write there is seen: a question about agents looks at
    the status of their files, and reads those that changed. Only the number of
    agents in a group may be some seconds old. What is no assignment is left as
    it is, and told to the log once.
    """

    def __init__(
        self,
        fileSystem: IFileSystem,
        home: str | bytes | os.PathLike[str],
        runner: IRunner,
        wallClock: Callable[[], float] = time.time,
        randomBytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """
        Nothing is read or written yet.

        @param runner: where all the work is done; nobody else changes these
            files there meanwhile.
        @param wallClock: seconds since the epoch, as the file system counts.
        @param randomBytes: gives names to temporary files.
        """
        self._fileSystem = fileSystem
        self._home = os.path.abspath(os.fsencode(home))
        self._runner = runner
        self._wallClock = wallClock
        self._randomBytes = randomBytes
        self._log = Journal(MAIN)
        # For the runner's works alone, which never overlap.
        self._index = GroupIndex()
        self._looked: float | None = None
        self._swept = False
        # Name to mark, of what was told to be no assignment.
        self._odd: dict[bytes, int] = {}
        # Name and why, from the runner's thread to the reactor's.
        self._news: deque[tuple[bytes, str]] = deque()

    # The port.

    def groups(self) -> Deferred[Sequence[Group]]:
        """
        See L{IAssignments.groups}.
        """
        return self._run(self._groups())

    def create(self, name: str) -> Deferred[None]:
        """
        See L{IAssignments.create}. The folder has an C{agent.conf} without
        settings in it.
        """
        fault = nameFault(name)
        if fault is not None:
            return fail(GroupRefused(f"{shownName(name)} cannot be a group: {fault}"))
        return self._run(self._create(name))

    def delete(self, name: str) -> Deferred[Sequence[int]]:
        """
        See L{IAssignments.delete}. An agent that is in no group any more comes
        into C{default}.
        """
        if name == DEFAULT_GROUP:
            return fail(GroupRefused("the group 'default' stays: agents of no other are in it"))
        if nameFault(name) is not None:
            return fail(_noGroup(name))
        return self._run(self._delete(name))

    def missing(self, names: Iterable[str]) -> Deferred[Sequence[str]]:
        """
        See L{IAssignments.missing}.
        """
        return self._run(self._missing(eachOnce(names)))

    def of(self, ids: Collection[int]) -> Deferred[Mapping[int, tuple[str, ...]]]:
        """
        See L{IAssignments.of}.
        """
        return self._run(self._of(tuple(ids)))

    def assign(self, groups: Mapping[int, tuple[str, ...]]) -> Deferred[None]:
        """
        See L{IAssignments.assign}.
        """
        wanted = {agent: eachOnce(names) for agent, names in groups.items()}
        for agent, names in wanted.items():
            fault = groupsFault(names) if names else None
            if fault is not None:
                return fail(GroupRefused(f"agent {formatId(agent)}: {fault}"))
        return self._run(self._assign(wanted))

    def remove(self, ids: Collection[int]) -> Deferred[None]:
        """
        See L{IAssignments.remove}.
        """
        return self._run(self._write(dict.fromkeys(ids, ())))

    # The same as slices.

    def _groups(self) -> Slices[Sequence[Group]]:
        yield from self._look(FRESH_ENOUGH)
        counts = self._index.counts()
        yield
        names: list[str] = []
        with self._opened(GROUPS) as shared:
            if shared is not None:
                for steps, (name, isFolder) in enumerate(shared.names()):
                    if steps % _STEPS == 0:
                        yield
                    text = name.decode("ascii", "backslashreplace")
                    if isFolder and nameFault(text) is None:
                        names.append(text)
        return [Group(name, counts.get(name, 0)) for name in sorted(names)]

    def _create(self, name: str) -> Slices[None]:
        yield
        owner = self._owner()
        makeWay(self._fileSystem, self._home, GROUPS, _FOLDER_MODE, owner)
        with self._opened(GROUPS) as shared:
            assert shared is not None
            entry = name.encode("ascii")
            try:
                shared.makeFolder(entry, _FOLDER_MODE)
            except FileExistsError:
                raise GroupRefused(f"there is a group {name!r} already") from None
            with closing(shared.openFolder(entry)) as folder:
                with closing(folder.create(b"agent.conf", _FILE_MODE)) as file:
                    file.write(_AGENT_CONF)
                    if owner is not None:
                        giveTo(owner, file.setOwner)
                    file.sync()
                folder.sync()
            if owner is not None:
                giveTo(owner, partial(shared.setOwner, entry))
            shared.sync()

    def _delete(self, name: str) -> Slices[Sequence[int]]:
        if (yield from self._missing((name,))):
            raise _noGroup(name)
        yield from self._look(0.0)
        members = self._index.members(name)
        yield
        left: dict[int, tuple[str, ...]] = {}
        for agent in members:
            known = self._index.get(agent)
            assert known is not None
            others = tuple(each for each in known[1] if each != name)
            left[agent] = others or (DEFAULT_GROUP,)
        # First the agents: none is ever in a group that is not there.
        yield from self._write(left)
        with self._opened(GROUPS) as shared:
            if shared is not None:
                yield from _removeTree(shared, name.encode("ascii"))
                shared.sync()
        return members

    def _missing(self, names: Sequence[str]) -> Slices[Sequence[str]]:
        yield
        with self._opened(GROUPS) as shared:
            return [name for name in names if shared is None or not _isGroup(shared, name)]

    def _of(self, ids: Sequence[int]) -> Slices[Mapping[int, tuple[str, ...]]]:
        found: dict[int, tuple[str, ...]] = {}
        yield
        with self._opened(ASSIGNMENTS) as folder:
            if folder is None:
                return {}
            for steps, agent in enumerate(ids, 1):
                if steps % _STEPS == 0:
                    yield
                groups = self._current(folder, agent)
                if groups:
                    found[agent] = groups
        return found

    def _assign(self, wanted: Mapping[int, tuple[str, ...]]) -> Slices[None]:
        names = eachOnce(name for groups in wanted.values() for name in groups)
        missing = yield from self._missing(names)
        if missing:
            raise _noGroup(missing[0])
        yield from self._write(wanted)

    def _afterSweep(self, work: Slices[T]) -> Slices[T]:
        """
        The first work removes what a process left that died while it wrote:
        nobody else writes such files here.
        """
        if not self._swept:
            with suppress(OSError), self._opened(ASSIGNMENTS) as folder:
                if folder is not None:
                    left: list[bytes] = []
                    for steps, (name, isFolder) in enumerate(folder.names(), 1):
                        if steps % 1024 == 0:
                            yield
                        if not isFolder and isTemporary(name):
                            left.append(name)
                    for name in left:
                        folder.unlink(name)
            self._swept = True
        return (yield from work)

    # Writing.

    def _write(self, wanted: Mapping[int, tuple[str, ...]]) -> Slices[None]:
        """
        Give agents' files these contents, or remove those that are to have
        none. First all stands ready and is durable; then all is renamed.
        """
        yield
        owner = self._owner()
        if any(wanted.values()):
            makeWay(self._fileSystem, self._home, ASSIGNMENTS, _FOLDER_MODE, owner)
        with self._opened(ASSIGNMENTS) as folder:
            if folder is None:
                return
            ready: dict[int, bytes] = {}
            gone: list[int] = []
            few = len(wanted) <= _FEW
            try:
                for steps, (agent, groups) in enumerate(wanted.items(), 1):
                    if steps % _STEPS == 0:
                        yield
                    if not groups:
                        gone.append(agent)
                    elif self._current(folder, agent) != groups:
                        ready[agent] = temporary = temporaryName(_name(agent), self._randomBytes)
                        _writeOne(folder, temporary, writeGroups(groups), owner, few)
                if ready and not few:
                    yield
                    self._fileSystem.syncAll([folder])
                changed = bool(ready)
                for steps, agent in enumerate(list(ready), 1):
                    if steps % _STEPS == 0:
                        yield
                    folder.rename(ready[agent], folder, _name(agent))
                    del ready[agent]
                    self._index.put(agent, 0, wanted[agent])
                for steps, agent in enumerate(gone, 1):
                    if steps % _STEPS == 0:
                        yield
                    with suppress(FileNotFoundError):
                        folder.unlink(_name(agent))
                        changed = True
                    self._index.drop(agent)
                if changed:
                    yield
                    folder.sync()
            finally:
                for temporary in ready.values():
                    with suppress(OSError):
                        folder.unlink(temporary)

    # Reading.

    def _look(self, age: float) -> Slices[None]:
        """
        Look at all files, unless that was done within the last C{age} seconds,
        and read those that changed.
        """
        now = self._wallClock()
        if self._looked is not None and 0 <= now - self._looked < age:
            return
        agents: list[int] = []
        odd: list[bytes] = []
        index = GroupIndex()
        with self._opened(ASSIGNMENTS) as folder:
            if folder is not None:
                for steps, (name, isFolder) in enumerate(folder.names(), 1):
                    if steps % 1024 == 0:
                        yield
                    agent = None if isFolder else agentOf(name)
                    if agent is not None:
                        agents.append(agent)
                    elif not isTemporary(name):
                        odd.append(name)
                agents.sort()
                for steps, agent in enumerate(agents, 1):
                    if steps % _STEPS == 0:
                        yield
                    self._current(folder, agent)
                    known = self._index.get(agent)
                    if known is not None:
                        index.put(agent, *known)
        for name in odd:
            self._tell(name, 0, "its name is no agent's id")
        there = {*odd, *map(_name, agents)} if self._odd else set()
        self._odd = {name: mark for name, mark in self._odd.items() if name in there}
        self._index = index
        self._looked = now

    def _current(self, folder: IFolder, agent: int) -> tuple[str, ...]:
        """
        An agent's groups as its file says now; none if there is no such file,
        or it is no assignment.
        """
        name = _name(agent)
        try:
            status = folder.status(name)
            known = self._index.get(agent)
            if known is not None and known[0] == _markOf(status) != 0:
                return known[1]
            mark, groups = self._read(folder, name)
        except OSError as error:
            if error.errno in _EXHAUSTED:
                raise
            self._index.drop(agent)
            if error.errno not in _MISSING:
                self._tell(name, 0, _unreadable(error))
            return ()
        except ValueError as error:
            self._tell(name, _markOf(status), str(error))
            # So that it is not read again and again.
            mark, groups = _trusted(status, self._wallClock()), ()
        if known is None or known != (mark, groups):
            self._index.put(agent, mark, groups)
        return groups

    def _read(self, folder: IFolder, name: bytes) -> tuple[int, tuple[str, ...]]:
        """
        Read a file.

        @return: its mark, 0 if a change right now could leave it as it is; and
            the groups.
        """
        now = self._wallClock()
        with closing(folder.openRead(name)) as file:
            status = file.status()
            content = b""
            while len(content) <= MAX_ASSIGNMENT:
                piece = file.read(MAX_ASSIGNMENT + 1 - len(content))
                if not piece:
                    break
                content += piece
        return _trusted(status, now), readGroups(content)

    @contextmanager
    def _opened(self, path: bytes) -> Iterator[IFolder | None]:
        """
        One of the two folders, C{None} if it is not there.
        """
        try:
            folder = self._fileSystem.openFolder(joined(self._home, path))
        except OSError as error:
            if error.errno not in _MISSING:
                raise
            yield None
            return
        with closing(folder):
            yield folder

    def _owner(self) -> Owner | None:
        """
        Whom new files belong to: whoever has the home's C{etc}.
        """
        try:
            with closing(self._fileSystem.openFolder(self._home)) as home:
                status = home.status(b"etc")
        except OSError:
            return None
        return Owner(status.uid, status.gid) if stat.S_ISDIR(status.mode) else None

    # What the reactor's thread does.

    def _run(self, work: Slices[T]) -> Deferred[T]:
        done = self._runner.run(self._afterSweep(work))
        done.addErrback(_storeFailed)
        return done.addBoth(self._said)

    def _tell(self, name: bytes, mark: int, why: str) -> None:
        if self._odd.get(name) != mark:
            self._odd[name] = mark
            self._news.append((name, why))

    def _said(self, result: T) -> T:
        """
        Log what is new of that which is no assignment.
        """
        news = [self._news.popleft() for _ in range(len(self._news))]
        for name, why in news[:_SHOWN]:
            self._log.warn(
                "{path} is no assignment of an agent, and stays as it is: {why}.",
                path=os.fsdecode(joined(ASSIGNMENTS, name)),
                why=why,
            )
        if len(news) > _SHOWN:
            self._log.warn("And {more} more paths.", more=len(news) - _SHOWN)
        return result


def _name(agent: int) -> bytes:
    return formatId(agent).encode("ascii")


def _markOf(status: FileStat) -> int:
    return hash(status[1:5])


def _trusted(status: FileStat, now: float) -> int:
    """
    The mark of a file whose content was read at C{now}; 0 if a change since
    could have left its status as it is.
    """
    return _markOf(status) if round(now * 1e9) - status.ctimeNs >= _FRESH else 0


def _isGroup(shared: IFolder, name: str) -> bool:
    if nameFault(name) is not None:
        return False
    try:
        return stat.S_ISDIR(shared.status(name.encode("ascii")).mode)
    except OSError as error:
        if error.errno not in _MISSING:
            raise
        return False


def _writeOne(
    folder: IFolder, name: bytes, content: bytes, owner: Owner | None, sync: bool
) -> None:
    with closing(folder.create(name, _FILE_MODE)) as file:
        file.write(content)
        if owner is not None:
            giveTo(owner, file.setOwner)
        if sync:
            file.sync()


def _removeTree(above: IFolder, name: bytes, depth: int = 0) -> Slices[None]:
    """
    Remove a folder with all that is in it, without following a link.
    """
    if depth > MAX_DEPTH:
        raise OSError(errno.ELOOP, f"its folders are deeper than {MAX_DEPTH}")
    with closing(above.openFolder(name)) as folder:
        for steps, (entry, isFolder) in enumerate(list(folder.names())):
            if steps % _STEPS == 0:
                yield
            if isFolder:
                yield from _removeTree(folder, entry, depth + 1)
            else:
                with suppress(FileNotFoundError):
                    folder.unlink(entry)
    above.removeFolder(name)


def _noGroup(name: str) -> GroupRefused:
    return GroupRefused(f"there is no group {shownName(name)}")


def _unreadable(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.EINVAL):
        return "it is a link, or something else that is no file"
    return f"it cannot be read ({os.strerror(error.errno or 0)})"


def _storeFailed(failure: Failure) -> Failure:
    error = failure.value
    if isinstance(error, CancelledError):
        return Failure(Stopped("the node stops"))
    if not isinstance(error, OSError):
        return failure
    said = os.strerror(error.errno) if error.errno else str(error)
    where = f"{os.fsdecode(ASSIGNMENTS)} and {os.fsdecode(GROUPS)}"
    return Failure(StoreFailed(f"{where}: {said}: mend that, then try again"))
