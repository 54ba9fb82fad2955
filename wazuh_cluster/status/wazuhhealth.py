"""
A cluster's health in the shapes of Wazuh: what its C{get_nodes} and
C{get_health} give, on which C{cluster_control} and the API's C{/cluster}
endpoints stand.

What this cluster does otherwise than Wazuh's (groups of agents travel as files,
nobody asks for a permission) has the values that say "nothing to tell" there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

from wazuh_cluster.model import MASTER
from wazuh_cluster.status.values import JOINED, NodeStatus, ThreadStatus

#: What stands for a date that there is not.
NO_DATE = "n/a"

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def date(seconds: float | None) -> str:
    """
    A time as Wazuh writes it: C{2026-11-22T18:03:11.123456Z}, or C{n/a}.

    @param seconds: since the epoch.
    """
    if seconds is None:
        return NO_DATE
    try:
        return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except OverflowError:
        return NO_DATE


def connected(nodes: Iterable[NodeStatus]) -> list[NodeStatus]:
    """
    The nodes that Wazuh would show: those that are joined.
    """
    return [node for node in nodes if node.state == JOINED]


def version(node: NodeStatus) -> str:
    """
    A node's version without C{v}: the manager's, else that of this software.
    """
    return node.version.removeprefix("Wazuh ").removeprefix("v")


def nodeItem(node: NodeStatus) -> dict[str, str]:
    """
    A node as C{get_nodes} has it.
    """
    return {"name": node.name, "type": node.role, "version": version(node), "ip": node.address}


def health(nodes: Iterable[NodeStatus], wanted: Collection[str] | None = None) -> dict[str, Any]:
    """
    What C{get_health} gives.

    @param wanted: the names of the nodes to tell of; C{None} for all.
    """
    there = connected(nodes)
    return {
        "n_connected_nodes": sum(node.role != MASTER for node in there),
        "nodes": {
            node.name: nodeHealth(node)
            for node in sorted(there, key=lambda node: node.name)
            if wanted is None or node.name in wanted
        },
    }


def nodeHealth(node: NodeStatus) -> dict[str, Any]:
    """
    A node as C{get_health} has it: the master without a C{status}.
    """
    found: dict[str, Any] = {
        "info": {**nodeItem(node), "n_active_agents": node.agents.get("active", 0)}
    }
    if node.role != MASTER:
        found["status"] = _status(node)
    return found


def seconds(start: str, end: str) -> str:
    """
    How long it is from one date to another, as C{cluster_control} shows it:
    rounded to three digits, at least 0.001, with a final C{s}; C{n/a} if one of
    them is.
    """
    if NO_DATE in (start, end):
        return NO_DATE
    begun, ended = (datetime.strptime(each, "%Y-%m-%dT%H:%M:%S.%fZ") for each in (start, end))
    return f"{max(0.001, round((ended - begun).total_seconds(), 3))}s"


def _status(node: NodeStatus) -> dict[str, Any]:
    threads = {each.name: each for each in node.report.threads}
    integrity, agents = threads.get("Integrity"), threads.get("Agent info")
    sync, checked = node.report.lastSync, node.lastCheck
    took = 0.0 if integrity is None or integrity.duration is None else integrity.duration
    never = {"date_start": NO_DATE, "date_end": NO_DATE, "n_synced_chunks": 0}
    return {
        "sync_integrity_free": not _runs(integrity),
        "last_check_integrity": {
            "date_start_master": date(None if checked is None else checked - took),
            "date_end_master": date(checked),
        },
        "last_sync_integrity": {
            "date_start_master": date(None if sync is None else sync.at - sync.seconds),
            "date_end_master": date(None if sync is None else sync.at),
            "total_extra_valid": 0,
            "total_files": {
                "missing": 0 if sync is None else sync.created,
                "shared": 0 if sync is None else sync.updated + sync.mended,
                "extra": 0 if sync is None else sync.deleted,
            },
        },
        "sync_agent_info_free": not _runs(agents),
        "last_sync_agentinfo": {
            "date_start_master": date(_began(agents)),
            "date_end_master": date(None if agents is None else agents.ended),
            "n_synced_chunks": node.report.chunks,
        },
        "last_sync_agentgroup": dict(never),
        "last_sync_full_agentgroup": dict(never),
        "last_keep_alive": date(node.lastKeepAlive),
    }


def _runs(thread: ThreadStatus | None) -> bool:
    return thread is not None and thread.running


def _began(thread: ThreadStatus | None) -> float | None:
    return None if thread is None or thread.ended is None else thread.started
