"""
The control socket: C{queue/wazuh_cluster/control.sock} in a home.

The path of a unix socket has 107 bytes, that of a home may have more. Then the
folder is reached by its open descriptor, below C{/proc/self/fd}.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from typing import Any

from twisted.internet import error as internetError
from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, execute, fail
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.errors import HomeError
from wazuh_cluster.home import Home, makeHome

NAME = "control.sock"

#: The permissions of the socket: the home's owner, and its group.
MODE = 0o660

_LONGEST = 107
_BACKLOG = 64
_FOLDERS = (("queue", 0o750), ("queue/wazuh_cluster", 0o750))
_NOT_ALLOWED = (errno.EPERM, errno.EACCES, errno.EINVAL)


def _address(folder: int, path: str) -> str:
    """
    The socket in an open folder, as a path that is short enough.
    """
    if len(os.fsencode(path)) <= _LONGEST:
        return path
    return f"/proc/self/fd/{folder}/{NAME}"


class ControlPort(unix.Port):
    """
    A port whose file may be gone when it is closed: an operator may have
    removed it, or the home.
    """

    def __init__(self, folder: int, address: str, factory: IProtocolFactory, reactor: Any) -> None:
        """
        @param folder: the open folder; it is closed with the port.
        """
        super().__init__(os.fsencode(address), factory, _BACKLOG, MODE, reactor)
        self._folder = folder

    def connectionLost(self, reason: Failure) -> None:
        """
        Remove the file and close.
        """
        try:
            super().connectionLost(reason)
        except OSError:
            tcp.Port.connectionLost(self, reason)
        os.close(self._folder)


@implementer(IStreamServerEndpoint)
class ControlServerEndpoint:
    """
    Where a node listens for local programs. What a process that died left
    there is replaced; where another one answers, that fails.
    """

    def __init__(self, reactor: Any, home: str) -> None:
        self._reactor = reactor
        self._home = Home(home)
        self._path = self._home.join(f"queue/wazuh_cluster/{NAME}")

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        See C{IStreamServerEndpoint}. It fails with L{HomeError}, in one line.
        """
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> ControlPort:
        makeHome(self._home, folders=_FOLDERS)
        folder = os.open(self._home.stateFolder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._lock(folder)
            self._removeDead(folder)
            port = ControlPort(folder, _address(folder, self._path), factory, self._reactor)
            try:
                port.startListening()
            except internetError.CannotListenError as error:
                reason = getattr(error.socketError, "strerror", None) or error.socketError
                raise self._problem(f"it cannot be made ({reason})") from None
        except BaseException:
            os.close(folder)
            raise
        self._give(folder)
        return port

    def _lock(self, folder: int) -> None:
        """
        Have it alone, as long as the folder is open.
        """
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._taken() from None
        except OSError:
            # Some network file systems lock no folders.
            return

    def _removeDead(self, folder: int) -> None:
        try:
            status = os.stat(NAME, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(status.st_mode):
            raise self._problem("it is not a socket", "move it away")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(_address(folder, self._path))
            except ConnectionRefusedError:
                os.unlink(NAME, dir_fd=folder)
                return
            except BlockingIOError:
                # Somebody is there, and busy.
                raise self._taken() from None
            except OSError as error:
                raise self._problem(f"it cannot be tried ({error.strerror})") from None
        raise self._taken()

    def _give(self, folder: int) -> None:
        """
        Give it to whom the home belongs, as far as this process may.
        """
        try:
            owner = os.stat(self._home.join("etc"))
        except OSError:
            return
        for uid in (owner.st_uid, -1):
            try:
                os.chown(NAME, uid, owner.st_gid, dir_fd=folder, follow_symlinks=False)
                return
            except OSError as error:
                if error.errno not in _NOT_ALLOWED:
                    raise

    def _taken(self) -> HomeError:
        return self._problem("another node answers there", "stop that one first")

    def _problem(
        self, what: str, remedy: str = "let the daemon's user write to its folder"
    ) -> HomeError:
        return HomeError(what, self._path, remedy)


@implementer(IStreamClientEndpoint)
class ControlClientEndpoint:
    """
    The node that runs in a home, for local programs.
    """

    def __init__(self, reactor: Any, home: str) -> None:
        self._reactor = reactor
        self._home = Home(home)
        self._path = self._home.join(f"queue/wazuh_cluster/{NAME}")

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See C{IStreamClientEndpoint}. It fails with L{HomeError}, in one line.
        """
        try:
            folder = os.open(self._home.stateFolder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            return fail(self._explain(error.errno))
        address = _address(folder, self._path)
        connecting = UNIXClientEndpoint(self._reactor, address).connect(protocolFactory)

        def close(result: Any) -> Any:
            os.close(folder)
            return result

        return connecting.addBoth(close).addErrback(self._failed)

    def _failed(self, failure: Failure) -> Failure:
        failure.trap(internetError.ConnectError)
        code = getattr(failure.value, "osError", None)
        refused = failure.check(internetError.ConnectionRefusedError)
        return Failure(self._explain(errno.ECONNREFUSED if refused else code))

    def _explain(self, code: int | None) -> HomeError:
        if code in (errno.EACCES, errno.EPERM):
            return HomeError(
                "this user may not talk to the node",
                self._path,
                "run it as root, as the owner of the home's etc, or as a member of its group",
            )
        if not os.path.isdir(self._home.path):
            return HomeError(
                "there is no such folder",
                self._home.path,
                "name a node's home by --home or WAZUH_HOME",
            )
        if code in (errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED):
            return HomeError(
                "no node runs there",
                self._home.path,
                f"start it with 'twistd wazuh-cluster --home {self._home.path}'",
            )
        reason = os.strerror(code) if code else "no reason is known"
        return HomeError(f"the node cannot be reached ({reason})", self._path, "try again")
