"""
What a master's log says of who comes and goes: each thing once a second, and
not much of many, so that nobody can flood it by coming again and again.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorTime

from wazuh_cluster.errors import NotTrusted, PassedBy, ProtocolViolation, Refused
from wazuh_cluster.journal import KEEP_ALIVE, MAIN, Journal
from wazuh_cluster.model import WorkerInfo
from wazuh_cluster.repeats import Latest, Repeats, repeated

#: How often a refusal of the same worker is said again, in seconds: it comes
#: back every twenty.
REMIND_AFTER = 300.0

#: Lines about strangers that may be written at once; then one a second,
#: whatever they do and from however many addresses.
_STRANGERS = 16

#: The same for workers that are refused, and for those that join or leave: some
#: hundreds may do so at once.
_REFUSALS = 256
_WORKERS = 512


class Chronicle:
    """
    Tells of sessions.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._log = Journal(MAIN)
        self._strangers = Repeats(clock, burst=_STRANGERS)
        self._passers = Repeats(clock, burst=_STRANGERS)
        self._heard = Repeats(clock, maxKeys=_WORKERS)
        self._refusals = Repeats(clock, REMIND_AFTER, burst=_REFUSALS)
        self._workers = Latest(clock, Repeats(clock, maxKeys=4 * _WORKERS, burst=_WORKERS))

    def joined(self, log: Journal, info: WorkerInfo) -> None:
        """
        A worker joined.

        @param log: its session's.
        """
        name, address, software = info.name, info.address, info.software
        self._workers.note(
            name,
            "joined",
            lambda held: repeated(
                log.info,
                held,
                "Joined from {address}, {software}.",
                address=address,
                software=software,
            ),
        )

    def left(self, log: Journal, name: str, why: BaseException) -> None:
        """
        A worker that was joined is gone: a warning, if because nobody trusts
        it any more, or because it said what no worker says.
        """
        reason = _line(why)
        say = log.warn if isinstance(why, NotTrusted | ProtocolViolation) else log.info
        self._workers.note(
            name, "left", lambda held: repeated(say, held, "Left: {reason}.", reason=reason)
        )

    def replaced(self, log: Journal, name: str, why: BaseException) -> None:
        """
        A link is gone whose worker has another one.
        """
        reason = _line(why)
        self._workers.note(
            f"{name}, a former link",
            "replaced",
            lambda held: repeated(log.info, held, "Replaced: {reason}.", reason=reason),
        )

    def heard(self, log: Journal, name: str) -> None:
        """
        A worker sent a keep-alive.
        """
        if self._heard.allow(name) is not None:
            log.forTask(KEEP_ALIVE).debug("Received.")

    def refused(self, worker: str, refusal: Refused) -> None:
        """
        A worker may not join.

        @param worker: who and where it is.
        """
        held = self._refusals.allow((worker, type(refusal)))
        if held is not None:
            repeated(
                self._log.warn,
                held,
                "Refused {worker}: {reason}",
                worker=worker,
                reason=str(refusal),
            )

    def stranger(self, address: str, why: BaseException) -> None:
        """
        A connection ended without having joined.
        """
        # Not by the text, in which the port is another each time.
        key = (address, type(why))
        passedBy = isinstance(why, PassedBy)
        held = (self._passers if passedBy else self._strangers).allow(key)
        if held is None:
            return
        reason = _line(why)
        if passedBy:
            self._log.debug("{reason}.", reason=reason)
        else:
            repeated(
                self._log.warn,
                held,
                "A connection from {address} ended before it joined: {reason}",
                address=address,
                reason=reason,
            )

    def close(self) -> None:
        """
        Nothing more is to be told.
        """
        self._workers.close()


def _line(why: BaseException) -> str:
    if isinstance(why, (ConnectionDone, ConnectionLost, ConnectionAborted)):
        return "the connection was lost"
    return str(why).rstrip(".")
