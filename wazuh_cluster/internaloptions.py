"""
Wazuh's C{internal_options.conf}: lines C{daemon.option=number}.
"""

from __future__ import annotations

import re

from wazuh_cluster.home import Home

#: The operator's own file counts before the one that Wazuh installs.
_FILES = ("etc/local_internal_options.conf", "etc/internal_options.conf")


def internalOption(home: Home, name: str, most: int) -> int:
    """
    An option's number. Where it stands in none of the files, is none, or is more
    than C{most}, it is 0.

    @param name: with the daemon's: C{wazuh_clusterd.debug}.
    """
    line = re.compile(rf"^{re.escape(name)}[ \t]*=[ \t]*([0-9]{{1,9}})[ \t]*$", re.MULTILINE)
    for path in _FILES:
        try:
            with open(home.join(path), encoding="utf-8", errors="replace") as file:
                match = line.search(file.read())
        except OSError:
            continue
        if match is not None:
            number = int(match[1])
            return number if number <= most else 0
    return 0
