"""
The daemon around a node: its log, its signals, and one line when it cannot
start.
"""

from __future__ import annotations

import errno
import signal
import time
from collections.abc import Callable
from typing import Any, NoReturn

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
    globalLogPublisher,
    textFileLogObserver,
)
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile

from wazuh_cluster import memory
from wazuh_cluster.config import Config
from wazuh_cluster.descriptors import allowDescriptors
from wazuh_cluster.errors import BadInput, HomeError
from wazuh_cluster.homelock import HomeLock
from wazuh_cluster.journal import MAIN, Journal
from wazuh_cluster.log import ClusterLogs
from wazuh_cluster.notify import Supervised
from wazuh_cluster.periodic import Periodic
from wazuh_cluster.renewal import Renewal
from wazuh_cluster.threads import callReactor


def quietLog(path: str) -> ILogObserver:
    """
    What twistd writes in the background unless it is told otherwise: warnings
    and worse, for what happens before and beside the cluster's own log.
    """
    try:
        file = LogFile.fromFullPath(path, maxRotatedFiles=3, defaultMode=0o640)
    except OSError:
        return LogPublisher()
    return FilteringLogObserver(
        textFileLogObserver(file), [LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)]
    )


#: The option that says where a master listens.
LISTEN_OPTION = "--listen"

#: The option that says where agents enroll.
ENROLLMENT_OPTION = "--enrollment"


def keepTime(reactor: Any) -> None:
    """
    Let a reactor count by a clock that nobody sets; before anything asks it for
    the time.

    Twisted counts by the time of day. Somebody who sets a clock back by an hour
    would stop every thread of a node for that hour, and setting it forward would
    look as if all peers had been silent.
    """
    reactor.seconds = time.monotonic


class NodeService(MultiService):
    """
    A node and its log.
    """

    def __init__(
        self,
        reactor: Any,
        node: IService,
        log: ClusterLogs,
        config: Config,
        lock: HomeLock,
        background: bool,
        twistdLog: Callable[[], ILogObserver] | None = None,
        renewal: Renewal | None = None,
        descriptors: int = 0,
        listener: IService | None = None,
        supervised: Supervised | None = None,
    ) -> None:
        """
        @param lock: is kept as long as the service.
        @param background: whether twistd leaves the terminal.
        @param twistdLog: makes what twistd is to write to, if it was not told.
        @param renewal: the node's certificates, if it has any.
        @param descriptors: how many files and connections may have to be open.
        @param listener: where agents enroll, if they do so here.
        @param supervised: tells a service manager, if there is one.
        """
        super().__init__()
        self._reactor = reactor
        self._twistdLog = twistdLog
        self._lock = lock
        self._renewal = renewal
        self._log = log
        self._config = config
        self._background = background
        self._descriptors = descriptors
        self._journal = Journal(MAIN)
        node.setServiceParent(self)
        self._enrolls = listener is not None
        if listener is not None:
            # The last to be started, and the first to be stopped.
            listener.setServiceParent(self)
        self._supervised = supervised
        if supervised is not None:
            supervised.setServiceParent(self)
        Periodic(
            "Memory",
            memory.INTERVAL,
            memory.Housekeeper().look,
            self._reactor,
            self._journal,
        ).setServiceParent(self)

    def setServiceParent(self, parent: object) -> None:
        """
        Become the service of an application, which says where twistd writes.
        """
        super().setServiceParent(parent)
        if self._twistdLog is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._twistdLog())

    def privilegedStartService(self) -> None:
        """
        Open the private key and the ports.
        """
        globalLogPublisher.addObserver(self._log)
        for warning in (*self._config.warnings, *self._enrollmentWarnings()):
            self._journal.warn("{warning}", warning=warning)
        if self._config.keyProblem is not None:
            self._journal.error("{problem}", problem=self._config.keyProblem)
        try:
            if self._renewal is not None:
                self._renewal.open()
            super().privilegedStartService()
        except BadInput as problem:
            self._fail(problem)

    def _enrollmentWarnings(self) -> list[str]:
        auth = self._config.auth
        if not self._enrolls or (auth.remoteEnrollment and not auth.disabled):
            return []
        element = "<disabled>yes" if auth.disabled else "<remote_enrollment>no"
        return [
            f"{self._config.path}, <auth>: {element} is for wazuh-authd; agents enroll here "
            f"because of {ENROLLMENT_OPTION}"
        ]

    def startService(self) -> None:
        """
        Start the log and the node.
        """
        memory.tuneAllocator()
        self._log.start()
        allowed = allowDescriptors(self._descriptors)
        if allowed < self._descriptors:
            self._journal.warn(
                "Only {allowed} files and connections may be open, where strangers may take "
                "{wanted}: raise the limit (LimitNOFILE in a systemd unit), or on a master lower "
                "'greeting' and 'workers' under [limits].",
                allowed=allowed,
                wanted=self._descriptors,
            )
        signal.signal(
            signal.SIGHUP,
            lambda *_: callReactor(self._reactor, self._hangUp),
        )
        try:
            super().startService()
        except BadInput as problem:
            self._fail(problem)
        except OSError as error:
            self._fail(
                HomeError(
                    f"its state cannot be kept ({error.strerror})",
                    error.filename or self._config.home,
                    "let the user that the daemon runs as (twistd --uid) write there",
                )
            )

    def _hangUp(self) -> None:
        """
        SIGHUP: what is in files may be others by now.
        """
        self._log.reopen()
        if self._supervised is not None:
            self._supervised.reloading()
        reading = succeed(None) if self._renewal is None else self._renewal.renew()
        reading.addCallback(self._reloaded)

    def _reloaded(self, _: None) -> None:
        if self._supervised is not None:
            self._supervised.reloaded()

    def _fail(self, problem: BadInput) -> NoReturn:
        """
        End the process. In the background twistd shows 100 bytes of an
        exception, so the whole line goes into the log first.
        """
        self._journal.critical("{problem}", problem=problem)
        self._log.start()
        self._log.stop()
        if self._supervised is not None:
            self._supervised.failed(problem)
        if self._background:
            raise type(problem)(problem.what, problem.where, problem.remedy) from None
        raise SystemExit(str(problem)) from None

    def stopService(self) -> Deferred[None]:
        """
        Stop the node, then the log.
        """
        if self._renewal is not None:
            self._renewal.stop()
        stopped: Deferred[Any] = super().stopService()

        def stopLog(result: object) -> object:
            globalLogPublisher.removeObserver(self._log)
            self._log.stop(0.7)
            if self._supervised is not None:
                self._supervised.close()
            return result

        return stopped.addBoth(stopLog)


def portProblem(config: Config, error: CannotListenError | OSError) -> tuple[str, str, str]:
    """
    Why a master cannot listen: what, where and the remedy.
    """
    reason: OSError = error.socketError if isinstance(error, CannotListenError) else error
    return (
        f"cannot listen on {config.bindAddr} port {config.port} ({reason.strerror})",
        f"{config.path}, <bind_addr> and <port>",
        "stop the program that uses it, or choose others"
        if reason.errno == errno.EADDRINUSE
        else "choose an address of this machine, and a port that this user may open",
    )
