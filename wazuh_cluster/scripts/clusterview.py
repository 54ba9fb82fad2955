"""
A cluster's state in the words of C{wazuh-cluster status}, whatever shows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from wazuh_cluster.control import ControlClient
from wazuh_cluster.errors import MasterUnreachable, RequestRefused
from wazuh_cluster.scripts.table import shown
from wazuh_cluster.status import ClusterStatus, Health, NodeStatus, OwnStatus, ThreadStatus
from wazuh_cluster.status.values import ERROR, JOINED, OK, STATES, WARN
from wazuh_cluster.status.words import count, size, span

#: The exit status of each verdict.
EXITS = {OK: 0, WARN: 1, ERROR: 2}

#: The columns of nodes. Those of progress are apart, for bars.
HEAD = (
    "NODE",
    "TYPE",
    "VERSION",
    "ADDRESS",
    "STATE",
    "GENERATION",
    "FILES",
    "AGENTS",
    "SEEN",
    "ROUND TRIP",
    "CLOCK",
)
FILES = HEAD.index("FILES")

THREADS_HEAD = ("NODE", "THREAD", "EVERY", "LAST RUN", "TOOK", "RUNS", "FAILED", "RESULT")

#: The longest line of a reason.
_REASON = 500


@frozen
class Seen:
    """
    What was seen at one look.

    @ivar cluster: the whole; C{None} if the master cannot be asked.
    @ivar nodes: all nodes; only the one that was asked, if the master cannot be.
    @ivar own: what that one knows itself, in that case.
    @ivar why: why the master cannot be asked.
    """

    cluster: ClusterStatus | None
    nodes: Sequence[NodeStatus]
    own: OwnStatus | None = None
    why: str = ""

    @property
    def health(self) -> Health:
        """
        The verdict.
        """
        if self.cluster is not None:
            return self.cluster.health
        assert self.own is not None
        return self.own.health

    @property
    def now(self) -> float:
        """
        When this was so, by the clock of the node that says so.
        """
        if self.cluster is not None:
            return self.cluster.now
        assert self.own is not None
        return self.own.now


async def look(client: ControlClient) -> Seen:
    """
    Ask the cluster; or, where its master cannot be asked, the node.
    """
    try:
        cluster = await client.status.cluster()
        return Seen(cluster, [node async for node in client.status.nodes()])
    except (MasterUnreachable, RequestRefused) as error:
        own = await client.status.own()
        return Seen(None, [own.node], own, str(error))


def verdict(seen: Seen) -> str:
    """
    One line: C{WARN: RESTART_DUE (worker-1), NODE_STALE (worker-2)}.
    """
    health = seen.health
    if not health.reasons:
        return f"{health.verdict}: all is well"
    nodes: dict[str, list[str]] = {}
    for each in health.reasons:
        nodes.setdefault(each.name, []).append(each.node)
    parts = []
    for name, where in nodes.items():
        first = ", ".join(shown(each) for each in where[:3] if each)
        more = f" and {len(where) - 3} more" if len(where) > 3 else ""
        parts.append(f"{shown(name)} ({first}{more})" if first else shown(name))
    return f"{health.verdict}: {', '.join(parts)}"


def reasons(seen: Seen) -> Iterator[tuple[str, str]]:
    """
    Each reason's severity, and its line.
    """
    for each in seen.health.reasons:
        yield each.severity, shown(each.line(), _REASON)
    if seen.health.more:
        yield seen.health.verdict, f"and {seen.health.more} more"


def summary(seen: Seen) -> Iterator[str]:
    """
    The cluster as a whole, in some lines.
    """
    cluster = seen.cluster
    if cluster is None:
        assert seen.own is not None
        yield f"Cluster {shown(seen.own.cluster)}. {shown(seen.why, _REASON)}."
        yield "What this node knows itself:"
        return
    states = ", ".join(f"{cluster.nodes[each]} {each}" for each in STATES if each in cluster.nodes)
    yield f"Cluster {shown(cluster.cluster)}, master {shown(cluster.master)}. Nodes: {states}."
    yield (
        f"Generation {cluster.generation}: {count(cluster.files, 'file')}, {size(cluster.bytes)}."
        if cluster.generation
        else "The master has looked through no files yet."
    )
    if cluster.agents:
        yield f"Agents: {agents(cluster.agents)}."


def agents(counts: Mapping[str, int]) -> str:
    """
    Agents by status.
    """
    names = sorted(counts, key=lambda each: (each != "active", each))
    return ", ".join(f"{counts[each]:,} {shown(each)}" for each in names) or "-"


def row(node: NodeStatus, now: float) -> tuple[str, ...]:
    """
    A node in the table.
    """
    report = node.report
    trip, offset = report.roundTrip, report.clockOffset
    seen = node.lastKeepAlive
    return (
        node.name,
        node.role,
        node.version or "-",
        node.address or "-",
        f"{node.state} {span(now - node.since)}" + ("" if node.state == JOINED else " ago"),
        str(node.generation) if node.generation else "-",
        files(node),
        agents(node.agents),
        "-" if seen is None or node.role == "master" else f"{span(now - seen)} ago",
        "-" if trip is None else f"{trip * 1000:.1f} ms",
        "-" if offset is None else f"{offset:+.3f} s",
    )


def percent(node: NodeStatus) -> float | None:
    """
    How far a node's files are the master's; C{None} if that is not known.
    """
    if node.state != JOINED or not node.report.completion.files:
        return None
    found = node.report.completion.percent
    return found if node.current or node.role == "master" else min(99.9, found)


def files(node: NodeStatus) -> str:
    """
    The same, with what is to go.
    """
    found, left = percent(node), node.report.completion
    if found is None:
        return "-"
    if left.filesToGo or left.bytesToGo:
        to = [count(left.filesToGo, "file")] if left.filesToGo else []
        to += [size(left.bytesToGo)] if left.bytesToGo else []
        return f"{found:.1f}%, {', '.join(to)} to go"
    return f"{found:.0f}%" if found == 100 else "comparing"


def threads(nodes: Sequence[NodeStatus], now: float) -> Iterator[tuple[str, ...]]:
    """
    The threads of some nodes, as rows.
    """
    for node in nodes:
        for each in node.report.threads:
            yield _thread(node.name, each, now)


def _thread(node: str, thread: ThreadStatus, now: float) -> tuple[str, ...]:
    started = thread.started
    if thread.running and started is not None:
        last = f"runs for {span(now - started)}"
    else:
        last = "never" if thread.ended is None else f"{span(now - thread.ended)} ago"
    result = f"failed: {thread.failure}" if thread.failure else thread.result or "-"
    return (
        node,
        thread.name,
        f"{thread.interval:g} s",
        last + (", HUNG" if thread.hung else ""),
        "-" if thread.duration is None else f"{thread.duration:.3f} s",
        str(thread.runs),
        str(thread.failures),
        result,
    )
