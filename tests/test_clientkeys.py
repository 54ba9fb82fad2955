"""
Tests for L{wazuh_cluster.agents.clientkeys}, L{wazuh_cluster.agents.linefile}
and L{wazuh_cluster.agents.keysfile}.
"""

from __future__ import annotations

import errno
import stat
from collections import Counter
from collections.abc import Iterable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.twohomes import NOW, drive
from wazuh_cluster.agents.clientkeys import (
    faultOf,
    formatAgent,
    formatRemoved,
    idIn,
    isRemark,
    isRemoved,
    parseAgent,
)
from wazuh_cluster.agents.hashindex import MOST
from wazuh_cluster.agents.keysfile import KeysFile
from wazuh_cluster.agents.linefile import LONGEST_LINE, FileChanged, LineFile
from wazuh_cluster.agents.model import Agent
from wazuh_cluster.errors import StoreFailed
from wazuh_cluster.testing.filesystem import MemoryFileSystem

PATH = b"/home/etc/client.keys"
KEY = "0f" * 32

_names = st.text("abcXYZ019._-", min_size=1, max_size=8)
_ips = st.sampled_from(["any", "10.0.0.1", "10.0.0.2", "10.5.0.0/16", "FE80:" + "0:" * 6 + "1"])
_keys = st.text("0123456789abcdef", min_size=1, max_size=64)
_agents = st.builds(Agent, st.integers(1, 99_999_999), _names, _ips, _keys)

#: What may stand in a file: agents, marks, remarks, and whatever.
_few = st.builds(Agent, st.integers(1, 12), _names, _ips, _keys)
_lines = st.one_of(
    _few.map(lambda agent: formatAgent(agent)[:-1]),
    _few.map(lambda agent: formatRemoved(agent)[:-1]),
    st.sampled_from([b"", b"# remark", b" 001 a any k", b"1 short any k", b"007 web any"]),
    st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b" ")),
)


class FormatTests(SynchronousTestCase):
    """
    Lines.
    """

    def test_agent(self) -> None:
        """
        A line is id, name, address and key, the id with three digits at least.
        """
        agent = Agent(7, "web1", "any", KEY)
        self.assertEqual(formatAgent(agent), f"007 web1 any {KEY}\n".encode())
        self.assertEqual(formatRemoved(agent), f"007 !web1 any {KEY}\n".encode())
        self.assertEqual(parseAgent(f"7 web1 any {KEY}".encode()), agent)

    @given(_agents)
    def test_roundTrip(self, agent: Agent) -> None:
        """
        What was written is read, and no mark is taken for an agent.
        """
        self.assertEqual(parseAgent(formatAgent(agent)[:-1]), agent)
        mark = formatRemoved(agent)[:-1]
        self.assertIsNone(parseAgent(mark))
        self.assertTrue(isRemoved(mark))
        self.assertEqual(idIn(mark), agent.id)

    @given(st.binary(max_size=60))
    def test_whatever(self, line: bytes) -> None:
        """
        Whatever a line has, it is one thing: an agent, which is written as the
        same again but for zeros before its id; a mark; a remark; or damaged,
        which can be said in one line.
        """
        agent = parseAgent(line)
        if agent is not None:
            self.assertEqual(formatAgent(agent)[:-1].lstrip(b"0"), line.lstrip(b"0"))
            self.assertFalse(isRemoved(line) or isRemark(line))
        elif not isRemoved(line) and not isRemark(line):
            self.assertNotIn("\n", faultOf(line))

    def test_faults(self) -> None:
        """
        What is wrong is said.
        """
        for line, said in {
            b"001 web1 any": "3 fields",
            b"001 web1 any key more": "5 fields",
            b"1x web1 any key": "id is not a number",
            b"123456789 web1 any key": "id is not a number",
            b"000 web1 any key": "its id is 0",
            b"001 w\xc3\xa4b any key": "its name",
            b"001 web1 here key": "its address",
            b"001 web1 any key\r": "its key",
            b"001 web1 any k\x1b[31m": "its key",
        }.items():
            self.assertIsNone(parseAgent(line))
            self.assertIn(said, faultOf(line))


