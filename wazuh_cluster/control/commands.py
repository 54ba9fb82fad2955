"""
What local programs say to a node: the AMP commands of its control socket.

The bodies, and the answers, are JSON objects: those of the request that the
command names, see "Requests" in the manual.
"""

from __future__ import annotations

from twisted.protocols import amp

from wazuh_cluster import errors
from wazuh_cluster.protocol.arguments import Octets, Whole
from wazuh_cluster.protocol.commands import BODY_SIZE
from wazuh_cluster.requests import names


class ControlCommand(amp.Command):
    """
    The base of all commands.
    """

    errors = {
        errors.RequestRefused: b"REQUEST_REFUSED",
        errors.MasterUnreachable: b"MASTER_UNREACHABLE",
        errors.TooBusy: b"TOO_BUSY",
    }


class Asks(ControlCommand):
    """
    The base of those that ask a request: what is about the node it knows itself,
    all else the master answers: on a worker, over its link.

    @cvar request: the name of the request.
    """

    request = ""
    arguments = [(b"body", Octets(2, BODY_SIZE))]
    response = [(b"body", Octets(2, BODY_SIZE))]


class ListAgents(Asks):
    """
    Tell me some agents of the fleet, from an id on.
    """

    request = names.AGENTS_PAGE


class CountAgents(Asks):
    """
    Tell me how many agents have which status.
    """

    request = names.AGENTS_COUNTS


class RemoveAgents(Asks):
    """
    Remove these agents, wherever they are known.
    """

    request = names.AGENTS_REMOVE


class ListGroups(Asks):
    """
    Tell me some groups, from a name on.
    """

    request = names.GROUPS_LIST


class CreateGroup(Asks):
    """
    Make a group.
    """

    request = names.GROUPS_CREATE


class DeleteGroup(Asks):
    """
    Remove a group, and all agents from it.
    """

    request = names.GROUPS_DELETE


class AssignAgent(Asks):
    """
    Put an agent into groups.
    """

    request = names.GROUPS_ASSIGN


class UnassignAgent(Asks):
    """
    Take an agent out of groups.
    """

    request = names.GROUPS_UNASSIGN


class GetStatus(Asks):
    """
    Tell me the verdict, and of the cluster as a whole.
    """

    request = names.CLUSTER_STATUS


class ListNodes(Asks):
    """
    Tell me of some nodes, from a name on.
    """

    request = names.CLUSTER_NODES


class GetNode(Asks):
    """
    Tell me of one node.
    """

    request = names.CLUSTER_NODE


class ListEvents(Asks):
    """
    Tell me what happened in the cluster.
    """

    request = names.CLUSTER_EVENTS


class ExplainFile(Asks):
    """
    Tell me why a file is, or is not, in sync on a node.
    """

    request = names.CLUSTER_EXPLAIN


class SyncNode(Asks):
    """
    Let a node look at its files now.
    """

    request = names.CLUSTER_SYNC


class ForgetNode(Asks):
    """
    Forget a node that left or failed.
    """

    request = names.CLUSTER_FORGET


class GetOwnStatus(Asks):
    """
    Tell me what you know yourself.
    """

    request = names.NODE_STATUS


class ListOwnEvents(Asks):
    """
    Tell me what happened on you.
    """

    request = names.NODE_EVENTS


class ExplainOwnFile(Asks):
    """
    Tell me why a file is, or is not, in sync on you.
    """

    request = names.NODE_EXPLAIN


class SyncYourself(Asks):
    """
    Look at your files now.
    """

    request = names.NODE_SYNC


class ReportAgents(ControlCommand):
    """
    This was heard of some agents, on this node.

    C{reports} is a JSON array, see "Reports" in the manual. Either all are
    taken or none.
    """

    arguments = [(b"reports", Octets(2, BODY_SIZE))]
    response = [(b"taken", Whole())]
