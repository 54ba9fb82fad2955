"""
A master that keeps agents' records, and for which every agent is registered.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint

from benchmarks.probe import HOME
from wazuh_cluster.agents.store import SqliteAgentStore, fleetDatabase
from wazuh_cluster.config import loadConfig
from wazuh_cluster.daemon import NodeService
from wazuh_cluster.home import Home
from wazuh_cluster.homelock import HomeLock
from wazuh_cluster.integrity import DirectoryTree
from wazuh_cluster.log import ClusterLog
from wazuh_cluster.master import MasterService
from wazuh_cluster.model import NodeName
from wazuh_cluster.testing.registrar import MemoryRegistrar
from wazuh_cluster.threads import ThreadRunner
from wazuh_cluster.trust import ClusterKey


class Everyone(MemoryRegistrar):
    """
    A registrar that knows every agent of which it is asked.
    """

    def known(self, ids: Collection[int]) -> Deferred[frozenset[int]]:
        """
        All of them.
        """
        return succeed(frozenset(ids))


_home = Home(os.environ[HOME])
_config = loadConfig(_home.conf, home=_home.path)
_master = MasterService(
    reactor,
    NodeName(_config.nodeName),
    ClusterKey(_config.key),
    TCP4ServerEndpoint(reactor, _config.port, interface=_config.bindAddr),
    DirectoryTree(_home.path),
    store=SqliteAgentStore(fleetDatabase(_home.agentsDatabase), ThreadRunner(reactor, "agents")),
    registrar=Everyone(reactor),
)
application = Application("wazuh-cluster")
NodeService(
    reactor, _master, ClusterLog(_home.log, "Master"), _config, HomeLock(_home), False
).setServiceParent(application)
