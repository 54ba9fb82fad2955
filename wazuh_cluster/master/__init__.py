"""
The master: who joins, what its files are, what workers are told.
"""

from wazuh_cluster.master.service import MasterService

__all__ = ["MasterService"]
