"""
Tests for L{wazuh_cluster.scripts} and L{wazuh_cluster.newconf}.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import subprocess
import sys

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.config import Config, loadConfig
from wazuh_cluster.errors import ConfigError, HomeError
from wazuh_cluster.home import FOLDERS, Home, defaultHome
from wazuh_cluster.integrity.filesystem import RealFileSystem
from wazuh_cluster.newconf import ClusterBlock, planConf
from wazuh_cluster.plannedfile import writePlanned
from wazuh_cluster.restartdue import RestartDue
from wazuh_cluster.scripts.init import InitOptions, initialise
from wazuh_cluster.scripts.main import COMMANDS, main
from wazuh_cluster.state import DirectoryState

KEY = "5e8f0b6c2d914a7f93b1c7d60a2e48f5"
PUBLIC = "c98b62a9b6169ac5f67dae55ae4a9088"

#: As Wazuh's installation leaves it.
TEMPLATE = b"""<!-- Wazuh -- Manager -->
<ossec_config>
  <global><email_to>caf\xe9@example.org</email_to></global>
  <cluster>
    <name>wazuh</name>
    <key></key>
    <nodes>
        <node>NODE_IP</node>
    </nodes>
    <disabled>yes</disabled>
  </cluster>
</ossec_config>

<ossec_config>
  <localfile><location>a & b</location></localfile>
</ossec_config>"""


def call(*arguments: str) -> tuple[int, str, str]:
    """
    Run C{wazuh-cluster} and return its status, output and complaints.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    return status, out.getvalue(), err.getvalue()


class ScriptsTestCase(SynchronousTestCase):
    """
    What tests of commands share.
    """

    def setUp(self) -> None:
        """
        A place for a home.
        """
        self.home = Home(self.mktemp())

    def file(self, content: bytes | str) -> str:
        """
        Make a file.
        """
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return path

    def refused(self, status: int, *arguments: str) -> str:
        """
        The one line with which a command is refused.
        """
        found, out, err = call(*arguments)
        self.assertEqual((status, "", 1), (found, out, err.count("\n")), err)
        self.assertTrue(err.startswith("wazuh-cluster: "))
        return err

    def master(self, *more: str) -> tuple[str, ...]:
        """
        Arguments that make a master.
        """
        return ("init", "--home", self.home.path, "--role", "master", "--node-name", "m1", *more)

    def worker(self, *more: str) -> tuple[str, ...]:
        """
        Arguments that make a worker, but for the key.
        """
        return (
            *("init", "--home", self.home.path, "--role", "worker", "--node-name", "w1"),
            *("--master", "10.0.0.1", *more),
        )

    def load(self) -> Config:
        """
        The home's configuration.
        """
        return loadConfig(self.home.conf, home=self.home.path)

    def manager(self, conf: bytes | None) -> None:
        """
        Make the home that of a real manager.
        """
        os.makedirs(self.home.join("bin"))
        os.makedirs(self.home.join("etc"))
        with open(self.home.join("bin/wazuh-control"), "wb"):
            pass
        if conf is not None:
            with open(self.home.conf, "wb") as file:
                file.write(conf)
            os.chmod(self.home.conf, 0o660)

    def conf(self) -> bytes:
        """
        What C{ossec.conf} holds.
        """
        with open(self.home.conf, "rb") as file:
            return file.read()


