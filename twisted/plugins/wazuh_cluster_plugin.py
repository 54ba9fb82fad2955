"""
The name C{wazuh-cluster} in the list of what C{twistd} can run.

Every C{twistd} command loads this module, so it imports nothing of the package;
and this folder has no C{__init__.py}, because Twisted's own would be replaced
by it on installation and deleted on removal.
"""

from __future__ import annotations

from twisted.application.service import ServiceMaker

wazuhCluster = ServiceMaker(
    "wazuh-cluster",
    "wazuh_cluster.tap",
    "A node of a Wazuh cluster: master or worker.",
    "wazuh-cluster",
)
