"""
A program that asks the node on its machine: the groups, the agents that are gone, and
one report of its own.

    python local_program.py HOME [AGENT]
"""

import sys
import time

from twisted.internet.task import react

from wazuh_cluster.agents import DISCONNECTED, AgentRecord, FleetFilter
from wazuh_cluster.control import connect
from wazuh_cluster.errors import ClusterError


async def main(reactor, home, agent=None):
    try:
        node = await connect(reactor, home)
        for group in await node.groups():
            print("group", group.name, group.agents)
        if agent is not None:
            record = AgentRecord(int(agent), "active", time.monotonic(), version="Wazuh v4.14.7")
            print("taken", await node.report([record]))
        async for page in node.agents(FleetFilter(statuses=frozenset({DISCONNECTED}))):
            for each in page.agents:
                print("gone", each.id, each.name, each.node)
        await node.close()
    except ClusterError as error:
        print("refused:", error)


if __name__ == "__main__":
    react(main, sys.argv[1:])
