"""
A worker as C{twistd wazuh-cluster} runs it, which also hears keep-alives of its
agents on demand.
"""

from __future__ import annotations

import os

from twisted.application.service import Application
from twisted.internet import reactor

from benchmarks.probe import HOME, KeepAlives, workerOf
from wazuh_cluster.tap import Options, makeService

_options = Options()
_options.parseOptions([f"--home={os.environ[HOME]}", "--verbose"])
_node = makeService(_options)

application = Application("wazuh-cluster")
_node.setServiceParent(application)
KeepAlives(reactor, workerOf(_node)).setServiceParent(application)
