"""
An edit as an operator makes it: one rule gets another level.
"""

from __future__ import annotations

import os
import re

from attrs import frozen

from wazuh_cluster.home import Home

# Not of level 0: such a rule only groups others.
_LEVEL = re.compile(rb'<rule id="(\d+)" level="([1-9]\d*)"')


@frozen
class Edit:
    """
    One edited file.

    @ivar path: relative to the home.
    @ivar content: the new one.
    @ivar what: what is new, for people.
    """

    path: str
    content: bytes
    what: str

    def apply(self, home: Home) -> None:
        """
        Put the new content in the old one's place, at once.
        """
        path = home.join(self.path)
        temporary = f"{path}.tmp"
        with open(temporary, "wb") as file:
            os.fchmod(file.fileno(), 0o660)
            file.write(self.content)
        os.rename(temporary, path)

    def isIn(self, home: Home) -> bool:
        """
        Whether a home has the new content.
        """
        return contentOf(home, self.path) == self.content


def planEdit(home: Home) -> Edit:
    """
    Choose a rule for another level, or, where there is none, any file of the
    ruleset for one more line.
    """
    rules, decoders, lists = (
        _filesBelow(home, folder) for folder in ("etc/rules", "etc/decoders", "etc/lists")
    )
    for path in rules:
        content = contentOf(home, path) or b""
        found = _LEVEL.search(content)
        if found is not None:
            rule, level = found[1].decode(), int(found[2])
            new = 12 if level != 12 else 10
            changed = b"%s%d%s" % (content[: found.start(2)], new, content[found.end(2) :])
            return Edit(path, changed, f"level {level} of the rule {rule} becomes {new}")
    for paths, line in (((*rules, *decoders), b"<!-- edited -->\n"), (lists, b"edited:yes\n")):
        for path in paths:
            return Edit(path, (contentOf(home, path) or b"") + line, "a line is added")
    raise AssertionError("there is no ruleset")


def contentOf(home: Home, path: str) -> bytes | None:
    """
    A file's content; C{None} if it cannot be read, or is not there just now.
    """
    try:
        with open(home.join(path), "rb") as file:
            return file.read()
    except OSError:
        return None


def _filesBelow(home: Home, folder: str) -> list[str]:
    found = []
    for above, _, names in os.walk(home.join(folder)):
        found += [os.path.relpath(os.path.join(above, name), home.path) for name in names]
    return sorted(found)
