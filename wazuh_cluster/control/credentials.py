"""
Who a local program is, and what it may do.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from attrs import frozen

from wazuh_cluster.errors import HomeError
from wazuh_cluster.home import Home

#: What the system calls the groups of a peer; Python has no name for it.
_SO_PEERGROUPS = 59

#: The most that Python asks the system for: 256 groups.
_MOST_GROUPS = 1024


@frozen
class Credentials:
    """
    The user of the process at the other end, as the system says it was when it
    connected.

    @ivar uid: the user's number.
    @ivar gid: its group's.
    @ivar groups: the further groups; C{None} if the system does not say.
    """

    uid: int
    gid: int
    groups: frozenset[int] | None = None


def socketCredentials(transport: Any) -> Credentials:
    """
    Those of a unix socket's peer.

    @raise OSError: if the system does not say.
    """
    connection = transport.socket
    size = struct.calcsize("=iII")
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, uid, gid = struct.unpack("=iII", found)
    try:
        groups = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_GROUPS)
    except OSError:
        # An old system, or somebody in more groups than fit.
        return Credentials(uid, gid)
    return Credentials(uid, gid, frozenset(each for (each,) in struct.iter_unpack("=I", groups)))


@frozen
class Permissions:
    """
    What users may do at one node.

    @ivar uid: the owner of the home's C{etc}, who may do all that root may.
    @ivar gid: its group, whose members may look, and report agents.
    """

    uid: int
    gid: int

    @classmethod
    def ofHome(cls, home: str) -> Permissions:
        """
        Those of a home. Blocks.

        @raise HomeError: if it is not there.
        """
        path = Home(home).join("etc")
        try:
            status = os.stat(path)
        except OSError as error:
            raise HomeError(
                f"its owner cannot be seen ({error.strerror})", path, "make it a folder"
            ) from None
        return cls(status.st_uid, status.st_gid)

    def mayChange(self, who: Credentials) -> bool:
        """
        Whether somebody may change the cluster.
        """
        return who.uid in (0, self.uid)

    def mayUse(self, who: Credentials) -> bool:
        """
        Whether somebody may look, and report agents. Where the system does not
        tell a user's groups, the socket's own permissions decide: whoever is
        connected passed them.
        """
        return (
            self.mayChange(who)
            or who.gid == self.gid
            or who.groups is None
            or self.gid in who.groups
        )
