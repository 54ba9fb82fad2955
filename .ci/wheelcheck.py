"""
Check what is in the built wheel and in the source distribution.

C{wheelcheck.py CHECKOUT DIST...} prints one line for each thing that is wrong, and
ends with 1 if there is any.
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

PACKAGE = "wazuh_cluster"
PLUGIN = "twisted/plugins/wazuh_cluster_plugin.py"
COMMANDS = ("wazuh-cluster", "wazuh-clusterd", "cluster_control")

#: Files that would replace Twisted's own, or that a build left behind.
_STRAY = re.compile(r"(\A|/)(twisted/(plugins/)?__init__\.py|dropin\.cache|.*\.py[cod])\Z")

_DIST_INFO = re.compile(r"wazuh_cluster-[^/]+\.dist-info/(.+)\Z")

_SDIST = (
    "LICENSE",
    "README.rst",
    "pyproject.toml",
    "setup.cfg",
    "tox.ini",
    ".ci/run",
    "contrib/systemd/wazuh-cluster.service",
    "docs/conf.py",
    "tests/__init__.py",
    PLUGIN,
)


def packageFiles(checkout: Path) -> list[str]:
    """
    The files of the package in a checkout, relative to it, that an installation
    must have.
    """
    paths = (path.relative_to(checkout) for path in (checkout / PACKAGE).rglob("*"))
    return sorted(
        path.as_posix()
        for path in paths
        if (checkout / path).is_file()
        and not any(part == "__pycache__" or part.startswith(".") for part in path.parts)
    )


def wheelProblems(wheel: Path, needed: Iterable[str]) -> list[str]:
    """
    What is wrong with a wheel's content, one line each.

    @param needed: names that must be in it besides the plugin, the licence, the mark
        of a typed package and the commands.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entryPoints = "".join(
            archive.read(name).decode("utf-8")
            for name in names
            if name.endswith(".dist-info/entry_points.txt")
        )
    wanted = {PLUGIN, f"{PACKAGE}/__init__.py", f"{PACKAGE}/py.typed", *needed}
    problems = [f"{name} is missing" for name in sorted(wanted.difference(names))]
    info = [match[1] for match in map(_DIST_INFO.match, names) if match]
    if "licenses/LICENSE" not in info:
        problems.append("LICENSE is missing")
    for command in COMMANDS:
        if not re.search(rf"^{command}\s*=\s*wazuh_cluster\.", entryPoints, re.MULTILINE):
            problems.append(f"the command {command} is missing")
    for name in names:
        ours = name == PLUGIN or name.startswith(f"{PACKAGE}/") or _DIST_INFO.match(name)
        if not ours or _STRAY.search(name):
            problems.append(f"{name} must not be in it")
    return problems


def sdistProblems(sdist: Path, needed: Iterable[str]) -> list[str]:
    """
    What is wrong with a source distribution's content, one line each.

    @param needed: names, relative to the checkout, that must be in it besides what
        building, testing and documenting need.
    """
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    problems = [f"{name} is missing" for name in sorted({*_SDIST, *needed}.difference(names))]
    problems += [f"{name} must not be in it" for name in sorted(names) if _STRAY.search(name)]
    return problems


def main() -> None:
    """
    Check the distributions on the command line.
    """
    if len(sys.argv) < 3:
        raise SystemExit("usage: wheelcheck.py CHECKOUT DIST...")
    needed = packageFiles(Path(sys.argv[1]))
    failed = False
    for argument in sys.argv[2:]:
        dist = Path(argument)
        check = wheelProblems if dist.suffix == ".whl" else sdistProblems
        for problem in check(dist, needed):
            print(f"{dist.name}: {problem}")
            failed = True
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
