"""
What a node shows over HTTP: a page for people, numbers for Prometheus, health
for load balancers, and JSON in the shapes of Wazuh's API.
"""

from wazuh_cluster.web.access import Access
from wazuh_cluster.web.service import WebService

__all__ = ["Access", "WebService"]
