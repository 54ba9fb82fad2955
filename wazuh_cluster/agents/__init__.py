"""
The agents: who is registered, what is known of them, and their groups.
"""

from wazuh_cluster.agents.assignments import FileAssignments
from wazuh_cluster.agents.interfaces import (
    IAgentSource,
    IAgentStore,
    IAssignments,
    IRegistrar,
    IRegistrationTimes,
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
    "Group",
    "IAgentSource",
    "IAgentStore",
    "IAssignments",
    "IRegistrar",
    "IRegistrationTimes",
    "Registration",
    "formatId",
]
