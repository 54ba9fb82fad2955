"""
The names of the requests that a master answers. "Requests" in the manual has
what their bodies say.
"""

from __future__ import annotations

AGENTS_PAGE = "agents.page"
AGENTS_COUNTS = "agents.counts"
AGENTS_REMOVE = "agents.remove"
GROUPS_LIST = "groups.list"
GROUPS_CREATE = "groups.create"
GROUPS_DELETE = "groups.delete"
GROUPS_ASSIGN = "groups.assign"
GROUPS_UNASSIGN = "groups.unassign"

#: What is only looked at.
READING = frozenset({AGENTS_PAGE, AGENTS_COUNTS, GROUPS_LIST})

#: What changes the cluster.
ADMINISTRATION = frozenset(
    {
        AGENTS_REMOVE,
        GROUPS_CREATE,
        GROUPS_DELETE,
        GROUPS_ASSIGN,
        GROUPS_UNASSIGN,
    }
)
