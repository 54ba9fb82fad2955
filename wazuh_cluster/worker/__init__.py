"""
The worker: its link to the master, and the threads that use it.
"""

from wazuh_cluster.worker.service import WorkerService

__all__ = ["WorkerService"]
