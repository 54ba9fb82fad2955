"""
What this package reads of the C{<global>} blocks of C{ossec.conf}.
"""

from __future__ import annotations

import re

from wazuh_cluster.errors import ConfigError
from wazuh_cluster.ossecconf import readElements

#: Seconds after which Wazuh counts a silent agent as disconnected.
DEFAULT_DISCONNECTION_TIME = 900.0

_NAME = "agents_disconnection_time"
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def disconnectionTime(text: str, where: str) -> float:
    """
    C{<agents_disconnection_time>}, in seconds. Where it stands more than once,
    the last one counts.

    @param text: the whole of C{ossec.conf}.
    @param where: its name, for errors.

    @raise ConfigError: if it is not a time.
    """
    seconds = DEFAULT_DISCONNECTION_TIME
    for root in readElements(text.removeprefix("\ufeff"), where):
        for block in root.named("global") if root.name == "ossec_config" else []:
            for element in block.named(_NAME):
                match = re.fullmatch(r"([0-9]{1,9})([smhdw]?)", element.value)
                if match is None or int(match[1]) == 0:
                    raise ConfigError(
                        f"{element.value[:40]!r} is not a time",
                        f"{where}, line {element.line}, <{_NAME}>",
                        "write a number above 0 and s, m, h, d or w: 15m",
                    )
                seconds = float(int(match[1]) * _UNITS[match[2]])
    return seconds
