"""
The agents: who is registered, what is known of them, and their groups.
"""

from wazuh_cluster.agents.interfaces import (
    IAgentBatchSource,
    IAgentBatchStore,
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
    AgentState,
    AgentStatus,
    Batch,
    Group,
    Registration,
    Taken,
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
    "AgentState",
    "AgentStatus",
    "Batch",
    "Group",
    "IAgentBatchSource",
    "IAgentBatchStore",
    "IAgentSource",
    "IAgentStore",
    "IAssignments",
    "IRegistrar",
    "IRegistrationTimes",
    "Registration",
    "Taken",
    "formatId",
]
