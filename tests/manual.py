"""
Write the parts of the manual that are made from the code.

C{python -m tests.manual} writes C{commands.txt}, C{limits.txt}, C{box.txt} and
C{transcript.txt} in C{docs/}, which C{protocol.rst} includes. A test compares them
with the code, so that what the manual says of the wire is what the nodes do.
"""

from __future__ import annotations

import re
from inspect import getdoc
from pathlib import Path

from attrs import fields
from twisted.protocols import amp

from tests import transcript
from wazuh_cluster.protocol import COMMANDS, ClusterCommand, Limits
from wazuh_cluster.protocol.arguments import Flag, Name, Octets, Text, Whole

FOLDER = Path(__file__).resolve().parent.parent / "docs"


def commandsText() -> str:
    """
    All commands of the links, one section each.
    """
    parts = [_notice()]
    for name, command in COMMANDS.items():
        title = name.decode("ascii")
        parts.append(f"{title}\n{'~' * len(title)}\n")
        paragraphs = [_plain(each) for each in (getdoc(command) or "").split("\n\n")]
        parts.append("\n\n".join(paragraphs) + "\n")
        senders = " or ".join(sorted(command.senders))
        rows = [f"* - Permitted sender\n  - {senders}"]
        rows.append(f"* - Arguments\n  - {_fields(command.arguments)}")
        if command.requiresAnswer:
            rows.append(f"* - Answer\n  - {_fields(command.response)}")
            rows.append(f"* - Errors\n  - {_errors(command)}")
        else:
            rows.append("* - Answer\n  - none: it is sent without ``_ask``")
        parts.append(_table(rows, "20 80"))
    return "\n".join(parts)


def limitsText() -> str:
    """
    All limits, with their defaults.
    """
    meanings = dict(re.findall(r"@ivar (\w+): (.*?)(?=\n@ivar|\Z)", getdoc(Limits) or "", re.S))
    rows = ["* - Name\n  - Default\n  - Meaning"]
    defaults = Limits()
    for limit in fields(Limits):
        meaning = _plain(" ".join(meanings[limit.name].split()))
        value = getattr(defaults, limit.name)
        shown = f"{value:,}" if isinstance(value, int) else f"{value:g}"
        rows.append(f"* - ``{limit.name}``\n  - {shown}\n  - {meaning}")
    return _notice() + "\n" + _table(rows, "24 16 60", header=True)


def _fields(arguments: list[tuple[bytes, amp.Argument]]) -> str:
    if not arguments:
        return "nothing"
    return "\n    ".join(f"| ``{name.decode('ascii')}``: {_kind(kind)}" for name, kind in arguments)


def _kind(kind: amp.Argument) -> str:
    optional = ", optional" if kind.optional else ""
    if isinstance(kind, Octets):
        least, most = kind._least, kind._most
        return f"{most:,} octets{optional}" if least == most else f"{least} to {most:,} octets"
    if isinstance(kind, Text):
        return f"text of at most {kind._most:,} octets{optional}"
    names: dict[type, str] = {Whole: "number", Flag: "flag", Name: "name"}
    return names[type(kind)] + optional


def _errors(command: type[ClusterCommand]) -> str:
    errors = command.errors
    if not errors:
        return "none"
    lines = []
    for error, code in errors.items():
        meaning = _plain(" ".join((getdoc(error) or "").split()))
        lines.append(f"| ``{code.decode('ascii')}``: {meaning}")
    return "\n    ".join(lines)


def _table(rows: list[str], widths: str, header: bool = False) -> str:
    body = "\n".join(rows).replace("\n", "\n   ")
    option = "   :header-rows: 1\n" if header else ""
    return f".. list-table::\n   :widths: {widths}\n{option}\n   {body}\n"


def _plain(epytext: str) -> str:
    """
    The little markup that our docstrings have, as reStructuredText.
    """
    text = re.sub(r"B\{([^{}]*)\}", r"**\1**", epytext)
    return re.sub(r"[CL]\{([^{}<]*)(?:<[^{}]*>)?\}", r"``\1``", text)


def _notice() -> str:
    return ".. Written by tests/manual.py from the code.\n"


#: Name of a file to what makes its content.
FILES = {
    "commands.txt": commandsText,
    "limits.txt": limitsText,
    "box.txt": transcript.boxInFull,
    "transcript.txt": transcript.record,
}


def main() -> None:
    """
    Write all.
    """
    for name, make in FILES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
