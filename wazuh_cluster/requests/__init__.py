"""
Requests: what nodes, and local programs, ask by a name, and who may.
"""

from wazuh_cluster.requests.asking import Asking
from wazuh_cluster.requests.locator import RequestsLocator
from wazuh_cluster.requests.own import OwnFirst
from wazuh_cluster.requests.table import Asker, Entry, IAnswers, Requests

__all__ = ["Asker", "Asking", "Entry", "IAnswers", "OwnFirst", "Requests", "RequestsLocator"]
