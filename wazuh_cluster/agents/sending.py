"""
One run of the thread Agent info: what is pending goes to the master, in
batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wazuh_cluster.agents.interfaces import IAgentBatchSource
from wazuh_cluster.agents.model import Batch

#: The size of a batch, in bytes: what fits into one box beside the rest.
BATCH_SIZE = 60_000

#: How many batches may be unanswered at a time: some are on their way, one is
#: taken apart, some are committed together. A hundred workers that join at once
#: cost their master this many boxes each.
FLIGHT = 6


@frozen
class Answer:
    """
    What a master says of a batch.

    @ivar taken: how many of its records it took.
    @ivar unknown: agents of it that are not registered.
    @ivar incomplete: agents of which it wants all that is known.
    """

    taken: int
    unknown: Sequence[int] = ()
    incomplete: Sequence[int] = ()


@define
class Sent:
    """
    What one run did.

    @ivar batches: how many were taken.
    @ivar records: how many records were in them.
    @ivar taken: how many of these the master took.
    @ivar unknown: how many are of agents that it does not know.
    @ivar incomplete: how many it wants with all that is known.
    """

    batches: int = 0
    records: int = 0
    taken: int = 0
    unknown: int = 0
    incomplete: int = 0

    @property
    def refused(self) -> int:
        """
        How many the master could not use, for another reason.
        """
        return max(0, self.records - self.taken - self.unknown - self.incomplete)


async def sendPending(
    source: IAgentBatchSource, send: Callable[[Batch], Awaitable[Answer]], done: Sent
) -> None:
    """
    Send what is pending when this begins. A few batches are under way at the
    same time: the order in which they are taken decides nothing.

    @param send: asks the master to take one batch. What it fails with ends
        this; the batches that were not taken are pending again.
    @param done: is told of each batch that was taken.
    """
    source.rewind()
    flight: deque[tuple[Batch, Deferred[Answer]]] = deque()
    try:
        while True:
            if len(flight) < FLIGHT:
                batch = await source.nextBatch(BATCH_SIZE)
                if batch is not None:
                    flight.append((batch, Deferred.fromCoroutine(_answer(send, batch))))
                    continue
            if not flight:
                return
            batch, answering = flight[0]
            answer = await answering
            flight.popleft()
            await source.batchTaken(batch, answer.unknown, answer.incomplete)
            done.batches += 1
            done.records += batch.count
            done.taken += answer.taken
            done.unknown += len(answer.unknown)
            done.incomplete += len(answer.incomplete)
    finally:
        for _, answering in flight:
            answering.addErrback(_forget)
            answering.cancel()


async def _answer(send: Callable[[Batch], Awaitable[Answer]], batch: Batch) -> Answer:
    return await send(batch)


def _forget(failure: Failure) -> None:
    """
    The first failure is the one that is told.
    """
