"""
What the demo does, step by step.
"""

from __future__ import annotations

import os
import re
import secrets

from attrs import frozen

from wazuh_cluster.demo.agents import makeAgents
from wazuh_cluster.demo.arrivals import Arrivals, Expected, allOf, partSize
from wazuh_cluster.demo.doors import Doors
from wazuh_cluster.demo.edits import contentOf, planEdit
from wazuh_cluster.demo.fleet import FleetStory
from wazuh_cluster.demo.homes import ADDRESS, copyInto, fill, freePorts, makeNodeHome
from wazuh_cluster.demo.largelist import writeLargeList
from wazuh_cluster.demo.nodes import DemoFailed, Launch, Node
from wazuh_cluster.demo.ownruleset import OwnFile
from wazuh_cluster.demo.pace import Pace
from wazuh_cluster.demo.ruleset import makeRuleset
from wazuh_cluster.demo.show import Screen, bar, number, size, table
from wazuh_cluster.demo.verdict import Inspector, Seen, allEqual, differences
from wazuh_cluster.demo.watch import PATIENCE, Line, Watcher
from wazuh_cluster.home import Home
from wazuh_cluster.model import MASTER, WORKER

#: How often a demo's nodes look for changes, in seconds.
INTERVAL = 1.0

#: The list whose transfer is cut.
LARGE = "etc/lists/demo-reputation"

_SEED = 4
_RECEIVED = re.compile(rb"(\d+) bytes received")


@frozen
class Choice:
    """
    What the demo is to show.

    @ivar workers: how many.
    @ivar size: of the large list, in bytes.
    @ivar ruleset: files to use instead of made-up ones, or C{None}.
    """

    workers: int
    size: int
    ruleset: list[OwnFile] | None = None

    def room(self) -> int:
        """
        How many bytes it takes on the disk, about.
        """
        ruleset = sum(each.size for each in self.ruleset or ())
        return (ruleset + self.size + 8_000_000) * (self.workers + 1)


