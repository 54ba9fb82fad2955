"""
Tests for L{wazuh_cluster.scripts.clusterd}, L{wazuh_cluster.pidfile} and
L{wazuh_cluster.internaloptions}.
"""

from __future__ import annotations

import contextlib
import io
import os
import pwd
import signal
import stat
import subprocess
import sys
from typing import Any

from twisted.internet.testing import MemoryReactor
from twisted.logger import ILogObserver, Logger
from twisted.python import usage
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.processes import Process, ProcessCase
from tests.test_twistd import _alive, _end
from wazuh_cluster.errors import HomeError
from wazuh_cluster.home import FOLDERS, Home, makeHome
from wazuh_cluster.internaloptions import internalOption
from wazuh_cluster.journal import MAIN, Journal
from wazuh_cluster.log import TerminalLog
from wazuh_cluster.logline import LineFormat
from wazuh_cluster.pidfile import PidFile
from wazuh_cluster.scripts.clusterd import Options, chooseHome, chooseUser, main, twistdArguments

#: C{wazuh-clusterd}.
CLUSTERD = """
import sys
from wazuh_cluster.scripts.clusterd import main
sys.exit(main())
"""

#: Who may not become another user stays root.
_ROOT = ["-r"] if os.geteuid() == 0 else []


class OptionsTests(SynchronousTestCase):
    """
    What is understood, and what becomes of it.
    """

    def arguments(self, *argv: str, user: tuple[int, int] | None = None) -> list[str]:
        options = Options()
        options.parseOptions(list(argv))
        return twistdArguments(options, Home("/h"), user, options["debug"])

    def test_background(self) -> None:
        """
        Without flags it goes to the background.
        """
        common = ["--pidfile=", "--rundir=/"]
        node = ["wazuh-cluster", "--as-clusterd", "--home", "/h"]
        self.assertEqual([*common, *node], self.arguments())
        self.assertEqual([*common, "--nodaemon", *node], self.arguments("-f"))
        self.assertEqual([*common, "--uid=5", "--gid=6", *node], self.arguments(user=(5, 6)))

    def test_flags(self) -> None:
        """
        Flags can stand together, and C{-d} twice; a relative path is seen from here.
        """
        for argv, debug in (("-d", 1), ("-dd", 2), ("-fd", 1)):
            self.assertEqual(debug, self.arguments(argv).count("--verbose"))
        self.assertEqual(2, self.arguments("-d", "-r", "-d").count("--verbose"))
        arguments = self.arguments("-c", "own.conf")
        self.assertEqual(["--config", os.path.abspath("own.conf")], arguments[-2:])

    def test_misused(self) -> None:
        """
        What is not understood is a line and status 2.
        """
        for argv in (["-x"], ["start"], ["-c"]):
            status, out, err = call(*argv)
            self.assertEqual((2, "", 1), (status, out, len(err.splitlines())), err)
            self.assertTrue(err.startswith("wazuh-clusterd: "), err)
            self.assertIn("--help", err)

    def test_version(self) -> None:
        """
        C{-V} says it.
        """
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(0, self.assertRaises(SystemExit, main, ["-V"]).code)
        self.assertRegex(out.getvalue(), r"^wazuh-clusterd \d")


