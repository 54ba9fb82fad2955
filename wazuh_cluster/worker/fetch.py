"""
Fetching: the master's manifest, and the contents that a worker lacks, over one
link's transfers.
"""

from __future__ import annotations

import inspect
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import Factory, define, frozen
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wazuh_cluster.errors import ProtocolViolation, Stopped, TransferAborted
from wazuh_cluster.integrity import (
    Items,
    Manifest,
    Needed,
    PackReader,
    Plan,
    Receiver,
    Staging,
)
from wazuh_cluster.integrity.difference import (
    Difference,
    Misfit,
    applyDifference,
    markOf,
)
from wazuh_cluster.integrity.differencedecoder import UpdateDecoder
from wazuh_cluster.interfaces import IRunner, Slices
from wazuh_cluster.journal import INTEGRITY_CHECK, INTEGRITY_SYNC, Journal
from wazuh_cluster.model import Generation
from wazuh_cluster.protocol import (
    BytesSource,
    ClusterCommand,
    Codec,
    Limits,
    Peer,
    RequestFiles,
    RequestManifest,
    RunnerSink,
    Transfers,
)
from wazuh_cluster.protocol.compression import Decompressed, choose, offer
from wazuh_cluster.worker.memory import Applied
from wazuh_cluster.worker.postponed import Postponed

#: Packs that are under way at once, each staged in a thread of its own: while
#: one is hashed the other is written, or opened.
LANES = 2

#: What one pack is asked to hold at most, in files, in bytes, and in bytes of
#: their paths; a file that is larger goes alone.
PACK_FILES = 2000
PACK_BYTES = 64 * 1024 * 1024
PACK_PATHS = 1024 * 1024

#: How many bytes a pack may have beyond twice those of the manifest: what is
#: beside the contents.
EXCESS = 64 * 1024 * 1024

#: After how many bytes what was staged begins to be written to the disk.
FLUSH_BYTES = 8 * 1024 * 1024

#: How many files are looked at between two yields.
_STEP = 8192


@define
class Progress:
    """
    How far a fetch has come.

    @ivar files: how many files are to come.
    @ivar bytes: how many bytes that is.
    @ivar filesStaged: how many of them were here already, whole.
    @ivar bytesStaged: how many of the bytes were here already.
    @ivar receivers: of the packs so far. Each counts by itself, in its own
        thread.
    """

    files: int = 0
    bytes: int = 0
    filesStaged: int = 0
    bytesStaged: int = 0
    receivers: list[Receiver] = Factory(list)

    @property
    def filesDone(self) -> int:
        """
        How many files are here, whole.
        """
        return self.filesStaged + sum(each.files for each in self.receivers)

    @property
    def bytesDone(self) -> int:
        """
        How many bytes came.
        """
        return sum(each.received for each in self.receivers)


class PackDecoder:
    """
    Reads a pack into the staging folder.
    """

    def __init__(self, receiver: Receiver, expected: Callable[[], int]) -> None:
        """
        @param expected: how many bytes of content are to come; asked once, on
            the runner.
        """
        self._expected = expected
        self._most: int | None = None
        self._receiver = receiver
        self._reader = PackReader(receiver)
        self._decompressed: Decompressed | None = None

    def decompress(self, codec: Codec | None) -> None:
        """
        The pack travels compressed. To be called before any of it comes.
        """
        if codec is not None:
            self._decompressed = Decompressed(self._take, codec)

    def feed(self, data: bytes) -> None:
        """
        Take in the next bytes.

        @raise TransferAborted: when far more came than the manifest says.
        """
        if self._decompressed is None:
            self._take(data)
        else:
            self._decompressed.feed(data)

    def _take(self, data: bytes) -> None:
        if self._most is None:
            self._most = 2 * self._expected() + EXCESS
        self._reader.feed(data)
        if self._receiver.received > self._most:
            raise TransferAborted("the files are larger than the master's manifest says")

    def finish(self) -> Receiver:
        """
        The receiver, which knows what could not be had.
        """
        if self._decompressed is not None:
            self._decompressed.finish()
        self._reader.finish()
        self._receiver.close()
        return self._receiver

    def abort(self) -> None:
        """
        Keep what came so far.
        """
        self._receiver.close()


