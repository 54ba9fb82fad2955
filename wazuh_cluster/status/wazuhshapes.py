"""
A cluster's status in the shapes of Wazuh's own programs: its API's JSON, and
what C{cluster_control} prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from wazuh_cluster.model import MASTER
from wazuh_cluster.status.values import JOINED, NodeStatus, ThreadStatus

#: What stands where there is no date.
NO_DATE = "n/a"

_CHUNKS = re.compile(r"\bin ([\d,]+) chunks")


def wazuhDate(at: float | None) -> str:
    """
    A time as Wazuh writes it: C{2026-01-31T12:00:00.000000Z}, or C{n/a}.
    """
    if at is None:
        return NO_DATE
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def isConnected(node: NodeStatus) -> bool:
    """
    Whether Wazuh would list a node: it forgets those that are not there.
    """
    return node.state == JOINED


def nodeItem(node: NodeStatus) -> dict[str, Any]:
    """
    A node of C{/cluster/nodes}.
    """
    return {
        "name": node.name,
        "type": node.role,
        "version": node.version.removeprefix("v"),
        "ip": node.address,
    }


def healthItem(node: NodeStatus) -> dict[str, Any]:
    """
    A node of C{/cluster/healthcheck}; a master has no C{status}.
    """
    info = {**nodeItem(node), "n_active_agents": node.agents.get("active", 0)}
    if node.role == MASTER:
        return {"info": info}
    check = _thread(node.report.threads, "Integrity")
    agents = _thread(node.report.threads, "Agent info")
    sync = node.report.lastSync
    began = None if sync is None else sync.at - sync.seconds
    never = {"date_start": NO_DATE, "date_end": NO_DATE, "n_synced_chunks": 0}
    return {
        "info": info,
        "status": {
            "sync_integrity_free": check is None or not check.running,
            "last_check_integrity": _dates(check),
            "last_sync_integrity": {
                "date_start_master": wazuhDate(began),
                "date_end_master": wazuhDate(None if sync is None else sync.at),
                "total_extra_valid": 0,
                "total_files": {
                    "missing": 0 if sync is None else sync.created,
                    "shared": 0 if sync is None else sync.updated,
                    "extra": 0 if sync is None else sync.deleted,
                },
            },
            "sync_agent_info_free": agents is None or not agents.running,
            "last_sync_agentinfo": {**_dates(agents), "n_synced_chunks": _chunks(agents)},
            # Groups travel as files: there is no such sync.
            "last_sync_agentgroup": never,
            "last_sync_full_agentgroup": never,
            "last_keep_alive": wazuhDate(node.lastKeepAlive),
        },
    }


def _thread(threads: Iterable[ThreadStatus], name: str) -> ThreadStatus | None:
    return next((each for each in threads if each.name == name), None)


def _dates(thread: ThreadStatus | None) -> dict[str, str]:
    started = None if thread is None else thread.started
    ended = None if thread is None else thread.ended
    return {"date_start_master": wazuhDate(started), "date_end_master": wazuhDate(ended)}


def _chunks(thread: ThreadStatus | None) -> int:
    """
    How many chunks the last run sent, as its line says.
    """
    words = "" if thread is None or thread.result is None else thread.result
    found = _CHUNKS.search(words)
    return 0 if found is None else int(found[1].replace(",", ""))
