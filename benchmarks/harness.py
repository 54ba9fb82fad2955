"""
What every job is given: how many runs, how large, where, beside what.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from attrs import define, field, frozen

from benchmarks.machine import Disturbance, creationCost, settle
from benchmarks.nodes import TwistdProcess, bareTwistd, freePort, makeHome
from benchmarks.processes import Memory
from benchmarks.rsync import RsyncDaemon
from benchmarks.trees import TreeSpec, makeTree

_MIB = 1024 * 1024


@frozen
class Sizes:
    """
    How large the work is.

    @ivar small: the many small files.
    @ivar large: the few large ones.
    @ivar stream: how many bytes one stream has.
    @ivar rules: the files beside which one changes.
    @ivar workers: on how many workers it is waited for.
    @ivar resting: with how many files nodes are at rest.
    @ivar crowd: how many workers are in one process.
    @ivar agents: of how many agents there are records.
    @ivar fleet: the same, of as many as memory is measured for.
    @ivar registered: of very many registered agents, how many there are.
    @ivar registrations: how many come at once.
    @ivar patience: how long anything may take, in seconds.
    @ivar pause: what is waited before each measurement, in seconds.
    @ivar fresh: what is waited after files were made, in seconds: a scan does
        not trust a status that was taken sooner.
    @ivar between: what is waited before and after a change, in seconds: a master
        makes a few generations at once, and then one a second.
    @ivar idle: how long nodes at rest are looked at, in seconds.
    @ivar settling: what is waited for before that.
    """

    small: TreeSpec = field(factory=lambda: TreeSpec(10_000, 1024, 8192))
    large: TreeSpec = field(factory=lambda: TreeSpec(20, 25 * _MIB, 25 * _MIB))
    stream: int = 1_000_000_000
    rules: TreeSpec = field(factory=lambda: TreeSpec(500, 1024, 8192))
    workers: tuple[int, ...] = (1, 10, 50)
    resting: tuple[int, ...] = (1000, 10_000, 100_000)
    crowd: int = 1000
    agents: tuple[int, ...] = (50_000, 100_000)
    fleet: int = 450_000
    registered: int = 100_000
    registrations: int = 2000
    patience: float = 180.0
    pause: float = 0.5
    fresh: float = 2.2
    between: float = 1.5
    idle: float = 36.0
    settling: float = 20.0


QUICK = Sizes(
    TreeSpec(1000, 1024, 8192),
    TreeSpec(4, 5 * _MIB, 5 * _MIB),
    stream=50_000_000,
    rules=TreeSpec(100, 1024, 8192),
    workers=(1, 3),
    resting=(1000,),
    crowd=50,
    agents=(10_000,),
    fleet=20_000,
    registered=10_000,
    registrations=500,
    patience=60.0,
    pause=0.2,
    idle=10.0,
    settling=10.0,
)


@define
class MasterHome:
    """
    A master's home with a tree in it.

    @ivar home: its path.
    @ivar item: the item in which the tree stands.
    @ivar spec: what is in it.
    @ivar port: where the master listens.
    """

    home: str
    item: str
    spec: TreeSpec
    port: int

    @property
    def tree(self) -> str:
        """
        The tree's folder.
        """
        return os.path.join(self.home, self.item)


@define
class Bench:
    """
    What jobs share.

    @ivar folder: an empty folder; what is made there stays until all is done,
        because files are made slowly where many were just deleted.
    @ivar runs: how often each thing is measured.
    @ivar sizes: how large the work is.
    @ivar rsync: the program, or C{None}.
    @ivar say: is told what is being done.
    """

    folder: str
    runs: int
    sizes: Sizes
    rsync: str | None
    say: Callable[[str], None]
    disturbance: Disturbance = field(factory=Disturbance)
    _made: int = 0

    def place(self, name: str) -> str:
        """
        A path in which nothing is yet.
        """
        self._made += 1
        return os.path.join(self.folder, f"{self._made:04d}-{name}")

    def master(self, spec: TreeSpec, item: str) -> MasterHome:
        """
        A master's home with a tree that is old enough to be trusted.
        """
        port = freePort()
        made = MasterHome(makeHome(self.place("master"), "master", port), item, spec, port)
        if spec.files:
            makeTree(spec, made.tree)
            time.sleep(self.sizes.fresh)
        return made

    def workerHome(self, master: MasterHome, name: str = "the-worker") -> str:
        """
        A new home of a worker, without any carried files.
        """
        key = os.path.join(master.home, "etc", "ossec.conf")
        return makeHome(self.place("worker"), "worker", master.port, key, name)

    def rsyncDaemon(self, program: str, master: MasterHome) -> RsyncDaemon:
        """
        A daemon that serves a master's tree.
        """
        return RsyncDaemon(program, self.place("rsyncd"), master.tree)

    def alternate(self, works: Sequence[Callable[[], None]]) -> None:
        """
        Do each work once per run, in another order every time, with quiet
        before each.
        """
        for run in range(self.runs):
            order = list(works) if run % 2 == 0 else list(reversed(works))
            for work in order:
                settle(self.folder, 0.0)
                self.disturbance.creation.append(creationCost(self.folder))
                with self.disturbance:
                    # Part of what is looked at: short work alone says little.
                    time.sleep(self.sizes.pause)
                    work()

    def bareMemory(self) -> dict[str, Memory]:
        """
        The memory of bare twistds, one for each role, that run side by side.
        """
        roles = ("master", "worker")
        bare: dict[str, TwistdProcess] = {}
        try:
            for role in roles:
                bare[role] = bareTwistd(self.place(f"bare-{role}"), role).start()
            for process in bare.values():
                process.until("reactor class", self.sizes.patience)
            time.sleep(self.sizes.pause)
            return {role: process.memory() for role, process in bare.items()}
        finally:
            for process in bare.values():
                process.end()
