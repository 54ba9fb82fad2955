"""
C{wazuh-cluster init}: makes a node's home and its C{<cluster>} block.

Everything is checked before anything is written. The cluster key is read from
a file or made here; it is never taken on the command line and never shown. A
node whose settings name a certificate needs none.
"""

from __future__ import annotations

import os
import secrets
import shlex
import sys
from collections.abc import Callable
from typing import BinaryIO

from attrs import field, frozen
from twisted.python import usage

from wazuh_cluster.clusterblock import DEFAULT_BIND, DEFAULT_CLUSTER, DEFAULT_PORT, clusterBlocks
from wazuh_cluster.config import readConfig
from wazuh_cluster.configvalues import checkKey, parseBind, parseHost, parseName, parsePort
from wazuh_cluster.errors import BadKey, ConfigError, HomeError
from wazuh_cluster.home import Home, chooseOwner, makeHome, unmakeFolders
from wazuh_cluster.knownkeys import whyGuessable, whyPublic
from wazuh_cluster.model import MASTER, WORKER
from wazuh_cluster.newconf import ClusterBlock, planConf
from wazuh_cluster.plannedfile import writePlanned
from wazuh_cluster.scripts.homeoptions import HomeOptions

_LARGEST_KEY_FILE = 16 * 1024 * 1024
_MAKE_KEY = "make one with 'openssl rand -hex 16' or by 'wazuh-cluster init' on the master"


class InitOptions(HomeOptions):
    """
    Options of C{init}.
    """

    longdesc = (
        "Makes a home with Wazuh's folders and an etc/ossec.conf with a <cluster> block. "
        "It never overwrites a configuration; to a Wazuh manager's it adds the block "
        "if none is in use."
    )
    optParameters = [
        ["role", None, None, "master or worker"],
        ["node-name", None, None, "This node's name, unique in the cluster"],
        ["cluster-name", None, None, f"The cluster's name [default: {DEFAULT_CLUSTER}]"],
        [
            "key-file",
            None,
            None,
            "A file with the cluster key, or another node's ossec.conf; - is standard input",
        ],
        ["master", None, None, "The master's address or DNS name"],
        ["port", None, str(DEFAULT_PORT), "Where the master listens"],
        ["bind-addr", None, DEFAULT_BIND, "The address on which the master listens"],
    ]

    def postOptions(self) -> None:
        """
        Check what can be checked without looking at anything.
        """
        if self["role"] not in (MASTER, WORKER):
            raise usage.UsageError("--role: choose master or worker")
        if self["node-name"] is None:
            raise usage.UsageError("--node-name: name this node")
        if self["role"] == WORKER and self["master"] is None:
            raise usage.UsageError("--master: a worker needs its master's address")


@frozen
class KeyFile:
    """
    What a key file says.

    @ivar key: the key, checked.
    @ivar cluster: the cluster's name, if the file is an C{ossec.conf}.
    """

    key: str = field(repr=False)
    cluster: str | None = None


def readKeyFile(path: str, standardInput: BinaryIO) -> KeyFile:
    """
    Take the cluster key from a file.

    @param path: C{"-"} for the standard input.

    @raise BadKey: if it holds none, or one that everybody knows.
    """
    where = "standard input" if path == "-" else path
    try:
        if path == "-":
            content = standardInput.read(_LARGEST_KEY_FILE + 1)
        else:
            with open(path, "rb") as file:
                content = file.read(_LARGEST_KEY_FILE + 1)
    except OSError as error:
        raise BadKey(
            f"it cannot be read ({error.strerror})", where, "name a file that holds the key"
        ) from None
    if len(content) > _LARGEST_KEY_FILE:
        raise BadKey("it is too large for a key file", where, "name a file that holds the key")
    text = content.decode("latin-1").removeprefix("\xef\xbb\xbf").strip()
    cluster = None
    try:
        if "<" in text:
            text, cluster, where = _fromConf(text, where)
        key = checkKey(text, where)
    except ConfigError as error:
        raise BadKey(error.what, error.where, error.remedy) from None
    public = whyPublic(key)
    if public is not None:
        raise BadKey(public, where, _MAKE_KEY)
    return KeyFile(key=key, cluster=cluster)


def _fromConf(text: str, where: str) -> tuple[str, str | None, str]:
    """
    Key, cluster name and place of the key in an C{ossec.conf}.
    """
    values: dict[str, str] = {}
    for block in clusterBlocks(text, where):
        for element in block.children:
            values[element.name] = element.value
    return values.get("key", ""), values.get("name"), f"{where}, <key>"


