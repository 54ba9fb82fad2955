"""
LocalAgents: the records of the agents that report to this node, in a SQLite
file, until the master has taken them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from time import time

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from wazuh_cluster.agents.ahead import Ahead
from wazuh_cluster.agents.database import Database
from wazuh_cluster.agents.heard import HeardBatch
from wazuh_cluster.agents.interfaces import IAgentBatchSource, IReports
from wazuh_cluster.agents.localtables import LocalTables, Place
from wazuh_cluster.agents.model import AgentRecord, Batch
from wazuh_cluster.agents.records import checkRecord
from wazuh_cluster.agents.transactions import Transactions
from wazuh_cluster.interfaces import IRunner
from wazuh_cluster.uptime import bootId, uptime

#: How many batches are ready before they are asked for, at least.
_AHEAD = 4

#: A change that never comes.
_NEVER = 2**62


@implementer(IAgentBatchSource, IReports)
class LocalAgents:
    """
    An L{IAgentSource<wazuh_cluster.agents.interfaces.IAgentSource>} in one
    file, whose records are L{report}ed by local programs or by an application
    that embeds the node.

    A restart forgets nothing. After a restart of the system a record's age is
    what the two wall clocks say, and at least the time since that restart: it
    never looks newer than it may be.
    """

    def __init__(
        self,
        database: Database,
        runner: IRunner,
        *,
        clock: Callable[[], float] = uptime,
        wallClock: Callable[[], float] = time,
        boot: Callable[[], str] = bootId,
    ) -> None:
        """
        @param database: see
            L{localDatabase<wazuh_cluster.agents.localtables.localDatabase>}.
        @param runner: this source's own.
        @param clock: see L{uptime}; C{heard} is on it.
        @param boot: what tells this start of the system from others. Blocks.
        """
        self._database = database
        self._runner = runner
        self._clock = clock
        self._tables = LocalTables(database, clock, wallClock, boot)
        self._commits = Transactions(runner, self._tables.change, "the store of this node's agents")
        self._subscribers: list[Callable[[], None]] = []
        # How often all was marked; the change up to which all was taken since,
        # and single ones behind it.
        self._mark = 0
        self._taken = 0
        self._ahead: set[int] = set()
        self._batches: Ahead[Batch] | None = None

    # What programs say.

    def report(self, records: Iterable[AgentRecord]) -> Deferred[int]:
        """
        These agents were heard. When it fires that is kept; what is older than
        what is here changes nothing.

        @param records: C{heard} is by L{uptime}, what is later than now counts
            as now. C{node} means nothing. One without details is about what is
            known already.
        @return: how many were new.
        @raise RecordRefused: if one of them cannot be kept; then none is.
        """
        kept = list(records)
        for record in kept:
            checkRecord(record)
        batch = HeardBatch.of(kept)
        now = self._clock()
        return self._commits.add(
            lambda connection: self._tables.keep(connection, batch, now), batch.size
        ).addCallback(self._reported)

    # The port.

    def markAll(self) -> Deferred[None]:
        """
        See L{IAgentSource<wazuh_cluster.agents.interfaces.IAgentSource>}.
        """
        self._mark += 1
        self._taken = 0
        self._ahead.clear()
        return self._commits.add(self._tables.forgetUnknown)

    def pending(self, most: int) -> Deferred[Sequence[AgentRecord]]:
        """
        See L{IAgentSource<wazuh_cluster.agents.interfaces.IAgentSource>}.
        """
        return self._runner.run(
            self._tables.readPending(most, self._taken, frozenset(self._ahead))
        ).addCallback(self._passOver, self._mark)

    def taken(self, records: Sequence[AgentRecord]) -> Deferred[None]:
        """
        See L{IAgentSource<wazuh_cluster.agents.interfaces.IAgentSource>}.
        """
        return self._runner.run(self._tables.find(HeardBatch.of(records))).addCallback(
            self._takenAhead, self._mark
        )

    def unknown(self, ids: Collection[int]) -> Deferred[None]:
        """
        See L{IAgentSource<wazuh_cluster.agents.interfaces.IAgentSource>}.
        """
        kept = tuple(ids)
        return self._commits.add(
            lambda connection: self._tables.answered(connection, kept, ())
        ).addCallback(self._takenAhead, self._mark)

    def registered(self, ids: Iterable[int]) -> Deferred[None]:
        """
        See L{IAgentSource<wazuh_cluster.agents.interfaces.IAgentSource>}.
        C{ids} is read in another thread.
        """
        return self._commits.add(
            lambda connection: self._tables.compare(connection, iter(ids))
        ).addCallback(lambda again: self._tell() if again else None)

    def removed(self, ids: Collection[int]) -> Deferred[None]:
        """
        See L{IAgentSource<wazuh_cluster.agents.interfaces.IAgentSource>}.
        """
        gone = tuple(ids)
        return self._commits.add(lambda connection: self._tables.forget(connection, gone))

    def subscribe(self, changed: Callable[[], None]) -> None:
        """
        See L{IAgentSource<wazuh_cluster.agents.interfaces.IAgentSource>}.
        """
        self._subscribers.append(changed)

    def stop(self) -> None:
        """
        See L{IAgentSource<wazuh_cluster.agents.interfaces.IAgentSource>}.
        """
        self._commits.stop()
        # However that ends, there is nothing more to run.
        self._runner.call(self._database.close).addBoth(lambda _: self._runner.stop())

    def rewind(self) -> None:
        """
        See L{IAgentBatchSource<wazuh_cluster.agents.interfaces.IAgentBatchSource>}.
        """
        self._batches = None

    def nextBatch(self, size: int) -> Deferred[Batch | None]:
        """
        See L{IAgentBatchSource<wazuh_cluster.agents.interfaces.IAgentBatchSource>}.
        """
        if self._batches is None:
            self._batches = Ahead(self._writer(size), _AHEAD)
        return self._batches.next()

    def batchTaken(
        self, batch: Batch, unknown: Collection[int], incomplete: Collection[int]
    ) -> Deferred[None]:
        """
        See L{IAgentBatchSource<wazuh_cluster.agents.interfaces.IAgentBatchSource>}.
        """
        place = batch.token
        assert isinstance(place, Place)
        if place.mark == self._mark and place.given <= self._taken:
            self._taken = max(self._taken, place.until)
        kept, wanted = tuple(unknown), tuple(incomplete)
        if not (kept or wanted):
            return succeed(None)
        return self._commits.add(
            lambda connection: self._tables.answered(connection, kept, wanted)
        ).addCallback(lambda _: None)

    def _writer(self, size: int) -> Callable[[], Deferred[Sequence[Batch]]]:
        """
        What writes batches of what is pending now, on and on.
        """
        last = self._tables.last
        until = _NEVER if last is None else last
        place = Place(self._mark, self._taken, self._taken)

        def write() -> Deferred[Sequence[Batch]]:
            work = self._tables.write(place, self._taken, until, size)
            return self._runner.run(work).addCallback(wrote)

        def wrote(batches: Sequence[Batch]) -> Sequence[Batch]:
            nonlocal place
            for batch in batches:
                assert isinstance(batch.token, Place)
                place = Place(place.mark, batch.token.until, batch.token.until)
            return batches

        return write

    def _reported(self, result: tuple[int, bool]) -> int:
        newer, news = result
        if news:
            self._tell()
        return newer

    def _tell(self) -> None:
        for changed in self._subscribers:
            changed()

    def _takenAhead(self, changes: Iterable[int], mark: int) -> None:
        """
        Single changes that the master took, wherever they stand.
        """
        if mark == self._mark:
            self._ahead.update(change for change in changes if change > self._taken)

    def _passOver(self, found: tuple[int, list[AgentRecord]], mark: int) -> Sequence[AgentRecord]:
        taken, records = found
        if mark == self._mark and taken > self._taken:
            self._taken = taken
            self._ahead = {change for change in self._ahead if change > taken}
        return records
