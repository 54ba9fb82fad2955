"""
Whether two nodes carry the same: their items as a text, a digest of it, and in
which items they differ.

What makes no difference to what is carried is not in it: mode, order and
restarts are each node's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from urllib.parse import quote

from wazuh_cluster.integrity.items import Item, Items

_LABEL = b"wazuh_cluster items 1\0"

#: The longest text that travels, in bytes.
MAX_TEXT = 16_000

#: The last line of a text that was too long.
_CUT = "..."

#: How many lines of each node are told, and how much of each.
_TOLD = 3
_SHOWN = 160

_REMEDY = "make [item ...] in etc/wazuh_cluster.ini the same on all nodes, and start them again"


def itemsText(items: Items) -> str:
    """
    The items as lines of printable ASCII, in ascending order. Two texts are
    equal if, and only if, the same paths are carried by the same rules; but a
    text longer than L{MAX_TEXT} is cut after a line.
    """
    lines = _lines(items)
    if len("\n".join(lines)) <= MAX_TEXT:
        return "\n".join(lines)
    kept: list[str] = []
    room = MAX_TEXT - len(_CUT)
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return "\n".join([*kept, _CUT])


def itemsDigest(items: Items) -> bytes:
    """
    The SHA-256 over a label and the whole text, never cut.
    """
    return hashlib.sha256(_LABEL + "\n".join(_lines(items)).encode("ascii")).digest()


def explainDifference(master: Items, worker: str) -> str:
    """
    Say in which items a master differs from a worker, in one line for the
    people at both ends.

    @param worker: the worker's text, as it came from a stranger.
    """
    mine, theirs = _lines(master), worker.split("\n")
    if theirs[-1] == _CUT:
        theirs.pop()
        # What comes after its last line was not told.
        mine = [line for line in mine if theirs and line <= theirs[-1]]
    told = [
        f"only the {role} has {_list(only)}"
        for role, only in (
            ("master", sorted(set(mine) - set(theirs))),
            ("worker", sorted(set(theirs) - set(_lines(master)))),
        )
        if only
    ]
    what = "; ".join(told) or "the texts of their items do not say where"
    return f"master and worker do not carry the same items: {what}: {_REMEDY}"


def _lines(items: Items) -> list[str]:
    never = sorted(
        [_quoted(name) for name in items.excludedNames]
        + ["*" + _quoted(suffix) for suffix in items.excludedSuffixes]
    )
    lines = [_line(item) for item in items]
    if never:
        # No path has a colon in it.
        lines.append(" ".join(["never:", *dict.fromkeys(never)]))
    return sorted(lines)


def _line(item: Item) -> str:
    words = [_quoted(item.path, "/")]
    if item.isFile:
        words.append("file")
    elif not item.recursive:
        words.append("flat")
    if item.extraValid:
        words.append("extra-valid")
    if item.ownTime:
        words.append("own-time")
    if not item.isFile and b"*" not in item.names:
        words += ["names", *sorted({_quoted(name, "*?[]!") for name in item.names})]
    return " ".join(words)


def _quoted(octets: bytes, plain: str = "") -> str:
    return quote(octets, safe=plain)


def _list(lines: Sequence[str]) -> str:
    more = len(lines) - _TOLD
    shown = ", ".join(_printable(line) for line in lines[:_TOLD])
    return f"{shown} and {more} more" if more > 0 else shown


def _printable(line: str) -> str:
    """
    One line of a stranger's, without what could confuse a terminal or a reader.
    """
    text = line.encode("unicode_escape").decode("ascii")
    return f"'{text[:_SHOWN]}...'" if len(text) > _SHOWN else f"'{text}'"
