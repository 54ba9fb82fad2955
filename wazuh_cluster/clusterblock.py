"""
The C{<cluster>} block as it is written: its elements, one by one, checked.
"""

from __future__ import annotations

from collections.abc import Iterable

from wazuh_cluster.configvalues import (
    MAKE_KEY,
    checkKey,
    parseHost,
    parseName,
    parsePort,
    parseYesOrNo,
)
from wazuh_cluster.errors import BadInput, ConfigError
from wazuh_cluster.knownkeys import whyGuessable, whyPublic
from wazuh_cluster.model import MASTER, WORKER
from wazuh_cluster.ossecconf import Element, readElements

DEFAULT_CLUSTER = "wazuh"
DEFAULT_NODE = "node01"
DEFAULT_PORT = 1516
DEFAULT_BIND = "0.0.0.0"

_KNOWN = frozenset(
    (
        "name",
        "node_name",
        "node_type",
        "key",
        "port",
        "bind_addr",
        "nodes",
        "hidden",
        "disabled",
        # Wazuh 3's and Wazuh 4.9's, which mean nothing here.
        "interval",
        "haproxy_helper",
    )
)


def clusterBlocks(text: str, where: str) -> list[Element]:
    """
    The C{<cluster>} blocks of a file, in their order.

    @raise ConfigError: if the file cannot be read.
    """
    roots = readElements(text.removeprefix("\ufeff"), where)
    blocks: list[Element] = []
    for root in roots:
        if root.name == "ossec_config":
            blocks.extend(root.named("cluster"))
        elif root.name == "cluster":
            raise ConfigError(
                "the <cluster> block stands outside of <ossec_config>",
                f"{where}, line {root.line}",
                "put <ossec_config> and </ossec_config> around it",
            )
    return blocks


class ClusterReader:
    """
    One file's C{<cluster>} blocks, element by element.

    @ivar warnings: what was found that works but should be changed.
    """

    def __init__(self, blocks: Iterable[Element], where: str) -> None:
        self._blocks = list(blocks)
        self._where = where
        self.warnings: list[str] = []

    def warn(self, where: str, what: str, remedy: str) -> None:
        """
        Keep a warning, in the words of an error.
        """
        self.warnings.append(str(BadInput(what, where, remedy)))

    def look(self) -> None:
        """
        Warn of what is odd about the blocks as such.
        """
        if len(self._blocks) > 1:
            lines = ", ".join(str(block.line) for block in self._blocks)
            self.warn(
                self._where,
                f"there are {len(self._blocks)} <cluster> blocks (lines {lines}), "
                "of which each element's last value counts",
                "keep one",
            )
        for block in self._blocks:
            if block.text == "":
                self.warn(
                    f"{self._where}, line {block.line}",
                    "Wazuh's own programs take a <cluster> block without white space between "
                    "its tags as no cluster",
                    "write each element on a line of its own",
                )
            for child in block.children:
                if child.name not in _KNOWN:
                    self.warn(
                        f"{self._where}, line {child.line}",
                        f"<{child.name}> is not an element of <cluster> and is ignored",
                        "remove it",
                    )

    def find(self, name: str) -> Element | None:
        """
        The last element of this name in any block.
        """
        found = [element for block in self._blocks for element in block.named(name)]
        return found[-1] if found else None

    def place(self, name: str) -> str:
        """
        Where an element stands, or would stand.
        """
        element = self.find(name)
        line = "" if element is None else f", line {element.line}"
        return f"{self._where}{line}, <{name}>"

    def value(self, name: str, default: str) -> str:
        """
        An element's text; C{default} without the element.
        """
        element = self.find(name)
        return default if element is None else element.value

    def name(self, element: str, default: str, kind: str) -> str:
        """
        A checked name.
        """
        return parseName(self.value(element, default), self.place(element), kind)

    def yesOrNo(self, element: str) -> bool:
        """
        A choice; C{no} without the element.
        """
        return parseYesOrNo(self.value(element, "no"), self.place(element))

    def nodeType(self) -> str:
        """
        The role that the file gives.
        """
        value = self.value("node_type", MASTER)
        if value == "client":
            self.warn(
                self.place("node_type"), "'client' is Wazuh 3's word for a worker", "write 'worker'"
            )
            return WORKER
        if value not in (MASTER, WORKER):
            raise ConfigError(
                f"{value[:40]!r} is not a node type",
                self.place("node_type"),
                "write 'master' or 'worker'",
            )
        return value

    def key(self, needed: bool) -> tuple[str, str | None]:
        """
        The key, and what is wrong with it as a secret; with C{needed} it must
        be usable.
        """
        value = self.value("key", "")
        if not needed:
            return value, None
        key = checkKey(value, self.place("key"))
        public = whyPublic(key)
        if public is not None:
            return key, str(BadInput(public, self.place("key"), MAKE_KEY))
        guessable = whyGuessable(key)
        if guessable is not None:
            self.warn(self.place("key"), guessable, MAKE_KEY)
        return key, None

    def port(self) -> int:
        """
        The port.
        """
        port = parsePort(self.value("port", str(DEFAULT_PORT)), self.place("port"))
        if not 1025 <= port <= 65534:
            self.warn(
                self.place("port"), f"Wazuh's own programs refuse {port}", "use 1025 to 65534"
            )
        return port

    def masters(self, needed: bool) -> tuple[str, ...]:
        """
        The addresses in C{<nodes>}; with C{needed}, all must be usable.
        """
        nodes = self.find("nodes")
        elements = [] if nodes is None else nodes.named("node")
        masters: list[str] = []
        for element in elements:
            place = f"{self._where}, line {element.line}, <node>"
            try:
                masters.append(parseHost(element.value, place))
            except ConfigError:
                if needed:
                    raise
        if needed and not masters:
            raise ConfigError(
                "a worker needs its master's address, and there is none",
                self.place("nodes"),
                "write <nodes><node>ADDRESS</node></nodes>",
            )
        if needed and len(masters) > 1:
            self.warn(
                self.place("nodes"),
                f"there are {len(masters)} nodes, of which the first, {masters[0]}, is the master",
                "keep that one",
            )
        return tuple(masters)
