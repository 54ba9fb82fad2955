"""
One run of a simulation: a schedule befalls a cluster, and it heals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from attrs import evolve, field, frozen

from wazuh_cluster.interfaces import IClusterTrust
from wazuh_cluster.model import Identity
from wazuh_cluster.testing.simulation.agents import Agents
from wazuh_cluster.testing.simulation.cluster import Broken, SimCluster, makeMaster, makeWorker
from wazuh_cluster.testing.simulation.files import Files
from wazuh_cluster.testing.simulation.part import Part
from wazuh_cluster.testing.simulation.plaintrust import PlainTrust
from wazuh_cluster.testing.simulation.process import STOP_BOUND
from wazuh_cluster.testing.simulation.schedule import Action, makeSchedule
from wazuh_cluster.testing.simulation.trace import Event
from wazuh_cluster.testing.simulation.world import World, doingsOf, kindsOf

#: How long faults go on, in virtual seconds.
SECONDS = 540.0

#: How many actions there are in that time.
ACTIONS = 45

#: How many more there are with agents.
AGENTS_ACTIONS = 15

#: Within how many virtual seconds after the last fault all must be well. The slowest
#: way there: the connection looks alive to the worker and is not (20 s for an answer
#: that does not come), the next attempts fail too (backoff of 20 s at most, then 30 s
#: until a connection that nobody answers is given up), a content for which there was
#: no room is tried again after 60 s; then one interval of each thread (8 s, and up to
#: 30 s for a worker with other ones), twice, for what an operator has to accept.
BOUND = 240.0

#: The same where no fault befell: the master's interval, twice that of the slowest
#: worker, and once more for what an operator has to accept.
PEACEFUL_BOUND = 8.0 + 3 * 30.0

#: How often no fault befalls.
_PEACE = 0.12

#: For how long all must stay well then, in virtual seconds.
QUIET = 20.0

#: How often it is looked whether all is well.
_LOOK = 3.0

#: Other intervals than the usual ones, for some workers.
_INTERVALS: tuple[dict[str, float], ...] = (
    {},
    {},
    {"integrityInterval": 4.0, "keepAliveInterval": 20.0},
    {"integrityInterval": 30.0},
)


def tlsTrust(identity: Identity) -> IClusterTrust:
    """
    A node's trust over TLS, with a key that all nodes of all simulations have.
    """
    # Only here: the key is derived once, which takes a while.
    from wazuh_cluster.testing.trust import testTrust

    return testTrust(identity.role, identity.name, identity.cluster)


@frozen
class Setup:
    """
    What a run begins with. Two runs of one are the same.

    @ivar seed: decides what is left to chance.
    @ivar workers: how many there are; C{None} to leave it to chance.
    @ivar tls: whether links are encrypted.
    @ivar seconds: how long faults go on.
    @ivar heals: whether they end, and all must become well; else they go on to the
        end, and only what must never be is looked for.
    @ivar schedule: what befalls; C{None} for what the seed stands for.
    @ivar agents: whether it takes care of agents too, and not only of files.
    """

    seed: int
    workers: int | None = None
    tls: bool = False
    seconds: float = SECONDS
    heals: bool = True
    schedule: tuple[Action, ...] | None = None
    agents: bool = False


@frozen
class Result:
    """
    What came of a run.

    @ivar setup: with the number of workers and the schedule that befell.
    @ivar problem: what was broken, first its one line; C{None} if all went well.
    @ivar digest: of the trace.
    @ivar events: the last ones of the trace.
    @ivar seconds: virtual ones, in all.
    @ivar healed: how long after the last fault all was well.
    @ivar kinds: how often each kind of action befell.
    @ivar struck: see L{World}.
    """

    setup: Setup
    problem: str | None
    digest: str
    events: list[Event] = field(repr=False)
    seconds: float
    healed: float
    kinds: Counter[str]
    struck: Counter[tuple[str, str]]


def run(
    setup: Setup,
    makeParts: Callable[[], Sequence[Part]] | None = None,
    makeMaster: Callable[..., object] = makeMaster,
    makeWorker: Callable[..., object] = makeWorker,
) -> Result:
    """
    Let a schedule befall a cluster, end all faults, and see that it heals.

    @param makeParts: makes what the cluster takes care of, if not what the setup
        says.
    @param makeMaster: see L{SimCluster}.
    @param makeWorker: likewise.
    """
    random = Random(f"setup {setup.seed}")
    # Drawn in any case, so that the rest is the same for who names the number.
    workers = random.choice((1, 2, 2, 3))
    if setup.workers is not None:
        workers = setup.workers
    parts = tuple(_partsOf(setup) if makeParts is None else makeParts())
    cluster = SimCluster(
        setup.seed,
        workers,
        parts,
        tlsTrust if setup.tls else PlainTrust,
        makeMaster,  # type: ignore[arg-type]
        makeWorker,  # type: ignore[arg-type]
    )
    for machine in cluster.workers:
        machine.intervals = dict(random.choice(_INTERVALS))
    kinds = kindsOf(parts)
    schedule = setup.schedule
    if schedule is None:
        nodes = {machine.name: machine.role for machine in cluster.machines.values()}
        if random.random() < _PEACE:
            kinds = {name: kind for name, kind in kinds.items() if not kind.isFault}
        doings = doingsOf(parts)
        count = ACTIONS + (AGENTS_ACTIONS if setup.agents else 0)
        schedule = tuple(makeSchedule(random, kinds, nodes, doings, setup.seconds, count))
    cluster.peaceful = not any(kinds[action.kind].isFault for action in schedule)
    problem: str | None = None
    healed = 0.0
    world = World(cluster)
    try:
        with cluster:
            for action in schedule:
                cluster.clock.callLater(action.at, world.expect, action)
            cluster.start()
            cluster.run(setup.seconds)
            if setup.heals:
                healed = _heal(cluster, world)
            _stop(cluster, world)
        cluster.require()
    except Broken as broken:
        problem = str(broken)
    return Result(
        evolve(setup, workers=workers, schedule=schedule),
        problem,
        cluster.trace.digest(),
        cluster.trace.events,
        cluster.clock.seconds(),
        healed,
        Counter(action.kind for action in schedule),
        world.struck,
    )


def _partsOf(setup: Setup) -> Sequence[Part]:
    return (Files(), Agents()) if setup.agents else (Files(),)


def _heal(cluster: SimCluster, world: World) -> float:
    """
    End all faults.

    @return: how long it took until all was well.
    """
    bound = PEACEFUL_BOUND if cluster.peaceful else BOUND
    cluster.say("", "* all faults end")
    world.heal()
    began = well = cluster.clock.seconds()
    while cluster.clock.seconds() - well < QUIET:
        cluster.run(_LOOK)
        world.tend()
        what = world.unwell()
        if what is not None:
            well = cluster.clock.seconds()
            if well - began > bound:
                raise Broken(f"not well {bound:g} s after the last fault: {what}")
    return well - began


def _stop(cluster: SimCluster, world: World) -> None:
    """
    Stop all nodes, whatever hangs.
    """
    world.calm = cluster.ending = True
    for machine in cluster.machines.values():
        machine.thaw()
        machine.stop()
    cluster.run(STOP_BOUND + 1.0)
    still = [machine.name for machine in cluster.machines.values() if machine.running]
    if still:
        raise Broken(f"{', '.join(still)} did not stop within {STOP_BOUND:g} s")
