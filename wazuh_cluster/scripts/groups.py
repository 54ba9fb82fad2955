"""
C{wazuh-cluster groups}: shows and changes the groups of agents.
"""

from __future__ import annotations

import json
import sys

from twisted.python import usage

from wazuh_cluster.agents.groupnames import nameFault, shownName
from wazuh_cluster.agents.model import formatId
from wazuh_cluster.control import ControlClient
from wazuh_cluster.scripts.asking import PartOptions, agentArgument, ask
from wazuh_cluster.scripts.homeoptions import HomeOptions
from wazuh_cluster.scripts.table import Table


class ListOptions(PartOptions):
    """
    Options of C{groups list}.
    """

    longdesc = "Shows all groups, and how many agents are in each."
    optFlags = [["json", None, "One JSON object a line."]]

    async def use(self, client: ControlClient) -> int:
        """
        Show them.
        """
        groups = await client.groups()
        if self["json"]:
            for each in groups:
                print(json.dumps({"name": each.name, "agents": each.agents}))
        else:
            table = Table(sys.stdout, ("NAME", "AGENTS"))
            table.write([(each.name, str(each.agents)) for each in groups])
        return 0


class CreateOptions(PartOptions):
    """
    Options of C{groups create}.
    """

    arguments = "NAME"
    longdesc = "Makes a group: a folder in etc/shared with an agent.conf that sets nothing."

    def parseArgs(self, *names: str) -> None:
        """
        The group.
        """
        if len(names) != 1:
            raise usage.UsageError("name one group")
        self.name = groupArgument(names[0])

    async def use(self, client: ControlClient) -> int:
        """
        Make it.
        """
        await client.createGroup(self.name)
        print(f"Group {self.name} was made.")
        return 0


class DeleteOptions(PartOptions):
    """
    Options of C{groups delete}.
    """

    arguments = "NAME"
    longdesc = (
        "Removes a group with its folder. Agents that are in no other group come into 'default'."
    )

    def parseArgs(self, *names: str) -> None:
        """
        The group.
        """
        if len(names) != 1:
            raise usage.UsageError("name one group")
        self.name = groupArgument(names[0])

    async def use(self, client: ControlClient) -> int:
        """
        Remove it.
        """
        agents = await client.deleteGroup(self.name)
        print(f"Group {self.name} was removed; {agents} agents were in it.")
        return 0


class AssignOptions(PartOptions):
    """
    Options of C{groups assign}.
    """

    arguments = "ID GROUP ..."
    longdesc = (
        "Puts an agent into these groups and no others. Where groups disagree, the last one wins."
    )
    optFlags = [["add", None, "Keep the groups that it has, before these."]]

    def parseArgs(self, *words: str) -> None:
        """
        The agent, and the groups.
        """
        if len(words) < 2:
            raise usage.UsageError("name an agent by its id, and the groups")
        self.agent = agentArgument(words[0])
        self.groups = [groupArgument(each) for each in words[1:]]

    async def use(self, client: ControlClient) -> int:
        """
        Assign them.
        """
        return say(self.agent, await client.assign(self.agent, self.groups, bool(self["add"])))


class UnassignOptions(PartOptions):
    """
    Options of C{groups unassign}.
    """

    arguments = "ID [GROUP ...]"
    longdesc = (
        "Takes an agent out of these groups, or of all if none are named. An agent that is in no "
        "group any more comes into 'default'."
    )

    def parseArgs(self, *words: str) -> None:
        """
        The agent, and the groups.
        """
        if not words:
            raise usage.UsageError("name an agent by its id")
        self.agent = agentArgument(words[0])
        self.groups = [groupArgument(each) for each in words[1:]]

    async def use(self, client: ControlClient) -> int:
        """
        Take it out of them.
        """
        return say(self.agent, await client.unassign(self.agent, self.groups))


class GroupsOptions(HomeOptions):
    """
    Options of C{groups}.
    """

    longdesc = (
        "Shows the groups of agents on any node; changes them on the master, or on a worker that "
        "the master lists."
    )
    subCommands = [
        ("list", None, ListOptions, "Show all groups."),
        ("create", None, CreateOptions, "Make a group."),
        ("delete", None, DeleteOptions, "Remove a group."),
        ("assign", None, AssignOptions, "Put an agent into groups."),
        ("unassign", None, UnassignOptions, "Take an agent out of groups."),
    ]

    def postOptions(self) -> None:
        """
        There must be one of them.
        """
        if self.subCommand is None:
            names = ", ".join(name for name, *_ in self.subCommands)
            raise usage.UsageError(f"what about them? use {names}")


def run(options: GroupsOptions) -> int:
    """
    Show or change.
    """
    chosen = options.subOptions
    return ask(chosen.home, chosen.use)


def groupArgument(text: str) -> str:
    """
    A group's name on a command line.

    @raise usage.UsageError: if it cannot be one.
    """
    fault = nameFault(text)
    if fault is not None:
        raise usage.UsageError(f"{shownName(text)} cannot be a group: {fault}")
    return text


def say(agent: int, groups: tuple[str, ...]) -> int:
    """
    Say which groups an agent is in.
    """
    print(f"Agent {formatId(agent)} is in {','.join(groups)} now.")
    return 0
