"""
Asking the node at the other end of a link.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.protocols.amp import UnhandledCommand, UnknownRemoteError

from wazuh_cluster.errors import LinkClosed, MasterUnreachable, RequestRefused, TooBusy
from wazuh_cluster.protocol import Request
from wazuh_cluster.requests.names import ADMINISTRATION
from wazuh_cluster.requests.table import Asker, mayNot

#: Requests of one node that are under way at a time, so that what local
#: programs ask leaves room for the node's own business.
UNDER_WAY = 4

#: Requests that may wait for their turn.
WAITING = 256


class Asking:
    """
    Asks the master, over whatever link there is.

    For local programs it answers what the master answers: who asks must have
    the right to here, and this node must have it there.
    """

    def __init__(self, call: Callable[..., Coroutine[Deferred[Any], Any, dict[str, Any]]]) -> None:
        """
        @param call: as L{wazuh_cluster.protocol.Peer.call}.
        """
        self._call = call
        self._turns = DeferredSemaphore(UNDER_WAY)

    async def perform(self, asker: Asker, name: str, body: bytes) -> bytes:
        """
        See L{wazuh_cluster.requests.table.IAnswers.perform}.
        """
        if name in ADMINISTRATION and not asker.administers:
            raise mayNot(asker)
        return await self.ask(name, body)

    async def ask(self, name: str, body: bytes) -> bytes:
        """
        Ask a request by its name.

        @return: the answer's body.
        @raise RequestRefused: if it may not be, or cannot be answered.
        @raise MasterUnreachable: if there is no link, or it ends meanwhile.
        @raise TooBusy: if too many are waiting.
        """
        if len(self._turns.waiting) >= WAITING:
            raise TooBusy("too much is being asked of the master through this node")
        await self._turns.acquire()
        try:
            answer = await self._call(Request, name=name, body=body)
        except LinkClosed as reason:
            raise MasterUnreachable(
                f"the master cannot be asked now ({reason}): see logs/cluster.log of this node, "
                "or run this on the master"
            ) from None
        except UnhandledCommand:
            raise RequestRefused("the master does not answer requests: upgrade it") from None
        except UnknownRemoteError:
            raise RequestRefused("the master failed to answer: its log says why") from None
        finally:
            self._turns.release()
        octets: bytes = answer["body"]
        return octets
