"""
How fast a peer may go, and how slowly: what is worked on for it in one turn of
the reactor, how long a box may take to come, and how many answers it may leave
unread.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.protocols.amp import AmpError
from twisted.python.failure import Failure

from wazuh_cluster.errors import ClusterError

#: In how many seconds answers must go out to be taken for a flood.
_LATELY = 60.0


class Turn:
    """
    Counts the boxes of one turn of the reactor, so that a peer with much to
    say takes turns with the others.

    @ivar over: there were enough in this one.
    """

    def __init__(self, clock: IReactorTime, most: int, ended: Callable[[], None]) -> None:
        """
        @param most: how many boxes are enough.
        @param ended: called at the end of a turn that was over.
        """
        self.over = False
        self._clock = clock
        self._most = most
        self._ended = ended
        self._count = 0
        self._call: IDelayedCall | None = None

    def count(self) -> bool:
        """
        There is another box.

        @return: whether that was enough.
        """
        self._count += 1
        # Not for each: a transfer has a chunk in a turn.
        if self._call is None and 2 * self._count >= self._most:
            self._call = self._clock.callLater(0, self._next)
        self.over = self._count >= self._most
        return self.over

    def close(self) -> None:
        """
        There are no more.
        """
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _next(self) -> None:
        self._call = None
        self._count = 0
        over, self.over = self.over, False
        if over:
            self._ended()


class Unfinished:
    """
    Bounds the time from a box's first byte to its last.
    """

    def __init__(self, clock: IReactorTime, timeout: float, late: Callable[[], None]) -> None:
        """
        @param timeout: in seconds.
        @param late: called when one took longer.
        """
        self._clock = clock
        self._timeout = timeout
        self._late = late
        self._box = 0
        self._timer: IDelayedCall | None = None

    def began(self, box: int) -> None:
        """
        A box is not all there.

        @param box: its number.
        """
        if self._timer is not None and box == self._box:
            return
        self.close()
        self._box = box
        self._timer = self._clock.callLater(self._timeout, self._expired)

    def close(self) -> None:
        """
        None is begun; or it is this end that does not read.
        """
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _expired(self) -> None:
        self._timer = None
        self._late()


class Unread:
    """
    Counts answers that the peer has not shown to have read. That the system
    took them for it says nothing; that it answers a question which was written
    behind them does.
    """

    def __init__(self, clock: IReactorTime, most: int, ask: Callable[[], Deferred[object]]) -> None:
        """
        @param most: after how many answers the peer must show that it reads.
        @param ask: asks it something; if it does not answer, the link ends.
        """
        self._clock = clock
        self._most = most
        self._ask = ask
        self._count = 0
        self._since = 0.0
        self._asking = False

    def answered(self) -> None:
        """
        An answer was written.
        """
        self._count += 1
        if self._count == 1:
            self._since = self._clock.seconds()
        elif self._count >= self._most and not self._asking:
            self._count = 0
            # Who asks now and then is heard of otherwise.
            if self._clock.seconds() - self._since <= _LATELY:
                self._asking = True
                self._ask().addBoth(self._shown)

    def _shown(self, outcome: object) -> None:
        self._asking = False
        # An end that does not know the question has read it; and whoever ends
        # a link says why.
        if isinstance(outcome, Failure):
            outcome.trap(ClusterError, AmpError)
            # Its frames would keep the whole connection for a while.
            outcome.cleanFailure()
