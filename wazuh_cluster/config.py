"""
From C{ossec.conf} to a checked, frozen L{Config}.

The C{<cluster>} and C{<auth>} blocks are those that Wazuh 4.x reads. Where one
stands more than once, each element's last value counts.
"""

from __future__ import annotations

import os

from attrs import field, frozen

from wazuh_cluster.authblock import AuthReader, authBlocks
from wazuh_cluster.authsettings import AuthSettings
from wazuh_cluster.clusterblock import (
    DEFAULT_BIND,
    DEFAULT_CLUSTER,
    DEFAULT_NODE,
    DEFAULT_PORT,
    ClusterReader,
    clusterBlocks,
)
from wazuh_cluster.configvalues import parseBind
from wazuh_cluster.errors import ConfigError
from wazuh_cluster.globalblock import DEFAULT_DISCONNECTION_TIME, disconnectionTime
from wazuh_cluster.home import Home
from wazuh_cluster.loggingblock import logFormats
from wazuh_cluster.model import MASTER, WORKER


@frozen
class Config:
    """
    What a node is told by its C{ossec.conf}, checked.

    @ivar home: the home folder, absolute.
    @ivar path: the file that was read, for people.
    @ivar clusterName: the cluster's name.
    @ivar nodeName: this node's name.
    @ivar role: L{MASTER} or L{WORKER}.
    @ivar key: 32 letters and digits; unchecked, perhaps empty, if C{disabled}
        or not needed.
    @ivar port: where the master listens and workers dial.
    @ivar bindAddr: the IPv4 or IPv6 address on which a master listens.
    @ivar masters: addresses of the master, IPv6 without brackets. A worker
        uses the first; never empty for one that is not C{disabled}.
    @ivar hidden: whether Wazuh's alerts leave out where they came from.
    @ivar disconnectionTime: after how many seconds without a word an agent
        counts as disconnected.
    @ivar disabled: whether the block says that there is to be no cluster.
    @ivar keyProblem: one line if the key is known to everybody: the node runs,
        and shows this as an error.
    @ivar jsonLog: whether Wazuh's programs are to write their logs as JSON too.
    @ivar auth: how agents enroll; Wazuh's defaults if C{disabled}.
    @ivar warnings: one line each, for the log.
    """

    home: str
    path: str
    clusterName: str
    nodeName: str
    role: str
    key: str = field(repr=False)
    port: int = DEFAULT_PORT
    bindAddr: str = DEFAULT_BIND
    masters: tuple[str, ...] = ()
    hidden: bool = False
    disconnectionTime: float = DEFAULT_DISCONNECTION_TIME
    disabled: bool = False
    keyProblem: str | None = None
    jsonLog: bool = False
    auth: AuthSettings = field(factory=AuthSettings)
    warnings: tuple[str, ...] = ()

    def shown(self) -> dict[str, object]:
        """
        The C{<cluster>} block as Wazuh's API says it, without the key.
        """
        return {
            "name": self.clusterName,
            "node_name": self.nodeName,
            "node_type": self.role,
            "port": self.port,
            "bind_addr": self.bindAddr,
            "nodes": list(self.masters),
            "hidden": "yes" if self.hidden else "no",
            "disabled": self.disabled,
        }

    def requireEnabled(self) -> Config:
        """
        Return this configuration.

        @raise ConfigError: if the cluster is disabled.
        """
        if self.disabled:
            raise ConfigError(
                "the cluster is disabled",
                f"{self.path}, <disabled>",
                "write <disabled>no</disabled> in the <cluster> block",
            )
        return self


def loadConfig(path: str, *, home: str, role: str | None = None, keyNeeded: bool = True) -> Config:
    """
    Read and check a configuration file.

    @param home: the home folder; decides whether this is a real manager.
    @param role: see L{readConfig}.
    @param keyNeeded: likewise.

    @raise ConfigError: if it cannot be read or used.
    """
    text, mode = readText(path)
    return readConfig(
        text,
        path,
        home=home,
        role=role,
        realManager=Home(home).isRealManager(),
        readableByAll=bool(mode & 0o004),
        keyNeeded=keyNeeded,
    )


def readText(path: str) -> tuple[str, int]:
    """
    A configuration file's text and its mode. What is not UTF-8 is taken as
    Latin-1.

    @raise ConfigError: if it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
            mode = os.fstat(file.fileno()).st_mode
    except FileNotFoundError:
        raise ConfigError(
            "there is no such file",
            path,
            "make one with 'wazuh-cluster init', or name another home or file",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"it cannot be read ({error.strerror})", path, "let this user read it"
        ) from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        raise ConfigError("it is not plain text", path, "save it as UTF-8")
    try:
        return content.decode("utf-8"), mode
    except UnicodeDecodeError:
        return content.decode("latin-1"), mode


def readConfig(
    text: str,
    where: str,
    *,
    home: str,
    role: str | None = None,
    realManager: bool = False,
    readableByAll: bool = False,
    keyNeeded: bool = True,
) -> Config:
    """
    Check a configuration.

    @param text: the whole of C{ossec.conf}.
    @param where: its name, for errors.
    @param role: what the node is to be, whatever C{<node_type>} says.
    @param realManager: whether Wazuh's own programs read this file too: then
        C{role} must not disagree with it.
    @param readableByAll: whether the file's mode lets everybody read the key.
    @param keyNeeded: whether nodes trust each other because of the key; if not,
        it may be missing, and nobody judges it.

    @raise ConfigError: one line that says what is wrong, where, and what to do.
    """
    blocks = clusterBlocks(text, where)
    if not blocks:
        raise ConfigError(
            "there is no <cluster> block",
            where,
            "add one inside <ossec_config>, or let 'wazuh-cluster init' write one",
        )
    reader = ClusterReader(blocks, where)
    reader.look()
    if readableByAll and keyNeeded:
        reader.warn(where, "everybody on this machine can read the key", f"chmod 0640 {where}")
    disabled = reader.yesOrNo("disabled")
    written = reader.nodeType()
    if role is None:
        role = written
    elif role not in (MASTER, WORKER):
        raise ConfigError(f"{role!r} is not a role", "--role", "use master or worker")
    elif role != written and realManager:
        raise ConfigError(
            f"it says {written}, --role says {role}, and Wazuh's own programs go by the file",
            reader.place("node_type"),
            f"write <node_type>{role}</node_type>, or leave --role out",
        )
    key, keyProblem = reader.key(keyNeeded and not disabled)
    auth = AuthReader(authBlocks(text, where), where)
    auth.look()
    return Config(
        home=Home(home).path,
        path=where,
        clusterName=reader.name("name", DEFAULT_CLUSTER, "cluster name"),
        nodeName=reader.name("node_name", DEFAULT_NODE, "node name"),
        role=role,
        key=key,
        port=reader.port(),
        bindAddr=parseBind(reader.value("bind_addr", DEFAULT_BIND), reader.place("bind_addr")),
        masters=reader.masters(role == WORKER and not disabled),
        hidden=reader.yesOrNo("hidden"),
        disconnectionTime=disconnectionTime(text, where),
        disabled=disabled,
        keyProblem=keyProblem,
        jsonLog="json" in logFormats(text, where),
        auth=AuthSettings() if disabled else auth.settings(),
        # Last, because reading the values above adds to them.
        warnings=(*reader.warnings, *auth.warnings),
    )
