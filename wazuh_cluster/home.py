"""
A manager's home folder: where things are in it, making one, checking one, and
its persistent id.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import pwd
import re
from collections.abc import Callable, Mapping

from attrs import field, frozen

from wazuh_cluster.errors import HomeError, StateDamaged
from wazuh_cluster.interfaces import IState

DEFAULT_HOME = "/var/ossec"
ACCOUNT = "wazuh"

#: How much of a manager's C{VERSION.json} is read.
_VERSION_SIZE = 4096

#: Wazuh's folders that a node works with, and their modes; parents first.
FOLDERS: tuple[tuple[str, int], ...] = (
    ("etc", 0o770),
    ("etc/decoders", 0o770),
    ("etc/lists", 0o770),
    ("etc/rules", 0o770),
    ("etc/shared", 0o770),
    ("etc/shared/default", 0o770),
    ("logs", 0o770),
    ("logs/cluster", 0o750),
    ("queue", 0o750),
    ("queue/agent-groups", 0o770),
    ("queue/cluster", 0o770),
    ("queue/sockets", 0o770),
    ("queue/wazuh_cluster", 0o750),
    ("var", 0o750),
    ("var/multigroups", 0o770),
    ("var/run", 0o770),
)

#: What a daemon needs to write, and makes where it is missing.
WORKING_FOLDERS = ("logs", "logs/cluster", "queue", "queue/wazuh_cluster", "var", "var/run")
_WRITTEN = ("logs/cluster", "logs", "queue/wazuh_cluster", "var/run")

_ID_NAME = "home-id"
_ID_SIZE = 16


def _absolute(path: str | bytes) -> str:
    return os.path.abspath(os.fsdecode(path))


@frozen
class Home:
    """
    Where things are below one home folder. It need not exist.

    @ivar path: the folder, absolute.
    """

    path: str = field(converter=_absolute)

    def join(self, relative: str) -> str:
        """
        The absolute path of something in the home.
        """
        return os.path.join(self.path, *relative.split("/"))

    @property
    def conf(self) -> str:
        """
        Wazuh's configuration.
        """
        return self.join("etc/ossec.conf")

    @property
    def settings(self) -> str:
        """
        This package's own settings.
        """
        return self.join("etc/wazuh_cluster.ini")

    @property
    def log(self) -> str:
        """
        The cluster's log.
        """
        return self.join("logs/cluster.log")

    @property
    def jsonLog(self) -> str:
        """
        The same as JSON, where that is asked for.
        """
        return self.join("logs/cluster.json")

    @property
    def logFolder(self) -> str:
        """
        Where rotated logs go.
        """
        return self.join("logs/cluster")

    @property
    def runFolder(self) -> str:
        """
        Where pid files are.
        """
        return self.join("var/run")

    @property
    def pidFile(self) -> str:
        """
        Where twistd keeps the daemon's process id.
        """
        return self.join("var/run/wazuh-cluster.pid")

    @property
    def stateFolder(self) -> str:
        """
        Where a node keeps its state.
        """
        return self.join("queue/wazuh_cluster")

    @property
    def staging(self) -> str:
        """
        Where fetched files wait until they are installed.
        """
        return self.join("queue/wazuh_cluster/staging")

    @property
    def agentsDatabase(self) -> str:
        """
        Where a master keeps the records of the fleet's agents.
        """
        return self.join("queue/wazuh_cluster/agents.db")

    @property
    def localAgentsDatabase(self) -> str:
        """
        Where a node keeps the records of the agents that report to itself.
        """
        return self.join("queue/wazuh_cluster/local-agents.db")

    def isRealManager(self) -> bool:
        """
        Whether a Wazuh manager is installed here. Blocks.
        """
        return any(
            os.path.exists(self.join(f"bin/{program}"))
            for program in ("wazuh-control", "ossec-control")
        )

    def analysisdStarts(self) -> list[float]:
        """
        When the running wazuh-analysisd processes were started, in seconds
        since the epoch, as their pid files tell. Blocks.
        """
        starts: list[float] = []
        folder = glob.escape(self.runFolder)
        for pattern in ("wazuh-analysisd-*.pid", "ossec-analysisd-*.pid"):
            for path in glob.glob(os.path.join(folder, pattern)):
                try:
                    starts.append(os.lstat(path).st_mtime)
                except FileNotFoundError:
                    continue
        return starts


def managerVersion(home: Home) -> str:
    """
    The version of the Wazuh manager that is installed in a home, as its
    C{VERSION.json} says: C{4.14.7}; empty if it does not say. Blocks.
    """
    try:
        with open(home.join("VERSION.json"), "rb") as file:
            found = json.loads(file.read(_VERSION_SIZE))
    except (OSError, ValueError, RecursionError):
        return ""
    version = found.get("version") if isinstance(found, dict) else None
    if not isinstance(version, str) or not re.fullmatch(r"v?[0-9][0-9A-Za-z.-]{0,31}", version):
        return ""
    return version.removeprefix("v")


def defaultHome(environment: Mapping[str, str]) -> str:
    """
    The home of a process that is not told one.
    """
    return environment.get("WAZUH_HOME") or DEFAULT_HOME


@frozen
class Owner:
    """
    Whom new files and folders belong to.
    """

    uid: int
    gid: int


def chooseOwner(home: Home, effectiveUser: int, account: str = ACCOUNT) -> Owner | None:
    """
    Whom new things in a home should belong to: whoever has its C{etc}, else,
    for root, the account of Wazuh if this machine has it.

    @return: C{None} to leave them to whoever makes them.
    """
    if effectiveUser != 0:
        return None
    try:
        status = os.stat(home.join("etc"))
    except OSError:
        pass
    else:
        return Owner(status.st_uid, status.st_gid)
    try:
        entry = pwd.getpwnam(account)
    except KeyError:
        return None
    return Owner(entry.pw_uid, entry.pw_gid)


def makeHome(
    home: Home, owner: Owner | None = None, folders: tuple[tuple[str, int], ...] = FOLDERS
) -> list[str]:
    """
    Make what is missing of a home's folders, with exactly their modes whatever
    the umask. What exists is left as it is.

    @return: the absolute paths that were made, parents first. Nothing is left
        of them after an error.

    @raise HomeError: if one cannot be made.
    """
    made: list[str] = []
    path = home.path
    try:
        missing: list[tuple[str, int]] = []
        while not os.path.lexists(path):
            missing.insert(0, (path, 0o750 if path == home.path else 0o755))
            path = os.path.dirname(path)
        for path, mode in [*missing, *((home.join(name), mode) for name, mode in folders)]:
            if os.path.isdir(path):
                continue
            os.mkdir(path, 0o700)
            made.append(path)
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                # A parent of the home that was missing is not the account's.
                if owner is not None and path.startswith(home.path):
                    os.fchown(handle, owner.uid, owner.gid)
                os.fchmod(handle, mode)
            finally:
                os.close(handle)
    except OSError as error:
        unmakeFolders(made)
        if error.errno in (errno.EEXIST, errno.ENOTDIR):
            raise HomeError("it is not a folder", path, "move it away") from None
        raise HomeError(
            f"the folder cannot be made ({error.strerror})",
            path,
            "choose another home, or run as a user who may write there",
        ) from None
    return made


def unmakeFolders(made: list[str]) -> None:
    """
    Remove those of the folders that L{makeHome} made that are still empty.
    """
    for path in reversed(made):
        try:
            os.rmdir(path)
        except OSError:
            # Somebody uses it already: then it is theirs.
            continue


def addWorkingFolders(home: Home, owner: Owner | None = None) -> list[str]:
    """
    Make what a daemon needs to write and does not find in a home that exists.

    @return: see L{makeHome}.

    @raise HomeError: if the home is not there, or a folder cannot be made.
    """
    requireFolder(home)
    modes = dict(FOLDERS)
    return makeHome(home, owner, tuple((name, modes[name]) for name in WORKING_FOLDERS))


def checkHome(home: Home, mayWrite: Callable[[str], bool] | None = None) -> None:
    """
    Check that a daemon can work in a home.

    @param mayWrite: tells whether this process may make files in a folder.

    @raise HomeError: if the home is missing, not a folder, or a folder in it
        that the daemon writes is not one or cannot be written.
    """
    requireFolder(home)
    if mayWrite is None:
        mayWrite = _mayWrite
    for name in _WRITTEN:
        path = home.join(name)
        if os.path.lexists(path) and not os.path.isdir(path):
            raise HomeError("it is not a folder", path, "move it away")
        while not os.path.lexists(path):
            # The daemon makes it: who counts is the nearest parent.
            path = os.path.dirname(path)
        if not mayWrite(path):
            raise HomeError(
                "this user cannot write there",
                path,
                "run as the home's owner or as root, or mend the folder's owner and mode",
            )


def checkHomeId(home: Home) -> None:
    """
    See that the persistent id of a home can be used, if it has one. Blocks.

    @raise HomeError: if what is kept is not an id, or cannot be read.
    """
    path = os.path.join(home.stateFolder, _ID_NAME)
    try:
        with open(path, "rb") as file:
            content = file.read(100)
    except FileNotFoundError:
        return
    except OSError as error:
        raise HomeError(
            f"it cannot be read ({error.strerror})", path, "let the daemon's user read it"
        ) from None
    if not re.fullmatch(rb"[0-9a-f]{32}", content.strip()):
        raise HomeError(
            "it is not 32 hexadecimal digits",
            path,
            "restore it; without it this node is a stranger to its cluster",
        )


def homeId(state: IState, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """
    The persistent id of a home, made when it is first asked for. Blocks.

    @return: 16 bytes.

    @raise StateDamaged: if what is kept is not an id.
    """
    kept = state.load(_ID_NAME)
    if kept is None:
        new = random(_ID_SIZE)
        state.save(_ID_NAME, new.hex().encode("ascii") + b"\n")
        return new
    text = kept.strip()
    if not re.fullmatch(rb"[0-9a-f]{32}", text):
        raise StateDamaged(
            "it is not 32 hexadecimal digits",
            f"the state {_ID_NAME!r}",
            "restore it; without it this node is a stranger to its cluster",
        )
    return bytes.fromhex(text.decode("ascii"))


def requireFolder(home: Home) -> None:
    """
    See that a home is there.

    @raise HomeError: if not.
    """
    if not os.path.lexists(home.path):
        raise HomeError(
            "there is no such folder",
            home.path,
            "make a home with 'wazuh-cluster init', or name another by --home or WAZUH_HOME",
        )
    if not os.path.isdir(home.path):
        raise HomeError("it is not a folder", home.path, "name a folder by --home or WAZUH_HOME")


def _mayWrite(folder: str) -> bool:
    return os.access(
        folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
    )