class Story:
    """
    One demo in one folder.

    @ivar nodes: all nodes, the master first.
    """

    def __init__(
        self,
        folder: str,
        choice: Choice,
        screen: Screen,
        pace: Pace,
        doors: Doors,
        launch: Launch,
    ) -> None:
        """
        @param folder: one that is there and empty.
        """
        self._folder = folder
        self._choice = choice
        self._screen = screen
        self._pace = pace
        self._doors = doors
        names = ["hub", *(f"siem-{each + 1}" for each in range(choice.workers))]
        roles = [MASTER, *[WORKER] * choice.workers]
        self.nodes = [
            Node(name, role, Home(os.path.join(folder, name)), launch)
            for name, role in zip(names, roles, strict=True)
        ]
        self._inspectors = [Inspector(node.home, node.role, pace) for node in self.nodes]
        self._watcher = Watcher(self.nodes, screen, pace)

    @property
    def master(self) -> Node:
        """
        The master.
        """
        return self.nodes[0]

    @property
    def workers(self) -> list[Node]:
        """
        The workers.
        """
        return self.nodes[1:]

    def tell(self) -> None:
        """
        Show all of it.

        @raise DemoFailed: if something did not come about.
        """
        self._prepare()
        self._firstSync()
        self._edit()
        self._cut()
        FleetStory(self.nodes, self._screen, self._pace, self._watcher, self._doors).tell()
        self._compare()

    def _prepare(self) -> None:
        """
        Make the homes and fill the master's.
        """
        port, *ports = freePorts(1 + 2 * len(self.nodes))
        key = secrets.token_hex(16)
        for index, node in enumerate(self.nodes):
            node.enrollmentPort, node.pagePort = ports[2 * index : 2 * index + 2]
            makeNodeHome(node.home, node.role, node.name, port, key, INTERVAL)
        agents = makeAgents(_SEED)
        fill(self.master.home, agents.files, self._pace)
        own = self._choice.ruleset
        if own is None:
            made = makeRuleset(_SEED)
            fill(self.master.home, made.files, self._pace)
            rules = f"{made.rules} made-up rules, {made.decoders} decoders and {made.lists} lists"
        else:
            copyInto(self.master.home, own, self._pace)
            rules = f"a copy of your ruleset ({number(len(own), 'file')})"
        self._screen.say(
            "A Wazuh cluster on this machine: a master and "
            f"{number(len(self.workers), 'worker')}, each a twistd process.\n"
            f"Folder: {self._folder}. Network: {ADDRESS}, port {port}.\n"
            f"To watch it in a browser: {self.master.page}\n"
            "The system tells the master of changes, and the master tells the workers. Besides, "
            "each\n"
            f"node looks for itself: here every {INTERVAL:g} s, by default a master every 8 s, a "
            "worker every 9 s.\n"
            f"The master has {rules};\n"
            f"{agents.agents} made-up agents and {agents.groups} groups."
        )

    def _firstSync(self) -> None:
        """
        Start all nodes, and show how the workers get the master's files.
        """
        self._screen.step("First sync, and how long it took since each worker was started")
        self.master.start()
        # There when the port is open and the first scan ended.
        generation = os.path.join(self.master.home.stateFolder, "generation")
        self._watcher.until(lambda: os.path.exists(generation), self.master, "has no generation")
        expected = allOf(self._inspectors[0].look().manifest)
        began = {}
        for worker in self.workers:
            began[worker.name] = self._pace.seconds()
            worker.start()

        def show(line: Line) -> str:
            arrived, arrivals = line.arrivals.last, line.arrivals
            text = (
                f"{bar(arrived.bytes, arrivals.bytes)}  {arrived.files} of "
                f"{arrivals.files} files  {size(arrived.bytes)}"
            )
            if line.ended is not None:
                text += f"  after {line.ended - began[line.worker.name]:.1f} s"
            return text

        lines = [Line(worker, Arrivals(worker.home, expected)) for worker in self.workers]
        self._watcher.arrivals(lines, show)

    def _edit(self) -> None:
        """
        Edit a rule on the master, and show when each worker has it.
        """
        self._screen.step("A rule is edited on the master")
        edit = planEdit(self.master.home)
        self._screen.say(f"   {edit.path}: {edit.what}")
        edit.apply(self.master.home)
        self._watcher.each(
            self.workers,
            lambda worker: edit.isIn(worker.home),
            "has it",
            "did not get it",
            self._pace.seconds(),
        )

    def _cut(self) -> None:
        """
        Kill a worker in the middle of a large transfer and start it again.
        """
        self._screen.step("A worker is killed in the middle of a large transfer")
        victim = self.workers[0]
        path = self.master.home.join(LARGE)
        total = writeLargeList(path, self._choice.size, _SEED, self._pace)
        self._screen.say(f"   The master gets a list of {size(total)}: {LARGE}")
        began = self._pace.seconds()
        expected = [Expected(LARGE, total, int(os.stat(path).st_mtime))]
        lines = [Line(worker, Arrivals(worker.home, expected)) for worker in self.workers]
        restarted: float | None = None
        had = said = 0

        def show(line: Line) -> str:
            arrived = line.arrivals.last
            text = f"{bar(arrived.bytes, total)}  {size(arrived.bytes)}"
            if line.worker is victim and restarted is not None:
                if line.ended is None:
                    return f"{text}  killed and started again"
                return f"{text}  {line.ended - restarted:.1f} s after its restart"
            if line.ended is not None:
                text += f"  after {line.ended - began:.1f} s"
            return text

        def look() -> None:
            nonlocal had, restarted, said
            arrivals = lines[0].arrivals
            if restarted is None and (arrivals.complete or partSize(victim.home) * 3 > total):
                victim.kill()
                had = arrivals.look().bytes
                said = len(_received(victim.home))
                victim.start()
                restarted = self._pace.seconds()

        self._watcher.arrivals(lines, show, look, every=0.002)
        self._screen.say(
            f"   {victim.name} was killed (SIGKILL) when it had {size(had)} of the list."
        )
        if had < total:
            self._tellReceived(victim, said, total - had)
        else:
            self._screen.say("   That was all of it: take a larger --size to see more.")

    def _tellReceived(self, worker: Node, said: int, missing: int) -> None:
        """
        Show what a worker says that it received after its restart.

        @param said: how often it had said so before.
        @param missing: the bytes that it lacked.
        """
        end = self._pace.seconds() + 5.0
        while len(_received(worker.home)) <= said:
            self._watcher.check()
            if self._pace.seconds() > end:
                # Nothing depends on it: a log may just have been rotated.
                return
            self._pace.pause(0.01)
        received = _received(worker.home)[said]
        self._screen.say(
            f"   {'They were not' if received <= missing else 'Some was'} sent again: its log "
            f"says that it received {size(received)} after that."
        )

    def _compare(self) -> None:
        """
        Compute from outside what each node has, and show it.

        @raise DemoFailed: if it is not the same everywhere.
        """
        self._screen.step("What each node has, computed by this demo from the files in its home")
        end = self._pace.seconds() + PATIENCE / 2
        while True:
            seen = [inspector.look() for inspector in self._inspectors]
            settled = allEqual(seen) and len({each.generation for each in seen}) == 1
            if settled or self._pace.seconds() > end:
                break
            self._pace.pause(0.2)
            self._watcher.check()
        rows = [
            (
                node.name,
                node.role,
                "none" if each.generation is None else each.generation,
                len(each.manifest),
                size(each.manifest.totalSize),
                each.root.hex()[:24],
            )
            for node, each in zip(self.nodes, seen, strict=True)
        ]
        heads = ("node", "role", "generation", "files", "size", "root")
        for line in table(heads, rows, heads[2:5]):
            self._screen.say(f"   {line}")
        if not allEqual(seen):
            raise self._unequal(seen)
        self._screen.say("   All roots are equal.")

    def _unequal(self, seen: list[Seen]) -> DemoFailed:
        node, theirs = next(
            (node, each)
            for node, each in zip(self.nodes, seen, strict=True)
            if each.root != seen[0].root
        )
        paths = differences(seen[0].manifest, theirs.manifest)
        return DemoFailed(
            f"{node.name} has not the master's files: {number(len(paths), 'file')} differ, the "
            f"first: {paths[0]}.",
            node,
        )


def _received(home: Home) -> list[int]:
    """
    What a node's log says of the bytes that it received, once for each sync.
    """
    content = contentOf(home, "logs/cluster.log") or b""
    return [int(found) for found in _RECEIVED.findall(content)]
