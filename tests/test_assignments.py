"""
Tests for L{wazuh_cluster.agents.assignments}, what it is made of, and its twin
in memory.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.agents.assignments import FRESH_ENOUGH, FileAssignments
from wazuh_cluster.agents.groupindex import GroupIndex
from wazuh_cluster.agents.groupnames import (
    MAX_ASSIGNMENT,
    MAX_GROUP_NAME,
    MAX_GROUPS,
    agentOf,
    groupsFault,
    nameFault,
    readGroups,
    writeGroups,
)
from wazuh_cluster.agents.interfaces import IAssignments
from wazuh_cluster.errors import Stopped, StoreFailed
from wazuh_cluster.integrity import RealFileSystem
from wazuh_cluster.testing.assignments import MemoryAssignments
from wazuh_cluster.testing.assignmentscontract import BAD_NAMES, AssignmentsContractMixin
from wazuh_cluster.testing.filesystem import MemoryFileSystem
from wazuh_cluster.testing.runner import ClockRunner, ImmediateRunner

NOW = 1_700_000_000

NAMES = st.text("abcXYZ019_.-", min_size=1, max_size=20).filter(lambda name: not nameFault(name))


class GroupNamesTests(SynchronousTestCase):
    """
    Names of groups, and lines of them.
    """

    @settings(deadline=None)
    @given(st.lists(NAMES, min_size=1, max_size=MAX_GROUPS, unique=True))
    def test_roundTrip(self, groups: list[str]) -> None:
        """
        What is written is read, with its line's end and without.
        """
        line = writeGroups(groups)
        self.assertEqual(tuple(groups), readGroups(line))
        self.assertEqual(tuple(groups), readGroups(line.rstrip(b"\n")))

    @settings(deadline=None)
    @given(st.binary(max_size=300) | st.text("a,\n.\0é", max_size=20).map(str.encode))
    def test_anything(self, content: bytes) -> None:
        """
        Whatever a file has in it is either groups that can be, or refused with
        one line that a terminal can show.
        """
        try:
            groups = readGroups(content)
        except ValueError as error:
            self.assertTrue(str(error).isprintable())
            self.assertLess(len(str(error)), 200)
        else:
            self.assertIsNone(groupsFault(groups))

    def test_wazuhs(self) -> None:
        """
        Files as wazuh-remoted writes them.
        """
        self.assertEqual(("default",), readGroups(b"default\n"))
        self.assertEqual(("a", "b"), readGroups(b"a,b,a\n"))

    def test_faults(self) -> None:
        """
        Each rule has its line.
        """
        most = ",".join("g" * MAX_GROUP_NAME for _ in range(MAX_GROUPS)).encode()
        self.assertEqual(MAX_ASSIGNMENT, len(most) + 1)
        for content, why in (
            (b"", "names no group"),
            (b"\n", "names no group"),
            (b"web\n\n", "more than one line"),
            (b"web\ndb", "more than one line"),
            (b"web,,db", "'' cannot be a group: it is empty"),
            (b"../x", "cannot be a group"),
            (b"web\r\n", r"'web\r'"),
            (b"\xff\xfe", "cannot be a group"),
            (b"x" * 65536, "longer than"),
            (",".join(f"g{n}" for n in range(MAX_GROUPS + 1)).encode(), "129 groups"),
        ):
            error = self.assertRaises(ValueError, readGroups, content)
            self.assertIn(why, str(error))

    def test_agents(self) -> None:
        """
        A file belongs to an agent if its name is the id as it is written.
        """
        for name, agent in ((b"001", 1), (b"1000", 1000), (b"99999999", 99_999_999)):
            self.assertEqual(agent, agentOf(name))
        for name in (b"1", b"000", b"0001", b"100000000", b"abc", b"-01", b"\xb2\xb2\xb2", b"01 "):
            self.assertIsNone(agentOf(name), name)


class GroupIndexTests(SynchronousTestCase):
    """
    L{GroupIndex} is a mapping in columns.
    """

    @settings(deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(1, 40), st.none() | st.lists(st.sampled_from("abc"), max_size=3))
        ),
        st.sets(st.integers(0, 60)),
    )
    def test_asADictionary(self, changes: list[Any], merges: set[int]) -> None:
        """
        Whatever is put and dropped in whatever order, it knows what a
        dictionary would.
        """
        index = GroupIndex()
        known: dict[int, tuple[int, tuple[str, ...]]] = {}
        for step, (agent, groups) in enumerate(changes):
            if groups is None:
                index.drop(agent)
                known.pop(agent, None)
            else:
                index.put(agent, step, tuple(groups))
                known[agent] = (step, tuple(groups))
            if step in merges:
                index.counts()
        for agent in range(42):
            self.assertEqual(known.get(agent), index.get(agent))
        for name in "abcd":
            members = sorted(agent for agent, (_, groups) in known.items() if name in groups)
            self.assertEqual(members, index.members(name))
        inThem = [name for _, groups in known.values() for name in groups]
        self.assertEqual({name: inThem.count(name) for name in set(inThem)}, index.counts())

    def test_manyChanges(self) -> None:
        """
        Changes in descending order are merged as they pile up.
        """
        index = GroupIndex()
        for agent in range(10_000, 0, -1):
            index.put(agent, agent, ("even" if agent % 2 == 0 else "odd",))
        self.assertEqual({"even": 5000, "odd": 5000}, index.counts())
        self.assertEqual([2, 4, 6], index.members("even")[:3])


class MemoryAssignmentsTests(AssignmentsContractMixin, SynchronousTestCase):
    """
    The twin in memory keeps the contract.
    """

    def makeAssignments(self) -> IAssignments:
        """
        An empty one.
        """
        return MemoryAssignments()

    def test_failure(self) -> None:
        """
        It can be made to fail, and nothing changes then.
        """
        twin = MemoryAssignments()
        twin.failure = StoreFailed("no")
        for call in (
            twin.groups(),
            twin.create("a"),
            twin.missing(["a"]),
            twin.of([1]),
            twin.assign({1: ("default",)}),
            twin.remove([1]),
        ):
            self.failureResultOf(call, StoreFailed)
        self.assertEqual(({"default"}, {}), (twin.names, twin.assigned))


class RealFilesTests(AssignmentsContractMixin, SynchronousTestCase):
    """
    Files on the real file system keep the contract.
    """

    def makeAssignments(self) -> IAssignments:
        """
        In a new home.
        """
        home = os.path.abspath(self.mktemp())
        os.makedirs(os.path.join(home, "etc/shared/default"))
        return FileAssignments(RealFileSystem(), home, ImmediateRunner())


class FileAssignmentsTests(AssignmentsContractMixin, SynchronousTestCase):
    """
    Files keep the contract, and are Wazuh's.
    """

    def makeAssignments(self) -> FileAssignments:
        """
        In a home in memory.
        """
        self.clock = Clock()
        self.clock.advance(NOW)
        self.fs = MemoryFileSystem(self.clock)
        self.fs.makeFolders(b"/h/etc/shared/default")
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return self.another()

    def another(self) -> FileAssignments:
        """
        As a new process has it.
        """
        return FileAssignments(
            self.fs, b"/h", ImmediateRunner(), self.clock.seconds, lambda size: b"r" * size
        )

    def test_stops(self) -> None:
        """
        What waits when the runner is stopped says so.
        """
        runner = ClockRunner(self.clock)
        assignments = FileAssignments(self.fs, b"/h", runner, self.clock.seconds)
        asked = [assignments.missing(["web"]), assignments.assign({1: ("default",)})]
        runner.stop()
        for each in asked:
            self.failureResultOf(each, Stopped)

    def said(self) -> list[str]:
        """
        What was logged since the last look.
        """
        said = [
            str(formatEvent(event))
            for event in self.events
            if event["log_namespace"] == "wazuh_cluster"
        ]
        self.events.clear()
        return said

    def put(self, agent: str, content: bytes) -> None:
        """
        As another program does.
        """
        self.fs.put(b"/h/queue/agent-groups/" + agent.encode(), content)

    def of(self, *ids: int) -> dict[int, tuple[str, ...]]:
        """
        What these agents' groups are.
        """
        found = self.get(self.assignments.of(ids))
        return dict(found)

    def operations(self, *names: str) -> list[tuple[str, bytes]]:
        """
        What was done of some kinds since the last look.
        """
        done = [each for each in self.fs.operations if each[0] in names]
        self.fs.operations.clear()
        return done

    def test_files(self) -> None:
        """
        An assignment is one line, a group a folder with an agent.conf, with
        Wazuh's permissions; nothing else is left.
        """
        self.get(self.assignments.assign({7: ("web", "db"), 12345: ("db",)}))
        self.assertEqual(
            [
                b"agent-groups/",
                b"agent-groups/007",
                b"agent-groups/12345",
            ],
            self.fs.listTree(b"/h/queue"),
        )
        self.assertEqual(b"web,db\n", self.fs.get(b"/h/queue/agent-groups/007"))
        self.assertIn(b"<agent_config>", self.fs.get(b"/h/etc/shared/web/agent.conf"))
        for path, mode in (
            (b"/h/queue/agent-groups", 0o770),
            (b"/h/queue/agent-groups/007", 0o660),
            (b"/h/etc/shared/web", 0o770),
            (b"/h/etc/shared/web/agent.conf", 0o660),
        ):
            self.assertEqual(mode, stat.S_IMODE(self.fs.status(path).mode), path)

    def test_owner(self) -> None:
        """
        What is new belongs to whom the home's etc belongs.
        """
        with_ = self.fs.openFolder(b"/h")
        with_.setOwner(b"etc", 7, 8)
        self.get(self.assignments.create("new"))
        self.get(self.assignments.assign({1: ("new",)}))
        for path in (
            b"/h/queue/agent-groups",
            b"/h/queue/agent-groups/001",
            b"/h/etc/shared/new",
            b"/h/etc/shared/new/agent.conf",
        ):
            status = self.fs.status(path)
            self.assertEqual((7, 8), (status.uid, status.gid), path)

    def test_durable(self) -> None:
        """
        A file takes its place when its content is on the disk, and then that is
        made durable too.
        """
        self.operations()
        self.get(self.assignments.assign({1: ("web",), 2: ("db",)}))
        there = b"/h/queue/agent-groups"
        beside = [there + b"/.00%d.%s.wctmp.tmp" % (n, b"r".hex().encode() * 6) for n in (1, 2)]
        self.assertEqual(
            [
                ("file.sync", beside[0]),
                ("file.sync", beside[1]),
                ("rename", there + b"/001"),
                ("rename", there + b"/002"),
                ("sync", there),
            ],
            self.operations("file.sync", "rename", "sync", "syncAll"),
        )

    def test_manyAreOneSync(self) -> None:
        """
        Many are made durable at once, before the first takes its place.
        """
        self.operations()
        self.get(self.assignments.assign(dict.fromkeys(range(1, 101), ("web",))))
        done = self.operations("file.sync", "rename", "sync", "syncAll")
        there = b"/h/queue/agent-groups"
        self.assertEqual([("syncAll", there), ("sync", there)], [done[0], done[-1]])
        self.assertEqual({"rename"}, {operation for operation, _ in done[1:-1]})

    def test_sameAgain(self) -> None:
        """
        What is so already is not written again: it would be a new generation.
        """
        self.get(self.assignments.assign({1: ("web",)}))
        self.operations()
        self.get(self.assignments.assign({1: ("web",)}))
        self.assertEqual([], self.operations("create", "rename", "sync"))

    def test_anyRefusal(self) -> None:
        """
        Whatever the disk refuses at whatever point: one line, every agent has
        the old or the new groups, and nothing is left beside them.
        """
        for groups in ({1: ("db",), 2: ("db",)}, dict.fromkeys(range(1, 40), ("db",))):
            ended = False
            for after in range(1000):
                self.assignments = self.makeAssignments()
                for name in ("web", "db"):
                    self.get(self.assignments.create(name))
                self.get(self.assignments.assign(dict.fromkeys(groups, ("web",))))
                self.fs.failOn("*", errno=errno.EROFS, after=after)
                result: list[Any] = []
                self.assignments.assign(groups).addBoth(result.append)
                if result == [None]:
                    ended = True
                    break
                self.assertIsInstance(result[0].value, StoreFailed)
                self.assertIn("Read-only file system", str(result[0].value))
                self.assignments = self.another()
                for agent, now in self.of(*groups).items():
                    self.assertIn(now, (("web",), ("db",)), agent)
                self.assertEqual(len(groups), len(self.fs.listTree(b"/h/queue/agent-groups")))
            self.assertTrue(ended)

    def test_diskFull(self) -> None:
        """
        Without room nothing is assigned, and the line says so.
        """
        self.fs.free = 20
        failure = self.failureResultOf(
            self.assignments.assign(dict.fromkeys(range(1, 30), ("web",))), StoreFailed
        )
        self.assertIn("No space left on device", str(failure.value))
        self.fs.free = None
        self.assertEqual({}, self.of(*range(1, 30)))
        self.assertEqual([], self.fs.listTree(b"/h/queue/agent-groups"))

    def test_editedByHand(self) -> None:
        """
        A file that another program wrote is seen by the next question, also
        when neither its size nor the second of its time changed.
        """
        self.put("001", b"web\n")
        self.assertEqual({1: ("web",)}, self.of(1))
        self.put("001", b"abc\n")
        self.assertEqual({1: ("abc",)}, self.of(1))
        self.clock.advance(10)
        self.assertEqual({1: ("abc",)}, self.of(1))
        self.put("001", b"web\n")
        self.assertEqual({1: ("web",)}, self.of(1))
        self.fs.remove(b"/h/queue/agent-groups/001")
        self.assertEqual({}, self.of(1))

    def test_readOnce(self) -> None:
        """
        What did not change is not read again; a count within seconds looks at
        nothing at all.
        """
        for n in range(1, 101):
            self.put(f"{n:03}", b"web\n")
        self.clock.advance(5)
        self.assertEqual(100, self.counts()["web"])
        self.assertEqual(100, len(self.operations("openRead")))
        self.assertEqual(100, self.counts()["web"])
        self.assertEqual([], self.operations("openRead", "status", "names")[1:])
        self.clock.advance(FRESH_ENOUGH)
        self.put("050", b"db\n")
        self.assertEqual((99, 1), (self.counts()["web"], self.counts()["db"]))
        self.assertEqual(
            {b"/h/queue/agent-groups/050"}, {path for _, path in self.operations("openRead")}
        )
        self.get(self.assignments.of([1, 2, 3]))
        self.assertEqual([], self.operations("openRead", "names"))

    def test_deleteLooksAtAll(self) -> None:
        """
        A group that goes takes along the agents that another program put in it
        a moment ago.
        """
        self.counts()
        self.put("009", b"db,web\n")
        members = self.get(self.assignments.delete("web"))
        self.assertEqual([9], members)
        self.assertEqual(b"db\n", self.fs.get(b"/h/queue/agent-groups/009"))

    def test_deletedFolder(self) -> None:
        """
        A group's folder goes with all that is in it; where a link leads,
        nothing goes.
        """
        self.fs.put(b"/h/etc/shared/web/deep/er/file", b"x")
        self.fs.put(b"/elsewhere/file", b"x")
        self.fs.link(b"/h/etc/shared/web/link", b"/elsewhere")
        self.get(self.assignments.delete("web"))
        self.assertEqual(
            [b"db/", b"db/agent.conf", b"default/"], self.fs.listTree(b"/h/etc/shared")
        )
        self.assertEqual(b"x", self.fs.get(b"/elsewhere/file"))

    def test_killedInTheMiddle(self) -> None:
        """
        What a process left beside the files when it was killed goes with the
        first that the next one does, whatever it is, and is nobody's assignment.
        """
        self.put("001", b"db\n")
        works: list[Callable[[], Deferred[Any]]] = [
            lambda: self.assignments.groups(),
            lambda: self.assignments.of([7]),
            lambda: self.assignments.missing(["web"]),
            lambda: self.assignments.assign({1: ("web",)}),
        ]
        for work in works:
            self.put(".001.0123456789ab.wctmp.tmp", b"web\n")
            self.assignments = self.another()
            self.get(work())
            self.assertEqual([b"001"], self.fs.listTree(b"/h/queue/agent-groups"))
        self.assertEqual([], self.said())

    def test_stoppedInTheMiddle(self) -> None:
        """
        A work that is cancelled leaves nothing beside the files.
        """
        runner = ClockRunner(self.clock)
        assignments = FileAssignments(self.fs, b"/h", runner, self.clock.seconds)
        assigning = assignments.assign(dict.fromkeys(range(1, 1000), ("web",)))
        self.clock.pump([0.001] * 5)
        self.assertGreater(len(self.fs.listTree(b"/h/queue/agent-groups")), 100)
        assigning.cancel()
        self.failureResultOf(assigning)
        self.assertEqual([], self.fs.listTree(b"/h/queue/agent-groups"))

    def test_damagedFiles(self) -> None:
        """
        What is no assignment stays as it is, is no agent's groups, and is told
        once, by its name.
        """
        for name, content in (
            ("001", b"\xff\xfe"),
            ("002", b"x" * 65536),
            ("003", b"../../etc"),
            ("004", b"web\ndb\n"),
            ("005", b""),
            ("006", b"web\0\n"),
            ("007", "\u202eweb".encode()),
            ("nonsense", b"web\n"),
            ("\x1b[31m", b"web\n"),
        ):
            self.put(name, content)
        self.fs.link(b"/h/queue/agent-groups/008", b"/h/etc/client.keys")
        self.fs.makeFolders(b"/h/queue/agent-groups/010")
        self.put("009", b"web\n")
        before = self.fs.listTree(b"/h/queue/agent-groups")
        self.assertEqual(1, self.counts()["web"])
        self.assertEqual({9: ("web",)}, self.of(*range(1, 11)))
        said = self.said()
        self.assertEqual(11, len(said), said)
        for line in said:
            self.assertRegex(line, "^queue/agent-groups/.* is no assignment of an agent, and stays")
        self.clock.advance(FRESH_ENOUGH)
        self.counts()
        self.of(*range(1, 11))
        self.assertEqual([], self.said())
        self.assertEqual(before, self.fs.listTree(b"/h/queue/agent-groups"))
        self.put("001", b"\xff\xff\xff")
        self.of(1)
        self.assertEqual(1, len(self.said()))

    def test_damagedInNumbers(self) -> None:
        """
        Thousands of damaged files are not thousands of lines.
        """
        for n in range(1, 1001):
            self.put(f"{n:03}", b"\0")
        self.counts()
        said = self.said()
        self.assertEqual((21, "And 980 more paths."), (len(said), said[-1]))

    def test_damagedIsReplaced(self) -> None:
        """
        An agent whose file is damaged can be assigned anew.
        """
        self.put("001", b"\0")
        self.get(self.assignments.assign({1: ("web",)}))
        self.assertEqual({1: ("web",)}, self.of(1))

    def test_unreadable(self) -> None:
        """
        A file that cannot be read is told once, and keeps nothing else from
        being read; a system without files left is no reason to call it
        damaged.
        """
        self.put("001", b"web\n")
        self.put("002", b"web\n")
        path = b"/h/queue/agent-groups/001"
        self.fs.failOn("openRead", path, errno.EACCES, times=2)
        for _ in range(2):
            self.assertEqual({2: ("web",)}, self.of(1, 2))
        self.assertEqual(1, len(self.said()))
        self.fs.failOn("openRead", path, errno.EMFILE)
        self.failureResultOf(self.assignments.of([1]), StoreFailed)
        self.assertEqual({1: ("web",)}, self.of(1))
        self.assertEqual([], self.said())

    def test_otherThingsInShared(self) -> None:
        """
        Files, links and folders with other names in etc/shared are no groups.
        """
        self.fs.put(b"/h/etc/shared/ar.conf", b"x")
        self.fs.link(b"/h/etc/shared/link", b"/h/etc/shared/web")
        self.fs.makeFolders(b"/h/etc/shared/with blank")
        self.assertEqual({"db", "default", "web"}, set(self.counts()))
        missing = self.get(self.assignments.missing(["ar.conf", "link"]))
        self.assertEqual(["ar.conf", "link"], missing)
        self.refused(self.assignments.create("ar.conf"))
        self.refused(self.assignments.delete("link"))

    def test_emptyHome(self) -> None:
        """
        A home without the folders has no agents and no groups, until some are
        made.
        """
        self.fs.makeFolders(b"/empty")
        self.assignments = FileAssignments(self.fs, b"/empty", ImmediateRunner())
        self.assertEqual({}, self.counts())
        self.assertEqual({}, self.of(1))
        self.get(self.assignments.remove([1]))
        self.get(self.assignments.create("web"))
        self.get(self.assignments.assign({1: ("web",)}))
        self.assertEqual({"web": 1}, self.counts())

    def test_namesOnDisk(self) -> None:
        """
        No bad name ever reaches the file system.
        """
        self.operations()
        for name in BAD_NAMES:
            for call in (
                self.assignments.create(name),
                self.assignments.delete(name),
                self.assignments.assign({1: (name,)}),
            ):
                self.assertIsInstance(call, Deferred)
                self.failureResultOf(call)
        self.assertEqual([], self.operations("create", "makeFolder", "rename", "unlink"))
