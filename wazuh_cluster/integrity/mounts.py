"""
Which kind of file system a folder is on.
"""

from __future__ import annotations

import os
import re

#: Where other machines write too: the kernel here hears nothing of that.
_NETWORK = re.compile(
    r"9p|afs|beegfs|ceph|cifs|coda|fhgfs|fuse|fuse\..*|gfs2?|glusterfs|gpfs|lustre|ncpfs|nfs4?|"
    r"ocfs2|orangefs|panfs|prl_fs|pvfs2|smb3|smbfs|vboxsf|virtiofs|vmhgfs"
)

_MOUNTS = "/proc/self/mountinfo"


def networkFileSystem(folder: bytes, mounts: str = _MOUNTS) -> str | None:
    """
    The kind of file system that a folder is on, if it is one on which other
    machines, or programs beside the kernel, may change files.

    @return: its name, such as C{nfs4}; C{None} for a local one, and where the
        system does not tell.
    """
    try:
        device = os.stat(folder).st_dev
        wanted = b"%d:%d" % (os.major(device), os.minor(device))
        with open(mounts, "rb") as file:
            for line in file:
                # 36 35 98:0 /root /mount options optional… - type source options
                head, _, tail = line.partition(b" - ")
                if head.split(b" ", 3)[2:3] == [wanted]:
                    kind = tail.split(b" ", 1)[0].decode("ascii", "replace")
                    return kind if _NETWORK.fullmatch(kind) else None
    except OSError:
        return None
    return None
