"""
What the master answers: the responders, which translate and decide nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.protocols.amp import CommandLocator

from wazuh_cluster.protocol import (
    CheckIntegrity,
    Hello,
    KeepAlive,
    ReportIntegrity,
    ReportStatus,
    RequestFiles,
    RequestManifest,
    SyncAgentInfo,
)

if TYPE_CHECKING:
    from wazuh_cluster.master.agentinfo import MasterAgentInfo
    from wazuh_cluster.master.integrity import MasterIntegrity
    from wazuh_cluster.master.node import MasterNode
    from wazuh_cluster.master.session import Session
    from wazuh_cluster.master.status import MasterStatus


class MasterLocator(CommandLocator):
    """
    The responders for one session.
    """

    def __init__(
        self, node: MasterNode, integrity: MasterIntegrity, status: MasterStatus, session: Session
    ) -> None:
        super().__init__()
        self._status = status
        self._integrity = integrity
        self._node = node
        self._session = session

    @Hello.responder
    def hello(self, **hello: Any) -> Deferred[dict[str, Any]]:
        """
        See L{Hello}.
        """
        return Deferred.fromCoroutine(self._node.join(self._session, hello))

    @KeepAlive.responder
    def keepAlive(self, clock: int, tick: int | None) -> dict[str, Any]:
        """
        See L{KeepAlive}.
        """
        return {"clock": self._node.keepAlive(self._session, clock, tick)}

    @CheckIntegrity.responder
    def checkIntegrity(self, root: bytes, algorithm: str) -> dict[str, Any]:
        """
        See L{CheckIntegrity}.
        """
        generation, carried, equal = self._integrity.check(self._session, root, algorithm)
        return {
            "upToDate": equal,
            "master": generation.master,
            "number": generation.number,
            "root": generation.root,
            "epoch": generation.epoch,
            "algorithm": carried,
        }

    @RequestManifest.responder
    def requestManifest(self, transfer: int, window: int, mark: bytes | None) -> dict[str, Any]:
        """
        See L{RequestManifest}.
        """
        generation = self._integrity.sendManifest(self._session, transfer, window, mark)
        return {
            "master": generation.master,
            "number": generation.number,
            "root": generation.root,
            "epoch": generation.epoch,
        }

    @RequestFiles.responder
    def requestFiles(
        self,
        wants: int,
        transfer: int,
        window: int,
        algorithm: str,
        compressions: str | None,
    ) -> dict[str, Any]:
        """
        See L{RequestFiles}.
        """
        compression = self._integrity.sendFiles(
            self._session, wants, transfer, window, algorithm, compressions
        )
        return {"window": self._session.transfers.window, "compression": compression}

    @ReportIntegrity.responder
    def reportIntegrity(self, **report: Any) -> dict[str, Any]:
        """
        See L{ReportIntegrity}.
        """
        self._integrity.report(self._session, report)
        return {}

    @ReportStatus.responder
    def reportStatus(self, status: bytes) -> dict[str, Any]:
        """
        See L{ReportStatus}.
        """
        self._status.report(self._session, status)
        return {}


class AgentInfoLocator(CommandLocator):
    """
    The responders of a master that keeps agents' records, for one session.
    """

    def __init__(self, agentInfo: MasterAgentInfo, session: Session) -> None:
        super().__init__()
        self._agentInfo = agentInfo
        self._session = session

    @SyncAgentInfo.responder
    def syncAgentInfo(
        self, tick: int, records: bytes, details: bytes | None
    ) -> Deferred[dict[str, Any]]:
        """
        See L{SyncAgentInfo}.
        """
        return Deferred.fromCoroutine(self._sync(tick, records, details or b""))

    async def _sync(self, tick: int, records: bytes, details: bytes) -> dict[str, Any]:
        answer = await self._agentInfo.sync(self._session, tick, records, details)
        return {
            "taken": answer.taken,
            "unknown": _array(answer.unknown),
            "incomplete": _array(answer.incomplete),
        }


def _array(ids: Sequence[int]) -> bytes:
    return json.dumps(list(ids), separators=(",", ":")).encode("ascii") if ids else b"[]"
