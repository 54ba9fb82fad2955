"""
What is known of a cluster's state: values, the reasons of a verdict, events,
and how to ask for them.
"""

from wazuh_cluster.status.asking import StatusReader
from wazuh_cluster.status.events import EventRing
from wazuh_cluster.status.values import (
    ClusterStatus,
    Completion,
    Event,
    EventPage,
    Explanation,
    FileFacts,
    FileTrouble,
    Health,
    LastSync,
    NodeReport,
    NodeStatus,
    OwnStatus,
    Reason,
    RestartStatus,
    SyncOutcome,
    ThreadStatus,
    Trouble,
)

__all__ = [
    "ClusterStatus",
    "Completion",
    "Event",
    "EventPage",
    "EventRing",
    "Explanation",
    "FileFacts",
    "FileTrouble",
    "Health",
    "LastSync",
    "NodeReport",
    "NodeStatus",
    "OwnStatus",
    "Reason",
    "RestartStatus",
    "StatusReader",
    "SyncOutcome",
    "ThreadStatus",
    "Trouble",
]
