"""
Agents' requests at a node, from the moment that they came to the moment that
they are answered or undone: what every way of enrolling agents has in common.

One request is an I{attempt}. It is I{open} while something was asked of whoever
registers agents that was not answered. Then:

  - The answer comes in time: it is handed on in the same turn of the reactor, and
    is not undone any more, unless whoever takes it says in that turn that it
    cannot be delivered.
  - Time is up, or it is refused although something is open: its id is put on the
    list of what is to be undone, and that is durable I{before} the agent is told
    that it failed.
  - The agent goes away, or this node stops: likewise, though there is nobody to
    wait for the disk.

So an id gets on the list only if its agent was not, and will not be, given a
key; and an answer that comes later is dropped.

What is open is noted elsewhere too, from the moment of asking to that of the
answer, or until it is undone: L{IOpenRequests}. From there the process after one
that was killed puts it on the list.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, fail
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wazuh_cluster.agents import Agent
from wazuh_cluster.enrollment.interfaces import Enrolled, IOpenRequests
from wazuh_cluster.enrollment.undoing import UndoList
from wazuh_cluster.errors import ClusterError, EnrollmentRefused
from wazuh_cluster.failures import oneLine
from wazuh_cluster.journal import ENROLLMENT, Journal
from wazuh_cluster.repeats import Repeats

#: How long a request may take, and how long the list of what is to be undone
#: may take to be saved then; an agent is told within both together. In seconds.
PATIENCE = 9.0
SAVE_PATIENCE = 0.9

#: How often the same trouble is said again, in seconds.
REMIND_AFTER = 60.0


class Attempt:
    """
    One agent's request.

    @ivar id: 16 bytes that nobody else knows.
    """

    def __init__(self, id: bytes, openRequests: IOpenRequests) -> None:
        self.id = id
        self._open = False
        self._openRequests = openRequests

    @property
    def open(self) -> bool:
        """
        Whether something was asked that was not answered.
        """
        return self._open

    @open.setter
    def open(self, value: bool) -> None:
        self._open = value
        if value:
            self._openRequests.add(self.id)
        else:
            self._openRequests.discard(self.id)


class Attempts:
    """
    The attempts of one node, and how they end.
    """

    def __init__(
        self,
        undoing: UndoList,
        openRequests: IOpenRequests,
        clock: IReactorTime,
        random: Callable[[int], bytes],
        wakeUp: Callable[[], None],
    ) -> None:
        """
        @param wakeUp: called when there is something to undo.
        """
        self._undoing = undoing
        self._openRequests = openRequests
        self._clock = clock
        self._random = random
        self._wakeUp = wakeUp
        self._log = Journal(ENROLLMENT)
        self._complaints = Repeats(clock, REMIND_AFTER)
        self._underWay: dict[Deferred[Enrolled], None] = {}
        self._stopped = False

    def start(self) -> None:
        """
        Begin: what a process before this one left open is to be undone.
        """
        self._stopped = False
        for requestId in self._openRequests.load():
            self._undo(requestId)

    async def undo(self, undo: Callable[[Sequence[bytes]], Awaitable[object]]) -> str:
        """
        Undo what is to be undone.

        @param undo: see L{UndoList.work}.
        @return: what was done, for people.
        """

        async def undoSome(ids: Sequence[bytes]) -> None:
            await undo(ids)
            for each in ids:
                self._openRequests.discard(each)

        return await self._undoing.work(undoSome)

    def make(
        self, ask: Callable[[Attempt], Coroutine[Any, Any, Agent]], late: str
    ) -> Deferred[Enrolled]:
        """
        Make an attempt.

        @param ask: asks for the registration, and fails with
            L{EnrollmentRefused} if there is none. It says what is open.
        @param late: what an agent is told when time is up.
        @return: see L{IEnroller.enroll<wazuh_cluster.enrollment.IEnroller>}.
        """
        if self._stopped:
            return fail(EnrollmentRefused(late))
        making = Deferred.fromCoroutine(self._make(ask, late))
        self._underWay[making] = None

        def ended(result: Any) -> Any:
            self._underWay.pop(making, None)
            if self._stopped and isinstance(result, Failure) and result.check(CancelledError):
                return Failure(EnrollmentRefused(late))
            return result

        return making.addBoth(ended)

    async def _make(
        self, ask: Callable[[Attempt], Coroutine[Any, Any, Agent]], late: str
    ) -> Enrolled:
        attempt = Attempt(self._random(16), self._openRequests)
        asking = Deferred.fromCoroutine(ask(attempt))
        try:
            agent = await asking.addTimeout(PATIENCE, self._clock)
        except (EnrollmentRefused, TimeoutError) as error:
            if attempt.open:
                await self._settle(attempt.id)
            raise (
                error if isinstance(error, EnrollmentRefused) else EnrollmentRefused(late)
            ) from None
        except BaseException:
            # The agent has gone, or this node stops; or there is a bug.
            if attempt.open:
                self._undo(attempt.id)
            raise
        return Enrolled(agent, lambda: self._undo(attempt.id))

    async def stop(self) -> None:
        """
        Refuse all that is under way, and take nothing more.
        """
        self._stopped = True
        for making in list(self._underWay):
            making.cancel()
        await self._inTime(self._undoing.whenSaved(), SAVE_PATIENCE / 2)
        self._openRequests.close()

    async def _settle(self, requestId: bytes) -> None:
        """
        See that nothing stays of a request before its agent hears that it
        failed. A disk that does not take that in time must not hold it up.
        """
        saved = self._undoing.add(requestId)
        self._wakeUp()
        await self._inTime(saved, SAVE_PATIENCE)

    def _undo(self, requestId: bytes) -> None:
        self._openRequests.add(requestId)
        self._undoing.add(requestId).addErrback(self._notSaved).addErrback(self._bug)
        self._wakeUp()

    async def _inTime(self, saved: Deferred[None], seconds: float) -> None:
        try:
            await saved.addTimeout(seconds, self._clock)
        except (ClusterError, OSError, TimeoutError):
            self._notSaved(Failure())

    def _notSaved(self, failure: Failure) -> None:
        failure.trap(ClusterError, OSError, TimeoutError)
        late = failure.check(TimeoutError)
        reason = "the disk does not answer" if late else oneLine(failure)
        if self._complaints.allow(reason) is not None:
            self._log.error(
                "A registration that is to be undone is not noted on the disk: {reason}",
                reason=reason,
            )

    def _bug(self, failure: Failure) -> None:
        self._log.failure("A registration could not be undone: this is a bug.", failure)
