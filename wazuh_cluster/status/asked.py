"""
Runs of a thread that somebody asks for.
"""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from wazuh_cluster.errors import RequestRefused
from wazuh_cluster.model import RunRecord
from wazuh_cluster.periodic import Periodic

#: How long an answer waits for the end of a run, in seconds: less than any
#: answer may take.
PATIENCE = 5.0


class AskedRuns:
    """
    Begins runs, and waits for them a while: who asked asks again. However many
    ask, there is one more run.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._under: dict[str, list[Deferred[bool]]] = {}

    async def wait(self, thread: Periodic, begin: bool) -> bool:
        """
        Wait for a run.

        @param begin: whether to begin one; otherwise the one that was asked for
            last is waited for.
        @return: whether it has ended.
        @raise RequestRefused: if the thread does not run now.
        """
        name = str(thread.name)
        if begin and name not in self._under:
            if not thread.running:
                raise RequestRefused(f"{name} does not run now: its node is not joined")
            self._under[name] = []
            thread.runNow().addCallbacks(partial(self._ended, name), partial(self._stopped, name))
        waiting = self._under.get(name)
        if waiting is None:
            return not thread.record.running
        done: Deferred[bool] = Deferred()
        waiting.append(done)
        timer = self._clock.callLater(PATIENCE, self._late, name, done)
        try:
            return await done
        finally:
            if timer.active():
                timer.cancel()

    def _ended(self, name: str, record: RunRecord) -> None:
        for done in self._under.pop(name):
            done.callback(True)

    def _stopped(self, name: str, failure: object) -> None:
        stopped = RequestRefused(f"{name} was stopped meanwhile: its node is not joined any more")
        for done in self._under.pop(name):
            done.errback(stopped)

    def _late(self, name: str, done: Deferred[bool]) -> None:
        self._under[name].remove(done)
        done.callback(False)
