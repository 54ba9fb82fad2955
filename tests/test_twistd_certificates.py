"""
Tests for nodes with certificates of their own, as real processes.
"""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import redirect_stdout
from io import StringIO

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.python.filepath import FilePath

from tests.processes import Process, ProcessCase
from wazuh_cluster.model import Identity
from wazuh_cluster.scripts.main import main
from wazuh_cluster.settings import readSettings
from wazuh_cluster.testing.trust import Recorder
from wazuh_cluster.trust import FileTrust

SETTINGS = """
[integrity]
interval = 1

[certificates]
ca = etc/wazuh_cluster/ca.pem
certificate = etc/wazuh_cluster/certificate.pem
private_key = etc/wazuh_cluster/private_key.pem
revoked = etc/wazuh_cluster/revoked.pem
"""


class CertifiedCase(ProcessCase):
    """
    Homes whose nodes have certificates and no key.
    """

    def setUp(self) -> None:
        super().setUp()
        self.ca = FilePath(os.path.abspath(self.mktemp()))

    def certify(self, *arguments: str) -> None:
        with redirect_stdout(StringIO()):
            self.assertEqual(0, main(["certify", "--ca", self.ca.path, *arguments]))

    def issue(self, home: FilePath[str], name: str, role: str) -> None:
        """
        Give a home a certificate, in place of the one that it has.
        """
        made = FilePath(self.mktemp())
        self.certify("--role", role, "--node-name", name, "--out", made.path)
        self.take(made, home)

    def take(self, folder: FilePath[str], home: FilePath[str]) -> None:
        """
        Take what there is in a folder to a home.
        """
        own = home.preauthChild("etc/wazuh_cluster")
        if not own.exists():
            own.makedirs()
        for file in folder.children():
            if file.isfile() and file.basename() != "ca_key.pem":
                shutil.copy(file.path, own.child(file.basename()).path)

    def certified(self, name: str, role: str) -> FilePath[str]:
        """
        Make a home with a certificate: first that, then the configuration,
        which needs no key then.
        """
        home = FilePath(os.path.abspath(self.mktemp() + "-" + name))
        home.preauthChild("etc").makedirs()
        self.issue(home, name, role)
        self.settings(home, SETTINGS)
        arguments = ["init", "--home", home.path, "--node-name", name, "--role", role]
        arguments += ["--port", str(self.port), "--master", "127.0.0.1"]
        arguments += ["--bind-addr", "127.0.0.1"]
        with redirect_stdout(StringIO()):
            self.assertEqual(0, main(arguments))
        conf = home.preauthChild("etc/ossec.conf").getContent()
        self.assertIn(b"<key></key>", conf)
        return home

    async def started(self, home: FilePath[str]) -> Process:
        """
        Start a node, and wait until it runs.
        """
        process = self.node(home)
        await self.until(lambda: "Starting" in self.log(home), "the start")
        return process

    def said(self, home: FilePath[str], *texts: str) -> bool:
        """
        Whether one line of a node's log says all this.
        """
        return any(all(text in line for text in texts) for line in self.log(home).splitlines())

    async def untilSaid(self, home: FilePath[str], *texts: str) -> None:
        await self.until(lambda: self.said(home, *texts), f"{texts} in the log")


