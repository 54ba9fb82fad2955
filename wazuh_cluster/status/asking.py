"""
Asking a node, or through it the master, what it knows: typed answers to the
requests C{cluster.*} and C{node.*}.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from attrs import AttrsInstance

from wazuh_cluster.errors import BadArgument
from wazuh_cluster.protocol.bodies import readBody, writeBody
from wazuh_cluster.requests import names
from wazuh_cluster.status.codec import read
from wazuh_cluster.status.values import (
    ClusterStatus,
    EventPage,
    Explanation,
    NodeStatus,
    OwnStatus,
    SyncOutcome,
)

T = TypeVar("T", bound=AttrsInstance)


class StatusReader:
    """
    Asks by whatever asks: a L{ControlClient<wazuh_cluster.control.ControlClient>}
    has one as C{status}; within a node's process, make one with its C{requests}.

    What is asked of the cluster the master answers: on a worker, over its link,
    so that L{MasterUnreachable<wazuh_cluster.errors.MasterUnreachable>} is raised
    where there is none; what is asked of the node, it knows itself.
    """

    def __init__(self, perform: Callable[[str, bytes], Awaitable[bytes]]) -> None:
        """
        @param perform: from a request's name and body to the answer's body.
        """
        self._perform = perform

    # The cluster, as its master knows it.

    async def cluster(self) -> ClusterStatus:
        """
        The verdict, and the cluster as a whole.
        """
        return await self._value(ClusterStatus, names.CLUSTER_STATUS)

    async def nodes(self) -> AsyncIterator[NodeStatus]:
        """
        All nodes, the master first and the workers by name, also those that
        left or failed.
        """
        after: str | None = ""
        while after is not None:
            found = await self._ask(names.CLUSTER_NODES, after=after)
            for each in _array(found.get("nodes")):
                yield _value(NodeStatus, each)
            following = found.get("next")
            after = following if isinstance(following, str) and following > after else None

    async def node(self, name: str) -> NodeStatus:
        """
        One node.

        @raise RequestRefused: if there is none of this name.
        """
        return await self._value(NodeStatus, names.CLUSTER_NODE, node=name)

    async def events(self, after: int | None = None, last: int = 20) -> EventPage:
        """
        What happened.

        @param after: the number after which to begin; C{None} for the C{last}
            events.
        """
        return await self._value(EventPage, names.CLUSTER_EVENTS, **_since(after, last))

    async def explain(self, node: str, path: str) -> Explanation:
        """
        Why a file is, or is not, in sync on a node.
        """
        return await self._value(Explanation, names.CLUSTER_EXPLAIN, node=node, path=path)

    async def sync(self, node: str, begin: bool = True, verbose: bool = False) -> SyncOutcome:
        """
        Let a node look at its files now.

        @param begin: whether to begin a run; otherwise, tell of the one that is
            under way or was last.
        @param verbose: whether to name files.
        @return: after some seconds at the latest, also if the run goes on.
        """
        return await self._value(
            SyncOutcome, names.CLUSTER_SYNC, node=node, begin=begin, verbose=verbose
        )

    async def forget(self, node: str) -> None:
        """
        Forget a node that left or failed.
        """
        await self._ask(names.CLUSTER_FORGET, node=node)

    # The node that is asked.

    async def own(self) -> OwnStatus:
        """
        What the node knows itself; its C{health} is that of this node alone.
        """
        return await self._value(OwnStatus, names.NODE_STATUS)

    async def ownEvents(self, after: int | None = None, last: int = 20) -> EventPage:
        """
        See L{events}: what happened on this node.
        """
        return await self._value(EventPage, names.NODE_EVENTS, **_since(after, last))

    async def ownExplain(self, path: str) -> Explanation:
        """
        See L{explain}: by what this node knows of the master's files.
        """
        return await self._value(Explanation, names.NODE_EXPLAIN, path=path)

    async def ownSync(self, begin: bool = True, verbose: bool = False) -> SyncOutcome:
        """
        See L{sync}: on this node.
        """
        return await self._value(SyncOutcome, names.NODE_SYNC, begin=begin, verbose=verbose)

    async def _value(self, kind: type[T], name: str, **fields: Any) -> T:
        return _value(kind, await self._ask(name, **fields))

    async def _ask(self, name: str, **fields: Any) -> dict[str, Any]:
        return readBody(await self._perform(name, writeBody(fields)), dict)


def _since(after: int | None, last: int) -> dict[str, int]:
    return {"last": last} if after is None else {"after": after}


def _array(found: object) -> list[Any]:
    if not isinstance(found, list):
        raise BadArgument("the node gave an answer that cannot be read (no array)")
    return found


def _value(kind: type[T], found: Any) -> T:
    try:
        return read(kind, found)
    except ValueError as error:
        raise BadArgument(f"the node gave an answer that cannot be read ({error})") from None
