"""
The pages and what else there is over HTTP, as a service.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTime
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.server import Request, Site

from wazuh_cluster.journal import MAIN, Journal
from wazuh_cluster.periodic import Periodic
from wazuh_cluster.repeats import Repeats
from wazuh_cluster.requests.table import Asker, IAnswers
from wazuh_cluster.status import StatusReader
from wazuh_cluster.status.tally import Tally
from wazuh_cluster.web.access import Access
from wazuh_cluster.web.delay import INTERVAL as DELAY_INTERVAL
from wazuh_cluster.web.delay import ReactorDelay
from wazuh_cluster.web.endpoint import WebEndpoint
from wazuh_cluster.web.front import Front
from wazuh_cluster.web.live import INTERVAL as LIVE_INTERVAL
from wazuh_cluster.web.live import Live
from wazuh_cluster.web.look import Look
from wazuh_cluster.web.machines import Machines
from wazuh_cluster.web.pages import Pages

#: Connections at a time.
MOST = 512

#: Seconds within which a request has come as a whole.
PATIENCE = 10.0


class WebService(MultiService):
    """
    Shows a node, from C{startService} on.

    @ivar port: where it listens; C{None} while it does not.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        endpoint: WebEndpoint,
        answers: IAnswers,
        tally: Tally,
        access: Access,
        config: Mapping[str, object],
    ) -> None:
        """
        @param answers: a node's C{requests}.
        @param tally: what installations added up to.
        @param config: the C{<cluster>} block, without its key.
        """
        super().__init__()
        self.setName("web")
        self.port: IListeningPort | None = None
        self._endpoint = endpoint
        self._log = Journal(MAIN)
        # It changes nothing, and may not.
        asker = Asker("the page", False, "nothing can be changed there")

        async def perform(name: str, body: bytes) -> bytes:
            return await answers.perform(asker, name, body)

        look = Look(StatusReader(perform), reactor)
        self._live = Live(look)
        delay = ReactorDelay(reactor)
        pages = Pages(look, self._live, perform)
        machines = Machines(look, tally, lambda: delay.worst, config)
        handlers = dict([*pages.handlers(), *machines.handlers()])
        self._visitors = _Visitors(Front(access, handlers, Repeats(reactor, 10.0)), reactor)
        for name, interval, run in (
            ("Page", LIVE_INTERVAL, self._live.look),
            ("Reactor delay", DELAY_INTERVAL, delay.look),
            ("Silent visitors", PATIENCE / 4, self._visitors.sweep),
        ):
            Periodic(name, interval, run, reactor, self._log).setServiceParent(self)

    def startService(self) -> None:
        """
        Open the port.
        """
        super().startService()
        listening: Deferred[IListeningPort] = self._endpoint.endpoint.listen(self._visitors)
        listening.addCallbacks(self._opened, self._notOpened)

    def stopService(self) -> Deferred[None]:
        """
        Close the port and all connections.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        port, self.port = self.port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        self._live.close()
        self._visitors.closeAll()
        await maybeDeferred(super().stopService)

    def _opened(self, port: IListeningPort) -> None:
        self.port = port
        self._log.info("The page is at {address}", address=self.address())

    def address(self) -> str:
        """
        Where the page is, for people.
        """
        where: Any = None if self.port is None else self.port.getHost()
        number = getattr(where, "port", None)
        if number is None:
            return self._endpoint.text
        host = self._endpoint.interface
        host = f"[{host}]" if ":" in host else host
        return f"http{'s' if self._endpoint.secure else ''}://{host}:{number}/"

    def _notOpened(self, failure: Failure) -> None:
        # The node does its work also without it.
        self._log.error(
            "The page cannot be shown at {endpoint}: {reason}. Free it, or choose another by "
            "--http.",
            endpoint=self._endpoint.text,
            reason=failure.getErrorMessage(),
        )


class _Visit(Request):
    """
    A request, of which nothing is kept but its head.
    """

    def gotLength(self, length: int | None) -> None:
        """
        A body comes, which nobody wants: no file is made for it.
        """
        super().gotLength(0)

    def handleContentChunk(self, data: bytes) -> None:
        """
        Here it is.
        """
        self.loseConnection()


class _Site(Site):
    """
    A site without an access log.
    """

    displayTracebacks = False
    noisy = False

    def startFactory(self) -> None:
        """
        There is no log to open.
        """

    def stopFactory(self) -> None:
        """
        See L{startFactory}.
        """

    def log(self, request: object) -> None:
        """
        See L{startFactory}.
        """


class _Visitor(ProtocolWrapper):
    """
    A connection.

    @ivar since: since when it has nothing to wait for.
    """

    since = 0.0


class _Visitors(WrappingFactory):
    """
    So many connections at most, none of which waits for a whole request for
    long.
    """

    noisy = False
    protocol = _Visitor

    def __init__(self, front: Front, clock: Any) -> None:
        super().__init__(_Site(front, requestFactory=_Visit, timeout=60, reactor=clock))
        self._front = front
        self._clock = clock

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        Somebody connects.
        """
        if len(self.protocols) >= MOST:
            return None
        visitor: Any = super().buildProtocol(addr)
        visitor.since = self._clock.seconds()
        return visitor

    def sweep(self) -> str:
        """
        Close what has waited for a whole request for too long.
        """
        now = self._clock.seconds()
        for visitor in list(self.protocols):
            if visitor in self._front.answering:
                visitor.since = now
            elif now - visitor.since >= PATIENCE:
                visitor.abortConnection()
        return f"{len(self.protocols)} connections"

    def closeAll(self) -> None:
        """
        Close all connections.
        """
        for visitor in list(self.protocols):
            visitor.loseConnection()
