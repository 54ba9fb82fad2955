"""
An allow-list: what may be asked here by a name, by whom, and who answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from attrs import frozen

from wazuh_cluster.errors import BadArgument, ClusterError, RequestRefused, TooBusy
from wazuh_cluster.journal import MAIN, Journal
from wazuh_cluster.protocol.bodies import writeBody
from wazuh_cluster.protocol.commands import BODY_SIZE
from wazuh_cluster.requests.fields import Fields


@frozen
class Asker:
    """
    Who asks.

    @ivar name: for people: C{"worker siem-1"}.
    @ivar administers: whether it may change the cluster.
    @ivar remedy: what to do where it may not, a phrase without a final stop.
    """

    name: str
    administers: bool
    remedy: str


@frozen
class Entry:
    """
    A request that is answered.

    @ivar name: its name.
    @ivar answer: what answers: its body's fields to a value that JSON can say.
        It refuses by a L{ClusterError}.
    @ivar changes: whether only those who administer may ask it.
    """

    name: str
    answer: Callable[[Fields], Awaitable[object]]
    changes: bool = False


class IAnswers(Protocol):
    """
    What answers requests.
    """

    async def perform(self, asker: Asker, name: str, body: bytes) -> bytes:
        """
        Answer a request.

        @return: the answer's body, which fits in a box.
        @raise RequestRefused: or say why not, and what to do.
        @raise wazuh_cluster.errors.MasterUnreachable: if only the master can
            say, and it cannot be asked.
        @raise TooBusy: if too much is asked at once.
        """


def mayNot(asker: Asker) -> RequestRefused:
    """
    What is said to who may not change the cluster.
    """
    return RequestRefused(f"{asker.name} may not change the cluster: {asker.remedy}")


class Requests:
    """
    The requests that a node answers itself.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self._log = Journal(MAIN)
        self._listeners: list[Callable[[str, str], None]] = []

    def offer(self, entries: Iterable[Entry]) -> None:
        """
        Answer these too.
        """
        self._entries.update((entry.name, entry) for entry in entries)

    def observe(self, listener: Callable[[str, str], None]) -> None:
        """
        Tell somebody of changes that are asked for: the request's name, and who
        asks.
        """
        self._listeners.append(listener)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    async def perform(self, asker: Asker, name: str, body: bytes) -> bytes:
        """
        See L{IAnswers.perform}. Whatever the body is, that is no violation of
        the protocol: a node passes on what a local program asked.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise RequestRefused(f"this node does not answer {name[:80]!r}")
        if entry.changes and not asker.administers:
            raise mayNot(asker)
        if entry.changes:
            self._log.info("{request} is asked for by {asker}.", request=name, asker=asker.name)
            for listener in self._listeners:
                listener(name, asker.name)
        try:
            answer = writeBody(await entry.answer(Fields.read(body)))
        except BadArgument as error:
            raise RequestRefused(f"{name}: {error}") from None
        except (RequestRefused, TooBusy):
            raise
        except ClusterError as error:
            raise RequestRefused(str(error)) from None
        if len(answer) > BODY_SIZE:
            raise RequestRefused(f"{name}: the answer is too large")
        return answer
