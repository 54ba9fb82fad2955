"""
One matter that a cluster takes care of, as a simulation sees it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService

from wazuh_cluster.integrity import Outcome, Plan
from wazuh_cluster.model import SyncReport
from wazuh_cluster.testing.simulation.schedule import Action, Kind

if TYPE_CHECKING:
    from wazuh_cluster.testing.simulation.cluster import SimCluster
    from wazuh_cluster.testing.simulation.machine import SimMachine
    from wazuh_cluster.testing.simulation.process import SimProcess


class Part:
    """
    What people do about one matter, what must never be, and when all is well.
    Each method is a place to look from; those of this class do nothing.

    A part finds fault by C{cluster.broken}.

    @ivar cluster: whose part it is.
    """

    cluster: SimCluster

    def attach(self, cluster: SimCluster) -> None:
        """
        The cluster is made; its machines are there, and run nothing yet.
        """
        self.cluster = cluster

    def kinds(self) -> Mapping[str, Kind]:
        """
        What can befall, by names that no other part has.
        """
        return {}

    def doings(self) -> Sequence[str]:
        """
        Names of what can be under way at a node for its sake: commands, and
        L{wazuh_cluster.testing.simulation.process.INSTALL}. Faults wait for them.
        """
        return ()

    def stir(self, action: Action) -> None:
        """
        An action waits for one of L{doings}: do what people do that lets it begin.
        """

    def keywords(self, process: SimProcess) -> dict[str, Any]:
        """
        What this part gives a node's service as keywords. Asked once for each
        process.
        """
        return {}

    def services(self, process: SimProcess, node: Any) -> Sequence[IService]:
        """
        What runs in a process beside the node's own service: it is started after
        that, and stopped before it.

        @param node: the node's own service; C{None} if the process has none.
        """
        return ()

    def stopped(self, process: SimProcess) -> None:
        """
        All that ran in a process was told to stop, and has stopped: let go of what
        was given to it.
        """

    def tends(self, path: bytes) -> bool:
        """
        Whether this part looks after what is at a path of homes, and nobody else
        does: what people do there, and what a master may.

        @param path: relative to a home.
        """
        return False

    # What must never be.

    def touched(self, process: SimProcess, path: bytes) -> None:
        """
        A process has just changed something at an absolute path.
        """

    def installing(self, process: SimProcess, plan: Plan) -> None:
        """
        A worker begins to do what a plan says.
        """

    def installed(self, process: SimProcess, plan: Plan, outcome: Outcome) -> None:
        """
        It has done so.
        """

    def synced(self, process: SimProcess, report: SyncReport) -> None:
        """
        A worker says what it has installed; only if it has a L{TracingObserver
        <wazuh_cluster.testing.simulation.TracingObserver>}.
        """

    def lostPower(self, machine: SimMachine) -> None:
        """
        A machine lost what was not synced.
        """

    # People.

    def replaced(self, machine: SimMachine) -> None:
        """
        Somebody has put another home in the place of a machine's, an empty or an
        older one.
        """

    def written(self, machine: SimMachine, path: bytes, content: bytes) -> None:
        """
        Somebody has written a file at a path of a machine's home.
        """

    def prepare(self, machine: SimMachine) -> None:
        """
        A master's home is a new one: put there what it has from the beginning.
        """

    def heal(self) -> None:
        """
        All faults end now: those of this part too.
        """

    def tend(self) -> None:
        """
        All faults have ended: do what people have to do for all to become well.
        Called again and again.
        """

    # When all is well.

    def unwell(self) -> str | None:
        """
        What is not as it should be, once all faults have ended; C{None} if all
        is well.
        """
        return None
