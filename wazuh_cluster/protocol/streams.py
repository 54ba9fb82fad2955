"""
Sources and sinks of transfers over what is at hand: bytes in memory, and
blocking objects on a runner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.failures import oneLine
from wazuh_cluster.interfaces import IRunner
from wazuh_cluster.journal import MAIN, Journal
from wazuh_cluster.protocol.interfaces import ISink, ISource

#: How many chunks a decoder is fed at once, at most.
TOGETHER = 16

T_co = TypeVar("T_co", covariant=True)

_log = Journal(MAIN)


class BlockingSource(Protocol):
    """
    What L{RunnerSource} reads.
    """

    def read(self, size: int) -> bytes:
        """
        The next bytes; C{b""} at the end.
        """

    def close(self) -> None:
        """
        No more is wanted.
        """


class Decoder(Protocol[T_co]):
    """
    What takes a stream in, piece by piece.
    """

    def feed(self, data: bytes) -> None:
        """
        Take in the next bytes.
        """

    def finish(self) -> T_co:
        """
        What came of it all.
        """


@implementer(ISource)
class BytesSource:
    """
    Bytes that are in memory already, and may be so for many transfers at once.
    """

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)

    def read(self, size: int) -> Deferred[bytes]:
        """
        The next bytes, at once.
        """
        block, self._content = bytes(self._content[:size]), self._content[size:]
        return succeed(block)

    def close(self) -> None:
        """
        Let go of the bytes.
        """
        self._content = memoryview(b"")


@implementer(ISource)
class RunnerSource:
    """
    A blocking source, read on a runner.
    """

    def __init__(self, runner: IRunner, blocking: BlockingSource) -> None:
        self._runner = runner
        self._blocking = blocking

    def read(self, size: int) -> Deferred[bytes]:
        """
        The next bytes, when the runner has read them.
        """
        return self._runner.call(self._blocking.read, size)

    def close(self) -> None:
        """
        Close the blocking source after a read that may be under way.
        """
        self._runner.call(self._blocking.close).addErrback(_closeFailed)


@implementer(ISource)
class LaterSource:
    """
    A source that is not known yet when its transfer is opened.
    """

    def __init__(self) -> None:
        self._source: ISource | None = None
        self._failure: Failure | None = None
        self._reading: tuple[Deferred[bytes], int] | None = None
        self._closed = False

    def become(self, source: ISource) -> None:
        """
        Read from this one from now on.
        """
        if self._closed:
            source.close()
            return
        self._source = source
        if self._reading is not None:
            (waiting, size), self._reading = self._reading, None
            source.read(size).chainDeferred(waiting)

    def fail(self, failure: Failure) -> None:
        """
        There will be no source, for this reason.
        """
        self._failure = failure
        if self._reading is not None:
            (waiting, _), self._reading = self._reading, None
            waiting.errback(failure)

    def read(self, size: int) -> Deferred[bytes]:
        """
        The next bytes, when there is a source.
        """
        if self._source is not None:
            return self._source.read(size)
        waiting: Deferred[bytes] = Deferred()
        if self._failure is not None:
            waiting.errback(self._failure)
        else:
            self._reading = (waiting, size)
        return waiting

    def close(self) -> None:
        """
        Close what it became, now or when it does.
        """
        self._closed = True
        if self._source is not None:
            self._source.close()


@implementer(ISink)
class RunnerSink:
    """
    A blocking decoder, fed on a runner.
    """

    def __init__(
        self, runner: IRunner, decoder: Decoder[object], aborted: Callable[[], None] | None = None
    ) -> None:
        """
        @param aborted: called on the runner if the end does not come.
        """
        self._runner = runner
        self._decoder = decoder
        self._aborted = aborted

    def write(self, chunks: list[bytes]) -> Deferred[None]:
        """
        Feed the decoder.
        """
        return self._runner.call(self._feed, chunks)

    def _feed(self, chunks: list[bytes]) -> None:
        # Joined they cost a copy, and a decoder is called less, and writes and
        # hashes more at once.
        for start in range(0, len(chunks), TOGETHER):
            self._decoder.feed(b"".join(chunks[start : start + TOGETHER]))

    def finish(self) -> Deferred[object]:
        """
        What the decoder made of it.
        """
        return self._runner.call(self._decoder.finish)

    def abort(self) -> None:
        """
        Tell the decoder's owner, after a write that may be under way.
        """
        if self._aborted is not None:
            self._runner.call(self._aborted).addErrback(_closeFailed)


def _closeFailed(failure: Failure) -> None:
    # The runner was stopped, or a file that is not wanted any more could not
    # be closed: nothing depends on it.
    _log.debug("Not closed: {reason}", reason=oneLine(failure))
