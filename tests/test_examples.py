"""
Tests of what the manual shows: the examples run as processes of their own, and the
library that they use leaves a process as it was.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from tests.agentcase import Reports, never
from tests.controlcase import Fleetful
from tests.processes import Process, ProcessCase
from wazuh_cluster.agents import DISCONNECTED, AgentStatus
from wazuh_cluster.control import ControlService
from wazuh_cluster.uptime import uptime

CHECKOUT = Path(__file__).resolve().parent.parent
EXAMPLES = CHECKOUT / "examples"
KEY = "8GxTq2Rr5vLm0ZcWnY7dKbJ4hPsF1eUa"

#: Runs a script as "python SCRIPT ARGUMENT ..." does.
_SCRIPT = """
import runpy, sys
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

#: Runs a twistd application as "NAME=VALUE ... twistd ..." does.
_APPLICATION = """
import os, sys
while "=" in sys.argv[1]:
    name, _, value = sys.argv.pop(1).partition("=")
    os.environ[name] = value
from twisted.scripts.twistd import run
run()
"""


class ExamplesTests(ProcessCase):
    """
    The examples do what their first lines say.
    """

    def setUp(self) -> None:
        super().setUp()
        self.folder = FilePath(self.mktemp())
        self.folder.makedirs()
        self.key = self.folder.child("key")
        self.key.setContent(f"{KEY}\n".encode("ascii"))

    def home(self, name: str) -> FilePath[str]:
        """
        An empty folder: an example needs nothing more.
        """
        home = self.folder.child(name)
        home.makedirs()
        return home

    def rule(self, home: FilePath[str], content: bytes) -> None:
        rule = home.preauthChild("etc/rules/local_rules.xml")
        if not rule.parent().exists():
            rule.parent().makedirs()
        rule.setContent(content)

    def script(self, name: str, *arguments: str) -> Process:
        return self.spawn([str(EXAMPLES / name), *arguments], code=_SCRIPT)

    async def untilShown(self, process: Process, text: str) -> None:
        """
        Wait until a process wrote something.
        """
        await self.until(
            lambda: re.search(text.encode("utf-8"), process.out), f"{text!r} from an example"
        )

    async def assertEnds(self, process: Process) -> None:
        """
        SIGTERM ends an example well: what it stops, it stops in time.
        """
        process.kill(signal.SIGTERM)
        await process.ended
        self.assertNotIn(b"Traceback", process.err + process.out)

    async def test_embedded(self) -> None:
        """
        The embedded worker gets the files of the embedded master, shows what came, and
        comes back when the master was away.
        """
        hub, siem = self.home("hub"), self.home("siem-7")
        self.rule(hub, b"<group>one</group>")
        arguments = ["--nodaemon", "--python", str(EXAMPLES / "embedded_master.py")]
        variables = [f"PORT={self.port}", f"HOME_FOLDER={hub.path}", f"KEY_FILE={self.key.path}"]
        master = self.spawn([*variables, *arguments], code=_APPLICATION)
        worker = self.script(
            "embedded_worker.py", "127.0.0.1", str(self.port), siem.path, self.key.path
        )
        await self.untilShown(worker, r"joined hub\n")
        await self.untilShown(worker, r"synced \(b'etc/rules/local_rules.xml',\) \(\) \(\)\n")
        await self.untilShown(master, r"Table#info\] siem-7 has 1/[0-9a-f]{8}\n")
        await self.untilEqual(hub, siem)
        await self.assertEnds(master)
        await self.untilShown(worker, r"lost: ")
        master = self.spawn([*variables, *arguments], code=_APPLICATION)
        await self.untilShown(worker, r"(?s)joined hub\n.*lost: .*joined hub\n")
        await self.assertEnds(worker)
        await self.untilShown(master, r"Left: ")
        await self.assertEnds(master)

    async def test_ownCommands(self) -> None:
        """
        An application's own commands go both ways, and so do the errors they declare.
        """
        hub, siem = self.home("hub"), self.home("siem-7")
        master = self.script("own_commands.py", "master", str(self.port), hub.path, self.key.path)
        worker = self.script(
            "own_commands.py", "worker", "127.0.0.1", str(self.port), siem.path, self.key.path
        )
        await self.untilShown(worker, r"the master says: welcome, siem-7\n")
        await self.untilShown(master, r"siem-7 has \d+ processors\n")
        await self.untilShown(master, r"siem-7 has a load of \d+\.\d\d\n")
        await self.untilShown(master, r"siem-7 answers: the load of 2 minutes is not measured\n")
        await self.assertEnds(worker)
        await self.assertEnds(master)

    async def test_localProgram(self) -> None:
        """
        A local program shows groups and agents, reports one, and shows why it may not.
        """
        clock: Any = reactor
        # The path of a home may be too long for a socket.
        home = self.home("hub").path
        os.makedirs(os.path.join(home, "etc"))
        program = self.script("local_program.py", home)
        await program.ended
        self.assertIn(b"refused: ", program.out)
        self.assertIn(b"no node runs there", program.out)
        master, reports = Fleetful(clock), Reports()
        master.fleet.rows = [never(1), AgentStatus(2, "web", "any", DISCONNECTED, 1.0, "siem-7")]
        service = ControlService.forHome(reactor, home, master.requests, reports)
        service.startService()
        program = self.script("local_program.py", home, "1")
        await program.ended
        await service.stopService()
        self.assertEqual(
            b"group default 0\ngroup web 0\ntaken 1\ngone 2 web siem-7\n", program.out, program.err
        )
        (record,) = reports.taken
        self.assertEqual((1, "Wazuh v4.14.7"), (record.id, record.version))
        self.assertLess(abs(record.heard - uptime()), 60)

    async def test_otherKey(self) -> None:
        """
        The embedded worker shows why it does not join.
        """
        hub, siem = self.home("hub"), self.home("siem-7")
        self.rule(hub, b"<group>secret</group>")
        self.script("own_commands.py", "master", str(self.port), hub.path, self.key.path)
        other = self.folder.child("other")
        other.setContent(KEY.swapcase().encode("ascii"))
        worker = self.script(
            "embedded_worker.py", "127.0.0.1", str(self.port), siem.path, other.path
        )
        await self.untilShown(worker, r"lost: .* has another cluster key: ")
        self.assertFalse(siem.child("etc").exists())
        self.assertNotIn(b"joined", worker.out)