class ChoiceTests(SynchronousTestCase):
    """
    Which home, and who.
    """

    def home(self) -> Home:
        home = Home(self.mktemp())
        makeHome(home, None, FOLDERS)
        return home

    def test_home(self) -> None:
        """
        The variable's; else that in whose C{bin} it was called; else the default.
        """
        home = self.home()
        program = home.join("bin/wazuh-clusterd")
        self.assertEqual("/var/ossec", chooseHome({}, program))
        with open(home.conf, "w"):
            pass
        self.assertEqual(home.path, chooseHome({}, program))
        self.assertEqual(home.path, chooseHome({"WAZUH_HOME": ""}, os.path.relpath(program)))
        self.assertEqual("/x", chooseHome({"WAZUH_HOME": "/x"}, program))
        self.assertEqual("/var/ossec", chooseHome({}, home.join("sbin/wazuh-clusterd")))

    def test_user(self) -> None:
        """
        Root becomes whoever has the home's C{etc}, unless told to stay; others stay
        who they are.
        """
        home = self.home()
        self.assertIsNone(chooseUser(home, 1000, False))
        self.assertIsNone(chooseUser(home, 0, True))
        self.assertIsNone(chooseUser(Home("/nowhere"), 0, False))
        if os.geteuid() != 0:
            raise SkipTest("only root can give a folder away")
        somebody = pwd.getpwnam("nobody")
        os.chown(home.join("etc"), somebody.pw_uid, 54321)
        self.assertEqual((somebody.pw_uid, 54321), chooseUser(home, 0, False))
        os.chown(home.join("etc"), 123_456_789, 54321)
        refusal = self.assertRaises(HomeError, chooseUser, home, 0, False)
        self.assertIn("123456789, which is no user", str(refusal))

    def test_nobody(self) -> None:
        """
        Where C{etc} is root's it is Wazuh's account; without one, that is refused.
        """
        home = self.home()
        if os.geteuid() != 0:
            raise SkipTest("the folder is not root's")
        try:
            account = pwd.getpwnam("wazuh")
        except KeyError:
            refusal = self.assertRaises(HomeError, chooseUser, home, 0, False)
            self.assertIn("run as root (-r)", str(refusal))
        else:
            self.assertEqual((account.pw_uid, account.pw_gid), chooseUser(home, 0, False))


class InternalOptionTests(SynchronousTestCase):
    """
    L{internalOption}.
    """

    def test_files(self) -> None:
        """
        The operator's file counts before Wazuh's; what is no number is none.
        """
        home = Home(self.mktemp())
        os.makedirs(home.join("etc"))
        name = "wazuh_clusterd.debug"
        self.assertEqual(0, internalOption(home, name, 2))
        for text, number in (
            ("# wazuh_clusterd.debug=1\nwazuh_clusterd.debug = 2\n", 2),
            ("wazuh_clusterd.debug=3\n", 0),
            ("wazuh_clusterd.debug=much\nother.wazuh_clusterd.debug=1\n", 0),
            ("wazuh_clusterd.debug=1", 1),
        ):
            with open(home.join("etc/internal_options.conf"), "w") as file:
                file.write(text)
            self.assertEqual(number, internalOption(home, name, 2), text)
        with open(home.join("etc/local_internal_options.conf"), "w") as file:
            file.write("other.debug=2\n")
        self.assertEqual(1, internalOption(home, name, 2))
        with open(home.join("etc/local_internal_options.conf"), "a") as file:
            file.write("wazuh_clusterd.debug=0\n")
        self.assertEqual(0, internalOption(home, name, 2))


class PidFileTests(SynchronousTestCase):
    """
    L{PidFile}.
    """

    def test_file(self) -> None:
        """
        It has the id in its name and in it, is 0640, takes the place of those of
        processes that are gone, and goes with the reactor.
        """
        home = Home(self.mktemp())
        os.makedirs(home.runFolder)
        gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
        dead = int(gone.stdout)
        # Another Wazuh daemon's, one's own from an earlier life, one that runs.
        stay = ["wazuh-remoted-1.pid", "wazuh-clusterd-x.pid", f"wazuh-clusterd-{os.getppid()}.pid"]
        for name in (*stay, f"wazuh-clusterd-{dead}.pid", "wazuh-clusterd-9999999999.pid"):
            with open(os.path.join(home.runFolder, name), "w") as file:
                file.write("old\n")
        mine = f"wazuh-clusterd-{os.getpid()}.pid"
        os.symlink("/nowhere", os.path.join(home.runFolder, mine))
        reactor = MemoryReactor()
        umask = os.umask(0o077)
        self.addCleanup(os.umask, umask)
        PidFile(reactor, home).startService()
        self.assertEqual({mine, *stay}, set(os.listdir(home.runFolder)))
        path = os.path.join(home.runFolder, mine)
        with open(path) as file:
            self.assertEqual(f"{os.getpid()}\n", file.read())
        self.assertEqual(0o640, stat.S_IMODE(os.lstat(path).st_mode))
        ((function, arguments, keywords),) = reactor.triggers["after"]["shutdown"]
        function(*arguments, **keywords)
        function(*arguments, **keywords)
        self.assertEqual(set(stay), set(os.listdir(home.runFolder)))


