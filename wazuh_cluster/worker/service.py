"""
The worker as a service: its link, and the threads that live as long as a link
does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from random import uniform
from typing import Any

from twisted.application.internet import backoffPolicy
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.protocols.amp import Command
from twisted.python.failure import Failure

from wazuh_cluster import __version__
from wazuh_cluster.agents.interfaces import IAgentSource
from wazuh_cluster.defaults import stateOf, threadRunners, trustOf
from wazuh_cluster.enrollment import IEnroller, IOpenRequests, NoOpenRequests
from wazuh_cluster.errors import IdentityMismatch, LinkClosed, VersionTooOld
from wazuh_cluster.home import Home, homeId
from wazuh_cluster.integrity import itemsDigest, itemsText
from wazuh_cluster.interfaces import IClusterTrust, IRunner, IState, ITree, IWorkerObserver
from wazuh_cluster.journal import (
    INTEGRITY_SYNC,
    KEEP_ALIVE,
    MAIN,
    Journal,
)
from wazuh_cluster.memory import residentSize
from wazuh_cluster.model import MASTER, WORKER, Identity, MasterInfo, NodeName
from wazuh_cluster.periodic import Periodic
from wazuh_cluster.protocol import (
    NEWEST_VERSION,
    OLDEST_VERSION,
    Codec,
    Hello,
    Limits,
    OwnLocator,
    Peer,
    Transfers,
    locatorsFor,
)
from wazuh_cluster.protocol.deadlines import Deadlines
from wazuh_cluster.requests import Asker, Asking, OwnFirst, Requests, RequestsLocator
from wazuh_cluster.status import EventRing, Trouble
from wazuh_cluster.status.answers import NodeAnswers
from wazuh_cluster.status.events import STARTED
from wazuh_cluster.trust import ClusterKey
from wazuh_cluster.uptime import uptime as systemUptime
from wazuh_cluster.worker.agents import WorkerAgents
from wazuh_cluster.worker.complaints import Complaints
from wazuh_cluster.worker.fetch import Runners
from wazuh_cluster.worker.integrity import IntegrityThread
from wazuh_cluster.worker.keepalive import KeepAliveThread
from wazuh_cluster.worker.link import LinkCore, makeLink
from wazuh_cluster.worker.locator import WorkerLocator
from wazuh_cluster.worker.observers import Observers
from wazuh_cluster.worker.status import INTERVAL as STATUS_INTERVAL
from wazuh_cluster.worker.status import PACE as STATUS_PACE
from wazuh_cluster.worker.status import WorkerStatus

#: Seconds between two looks at the integrity.
INTERVAL = 9.0

#: After how many seconds a run of the integrity thread is reported as hung; one
#: that fetches says how far it is long before.
HUNG_AFTER = 900.0

#: From the first wait to the longest, in seconds. A master that was away for
#: some seconds has its workers back within 5 s.
FIRST_DELAY = 0.5
LONGEST_DELAY = 20.0

#: How long it may take to tell the master that this worker is being stopped, in
#: seconds.
_GOODBYE = 0.6

_THE_MASTER = Asker("the master", administers=True, remedy="")


class WorkerService(Service):
    """
    A worker of the master at an endpoint.

    @ivar master: what the link's master said of itself; C{None} while there is
        no link.
    @ivar integrity: the thread Integrity, whether or not it runs.
    @ivar agents: what it does for agents.
    @ivar threads: the running threads, by name.
    @ivar status: what it knows of itself.
    @ivar asking: asks the master requests by their names.
    @ivar requests: answers what it knows itself, and asks the master for all
        else, by their names.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        name: NodeName,
        trust: ClusterKey | IClusterTrust,
        endpoint: IStreamClientEndpoint,
        tree: ITree,
        *,
        masterAddress: str = "",
        agents: IAgentSource | None = None,
        observer: IWorkerObserver | None = None,
        cluster: str = "wazuh",
        state: IState | None = None,
        runner: Callable[[str], IRunner] | None = None,
        openRequests: IOpenRequests | None = None,
        locators: Sequence[OwnLocator] = (),
        limits: Limits | None = None,
        codecs: Sequence[Codec] = (),
        wallClock: Callable[[], float] = time.time,
        uptime: Callable[[], float] = systemUptime,
        random: Callable[[int], bytes] = os.urandom,
        jitter: Callable[[], float] = lambda: uniform(0.0, 0.5),
        wazuhVersion: str = "",
        keepAliveInterval: float = 60.0,
        integrityInterval: float = INTERVAL,
        agentInfoInterval: float = 10.0,
        wazuhStarts: Callable[[], Iterable[float]] | None = None,
        statusInterval: float = STATUS_INTERVAL,
        troubles: Sequence[Trouble] = (),
        memory: Callable[[], int] = residentSize,
    ) -> None:
        """
        @param trust: the cluster key, or a trust of one's own.
        @param endpoint: where the master is.
        @param masterAddress: where that is, for people.
        @param agents: the records of the agents that report to this worker.
        @param observer: is told of joins, syncs and losses.
        @param state: where to keep what outlives the process; by default below
            the tree.
        @param runner: makes the runner of a name; threads by default.
        @param openRequests: where it is noted which agents are enrolling; by
            default nowhere.
        @param locators: responders of commands of one's own; they answer the
            master. What is no locator is called with a link's
            L{Peer<wazuh_cluster.protocol.Peer>} and gives one, which answers
            on that link.
        @param codecs: what files may travel compressed with, where the master
            has it as well; see L{codecsHere<wazuh_cluster.protocol.codecsHere>}.
        @param uptime: the monotonic clock, see L{wazuh_cluster.uptime}.
        @param wazuhStarts: when wazuh-analysisd was started, as
            L{wazuh_cluster.home.Home.analysisdStarts}; by default from the
            pid files below the tree.
        @param statusInterval: seconds between two looks for what the master is
            to be told of this node's status.
        @param troubles: what is wrong with the node's configuration, to be
            shown.
        @param memory: how many bytes of memory the process has, for tables.
        @param jitter: what is added to a wait before the next attempt, in
            seconds.
        """
        self.setName("worker")
        self._homeId = b""
        self._reactor = reactor
        self._tree = tree
        self._state = stateOf(tree) if state is None else state
        self._locators = tuple(locators)
        self._limits = limits or Limits()
        self._wallClock = wallClock
        self._uptime = uptime
        self._wazuhVersion = wazuhVersion
        self._keepAliveInterval = keepAliveInterval
        self._integrityInterval = integrityInterval
        self._trust = trustOf(trust, Identity(cluster, WORKER, name))
        self._random = random
        self._nonce = random(16)
        self._log = Journal(MAIN)
        self._complaints = Complaints(reactor, self._log, masterAddress)
        makeRunner = threadRunners(reactor) if runner is None else runner
        self._runners = Runners.make(makeRunner)
        self.agents = WorkerAgents(
            tree,
            self._state,
            self._runners.main,
            makeRunner,
            reactor,
            uptime,
            random,
            self._limits,
            NoOpenRequests() if openRequests is None else openRequests,
            agents,
            agentInfoInterval,
        )
        observers = list(self.agents.observers)
        if observer is not None:
            observers.append(observer)
        self._observers = told = Observers(observers)
        self.master: MasterInfo | None = None
        self.integrity = IntegrityThread(
            tree,
            self._state,
            self._runners,
            reactor,
            wallClock,
            self._limits,
            self._observers,
            Home(tree.path).analysisdStarts if wazuhStarts is None else wazuhStarts,
            integrityInterval,
            codecs=codecs,
        )
        self._statusRunner = makeRunner("status")
        self.status = WorkerStatus(
            self._trust.identity,
            self.integrity,
            self._state,
            self._statusRunner,
            reactor,
            wallClock,
            EventRing(self._nonce.hex(), wallClock),
            memory,
            lambda: 0 if self.agents.info is None else self.agents.info.chunks,
            wazuhVersion,
            troubles,
        )
        told.add(self.status)
        self._telling = Periodic(
            "Status",
            statusInterval,
            self.status.look,
            reactor,
            self._log,
            pace=STATUS_PACE,
            now=False,
        )
        self._peer: Peer | None = None
        # What the master, and programs on this node, may ask of this worker.
        self._offered = Requests(NodeAnswers(self.status).entries())
        self.asking = Asking(self.call)
        self.requests = OwnFirst(self._offered, self.asking)
        self._threads = MultiService()
        self._joinWaiters: list[Deferred[MasterInfo]] = []
        self._transfers: dict[Peer, Transfers] = {}
        self._core = LinkCore(
            self,
            endpoint,
            self._trust,
            reactor,
            backoffPolicy(FIRST_DELAY, LONGEST_DELAY, jitter=jitter),
        )
        self._link = makeLink(self._core)

    def startService(self) -> None:
        """
        Begin to join, and go on until stopped.
        """
        super().startService()
        self._log.info(
            "Starting: {cluster}, {name}, wazuh_cluster {version}.",
            cluster=self._trust.identity.cluster,
            name=self._trust.identity.name,
            version=__version__,
        )
        self._homeId = homeId(self._state, self._random)
        self.agents.start()
        self._threads.startService()
        self._telling.startService()
        self.status.events.note(STARTED, self._trust.identity.name, "this worker began")
        self._link.start()

    def stopService(self) -> Deferred[None]:
        """
        End the link and the threads. Takes a second or so at most, whatever
        hangs.
        """
        self._log.info("Stopping.")
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        super().stopService()
        await self.agents.stop()
        await maybeDeferred(self._telling.stopService)
        await maybeDeferred(self._threads.stopService)
        await self._endThreads()
        await self.status.leave(_GOODBYE)
        ended: Deferred[None] = Deferred()
        self._core.stopWaiters.append(ended)
        self._link.stop()
        await ended
        self._complaints.close()
        self._runners.stop()
        self._statusRunner.stop()
        self.agents.close()
        self._tree.close()

    @property
    def enroller(self) -> IEnroller:
        """
        Enrolls agents by asking the master; for an
        L{EnrollmentService<wazuh_cluster.enrollment.EnrollmentService>}.
        """
        return self.agents.enroller

    def whenJoined(self) -> Deferred[MasterInfo]:
        """
        A Deferred that fires when there is a link: now, or next time.
        """
        waiter: Deferred[MasterInfo] = Deferred()
        if self.master is not None:
            waiter.callback(self.master)
        else:
            self._joinWaiters.append(waiter)
        return waiter

    async def call(self, command: type[Command], **arguments: Any) -> dict[str, Any]:
        """
        Ask the master a command of one's own.

        @raise LinkClosed: if there is no link, or it ends meanwhile.
        """
        if self._peer is None:
            raise LinkClosed("there is no link to the master")
        return await self._peer.call(command, **arguments)

    @property
    def threads(self) -> dict[str, Periodic]:
        """
        See the class.
        """
        return {str(each.name): each for each in self._threads if isinstance(each, Periodic)}

    # What the link asks for.

    def buildPeer(self, handshaken: Callable[[Peer], None]) -> Peer:
        """
        See L{wazuh_cluster.worker.link.ILinkOwner}.
        """
        transfers = Transfers(WORKER, self._reactor, self._limits)
        locator = WorkerLocator(self._wallClock, self.integrity.changed)
        deadlines = Deadlines(
            self._reactor, self._limits.answerTimeout / 2, self._limits.openResponders, self._log
        )
        requests = RequestsLocator(self._offered, lambda: _THE_MASTER, deadlines)
        peer = Peer(
            MASTER,
            [transfers, locator, requests, *locatorsFor(self._locators, lambda: peer)],
            self._reactor,
            self._limits,
            handshaken,
            transfers,
            wallClock=self._wallClock,
        )
        transfers.attach(peer)
        self._transfers[peer] = transfers
        peer.whenClosed().addCallback(lambda _: self._transfers.pop(peer, None))
        peer.whenClosed().addCallback(lambda _: deadlines.close())
        return peer

    async def greet(self, peer: Peer) -> MasterInfo:
        """
        See L{wazuh_cluster.worker.link.ILinkOwner}.
        """
        certified = self._trust.peerIdentity(peer.transport)
        mine = self._trust.identity
        answer = await peer.call(
            Hello,
            cluster=mine.cluster,
            name=mine.name,
            role=mine.role,
            oldest=OLDEST_VERSION,
            newest=NEWEST_VERSION,
            homeId=self._homeId,
            nonce=self._nonce,
            software=f"wazuh_cluster {__version__}",
            wazuh=self._wazuhVersion,
            agentId=await self.agents.ids.get(),
            tick=int(self._uptime() * 1e6),
            items=itemsDigest(self._tree.items),
            itemsText=itemsText(self._tree.items),
        )
        if answer["name"] != certified.name:
            raise IdentityMismatch(
                f"the master says that it is {answer['name']!r}, its certificate says "
                f"{certified.name!r}"
            )
        if not OLDEST_VERSION <= answer["version"] <= NEWEST_VERSION:
            raise VersionTooOld(
                f"the master wants to speak protocol version {answer['version']}, which this "
                f"node does not know: upgrade the older one (master: {answer['software']})"
            )
        return MasterInfo(
            name=answer["name"],
            software=answer["software"],
            wazuhVersion=answer["wazuh"],
            version=answer["version"],
            homeId=answer["homeId"],
        )

    def linkUp(self, peer: Peer, master: MasterInfo) -> None:
        """
        See L{wazuh_cluster.worker.link.ILinkOwner}.
        """
        peer.admit()
        self.master = master
        self._peer = peer
        self._complaints.over(master, peer.address())
        keepAlive = KeepAliveThread(
            peer,
            self._reactor,
            self._wallClock,
            self._uptime,
            self._limits.answerTimeout / 2,
        )
        self.integrity.joined(peer, self._transfers[peer], master, self._changed)
        threads = [
            Periodic(
                "Keep alive",
                self._keepAliveInterval,
                keepAlive.run,
                self._reactor,
                Journal(KEEP_ALIVE),
            ),
            Periodic(
                "Integrity",
                self._integrityInterval,
                self.integrity.run,
                self._reactor,
                Journal(INTEGRITY_SYNC),
                hungAfter=HUNG_AFTER,
            ),
            *self.agents.linkUp(peer),
        ]
        for thread in threads:
            thread.setServiceParent(self._threads)
        # By now the first run of each has begun.
        self.agents.enroller.serve()
        self.status.linkUp(peer, threads, keepAlive, self._telling.poke)
        self._telling.poke()
        self._observers.joined(master)
        waiters, self._joinWaiters = self._joinWaiters, []
        for waiter in waiters:
            waiter.callback(master)

    def linkDown(self, reason: Failure, joined: bool, delay: float) -> None:
        """
        See L{wazuh_cluster.worker.link.ILinkOwner}.
        """
        self.master = None
        self._peer = None
        self.agents.linkDown()
        self.status.linkDown()
        self._complaints.complain(reason, joined, delay)
        if joined:
            Deferred.fromCoroutine(self._endThreads()).addErrback(self._bug)
        self._observers.lost(reason)

    async def _endThreads(self) -> None:
        self.integrity.left()
        self.agents.left()
        for thread in list(self._threads):
            await maybeDeferred(thread.disownServiceParent)

    def _changed(self) -> None:
        thread = self.threads.get("Integrity")
        if thread is not None:
            thread.poke()

    def _bug(self, failure: Failure) -> None:
        self._log.failure("A thread could not be stopped: this is a bug.", failure)
