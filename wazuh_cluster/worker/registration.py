"""
How a worker enrolls agents: it asks the master, over whatever links there are.

L{wazuh_cluster.enrollment.attempts} says how a request ends. What is added here
is the link:

  1. A request waits for a place on a link. If none comes, nothing was asked, and
     nothing is to be undone.
  2. It was sent, and the link is cut: the master may have registered the agent. It
     is sent again on the next link with the same id, by which the master knows it
     and gives the same answer.
  3. Time is up, the agent goes away, or the master refuses it now although it may
     have done it on an earlier link: it is open, and is undone.
  4. The list of what is to be undone is worked off while there is a link, and over
     restarts, until the master says that it is done. The master refuses an id
     that it has undone, so that a request which is still on its way cannot come to
     life after that.

If this process is killed while a request is open, the next one puts it on the
list. If there is none, or the machine died, the master itself sees that it cannot
answer: see L{wazuh_cluster.master.registrations}.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.protocols.amp import AmpError, UnhandledCommand
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.agents import Agent, Registration
from wazuh_cluster.enrollment import (
    Attempt,
    Attempts,
    Enrolled,
    IEnroller,
    IOpenRequests,
    UndoList,
)
from wazuh_cluster.errors import (
    ClusterError,
    EnrollmentRefused,
    LinkClosed,
    MasterUnreachable,
    RegistrationRefused,
    TooBusy,
)
from wazuh_cluster.journal import ENROLLMENT, Journal
from wazuh_cluster.protocol import Limits, Peer, RegisterAgent, UndoRegistration
from wazuh_cluster.repeats import Repeats

#: Before a master that is busy is asked again, in seconds.
BUSY_DELAY = 0.25

#: How often the same trouble is said again, in seconds.
REMIND_AFTER = 60.0

#: As Wazuh's authd spells it.
UNREACHABLE = "Cannot comunicate with master"


@implementer(IEnroller)
class LinkEnroller:
    """
    Registers agents by asking the master. It lives as long as the worker, over
    all its links.
    """

    def __init__(
        self,
        undoing: UndoList,
        openRequests: IOpenRequests,
        clock: IReactorTime,
        random: Callable[[int], bytes],
        limits: Limits,
        wakeUp: Callable[[], None],
        registered: Callable[[Agent], None],
    ) -> None:
        """
        @param wakeUp: called when there is something to undo.
        @param registered: told of each agent that the master registered.
        """
        self._undoing = undoing
        self._attempts = Attempts(undoing, openRequests, clock, random, wakeUp)
        self._clock = clock
        self._limits = limits
        self._registered = registered
        self._log = Journal(ENROLLMENT)
        self._complaints = Repeats(clock, REMIND_AFTER)
        self._peer: Peer | None = None
        self._free = 0
        self._queue: deque[Deferred[Peer]] = deque()

    # What the worker says.

    def linkUp(self, peer: Peer) -> None:
        """
        There is a link. What is to be undone goes first: see L{undo}; the rest
        waits for L{serve}.
        """
        self._peer = peer
        self._free = 0

    def serve(self) -> None:
        """
        Let those ask who wait for the link. The master does what it is asked in
        the order in which it comes, so an agent's next attempt is no duplicate
        of the one before, if that was asked to be undone by now.
        """
        self._free = self._limits.registrations
        self._serve()

    def linkDown(self) -> None:
        """
        There is none any more.
        """
        self._peer = None

    async def undo(self) -> str:
        """
        Undo what is on the list.

        @return: what was done, for people.
        @raise LinkClosed: if the link ends before all is done.
        """
        peer = self._peer
        if peer is None:
            raise LinkClosed("there is no link to the master")

        async def send(ids: Sequence[bytes]) -> None:
            try:
                await peer.ask(UndoRegistration, requests=b"".join(ids))
            except AmpError as error:
                raise MasterUnreachable(_unable(error)) from None

        return await self._attempts.undo(send)

    def start(self) -> None:
        """
        Begin, and bring to its end what a process before this one did not.
        """
        self._attempts.start()
        # Known before there is a link.
        self._undoing.start()

    async def stop(self) -> None:
        """
        Refuse all that is under way, and take nothing more.
        """
        await self._attempts.stop()

    # What the listener says.

    def enroll(self, request: Registration) -> Deferred[Enrolled]:
        """
        See L{IEnroller.enroll}.
        """
        return self._attempts.make(lambda attempt: self._ask(attempt, request), UNREACHABLE)

    async def _ask(self, attempt: Attempt, request: Registration) -> Agent:
        """
        Ask on one link after the other until there is an answer.
        """
        while True:
            peer = await self._place()
            before, attempt.open = attempt.open, True
            try:
                answer = await self._send(peer, attempt.id, request)
            except TooBusy:
                # It was not even looked at.
                attempt.open = before
                await deferLater(self._clock, BUSY_DELAY)
            except RegistrationRefused as refusal:
                attempt.open = before
                raise EnrollmentRefused(refusal.text) from None
            except AmpError as error:
                attempt.open = before or not isinstance(error, UnhandledCommand)
                self._complain(_unable(error))
                raise EnrollmentRefused(UNREACHABLE) from None
            except ClusterError as error:
                # The link ended, or does so now: the next one may know.
                peer.abort(error)
            else:
                attempt.open = False
                agent = Agent(answer["id"], answer["name"], answer["ip"], answer["key"])
                self._registered(agent)
                return agent

    def _send(
        self, peer: Peer, requestId: bytes, request: Registration
    ) -> Deferred[dict[str, Any]]:
        """
        Ask on one link. Whoever waits for the answer may give up; the place on
        the link is free only when there is one.
        """
        asked = Deferred.fromCoroutine(
            peer.ask(
                RegisterAgent,
                request=requestId,
                name=request.name,
                ip=request.ip,
                groups=",".join(request.groups) or None,
                keyHash=request.keyHash,
            )
        )
        answer: Deferred[dict[str, Any]] = Deferred()

        def answered(result: Any) -> None:
            if isinstance(result, Failure):
                answer.errback(result)
            else:
                answer.callback(result)
            if self._peer is peer:
                self._free += 1
                self._serve()

        asked.addBoth(answered).addErrback(self._bug)
        return answer

    def _place(self) -> Deferred[Peer]:
        """
        The link, once there is one and the master may be asked one thing more
        on it.
        """
        place: Deferred[Peer] = Deferred(self._queue.remove)
        self._queue.append(place)
        self._serve()
        return place

    def _serve(self) -> None:
        while self._queue and self._free > 0 and self._peer is not None and self._peer.live:
            self._free -= 1
            self._queue.popleft().callback(self._peer)

    def _complain(self, problem: str) -> None:
        if self._complaints.allow(problem) is not None:
            self._log.error("No agent can enroll here: {problem}", problem=problem)

    def _bug(self, failure: Failure) -> None:
        self._log.failure("An enrollment could not be answered: this is a bug.", failure)


def _unable(error: AmpError) -> str:
    """
    What it means that the master did not know what to do with a command.
    """
    return (
        f"the master cannot register agents ({type(error).__name__}): its logs/cluster.log says "
        "why, unless it is older than this node"
    )
