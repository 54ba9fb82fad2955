"""
Which workers are joined, and who may go by a name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from wazuh_cluster.errors import DisplacedClone, LinkClosed, NameInUse, TooManyWorkers
from wazuh_cluster.master.session import Session
from wazuh_cluster.model import WorkerInfo

#: Processes whose place was taken, remembered for each name.
_REMEMBERED = 16


class Roster:
    """
    The sessions of the workers that joined, by name.

    The same home coming back takes its name over at once, for the old link may
    be one of which nobody has heard that it is dead. A process whose place was
    taken so does not get it back while the other lives: two processes of one
    home would displace each other for ever. Another home gets a name only when
    its holder does not answer any more.
    """

    def __init__(self, most: int) -> None:
        """
        @param most: how many may be joined at once.
        """
        self._most = most
        self._sessions: dict[str, Session] = {}
        self._displaced: dict[str, deque[bytes]] = {}

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, name: str) -> Session | None:
        """
        The session of a worker, or C{None}.
        """
        return self._sessions.get(name)

    async def claim(self, session: Session, info: WorkerInfo) -> None:
        """
        Give a name to a session, or refuse it.

        @raise NameInUse: if another node goes by it.
        @raise DisplacedClone: if another process of the same home took it.
        @raise TooManyWorkers: if there is no room for another name.
        @raise LinkClosed: if the session ended meanwhile.
        """
        while (holder := self._sessions.get(info.name)) is not None:
            assert holder.status is not None
            held = holder.status.info
            same = held.homeId == info.homeId
            displaced = same and info.nonce in self._displaced.get(info.name, ())
            if same and not displaced:
                self._displace(holder, "the same home came back on a new link")
                break
            if await holder.probe():
                raise self._refusal(held, displaced)
            if self._sessions.get(info.name) is holder:
                self._displace(holder, "it did not answer when another node came with its name")
        if not session.peer.live:
            self._displaced.pop(info.name, None)
            raise session.peer.closeReason()
        if len(self._sessions) >= self._most:
            raise TooManyWorkers(
                f"{self._most} workers are joined, as many as the master allows: raise 'workers' "
                "under [limits] in its etc/wazuh_cluster.ini"
            )
        session.joined(info)
        self._sessions[info.name] = session

    def remove(self, session: Session) -> bool:
        """
        Forget a session.

        @return: whether it held a name.
        """
        name = session.identity.name if session.identity is not None else ""
        if self._sessions.get(name) is not session:
            return False
        del self._sessions[name]
        # Whoever was displaced by it may come back.
        self._displaced.pop(name, None)
        return True

    def _displace(self, holder: Session, why: str) -> None:
        assert holder.status is not None
        info = holder.status.info
        del self._sessions[info.name]
        self._displaced.setdefault(info.name, deque(maxlen=_REMEMBERED)).append(info.nonce)
        holder.peer.abort(LinkClosed(why))

    def _refusal(self, held: WorkerInfo, displaced: bool) -> NameInUse:
        if displaced:
            return DisplacedClone(
                f"another process of the same home joined as {held.name!r} from {held.address} "
                "and took this one's place: stop one of the two, or, if the home was copied, "
                "remove queue/wazuh_cluster/home-id from the copy and give it its own node_name"
            )
        return NameInUse(
            f"the node name {held.name!r} is in use by another node at {held.address}: "
            "give this node another <node_name>, or stop that one"
        )
