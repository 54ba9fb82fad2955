"""
Assignments of agents that first showed up on a worker, as they travel to the
master, and the master's refusals.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from wazuh_cluster.agents.model import MAX_AGENT_ID, formatId
from wazuh_cluster.errors import BadArgument
from wazuh_cluster.protocol.bodies import readBody, writeBody
from wazuh_cluster.protocol.commands import BODY_SIZE

#: The most assignments in one part.
MOST_OFFERS = 500

_LONGEST_WHY = 200


def splitOffers(offers: Mapping[int, tuple[str, ...]]) -> list[dict[int, tuple[str, ...]]]:
    """
    Some assignments in parts that fit in a box each: usually one.
    """
    parts: list[dict[int, tuple[str, ...]]] = []
    room = 0
    for agent, groups in offers.items():
        size = 16 + sum(len(group) + 3 for group in groups)
        if not parts or size > room or len(parts[-1]) >= MOST_OFFERS:
            parts.append({})
            room = BODY_SIZE - 2
        parts[-1][agent] = groups
        room -= size
    return parts


def writeOffers(offers: Mapping[int, tuple[str, ...]]) -> bytes:
    """
    One part as a body.
    """
    return writeBody({formatId(agent): groups for agent, groups in offers.items()})


def readOffers(body: bytes) -> dict[int, tuple[str, ...]]:
    """
    What L{writeOffers} wrote. That the groups' names can be such is not
    checked.

    @raise BadArgument: if it is no such thing.
    """
    offers: dict[int, tuple[str, ...]] = {}
    for name, groups in readBody(body, dict).items():
        agent = _agent(name)
        if agent in offers:
            raise BadArgument(f"agent {formatId(agent)} is offered twice")
        if not isinstance(groups, list) or not all(isinstance(each, str) for each in groups):
            raise BadArgument(f"the groups of agent {formatId(agent)} are no array of texts")
        offers[agent] = tuple(groups)
    return offers


def writeRefusals(refused: Mapping[int, str]) -> bytes:
    """
    Which agents were refused and why, in a body that fits in a box. There are
    no more of them than were offered in one.
    """
    whole = {formatId(agent): why[:_LONGEST_WHY] for agent, why in refused.items()}
    body = writeBody(whole)
    if len(body) > BODY_SIZE:
        # Each escaped character is at most twelve bytes. Without a reason, a
        # refusal is no longer than its offer was.
        room = max(0, BODY_SIZE // len(whole) - 16) // 12
        body = writeBody({name: why[:room] for name, why in whole.items()})
    return body


def readRefusals(body: bytes, offered: Collection[int]) -> dict[int, str]:
    """
    What L{writeRefusals} wrote.

    @raise BadArgument: if it is no such thing, or refuses what was not offered.
    """
    refused: dict[int, str] = {}
    for name, why in readBody(body, dict).items():
        agent = _agent(name)
        if agent not in offered:
            raise BadArgument(f"agent {formatId(agent)} is refused, and was not offered")
        if not isinstance(why, str):
            raise BadArgument("a reason that is no text")
        refused[agent] = why
    return refused


def _agent(name: str) -> int:
    agent = int(name) if len(name) <= 8 and name.isascii() and name.isdigit() else 0
    if not 0 < agent <= MAX_AGENT_ID:
        raise BadArgument("an agent's id that is none")
    return agent
