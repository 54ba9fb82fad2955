"""
The nodes that a master knows: also those that left or failed, and those of
before its own last restart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from wazuh_cluster.errors import RequestRefused, StateDamaged, Stopped
from wazuh_cluster.failures import oneLine
from wazuh_cluster.interfaces import IRunner, IState
from wazuh_cluster.journal import MAIN, Journal
from wazuh_cluster.model import WORKER, WorkerInfo
from wazuh_cluster.status.codec import read, write
from wazuh_cluster.status.values import FAILED, JOINED, LEFT, NodeReport, NodeStatus

#: The most nodes that are remembered: beyond it, those that went first are
#: forgotten.
MOST = 2000

_STATE = "nodes"


class KnownNodes:
    """
    Workers by name, as they were when something about their links changed last.

    @ivar failure: one line, if they cannot be kept.
    """

    def __init__(self, state: IState, runner: IRunner, wallClock: Callable[[], float]) -> None:
        """
        @param runner: where they are saved.
        """
        self._state = state
        self._runner = runner
        self._wallClock = wallClock
        self._nodes: dict[str, NodeStatus] = {}
        self._changed = False
        self._saving = False
        self.failure: str | None = None
        self._log = Journal(MAIN)

    def __iter__(self) -> Iterator[NodeStatus]:
        return iter([self._nodes[name] for name in sorted(self._nodes)])

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, name: str) -> NodeStatus | None:
        """
        A worker; C{None} if none of this name was ever joined.
        """
        return self._nodes.get(name)

    def load(self) -> None:
        """
        Read those of the process before. Whoever was joined then is awaited
        from now on. Blocks.
        """
        try:
            content = self._state.load(_STATE)
            if content is None:
                return
            found = [read(NodeStatus, each) for each in json.loads(content)["nodes"]]
        except (StateDamaged, ValueError, KeyError, TypeError, RecursionError) as error:
            self._log.error(
                "What was known of other nodes cannot be read, and is learned anew: {error}.",
                error=str(error).rstrip("."),
            )
            return
        now = self._wallClock()
        for node in found[:MOST]:
            if node.state == JOINED:
                # When it was seen last is on no disk.
                node = evolve(
                    node,
                    state=FAILED,
                    since=now,
                    lastKeepAlive=None,
                    why="it was joined before the master began anew",
                )
            self._nodes.setdefault(node.name, node)

    def save(self) -> None:
        """
        Keep them, if anything changed. It is not waited for: a disk that does not
        answer holds nothing else up. What it refuses is tried again.
        """
        if not self._changed or self._saving:
            return
        kept = [write(evolve(node, report=NodeReport(), agents={})) for node in self]
        content = json.dumps({"nodes": kept}).encode("ascii") + b"\n"
        self._changed, self._saving = False, True
        saving = self._runner.call(self._state.save, _STATE, content)
        saving.addCallbacks(self._saved, self._notSaved)
        saving.addErrback(self._bug)

    def _saved(self, _: None) -> None:
        self._saving = False
        self.failure = None

    def _notSaved(self, failure: Failure) -> None:
        self._saving = False
        self._changed = True
        if not failure.check(CancelledError, Stopped):
            failure.trap(OSError)
            self.failure = oneLine(failure)

    def _bug(self, failure: Failure) -> None:
        self._log.failure("Nodes cannot be kept: this is a bug.", failure)

    def joined(self, info: WorkerInfo) -> None:
        """
        A worker joined.
        """
        now = self._wallClock()
        self._put(
            NodeStatus(
                name=info.name,
                role=WORKER,
                state=JOINED,
                since=now,
                address=info.address,
                software=info.software,
                wazuhVersion=info.wazuhVersion,
                lastKeepAlive=now,
            )
        )

    def gone(self, last: NodeStatus, why: str, stopped: bool) -> None:
        """
        A worker's link ended.

        @param last: what was known of it then.
        @param why: one line.
        @param stopped: whether it had said that it would be.
        """
        state = LEFT if stopped else FAILED
        now = self._wallClock()
        self._put(evolve(last, state=state, since=now, lastKeepAlive=now, why=why))

    def forget(self, name: str) -> None:
        """
        Forget a worker.

        @raise RequestRefused: if it is not known, or is joined.
        """
        node = self._nodes.get(name)
        if node is None:
            raise RequestRefused(
                f"no node {name[:140]!r} is known: 'wazuh-cluster status' shows all"
            )
        if node.state == JOINED:
            raise RequestRefused(f"{name} is joined: stop it before you forget it")
        del self._nodes[name]
        self._changed = True

    def _put(self, node: NodeStatus) -> None:
        self._nodes[node.name] = node
        self._changed = True
        if len(self._nodes) > MOST:
            gone = [each for each in self._nodes.values() if each.state != JOINED]
            if gone:
                del self._nodes[min(gone, key=lambda each: each.since).name]