class TerminalLogTests(SynchronousTestCase):
    """
    L{TerminalLog}.
    """

    def test_lines(self) -> None:
        """
        What is in the log is on the terminal, at once, and no more.
        """
        stream = io.StringIO()
        log = TerminalLog(stream, LineFormat("Master"), lambda: 0.0)
        verifyObject(ILogObserver, log)
        Journal(MAIN, None, log).info("{x}", x="a\nb")
        Journal(MAIN, None, log).debug("x")
        Logger("elsewhere", observer=log).info("x")
        (line,) = stream.getvalue().splitlines()
        self.assertTrue(line.endswith(" INFO: [Master] [Main] a\\nb"), line)

    def test_gone(self) -> None:
        """
        Who has gone is told to whoever publishes, who says it in the other log.
        """
        stream = io.StringIO()
        stream.close()
        log = TerminalLog(stream, LineFormat("Master"))
        self.assertRaises(ValueError, log, {"log_namespace": "wazuh_cluster", "log_format": "x"})


class TestTests(ProcessCase):
    """
    C{-t}.
    """

    def look(self, home: FilePath[str], *argv: str) -> tuple[int, str, str]:
        self.patch(os, "environ", {**os.environ, "WAZUH_HOME": home.path})
        return call("-t", *argv)

    def test_good(self) -> None:
        """
        A configuration that can be used is status 0 and no word, and nothing in the
        home changes; also one that says that there is no cluster.
        """
        for home in self.cluster("one"):
            before = sorted(each.path for each in home.walk())
            self.assertEqual((0, "", ""), self.look(home))
            self.assertEqual(before, sorted(each.path for each in home.walk()))
            conf = home.preauthChild("etc/ossec.conf")
            text = conf.getContent().replace(b"<disabled>no<", b"<disabled>yes<")
            conf.setContent(text.replace(b"<key>", b"<key>-"))
            self.assertEqual(0, self.look(home)[0])

    def test_bad(self) -> None:
        """
        One that cannot is status 1 and a line, whichever of the files it is in; so is
        a home that is not there.
        """
        (home,) = self.cluster()
        conf = home.preauthChild("etc/ossec.conf")
        own = FilePath(self.mktemp())
        own.setContent(conf.getContent().replace(b"<node_type>master", b"<node_type>boss"))
        own.chmod(0o640)
        for argv, settings, text in (
            (("-c", own.path), "", "<node_type>"),
            ((), "[limits]\nwindows = 5\n", "windows"),
            ((), "[certificates]\nca = x\ncertificate = y\nprivate_key = z\n", "x: "),
            (("-c", "/nowhere.conf"), "", "/nowhere.conf"),
        ):
            self.settings(home, settings)
            status, out, err = self.look(home, *argv)
            self.assertEqual((1, "", 1), (status, out, len(err.splitlines())), err)
            self.assertIn(text, err)
        status, _, err = self.look(FilePath("/nowhere"))
        self.assertEqual(1, status)
        self.assertIn("wazuh-cluster init", err)

    def test_warnings(self) -> None:
        """
        What works but should be changed is said, with status 0.
        """
        (home,) = self.cluster()
        home.preauthChild("etc/ossec.conf").chmod(0o644)
        status, _, err = self.look(home)
        self.assertEqual(0, status)
        self.assertIn("everybody on this machine can read the key", err)


