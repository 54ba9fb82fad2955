"""
The agents: who is registered, what is known of them, and their groups.
"""

from wazuh_cluster.agents.addresses import normalAddress
from wazuh_cluster.agents.assignments import FileAssignments
from wazuh_cluster.agents.forcerules import ForceRules, keyHash
from wazuh_cluster.agents.interfaces import (
    IAgentBatchSource,
    IAgentBatchStore,
    IAgentSource,
    IAgentStore,
    IAssignments,
    IFleet,
    IRegistrar,
    IRegistrarObserver,
    IRegistrationTimes,
    IRememberingRegistrar,
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
    AgentState,
    AgentStatus,
    Batch,
    FleetCounts,
    FleetFilter,
    FleetPage,
    Group,
    Registration,
    formatId,
)
from wazuh_cluster.agents.registrar import ClientKeysRegistrar

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
    "ClientKeysRegistrar",
    "FileAssignments",
    "FleetCounts",
    "FleetFilter",
    "FleetPage",
    "ForceRules",
    "Group",
    "IAgentBatchSource",
    "IAgentBatchStore",
    "IAgentSource",
    "IAgentStore",
    "IAssignments",
    "IFleet",
    "IRegistrar",
    "IRegistrarObserver",
    "IRegistrationTimes",
    "IRememberingRegistrar",
    "IReports",
    "Registration",
    "formatId",
    "keyHash",
    "normalAddress",
]
