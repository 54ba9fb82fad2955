"""
A whole cluster in one process, on a virtual clock, with faults by seed.
"""

from wazuh_cluster.testing.simulation.agents import Agents
from wazuh_cluster.testing.simulation.cluster import (
    Broken,
    SimCluster,
    TracingObserver,
    makeMaster,
    makeWorker,
)
from wazuh_cluster.testing.simulation.files import Files
from wazuh_cluster.testing.simulation.machine import SimMachine
from wazuh_cluster.testing.simulation.part import Part
from wazuh_cluster.testing.simulation.plaintrust import PlainTrust
from wazuh_cluster.testing.simulation.process import SimProcess
from wazuh_cluster.testing.simulation.report import describe
from wazuh_cluster.testing.simulation.run import Result, Setup, run, tlsTrust
from wazuh_cluster.testing.simulation.schedule import Action, Kind, parseSchedule
from wazuh_cluster.testing.simulation.world import World

__all__ = [
    "Action",
    "Agents",
    "Broken",
    "Files",
    "Kind",
    "Part",
    "PlainTrust",
    "Result",
    "Setup",
    "SimCluster",
    "SimMachine",
    "SimProcess",
    "TracingObserver",
    "World",
    "describe",
    "makeMaster",
    "makeWorker",
    "parseSchedule",
    "run",
    "tlsTrust",
]
