"""
The values of the agents' rooms: frozen, without behaviour that needs a
collaborator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from attrs import Factory, field, frozen

#: What a node heard of an agent last, and what a status can be. The last one is
#: never reported: it is what a registered agent is that nobody has heard of.
PENDING = "pending"
ACTIVE = "active"
DISCONNECTED = "disconnected"
NEVER_CONNECTED = "never_connected"

#: All statuses, in the order in which tables show them.
STATUSES = (ACTIVE, PENDING, DISCONNECTED, NEVER_CONNECTED)

#: What a node can have heard.
EVENTS = (ACTIVE, PENDING, DISCONNECTED)

#: The largest agent id: eight digits.
MAX_AGENT_ID = 99_999_999


def formatId(agent: int) -> str:
    """
    An agent's id as it is written: at least three digits.
    """
    return f"{agent:03d}"


@frozen
class Agent:
    """
    An agent as it is registered: a line of C{client.keys}.

    @ivar id: 1 to L{MAX_AGENT_ID}.
    @ivar name: 1 to 128 letters, digits, C{-}, C{_} or C{.}.
    @ivar ip: C{any}, or an address, with C{/prefix} or without; IPv6 as eight
        groups of four upper-case hexadecimal digits.
    @ivar key: its secret, 64 hexadecimal digits where the manager made it.
    """

    id: int
    name: str
    ip: str
    key: str = field(repr=False)


@frozen
class Registration:
    """
    What somebody asks to be registered: syntactically sound, not yet judged.

    @ivar name: as L{Agent.name}.
    @ivar ip: as L{Agent.ip}.
    @ivar groups: in the order of their priority, each once.
    @ivar keyHash: of the key that the agent has already, 40 hexadecimal
        digits; C{None} if it does not say.
    """

    name: str
    ip: str = "any"
    groups: tuple[str, ...] = ()
    keyHash: str | None = None


@frozen
class AgentRecord:
    """
    What a node knows of one agent.

    One with neither version nor info nor labels says nothing of them: whoever
    keeps records keeps what it knew.

    @ivar id: the agent's.
    @ivar event: what was heard last: one of L{EVENTS}.
    @ivar heard: when that was, in seconds on the clock of whoever has the
        record; see there.
    @ivar node: the node that heard it; C{""} where it is the only one that is
        meant.
    @ivar version: the agent's, such as C{Wazuh v4.14.7}.
    @ivar statusCode: 0 fine, 1 invalid version, 2 error receiving it, 3 the
        agent shut down.
    @ivar info: further columns by Wazuh's names (C{os_name}, C{os_version},
        C{os_platform}, C{config_sum}, C{merged_sum}, C{manager_host}, ...).
    @ivar labels: name and value, with Wazuh's marks on the name.
    """

    id: int
    event: str
    heard: float
    node: str = ""
    version: str = ""
    statusCode: int = 0
    info: Mapping[str, str] = Factory(dict)
    labels: tuple[tuple[str, str], ...] = ()


class AgentState(NamedTuple):
    """
    What decides about an agent's status. A tuple, because there are a hundred
    thousand of them.

    @ivar id: the agent's.
    @ivar event: as L{AgentRecord.event}.
    @ivar heard: as L{AgentRecord.heard}.
    @ivar node: the node that heard it.
    """

    id: int
    event: str
    heard: float
    node: str


@frozen
class Batch:
    """
    Records of a node's agents as they travel.

    @ivar records: their heads, an array of JSON; see "Agents" in the manual.
    @ivar details: what belongs to them.
    @ivar count: how many records that are.
    @ivar tick: the node's L{uptime<wazuh_cluster.uptime.uptime>} from which the
        ages in it count back.
    @ivar token: its source's own.
    """

    records: bytes
    details: bytes
    count: int
    tick: float
    token: object = None


@frozen
class AgentStatus:
    """
    An agent as the fleet's tables show it.

    @ivar status: one of L{STATUSES}.
    @ivar lastKeepAlive: seconds since the epoch on the master's wall clock; C{None}
        for an agent that was never heard.
    @ivar node: the node that heard it last; C{""} for none.
    @ivar groups: in the order of their priority.
    @ivar record: the rest; C{None} for an agent that was never heard.
    """

    id: int
    name: str
    ip: str
    status: str
    lastKeepAlive: float | None = None
    node: str = ""
    groups: tuple[str, ...] = ()
    record: AgentRecord | None = None


@frozen
class Group:
    """
    A group of agents.

    @ivar name: 1 to 255 letters, digits, C{_}, C{-} or C{.}.
    @ivar agents: how many are in it.
    """

    name: str
    agents: int = 0


@frozen
class FleetFilter:
    """
    Which agents are wanted. What is empty, or C{None}, lets all pass.

    @ivar statuses: those with one of these.
    @ivar nodes: those that one of these nodes heard last.
    @ivar groups: those that are in one of these.
    @ivar ids: these.
    """

    statuses: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    ids: frozenset[int] | None = None


@frozen
class FleetPage:
    """
    Some agents of the fleet.

    @ivar agents: by id. There may be fewer than were asked for, and none,
        though there are more.
    @ivar after: where the next page begins; C{None} if this is the last.
    """

    agents: Sequence[AgentStatus]
    after: int | None


@frozen
class FleetCounts:
    """
    How many agents there are.

    @ivar statuses: by status; those of which there are none are left out.
    @ivar nodes: by node and status; without agents that were never heard.
    """

    statuses: Mapping[str, int] = Factory(dict)
    nodes: Mapping[str, Mapping[str, int]] = Factory(dict)
