"""
The collaborators that the services take when they are given none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorFDSet

from wazuh_cluster.integrity import DirectoryTree
from wazuh_cluster.integrity.filesystem import RealFileSystem
from wazuh_cluster.integrity.watch import InotifyWatcher
from wazuh_cluster.interfaces import IClusterTrust, IRunner, IState, ITree, IWatcher
from wazuh_cluster.model import Identity
from wazuh_cluster.state import DirectoryState
from wazuh_cluster.threads import ThreadRunner
from wazuh_cluster.trust import ClusterKey, KeyTrust


def stateOf(tree: ITree) -> IState:
    """
    Where a node keeps its state: C{queue/wazuh_cluster} below its tree.
    """
    return DirectoryState(
        RealFileSystem(),
        os.path.join(os.fsencode(tree.path), b"queue", b"wazuh_cluster"),
        sweeps=True,
    )


def threadRunners(reactor: Any) -> Callable[[str], IRunner]:
    """
    What makes runners that are threads of their own.
    """

    def make(name: str) -> IRunner:
        return ThreadRunner(reactor, name)

    return make


def trustOf(trust: ClusterKey | IClusterTrust, identity: Identity) -> IClusterTrust:
    """
    The trust that a cluster key gives a node, or the trust that it has.
    """
    return KeyTrust(trust, identity) if isinstance(trust, ClusterKey) else trust


def watcherOf(tree: ITree, reactor: Any) -> IWatcher | None:
    """
    What tells of changes in a tree: the kernel, if the tree is on a disk and
    the reactor can wait for it.
    """
    if isinstance(tree, DirectoryTree) and tree.onDisk and IReactorFDSet.providedBy(reactor):
        return InotifyWatcher(reactor, tree.path, tree.items)
    return None
