"""
Bugs to plant in the package, by which the simulation is judged: each breaks something
that must never break, and each must be found.

C{python -m tests.plantedbugs [NAME ...]} looks for each with the seeds from 0 on, says
which finds it, and writes what is left of its schedule to C{tests/cases/planted/}.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure
from twisted.python.monkey import MonkeyPatcher

from wazuh_cluster import state as states
from wazuh_cluster.integrity import Comparison, Holds, Staging, scan
from wazuh_cluster.integrity import tree as trees
from wazuh_cluster.integrity.folders import joined
from wazuh_cluster.integrity.install import _Installation
from wazuh_cluster.integrity.items import Item
from wazuh_cluster.integrity.prepare import Preparation, Ready
from wazuh_cluster.integrity.receiver import Receiver
from wazuh_cluster.integrity.walk import Walk
from wazuh_cluster.interfaces import FileStat, IFolder, IOpenFile, Slices
from wazuh_cluster.model import FileEntry
from wazuh_cluster.protocol import Peer, Transfers
from wazuh_cluster.testing.simulation import Result, Setup, run
from wazuh_cluster.testing.simulation.report import formatCase, parseCase
from wazuh_cluster.testing.simulation.shrink import shrink
from wazuh_cluster.worker import holding
from wazuh_cluster.worker.fetch import Fetcher
from wazuh_cluster.worker.holding import Holding
from wazuh_cluster.worker.link import LinkCore

FOLDER = Path(__file__).parent / "cases" / "planted"

#: How many seeds may be needed to find one.
SEEDS = 200

#: How many others are tried with the schedule of one.
_NEAR = 60

#: As C{TestCase.patch}.
Patch = Callable[[Any, str, Any], object]


@frozen
class PlantedBug:
    """
    A bug.

    @ivar name: of a file, without C{.txt}.
    @ivar breaks: what must not be so.
    @ivar plant: plants it.
    @ivar found: parts of the problems of which one is found.
    @ivar agents: whether it takes agents to find it.
    """

    name: str
    breaks: str
    plant: Callable[[Patch], None]
    found: tuple[str, ...]
    agents: bool = False

    def setup(self) -> Setup:
        """
        The case that finds it.
        """
        return parseCase((FOLDER / f"{self.name}.txt").read_text(encoding="ascii"))


BUGS: list[PlantedBug] = []


def bug(
    breaks: str, *found: str, agents: bool = False
) -> Callable[[Callable[[Patch], None]], None]:
    """
    Register a function that plants a bug under its own name.
    """

    def register(plant: Callable[[Patch], None]) -> None:
        BUGS.append(PlantedBug(plant.__name__, breaks, plant, found, agents))

    return register


# Files are never torn, lost, or somebody else's.


@bug("No reader sees half a file.", "nobody meant to be there")
def inPlace(patch: Patch) -> None:
    """
    A file is overwritten instead of being replaced.
    """
    before = _Installation._replace

    def replace(
        self: _Installation, index: int, entry: FileEntry, item: Item, ready: Ready
    ) -> Slices[None]:
        above, _, name = entry.path.rpartition(b"/")
        folder = self._folders.make(above, self._plan.owner)
        try:
            target = folder.openWrite(name)
        except OSError:
            yield from before(self, index, entry, item, ready)
            return
        target.truncate(0)
        target.write(self._staging.content(entry.digest))
        target.close()
        yield

    patch(_Installation, "_replace", replace)


@bug("Contents are verified before they are installed.", "nobody meant to be there")
def unproved(patch: Patch) -> None:
    """
    A content of the right size is taken for the right one.
    """
    before = Receiver.end

    def end(self: Receiver, status: Any, reason: str) -> None:
        if self._partial.size == self._current().size:
            self._partial.hash = _Agreeing(self._current().digest)  # type: ignore[assignment]
        before(self, status, reason)

    patch(Receiver, "end", end)


class _Agreeing:
    """
    A hash that is always right.
    """

    def __init__(self, digest: bytes) -> None:
        self._digest = digest

    def digest(self) -> bytes:
        return self._digest


@bug("What an earlier process staged is hashed before it is used.", "nobody meant to be there")
def trustedStaging(patch: Patch) -> None:
    """
    What an earlier process left is taken for whole.
    """

    def inspect(self: Staging, digest: bytes, size: int) -> Slices[None]:
        name = self.name(digest)
        if name in self._found:
            self._found.discard(name)
            self._complete.add(digest)
        yield

    patch(Staging, "_inspect", inspect)


@bug("What is said to be installed outlives a power cut.", "a power cut would undo it")
def notSynced(patch: Patch) -> None:
    """
    Nothing is made durable after the renames.
    """

    def sync(self: _Installation) -> Slices[str | None]:
        yield
        return None

    patch(_Installation, "_sync", sync)


@bug("What comes comes before what goes.", "comes after others have gone")
def deletedFirst(patch: Patch) -> None:
    """
    Deletions come first.
    """
    before = _Installation._replaceAll

    def replaceAll(self: _Installation, ready: Ready) -> Any:
        yield from self._each(self._plan.delete, "remove it", self._unlink)
        return (yield from before(self, ready))

    patch(_Installation, "_replaceAll", replaceAll)


@bug("A change is seen even if it keeps size and time.", "has not the master's")
def timesOnly(patch: Patch) -> None:
    """
    A file whose size and mtime are the same is not read again.
    """

    def isSame(self: Walk, path: bytes, status: FileStat) -> bool:
        paths, at = self._oldPaths, self._old
        while at < len(paths) and paths[at] < path:
            at += 1
        self._old = at
        if at == len(paths) or paths[at] != path:
            return False
        self._old = at + 1
        old = self._oldColumns
        if old.mtimesNs[at] == status.mtimeNs and old.sizes[at] == status.size:
            self.builder.same(at)
            return True
        return False

    patch(Walk, "_isSame", isSame)


@bug("client.keys is installed at most once a second.", "twice in one second")
def keysTooSoon(patch: Patch) -> None:
    """
    client.keys is installed whenever it comes.
    """
    patch(Preparation, "_isTooSoon", lambda self, path: False)


@bug("Temporary files that a process left are removed.", "left over")
def unswept(patch: Patch) -> None:
    """
    Nobody sweeps beside targets, nor what is staged.
    """

    def nothing(*arguments: object) -> Slices[int]:
        yield
        return 0

    patch(trees, "sweepTemporary", nothing)
    patch(Staging, "sweep", nothing)


# An empty or another master wipes nobody.


@bug("What looks like a mishap is held.", "which nobody accepted")
def nothingHeld(patch: Patch) -> None:
    """
    Nothing is held back.
    """
    patch(holding, "findHolds", lambda *arguments, **keywords: Holds())


@bug("Another master overwrites nothing by itself.", "nobody accepted it")
def anyMaster(patch: Patch) -> None:
    """
    Every master is taken for the first one.
    """
    before = holding.findHolds

    def findHolds(*arguments: Any) -> Holds:
        comparison, local, manifest, items, _, *rest = arguments
        return before(comparison, local, manifest, items, False, *rest)

    patch(holding, "findHolds", findHolds)


@bug("An assignment that no master had is not removed.", "which no master ever had")
def extraValidRemoved(patch: Patch) -> None:
    """
    What a worker has first is taken for extra.
    """
    before = trees.compare

    def compare(*arguments: Any) -> Slices[Comparison]:
        found = yield from before(*arguments)
        extra = tuple(sorted((*found.extra, *found.extraValid)))
        return evolve(found, extra=extra, extraValid=())

    patch(trees, "compare", compare)


@bug("An assignment that the master deleted goes.", "has not the master's")
def deletionForgotten(patch: Patch) -> None:
    """
    What was deleted on the master while it was held here looks new.
    """
    patch(Holding, "recall", lambda self, comparison: comparison)


# What is local stays so.


@bug("The local configuration never travels.", "local configuration")
def linksAnywhere(patch: Patch) -> None:
    """
    A link may lead to what is local.
    """
    patch(trees, "deniedTargets", lambda *arguments: ())
    patch(scan, "deniedTargets", lambda *arguments: ())


@bug("Nothing outside the items is written.", "which is in no item")
def besideTheItem(patch: Patch) -> None:
    """
    Temporary files for probing are made in the home's root.
    """
    before = Preparation._isMovable

    def isMovable(self: Preparation, entry: FileEntry, path: bytes, folder: IFolder) -> bool:
        home = self._fileSystem.openFolder(joined(self._folders._home, b""))
        home.create(b"probe", 0o600).close()
        home.unlink(b"probe")
        return before(self, entry, path, folder)

    patch(Preparation, "_isMovable", isMovable)


# State, links, threads and the reactor.


@bug("A state is whole after a power cut.", "not well")
def stateNotSynced(patch: Patch) -> None:
    """
    A state is renamed before its content is durable.
    """

    @contextmanager
    def replacing(folder: IFolder, name: bytes, mode: int) -> Iterator[IOpenFile]:
        temporary = b"." + name + b".tmp"
        with suppress(FileNotFoundError):
            folder.unlink(temporary)
        file = folder.create(temporary, mode)
        yield file
        file.close()
        folder.rename(temporary, folder, name)
        folder.sync()

    patch(states, "replacing", replacing)


@bug(
    "A transfer does not stand still.",
    "its link ended, and no fault befell",
    "has not the master's",
)
def creditLost(patch: Patch) -> None:
    """
    Credit is not counted.
    """
    patch(Transfers, "_credit", lambda self, transfer, taken: None)


@bug("A worker joins again, whatever befell.", "has not the master's")
def givesUp(patch: Patch) -> None:
    """
    A worker does not dial a fourth time.
    """
    before = LinkCore.wait

    def wait(self: LinkCore, link: Any, reason: Failure, joined: bool) -> None:
        before(self, link, reason, joined)
        if self.attempts > 3:
            self.cancelTimer()

    patch(LinkCore, "wait", wait)


@bug("Nothing is left behind by a node that stops.", "left behind after a stop")
def timerLeft(patch: Patch) -> None:
    """
    A timer outlives its link.
    """
    before = Peer.connectionLost

    def connectionLost(self: Peer, reason: Failure) -> None:
        self.clock.callLater(3600.0, lambda: None)
        before(self, reason)

    patch(Peer, "connectionLost", connectionLost)


@bug("No Deferred fails unheard.", "a Deferred failed unheard")
def unheard(patch: Patch) -> None:
    """
    The failure of a transfer that was not opened is nobody's.
    """

    async def opened(
        self: Fetcher, command: Any, number: int, receiving: Any, **arguments: Any
    ) -> Any:
        try:
            return await self._peer.call(command, **arguments)
        except BaseException:
            self._transfers.abort(number, "it was not opened")
            raise

    patch(Fetcher, "_opened", opened)


@bug("The reactor is never blocked.", "on the reactor's thread")
def blocking(patch: Patch) -> None:
    """
    What was accepted is read at once.
    """

    async def anyReleased(self: Holding) -> bool:
        released = self._memory.released()
        return any(hold.id in released for hold in self.holds.all)

    patch(Holding, "anyReleased", anyReleased)


@bug("What waits for a peer is bounded.", "bytes wait on one connection")
def boundless(patch: Patch) -> None:
    """
    A sender looks neither at the window nor at its transport.
    """
    before = Transfers.send

    def send(
        self: Transfers, number: int, source: Any, window: int, digested: bool = False
    ) -> Deferred[int]:
        return before(self, number, source, 1 << 40, digested)

    patch(Transfers, "send", send)
    patch(Peer, "handshakeCompleted", _withoutFlow)


def _withoutFlow(self: Peer) -> None:
    self._onHandshake(self)


# What the simulation found once.


@bug("What another process did is durable before it is noted.", "a power cut would undo it")
def notSettled(patch: Patch) -> None:
    """
    What an installation did that did not come to its end is not synced.
    """
    patch(trees.DirectoryTree, "settle", lambda self: None)


# Looking for them.


def isFound(planted: PlantedBug, setup: Setup) -> bool:
    """
    Whether a run finds a bug.
    """
    problem = _runWith(planted, run, setup).problem
    return problem is not None and any(found in problem for found in planted.found)


def findNear(planted: PlantedBug) -> Setup | None:
    """
    Look for a bug with the schedule that is kept for it, which other seeds may need
    since the package changed: to try them is quick.

    @return: what finds it.
    """
    kept = planted.setup()
    others = (evolve(kept, seed=seed) for seed in range(_NEAR))
    return next((setup for setup in (kept, *others) if isFound(planted, setup)), None)


def find(planted: PlantedBug) -> Setup | None:
    """
    Look for a bug.

    @return: what finds it, with the first seed that does.
    """
    setups = (Setup(seed, agents=planted.agents) for seed in range(SEEDS))
    return next((setup for setup in setups if isFound(planted, setup)), None)


def _runWith(planted: PlantedBug, function: Callable[..., Result], *arguments: Any) -> Result:
    patcher = MonkeyPatcher()
    planted.plant(patcher.addPatch)
    result: Result = patcher.runWithPatches(function, *arguments)
    return result


def main(names: list[str]) -> None:
    """
    Look for these bugs, or all.
    """
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for planted in BUGS:
        if names and planted.name not in names:
            continue
        found = find(planted)
        if found is None:
            print(f"{planted.name}: not found by {SEEDS} seeds", flush=True)
            continue
        shrunk = _runWith(planted, lambda setup: shrink(run(setup), run), found).setup
        text = f"# {planted.breaks}\n{formatCase(shrunk)}"
        (FOLDER / f"{planted.name}.txt").write_text(text, encoding="ascii")
        count = len(shrunk.schedule or ())
        print(f"{planted.name}: seed {found.seed}, {count} actions", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
