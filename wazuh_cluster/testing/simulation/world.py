"""
The world around a simulated cluster: what befalls it, and what is needed for that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from wazuh_cluster.testing.simulation.faults import FAULTS
from wazuh_cluster.testing.simulation.process import HOME, INSTALL
from wazuh_cluster.testing.simulation.schedule import PATIENCE, Action, Kind

if TYPE_CHECKING:
    from wazuh_cluster.testing.simulation.cluster import SimCluster
    from wazuh_cluster.testing.simulation.machine import SimMachine
    from wazuh_cluster.testing.simulation.part import Part
    from wazuh_cluster.testing.simulation.process import SimProcess

#: What faults are said to strike where nothing is under way.
IDLE = "-"

#: What is under way for the sake of links.
_LINKS = ("Hello", "KeepAlive")

#: Within how many seconds after something began a fault that waited for it befalls.
_SPANS = (0.002, 0.02)


def kindsOf(parts: tuple[Part, ...]) -> Mapping[str, Kind]:
    """
    All that can befall a cluster with these parts.
    """
    kinds = dict(FAULTS)
    for part in parts:
        kinds.update(part.kinds())
    return kinds


def doingsOf(parts: tuple[Part, ...]) -> list[str]:
    """
    All that can be under way in a cluster with these parts.
    """
    return [*_LINKS, *(name for part in parts for name in part.doings())]


class World:
    """
    One cluster's world.

    @ivar calm: whether all faults have ended.
    @ivar struck: how often a fault of one name befell while something of another
        was under way; L{IDLE} for nothing.
    """

    def __init__(self, cluster: SimCluster) -> None:
        self.cluster = cluster
        self.calm = False
        self.struck: Counter[tuple[str, str]] = Counter()
        self._kinds = kindsOf(cluster.parts)
        self._saved: dict[str, Any] = {}
        self._waiting: list[Action] = []
        cluster.watchers.append(self._doing)
        for machine in cluster.machines.values():
            self.save(machine)

    def expect(self, action: Action) -> None:
        """
        Let something befall, now or when what it waits for is under way.
        """
        if not action.during:
            self.befall(action)
            return
        self._waiting.append(action)
        self.later(PATIENCE, self._patienceEnds, action)
        for part in self.cluster.parts:
            if action.during in part.doings():
                part.stir(action)

    def _patienceEnds(self, action: Action) -> None:
        if action in self._waiting:
            self._waiting.remove(action)
            self.befall(action)

    def _doing(self, process: SimProcess, what: str) -> None:
        """
        Something begins to be under way in a process.
        """
        if self.calm:
            return
        for action in list(self._waiting):
            machine = self.cluster.machines[action.node]
            if action.during != what or not self._concerns(machine, process.machine):
                continue
            self._waiting.remove(action)
            # Before it arrives, while it is done, or on the way of its answer.
            span = _SPANS[int(action.number * 1000) % len(_SPANS)]
            self.later(action.number * span, self.befall, action)

    def _concerns(self, machine: SimMachine, other: SimMachine) -> bool:
        return machine is other or machine.isMaster or other.isMaster

    def befall(self, action: Action) -> None:
        """
        Let something befall now.
        """
        machine = self.cluster.machines[action.node]
        kind = self._kinds[action.kind]
        self.cluster.say(action.node, f"* {action.kind} {action.number:.3f} {action.seconds:.1f}")
        if kind.isFault:
            for what in self._underWay(machine) or [IDLE]:
                self.struck[action.kind, what] += 1
        kind.act(self, machine, action)

    def _underWay(self, machine: SimMachine) -> list[str]:
        """
        What is under way at a machine: commands on its links, and an installation.
        """
        found = []
        process = machine.process
        if process is not None:
            found += process.underWay.commands()
            if process.installing:
                found.append(INSTALL)
        for other in self.cluster.machines.values():
            if other is not machine and other.process is not None:
                found += other.process.underWay.commands(machine.name)
        return list(dict.fromkeys(found))

    def later(self, seconds: float, function: Callable[..., object], *arguments: Any) -> None:
        """
        Let something happen later, unless all faults have ended by then.
        """

        def happen() -> None:
            if not self.calm:
                function(*arguments)

        self.cluster.clock.callLater(seconds, happen)

    # Homes.

    def save(self, machine: SimMachine) -> None:
        """
        Somebody makes a backup of a home.
        """
        self._saved[machine.name] = machine.disk.snapshot(HOME)

    def restore(self, machine: SimMachine) -> None:
        """
        A home becomes what its last backup has.
        """
        if machine.name in self._saved:
            machine.disk.restore(HOME, self._saved[machine.name])
            self._replaced(machine)

    def format(self, machine: SimMachine) -> None:
        """
        A home becomes an empty one.
        """
        machine.format()
        self._replaced(machine)

    def _replaced(self, machine: SimMachine) -> None:
        for part in self.cluster.parts:
            part.replaced(machine)

    # Two nodes of one name.

    def twin(self, machine: SimMachine, seconds: float, clone: bool) -> None:
        """
        Somebody starts another machine with the same node name for a while.

        @param clone: whether its home is a copy.
        """
        cluster = self.cluster
        name = machine.name + "'"
        twin = cluster.machines.get(name)
        if twin is None:
            twin = cluster.addMachine(name, machine.role, machine.name)
            twin.transient = True
        if twin.running:
            return
        if clone:
            twin.disk.restore(HOME, machine.disk.snapshot(HOME))
            self._replaced(twin)
        twin.start()
        self.later(seconds, twin.kill)

    # The end of faults.

    def heal(self) -> None:
        """
        All faults end, and what was stopped runs again.
        """
        self.calm = True
        for part in self.cluster.parts:
            part.heal()
        network = self.cluster.network
        network.slow.clear()
        network.refusing.clear()
        for machine in self.cluster.machines.values():
            network.heal(machine.name)
            machine.failures.clear()
            machine.disk.readOnly = False
            machine.disk.free = None
            machine.pace = machine.usualPace
            machine.thaw()
            machine.unhang()
            process = machine.process
            if process is not None:
                process.killAt = process.killAfter = None
            if machine.transient:
                machine.kill()
            elif process is None:
                machine.start()

    def tend(self) -> None:
        """
        People do what they have to, now that all faults have ended: also what
        ended meanwhile is started again.
        """
        for machine in self.cluster.machines.values():
            if not machine.transient:
                machine.start()
        for part in self.cluster.parts:
            part.tend()

    def unwell(self) -> str | None:
        """
        What is not as it should be; C{None} if all is well.
        """
        for part in self.cluster.parts:
            what = part.unwell()
            if what is not None:
                return what
        return None