class MainTests(ScriptsTestCase):
    """
    L{main} turns whatever is refused into one line.
    """

    def test_help(self) -> None:
        """
        The help lists every command.
        """
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exit = self.assertRaises(SystemExit, main, ["--help"])
        self.assertFalse(exit.code)
        for command in COMMANDS:
            self.assertIn(command.name, out.getvalue())

    def test_commandHelp(self) -> None:
        """
        A command's help names the command and its options.
        """
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertRaises(SystemExit, main, ["init", "--help"])
        self.assertTrue(out.getvalue().startswith("Usage: wazuh-cluster init [options]\n"))
        self.assertIn("--key-file", out.getvalue())

    def test_version(self) -> None:
        """
        The version is one line, and this package's.
        """
        for arguments in (["--version"], ["init", "--version"]):
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exit = self.assertRaises(SystemExit, main, arguments)
            self.assertFalse(exit.code)
            self.assertEqual(1, out.getvalue().count("\n"))
            self.assertTrue(out.getvalue().startswith("wazuh-cluster "))

    def test_misuse(self) -> None:
        """
        Wrong arguments end with status 2 and one line.
        """
        for arguments in (
            (),
            ("--bogus",),
            ("bogus",),
            ("init", "--bogus"),
            ("init", "stray"),
            ("init", "--role", "boss", "--node-name", "a"),
            ("init", "--role", "master"),
            ("init", "--role", "worker", "--node-name", "a"),
            ("init", "--role", "master", "--node-name", "a", "--home", ""),
            ("restarted", "--home"),
        ):
            self.assertIn("--help", self.refused(2, *arguments))

    def test_defaultHome(self) -> None:
        """
        The home is that of the environment, then Wazuh's.
        """
        self.assertEqual("/h", defaultHome({"WAZUH_HOME": "/h"}))
        self.assertEqual("/var/ossec", defaultHome({"WAZUH_HOME": ""}))
        self.assertEqual("/var/ossec", defaultHome({}))

    def run_(self, program: str) -> subprocess.CompletedProcess[bytes]:
        """
        Run a program in a Python of its own.
        """
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        return subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=False
        )

    def test_fastStart(self) -> None:
        """
        Making a home imports neither a reactor nor TLS.
        """
        result = self.run_(
            "import sys, wazuh_cluster.scripts.main as m\n"
            f"status = m.main({list(self.master())!r})\n"
            "heavy = {'twisted.internet.reactor', 'cryptography', 'OpenSSL', 'sqlite3'}\n"
            "sys.exit(status or ', '.join(heavy & set(sys.modules)) or 0)"
        )
        self.assertEqual((0, b""), (result.returncode, result.stderr))

    def test_brokenPipe(self) -> None:
        """
        When nobody reads the output the command ends without a word.
        """
        result = self.run_(
            "import os, sys, wazuh_cluster.scripts.main as m\n"
            "reading, writing = os.pipe()\n"
            "os.dup2(writing, 1)\n"
            "os.close(reading)\n"
            f"sys.exit(m.main({list(self.master())!r}))"
        )
        self.assertEqual((141, b""), (result.returncode, result.stderr))