@frozen
class Runners:
    """
    Where a worker's blocking work runs.

    @ivar main: all that has no runner of its own; nothing that waits for the
        others.
    @ivar staging: packs are hashed and staged there, each by one of them; as
        many are under way at once.
    @ivar flush: what was staged is written to the disk there, while more comes.
    """

    main: IRunner
    staging: tuple[IRunner, ...]
    flush: IRunner

    @classmethod
    def make(cls, make: Callable[[str], IRunner]) -> Runners:
        """
        Make them.

        @param make: makes the runner of a name.
        """
        staging = tuple(make(f"staging-{n + 1}") for n in range(LANES))
        return cls(make("integrity"), staging, make("flush"))

    async def idle(self) -> None:
        """
        Wait until nothing is staged any more: what a cut left under way.
        """
        for runner in self.staging:
            await runner.call(_nothing)

    def stop(self) -> None:
        """
        Stop them all.
        """
        for runner in (self.main, *self.staging, self.flush):
            runner.stop()


class Fetcher:
    """
    Fetches over one link.
    """

    def __init__(
        self,
        peer: Peer,
        transfers: Transfers,
        runners: Runners,
        items: Items,
        limits: Limits,
        clock: IReactorTime,
        postponed: Postponed,
        codecs: Sequence[Codec] = (),
    ) -> None:
        """
        @param postponed: outlives the link.
        @param codecs: what packs can be taken in compressed with.
        """
        self._peer = peer
        self._transfers = transfers
        self._runners = runners
        self._runner = runners.main
        self._unflushed = 0
        self._flushing = False
        self._items = items
        self._limits = limits
        self._clock = clock
        self._postponed = postponed
        self._codecs = codecs
        self._log = Journal(INTEGRITY_CHECK)
        self._sync = Journal(INTEGRITY_SYNC)

    async def manifest(
        self, known: Applied | None
    ) -> tuple[Generation, Manifest, frozenset[bytes] | None]:
        """
        The master's current manifest.

        @param known: the one of an earlier generation, if there is one: then
            what changed since is enough.
        @return: its generation, itself, and the paths of the files that are not
            as in C{known}; C{None} if that is not known.
        """
        if known is not None:
            try:
                return await self._manifestFrom(known)
            except Misfit as misfit:
                self._log.info(
                    "The master's changes do not fit the manifest that is kept here, which is "
                    "fetched anew: {reason}.",
                    reason=str(misfit),
                )
        generation, manifest = await self._update(None)
        assert isinstance(manifest, Manifest)
        return generation, manifest, None

    async def _manifestFrom(
        self, known: Applied
    ) -> tuple[Generation, Manifest, frozenset[bytes] | None]:
        """
        @raise Misfit: if what the master says of changes cannot be so.
        """
        mark = markOf(known.generation.root, known.manifest.held)
        generation, update = await self._update(mark)
        if isinstance(update, Manifest):
            return generation, update, None
        manifest = await self._runner.run(applyDifference(known.manifest, update))
        if await self._runner.run(manifest.rootSlices(self._items)) != generation.root:
            raise Misfit("what comes of it has another root")
        return generation, manifest, frozenset(update.paths())

    async def _update(self, mark: bytes | None) -> tuple[Generation, Manifest | Difference]:
        number = self._transfers.number()
        decoder = UpdateDecoder(
            self._items, mark, self._limits.manifestFiles, self._limits.manifestBytes
        )
        receiving: Deferred[Manifest | Difference] = self._transfers.receive(  # type: ignore[assignment]
            number, RunnerSink(self._runner, decoder), self._limits.manifestBytes, digested=True
        )
        answer = await self._opened(
            RequestManifest,
            number,
            receiving,
            transfer=number,
            window=self._transfers.window,
            mark=mark,
        )
        update = await receiving
        self._postponed.renew()
        return (
            Generation(
                answer["master"], answer["number"], answer["root"], answer.get("epoch") or 0
            ),
            update,
        )

    async def contents(self, staging: Staging, plan: Plan, progress: Progress) -> dict[bytes, str]:
        """
        Bring the contents that a plan needs into the staging folder.

        @return: path to one line, of those that could not be had.
        """
        now = self._clock.seconds()
        self._postponed.forgetOld(now)
        failures: dict[bytes, str] = {}

        def left(digest: bytes, size: int) -> bool:
            why = self._postponed.why(digest, size, now, lambda: staging.folder.room)
            if why is not None:
                failures[digest] = why
            return why is not None

        batches = _batches(plan, progress, left)

        going = [True]

        async def lane(runner: IRunner) -> None:
            while going:
                needed = await self._runner.run(_next(batches, staging, plan, progress))
                if needed is None:
                    return
                if needed.indexes:
                    receiver = await self._pack(runner, staging, plan, needed, progress)
                    self._staged(staging, receiver)
                    self._note(plan, needed, receiver, failures)

        coroutines = [lane(runner) for runner in self._runners.staging]
        lanes = [Deferred.fromCoroutine(each) for each in coroutines]
        try:
            await gatherResults(lanes, consumeErrors=True)
        except Exception as error:
            going.clear()
            for coroutine, each in zip(coroutines, lanes, strict=True):
                # What one lane does can end another, which comes here within it;
                # that one ends by itself, for there is nothing more to do.
                if inspect.getcoroutinestate(coroutine) != inspect.CORO_RUNNING:
                    each.cancel()
            raise _firstError(error) from None
        return await self._runner.run(_byPath(plan, failures)) if failures else {}

    def _note(
        self, plan: Plan, needed: Needed, receiver: Receiver, failures: dict[bytes, str]
    ) -> None:
        """
        Note what came of a pack, and what could not be had, by digest.
        """
        if not receiver.failures and not self._postponed:
            return
        manifest, now = plan.manifest, self._clock.seconds()
        for index in needed.indexes:
            digest = manifest.digest(index)
            why = receiver.failures.get(manifest.paths[index])
            if why is None:
                self._postponed.came(digest)
                continue
            failures[digest] = why
            full = receiver.noRoom.get(digest)
            self._postponed.failed(digest, why, manifest.sizes[index], now, full)

    async def _pack(
        self, runner: IRunner, staging: Staging, plan: Plan, needed: Needed, progress: Progress
    ) -> Receiver:
        wants, number = self._transfers.number(), self._transfers.number()
        receiver = Receiver(staging, plan.manifest, needed, self._items, plan.owner)
        progress.receivers.append(receiver)
        decoder = PackDecoder(receiver, lambda: _sizeOf(plan.manifest, needed.indexes))
        receiving: Deferred[Receiver] = self._transfers.receive(  # type: ignore[assignment]
            number, RunnerSink(runner, decoder, decoder.abort)
        )
        try:
            answer = await self._opened(
                RequestFiles,
                number,
                receiving,
                wants=wants,
                transfer=number,
                window=self._transfers.window,
                algorithm=plan.manifest.algorithm,
                compressions=offer(self._codecs),
            )
            decoder.decompress(self._agreed(answer["compression"]))
            sending = self._transfers.send(
                wants, BytesSource(needed.wants.encoded), answer["window"], digested=True
            )
            sending.addErrback(self._wantsFailed, number)
            return await receiving
        except GeneratorExit:
            # It was forgotten, with all that it is about: what its end would set
            # going cannot go on in it.
            number = 0
            raise
        finally:
            if number:
                # Nobody waits for it now.
                receiving.addErrback(lambda _: None)
                self._transfers.abort(number, "not wanted any more")

    def _agreed(self, name: str | None) -> Codec | None:
        """
        @raise ProtocolViolation: if that was not offered.
        """
        if name is None:
            return None
        codec = choose(self._codecs, name)
        if codec is None:
            raise ProtocolViolation("it compresses in a way that it was not offered")
        return codec

    def _staged(self, staging: Staging, receiver: Receiver) -> None:
        """
        A pack came. If that was much, begin to write it to the disk: nobody
        waits for it.
        """
        self._unflushed += receiver.received
        if self._unflushed >= FLUSH_BYTES and not self._flushing:
            self._flushing, self._unflushed = True, 0
            self._runners.flush.call(staging.flush).addBoth(self._flushed)

    def _flushed(self, result: object) -> None:
        self._flushing = False
        if isinstance(result, Failure) and not result.check(CancelledError, Stopped):
            self._sync.failure("What was staged could not be flushed: this is a bug.", result)

    async def _opened(
        self,
        command: type[ClusterCommand],
        number: int,
        receiving: Deferred[Any],
        **arguments: Any,
    ) -> dict[str, Any]:
        try:
            return await self._peer.call(command, **arguments)
        except GeneratorExit:
            # See above.
            raise
        except BaseException:
            # Nobody waits for the transfer now.
            receiving.addErrback(lambda _: None)
            self._transfers.abort(number, "it was not opened")
            raise

    def _wantsFailed(self, failure: Failure, number: int) -> None:
        self._transfers.abort(number, failure.getErrorMessage())


