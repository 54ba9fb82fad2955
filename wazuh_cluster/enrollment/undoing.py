"""
The registrations that are to be undone, because their agents never got an
answer: a list that outlives the process.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure

from wazuh_cluster.errors import ClusterError, Stopped
from wazuh_cluster.failures import oneLine
from wazuh_cluster.interfaces import IRunner, IState
from wazuh_cluster.journal import ENROLLMENT, Journal

#: How many are undone at once: as many ids as an UndoRegistration takes.
BATCH = 1024

#: How many may wait. More than a few come only from links that are cut again
#: and again; those that wait longest go first.
MOST = 4096

_STATE = "undo-registrations"
_LINE = re.compile(rb"[0-9a-f]{32}")


class UndoList:
    """
    Request ids, in the order in which they came. One that is added twice, or
    undone twice, does no harm.
    """

    def __init__(self, state: IState, runner: IRunner) -> None:
        """
        @param runner: on which C{state} is used, and nothing else that may
            take long.
        """
        self._state = state
        self._runner = runner
        self._log = Journal(ENROLLMENT)
        self._ids: dict[bytes, None] = {}
        self._loaded = False
        # Counts changes, and up to which of them all is saved.
        self._change = 0
        self._saved = 0
        self._saving = False
        self._waiters: list[Deferred[None]] = []

    def start(self) -> None:
        """
        Read what an earlier process left, without waiting for it.
        """
        reading = Deferred.fromCoroutine(self._load())
        reading.addErrback(lambda failure: failure.trap(ClusterError, OSError, CancelledError))
        reading.addErrback(self._bug)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, requestId: bytes) -> Deferred[None]:
        """
        Put a request on the list. Whether or not somebody waits for the
        Deferred, it is there at once, and is saved.

        @return: fires when it would outlive the process; fails with why it
            would not.
        """
        self._ids[requestId] = None
        if len(self._ids) > MOST:
            del self._ids[next(iter(self._ids))]
            self._log.error(
                "More than {most} registrations wait to be undone: the one that waits longest is "
                "not undone. Look for its agent, which never connects, and remove it.",
                most=MOST,
            )
        self._change += 1
        return self.whenSaved()

    def whenSaved(self) -> Deferred[None]:
        """
        A Deferred that fires when all that was added would outlive the
        process, or fails with why it would not.
        """
        if self._saved == self._change:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        if not self._saving:
            self._saving = True
            Deferred.fromCoroutine(self._save()).addErrback(self._bug)
        return waiter

    async def work(self, undo: Callable[[Sequence[bytes]], Awaitable[object]]) -> str:
        """
        Undo all that is on the list.

        @param undo: undoes up to L{BATCH} requests, or fails; it must not
            matter whether they were undone before.
        @return: what was done, for people.
        """
        await self._load()
        count = 0
        while self._ids:
            batch = list(self._ids)[:BATCH]
            await undo(batch)
            for each in batch:
                self._ids.pop(each, None)
            count += len(batch)
            self._change += 1
        # Also what could not be saved the last time.
        await self.whenSaved().addErrback(self._notSaved)
        if count:
            self._log.info(
                "Undid {count} registrations whose agents never got an answer.", count=count
            )
        return f"{count} undone"

    async def _save(self) -> None:
        """
        Save, until nobody waits for it any more.
        """
        try:
            while self._waiters:
                waiters, self._waiters = self._waiters, []
                failure = await self._saveOnce()
                for waiter in waiters:
                    if failure is None:
                        waiter.callback(None)
                    else:
                        waiter.errback(failure)
        finally:
            self._saving = False

    async def _saveOnce(self) -> Failure | None:
        try:
            await self._load()
            change = self._change
            lines = [each.hex().encode("ascii") + b"\n" for each in self._ids]
            await self._runner.call(self._store, b"".join(lines))
        except (ClusterError, OSError):
            return Failure()
        except CancelledError:
            return Failure(Stopped("the node stops"))
        self._saved = change
        return None

    async def _load(self) -> None:
        """
        Put what an earlier process left at the beginning.
        """
        if self._loaded:
            return
        left = await self._runner.call(self._left)
        if not self._loaded:
            self._loaded = True
            self._ids = {**dict.fromkeys(left), **self._ids}

    def _left(self) -> list[bytes]:
        """
        What an earlier process left; what cannot be read is passed over.
        """
        try:
            content = self._state.load(_STATE) or b""
        except ClusterError as error:
            self._log.error("Registrations that were to be undone are not: {error}", error=error)
            return []
        return [bytes.fromhex(each.decode("ascii")) for each in _LINE.findall(content)]

    def _store(self, content: bytes) -> None:
        if content:
            self._state.save(_STATE, content)
        else:
            self._state.remove(_STATE)

    def _notSaved(self, failure: Failure) -> None:
        failure.trap(ClusterError, OSError)
        self._log.error(
            "The list of registrations to be undone cannot be saved: {reason}",
            reason=oneLine(failure),
        )

    def _bug(self, failure: Failure) -> None:
        self._log.failure("The list of registrations to be undone is stuck: a bug.", failure)
