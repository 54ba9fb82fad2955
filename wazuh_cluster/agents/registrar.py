"""
The embedded registrar: C{client.keys} itself, under authd's rules.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.agents.counsel import Counsel
from wazuh_cluster.agents.forcerules import ForceRules
from wazuh_cluster.agents.groupcommit import GroupCommit
from wazuh_cluster.agents.interfaces import (
    IAssignments,
    IRegistrarObserver,
    IRegistrationTimes,
    IRememberingRegistrar,
)
from wazuh_cluster.agents.judge import Policy
from wazuh_cluster.agents.keysbook import KeysBook, Settled
from wazuh_cluster.agents.model import Agent, Registration, formatId
from wazuh_cluster.agents.operations import (
    Operation,
    Refused,
    Register,
    Registered,
    Remove,
    Removed,
    StatusNeeded,
    Undo,
    Verdict,
)
from wazuh_cluster.agents.requestjournal import requestKey
from wazuh_cluster.errors import (
    RegistrationRefused,
    Stopped,
)
from wazuh_cluster.failures import Failures
from wazuh_cluster.interfaces import IFileSystem, IRunner, IState
from wazuh_cluster.journal import MAIN, Journal

#: How many agents are named in a line of the log.
_NAMED = 5

# In how many turns the statuses of whoever is in the way are asked for: others
# may come to stand there meanwhile.
_TURNS = 5


class IBook(Protocol):
    """
    Where registrations are kept; see
    L{KeysBook<wazuh_cluster.agents.keysbook.KeysBook>}.
    """

    async def settle(self, operations: Sequence[Operation]) -> Settled: ...

    async def get(self, id: int) -> Agent | None: ...

    async def page(self, after: int, most: int) -> Sequence[Agent]: ...

    async def known(self, ids: Collection[int]) -> frozenset[int]: ...

    async def highest(self) -> int: ...

    async def seen(self, id: int) -> None: ...

    async def removedBefore(self) -> Collection[int]: ...

    def stop(self) -> None: ...


@implementer(IRememberingRegistrar)
class Registrar:
    """
    A registrar over a book.

    @ivar counsel: whom it asks about groups and statuses.
    """

    def __init__(
        self,
        book: IBook,
        clock: IReactorTime,
        *,
        assignments: IAssignments | None = None,
        times: IRegistrationTimes | None = None,
        observers: Iterable[IRegistrarObserver] = (),
        journal: Journal | None = None,
    ) -> None:
        self._book = book
        self._clock = clock
        self._observers = list(observers)
        self._log = Journal(MAIN) if journal is None else journal
        self._failures = Failures("Registration", clock, self._log)
        self.counsel = Counsel(clock, self._log, book.known, assignments, times)
        self._operations: GroupCommit[Operation, Verdict] = GroupCommit(
            self._settle, journal=self._log
        )

    def removedBefore(self) -> Deferred[Collection[int]]:
        """
        See L{IRememberingRegistrar.removedBefore}.
        """
        return Deferred.fromCoroutine(self._book.removedBefore())

    def observe(self, observer: IRegistrarObserver) -> None:
        """
        Tell an observer from now on.
        """
        self._observers.append(observer)

    def load(self) -> Deferred[int]:
        """
        Read what there is now, rather than when the first one asks, and bring
        to its end what a process before this one did not.

        @return: the highest id that was ever seen.
        """
        return Deferred.fromCoroutine(self._load())

    def stop(self) -> None:
        """
        End what waits; it fails with L{Stopped}. What runs ends with its
        runner.
        """
        self._book.stop()

    def register(self, request: Registration, requestId: bytes, origin: str) -> Deferred[Agent]:
        """
        See L{IRegistrar.register}.
        """
        return Deferred.fromCoroutine(self._register(request, requestKey(requestId, origin)))

    def undo(self, requestId: bytes, origin: str) -> Deferred[Agent | None]:
        """
        See L{IRegistrar.undo}.
        """
        return Deferred.fromCoroutine(self._undo(requestKey(requestId, origin)))

    def remove(self, ids: Collection[int], purge: bool | None = None) -> Deferred[Sequence[Agent]]:
        """
        See L{IRegistrar.remove}.
        """
        return Deferred.fromCoroutine(self._remove(frozenset(ids), purge))

    def get(self, agent: int) -> Deferred[Agent | None]:
        """
        See L{IRegistrar.get}.
        """
        return Deferred.fromCoroutine(self._book.get(agent))

    def known(self, ids: Collection[int]) -> Deferred[frozenset[int]]:
        """
        See L{IRegistrar.known}.
        """
        return Deferred.fromCoroutine(self._book.known(ids))

    def page(self, after: int, most: int) -> Deferred[Sequence[Agent]]:
        """
        See L{IRegistrar.page}.
        """
        return Deferred.fromCoroutine(self._book.page(after, most))

    def highest(self) -> Deferred[int]:
        """
        See L{IRegistrar.highest}.
        """
        return Deferred.fromCoroutine(self._book.highest())

    def seen(self, agent: int) -> Deferred[None]:
        """
        See L{IRegistrar.seen}.
        """
        return Deferred.fromCoroutine(self._book.seen(agent))

    async def _load(self) -> int:
        # Nothing to decide, but what was left.
        await self._settle(())
        return await self._book.highest()

    async def _register(self, asked: Registration, key: bytes) -> Agent:
        verdict = await self._answered(self._decide(asked, key))
        if isinstance(verdict, Refused):
            self._log.debug(
                "{name} is not registered: {text} ({why})",
                name=asked.name,
                text=verdict.text,
                why=verdict.why,
            )
            raise RegistrationRefused.of(verdict.code, verdict.text)
        assert isinstance(verdict, Registered)
        if asked.groups:
            await self.counsel.assign(verdict.agent, asked.groups, verdict.isNew)
        return verdict.agent

    async def _decide(self, asked: Registration, key: bytes) -> Verdict:
        missing = await self.counsel.missing(asked.groups)
        statuses = await self.counsel.statuses(())
        for _ in range(_TURNS):
            verdict = await self._operations.add(Register(asked, key, missing, statuses))
            if not isinstance(verdict, StatusNeeded):
                return verdict
            more = await self.counsel.statuses(verdict.agents)
            statuses = {**(statuses or {}), **(more or {})}
        return Refused(9008, "Duplicate name", "others come to stand there again and again")

    async def _undo(self, key: bytes) -> Agent | None:
        verdict = await self._answered(self._operations.add(Undo(key)))
        assert isinstance(verdict, Removed)
        return verdict.agents[0] if verdict.agents else None

    async def _remove(self, ids: frozenset[int], purge: bool | None) -> Sequence[Agent]:
        verdict = await self._operations.add(Remove(ids, purge))
        assert isinstance(verdict, Removed)
        return verdict.agents

    async def _answered(self, verdict: Awaitable[Verdict]) -> Verdict:
        """
        A verdict, or authd's answer where there is none. Why there is none was
        told in the log.
        """
        try:
            return await verdict
        except (RegistrationRefused, Stopped, CancelledError):
            raise
        except Exception as error:
            raise RegistrationRefused.of(9001, "Internal error") from error

    async def _settle(self, operations: Sequence[Operation]) -> Sequence[Verdict]:
        """
        One batch.
        """
        try:
            settled = await self._book.settle(operations)
        except (Stopped, CancelledError):
            raise
        except Exception:
            self._failures.failed(Failure())
            raise
        self._failures.succeeded()
        self._tell(settled)
        return settled.verdicts

    def _tell(self, settled: Settled) -> None:
        if settled.added:
            self._log.info("Registered {agents}.", agents=_listed(settled.added))
        if settled.removed:
            self._log.info("Removed {agents}.", agents=_listed(settled.removed))
        for observer in self._observers:
            try:
                if settled.removed:
                    observer.removed(settled.removed)
                if settled.added:
                    observer.added(settled.added)
            except Exception:
                self._log.failure("The observer {observer} failed.", observer=observer)


class ClientKeysRegistrar(Registrar):
    """
    A registrar that keeps C{etc/client.keys} of a home.
    """

    def __init__(
        self,
        home: bytes | str,
        runner: IRunner,
        clock: IReactorTime,
        state: IState,
        *,
        fileSystem: IFileSystem,
        rules: ForceRules | None = None,
        hostName: str = "",
        purge: bool = True,
        silence: float = 900.0,
        assignments: IAssignments | None = None,
        times: IRegistrationTimes | None = None,
        observers: Iterable[IRegistrarObserver] = (),
        wallClock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[int], bytes] = os.urandom,
        journal: Journal | None = None,
    ) -> None:
        """
        @param home: absolute. Its C{etc} must exist.
        @param runner: for the registrar alone; whoever made it stops it.
        @param state: where to keep the highest id that was ever seen.
        @param rules: when a new agent takes the place of an old one; Wazuh's
            defaults if C{None}.
        @param hostName: the manager's own, which no agent may have; C{""} for
            none.
        @param purge: whether the line of a removed agent goes, unless who
            removes it says otherwise.
        @param silence: after how many seconds without a keep-alive an agent
            counts as disconnected.
        @param random: makes the keys.
        """
        journal = Journal(MAIN) if journal is None else journal
        book = KeysBook(
            os.fsencode(home),
            runner,
            clock,
            state,
            fileSystem=fileSystem,
            policy=Policy(rules or ForceRules(), hostName, purge, silence),
            wallClock=wallClock,
            monotonic=monotonic,
            random=random,
            journal=journal,
        )
        super().__init__(
            book,
            clock,
            assignments=assignments,
            times=times,
            observers=observers,
            journal=journal,
        )


def _listed(agents: Sequence[Agent]) -> str:
    """
    Some agents, for a line of the log.
    """
    named = ", ".join(f"{formatId(each.id)} {each.name}" for each in agents[:_NAMED])
    more = len(agents) - _NAMED
    return f"{named} and {more} more" if more > 0 else named
