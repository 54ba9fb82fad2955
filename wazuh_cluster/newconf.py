"""
Write a C{<cluster>} block: as a new C{ossec.conf}, or into that of a manager
that has none in use. Never over a configuration that somebody wrote.
"""

from __future__ import annotations

import os
import stat
from xml.sax.saxutils import escape

from attrs import evolve, field, frozen

from wazuh_cluster.clusterblock import clusterBlocks
from wazuh_cluster.config import readText
from wazuh_cluster.configvalues import checkKey
from wazuh_cluster.errors import ConfigError
from wazuh_cluster.home import Home, Owner
from wazuh_cluster.ossecconf import Element
from wazuh_cluster.plannedfile import PlannedFile

_MODE = 0o640


@frozen
class ClusterBlock:
    """
    What a C{<cluster>} block says. All values are checked already.
    """

    name: str
    nodeName: str
    role: str
    key: str = field(repr=False)
    port: int
    bindAddr: str
    master: str

    def render(self) -> str:
        """
        The block, each element on a line of its own: Wazuh's programs overlook
        a block without white space between its tags.
        """
        values = (
            ("name", self.name),
            ("node_name", self.nodeName),
            ("node_type", self.role),
            ("key", self.key),
            ("port", str(self.port)),
            ("bind_addr", self.bindAddr),
        )
        lines = [f"    <{tag}>{escape(value)}</{tag}>" for tag, value in values]
        return "\n".join(
            [
                "<cluster>",
                *lines,
                "    <nodes>",
                f"      <node>{escape(self.master)}</node>",
                "    </nodes>",
                "    <hidden>no</hidden>",
                "    <disabled>no</disabled>",
                "  </cluster>",
            ]
        )

    def renderFile(self) -> str:
        """
        The block in a root of its own.
        """
        return f"<ossec_config>\n  {self.render()}\n</ossec_config>\n"


def planConf(home: Home, block: ClusterBlock, owner: Owner | None) -> PlannedFile:
    """
    Decide what C{ossec.conf} is to become; nothing is written yet.

    Only on a real manager is a file that exists added to: where it has no
    C{<cluster>} block, in a root of its own at the end; or in place of the one
    block that Wazuh's installation leaves, which is disabled and has no key.

    @raise ConfigError: if what stands there is somebody's configuration.
    """
    path = home.conf
    planned = PlannedFile(
        path=path,
        content=block.renderFile().encode("ascii"),
        mode=_MODE,
        owner=owner,
        replaces=None,
    )
    if not os.path.lexists(path):
        return planned
    text, mode = readText(path)
    blocks = clusterBlocks(text, path)
    place = _placeForBlock(home, blocks)
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        before = file.read()
    # Latin-1 makes offsets of characters offsets of bytes.
    latin = before.decode("latin-1")
    if place is None:
        glue = "" if not latin or latin.endswith("\n") else "\n"
        after = latin + glue + "\n" + block.renderFile()
    else:
        (found,) = clusterBlocks(latin, path)
        after = latin[: found.start] + block.render() + latin[found.end :]
    return evolve(
        planned,
        path=os.path.realpath(path),
        content=after.encode("latin-1"),
        mode=stat.S_IMODE(mode),
        owner=Owner(status.st_uid, status.st_gid),
        replaces=before,
    )


def _placeForBlock(home: Home, blocks: list[Element]) -> Element | None:
    """
    The block to replace; C{None} to add one.
    """
    path = home.conf
    if not home.isRealManager():
        raise ConfigError(
            _whatStands(blocks),
            path,
            "start the node with it as it is, or choose another home or move the file away",
        )
    if not blocks:
        return None
    if len(blocks) > 1 or _last(blocks, "disabled", "no") != "yes":
        raise ConfigError(_whatStands(blocks), path, "use it as it is, or edit it")
    try:
        checkKey(_last(blocks, "key", ""), path)
    except ConfigError:
        return blocks[0]
    raise ConfigError(
        f"{_whatStands(blocks)}, which is disabled and has a key",
        path,
        "write <disabled>no</disabled> in it, or remove the block",
    )


def _whatStands(blocks: list[Element]) -> str:
    if not blocks:
        return "there is a configuration already"
    role = _last(blocks, "node_type", "master")
    node = _last(blocks, "node_name", "node01")
    cluster = _last(blocks, "name", "wazuh")
    return f"there is a configuration already, for the {role} {node!r} of the cluster {cluster!r}"


def _last(blocks: list[Element], name: str, default: str) -> str:
    found = [element for block in blocks for element in block.named(name)]
    return found[-1].value if found else default
