"""
The master as a service: its port and its threads.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.protocols.amp import Command, IResponderLocator

from wazuh_cluster import __version__
from wazuh_cluster.agents.fleet import DISCONNECTION_TIME
from wazuh_cluster.agents.interfaces import (
    IAgentSource,
    IAgentStore,
    IAssignments,
    IFleet,
    IRegistrar,
)
from wazuh_cluster.agents.keysfile import FOLDER, NAME
from wazuh_cluster.defaults import stateOf, threadRunners, trustOf, watcherOf
from wazuh_cluster.enrollment import IEnroller, IOpenRequests, NoOpenRequests
from wazuh_cluster.errors import LinkClosed
from wazuh_cluster.home import homeId
from wazuh_cluster.integrity import Snapshot
from wazuh_cluster.interfaces import IClusterTrust, IRunner, IState, ITree, IWatcher
from wazuh_cluster.journal import KEEP_ALIVE, LOCAL_INTEGRITY, MAIN, Journal
from wazuh_cluster.listening import Listening
from wazuh_cluster.master.agentcounts import AgentCounts
from wazuh_cluster.master.agents import MasterAgents
from wazuh_cluster.master.doorstep import DoorstepFactory
from wazuh_cluster.master.generations import Generations
from wazuh_cluster.master.integrity import MasterIntegrity
from wazuh_cluster.master.known import KnownNodes
from wazuh_cluster.master.listener import SessionFactory
from wazuh_cluster.master.locator import MasterLocator
from wazuh_cluster.master.node import MasterNode
from wazuh_cluster.master.session import Session
from wazuh_cluster.master.status import INTERVAL as STATUS_INTERVAL
from wazuh_cluster.master.status import MasterStatus
from wazuh_cluster.master.statusanswers import ClusterAnswers
from wazuh_cluster.master.wakeups import Wakeups
from wazuh_cluster.memory import residentSize
from wazuh_cluster.model import MASTER, Identity, JoinedWorker, NodeName
from wazuh_cluster.periodic import Periodic
from wazuh_cluster.protocol import Codec, Limits, OwnLocator, locatorsFor
from wazuh_cluster.requests.table import Requests
from wazuh_cluster.status import EventRing, Trouble
from wazuh_cluster.steadyclock import SteadyClock
from wazuh_cluster.trust import ClusterKey
from wazuh_cluster.uptime import bootId as systemBootId
from wazuh_cluster.uptime import uptime as systemUptime

#: Seconds between two scans.
INTERVAL = 8.0

#: Seconds from the beginning of one scan to that of the next when there is always
#: something new. Workers install keys at most once a second.
PACE = 1.0

#: After how many seconds a scan is reported as hung; the first one reads all.
HUNG_AFTER = 900.0

_KEYS = FOLDER + b"/" + NAME

#: Threads in which files are read for workers.
PACK_RUNNERS = 2


class MasterService(MultiService):
    """
    A master. The port opens in C{privilegedStartService}, or in
    C{startService} where nobody calls that; what follows needs no privileges.

    @ivar fileIntegrity: the thread File integrity.
    @ivar checkKeepAlives: the thread Check keep-alives.
    @ivar agents: what it does for agents.
    @ivar status: what it knows of the cluster.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        name: NodeName,
        trust: ClusterKey | IClusterTrust,
        endpoint: IStreamServerEndpoint,
        tree: ITree,
        *,
        cluster: str = "wazuh",
        state: IState | None = None,
        runner: Callable[[str], IRunner] | None = None,
        watcher: IWatcher | None = None,
        locators: Sequence[OwnLocator] = (),
        openRequests: IOpenRequests | None = None,
        registrar: IRegistrar | None = None,
        store: IAgentStore | None = None,
        agents: IAgentSource | None = None,
        fleet: IFleet | None = None,
        assignments: IAssignments | None = None,
        administrators: Collection[str] = (),
        limits: Limits | None = None,
        codecs: Sequence[Codec] = (),
        wallClock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
        uptime: Callable[[], float] = systemUptime,
        bootId: Callable[[], str] = systemBootId,
        hostName: str | None = None,
        wazuhVersion: str = "",
        integrityInterval: float = INTERVAL,
        agentInfoInterval: float = 10.0,
        disconnectionTime: float = DISCONNECTION_TIME,
        checkInterval: float = 60.0,
        silence: float = 120.0,
        statusInterval: float = STATUS_INTERVAL,
        address: str = "",
        troubles: Sequence[Trouble] = (),
        memory: Callable[[], int] = residentSize,
    ) -> None:
        """
        @param trust: the cluster key, or a trust of one's own.
        @param state: where to keep the home's id and the generation's number;
            by default below the tree.
        @param runner: makes the runner of a name; threads by default.
        @param watcher: tells of changes in the tree; by default the kernel, if
            the tree is on a disk and the reactor can wait for it.
        @param locators: responders of commands of one's own; they answer
            workers that joined. What is no locator is called with a worker's
            L{Session} and gives one, which answers that worker.
        @param openRequests: where it is noted which agents are enrolling here;
            by default nowhere.
        @param hostName: the name that no agent may have; by default this
            machine's.
        @param registrar: registers agents; without one, this master does not.
        @param store: the records of the fleet's agents; they are kept only
            where there is a C{registrar} too.
        @param agents: the records of the agents that report to this master
            itself.
        @param fleet: the agents for tables; by default registrar and store
            together.
        @param assignments: the groups. Without a registrar nobody comes into
            one, for only registered agents do.
        @param administrators: the workers at which agents may be removed and
            groups changed.
        @param codecs: what files may travel compressed with, where a worker has
            it as well; see L{codecsHere<wazuh_cluster.protocol.codecsHere>}.
        @param uptime: the monotonic clock, see L{wazuh_cluster.uptime}.
        @param bootId: what tells this start of the system from others, likewise.
        @param random: makes the home's id.
        @param wazuhVersion: the manager's version, for tables.
        @param integrityInterval: seconds between two scans.
        @param disconnectionTime: after how many seconds without a word an agent
            counts as disconnected.
        @param checkInterval: seconds between two looks for silent workers.
        @param silence: how long a worker may send no keep-alive, in seconds.
        @param statusInterval: seconds between two looks for what is wrong in
            the cluster.
        @param address: where this master is, for people.
        @param troubles: what is wrong with the node's configuration, to be
            shown.
        @param memory: how many bytes of memory the process has, for tables.
        """
        super().__init__()
        self.setName("master")
        self._reactor = reactor
        self._tree = tree
        self._state = stateOf(tree) if state is None else state
        self._locators = tuple(locators)
        self._limits = limits or Limits()
        self._codecs = tuple(codecs)
        self._wallClock = wallClock
        self._uptime = uptime
        self._bootId = bootId
        self._steady = SteadyClock(wallClock, uptime)
        self._random = random
        self._silence = silence
        self._wazuhVersion = wazuhVersion
        self._trust = trustOf(trust, Identity(cluster, MASTER, name))
        makeRunner = threadRunners(reactor) if runner is None else runner
        self._scanRunner = makeRunner("integrity")
        self._packRunners = [makeRunner(f"packs-{n + 1}") for n in range(PACK_RUNNERS)]
        self._runners = [self._scanRunner, *self._packRunners]
        self._log = Journal(MAIN)
        self._snapshot: Snapshot | None = None
        self._node: MasterNode | None = None
        self._integrity: MasterIntegrity | None = None
        self._listening = Listening(endpoint)
        self._doorsteps: DoorstepFactory | None = None
        self._factory = SessionFactory(self._session, self._limits)
        self.fileIntegrity = Periodic(
            "File integrity",
            integrityInterval,
            self._recalculate,
            reactor,
            Journal(LOCAL_INTEGRITY),
            hungAfter=HUNG_AFTER,
            pace=PACE,
        )
        self._wakeups = Wakeups(
            watcherOf(tree, reactor) if watcher is None else watcher,
            tree.items,
            reactor,
            lambda: self.fileIntegrity.interval,
            self.fileIntegrity.poke,
        )
        self.checkKeepAlives = Periodic(
            "Check keep-alives",
            checkInterval,
            lambda: self.node.dropSilent(self._silence),
            reactor,
            Journal(KEEP_ALIVE),
            now=False,
        )
        self.agents = MasterAgents(
            name,
            reactor,
            self._state,
            makeRunner,
            self._limits,
            self._steady,
            uptime,
            random,
            socket.gethostname() if hostName is None else hostName,
            self._wakeups.written,
            NoOpenRequests() if openRequests is None else openRequests,
            registrar=registrar,
            store=store,
            source=agents,
            fleet=fleet,
            assignments=assignments,
            administrators=administrators,
            agentInfoInterval=agentInfoInterval,
            disconnectionTime=disconnectionTime,
        )
        self._statusRunner = makeRunner("status")
        self._runners.append(self._statusRunner)
        self.status = MasterStatus(
            self._trust.identity,
            tree.items,
            KnownNodes(self._state, self._statusRunner, wallClock),
            AgentCounts(self.agents.fleet, reactor),
            reactor,
            wallClock,
            EventRing(random(16).hex(), wallClock),
            memory,
            lambda: self.threads,
            lambda: self._snapshot,
            address,
            wazuhVersion,
            troubles,
        )
        self._telling = Periodic(
            "Status", statusInterval, self.status.look, reactor, self._log, now=False
        )
        self.requests.offer(ClusterAnswers(self.status).entries())
        self.requests.observe(self.status.asked)
        for service in (self.fileIntegrity, self.checkKeepAlives, self.agents, self._telling):
            service.setServiceParent(self)

    @property
    def enroller(self) -> IEnroller | None:
        """
        Enrolls agents by the registrar, if there is one; for an
        L{EnrollmentService<wazuh_cluster.enrollment.EnrollmentService>}.
        """
        return self.agents.enroller

    @property
    def requests(self) -> Requests:
        """
        What workers, and programs on this node, may ask.
        """
        return self.agents.requests

    @property
    def node(self) -> MasterNode:
        """
        The master's decisions; there once it was started.
        """
        assert self._node is not None, "the master was not started"
        return self._node

    @property
    def integrity(self) -> MasterIntegrity:
        """
        Its decisions about files; there once it was started.
        """
        assert self._integrity is not None, "the master was not started"
        return self._integrity

    @property
    def threads(self) -> list[Periodic]:
        """
        Its threads, also those that it has for agents.
        """
        return [each for each in (*self, *self.agents) if isinstance(each, Periodic)]

    def statuses(self) -> list[JoinedWorker]:
        """
        The workers that are joined, by name.
        """
        return [] if self._node is None else self._node.statuses()

    async def call(self, worker: str, command: type[Command], **arguments: Any) -> dict[str, Any]:
        """
        Ask a worker a command of one's own.

        @param worker: its node name.
        @raise LinkClosed: if it is not joined, or its link ends meanwhile.
        """
        session = None if self._node is None else self._node.roster.get(worker)
        if session is None:
            raise LinkClosed(f"{worker} is not joined")
        return await session.peer.call(command, **arguments)

    def whenListening(self) -> Deferred[IListeningPort]:
        """
        A Deferred that fires with the open port, or fails with why it could
        not be opened.
        """
        return self._listening.when()

    def privilegedStartService(self) -> None:
        """
        Open the port.

        @raise twisted.internet.error.CannotListenError: if that fails at once.
        """
        super().privilegedStartService()
        self._listen()

    def startService(self) -> None:
        """
        Open the port, unless it is, and start the threads.
        """
        self._node = self._makeNode()
        if not self._listening.begun:
            self._listen()
        self._wakeups.start(self._scanRunner)
        super().startService()
        identity = self._trust.identity
        self._log.info(
            "Starting: {cluster}, {name}, wazuh_cluster {version}.",
            cluster=identity.cluster,
            name=identity.name,
            version=__version__,
        )

    async def _stop(self) -> None:
        self.status.end()
        await self._listening.close()
        self._wakeups.stop()
        await maybeDeferred(super().stopService)
        if self._doorsteps is not None:
            self._doorsteps.closeAll()
        self._factory.closeAll()
        for session in self._factory.sessions:
            await session.peer.whenClosed()
        if self._node is not None:
            self._node.chronicle.close()
        if self._integrity is not None:
            self._integrity.close()
        for runner in self._runners:
            runner.stop()
        self._tree.close()

    def stopService(self) -> Deferred[None]:
        """
        Close the port and all links, and stop the threads. Takes a second at
        most, whatever hangs.
        """
        self._log.info("Stopping.")
        return Deferred.fromCoroutine(self._stop())

    def _listen(self) -> None:
        sessions = self._trust.wrapServer(self._factory, self._reactor)
        self._doorsteps = DoorstepFactory(sessions, self._reactor, self._limits, self._strangerLeft)
        self._listening.open(self._doorsteps)

    def _makeNode(self) -> MasterNode:
        # Not before the privileges are shed: the files are the daemon's.
        home = homeId(self._state, self._random)
        self._steady.begin(self._state, self._bootId)
        node = MasterNode(
            self._trust,
            self._reactor,
            self._wallClock,
            self._uptime,
            home,
            f"wazuh_cluster {__version__}",
            self._wazuhVersion,
            self._tree.items,
            self._limits,
            self.status,
        )
        generations = Generations(home, self._state, self._scanRunner, self._tree.items)
        self._integrity = MasterIntegrity(
            self._tree,
            generations,
            self._packRunners,
            self._limits,
            node.roster,
            self._reactor,
            self.status,
            self._codecs,
        )
        self.status.begin(node.roster, self._integrity)
        return node

    def _strangerLeft(self, address: str, why: Exception) -> None:
        if self._node is not None:
            self._node.chronicle.stranger(address, why)

    def _session(self) -> Session:
        session = Session(
            self.node,
            self._trust,
            self._reactor,
            self._limits,
            self._locatorsOf,
            None if self._doorsteps is None else self._doorsteps.since,
        )
        self.agents.joining(session)
        return session

    def _locatorsOf(self, session: Session) -> list[IResponderLocator]:
        """
        What answers on one session.
        """
        files = MasterLocator(self.node, self.integrity, self.status, session)
        own = locatorsFor(self._locators, lambda: session)
        return [files, *self.agents.locators(session), *own]

    async def _recalculate(self) -> str:
        only = self._wakeups.take()
        before = self._snapshot
        try:
            snapshot = await self._scanRunner.run(self._tree.scan(before, only=only))
            if before is not None and _keysIn(before) != _keysIn(snapshot):
                self.agents.keysChanged()
            result = await self.integrity.recalculate(snapshot)
        except BaseException:
            self._wakeups.failed()
            raise
        self._snapshot = snapshot
        await self._wakeups.saw(snapshot)
        return result


def _keysIn(snapshot: Snapshot) -> bytes | None:
    """
    The digest of the agents' keys; C{None} if there are none.
    """
    manifest = snapshot.manifest
    index = manifest.index(_KEYS)
    return None if index is None else manifest.digest(index)
