"""
Judge: what may be registered, by authd's rules and in its words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import field, frozen

from wazuh_cluster.agents.addresses import ANY, normalAddress
from wazuh_cluster.agents.forcerules import ForceRules, Standing, neverConnected, whyNot
from wazuh_cluster.agents.model import (
    MAX_AGENT_ID,
    Agent,
    AgentStatus,
    Registration,
    formatId,
)
from wazuh_cluster.agents.operations import (
    Operation,
    Refused,
    Register,
    Registered,
    Remove,
    Removed,
    StatusNeeded,
    Undo,
    Verdict,
)
from wazuh_cluster.agents.requestjournal import Entry, agentDigest
from wazuh_cluster.interfaces import Slices

_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")

#: Half the bytes of a made key's text.
_KEY_BYTES = 32

_REMOVED_STEP = 128


class IDraft(Protocol):
    """
    The registered agents and the requests, as they are after what was decided
    so far.
    """

    def agent(self, id: int) -> Agent | None: ...

    def named(self, name: str) -> Sequence[Agent]: ...

    def addressed(self, ip: str) -> Sequence[Agent]: ...

    def registeredAt(self, id: int) -> float:
        """
        When an agent was, in seconds since the epoch; 0 if nobody knows.
        """
        ...

    def nextId(self) -> int: ...

    def add(self, agent: Agent) -> None: ...

    def remove(self, agent: Agent, purge: bool) -> None: ...

    def request(self, key: bytes) -> Entry | None: ...

    def note(self, entry: Entry) -> None: ...


@frozen
class Policy:
    """
    By what a L{Judge} decides.

    @ivar rules: when an agent may be replaced.
    @ivar hostName: the manager's own, which no agent may have; C{""} for none.
    @ivar purge: whether the line of a removed agent goes, unless whoever
        removes it says otherwise.
    @ivar silence: after how many seconds without a keep-alive an agent counts
        as disconnected.
    """

    rules: ForceRules = field(factory=ForceRules)
    hostName: str = ""
    purge: bool = True
    silence: float = 900.0


class Judge:
    """
    Decides operations, one after the other, in a draft.
    """

    def __init__(
        self,
        draft: IDraft,
        policy: Policy,
        now: float,
        random: Callable[[int], bytes],
    ) -> None:
        """
        @param now: in seconds since the epoch.
        @param random: as C{os.urandom}; keys are made of it.
        """
        self._draft = draft
        self._policy = policy
        self._now = now
        self._random = random

    def decide(self, operation: Operation) -> Slices[Verdict]:
        """
        Decide one operation.
        """
        if isinstance(operation, Register):
            return self._register(operation)
        if isinstance(operation, Undo):
            return self._undo(operation)
        return (yield from self._remove(operation))

    def _register(self, operation: Register) -> Verdict:
        entry = self._draft.request(operation.key)
        if entry is not None and entry.undone:
            return Refused(9001, "Internal error", "the request was undone")
        before = self._registeredBy(entry)
        if before is not None:
            return Registered(before, False)
        verdict = self._judged(operation)
        if isinstance(verdict, Registered):
            agent = verdict.agent
            self._draft.note(Entry(operation.key, agent.id, agentDigest(agent)))
        return verdict

    def _judged(self, operation: Register) -> Verdict:
        """
        In the order in which authd's local socket looks.
        """
        asked = operation.registration
        if operation.missing:
            return Refused(9014, "Invalid Group(s) Name(s)")
        try:
            ip = normalAddress(asked.ip)
        except ValueError:
            return Refused(9006, "No such IP")
        victims: list[Agent] = []
        if ip != ANY:
            fault = self._replace(self._draft.addressed(ip), operation, victims)
            if fault is not None:
                return fault if isinstance(fault, StatusNeeded) else _duplicate(9007, "IP", fault)
        if not _NAME.match(asked.name):
            return Refused(9005, "No such name")
        if self._policy.hostName and asked.name == self._policy.hostName:
            return _duplicate(9008, "name", "it is the manager's host name")
        fault = self._replace(self._draft.named(asked.name), operation, victims)
        if fault is not None:
            return fault if isinstance(fault, StatusNeeded) else _duplicate(9008, "name", fault)
        return self._add(asked, ip, victims)

    def _add(self, asked: Registration, ip: str, victims: Sequence[Agent]) -> Verdict:
        id = self._draft.nextId()
        if id > MAX_AGENT_ID:
            return Refused(9013, "Maximum number of agents reached", "no id is left")
        for victim in victims:
            self._draft.remove(victim, self._policy.purge)
        agent = Agent(id, asked.name, ip, self._random(_KEY_BYTES).hex())
        self._draft.add(agent)
        return Registered(agent, True)

    def _replace(
        self, holders: Sequence[Agent], operation: Register, victims: list[Agent]
    ) -> StatusNeeded | str | None:
        """
        See whether all who have a name or address may be replaced; they are
        victims then.

        @return: C{None}, or why not.
        """
        unknown = []
        for agent in holders:
            if agent in victims:
                continue
            status: AgentStatus | None = neverConnected(agent)
            if operation.statuses is not None:
                if agent.id in operation.statuses:
                    status = operation.statuses[agent.id]
                else:
                    # It may have to stay whatever its status is.
                    unknown.append(agent)
            why = whyNot(
                self._policy.rules,
                Standing(agent, self._draft.registeredAt(agent.id), status),
                operation.registration.keyHash,
                self._now,
                self._policy.silence,
            )
            if why is not None:
                return f"agent {formatId(agent.id)} stays: {why}"
            victims.append(agent)
        return StatusNeeded(tuple(unknown)) if unknown else None

    def _undo(self, operation: Undo) -> Verdict:
        entry = self._draft.request(operation.key)
        agent = self._registeredBy(entry)
        if operation.refuse and (entry is None or not entry.undone):
            # With what it registered, for the process may die before that is
            # removed.
            self._draft.note(
                Entry(operation.key, 0, b"", True)
                if agent is None
                else Entry(operation.key, agent.id, agentDigest(agent), True)
            )
        if agent is None:
            return Removed(())
        # Nobody ever had its key.
        self._draft.remove(agent, True)
        return Removed((agent,))

    def _remove(self, operation: Remove) -> Slices[Verdict]:
        purge = self._policy.purge if operation.purge is None else operation.purge
        removed = []
        for n, id in enumerate(sorted(operation.ids)):
            agent = self._draft.agent(id)
            if agent is not None:
                self._draft.remove(agent, purge)
                removed.append(agent)
            if n % _REMOVED_STEP == 0:
                yield
        return Removed(tuple(removed))

    def _registeredBy(self, entry: Entry | None) -> Agent | None:
        """
        The agent that a request registered, if it is still there.
        """
        if entry is None or not entry.agent:
            return None
        agent = self._draft.agent(entry.agent)
        return agent if agent is not None and agentDigest(agent) == entry.digest else None


def _duplicate(code: int, what: str, why: str) -> Refused:
    return Refused(code, f"Duplicate {what}", why)
