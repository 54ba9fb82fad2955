"""
Open requests that are noted in this process.
"""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from wazuh_cluster.enrollment import IOpenRequests


@implementer(IOpenRequests)
class MemoryOpenRequests:
    """
    An L{IOpenRequests} that lasts as long as the object: give it to the service
    that stands for the next process.

    @ivar ids: what is noted.
    """

    def __init__(self) -> None:
        self.ids: dict[bytes, None] = {}

    def load(self) -> Sequence[bytes]:
        """
        See L{IOpenRequests.load}.
        """
        return tuple(self.ids)

    def add(self, requestId: bytes) -> None:
        """
        See L{IOpenRequests.add}.
        """
        self.ids[requestId] = None

    def discard(self, requestId: bytes) -> None:
        """
        See L{IOpenRequests.discard}.
        """
        self.ids.pop(requestId, None)

    def close(self) -> None:
        """
        See L{IOpenRequests.close}.
        """
