"""
What a record may say, and how it is written: the JSON in which records travel
and are kept.

What an agent is like changes seldom, what was heard of it all the time. So the
first, its I{details}, is one text that is made once and copied from then on,
with a I{digest} that tells whether two nodes have the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from math import isfinite
from typing import Any

from wazuh_cluster.agents.model import EVENTS, MAX_AGENT_ID, AgentRecord, formatId
from wazuh_cluster.errors import RecordRefused

#: The most octets of one record's details, written as JSON: any record fits
#: into a batch.
MAX_DETAILS = 50_000

#: The most records of a batch: more than can be sound do not fit into one.
MAX_RECORDS = 2000

#: The most characters of a version.
MAX_VERSION = 256

#: The highest status code.
MAX_CODE = 255

#: The most milliseconds that may have gone by since an agent was heard: thirty
#: years.
MAX_AGE = 10**12

#: The highest digest: what any program can read in JSON.
MAX_DIGEST = 2**48 - 1

_encode = json.JSONEncoder(separators=(",", ":")).encode


def encodeDetails(record: AgentRecord) -> str | None:
    """
    A record's details as a JSON object, in ASCII.

    @return: C{None} if it has none.
    """
    if not (record.version or record.info or record.labels):
        return None
    return _encode(
        {
            "version": record.version,
            "info": dict(record.info),
            "labels": [list(label) for label in record.labels],
        }
    )


def digestOf(details: str) -> int:
    """
    What tells these details from others.

    @param details: as L{encodeDetails} writes them.
    """
    return int.from_bytes(blake2b(details.encode("ascii"), digest_size=6).digest(), "big")


def decodeDetails(text: str | None) -> tuple[str, dict[str, str], tuple[tuple[str, str], ...]]:
    """
    Read details: version, info and labels.

    @param text: a JSON object that has them; what else it has is passed over.
        Whatever it is not (a database may be edited by hand) is taken as not
        there.
    """
    try:
        found = json.loads(text) if text is not None else {}
    except (ValueError, RecursionError):
        found = {}
    if not isinstance(found, dict) or whyNotDetails({**_NOTHING, **found}) is not None:
        return "", {}, ()
    labels = tuple((key, value) for key, value in found.get("labels", ()))
    return found.get("version", ""), found.get("info", {}), labels


_NOTHING: Mapping[str, Any] = {"version": "", "info": {}, "labels": []}


def checkRecord(record: AgentRecord) -> None:
    """
    See that a record can be kept and sent.

    @raise RecordRefused: if it cannot, with one line that names the agent.
    """
    if type(record.id) is not int or not 1 <= record.id <= MAX_AGENT_ID:
        raise RecordRefused(f"a record's agent is {record.id!r}: use an id from 1 to 99999999")
    why = None
    if record.event not in EVENTS:
        why = f"the event {_shown(record.event)} is none of {', '.join(EVENTS)}"
    elif type(record.heard) not in (int, float) or not isfinite(record.heard):
        why = f"{_shown(record.heard)} is not a time"
    elif type(record.statusCode) is not int or not 0 <= record.statusCode <= MAX_CODE:
        why = f"{_shown(record.statusCode)} is not a status code from 0 to {MAX_CODE}"
    else:
        labels = [list(label) for label in record.labels]
        why = whyNotDetails({"version": record.version, "info": record.info, "labels": labels})
    if why is not None:
        raise RecordRefused(f"agent {formatId(record.id)}: {why}")


def whyNotRecord(record: Any) -> str | None:
    """
    Why something that came over a link is not the head of a record; C{None} if
    it is one. See "Agents" in the manual.

    @param record: what JSON gave.
    """
    if type(record) is not dict:
        return "it is not an object"
    agent = record.get("id")
    if type(agent) is not int or not 1 <= agent <= MAX_AGENT_ID:
        return f"{_shown(agent)} is not an agent's id"
    age: Any = record.get("age")
    code: Any = record.get("code", 0)
    digest: Any = record.get("digest")
    if record.get("event") not in EVENTS:
        why = f"its event is {_shown(record.get('event'))}"
    elif type(age) is not int or not 0 <= age <= MAX_AGE:
        why = f"its age is {_shown(age)}"
    elif type(code) is not int or not 0 <= code <= MAX_CODE:
        why = f"its code is {_shown(code)}"
    elif digest is not None and (type(digest) is not int or not 0 <= digest <= MAX_DIGEST):
        why = f"its digest is {_shown(digest)}"
    else:
        return None
    return f"agent {formatId(agent)}: {why}"


def whyNotDetails(found: Mapping[str, Any]) -> str | None:
    """
    Why C{version}, C{info} and C{labels} in C{found} are not details; C{None}
    if they are.
    """
    if not found.keys() >= _NOTHING.keys():
        return "of version, info and labels only some are there"
    version, info, labels = (found[name] for name in _NOTHING)
    if type(version) is not str or len(version) > MAX_VERSION:
        return f"its version is not a text of at most {MAX_VERSION} characters"
    if not isinstance(info, Mapping) or not _texts([*info.keys(), *info.values()]):
        return "its info is not an object of texts"
    if type(labels) is not list:
        return "its labels are not an array"
    if not all(type(each) is list and len(each) == 2 and _texts(each) for each in labels):
        return "a label is not an array of a name and a value"
    written = _encode({"version": version, "info": dict(info), "labels": labels})
    if len(written) > MAX_DETAILS:
        return f"its details are {len(written)} bytes of JSON, more than {MAX_DETAILS}"
    try:
        json.dumps(found, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError:
        return "a text of it has half a character (a lone surrogate)"
    return None


def _texts(values: list[Any]) -> bool:
    return all(type(each) is str for each in values)


def _shown(value: Any) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 40 else shown[:40] + "..."
