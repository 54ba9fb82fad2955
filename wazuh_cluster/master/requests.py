"""
What a master answers when it is asked by a name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wazuh_cluster.agents.interfaces import IFleet
from wazuh_cluster.agents.model import STATUSES, FleetFilter, formatId
from wazuh_cluster.agents.statusjson import writeStatus
from wazuh_cluster.errors import RequestRefused
from wazuh_cluster.master.administration import Administration
from wazuh_cluster.master.assignments import MasterAssignments
from wazuh_cluster.master.session import Session
from wazuh_cluster.protocol.bodies import writeBody
from wazuh_cluster.protocol.commands import BODY_SIZE
from wazuh_cluster.requests.fields import Fields
from wazuh_cluster.requests.names import (
    AGENTS_COUNTS,
    AGENTS_PAGE,
    AGENTS_REMOVE,
    GROUPS_ASSIGN,
    GROUPS_CREATE,
    GROUPS_DELETE,
    GROUPS_LIST,
    GROUPS_UNASSIGN,
)
from wazuh_cluster.requests.table import Asker, Entry, Requests

#: The most agents, or groups, of one page.
PAGE = 200

#: What a page has beside its agents.
_ROOM = BODY_SIZE - 200


class MasterAnswers:
    """
    The answers, each of which translates and calls who decides.
    """

    def __init__(
        self,
        fleet: IFleet | None,
        assignments: MasterAssignments | None,
        administration: Administration | None,
        wallClock: Callable[[], float],
    ) -> None:
        self._fleet = fleet
        self._assignments = assignments
        self._administration = administration
        self._wallClock = wallClock

    def table(self) -> Requests:
        """
        The allow-list of a master.
        """
        return Requests(
            (
                Entry(AGENTS_PAGE, self.agentsPage),
                Entry(AGENTS_COUNTS, self.agentsCounts),
                Entry(AGENTS_REMOVE, self.agentsRemove, changes=True),
                Entry(GROUPS_LIST, self.groupsList),
                Entry(GROUPS_CREATE, self.groupsCreate, changes=True),
                Entry(GROUPS_DELETE, self.groupsDelete, changes=True),
                Entry(GROUPS_ASSIGN, self.groupsAssign, changes=True),
                Entry(GROUPS_UNASSIGN, self.groupsUnassign, changes=True),
            )
        )

    async def agentsPage(self, fields: Fields) -> dict[str, Any]:
        """
        Some agents of the fleet, from an id on.
        """
        wanted = FleetFilter(
            frozenset(fields.texts("statuses")),
            frozenset(fields.texts("nodes")),
            frozenset(fields.texts("groups")),
        )
        for status in wanted.statuses.difference(STATUSES):
            raise RequestRefused(f"{status[:40]!r} is no status: use {', '.join(STATUSES)}")
        found = await self._requireFleet().page(fields.number("after", 0), PAGE, wanted)
        rows = found.agents
        page: list[dict[str, Any]] = []
        room = _ROOM
        for row in rows:
            agent = writeStatus(row)
            size = len(writeBody(agent)) + 1
            if size > _ROOM:
                agent = writeStatus(row, brief=True)
                size = len(writeBody(agent)) + 1
            if size > room:
                break
            page.append(agent)
            room -= size
        after = found.after if len(page) == len(rows) else rows[len(page) - 1].id
        return {"now": self._wallClock(), "agents": page, "next": after}

    async def agentsCounts(self, fields: Fields) -> dict[str, Any]:
        """
        How many agents have each status.
        """
        counts = await self._requireFleet().counts()
        return {"counts": dict(counts.statuses)}

    async def agentsRemove(self, fields: Fields) -> dict[str, Any]:
        """
        Remove agents, wherever they are known.
        """
        ids = fields.agents("ids")
        if self._administration is None:
            raise RequestRefused("this master registers no agents: there is nothing to remove")
        removed = await self._administration.remove(ids, fields.flag("purge"))
        gone = {agent.id for agent in removed}
        return {
            "removed": [{"id": formatId(agent.id), "name": agent.name} for agent in removed],
            "unknown": [formatId(each) for each in dict.fromkeys(ids) if each not in gone],
        }

    async def groupsList(self, fields: Fields) -> dict[str, Any]:
        """
        Some groups, from a name on.
        """
        after = fields.text("after", "")
        groups = await self._requireAssignments().groups()
        rest = [group for group in groups if group.name > after]
        return {
            "groups": [{"name": each.name, "agents": each.agents} for each in rest[:PAGE]],
            "next": rest[PAGE - 1].name if len(rest) > PAGE else None,
        }

    async def groupsCreate(self, fields: Fields) -> dict[str, Any]:
        """
        Make a group.
        """
        await self._requireAssignments().create(fields.text("name"))
        return {}

    async def groupsDelete(self, fields: Fields) -> dict[str, Any]:
        """
        Remove a group.
        """
        agents = await self._requireAssignments().delete(fields.text("name"))
        return {"agents": len(agents)}

    async def groupsAssign(self, fields: Fields) -> dict[str, Any]:
        """
        Put an agent into groups.
        """
        groups = await self._requireAssignments().assign(
            fields.number("id"), fields.texts("groups"), bool(fields.flag("add"))
        )
        return {"groups": groups}

    async def groupsUnassign(self, fields: Fields) -> dict[str, Any]:
        """
        Take an agent out of groups.
        """
        groups = await self._requireAssignments().unassign(
            fields.number("id"), fields.texts("groups")
        )
        return {"groups": groups}

    def _requireFleet(self) -> IFleet:
        if self._fleet is None:
            raise RequestRefused("this master keeps no statuses of agents")
        return self._fleet

    def _requireAssignments(self) -> MasterAssignments:
        if self._assignments is None:
            raise RequestRefused("this master keeps no groups of agents")
        return self._assignments


def workerAsker(session: Session, administrators: frozenset[str]) -> Asker:
    """
    The worker of a session as one who asks.

    @param administrators: the workers that may change the cluster.
    """
    session.requireJoined()
    name = "" if session.identity is None else session.identity.name
    return Asker(
        f"worker {name}",
        name in administrators,
        f"run this on the master, or add {name} there to [administration] workers in "
        "etc/wazuh_cluster.ini and start it again",
    )
