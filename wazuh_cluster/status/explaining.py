"""
Why a file is, or is not, in sync: from facts to a verdict.
"""

from __future__ import annotations

from attrs import evolve

from wazuh_cluster.errors import HostilePath, RequestRefused
from wazuh_cluster.integrity.items import Item, Items
from wazuh_cluster.integrity.manifest import Manifest
from wazuh_cluster.status.values import Explanation, FileFacts
from wazuh_cluster.status.words import span

# The verdicts.
IN_SYNC = "in_sync"
NOWHERE = "nowhere"
MISSING = "missing"
DIFFERS = "differs"
EXTRA = "extra"
HELD = "held"
FAILED = "failed"
UNKNOWN = "unknown"
VERDICTS = (IN_SYNC, NOWHERE, MISSING, DIFFERS, EXTRA, HELD, FAILED, UNKNOWN)


def requireItem(items: Items, path: bytes) -> Item:
    """
    The item that carries a path.

    @raise RequestRefused: with one line, if none does.
    """
    try:
        return items.check(path)
    except HostilePath as error:
        folders = ", ".join(_shown(item.path) for item in items)
        raise RequestRefused(
            f"{_shown(path)[:300]!r} is not carried ({error.why}): name a file, relative to the "
            f"home, of one of these: {folders}"
        ) from None


def describeItem(item: Item) -> str:
    """
    The rule that applies to a file, for people.
    """
    words = [_shown(item.path)]
    if item.isFile:
        words.append("a single file")
    else:
        every = b"*" in item.names
        names = ", ".join(_shown(name) for name in item.names)
        words.append("all files" if every else f"files named {names}")
        words.append("with those in folders" if item.recursive else "but none in folders")
    if item.ownTime:
        words.append("its time does not count")
    if item.extraValid:
        words.append("one that only a worker has is offered to the master")
    if item.restart:
        words.append("Wazuh reads it when it starts")
    return "; ".join(words)


def factsOf(manifest: Manifest | None, path: bytes) -> FileFacts | None:
    """
    What a manifest says of a file.
    """
    index = None if manifest is None else manifest.index(path)
    if manifest is None or index is None:
        return None
    entry = manifest.entry(index)
    return FileFacts(entry.size, entry.mtime, entry.digest.hex())


def heldBy(manifest: Manifest | None, path: bytes) -> str:
    """
    Why a manifest holds a path; empty if it does not.
    """
    if manifest is None:
        return ""
    for held in manifest.held:
        if held.path == path or (held.path.endswith(b"/") and path.startswith(held.path)):
            return held.why
    return ""


def judged(facts: Explanation) -> Explanation:
    """
    An explanation with its verdict, and one line on it.
    """
    verdict, text = _judge(facts)
    return evolve(facts, verdict=verdict, text=text)


def _judge(facts: Explanation) -> tuple[str, str]:
    here, master = facts.here, facts.master
    again = "" if facts.again is None else f"; it is tried again in {span(facts.again + 0.999)}"
    if facts.held:
        return HELD, f"it is left as it is: {facts.held}"
    if facts.failure:
        return FAILED, f"it could not be installed ({facts.failure}): mend that{again}"
    if facts.generation == 0:
        return UNKNOWN, "the master's files are not known here yet: ask again when it is joined"
    if here is None and master is None:
        return NOWHERE, "neither the master nor this node has such a file"
    if here is None:
        return (
            MISSING,
            f"the master has it and this node does not: it comes with the next look{again}",
        )
    if master is None:
        return EXTRA, f"only this node has it: it goes with the next look{again}"
    if here.digest != master.digest:
        return DIFFERS, f"its content is not the master's{again}"
    if here.mtime != master.mtime and "its time does not count" not in facts.item:
        return DIFFERS, f"only its time is not the master's{again}"
    return IN_SYNC, "it is the master's"


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
