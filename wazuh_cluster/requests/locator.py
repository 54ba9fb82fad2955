"""
What answers Request on a link.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.protocols.amp import CommandLocator

from wazuh_cluster.errors import RequestRefused
from wazuh_cluster.protocol import Request
from wazuh_cluster.protocol.deadlines import Deadlines
from wazuh_cluster.requests.table import Asker, Requests


class RequestsLocator(CommandLocator):
    """
    The responder for one link.
    """

    def __init__(
        self, requests: Requests, asker: Callable[[], Asker], deadlines: Deadlines
    ) -> None:
        """
        @param asker: says who is at the other end.
        """
        super().__init__()
        self._requests = requests
        self._asker = asker
        self._deadlines = deadlines

    @Request.responder
    def request(self, name: str, body: bytes) -> Deferred[dict[str, Any]]:
        """
        See L{Request}.
        """
        late = tooLate(name, self._deadlines.seconds)
        asker = self._asker()
        answer = self._deadlines.bound(lambda: self._requests.perform(asker, name, body), late)
        return answer.addCallback(lambda octets: {"body": octets})


def tooLate(name: str, seconds: float) -> RequestRefused:
    """
    What is said when an answer takes too long.
    """
    return RequestRefused(
        f"{name[:80]!r} takes longer than {seconds:g} s: what was begun goes on; look again later"
    )
