"""
What every node answers of itself: the requests C{node.*}.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Protocol

from wazuh_cluster.errors import RequestRefused
from wazuh_cluster.requests.fields import Fields
from wazuh_cluster.requests.names import NODE_EVENTS, NODE_EXPLAIN, NODE_STATUS, NODE_SYNC
from wazuh_cluster.requests.table import Entry
from wazuh_cluster.status.codec import write
from wazuh_cluster.status.events import PAGE, EventRing
from wazuh_cluster.status.values import EventPage, Explanation, OwnStatus, SyncOutcome


class IKnowsItself(Protocol):
    """
    A node that is asked about itself.
    """

    @property
    def events(self) -> EventRing:
        """
        What happened there.
        """

    def own(self) -> OwnStatus:
        """
        What it knows itself, at once.
        """

    def explain(self, path: bytes) -> Explanation:
        """
        Why a file is, or is not, in sync, by what it knows.

        @raise RequestRefused: if no item carries the path.
        """

    async def sync(self, begin: bool, verbose: bool) -> SyncOutcome:
        """
        Look at the files now, and say what came of it.

        @raise RequestRefused: if that cannot be now.
        """


class NodeAnswers:
    """
    The answers, each of which translates and calls who knows.
    """

    def __init__(self, node: IKnowsItself) -> None:
        self._node = node

    def entries(self) -> Iterator[Entry]:
        """
        For an allow-list.
        """
        yield Entry(NODE_STATUS, self.status)
        yield Entry(NODE_EVENTS, self.events)
        yield Entry(NODE_EXPLAIN, self.explain)
        yield Entry(NODE_SYNC, self.sync, changes=True)

    async def status(self, fields: Fields) -> Any:
        """
        What the node knows.
        """
        return write(self._node.own())

    async def events(self, fields: Fields) -> Any:
        """
        What happened on it.
        """
        return write(eventPage(self._node.events, fields))

    async def explain(self, fields: Fields) -> Any:
        """
        A file.
        """
        return write(self._node.explain(pathOf(fields)))

    async def sync(self, fields: Fields) -> Any:
        """
        A run.
        """
        begin = fields.flag("begin") is not False
        return write(await self._node.sync(begin, bool(fields.flag("verbose"))))


def eventPage(events: EventRing, fields: Fields) -> EventPage:
    """
    The events that a body asks for.
    """
    last = fields.number("last", 0)
    return events.latest(min(last, PAGE)) if last else events.page(fields.number("after", 0))


def pathOf(fields: Fields) -> bytes:
    """
    The path that a body names.

    @raise RequestRefused: if it cannot be one.
    """
    try:
        return os.fsencode(fields.text("path"))
    except UnicodeEncodeError:
        raise RequestRefused("a path that cannot be one") from None
