"""
How many files and connections the daemon's process may have open.

For the daemon only: a library does not touch its process's limits.
"""

from __future__ import annotations

import resource

from wazuh_cluster.protocol.limits import Limits

#: For files, the log, the system's own, and what an operator opens.
_SPARE = 256


def descriptorsFor(limits: Limits, isMaster: bool, agents: int) -> int:
    """
    How many descriptors a node needs when as many connect as it allows: else
    strangers could keep it from opening its own files.

    @param agents: how many may be connected to enroll.
    """
    nodes = 2 * limits.greeting + limits.workers if isMaster else 0
    return nodes + agents + _SPARE


def allowDescriptors(wanted: int) -> int:
    """
    Let the process have that many, as far as the system does.

    @return: how many it may have.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted if soft == resource.RLIM_INFINITY else soft
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if most > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(soft, most)
