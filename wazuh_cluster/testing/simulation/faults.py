"""
Faults: what befalls machines and the network between them.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from wazuh_cluster.testing.simulation.schedule import BOTH, MASTER, WORKER, Action, Kind

if TYPE_CHECKING:
    from wazuh_cluster.testing.simulation.machine import SimMachine
    from wazuh_cluster.testing.simulation.world import World

#: What a disk that fails answers.
_DISK_ERRORS = (errno.EIO, errno.ENOSPC, errno.EROFS)

#: How many seconds a node that was told to stop is given before it is started
#: again.
_STOPS = 4.0


# Processes and machines.


def _kill(world: World, machine: SimMachine, action: Action) -> None:
    machine.kill()
    world.later(action.seconds, machine.start)


def _power(world: World, machine: SimMachine, action: Action) -> None:
    machine.losePower()
    world.later(action.seconds, machine.start)


def _killAt(world: World, machine: SimMachine, action: Action) -> None:
    process = machine.process
    if process is not None:
        process.killAt = process.operations + 1 + int(action.number * 200)
    world.later(10.0 + action.seconds, machine.start)


def _killAfter(world: World, machine: SimMachine, action: Action) -> None:
    process = machine.process
    if process is not None:
        process.killAfter = int(action.number * 300)
    world.later(10.0 + action.seconds, machine.start)


def _restart(world: World, machine: SimMachine, action: Action) -> None:
    machine.stop()
    world.later(_STOPS + action.seconds, machine.start)


def _freeze(world: World, machine: SimMachine, action: Action) -> None:
    machine.freeze()
    world.later(action.seconds, machine.thaw)


# The network.


def _cut(world: World, machine: SimMachine, action: Action) -> None:
    world.cluster.network.cut(machine.name)


def _stall(world: World, machine: SimMachine, action: Action) -> None:
    world.cluster.network.stall(machine.name)
    world.later(action.seconds, world.cluster.network.heal, machine.name)


def _oneWay(world: World, machine: SimMachine, action: Action) -> None:
    # What was asked is done, and the answer never comes; or the other way round.
    network = world.cluster.network
    (network.mute if action.number < 0.5 else network.deaf)[machine.name] = None

    def end() -> None:
        if int(action.number * 1000) % 2:
            network.cut(machine.name)
        network.heal(machine.name)

    world.later(action.seconds, end)


def _forget(world: World, machine: SimMachine, action: Action) -> None:
    world.cluster.network.forget(machine.name)


def _halfClose(world: World, machine: SimMachine, action: Action) -> None:
    world.cluster.network.endHalf(machine.name, action.seconds)


def _slow(world: World, machine: SimMachine, action: Action) -> None:
    world.cluster.network.slow[machine.name] = action.number * 0.5
    world.later(action.seconds, world.cluster.network.slow.pop, machine.name, None)


def _refuse(world: World, machine: SimMachine, action: Action) -> None:
    world.cluster.network.refusing[machine.name] = None
    world.later(action.seconds, world.cluster.network.refusing.pop, machine.name, None)


# Disks and clocks.


def _disk(world: World, machine: SimMachine, action: Action) -> None:
    code = action.pick(_DISK_ERRORS)
    machine.failures[code] = 0.02 + action.number / 2
    world.later(action.seconds, machine.failures.pop, code, None)


def _readOnly(world: World, machine: SimMachine, action: Action) -> None:
    machine.disk.readOnly = True
    world.later(action.seconds, setattr, machine.disk, "readOnly", False)


def _full(world: World, machine: SimMachine, action: Action) -> None:
    machine.disk.free = int(action.number * 100_000)
    world.later(action.seconds, setattr, machine.disk, "free", None)


def _lazy(world: World, machine: SimMachine, action: Action) -> None:
    machine.pace = machine.usualPace + action.number * 0.3
    world.later(action.seconds, setattr, machine, "pace", machine.usualPace)


def _hang(world: World, machine: SimMachine, action: Action) -> None:
    machine.hang()
    world.later(action.seconds * 5.0, machine.unhang)


def _clock(world: World, machine: SimMachine, action: Action) -> None:
    machine.wall.skew = (action.number - 0.5) * 20_000.0


# Homes, and nodes that are there twice.


def _backup(world: World, machine: SimMachine, action: Action) -> None:
    world.save(machine)


def _restore(world: World, machine: SimMachine, action: Action) -> None:
    machine.kill()
    world.restore(machine)
    world.later(action.seconds, machine.start)


def _wipe(world: World, machine: SimMachine, action: Action) -> None:
    # Under the process, or before the next one.
    if action.number < 0.5:
        machine.kill()
    world.format(machine)
    world.later(action.seconds, machine.start)


def _redeploy(world: World, machine: SimMachine, action: Action) -> None:
    machine.kill()
    world.format(machine)
    for part in world.cluster.parts:
        part.prepare(machine)
    world.later(action.seconds, machine.start)


def _twin(world: World, machine: SimMachine, action: Action) -> None:
    world.twin(machine, action.seconds, clone=action.number < 0.5)


#: All faults, by their names.
FAULTS: dict[str, Kind] = {
    "kill": Kind(2, _kill, BOTH, True),
    "power": Kind(1.5, _power, BOTH, True),
    "kill-at": Kind(3, _killAt, BOTH, True),
    "kill-after": Kind(2, _killAfter, BOTH, True),
    "restart": Kind(1.5, _restart, BOTH, True),
    "freeze": Kind(0.7, _freeze, BOTH, True),
    "cut": Kind(1.5, _cut, BOTH, True),
    "stall": Kind(1, _stall, BOTH, True),
    "one-way": Kind(1.5, _oneWay, BOTH, True),
    "forget": Kind(1, _forget, BOTH, True),
    "half-close": Kind(0.7, _halfClose, BOTH, True),
    "slow": Kind(1, _slow, BOTH, True),
    "refuse": Kind(0.5, _refuse, MASTER, True),
    "disk": Kind(1.5, _disk, BOTH, True),
    "read-only": Kind(0.5, _readOnly, BOTH, True),
    "full": Kind(1, _full, BOTH, True),
    "lazy": Kind(0.5, _lazy, BOTH, True),
    "hang": Kind(0.7, _hang, BOTH, True),
    "clock": Kind(0.7, _clock, BOTH, True),
    "backup": Kind(0.5, _backup, BOTH, True),
    "restore": Kind(0.4, _restore, BOTH, True),
    "wipe": Kind(0.3, _wipe, WORKER, True),
    "redeploy": Kind(0.2, _redeploy, MASTER, True),
    "twin": Kind(0.4, _twin, WORKER, True),
}
