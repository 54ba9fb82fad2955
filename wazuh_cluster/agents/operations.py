"""
What a registrar can be asked to change, and what comes of it: plain values that
are decided one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from wazuh_cluster.agents.model import Agent, AgentStatus, Registration


@frozen
class Register:
    """
    Register an agent.

    @ivar key: what the request goes by; see
        L{requestKey<wazuh_cluster.agents.requestjournal.requestKey>}.
    @ivar missing: those of the groups that do not exist.
    @ivar statuses: of agents that may have to be replaced, as far as they were
        asked for; C{None} for one of which nobody can say it. C{None} instead
        of all of them if there is nobody to be asked: then they count as never
        connected.
    """

    registration: Registration
    key: bytes
    missing: Sequence[str] = ()
    statuses: Mapping[int, AgentStatus | None] | None = None


@frozen
class Undo:
    """
    Undo what a request registered.

    @ivar refuse: whether the request is refused from now on.
    """

    key: bytes
    refuse: bool = True


@frozen
class Remove:
    """
    Remove agents.

    @ivar purge: see L{IRegistrar.remove<wazuh_cluster.agents.IRegistrar.remove>}.
    """

    ids: frozenset[int]
    purge: bool | None = None


Operation = Register | Undo | Remove


@frozen
class Registered:
    """
    What comes of L{Register}, unless it is refused.

    @ivar isNew: whether it was registered now, and not when the same request
        came before.
    """

    agent: Agent
    isNew: bool


@frozen
class StatusNeeded:
    """
    A L{Register} cannot be decided without the statuses of these agents: ask
    for them, and come again.
    """

    agents: tuple[Agent, ...]


@frozen
class Removed:
    """
    What comes of L{Undo} and L{Remove}.
    """

    agents: tuple[Agent, ...]


@frozen
class Refused:
    """
    What comes of a L{Register} that may not be.

    @ivar code: authd's.
    @ivar text: likewise.
    @ivar why: for the log.
    """

    code: int
    text: str
    why: str = ""


Verdict = Registered | StatusNeeded | Removed | Refused