class InitTests(ScriptsTestCase):
    """
    C{wazuh-cluster init} makes a home.
    """

    def test_master(self) -> None:
        """
        A master gets its folders, a random key that is not shown, and a file
        that only its owner and group can read; the next steps are said.
        """
        status, out, err = call(*self.master("--cluster-name", "c1", "--port", "1600"))
        self.assertEqual((0, ""), (status, err))
        config = self.load()
        self.assertEqual(("c1", "m1", "master"), (config.clusterName, config.nodeName, config.role))
        self.assertEqual((1600, "0.0.0.0", ()), (config.port, config.bindAddr, config.warnings))
        self.assertIsNone(config.keyProblem)
        self.assertNotIn(config.key, out)
        self.assertIn(f"twistd --pidfile {self.home.pidFile} wazuh-cluster --home", out)
        self.assertIn("--port 1600 --key-file", out)
        self.assertEqual(0o640, stat.S_IMODE(os.stat(self.home.conf).st_mode))
        self.assertEqual(["ossec.conf"], [n for n in os.listdir(self.home.join("etc")) if "." in n])
        for name, mode in FOLDERS:
            self.assertEqual(mode, stat.S_IMODE(os.stat(self.home.join(name)).st_mode))

    def test_keysDiffer(self) -> None:
        """
        No two masters get the same key.
        """
        call(*self.master())
        first = self.load().key
        self.home = Home(self.mktemp())
        call(*self.master())
        self.assertNotEqual(first, self.load().key)

    def test_worker(self) -> None:
        """
        A worker takes key and cluster name from the master's C{ossec.conf}.
        """
        call(*self.master("--cluster-name", "c1"))
        master = self.load()
        copy = self.home.conf
        self.home = Home(self.mktemp())
        status, out, err = call(*self.worker("--key-file", copy))
        self.assertEqual((0, ""), (status, err))
        config = self.load()
        self.assertEqual((master.key, "c1"), (config.key, config.clusterName))
        self.assertEqual(("worker", ("10.0.0.1",)), (config.role, config.masters))
        self.assertNotIn(config.key, out)

    def test_certificates(self) -> None:
        """
        A home whose settings name certificates gets no key, unless one is
        named; and nobody is told to copy it.
        """
        settings = "[certificates]\nca = a\ncertificate = b\nprivate_key = c\n"
        for arguments in (self.worker(), self.master()):
            self.home = Home(self.mktemp())
            os.makedirs(self.home.join("etc"))
            with open(self.home.settings, "w") as file:
                file.write(settings)
            status, out, err = call(*arguments, "--home", self.home.path)
            self.assertEqual((0, ""), (status, err))
            self.assertIn("It has no cluster key", out)
            self.assertNotIn("--key-file", out)
            config = loadConfig(self.home.conf, home=self.home.path, keyNeeded=False)
            self.assertEqual("", config.key)
            os.unlink(self.home.conf)
            key = self.file(KEY)
            self.assertEqual(0, call(*arguments, "--home", self.home.path, "--key-file", key)[0])
            self.assertEqual(KEY, self.load().key)

    def test_plainKeyFile(self) -> None:
        """
        A key file may hold the key alone.
        """
        self.assertEqual(0, call(*self.worker("--key-file", self.file(f"\ufeff{KEY}\r\n")))[0])
        self.assertEqual(KEY, self.load().key)

    def test_standardInput(self) -> None:
        """
        C{-} reads the key from the standard input.
        """
        options = InitOptions()
        options.parseOptions([*self.worker("--key-file", "-")[1:]])
        with contextlib.redirect_stdout(io.StringIO()):
            initialise(options, io.BytesIO(KEY.encode() + b"\n"))
        self.assertEqual(KEY, self.load().key)

    def test_guessableKey(self) -> None:
        """
        A key that can be guessed is taken with a warning.
        """
        out = call(*self.master("--key-file", self.file("deadbeef" * 4)))[1]
        self.assertIn("Warning: the key can be guessed", out)

    def test_refusedLeavesNothing(self) -> None:
        """
        Whatever is refused is refused before anything is made, in one line that
        does not show the key.
        """
        good = self.file(KEY)
        for arguments, what in [
            (self.worker(), "--key-file: a worker needs the cluster key"),
            (self.worker("--key-file", self.file(PUBLIC)), "known to everybody"),
            (self.worker("--key-file", self.file(KEY[1:])), "31 characters, not 32"),
            (self.worker("--key-file", self.file("")), "there is no key"),
            (self.worker("--key-file", self.file(TEMPLATE)), "<key>: there is no key"),
            (self.worker("--key-file", self.file("<a>")), "<a> never ends"),
            (self.worker("--key-file", self.mktemp()), "No such file"),
            (self.worker("--key-file", good, "--port", "0"), "--port: '0' is not a port"),
            (self.worker("--key-file", good, "--master", "NODE_IP"), "placeholder"),
            (self.worker("--key-file", good, "--bind-addr", "x"), "--bind-addr: 'x' is not"),
            (self.worker("--key-file", good, "--node-name", ".x"), "--node-name: '.x' cannot"),
            (self.master("--cluster-name", "a b"), "--cluster-name: 'a b' cannot"),
            (self.master("--home", "/"), "the root of all files is no home"),
            (self.master("--home", good), "it is not a folder"),
            (self.master("--home", f"{good}/sub"), "it is not a folder"),
        ]:
            line = self.refused(1, *arguments)
            self.assertIn(what, line)
            for key in (KEY, PUBLIC, KEY[1:]):
                self.assertNotIn(key, line)
        self.assertFalse(os.path.exists(self.home.path))

    def test_again(self) -> None:
        """
        A second run says what stands there, and changes nothing.
        """
        call(*self.master())
        before = self.conf()
        line = self.refused(1, *self.master("--node-name", "m2"))
        self.assertIn(f"{self.home.conf}: there is a configuration already", line)
        self.assertIn("for the master 'm1' of the cluster 'wazuh'", line)
        self.assertEqual(before, self.conf())

    def test_foreignFile(self) -> None:
        """
        Where no manager is installed even a file without a block is left alone.
        """
        os.makedirs(self.home.join("etc"))
        with open(self.home.conf, "wb") as file:
            file.write(b"<ossec_config/>")
        self.assertIn("there is a configuration already", self.refused(1, *self.master()))
        self.assertEqual((b"<ossec_config/>", ["etc"]), (self.conf(), os.listdir(self.home.path)))


