"""
C{twistd wazuh-cluster}: from options and configuration to a service.

This is the composition root: the one module of the daemon that reads the
configuration and imports the reactor. It keeps nothing open: twistd forks after
L{makeService}.
"""

from __future__ import annotations

import os
import pwd
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
)
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import (
    ILogObserver,
    LogLevel,
)
from twisted.python import usage

from wazuh_cluster.agents import ClientKeysRegistrar, FileAssignments
from wazuh_cluster.agents.local import LocalAgents
from wazuh_cluster.agents.localtables import localDatabase
from wazuh_cluster.agents.store import SqliteAgentStore, fleetDatabase
from wazuh_cluster.config import Config, loadConfig
from wazuh_cluster.control import ControlService
from wazuh_cluster.daemon import (
    ENROLLMENT_OPTION,
    LISTEN_OPTION,
    NodeService,
    keepTime,
    portProblem,
    quietLog,
)
from wazuh_cluster.descriptors import descriptorsFor
from wazuh_cluster.endpoints import SaidEndpoint, readEndpoint, tryEndpoint
from wazuh_cluster.enrollment import OpenRequests
from wazuh_cluster.errors import BadInput, HomeError
from wazuh_cluster.home import (
    Home,
    addWorkingFolders,
    checkHome,
    checkHomeId,
    chooseOwner,
    defaultHome,
    managerVersion,
    requireFolder,
)
from wazuh_cluster.homelock import HomeLock
from wazuh_cluster.integrity import DirectoryTree, RealFileSystem
from wazuh_cluster.interfaces import IClusterTrust
from wazuh_cluster.journal import MAIN, Journal
from wazuh_cluster.log import ClusterLog, ClusterLogs, TerminalLog
from wazuh_cluster.logline import LineFormat, jsonLine, plainLine
from wazuh_cluster.model import MASTER, Identity, NodeName
from wazuh_cluster.notify import Supervised
from wazuh_cluster.pidfile import PidFile
from wazuh_cluster.protocol import codecsHere
from wazuh_cluster.renewal import Renewal
from wazuh_cluster.settings import Settings, loadSettings
from wazuh_cluster.state import DirectoryState
from wazuh_cluster.status import Trouble
from wazuh_cluster.threads import ThreadRunner
from wazuh_cluster.trust import KEY_LENGTH, ClusterKey, FileTrust
from wazuh_cluster.uptime import uptime

