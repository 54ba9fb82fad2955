"""
The enrollment listener as a service.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IReactorTime,
    IStreamServerEndpoint,
)

from wazuh_cluster.authsettings import CERTIFICATE, PRIVATE_KEY, AuthSettings
from wazuh_cluster.defaults import threadRunners
from wazuh_cluster.enrollment.certificates import loadCredentials, makeMissing
from wazuh_cluster.enrollment.conversation import Conversation
from wazuh_cluster.enrollment.desk import Desk
from wazuh_cluster.enrollment.interfaces import IEnroller
from wazuh_cluster.enrollment.password import PasswordFile
from wazuh_cluster.enrollment.request import RequestRules
from wazuh_cluster.enrollment.tls import AgentTLS, makeContext
from wazuh_cluster.enrollment.visitors import MOST, Visitor, Visitors
from wazuh_cluster.integrity.filesystem import RealFileSystem
from wazuh_cluster.interfaces import IFileSystem, IRunner
from wazuh_cluster.journal import ENROLLMENT, Journal
from wazuh_cluster.listening import Listening


def checkCertificate(settings: AuthSettings, home: str) -> None:
    """
    See that a listener could show its certificate, if it has one already, and
    that what it is told of TLS can be used. Blocks.

    @raise wazuh_cluster.errors.ConfigError: if not.
    """
    paths = _Paths(settings, home)
    credentials = None
    if not paths.mayBeMade or os.path.lexists(paths.certificate):
        credentials = loadCredentials(paths.certificate, paths.privateKey)
    makeContext(credentials, settings.ciphers, paths.agentCA)


class _Paths:
    """
    Where a listener's files are.

    @ivar mayBeMade: whether certificate and key are made if they are missing.
    """

    def __init__(self, settings: AuthSettings, home: str) -> None:
        agentCA = settings.agentCA
        self.certificate = os.path.join(home, settings.certificate)
        self.privateKey = os.path.join(home, settings.privateKey)
        self.agentCA = None if agentCA is None else os.path.join(home, agentCA)
        self.password = os.path.join(home, settings.passwordFile)
        default = (CERTIFICATE, PRIVATE_KEY)
        self.mayBeMade = (settings.certificate, settings.privateKey) == default


class EnrollmentService(Service):
    """
    Where agents enroll, as they do at a wazuh-authd: TLS, a line, an answer.

    Certificate and port are opened in C{privilegedStartService}, or in
    C{startService} where nobody calls that; what follows needs no privileges.

    @ivar most: how many may be connected at the same time.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        endpoint: IStreamServerEndpoint,
        enroller: IEnroller,
        settings: AuthSettings,
        home: str,
        *,
        runner: Callable[[str], IRunner] | None = None,
        fileSystem: IFileSystem | None = None,
        hostName: str | None = None,
        managerVersion: str = "",
        most: int = MOST,
        beneath: Callable[[IProtocol], IProtocol] | None = None,
    ) -> None:
        """
        @param enroller: registers agents: C{enroller} of a master or a worker.
        @param home: where relative paths in C{settings} begin.
        @param runner: makes the runner of a name; threads by default.
        @param fileSystem: where a certificate is made, if there is none.
        @param hostName: the name that no agent may have; by default this
            machine's.
        @param managerVersion: no agent may be newer; C{""} for no such rule.
        @param most: how many may be connected at the same time.
        @param beneath: puts beneath a conversation what secures it; by default
            TLS with the certificate that C{settings} name. Where C{endpoint}
            gives connections that are secured already, it gives back what it
            takes; no certificate is looked for then.
        """
        self.setName("enrollment")
        self._reactor = reactor
        self._settings = settings
        self._fileSystem = RealFileSystem() if fileSystem is None else fileSystem
        self._hostName = socket.gethostname() if hostName is None else hostName
        makeRunner = threadRunners(reactor) if runner is None else runner
        self._runner = makeRunner("enrollment")
        self._log = Journal(ENROLLMENT)
        rules = RequestRules(
            self._hostName,
            settings.useSourceAddress,
            managerVersion,
            settings.allowHigherVersions,
        )
        self._paths = paths = _Paths(settings, home)
        password = PasswordFile(paths.password, self._runner) if settings.usePassword else None
        self.most = most
        self._desk = Desk(enroller, rules, password, reactor)
        self._visitors = Visitors(self._converse, reactor, self._turnedAway, most)
        self._given = beneath
        self._beneath = beneath
        self._listening = Listening(endpoint)

    def __len__(self) -> int:
        """
        How many are connected.
        """
        return len(self._visitors)

    def whenListening(self) -> Deferred[IListeningPort]:
        """
        A Deferred that fires with the open port, or fails with why it could
        not be opened.
        """
        return self._listening.when()

    def privilegedStartService(self) -> None:
        """
        Open the certificate and the port.

        @raise wazuh_cluster.errors.ConfigError: if there is no certificate to
            use.
        @raise twisted.internet.error.CannotListenError: if the port cannot be
            opened.
        """
        super().privilegedStartService()
        self._open()

    def startService(self) -> None:
        """
        Open both, unless they are.
        """
        if not self._listening.begun:
            self._open()
        super().startService()
        Deferred.fromCoroutine(self._desk.checkPassword()).addErrback(self._desk.failed)

    def stopService(self) -> Deferred[None]:
        """
        Close the port and all connections. What is being enrolled is undone.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        closing = self._visitors.closeAll()
        await self._listening.close()
        await closing
        self._runner.stop()

    def _open(self) -> None:
        self._beneath = self._tls() if self._given is None else self._given
        self._listening.open(self._visitors, self._opened)

    def _tls(self) -> Callable[[IProtocol], IProtocol]:
        paths = self._paths
        if paths.mayBeMade:
            for path in makeMissing(
                self._fileSystem, paths.certificate, paths.privateKey, self._hostName
            ):
                self._log.info("Made {path} for agents.", path=path)
        credentials = loadCredentials(paths.certificate, paths.privateKey)
        context = makeContext(credentials, self._settings.ciphers, paths.agentCA)
        return AgentTLS(context, self._reactor).beneath

    def _opened(self, port: IListeningPort) -> None:
        password = "with" if self._settings.usePassword else "without"
        self._log.info(
            "Agents can enroll at {address}, {password} a password.",
            address=_described(port.getHost()),
            password=password,
        )

    def _converse(self, visitor: Visitor) -> IProtocol:
        assert self._beneath is not None, "the listener was not started"
        settings = self._settings
        verifyHost = settings.verifyHost and settings.agentCA is not None
        return self._beneath(Conversation(visitor, self._visitors, self._desk, verifyHost))

    def _turnedAway(self, visitor: Visitor) -> None:
        assert visitor.why is not None
        self._desk.passedBy(visitor.why, visitor.host)


def _described(address: Any) -> str:
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return "a local socket"
    return f"{host}, port {port}"
