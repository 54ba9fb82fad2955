"""
The ports of the agents' rooms, and what their adapters guarantee.

All methods that return a L{Deferred} may take a while; none blocks. What one of
them fails with, beyond what it names, is a fault of the adapter's world (a disk
that is full, a database that does not answer) as a
L{ClusterError<wazuh_cluster.errors.ClusterError>} with one line, and nothing is
half-done then.

Where the truth of registrations and assignments lies is the adapter's business:
nothing outside of it may assume that it is a local file.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from twisted.internet.defer import Deferred
from zope.interface import Interface

from wazuh_cluster.agents.heard import HeardBatch
from wazuh_cluster.agents.model import (
    Agent,
    AgentRecord,
    AgentState,
    AgentStatus,
    Batch,
    FleetCounts,
    FleetFilter,
    FleetPage,
    Group,
    Registration,
)


class IRegistrar(Interface):
    """
    Who is registered. On a master it decides; nobody else does.
    """

    def load() -> Deferred[int]:
        """
        Read what there is now, rather than when the first one asks, and bring
        to its end what a process before this one did not.

        @return: as L{highest}.
        """

    def stop() -> None:
        """
        End what waits, and take nothing more.
        """

    def observe(observer: IRegistrarObserver) -> None:
        """
        Tell an observer from now on.
        """

    def register(request: Registration, requestId: bytes, origin: str) -> Deferred[Agent]:
        """
        Register an agent. When it fires, the agent outlives the death of any
        process and of the machine.

        The same id from the same origin within ten minutes is a retry and gives
        the same agent, whatever died between. Concurrent calls are safe: each
        id is given once.

        @param requestId: 16 bytes that whoever first had the request made.
        @param origin: the name of the node at which the agent asked.
        @raise wazuh_cluster.errors.RegistrationRefused: if it may not be, with
            authd's code and text; C{9001 Internal error} stands for a fault of
            the registrar's own world, or for a request that was undone.
        """

    def undo(requestId: bytes, origin: str) -> Deferred[Agent | None]:
        """
        The agent never got its answer: remove what this request registered,
        and refuse the request if it comes, or is worked off, later.

        @return: what was removed, C{None} if there was nothing.
        @raise wazuh_cluster.errors.RegistrationRefused: if it cannot be done
            now: ask again.
        """

    def remove(ids: Collection[int], purge: bool | None = None) -> Deferred[Sequence[Agent]]:
        """
        Remove agents; those that are not registered are passed over.

        @param purge: whether no trace stays in C{client.keys}; C{None} for the
            configured way.
        @return: those that were removed, durably.
        """

    def get(agent: int) -> Deferred[Agent | None]:
        """
        A registered agent.
        """

    def known(ids: Collection[int]) -> Deferred[frozenset[int]]:
        """
        Those of C{ids} that are registered. It is asked for each batch of
        records, thousands of times a second.
        """

    def page(after: int, most: int) -> Deferred[Sequence[Agent]]:
        """
        The next C{most} registered agents by id, of those above C{after}.
        """

    def highest() -> Deferred[int]:
        """
        The highest agent id that was ever seen here, 0 for none.
        """

    def seen(agent: int) -> Deferred[None]:
        """
        Some node has seen this id: it is never given, nor one below it.
        """


class IRegistrationTimes(Interface):
    """
    What the force rules ask about an agent that is registered already.
    """

    def status(agent: int) -> Deferred[AgentStatus | None]:
        """
        Its status now; C{None} if that cannot be said.
        """


class IRememberingRegistrar(IRegistrar):
    """
    A registrar that knows what it did shortly before its process ended.
    """

    def removedBefore() -> Deferred[Collection[int]]:
        """
        The ids of agents that were undone or replaced by others then, and are
        not registered: the process may have been killed before an observer had
        done what it does about them.
        """


class IRegistrarObserver(Interface):
    """
    Who wants to hear what a registrar did. What it raises is logged and hurts
    nobody.
    """

    def added(agents: Sequence[Agent]) -> None:
        """
        These were registered, durably; whoever asked is told after this.
        """

    def removed(agents: Sequence[Agent]) -> None:
        """
        These were removed, durably: by a command, by an undo, or because
        others took their place. Agents that somebody removed from
        C{client.keys} by hand are not among them.
        """


class IAgentSource(Interface):
    """
    The records of the agents that report to this node. C{heard} is in seconds
    of L{uptime<wazuh_cluster.uptime.uptime>}, which no change of the date
    moves.

    See L{IAgentBatchSource} for a source of very many agents.
    """

    def markAll() -> Deferred[None]:
        """
        A new master, or the same one anew: nothing was taken by it yet.
        """

    def pending(most: int) -> Deferred[Sequence[AgentRecord]]:
        """
        Up to C{most} records that the master has not taken as they are now;
        the longest waiting first. The same ones again until they are L{taken}.
        """

    def taken(records: Sequence[AgentRecord]) -> Deferred[None]:
        """
        The master took these as they were then. One that changed since is still
        pending.
        """

    def unknown(ids: Collection[int]) -> Deferred[None]:
        """
        The master does not know these agents. Their records are kept back until
        they change, or until they are L{registered}.
        """

    def registered(ids: Iterable[int]) -> Deferred[None]:
        """
        C{client.keys} changed, and these are the agents in it now. What was
        kept back of them is pending again; others are forgotten.
        """

    def removed(ids: Collection[int]) -> Deferred[None]:
        """
        These agents are registered no more: forget them.
        """

    def subscribe(changed: Callable[[], None]) -> None:
        """
        Call C{changed()} in the reactor's thread when something is pending that
        is worth telling before the next interval: the first record of an agent,
        or another event than the last one.
        """

    def stop() -> None:
        """
        Nothing more is asked: let go of what is held. Never waits.
        """


class IAgentBatchSource(IAgentSource):
    """
    A source that writes whole batches itself, as they travel.
    """

    def rewind() -> None:
        """
        Begin anew with what is pending now. What becomes pending from here on
        is not among what L{nextBatch} gives, until it is rewound again.
        """

    def nextBatch(size: int) -> Deferred[Batch | None]:
        """
        The next records, at most C{size} bytes of them, the longest waiting
        first. Not called again before it fired. Each is given once until the
        source is rewound.

        @return: C{None} if there are none any more.
        """

    def batchTaken(
        batch: Batch, unknown: Collection[int], incomplete: Collection[int]
    ) -> Deferred[None]:
        """
        The master took a batch as it was given. Batches are taken in the order
        in which they were given; one after a batch that was not taken counts as
        not taken.

        @param unknown: agents of it that the master does not know, see
            L{unknown}.
        @param incomplete: agents of whose details it wants all. They are
            pending, as changed just now.
        """


class IAgentStore(Interface):
    """
    The records of the whole fleet, on the master. C{heard} is in seconds since
    the epoch by the master's
    L{SteadyClock<wazuh_cluster.steadyclock.SteadyClock>}.

    A C{heard} in the future counts as now: in what comes, and likewise, from
    the moment at which that is seen, in what is there. So neither a forged time
    nor a clock that was wrong makes a record stay.

    See L{IAgentBatchStore} for a store of very many agents.
    """

    def take(records: Sequence[AgentRecord], now: float) -> Deferred[int]:
        """
        Keep those that are at least as new as what is there, by C{heard}. Of
        one without details, what was known of them stays. When it fires they
        are committed. Calls that wait are committed together.

        @return: how many were at least as new.
        """

    def remove(ids: Collection[int]) -> Deferred[None]:
        """
        Forget these agents. When it fires, no power cut brings them back.
        """

    def records(ids: Collection[int]) -> Deferred[Mapping[int, AgentRecord]]:
        """
        The records of these agents; those without one are left out.
        """

    def states(first: int, last: int) -> Deferred[Sequence[AgentState]]:
        """
        What decides about the statuses of the agents from C{first} to C{last},
        by id; those without a record are left out.
        """

    def stop() -> None:
        """
        Nothing more is asked: let go of what is held. Never waits.
        """


class IAgentBatchStore(IAgentStore):
    """
    A store that takes whole batches, without an object for each record.
    """

    def takeBatch(node: str, batch: HeardBatch, now: float) -> Deferred[Sequence[int]]:
        """
        As L{take}. Where details are as before and a digest says which, nothing
        is taken unless the store has these.

        @param node: who heard it.
        @return: the agents of which nothing was taken for that.
        """


class IAssignments(Interface):
    """
    The groups, and which agents are in them. On a master it decides.
    """

    def groups() -> Deferred[Sequence[Group]]:
        """
        All groups, by name.
        """

    def create(name: str) -> Deferred[None]:
        """
        Make a group.

        @raise wazuh_cluster.errors.GroupRefused: if the name cannot be one, or
            is taken.
        """

    def delete(name: str) -> Deferred[Sequence[int]]:
        """
        Remove a group, and every agent from it.

        @return: the agents that were in it.
        @raise wazuh_cluster.errors.GroupRefused: if there is none, or it is
            C{default}.
        """

    def missing(names: Iterable[str]) -> Deferred[Sequence[str]]:
        """
        Those of these names of which there is no group.
        """

    def of(ids: Collection[int]) -> Deferred[Mapping[int, tuple[str, ...]]]:
        """
        The groups of these agents, in the order of priority; those without one
        are left out.
        """

    def assign(groups: Mapping[int, tuple[str, ...]]) -> Deferred[None]:
        """
        Make these the groups of these agents, durably; none at all forgets the
        agent.

        @raise wazuh_cluster.errors.GroupRefused: if there is no such group, or
            there are too many; nothing was assigned then.
        """

    def remove(ids: Collection[int]) -> Deferred[None]:
        """
        Forget these agents.
        """


class IFleet(Interface):
    """
    All registered agents with what is known of them, on the master.
    """

    def page(after: int, most: int, wanted: FleetFilter) -> Awaitable[FleetPage]:
        """
        The next C{most} of the wanted agents by id, of those above C{after}.
        The work for one page is bounded: where few are wanted there may be
        fewer, or none, though there are more.
        """

    def counts() -> Awaitable[FleetCounts]:
        """
        How many agents there are.
        """


class IReports(Interface):
    """
    Where programs on this node say what they heard of agents.
    """

    def report(records: Sequence[AgentRecord]) -> Awaitable[int]:
        """
        Take records in; C{heard} is in seconds of the clock that this node's
        L{IAgentSource} goes by.

        @return: how many were taken.
        @raise wazuh_cluster.errors.ClusterError: if one cannot be, with a line
            that names its agent; none was taken then.
        """
