"""
What a master answers about its cluster: the requests C{cluster.*}.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, TypeVar

from attrs import AttrsInstance, evolve
from twisted.protocols.amp import UnhandledCommand, UnknownRemoteError

from wazuh_cluster.errors import LinkClosed, RequestRefused, TooBusy
from wazuh_cluster.master.status import MasterStatus
from wazuh_cluster.protocol import BODY_SIZE, Request
from wazuh_cluster.protocol.bodies import readBody, writeBody
from wazuh_cluster.requests.fields import Fields
from wazuh_cluster.requests.names import (
    CLUSTER_EVENTS,
    CLUSTER_EXPLAIN,
    CLUSTER_FORGET,
    CLUSTER_NODE,
    CLUSTER_NODES,
    CLUSTER_STATUS,
    CLUSTER_SYNC,
    NODE_EXPLAIN,
    NODE_SYNC,
)
from wazuh_cluster.requests.table import Entry
from wazuh_cluster.status.answers import NodeAnswers, eventPage, pathOf
from wazuh_cluster.status.codec import read, write
from wazuh_cluster.status.values import Explanation, NodeStatus, SyncOutcome

T = TypeVar("T", bound=AttrsInstance)

#: What may be asked of workers at a time.
UNDER_WAY = 16

#: What a page has beside its nodes.
_ROOM = BODY_SIZE - 500


class ClusterAnswers:
    """
    The answers, each of which translates and calls who knows; workers are asked
    what only they know.
    """

    def __init__(self, status: MasterStatus) -> None:
        self._status = status
        self._asking = 0

    def entries(self) -> Iterator[Entry]:
        """
        For an allow-list, with those of the master itself.
        """
        yield Entry(CLUSTER_STATUS, self.cluster)
        yield Entry(CLUSTER_NODES, self.nodes)
        yield Entry(CLUSTER_NODE, self.node)
        yield Entry(CLUSTER_EVENTS, self.events)
        yield Entry(CLUSTER_EXPLAIN, self.explain)
        yield Entry(CLUSTER_SYNC, self.sync, changes=True)
        yield Entry(CLUSTER_FORGET, self.forget, changes=True)
        yield from NodeAnswers(self._status).entries()

    async def cluster(self, fields: Fields) -> Any:
        """
        The cluster as a whole.
        """
        return write(await self._status.cluster())

    async def nodes(self, fields: Fields) -> Any:
        """
        Some nodes, from a name on; the master before all others.
        """
        after = fields.text("after", "")
        await self._status.counted()
        page: list[Any] = []
        room, following = _ROOM, None
        master, *workers = self._status.nodes()
        for node in workers if after else (master, *workers):
            if node is not master and node.name <= after:
                continue
            written = _fitting(node)
            room -= len(writeBody(written)) + 1
            if room < 0 and page:
                break
            page.append(written)
            following = node.name
        else:
            following = None
        if following == master.name:
            # There was room for the master alone.
            following = " " if workers else None
        return {"nodes": page, "next": following}

    async def node(self, fields: Fields) -> Any:
        """
        One node.
        """
        await self._status.counted()
        return _fitting(self._status.node(fields.text("node")))

    async def events(self, fields: Fields) -> Any:
        """
        What happened.
        """
        return write(eventPage(self._status.events, fields))

    async def explain(self, fields: Fields) -> Any:
        """
        A file on a node.
        """
        name, path = fields.text("node"), pathOf(fields)
        if self._status.isSelf(name):
            return write(self._status.explain(path))
        self._status.node(name)
        found = await self._ask(Explanation, name, NODE_EXPLAIN, path=os.fsdecode(path))
        return write(self._status.compared(found, path))

    async def sync(self, fields: Fields) -> Any:
        """
        A run on a node.
        """
        name = fields.text("node")
        begin, verbose = fields.flag("begin") is not False, bool(fields.flag("verbose"))
        if self._status.isSelf(name):
            return write(await self._status.sync(begin, verbose))
        return write(await self._ask(SyncOutcome, name, NODE_SYNC, begin=begin, verbose=verbose))

    async def forget(self, fields: Fields) -> Any:
        """
        A node that is not joined.
        """
        self._status.forget(fields.text("node"))
        return {}

    async def _ask(self, kind: type[T], worker: str, name: str, **body: Any) -> T:
        """
        Ask a worker.
        """
        peer = self._status.session(worker).peer
        if self._asking >= UNDER_WAY:
            raise TooBusy("too much is being asked of workers: ask again in some seconds")
        self._asking += 1
        try:
            answer = await peer.call(Request, name=name, body=writeBody(body))
            return read(kind, readBody(answer["body"], dict))
        except LinkClosed as error:
            raise RequestRefused(f"{worker} cannot be asked now ({error}): try again") from None
        except UnhandledCommand:
            raise RequestRefused(f"{worker} does not answer requests: upgrade it") from None
        except UnknownRemoteError:
            raise RequestRefused(f"{worker} failed to answer: its log says why") from None
        except ValueError as error:
            raise RequestRefused(f"{worker} gave an answer that cannot be read ({error})") from None
        finally:
            self._asking -= 1


def _fitting(node: NodeStatus) -> Any:
    """
    As much of a node as fits in an answer: a node can say much of itself.
    """
    written = write(node)
    if len(writeBody(written)) > _ROOM:
        return write(evolve(node, report=node.report.brief()))
    return written
