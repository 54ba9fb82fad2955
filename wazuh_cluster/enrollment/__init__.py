"""
The agents' enrollment listener: what a wazuh-authd does on port 1515.
"""

from wazuh_cluster.enrollment.attempts import Attempt, Attempts
from wazuh_cluster.enrollment.interfaces import Enrolled, IEnroller, IOpenRequests
from wazuh_cluster.enrollment.openrequests import NoOpenRequests, OpenRequests
from wazuh_cluster.enrollment.service import EnrollmentService
from wazuh_cluster.enrollment.undoing import UndoList

__all__ = [
    "Attempt",
    "Attempts",
    "Enrolled",
    "EnrollmentService",
    "IEnroller",
    "IOpenRequests",
    "NoOpenRequests",
    "OpenRequests",
    "UndoList",
]
