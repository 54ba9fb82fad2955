"""
A master and a worker for tests, in one process: over TLS and a network in
memory, on disks in memory that fail on request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.filepath import FilePath
from zope.interface import provider

from tests.clustercase import ClusterCase, Story
from wazuh_cluster.integrity import WAZUH_ITEMS, DirectoryTree
from wazuh_cluster.master import MasterService
from wazuh_cluster.state import DirectoryState
from wazuh_cluster.testing.filesystem import MemoryFileSystem
from wazuh_cluster.worker import WorkerService
from wazuh_cluster.worker.memory import WorkerMemory

NOW = 1_800_000_000.0
HOME = b"/home"
STATE = HOME + b"/queue/wazuh_cluster"
STAGING = STATE + b"/staging"

#: A content that is read and sent in several pieces.
LARGE = b"0123456789" * 300_000


class MemoryCase(ClusterCase):
    """
    A node's home is at the same place on its own disk.

    @ivar disks: the disks of C{"master"} and C{"worker"}.
    @ivar problems: what the nodes logged, from warnings on.
    @ivar lines: all that they logged. A traceback fails the test.
    @ivar story: what the worker's observer was told.
    """

    def setUp(self) -> None:
        super().setUp()
        self.clock.advance(NOW)
        self.lines: list[str] = []
        self.problems: list[str] = []
        self.story = Story()
        self.disks = {name: MemoryFileSystem(self.clock) for name in ("master", "worker")}
        for disk in self.disks.values():
            for item in WAZUH_ITEMS:
                disk.makeFolders(HOME + b"/" + (b"etc" if item.isFile else item.path))

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            if str(event.get("log_namespace", "")).startswith("wazuh_cluster"):
                line = formatEvent(event)
                self.lines.append(line)
                if event["log_level"] >= LogLevel.warn:
                    self.problems.append(line)

        globalLogPublisher.addObserver(observe)
        self._listener: ILogObserver = observe
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def again(self) -> None:
        """
        Begin anew, with other nodes on other disks.
        """
        self.stopAll()
        self.services.clear()
        globalLogPublisher.removeObserver(self._listener)
        self.setUp()

    def wallClock(self) -> float:
        return self.clock.seconds()

    def put(self, node: str, path: str, content: bytes, ago: float = 1000.0) -> None:
        """
        Put a file into a node's home, as it was so many seconds ago.
        """
        mode = 0o640 if path.endswith("client.keys") else 0o660
        where = HOME + b"/" + path.encode("utf-8")
        self.disks[node].put(where, content, mode, self.clock.seconds() - ago)

    def get(self, node: str, path: str) -> bytes | None:
        """
        A file of a node's home, if it is there.
        """
        try:
            return self.disks[node].get(HOME + b"/" + path.encode("utf-8"))
        except FileNotFoundError:
            return None

    def remove(self, node: str, path: str) -> None:
        self.disks[node].remove(HOME + b"/" + path.encode("utf-8"))

    def fill(self) -> None:
        """
        Give the master some files of each item.
        """
        for n in range(4):
            self.put("master", f"etc/rules/r{n}.xml", b"<group>%d</group>" % n)
        self.put("master", "etc/decoders/d.xml", b"<decoder/>")
        for n in range(2):
            self.put("master", f"etc/lists/deep/l{n}", b"key:%d\n" % n * 100)
        self.put("master", "etc/lists/large", LARGE)
        keys = b"".join(b"%03d agent%d any %064x\n" % (n, n, n) for n in (1, 2, 3))
        self.put("master", "etc/client.keys", keys)
        for n in (1, 2):
            self.put("master", f"queue/agent-groups/{n:03}", b"default")
        self.put("master", "etc/shared/default/agent.conf", b"<agent_config/>")

    def startMaster(self, algorithm: str = "md5", **keywords: Any) -> MasterService:
        """
        Start a master in its home.
        """
        tree = self.homeTree("master", algorithm=algorithm)
        self.patch(self, "tree", lambda home: tree)
        return self.master(FilePath("master"), state=self.stateOf("master"), **keywords)

    def startWorker(self, **keywords: Any) -> WorkerService:
        """
        Start a worker in its home.
        """
        tree = self.homeTree("worker", keywords.get("wallClock"))
        self.patch(self, "tree", lambda home: tree)
        keywords.setdefault("state", self.stateOf("worker"))
        return self.worker(home=FilePath("worker"), observer=self.story, **keywords)

    def homeTree(
        self, node: str, wallClock: Callable[[], float] | None = None, algorithm: str = "md5"
    ) -> DirectoryTree:
        """
        A node's files.
        """
        clock = wallClock or self.wallClock
        disk = self.disks[node]
        return DirectoryTree(HOME, algorithm=algorithm, fileSystem=disk, wallClock=clock)

    def stateOf(self, node: str) -> DirectoryState:
        """
        A node's state as a process opens it.
        """
        return DirectoryState(self.disks[node], STATE, sweeps=True)

    def memory(self) -> WorkerMemory:
        """
        What the worker knows after a restart.
        """
        return WorkerMemory(DirectoryState(self.disks["worker"], STATE), WAZUH_ITEMS)

    def carried(self, node: str) -> dict[bytes, bytes]:
        """
        All carried files of a node.
        """
        disk = self.disks[node]
        return {
            path: disk.get(HOME + b"/" + path)
            for path in disk.listTree(HOME)
            if not path.endswith(b"/") and WAZUH_ITEMS.find(path) is not None
        }

    def leftovers(self) -> list[bytes]:
        """
        What an unfinished installation or save leaves.
        """
        found = []
        for disk in self.disks.values():
            for path in disk.listTree(HOME):
                staged = (HOME + b"/" + path).startswith(STAGING + b"/")
                if path.endswith(b".tmp") or (staged and not path.endswith(b"/")):
                    found.append(path)
        return found

    def assertEqualHomes(self, what: object = None) -> None:
        """
        The worker has what the master has, and nothing is left over.
        """
        self.assertEqual(self.carried("master"), self.carried("worker"), what)
        self.assertEqual([], self.leftovers(), what)
