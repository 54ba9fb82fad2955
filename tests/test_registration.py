"""
Tests for registrations that workers redirect to their master: agents at a
worker's listener, over links in memory that are cut at each step.
"""

from __future__ import annotations

import copy
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.filepath import FilePath
from zope.interface.verify import verifyObject

from tests.clustercase import ClusterCase
from tests.enrollmentcase import Agents, FakeAgent, MemoryRegistrar, keyOf
from wazuh_cluster.agents import Agent, IRegistrar, Registration
from wazuh_cluster.authsettings import AuthSettings
from wazuh_cluster.enrollment import Enrolled, EnrollmentService, IEnroller
from wazuh_cluster.enrollment.attempts import PATIENCE, SAVE_PATIENCE
from wazuh_cluster.errors import (
    EnrollmentRefused,
    LinkClosed,
    RegistrationRefused,
    StoreFailed,
    TooBusy,
)
from wazuh_cluster.interfaces import IRunner
from wazuh_cluster.master import MasterService
from wazuh_cluster.master.registrations import ABANDON_AFTER, HIGHEST_BELIEVED
from wazuh_cluster.protocol import Limits, RegisterAgent, UndoRegistration
from wazuh_cluster.testing.openrequests import MemoryOpenRequests
from wazuh_cluster.testing.runner import ClockRunner, ImmediateRunner
from wazuh_cluster.testing.state import MemoryState
from wazuh_cluster.worker import WorkerService

ADD = b"OSSEC A:'web-1'\n"
UNREACHABLE = b"ERROR: Cannot comunicate with master. Unable to add agent"
STATE = "undo-registrations"