class TestExamplesTests(SynchronousTestCase):
    """
    The examples of tests.
    """

    def test_pass(self) -> None:
        """
        They run with trial as they stand, and pass.
        """
        scripts = [str(path) for path in sorted(EXAMPLES.glob("test_*.py"))]
        self.assertEqual(3, len(scripts))
        folder = FilePath(self.mktemp())
        folder.makedirs()
        done = subprocess.run(
            [sys.executable, "-m", "twisted.trial", *scripts],
            cwd=folder.path,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.assertIn("PASSED (successes=3)", done.stdout)


class TextTests(SynchronousTestCase):
    """
    The examples as texts.
    """

    def test_short(self) -> None:
        """
        An embedded worker takes at most 40 lines, and its test in a whole simulated
        cluster fewer.
        """
        for name, most in (("embedded_worker.py", 40), ("test_simulated.py", 39)):
            text = (EXAMPLES / name).read_text(encoding="utf-8")
            self.assertLessEqual(len(text.splitlines()), most, name)

    def test_readme(self) -> None:
        """
        The README shows the embedded worker as it is run here.
        """
        readme = (CHECKOUT / "README.rst").read_text(encoding="utf-8")
        text = (EXAMPLES / "embedded_worker.py").read_text(encoding="utf-8")
        block = "".join(f"    {line}".rstrip() + "\n" for line in text.splitlines())
        self.assertIn(f".. code-block:: python\n\n{block}", readme)


_PURE = """
import logging, os, resource, signal, sys, threading, warnings

def state():
    from twisted.logger import globalLogPublisher
    umask = os.umask(0o22)
    os.umask(umask)
    return {
        "signals": [signal.getsignal(n) for n in signal.valid_signals()],
        "umask": umask,
        "folder": os.getcwd(),
        "observers": list(globalLogPublisher._observers),
        "handlers": list(logging.getLogger().handlers),
        "streams": (sys.stdout, sys.stderr, sys.excepthook, threading.excepthook),
        "threads": [thread.name for thread in threading.enumerate()],
        "environment": dict(os.environ),
        "limits": [resource.getrlimit(n) for n in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)],
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "warnings": list(warnings.filters),
        "descriptors": sorted(os.listdir("/proc/self/fd")),
    }

# What the standard library and Twisted do themselves when they are first imported is
# not what is looked at.
import twisted.protocols.amp, twisted.internet.ssl, OpenSSL, cryptography.x509, automat
before = state()
MODULES
after = state()
for name in before:
    if before[name] != after[name]:
        print("changed:", name, before[name], after[name])
for name in sorted(sys.modules):
    if name.split(".")[0] == "wazuh_cluster" or name == "twisted.internet.reactor":
        print(name)
"""


class PurityTests(SynchronousTestCase):
    """
    Importing the library brings what it needs and changes nothing.
    """

    def shown(self, modules: str) -> list[str]:
        """
        What a Python of its own shows after it imported something.
        """
        done = subprocess.run(
            [sys.executable, "-c", _PURE.replace("MODULES", modules)],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.assertEqual(0, done.returncode, done.stdout)
        return done.stdout.splitlines()

    def test_protocol(self) -> None:
        """
        C{wazuh_cluster.protocol} comes with the values, ports, errors and loggers that it
        names, and with nothing else: no daemon, no configuration, no store, no trust, no
        files, no reactor. The process stays as it was.
        """
        shown = self.shown("import wazuh_cluster.protocol")
        rest = {name for name in shown if not name.startswith("wazuh_cluster.protocol")}
        named = ("errors", "escape", "failures", "interfaces", "journal", "model", "patience")
        self.assertEqual(set(), rest - {"wazuh_cluster", *(f"wazuh_cluster.{n}" for n in named)})
        self.assertIn("wazuh_cluster.protocol.peer", shown)

    def test_services(self) -> None:
        """
        The rooms that an application embeds bring neither daemon nor configuration nor
        reactor, and leave the process as it was too.
        """
        shown = self.shown(
            "import wazuh_cluster.master, wazuh_cluster.worker, wazuh_cluster.trust,"
            " wazuh_cluster.integrity, wazuh_cluster.testing.peers"
        )
        self.assertEqual([], [line for line in shown if not line.startswith("wazuh_cluster")])
        daemon = ("tap", "config", "clusterblock", "settings", "log", "logfile", "resolver")
        forbidden = {f"wazuh_cluster.{name}" for name in (*daemon, "scripts", "demo", "ossecconf")}
        self.assertEqual([], [name for name in shown if name in forbidden])
