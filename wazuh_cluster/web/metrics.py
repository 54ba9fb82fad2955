"""
A node's numbers for Prometheus: of the node itself and, on a master, of the
whole cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest

from wazuh_cluster.status import ClusterStatus, Health, NodeStatus
from wazuh_cluster.status.tally import BOUNDS, Tally
from wazuh_cluster.status.values import JOINED, STATES, VERDICTS

#: Prometheus' text format.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PREFIX = "wazuh_cluster_"


def metricsText(
    now: float,
    node: str,
    health: Health,
    nodes: Iterable[NodeStatus],
    cluster: ClusterStatus | None,
    tally: Tally,
    delay: float,
) -> bytes:
    """
    All numbers, in the text format.

    @param now: by whose clock the nodes' times are.
    @param node: who answers.
    @param health: of what this node knows.
    @param nodes: itself; on a master, all.
    @param cluster: on a master.
    @param delay: the reactor's, in seconds.
    """
    families = [*_cluster(node, health, cluster, delay), *_nodes(nodes, now), *_tally(tally)]
    # All that it needs of a registry is that.
    text: bytes = generate_latest(cast("Any", _Collected(families)))
    return text


class _Collected:
    """
    As much of a registry as is needed to write it.
    """

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """
        The families.
        """
        return iter(self._families)


def _cluster(
    node: str, health: Health, cluster: ClusterStatus | None, delay: float
) -> Iterator[Metric]:
    yield _gauge("verdict", "0: OK, 1: WARN, 2: ERROR", VERDICTS.index(health.verdict))
    reasons = _labelled("reason", "Why the verdict is not OK", ("name", "severity", "node"))
    for each in {(each.name, each.severity, each.node) for each in health.reasons}:
        reasons.add_metric(each, 1)
    yield reasons
    yield _gauge(
        "reactor_delay_seconds", "The longest delay of the reactor in the last minute", delay
    )
    if cluster is None:
        return
    states = _labelled("nodes", "Nodes by their state, the master included", ("state",))
    for state in STATES:
        states.add_metric((state,), cluster.nodes.get(state, 0))
    yield states
    yield _gauge("generation", "The number of the master's generation", cluster.generation)
    yield _gauge("files", "Files that the master has", cluster.files)
    yield _gauge("bytes", "Bytes of these files", cluster.bytes)
    agents = _labelled("agents", "Registered agents by their status", ("status",))
    for status, number in sorted(cluster.agents.items()):
        agents.add_metric((status,), number)
    yield agents
    yield CounterMetricFamily(
        _PREFIX + "events", "Events since the process began", value=cluster.events
    )


def _nodes(nodes: Iterable[NodeStatus], now: float) -> Iterator[Metric]:
    of = ("node",)
    info = _labelled("node_info", "What a node is", ("node", "role", "version", "software"))
    up = _labelled("node_up", "Whether a node is joined", of)
    generation = _labelled("node_generation", "The number of its generation", of)
    ratio = _labelled("node_completion_ratio", "How much of its files is the master's", of)
    files = _labelled("node_files_to_go", "Files that are not the master's", of)
    octets = _labelled("node_bytes_to_go", "Bytes still to come", of)
    keepAlive = _labelled("node_keepalive_age_seconds", "Since its last keep-alive", of)
    roundTrip = _labelled("node_round_trip_seconds", "Of its last keep-alive", of)
    offset = _labelled("node_clock_offset_seconds", "Its clock minus the master's", of)
    memory = _labelled("node_resident_memory_bytes", "Memory of its process", of)
    held = _labelled("node_held", "Sets of files that it holds back", of)
    agents = _labelled("node_agents", "Agents heard there last", ("node", "status"))
    runs = CounterMetricFamily(
        _PREFIX + "thread_runs", "Runs of a thread", labels=("node", "thread")
    )
    failures = CounterMetricFamily(
        _PREFIX + "thread_failures", "Failed runs of a thread", labels=("node", "thread")
    )
    took = _labelled(
        "thread_last_duration_seconds", "How long its last run took", ("node", "thread")
    )
    for node in nodes:
        key, report = (node.name,), node.report
        info.add_metric((node.name, node.role, node.version, node.software), 1)
        up.add_metric(key, int(node.state == JOINED))
        generation.add_metric(key, node.generation)
        ratio.add_metric(key, report.completion.percent / 100)
        files.add_metric(key, report.completion.filesToGo)
        octets.add_metric(key, report.completion.bytesToGo)
        held.add_metric(key, len(report.holds))
        if report.memory:
            memory.add_metric(key, report.memory)
        if node.lastKeepAlive is not None:
            keepAlive.add_metric(key, max(0.0, now - node.lastKeepAlive))
        for family, value in ((roundTrip, report.roundTrip), (offset, report.clockOffset)):
            if value is not None:
                family.add_metric(key, value)
        for status, number in sorted(node.agents.items()):
            agents.add_metric((node.name, status), number)
        for thread in report.threads:
            labels = (node.name, thread.name)
            runs.add_metric(labels, thread.runs)
            failures.add_metric(labels, thread.failures)
            if thread.duration is not None:
                took.add_metric(labels, thread.duration)
    yield from (info, up, generation, ratio, files, octets, keepAlive, roundTrip, offset, memory)
    yield from (held, agents, runs, failures, took)


def _tally(tally: Tally) -> Iterator[Metric]:
    durations = HistogramMetricFamily(
        _PREFIX + "sync_duration_seconds", "How long installations took", labels=("node",)
    )
    files = CounterMetricFamily(
        _PREFIX + "sync_files", "Files that installations were about", labels=("node", "action")
    )
    octets = CounterMetricFamily(
        _PREFIX + "sync_received_bytes", "Bytes that came for installations", labels=("node",)
    )
    for node, sums in tally:
        below, buckets = 0, []
        for bound, number in zip((*map(str, BOUNDS), "+Inf"), sums.buckets, strict=True):
            below += number
            buckets.append((bound, below))
        durations.add_metric((node,), buckets, sums.seconds)
        for action in ("created", "updated", "deleted", "failed"):
            files.add_metric((node, action), getattr(sums, action))
        octets.add_metric((node,), sums.received)
    yield from (durations, files, octets)


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, words, value=value)


def _labelled(name: str, words: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, words, labels=labels)
