"""
A local program's side of the control socket.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.amp import UnhandledCommand, UnknownRemoteError

from wazuh_cluster.agents.model import AgentRecord, AgentStatus, FleetFilter, Group
from wazuh_cluster.agents.statusjson import readAgent, readStatus, writeReport
from wazuh_cluster.control.commands import (
    Asks,
    AssignAgent,
    ControlCommand,
    CountAgents,
    CreateGroup,
    DeleteGroup,
    ExplainFile,
    ExplainOwnFile,
    ForgetNode,
    GetNode,
    GetOwnStatus,
    GetStatus,
    ListAgents,
    ListEvents,
    ListGroups,
    ListNodes,
    ListOwnEvents,
    RemoveAgents,
    ReportAgents,
    SyncNode,
    SyncYourself,
    UnassignAgent,
)
from wazuh_cluster.control.connections import LocalPeer
from wazuh_cluster.control.endpoints import ControlClientEndpoint
from wazuh_cluster.errors import BadArgument, RequestRefused
from wazuh_cluster.protocol import BODY_SIZE, Limits
from wazuh_cluster.protocol.bodies import readBody, writeBody
from wazuh_cluster.status.asking import StatusReader

#: The commands of the requests that L{StatusReader} knows.
_STATUS: dict[str, type[Asks]] = {
    command.request: command
    for command in (
        GetStatus,
        ListNodes,
        GetNode,
        ListEvents,
        ExplainFile,
        SyncNode,
        ForgetNode,
        GetOwnStatus,
        ListOwnEvents,
        ExplainOwnFile,
        SyncYourself,
    )
}

#: How long an answer may take, in seconds.
TIMEOUT = 60.0


@frozen
class FleetPage:
    """
    Some agents of the fleet.

    @ivar now: the master's time, in seconds since the epoch.
    @ivar agents: by id.
    @ivar next: what the next page is after; C{None} at the end.
    @ivar cut: agents whose info and labels did not travel, for they are too
        large.
    """

    now: float
    agents: Sequence[AgentStatus]
    next: int | None
    cut: frozenset[int] = frozenset()


@frozen
class Removal:
    """
    What became of agents that were to be removed.

    @ivar removed: id to name, of those that were registered.
    @ivar unknown: the others.
    """

    removed: dict[int, str]
    unknown: tuple[int, ...]


async def connect(reactor: Any, home: str) -> ControlClient:
    """
    Talk to the node that runs in a home.

    @raise wazuh_cluster.errors.HomeError: if none does, or this user may not;
        with one line and the remedy.
    """
    return await connectTo(reactor, ControlClientEndpoint(reactor, home))


async def connectTo(reactor: IReactorTime, endpoint: IStreamClientEndpoint) -> ControlClient:
    """
    Talk to the node at an endpoint.
    """
    factory = Factory.forProtocol(lambda: LocalPeer([], reactor, Limits()))
    factory.noisy = False
    peer = await endpoint.connect(factory)
    assert isinstance(peer, LocalPeer)
    return ControlClient(peer)


class ControlClient:
    """
    A node that is asked. Its methods raise L{RequestRefused
    <wazuh_cluster.errors.RequestRefused>} if something may not be or cannot be
    done, L{MasterUnreachable<wazuh_cluster.errors.MasterUnreachable>} if a
    worker has no link now, and L{LinkClosed<wazuh_cluster.errors.LinkClosed>}
    when the node ends; each with one line for a person.

    @ivar status: asks what is known of the cluster and its nodes.
    """

    def __init__(self, peer: LocalPeer) -> None:
        self._peer = peer
        self.status = StatusReader(self._perform)

    def close(self) -> Deferred[BaseException]:
        """
        End the connection.

        @return: fires when it has.
        """
        self._peer.close()
        return self._peer.whenClosed()

    # The fleet.

    async def page(self, after: int = 0, wanted: FleetFilter | None = None) -> FleetPage:
        """
        The next agents by id, of those above C{after}.
        """
        wanted = FleetFilter() if wanted is None else wanted
        found = await self._ask(
            ListAgents,
            after=after,
            statuses=sorted(wanted.statuses),
            nodes=sorted(wanted.nodes),
            groups=sorted(wanted.groups),
        )
        with _reading():
            return FleetPage(
                float(found["now"]),
                tuple(readStatus(each) for each in found["agents"]),
                None if found["next"] is None else int(found["next"]),
                frozenset(readAgent(each["id"]) for each in found["agents"] if each.get("cut")),
            )

    async def agents(self, wanted: FleetFilter | None = None) -> AsyncIterator[FleetPage]:
        """
        The whole fleet, page by page, as it is when each page is asked for.
        """
        after: int | None = 0
        while after is not None:
            page = await self.page(after, wanted)
            yield page
            after = page.next

    async def counts(self) -> dict[str, int]:
        """
        How many agents have each status.
        """
        found = await self._ask(CountAgents)
        with _reading():
            return {str(status): int(count) for status, count in found["counts"].items()}

    async def removeAgents(self, ids: Iterable[int], purge: bool | None = None) -> Removal:
        """
        Remove at most 1,000 agents, wherever they are known.

        @param purge: whether no trace stays in C{client.keys}; C{None} for the
            configured way.
        """
        found = await self._ask(RemoveAgents, ids=list(ids), purge=purge)
        with _reading():
            return Removal(
                {readAgent(each["id"]): str(each["name"]) for each in found["removed"]},
                tuple(readAgent(each) for each in found["unknown"]),
            )

    # Groups.

    async def groups(self) -> list[Group]:
        """
        All groups, by name.
        """
        groups: list[Group] = []
        after: str | None = ""
        while after is not None:
            found = await self._ask(ListGroups, after=after)
            with _reading():
                groups += [Group(str(one["name"]), int(one["agents"])) for one in found["groups"]]
                after = None if found["next"] is None else str(found["next"])
        return groups

    async def createGroup(self, name: str) -> None:
        """
        Make a group.
        """
        await self._ask(CreateGroup, name=name)

    async def deleteGroup(self, name: str) -> int:
        """
        Remove a group, and every agent from it.

        @return: how many agents were in it.
        """
        found = await self._ask(DeleteGroup, name=name)
        with _reading():
            return int(found["agents"])

    async def assign(self, agent: int, groups: Sequence[str], add: bool = False) -> tuple[str, ...]:
        """
        Make these the groups of an agent.

        @param add: whether those that it has stay, before these.
        @return: all its groups now.
        """
        found = await self._ask(AssignAgent, id=agent, groups=list(groups), add=add)
        with _reading():
            return tuple(map(str, found["groups"]))

    async def unassign(self, agent: int, groups: Sequence[str] = ()) -> tuple[str, ...]:
        """
        Take an agent out of these groups, or of all.

        @return: its groups now.
        """
        found = await self._ask(UnassignAgent, id=agent, groups=list(groups))
        with _reading():
            return tuple(map(str, found["groups"]))

    # Reports.

    async def report(self, records: Collection[AgentRecord], now: float | None = None) -> int:
        """
        Say what was heard of agents on this node.

        @param now: the clock by which C{heard} is; C{None} for C{time.monotonic}.
        @return: how many records the node took.
        """
        now = time.monotonic() if now is None else now
        return await self.reportAll(
            writeReport(record, max(0.0, now - record.heard)) for record in records
        )

    async def reportAll(self, reports: Iterable[dict[str, Any]]) -> int:
        """
        The same, of reports as "Reports" in the manual describes them.
        """
        taken, size = 0, 2
        batch: list[bytes] = []
        for report in reports:
            written = writeBody(report)
            if batch and size + len(written) + 1 > BODY_SIZE:
                taken += await self._send(batch)
                batch, size = [], 2
            batch.append(written)
            size += len(written) + 1
        if batch:
            taken += await self._send(batch)
        return taken

    async def _send(self, batch: Sequence[bytes]) -> int:
        reports = b"[" + b",".join(batch) + b"]"
        if len(reports) > BODY_SIZE:
            raise RequestRefused(f"a report of {len(reports):,} bytes is too large")
        answer = await self._call(ReportAgents, reports=reports)
        return int(answer["taken"])

    async def _perform(self, name: str, body: bytes) -> bytes:
        answer = await self._call(_STATUS[name], body=body)
        octets: bytes = answer["body"]
        return octets

    async def _ask(self, command: type[Asks], **fields: Any) -> dict[str, Any]:
        body = writeBody(fields)
        if len(body) > BODY_SIZE:
            raise RequestRefused(f"{command.request}: that is too long")
        answer = await self._call(command, body=body)
        return readBody(answer["body"], dict)

    async def _call(self, command: type[ControlCommand], **arguments: bytes) -> dict[str, Any]:
        try:
            return await self._peer.call(command, TIMEOUT, **arguments)
        except UnhandledCommand:
            raise RequestRefused("the node does not know that: it is of another version") from None
        except UnknownRemoteError:
            raise RequestRefused("the node failed to answer: its log says why") from None


@contextmanager
def _reading() -> Iterator[None]:
    """
    Whatever is wrong with an answer is the node's fault.
    """
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        kind = type(error).__name__
        raise BadArgument(f"the node gave an answer that cannot be read ({kind})") from None
