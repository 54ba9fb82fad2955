"""
How programs outside of the nodes come to them: agents to where they enroll,
local programs to the control socket.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint

from wazuh_cluster.agents import Agent
from wazuh_cluster.control import ControlClient, connect
from wazuh_cluster.demo.enrolling import enroll
from wazuh_cluster.demo.homes import ADDRESS
from wazuh_cluster.demo.nodes import Node


class Doors:
    """
    The doors of all nodes, on one reactor.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    async def enroll(self, node: Node, name: str) -> Agent:
        """
        Enroll an agent at a node.

        @raise wazuh_cluster.demo.enrolling.NotEnrolled: if it got no key.
        """
        assert node.enrollmentPort is not None, f"nobody enrolls at {node.name}"
        endpoint = TCP4ClientEndpoint(self._reactor, ADDRESS, node.enrollmentPort)
        return await enroll(self._reactor, endpoint, name)

    async def talk(self, node: Node) -> ControlClient:
        """
        Talk to a node as local programs do.
        """
        return await connect(self._reactor, node.home.path)
