"""
A batch of records as it travels, and as the master takes it apart: columns
instead of objects, and details that nobody reads on the way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, compress
from operator import itemgetter
from typing import Any, NoReturn

from attrs import define, field

from wazuh_cluster.agents.model import EVENTS, MAX_AGENT_ID, AgentRecord
from wazuh_cluster.agents.records import (
    MAX_AGE,
    MAX_CODE,
    MAX_DIGEST,
    MAX_RECORDS,
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
    if len(heads) > MAX_RECORDS:
        raise ProtocolViolation(f"a batch has {len(heads)} records, more than {MAX_RECORDS}")
    *columns, sizes = _columns(heads)
    parts = _cut(text, sizes)
    refused: list[str] = []
    if heads and not _areSound(*columns):
        judged = [whyNotRecord(head) for head in heads]
        refused = [why for why in judged if why is not None]
        sound = [why is None for why in judged]
        columns = [list(compress(column, sound)) for column in columns]
        parts = list(compress(parts, sound))
    ids, events, ages, codes, digests = columns
    heard = [sent - age / 1000 for age in ages]
    return HeardBatch(ids, events, heard, codes, digests, parts), refused


def _noConstant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


_decoder = json.JSONDecoder(parse_constant=_noConstant)


def _columns(heads: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """
    The values of heads, each a column.
    """
    # As our own nodes write them: all with details, or all without.
    for names, read in ((_NAMES, _WHOLE), (_NAMES[:-1], _SHORT)):
        if heads and set(map(len, heads)) == {len(names)}:
            try:
                columns = [list(column) for column in zip(*map(read, heads), strict=True)]
            except KeyError:
                break
            return columns if len(columns) == len(_NAMES) else [*columns, [None] * len(heads)]
    return [[head.get(name, 0 if name == "code" else None) for head in heads] for name in _NAMES]


_NAMES = ("id", "event", "age", "code", "digest", "size")
_WHOLE = itemgetter(*_NAMES)
_SHORT = itemgetter(*_NAMES[:-1])


def _cut(text: str, sizes: Sequence[Any]) -> list[str | None]:
    """
    Details of these sizes; C{None} where there is none.
    """
    if not _OPTIONAL.issuperset(map(type, sizes)):
        raise ProtocolViolation("a record's size is not a number")
    if not text and sizes.count(None) == len(sizes):
        return [None] * len(sizes)
    known = sizes if None not in sizes else [size for size in sizes if size is not None]
    ends = list(accumulate(sizes if known is sizes else [size or 0 for size in sizes]))
    if not known or ends[-1] != len(text) or min(known) < 2:
        raise ProtocolViolation("the sizes of details are not those of what came")
    return [
        None if size is None else text[start:end]
        for size, start, end in zip(sizes, [0, *ends], ends, strict=False)
    ]


def _areSound(
    ids: Sequence[Any],
    events: Sequence[Any],
    ages: Sequence[Any],
    codes: Sequence[Any],
    digests: Sequence[Any],
) -> bool:
    """
    Whether these columns are those of heads: several times faster than
    L{whyNotRecord} for each of them.
    """
    known = digests if None not in digests else [each for each in digests if each is not None]
    try:
        return (
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
    except TypeError:
        # An event that is an array.
        return False
