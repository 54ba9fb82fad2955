"""
A master and workers for tests, in one process: over TLS and a network in
memory, on homes on disk.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from wazuh_cluster.home import Home, makeHome
from wazuh_cluster.integrity import DirectoryTree
from wazuh_cluster.interfaces import IRunner, IWorkerObserver
from wazuh_cluster.master import MasterService
from wazuh_cluster.model import MasterInfo, NodeName, SyncReport
from wazuh_cluster.testing.network import MemoryNetwork
from wazuh_cluster.testing.runner import ImmediateRunner
from wazuh_cluster.testing.state import MemoryState
from wazuh_cluster.testing.trust import testTrust
from wazuh_cluster.worker import WorkerService

NOW = 1_800_000_000.0


@implementer(IWorkerObserver)
class Story:
    """
    An observer that remembers what it was told.
    """

    def __init__(self) -> None:
        self.masters: list[MasterInfo] = []
        self.reports: list[SyncReport] = []
        self.reasons: list[Failure] = []

    def joined(self, master: MasterInfo) -> None:
        self.masters.append(master)

    def synced(self, report: SyncReport) -> None:
        self.reports.append(report)

    def lost(self, reason: Failure) -> None:
        self.reasons.append(reason)


class ClusterCase(SynchronousTestCase):
    """
    A cluster in memory. Nothing happens but when the clock advances.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.services: list[Any] = []
        self.addCleanup(self.stopAll)

    def stopAll(self) -> None:
        """
        Stop what runs; nothing may be left behind.
        """
        stopping = [service.stopService() for service in reversed(self.services)]
        self.clock.pump([0.5] * 6)
        for each in stopping:
            self.successResultOf(each)
        self.assertEqual([], [str(call) for call in self.clock.getDelayedCalls()])

    def makeHome(self, name: str) -> FilePath[str]:
        home = FilePath(self.mktemp() + "-" + name)
        makeHome(Home(home.path))
        return home

    def master(self, home: FilePath[str] | None = None, **keywords: Any) -> MasterService:
        """
        Start a master, at the address C{master}.
        """
        self.masterHome = self.makeHome("master") if home is None else home
        trust = keywords.pop("trust", None) or testTrust("master", "hub")
        service = MasterService(
            self.clock,
            NodeName("hub"),
            trust,
            self.network.server("master"),
            tree=keywords.pop("tree", None) or self.tree(self.masterHome),
            state=keywords.pop("state", None) or MemoryState(),
            runner=self.runner,
            wallClock=self.wallClock,
            uptime=self.clock.seconds,
            **keywords,
        )
        service.startService()
        self.services.append(service)
        self.clock.advance(0)
        return service

    def worker(self, name: str = "w1", **keywords: Any) -> WorkerService:
        """
        Start a worker, at an address of its own name.
        """
        home = keywords.pop("home", None) or self.makeHome(name)
        service = WorkerService(
            self.clock,
            NodeName(name),
            keywords.pop("trust", None) or testTrust("worker", name),
            self.network.client("master", source=keywords.pop("source", name)),
            tree=keywords.pop("tree", None) or self.tree(home),
            state=keywords.pop("state", None) or MemoryState(),
            runner=self.runner,
            wallClock=keywords.pop("wallClock", None) or self.wallClock,
            uptime=keywords.pop("uptime", None) or self.clock.seconds,
            jitter=lambda: 0.0,
            observer=keywords.pop("observer", None) or Story(),
            **keywords,
        )
        service.startService()
        self.services.append(service)
        self.clock.advance(0)
        return service

    def stop(self, service: Any) -> None:
        self.services.remove(service)
        stopping = service.stopService()
        self.clock.pump([0.5] * 4)
        self.successResultOf(stopping)

    def runner(self, name: str) -> IRunner:
        """
        Where a node's blocking work runs.
        """
        return ImmediateRunner()

    def wallClock(self) -> float:
        return NOW + self.clock.seconds()

    def tree(self, home: FilePath[str]) -> DirectoryTree:
        # Files of these tests are made now, by the real clock: far from it, a
        # scan trusts what it saw.
        return DirectoryTree(home.path, wallClock=self.wallClock)

    def write(self, home: FilePath[str], path: str, content: bytes, mtime: int = 1000) -> None:
        target = home.preauthChild(path)
        if not target.parent().exists():
            target.parent().makedirs()
        target.setContent(content)
        os.utime(target.path, (mtime, mtime))
        # What a test does takes no time, and a folder's own time may stay the same.
        self._writes = getattr(self, "_writes", 0) + 1
        os.utime(target.parent().path, (self._writes, self._writes))

    def assertSameFiles(self, *homes: FilePath[str]) -> None:
        """
        The homes carry the same files.
        """
        roots = set()
        for home in homes:
            tree = self.tree(home)
            snapshot = self.successResultOf(ImmediateRunner().run(tree.scan()))
            roots.add(snapshot.manifest.root(tree.items))
        self.assertEqual(1, len(roots))

    def pass_(self, seconds: float, step: float = 0.25) -> None:
        self.clock.pump([step] * int(seconds / step))


class FilledCase(ClusterCase):
    """
    A master with some files of each item.
    """

    def setUp(self) -> None:
        super().setUp()
        self.home = self.makeHome("m")
        self.write(self.home, "etc/client.keys", b"001 web any " + b"a" * 64 + b"\n")
        self.write(self.home, "etc/rules/local_rules.xml", b"<group>one</group>\n")
        self.write(self.home, "etc/decoders/local_decoder.xml", b"<decoder/>\n")
        self.write(self.home, "etc/lists/deep/er/list", b"key:value\n" * 10_000)
        self.write(self.home, "etc/shared/default/agent.conf", b"<agent_config/>\n")
        self.write(self.home, "queue/agent-groups/001", b"default")
        self.workerHome = self.makeHome("w")

    def start(self, **keywords: Any) -> tuple[MasterService, WorkerService, Story]:
        self.story = Story()
        master = self.master(self.home)
        worker = self.worker(home=self.workerHome, observer=self.story, **keywords)
        self.clock.advance(0)
        return master, worker, self.story

    def number(self, master: MasterService) -> int:
        assert master.integrity.generation is not None
        return master.integrity.generation.number


def modeOf(path: FilePath[str]) -> int:
    return os.stat(path.path).st_mode & 0o7777


def mtimeOf(path: FilePath[str]) -> int:
    return int(os.stat(path.path).st_mtime)