if TYPE_CHECKING:
    from wazuh_cluster.agents import IAgentSource, IAssignments
    from wazuh_cluster.enrollment import EnrollmentService
    from wazuh_cluster.master import MasterService
    from wazuh_cluster.web import WebService
    from wazuh_cluster.worker import WorkerService

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
        [
            "listen",
            None,
            None,
            "On a master: where workers connect, a Twisted endpoint, such as "
            "systemd:INET:name=cluster. [default: <bind_addr> and <port>]",
        ],
        [
            "enrollment",
            None,
            None,
            "Let agents enroll here: a Twisted endpoint, such as tcp:1515 or haproxy:tcp:1515.",
        ],
        [
            "http",
            None,
            None,
            "Show this node to browsers and to Prometheus: a Twisted endpoint, such as tcp:8080, "
            "on this machine's own address unless it names another.",
        ],
    ]
    optFlags = [
        [
            "as-clusterd",
            None,
            "Be what Wazuh's scripts expect: a process id in var/run/wazuh-clusterd-ID.pid, and "
            "in the foreground the cluster's own log on standard output.",
        ],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["verbose"] = 0

    def opt_verbose(self) -> None:
        """
        Write debug lines to logs/cluster.log too; twice for those of Twisted as well.
        """
        self["verbose"] += 1

    opt_v = opt_verbose

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
                _removeStale(home.pidFile)


def _removeStale(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SystemExit(
            f"{path}: what an earlier node left cannot be removed ({error.strerror}): remove it"
        ) from None


def makeService(options: Options) -> IService:
    """
    The service of a node.

    @raise SystemExit: with one line if it cannot be run; with status 0 if the
        configuration says that there is to be no cluster.
    """
    keepTime(_theReactor())
    home = Home(options["home"])
    try:
        checkHome(home, _mayWrite(options))
        config, settings = _readConfiguration(home, options["config"], options["role"])
        if config.disabled:
            sys.stdout.write(
                f"{config.path}: the cluster is disabled (<disabled>yes): nothing to run.\n"
            )
            raise SystemExit(0)
        trust = _trust(home, config, settings)
        addWorkingFolders(home, chooseOwner(home, os.geteuid()))
        options.lock.acquire()
        checkHomeId(home)
        _checkPidFile(options)
        endpoint = _serverEndpoint(_theReactor(), config, options["listen"])
        agents = LocalAgents(
            localDatabase(home.localAgentsDatabase), ThreadRunner(_theReactor(), "local-agents")
        )
        node = _node(home, config, settings, trust, agents, endpoint)
        listener = _listener(options["enrollment"], home, config, node)
        web = _web(options["http"], home, config, settings, node)
    except BadInput as problem:
        raise SystemExit(str(problem)) from None
    log, terminal = _logs(home, config, options)
    reactor = _theReactor()
    renewal = None
    if isinstance(trust, FileTrust):
        renewal = Renewal(trust, ThreadRunner(reactor, "certificates"), Journal(MAIN))
    parent: Any = options.parent or {}
    background = options.parent is not None and not parent.get("nodaemon")
    told = any(parent.get(each) for each in ("logfile", "logger", "syslog"))
    twistdLog: Callable[[], ILogObserver] | None = None
    if background and not told:
        twistdLog = partial(quietLog, home.join("logs/twistd.log"))
    elif options["as-clusterd"] and not told:
        twistdLog = partial(TerminalLog, sys.stdout, terminal)
    service = NodeService(
        reactor,
        node,
        log,
        config,
        options.lock,
        background,
        twistdLog,
        renewal,
        descriptorsFor(
            settings.limits, config.role == MASTER, 0 if listener is None else listener.most
        ),
        listener,
        _supervised(config, node, listener),
    )
    # After the node: local programs are answered once there is one.
    ControlService.forHome(
        reactor, home.path, node.requests, reports=agents, uptime=uptime
    ).setServiceParent(service)
    if web is not None:
        web.setServiceParent(service)
    if options["as-clusterd"]:
        # The last one: what finds it finds a node that was started.
        PidFile(reactor, home).setServiceParent(service)
    return service


def checkConfiguration(home: Home, path: str) -> Config:
    """
    See that a node could be run with a configuration, and all that belongs to it.

    @param path: that of C{ossec.conf}.
    @raise BadInput: if not.
    """
    requireFolder(home)
    config, settings = _readConfiguration(home, path, None)
    if not config.disabled:
        _trust(home, config, settings)
    return config


def _readConfiguration(home: Home, path: str, role: str | None) -> tuple[Config, Settings]:
    """
    What C{ossec.conf} and our own settings say; these are not read if the first
    says that there is to be no cluster.
    """
    config = loadConfig(path, home=home.path, role=role, keyNeeded=False)
    if config.disabled:
        return config, Settings()
    settings = loadSettings(home.settings)
    if settings.certificates is None:
        config = loadConfig(path, home=home.path, role=role)
    return config, settings


def _logs(home: Home, config: Config, options: Options) -> tuple[ClusterLogs, LineFormat]:
    """
    The logs in files, and the lines for a terminal.
    """
    tag = "Master" if config.role == MASTER else f"Worker {config.nodeName}"
    level = LogLevel.debug if options["verbose"] else LogLevel.info
    strangers = LogLevel.debug if options["verbose"] > 1 else LogLevel.warn
    files = [(home.log, plainLine)]
    if config.jsonLog:
        files.append((home.jsonLog, jsonLine))
    logs = ClusterLogs(
        [
            ClusterLog(path, tag, level=level, strangersLevel=strangers, render=each)
            for path, each in files
        ]
    )
    terminal = LineFormat(tag, level, strangersLevel=strangers)
    if len(config.key) == KEY_LENGTH:
        logs.hide(config.key)
        terminal.hide(config.key)
    return logs, terminal


def _trust(home: Home, config: Config, settings: Settings) -> ClusterKey | FileTrust:
    """
    What the node is trusted for: its certificate, if it has one, else the key.
    """
    files = settings.certificatesIn(home.path)
    if files is None:
        return ClusterKey(config.key, where=f"{config.path}, <key>")
    trust = FileTrust(files, Identity(config.clusterName, config.role, config.nodeName))
    # Only to refuse mistakes while there is a terminal to say so on: what is
    # used is read in privilegedStartService.
    trust.read()
    return trust


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


def _node(
    home: Home,
    config: Config,
    settings: Settings,
    trust: ClusterKey | IClusterTrust,
    agents: IAgentSource,
    endpoint: IStreamServerEndpoint | None,
) -> MasterService | WorkerService:
    """
    The master or worker that a configuration describes.

    @param endpoint: where a master listens.
    """
    reactor = _theReactor()
    files = settings.certificatesIn(home.path)
    tree = DirectoryTree(
        home.path,
        settings.items,
        algorithm=settings.algorithm,
        followInto=[os.fsencode(folder) for folder in settings.followedFolders],
        private=[] if files is None else [path for _, path in files.named()],
    )
    name = NodeName(config.nodeName)
    codecs = codecsHere() if settings.compression else ()
    if endpoint is not None:
        from wazuh_cluster.master import MasterService
        from wazuh_cluster.master.service import INTERVAL as MASTER_INTERVAL

        assignments = FileAssignments(
            RealFileSystem(), home.path, ThreadRunner(reactor, "assignments")
        )
        runner = ThreadRunner(reactor, "agents")
        store = SqliteAgentStore(fleetDatabase(home.agentsDatabase), runner)
        registrar = _registrar(home, config, assignments)
        master = MasterService(
            reactor,
            name,
            trust,
            endpoint,
            tree,
            cluster=config.clusterName,
            openRequests=OpenRequests(home.path),
            registrar=registrar,
            store=store,
            agents=agents,
            disconnectionTime=config.disconnectionTime,
            assignments=assignments,
            administrators=settings.administrators,
            limits=settings.limits,
            codecs=codecs,
            integrityInterval=settings.interval or MASTER_INTERVAL,
            wazuhVersion=managerVersion(home),
            address=config.masters[0] if config.masters else config.bindAddr,
            troubles=_troubles(config),
        )
        # The records know how long an agent has been silent.
        registrar.counsel.times = master.agents.times
        return master
    from wazuh_cluster.resolver import DaemonResolver
    from wazuh_cluster.worker import WorkerService
    from wazuh_cluster.worker.service import INTERVAL as WORKER_INTERVAL

    reactor.installNameResolver(DaemonResolver(reactor))
    return WorkerService(
        reactor,
        name,
        trust,
        HostnameEndpoint(reactor, config.masters[0], config.port),
        tree,
        masterAddress=f"{config.masters[0]}, port {config.port}",
        agents=agents,
        cluster=config.clusterName,
        openRequests=OpenRequests(home.path),
        limits=settings.limits,
        codecs=codecs,
        integrityInterval=settings.interval or WORKER_INTERVAL,
        wazuhVersion=managerVersion(home),
        troubles=_troubles(config),
    )


def _troubles(config: Config) -> list[Trouble]:
    """
    What is wrong with a configuration, and does not keep the node from running.
    """
    if config.keyProblem is None:
        return []
    return [Trouble("KEY_IS_PUBLIC", config.keyProblem)]


def _registrar(home: Home, config: Config, assignments: IAssignments) -> ClientKeysRegistrar:
    """
    What registers agents on a master.
    """
    reactor, fileSystem = _theReactor(), RealFileSystem()
    return ClientKeysRegistrar(
        home.path,
        ThreadRunner(reactor, "registrar"),
        reactor,
        DirectoryState(fileSystem, home.stateFolder),
        fileSystem=fileSystem,
        rules=config.auth.force,
        hostName=socket.gethostname(),
        purge=config.auth.purge,
        silence=config.disconnectionTime,
        assignments=assignments,
    )


def _web(
    text: str | None,
    home: Home,
    config: Config,
    settings: Settings,
    node: MasterService | WorkerService,
) -> WebService | None:
    """
    What the node shows over HTTP, if it is to show anything.

    @param text: the endpoint, as an option.
    @raise BadInput: if something stands in its way.
    """
    if text is None:
        return None
    from wazuh_cluster.web import Access, WebService
    from wazuh_cluster.web.endpoint import HTTP_OPTION, readWebEndpoint
    from wazuh_cluster.web.token import readToken

    token = None
    if settings.tokenFile is not None:
        token = readToken(os.path.join(home.path, settings.tokenFile))
    reactor = _theReactor()
    endpoint = readWebEndpoint(reactor, text, token is not None, home.settings)
    tryEndpoint(endpoint.text, HTTP_OPTION)
    access = Access((*settings.hosts, endpoint.interface), token, endpoint.secure)
    return WebService(reactor, endpoint, node.requests, node.status.tally, access, config.shown())


def _listener(
    text: str | None, home: Home, config: Config, node: MasterService | WorkerService
) -> EnrollmentService | None:
    """
    Where agents enroll, if they are to do so here.

    @param text: the endpoint, as an option.
    @raise BadInput: if something stands in its way.
    """
    if text is None:
        return None
    from wazuh_cluster.enrollment import EnrollmentService
    from wazuh_cluster.enrollment.service import checkCertificate

    reactor = _theReactor()
    endpoint = readEndpoint(reactor, text, ENROLLMENT_OPTION)
    tryEndpoint(text, ENROLLMENT_OPTION)
    checkCertificate(config.auth, home.path)
    enroller = node.enroller
    assert enroller is not None, "every node of the daemon has a registrar, or a master"
    return EnrollmentService(reactor, endpoint, enroller, config.auth, home.path)


def _serverEndpoint(reactor: Any, config: Config, text: str | None) -> IStreamServerEndpoint | None:
    """
    Where a master listens; C{None} for a worker.

    @param text: the endpoint, as an option.
    @raise BadInput: if that cannot be.
    """
    if config.role != MASTER:
        if text is not None:
            raise BadInput("a worker does not listen", LISTEN_OPTION, "leave it out")
        return None
    if text is not None:
        tryEndpoint(text, LISTEN_OPTION)
        return readEndpoint(reactor, text, LISTEN_OPTION)
    _checkPort(config)
    kind = TCP6ServerEndpoint if ":" in config.bindAddr else TCP4ServerEndpoint
    return SaidEndpoint(
        kind(reactor, config.port, backlog=_BACKLOG, interface=config.bindAddr),
        lambda error: BadInput(*portProblem(config, error)),
    )


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


def _checkPidFile(options: Options) -> None:
    """
    See that twistd can write its process id, which it does with a traceback if
    the disk is full.
    """
    parent: Any = options.parent or {}
    path = parent.get("pidfile")
    if not path:
        return
    trial = f"{path}.{os.getpid()}.tmp"
    try:
        try:
            with open(trial, "wb") as file:
                file.write(b"%d" % os.getpid())
        finally:
            with suppress(FileNotFoundError):
                os.unlink(trial)
    except OSError as error:
        raise BadInput(
            f"the process id cannot be kept ({error.strerror})",
            path,
            "make room, or give twistd another --pidfile",
        ) from None


def _supervised(
    config: Config, node: MasterService | WorkerService, listener: EnrollmentService | None
) -> Supervised | None:
    """
    What tells a service manager of the node, if one is there to be told.
    """
    from wazuh_cluster.worker import WorkerService

    who = f"{config.role.capitalize()} {config.nodeName} of {config.clusterName}"

    def describe() -> str:
        if not isinstance(node, WorkerService):
            joined = len(node.statuses())
            return f"{who}: {joined} {'worker is' if joined == 1 else 'workers are'} joined."
        master = node.master
        return f"{who}: " + ("no link." if master is None else f"joined to {master.name}.")

    waits = [] if isinstance(node, WorkerService) else [node.whenListening]
    if listener is not None:
        waits.append(listener.whenListening)
    return Supervised.fromEnvironment(_theReactor(), os.environ, describe, waits)


def _theReactor() -> Any:
    """
    Imported here, for twistd may still be told to install another.
    """
    from twisted.internet import reactor

    return reactor
