"""
Commands that ask the node that runs in a home: their options, and their short
reactor.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from getopt import GetoptError, gnu_getopt
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.python import usage

from wazuh_cluster.agents.statusjson import readAgent
from wazuh_cluster.control import ControlClient, connect
from wazuh_cluster.home import Home
from wazuh_cluster.scripts.homeoptions import HomeOptions

#: What a command does with a node; gives the exit status.
Use = Callable[[ControlClient], Coroutine[Deferred[Any], Any, int]]


class MixedOptions(HomeOptions):
    """
    Options that may stand between what follows them, as people type it.

    @cvar arguments: what follows the options, for the help.
    """

    arguments = ""

    def getSynopsis(self) -> str:
        """
        How the command is called.
        """
        return " ".join(word for word in (super().getSynopsis(), self.arguments) if word)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Take a command line apart.
        """
        try:
            found, rest = gnu_getopt(list(options or ()), self.shortOpt, self.longOpt)
        except GetoptError as error:
            raise usage.UsageError(str(error)) from None
        ordered: list[str] = []
        for name, value in found:
            if name.startswith("--"):
                takes = f"{name[2:]}=" in self.longOpt
                ordered.append(f"{name}={value}" if takes else name)
            else:
                ordered += [name, value] if f"{name[1:]}:" in self.shortOpt else [name]
        super().parseOptions([*ordered, "--", *rest])


class PartOptions(MixedOptions):
    """
    Options of a command within a command. C{--home} may stand before its name
    or after.
    """

    # What is above is known once it was parsed.
    parent: Any

    def getSynopsis(self) -> str:
        """
        How the command is called.
        """
        above = self.parent.parent.subCommand if self.parent.parent is not None else ""
        words = (f"Usage: wazuh-cluster {above} {self.parent.subCommand} [options]", self.arguments)
        return " ".join(word for word in words if word)

    @property
    def home(self) -> Home:
        """
        The chosen home.
        """
        if self["home"] is None:
            above: Home = self.parent.home
            return above
        return super().home


def ask(home: Home, use: Use) -> int:
    """
    Ask the node that runs in a home.

    @return: what C{use} gives.
    @raise Exception: what C{use} raises, and what a connection fails with.
    @raise KeyboardInterrupt: if it was interrupted.
    """
    results: list[int] = []
    failures: list[Exception] = []
    interrupted: list[None] = []

    async def main(reactor: Any) -> None:
        # Until it has ended, only a signal stops the reactor; what fails then
        # fails because of that.
        trigger = reactor.addSystemEventTrigger("before", "shutdown", interrupted.append, None)
        try:
            await work(reactor)
        finally:
            if not interrupted:
                reactor.removeSystemEventTrigger(trigger)

    async def work(reactor: Any) -> None:
        try:
            client = await connect(reactor, home.path)
            try:
                results.append(await use(client))
            finally:
                await client.close()
        except Exception as error:
            failures.append(error)

    # It always ends so; what came of it we know.
    with suppress(SystemExit):
        react(main)
    if interrupted:
        raise KeyboardInterrupt
    for failure in failures:
        raise failure
    return results[0]


def agentArgument(text: str) -> int:
    """
    An agent's id on a command line.

    @raise usage.UsageError: if it is none.
    """
    try:
        return readAgent(text)
    except ValueError as error:
        raise usage.UsageError(str(error)) from None


def listArgument(text: str) -> list[str]:
    """
    What stands between commas.
    """
    return [each for each in text.split(",") if each]
