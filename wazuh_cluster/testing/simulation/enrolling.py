"""
Agents that enroll at the nodes of a simulation, as Wazuh's own do: a connection, a
line, an answer; and again, if there was none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from wazuh_cluster.testing.simulation.cluster import SimCluster
    from wazuh_cluster.testing.simulation.process import SimProcess

#: Where agents enroll.
PORT = 1515

#: For how many seconds an agent waits for its answer: longer than any node takes.
PATIENCE = 30.0

#: All that an agent can be told.
ANSWER = re.compile(
    rb"OSSEC K:'([0-9]{3,8}) ([A-Za-z0-9._-]{1,128}) ([0-9A-Fa-f.:/]{2,60}|any) ([0-9a-f]{64})'"
)
REFUSAL = re.compile(rb"ERROR: [^\n]+\. Unable to add agent")


@define(eq=False)
class Attempt:
    """
    One request of an agent, on a connection of its own.

    @ivar name: the agent's.
    @ivar ip: the address that it names, or C{any}.
    @ivar line: what it says.
    @ivar node: the machine at which it asks.
    @ivar began: when, in virtual seconds.
    @ivar process: the process that took its connection; C{None} before one did.
    @ivar written: what that process wrote to it.
    @ivar received: what arrived of that.
    @ivar ended: whether the connection is no more, or there never was one.
    """

    name: str
    ip: str
    line: bytes
    node: str
    began: float = 0.0
    process: SimProcess | None = None
    written: bytes = b""
    received: bytes = b""
    ended: bool = False


class AgentHost:
    """
    Where agents run: machines that are no nodes, and that nothing befalls.
    """

    def __init__(self, cluster: SimCluster, name: str) -> None:
        """
        @param name: its host on the network.
        """
        self.name = name
        self._cluster = cluster

    def enter(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """
        See L{wazuh_cluster.testing.simulation.network.Host}.
        """
        return function(*arguments, **keywords)

    def later(self, delay: float, function: Callable[..., Any], *arguments: Any) -> IDelayedCall:
        """
        See L{wazuh_cluster.testing.simulation.network.Host}.
        """
        return self._cluster.clock.callLater(delay, function, *arguments)

    def broken(self, text: str) -> None:
        """
        See L{wazuh_cluster.testing.simulation.network.Host}.
        """
        self._cluster.broken(f"{self.name}: {text}")

    def ask(
        self,
        attempt: Attempt,
        wrote: Callable[[Attempt], None],
        ended: Callable[[Attempt], None],
    ) -> None:
        """
        Ask at a node.

        @param wrote: called when the node has written something.
        @param ended: called once, when nothing more comes.
        """
        asking = _Asking(self, attempt, wrote, ended)
        endpoint = self._cluster.network.clientOf(self, attempt.node, PORT)
        connectProtocol(endpoint, asking).addErrback(asking.refused)


@define(eq=False)
class _Asking(Protocol):
    """
    An agent's end of one connection.
    """

    host: AgentHost
    attempt: Attempt
    wrote: Callable[[Attempt], None]
    ended: Callable[[Attempt], None]
    transport: Any = None
    patience: Any = field(default=None)

    def connectionMade(self) -> None:
        attempt, there = self.attempt, self.transport.other
        attempt.process = there.process
        # What a node writes is told at once, and not only when it arrives.
        write = there.write

        def writing(data: bytes) -> None:
            if not there.lost:
                attempt.written += data
                write(data)
                self.wrote(attempt)

        there.write = writing
        self.patience = self.host.later(PATIENCE, self.transport.abortConnection)
        self.transport.write(attempt.line)

    def dataReceived(self, data: bytes) -> None:
        self.attempt.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.patience.active():
            self.patience.cancel()
        self._end()

    def refused(self, failure: Failure) -> None:
        """
        Nobody is there.
        """
        self._end()

    def _end(self) -> None:
        self.attempt.ended = True
        self.ended(self.attempt)
