"""
The control socket as a service.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.python.failure import Failure

from wazuh_cluster.agents.interfaces import IReports
from wazuh_cluster.control.connections import ControlFactory, LocalPeer
from wazuh_cluster.control.credentials import Credentials, Permissions, socketCredentials
from wazuh_cluster.control.endpoints import ControlServerEndpoint
from wazuh_cluster.control.locator import ControlLocator
from wazuh_cluster.journal import MAIN, Journal
from wazuh_cluster.protocol import Limits
from wazuh_cluster.protocol.deadlines import Deadlines
from wazuh_cluster.requests import IAnswers

#: How long an answer may take, in seconds: longer than a link's.
ANSWER_WITHIN = 30.0

#: What one local program may have asked before nothing more is read from it.
UNDER_WAY = 4


class ControlService(Service):
    """
    Answers local programs. The socket is there from C{startService} on.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        endpoint: IStreamServerEndpoint,
        answers: IAnswers,
        permissions: Callable[[], Permissions],
        *,
        reports: IReports | None = None,
        credentialsOf: Callable[[Any], Credentials] = socketCredentials,
        limits: Limits | None = None,
        uptime: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        @param answers: a node's C{requests}.
        @param permissions: what users may do; asked when the service starts.
        @param reports: takes what was heard of agents; C{None} for nobody.
        @param credentialsOf: says who is at the other end of a transport.
        @param uptime: the clock by which C{reports} goes, in seconds.
        """
        self.setName("control")
        self._reactor = reactor
        self._endpoint = endpoint
        self._answers = answers
        self._reports = reports
        self._permissionsNow = permissions
        self._limits = evolve(limits or Limits(), openResponders=UNDER_WAY)
        self._uptime = uptime
        self._log = Journal(MAIN, "Local Server")
        self._factory = ControlFactory(self._build, credentialsOf)
        self._permissions: Permissions
        self._port: IListeningPort | None = None

    @classmethod
    def forHome(
        cls,
        reactor: Any,
        home: str,
        answers: IAnswers,
        reports: IReports | None = None,
        **more: Any,
    ) -> ControlService:
        """
        The service of a node with a home: the socket is in it, and whoever has
        its C{etc} may change things.
        """
        endpoint = ControlServerEndpoint(reactor, home)
        permissions = partial(Permissions.ofHome, home)
        return cls(reactor, endpoint, answers, permissions, reports=reports, **more)

    def startService(self) -> None:
        """
        Open the socket.

        @raise wazuh_cluster.errors.HomeError: if that cannot be.
        """
        super().startService()
        self._permissions = self._permissionsNow()
        failures: list[Failure] = []
        self._endpoint.listen(self._factory).addCallbacks(self._opened, failures.append)
        for failure in failures:
            failure.raiseException()

    def stopService(self) -> Deferred[None]:
        """
        Close the socket and all connections. Takes a second at most.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        self._factory.closeAll()
        for peer in list(self._factory.peers):
            await peer.whenClosed()

    def _opened(self, port: IListeningPort) -> None:
        self._port = port

    def _build(self, connected: Callable[[LocalPeer], None]) -> LocalPeer:
        deadlines = Deadlines(self._reactor, ANSWER_WITHIN, UNDER_WAY, self._log)
        locator = ControlLocator(
            self._answers,
            self._reports,
            self._permissions,
            lambda: peer.who,
            deadlines,
            self._uptime,
        )
        peer = LocalPeer([locator], self._reactor, self._limits, connected)
        peer.whenClosed().addCallback(lambda _: deadlines.close())
        return peer
