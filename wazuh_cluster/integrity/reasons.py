"""
What the system's refusals are called in front of an operator.
"""

from __future__ import annotations

import os

from wazuh_cluster.errors import InstallFailed


def reason(doing: str, error: OSError) -> str:
    """
    One line: what could not be done, and what the system said to it.

    @param doing: what was tried, as after "cannot".
    """
    said = os.strerror(error.errno) if error.errno else str(error)
    return f"cannot {doing}: {said}"


def failed(path: bytes, doing: str, error: OSError) -> InstallFailed:
    """
    The error that ends an installation at C{path}.
    """
    return InstallFailed(path, reason(doing, error))
