"""
Write the list of the names that we import from Twisted, for links to its documents.

C{inventory.py PACKAGE FILE} reads the import statements of a package and writes a
Sphinx inventory, version 2, that says where Twisted's API documents describe each
name. Pydoctor then knows what C{L{Deferred}} means without asking the network.
Names that are not imported as C{from twisted... import name} are not in it: write
those as C{C{...}}.
"""

from __future__ import annotations

import ast
import sys
import zlib
from pathlib import Path

_HEADER = b"# Sphinx inventory version 2\n# Project: Twisted\n# Version: \n# zlib\n"


def importedNames(source: str) -> dict[str, str]:
    """
    Map what a module's text imports from Twisted, with full names, to the page that
    describes it.
    """
    names = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ImportFrom) or node.level or node.module is None:
            continue
        if node.module.partition(".")[0] == "twisted":
            names[node.module] = f"{node.module}.html"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                # A class has a page; a function stands on its module's.
                isClass = alias.name[0].isupper()
                names[full] = f"{full}.html" if isClass else f"{node.module}.html#{alias.name}"
    return names


def inventory(names: dict[str, str]) -> bytes:
    """
    The inventory as Sphinx writes it.
    """
    lines = [f"{name} py:obj -1 {page} -\n" for name, page in sorted(names.items())]
    return _HEADER + zlib.compress("".join(lines).encode("utf-8"))


def main() -> None:
    """
    Do it for the package and the file on the command line.
    """
    if len(sys.argv) != 3:
        raise SystemExit("usage: inventory.py PACKAGE FILE")
    names: dict[str, str] = {}
    for path in sorted(Path(sys.argv[1]).rglob("*.py")):
        names.update(importedNames(path.read_text(encoding="utf-8")))
    target = Path(sys.argv[2])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(inventory(names))


if __name__ == "__main__":
    main()
