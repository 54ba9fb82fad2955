"""
One stream of data that cannot be compressed, over TLS between two processes,
without any disk: C{python -m benchmarks.streaming WAY END PORT SIZE}.

The way is C{transfer}, as nodes do it, or C{blocking}, a plain loop over a socket
that blocks: the limit. The end that sends says its port; each says at its end,
as JSON, how long it took and what processor time.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import ClientFactory, Factory
from zope.interface import implementer

from wazuh_cluster.memory import tuneAllocator
from wazuh_cluster.model import MASTER, WORKER, Identity, NodeName
from wazuh_cluster.protocol import ISink, ISource, Limits, Peer, Transfers
from wazuh_cluster.trust import ClusterKey, KeyTrust
from wazuh_cluster.trust.tls import makeContext

ADDRESS = "127.0.0.1"
TRANSFER, BLOCKING = "transfer", "blocking"

# Of no cluster.
_KEY = "Zk3mP9qXv7Lw2RtY8bNc4HsD6fGj1AeU"
_BLOCK = os.urandom(520_000)
_NUMBER = 1


class Clocks:
    """
    Time, and processor time of this process, since it was made.
    """

    def __init__(self) -> None:
        self._began, self._used = time.perf_counter(), time.process_time()

    def say(self) -> None:
        """
        Print both.
        """
        seconds, used = time.perf_counter() - self._began, time.process_time() - self._used
        print(json.dumps({"seconds": seconds, "processor": used}), flush=True)


@implementer(ISource)
class Noise:
    """
    So many bytes.
    """

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int) -> Deferred[bytes]:
        """
        The next of them.
        """
        part = _BLOCK[: min(size, self._left)]
        self._left -= len(part)
        return succeed(part)

    def close(self) -> None:
        """
        Nothing is open.
        """


@implementer(ISink)
class Nowhere:
    """
    Takes all, and keeps nothing.
    """

    def write(self, chunks: list[bytes]) -> Deferred[None]:
        """
        Forget it.
        """
        return succeed(None)

    def finish(self) -> Deferred[object]:
        """
        That was all.
        """
        return succeed(None)

    def abort(self) -> None:
        """
        There is nothing to give back.
        """


def transfer(end: str, port: int, size: int) -> None:
    """
    One end of a transfer on a link, as the daemon has it.
    """
    from twisted.internet import reactor as installed

    reactor: Any = installed
    tuneAllocator()
    limits = Limits()
    trust = KeyTrust(ClusterKey(_KEY), Identity("wazuh", end, NodeName(end)))

    def build() -> Peer:
        transfers = Transfers(end, reactor, limits)

        def shaken(peer: Peer) -> None:
            peer.admit()
            clocks = Clocks()
            moved: Deferred[Any]
            if end == MASTER:
                moved = transfers.send(_NUMBER, Noise(size), limits.window)
            else:
                moved = transfers.receive(_NUMBER, Nowhere())
            moved.addCallback(lambda _: clocks.say())
            # The receiver ends last: it has all then.
            moved.addBoth(lambda _: peer.whenClosed() if end == MASTER else peer.close())
            moved.addBoth(lambda _: reactor.callLater(0, reactor.stop))

        peer = Peer(_other(end), [transfers], reactor, limits, shaken, transfers)
        transfers.attach(peer)
        return peer

    if end == MASTER:
        listening = reactor.listenTCP(
            0, trust.wrapServer(_Builds(build), reactor), interface=ADDRESS
        )
        print(listening.getHost().port, flush=True)
    else:
        reactor.connectTCP(ADDRESS, port, trust.wrapClient(_Dials(build), reactor))
    reactor.run()


class _Builds(Factory):
    noisy = False

    def __init__(self, build: Callable[[], Peer]) -> None:
        self._build = build

    def buildProtocol(self, addr: object) -> Peer:
        return self._build()


class _Dials(_Builds, ClientFactory):
    pass


def blocking(end: str, port: int, size: int) -> None:
    """
    The same with a socket that blocks, and the same certificates and cipher.
    """
    tuneAllocator()
    context = makeContext(ClusterKey(_KEY).derive().issue(Identity("wazuh", end, end)))
    with socket.socket() as plain:
        if end == MASTER:
            plain.bind((ADDRESS, 0))
            plain.listen(1)
            print(plain.getsockname()[1], flush=True)
            connected, _ = plain.accept()
            link = SSL.Connection(context, connected)
            link.set_accept_state()
        else:
            plain.connect((ADDRESS, port))
            link = SSL.Connection(context, plain)
            link.set_connect_state()
        link.do_handshake()
        clocks = Clocks()
        left = size
        buffer = bytearray(64 * 1024)
        while left > 0:
            if end == MASTER:
                link.sendall(_BLOCK[:left])
                left -= len(_BLOCK)
            else:
                left -= link.recv_into(buffer)
        clocks.say()


def _other(end: str) -> str:
    return WORKER if end == MASTER else MASTER


if __name__ == "__main__":
    _way, _end, _port, _size = sys.argv[1:]
    {TRANSFER: transfer, BLOCKING: blocking}[_way](_end, int(_port), int(_size))
