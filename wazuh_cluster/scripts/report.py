"""
C{wazuh-cluster agents report}: says what was heard of agents on this node.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from twisted.python import usage

from wazuh_cluster.agents.model import EVENTS
from wazuh_cluster.agents.statusjson import readReport, writeReport
from wazuh_cluster.control import ControlClient
from wazuh_cluster.errors import RequestRefused
from wazuh_cluster.interfaces import IRunner
from wazuh_cluster.scripts.asking import PartOptions, agentArgument, ask
from wazuh_cluster.threads import ThreadRunner

#: The longest line of a stream, in bytes.
MAX_LINE = 65_536

#: How many refused lines are told one by one.
_SHOWN = 20

_PIECE = 65_536

#: Wazuh's columns that have an option.
_INFO = (
    ("os-name", "the system's name"),
    ("os-version", "its version"),
    ("os-major", "the first number of that"),
    ("os-minor", "the second"),
    ("os-codename", "its code name"),
    ("os-build", "its build"),
    ("os-platform", "its platform, such as debian"),
    ("os-uname", "what uname says"),
    ("os-arch", "its architecture"),
    ("config-sum", "the checksum of the agent's configuration"),
    ("merged-sum", "the checksum of its groups' files"),
    ("manager-host", "the host name of the manager that it reports to"),
)


class ReportOptions(PartOptions):
    """
    Options of C{agents report}.
    """

    arguments = "[-]"
    longdesc = (
        "Tells the node what was heard of an agent, by options; or of many, by a stream of JSON on "
        "standard input (-), an object a line: id, and what of event, age, version, code, info and "
        "labels there is to say."
    )
    optParameters = [
        ["id", None, None, "The agent's id."],
        ["event", None, "active", f"What was heard: {', '.join(EVENTS)}."],
        ["age", None, "0", "How many seconds ago."],
        ["code", None, "0", "Wazuh's status code: 3 for an agent that shut down."],
        *([name, None, None, f"Of the agent: {meaning}."] for name, meaning in _INFO),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.stream = False
        self.agentVersion = ""
        self.labels: list[list[str]] = []

    def opt_version(self, value: str) -> None:  # type: ignore[override]
        """
        The agent's version, such as 'Wazuh v4.14.7'.
        """
        self.agentVersion = value

    def opt_label(self, value: str) -> None:
        """
        A label, NAME=VALUE; may be given several times.
        """
        name, equals, text = value.partition("=")
        if not equals or not name:
            raise usage.UsageError("--label: write NAME=VALUE")
        self.labels.append([name, text])

    def parseArgs(self, *rest: str) -> None:
        """
        C{-} for a stream.
        """
        if rest not in ((), ("-",)):
            raise usage.UsageError("use options for one agent, or '-' for a stream")
        self.stream = rest == ("-",)

    def postOptions(self) -> None:
        """
        It is one agent or a stream.
        """
        if self.stream:
            if self["id"] is not None:
                raise usage.UsageError("--id is for one agent, '-' for a stream: use one of them")
            return
        if self["id"] is None:
            raise usage.UsageError("--id: name the agent, or use '-' for a stream")
        agentArgument(self["id"])

    def report(self) -> dict[str, Any]:
        """
        The one report that the options make.

        @raise usage.UsageError: if they make none.
        """
        found = {
            "id": self["id"],
            "event": self["event"],
            "age": _number("age", self["age"], float),
            "code": _number("code", self["code"], int),
            "version": self.agentVersion,
            "info": {
                name.replace("-", "_"): self[name] for name, _ in _INFO if self[name] is not None
            },
            "labels": self.labels,
        }
        try:
            record = readReport(found, 0.0)
        except ValueError as error:
            raise usage.UsageError(str(error)) from None
        return writeReport(record, -record.heard)


def _number(name: str, text: str, kind: type) -> float:
    try:
        number: float = kind(text)
    except ValueError:
        raise usage.UsageError(f"--{name}: {text[:40]!r} is no number") from None
    return number


def run(options: ReportOptions) -> int:
    """
    Report.
    """
    if options.stream:
        return ask(options.home, reportStream)
    report = options.report()

    async def use(client: ControlClient) -> int:
        return say(await client.reportAll([report]), 1)

    return ask(options.home, use)


def say(taken: int, sent: int) -> int:
    """
    Say how many were taken.
    """
    of = "" if taken == sent else f" of {sent}"
    print(f"Taken: {taken}{of} record{'' if sent == 1 else 's'}.")
    return 0


async def reportStream(client: ControlClient) -> int:
    """
    Report what comes on standard input, until its end.
    """
    from twisted.internet import reactor

    runner = ThreadRunner(reactor, "standard input")  # type: ignore[arg-type]
    try:
        return await Stream(client, runner, sys.stdin.fileno()).run()
    finally:
        runner.stop()


class Lines:
    """
    Takes a stream of bytes apart.

    @ivar number: of the last line that was given, from 1.
    """

    def __init__(self) -> None:
        self.number = 0
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[tuple[int, bytes | None]]:
        """
        The lines that are whole now, with their numbers; C{None} in place of
        one that is too long.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = [self._line(line) for line in lines]
        if len(self._rest) > MAX_LINE:
            self._skipping, self._rest = True, b""
        return found

    def finish(self) -> list[tuple[int, bytes | None]]:
        """
        What is left, if the last line has no end.
        """
        return [self._line(self._rest)] if self._rest or self._skipping else []

    def _line(self, line: bytes) -> tuple[int, bytes | None]:
        self.number += 1
        tooLong, self._skipping = self._skipping or len(line) > MAX_LINE, False
        return self.number, None if tooLong else line


class Stream:
    """
    Reports from a stream, as they come.
    """

    def __init__(self, client: ControlClient, runner: IRunner, descriptor: int) -> None:
        """
        @param runner: where is waited for input.
        """
        self._client = client
        self._runner = runner
        self._descriptor = descriptor
        self._lines = Lines()
        self._refused = 0
        self._sent = 0
        self._taken = 0

    async def run(self) -> int:
        """
        Report all.

        @raise RequestRefused: if some of it was refused.
        """
        while data := await self._runner.call(os.read, self._descriptor, _PIECE):
            await self._report(self._lines.feed(data))
        await self._report(self._lines.finish())
        say(self._taken, self._sent)
        if self._refused:
            raise RequestRefused(f"{self._refused} lines were refused")
        return 0

    async def _report(self, lines: list[tuple[int, bytes | None]]) -> None:
        reports = []
        for number, line in lines:
            try:
                report = readLine(line)
            except ValueError as error:
                self._refuse(number, str(error))
            else:
                if report is not None:
                    reports.append(report)
        if not reports:
            return
        try:
            self._taken += await self._client.reportAll(reports)
        except RequestRefused as error:
            where = f"lines {lines[0][0]} to {lines[-1][0]}"
            raise RequestRefused(
                f"{where}: {error}; {self._taken} records were taken before"
            ) from None
        self._sent += len(reports)

    def _refuse(self, number: int, why: str) -> None:
        self._refused += 1
        if self._refused <= _SHOWN:
            print(f"wazuh-cluster: line {number}: {why}", file=sys.stderr)


def readLine(line: bytes | None) -> dict[str, Any] | None:
    """
    The report in a line; C{None} if that is blank.

    @raise ValueError: with a phrase that says what is wrong.
    """
    if line is None:
        raise ValueError(f"it is longer than {MAX_LINE:,} bytes")
    if not line.strip():
        return None
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    record = readReport(found, 0.0)
    return writeReport(record, -record.heard)