class Naive:
    """
    What a file ought to have, as a list of lines.

    @ivar lines: all but the marks of removed agents at the end.
    @ivar marks: those.
    @ivar ever: how often each name and address was there.
    """

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.lines = list(lines)
        self.marks: list[bytes] = []
        while self.lines and isRemoved(self.lines[-1]):
            self.marks.insert(0, self.lines.pop())
        self.ever: Counter[str] = Counter()
        self.count(agent for agent in map(parseAgent, lines) if agent is not None)

    def count(self, agents: Iterable[Agent]) -> None:
        """
        Take agents down.
        """
        for agent in agents:
            self.ever.update([agent.name, _normal(agent.ip)])

    def agents(self) -> dict[int, Agent]:
        """
        The agents by id; of two with an id, the first.
        """
        found: dict[int, Agent] = {}
        for line in self.lines:
            agent = parseAgent(line)
            if agent is not None:
                found.setdefault(agent.id, agent)
        return found

    def change(self, added: Sequence[Agent], gone: Sequence[Agent], kept: Sequence[Agent]) -> None:
        """
        Do what L{OpenKeys.replace} does.
        """
        self.count(added)
        ids = {agent.id for agent in gone}
        before = []
        for line in self.lines:
            agent = parseAgent(line)
            if agent is None or agent.id not in ids:
                before.append(line)
        self.lines = [*before, *(formatAgent(agent)[:-1] for agent in added)]
        self.marks += [formatRemoved(agent)[:-1] for agent in kept]

    def content(self) -> bytes:
        """
        The file, with an end to each line.
        """
        return b"".join(line + b"\n" for line in [*self.lines, *self.marks])


