"""
The names of groups, and an agent's groups as one line of a file.

The line is Wazuh's: names joined by commas, the last one wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from wazuh_cluster.agents.model import MAX_AGENT_ID, formatId

#: The group of agents that are in no other.
DEFAULT_GROUP = "default"

#: The most groups that one agent can be in.
MAX_GROUPS = 128

#: The longest name of a group.
MAX_GROUP_NAME = 255

#: The longest content of a file that can be an assignment, with its line's end.
MAX_ASSIGNMENT = MAX_GROUPS * (MAX_GROUP_NAME + 1)

_CHARACTERS = re.compile(r"[A-Za-z0-9_.-]*\Z")
_SHOWN = 40


def nameFault(name: str) -> str | None:
    """
    Which rule for the names of groups C{name} breaks; C{None} if it can be one.
    """
    if not name:
        return "it is empty"
    if len(name) > MAX_GROUP_NAME:
        return f"it is longer than {MAX_GROUP_NAME} characters"
    if not _CHARACTERS.match(name):
        return "use letters, digits, '_', '-' and '.'"
    if name in (".", ".."):
        return "'.' and '..' are folders everywhere"
    return None


def groupsFault(groups: Sequence[str]) -> str | None:
    """
    Why an agent cannot be in these groups, one line; C{None} if it can, as far
    as their names tell.
    """
    if not groups:
        return "it names no group"
    if len(groups) > MAX_GROUPS:
        return f"it names {len(groups)} groups: an agent can be in {MAX_GROUPS} at most"
    for name in groups:
        fault = nameFault(name)
        if fault is not None:
            return f"{shownName(name)} cannot be a group: {fault}"
    return None


def eachOnce(groups: Iterable[str]) -> tuple[str, ...]:
    """
    The groups in their order, each once: where it stands first.
    """
    return tuple(dict.fromkeys(groups))


def readGroups(content: bytes) -> tuple[str, ...]:
    """
    What a file says of an agent's groups: at least one.

    @raise ValueError: with a phrase that says why, if it is not such a file.
    """
    if len(content) > MAX_ASSIGNMENT:
        raise ValueError(f"it is longer than {MAX_ASSIGNMENT:,} bytes")
    line = content[:-1] if content.endswith(b"\n") else content
    if b"\n" in line:
        raise ValueError("it has more than one line")
    # Whatever is no ASCII becomes what no name may have.
    groups = eachOnce(line.decode("ascii", "backslashreplace").split(",")) if line else ()
    fault = groupsFault(groups)
    if fault is not None:
        raise ValueError(fault)
    return groups


def writeGroups(groups: Sequence[str]) -> bytes:
    """
    What L{readGroups} reads.
    """
    return ",".join(groups).encode("ascii") + b"\n"


def agentOf(name: bytes) -> int | None:
    """
    The agent whose assignment a file of this name is; C{None} for none.
    """
    if not 3 <= len(name) <= 8 or not name.isdigit():
        return None
    agent = int(name)
    known = 0 < agent <= MAX_AGENT_ID and formatId(agent).encode("ascii") == name
    return agent if known else None


def shownName(name: str) -> str:
    """
    A name that may be anything, for a line of text: in quotes, escaped and
    cut.
    """
    return repr(name if len(name) <= _SHOWN else name[:_SHOWN] + "…")
