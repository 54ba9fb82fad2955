"""A worker in a program of one's own: embedded_worker.py ADDRESS PORT HOME KEYFILE."""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import react
from zope.interface import implementer

from wazuh_cluster.integrity import WAZUH_ITEMS, DirectoryTree
from wazuh_cluster.interfaces import IWorkerObserver
from wazuh_cluster.model import NodeName
from wazuh_cluster.trust import ClusterKey
from wazuh_cluster.worker import WorkerService


@implementer(IWorkerObserver)
class Show:
    def joined(self, master):
        print("joined", master.name, flush=True)

    def synced(self, report):
        print("synced", report.created, report.updated, report.deleted, flush=True)

    def lost(self, reason):
        print("lost:", reason.getErrorMessage(), flush=True)


async def main(reactor, address, port, home, keyFile):
    with open(keyFile) as file:
        key = ClusterKey(file.read().strip())
    endpoint = HostnameEndpoint(reactor, address, int(port))
    tree = DirectoryTree(home, WAZUH_ITEMS)
    worker = WorkerService(reactor, NodeName("siem-7"), key, endpoint, tree, observer=Show())
    worker.startService()
    reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)
    await Deferred()  # until the process is stopped


react(main, sys.argv[1:])
