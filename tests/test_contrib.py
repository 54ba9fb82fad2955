"""
Tests of what is in C{contrib}: programs that read it find nothing wrong with it,
where they are, and it fits the rest.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from wazuh_cluster.enrollment.certificates import makeMissing
from wazuh_cluster.integrity import RealFileSystem

CONTRIB = Path(__file__).resolve().parent.parent / "contrib"


def run(program: str, *arguments: str) -> tuple[int, str]:
    """
    Run a program, if it is there.
    """
    found = shutil.which(program)
    if found is None:
        raise SkipTest(f"{program} is not here")
    done = subprocess.run(
        [found, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
    )
    return done.returncode, done.stdout


class SystemdTests(SynchronousTestCase):
    """
    The units.
    """

    def units(self) -> Path:
        """
        Copies whose program is one that is there.
        """
        folder = Path(self.mktemp()).resolve()
        shutil.copytree(CONTRIB / "systemd", folder)
        service = folder / "wazuh-cluster.service"
        text = service.read_text().replace("/opt/wazuh-cluster/bin/twistd", sys.executable)
        service.write_text(text)
        return folder

    def test_verified(self) -> None:
        """
        systemd knows everything that stands in them.
        """
        units = sorted(str(path) for path in self.units().iterdir())
        self.assertEqual(3, len(units))
        status, out = run("systemd-analyze", "verify", "--man=no", *units)
        # It also looks at what the machine itself has.
        self.assertEqual([], [line for line in out.splitlines() if "wazuh-cluster" in line])
        self.assertEqual(0, status, out)

    def test_hardened(self) -> None:
        """
        The service is as confined as it can be (0.0 is safe, 10.0 is not).
        """
        service = str(self.units() / "wazuh-cluster.service")
        status, out = run(
            "systemd-analyze", "security", "--offline=true", "--threshold=20", service
        )
        self.assertEqual(0, status, out)

    def test_sockets(self) -> None:
        """
        The guide names the sockets as they name themselves.
        """
        guide = (CONTRIB.parent / "docs" / "operators.rst").read_text(encoding="utf-8")
        for path in sorted((CONTRIB / "systemd").glob("*.socket")):
            text = path.read_text()
            name = re.findall(r"^FileDescriptorName=(.*)$", text, re.MULTILINE)
            self.assertEqual(1, len(name), path)
            self.assertIn(f"systemd:INET:name={name[0]}", guide)
            self.assertIn(f"systemd:INET:name={name[0]}", text)


class HAProxyTests(SynchronousTestCase):
    """
    The configuration of HAProxy.
    """

    def check(self, text: str) -> None:
        path = Path(self.mktemp())
        path.write_text(text)
        status, out = run("haproxy", "-c", "-f", str(path))
        self.assertEqual(0, status, out)

    def test_checked(self) -> None:
        """
        HAProxy takes it, as it is and with checks by the nodes' health.
        """
        text = (CONTRIB / "haproxy" / "haproxy.cfg").read_text()
        self.check(text)
        without = re.sub(r"(?m)^    (option tcp-check|default-server .*)\n", "", text)
        byHealth, count = re.subn(r"(?m)^    #     (?=[a-z-]+ )", "    ", without)
        self.assertEqual(2 * 4, count)
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        makeMissing(RealFileSystem(), str(folder / "node.pem"), str(folder / "node.key"), "hub")
        self.check(byHealth.replace("/etc/haproxy/wazuh-cluster.pem", str(folder / "node.pem")))


class ContainerTests(SynchronousTestCase):
    """
    The container file.
    """

    def test_copies(self) -> None:
        """
        What it copies is there, and is all that the package is built from.
        """
        text = (CONTRIB / "container" / "Containerfile").read_text()
        copied = {
            source
            for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
            for source in line.split()
        }
        for name in copied:
            self.assertTrue((CONTRIB.parent / name).exists(), name)
        self.assertLessEqual(
            {"LICENSE", "README.rst", "pyproject.toml", "setup.cfg", "twisted", "wazuh_cluster"},
            copied,
        )
