"""
C{wazuh-cluster agents}: shows the fleet, on any node.
"""

from __future__ import annotations

import json
import sys

from twisted.python import usage

from wazuh_cluster.agents.model import STATUSES, AgentStatus, FleetFilter, formatId
from wazuh_cluster.agents.statusjson import writeStatus
from wazuh_cluster.control import ControlClient, FleetPage
from wazuh_cluster.errors import RequestRefused
from wazuh_cluster.requests.fields import MOST
from wazuh_cluster.scripts import report
from wazuh_cluster.scripts.asking import PartOptions, agentArgument, ask, listArgument
from wazuh_cluster.scripts.homeoptions import HomeOptions
from wazuh_cluster.scripts.report import ReportOptions
from wazuh_cluster.scripts.table import Table, age, shown

_HEAD = ("ID", "NAME", "IP", "STATUS", "NODE", "LAST KEEP ALIVE", "VERSION", "GROUPS")
_SHOWN = 20


class RemoveOptions(PartOptions):
    """
    Options of C{agents remove}.
    """

    arguments = "ID ..."
    longdesc = (
        "Removes agents from the cluster: their keys, their groups, and what is known of them, on "
        "every node. On the master, or on a worker that the master lists."
    )
    optFlags = [["purge", None, "Leave no line of them in client.keys either."]]

    def parseArgs(self, *ids: str) -> None:
        """
        The agents.
        """
        if not ids:
            raise usage.UsageError("name the agents by their ids")
        self.ids = tuple(dict.fromkeys(agentArgument(each) for each in ids))


class AgentsOptions(HomeOptions):
    """
    Options of C{agents}.
    """

    longdesc = (
        "Shows the agents of the whole cluster, on any node. Options that are given several times, "
        "or lists with commas, show the agents for which any of it is so."
    )
    optFlags = [["json", None, "One JSON object a line, with all that is known."]]
    subCommands = [
        ("remove", None, RemoveOptions, "Remove agents."),
        ("report", None, ReportOptions, "Say what was heard of agents on this node."),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[str] = []
        self.nodes: list[str] = []
        self.groups: list[str] = []

    def opt_status(self, value: str) -> None:
        """
        Only agents with this status: active, pending, disconnected or
        never_connected.
        """
        for each in listArgument(value):
            if each not in STATUSES:
                raise usage.UsageError(f"{shown(each)!r} is no status: use {', '.join(STATUSES)}")
            self.statuses.append(each)

    def opt_node(self, value: str) -> None:
        """
        Only agents that this node heard last.
        """
        self.nodes += listArgument(value)

    def opt_group(self, value: str) -> None:
        """
        Only agents that are in this group.
        """
        self.groups += listArgument(value)

    @property
    def wanted(self) -> FleetFilter:
        """
        Which agents to show.
        """
        return FleetFilter(frozenset(self.statuses), frozenset(self.nodes), frozenset(self.groups))


def run(options: AgentsOptions) -> int:
    """
    Show, remove or report.
    """
    if options.subCommand == "remove":
        return ask(options.subOptions.home, lambda client: remove(client, options.subOptions))
    if options.subCommand == "report":
        return report.run(options.subOptions)
    return ask(options.home, lambda client: show(client, options))


async def show(client: ControlClient, options: AgentsOptions) -> int:
    """
    Write the fleet, page by page.
    """
    table = Table(sys.stdout, _HEAD)
    async for page in client.agents(options.wanted):
        if options["json"]:
            sys.stdout.writelines(asJSON(agent, page) for agent in page.agents)
            sys.stdout.flush()
        else:
            table.write([row(agent, page.now) for agent in page.agents])
    return 0


def row(agent: AgentStatus, now: float) -> tuple[str, ...]:
    """
    An agent in the table.

    @param now: the master's time, in seconds since the epoch.
    """
    heard = agent.lastKeepAlive
    return (
        formatId(agent.id),
        agent.name,
        agent.ip,
        agent.status,
        agent.node or "-",
        "never" if heard is None else age(now - heard),
        (agent.record.version if agent.record is not None else "") or "-",
        ",".join(agent.groups) or "-",
    )


def asJSON(agent: AgentStatus, page: FleetPage) -> str:
    """
    An agent as a line of JSON, in ASCII: nothing in it moves a terminal.
    """
    found = writeStatus(agent, brief=agent.id in page.cut)
    heard = agent.lastKeepAlive
    found["age"] = None if heard is None else max(0.0, round(page.now - heard, 3))
    return json.dumps(found) + "\n"


async def remove(client: ControlClient, options: RemoveOptions) -> int:
    """
    Remove agents, and say which.
    """
    unknown: list[int] = []
    for start in range(0, len(options.ids), MOST):
        some = options.ids[start : start + MOST]
        removal = await client.removeAgents(some, True if options["purge"] else None)
        for agent, name in removal.removed.items():
            print(f"Removed agent {formatId(agent)}, {shown(name)}.")
        unknown += removal.unknown
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        names = ", ".join(formatId(each) for each in unknown[:_SHOWN])
        raise RequestRefused(f"not registered: {names}{more}")
    return 0
