"""
C{twistd wazuh-cluster}: from options and configuration to a service.

This is the composition root: the one module of the daemon that reads the
configuration and imports the reactor. It opens nothing: twistd forks after
L{makeService}.
"""

from __future__ import annotations

import os
import pwd
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.application.service import IService
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
)
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import (
    LogLevel,
)
from twisted.python import usage

from wazuh_cluster.agents.local import LocalAgents
from wazuh_cluster.agents.localtables import localDatabase
from wazuh_cluster.agents.store import SqliteAgentStore, fleetDatabase
from wazuh_cluster.config import Config, loadConfig
from wazuh_cluster.daemon import NodeService, portProblem
from wazuh_cluster.defaults import threadRunners
from wazuh_cluster.errors import BadInput, HomeError
from wazuh_cluster.home import Home, addWorkingFolders, checkHome, checkHomeId, chooseOwner
from wazuh_cluster.homelock import HomeLock
from wazuh_cluster.integrity import DirectoryTree
from wazuh_cluster.log import ClusterLog
from wazuh_cluster.model import MASTER, NodeName
from wazuh_cluster.scripts.homeoptions import defaultHome
from wazuh_cluster.settings import Settings, loadSettings
from wazuh_cluster.trust import ClusterKey

#: Connections that the system keeps until the master takes them: as many
#: workers can come back at once.
_BACKLOG = 512


class Options(usage.Options):
    """
    What C{twistd wazuh-cluster} takes.
    """

    synopsis = "[options]"
    longdesc = (
        "Run a node of a Wazuh cluster. What it is, is read from the <cluster> block of "
        "etc/ossec.conf in its home; what it does, is written to logs/cluster.log there."
    )
    optParameters = [
        ["role", None, None, "master or worker, whatever <node_type> says."],
        ["home", None, None, "The manager's folder. [default: $WAZUH_HOME, then /var/ossec]"],
        ["config", None, None, "The configuration. [default: etc/ossec.conf in the home]"],
    ]
    optFlags = [["verbose", "v", "Write debug lines to logs/cluster.log too."]]

    def postOptions(self) -> None:
        """
        Complete the options, and with them twistd's own: its defaults are for
        one program on a machine, in the current folder.
        """
        if self["role"] not in (None, "master", "worker"):
            raise SystemExit(f"--role: {self['role']!r} is not a role: use master or worker")
        home = Home(self["home"] or defaultHome(os.environ))
        self["home"] = home.path
        if self["config"] is None:
            self["config"] = home.conf
        self.lock = HomeLock(home)
        try:
            locked = self.lock.acquire()
        except HomeError as problem:
            raise SystemExit(str(problem)) from None
        parent = self.parent
        if parent is None:
            return
        if parent.get("pidfile") == "twistd.pid" and os.path.isdir(home.runFolder):
            parent["pidfile"] = home.pidFile
            if locked:
                # Nobody runs here, whatever a process that was killed left.
                with suppress(OSError):
                    os.unlink(home.pidFile)


def makeService(options: Options) -> IService:
    """
    The service of a node.

    @raise SystemExit: with one line if it cannot be run; with status 0 if the
        configuration says that there is to be no cluster.
    """
    home = Home(options["home"])
    try:
        checkHome(home, _mayWrite(options))
        config = loadConfig(options["config"], home=home.path, role=options["role"])
        if config.disabled:
            sys.stdout.write(
                f"{config.path}: the cluster is disabled (<disabled>yes): nothing to run.\n"
            )
            raise SystemExit(0)
        settings = loadSettings(home.settings)
        key = ClusterKey(config.key, where=f"{config.path}, <key>")
        addWorkingFolders(home, chooseOwner(home, os.geteuid()))
        options.lock.acquire()
        checkHomeId(home)
        if config.role == MASTER:
            _checkPort(config)
    except BadInput as problem:
        raise SystemExit(str(problem)) from None
    tag = "Master" if config.role == MASTER else f"Worker {config.nodeName}"
    log = ClusterLog(home.log, tag, level=LogLevel.debug if options["verbose"] else LogLevel.info)
    log.hide(config.key)
    parent: Any = options.parent or {}
    background = options.parent is not None and not parent.get("nodaemon")
    told = any(parent.get(each) for each in ("logfile", "logger", "syslog"))
    twistdLog = home.join("logs/twistd.log") if background and not told else None
    return NodeService(
        _theReactor(),
        _node(home, config, settings, key),
        log,
        config,
        options.lock,
        background,
        twistdLog,
    )