class CertificatesTests(CertifiedCase):
    """
    They join, are told apart by what they may do, are revoked and renewed.
    """

    async def test_revokedAndRenewed(self) -> None:
        """
        Two workers join by their certificates. One's is revoked: when the
        master hears that, that link ends and stays ended, and the other's does
        not. With another certificate it joins again, without a restart.
        """
        hub, one, two = homes = (
            self.certified("hub", "master"),
            self.certified("one", "worker"),
            self.certified("two", "worker"),
        )
        rules = hub.preauthChild("etc/rules/local_rules.xml")
        rules.setContent(b"<group>1</group>")
        master = await self.started(hub)
        worker, _ = await self.started(one), await self.started(two)
        await self.untilEqual(*homes)
        (issued,) = self.ca.child("issued").globChildren("one-*")
        self.certify("--revoke", issued.path)
        self.take(self.ca, hub)
        master.kill(signal.SIGHUP)
        await self.untilSaid(hub, "[Worker one]", "WARNING", "Left: the certificate of", "revoked")
        await self.untilSaid(hub, "certificates were read again", "1 are revoked, 1 links ended")
        await self.untilSaid(one, "refuses this node's certificate, which was revoked")
        rules.setContent(b"<group>2</group>")
        await self.untilEqual(hub, two)
        self.assertFalse(self.equal(hub, one))
        self.issue(one, "one", "worker")
        worker.kill(signal.SIGHUP)
        await self.untilEqual(*homes)
        self.assertTrue(self.said(one, "certificates were read again"))
        self.assertFalse(self.said(two, "The link to the master ended"))
        for home in homes:
            self.assertNotIn("Traceback", self.log(home))
            self.assertNotIn("PRIVATE KEY", self.log(home))

    async def test_mistakeKeepsTheOld(self) -> None:
        """
        Files that cannot be used change nothing, and the log says why; good
        ones are used afterwards.
        """
        hub, one = self.certified("hub", "master"), self.certified("one", "worker")
        master = await self.started(hub)
        await self.started(one)
        await self.untilSaid(hub, "[Worker one]", "Joined")
        certificate = hub.preauthChild("etc/wazuh_cluster/certificate.pem")
        content = certificate.getContent()
        certificate.setContent(b"?")
        master.kill(signal.SIGHUP)
        await self.untilSaid(
            hub,
            "ERROR",
            "the ones before stay in use",
            "wazuh_cluster.ini, [certificates]: 'certificate'",
        )
        certificate.setContent(content)
        master.kill(signal.SIGHUP)
        await self.untilSaid(hub, "certificates were read again", "0 links ended")
        self.assertFalse(self.said(hub, "Left"))

    async def test_workerIsNoMaster(self) -> None:
        """
        A worker's certificate makes no master: its own node refuses to be one,
        and a worker that dials somebody who has it does not join.
        """
        thief, one = self.certified("thief", "worker"), self.certified("one", "worker")
        conf = thief.preauthChild("etc/ossec.conf")
        conf.setContent(conf.getContent().replace(b"<node_type>worker<", b"<node_type>master<"))
        process = self.node(thief)
        self.assertEqual(1, await process.ended)
        (line,) = (process.out + process.err).decode("utf-8").strip().splitlines()
        self.assertIn("wazuh_cluster.ini, [certificates]", line)
        self.assertIn("is for wazuh-cluster:wazuh/worker/thief", line)
        self.assertIn("this node is wazuh-cluster:wazuh/master/thief", line)
        files = readSettings(SETTINGS, "w.ini").certificatesIn(thief.path)
        assert files is not None
        trust = FileTrust(files, Identity("wazuh", "worker", "thief"))
        met: list[Recorder] = []

        def build() -> Recorder:
            met.append(Recorder())
            return met[-1]

        factory = trust.wrapServer(Factory.forProtocol(build), reactor)
        endpoint = TCP4ServerEndpoint(reactor, self.port, interface="127.0.0.1")
        port = await endpoint.listen(factory)
        self.addCleanup(port.stopListening)
        await self.started(one)
        await self.untilSaid(one, "ERROR", "is thief, a worker, not the master: check <node>")
        await self.until(lambda: "lost" in met[0].events, "the end")
        self.assertEqual(b"", met[0].received)

    async def test_keyIsNoCertificate(self) -> None:
        """
        A worker that has only the key of a cluster of certificates gets
        nothing, and each end says what to compare.
        """
        hub = self.certified("hub", "master")
        key = FilePath(self.mktemp())
        key.setContent(b"c1" * 16)
        one = self.init("one", "--role", "worker", "--master", "127.0.0.1", "--key-file", key.path)
        await self.started(hub)
        await self.started(one)
        await self.untilSaid(one, "another cluster key")
        await self.untilSaid(hub, "certificate of another authority")
        self.assertFalse(self.said(hub, "Joined"))


class RefusedTests(CertifiedCase):
    """
    What cannot be used is refused with one line before the daemon leaves the
    terminal.
    """

    async def refused(self, home: FilePath[str], *texts: str) -> None:
        process = self.spawn(["wazuh-cluster", "--home", home.path])
        self.assertEqual(1, await process.ended)
        (line,) = (process.out + process.err).decode("utf-8").strip().splitlines()
        for text in ("wazuh_cluster.ini, [certificates]", *texts):
            self.assertIn(text, line)
        self.assertFalse(home.preauthChild("var/run/wazuh-cluster.pid").exists())

    async def test_files(self) -> None:
        """
        Each mistake names the file, the section and the key.
        """
        home = self.certified("one", "worker")
        other = self.certified("two", "worker")
        own = home.preauthChild("etc/wazuh_cluster")
        its = other.preauthChild("etc/wazuh_cluster")
        good = {file.basename(): file.getContent() for file in own.children()}
        for name, content, text in (
            ("private_key.pem", its.child("private_key.pem").getContent(), "'private_key'"),
            ("certificate.pem", b"nothing", "'certificate'"),
            ("ca.pem", good["certificate.pem"], "'ca'"),
        ):
            own.child(name).setContent(content)
            await self.refused(home, text)
            own.child(name).setContent(good[name])
        own.child("private_key.pem").remove()
        await self.refused(home, "private_key: there is no file", "wazuh-cluster certify")
        self.take(its, home)
        await self.refused(home, "this node is wazuh-cluster:wazuh/worker/one")

    async def test_settings(self) -> None:
        """
        So does a section with a part of it, or with files that would travel.
        """
        home = self.certified("one", "worker")
        self.settings(home, "[certificates]\nca = etc/ca.pem\n")
        await self.refused(home, "there is no 'certificate'")
        self.settings(home, SETTINGS.replace("etc/wazuh_cluster/private", "etc/shared/private"))
        await self.refused(home, "private_key", "is within the item etc/shared")
