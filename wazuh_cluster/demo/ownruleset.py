"""
A copy of a ruleset that somebody has.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from attrs import frozen

from wazuh_cluster.errors import BadInput
from wazuh_cluster.integrity import WAZUH_ITEMS

_FOLDERS = ("rules", "decoders", "lists")
_DECODER = re.compile(rb"<decoder[\s>]")


@frozen
class OwnFile:
    """
    One file of it.

    @ivar source: where it is, absolute.
    @ivar target: where it goes, relative to a home.
    @ivar size: in bytes.
    """

    source: str
    target: str
    size: int


def findRuleset(folder: str) -> list[OwnFile]:
    """
    The files of a ruleset: those in the folders C{rules}, C{decoders} and
    C{lists}, or, where there are none of these, each C{.xml} file for what it
    holds.

    @raise BadInput: if there are none.
    """
    where = f"--ruleset {folder}"
    folder = os.path.abspath(folder)
    if not os.path.isdir(folder):
        what = "it is not a folder" if os.path.lexists(folder) else "there is no such folder"
        raise BadInput(what, where, "name a folder that holds a ruleset")
    try:
        found = list(_foldersIn(folder)) or list(_rulesIn(folder))
    except OSError as error:
        raise BadInput(
            f"{error.filename} cannot be read ({error.strerror})",
            where,
            "let this user read it, or name another folder",
        ) from None
    if not found:
        raise BadInput(
            "there is no ruleset in it",
            where,
            "name a folder with rules/, decoders/ or lists/ in it, or with .xml files",
        )
    return found


def _foldersIn(folder: str) -> Iterator[OwnFile]:
    for name in _FOLDERS:
        top = os.path.join(folder, name)
        for above, folders, names in os.walk(top, onerror=_fail):
            folders.sort()
            for each in sorted(names):
                source = os.path.join(above, each)
                yield from _carried(source, f"etc/{name}/{os.path.relpath(source, top)}")


def _rulesIn(folder: str) -> Iterator[OwnFile]:
    for name in sorted(os.listdir(folder)):
        source = os.path.join(folder, name)
        if not name.endswith(".xml") or not os.path.isfile(source):
            continue
        with open(source, "rb") as file:
            kind = "decoders" if _DECODER.search(file.read()) else "rules"
        yield from _carried(source, f"etc/{kind}/{name}")


def _carried(source: str, target: str) -> Iterator[OwnFile]:
    """
    The file, if it is one that a cluster carries.
    """
    if os.path.isfile(source) and WAZUH_ITEMS.find(os.fsencode(target)) is not None:
        with open(source, "rb"):
            yield OwnFile(source, target, os.stat(source).st_size)


def _fail(error: OSError) -> None:
    # A folder that is not there is one of those that need not be.
    if not isinstance(error, FileNotFoundError):
        raise error
