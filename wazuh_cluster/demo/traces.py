"""
What there is of agents in a node's home, seen from outside.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from wazuh_cluster.agents import Agent, formatId
from wazuh_cluster.agents.clientkeys import formatAgent, parseAgent
from wazuh_cluster.agents.groupnames import writeGroups
from wazuh_cluster.demo.edits import contentOf
from wazuh_cluster.home import Home

KEYS = "etc/client.keys"


def assignmentOf(agent: int) -> str:
    """
    The file that says which groups an agent is in.
    """
    return f"queue/agent-groups/{formatId(agent)}"


def agentsIn(home: Home) -> list[Agent]:
    """
    The agents that have a key.
    """
    lines = (contentOf(home, KEYS) or b"").split(b"\n")
    return [agent for agent in map(parseAgent, lines) if agent is not None]


def sameKeys(home: Home, master: Home) -> bool:
    """
    Whether C{client.keys} is the master's, octet for octet.
    """
    keys = contentOf(home, KEYS)
    return keys is not None and keys == contentOf(master, KEYS)


def hasKeys(home: Home, agents: Iterable[Agent]) -> bool:
    """
    Whether these agents are registered, with these keys.
    """
    lines = (contentOf(home, KEYS) or b"").splitlines(keepends=True)
    return all(formatAgent(agent) in lines for agent in agents)


def hasGroup(home: Home, master: Home, name: str) -> bool:
    """
    Whether a group is there, with the configuration that the master has for it.
    """
    path = f"etc/shared/{name}/agent.conf"
    conf = contentOf(home, path)
    return conf is not None and conf == contentOf(master, path)


def hasAssignments(home: Home, groups: Mapping[int, tuple[str, ...]]) -> bool:
    """
    Whether these agents are in these groups.
    """
    return all(
        contentOf(home, assignmentOf(agent)) == writeGroups(names)
        for agent, names in groups.items()
    )


def hasTrace(home: Home, agent: Agent) -> bool:
    """
    Whether there is a key or an assignment of an agent.
    """
    known = any(each.id == agent.id or each.key == agent.key for each in agentsIn(home))
    return known or os.path.lexists(home.join(assignmentOf(agent.id)))
