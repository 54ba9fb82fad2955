"""
C{cluster_control}, with the options and the output of Wazuh's: playbooks read it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TextIO

from wazuh_cluster.agents.model import STATUSES, FleetFilter, formatId
from wazuh_cluster.control import ControlClient
from wazuh_cluster.errors import ClusterError, HomeError, MasterUnreachable
from wazuh_cluster.home import Home, defaultHome
from wazuh_cluster.scripts.asking import ask
from wazuh_cluster.scripts.table import shown, writeLines
from wazuh_cluster.status import NodeStatus
from wazuh_cluster.status.wazuhhealth import connected, health, nodeItem, seconds

PROGRAM = "cluster_control"

DONE = 0
FAILED = 1

#: Wazuh's codes of errors.
_NO_SUCH_NODE = 3022
_NOT_CONNECTED = 3023
_OTHER = 1000

#: What stands where an agent has said nothing.
_UNKNOWN = "N/A"

_LONGEST = 400


class Clash(Exception):
    """
    Arguments that exclude each other.
    """


class Refusal(ClusterError):
    """
    What is printed with one of Wazuh's codes.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def makeParser() -> argparse.ArgumentParser:
    """
    What the program takes.
    """
    parser = argparse.ArgumentParser(prog=PROGRAM, add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("-h", "--help", action="store_true", help="Show this help and end.")
    add("-u", "--usage", action="store_true", help="Show how it is called and end.")
    add("-d", "--debug", action="store_true", help="Say more about errors, on standard error.")
    add("-l", "--list", action="store_true", help="List the nodes that are connected.")
    add("-a", "--list-agents", action="store_true", help="List the agents.")
    add(
        "-i",
        "--health",
        nargs="?",
        const="",
        metavar="more",
        help="Show when each worker was synchronised last; with 'more', all that is known.",
    )
    add("-fn", "--filter-node", nargs="+", metavar="NODE", help="Only these nodes.")
    add(
        "-fs",
        "--filter-agent-status",
        nargs="+",
        metavar="STATUS",
        help=f"With -a, only agents of these statuses: {', '.join(STATUSES)}.",
    )
    return parser


_USAGE = """\
Usage:
    {0} -l                      list the nodes that are connected
    {0} -l -fn NODE...          only these
    {0} -a                      list the agents
    {0} -a -fn NODE...          only those that were heard at these nodes
    {0} -a -fs STATUS...        only those of these statuses
    {0} -i                      show the last synchronisations
    {0} -i more                 show all that is known of the nodes
    {0} -i [more] -fn NODE...   only of these
"""


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run it.

    @return: the exit status: 0 if it was done; 1 if not, with a line that says
        why on standard output; 2 for arguments that are unknown.
    """
    parser = makeParser()
    options = parser.parse_args(argv)
    try:
        _checkClash(options)
    except Clash as clash:
        print(f"ERROR: {clash} (see '{PROGRAM} -h')")
        return FAILED
    if options.usage:
        print(_USAGE.format(PROGRAM), end="")
        return DONE
    work = _work(options)
    if options.help or work is None:
        parser.print_help()
        return DONE
    return _ask(work, options.debug)


def _checkClash(options: argparse.Namespace) -> None:
    chosen = [options.list, options.list_agents, options.health is not None]
    if sum(chosen) > 1:
        raise Clash("-l, -a and -i exclude each other")
    if options.filter_agent_status is not None and not options.list_agents:
        raise Clash("-fs is for -a")
    if options.filter_node is not None and not any(chosen):
        raise Clash("-fn is for -l, -a and -i")
    if options.health not in (None, "", "more"):
        raise Clash(f"-i takes 'more' or nothing, not {options.health[:60]!r}")
    for status in options.filter_agent_status or ():
        if status not in STATUSES:
            raise Clash(f"{status[:60]!r} is no status: use {', '.join(STATUSES)}")


def _work(options: argparse.Namespace) -> Callable[[ControlClient], Any] | None:
    nodes = options.filter_node
    if options.list:
        return partial(listNodes, out=sys.stdout, wanted=nodes)
    if options.list_agents:
        statuses = options.filter_agent_status or ()
        return partial(listAgents, out=sys.stdout, wanted=nodes, statuses=statuses)
    if options.health is not None:
        more = options.health == "more"
        return partial(showHealth, out=sys.stdout, wanted=nodes, more=more)
    return None


def _ask(work: Callable[[ControlClient], Any], debug: bool) -> int:
    try:
        return ask(Home(defaultHome(os.environ)), work)
    except ClusterError as error:
        print(complaint(error))
        if debug:
            print(f"{type(error).__name__}: {shown(str(error), _LONGEST)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130


def complaint(error: ClusterError) -> str:
    """
    An error as Wazuh's program prints it, with what we know of it.
    """
    if isinstance(error, HomeError):
        line = f"ERROR: Cluster is not running ({error})"
    elif isinstance(error, MasterUnreachable):
        line = f"ERROR: Error {_NOT_CONNECTED} - {error}"
    else:
        line = f"ERROR: Error {getattr(error, 'code', _OTHER)} - {error}"
    return shown(" ".join(line.split()), _LONGEST * 2)


async def listNodes(client: ControlClient, out: TextIO, wanted: Sequence[str] | None = None) -> int:
    """
    C{-l}.
    """
    nodes = _only(await _nodes(client), wanted)
    items = [nodeItem(node) for node in nodes]
    rows = [(each["name"], each["type"], each["version"], each["ip"]) for each in items]
    writeLines(out, table(("NAME", "TYPE", "VERSION", "ADDRESS"), rows))
    return DONE


async def listAgents(
    client: ControlClient,
    out: TextIO,
    wanted: Sequence[str] | None = None,
    statuses: Sequence[str] = (),
) -> int:
    """
    C{-a}.
    """
    if wanted is not None:
        _only(await _nodes(client), wanted)
    rows: list[tuple[str, ...]] = []
    async for page in client.agents(FleetFilter(frozenset(statuses), frozenset(wanted or ()))):
        for agent in page.agents:
            record = agent.record
            version = record.version if record is not None else ""
            rows.append(
                (
                    formatId(agent.id),
                    agent.name,
                    agent.ip,
                    agent.status,
                    version or _UNKNOWN,
                    agent.node or _UNKNOWN,
                )
            )
    writeLines(out, table(("ID", "NAME", "IP", "STATUS", "VERSION", "NODE NAME"), rows))
    return DONE


async def showHealth(
    client: ControlClient, out: TextIO, wanted: Sequence[str] | None = None, more: bool = False
) -> int:
    """
    C{-i}.
    """
    cluster = await client.status.cluster()
    nodes = await _nodes(client)
    _only(nodes, wanted)
    found = health(nodes, wanted)
    describe = detailed if more else brief
    writeLines(out, describe(cluster.cluster, found))
    return DONE


async def _nodes(client: ControlClient) -> list[NodeStatus]:
    return connected([node async for node in client.status.nodes()])


def _only(nodes: Iterable[NodeStatus], wanted: Sequence[str] | None) -> list[NodeStatus]:
    """
    The nodes of these names.

    @raise Refusal: if there is none of one of them.
    """
    known = {node.name: node for node in nodes}
    for name in wanted or ():
        if name not in known:
            raise Refusal(_NO_SUCH_NODE, f"no node {name[:140]!r} is connected")
    return [node for name, node in known.items() if wanted is None or name in wanted]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """
    A table as Wazuh's: each column as wide as its widest cell, and two blanks;
    an empty line at the end.
    """
    safe = [[shown(cell, _LONGEST) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) + 2 for column in zip(*safe, strict=True)]
    lines = [
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in safe
    ]
    return [*lines, ""]


def brief(cluster: str, found: dict[str, Any]) -> Iterable[str]:
    """
    C{-i}: a line for each worker.
    """
    yield f"Cluster name: {shown(cluster, _LONGEST)}"
    yield ""
    yield (f"Last completed synchronization for connected nodes ({found['n_connected_nodes']}):")
    for name, node in found["nodes"].items():
        status = node.get("status")
        if status is None:
            continue
        parts = (
            ("Integrity check", status["last_check_integrity"]["date_end_master"]),
            ("Integrity sync", status["last_sync_integrity"]["date_end_master"]),
            ("Agents-info", status["last_sync_agentinfo"]["date_end_master"]),
            ("Agent-groups", status["last_sync_agentgroup"]["date_end"]),
            ("Agent-groups full", status["last_sync_full_agentgroup"]["date_end"]),
            ("Last keep alive", status["last_keep_alive"]),
        )
        told = " | ".join(f"{what}: {date}" for what, date in parts)
        yield f"    {shown(name, _LONGEST)} ({shown(node['info']['ip'], _LONGEST)}): {told}."
    yield ""


def detailed(cluster: str, found: dict[str, Any]) -> Iterable[str]:
    """
    C{-i more}.
    """
    yield f"Cluster name: {shown(cluster, _LONGEST)}"
    yield ""
    yield f"Connected nodes ({found['n_connected_nodes']}):"
    yield ""
    for name, node in found["nodes"].items():
        info = {key: shown(str(each), _LONGEST) for key, each in node["info"].items()}
        yield f"    {shown(name, _LONGEST)} ({info['ip']})"
        yield f"        Version: {info['version']}"
        yield f"        Type: {info['type']}"
        yield f"        Active agents: {info['n_active_agents']}"
        if "status" in node:
            yield "        Status:"
            yield from (f"            {line}" for line in _status(node["status"]))
        yield ""


def _status(status: dict[str, Any]) -> Iterable[str]:
    check, sync = status["last_check_integrity"], status["last_sync_integrity"]
    files, agents = sync["total_files"], status["last_sync_agentinfo"]
    master = ("date_start_master", "date_end_master")
    yield "Last keep Alive:"
    yield f"    Last received: {status['last_keep_alive']}."
    yield "Integrity check:"
    yield f"    Last integrity check: {_span(check, *master)}."
    yield f"    Permission to check integrity: {status['sync_integrity_free']}."
    yield "Integrity sync:"
    yield f"    Last integrity synchronization: {_span(sync, *master)}."
    yield (
        f"    Synchronized files: Shared: {files['shared']} | Missing: {files['missing']} | "
        f"Extra: {files['extra']}."
    )
    yield "Agents-info:"
    yield f"    Last synchronization: {_span(agents, *master)}."
    yield f"    Number of synchronized chunks: {agents['n_synced_chunks']}."
    yield f"    Permission to synchronize agent-info: {status['sync_agent_info_free']}."
    for title, key in (
        ("Agents-groups", "last_sync_agentgroup"),
        ("Agents-groups full", "last_sync_full_agentgroup"),
    ):
        groups = status[key]
        yield f"{title}:"
        yield f"    Last synchronization: {_span(groups, 'date_start', 'date_end')}."
        yield f"    Number of synchronized chunks: {groups['n_synced_chunks']}."


def _span(dates: dict[str, Any], start: str, end: str) -> str:
    return f"{seconds(dates[start], dates[end])} ({dates[start]} - {dates[end]})"


if __name__ == "__main__":
    raise SystemExit(main())
