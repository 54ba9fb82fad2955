"""
C{wazuh-cluster}: finds the command and turns whatever it refuses into one line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from attrs import frozen
from twisted.python import usage

from wazuh_cluster import __version__
from wazuh_cluster.errors import ClusterError

PROGRAM = "wazuh-cluster"

DONE = 0
REFUSED = 1
MISUSED = 2
INTERRUPTED = 130
PIPE_CLOSED = 141


@frozen
class Command:
    """
    One command. Its module is imported only when it is chosen, has a class of
    options, and a function C{run(options)} that returns the exit status.

    @ivar name: what people type.
    @ivar module: where it lives.
    @ivar options: the name of its class of options.
    @ivar summary: one line for the help.
    """

    name: str
    module: str
    options: str
    summary: str

    def makeOptions(self) -> usage.Options:
        """
        An instance of the command's class of options.
        """
        made = getattr(import_module(self.module), self.options)()
        assert isinstance(made, usage.Options)
        return made

    def run(self, options: usage.Options) -> int:
        """
        Do it.
        """
        run: Callable[[usage.Options], int | None] = import_module(self.module).run
        return run(options) or DONE


COMMANDS = (
    Command("status", "wazuh_cluster.scripts.status", "StatusOptions", "Show whether all is well."),
    Command("events", "wazuh_cluster.scripts.events", "EventsOptions", "Show what happened."),
    Command(
        "explain",
        "wazuh_cluster.scripts.explain",
        "ExplainOptions",
        "Say why a file is or is not in sync.",
    ),
    Command("sync", "wazuh_cluster.scripts.sync", "SyncOptions", "Compare files now."),
    Command(
        "forget", "wazuh_cluster.scripts.forget", "ForgetOptions", "Forget a node that is gone."
    ),
    Command("init", "wazuh_cluster.scripts.init", "InitOptions", "Make a node's home."),
    Command(
        "certify",
        "wazuh_cluster.scripts.certify",
        "CertifyOptions",
        "Issue and revoke nodes' certificates.",
    ),
    Command(
        "restarted",
        "wazuh_cluster.scripts.restarted",
        "RestartedOptions",
        "Say that Wazuh was restarted.",
    ),
    Command(
        "accept", "wazuh_cluster.scripts.accept", "AcceptOptions", "Release what a worker holds."
    ),
    Command(
        "agents", "wazuh_cluster.scripts.agents", "AgentsOptions", "Show, remove and report agents."
    ),
    Command(
        "groups", "wazuh_cluster.scripts.groups", "GroupsOptions", "Show and change agents' groups."
    ),
    Command("demo", "wazuh_cluster.demo.command", "DemoOptions", "Show a cluster at work."),
)


class Options(usage.Options):
    """
    What stands before the command.
    """

    synopsis = f"Usage: {PROGRAM} [--version] COMMAND [options]"
    longdesc = "Makes and looks after the nodes of a cluster of Wazuh managers."
    subCommands = [
        (command.name, None, command.makeOptions, command.summary) for command in COMMANDS
    ]

    def opt_version(self) -> None:
        """
        Show the version and end.
        """
        print(f"{PROGRAM} {__version__}")
        raise SystemExit(DONE)

    def postOptions(self) -> None:
        """
        There must be a command.
        """
        if self.subCommand is None:
            raise usage.UsageError("which command? '--help' lists them")


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command that the arguments name.

    @param argv: the arguments without the program's name; C{None} for those of
        this process.

    @return: the exit status: 0 if it was done, 1 if something was refused, 2
        if the arguments are wrong; then one line on standard error says why.
    """
    options = Options()
    try:
        try:
            return _run(options, sys.argv[1:] if argv is None else argv)
        finally:
            sys.stdout.flush()
    except usage.UsageError as error:
        chosen = f" {options.subCommand}" if options.subCommand else ""
        return _complain(f"{error} (see '{PROGRAM}{chosen} --help')", MISUSED)
    except ClusterError as error:
        return _complain(str(error), REFUSED)
    except BrokenPipeError:
        # Whoever read our output has enough: the interpreter must not flush
        # what is left of it into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:
        place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return _complain(f"{place}{error.strerror or error}", REFUSED)
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(options: Options, argv: Sequence[str]) -> int:
    options.parseOptions(list(argv))
    for command in COMMANDS:
        if command.name == options.subCommand:
            return command.run(options.subOptions)
    raise AssertionError(f"{options.subCommand!r} was parsed and is in no table")


def _complain(line: str, status: int) -> int:
    print(f"{PROGRAM}: {' '.join(line.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