def run(options: InitOptions) -> int:
    """
    Make the home.
    """
    initialise(options, sys.stdin.buffer)
    return 0


def initialise(
    options: InitOptions,
    standardInput: BinaryIO,
    makeKey: Callable[[int], str] = secrets.token_hex,
    effectiveUser: Callable[[], int] = os.geteuid,
) -> None:
    """
    Check everything, then make the home and say what to do next.

    @raise BadInput: if something is wrong; then nothing was made.
    """
    home = options.home
    keyFile = None
    keyNeeded = True
    if options["key-file"] is not None:
        keyFile = readKeyFile(options["key-file"], standardInput)
    elif _hasCertificate(home):
        keyNeeded = False
    elif options["role"] == WORKER:
        raise BadKey(
            "a worker needs the cluster key of its master",
            "--key-file",
            "copy the master's etc/ossec.conf here and name it, or pass it on standard input "
            "with '--key-file -'",
        )
    block = ClusterBlock(
        name=parseName(
            options["cluster-name"] or (keyFile and keyFile.cluster) or DEFAULT_CLUSTER,
            "--cluster-name",
            "cluster name",
        ),
        nodeName=parseName(options["node-name"], "--node-name", "node name"),
        role=options["role"],
        key=keyFile.key if keyFile is not None else makeKey(16) if keyNeeded else "",
        port=parsePort(options["port"], "--port"),
        bindAddr=parseBind(options["bind-addr"], "--bind-addr"),
        master=parseHost(options["master"] or _ownAddress(options["bind-addr"]), "--master"),
    )
    # Whatever was overlooked above is found before anything is written.
    readConfig(block.renderFile(), "the new ossec.conf", home=home.path, keyNeeded=bool(block.key))
    _requireUsable(home)
    owner = chooseOwner(home, effectiveUser())
    planned = planConf(home, block, owner)
    made = makeHome(home, owner)
    try:
        writePlanned(planned)
    except BaseException:
        unmakeFolders(made)
        raise
    _report(home, block, keyFile, added=planned.replaces is not None)


def _hasCertificate(home: Home) -> bool:
    """
    Whether the settings of a home say that its node is trusted for a
    certificate: then it needs no key.
    """
    if not os.path.isfile(home.settings):
        return False
    # Brings the protocol, and with it TLS, which a new home does not need.
    from wazuh_cluster.settings import loadSettings

    return loadSettings(home.settings).certificates is not None


def _ownAddress(bindAddr: str) -> str:
    """
    What a master writes as the master's address: Wazuh's programs want one,
    but on the master none of them dials it.
    """
    return "127.0.0.1" if bindAddr in ("0.0.0.0", "::", "[::]") else bindAddr


def _requireUsable(home: Home) -> None:
    if home.path == "/":
        raise HomeError("the root of all files is no home", "--home", "name a folder of its own")
    if os.path.lexists(home.path) and not os.path.isdir(home.path):
        raise HomeError("it is not a folder", home.path, "name a folder by --home")


def _report(home: Home, block: ClusterBlock, keyFile: KeyFile | None, *, added: bool) -> None:
    """
    Say what was made and what comes next.
    """
    where = shlex.quote(home.path)
    conf = shlex.quote(home.conf)
    verb = "Added a <cluster> block to" if added else "Made"
    print(f"{verb} {conf}: the {block.role} {block.nodeName!r} of the cluster {block.name!r}.")
    weak = None if keyFile is None else whyGuessable(block.key)
    if weak is not None:
        print(f"Warning: {weak}: {_MAKE_KEY}.")
    if not block.key:
        print("It has no cluster key: nodes trust each other for their certificates.")
    elif block.role == MASTER:
        whose = "A new random cluster key is" if keyFile is None else "The cluster key is"
        print(f"{whose} in that file; whoever reads it can join.")
        print("To make a worker, copy the file to its machine over a safe way, and there:")
        print(
            "  wazuh-cluster init --role worker --node-name NAME --master ADDRESS"
            f"{_unless(block.port, DEFAULT_PORT, '--port')} --key-file COPY-OF-OSSEC.CONF"
        )
    print("To start this node:")
    print(f"  twistd --pidfile {shlex.quote(home.pidFile)} wazuh-cluster --home {where}")


def _unless(value: int, default: int, option: str) -> str:
    return "" if value == default else f" {option} {value}"
