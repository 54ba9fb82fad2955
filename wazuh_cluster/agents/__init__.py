"""
The agents: who is registered, what is known of them, and their groups.
"""

from wazuh_cluster.agents.assignments import FileAssignments
from wazuh_cluster.agents.interfaces import (
    IAgentSource,
    IAgentStore,
    IAssignments,
    IFleet,
    IRegistrar,
    IRegistrationTimes,
    IReports,
)
from wazuh_cluster.agents.model import (
    ACTIVE,
    DISCONNECTED,
    EVENTS,
    MAX_AGENT_ID,
    NEVER_CONNECTED,
    PENDING,
    STATUSES,
    Agent,
    AgentRecord,
    AgentStatus,
    FleetFilter,
    Group,
    Registration,
    formatId,
)

__all__ = [
    "ACTIVE",
    "DISCONNECTED",
    "EVENTS",
    "MAX_AGENT_ID",
    "NEVER_CONNECTED",
    "PENDING",
    "STATUSES",
    "Agent",
    "AgentRecord",
    "AgentStatus",
    "FileAssignments",
    "FleetFilter",
    "Group",
    "IAgentSource",
    "IAgentStore",
    "IAssignments",
    "IFleet",
    "IRegistrar",
    "IRegistrationTimes",
    "IReports",
    "Registration",
    "formatId",
]