class FailingState(MemoryState):
    """
    A state whose disk can be full.
    """

    full = False

    def save(self, name: str, content: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().save(name, content)


class RegistrationCase(ClusterCase):
    """
    A master with a registrar in memory, a worker, and the worker's listener.
    """

    def setUp(self) -> None:
        super().setUp()
        self.agents = Agents(self.clock, self.network)
        self.registrar = MemoryRegistrar()
        self.masterState = FailingState()
        self.workerState = FailingState()
        self.masterNotes = MemoryOpenRequests()
        self.workerNotes = MemoryOpenRequests()
        self.hub = self.makeHome("m")
        self.home = self.makeHome("w")
        self.master_ = self.startMaster()
        self.worker_ = self.startWorker()
        self.listen("w1", self.worker_, self.home)

    def startMaster(self, **keywords: Any) -> MasterService:
        return self.master(
            self.hub,
            registrar=self.registrar,
            hostName="manager",
            state=self.masterState,
            openRequests=self.masterNotes,
            **keywords,
        )

    def startWorker(self) -> WorkerService:
        # Nothing but registrations is of interest here.
        return self.worker(
            home=self.home,
            state=self.workerState,
            openRequests=self.workerNotes,
            integrityInterval=10_000.0,
        )

    def listen(
        self, host: str, node: MasterService | WorkerService, home: FilePath[str]
    ) -> EnrollmentService:
        assert node.enroller is not None
        service = EnrollmentService(
            self.clock,
            self.network.server(host, 1515),
            node.enroller,
            AuthSettings(),
            home.path,
            runner=self.runner,
            hostName=f"{host}-host",
        )
        service.startService()
        self.services.append(service)
        return service

    def dial(self, line: bytes = ADD, host: str = "w1", source: str = "10.0.0.9") -> FakeAgent:
        agent = self.agents.dial(host, line, source)
        self.turn()
        return agent

    def turn(self) -> None:
        """
        Let everything happen that needs no time.
        """
        self.clock.pump([0] * 5)

    def kept(self) -> list[bytes]:
        """
        What the worker is to undo, over a restart.
        """
        return [
            bytes.fromhex(line.decode("ascii"))
            for line in (self.workerState.load(STATE) or b"").split()
        ]

    def stopMaster(self) -> None:
        self.stop(self.master_)

    def killAll(self) -> None:
        """
        All nodes are killed: what they do when they stop leaves no trace.
        """
        states = copy.deepcopy((self.masterState, self.workerState))
        notes = copy.deepcopy((self.masterNotes, self.workerNotes))
        for host in ("w1", "master"):
            self.network.stall(host)
        self.registrar.failure = StoreFailed("there is no process")
        for service in self.services[::-1]:
            self.stop(service)
        self.registrar.failure = None
        for host in ("w1", "master"):
            self.network.cut(host)
            self.network.heal(host)
        self.masterState, self.workerState = states
        self.masterNotes, self.workerNotes = notes


class RedirectTests(RegistrationCase):
    """
    Registrations at a worker while all goes well.
    """

    def test_interfaces(self) -> None:
        """
        The adapters provide their ports.
        """
        verifyObject(IRegistrar, self.registrar)
        verifyObject(IEnroller, self.worker_.enroller)
        verifyObject(IEnroller, self.master_.enroller)

    def test_enrolled(self) -> None:
        """
        The master decides; the agent gets its key from the worker.
        """
        agent = self.dial(b"OSSEC A:'web-1' G:'default' IP:'src' K:'" + b"0" * 40 + b"'\n")
        self.assertEqual(f"OSSEC K:'001 web-1 10.0.0.9 {keyOf(1)}'".encode(), agent.received)
        ((request, requestId, origin),) = self.registrar.requests
        wanted = Registration("web-1", "10.0.0.9", ("default",), "0" * 40)
        self.assertEqual((wanted, 16, "w1"), (request, len(requestId), origin))
        self.assertEqual([], self.kept())

    def test_refused(self) -> None:
        """
        A refusal comes back in the words that a worker's authd has.
        """
        self.dial()
        for line, text in (
            (ADD, "Duplicate name"),
            (b"OSSEC A:'web-2' G:'nosuch'\n", "Invalid Group(s) Name(s)"),
            # The worker's own name is no concern of the master's, and the other
            # way round.
            (b"OSSEC A:'w1-host'\n", "Invalid agent name: w1-host"),
            (b"OSSEC A:'manager'\n", "Duplicate name"),
        ):
            wanted = f"ERROR: {text}. Unable to add agent".encode()
            self.assertEqual(wanted, self.dial(line).received)
        self.dial(b"OSSEC A:'web-3' IP:'10.0.0.1'\n")
        self.assertEqual(
            b"ERROR: Duplicate IP. Unable to add agent",
            self.dial(b"OSSEC A:'web-4' IP:'10.0.0.1'\n").received,
        )
        self.assertEqual([], self.registrar.undoCalls)

    def test_registrarFails(self) -> None:
        """
        What the registrar cannot do, it says in the master's log; the agent
        hears that there is an internal error.
        """
        self.registrar.failure = StoreFailed("client.keys: No space left on device")
        wanted = b"ERROR: Internal error. Unable to add agent"
        self.assertEqual(wanted, self.dial().received)
        self.registrar.failure = None
        self.assertIn(b"OSSEC K:", self.dial().received)
        self.assertEqual([], self.registrar.undoCalls)

    def test_registrarHasABug(self) -> None:
        """
        What nobody declares is a bug of the master; nobody knows what it has
        done, so it is undone.
        """
        self.registrar.failure = ZeroDivisionError()
        self.assertEqual(UNREACHABLE, self.dial().received)
        self.assertLess(0, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.registrar.failure = None
        self.pass_(11)
        self.assertIn(self.registrar.requests[0][1], [each for each, _ in self.registrar.undoCalls])
        self.assertEqual([], self.kept())

    def test_twoHundred(self) -> None:
        """
        Two hundred at once all get an agent of their own, and the link has no
        more under way than it may.
        """
        self.registrar.holdAfter = True
        agents = [
            self.agents.dial("w1", b"OSSEC A:'web-%03d'\n" % n, f"10.0.{n}.1") for n in range(200)
        ]
        self.turn()
        self.assertEqual(Limits().registrations, len(self.registrar.requests))
        self.registrar.release()
        self.turn()
        ids = {each.received.split(b" ")[1] for each in agents if b"OSSEC K:" in each.received}
        self.assertEqual(200, len(ids))
        self.assertEqual(200, len(self.registrar.requests))

    def test_masterIsBusy(self) -> None:
        """
        A master that lets fewer be under way is asked again.
        """
        self.stopMaster()
        self.master_ = self.startMaster(limits=Limits(registrations=1))
        self.pass_(2)
        self.registrar.holdAfter = True
        agents = [self.agents.dial("w1", b"OSSEC A:'web-%d'\n" % n) for n in range(5)]
        self.turn()
        self.assertEqual(1, len(self.registrar.requests))
        self.registrar.release()
        self.pass_(3)
        self.assertTrue(all(b"OSSEC K:" in each.received for each in agents))
        self.assertEqual([], self.registrar.undoCalls)

    def test_masterThatRegistersNobody(self) -> None:
        """
        A master without a registrar is no place to enroll, which is said at
        once and in the log.
        """
        self.stopMaster()
        self.master_ = self.master(self.hub, state=self.masterState)
        self.pass_(2)
        self.assertEqual(UNREACHABLE, self.dial().received)
        self.assertIsNone(self.master_.enroller)
        self.assertEqual([], self.kept())


class CutTests(RegistrationCase):
    """
    The link is cut at each step of a registration.
    """

    def assertOneAgent(self, agent: FakeAgent) -> None:
        """
        The agent has the key of the one agent that there is.
        """
        (registered,) = self.registrar.agents.values()
        self.assertIn(registered.key.encode(), agent.received)
        self.assertEqual([], self.registrar.undoCalls)
        self.assertEqual([], self.kept())

    def assertUndone(self, agent: FakeAgent) -> None:
        """
        The agent was told no, and when the link is back, nothing is left of
        it; the same request is refused for ever.
        """
        self.assertEqual(UNREACHABLE, agent.received)
        self.pass_(30)
        self.assertEqual({}, self.registrar.agents)
        self.assertEqual([], self.kept())

    def test_beforeSending(self) -> None:
        """
        Without a link, a request waits for one.
        """
        self.network.cut("master")
        agent = self.dial()
        self.assertEqual([], self.registrar.requests)
        self.pass_(5)
        self.assertOneAgent(agent)
        self.assertEqual(1, len(self.registrar.requests))

    def test_beforeSendingForTooLong(self) -> None:
        """
        If none comes, the agent is told so within ten seconds, and nothing is
        to be undone.
        """
        self.stopMaster()
        agent = self.dial()
        self.pass_(9.75)
        self.assertEqual((UNREACHABLE, True), (agent.received, agent.gone))
        self.assertEqual([], self.kept())
        self.master_ = self.startMaster()
        self.pass_(25)
        self.assertEqual(([], []), (self.registrar.requests, self.registrar.undoCalls))

    def test_onItsWay(self) -> None:
        """
        A request that the master never got is sent again.
        """
        self.network.stall("master")
        agent = self.dial()
        self.network.cut("master")
        self.network.heal("master")
        self.pass_(5)
        self.assertOneAgent(agent)
        self.assertEqual(1, len(self.registrar.requests))

    def test_beforeTheJournal(self) -> None:
        """
        One that the master has, but has not done yet, is known by its id.
        """
        self.registrar.holdBefore = True
        agent = self.dial()
        self.network.cut("master")
        self.pass_(2)
        self.registrar.release()
        self.turn()
        self.assertOneAgent(agent)
        self.assertEqual(2, len(self.registrar.requests))
        self.assertEqual(1, len({each[1] for each in self.registrar.requests}))

    def test_beforeTheAnswer(self) -> None:
        """
        So is one that is durable and was not answered.
        """
        self.registrar.holdAfter = True
        agent = self.dial()
        self.network.cut("master")
        self.registrar.release()
        self.pass_(5)
        self.assertOneAgent(agent)

    def test_masterDies(self) -> None:
        """
        So is one whose master was killed when it was durable, if it comes back
        in time.
        """
        self.registrar.holdAfter = True
        agent = self.dial()
        self.stopMaster()
        self.registrar.holdAfter = False
        self.master_ = self.startMaster()
        self.pass_(5)
        self.assertOneAgent(agent)

    def test_answerIsLost(self) -> None:
        """
        One whose answer got lost on its way is asked for again.
        """
        self.registrar.holdAfter = True
        agent = self.dial()
        self.network.stall("master")
        self.registrar.release()
        self.network.cut("master")
        self.network.heal("master")
        self.pass_(5)
        self.assertOneAgent(agent)

    def test_masterStaysAway(self) -> None:
        """
        If it stays away, the request is on the list, durably, before the agent
        is told, and undone when the link is back.
        """
        self.registrar.holdAfter = True
        agent = self.dial()
        self.stopMaster()
        self.watchTheList(agent)
        self.pass_(9.75)
        self.assertEqual(UNREACHABLE, agent.received)
        self.assertEqual(["listed", "told"], self.order)
        self.assertEqual([self.registrar.requests[0][1]], self.kept())
        self.assertEqual(["web-1"], self.registrar.names())
        self.registrar.release()
        self.master_ = self.startMaster()
        self.assertUndone(agent)

    def test_askedAgainMeanwhile(self) -> None:
        """
        The agent's next attempt, made before the link is back, is no duplicate
        of the one that is to be undone; also when the worker is another process
        by then.
        """
        for restarted in (False, True):
            self.registrar.holdAfter = True
            self.dial()
            self.stopMaster()
            self.pass_(9.75)
            self.assertEqual(1, len(self.kept()))
            if restarted:
                for service in self.services[::-1]:
                    self.stop(service)
                self.worker_ = self.startWorker()
                self.listen("w1", self.worker_, self.home)
            agent = self.dial()
            self.registrar.release()
            self.assertEqual(["web-1"], self.registrar.names())
            self.master_ = self.startMaster()
            self.pass_(8)
            self.assertIn(b"OSSEC K:", agent.received)
            ((number, registered),) = self.registrar.agents.items()
            self.assertIn(registered.key.encode(), agent.received)
            self.assertEqual([], self.kept())
            del self.registrar.agents[number]

    def watchTheList(self, agent: FakeAgent) -> None:
        """
        Note in which order the list is saved and the agent is told.
        """
        self.order: list[str] = []
        received, save = agent.dataReceived, self.workerState.save

        def told(data: bytes) -> None:
            self.order.append("told")
            received(data)

        def saved(name: str, content: bytes) -> None:
            save(name, content)
            if name == STATE:
                self.order.append("listed")

        agent.dataReceived = told  # type: ignore[method-assign]
        self.workerState.save = saved  # type: ignore[method-assign]

    def test_masterHangs(self) -> None:
        """
        A master whose disk hangs: the agent is told, other things go on, and
        what the master does in the end is undone.
        """
        self.registrar.holdBefore = True
        agent = self.dial()
        self.pass_(9.75)
        self.assertEqual(UNREACHABLE, agent.received)
        self.pass_(60)
        self.assertIsNotNone(self.worker_.master)
        self.registrar.release()
        self.turn()
        self.assertEqual({}, self.registrar.agents)
        self.assertEqual([], self.kept())

    def test_refusedOnTheNextLink(self) -> None:
        """
        A request that is refused on the second link may have been done on the
        first: it is undone too.
        """
        self.registrar.holdAfter = True
        agent = self.dial()
        self.network.cut("master")
        self.registrar.holdAfter = False
        self.registrar.failure = RegistrationRefused.of(9001, "Internal error")
        self.pass_(2)
        self.assertEqual(b"ERROR: Internal error. Unable to add agent", agent.received)
        self.registrar.failure = None
        self.pass_(11)
        self.assertEqual({}, self.registrar.agents)

    def test_sameTextIsADuplicate(self) -> None:
        """
        The same request from somebody else is a duplicate and gets no key of
        an agent that exists, whether that was answered or not.
        """
        self.registrar.holdAfter = True
        agent = self.dial()
        self.network.cut("master")
        self.registrar.holdAfter = False
        stranger = self.dial(source="10.0.0.66")
        self.pass_(5)
        self.assertEqual(b"ERROR: Duplicate name. Unable to add agent", stranger.received)
        self.assertOneAgent(agent)

    def test_atMostOneUnusedEntry(self) -> None:
        """
        However often a link is cut, one request makes one agent.
        """
        self.registrar.holdAfter = True
        agent = self.dial()
        for _ in range(8):
            self.network.cut("master")
            self.pass_(1)
        self.assertEqual(1, len(self.registrar.agents))
        self.assertGreater(len(self.registrar.requests), 3)
        self.registrar.release()
        # The answers on the links that are gone do not count.
        self.pass_(ABANDON_AFTER + 10)
        self.assertOneAgent(agent)

    def test_everyMoment(self) -> None:
        """
        Cut after any number of turns, and whether or not the link comes back in
        time: the agent has the key of the only agent, or there is none.
        """
        for turns in range(12):
            for away in (0.0, 12.0):
                line = b"OSSEC A:'web-%d-%d'\n" % (turns, away)
                agent = self.agents.dial("w1", line)
                self.clock.pump([0] * turns)
                self.network.cut("master")
                if away:
                    self.stopMaster()
                    self.pass_(away)
                    self.master_ = self.startMaster()
                self.pass_(30)
                if b"OSSEC K:" in agent.received:
                    (registered,) = self.registrar.agents.values()
                    self.assertIn(registered.key.encode(), agent.received)
                else:
                    self.assertEqual(UNREACHABLE, agent.received)
                    self.assertEqual({}, self.registrar.agents)
                self.assertEqual([], self.kept())
                self.registrar.agents.clear()


class GoneTests(RegistrationCase):
    """
    The agent goes away before its answer.
    """

    def test_beforeTheAnswer(self) -> None:
        """
        Its registration is undone, over the link that is there.
        """
        for hold in ("holdBefore", "holdAfter"):
            setattr(self.registrar, hold, True)
            agent = self.dial()
            agent.leave()
            self.turn()
            self.registrar.release()
            self.turn()
            self.assertEqual({}, self.registrar.agents, hold)
            self.assertEqual([], self.kept())
        self.assertEqual(2, len(self.registrar.undoCalls))

    def test_overALostLink(self) -> None:
        """
        Or when there is one again, also after a restart of the worker.
        """
        self.registrar.holdAfter = True
        agent = self.dial()
        self.stopMaster()
        agent.leave()
        self.turn()
        self.assertEqual([self.registrar.requests[0][1]], self.kept())
        for service in self.services[::-1]:
            self.stop(service)
        self.registrar.release()
        self.assertEqual(["web-1"], self.registrar.names())
        self.master_ = self.startMaster()
        self.worker_ = self.startWorker()
        self.pass_(2)
        self.assertEqual(({}, []), (self.registrar.agents, self.kept()))

    def test_beforeItWasSent(self) -> None:
        """
        What was never sent is not undone.
        """
        self.network.cut("master")
        self.dial().leave()
        self.pass_(30)
        self.assertEqual(([], []), (self.registrar.requests, self.registrar.undoCalls))

    def test_afterTheAnswer(self) -> None:
        """
        An answered registration stays, whatever happens then.
        """
        agent = self.dial()
        self.network.cut("10.0.0.9")
        self.network.cut("master")
        self.pass_(60)
        self.assertIn(b"OSSEC K:", agent.received)
        self.assertEqual((["web-1"], []), (self.registrar.names(), self.registrar.undoCalls))

    def test_undoIsTriedAgain(self) -> None:
        """
        An undo that the master cannot do now is asked for again.
        """
        self.registrar.holdAfter = True
        agent = self.dial()
        agent.leave()
        self.registrar.failure = StoreFailed("client.keys: No space left on device")
        self.turn()
        self.assertEqual(1, len(self.kept()))
        self.registrar.release()
        self.pass_(21)
        self.assertEqual(["web-1"], self.registrar.names())
        self.registrar.failure = None
        self.pass_(11)
        self.assertEqual(({}, []), (self.registrar.agents, self.kept()))

    def test_workerStops(self) -> None:
        """
        What is under way when a worker stops is on its list.
        """
        self.registrar.holdAfter = True
        agent = self.dial()
        self.stop(self.worker_)
        self.assertEqual(UNREACHABLE, agent.received)
        self.assertEqual([self.registrar.requests[0][1]], self.kept())
        enrolling = self.worker_.enroller.enroll(Registration("web-2"))
        self.failureResultOf(enrolling, EnrollmentRefused)

    def test_workerIsKilled(self) -> None:
        """
        What a master could not answer because the worker was killed is undone
        by the master itself, but not as long as the worker may still ask.
        """
        self.registrar.holdAfter = True
        self.dial()
        # The process is gone: nothing that it says is heard any more.
        self.network.stall("w1")
        self.stop(self.worker_)
        self.network.cut("w1")
        self.registrar.release()
        self.pass_(ABANDON_AFTER - 1)
        self.assertEqual(["web-1"], self.registrar.names())
        self.pass_(2)
        self.assertEqual([], self.registrar.names())

    def test_allAreKilled(self) -> None:
        """
        What was under way when both were killed is undone as soon as both are
        back, also when agents ask at the master; what was answered stays.
        """
        self.listen("master", self.master_, self.hub)
        for host, notes in (("w1", self.workerNotes), ("master", self.masterNotes)):
            self.assertIn(
                b"OSSEC K:", self.dial(b"OSSEC A:'has-%s'\n" % host.encode(), host).received
            )
            self.registrar.holdAfter = True
            self.dial(b"OSSEC A:'asks-%s'\n" % host.encode(), host)
            self.registrar.holdAfter = False
            self.assertEqual([self.registrar.requests[-1][1]], list(notes.ids))
        self.killAll()
        self.assertEqual([], self.kept())
        self.master_ = self.startMaster()
        self.turn()
        self.assertEqual(["asks-w1", "has-master", "has-w1"], self.registrar.names())
        self.worker_ = self.startWorker()
        self.turn()
        self.assertEqual(["has-master", "has-w1"], self.registrar.names())
        self.assertEqual(({}, {}), (self.masterNotes.ids, self.workerNotes.ids))
        self.assertEqual([], self.kept())

    def test_killedOnceMore(self) -> None:
        """
        What is noted is forgotten only when it was undone.
        """
        self.registrar.holdAfter = True
        self.dial()
        self.killAll()
        for _ in range(2):
            self.worker_ = self.startWorker()
            self.turn()
            self.killAll()
        self.assertEqual(["web-1"], self.registrar.names())
        self.master_ = self.startMaster()
        self.worker_ = self.startWorker()
        self.turn()
        self.assertEqual(({}, {}), (self.registrar.agents, self.workerNotes.ids))


class FullDiskTests(RegistrationCase):
    """
    The worker's own disk does not take the list.
    """

    def test_full(self) -> None:
        """
        The agent is told in time all the same, the log says so, and the undo
        is sent while the process lives.
        """
        self.registrar.holdAfter = True
        agent = self.dial()
        self.workerState.full = True
        self.pass_(9.25)
        self.assertEqual(UNREACHABLE, agent.received)
        self.registrar.release()
        self.pass_(11)
        self.assertEqual({}, self.registrar.agents)
        self.workerState.full = False
        self.pass_(11)
        self.assertEqual([], self.kept())


class HangingDiskTests(RegistrationCase):
    """
    The worker's own disk hangs.
    """

    def runner(self, name: str) -> IRunner:
        # A slice of it takes longer than anybody waits.
        slow = name == "registrations"
        return ClockRunner(self.clock, 100.0) if slow else ImmediateRunner()

    def test_hangs(self) -> None:
        """
        The agent is told within ten seconds.
        """
        self.registrar.holdAfter = True
        agent = self.dial()
        self.pass_(PATIENCE)
        self.assertEqual(b"", agent.received)
        self.pass_(SAVE_PATIENCE + 0.1, 0.05)
        self.assertEqual(UNREACHABLE, agent.received)


class OwnDoorTests(RegistrationCase):
    """
    Agents at the master's own listener.
    """

    def setUp(self) -> None:
        super().setUp()
        self.listen("master", self.master_, self.hub)

    def dialHub(self, line: bytes = ADD) -> FakeAgent:
        return self.dial(line, "master")

    def test_enrolled(self) -> None:
        """
        They are registered by the registrar, under the master's own name.
        """
        agent = self.dialHub()
        self.assertEqual(f"OSSEC K:'001 web-1 any {keyOf(1)}'".encode(), agent.received)
        self.assertEqual("hub", self.registrar.requests[0][2])

    def test_words(self) -> None:
        """
        A master's authd says more than a worker's.
        """
        self.dialHub(b"OSSEC A:'web-1' IP:'10.0.0.1'\n")
        for line, text in (
            (ADD, "Duplicate agent name: web-1"),
            (b"OSSEC A:'web-2' IP:'10.0.0.1'\n", "Duplicate IP: 10.0.0.1"),
            (b"OSSEC A:'web-2' G:'nosuch'\n", "Invalid group: nosuch"),
        ):
            wanted = f"ERROR: {text}. Unable to add agent".encode()
            self.assertEqual(wanted, self.dialHub(line).received)
        internal = b"ERROR: Internal manager error adding agent: web-9. Unable to add agent"
        for failure in (
            StoreFailed("the disk is full"),
            RegistrationRefused.of(9009, "Issue generating key"),
        ):
            self.registrar.failure = failure
            self.assertEqual(internal, self.dialHub(b"OSSEC A:'web-9'\n").received)
        self.assertEqual([], self.registrar.undoCalls)

    def test_goneBeforeTheAnswer(self) -> None:
        """
        An agent that went is undone, and stays so.
        """
        self.registrar.holdBefore = True
        self.dialHub().leave()
        self.turn()
        self.registrar.release()
        self.turn()
        self.assertEqual({}, self.registrar.agents)
        self.assertEqual(1, len(self.registrar.undoCalls))

    def test_registrarHangs(self) -> None:
        """
        With a registrar that hangs, the agent is told within ten seconds, and
        what comes of it is undone; the list of that is durable first.
        """
        self.registrar.holdBefore = True
        agent = self.dialHub()
        self.pass_(9.75)
        self.assertIn(b"Internal manager error adding agent: web-1", agent.received)
        self.registrar.release()
        self.turn()
        self.assertEqual({}, self.registrar.agents)

    def test_masterIsRestarted(self) -> None:
        """
        What was to be undone when the master was stopped is undone by the next
        process.
        """
        self.registrar.holdAfter = True
        self.dialHub()
        self.registrar.failure = StoreFailed("client.keys: No space left on device")
        for service in self.services[::-1]:
            self.stop(service)
        self.assertIsNotNone(self.masterState.load(STATE))
        self.registrar.failure = None
        self.startMaster()
        self.turn()
        self.assertEqual({}, self.registrar.agents)
        self.assertIsNone(self.masterState.load(STATE))


class MasterTests(RegistrationCase):
    """
    What a master lets a worker ask.
    """

    def ask(self, **arguments: Any) -> Deferred[dict[str, Any]]:
        wanted = {"request": b"r" * 16, "name": "web-1", "ip": "any", **arguments}
        asking = Deferred.fromCoroutine(self.worker_.call(RegisterAgent, **wanted))
        self.turn()
        return asking

    def test_checkedAgain(self) -> None:
        """
        A worker is not trusted to have looked at what it passes on.
        """
        for arguments, code in (
            ({"name": "x"}, 9005),
            ({"name": "a b"}, 9005),
            ({"name": "../etc"}, 9005),
            ({"name": "web\n002 evil any 0"}, 9005),
            ({"name": "manager"}, 9008),
            ({"ip": "src"}, 9006),
            ({"ip": "10.0.0.1 x"}, 9006),
            ({"ip": ""}, 9006),
            ({"groups": "a,,b"}, 9014),
            ({"groups": ".."}, 9014),
            ({"groups": ""}, 9014),
            ({"groups": "a/b"}, 9014),
        ):
            refusal = self.failureResultOf(self.ask(**arguments), RegistrationRefused)
            self.assertEqual(code, refusal.value.code, arguments)
        self.assertEqual([], self.registrar.requests)
        # In its one form, whatever the worker made of it.
        self.successResultOf(self.ask(ip="fe80::1", groups="default,default", keyHash="?"))
        wanted = Registration("web-1", "FE80:0000:0000:0000:0000:0000:0000:0001", ("default",))
        self.assertEqual(wanted, self.registrar.requests[0][0])

    def test_originIsTheCertificates(self) -> None:
        """
        Another worker's request id is not known: the name in the certificate
        is part of it.
        """
        self.successResultOf(self.ask())
        other = self.worker("w2", integrityInterval=10_000.0)
        asking = Deferred.fromCoroutine(
            other.call(RegisterAgent, request=b"r" * 16, name="web-1", ip="any")
        )
        self.turn()
        self.failureResultOf(asking, RegistrationRefused)
        undoing = Deferred.fromCoroutine(other.call(UndoRegistration, requests=b"r" * 16))
        self.turn()
        self.successResultOf(undoing)
        self.assertEqual(["web-1"], self.registrar.names())
        self.assertEqual({"w1", "w2"}, {each[2] for each in self.registrar.requests})

    def test_tooMany(self) -> None:
        """
        One worker has so many under way and no more; the link goes on.
        """
        self.registrar.holdAfter = True
        asking = [
            self.ask(request=b"%016d" % n, name=f"web-{n}") for n in range(Limits().registrations)
        ]
        self.failureResultOf(self.ask(name="late"), TooBusy)
        self.assertIsNotNone(self.worker_.master)
        self.registrar.release()
        self.turn()
        for each in asking:
            self.successResultOf(each)
        self.successResultOf(self.ask(name="late"))

    def test_ragged(self) -> None:
        """
        Half an id is a violation.
        """
        undoing = Deferred.fromCoroutine(self.worker_.call(UndoRegistration, requests=b"x" * 24))
        self.turn()
        self.failureResultOf(undoing, LinkClosed)
        self.assertEqual([], self.registrar.undoCalls)

    def test_highestId(self) -> None:
        """
        The ids that a worker ever held are not given again, also by a master
        that was made anew.
        """
        self.write(self.hub, "etc/client.keys", b"1234 web any a\n0200 !old any b\n")
        self.pass_(9)
        self.poke(self.worker_)
        self.assertEqual(b"1234\n", self.workerState.load("highest-agent"))
        for service in self.services[::-1]:
            self.stop(service)
        self.registrar = MemoryRegistrar()
        self.master_ = self.startMaster()
        self.worker_ = self.startWorker()
        self.turn()
        self.assertEqual(1235, self.successResultOf(self.ask())["id"])

    def poke(self, worker: WorkerService) -> None:
        worker.threads["Integrity"].poke()
        self.turn()

    def test_highestIdOfAnAgentEnrolledHere(self) -> None:
        """
        So are those that the worker itself gave to agents, before it has the
        new C{client.keys}.
        """
        self.registrar.top = 41
        self.dial()
        self.stopMaster()
        self.registrar = MemoryRegistrar()
        self.master_ = self.startMaster()
        self.pass_(5)
        self.assertEqual(42, self.registrar.top)

    def test_unbelievableId(self) -> None:
        """
        A worker cannot use up all ids.
        """
        self.stop(self.worker_)
        self.workerState.save("highest-agent", b"%d\n" % (HIGHEST_BELIEVED + 1))
        self.worker_ = self.startWorker()
        self.turn()
        self.assertIsNotNone(self.worker_.master)
        self.assertEqual(0, self.registrar.top)

    def test_seenFails(self) -> None:
        """
        A registrar that cannot note it does not keep a worker from joining.
        """
        self.stop(self.worker_)
        self.workerState.save("highest-agent", b"7\n")
        self.registrar.failure = StoreFailed("client.keys: No space left on device")
        self.worker_ = self.startWorker()
        self.turn()
        self.assertIsNotNone(self.worker_.master)

    def test_abandonedIsAskedForAgain(self) -> None:
        """
        What could not be answered is not undone when it was asked for again
        and answered.
        """
        self.registrar.holdAfter = True
        self.dial()
        self.network.cut("master")
        self.registrar.release()
        self.pass_(ABANDON_AFTER + 10)
        self.assertEqual((["web-1"], []), (self.registrar.names(), self.registrar.undoCalls))


class EnrollerTests(RegistrationCase):
    """
    The worker's enroller, as an application uses it.
    """

    def enroll(self, name: str = "web-1") -> Deferred[Enrolled]:
        enrolling = self.worker_.enroller.enroll(Registration(name))
        self.turn()
        return enrolling

    def test_undo(self) -> None:
        """
        What was enrolled can be undone in the turn in which it came.
        """
        enrolled = self.successResultOf(self.enroll())
        self.assertEqual(Agent(1, "web-1", "any", keyOf(1)), enrolled.agent)
        enrolled.undo()
        self.turn()
        self.assertEqual({}, self.registrar.agents)

    def test_cancel(self) -> None:
        """
        Cancelling undoes, at whatever moment.
        """
        for when in ("holdBefore", "holdAfter"):
            setattr(self.registrar, when, True)
            enrolling = self.enroll()
            enrolling.cancel()
            self.failureResultOf(enrolling)
            self.registrar.release()
            self.turn()
            self.assertEqual({}, self.registrar.agents)

    def test_cancelWhileItIsListed(self) -> None:
        """
        Also while the list is being saved.
        """
        self.registrar.holdAfter = True
        enrolling = self.enroll()
        self.pass_(PATIENCE)
        enrolling.cancel()
        self.registrar.release()
        self.pass_(11)
        self.assertEqual({}, self.registrar.agents)
        self.failureResultOf(enrolling)
