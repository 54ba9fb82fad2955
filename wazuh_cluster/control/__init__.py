"""
The control socket: what local programs may ask a node, over AMP on a unix
socket in its home.
"""

from wazuh_cluster.control.client import (
    ControlClient,
    FleetPage,
    Removal,
    connect,
    connectTo,
)
from wazuh_cluster.control.credentials import Credentials, Permissions, socketCredentials
from wazuh_cluster.control.endpoints import ControlClientEndpoint, ControlServerEndpoint
from wazuh_cluster.control.service import ControlService

__all__ = [
    "ControlClient",
    "ControlClientEndpoint",
    "ControlServerEndpoint",
    "ControlService",
    "Credentials",
    "FleetPage",
    "Permissions",
    "Removal",
    "connect",
    "connectTo",
    "socketCredentials",
]
