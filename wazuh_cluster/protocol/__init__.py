"""
The library's core: the commands of a cluster's links, and the protocol that
speaks them within bounds.

Importing it brings neither daemon nor configuration nor stores, and changes
nothing in the process.
"""

from wazuh_cluster.protocol.commands import (
    BODY_SIZE,
    CHUNK_SIZE,
    COMMANDS,
    NEWEST_VERSION,
    OLDEST_VERSION,
    AbortTransfer,
    AssignGroups,
    CheckIntegrity,
    ClusterCommand,
    EndTransfer,
    FileChunk,
    Hello,
    IntegrityChanged,
    KeepAlive,
    RegisterAgent,
    ReportIntegrity,
    ReportStatus,
    Request,
    RequestFiles,
    RequestManifest,
    SyncAgentInfo,
    TransferCredit,
    UndoRegistration,
)
from wazuh_cluster.protocol.compression import Codec, codecsHere
from wazuh_cluster.protocol.interfaces import ISink, ISource
from wazuh_cluster.protocol.limits import Limits
from wazuh_cluster.protocol.locators import OwnLocator, locatorsFor
from wazuh_cluster.protocol.peer import Peer
from wazuh_cluster.protocol.streams import BytesSource, LaterSource, RunnerSink, RunnerSource
from wazuh_cluster.protocol.transfer import Transfers

__all__ = [
    "BODY_SIZE",
    "CHUNK_SIZE",
    "COMMANDS",
    "NEWEST_VERSION",
    "OLDEST_VERSION",
    "AbortTransfer",
    "AssignGroups",
    "BytesSource",
    "CheckIntegrity",
    "ClusterCommand",
    "Codec",
    "EndTransfer",
    "FileChunk",
    "Hello",
    "ISink",
    "ISource",
    "IntegrityChanged",
    "KeepAlive",
    "LaterSource",
    "Limits",
    "OwnLocator",
    "Peer",
    "RegisterAgent",
    "ReportIntegrity",
    "ReportStatus",
    "Request",
    "RequestFiles",
    "RequestManifest",
    "RunnerSink",
    "RunnerSource",
    "SyncAgentInfo",
    "TransferCredit",
    "Transfers",
    "UndoRegistration",
    "codecsHere",
    "locatorsFor",
]
