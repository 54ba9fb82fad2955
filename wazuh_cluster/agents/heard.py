"""
A batch of records as it travels, and as the master takes it apart: columns
instead of objects, and details that nobody reads on the way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, compress
from typing import Any, NoReturn

from attrs import define, field

from wazuh_cluster.agents.model import EVENTS, MAX_AGENT_ID, AgentRecord
from wazuh_cluster.agents.records import (
    MAX_AGE,
    MAX_CODE,
    MAX_DIGEST,
    decodeDetails,
    digestOf,
    encodeDetails,
    whyNotRecord,
)
from wazuh_cluster.errors import ProtocolViolation

_EVENTS = frozenset(EVENTS)
_OPTIONAL = frozenset((int, type(None)))


@define
class HeardBatch:
    """
    What one node heard of some agents, in columns of equal length.

    @ivar ids: the agents'; one may be there twice.
    @ivar events: what was heard last of each.
    @ivar heard: when, in seconds; by whose clock is said where it is used.
    @ivar codes: status codes.
    @ivar digests: of the details that the node knows; C{None} for a node that
        does not say.
    @ivar details: a JSON object, see
        L{decodeDetails<wazuh_cluster.agents.records.decodeDetails>}; C{None}
        where they are as before.
    """

    ids: list[int] = field(factory=list)
    events: list[str] = field(factory=list)
    heard: list[float] = field(factory=list)
    codes: list[int] = field(factory=list)
    digests: list[int | None] = field(factory=list)
    details: list[str | None] = field(factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> int:
        """
        What it costs in memory, in bytes, about.
        """
        return 200 * len(self.ids) + sum(map(len, filter(None, self.details)))

    @classmethod
    def of(cls, records: Iterable[AgentRecord]) -> HeardBatch:
        """
        The same of records.
        """
        batch = cls()
        for record in records:
            details = encodeDetails(record)
            batch.ids.append(record.id)
            batch.events.append(record.event)
            batch.heard.append(record.heard)
            batch.codes.append(record.statusCode)
            batch.digests.append(None if details is None else digestOf(details))
            batch.details.append(details)
        return batch

    def records(self, node: str) -> list[AgentRecord]:
        """
        The same as records.

        @param node: who heard it.
        """
        rows = zip(self.ids, self.events, self.heard, self.codes, self.details, strict=True)
        return [
            AgentRecord(agent, event, heard, node, version, code, info, labels)
            for agent, event, heard, code, details in rows
            for version, info, labels in [decodeDetails(details)]
        ]

    def only(self, wanted: Sequence[bool]) -> HeardBatch:
        """
        Some of it.

        @param wanted: for each, whether it is in.
        """
        return HeardBatch(
            list(compress(self.ids, wanted)),
            list(compress(self.events, wanted)),
            list(compress(self.heard, wanted)),
            list(compress(self.codes, wanted)),
            list(compress(self.digests, wanted)),
            list(compress(self.details, wanted)),
        )


def encodeRecord(record: AgentRecord, age: float) -> tuple[bytes, bytes]:
    """
    A record as it travels: its head and its details.

    @param age: how long ago the agent was heard, in seconds.
    """
    # Rounded up, for nothing may look newer than it is.
    milliseconds = min(MAX_AGE, max(0, int(age * 1000 + 0.999)))
    head = (
        f'{{"id":{record.id},"event":"{record.event}","age":{milliseconds},'
        f'"code":{record.statusCode}'
    )
    details = encodeDetails(record) or ""
    if details:
        head += f',"digest":{digestOf(details)},"size":{len(details)}'
    return f"{head}}}".encode("ascii"), details.encode("ascii")


def decodeBatch(records: bytes, details: bytes, sent: float) -> tuple[HeardBatch, list[str]]:
    """
    Read a batch as it came over a link; see "Agents" in the manual.

    @param records: the heads, an array of JSON.
    @param details: what belongs to them, one after the other.
    @param sent: when it was sent, in seconds since the epoch by this node's
        clock; ages count back from it.
    @return: what can be used, and why the other records cannot, a line each.
    @raise ProtocolViolation: if it is not an array of JSON at all, or it cannot
        be told which details are whose.
    """
    try:
        text = details.decode("ascii")
        heads = _decoder.decode(records.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolViolation(f"a batch of records is not JSON: {str(error)[:100]}") from None
    if type(heads) is not list or not {dict}.issuperset(map(type, heads)):
        raise ProtocolViolation("a batch of records is not an array of objects")
    sizes = [head.get("size") for head in heads]
    if not _OPTIONAL.issuperset(map(type, sizes)):
        raise ProtocolViolation("a record's size is not a number")
    known = [size for size in sizes if size is not None]
    if sum(known) != len(text) or (known and min(known) < 2):
        raise ProtocolViolation("the sizes of details are not those of what came")
    parts: list[str | None] = [None] * len(heads)
    if text:
        ends = list(accumulate(size or 0 for size in sizes))
        parts = [
            None if size is None else text[end - size : end]
            for size, end in zip(sizes, ends, strict=True)
        ]
    batch = _columns(heads, parts, sent)
    if batch is not None:
        return batch, []
    judged = [whyNotRecord(head) for head in heads]
    sound = [why is None for why in judged]
    batch = _columns(list(compress(heads, sound)), list(compress(parts, sound)), sent)
    assert batch is not None, "what is sound one by one is sound together"
    return batch, [why for why in judged if why is not None]


def _noConstant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


_decoder = json.JSONDecoder(parse_constant=_noConstant)


def _columns(heads: Sequence[Any], details: list[str | None], sent: float) -> HeardBatch | None:
    """
    Heads of records as columns; C{None} if one of them is not one. Several
    times faster than L{whyNotRecord} for each.
    """
    if not heads:
        return HeardBatch()
    try:
        ids = [head["id"] for head in heads]
        events = [head["event"] for head in heads]
        ages = [head["age"] for head in heads]
        codes = [head.get("code", 0) for head in heads]
        digests = [head.get("digest") for head in heads]
        known = digests if None not in digests else [each for each in digests if each is not None]
        sound = (
            {int}.issuperset(map(type, chain(ids, ages, codes, known)))
            and min(ids) >= 1
            and max(ids) <= MAX_AGENT_ID
            and _EVENTS.issuperset(events)
            and min(ages) >= 0
            and max(ages) <= MAX_AGE
            and min(codes) >= 0
            and max(codes) <= MAX_CODE
            and min(known, default=0) >= 0
            and max(known, default=0) <= MAX_DIGEST
        )
    except (KeyError, TypeError):
        return None
    if not sound:
        return None
    heard = [sent - age / 1000 for age in ages]
    return HeardBatch(ids, events, heard, codes, digests, details)
