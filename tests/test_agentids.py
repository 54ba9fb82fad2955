"""
Tests for L{wazuh_cluster.worker.agentids}.
"""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wazuh_cluster.agents import Agent
from wazuh_cluster.integrity import DirectoryTree
from wazuh_cluster.interfaces import IWorkerObserver
from wazuh_cluster.model import Generation, SyncReport
from wazuh_cluster.testing.runner import ImmediateRunner
from wazuh_cluster.testing.state import MemoryState
from wazuh_cluster.worker.agentids import KEYS, HighestAgentId

GENERATION = Generation(b"m" * 16, 1, b"r" * 32)


class HighestAgentIdTests(SynchronousTestCase):
    """
    The highest agent id that a worker ever held.
    """

    def setUp(self) -> None:
        self.home = FilePath(os.path.abspath(self.mktemp()))
        self.home.child("etc").makedirs()
        self.state = MemoryState()
        self.slices = 0

    def make(self) -> HighestAgentId:
        tree = DirectoryTree(self.home.path)
        return HighestAgentId(tree, self.state, ImmediateRunner(self.count))

    def count(self) -> None:
        self.slices += 1

    def keys(self, content: bytes) -> None:
        self.home.preauthChild(os.fsdecode(KEYS)).setContent(content)

    def get(self, ids: HighestAgentId) -> int:
        return self.successResultOf(Deferred.fromCoroutine(ids.get()))

    def test_interface(self) -> None:
        """
        It hears of installations.
        """
        verifyObject(IWorkerObserver, self.make())

    def test_none(self) -> None:
        """
        A worker that held none says so, and keeps nothing.
        """
        self.assertEqual(0, self.get(self.make()))
        self.assertEqual({}, self.state.contents)

    def test_start(self) -> None:
        """
        At the start it is what the file has; removed agents count, what is no
        agent does not.
        """
        self.keys(
            b"# 9999 comment\n0012 web any k\n001 a any k\n777 !gone any k\n 888 x\n"
            b"123456789 too long\n5000\nweb 6000 any k\n999x x any k\n"
        )
        self.assertEqual(777, self.get(self.make()))
        self.assertEqual(b"777\n", self.state.load("highest-agent"))

    def test_lower(self) -> None:
        """
        What was ever held counts, also after a restart, whatever the file has
        become.
        """
        self.keys(b"050 a any k\n")
        self.get(self.make())
        self.keys(b"007 a any k\n")
        self.assertEqual(50, self.get(self.make()))
        self.home.preauthChild("etc/client.keys").remove()
        self.assertEqual(50, self.get(self.make()))

    def test_installed(self) -> None:
        """
        A file that was installed is looked at; others are not.
        """
        ids = self.make()
        self.assertEqual(0, self.get(ids))
        self.keys(b"003 a any k\n")
        before = self.slices
        ids.synced(SyncReport(GENERATION, updated=(b"etc/rules/a.xml",)))
        self.assertEqual((0, before), (self.get(ids), self.slices))
        ids.synced(SyncReport(GENERATION, created=(KEYS,)))
        self.assertEqual(3, self.get(ids))
        self.keys(b"004 a any k\n")
        ids.synced(SyncReport(GENERATION, updated=(KEYS,)))
        self.assertEqual((4, b"4\n"), (self.get(ids), self.state.load("highest-agent")))

    def test_saw(self) -> None:
        """
        So is an agent that was registered through this worker.
        """
        ids = self.make()
        self.get(ids)
        ids.saw(Agent(9, "web", "any", "k"))
        ids.saw(Agent(8, "web", "any", "k"))
        self.assertEqual(9, self.get(ids))

    def test_large(self) -> None:
        """
        A large file is looked at in slices, and no line is cut in two.
        """
        self.keys(b"".join(b"%03d web-%d any %064d\n" % (n, n, n) for n in range(1, 30_000)))
        self.assertEqual(29_999, self.get(self.make()))
        self.assertGreater(self.slices, 4)

    def test_trouble(self) -> None:
        """
        A state or file that cannot be read or written does not keep a worker
        from joining.
        """
        self.state.damaged.add("highest-agent")
        self.keys(b"003 a any k\n")
        self.assertEqual(3, self.get(self.make()))
        self.state.contents["highest-agent"] = b"?"
        self.assertEqual(3, self.get(self.make()))
        self.home.preauthChild("etc/client.keys").remove()
        self.home.preauthChild("etc/client.keys").makedirs()
        self.assertEqual(3, self.get(self.make()))
