"""
C{wazuh-cluster demo}: its options, and what is left behind: nothing, unless it
was asked for.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from typing import TextIO

from twisted.internet.epollreactor import EPollReactor
from twisted.python import usage

from wazuh_cluster.demo.doors import Doors
from wazuh_cluster.demo.homes import ADDRESS, requireRoom
from wazuh_cluster.demo.nodes import DemoFailed, Launch, Node, end, launchTwistd
from wazuh_cluster.demo.ownruleset import findRuleset
from wazuh_cluster.demo.pace import Interrupted, Pace, interruptible
from wazuh_cluster.demo.show import Screen, number, screenFor
from wazuh_cluster.demo.story import Choice, Story
from wazuh_cluster.errors import ClusterError

_MOST_WORKERS = 8
_LARGEST = 10_000

#: How large the list is by default, in MB: less for many workers.
_SIZE = 128
_SIZE_OF_ALL = 256

_END = "end-demo"
_FAILED = "wazuh-cluster: the demo failed"


class DemoOptions(usage.Options):
    """
    Options of C{demo}.
    """

    longdesc = (
        "Starts a master and workers in a temporary folder on this machine, and shows a first "
        "sync, an edited rule, a worker that is killed in the middle of a large transfer, and "
        "agents that enroll at a worker, report, move to another one, are put into a group and "
        "deleted. Ends with 0 if all nodes have the same then. Nothing is left behind."
    )
    optParameters = [
        [
            "ruleset",
            None,
            None,
            "Use a copy of the ruleset in this folder: rules/, decoders/ and lists/, or .xml "
            "files [default: a made-up one]",
        ],
        ["workers", None, "2", f"How many workers, 1 to {_MOST_WORKERS}"],
        [
            "size",
            None,
            None,
            f"How large the list is, in MB [default: {_SIZE}, less for many workers]",
        ],
    ]
    optFlags = [["keep", None, "Leave the cluster running at the end."]]

    def getSynopsis(self) -> str:
        """
        How the command is called.
        """
        return "Usage: wazuh-cluster demo [options]"

    def opt_version(self) -> None:
        """
        Show the version and end.
        """
        if self.parent is not None:
            self.parent.opt_version()

    def postOptions(self) -> None:
        """
        Check the numbers.
        """
        self["workers"] = _whole("workers", self["workers"], _MOST_WORKERS)
        if self["size"] is None:
            self["size"] = min(_SIZE, _SIZE_OF_ALL // self["workers"])
        else:
            self["size"] = _whole("size", self["size"], _LARGEST)


def _whole(name: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
        raise usage.UsageError(f"--{name}: {text[:40]!r} is not a number from 1 to {most}")
    return int(text)


def run(options: DemoOptions) -> int:
    """
    Show the demo.

    @return: 0 if all nodes have the same files at the end, 1 if not, 128 and
        the signal's number if somebody interrupted.
    """
    # One of the demo's own, which goes on while the demo pauses, and only then.
    reactor = EPollReactor()
    pace = Pace(sleep=reactor.iterate)
    screen = screenFor(sys.stdout)
    return demonstrate(options, screen, sys.stderr, pace, Doors(reactor), launchTwistd)


def demonstrate(
    options: DemoOptions,
    screen: Screen,
    errors: TextIO,
    pace: Pace,
    doors: Doors,
    launch: Launch,
) -> int:
    """
    L{run}, with the world it runs in.

    @raise ClusterError: if it cannot begin; nothing was started then.
    """
    own = options["ruleset"]
    choice = Choice(
        options["workers"], options["size"] * 1_000_000, None if own is None else findRuleset(own)
    )
    requireRoom(tempfile.gettempdir(), choice.room())
    with interruptible(pace):
        return _Demo(choice, screen, errors, pace, doors, launch).run(keep=bool(options["keep"]))


class _Demo:
    """
    A demo from its folder's beginning to its end.
    """

    def __init__(
        self,
        choice: Choice,
        screen: Screen,
        errors: TextIO,
        pace: Pace,
        doors: Doors,
        launch: Launch,
    ) -> None:
        self._choice = choice
        self._screen = screen
        self._errors = errors
        self._pace = pace
        self._doors = doors
        self._launch = launch

    def run(self, keep: bool) -> int:
        """
        Tell the story, and leave nothing behind but on request.
        """
        began = self._pace.seconds()
        folder = os.path.abspath(tempfile.mkdtemp(prefix="wazuh-cluster-demo-"))
        story = Story(folder, self._choice, self._screen, self._pace, self._doors, self._launch)
        complaint: list[str] = []
        kept = False
        try:
            try:
                story.tell()
                if keep:
                    self._keep(folder, story)
                    kept = True
                    return 0
            except DemoFailed as failure:
                complaint = [f"{_FAILED}: {failure}", *_tail(failure.node)]
            except ClusterError as error:
                complaint = [f"{_FAILED}: {error}"]
            except BrokenPipeError:
                # Whoever read the output has enough.
                raise
            except OSError as error:
                place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
                complaint = [f"{_FAILED}: {place}{error.strerror or error}."]
            except Interrupted as interrupted:
                complaint = [
                    f"wazuh-cluster: interrupted ({interrupted}): the nodes ended, their folder "
                    "is removed."
                ]
                return 128 + interrupted.signal
        finally:
            if not kept:
                killed = end(story.nodes, self._pace)
                shutil.rmtree(folder)
                if complaint:
                    self._errors.write("\n".join(complaint) + "\n")
                    self._errors.flush()
        if complaint:
            return 1
        return self._close(story, killed, self._pace.seconds() - began)

    def _close(self, story: Story, killed: list[str], seconds: float) -> int:
        if killed:
            self._errors.write(f"{_FAILED}: {', '.join(killed)} did not end when asked.\n")
            return 1
        self._screen.say()
        self._screen.say(
            f"The {number(len(story.nodes), 'node')} ended, their folder is removed; "
            f"it took {seconds:.1f} s."
        )
        return 0

    def _keep(self, folder: str, story: Story) -> None:
        path = os.path.join(folder, _END)
        with open(path, "w", encoding="utf-8") as file:
            file.write(endScript(folder, story.nodes))
        where = shlex.quote(folder)
        self._screen.say()
        self._screen.say(f"The cluster goes on in {folder}.")
        self._screen.say(f"  To see it in a browser:   {story.master.page}")
        self._screen.say(f"  To watch its logs:        tail -f {where}/*/logs/cluster.log")
        self._screen.say(f"  To edit on the master:    {where}/{story.master.name}/etc/rules/")
        self._screen.say(
            f"  To see its agents:        wazuh-cluster agents --home {where}/{story.master.name}"
        )
        port = story.workers[0].enrollmentPort
        self._screen.say(f"  To enroll another one:    at {ADDRESS}, port {port}")
        self._screen.say(f"  To end and remove it all: sh {shlex.quote(path)}")


def endScript(folder: str, nodes: list[Node]) -> str:
    """
    A shell script that ends a cluster that was kept, and removes its folder.
    """
    files = " ".join(shlex.quote(node.home.pidFile) for node in nodes)
    return f"""\
# Ends the nodes of a demo and removes their folder.
cd /
pids=
for file in {files}; do
    pid=$(cat "$file" 2>/dev/null) && kill "$pid" 2>/dev/null && pids="$pids $pid"
done
tries=50
for pid in $pids; do
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -gt 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
    done
    kill -9 "$pid" 2>/dev/null
done
rm -rf {shlex.quote(folder)}
"""


def _tail(node: Node | None) -> list[str]:
    if node is None:
        return []
    path, lines = node.tail()
    if not lines:
        return [f"{node.name} wrote no log."]
    shown = "".join(f"\n  {line}" for line in lines)
    return [f"The end of {path}:{shown}"]
