"""
The carried files as a part of a simulated cluster: who edits them, what must never
be found in them, and when they are the master's everywhere.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Any

from wazuh_cluster.integrity import WAZUH_ITEMS, DirectoryTree, Items, Outcome, PathSet, Plan
from wazuh_cluster.integrity.holds import ITEM
from wazuh_cluster.interfaces import Slices
from wazuh_cluster.model import SyncReport
from wazuh_cluster.state import DirectoryState
from wazuh_cluster.testing.simulation.contents import KEYS, Contents
from wazuh_cluster.testing.simulation.part import Part
from wazuh_cluster.testing.simulation.process import HOME, INSTALL, SimProcess
from wazuh_cluster.testing.simulation.schedule import MASTER, WORKER, Action, Kind
from wazuh_cluster.worker.memory import WorkerMemory

if TYPE_CHECKING:
    from wazuh_cluster.testing.simulation.cluster import SimCluster
    from wazuh_cluster.testing.simulation.machine import SimMachine
    from wazuh_cluster.testing.simulation.world import World

#: The carried files that a simulated master can have.
PATHS: tuple[bytes, ...] = (
    KEYS,
    *(b"etc/rules/r%d.xml" % n for n in range(6)),
    *(b"etc/decoders/d%d.xml" % n for n in range(3)),
    *(b"etc/lists/l%d" % n for n in range(3)),
    *(b"etc/lists/deep/er/l%d" % n for n in range(2)),
    *(b"etc/shared/g%d/agent.conf" % n for n in range(3)),
    b"var/multigroups/ab12/merged.mg",
    *(b"queue/agent-groups/%03d" % n for n in range(1, 4)),
)

_LISTS = tuple(path for path in PATHS if path.startswith(b"etc/lists/"))

#: What only large files have under way.
_SLOWLY = ("TransferCredit",)

#: Where a master can have links.
_LINKS = (b"etc/rules/linked.xml", b"etc/shared/g1/linked")

ASSIGNMENTS = b"queue/agent-groups/"

#: Where drift is an error; assignments that only a worker has are right.
_DRIFTING = tuple(path for path in PATHS if not path.startswith(ASSIGNMENTS))

#: Folders of the home in which processes may write what is not carried.
_OWN = tuple(HOME + b"/" + path for path in (b"queue/wazuh_cluster/", b"logs/", b"var/run/"))
_OWN_FOLDERS = tuple(path.rstrip(b"/") for path in _OWN)

_STATE = HOME + b"/queue/wazuh_cluster"

#: Where a worker keeps what it has applied.
_MANIFEST = _STATE + b"/manifest"


class Files(Part):
    """
    The carried files.

    @ivar contents: what may be found in them.
    @ivar items: what is carried.
    """

    def __init__(self, random: Random | None = None) -> None:
        self.contents = Contents(random or Random(0))
        self.items: Items = WAZUH_ITEMS
        # Machine to the assignments that somebody made there, and that no master had.
        self._own: dict[str, dict[bytes, None]] = {}
        # Also those that are gone since: a backup may have them.
        self._everOwn: dict[str, dict[bytes, None]] = {}
        # Machine to the items whose loss its operator accepted.
        self._accepted: dict[str, set[bytes]] = {}
        # Machine to the version of its disk, what the master held, and the root.
        self._roots: dict[str, tuple[int, tuple[bytes, ...], bytes]] = {}
        # What the master holds.
        self._held: list[bytes] = []
        # Machine to the version of its disk with which nothing was found left over.
        self._tidy: dict[str, int] = {}
        # Machine to the paths that come and go by the installation under way, and
        # whether one has gone.
        self._coming: dict[str, tuple[frozenset[bytes], frozenset[bytes], list[bool]]] = {}
        # Machine to what its client.keys was, and the second that it showed.
        self._keys: dict[str, tuple[bytes, int] | None] = {}
        # Other parts; what none of them looks after, and of that what may drift.
        self._others: tuple[Part, ...] = ()
        self._paths = PATHS
        self._drifting = _DRIFTING

    def attach(self, cluster: SimCluster) -> None:
        """
        See L{Part.attach}.
        """
        super().attach(cluster)
        self.items = cluster.items
        self._others = tuple(part for part in cluster.parts if part is not self)
        self._paths = tuple(path for path in PATHS if not self._isTended(path))
        self._drifting = tuple(path for path in _DRIFTING if path in self._paths or path == KEYS)
        self.contents = Contents(Random(cluster.random.random()))
        self.prepare(cluster.master)

    def written(self, machine: SimMachine, path: bytes, content: bytes) -> None:
        """
        See L{Part.written}.
        """
        if self._isTended(path):
            self.contents.meant(path, content)

    def prepare(self, machine: SimMachine) -> None:
        """
        See L{Part.prepare}.
        """
        for path in self._paths:
            if machine.random.random() < 0.8:
                write(machine, path, self.contents.make(path))

    def replaced(self, machine: SimMachine) -> None:
        """
        See L{Part.replaced}.
        """
        there = set(self._pathsOf(machine))
        own = self._everOwn.get(machine.name, {})
        self._own[machine.name] = {path: None for path in own if path in there}
        self._accepted[machine.name] = {item.path for item in self.items}
        self._keys[machine.name] = _keysOf(machine)

    def _isTended(self, path: bytes) -> bool:
        """
        Whether another part looks after what is at a path.
        """
        return any(part.tends(path) for part in self._others)

    # What must never be.

    def touched(self, process: SimProcess, path: bytes) -> None:
        """
        See L{Part.touched}.
        """
        if path == _MANIFEST:
            self._checkDurable(process)
        if path.startswith(_OWN) or path in _OWN_FOLDERS:
            return
        machine = process.machine
        if not path.startswith(HOME + b"/"):
            process.broken(f"it changes {path!r}, which is not in its home")
            return
        relative = path[len(HOME) + 1 :]
        if machine.isMaster and self._isTended(relative):
            # Whatever comes of that, workers are to have it.
            content = _contentOf(machine, relative)
            if content is not None:
                self.contents.meant(relative, content)
            return
        if self.items.find(relative) is None:
            if not self._isAround(relative):
                process.broken(f"it changes {relative!r}, which is in no item")
            return
        if machine.isMaster:
            process.broken(f"a master changes {relative!r}")
        content = _contentOf(machine, relative)
        if content is not None and not self.contents.isMeant(relative, content):
            process.broken(
                f"in {relative!r} there is what nobody meant to be there: "
                f"{content[:60]!r}, {len(content)} bytes"
            )
        self._checkOrder(process, relative, content is None)
        if relative in self._own.get(machine.name, ()) and content is None:
            process.broken(f"it removes {relative!r}, which no master ever had")
        if relative == KEYS:
            self._checkKeys(process)

    def _checkOrder(self, process: SimProcess, path: bytes, gone: bool) -> None:
        """
        What comes comes before what goes: who looks meanwhile finds a file that was
        renamed twice rather than not at all.
        """
        coming, going, begun = self._coming.get(process.name, (frozenset(), frozenset(), []))
        if path in going and gone:
            begun.append(True)
        elif path in coming and begun:
            process.broken(f"{path!r} comes after others have gone")

    def _checkKeys(self, process: SimProcess) -> None:
        machine = process.machine
        before = self._keys.get(machine.name)
        self._keys[machine.name] = now = _keysOf(machine)
        if before and now and before[0] != now[0] and before[1] == now[1]:
            process.broken("client.keys changes twice in one second: Wazuh does not see that")

    def _keysEdited(self, machine: SimMachine) -> None:
        """
        Somebody has changed them there: an installation that looked at them a
        moment ago cannot know that.
        """
        isLate = machine.process is not None and machine.process.installing
        self._keys[machine.name] = None if isLate else _keysOf(machine)

    def _isAround(self, relative: bytes) -> bool:
        """
        Whether it is a folder of an item, on the way to one, or a temporary
        file beside a target.
        """
        for item in self.items:
            if relative == item.path or item.path.startswith(relative + b"/"):
                return True
            if relative.startswith(item.path + b"/"):
                return True
        return relative.endswith(b".tmp") and relative.startswith(b"etc/.")

    def installing(self, process: SimProcess, plan: Plan) -> None:
        """
        See L{Part.installing}.
        """
        accepted = self._accepted.setdefault(process.name, set())
        for item in self._losses(process, plan):
            if item not in accepted:
                process.broken(f"{item!r} loses all of its files, which nobody accepted")
        paths = plan.manifest.paths
        self._coming[process.name] = (
            frozenset(paths[index] for index in (*plan.create, *plan.update)),
            frozenset(plan.delete),
            [],
        )
        info = getattr(process.node, "master", None)
        first = self._memory(process.machine).master()
        if (
            info is not None
            and first not in (None, info.homeId)
            and not accepted
            and (plan.update or plan.delete or plan.clear)
        ):
            process.broken("another master than the first changes files: nobody accepted it")

    def _losses(self, process: SimProcess, plan: Plan) -> Iterator[bytes]:
        """
        The items of which a plan removes all files, if it is more than one.
        """
        removed = {*plan.delete, *plan.clear}
        # What the worker saw: people may have removed something since.
        integrity = getattr(process.node, "integrity", None)
        if not removed or integrity is None or integrity.snapshot is None:
            return
        local = integrity.snapshot.manifest
        for item in self.items:
            below = local.below(item.path)
            if len(below) >= 2 and removed.issuperset(local.paths[below.start : below.stop]):
                yield item.path

    def installed(self, process: SimProcess, plan: Plan, outcome: Outcome) -> None:
        """
        See L{Part.installed}.
        """
        self._coming.pop(process.name, None)
        if not outcome.failed:
            self._accepted[process.name].difference_update(self._losses(process, plan))
        if outcome.notDurable is not None:
            process.syncFailed = True

    def synced(self, process: SimProcess, report: SyncReport) -> None:
        """
        See L{Part.synced}.
        """
        if process.refused or process.syncFailed:
            # It says so, and makes it durable later.
            return
        disk = process.machine.disk
        for path in (*report.created, *report.updated, *report.deleted):
            if not disk.isDurable(process.machine.path(path)):
                process.broken(f"{path!r} is said to be installed, and a power cut would undo it")

    def _checkDurable(self, process: SimProcess) -> None:
        """
        What is noted as applied would outlive a power cut.
        """
        if process.syncFailed:
            return
        machine = process.machine
        for path in self._pathsOf(machine):
            if not machine.disk.isDurable(machine.path(path)):
                process.broken(f"{path!r} is noted as applied, and a power cut would undo it")

    def lostPower(self, machine: SimMachine) -> None:
        """
        See L{Part.lostPower}.
        """
        for path in self._pathsOf(machine):
            content = _contentOf(machine, path)
            if content is not None and not self.contents.isMeant(path, content):
                self.cluster.broken(
                    f"{machine.name}: a power cut left in {path!r} what nobody meant to be "
                    f"there: {content[:60]!r}, {len(content)} bytes"
                )
        own = self._own.get(machine.name, {})
        there = set(self._pathsOf(machine))
        for path in own:
            if path not in there:
                self.cluster.broken(f"{machine.name}: a power cut undid {path!r}")
        self._keys[machine.name] = _keysOf(machine)

    # When all is well.

    def tend(self) -> None:
        """
        See L{Part.tend}: operators accept what is held.
        """
        for machine in self.cluster.workers:
            self.accept(machine)

    def accept(self, machine: SimMachine) -> None:
        """
        The operator of a worker accepts all that is held there.
        """
        memory = self._memory(machine)
        holds = memory.keptHolds()
        if holds:
            ids = [hold.id for hold in holds]
            self.cluster.say(machine.name, f"* its operator accepts {' '.join(ids)}")
            memory.release(ids)
            machine.disk.settle()
        accepted = self._accepted.setdefault(machine.name, set())
        for hold in holds:
            for item in self.items:
                if hold.kind != ITEM or hold.text.startswith(item.path.decode("ascii") + ":"):
                    accepted.add(item.path)

    def _memory(self, machine: SimMachine) -> WorkerMemory:
        return WorkerMemory(DirectoryState(machine.disk, _STATE), self.items)

    def unwell(self) -> str | None:
        """
        See L{Part.unwell}.
        """
        wanted = self._rootOf(self.cluster.master)
        held = tuple(self._held)
        for machine in self.cluster.workers:
            if self._rootOf(machine, held) != wanted:
                return f"{machine.name} has not the master's {self._difference(machine)}"
            version = machine.disk.version
            if self._tidy.get(machine.name) != version:
                what = self._untidy(machine)
                if what is not None:
                    return f"{machine.name}: {what}"
                self._tidy[machine.name] = version
        return None

    def _untidy(self, machine: SimMachine) -> str | None:
        """
        What is not as it should be at a worker, but for the files' contents.
        """
        for path in self._pathsOf(machine):
            status = machine.disk.statusOf(machine.path(path))
            if status is not None and status.mode & 0o7777 != self.items.check(path).mode:
                return f"{path!r} has mode {status.mode:o}"
        for path in machine.disk.listTree(HOME):
            if path.endswith(b".tmp") or (b"/staging/" in path and not path.endswith(b"/")):
                return f"left over: {path!r}"
        return None

    def _difference(self, machine: SimMachine) -> str:
        """
        Some paths at which a machine has not what the master has.
        """
        master = self.cluster.master
        paths = dict.fromkeys((*self._pathsOf(master), *self._pathsOf(machine)))
        own = self._own.get(machine.name, ())
        found = [
            path
            for path in paths
            if path not in own and _contentOf(master, path) != _contentOf(machine, path)
        ]
        return str(found[:3]) if found else "times"

    def _rootOf(self, machine: SimMachine, held: tuple[bytes, ...] = ()) -> bytes:
        """
        The root of what a machine carries.

        @param held: what the master does not want to say.
        """
        known = self._roots.get(machine.name)
        if known is not None and known[:2] == (machine.disk.version, held):
            return known[2]
        tree = DirectoryTree(HOME, self.items, fileSystem=machine.disk, wallClock=machine.wallClock)
        manifest = drive(tree.scan(carryLinks=machine.isMaster)).manifest
        if machine.isMaster:
            self._held = [each.path for each in manifest.held]
        without = PathSet([*self._own.get(machine.name, ()), *held])
        root: bytes = manifest.root(self.items, without)
        self._roots[machine.name] = machine.disk.version, held, root
        return root

    def _pathsOf(self, machine: SimMachine) -> Iterator[bytes]:
        """
        The carried files that are there.
        """
        for path in machine.disk.listTree(HOME):
            if not path.endswith(b"/") and self.items.find(path) is not None:
                yield path

    # What people do.

    def edit(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        Somebody writes a file on the master.
        """
        path = action.pick(self._paths)
        write(machine, path, self.contents.make(path))

    def keys(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        An agent gets a new key; or somebody writes the agents' keys on a worker.
        """
        write(machine, KEYS, self.contents.make(KEYS))
        self._keysEdited(machine)

    def append(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        Somebody appends to one, in its place.
        """
        path = action.pick(self._paths)
        old = _contentOf(machine, path)
        if old is not None:
            machine.disk.put(
                machine.path(path), self.contents.meant(path, old + b"one line more\n")
            )
            machine.disk.settle()

    def delete(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        Somebody removes one.
        """
        remove(machine, action.pick(self._paths))

    def empty(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        Somebody removes all files of an item on the master.
        """
        item = action.pick(tuple(self.items))
        for path in list(self._pathsOf(machine)):
            if path.startswith(item.path) and not self._isTended(path):
                remove(machine, path)

    def rename(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        Somebody renames one.
        """
        old = action.pick(self._paths)
        new = self._paths[int(action.number * 7919) % len(self._paths)]
        content = _contentOf(machine, old)
        if content is not None and old != new and KEYS not in (old, new):
            remove(machine, old)
            write(machine, new, self.contents.meant(new, content))

    def swap(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        Where there was a file, somebody makes a folder, or the other way round.
        """
        path = b"etc/lists/l2"
        below = path + b"/inner"
        isFolder = _contentOf(machine, below) is not None
        wanted = path if isFolder else below
        remove(machine, path)
        write(machine, wanted, self.contents.make(wanted))

    def link(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        Somebody makes a link on the master: to a carried file, to one that never
        travels, or to nothing; or removes it.
        """
        path = action.pick(_LINKS)
        if machine.disk.statusOf(machine.path(path)) is not None:
            remove(machine, path)
            return
        target = (b"etc/decoders/d0.xml", b"etc/ossec.conf", b"etc/nothing")[
            int(action.seconds * 1000) % 3
        ]
        machine.disk.link(machine.path(path), machine.path(target))
        machine.disk.settle()
        self.contents.linked(path, target)

    def touch(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        Somebody gives a file another time, or other permissions, or writes one
        without its size and time being seen to change.
        """
        path = action.pick(self._paths)
        place = machine.path(path)
        old, status = machine.disk.contentOf(place), machine.disk.statusOf(place)
        if old is None or status is None:
            return
        if action.seconds < 1.0:
            machine.disk.put(place, old, stat.S_IMODE(status.mode), machine.wallClock() - 1e5)
        elif action.seconds < 5.0 and machine.isWorker:
            machine.disk.put(place, old, 0o604, status.mtimeNs / 1e9)
        elif old and not (machine.isWorker and path.startswith(ASSIGNMENTS)):
            other = self.contents.meant(path, old[:-1] + (b"." if old[-1:] != b"." else b":"))
            machine.disk.put(place, other, stat.S_IMODE(status.mode), status.mtimeNs / 1e9)
        machine.disk.settle()

    def drift(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        Somebody writes a file on a worker.
        """
        path = action.pick(self._drifting)
        write(machine, path, self.contents.meant(path, b"drift %f\n" % action.number))
        self._keysEdited(machine)

    def lose(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        Somebody removes a file on a worker.
        """
        remove(machine, action.pick(self._drifting))
        self._keysEdited(machine)

    def extra(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        Somebody makes a file on a worker that the master does not have, or a link.
        """
        path = b"etc/rules/extra%d.xml" % int(action.number * 5)
        if action.seconds < 1.0:
            remove(machine, path)
            machine.disk.link(machine.path(path), HOME + b"/etc/ossec.conf")
            machine.disk.settle()
        else:
            write(machine, path, self.contents.meant(path, b"extra %f\n" % action.number))

    def assign(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        An agent shows up at a worker first, and gets a group there.
        """
        worker = [each.name for each in self.cluster.workers].index(machine.name)
        path = ASSIGNMENTS + b"%d%02d" % (worker + 1, int(action.number * 20))
        write(machine, path, self.contents.meant(path, b"group%d\n" % int(action.number * 1e6)))
        for own in (self._own, self._everOwn):
            own.setdefault(machine.name, {})[path] = None

    def acceptNow(self, world: World, machine: SimMachine, action: Action) -> None:
        """
        The operator of a worker accepts what is held.
        """
        self.accept(machine)

    def doings(self) -> tuple[str, ...]:
        """
        See L{Part.doings}.
        """
        return (
            "CheckIntegrity",
            "RequestManifest",
            "RequestFiles",
            "FileChunk",
            "TransferCredit",
            "EndTransfer",
            "ReportIntegrity",
            "IntegrityChanged",
            # The dangerous moment.
            INSTALL,
            INSTALL,
            INSTALL,
        )

    def stir(self, action: Action) -> None:
        """
        See L{Part.stir}: somebody edits a file on the master, a large one for what only
        such do.
        """
        if action.during in _SLOWLY:
            path = action.pick(_LISTS)
            content = self.contents.makeSlow(path)
        else:
            path = action.pick(self._paths)
            content = self.contents.make(path)
        write(self.cluster.master, path, content)

    def kinds(self) -> dict[str, Kind]:
        """
        See L{Part.kinds}.
        """
        tended = self._isTended(KEYS)
        kinds = {
            "edit": Kind(8, self.edit, MASTER),
            "keys": Kind(1, self.keys, WORKER if tended else (*MASTER, *WORKER)),
            "append": Kind(3, self.append, MASTER),
            "delete": Kind(2, self.delete, MASTER),
            "empty": Kind(0.4, self.empty, MASTER),
            "rename": Kind(2, self.rename, MASTER),
            "swap": Kind(1, self.swap, MASTER),
            "link": Kind(1, self.link, MASTER),
            "touch": Kind(2, self.touch, (*MASTER, *WORKER)),
            "drift": Kind(2, self.drift, WORKER),
            "lose": Kind(1, self.lose, WORKER),
            "extra": Kind(1, self.extra, WORKER),
            "assign": Kind(1, self.assign, WORKER),
            "accept": Kind(1, self.acceptNow, WORKER),
        }
        if self._isTended(ASSIGNMENTS):
            del kinds["assign"]
        return kinds


def write(machine: SimMachine, path: bytes, content: bytes) -> None:
    """
    Somebody at a machine replaces a file by a new one, as editors do, or makes
    it.
    """
    remove(machine, path)
    machine.disk.put(machine.path(path), content, 0o660)
    machine.disk.settle()
    for part in machine.cluster.parts:
        part.written(machine, path, content)


def remove(machine: SimMachine, path: bytes) -> None:
    """
    Somebody removes what is at a path, if there is something.
    """
    if machine.disk.statusOf(machine.path(path)) is not None:
        machine.disk.remove(machine.path(path))
        machine.disk.settle()


def _contentOf(machine: SimMachine, path: bytes) -> bytes | None:
    return machine.disk.contentOf(machine.path(path))


def _keysOf(machine: SimMachine) -> tuple[bytes, int] | None:
    place = machine.path(KEYS)
    content, status = machine.disk.contentOf(place), machine.disk.statusOf(place)
    if content is None or status is None:
        return None
    return content, status.mtimeNs // 1_000_000_000


def drive(work: Slices[Any]) -> Any:
    """
    Do blocking work at once, as somebody from outside does.
    """
    try:
        while True:
            next(work)
    except StopIteration as end:
        return end.value