class RealManagerTests(ScriptsTestCase):
    """
    C{wazuh-cluster init} in the home of a real manager adds what is missing.
    """

    def test_template(self) -> None:
        """
        The disabled block that the installation leaves is replaced; every other
        byte, the mode and the owner stay.
        """
        self.manager(TEMPLATE)
        before = os.stat(self.home.conf)
        status, out, err = call(*self.master())
        self.assertEqual((0, ""), (status, err))
        self.assertIn("Added a <cluster> block to", out)
        head, _, rest = TEMPLATE.partition(b"<cluster>")
        tail = rest.partition(b"</cluster>")[2]
        self.assertTrue(self.conf().startswith(head + b"<cluster>\n"))
        self.assertTrue(self.conf().endswith(b"</cluster>" + tail))
        config = self.load().requireEnabled()
        self.assertEqual(("m1", ()), (config.nodeName, config.warnings))
        after = os.stat(self.home.conf)
        self.assertEqual(
            (before.st_mode, before.st_uid, before.st_gid),
            (after.st_mode, after.st_uid, after.st_gid),
        )

    def test_noBlock(self) -> None:
        """
        Without a block one is added at the end, in a root of its own.
        """
        without = TEMPLATE.partition(b"  <cluster>")[0] + b"</ossec_config>"
        self.manager(without)
        self.assertEqual(0, call(*self.worker("--key-file", self.file(KEY)))[0])
        self.assertTrue(self.conf().startswith(without + b"\n\n<ossec_config>\n"))
        self.assertEqual("worker", self.load().role)

    def test_noConf(self) -> None:
        """
        Without a file one is made.
        """
        self.manager(None)
        self.assertEqual(0, call(*self.master())[0])
        self.assertEqual("m1", self.load().nodeName)

    def test_link(self) -> None:
        """
        A configuration that is a link stays one; its target gets the block.
        """
        target = self.file(TEMPLATE)
        self.manager(None)
        os.symlink(os.path.abspath(target), self.home.conf)
        self.assertEqual(0, call(*self.master())[0])
        self.assertTrue(os.path.islink(self.home.conf))
        self.assertEqual("m1", self.load().nodeName)

    def test_inUse(self) -> None:
        """
        A block that is in use, or disabled with a key, is left alone, and so is
        the whole home.
        """
        enabled = TEMPLATE.replace(b"<disabled>yes</disabled>", b"")
        keyed = TEMPLATE.replace(b"<key></key>", f"<key>{KEY}</key>".encode())
        twice = TEMPLATE + TEMPLATE
        broken = TEMPLATE + b"<a>"
        for conf, what in [
            (enabled, "for the master 'node01' of the cluster 'wazuh': use it as it is"),
            (keyed, "which is disabled and has a key"),
            (twice, "use it as it is, or edit it"),
            (broken, "<a> never ends"),
        ]:
            self.home = Home(self.mktemp())
            self.manager(conf)
            self.assertIn(what, self.refused(1, *self.master()))
            self.assertEqual(conf, self.conf())
            self.assertEqual(["bin", "etc"], sorted(os.listdir(self.home.path)))


