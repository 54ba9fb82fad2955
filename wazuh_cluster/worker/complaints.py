"""
What a worker's log says of its link: that there is one, or why not; once,
clearly.
"""

from __future__ import annotations

from twisted.internet.error import (
    ConnectError,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
)
from twisted.internet.interfaces import IReactorTime
from twisted.protocols.amp import UnhandledCommand, UnknownRemoteError
from twisted.python.failure import Failure

from wazuh_cluster.errors import ClusterError
from wazuh_cluster.journal import Journal
from wazuh_cluster.model import MasterInfo
from wazuh_cluster.repeats import Latest, Repeats, repeated

#: How often the same complaint is repeated, in seconds.
REMIND_AFTER = 300.0

#: Lines about links that may be written at once; then one a second.
_LINES = 20


def explainLink(reason: Failure) -> str:
    """
    One line for an operator: why a link ended or did not come about.
    """
    if reason.check(ClusterError):
        return reason.getErrorMessage()
    if reason.check(ConnectionRefusedError):
        return (
            "the connection was refused: see that the master runs, and check <node> and <port> "
            "in ossec.conf"
        )
    if reason.check(DNSLookupError):
        return f"its address does not resolve: check <node> in ossec.conf ({reason.value})"
    if reason.check(TimeoutError, TCPTimedOutError):
        return "it did not answer: check <node> and <port> in ossec.conf and the firewalls between"
    if reason.check(NoRouteError):
        return "there is no route to it: check <node> in ossec.conf and the network"
    if reason.check(ConnectionDone, ConnectionLost):
        return "the connection was lost"
    if reason.check(UnhandledCommand, UnknownRemoteError):
        return "it cannot answer Hello: its logs/cluster.log says why"
    if reason.check(ConnectError):
        return f"it could not be reached: {reason.getErrorMessage()}"
    return f"{type(reason.value).__name__}: {reason.getErrorMessage()}"


class Complaints:
    """
    Says why there is no link when that is new, and again every five minutes.
    That there is one, or one no more, it says once a second at most.
    """

    def __init__(self, clock: IReactorTime, log: Journal, where: str = "") -> None:
        """
        @param where: the master's address, for people.
        """
        self._where = f" at {where}" if where else ""
        self._clock = clock
        self._log = log
        self._last: str | None = None
        self._since = 0.0
        self._attempts = 0
        self._links = Latest(clock, Repeats(clock, burst=_LINES))

    def over(self, master: MasterInfo, address: str) -> None:
        """
        There is a link.
        """
        self._last = None
        self._attempts = 0
        self._links.note(
            "link",
            "up",
            lambda held: repeated(
                self._log.info,
                held,
                "Successfully connected to master. It is {name} at {address}, {software}.",
                name=master.name,
                address=address,
                software=master.software,
            ),
        )

    def close(self) -> None:
        """
        Nothing more is to be said.
        """
        self._links.close()

    def complain(self, reason: Failure, joined: bool, delay: float) -> None:
        """
        There is none, or none any more.

        @param joined: whether there was one.
        @param delay: until the next attempt, in seconds.
        """
        text = explainLink(reason)
        now = self._clock.seconds()
        if joined:
            self._links.note(
                "link",
                "down",
                lambda held: repeated(
                    self._log.warn,
                    held,
                    "The link to the master ended: {reason}. Connecting again in {delay:.1f} s.",
                    reason=text.rstrip("."),
                    delay=delay,
                ),
            )
            return
        self._attempts += 1
        if text != self._last or now - self._since >= REMIND_AFTER:
            self._log.error(
                "Could not connect to master{where}: {reason}. Trying again (attempt {attempt}).",
                where=self._where,
                reason=text.rstrip("."),
                attempt=self._attempts,
            )
            self._last, self._since = text, now
        else:
            self._log.debug(
                "Could not connect to master{where}: {reason}.", where=self._where, reason=text
            )