def _mayWrite(options: Options) -> Callable[[str], bool] | None:
    """
    Whether the user to whom twistd switches may make files in a folder;
    C{None} if it does not switch.
    """
    parent = options.parent
    if parent is None or parent.get("uid") is None or os.geteuid() != 0:
        return None
    uid = parent["uid"]
    gid = parent.get("gid")
    if gid is None:
        try:
            gid = pwd.getpwuid(uid).pw_gid
        except KeyError:
            gid = -1

    def mayWrite(folder: str) -> bool:
        status = os.stat(folder)
        bits = 0o300 if status.st_uid == uid else 0o030 if status.st_gid == gid else 0o003
        return uid == 0 or status.st_mode & bits == bits

    return mayWrite


def _node(home: Home, config: Config, settings: Settings, key: ClusterKey) -> IService:
    """
    The master or worker that a configuration describes.
    """
    reactor = _theReactor()
    tree = DirectoryTree(
        home.path,
        settings.items,
        algorithm=settings.algorithm,
        followInto=[os.fsencode(folder) for folder in settings.followedFolders],
    )
    name = NodeName(config.nodeName)
    makeRunner = threadRunners(reactor)
    agents = LocalAgents(localDatabase(home.localAgentsDatabase), makeRunner("local-agents"))
    if config.role == MASTER:
        from wazuh_cluster.master import MasterService
        from wazuh_cluster.master.service import INTERVAL as MASTER_INTERVAL

        return MasterService(
            reactor,
            name,
            key,
            _serverEndpoint(reactor, config),
            tree,
            cluster=config.clusterName,
            store=SqliteAgentStore(fleetDatabase(home.agentsDatabase), makeRunner("agents")),
            agents=agents,
            disconnectionTime=config.disconnectionTime,
            limits=settings.limits,
            integrityInterval=settings.interval or MASTER_INTERVAL,
        )
    from wazuh_cluster.resolver import DaemonResolver
    from wazuh_cluster.worker import WorkerService
    from wazuh_cluster.worker.service import INTERVAL as WORKER_INTERVAL

    reactor.installNameResolver(DaemonResolver(reactor))
    return WorkerService(
        reactor,
        name,
        key,
        HostnameEndpoint(reactor, config.masters[0], config.port),
        tree,
        masterAddress=f"{config.masters[0]}, port {config.port}",
        agents=agents,
        cluster=config.clusterName,
        limits=settings.limits,
        integrityInterval=settings.interval or WORKER_INTERVAL,
    )


def _serverEndpoint(reactor: Any, config: Config) -> IStreamServerEndpoint:
    kind = TCP6ServerEndpoint if ":" in config.bindAddr else TCP4ServerEndpoint
    return kind(reactor, config.port, backlog=_BACKLOG, interface=config.bindAddr)


def _checkPort(config: Config) -> None:
    """
    See that the port can be opened, while there is a terminal to say so on.
    """
    family = socket.AF_INET6 if ":" in config.bindAddr else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((config.bindAddr, config.port))
            probe.listen(1)
    except OSError as error:
        raise BadInput(*portProblem(config, error)) from None


def _theReactor() -> Any:
    """
    Imported here, for twistd may still be told to install another.
    """
    from twisted.internet import reactor

    return reactor
