"""
How an application tests a master and a worker of its own: over TLS, in memory.
"""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.integrity import DirectoryTree
from wazuh_cluster.master import MasterService
from wazuh_cluster.model import NodeName
from wazuh_cluster.testing.filesystem import MemoryFileSystem
from wazuh_cluster.testing.network import MemoryNetwork
from wazuh_cluster.testing.runner import ImmediateRunner
from wazuh_cluster.testing.state import MemoryState
from wazuh_cluster.testing.trust import testTrust
from wazuh_cluster.worker import WorkerService


class ClusterTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.files = MemoryFileSystem(self.clock)
        self.network = MemoryNetwork(self.clock)

    def service(self, kind, role, name, endpoint):
        """Start a node whose home is a folder of its name."""
        home = b"/" + name.encode("ascii")
        self.files.makeFolders(home + b"/etc")
        service = kind(
            self.clock,
            NodeName(name),
            testTrust(role, name),
            endpoint,
            DirectoryTree(home, fileSystem=self.files, wallClock=self.clock.seconds),
            state=MemoryState(),
            runner=lambda name: ImmediateRunner(),
            wallClock=self.clock.seconds,
        )
        service.startService()
        self.addCleanup(self.stop, service)
        return service

    def stop(self, service):
        stopped = service.stopService()
        self.clock.pump([1, 1])
        self.successResultOf(stopped)

    def test_edit(self):
        """
        What is edited on the master is on the worker within eight seconds.
        """
        self.service(MasterService, "master", "hub", self.network.server("hub"))
        worker = self.service(WorkerService, "worker", "siem-7", self.network.client("hub"))
        self.clock.advance(0)
        self.successResultOf(worker.whenJoined())
        self.files.put(b"/hub/etc/rules/local_rules.xml", b"<group/>", 0o660, 1_000_000)
        self.clock.pump([1] * 8)
        self.assertEqual(b"<group/>", self.files.get(b"/siem-7/etc/rules/local_rules.xml"))
