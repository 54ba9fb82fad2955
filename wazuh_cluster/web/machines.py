"""
What programs ask: health, metrics, and JSON as Wazuh's API has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from twisted.web import http

from wazuh_cluster.model import MASTER
from wazuh_cluster.status import Health, NodeStatus
from wazuh_cluster.status.tally import Tally
from wazuh_cluster.status.values import ERROR
from wazuh_cluster.status.wazuhhealth import connected, nodeHealth, nodeItem
from wazuh_cluster.web.front import Answer, Asked, Handler, NotThere, asJson
from wazuh_cluster.web.look import Look, View
from wazuh_cluster.web.metrics import CONTENT_TYPE, metricsText

#: What Wazuh's API calls it that the master cannot be asked.
_NOT_CONNECTED = 3023


class Machines:
    """
    Each answers what its name says.
    """

    def __init__(
        self,
        look: Look,
        tally: Tally,
        delay: Callable[[], float],
        config: Mapping[str, object],
    ) -> None:
        """
        @param delay: how late the reactor is, in seconds.
        @param config: the C{<cluster>} block, without its key.
        """
        self._look = look
        self._tally = tally
        self._delay = delay
        self._config = {**config, "key": "*****"}

    def handlers(self) -> Iterator[tuple[str, Handler]]:
        """
        By the first part of their addresses.
        """
        yield "health", self.health
        yield "metrics", self.metrics
        yield "cluster", self.cluster

    async def health(self, asked: Asked) -> Answer:
        """
        Whether this node does its work; with C{?cluster}, whether all do.
        """
        if asked.path:
            raise NotThere("write /health")
        health = (await self._look.own()).health
        if "cluster" in asked.request.uri.decode("latin-1").partition("?")[2].split("&"):
            view = await self._look.view()
            health = view.own.health if view.cluster is None else view.cluster.health
        code = http.SERVICE_UNAVAILABLE if health.verdict == ERROR else http.OK
        return asJson(_health(health), code)

    async def metrics(self, asked: Asked) -> Answer:
        """
        The numbers.
        """
        own = await self._look.own()
        nodes: tuple[NodeStatus, ...] = (own.node,)
        cluster, health, now = None, own.health, own.now
        if own.node.role == MASTER:
            view = await self._look.view()
            if view.cluster is not None:
                nodes, cluster = view.nodes, view.cluster
                health, now = view.cluster.health, view.now
        text = metricsText(now, own.node.name, health, nodes, cluster, self._tally, self._delay())
        return Answer(text, CONTENT_TYPE)

    async def cluster(self, asked: Asked) -> Answer:
        """
        What Wazuh's API says below C{/cluster}.
        """
        what = "/".join(asked.path)
        if what == "status":
            return asJson(
                {"data": {"enabled": "yes", "running": "yes"}, "message": _READ, "error": 0}
            )
        own = await self._look.own()
        if what == "local/info":
            node = own.node
            return _list([{"node": node.name, "cluster": own.cluster, "type": node.role}])
        if what == "local/config":
            return _list([self._config])
        shape = _SHAPES.get(what)
        if shape is None:
            raise NotThere(f"/cluster/ has status, local/info, local/config, {', '.join(_SHAPES)}")
        view = await self._look.view()
        if view.cluster is None:
            said = {"title": "Wazuh Cluster Error", "detail": view.problem}
            return asJson({**said, "error": _NOT_CONNECTED}, http.SERVICE_UNAVAILABLE)
        return _list(shape(view))


_READ = "All selected information was returned"


def _synchronization(view: View) -> list[dict[str, Any]]:
    return [
        {"name": node.name, "synced": node.current}
        for node in connected(view.nodes)
        if node.role != MASTER
    ]


_SHAPES: Mapping[str, Callable[[View], list[dict[str, Any]]]] = {
    "nodes": lambda view: [nodeItem(node) for node in connected(view.nodes)],
    "healthcheck": lambda view: [nodeHealth(node) for node in connected(view.nodes)],
    "ruleset/synchronization": _synchronization,
}


def _list(items: list[dict[str, Any]]) -> Answer:
    return asJson(
        {
            "data": {
                "affected_items": items,
                "total_affected_items": len(items),
                "total_failed_items": 0,
                "failed_items": [],
            },
            "message": _READ,
            "error": 0,
        }
    )


def _health(health: Health) -> dict[str, Any]:
    return {
        "verdict": health.verdict,
        "reasons": [
            {
                "name": each.name,
                "severity": each.severity,
                "node": each.node,
                "text": each.text,
            }
            for each in health.reasons
        ],
        "more": health.more,
    }
