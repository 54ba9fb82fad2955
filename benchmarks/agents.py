"""
Agents' records: some of about half a kilobyte, in a worker's source before it
starts; and what SQLite alone takes to keep the same rows.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

from wazuh_cluster.agents import ACTIVE, AgentRecord
from wazuh_cluster.agents.local import LocalAgents
from wazuh_cluster.agents.localtables import localDatabase
from wazuh_cluster.agents.store import fleetDatabase
from wazuh_cluster.home import Home
from wazuh_cluster.testing.runner import ImmediateRunner
from wazuh_cluster.uptime import uptime

_TOGETHER = 1000


def records(count: int) -> Iterator[AgentRecord]:
    """
    Records of agents 1 to C{count}, heard just now; each different.
    """
    for agent in range(1, count + 1):
        yield AgentRecord(
            agent,
            ACTIVE,
            uptime(),
            version="Wazuh v4.14.7",
            info={
                "os_name": "Debian GNU/Linux",
                "os_version": "12",
                "os_major": "12",
                "os_codename": "bookworm",
                "os_platform": "debian",
                "os_uname": f"Linux |web-{agent} |6.1.0-18-amd64 |#1 SMP |x86_64",
                "os_arch": "x86_64",
                "config_sum": "ab73af41699f13fdd81903b5f23d8d00",
                "merged_sum": f"{agent:032x}",
                "manager_host": "siem-worker-1",
                "group_config_status": "synced",
            },
            labels=(
                ('#"_agent_ip"', f"10.{agent >> 16 & 255}.{agent >> 8 & 255}.{agent & 255}"),
                ('#"_node_name"', "siem-worker-1"),
            ),
        )


def fill(home: str, count: int) -> None:
    """
    Put records into the source of a worker that does not run.
    """
    source = LocalAgents(localDatabase(Home(home).localAgentsDatabase), ImmediateRunner())
    some: list[AgentRecord] = []
    for record in records(count):
        some.append(record)
        if len(some) == _TOGETHER:
            source.report(some).addErrback(_raise)
            some = []
    source.report(some).addErrback(_raise)
    source.stop()


def keptIn(home: str) -> int:
    """
    How many agents' records a master has kept.
    """
    with closing(sqlite3.connect(Home(home).agentsDatabase)) as connection:
        query = "SELECT count(*) FROM agents JOIN details USING (id)"
        return int(connection.execute(query).fetchone()[0])


def sqliteAlone(home: str, path: str) -> float:
    """
    Keep the rows that a master has kept in a file of the same form, by nothing
    but C{executemany}, in one transaction.

    @param path: where no file is yet.
    @return: how long that took, in seconds.
    """
    with closing(sqlite3.connect(Home(home).agentsDatabase)) as source:
        agents = source.execute(
            "SELECT id, event, heard, node, code, digest FROM agents ORDER BY id"
        ).fetchall()
        details = source.execute("SELECT id, digest, text FROM details ORDER BY id").fetchall()
    database = fleetDatabase(path)
    connection = database.connection()
    began = time.perf_counter()
    connection.execute("BEGIN")
    connection.executemany("INSERT OR REPLACE INTO agents VALUES (?, ?, ?, ?, ?, ?)", agents)
    connection.executemany("INSERT OR REPLACE INTO details VALUES (?, ?, ?)", details)
    connection.execute("COMMIT")
    seconds = time.perf_counter() - began
    database.close()
    os.unlink(path)
    return seconds


def _raise(failure: object) -> None:
    raise RuntimeError(str(failure))