class WritePlannedTests(ScriptsTestCase):
    """
    L{writePlanned} never overwrites what came meanwhile.
    """

    block = ClusterBlock(
        name="c1",
        nodeName="m1",
        role="master",
        key=KEY,
        port=1516,
        bindAddr="::",
        master="127.0.0.1",
    )

    def test_appearedMeanwhile(self) -> None:
        """
        A file that appears after the plan stays, and nothing is left beside it.
        """
        planned = planConf(self.home, self.block, None)
        os.makedirs(self.home.join("etc"))
        with open(self.home.conf, "wb") as file:
            file.write(b"theirs")
        error = self.assertRaises(ConfigError, writePlanned, planned)
        self.assertIn("somebody made it just now", str(error))
        self.assertEqual(b"theirs", self.conf())
        self.assertEqual(["ossec.conf"], os.listdir(self.home.join("etc")))

    def test_changedMeanwhile(self) -> None:
        """
        So does a file that changes after the plan.
        """
        self.manager(TEMPLATE)
        planned = planConf(self.home, self.block, None)
        with open(self.home.conf, "ab") as file:
            file.write(b"more")
        self.assertRaises(ConfigError, writePlanned, planned)
        self.assertEqual(TEMPLATE + b"more", self.conf())
        self.assertEqual(["ossec.conf"], os.listdir(self.home.join("etc")))

    def test_unwritable(self) -> None:
        """
        What the system refuses is one line that names the file.
        """
        planned = planConf(self.home, self.block, None)
        error = self.assertRaises(HomeError, writePlanned, planned)
        self.assertIn(f"{self.home.conf}: it cannot be written (No such file", str(error))

    def test_keyIsNotShown(self) -> None:
        """
        Neither a block nor a plan shows the key.
        """
        planned = planConf(self.home, self.block, None)
        self.assertNotIn(KEY, repr(self.block) + repr(planned))
        self.assertIn(KEY.encode(), planned.content)

    def test_exactMode(self) -> None:
        """
        The mode is exact, whatever the umask.
        """
        os.makedirs(self.home.join("etc"))
        planned = evolve(planConf(self.home, self.block, None), mode=0o664)
        previous = os.umask(0o077)
        try:
            writePlanned(planned)
        finally:
            os.umask(previous)
        self.assertEqual(0o664, stat.S_IMODE(os.stat(self.home.conf).st_mode))


class RestartedTests(ScriptsTestCase):
    """
    C{wazuh-cluster restarted} clears the mark that a restart is due.
    """

    def setUp(self) -> None:
        """
        A home.
        """
        super().setUp()
        call(*self.master())
        self.arguments = ("restarted", "--home", self.home.path)

    def keeper(self) -> RestartDue:
        """
        What the daemon uses.
        """
        return RestartDue(DirectoryState(RealFileSystem(), self.home.stateFolder))

    def test_nothing(self) -> None:
        """
        It says that nothing was due, and makes nothing.
        """
        os.rmdir(self.home.stateFolder)
        self.assertEqual((0, "No restart was due.\n", ""), call(*self.arguments))
        self.assertFalse(os.path.exists(self.home.stateFolder))
        os.mkdir(self.home.stateFolder)
        self.assertEqual((0, "No restart was due.\n", ""), call(*self.arguments))

    def test_clears(self) -> None:
        """
        It clears the mark and says because of which files it stood, the first
        ten, without control characters.
        """
        self.keeper().add([b"etc/rules/%d\x1b.xml" % n for n in range(12)], 10.0)
        status, out, err = call(*self.arguments)
        self.assertEqual((0, ""), (status, err))
        self.assertIn("because of 12 files.\n  etc/rules/0\\x1b.xml\n", out)
        self.assertIn("9\\x1b.xml\n  and 2 more\n", out)
        self.assertIsNone(self.keeper().read())
        self.assertEqual((0, "No restart was due.\n", ""), call(*self.arguments))

    def test_damaged(self) -> None:
        """
        A mark that cannot be read is cleared too.
        """
        DirectoryState(RealFileSystem(), self.home.stateFolder).save("restart-due", b"{")
        self.assertIn("could not be read", call(*self.arguments)[1])
        self.assertIsNone(self.keeper().read())

    def test_noHome(self) -> None:
        """
        Without a home it is refused.
        """
        self.assertIn(
            "there is no such folder", self.refused(1, "restarted", "--home", self.mktemp())
        )
