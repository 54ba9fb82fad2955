"""
Tests for L{wazuh_cluster.testing.simulation}: its clock, disks, threads, network and
processes are what they say, and its runs can be repeated, shown and cut.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import islice
from random import Random
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import wazuh_cluster
from wazuh_cluster.interfaces import IClusterTrust, IRunner
from wazuh_cluster.model import Identity
from wazuh_cluster.testing.runnercontract import ENDLESS, InterruptContract, Works
from wazuh_cluster.testing.simulation import (
    Action,
    Broken,
    Files,
    Kind,
    Part,
    PlainTrust,
    Result,
    Setup,
    SimCluster,
    SimMachine,
    SimProcess,
    World,
    parseSchedule,
    run,
)
from wazuh_cluster.testing.simulation.__main__ import main
from wazuh_cluster.testing.simulation.clock import ProcessClock, SimClock
from wazuh_cluster.testing.simulation.faults import FAULTS
from wazuh_cluster.testing.simulation.report import commandOf, describe, formatCase, parseCase
from wazuh_cluster.testing.simulation.runner import SimRunner
from wazuh_cluster.testing.simulation.schedule import makeSchedule
from wazuh_cluster.testing.simulation.shrink import kindOf, shrink
from wazuh_cluster.testing.simulation.soak import _NAMES, Report, Summary, setups
from wazuh_cluster.testing.simulation.world import IDLE, kindsOf

_CHECKOUT = os.path.dirname(os.path.dirname(wazuh_cluster.__file__))


class ClockTests(SynchronousTestCase):
    """
    Time goes by as the calls that were asked for.
    """

    def setUp(self) -> None:
        self.clock = SimClock()
        self.called: list[object] = []

    def until(self, seconds: float) -> None:
        while self.clock.step(seconds):
            pass

    def process(self, rate: float = 1.0) -> ProcessClock:
        return ProcessClock(
            self.clock, 100.0, rate, lambda function, *arguments: function(*arguments)
        )

    def test_interface(self) -> None:
        """
        The world's and a process's clock are reactors' clocks.
        """
        for clock in (self.clock, self.process()):
            verifyObject(IReactorTime, clock)
            call = clock.callLater(1, self.called.append, 1)
            verifyObject(IDelayedCall, call)
            self.assertEqual(call.getTime(), clock.seconds() + 1)
            self.assertIn(call, clock.getDelayedCalls())
            call.cancel()
            self.assertNotIn(call, clock.getDelayedCalls())

    def test_order(self) -> None:
        """
        Calls come at their time; those of one moment in the order in which they
        were made.
        """
        for name, delay in (("b", 2), ("a", 1), ("c", 2), ("d", 2)):
            self.clock.callLater(delay, self.called.append, name)
        self.until(1.5)
        self.assertEqual((self.called, self.clock.seconds()), (["a"], 1.5))
        self.until(3)
        self.assertEqual(self.called, ["a", "b", "c", "d"])

    def test_moved(self) -> None:
        """
        A call that is moved comes once, at its new time; one that came, or will
        not, cannot be moved.
        """
        call = self.clock.callLater(1, self.called.append, "a")
        call.delay(2)
        self.until(2)
        self.assertEqual(self.called, [])
        call.reset(5)
        self.until(6.9)
        self.assertEqual(self.called, [])
        self.until(7)
        self.assertEqual(self.called, ["a"])
        self.assertRaises(AlreadyCalled, call.cancel)
        other = self.clock.callLater(1, self.called.append, "b")
        other.cancel()
        self.assertRaises(AlreadyCancelled, other.reset, 1)

    def test_manyCancelled(self) -> None:
        """
        Calls that were cancelled are forgotten, and the others are not.
        """
        calls = [self.clock.callLater(n, self.called.append, n) for n in range(300)]
        for call in calls[1:]:
            call.cancel()
        self.assertTrue(len(self.clock._heap) < 200)
        self.until(300)
        self.assertEqual(self.called, [0])

    def test_drift(self) -> None:
        """
        A process's clock begins anywhere and goes at its own rate; its calls come
        by it.
        """
        clock = self.process(rate=1.25)
        loop = LoopingCall(lambda: self.called.append((self.clock.seconds(), clock.seconds())))
        loop.clock = clock
        loop.start(5.0, now=False)
        self.until(8)
        self.assertEqual(self.called, [(4.0, 105.0), (8.0, 110.0)])
        call = clock.callLater(5, self.called.append, 1)
        self.assertEqual(call.getTime(), clock.seconds() + 5)
        call.delay(5)
        self.assertEqual(call.due, 16.0)

    def test_frozen(self) -> None:
        """
        What falls due in a frozen process comes when that goes on, unless it was
        cancelled.
        """
        clock = self.process()
        first, second = (clock.callLater(n, self.called.append, n) for n in (1, 2))
        clock.freeze()
        self.until(5)
        self.assertEqual(self.called, [])
        self.assertEqual(clock.getDelayedCalls(), [first, second])
        first.cancel()
        clock.thaw()
        self.until(5)
        self.assertEqual(self.called, [2])


class _Nothing(Service):
    """
    A node that does nothing.
    """


def quiet(**keywords: Any) -> SimCluster:
    """
    A cluster whose nodes do nothing by themselves.
    """
    nothing = lambda process: _Nothing()  # noqa: E731
    return SimCluster(1, makeMaster=nothing, makeWorker=nothing, **keywords)


class ClusterCase(SynchronousTestCase):
    """
    Tests with a cluster whose nodes do nothing by themselves.
    """

    def setUp(self) -> None:
        self.cluster = quiet()
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__)
        self.cluster.start()
        self.hub = self.processOf("hub")
        self.w1 = self.processOf("w1")

    def processOf(self, name: str) -> SimProcess:
        process = self.cluster.machines[name].process
        assert process is not None
        return process


class SimRunnerTests(InterruptContract, ClusterCase):
    """
    The threads of a simulated process keep the contract of all runners.
    """

    def makeRunner(self) -> IRunner:
        return SimRunner(self.w1, "test")

    def until(self, condition: Callable[[], bool]) -> None:
        self.assertTrue(self.cluster.runUntil(condition, 10, 0.001))

    def test_hang(self) -> None:
        """
        A slice that hangs ends when its disk answers again; a cancelled work that
        hangs is left alone meanwhile.
        """
        runner, works = self.makeRunner(), Works()
        hanging = self.begin(runner, works)
        self.w1.machine.hang()
        self.cluster.run(30)
        self.assertNoResult(hanging)
        hanging.cancel()
        self.assertEqual(self.failureResultOf(hanging).type.__name__, "CancelledError")
        later = runner.run(works.make("b"))
        self.cluster.run(30)
        self.assertNoResult(later)
        self.w1.machine.unhang()
        self.assertEqual(self.ended(later), "b")
        self.until(lambda: "a closed" in works.log)

    def test_bounded(self) -> None:
        """
        A queue of works that only grows is broken.
        """
        runner = self.makeRunner()
        for _ in range(100):
            runner.run(Works().make("a", ENDLESS)).addErrback(lambda _: None)
        self.assertIn("works wait for the runner", self.cluster.problems[0])
        self.cluster.problems.clear()
        runner.stop()


class Talker(Protocol):
    """
    One end, which notes what it is told.
    """

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.lost: list[str] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert reason.type is not None
        self.lost.append(reason.type.__name__)


class NetworkTests(ClusterCase):
    """
    What befalls links between processes.
    """

    def setUp(self) -> None:
        super().setUp()
        self.network = self.cluster.network
        self.server, self.client = Talker(), Talker()
        self.listen()
        self.connect()
        self.cluster.run(1)

    def listen(self) -> None:
        factory = Factory.forProtocol(lambda: self.server)
        self.hub.enter(self.network.serverOf(self.hub).listen, factory)

    def connect(self) -> Deferred[Any]:
        endpoint = self.network.clientOf(self.w1, "hub")
        factory = Factory.forProtocol(lambda: self.client)
        connecting: Deferred[Any] = self.w1.enter(endpoint.connect, factory)
        return connecting

    def talk(self) -> tuple[bytes, bytes]:
        """
        Both say something.

        @return: what arrived within a second.
        """
        self.server.received = self.client.received = b""
        for end in (self.server, self.client):
            if not end.lost:
                end.transport.write(b"x")
        self.cluster.run(1)
        return self.server.received, self.client.received

    def test_talks(self) -> None:
        """
        What one writes arrives at the other.
        """
        self.assertEqual(self.talk(), (b"x", b"x"))

    def test_cut(self) -> None:
        """
        A cut link is lost at both ends.
        """
        self.network.cut("w1")
        self.cluster.run(1)
        self.assertEqual((self.server.lost, self.client.lost), (["ConnectionLost"],) * 2)

    def test_stall(self) -> None:
        """
        While a host is stalled nothing passes, and nobody is told; what was sent
        arrives afterwards.
        """
        self.network.stall("w1")
        self.assertEqual(self.talk(), (b"", b""))
        self.network.heal("w1")
        self.assertEqual(self.talk(), (b"xx", b"xx"))
        self.assertEqual((self.server.lost, self.client.lost), ([], []))

    def test_oneWay(self) -> None:
        """
        A mute host hears, and a deaf one is heard.
        """
        self.network.mute["w1"] = None
        self.assertEqual(self.talk(), (b"", b"x"))
        self.network.heal("w1")
        self.assertEqual(self.talk(), (b"xx", b"x"))
        self.network.deaf["w1"] = None
        self.assertEqual(self.talk(), (b"x", b""))

    def test_forget(self) -> None:
        """
        A link that the network forgot passes nothing ever more, and nobody is
        told; another one can be made.
        """
        self.network.forget("w1")
        self.assertEqual(self.talk(), (b"", b""))
        self.network.heal("w1")
        self.assertEqual(self.talk(), (b"", b""))
        self.assertEqual((self.server.lost, self.client.lost), ([], []))
        self.server, self.client = Talker(), Talker()
        self.connect()
        self.cluster.run(1)
        self.assertEqual(self.talk(), (b"x", b"x"))

    def test_endHalf(self) -> None:
        """
        One end hears that the link has ended long before the other.
        """
        self.network.endHalf("w1", 10)
        self.cluster.run(1)
        self.assertEqual((self.server.lost, self.client.lost), ([], ["ConnectionDone"]))
        self.cluster.run(10)
        self.assertEqual(self.server.lost, ["ConnectionDone"])

    def test_slow(self) -> None:
        """
        What is slow arrives late.
        """
        self.network.slow["w1"] = 1.5
        self.assertEqual(self.talk(), (b"", b""))
        self.cluster.run(1)
        self.assertEqual(self.server.received, b"x")

    def test_refused(self) -> None:
        """
        Where nobody listens, or is said to, a connection is refused.
        """
        self.network.refusing["hub"] = None
        refused = self.connect()
        self.cluster.run(1)
        self.assertEqual(self.failureResultOf(refused).type.__name__, "ConnectionRefusedError")

    def test_silent(self) -> None:
        """
        A host that lost its power answers nothing: an attempt to connect ends
        after half a minute. When it is back, it says that it knows of no link.
        """
        self.hub.machine.losePower()
        attempt = self.connect()
        self.assertEqual(self.talk(), (b"", b""))
        self.assertEqual(self.client.lost, [])
        self.cluster.run(28)
        self.assertNoResult(attempt)
        self.cluster.run(2)
        self.assertEqual(self.failureResultOf(attempt).type.__name__, "TimeoutError")
        self.hub.machine.start()
        self.cluster.run(3)
        self.assertEqual(self.client.lost, ["ConnectionLost"])
        self.assertEqual(self.server.lost, [])

    def test_connectsAgain(self) -> None:
        """
        An attempt that is made while nothing passes succeeds if that ends soon.
        """
        self.network.stall("hub")
        attempt = self.connect()
        self.cluster.run(2)
        self.network.heal("hub")
        self.cluster.run(5)
        self.successResultOf(attempt)

    def test_killed(self) -> None:
        """
        The system tells the peers of a process that is killed; what it wrote last
        may arrive before.
        """
        outcomes = set()
        for _ in range(20):
            self.server, self.client = Talker(), Talker()
            self.connect()
            self.cluster.run(1)
            self.hub.enter(self.server.transport.write, b"last words")
            self.hub.machine.kill()
            self.cluster.run(1)
            self.assertEqual((len(self.client.lost), self.server.lost), (1, []))
            outcomes.add(self.client.received)
            self.hub.machine.start()
            self.hub = self.processOf("hub")
            self.listen()
        self.assertEqual(outcomes, {b"", b"last words"})

    def test_attemptOfTheDead(self) -> None:
        """
        Nobody connects in the name of a process that was killed meanwhile.
        """
        self.network.slow["w1"] = 1.0
        self.server, self.client = Talker(), Talker()
        self.connect()
        self.w1.machine.kill()
        self.w1.machine.start()
        self.cluster.run(5)
        self.assertIsNone(self.server.transport)

    def test_frozen(self) -> None:
        """
        A frozen process takes nothing; it goes on where it was.
        """
        self.hub.machine.freeze()
        self.assertEqual(self.talk(), (b"", b"x"))
        self.hub.machine.thaw()
        self.cluster.run(1)
        self.assertEqual(self.server.received, b"x")

    def test_secrets(self) -> None:
        """
        The local configuration must not travel.
        """
        self.w1.enter(self.client.transport.write, self.w1.machine.secret)
        self.assertRaises(Broken, self.cluster.run, 1)

    def test_bounded(self) -> None:
        """
        Who writes without end while nothing is taken is broken.
        """
        self.server.transport.pauseProducing()
        for _ in range(100):
            self.w1.enter(self.client.transport.write, b"x" * 65536)
        self.assertRaises(Broken, self.cluster.run, 1)


class DiskTests(ClusterCase):
    """
    What befalls disks, and what processes do to them.
    """

    def write(self, name: bytes, content: bytes, sync: bool = True) -> None:
        """
        A thread of the process writes a file below the home.
        """
        self.w1.beginSlice()
        try:
            folder = self.w1.disk.openFolder(b"/var/ossec/var/run")
            file = folder.create(name, 0o600)
            file.write(content)
            if sync:
                file.sync()
                folder.sync()
            file.close()
        finally:
            self.w1.endSlice()

    def content(self, name: bytes) -> bytes | None:
        return self.w1.machine.disk.contentOf(b"/var/ossec/var/run/" + name)

    def test_power(self) -> None:
        """
        A power cut leaves what was synced, and of the rest all, nothing, a part, or
        zeros.
        """
        disk = self.w1.machine.disk
        self.w1.enter(self.write, b"synced", b"content")
        self.assertTrue(disk.isDurable(b"/var/ossec/var/run/synced"))
        seen: Counter[bytes | None] = Counter()
        for n in range(150):
            name = b"%d" % n
            self.w1.enter(self.write, name, b"content", False)
            self.assertFalse(disk.isDurable(b"/var/ossec/var/run/" + name))
            self.w1.machine.losePower()
            seen[self.content(name)] += 1
            self.assertEqual(self.content(b"synced"), b"content")
            self.w1.machine.start()
            self.w1 = self.processOf("w1")
        self.assertTrue(seen[b"content"] and seen[b""] and seen[None])
        self.assertTrue(any(seen[b"content"[:n]] for n in range(1, 7)))
        self.assertTrue(any(seen[b"content"[:n] + bytes(7 - n)] for n in range(7)))

    def test_moved(self) -> None:
        """
        A file that was moved and has both names after a power cut is two files.
        """
        disk = self.w1.machine.disk
        disk.put(b"/a/x", b"content")
        disk.settle()
        folder = disk.openFolder(b"/a")
        disk.makeFolders(b"/b")
        folder.rename(b"x", disk.openFolder(b"/b"), b"y")
        disk._resolve(b"/a")[1].children.update(disk._resolve(b"/a")[1].syncedChildren)
        disk.losePower()
        if disk.contentOf(b"/b/y") is not None:
            disk.put(b"/b/y", b"other")
            self.assertEqual(disk.contentOf(b"/a/x"), b"content")

    def test_killedAtAnOperation(self) -> None:
        """
        A process can die at any operation: what was done before is done, and
        nothing of it happens any more.
        """
        self.w1.killAt = self.w1.operations + 3
        self.w1.enter(self.write, b"x", b"content")
        self.assertTrue(self.w1.dead)
        self.assertEqual(self.content(b"x"), b"")
        self.w1.enter(self.fail, "it is dead")
        self.assertRaises(OSError, self.w1.disk.openFolder, b"/")

    def test_killedAtAnEvent(self) -> None:
        """
        A process can die at any event.
        """
        called: list[int] = []
        self.w1.killAfter = 2
        for n in range(5):
            self.w1.clock.callLater(n, called.append, n)
        self.cluster.run(10)
        self.assertEqual((called, self.w1.dead), ([0, 1], True))

    def test_failing(self) -> None:
        """
        A disk can fail, be full, or take no changes.
        """
        machine = self.w1.machine
        for code, change in ((5, {5: 1.0}), (28, {28: 1.0})):
            machine.failures = change
            error = self.assertRaises(OSError, self.write, b"x", b"content")
            self.assertEqual(error.errno, code)
        machine.failures = {}
        machine.disk.readOnly = True
        self.assertRaises(OSError, self.write, b"x", b"content")
        machine.disk.readOnly = False
        self.write(b"x", b"content")

    def test_onTheReactorsThread(self) -> None:
        """
        A process that touches its disk outside its threads is broken.
        """
        self.w1.enter(self.w1.disk.openFolder, b"/")
        self.assertIn("on the reactor's thread", self.cluster.problems[0])
        self.cluster.problems.clear()

    def test_longSlice(self) -> None:
        """
        A slice without an end is broken.
        """
        self.w1.beginSlice()
        for _ in range(2000):
            self.w1.disk.openFolder(b"/")
        self.w1.endSlice()
        self.assertIn("file operations in one slice", self.cluster.problems[0])
        self.cluster.problems.clear()


class ProcessTests(ClusterCase):
    """
    What must be so of every process.
    """

    def broken(self, text: str) -> None:
        self.assertEqual(len(self.cluster.problems), 1, self.cluster.problems)
        self.assertIn(text, self.cluster.problems[0])
        self.cluster.problems.clear()

    def test_failingCall(self) -> None:
        """
        Nothing that a reactor calls may fail.
        """
        self.w1.enter(int, "x")
        self.broken("invalid literal")

    def test_criticalLog(self) -> None:
        """
        Nothing critical may be logged, and no log be flooded.
        """
        log = Logger("wazuh_cluster")
        self.w1.enter(log.critical, "it is {state}", state="bad")
        self.broken("w1: it is bad")
        for _ in range(300):
            self.w1.enter(log.info, "again")
            self.cluster.run(1)
        self.assertEqual([], self.cluster.problems)
        for _ in range(110):
            self.w1.enter(log.info, "again")
        self.broken("lines of log in a minute")

    def test_unheardFailure(self) -> None:
        """
        A Deferred that fails unheard comes to light at the end.
        """
        with quiet() as cluster:
            failed: list[Deferred[None]] = [Deferred()]
            failed.pop().errback(RuntimeError("nobody hears"))
        self.assertIn("nobody hears", cluster.problems[0])
        self.assertEqual([], self.flushLoggedErrors())

    def test_leftBehind(self) -> None:
        """
        Nothing may be left behind by a process that stops.
        """
        self.w1.clock.callLater(100, lambda: None)
        self.w1.machine.stop()
        self.assertRaises(Broken, self.cluster.run, 1)
        self.broken("left behind after a stop")

    def test_stopsInTime(self) -> None:
        """
        A process that does not stop within some seconds is broken, unless it is
        frozen.
        """
        self.w1.service.stopService = Deferred
        self.w1.machine.stop()
        self.assertRaises(Broken, self.cluster.run, 10)
        self.broken("did not stop within")

    def test_cannotStart(self) -> None:
        """
        A node that cannot start is started again later.
        """
        machine = self.w1.machine
        machine.kill()
        refusals = [OSError(28, "No space left on device")]

        class Refusing(Service):
            def startService(self) -> None:
                if refusals:
                    raise refusals.pop()

        self.cluster._make["worker"] = lambda process: Refusing()
        machine.start()
        self.assertFalse(machine.running)
        self.cluster.run(10)
        self.assertTrue(machine.running)


class Counting(Part):
    """
    A part of an application's own.
    """

    def __init__(self) -> None:
        self.acts: list[tuple[float, str]] = []

    def kinds(self) -> dict[str, Kind]:
        return {"count": Kind(100.0, self.count, ("worker",))}

    def count(self, world: World, machine: SimMachine, action: Action) -> None:
        self.acts.append((world.cluster.clock.seconds(), machine.name))

    def unwell(self) -> str | None:
        return None if self.acts else "nothing was counted"


class RunTests(SynchronousTestCase):
    """
    Runs are repeated, shown and cut.
    """

    def test_wellWithoutFaults(self) -> None:
        """
        Where nothing befalls, a cluster is well at once and stays so.
        """
        result = run(Setup(1, seconds=60.0, schedule=()))
        self.assertEqual((result.problem, result.healed), (None, 0.0))

    def test_repeated(self) -> None:
        """
        A seed is always the same run, over TLS too, whatever the order of
        hashes; another seed is another.
        """
        digests = {}
        script = (
            "from twisted.logger import globalLogBeginner as b\n"
            "b.beginLoggingTo([], redirectStandardIO=False)\n"
            "from wazuh_cluster.testing.simulation import *\n"
            "for s in (3, 4):\n"
            "    print(run(Setup(s, seconds=120.0)).digest)\n"
            "    print(run(Setup(s, tls=True, seconds=60.0)).digest)\n"
        )
        for hashSeed in ("1", "2"):
            done = subprocess.run(
                [sys.executable, "-c", script],
                env={**os.environ, "PYTHONPATH": _CHECKOUT, "PYTHONHASHSEED": hashSeed},
                capture_output=True,
                text=True,
                check=True,
            )
            self.assertEqual("", done.stderr)
            digests[hashSeed] = done.stdout.split()
        self.assertEqual(digests["1"], digests["2"])
        self.assertEqual(4, len(set(digests["1"])))
        self.assertEqual(digests["1"][0], run(Setup(3, seconds=120.0)).digest)

    def test_everyFault(self) -> None:
        """
        Every kind of fault, and everything that people do, can befall each node
        that it concerns, at any moment.
        """
        for name, kind in kindsOf((Files(),)).items():
            schedule = []
            for n, role in enumerate(kind.roles * 3):
                node = "hub" if role == "master" else "w1"
                schedule.append(Action(0.01 + 13.37 * n, name, node, 0.3 * n % 1, 0.5 + n))
            result = run(Setup(1, workers=2, seconds=90.0, schedule=tuple(schedule)))
            self.assertIsNone(result.problem, name)
            self.assertEqual(result.kinds[name], len(schedule))
            struck = sum(n for (fault, _), n in result.struck.items() if fault == name)
            self.assertEqual(struck >= len(schedule), name in FAULTS)

    def test_ownPart(self) -> None:
        """
        An application's part says what befalls, and when all is well.
        """
        made: list[Counting] = []

        def makeParts() -> list[Part]:
            made.append(Counting())
            return [*made[-1:], Files()]

        self.assertIsNone(run(Setup(1, seconds=60.0), makeParts).problem)
        self.assertTrue(len(made[0].acts) > 10)
        self.assertTrue({node for _, node in made[0].acts} <= {"w1", "w2", "w3"})
        unwell = run(Setup(1, seconds=5.0, schedule=()), makeParts)
        self.assertIn("nothing was counted", str(unwell.problem))

    def test_schedules(self) -> None:
        """
        A schedule is in order, of kinds and nodes that fit, and the same as text.
        """
        kinds = kindsOf((Files(),))
        nodes = {"hub": "master", "w1": "worker"}
        schedule = makeSchedule(Random(7), kinds, nodes, ["Hello"], 100.0, 300)
        self.assertEqual(schedule, sorted(schedule, key=lambda action: action.at))
        for action in schedule:
            self.assertIn(nodes[action.node], kinds[action.kind].roles)
            self.assertTrue(0 <= action.at <= 100)
            self.assertIn(action.during, ("", "Hello"))
        text = ["", "# a comment", *map(str, schedule)]
        self.assertEqual(schedule, parseSchedule(text))
        self.assertRaises(ValueError, parseSchedule, ["1.0 kill"])

    def test_cases(self) -> None:
        """
        A setup with its schedule is the same as text.
        """
        schedule = (Action(1.5, "kill", "w1", 0.25, 2.0), Action(2.5, "cut", "hub", during="Hello"))
        for setup in (
            Setup(5, schedule=schedule),
            Setup(6, workers=3, tls=True, seconds=12.5, heals=False, schedule=()),
        ):
            self.assertEqual(setup, parseCase("# why\n" + formatCase(setup)))
        self.assertRaises(ValueError, parseCase, "seed 5\nodd\n\n")

    def test_commands(self) -> None:
        """
        The command that repeats a run says all that is not usual of it.
        """
        module = "python -m wazuh_cluster.testing.simulation"
        self.assertEqual(commandOf(Setup(5)), f"{module} --seed 5")
        self.assertEqual(
            commandOf(Setup(5, 3, True, 60.0, False)),
            f"{module} --seed 5 --workers 3 --seconds 60 --tls --safety",
        )

    def test_shrink(self) -> None:
        """
        Of a schedule the actions are left that are needed for its problem.
        """
        needed = (Action(7.0, "cut", "w1"), Action(40.0, "kill", "w1"))
        rest = tuple(Action(float(n), "edit", "hub") for n in range(60))
        runs: list[int] = []

        def attempt(setup: Setup) -> Result:
            assert setup.schedule is not None
            runs.append(len(setup.schedule))
            found = [action for action in setup.schedule if action in needed]
            problem = None
            if len(found) == 2 and setup.seconds > 45:
                problem = f"w{len(runs) % 2}: {len(runs)} files"
            elif found:
                problem = "something else"
            return Result(setup, problem, "", [], 0.0, 0.0, Counter(), Counter())

        whole = attempt(Setup(1, schedule=tuple(sorted(rest + needed, key=lambda a: a.at))))
        shrunk = shrink(whole, attempt)
        self.assertEqual((shrunk.setup.schedule, shrunk.setup.seconds), (needed, 70.0))
        self.assertTrue(len(runs) < 60, len(runs))
        well = evolve(whole, problem=None)
        self.assertIs(well, shrink(well, attempt))

    def test_kindOf(self) -> None:
        """
        Problems are of one kind if only names and numbers differ.
        """
        self.assertEqual(
            kindOf("w1: b'etc/a' has 17 bytes\nand more"), kindOf("w2': b'etc/b' has 3 bytes")
        )
        self.assertNotEqual(kindOf("w1: it is late"), kindOf("w1: it is early"))

    def test_describe(self) -> None:
        """
        What is told of a problem: the command, the schedule, the trace from the
        first action on without the nodes that nothing concerns, and the problem.
        """

        class Never(Counting):
            def unwell(self) -> str | None:
                return "never well"

        schedule = (Action(30.0, "count", "w1"), Action(40.0, "kill", "w1", 0.0, 1.0))
        setup = Setup(1, workers=2, seconds=60.0, schedule=schedule)
        result = run(setup, lambda: [Never()])
        text = describe(result)
        self.assertIn("--seed 1 --workers 2 --seconds 60\n", text)
        self.assertIn("  30.000000 count w1 0.000000000 0.000000\n", text)
        self.assertIn("40.0000  w1     is killed", text)
        self.assertNotIn("  w2  ", text)
        self.assertNotIn("0.0000  hub    starts", text)
        self.assertTrue(text.endswith("What is wrong: " + str(result.problem)))
        self.assertIn("never well", str(result.problem))


class CommandTests(SynchronousTestCase):
    """
    The command that repeats a run.
    """

    def command(self, *arguments: str) -> tuple[int, str, str]:
        output, errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", output)
        self.patch(sys, "stderr", errors)
        status = main(arguments)
        return status, output.getvalue(), errors.getvalue()

    def test_well(self) -> None:
        """
        One line if nothing goes wrong, and the trace on request.
        """
        status, output, _ = self.command("--seed", "3", "--seconds", "20", "--workers", "1")
        self.assertEqual((status, len(output.splitlines())), (0, 1))
        self.assertIn("Nothing went wrong", output)
        status, output, _ = self.command("--seed", "3", "--seconds", "20", "--trace", "--safety")
        self.assertIn("is told to stop", output)

    def test_case(self) -> None:
        """
        A schedule from a file; one that cannot be read is one line.
        """
        path = self.mktemp()
        with open(path, "w") as file:
            file.write(formatCase(Setup(1, seconds=5.0, schedule=())))
        self.assertEqual(self.command("--case", path)[0], 0)
        with open(path, "w") as file:
            file.write("what\n")
        status, _, errors = self.command("--case", path)
        self.assertEqual(status, 2)
        self.assertIn("'what' is not understood", errors)
        self.assertEqual(self.command("--seed", "x")[0], 2)


class SoakTests(SynchronousTestCase):
    """
    Many runs on all cores.
    """

    def test_report(self) -> None:
        """
        A soak says what its runs were like, and by which command what went wrong is
        repeated.
        """
        report = Report()
        made = list(islice(setups(7), 6))
        self.assertEqual([setup.seed for setup in made], list(range(7, 13)))
        self.assertEqual({(setup.tls, setup.heals) for setup in made}, set(_NAMES))
        struck = Counter({("kill", "Hello"): 3, ("kill", IDLE): 2})
        for setup in made:
            report.add(Summary(setup, None, 600.0, 9.0, Counter(kill=5), struck, 0.5))
        report.add(Summary(Setup(1), "w1: 3 files", 600.0, 9.0, Counter(), Counter(), 0.5))
        report.add(Summary(Setup(2), "w2: 4 files", 600.0, 9.0, Counter(), Counter(), 0.5))
        lines = list(report.lines())
        self.assertEqual(lines[0], "8 seeds, 1.3 virtual hours, 30 faults.")
        self.assertIn("  healing, with TLS: 2 seeds, 120 a minute on one core, ", lines[2])
        self.assertIn("2 times: files", lines)
        self.assertIn("  python -m wazuh_cluster.testing.simulation --seed 1 --shrink", lines)
        (never,) = [line for line in lines if line.startswith("Never met")]
        self.assertIn("power x Hello", never)
        self.assertNotIn(" kill x Hello", never)

    def test_command(self) -> None:
        """
        It ends when its minutes are over, and with 0 if nothing went wrong.
        """
        done = subprocess.run(
            [
                *(sys.executable, "-m", "wazuh_cluster.testing.simulation.soak"),
                *("--seed", "3", "--processes", "1", "0.02"),
            ],
            env={**os.environ, "PYTHONPATH": _CHECKOUT},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("From seed 3 on, on 1 cores", done.stdout)
        self.assertIn("virtual hours", done.stdout)


class PlainTrustTests(SynchronousTestCase):
    """
    The trust of links without TLS.
    """

    def test_interface(self) -> None:
        """
        It is a trust.
        """
        verifyObject(IClusterTrust, PlainTrust(Identity("sim", "master", "hub")))
