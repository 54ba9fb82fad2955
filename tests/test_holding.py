"""
Tests for what a worker holds back, and for its release.
"""

from __future__ import annotations

import errno

from tests.clustercase import FilledCase
from wazuh_cluster.integrity import WAZUH_ITEMS
from wazuh_cluster.testing.state import MemoryState
from wazuh_cluster.worker.memory import WorkerMemory


class RefusingState(MemoryState):
    """
    A state whose disk refuses to save.

    @ivar refused: names that are not saved.
    """

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()

    def save(self, name: str, content: bytes) -> None:
        """
        See L{IState.save}.
        """
        if name in self.refused:
            raise OSError(errno.EIO, "Input/output error")
        super().save(name, content)


class HoldingTests(FilledCase):
    """
    What looks like a mishap on the master waits for the operator.
    """

    def test_emptiedMasterWipesNobody(self) -> None:
        """
        When all of an item is gone from the master, workers keep theirs until
        that is accepted; the rest goes on.
        """
        for n in range(12):
            self.write(self.home, f"etc/rules/r{n}.xml", b"<group/>")
        state = MemoryState()
        self.start(state=state)
        self.home.preauthChild("etc/rules").remove()
        self.home.preauthChild("etc/rules").makedirs()
        self.write(self.home, "etc/lists/new", b"n:1")
        self.pass_(8.5)
        self.assertEqual(13, len(self.workerHome.preauthChild("etc/rules").listdir()))
        self.assertTrue(self.workerHome.preauthChild("etc/lists/new").exists())
        self.assertIn(b"etc/rules", state.load("holds") or b"")
        carried = self.network.carried
        self.pass_(9 * 3)
        self.assertLess(self.network.carried - carried, 9 * 3 * 120)

    def test_acceptedRemovals(self) -> None:
        """
        What the operator accepts is done at the next interval, once: the same
        loss, later, is held again.
        """
        state = MemoryState()
        self.write(self.home, "etc/rules/second.xml", b"<group/>")
        self.start(state=state)
        rules = self.home.preauthChild("etc/rules")
        memory = WorkerMemory(state, WAZUH_ITEMS)
        for _ in range(2):
            for child in rules.children():
                child.remove()
            self.pass_(9.5)
            self.assertEqual(2, len(self.workerHome.preauthChild("etc/rules").listdir()))
            (hold,) = memory.keptHolds()
            memory.release([hold.id])
            self.pass_(9.5)
            self.assertEqual([], self.workerHome.preauthChild("etc/rules").listdir())
            self.assertSameFiles(self.home, self.workerHome)
            self.assertEqual(([], frozenset()), (memory.keptHolds(), memory.released()))
            for name in ("local_rules.xml", "second.xml"):
                self.write(self.home, f"etc/rules/{name}", b"<group/>")
            self.pass_(9.5)

    def test_otherMaster(self) -> None:
        """
        A master with another id than the one joined first overwrites and
        removes nothing before that is accepted; what is missing it brings.
        """
        state = MemoryState()
        master, _, _ = self.start(state=state)
        self.stop(master)
        other = self.makeHome("other")
        self.write(other, "etc/rules/local_rules.xml", b"<group>other</group>")
        self.write(other, "etc/rules/new.xml", b"<group/>")
        self.master(other)
        self.pass_(20)
        rules = self.workerHome.preauthChild("etc/rules")
        self.assertEqual(
            b"<group>one</group>\n", rules.preauthChild("local_rules.xml").getContent()
        )
        self.assertTrue(rules.preauthChild("new.xml").exists())
        self.assertTrue(self.workerHome.preauthChild("etc/client.keys").exists())
        memory = WorkerMemory(state, WAZUH_ITEMS)
        memory.release(hold.id for hold in memory.keptHolds())
        self.pass_(20)
        self.assertSameFiles(other, self.workerHome)
        self.assertEqual([], memory.keptHolds())

    def test_assignmentsWaitForHeldKeys(self) -> None:
        """
        While the agents' keys are held back, so are assignments that are new here:
        no agent has groups on a worker before it has its key.
        """
        state = MemoryState()
        self.write(self.home, "etc/client.keys", b"001 a any %064x\n" % 1)
        master, _, _ = self.start(state=state)
        self.stop(master)
        other = self.makeHome("other")
        self.write(other, "etc/client.keys", b"002 b any %064x\n" % 2)
        self.write(other, "queue/agent-groups/002", b"default\n")
        self.write(other, "etc/rules/new.xml", b"<group/>")
        self.master(other)
        self.pass_(20)
        self.assertTrue(self.workerHome.preauthChild("etc/rules/new.xml").exists())
        self.assertFalse(self.workerHome.preauthChild("queue/agent-groups/002").exists())
        memory = WorkerMemory(state, WAZUH_ITEMS)
        memory.release(hold.id for hold in memory.keptHolds())
        self.pass_(20)
        self.assertSameFiles(other, self.workerHome)

    def test_keysAreHeldByTheirAgents(self) -> None:
        """
        A C{client.keys} that lost its agents is held as a whole.
        """
        keys = b"".join(b"%03d agent%d any %064x\n" % (n, n, n) for n in range(1, 31))
        self.write(self.home, "etc/client.keys", keys)
        self.start()
        self.write(self.home, "etc/client.keys", b"".join(keys.splitlines(True)[:3]), 2000)
        self.pass_(9.5)
        mine = self.workerHome.preauthChild("etc/client.keys")
        self.assertEqual(keys, mine.getContent())
        self.write(self.home, "etc/client.keys", b"".join(keys.splitlines(True)[:28]), 3000)
        self.pass_(9.5)
        self.assertSameFiles(self.home, self.workerHome)

    def test_heldWhereTheDiskRefused(self) -> None:
        """
        What is held is kept for the operator as soon as the disk takes it,
        though the roots are equal but for it by then.
        """
        state = RefusingState()
        self.start(state=state)
        memory = WorkerMemory(state, WAZUH_ITEMS)
        for n in range(12):
            self.write(self.workerHome, f"etc/rules/own{n}.xml", b"<group/>")
            self.workerHome.preauthChild(f"etc/rules/own{n}.xml").chmod(0o660)
        state.refused.add("holds")
        self.pass_(20)
        self.assertEqual([], memory.keptHolds())
        state.refused.clear()
        self.pass_(20)
        self.assertEqual(1, len(memory.keptHolds()))

    def test_deletionHeldWhereTheDiskRefused(self) -> None:
        """
        Assignments that the master deleted, and whose removal is held, do not
        look new here because the disk refused for a while.
        """
        for n in (1, 2):
            self.write(self.home, f"queue/agent-groups/00{n}", b"web")
        state = RefusingState()
        self.start(state=state)
        for n in (1, 2):
            self.home.preauthChild(f"queue/agent-groups/00{n}").remove()
        state.refused.update(("holds", "gone"))
        self.pass_(20)
        state.refused.clear()
        self.pass_(20)
        memory = WorkerMemory(state, WAZUH_ITEMS)
        memory.release(hold.id for hold in memory.keptHolds())
        self.pass_(20)
        self.assertSameFiles(self.home, self.workerHome)

    def test_heldForTwoReasons(self) -> None:
        """
        The keys of another master are held for being another's, and then for
        the agents that would go. When both are accepted, one after the other,
        they come.
        """
        keys = b"".join(b"%03d agent%d any %064x\n" % (n, n, n) for n in range(1, 31))
        self.write(self.home, "etc/client.keys", keys)
        state = MemoryState()
        master, _, _ = self.start(state=state)
        self.stop(master)
        other = self.makeHome("other")
        self.write(other, "etc/client.keys", keys.replace(b"agent", b"other"))
        self.master(other)
        memory = WorkerMemory(state, WAZUH_ITEMS)
        kinds = []
        for _ in range(3):
            self.pass_(30)
            held = memory.keptHolds()
            kinds.append([hold.kind for hold in held])
            memory.release(hold.id for hold in held)
        self.assertEqual([["master"], ["agents"], []], kinds)
        self.assertSameFiles(other, self.workerHome)