class NodesTests(ProcessCase):
    """
    Nodes that C{wazuh-clusterd} starts.
    """

    def clusterd(self, home: FilePath[str], *argv: str) -> Process:
        variables = {"WAZUH_HOME": home.path}
        return self.spawn([*_ROOT, *argv], code=CLUSTERD, variables=variables)

    def pidFiles(self, home: FilePath[str]) -> list[str]:
        folder = home.preauthChild("var/run")
        names = folder.listdir() if folder.exists() else []
        return [name for name in names if name.endswith(".pid")]

    async def test_nodes(self) -> None:
        """
        A master in the background and a worker in the foreground have the same files.
        Each has its process id where Wazuh's script looks for it, until it ends.
        """
        master, worker = self.cluster("one")
        master.preauthChild("etc/rules/local_rules.xml").setContent(b"<group/>")
        starting = self.clusterd(master, "-d")
        self.assertEqual(0, await starting.ended, self.story())
        (name,) = self.pidFiles(master)
        pid = int(master.preauthChild(f"var/run/{name}").getContent())
        self.addCleanup(_end, pid)
        self.assertEqual(f"wazuh-clusterd-{pid}.pid", name)
        self.assertEqual("/", os.readlink(f"/proc/{pid}/cwd"))
        second = self.clusterd(master)
        self.assertEqual(1, await second.ended)
        self.assertEqual(1, len(second.err.splitlines()), second.err)
        process = self.clusterd(worker, "-f", "-dd")
        await self.untilEqual(master, worker)
        self.assertEqual(1, len(self.pidFiles(worker)))
        await self.until(lambda: "DEBUG: [Worker one]" in self.log(worker), "its debug lines")
        lines = self.log(worker).splitlines()
        await self.until(lambda: set(lines) <= set(process.out.decode().splitlines()), "the lines")
        # Twisted's own events are there at the second level only.
        self.assertIn("DEBUG: [Worker one]", "\n".join(lines))
        await self.until(lambda: "DEBUG: " in self.log(master), "a debug line")
        self.assertNotIn("ControlFactory starting on", self.log(master))
        self.assertIn("ControlFactory starting on", self.log(worker))
        process.kill(signal.SIGTERM)
        self.assertEqual(-signal.SIGTERM, await process.ended)
        os.kill(pid, signal.SIGTERM)
        await self.until(lambda: not _alive(pid), "the end")
        for home in (master, worker):
            self.assertEqual([], self.pidFiles(home))
            self.assertNotIn("ERROR", self.log(home))
            self.assertNotIn("Traceback", self.log(home))

    async def test_user(self) -> None:
        """
        Root becomes whoever has the home.
        """
        if os.geteuid() != 0:
            raise SkipTest("only root can become another user")
        somebody = pwd.getpwnam("nobody")
        code = f"import sys; sys.path[:] = {sys.path!r}; import wazuh_cluster.tap"
        try:
            subprocess.run(
                [sys.executable, "-c", code], user=somebody.pw_uid, check=True, capture_output=True
            )
        except (OSError, subprocess.CalledProcessError):
            raise SkipTest("that user cannot run this Python") from None
        (home,) = self.cluster()
        for each in home.walk():
            os.chown(each.path, somebody.pw_uid, somebody.pw_gid)
        for above in home.parents():
            # The user must reach its home.
            if above.path.startswith(os.getcwd()):
                above.chmod(0o755)
        variables = {"WAZUH_HOME": home.path}
        process = self.spawn(["-f"], code=CLUSTERD, variables=variables)
        await self.until(lambda: "Generation" in self.log(home), "the master")
        pid = process.transport.pid  # type: ignore[union-attr]
        self.assertEqual(somebody.pw_uid, os.stat(f"/proc/{pid}").st_uid)
        (name,) = self.pidFiles(home)
        self.assertEqual(somebody.pw_uid, os.stat(home.preauthChild(f"var/run/{name}").path).st_uid)
        process.kill(signal.SIGTERM)
        await process.ended
        self.assertEqual([], self.pidFiles(home))


def call(*argv: str) -> tuple[Any, str, str]:
    """
    Run C{wazuh-clusterd} in this process, and return its status, output and
    complaints.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status: Any = main(argv)
        except (SystemExit, usage.UsageError) as ended:
            status = ended
    return status, out.getvalue(), err.getvalue()
