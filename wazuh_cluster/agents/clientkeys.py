"""
The lines of C{client.keys}: C{id name ip key} for an agent, the same with C{!}
before the name for one that was removed.

What is neither belongs to somebody else, or is damaged: it is told apart here,
and never changed.
"""

from __future__ import annotations

import re

from wazuh_cluster.agents.model import Agent, formatId

#: The line of an agent: its id, name, address and key. The id is not 0, which
#: is the manager itself.
AGENT_LINE = re.compile(
    rb"(?!0+ )([0-9]{1,8}) ([A-Za-z0-9._-]{1,128})"
    rb" (any|[0-9A-Fa-f.:]{2,45}(?:/[0-9.]{1,15})?) ([!-~]{1,4096})"
)

_REMOVED = re.compile(rb"([0-9]{1,8}) [!#]")
_NUMBERED = re.compile(rb"([0-9]{1,8}) ")
_REMARK = (b"#", b" ", b"\t")
_NAME = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_ADDRESS = re.compile(rb"any|[0-9A-Fa-f.:]{2,45}(?:/[0-9.]{1,15})?")


def formatAgent(agent: Agent) -> bytes:
    """
    The line of a registered agent, with its end.
    """
    return f"{formatId(agent.id)} {agent.name} {agent.ip} {agent.key}\n".encode("ascii")


def formatRemoved(agent: Agent) -> bytes:
    """
    The line of an agent that was removed and whose id is kept, with its end.
    """
    return f"{formatId(agent.id)} !{agent.name} {agent.ip} {agent.key}\n".encode("ascii")


def parseAgent(line: bytes) -> Agent | None:
    """
    The agent that a line, without its end, registers; C{None} if it is none.
    """
    match = AGENT_LINE.fullmatch(line)
    if match is None:
        return None
    number, name, ip, key = match.groups()
    return Agent(int(number), name.decode("ascii"), ip.decode("ascii"), key.decode("ascii"))


def isRemoved(line: bytes) -> bool:
    """
    Whether a line marks an agent that was removed.
    """
    return _REMOVED.match(line) is not None


def isRemark(line: bytes) -> bool:
    """
    Whether a line is one that Wazuh's programs pass over: empty, or with C{#}
    or a blank at its beginning.
    """
    return not line or line.startswith(_REMARK)


def idIn(line: bytes) -> int:
    """
    The id with which a line begins, whatever follows; 0 if with none.
    """
    match = _NUMBERED.match(line)
    return 0 if match is None else int(match[1])


def faultOf(line: bytes) -> str:
    """
    What is wrong with a line that is not an agent's and should be; one phrase.
    """
    fields = line.split(b" ")
    if len(fields) != 4:
        return f"it has {len(fields)} fields instead of 4"
    number, name, ip, _ = fields
    if not (number.isdigit() and len(number) <= 8):
        return "its id is not a number of 1 to 8 digits"
    if int(number) == 0:
        return "its id is 0, which is the manager itself"
    if _NAME.fullmatch(name) is None:
        return "its name is not 1 to 128 letters, digits, '-', '_' or '.'"
    if _ADDRESS.fullmatch(ip) is None:
        return "its address is none"
    return "its key is not 1 to 4096 visible ASCII characters"
