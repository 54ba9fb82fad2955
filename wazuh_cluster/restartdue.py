"""
The mark that says that Wazuh must be restarted before files that a sync
brought are in use.

Everything here blocks, by one small file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

from attrs import frozen

from wazuh_cluster.errors import StateDamaged
from wazuh_cluster.interfaces import IState

_NAME = "restart-due"
_MOST_FILES = 100


@frozen
class DueRestart:
    """
    That a restart is due.

    @ivar since: when the first of the files came, in seconds since the epoch.
    @ivar latest: when the last of them came.
    @ivar files: which, relative to the home; the first 100 of them.
    @ivar count: how many. Beyond the first 100, a file that came twice counts
        twice.
    """

    since: float
    latest: float
    files: tuple[bytes, ...]
    count: int


class RestartDue:
    """
    Keeps the mark in a node's state.
    """

    def __init__(self, state: IState) -> None:
        self._state = state

    def add(self, paths: Iterable[bytes], now: float) -> None:
        """
        Note that these files came, which Wazuh reads only when it starts.

        @param now: seconds since the epoch, by the clock of the file system.
        """
        before = self.readOrForget()
        marked = _added(before, paths, now)
        if marked is not None and marked is not before:
            self._save(marked)

    def settle(self, before: DueRestart | None, paths: Iterable[bytes], now: float) -> None:
        """
        Replace the mark, in one step, by an earlier one with these files added.
        So a mark can be made before the files come: a process that dies in
        between has made it for nothing, and not forgotten it.

        @param before: what L{read} gave; C{None} for no mark.
        @param now: as for L{add}.
        """
        marked = _added(before, paths, now)
        if marked is not None:
            self._save(marked)
        elif self._state.load(_NAME) is not None:
            self.clear()

    def read(self) -> DueRestart | None:
        """
        The mark, or C{None} if no restart is due.

        @raise StateDamaged: if it cannot be read.
        """
        content = self._state.load(_NAME)
        if content is None:
            return None
        try:
            values = json.loads(content)
            return DueRestart(
                since=float(values["since"]),
                latest=float(values["latest"]),
                files=tuple(os.fsencode(path) for path in values["files"]),
                count=int(values["count"]),
            )
        except (ValueError, KeyError, TypeError, OverflowError):
            raise StateDamaged(
                "it cannot be read",
                f"the state {_NAME!r}",
                "restart Wazuh and run 'wazuh-cluster restarted'",
            ) from None

    def clear(self) -> None:
        """
        Wazuh was restarted: forget the mark.
        """
        self._state.remove(_NAME)

    def clearIfRestarted(self, starts: Iterable[float]) -> bool:
        """
        Forget the mark if Wazuh was started after the last of the files came.

        @param starts: when wazuh-analysisd was started, in seconds since the
            epoch: L{wazuh_cluster.home.Home.analysisdStarts}.

        @return: whether there was a mark that is now gone.
        """
        due = self.read()
        if due is None or max(starts, default=due.latest) <= due.latest:
            return False
        self.clear()
        return True

    def readOrForget(self) -> DueRestart | None:
        """
        The mark; a damaged one counts as none.
        """
        try:
            return self.read()
        except StateDamaged:
            return None

    def _save(self, due: DueRestart) -> None:
        values = {
            "since": due.since,
            "latest": due.latest,
            "files": [os.fsdecode(path) for path in due.files],
            "count": due.count,
        }
        self._state.save(_NAME, json.dumps(values).encode("ascii") + b"\n")


def _added(before: DueRestart | None, paths: Iterable[bytes], now: float) -> DueRestart | None:
    """
    A mark with files added; the same one for no files.
    """
    files = dict.fromkeys(before.files if before is not None else ())
    count = before.count if before is not None else 0
    noted = False
    for path in paths:
        noted = True
        if path in files:
            continue
        count += 1
        if len(files) < _MOST_FILES:
            files[path] = None
    if not noted:
        return before
    since = now if before is None else before.since
    return DueRestart(since=since, latest=now, files=tuple(files), count=count)
