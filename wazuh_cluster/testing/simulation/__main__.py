"""
The command C{python -m wazuh_cluster.testing.simulation}: repeats one run, and shows
what goes wrong in it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from twisted.logger import globalLogBeginner
from twisted.python import usage
from twisted.python.filepath import FilePath

from wazuh_cluster.testing.simulation.report import describe, parseCase, relevant
from wazuh_cluster.testing.simulation.run import SECONDS, Setup, run
from wazuh_cluster.testing.simulation.shrink import shrink


class Options(usage.Options):
    """
    Which run it is.
    """

    synopsis = "python -m wazuh_cluster.testing.simulation --seed N [options]"
    optParameters = [
        ["seed", "s", 0, "What decides everything that is left to chance.", int],
        ["workers", "w", None, "How many workers there are.", int],
        ["seconds", "t", SECONDS, "For how long faults go on, in virtual seconds.", float],
        ["case", "c", None, "A file with a schedule, in place of the seed's."],
    ]
    optFlags = [
        ["tls", None, "Encrypt the links."],
        ["agents", None, "Take care of agents too."],
        ["safety", None, "Faults go on to the end, and nothing has to become well."],
        ["trace", None, "Show the trace also if nothing goes wrong."],
        ["shrink", None, "Find out which actions are needed for it to go wrong."],
    ]

    def setup(self) -> Setup:
        """
        The run's.

        @raise usage.UsageError: if the file cannot be used.
        """
        if self["case"] is not None:
            try:
                return parseCase(FilePath(self["case"]).getContent().decode("utf-8"))
            except (OSError, ValueError) as error:
                raise usage.UsageError(f"{self['case']}: {error}") from None
        return Setup(
            self["seed"],
            self["workers"],
            bool(self["tls"]),
            self["seconds"],
            not self["safety"],
            agents=bool(self["agents"]),
        )


def main(arguments: Sequence[str]) -> int:
    """
    Do what the command does.

    @return: the exit status: 0 if all went well.
    """
    options = Options()
    try:
        options.parseOptions(list(arguments))
        setup = options.setup()
    except usage.UsageError as error:
        print(f"{options.getSynopsis()}\n{error}", file=sys.stderr)
        return 2
    result = run(setup)
    if result.problem is None:
        if options["trace"]:
            print("\n".join(str(event) for event in relevant(result)))
        print(
            f"Nothing went wrong in {result.seconds:.0f} virtual seconds; all was well "
            f"{result.healed:.0f} s after the last fault. Trace {result.digest[:16]}."
        )
        return 0
    print(describe(result, shrink(result, run) if options["shrink"] else None))
    return 1


if __name__ == "__main__":
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
    sys.exit(main(sys.argv[1:]))
