"""
KeysBook: the registrations of one home: C{client.keys}, the journal of
requests, the times of registration and the highest id, as one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from wazuh_cluster.agents.draft import FileDraft
from wazuh_cluster.agents.judge import Judge, Policy
from wazuh_cluster.agents.keysfile import QUIET, KeysFile
from wazuh_cluster.agents.keysindex import KeysIndex, Remarks
from wazuh_cluster.agents.linefile import FileChanged
from wazuh_cluster.agents.model import MAX_AGENT_ID, Agent
from wazuh_cluster.agents.operations import Operation, Removed, Undo, Verdict
from wazuh_cluster.agents.requestjournal import RequestJournal, replacement
from wazuh_cluster.agents.timestamps import Timestamps
from wazuh_cluster.errors import BadArgument, ClusterError, StateDamaged, Stopped, StoreFailed
from wazuh_cluster.failures import Failures
from wazuh_cluster.interfaces import IFileSystem, IRunner, IState, Slices
from wazuh_cluster.journal import Journal

T = TypeVar("T")

#: Below the home.
STATE_FOLDER = b"queue/wazuh_cluster"

_HIGHEST = "highest-agent-id"
_DECIDED_STEP = 64

# How often a file that other programs keep changing is looked at.
_LOOKS = 8


@frozen
class Settled:
    """
    What was decided, and is durable.

    @ivar verdicts: one for each operation.
    @ivar added: the agents that are registered now.
    @ivar removed: those that are not any more.
    """

    verdicts: Sequence[Verdict]
    added: Sequence[Agent] = ()
    removed: Sequence[Agent] = ()


class KeysBook:
    """
    All methods are for the reactor's thread; what blocks runs on the runner.

    The order of a change: the journal; then C{client.keys}; then the times.
    Each is durable before the next, and nobody hears of it before all are. If
    the process dies in between, a request that has no agent stands for
    nothing, and an agent that has no time was not told to anybody.
    """

    def __init__(
        self,
        home: bytes,
        runner: IRunner,
        clock: IReactorTime,
        state: IState,
        *,
        fileSystem: IFileSystem,
        policy: Policy,
        wallClock: Callable[[], float],
        monotonic: Callable[[], float],
        random: Callable[[int], bytes],
        journal: Journal,
    ) -> None:
        self._runner = runner
        self._clock = clock
        self._state = state
        self._policy = policy
        self._wallClock = wallClock
        self._monotonic = monotonic
        self._random = random
        self._log = journal
        self._keys = KeysFile(fileSystem, home)
        self._times = Timestamps(fileSystem, home)
        self._requests = RequestJournal(
            fileSystem, home.rstrip(b"/") + b"/" + STATE_FOLDER, monotonic
        )
        self._timesFailures = Failures("Noting the times of registration", clock, journal)
        self._lookFailures = Failures("Looking at client.keys", clock, journal)
        self._timesFailure: ClusterError | None = None
        # Whether the times could be read, and the registrations whose time is
        # still to be noted: an agent, and seconds since the epoch.
        self._areTimesKnown = False
        self._unnoted: dict[int, tuple[Agent, float]] = {}
        # Whether journal and highest id were read, and whether all was.
        self._isRemembered = self._isLoaded = False
        self._isPruned = False
        # The highest id, the highest that is in the state, and whether it has
        # to be there before anything else is done: a file that was read has
        # ids that nobody may know tomorrow.
        self._highest = self._saved = 0
        self._isOwed = False
        # Requests whose agents are to go, because nobody was told of them.
        self._unsettled: set[bytes] = set()
        self._removedBefore: set[int] = set()
        # Of the damaged lines, what was told already.
        self._told: set[tuple[str, int]] = set()
        self._toldOthers = 0
        self._isLooking = False
        self._looked = monotonic()
        self._pauses: dict[Deferred[None], None] = {}
        self._isStopped = False

    def stop(self) -> None:
        """
        End what waits for a file to be quiet. The runner is stopped by whoever
        made it.
        """
        self._isStopped = True
        for pause in list(self._pauses):
            pause.cancel()

    async def settle(self, operations: Sequence[Operation]) -> Settled:
        """
        Decide some operations, one after the other, and make what comes of
        them durable.
        """
        settled = await self._whenQuiet(lambda: self._commit(operations))
        if self._timesFailure is None:
            self._timesFailures.succeeded()
        else:
            self._timesFailures.failed(Failure(self._timesFailure))
        return settled

    async def get(self, id: int) -> Agent | None:
        """
        A registered agent.
        """
        return await self._whenQuiet(lambda: self._get(id))

    async def page(self, after: int, most: int) -> Sequence[Agent]:
        """
        The next C{most} agents of those above C{after}.
        """
        return await self._whenQuiet(lambda: self._page(after, most))

    async def known(self, ids: Collection[int]) -> frozenset[int]:
        """
        Those of C{ids} that are registered. An edit by hand is seen within
        some seconds.
        """
        if not self._isLoaded:
            await self._whenQuiet(self._refresh)
        self._lookAgain()
        index = self._keys.index
        assert index is not None
        return index.those(ids)

    async def removedBefore(self) -> Collection[int]:
        """
        The ids of agents that were undone or replaced shortly before this
        began.
        """
        await self._whenQuiet(self._refresh)
        return self._removedBefore - await self.known(self._removedBefore)

    async def highest(self) -> int:
        """
        The highest id that was ever seen.
        """
        await self._whenQuiet(self._refresh)
        return self._highest

    async def seen(self, id: int) -> None:
        """
        Never give this id, nor one below it.

        @raise BadArgument: if no agent can have it.
        """
        if not 0 <= id <= MAX_AGENT_ID:
            raise BadArgument(f"{id} is not an agent's id: they are 1 to {MAX_AGENT_ID:,}")
        await self._whenQuiet(lambda: self._see(id))

    async def _whenQuiet(self, work: Callable[[], Slices[T]]) -> T:
        """
        Do some work when no other program is changing the files.
        """
        looks = 0
        while True:
            try:
                return await self._run(work())
            except FileChanged as changed:
                looks += 1
                if looks == _LOOKS:
                    raise StoreFailed(str(changed)) from None
            await self._pause()

    async def _run(self, work: Slices[T]) -> T:
        self._looked = self._monotonic()
        try:
            return await self._runner.run(work)
        except CancelledError:
            raise Stopped("the registrar was stopped") from None
        finally:
            self._tell()

    async def _pause(self) -> None:
        if self._isStopped:
            raise Stopped("the registrar was stopped")
        # A little longer, for the two clocks are not the same.
        pause: Deferred[None] = deferLater(self._clock, QUIET * 1.1, lambda: None)
        self._pauses[pause] = None
        try:
            await pause
        except CancelledError:
            raise Stopped("the registrar was stopped") from None
        finally:
            self._pauses.pop(pause, None)

    def _lookAgain(self) -> None:
        """
        See whether somebody edited the file, if nobody looked for some time.
        """
        now = self._monotonic()
        if self._isLooking or 0 <= now - self._looked < QUIET:
            return
        self._isLooking = True

        def done(result: object) -> None:
            self._isLooking = False
            if not isinstance(result, Failure):
                self._lookFailures.succeeded()
            elif not result.check(FileChanged, Stopped):
                self._lookFailures.failed(result)

        Deferred.fromCoroutine(self._run(self._refresh())).addBoth(done)

    def _tell(self) -> None:
        """
        Say what is to be said of a file that was read.
        """
        damaged, self._requests.damaged = self._requests.damaged, 0
        if damaged:
            self._log.warn(
                "{count} records of {path} cannot be read: those requests are not known again.",
                count=damaged,
                path=self._requests.path,
            )
        while self._keys.remarks:
            remarks = self._keys.remarks.popleft()
            self._log.info(
                "{path}: {count} agents, the highest id is {highest}.",
                path=self._keys.path,
                count=remarks.agents,
                highest=remarks.highest,
            )
            self._tellFaults(remarks)

    def _tellFaults(self, remarks: Remarks) -> None:
        told = {(fault.what, fault.mark) for fault in remarks.faults}
        new = [fault for fault in remarks.faults if (fault.what, fault.mark) not in self._told]
        for fault in new:
            self._log.warn(
                "{path}, line {line}: {what}; the line stays as it is.",
                path=self._keys.path,
                line=fault.line,
                what=fault.what,
            )
        if new and remarks.more:
            self._log.warn(
                "{path}: {count} more lines are damaged, or have the id or name of another.",
                path=self._keys.path,
                count=remarks.more,
            )
        if remarks.others and remarks.others != self._toldOthers:
            self._log.info(
                "{path}: {count} lines are remarks and stay as they are.",
                path=self._keys.path,
                count=remarks.others,
            )
        self._told, self._toldOthers = told, remarks.others

    # All below runs on the runner.

    def _refresh(self) -> Slices[None]:
        """
        Read what is not known yet, or is not as it was.
        """
        yield
        if not self._isRemembered:
            yield from self._requests.load()
            self._highest = max(self._highest, self._loadHighest(), self._requests.highest)
            self._unsettled.update(entry.key for entry in self._requests.undone())
            self._removedBefore = self._requests.removed()
            self._isRemembered = True
        before = self._keys.index
        yield from self._keys.refresh(self._monotonic())
        try:
            yield from self._times.refresh()
            self._areTimesKnown = True
        except (StoreFailed, FileChanged) as error:
            self._areTimesKnown, self._timesFailure = False, error
        assert self._keys.index is not None
        if self._keys.index is not before:
            self._isOwed = True
        self._highest = max(self._highest, self._keys.index.highest, self._times.highest)
        self._isLoaded = True

    def _commit(self, operations: Sequence[Operation]) -> Slices[Settled]:
        yield from self._refresh()
        if self._isOwed:
            self._saveHighest()
        if self._requests.isDue():
            # What it knows of ids nobody else may know.
            self._saveHighest()
            self._requests.forget()
        unsettled = [Undo(key, refuse=False) for key in sorted(self._unsettled)]
        now = self._wallClock()
        verdicts: list[Verdict] = []
        with self._keys.open() as keys:
            draft = FileDraft(keys, self._requests, self._highest, self._when, now)
            judge = Judge(draft, self._policy, now, self._random)
            for n, operation in enumerate([*unsettled, *operations]):
                verdicts.append((yield from judge.decide(operation)))
                if n % _DECIDED_STEP == 0:
                    yield
            added, gone = tuple(draft.added.values()), tuple(draft.gone.values())
            asked = {a.id for v in verdicts if isinstance(v, Removed) for a in v.agents}
            replaced = [replacement(agent) for agent in gone if agent.id not in asked]
            self._requests.append([*draft.entries, *replaced])
            self._highest = draft.highest
            yield
            if added or gone or draft.kept:
                try:
                    yield from keys.replace(added, gone, draft.kept)
                except StoreFailed:
                    # Nobody can say whether they are in the file.
                    self._unsettled.update(e.key for e in draft.entries if not e.undone)
                    raise
        self._unsettled.clear()
        self._unnoted.update((agent.id, (agent, now)) for agent in added)
        yield from self._noteTimes(gone, keys.index)
        return Settled(verdicts[len(unsettled) :], added, gone)

    def _noteTimes(self, gone: Sequence[Agent], index: KeysIndex) -> Slices[None]:
        """
        Note the times. A registration stands without; they are noted with the
        next one then.
        """
        if not self._areTimesKnown:
            # Nothing is written over what could not be read.
            return
        self._timesFailure = None
        try:
            unnoted = [each for id, each in sorted(self._unnoted.items()) if index.has(id)]
            yield from self._times.replace(unnoted, [agent.id for agent in gone])
            self._unnoted.clear()
            if not self._isPruned:
                # Those that somebody removed while nothing ran here.
                yield from self._times.prune(index.has)
                self._isPruned = True
        except (StoreFailed, FileChanged) as error:
            self._timesFailure = error

    def _when(self, id: int) -> float | None:
        """
        When an agent was registered, in seconds since the epoch; 0 if nobody
        knows, C{None} if it cannot be said.
        """
        if id in self._unnoted:
            return self._unnoted[id][1]
        return self._times.when(id) if self._areTimesKnown else None

    def _get(self, id: int) -> Slices[Agent | None]:
        yield from self._refresh()
        with self._keys.open() as keys:
            return keys.get(id)

    def _page(self, after: int, most: int) -> Slices[Sequence[Agent]]:
        yield from self._refresh()
        with self._keys.open() as keys:
            return (yield from keys.page(after, most))

    def _see(self, id: int) -> Slices[None]:
        yield from self._refresh()
        self._highest = max(self._highest, id)
        self._saveHighest()

    def _loadHighest(self) -> int:
        kept = self._state.load(_HIGHEST)
        if kept is None:
            return 0
        text = kept.strip()
        if not (text.isdigit() and len(text) <= 8):
            raise StateDamaged(
                "it is not the number of an agent",
                f"the state {_HIGHEST!r}",
                "write the highest id that was ever given into it",
            )
        self._saved = int(text)
        return self._saved

    def _saveHighest(self) -> None:
        if self._highest <= self._saved:
            self._isOwed = False
            return
        try:
            self._state.save(_HIGHEST, b"%d\n" % self._highest)
        except OSError as error:
            raise StoreFailed(
                f"the state {_HIGHEST!r} cannot be written: {error.strerror or error}: "
                "look at its disk and permissions"
            ) from error
        self._saved = self._highest
        self._isOwed = False