class KeysFileTests(SynchronousTestCase):
    """
    L{KeysFile}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.fs = MemoryFileSystem(self.clock)
        self.fs.makeFolders(b"/home/etc")

    def make(self, content: bytes | None = None, blockSize: int = 100) -> KeysFile:
        """
        A file that was read.
        """
        if content is not None:
            self.fs.put(PATH, content)
        keys = KeysFile(self.fs, b"/home", blockSize)
        self.refresh(keys)
        return keys

    def refresh(self, keys: KeysFile) -> None:
        drive(keys.refresh(self.clock.seconds()))

    def change(
        self,
        keys: KeysFile,
        added: Sequence[Agent] = (),
        gone: Sequence[Agent] = (),
        kept: Sequence[Agent] = (),
    ) -> None:
        with keys.open() as opened:
            drive(opened.replace(added, gone, kept))

    def check(self, keys: KeysFile, naive: Naive) -> None:
        """
        What is known of the file is what is in it.
        """
        assert keys.index is not None
        expected = naive.agents()
        with keys.open() as opened:
            self.assertEqual(drive(opened.page(0, 1000)), [expected[id] for id in sorted(expected)])
            for agent in expected.values():
                self.assertEqual(opened.get(agent.id), agent)
                ip = _normal(agent.ip)
                # More than these are not looked for.
                if naive.ever[agent.name] <= MOST:
                    self.assertIn(agent, opened.named(agent.name))
                if agent.ip != "any" and naive.ever[ip] <= MOST:
                    self.assertIn(agent, opened.addressed(ip))
            self.assertEqual(opened.named("nobody"), [])
        self.assertEqual(len(keys.index), len(expected))
        self.assertEqual(keys.index.those(range(20)), {id for id in expected if id < 20})

    @settings(deadline=None, max_examples=200)
    @given(st.data())
    def test_anyFile(self, data: st.DataObject) -> None:
        """
        Whatever is in a file, and whatever is added and removed: what is not
        meant stays as it is, byte for byte, where it is; and what is known of
        the file is what a new look at it says.
        """
        self.setUp()
        lines = data.draw(st.lists(_lines, max_size=12))
        content = b"\n".join(lines)
        if data.draw(st.booleans()) and content:
            content += b"\n"
        naive = Naive(content.removesuffix(b"\n").split(b"\n") if content else [])
        keys = self.make(content, data.draw(st.integers(1, 200)))
        assert keys.index is not None
        self.check(keys, naive)
        for _ in range(data.draw(st.integers(1, 4))):
            here = list(naive.agents().values())
            gone = data.draw(st.lists(st.sampled_from(here), unique=True)) if here else []
            kept = [agent for agent in gone if data.draw(st.booleans())]
            first = max(keys.index.highest, 20) + 1
            added = [
                Agent(first + n, data.draw(_names), data.draw(_ips), "k")
                for n in range(data.draw(st.integers(0, 3)))
            ]
            self.change(keys, added, gone, kept)
            naive.change(added, gone, kept)
            self.assertEqual(self.fs.get(PATH), naive.content())
            self.check(keys, naive)
            self.refresh(keys)
            self.check(self.make(), naive)

    def test_order(self) -> None:
        """
        New agents stand after those that are there, and marks of removed ones
        after all.
        """
        one, two, three, four = (Agent(n, f"web{n}", "any", KEY) for n in (1, 2, 3, 4))
        keys = self.make()
        self.change(keys, [one, two])
        self.change(keys, [], [one], [one])
        self.change(keys, [three])
        self.change(keys, [four], [two], [two])
        self.assertEqual(
            self.fs.get(PATH),
            formatAgent(three) + formatAgent(four) + formatRemoved(one) + formatRemoved(two),
        )

    def test_modeAndOwner(self) -> None:
        """
        The file is for the owner of C{etc} and his group.
        """
        self.fs.openFolder(b"/home").setOwner(b"etc", 12, 34)
        self.change(self.make(), [Agent(1, "web1", "any", KEY)])
        status = self.fs.status(PATH)
        self.assertEqual(stat.S_IMODE(status.mode), 0o640)
        self.assertEqual((status.uid, status.gid), (12, 34))

    def test_highest(self) -> None:
        """
        Ids of marks and of damaged lines count.
        """
        for content, highest in {
            b"005 web any k\n": 5,
            b"005 web any k\n009 !gone any k\n": 9,
            b"005 web any k\n011 broken\n": 11,
            b"# 099 remark\n": 0,
            b"": 0,
        }.items():
            index = self.make(content).index
            assert index is not None
            self.assertEqual(index.highest, highest)

    def test_repeatedId(self) -> None:
        """
        Of two lines with an id the first is the agent's; both go with it.
        """
        content = b"001 web1 any k\n" + b"# remark\n" * 30 + b"1 web2 any k\n002 web3 any k\n"
        keys = self.make(content)
        with keys.open() as opened:
            agent = opened.get(1)
        assert agent is not None
        self.assertEqual(agent.name, "web1")
        self.change(keys, gone=[agent])
        self.assertEqual(self.fs.get(PATH), b"# remark\n" * 30 + b"002 web3 any k\n")

    def test_remarks(self) -> None:
        """
        Lines that are damaged, or say what another says, are named; the first
        of them, if there are many.
        """
        keys = self.make(
            b"# remark\n001 web1 any k\n\n002 web1 any k\n1 web3 any k\nbad line\n005 !web1 any k\n"
        )
        (remarks,) = keys.remarks
        self.assertEqual(
            [(fault.line, fault.what) for fault in remarks.faults],
            [
                (6, "it has 2 fields instead of 4"),
                (5, "its id is that of a line before: 001"),
                (4, "its name is that of agent 001 too"),
            ],
        )
        self.assertEqual((remarks.more, remarks.others), (0, 2))
        (remarks,) = self.make(b"bad line\n" * 30).remarks
        self.assertEqual((len(remarks.faults), remarks.more), (20, 10))

    def test_changedIsReadWhenQuiet(self) -> None:
        """
        What another program changed is read when it was the same for a second.
        """
        keys = self.make(b"001 web1 any k\n")
        for content in (b"", b"001 web1 any k\n002 we", b"001 web1 any k\n002 web2 any k\n"):
            self.fs.put(PATH, content)
            self.assertRaises(FileChanged, self.refresh, keys)
            self.clock.advance(0.9)
            self.assertRaises(FileChanged, self.refresh, keys)
        assert keys.index is not None
        self.assertEqual(keys.index.those([1, 2]), {1})
        self.clock.advance(0.2)
        self.refresh(keys)
        self.assertEqual(keys.index.those([1, 2]), {1, 2})

    def test_changedWhileWriting(self) -> None:
        """
        Another program's change, at whatever moment before the renaming,
        keeps the file from being replaced; nothing is left behind.
        """
        content = b"001 web1 any k\n"
        self.make(content)
        self.fs.operations.clear()
        keys = self.make(content)
        start = len(self.fs.operations)
        self.change(keys, [Agent(2, "web2", "any", "k")])
        done = [name for name, _ in self.fs.operations[start:]]
        steps = done.index("rename")
        self.assertGreater(steps, 8)
        for at in range(steps):
            keys = self.make(content)
            seen = [0]

            def edit(at: int = at, seen: list[int] = seen) -> None:
                if seen[0] == at:
                    self.clock.advance(1)
                    self.fs.put(PATH, b"009 other any k\n")
                seen[0] += 1

            self.fs.before("*", None, edit, times=steps)
            self.assertRaises(FileChanged, self.change, keys, [Agent(2, "web2", "any", "k")])
            self.assertEqual(self.fs.get(PATH), b"009 other any k\n")
            self.assertEqual(self.fs.listTree(b"/home/etc"), [b"client.keys"])

    def test_changedAfterwards(self) -> None:
        """
        A change that comes right after the renaming is not taken for ours.
        """
        keys = self.make(b"001 web1 any k\n")

        def edit() -> None:
            self.clock.advance(1)
            self.fs.put(PATH, b"009 other any k\n")

        self.fs.before("sync", None, edit)
        self.change(keys, [Agent(2, "web2", "any", "k")])
        self.assertRaises(FileChanged, self.refresh, keys)
        self.clock.advance(2)
        self.refresh(keys)
        assert keys.index is not None
        self.assertEqual(keys.index.those([1, 2, 9]), {9})

    def test_failedChange(self) -> None:
        """
        Whatever step fails, the old file stays, and what is known is what is
        in it.
        """
        content = b"001 web1 any k\n"
        for operation in ("create", "file.write", "file.sync", "file.read", "rename"):
            keys = self.make(content)
            self.fs.failOn(operation, errno=errno.ENOSPC)
            error = self.assertRaises(
                StoreFailed, self.change, keys, [Agent(2, "web2", "any", "k")]
            )
            self.assertIn("/home/etc/client.keys cannot be", str(error))
            self.assertIn("make room", str(error))
            self.assertEqual(self.fs.get(PATH), content)
            self.assertEqual(self.fs.listTree(b"/home/etc"), [b"client.keys"])
            self.refresh(keys)
            self.check(keys, Naive([content[:-1]]))

    def test_unreadable(self) -> None:
        """
        A file, or folder, that cannot be read is not taken for a missing one.
        """
        self.fs.put(PATH, b"001 web1 any k\n")
        for operation, code, said in (
            ("file.read", errno.EIO, "look at its disk"),
            ("openRead", errno.EACCES, "let the daemon's user read"),
            ("openFolder", errno.ENOENT, "its folder is missing"),
        ):
            self.fs.failOn(operation, errno=code)
            self.assertIn(said, str(self.assertRaises(StoreFailed, self.make)))
        self.fs.put(b"/elsewhere", b"001 web1 any k\n")
        self.fs.link(PATH, b"/elsewhere")
        self.assertIn("it is a link", str(self.assertRaises(StoreFailed, self.make)))

    def test_endlessLine(self) -> None:
        """
        A file that is no such file is refused, with bounded memory.
        """
        error = self.assertRaises(StoreFailed, self.make, b"x" * (LONGEST_LINE + 200), 64 * 1024)
        self.assertIn("restore it", str(error))

    def test_wornIndex(self) -> None:
        """
        After very many removals the index is made anew, and nothing else
        changes.
        """
        agents = [Agent(n, f"web{n}", "any", "k") for n in range(1, 10_102)]
        keys = self.make(b"".join(map(formatAgent, agents)), 4096)
        self.change(keys, [], agents[:10_100], [])
        assert keys.index is not None
        self.assertEqual(keys.index.ids.dropped, 10_100)
        self.refresh(keys)
        self.assertEqual((keys.index.ids.dropped, len(keys.index)), (0, 1))
        self.check(keys, Naive([formatAgent(agents[-1])[:-1]]))


class LineFileTests(SynchronousTestCase):
    """
    L{LineFile}, where L{KeysFile} does not reach.
    """

    def test_cutWhileCopied(self) -> None:
        """
        A file that was cut while it is copied is seen to be.
        """
        clock = Clock()
        fs = MemoryFileSystem(clock)
        fs.put(b"/f/lines", b"a\n" * 100)
        lines = LineFile(fs, b"/f", b"lines", 0o600, 50)
        lines.layout = drive(lines.load(lambda number, block: None))

        def cut() -> None:
            fs.put(b"/f/lines", b"a\n")

        with lines.open() as opened:
            fs.before("file.seek", None, cut)
            self.assertRaises(FileChanged, drive, opened.replace({}, [b"b\n"]))
        self.assertEqual(fs.listTree(b"/f"), [b"lines"])


def _normal(ip: str) -> str:
    return "FE80:0000:0000:0000:0000:0000:0000:0001" if ip.startswith("FE80") else ip
