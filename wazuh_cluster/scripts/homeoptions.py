"""
What commands have in common: how they are called, and the option C{--home}.
"""

from __future__ import annotations

import os

from twisted.python import usage

from wazuh_cluster.home import DEFAULT_HOME, Home, defaultHome


class CommandOptions(usage.Options):
    """
    Options of one command.
    """

    def getSynopsis(self) -> str:
        """
        How the command is called, without what stands before it.
        """
        # Options are a dictionary: empty ones are false.
        command = "" if self.parent is None else f" {self.parent.subCommand}"
        return f"Usage: wazuh-cluster{command} [options]"

    def opt_version(self) -> None:
        """
        Show the version and end.
        """
        if self.parent is not None:
            self.parent.opt_version()


class HomeOptions(CommandOptions):
    """
    Options of a command that works on one home.
    """

    optParameters = [
        ["home", None, None, f"The home folder [default: $WAZUH_HOME, then {DEFAULT_HOME}]"],
    ]

    @property
    def home(self) -> Home:
        """
        The chosen home.
        """
        chosen = self["home"]
        if chosen == "":
            raise usage.UsageError("--home: there is no folder of an empty name")
        return Home(defaultHome(os.environ) if chosen is None else chosen)
