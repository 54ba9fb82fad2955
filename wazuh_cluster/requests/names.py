"""
The names of the requests that nodes answer. "Requests" in the manual has what
their bodies say.
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

CLUSTER_STATUS = "cluster.status"
CLUSTER_NODES = "cluster.nodes"
CLUSTER_NODE = "cluster.node"
CLUSTER_EVENTS = "cluster.events"
CLUSTER_EXPLAIN = "cluster.explain"
CLUSTER_SYNC = "cluster.sync"
CLUSTER_FORGET = "cluster.forget"

NODE_STATUS = "node.status"
NODE_EVENTS = "node.events"
NODE_EXPLAIN = "node.explain"
NODE_SYNC = "node.sync"

#: What is only looked at.
READING = frozenset(
    {
        AGENTS_PAGE,
        AGENTS_COUNTS,
        GROUPS_LIST,
        CLUSTER_STATUS,
        CLUSTER_NODES,
        CLUSTER_NODE,
        CLUSTER_EVENTS,
        CLUSTER_EXPLAIN,
    }
)

#: What each node, a worker too, answers of itself alone.
OWN = frozenset({NODE_STATUS, NODE_EVENTS, NODE_EXPLAIN, NODE_SYNC})

#: What changes the cluster.
ADMINISTRATION = frozenset(
    {
        AGENTS_REMOVE,
        GROUPS_CREATE,
        GROUPS_DELETE,
        GROUPS_ASSIGN,
        GROUPS_UNASSIGN,
        CLUSTER_SYNC,
        CLUSTER_FORGET,
    }
)

#: What changes the node that answers, for those who may change it.
OWN_CHANGES = frozenset({NODE_SYNC})
