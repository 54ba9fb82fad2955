"""
What is shown, as HTML: sections that are replaced one by one, and pages that
have them.

All that comes from nodes, agents and files passes L{safe}, and is escaped as
HTML. Sections say times as they are and not how long ago that was, so that they
are equal as long as nothing happens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from time import gmtime, strftime
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.web.template import Tag, flattenString, tags

from wazuh_cluster.escape import escape
from wazuh_cluster.model import MASTER
from wazuh_cluster.status import (
    Event,
    Explanation,
    Health,
    NodeStatus,
    ThreadStatus,
)
from wazuh_cluster.status.values import FAILED, JOINED, OK
from wazuh_cluster.status.words import count, size, span
from wazuh_cluster.web.look import View

#: The most characters of a text that are shown.
_LONGEST = 400

#: The threads that do a cluster's work; a node's page has all of them.
_THREADS = ("File integrity", "Integrity", "Agent info", "Keep alive")

#: How many names are shown of many.
_FEW = 8

#: How agents' statuses are ordered.
_STATUSES = ("active", "disconnected", "pending", "never_connected")

#: Signs beside the words, for those who look only briefly.
_MARKS = {OK: "✔", "WARN": "!", "ERROR": "✖", JOINED: "●", FAILED: "✖", "left": "○"}

_TIME = re.compile(rb'<time data-at="(-?[0-9.]+)"></time>')

#: The id of a section to its content.
Sections = Mapping[str, Tag]


def safe(text: str) -> str:
    """
    A text of whatever origin: on one line, in one direction, and cut.
    """
    return escape(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")


async def flatten(tag: Tag) -> bytes:
    """
    HTML of a tag.
    """
    flat: Deferred[bytes] = flattenString(None, tag)
    return await flat


def withAges(html: bytes, now: float) -> bytes:
    """
    The same with how long ago each time was, for those without scripts.

    @param now: by the clock by which the times are.
    """
    return _TIME.sub(lambda match: match[0][:-7] + _ago(float(match[1]), now) + b"</time>", html)


def overview(view: View) -> Sections:
    """
    The sections of the first page.
    """
    return {
        "verdict": _verdict(view),
        "nodes": _nodes(view),
        "agents": _agents(view),
        "events": _events(view.events.events),
    }


def nodeSections(view: View, node: NodeStatus, health: Health) -> Sections:
    """
    The sections of a node's page.

    @param health: of that node.
    """
    return {
        "verdict": tags.div(_judgement(health)),
        "node": _nodeFacts(node),
        "threads": _threads(node.report.threads),
        "files": _files(node),
        "agents": tags.div(
            tags.h2("Agents heard here"), _counts({node.name: node.agents}, linked=True)
        ),
        "events": _events([each for each in view.events.events if each.node == node.name]),
    }


def explanation(found: Explanation) -> Tag:
    """
    Why a file is, or is not, in sync.
    """
    rows: list[tuple[str, Any]] = [
        ("Verdict", tags.strong(safe(found.verdict.replace("_", " ")))),
        ("Why", safe(found.text)),
        ("Rule that applies", safe(found.item)),
        ("Compared with generation", f"{found.generation:,}"),
    ]
    for name, facts in (("There", found.here), ("On the master", found.master)):
        if facts is None:
            rows.append((name, "no such file"))
        else:
            changed = strftime("%Y-%m-%d %H:%M:%S UTC", gmtime(facts.mtime))
            rows.append(
                (
                    name,
                    tags.span(
                        f"{facts.size:,} bytes, changed {changed}, {safe(found.algorithm)} ",
                        tags.code(safe(facts.digest)),
                    ),
                )
            )
    if found.looked is not None:
        rows.append(("The node looked", _time(found.looked)))
    if found.held:
        rows.append(("Left as it is", safe(found.held)))
    if found.failure:
        rows.append(("Last error", safe(found.failure)))
    if found.again is not None:
        rows.append(("Next look", f"in {span(found.again)}"))
    return _facts(rows)


def page(
    title: str,
    trail: Sequence[tuple[str, str]],
    body: Iterable[Any],
    now: float,
    stream: str | None = None,
) -> Tag:
    """
    A whole page.

    @param trail: where it is: words and addresses, from the first page on.
    @param now: by whose clock its times are.
    @param stream: where what is new of it comes from; C{None} for a page that
        stays as it is.
    """
    live = {} if stream is None else {"data-stream": stream}
    return tags.html(
        tags.head(
            tags.meta(charset="utf-8"),
            tags.meta(name="viewport", content="width=device-width, initial-scale=1"),
            tags.meta(name="color-scheme", content="light dark"),
            tags.title(title),
            tags.link(rel="stylesheet", href="/static/page.css"),
            tags.link(rel="icon", href="/static/icon.svg"),
            tags.script(src="/static/page.js", defer="defer"),
        ),
        tags.body(
            tags.a("Skip to content", href="#content", class_="skip"),
            tags.header(
                tags.nav(
                    *(tags.a(word, href=address) for word, address in trail),
                    **{"aria-label": "Where this is"},
                ),
                tags.h1(title),
                tags.p(_clock(now), id="live", role="status", class_="quiet"),
            ),
            Tag("main")(*body, id="content"),
            **{"data-now": f"{now:.3f}", **live},
        ),
        lang="en",
    )


def placed(sections: Sections) -> list[Tag]:
    """
    The sections at their places in a page.
    """
    return [tags.section(content, id=name) for name, content in sections.items()]


def agentRow(agent: Mapping[str, Any]) -> Tag:
    """
    An agent of the fleet, as the request C{agents.page} says it.
    """
    heard = agent.get("last_keep_alive")
    groups = agent.get("groups")
    cells: list[Any] = [
        safe(str(agent.get(key) or "")) for key in ("id", "name", "ip", "status", "version", "node")
    ]
    cells.append(safe(", ".join(map(str, groups))) if isinstance(groups, list) else "")
    cells.append(_time(heard) if isinstance(heard, (int, float)) else "never")
    return tags.tr(*(tags.td(cell) for cell in cells))


def agentTable(rows: Iterable[Tag]) -> Tag:
    """
    A table of agents.
    """
    head = ("ID", "Name", "Address", "Status", "Version", "Node", "Groups", "Last heard")
    return _table("Agents", head, rows)


def nodeAddress(name: str) -> str:
    """
    The page of a node.
    """
    return "/node/" + quote(name, safe="")


def _verdict(view: View) -> Tag:
    if view.cluster is None:
        return tags.div(
            tags.p(tags.strong("This is what the node knows alone. "), safe(view.problem)),
            _judgement(view.own.health),
        )
    cluster = view.cluster
    joined = cluster.nodes.get(JOINED, 0)
    total = sum(cluster.nodes.values())
    return tags.div(
        _judgement(cluster.health),
        tags.ul(
            _fact(f"{joined} of {total}", "nodes joined"),
            _fact(f"{cluster.generation:,}", "generation"),
            _fact(f"{cluster.files:,}", f"files, {size(cluster.bytes)}"),
            _fact(f"{sum(cluster.agents.values()):,}", "agents"),
            _fact(f"{cluster.agents.get('active', 0):,}", "of them active"),
            class_="figures",
        ),
    )


def _judgement(health: Health) -> Tag:
    shown = tags.ul(class_="reasons")
    for each in health.reasons:
        about = _about(each.node, ": ")
        shown(
            tags.li(
                tags.strong(f"{_mark(each.severity)} {safe(each.name)} "),
                *about,
                safe(each.text),
                class_=each.severity.lower(),
            )
        )
    if health.more:
        shown(tags.li(f"and {count(health.more, 'reason')} more"))
    word = {OK: "all is well", "WARN": "it works, and wants a look", "ERROR": "it wants help"}
    return tags.div(
        tags.h2(
            tags.span(_mark(health.verdict), **{"aria-hidden": "true", "class": "mark"}),
            f" {safe(health.verdict)}",
            tags.span(f" {word.get(health.verdict, '')}", class_="quiet"),
        ),
        shown if health.reasons else "",
        class_=f"verdict {health.verdict.lower()}",
    )


def _nodes(view: View) -> Tag:
    names = [
        name for name in _THREADS if any(_thread(node, name) is not None for node in view.nodes)
    ]
    head = ("Node", "State", "Version", "Address", "In sync", "To go", "Agents", "Keep-alive")
    rows = [_nodeRow(node, names) for node in view.nodes]
    return tags.div(tags.h2("Nodes"), _table("Nodes", (*head, *names), rows))


def _nodeRow(node: NodeStatus, names: Sequence[str]) -> Tag:
    total = sum(node.agents.values())
    active = node.agents.get("active", 0)
    state = tags.span(f"{_mark(node.state)} {node.state}", class_=f"state {node.state}")
    since: list[Any] = [] if node.state == JOINED else [" ", _time(node.since)]
    return tags.tr(
        tags.th(
            tags.a(safe(node.name), href=nodeAddress(node.name)),
            tags.span(f" {node.role}", class_="quiet"),
            scope="row",
        ),
        tags.td(state, *since),
        tags.td(safe(node.version)),
        tags.td(safe(node.address)),
        tags.td(_progress(node)),
        tags.td(_toGo(node)),
        tags.td(f"{active:,} / {total:,}" if total else "–"),
        tags.td("–" if node.lastKeepAlive is None else _time(node.lastKeepAlive)),
        *(tags.td(_threadCell(_thread(node, name))) for name in names),
        class_=node.state,
    )


def _progress(node: NodeStatus) -> Tag:
    percent = node.report.completion.percent
    if node.role != MASTER and node.current:
        percent = 100.0
    words = f"{percent:g}%"
    return tags.span(
        tags.progress(
            words,
            max="100",
            value=f"{percent:g}",
            **{"aria-label": f"in sync on {safe(node.name)}"},
        ),
        f" {words}",
        class_="progress",
    )


def _toGo(node: NodeStatus) -> str:
    left = node.report.completion
    if not left.filesToGo:
        return "–"
    return f"{count(left.filesToGo, 'file')}, {size(left.bytesToGo)}"


def _thread(node: NodeStatus, name: str) -> ThreadStatus | None:
    return next((each for each in node.report.threads if each.name == name), None)


def _threadCell(thread: ThreadStatus | None) -> Any:
    if thread is None:
        return "–"
    if thread.failure:
        return tags.span(f"{_MARKS['ERROR']} failed", class_="error", title=safe(thread.failure))
    if thread.hung:
        return tags.span(f"{_MARKS['ERROR']} hangs", class_="error")
    if thread.started is None:
        return "not yet"
    took = "" if thread.duration is None else f" ({_seconds(thread.duration)})"
    return tags.span(_time(thread.started), took)


def _threads(threads: Iterable[ThreadStatus]) -> Tag:
    rows = [
        tags.tr(
            tags.th(safe(each.name), scope="row"),
            tags.td(f"{each.interval:g} s"),
            tags.td("not yet" if each.started is None else _time(each.started)),
            tags.td("–" if each.duration is None else _seconds(each.duration)),
            tags.td(f"{each.runs:,}"),
            tags.td(f"{each.failures:,}"),
            tags.td(
                tags.span(f"{_MARKS['ERROR']} {safe(each.failure)}", class_="error")
                if each.failure
                else safe(each.result or "")
            ),
        )
        for each in threads
    ]
    head = ("Thread", "Every", "Last run", "Took", "Runs", "Failures", "What came of it")
    return tags.div(tags.h2("Threads"), _table("Threads", head, rows))


def _nodeFacts(node: NodeStatus) -> Tag:
    report = node.report
    rows: list[tuple[str, Any]] = [
        ("Role", node.role),
        ("State", tags.span(f"{_mark(node.state)} {node.state}, ", _time(node.since))),
    ]
    if node.why:
        rows.append(("Why", safe(node.why)))
    rows += [
        ("Address", safe(node.address) or "–"),
        ("Software", safe(node.software) or "–"),
        ("Wazuh", safe(node.wazuhVersion) or "–"),
        ("Generation", f"{node.generation:,}" + (", the master's" if node.current else "")),
        ("In sync", _progress(node)),
        ("To go", _toGo(node)),
    ]
    if node.lastKeepAlive is not None:
        rows.append(("Last keep-alive", _time(node.lastKeepAlive)))
    if report.roundTrip is not None:
        rows.append(("Round trip", _seconds(report.roundTrip)))
    if report.clockOffset is not None:
        rows.append(("Clock", f"{report.clockOffset:+.3f} s against the master's"))
    if report.memory:
        rows.append(("Memory", size(report.memory)))
    if report.started is not None:
        rows.append(("Process began", _time(report.started)))
    return tags.div(tags.h2("This node"), _facts(rows))


def _files(node: NodeStatus) -> Tag:
    report = node.report
    shown = tags.div(tags.h2("Files"))
    sync = report.lastSync
    if sync is not None:
        shown(
            tags.p(
                "Last installation ",
                _time(sync.at),
                f": {sync.created:,} created, {sync.updated:,} updated, {sync.deleted:,} deleted, "
                f"{sync.failed:,} failed; {size(sync.received)} in {_seconds(sync.seconds)}.",
            )
        )
    due = report.restartDue
    if due is not None:
        shown(
            tags.p(
                f"Wazuh must be restarted for {count(due.count, 'file')}, since ",
                _time(due.since),
                ": ",
                ", ".join(safe(each) for each in due.files[:_FEW]),
                ", …" if due.count > _FEW else "",
            )
        )
    for title, lines in (
        ("Held back", [safe(each) for each in report.holds]),
        ("Could not be installed", [f"{safe(e.path)}: {safe(e.why)}" for e in report.failed]),
    ):
        if lines:
            shown(tags.h3(title), tags.ul(*(tags.li(line) for line in lines)))
    return shown


def fileForm(node: str, path: str = "") -> Tag:
    """
    Asks about a file on a node.
    """
    return tags.form(
        tags.label("Is a file in sync here? Its path below the home: ", **{"for": "path"}),
        tags.input(type="hidden", name="node", value=safe(node)),
        tags.input(
            id="path",
            name="path",
            value=safe(path),
            required="required",
            size="50",
            placeholder="etc/rules/local_rules.xml",
        ),
        tags.button("Explain", type="submit"),
        action="/file",
        method="get",
    )


def _agents(view: View) -> Tag:
    by = {node.name: node.agents for node in view.nodes}
    if view.cluster is not None:
        by = {"All": view.cluster.agents, **by}
    return tags.div(
        tags.h2("Agents"), _counts(by, linked=True), tags.p(tags.a("All agents", href="/agents"))
    )


def _counts(by: Mapping[str, Mapping[str, int]], linked: bool) -> Tag:
    others = sorted({status for each in by.values() for status in each} - set(_STATUSES))
    statuses = (*_STATUSES, *others)
    rows = []
    for name, counts in by.items():
        where = "" if name == "All" else f"&node={quote(name, safe='')}"
        cells = [
            tags.td(
                tags.a(f"{counts[each]:,}", href=f"/agents?status={quote(each, safe='')}{where}")
                if linked and counts.get(each)
                else "–"
            )
            for each in statuses
        ]
        rows.append(tags.tr(tags.th(safe(name), scope="row"), *cells))
    return _table("Agents by status", ("Node", *(s.replace("_", " ") for s in statuses)), rows)


def _events(events: Sequence[Event]) -> Tag:
    shown = tags.ol(class_="events")
    for each in reversed(events):
        about = _about(each.node, " ")
        shown(
            tags.li(_time(each.at), " ", tags.strong(safe(each.kind)), " ", *about, safe(each.text))
        )
    return tags.div(tags.h2("Events"), shown if events else tags.p("None yet."))


def _about(node: str, then: str) -> list[Any]:
    """
    A way to a node, if something is about one.
    """
    return [tags.a(safe(node), href=nodeAddress(node)), then] if node else []


def _facts(rows: Iterable[tuple[str, Any]]) -> Tag:
    shown = tags.dl()
    for name, value in rows:
        shown(tags.dt(name), tags.dd(value))
    return shown


def _fact(figure: str, words: str) -> Tag:
    return tags.li(tags.strong(figure), f" {words}")


def _table(label: str, head: Iterable[str], rows: Iterable[Tag]) -> Tag:
    return tags.div(
        tags.table(
            tags.thead(tags.tr(*(tags.th(each, scope="col") for each in head))), tags.tbody(*rows)
        ),
        role="region",
        tabindex="0",
        class_="wide",
        **{"aria-label": label},
    )


def _time(at: float) -> Tag:
    return tags.time(**{"data-at": f"{at:.3f}"})


def _ago(at: float, now: float) -> bytes:
    return f"{span(now - at)} ago".encode("ascii")


def _clock(now: float) -> str:
    return strftime("As of %Y-%m-%d %H:%M:%S UTC", gmtime(now))


def _mark(word: str) -> str:
    return _MARKS.get(word, "·")


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
