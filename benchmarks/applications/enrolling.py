"""
A worker as C{twistd wazuh-cluster} runs it, which also enrolls agents on demand.
"""

from __future__ import annotations

import os

from twisted.application.service import Application
from twisted.internet import reactor

from benchmarks.enrollments import Enrollments
from benchmarks.probe import HOME, workerOf
from wazuh_cluster.tap import Options, makeService

_options = Options()
_options.parseOptions([f"--home={os.environ[HOME]}"])
_node = makeService(_options)

application = Application("wazuh-cluster")
_node.setServiceParent(application)
# The process's own folder is the current one.
Enrollments(reactor, workerOf(_node).enroller, os.getcwd()).setServiceParent(application)
