"""
The token that those must show who look at a node, in a file.
"""

from __future__ import annotations

import os
import re

from wazuh_cluster.errors import ConfigError
from wazuh_cluster.web.access import SHORTEST_TOKEN

_REMEDY = (
    "make one that only the node's user can read, such as by: umask 077; "
    "openssl rand -hex 24 > FILE"
)


def readToken(path: str) -> str:
    """
    Read it.

    @raise ConfigError: if there is none that can be used.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(4096)
    except OSError as error:
        raise ConfigError(f"it cannot be read ({error.strerror})", path, _REMEDY) from None
    if mode & 0o007:
        raise ConfigError("everybody on this machine can read it", path, f"chmod 640 {path}")
    try:
        token = content.decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""
    if not re.fullmatch(f"[!-~]{{{SHORTEST_TOKEN},1024}}", token):
        raise ConfigError(
            f"it is no token: one line of at least {SHORTEST_TOKEN} characters, without blanks",
            path,
            _REMEDY,
        )
    return token
