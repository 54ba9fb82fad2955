"""
The master's factory: a session for everyone who connects, within bounds.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from wazuh_cluster.errors import TooBusy
from wazuh_cluster.master.session import Session
from wazuh_cluster.protocol import Limits, Peer


class SessionFactory(Factory):
    """
    Builds sessions. When more connections than the limits allow have not
    joined yet, in all or from one address, the one that waits longest makes
    room: of those that are not trusted yet, or of those that are, whichever
    are more. So no flood of the one kind keeps a worker out.
    """

    noisy = False

    def __init__(self, build: Callable[[], Session], limits: Limits) -> None:
        self._build = build
        self._limits = limits
        self._greeting: dict[Session, str] = {}
        self._sessions: dict[Session, None] = {}
        self._perAddress: dict[str, int] = {}

    def buildProtocol(self, addr: IAddress | None) -> Peer:
        """
        A new stranger.
        """
        host = str(getattr(addr, "host", ""))
        if self._perAddress.get(host, 0) >= self._limits.greetingPerAddress:
            self._makeRoom(host)
        elif len(self._greeting) >= self._limits.greeting:
            self._makeRoom(None)
        session = self._build()
        self._greeting[session] = host
        self._sessions[session] = None
        self._perAddress[host] = self._perAddress.get(host, 0) + 1
        session.whenJoined().addCallback(self._known)
        session.peer.whenClosed().addCallback(self._closed, session)
        return session.peer

    def closeAll(self) -> None:
        """
        End all connections, after what was written.
        """
        for session in list(self._sessions):
            session.peer.close()

    @property
    def sessions(self) -> list[Session]:
        """
        All connections, joined or not.
        """
        return list(self._sessions)

    def _makeRoom(self, host: str | None) -> None:
        waiting = [
            session
            for session, address in self._greeting.items()
            if host is None or address == host
        ]
        strangers = [session for session in waiting if session.identity is None]
        trusted = [session for session in waiting if session.identity is not None]
        first = max(strangers, trusted, key=len)[0]
        self._known(first)
        first.peer.abort(TooBusy("too many connections have not said Hello"))

    def _known(self, session: Session) -> None:
        host = self._greeting.pop(session, None)
        if host is not None:
            self._perAddress[host] -= 1
            if not self._perAddress[host]:
                del self._perAddress[host]

    def _closed(self, why: BaseException, session: Session) -> None:
        self._known(session)
        self._sessions.pop(session, None)
