"""
What a worker does for agents: it registers them at the master, sends what is
known of them, and keeps the highest id that it ever had.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from wazuh_cluster.agents.interfaces import IAgentSource
from wazuh_cluster.enrollment import IOpenRequests, UndoList
from wazuh_cluster.interfaces import IRunner, IState, ITree, IWorkerObserver
from wazuh_cluster.journal import AGENT_INFO_SYNC, ENROLLMENT, Journal
from wazuh_cluster.periodic import Periodic
from wazuh_cluster.protocol import Limits, Peer
from wazuh_cluster.worker.agentids import HighestAgentId
from wazuh_cluster.worker.agentinfo import AgentInfoThread, KeysObserver
from wazuh_cluster.worker.registration import LinkEnroller

#: The thread that undoes registrations, and seconds between two of its runs; it
#: also runs when there is something to undo.
UNDO = "Undo registrations"
UNDO_INTERVAL = 10.0

#: After how many seconds a run of the thread Agent info is reported as hung.
HUNG_AFTER = 900.0


class WorkerAgents:
    """
    All of it, for the links of one worker, one after the other.

    @ivar source: the records of the agents that report to this worker; C{None}
        if none do.
    @ivar info: the thread Agent info, whether or not it runs, likewise.
    @ivar enroller: enrolls agents by asking the master.
    @ivar ids: the highest agent id.
    @ivar observers: hear of what is installed.
    """

    def __init__(
        self,
        tree: ITree,
        state: IState,
        scanRunner: IRunner,
        makeRunner: Callable[[str], IRunner],
        reactor: IReactorTime,
        uptime: Callable[[], float],
        random: Callable[[int], bytes],
        limits: Limits,
        openRequests: IOpenRequests,
        source: IAgentSource | None,
        interval: float,
    ) -> None:
        """
        @param scanRunner: the one that reads the tree.
        @param uptime: the monotonic clock, see L{wazuh_cluster.uptime}.
        @param openRequests: where it is noted which agents are enrolling.
        @param interval: seconds between two runs of the thread Agent info.
        """
        self._reactor = reactor
        self._interval = interval
        self._undoing: Periodic | None = None
        self.ids = HighestAgentId(tree, state, scanRunner)
        self.observers: list[IWorkerObserver] = [self.ids]
        self.source = source
        self.info: AgentInfoThread | None = None
        if source is not None:
            self.info = AgentInfoThread(source, tree, scanRunner, reactor, uptime)
            self.observers.append(KeysObserver(self.info.keysChanged))
        self._runner = makeRunner("registrations")
        self.enroller = LinkEnroller(
            UndoList(state, self._runner),
            openRequests,
            reactor,
            random,
            limits,
            self._undoSoon,
            self.ids.saw,
        )

    def start(self) -> None:
        """
        The worker begins.
        """
        self.enroller.start()

    def linkUp(self, peer: Peer) -> list[Periodic]:
        """
        There is a link.

        @return: the threads that are to run as long as it is there; when they
            do, C{enroller} may serve.
        """
        self.enroller.linkUp(peer)
        self._undoing = Periodic(
            UNDO, UNDO_INTERVAL, self.enroller.undo, self._reactor, Journal(ENROLLMENT)
        )
        threads = [self._undoing]
        if self.info is not None:
            thread = Periodic(
                "Agent info",
                self._interval,
                self.info.run,
                self._reactor,
                Journal(AGENT_INFO_SYNC),
                hungAfter=HUNG_AFTER,
            )
            self.info.joined(peer, thread.poke)
            threads.append(thread)
        return threads

    def linkDown(self) -> None:
        """
        The link is gone, or never came to be.
        """
        self.enroller.linkDown()
        self._undoing = None

    def left(self) -> None:
        """
        The threads of a link are about to be ended.
        """
        if self.info is not None:
            self.info.left()

    async def stop(self) -> None:
        """
        The worker is being stopped: no agent enrolls here any more. What that
        leaves is to be undone while there still is a link.
        """
        await self.enroller.stop()

    def close(self) -> None:
        """
        It has stopped.
        """
        self._runner.stop()
        if self.source is not None:
            self.source.stop()

    def _undoSoon(self) -> None:
        if self._undoing is not None:
            self._undoing.poke()
