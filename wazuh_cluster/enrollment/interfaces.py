"""
The port of the enrollment listener, the value that goes through it, and where
it is noted what is open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import field, frozen
from twisted.internet.defer import Deferred
from zope.interface import Interface

from wazuh_cluster.agents import Agent, Registration


@frozen
class Enrolled:
    """
    An agent that was registered, and is to be told so.

    @ivar agent: as it is registered, durably.
    @ivar undo: call this instead of telling it, in the same turn of the
        reactor, if that cannot be done any more.
    """

    agent: Agent
    undo: Callable[[], None] = field(repr=False)


class IEnroller(Interface):
    """
    Registers the agents that ask at this node, by whoever decides that.
    """

    def enroll(request: Registration) -> Deferred[Enrolled]:
        """
        Register an agent. It fires, or fails, within ten seconds.

        What was registered, or is yet to be, is undone if this fails, and if
        the Deferred is cancelled, because the agent has gone away. Once it
        fired, it is undone only by L{Enrolled.undo}.

        @raise wazuh_cluster.errors.EnrollmentRefused: with what the agent is
            told.
        """


class IOpenRequests(Interface):
    """
    Which requests are open: asked of whoever registers agents, and neither
    answered nor undone. What is noted outlives the process, however it ends;
    but not the machine. No call waits for anything.
    """

    def load() -> Sequence[bytes]:
        """
        Begin, before anything is noted.

        @return: the ids that the process before this one left, at most; they
            are noted still. None of them was, or will be, answered.
        """

    def add(requestId: bytes) -> None:
        """
        Note a request, as far as there is room.
        """

    def discard(requestId: bytes) -> None:
        """
        Forget it, if it is noted.
        """

    def close() -> None:
        """
        End; what is noted stays so.
        """
