"""
The port of the enrollment listener, and the value that goes through it.
"""

from __future__ import annotations

from collections.abc import Callable

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
