"""
Tests of what is installed: the wheel, the plugin, the command, and the README's
commands.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from configparser import ConfigParser
from importlib import metadata
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from shutil import copytree, ignore_patterns
from types import ModuleType

from twisted.application.service import IServiceMaker, ServiceMaker
from twisted.plugin import getPlugins
from twisted.python.reflect import namedAny
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import wazuh_cluster

CHECKOUT = Path(__file__).resolve().parent.parent
PLUGIN = "twisted/plugins/wazuh_cluster_plugin.py"


def loadScript(name: str) -> ModuleType:
    """
    Import one of the scripts in C{.ci}, which is no package.
    """
    spec = spec_from_file_location(name, CHECKOUT / ".ci" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments: str, cwd: Path) -> str:
    """
    Run a Python of its own and return what it printed.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise AssertionError(f"{arguments} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


class PluginTests(SynchronousTestCase):
    """
    Tests of how C{twistd} finds the daemon.
    """

    def test_found(self) -> None:
        """
        Twisted's plugin system finds exactly one maker of C{wazuh-cluster}.
        """
        makers = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "wazuh-cluster"]
        (maker,) = makers
        assert isinstance(maker, ServiceMaker)
        self.assertEqual(maker.module, "wazuh_cluster.tap")

    def test_leadsToDaemon(self) -> None:
        """
        The module that the plugin names has the options and makes the service.
        """
        self.assertTrue(callable(namedAny("wazuh_cluster.tap.Options")))
        self.assertTrue(callable(namedAny("wazuh_cluster.tap.makeService")))

    def test_light(self) -> None:
        """
        Loading the plugin, as each C{twistd} command does, imports nothing of the
        package.
        """
        shown = run(
            "-c",
            "import sys\n"
            "from twisted.plugins import wazuh_cluster_plugin\n"
            "print([name for name in sys.modules if name.split('.')[0] == 'wazuh_cluster'])\n"
            "print('twisted.internet.reactor' in sys.modules)",
            cwd=CHECKOUT,
        )
        self.assertEqual(shown.splitlines(), ["[]", "False"])

    def test_noInit(self) -> None:
        """
        No C{__init__.py} stands where it would replace Twisted's own.
        """
        found = [path.relative_to(CHECKOUT).as_posix() for path in CHECKOUT.glob("twisted/**/*.py")]
        self.assertEqual(found, [PLUGIN])


class CommandTests(SynchronousTestCase):
    """
    Tests of the commands that an installation makes.
    """

    def test_entryPoint(self) -> None:
        """
        The commands run functions that are there.
        """
        parser = ConfigParser()
        parser.read(CHECKOUT / "setup.cfg", encoding="utf-8")
        scripts = parser["options.entry_points"]["console_scripts"].split("\n")
        named = dict(line.split(" = ") for line in scripts if line)
        self.assertEqual({"wazuh-cluster", "wazuh-clusterd", "cluster_control"}, set(named))
        for target in named.values():
            self.assertTrue(callable(namedAny(target.replace(":", "."))))


class WheelTests(SynchronousTestCase):
    """
    Tests of the wheel that C{pip install} builds.
    """

    def build(self) -> Path:
        """
        Build the wheel from a copy of the checkout, without the network.
        """
        try:
            release = metadata.version("setuptools")
        except metadata.PackageNotFoundError:
            release = "0"
        if int(release.partition(".")[0]) < 77:
            raise SkipTest("building the wheel needs setuptools 77: pip install '.[test]'")
        source = Path(self.mktemp()).resolve()
        source.mkdir(parents=True)
        for folder in ("wazuh_cluster", "twisted"):
            copytree(
                CHECKOUT / folder, source / folder, ignore=ignore_patterns("__pycache__", "*.cache")
            )
        for name in ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.rst", "LICENSE"):
            (source / name).write_bytes((CHECKOUT / name).read_bytes())
        run(
            "-c",
            "from setuptools import build_meta\nbuild_meta.build_wheel('dist')",
            cwd=source,
        )
        (wheel,) = (source / "dist").glob("*.whl")
        return wheel

    def test_content(self) -> None:
        """
        The wheel has every file of the package, the plugin, the licence and the
        command, and nothing else; above all nothing that replaces Twisted's files.
        """
        wheelcheck = loadScript("wheelcheck")
        wheel = self.build()
        source = wheel.parent.parent
        self.assertEqual(wheelcheck.wheelProblems(wheel, wheelcheck.packageFiles(source)), [])
        self.assertEqual(wheel.name, f"wazuh_cluster-{wazuh_cluster.__version__}-py3-none-any.whl")

    def test_badContent(self) -> None:
        """
        The check of a wheel's content names each thing that is wrong with it.
        """
        wheelcheck = loadScript("wheelcheck")
        wheel = Path(self.mktemp())
        with zipfile.ZipFile(wheel, "w") as archive:
            for name in (
                "wazuh_cluster/__init__.py",
                "wazuh_cluster/model.pyc",
                "twisted/plugins/__init__.py",
                "twisted/plugins/dropin.cache",
                "tests/test_packaging.py",
                "wazuh_cluster-1.dist-info/METADATA",
            ):
                archive.writestr(name, b"")
        self.assertEqual(
            wheelcheck.wheelProblems(wheel, ["wazuh_cluster/model.py"]),
            [
                f"{PLUGIN} is missing",
                "wazuh_cluster/model.py is missing",
                "wazuh_cluster/py.typed is missing",
                "LICENSE is missing",
                "the command wazuh-cluster is missing",
                "the command wazuh-clusterd is missing",
                "the command cluster_control is missing",
                "wazuh_cluster/model.pyc must not be in it",
                "twisted/plugins/__init__.py must not be in it",
                "twisted/plugins/dropin.cache must not be in it",
                "tests/test_packaging.py must not be in it",
            ],
        )


class ReadmeTests(SynchronousTestCase):
    """
    Tests of the commands in C{README.rst}.
    """

    SET_UP = "python3 -m venv .venv && .venv/bin/pip install "

    def test_commands(self) -> None:
        """
        Each of the README's two commands sets everything up by itself, then runs the
        demo or the tests.
        """
        readmecommand = loadScript("readmecommand")
        text = readmecommand.README.read_text(encoding="utf-8")
        self.assertEqual(
            readmecommand.readmeCommand(text, "See a master and its workers at work"),
            f"{self.SET_UP}. && .venv/bin/wazuh-cluster demo",
        )
        self.assertEqual(
            readmecommand.readmeCommand(text, "Run the tests"),
            f"{self.SET_UP}'.[test]' && .venv/bin/python -m twisted.trial tests",
        )

    def test_checked(self) -> None:
        """
        What is checked of a change are these commands themselves, taken from the
        README.
        """
        script = (CHECKOUT / ".ci" / "run").read_text(encoding="utf-8")
        for sentence in ("Run the tests", "See a master and its workers at work"):
            self.assertIn(f"python3 .ci/readmecommand.py '{sentence}'", script)
        self.assertNotIn("twisted.trial tests", script)

    def test_notOneCommand(self) -> None:
        """
        A sentence that is missing, or is there twice, or whose block is not one line,
        gives no command.
        """
        readmeCommand = loadScript("readmecommand").readmeCommand
        self.assertEqual(readmeCommand("Do::\n\n    a && b\n\nThen\n", "Do"), "a && b")
        for text in (
            "Other::\n\n    a\n",
            "Do::\n\n    a\n\nDo::\n\n    b\n",
            "Do::\n\n    a\n    b\n",
            "Do::\n\nNothing\n",
        ):
            self.assertRaises(LookupError, readmeCommand, text, "Do")
