"""
What is wrong with files that a node should carry, and does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import nsmallest
from itertools import islice

from wazuh_cluster.integrity import Snapshot
from wazuh_cluster.integrity.scan import LINK, SPECIAL
from wazuh_cluster.status.values import FileTrouble, Trouble
from wazuh_cluster.status.words import count

#: How many failed files a report names.
SHOWN = 20

#: The most paths that are looked at.
_MOST = 10_000

#: How much of a path is told.
_LONGEST = 200

_UNREADABLE = "FILE_UNREADABLE"
_NOT_CARRIED = "FILE_NOT_CARRIED"


def snapshotTroubles(snapshot: Snapshot | None) -> tuple[Trouble, ...]:
    """
    What a look at a node's own files could not take in.
    """
    if snapshot is None or not (snapshot.problems or snapshot.manifest.held):
        return ()
    texts = dict(islice(snapshot.problems.items(), _MOST))
    names: dict[bytes, str] = dict.fromkeys(texts, _NOT_CARRIED)
    for held in islice(snapshot.manifest.held, _MOST):
        names[held.path] = _NOT_CARRIED if held.why in (LINK, SPECIAL) else _UNREADABLE
        texts.setdefault(held.path, held.why)
    remedies = {
        _UNREADABLE: "let the user that the node runs as read it",
        _NOT_CARRIED: "put a file with a plain name in its place, or, for a link, list the folder "
        "to which it leads under [follow] in etc/wazuh_cluster.ini",
    }
    return tuple(
        Trouble(
            name,
            f"{_some(paths)} not carried, and workers keep what they have there: "
            f"{shown(paths[0])[:_LONGEST]}: {texts[paths[0]][:_LONGEST]}: {remedies[name]}",
        )
        for name in (_UNREADABLE, _NOT_CARRIED)
        if (paths := sorted(path for path, kind in names.items() if kind == name))
    )


def mountedTroubles(paths: Iterable[bytes]) -> tuple[Trouble, ...]:
    """
    Files that had to be written in place.
    """
    found = sorted(paths)
    if not found:
        return ()
    return (
        Trouble(
            "MOUNTED_FILE",
            f"{_some(found)} mounted by itself, and written in place, so that a reader may see "
            f"half of it: {shown(found[0])[:_LONGEST]}: mount its folder instead",
        ),
    )


def fileTroubles(failed: Mapping[bytes, str]) -> tuple[FileTrouble, ...]:
    """
    The first files that could not be installed.
    """
    return tuple(
        FileTrouble(shown(path)[:400], failed[path][:200]) for path in nsmallest(SHOWN, failed)
    )


def shown(path: bytes) -> str:
    """
    A path as text.
    """
    return path.decode("utf-8", "backslashreplace")


def _some(paths: list[bytes]) -> str:
    return f"{count(len(paths), 'path')} {'is' if len(paths) == 1 else 'are'}"
