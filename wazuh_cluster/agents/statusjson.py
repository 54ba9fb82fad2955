"""
Agents of the fleet's tables, and reports about agents, as JSON says them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from wazuh_cluster.agents.model import (
    EVENTS,
    MAX_AGENT_ID,
    STATUSES,
    AgentRecord,
    AgentStatus,
    formatId,
)
from wazuh_cluster.protocol.bodies import writeBody

#: The most octets of one report, as JSON: one that is larger fits in no batch.
MAX_REPORT = 50_000

#: The most seconds that may have gone by since an agent was heard.
MAX_AGE = 1e9

#: The most characters of a version.
MAX_VERSION = 256

#: The highest status code.
MAX_CODE = 255

_SHOWN = 40
_KEYS = frozenset({"id", "event", "age", "version", "code", "info", "labels"})


def writeStatus(status: AgentStatus, brief: bool = False) -> dict[str, Any]:
    """
    An agent of the fleet's tables.

    @param brief: whether to leave out what can be of any size; it says so then.
    """
    found: dict[str, Any] = {
        "id": formatId(status.id),
        "name": status.name,
        "ip": status.ip,
        "status": status.status,
        "last_keep_alive": status.lastKeepAlive,
        "node": status.node,
        "groups": list(status.groups),
    }
    record = status.record
    if record is not None:
        version = record.version[:MAX_VERSION]
        found.update(event=record.event, version=version, code=record.statusCode)
        if brief:
            found["cut"] = True
        else:
            found.update(info=dict(record.info), labels=[list(each) for each in record.labels])
    return found


def readStatus(found: Mapping[str, Any]) -> AgentStatus:
    """
    What L{writeStatus} wrote.

    @raise ValueError: if it is no such thing.
    """
    try:
        agent, heard = int(found["id"]), found["last_keep_alive"]
        record = None
        if "event" in found:
            record = AgentRecord(
                agent,
                found["event"],
                heard or 0.0,
                found["node"],
                found["version"],
                found["code"],
                found.get("info", {}),
                tuple((name, value) for name, value in found.get("labels", ())),
            )
        if found["status"] not in STATUSES:
            raise ValueError(f"{_shown(found['status'])} is no status")
        return AgentStatus(
            agent,
            found["name"],
            found["ip"],
            found["status"],
            heard,
            found["node"],
            tuple(found["groups"]),
            record,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is no agent of the fleet ({error})") from None


def writeReport(record: AgentRecord, age: float = 0.0) -> dict[str, Any]:
    """
    A report about an agent.

    @param age: how long ago it was heard, in seconds.
    """
    return {
        "id": formatId(record.id),
        "event": record.event,
        "age": age,
        "version": record.version,
        "code": record.statusCode,
        "info": dict(record.info),
        "labels": [list(each) for each in record.labels],
    }


def readReport(found: Any, now: float) -> AgentRecord:
    """
    A report about an agent: C{id}, and what of C{event} (C{active}), C{age}
    (0), C{version}, C{code} (0), C{info} and C{labels} there is to say. Labels
    are an object, or an array of pairs.

    @param now: the clock of which C{heard} is to be.
    @raise ValueError: with a phrase that says what is wrong.
    """
    if not isinstance(found, dict):
        raise ValueError("it is no object")
    for name in found:
        if name not in _KEYS:
            raise ValueError(f"there is no field {_shown(name)}: use {', '.join(sorted(_KEYS))}")
    age = found.get("age", 0)
    code = found.get("code", 0)
    version = found.get("version", "")
    if found.get("event", "active") not in EVENTS:
        raise ValueError(f"its event is {_shown(found['event'])}: use {', '.join(EVENTS)}")
    if type(age) not in (int, float) or not (0 <= age <= MAX_AGE and isfinite(age)):
        raise ValueError(f"its age is {_shown(age)}: use seconds, not below 0")
    if type(code) is not int or not 0 <= code <= MAX_CODE:
        raise ValueError(f"its code is {_shown(code)}: use 0 to {MAX_CODE}")
    if not isinstance(version, str) or len(version) > MAX_VERSION:
        raise ValueError(f"its version is no text of at most {MAX_VERSION} characters")
    record = AgentRecord(
        readAgent(found.get("id")),
        found.get("event", "active"),
        now - age,
        version=version,
        statusCode=code,
        info=_info(found.get("info", {})),
        labels=_labels(found.get("labels", {})),
    )
    size = len(writeBody(writeReport(record)))
    if size > MAX_REPORT:
        raise ValueError(f"it is {size:,} bytes of JSON, more than {MAX_REPORT:,}")
    return record


def readAgent(value: Any) -> int:
    """
    An agent's id, as a number or in digits.

    @raise ValueError: if it is none.
    """
    agent = value if type(value) is int else 0
    if isinstance(value, str) and 0 < len(value) <= 8 and value.isascii() and value.isdigit():
        agent = int(value)
    if not 0 < agent <= MAX_AGENT_ID:
        raise ValueError(f"{_shown(value)} is no agent's id: use 001 to {MAX_AGENT_ID}")
    return agent


def _info(found: Any) -> dict[str, str]:
    if not isinstance(found, dict):
        raise ValueError("its info is no object")
    for name, value in found.items():
        if not isinstance(value, str):
            raise ValueError(f"its info {_shown(name)} is no text")
        _check(name)
        _check(value)
    return found


def _labels(found: Any) -> tuple[tuple[str, str], ...]:
    pairs = list(found.items()) if isinstance(found, dict) else found
    if not isinstance(pairs, list):
        raise ValueError("its labels are neither an object nor an array")
    labels = []
    for each in pairs:
        if not isinstance(each, (list, tuple)) or len(each) != 2:
            raise ValueError("a label is no pair of a name and a value")
        name, value = each
        if not isinstance(name, str) or not isinstance(value, str):
            raise ValueError(f"its label {_shown(name)} is no text")
        _check(name)
        _check(value)
        labels.append((name, value))
    return tuple(labels)


def _check(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("a text in it has half a character (a lone surrogate)") from None


def _shown(value: Any) -> str:
    """
    Whatever it is, for a line of text.
    """
    shown = ascii(value)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
