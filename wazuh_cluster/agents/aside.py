"""
Move a database that cannot be used aside, by its operator's word.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from wazuh_cluster.agents.database import Database
from wazuh_cluster.agents.localtables import localDatabase
from wazuh_cluster.agents.store import fleetDatabase
from wazuh_cluster.errors import StoreFailed
from wazuh_cluster.home import Home
from wazuh_cluster.homelock import HomeLock

#: What SQLite keeps beside a file.
_BESIDE = ("", "-wal", "-shm", "-journal")


def moveAside(
    home: Home, everything: bool = False, wallClock: Callable[[], float] = time.time
) -> list[tuple[str, str]]:
    """
    Rename those of a home's databases of agents' records that are damaged, so
    that its node begins with empty ones. A master has all records again when
    its workers have joined; a worker, when its agents have reported. Blocks.

    @param everything: those that are not damaged too.
    @return: the old and the new path of each that was moved.

    @raise HomeError: if a node runs in this home.
    @raise StoreFailed: if one cannot be looked at, for another reason than
        damage.
    @raise OSError: if one cannot be renamed.
    """
    lock = HomeLock(home)
    lock.acquire()
    try:
        return [
            (database.path, _rename(database.path, wallClock()))
            for database in (
                fleetDatabase(home.agentsDatabase),
                localDatabase(home.localAgentsDatabase),
            )
            if os.path.lexists(database.path) and (everything or _isDamaged(database))
        ]
    finally:
        lock.release()


def _isDamaged(database: Database) -> bool:
    try:
        database.check()
    except StoreFailed:
        if not database.damaged:
            raise
        return True
    finally:
        database.close()
    return False


def _rename(path: str, now: float) -> str:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    target, number = f"{path}.{stamp}", 1
    while os.path.lexists(target):
        target, number = f"{path}.{stamp}-{number}", number + 1
    for suffix in _BESIDE:
        if os.path.lexists(path + suffix):
            os.rename(path + suffix, target + suffix)
    return target
