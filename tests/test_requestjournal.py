"""
Tests for L{wazuh_cluster.agents.requestjournal}.
"""

from __future__ import annotations

import errno
import stat

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.twohomes import drive
from wazuh_cluster.agents.model import Agent
from wazuh_cluster.agents.requestjournal import (
    KEEP,
    Entry,
    RequestJournal,
    agentDigest,
    replacement,
    requestKey,
)
from wazuh_cluster.errors import StoreFailed, TooBusy
from wazuh_cluster.testing.filesystem import MemoryFileSystem

FOLDER = b"/home/queue/wazuh_cluster"


def entry(n: int, agent: int | None = None, undone: bool = False) -> Entry:
    """
    What became of request C{n}.
    """
    id = n if agent is None else agent
    digest = agentDigest(Agent(max(id, 1), f"web{id}", "any", "key"))
    return Entry(requestKey(b"%d" % n, "hub"), id, digest, undone)


class RequestJournalTests(SynchronousTestCase):
    """
    L{RequestJournal}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.fs = MemoryFileSystem(self.clock)
        self.journal = self.started()

    def started(self) -> RequestJournal:
        """
        The journal of a new process.
        """
        journal = RequestJournal(self.fs, FOLDER, self.clock.seconds, most=100)
        drive(journal.load())
        return journal

    def found(self, journal: RequestJournal, n: int) -> int | None:
        """
        Which agent request C{n} has registered.
        """
        found = journal.find(requestKey(b"%d" % n, "hub"))
        return None if found is None else found.agent

    def test_keys(self) -> None:
        """
        Id and node together name a request.
        """
        keys = {
            requestKey(b"a", "bc"),
            requestKey(b"ab", "c"),
            requestKey(b"abc", ""),
            requestKey(b"a", "bd"),
        }
        self.assertEqual({len(key) for key in keys}, {16})
        self.assertEqual(len(keys), 4)

    def test_digests(self) -> None:
        """
        Whatever differs of two agents tells them apart.
        """
        agents = [
            Agent(1, "web1", "any", "k"),
            Agent(2, "web1", "any", "k"),
            Agent(1, "web2", "any", "k"),
            Agent(1, "web1", "10.0.0.1", "k"),
            Agent(1, "web1", "any", "l"),
        ]
        self.assertEqual(len({agentDigest(agent) for agent in agents}), 5)

    def test_outlives(self) -> None:
        """
        What was noted is found, also by the next process, after a power cut
        too; the last word on a request counts.
        """
        self.journal.append([entry(1), entry(2)])
        self.journal.append([entry(2, undone=True), entry(3), entry(1, 7)])
        self.fs.crash()
        for journal in (self.journal, self.started()):
            self.assertEqual([self.found(journal, n) for n in (1, 2, 3, 4)], [7, 2, 3, None])
            self.assertEqual(journal.undone(), [entry(2, undone=True)])
            self.assertEqual((journal.highest, journal.damaged), (7, 0))
        name = FOLDER + b"/registrations"
        self.assertEqual(stat.S_IMODE(self.fs.status(name).mode), 0o640)

    def test_undoneWithoutAgent(self) -> None:
        """
        Of an undone request that had registered nobody, nothing is left to do.
        """
        self.journal.append([entry(1, 0, undone=True)])
        self.assertEqual(self.started().undone(), [])
        self.assertEqual(self.found(self.journal, 1), 0)

    def test_removed(self) -> None:
        """
        Who was undone or replaced is known to the next process; a replacement is
        no request, and nothing to be undone.
        """
        old = replacement(Agent(7, "web7", "any", "key"))
        self.journal.append([entry(1), entry(2, undone=True), entry(3, 0, undone=True), old])
        for journal in (self.journal, self.started()):
            self.assertEqual({2, 7}, journal.removed())
            self.assertEqual([entry(2, undone=True)], journal.undone())
            self.assertEqual(old, journal.find(old.key))

    def test_forgets(self) -> None:
        """
        A request is kept for ten minutes at least, and for twenty at most
        while others come.
        """
        self.journal.append([entry(1)])
        self.assertFalse(self.journal.isDue())
        for n in range(2, 22):
            self.clock.advance(KEEP / 10 - 1)
            if self.journal.isDue():
                self.journal.forget()
            if n <= 11:
                self.assertEqual(self.found(self.journal, 1), 1)
            self.journal.append([entry(n)])
        self.clock.advance(KEEP / 5)
        self.assertTrue(self.journal.isDue())
        self.journal.forget()
        self.assertIsNone(self.found(self.journal, 1))
        self.assertEqual(self.found(self.journal, 21), 21)
        self.assertIsNone(self.found(self.started(), 1))
        self.assertEqual(self.found(self.started(), 21), 21)

    def test_forgetsAllAtOnce(self) -> None:
        """
        After ten minutes in which nothing was asked, all goes.
        """
        self.journal.append([entry(1)])
        self.clock.advance(KEEP)
        self.assertTrue(self.journal.isDue())
        self.journal.forget()
        self.assertIsNone(self.found(self.journal, 1))
        self.assertFalse(self.journal.isDue())
        self.assertEqual(self.fs.listTree(FOLDER), [])

    def test_loadedIsNew(self) -> None:
        """
        What a process finds it keeps for ten minutes, however much time the
        clock says has passed.
        """
        self.journal.append([entry(1)])
        self.clock.advance(100 * KEEP)
        journal = self.started()
        self.assertFalse(journal.isDue())
        self.clock.advance(KEEP - 1)
        self.assertEqual(self.found(journal, 1), 1)

    def test_torn(self) -> None:
        """
        Whatever a dying machine left of the last record, those before it are
        whole, and the next ones are.
        """
        self.journal.append([entry(1), entry(2)])
        path = FOLDER + b"/registrations"
        whole = self.fs.get(path)
        size = len(whole) // 3
        for left in range(size):
            self.fs.put(path, whole[: 2 * size + left])
            journal = self.started()
            self.assertEqual([self.found(journal, n) for n in (1, 2)], [1, None])
            self.assertEqual(journal.damaged, 0)
            journal.append([entry(3)])
            self.assertEqual([self.found(self.started(), n) for n in (1, 2, 3)], [1, None, 3])

    def test_damaged(self) -> None:
        """
        A record that is damaged is passed over and counted; so is all of a
        file that is none.
        """
        self.journal.append([entry(1), entry(2), entry(3)])
        path = FOLDER + b"/registrations"
        content = bytearray(self.fs.get(path))
        content[2 * (len(content) // 4) + 5] ^= 1
        self.fs.put(path, bytes(content))
        journal = self.started()
        self.assertEqual([self.found(journal, n) for n in (1, 2, 3)], [1, None, 3])
        self.assertEqual(journal.damaged, 1)
        journal.append([entry(4)])
        journal = self.started()
        self.assertEqual([self.found(journal, n) for n in (1, 2, 3, 4)], [1, None, 3, 4])
        self.assertEqual(journal.damaged, 0)
        self.fs.put(path, b"something else")
        journal = self.started()
        self.assertEqual(journal.damaged, 1)
        journal.append([entry(5)])
        self.assertEqual(self.found(self.started(), 5), 5)

    def test_diskFull(self) -> None:
        """
        What does not fit is not noted at all, and the next one is, when there
        is room.
        """
        self.journal.append([entry(1)])
        self.fs.free = 10
        error = self.assertRaises(StoreFailed, self.journal.append, [entry(2)])
        self.assertIn("registrations cannot be written: No space left", str(error))
        self.fs.free = None
        self.assertIsNone(self.found(self.started(), 2))
        self.journal.append([entry(3)])
        for journal in (self.journal, self.started()):
            self.assertEqual([self.found(journal, n) for n in (1, 2, 3)], [1, None, 3])

    def test_failures(self) -> None:
        """
        Whatever fails, what was noted before stays noted.
        """
        for operation in ("create", "openWrite", "file.write", "file.truncate", "file.sync"):
            self.fs.remove(b"/home")
            journal = self.started()
            if operation != "create":
                journal.append([entry(1)])
            self.fs.failOn(operation, errno=errno.EIO)
            self.assertRaises(StoreFailed, journal.append, [entry(2)])
            journal.append([entry(3)])
            self.assertEqual(self.found(self.started(), 3), 3)
            self.assertIsNone(self.found(self.started(), 2))
        for operation in ("unlink", "rename", "sync"):
            self.fs.remove(b"/home")
            journal = self.started()
            journal.append([entry(1)])
            self.clock.advance(KEEP - 1)
            journal.append([entry(2)])
            self.clock.advance(1)
            self.fs.failOn(operation, errno=errno.EIO)
            self.assertRaises(StoreFailed, journal.forget)
            self.assertEqual(self.found(journal, 2), 2)
            journal.append([entry(3)])
            found = [self.found(self.started(), n) for n in (2, 3)]
            self.assertEqual(found, [2, 3], operation)

    def test_unreadable(self) -> None:
        """
        What cannot be read is not taken for empty.
        """
        self.journal.append([entry(1)])
        self.fs.failOn("file.read", errno=errno.EIO)
        self.assertRaises(StoreFailed, self.started)

    def test_tooMany(self) -> None:
        """
        Only so many are remembered; then it is full for some minutes.
        """
        self.journal.append([entry(n) for n in range(1, 100)])
        self.assertRaises(TooBusy, self.journal.append, [entry(100), entry(101)])
        self.clock.advance(KEEP)
        self.journal.forget()
        self.journal.append([entry(100), entry(101)])
