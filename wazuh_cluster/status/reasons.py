"""
The named reasons for which a cluster is not well, and the verdict that they
make.

Each text says what it is and what to do, to somebody who does not know the
code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from wazuh_cluster.model import MASTER
from wazuh_cluster.status.values import (
    ERROR,
    FAILED,
    JOINED,
    OK,
    WARN,
    Health,
    NodeStatus,
    Reason,
    ThreadStatus,
)
from wazuh_cluster.status.words import count, size, span

#: Each reason's severity.
SEVERITIES: Mapping[str, str] = {
    # Of nodes, as the master sees them.
    "NODE_FAILED": ERROR,
    "NODE_STALE": WARN,
    "NODE_BEHIND": WARN,
    "NODE_REFUSED": WARN,
    "CLOCK_OFFSET": WARN,
    # Of a worker that is asked itself.
    "NO_MASTER": ERROR,
    # Of the files of a node.
    "FILES_FAILED": ERROR,
    "REMOVALS_HELD": ERROR,
    "RESTART_DUE": WARN,
    "FILE_UNREADABLE": WARN,
    "FILE_NOT_CARRIED": WARN,
    "MOUNTED_FILE": WARN,
    "NO_GENERATION": WARN,
    # Of its threads, its disk, and its configuration.
    "THREAD_HUNG": ERROR,
    "THREAD_FAILED": WARN,
    "DISK_TROUBLE": ERROR,
    "AGENTS_STORE_DAMAGED": ERROR,
    "KEY_IS_PUBLIC": ERROR,
}

#: Seconds that a worker has to come back before it counts as failed.
GRACE = 10.0

#: Seconds without a keep-alive from which on a node counts as stale: one of them
#: was missed.
STALE_AFTER = 90.0

#: Seconds for which a node may be behind the master's files.
BEHIND_AFTER = 300.0

#: Seconds between two clocks that are worth a word.
CLOCK_OFFSET = 5.0

#: The most reasons of one answer, and the longest text of one.
MOST = 60
LONGEST = 400

#: The most troubles, and the most threads, of one node that are looked at.
OF_ONE = 20

#: What the kinds of a thread's failure are called.
_KINDS = {"disk": "DISK_TROUBLE", "damaged": "AGENTS_STORE_DAMAGED"}


def reason(name: str, node: str, text: str) -> Reason:
    """
    The reason of this name.
    """
    # What a newer node says of itself may be unknown here.
    severity = SEVERITIES.get(name, WARN)
    cut = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return Reason(name[:40], severity, node, cut)


def nodeReasons(node: NodeStatus, now: float) -> Iterator[Reason]:
    """
    What is wrong with one node.

    @param now: in seconds since the epoch.
    """
    name = node.name
    if node.state == FAILED:
        if now - node.since >= GRACE:
            yield reason(
                "NODE_FAILED",
                name,
                f"{_seen(node, now)}{_because(node.why)}: start it, or see that it "
                "reaches the master (its logs/cluster.log says more); if it is gone for good: "
                f"wazuh-cluster forget {name}",
            )
        return
    if node.state != JOINED:
        return
    if node.role != MASTER:
        yield from _linkReasons(node, now)
    yield from _fileReasons(node, now)
    for thread in node.report.threads[:OF_ONE]:
        yield from _threadReasons(name, thread, now)
    for trouble in node.report.troubles[:OF_ONE]:
        yield reason(trouble.name, name, trouble.text)


def judge(reasons: Iterable[Reason], most: int = MOST) -> Health:
    """
    The verdict, with the worst reasons first.
    """
    worst = {ERROR: 0, WARN: 1}
    found = sorted(reasons, key=lambda each: (worst[each.severity], each.name, each.node))
    verdict = found[0].severity if found else OK
    return Health(verdict, tuple(found[:most]), max(0, len(found) - most))


def _linkReasons(node: NodeStatus, now: float) -> Iterator[Reason]:
    heard = node.lastKeepAlive
    if heard is not None and now - heard >= STALE_AFTER:
        yield reason(
            "NODE_STALE",
            node.name,
            f"last seen {span(now - heard)} ago though it is connected: it is overloaded or the "
            "network between is; look at its logs/cluster.log",
        )
    offset = node.report.clockOffset
    if offset is not None and abs(offset) >= CLOCK_OFFSET:
        way = "ahead of" if offset > 0 else "behind"
        yield reason(
            "CLOCK_OFFSET",
            node.name,
            f"its clock is {abs(offset):,.1f} s {way} the master's: let both follow the same time "
            "server (NTP)",
        )


def _fileReasons(node: NodeStatus, now: float) -> Iterator[Reason]:
    name, report = node.name, node.report
    failed = report.lastSync.failed if report.lastSync is not None else 0
    if report.failed:
        first = report.failed[0]
        yield reason(
            "FILES_FAILED",
            name,
            f"{count(max(failed, len(report.failed)), 'file')} could not be installed; the first "
            f"is {first.path} ({first.why}): mend that on this node, it is tried again by itself",
        )
    elif node.behindSince is not None and now - node.behindSince >= BEHIND_AFTER:
        left = report.completion
        yield reason(
            "NODE_BEHIND",
            name,
            f"its files are not the master's for {span(now - node.behindSince)}; "
            f"{count(left.filesToGo, 'file')} and {size(left.bytesToGo)} to go: look at its "
            "network, its disk and its logs/cluster.log",
        )
    if report.holds:
        more = f" (and {len(report.holds) - 1} more)" if len(report.holds) > 1 else ""
        yield reason(
            "REMOVALS_HELD",
            name,
            f"it holds back what looks like a mishap{more}: {report.holds[0]}: mend the master's "
            "files, or run 'wazuh-cluster accept' on this node",
        )
    due = report.restartDue
    if due is not None:
        names = f" ({due.files[0]}{', …' if due.count > 1 else ''})" if due.files else ""
        yield reason(
            "RESTART_DUE",
            name,
            f"{count(due.count, 'new rule, decoder or list', 'new rules, decoders or lists')}"
            f"{names} came {span(now - due.since)} ago and are not in use: restart Wazuh on this "
            "node, then, if this stays, run 'wazuh-cluster restarted' there",
        )


def _threadReasons(node: str, thread: ThreadStatus, now: float) -> Iterator[Reason]:
    if thread.hung:
        since = "" if thread.started is None else f" for {span(now - thread.started)}"
        yield reason(
            "THREAD_HUNG",
            node,
            f"{thread.name} has not ended{since}: a disk or a database does not answer; mend "
            "that, or restart the node",
        )
    elif thread.failure and thread.kind != "link":
        remedy = {
            "disk": "make room or mend the disk; it is tried again by itself",
            "damaged": "nothing of agents' statuses is kept until then",
        }.get(thread.kind or "", "logs/cluster.log of this node says more")
        yield reason(
            _KINDS.get(thread.kind or "", "THREAD_FAILED"),
            node,
            f"{thread.name} failed: {thread.failure}: {remedy}",
        )


def _seen(node: NodeStatus, now: float) -> str:
    if node.lastKeepAlive is None:
        return f"not seen for {span(now - node.since)}"
    return f"last seen {span(now - node.lastKeepAlive)} ago"


def _because(why: str) -> str:
    return f" ({why})" if why else ""
