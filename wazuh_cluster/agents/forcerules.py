"""
The force rules: when a registration may take the place of an agent that has the
same name or address.
"""

from __future__ import annotations

import hashlib

from attrs import frozen

from wazuh_cluster.agents.model import (
    DISCONNECTED,
    NEVER_CONNECTED,
    Agent,
    AgentStatus,
    formatId,
)
from wazuh_cluster.authsettings import ForceRules


@frozen
class Standing:
    """
    What the rules ask about the old agent.

    @ivar registered: when it was, in seconds since the epoch; 0 if nobody
        knows.
    @ivar status: C{None} if it cannot be said.
    """

    agent: Agent
    registered: float
    status: AgentStatus | None


def keyHash(agent: Agent) -> str:
    """
    What an agent tells of the key that it has: 40 hexadecimal digits.
    """
    return hashlib.sha1(f"{formatId(agent.id)}{agent.name}{agent.key}".encode("ascii")).hexdigest()


def neverConnected(agent: Agent) -> AgentStatus:
    """
    The status of an agent that nobody has heard of.
    """
    return AgentStatus(agent.id, agent.name, agent.ip, NEVER_CONNECTED)


def whyNot(
    rules: ForceRules, old: Standing, theirHash: str | None, now: float, silence: float
) -> str | None:
    """
    Why an agent may not be replaced, a phrase; C{None} if it may.

    @param theirHash: of the key that who asks has; see L{keyHash}.
    @param now: in seconds since the epoch.
    @param silence: after how many seconds without a keep-alive an agent counts
        as disconnected.
    """
    if not rules.enabled:
        return "the force rules are not enabled"
    status = old.status
    if status is None:
        return "nobody can say its status"
    if rules.disconnectedTime is not None and status.status != NEVER_CONNECTED:
        since = _disconnectedSince(status, silence)
        if since is None:
            return f"it is {status.status}"
        if now - since < rules.disconnectedTime:
            return f"it was disconnected {max(0.0, now - since):.0f} s ago"
    if rules.afterRegistrationTime > 0:
        age = now - old.registered
        if age < rules.afterRegistrationTime:
            return f"it was registered {max(0.0, age):.0f} s ago"
    if rules.keyMismatch and theirHash is not None and theirHash == keyHash(old.agent):
        return "it has the key that it is registered with"
    return None


def _disconnectedSince(status: AgentStatus, silence: float) -> float | None:
    """
    Since when an agent is disconnected: since it said so, or since it had said
    nothing for too long. C{None} if it is not.
    """
    if status.status != DISCONNECTED or status.lastKeepAlive is None:
        return None
    said = status.record is not None and status.record.event == DISCONNECTED
    return status.lastKeepAlive if said else status.lastKeepAlive + silence
