"""
Tests for L{wazuh_cluster.tap}.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, Logger, globalLogPublisher
from twisted.python import usage
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from wazuh_cluster.control import ControlService
from wazuh_cluster.daemon import NodeService
from wazuh_cluster.enrollment import EnrollmentService
from wazuh_cluster.home import Home, makeHome
from wazuh_cluster.master import MasterService
from wazuh_cluster.scripts.main import main
from wazuh_cluster.tap import Options, makeService
from wazuh_cluster.worker import WorkerService

CONF = """<ossec_config>
  <cluster>
    <name>wazuh</name>
    <node_name>one</node_name>
    <node_type>{role}</node_type>
    <key>a1b2c3d4e5f60718293a4b5c6d7e8f90</key>
    <port>{port}</port>
    <bind_addr>{bind}</bind_addr>
    <nodes><node>127.0.0.1</node></nodes>
    <disabled>{disabled}</disabled>
  </cluster>
</ossec_config>
"""


CERTIFICATES = """
[certificates]
ca = etc/wazuh_cluster/ca.pem
certificate = etc/wazuh_cluster/certificate.pem
private_key = etc/wazuh_cluster/private_key.pem
revoked = etc/wazuh_cluster/revoked.pem
"""


class TwistdOptions(usage.Options):
    """
    As much of twistd's options as a plugin sees.
    """

    optParameters = [
        ["pidfile", None, "twistd.pid", ""],
        ["logfile", None, None, ""],
        ["logger", None, None, ""],
    ]
    optFlags = [["nodaemon", None, ""], ["syslog", None, ""]]
    subCommands = [["wazuh-cluster", None, Options, ""]]


class TapTests(SynchronousTestCase):
    """
    From options and files to a service, without opening anything.
    """

    def setUp(self) -> None:
        # A daemon's reactor keeps its own time from then on.
        self.patch(reactor, "seconds", reactor.seconds)

    def home(
        self, role: str = "worker", bind: str = "127.0.0.1", port: int = 1, disabled: str = "no"
    ) -> FilePath[str]:
        home = FilePath(os.path.abspath(self.mktemp()))
        makeHome(Home(home.path))
        conf = home.preauthChild("etc/ossec.conf")
        conf.setContent(
            CONF.format(role=role, bind=bind, port=port, disabled=disabled).encode("ascii")
        )
        conf.chmod(0o640)
        return home

    def parse(self, *arguments: str, twistd: tuple[str, ...] = ()) -> tuple[Any, Any]:
        parent = TwistdOptions()
        parent.parseOptions([*twistd, "wazuh-cluster", *arguments])
        return parent, parent.subOptions

    def node(self, *arguments: str) -> Any:
        _, options = self.parse(*arguments)
        self.addCleanup(options.lock.release)
        service = makeService(options)
        assert isinstance(service, NodeService)
        return next(iter(service))

    def test_worker(self) -> None:
        """
        The configuration says what the node is.
        """
        self.assertIsInstance(self.node("--home", self.home().path), WorkerService)

    def test_master(self) -> None:
        """
        A master, on IPv4 and IPv6.
        """
        for bind in ("127.0.0.1", "::1"):
            with socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET) as probe:
                try:
                    probe.bind((bind, 0))
                except OSError:
                    continue
                port = probe.getsockname()[1]
            home = self.home("master", bind, port)
            self.assertIsInstance(self.node("--home", home.path), MasterService)

    def test_controlSocket(self) -> None:
        """
        Either role answers local programs, once it was started.
        """
        for role in ("master", "worker"):
            home = self.home(role)
            _, options = self.parse("--home", home.path)
            self.addCleanup(options.lock.release)
            service: Any = makeService(options)
            control = service.getServiceNamed("control")
            self.assertIsInstance(control, ControlService)
            self.assertIs(control._answers, service.getServiceNamed(role).requests)
            self.assertFalse(home.preauthChild("queue/wazuh_cluster/control.sock").exists())

    def test_administrators(self) -> None:
        """
        The workers that the master's settings list may change things.
        """
        home = self.home("master")
        home.preauthChild("etc/wazuh_cluster.ini").setContent(
            b"[administration]\nworkers = siem-1, siem-2\n"
        )
        master = self.node("--home", home.path)
        self.assertEqual({"siem-1", "siem-2"}, master.agents.administrators)

    def test_roleOption(self) -> None:
        """
        C{--role} overrides the configuration; on a real manager, a
        disagreement is refused.
        """
        home = self.home("master", port=self.freePort())
        self.assertIsInstance(self.node("--home", home.path, "--role", "worker"), WorkerService)
        self.doCleanups()
        home.child("bin").makedirs()
        home.preauthChild("bin/wazuh-control").touch()
        _, options = self.parse("--home", home.path, "--role", "worker")
        refusal = self.assertRaises(SystemExit, makeService, options)
        self.assertIn("node_type", str(refusal))

    def listener(self, *arguments: str) -> Any:
        _, options = self.parse(*arguments)
        self.addCleanup(options.lock.release)
        service: Any = makeService(options)
        return list(service)[1]

    def test_enrollment(self) -> None:
        """
        C{--enrollment} adds a listener to a worker and to a master.
        """
        endpoint = f"tcp:{self.freePort()}:interface=127.0.0.1"
        found = self.listener("--home", self.home().path, "--enrollment", endpoint)
        self.assertIsInstance(found, EnrollmentService)
        home = self.home("master", port=self.freePort())
        arguments = ("--home", home.path, "--enrollment", endpoint)
        self.assertIsInstance(self.listener(*arguments), EnrollmentService)
        self.assertEqual([], home.preauthChild("etc/sslmanager.key").parent().globChildren("ssl*"))

    def test_enrollmentRefused(self) -> None:
        """
        What stands in its way is one line that names it.
        """
        home = self.home()
        good = f"tcp:{self.freePort()}:interface=127.0.0.1"
        conf = home.preauthChild("etc/ossec.conf")
        text = conf.getContent()
        for endpoint, block, wanted in (
            ("tcp:nonsense", b"", "--enrollment"),
            (good, b"<ciphers>NONSENSE</ciphers>", "<ciphers>"),
            (good, b"<ssl_manager_cert>own.cert</ssl_manager_cert>", "own.cert"),
            (good, b"<ssl_agent_ca>agents.pem</ssl_agent_ca>", "agents.pem"),
        ):
            block = b"<auth>" + block + b"</auth></ossec_config>"
            conf.setContent(text.replace(b"</ossec_config>", block))
            arguments = ("--home", home.path, "--enrollment", endpoint)
            refusal = str(self.assertRaises(SystemExit, self.listener, *arguments))
            self.assertIn(wanted, refusal)
            self.assertNotIn("\n", refusal)
            self.doCleanups()

    def freePort(self) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    def test_opensNothing(self) -> None:
        """
        Nothing is opened, and no thread is started: twistd forks afterwards.
        """
        home = self.home("master", port=self.freePort())
        _, options = self.parse("--home", home.path)
        self.addCleanup(options.lock.release)
        before = set(os.listdir("/proc/self/fd")), set(os.listdir("/proc/self/task"))
        makeService(options)
        after = set(os.listdir("/proc/self/fd")), set(os.listdir("/proc/self/task"))
        self.assertEqual(before, after)
        self.assertEqual([], home.preauthChild("queue/wazuh_cluster").listdir())

    def test_twistdsDefaults(self) -> None:
        """
        twistd's pid file is the home's, unless it was told another.
        """
        home = self.home()
        parent = self.parsed("--home", home.path)
        self.assertEqual(home.preauthChild("var/run/wazuh-cluster.pid").path, parent["pidfile"])
        parent = self.parsed(
            "--home", home.path, twistd=("--pidfile", "/x.pid", "--logfile", "/x.log")
        )
        self.assertEqual(("/x.pid", "/x.log"), (parent["pidfile"], parent["logfile"]))

    def application(self, home: FilePath[str], *twistd: str) -> Any:
        _, options = self.parse("--home", home.path, twistd=twistd)
        self.addCleanup(options.lock.release)
        application = Application("wazuh-cluster")
        makeService(options).setServiceParent(application)
        return application

    def test_twistdsLog(self) -> None:
        """
        In the background twistd writes warnings to the home's own file,
        unless it was told otherwise.
        """
        home = self.home()
        observer = self.application(home).getComponent(ILogObserver)
        log = Logger("elsewhere", observer=observer)
        log.info("chatter")
        log.error("trouble")
        content = home.preauthChild("logs/twistd.log").getContent()
        self.assertIn(b"trouble", content)
        self.assertNotIn(b"chatter", content)
        for told in (("--nodaemon",), ("--logfile", "/x.log")):
            application = self.application(self.home(), *told)
            self.assertIsNone(application.getComponent(ILogObserver, None))

    def parsed(self, *arguments: str, twistd: tuple[str, ...] = ()) -> Any:
        """
        twistd's own options, of a node that does not come about.
        """
        parent, options = self.parse(*arguments, twistd=twistd)
        options.lock.release()
        return parent

    def test_stalePidFile(self) -> None:
        """
        A pid file that a killed node left does not keep the next from
        starting, whatever is in it.
        """
        home = self.home()
        pidFile = home.preauthChild("var/run/wazuh-cluster.pid")
        for content in (b"1", b"", b"garbage", b"%d" % os.getpid()):
            pidFile.setContent(content)
            _, options = self.parse("--home", home.path)
            self.assertFalse(pidFile.exists())
            options.lock.release()

    def test_stalePidFileStays(self) -> None:
        """
        Where that cannot be removed, one line says so; twistd would show a
        traceback.
        """
        home = self.home()
        where = home.preauthChild("var/run/wazuh-cluster.pid")
        where.makedirs()
        refusal = str(self.assertRaises(SystemExit, self.parse, "--home", home.path))
        self.assertIn(f"{where.path}: what an earlier node left cannot be removed (", refusal)

    def test_pidFileCannotBeWritten(self) -> None:
        """
        Where twistd could not keep its process id, one line says so before it
        tries; where it can, nothing is left of the trial.
        """
        home = self.home()
        where = home.preauthChild("no/such/pid").path
        _, options = self.parse("--home", home.path, twistd=("--pidfile", where))
        refusal = str(self.assertRaises(SystemExit, makeService, options))
        self.assertEqual(
            f"{where}: the process id cannot be kept (No such file or directory): make room, or "
            "give twistd another --pidfile",
            refusal,
        )
        options.lock.release()
        self.node("--home", home.path)
        self.assertEqual(["wazuh-cluster.lock"], home.preauthChild("var/run").listdir())

    def test_oneNodePerHome(self) -> None:
        """
        While a node runs in a home, another is refused, and its pid file
        stays.
        """
        home = self.home()
        _, options = self.parse("--home", home.path)
        pidFile = home.preauthChild("var/run/wazuh-cluster.pid")
        pidFile.setContent(b"77")
        refusal = self.assertRaises(SystemExit, self.parse, "--home", home.path)
        self.assertIn("another node runs in this home", str(refusal))
        self.assertTrue(pidFile.exists())
        options.lock.release()
        self.parse("--home", home.path)

    def test_damagedId(self) -> None:
        """
        A damaged id of the home is refused by its path, before the daemon
        leaves the terminal.
        """
        home = self.home()
        home.preauthChild("queue/wazuh_cluster/home-id").setContent(b"?")
        _, options = self.parse("--home", home.path)
        refusal = str(self.assertRaises(SystemExit, makeService, options))
        self.assertIn("queue/wazuh_cluster/home-id", refusal)

    def test_userWithoutRights(self) -> None:
        """
        The user to whom twistd switches must be able to write in the home.
        """
        if os.geteuid() != 0:
            raise SkipTest("only root switches users")
        _, options = self.parse("--home", self.home().path)
        options.parent["uid"] = 65534
        options.parent["gid"] = 65534
        refusal = str(self.assertRaises(SystemExit, makeService, options))
        self.assertIn("cannot write there", refusal)

    def test_homeFromTheEnvironment(self) -> None:
        """
        Without C{--home} it is C{$WAZUH_HOME}.
        """
        home = self.home()
        self.patch(os, "environ", {**os.environ, "WAZUH_HOME": home.path})
        _, options = self.parse()
        self.assertEqual(home.path, options["home"])

    def test_disabled(self) -> None:
        """
        A disabled cluster ends with status 0 and a line.
        """
        stdout = StringIO()
        self.patch(sys, "stdout", stdout)
        _, options = self.parse("--home", self.home(disabled="yes").path)
        self.assertEqual(0, self.assertRaises(SystemExit, makeService, options).code)
        self.assertEqual(1, stdout.getvalue().count("\n"))

    def certified(self, role: str = "worker", name: str = "one") -> FilePath[str]:
        """
        A home with a certificate, whose configuration has no key.
        """
        home = self.home(role, port=self.freePort())
        made, ca = home.preauthChild("etc/wazuh_cluster"), self.mktemp()
        arguments = ["--role", role, "--node-name", name, "--out", made.path]
        with redirect_stdout(StringIO()):
            self.assertEqual(0, main(["certify", "--ca", ca, *arguments]))
        home.preauthChild("etc/wazuh_cluster.ini").setContent(CERTIFICATES.encode("ascii"))
        conf = home.preauthChild("etc/ossec.conf")
        conf.setContent(re.sub(rb"<key>.*</key>", b"", conf.getContent()))
        return home

    def test_certificates(self) -> None:
        """
        With certificates a node needs no key. They are read for good when the
        service starts with privileges: what follows needs no file.
        """
        for role, kind in (("worker", WorkerService), ("master", MasterService)):
            home = self.certified(role)
            _, options = self.parse("--home", home.path)
            self.addCleanup(options.lock.release)
            service: Any = makeService(options)
            (node,) = [each for each in service if isinstance(each, kind)]
            self.addCleanup(globalLogPublisher.removeObserver, service._log)
            service.privilegedStartService()
            self.addCleanup(lambda: service.stopService())  # noqa: B023
            home.preauthChild("etc/wazuh_cluster").remove()
            self.assertEqual(role, node._trust.identity.role)
            node._trust.wrapClient(Factory.forProtocol(Protocol), Clock())

    def test_badCertificates(self) -> None:
        """
        Certificates that cannot be used are refused before the daemon leaves
        the terminal, and again if they changed until it opens them.
        """
        home = self.certified(name="another")
        _, options = self.parse("--home", home.path)
        refusal = str(self.assertRaises(SystemExit, makeService, options))
        self.assertIn("wazuh_cluster.ini, [certificates]: 'certificate' is for", refusal)
        options.lock.release()
        home = self.certified()
        _, options = self.parse("--home", home.path, twistd=("--nodaemon",))
        self.addCleanup(options.lock.release)
        service: Any = makeService(options)
        self.addCleanup(globalLogPublisher.removeObserver, service._log)
        home.preauthChild("etc/wazuh_cluster/ca.pem").remove()
        refusal = str(self.assertRaises(SystemExit, service.privilegedStartService))
        self.assertIn("[certificates] ca: there is no file", refusal)
        self.assertIn("CRITICAL", home.preauthChild("logs/cluster.log").getContent().decode())

    def test_disabledBeforeAll(self) -> None:
        """
        Where there is to be no cluster, nobody looks at its settings or key.
        """
        home = self.home(disabled="yes")
        home.preauthChild("etc/wazuh_cluster.ini").setContent(b"[nonsense]")
        self.patch(sys, "stdout", StringIO())
        _, options = self.parse("--home", home.path)
        self.assertEqual(0, self.assertRaises(SystemExit, makeService, options).code)

    def test_keyIsNotShown(self) -> None:
        """
        What a refusal shows is not the key.
        """
        home = self.home()
        conf = home.preauthChild("etc/ossec.conf")
        conf.setContent(conf.getContent().replace(b"<key>a1", b"<key>!!"))
        _, options = self.parse("--home", home.path)
        refusal = str(self.assertRaises(SystemExit, makeService, options))
        self.assertIn("<key>", refusal)
        self.assertNotIn("b2c3d4", refusal)
