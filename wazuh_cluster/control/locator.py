"""
What a node answers local programs: the responders, which translate and decide
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.protocols.amp import CommandLocator

from wazuh_cluster.agents.interfaces import IReports
from wazuh_cluster.agents.statusjson import readReport
from wazuh_cluster.control.commands import (
    AssignAgent,
    CountAgents,
    CreateGroup,
    DeleteGroup,
    ExplainFile,
    ExplainOwnFile,
    ForgetNode,
    GetNode,
    GetOwnStatus,
    GetStatus,
    ListAgents,
    ListEvents,
    ListGroups,
    ListNodes,
    ListOwnEvents,
    RemoveAgents,
    ReportAgents,
    SyncNode,
    SyncYourself,
    UnassignAgent,
)
from wazuh_cluster.control.credentials import Credentials, Permissions
from wazuh_cluster.errors import BadArgument, ClusterError, RequestRefused, TooBusy
from wazuh_cluster.protocol.bodies import readBody
from wazuh_cluster.protocol.deadlines import Deadlines
from wazuh_cluster.requests import Asker, IAnswers
from wazuh_cluster.requests.locator import tooLate


class ControlLocator(CommandLocator):
    """
    The responders for one local program.
    """

    def __init__(
        self,
        answers: IAnswers,
        reports: IReports | None,
        permissions: Permissions,
        who: Callable[[], Credentials],
        deadlines: Deadlines,
        uptime: Callable[[], float],
    ) -> None:
        """
        @param answers: answers what the commands ask.
        @param reports: takes what was heard of agents; C{None} for nobody.
        @param who: says who is at the other end.
        @param uptime: the clock of which reports are to be.
        """
        super().__init__()
        self._answers = answers
        self._reports = reports
        self._permissions = permissions
        self._who = who
        self._deadlines = deadlines
        self._uptime = uptime

    @ListAgents.responder
    def listAgents(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{ListAgents}.
        """
        return self._ask(ListAgents.request, body)

    @CountAgents.responder
    def countAgents(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{CountAgents}.
        """
        return self._ask(CountAgents.request, body)

    @RemoveAgents.responder
    def removeAgents(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{RemoveAgents}.
        """
        return self._ask(RemoveAgents.request, body)

    @ListGroups.responder
    def listGroups(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{ListGroups}.
        """
        return self._ask(ListGroups.request, body)

    @CreateGroup.responder
    def createGroup(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{CreateGroup}.
        """
        return self._ask(CreateGroup.request, body)

    @DeleteGroup.responder
    def deleteGroup(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{DeleteGroup}.
        """
        return self._ask(DeleteGroup.request, body)

    @AssignAgent.responder
    def assignAgent(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{AssignAgent}.
        """
        return self._ask(AssignAgent.request, body)

    @UnassignAgent.responder
    def unassignAgent(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{UnassignAgent}.
        """
        return self._ask(UnassignAgent.request, body)

    @GetStatus.responder
    def getStatus(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{GetStatus}.
        """
        return self._ask(GetStatus.request, body)

    @ListNodes.responder
    def listNodes(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{ListNodes}.
        """
        return self._ask(ListNodes.request, body)

    @GetNode.responder
    def getNode(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{GetNode}.
        """
        return self._ask(GetNode.request, body)

    @ListEvents.responder
    def listEvents(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{ListEvents}.
        """
        return self._ask(ListEvents.request, body)

    @ExplainFile.responder
    def explainFile(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{ExplainFile}.
        """
        return self._ask(ExplainFile.request, body)

    @SyncNode.responder
    def syncNode(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{SyncNode}.
        """
        return self._ask(SyncNode.request, body)

    @ForgetNode.responder
    def forgetNode(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{ForgetNode}.
        """
        return self._ask(ForgetNode.request, body)

    @GetOwnStatus.responder
    def getOwnStatus(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{GetOwnStatus}.
        """
        return self._ask(GetOwnStatus.request, body)

    @ListOwnEvents.responder
    def listOwnEvents(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{ListOwnEvents}.
        """
        return self._ask(ListOwnEvents.request, body)

    @ExplainOwnFile.responder
    def explainOwnFile(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{ExplainOwnFile}.
        """
        return self._ask(ExplainOwnFile.request, body)

    @SyncYourself.responder
    def syncYourself(self, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{SyncYourself}.
        """
        return self._ask(SyncYourself.request, body)

    @ReportAgents.responder
    def reportAgents(self, reports: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{ReportAgents}.
        """

        async def report() -> dict[str, Any]:
            self._asker()
            return {"taken": await self._report(reports)}

        return self._bounded("ReportAgents", report)

    def _ask(self, name: str, body: bytes) -> Deferred[dict[str, Any]]:
        async def ask() -> dict[str, Any]:
            return {"body": await self._answers.perform(self._asker(), name, body)}

        return self._bounded(name, ask)

    def _bounded(self, name: str, ask: Any) -> Deferred[dict[str, Any]]:
        answer: Deferred[dict[str, Any]] = self._deadlines.bound(
            ask, tooLate(name, self._deadlines.seconds)
        )
        return answer

    def _asker(self) -> Asker:
        """
        Who asks.

        @raise RequestRefused: if it may not even look.
        """
        who, permissions = self._who(), self._permissions
        if not permissions.mayUse(who):
            raise RequestRefused(
                f"user {who.uid} may not talk to this node: run it as root, as the owner of the "
                "home's etc, or as a member of its group"
            )
        return Asker(
            f"user {who.uid}",
            permissions.mayChange(who),
            f"run this as root or as the owner of the home's etc (user {permissions.uid})",
        )

    async def _report(self, reports: bytes) -> int:
        if self._reports is None:
            raise RequestRefused("this node takes no reports about agents")
        now = self._uptime()
        records = []
        try:
            for number, found in enumerate(readBody(reports, list), 1):
                try:
                    records.append(readReport(found, now))
                except ValueError as error:
                    raise RequestRefused(f"report {number}: {error}") from None
            return await self._reports.report(records)
        except (RequestRefused, TooBusy):
            raise
        except BadArgument as error:
            raise RequestRefused(f"the reports: {error}") from None
        except ClusterError as error:
            raise RequestRefused(str(error)) from None
