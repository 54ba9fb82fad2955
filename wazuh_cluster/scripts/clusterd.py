"""
C{wazuh-clusterd}: a node as Wazuh's scripts start theirs. It is C{twistd
wazuh-cluster} with the flags, the file of the process id and the user that they
expect.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Mapping, Sequence

from twisted.python import usage

from wazuh_cluster import __version__
from wazuh_cluster.errors import BadInput, HomeError
from wazuh_cluster.home import ACCOUNT, Home, defaultHome
from wazuh_cluster.internaloptions import internalOption
from wazuh_cluster.logline import PROGRAM

DONE = 0
REFUSED = 1
MISUSED = 2

#: What adds debug lines without a flag, and how many there are.
_DEBUG_OPTION = "wazuh_clusterd.debug"
_MOST_DEBUG = 2


class Options(usage.Options):
    """
    What C{wazuh-clusterd} takes.
    """

    synopsis = f"Usage: {PROGRAM} [-f] [-d] [-r] [-t] [-V] [-c FILE]"
    longdesc = (
        "Run a node of a Wazuh cluster as Wazuh's scripts do: in the background, as the user "
        "whose the home is. The home is $WAZUH_HOME, else the folder in whose bin/ this program "
        "was called, else /var/ossec."
    )
    optFlags = [
        ["foreground", "f", "Stay in the foreground, and show the log there too."],
        ["root", "r", "Run as root."],
        ["test", "t", "Test the configuration, and end."],
    ]
    optParameters = [
        ["config", "c", None, "The configuration. [default: etc/ossec.conf in the home]"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["debug"] = 0

    def opt_debug(self) -> None:
        """
        Write debug lines to the log too; twice for those of Twisted as well.
        """
        self["debug"] += 1

    opt_d = opt_debug

    def opt_version(self) -> None:
        """
        Show the version and end.
        """
        print(f"{PROGRAM} {__version__} (wazuh_cluster)")
        raise SystemExit(DONE)

    opt_V = opt_version

    def parseArgs(self, *others: str) -> None:
        """
        There are no arguments besides.
        """
        if others:
            raise usage.UsageError(f"what is {others[0]!r}?")


def chooseHome(environment: Mapping[str, str], program: str) -> str:
    """
    The home of a process that is told none.

    @param program: how this program was called: in the C{bin} of a home it is
        that home's.
    """
    above, folder = os.path.split(os.path.dirname(os.path.abspath(program)))
    mine = folder == "bin" and os.path.exists(os.path.join(above, "etc", "ossec.conf"))
    if mine and not environment.get("WAZUH_HOME"):
        return above
    return defaultHome(environment)


def chooseUser(home: Home, effectiveUser: int, root: bool) -> tuple[int, int] | None:
    """
    The user and group to become; C{None} to stay who one is.

    @param root: whether to stay root.
    @raise HomeError: if there is nobody to become.
    """
    if effectiveUser != 0 or root:
        return None
    try:
        status = os.stat(home.join("etc"))
    except OSError:
        # Whoever reads the configuration says it better.
        return None
    try:
        if status.st_uid != 0:
            return pwd.getpwuid(status.st_uid).pw_uid, status.st_gid
        account = pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise HomeError(
            f"it belongs to root, and there is no user {ACCOUNT!r} to run as"
            if status.st_uid == 0
            else f"it belongs to {status.st_uid}, which is no user of this machine",
            home.join("etc"),
            "run as root (-r), or give etc and what is in it to the user of the daemon",
        ) from None
    return account.pw_uid, account.pw_gid


def twistdArguments(
    options: Options, home: Home, user: tuple[int, int] | None, debug: int
) -> list[str]:
    """
    The same for twistd.
    """
    # No file of twistd's own: its name has no process id in it.
    arguments = ["--pidfile=", "--rundir=/"]
    if options["foreground"]:
        arguments.append("--nodaemon")
    if user is not None:
        arguments += [f"--uid={user[0]}", f"--gid={user[1]}"]
    arguments += ["wazuh-cluster", "--as-clusterd", "--home", home.path]
    if options["config"] is not None:
        arguments += ["--config", os.path.abspath(options["config"])]
    return arguments + ["--verbose"] * debug


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run a node, or do what else the arguments say.

    @param argv: the arguments without the program's name; C{None} for those of
        this process.

    @return: the exit status: 0 if it was done, 1 if it was refused, 2 if the
        arguments are wrong; then one line on standard error says why.
    """
    options = Options()
    try:
        options.parseOptions(list(sys.argv[1:] if argv is None else argv))
        home = Home(chooseHome(os.environ, sys.argv[0]))
        if options["test"]:
            return _test(options, home)
        user = chooseUser(home, os.geteuid(), bool(options["root"]))
        debug = min(_MOST_DEBUG, options["debug"] or internalOption(home, _DEBUG_OPTION, 2))
        return _run(twistdArguments(options, home, user, debug))
    except usage.UsageError as error:
        return _complain(f"{error} (see '{PROGRAM} --help')", MISUSED)
    except BadInput as problem:
        return _complain(str(problem), REFUSED)


def _test(options: Options, home: Home) -> int:
    """
    Say what is wrong with the configuration.
    """
    from wazuh_cluster.tap import checkConfiguration

    config = checkConfiguration(home, options["config"] or home.conf)
    if config.disabled:
        return DONE
    for warning in (*config.warnings, config.keyProblem):
        if warning:
            _complain(warning, DONE)
    return DONE


def _run(arguments: list[str]) -> int:
    from twisted.scripts.twistd import ServerOptions, runApp

    config = ServerOptions()
    config.parseOptions(arguments)
    runApp(config)
    return DONE


def _complain(line: str, status: int) -> int:
    print(f"{PROGRAM}: {' '.join(line.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