def _nothing() -> None:
    pass


# What follows goes over all files, and runs on the runner.


def _batches(
    plan: Plan, progress: Progress, isLeft: Callable[[bytes, int], bool]
) -> Iterator[array[int]]:
    """
    Each content once, in packs of a bounded size.

    @param isLeft: tells of a digest and size whether it is left alone now.
    """
    manifest, indexes = plan.manifest, plan.contents
    progress.files = len(indexes)
    progress.bytes = _sizeOf(manifest, indexes)
    seen: set[bytes] = set()
    batch = array("I")
    size = named = 0
    for index in indexes:
        digest = manifest.digest(index)
        if digest in seen:
            continue
        seen.add(digest)
        length = manifest.sizes[index]
        if isLeft(digest, length):
            continue
        if batch and (len(batch) >= PACK_FILES or size + length > PACK_BYTES or named > PACK_PATHS):
            yield batch
            batch, size, named = array("I"), 0, 0
        batch.append(index)
        size += length
        named += len(manifest.paths[index])
    if batch:
        yield batch


def _byPath(plan: Plan, failures: Mapping[bytes, str]) -> Slices[dict[bytes, str]]:
    """
    Why the contents of which paths could not be had.

    @param failures: the same by digest.
    """
    found: dict[bytes, str] = {}
    for steps, index in enumerate(plan.contents):
        if steps % _STEP == 0:
            yield
        why = failures.get(plan.manifest.digest(index))
        if why is not None:
            found[plan.manifest.paths[index]] = why
    return found


def _next(
    batches: Iterator[array[int]], staging: Staging, plan: Plan, progress: Progress
) -> Slices[Needed | None]:
    """
    What is missing of the next batch; C{None} after the last.
    """
    batch = next(batches, None)
    if batch is None:
        return None
    yield
    manifest = plan.manifest
    needed = yield from staging.needed(manifest, batch)
    progress.filesStaged += len(batch) - len(needed.indexes)
    progress.bytesStaged += _sizeOf(manifest, batch) - _sizeOf(manifest, needed.indexes)
    progress.bytesStaged += sum(want.offset for want in needed.wants)
    return needed


def _sizeOf(manifest: Manifest, indexes: Iterable[int]) -> int:
    return sum(manifest.sizes[index] for index in indexes)


def _firstError(error: Exception) -> BaseException:
    if isinstance(error, FirstError) and error.subFailure.value is not None:
        return error.subFailure.value
    return error
