"""
TLS for links that move much: many records for each call from and to Twisted.

Twisted's own encrypts, flushes and writes for each record of 16 KiB, and hands
up each record that it decrypts by itself: with bulk that is a third of what a
transfer costs. What is done here instead leans on private parts of Twisted; it
is done only after C{widen}, and only where all of those parts are there.
Nothing else in this package knows of them.
"""

from __future__ import annotations

from typing import Any

from OpenSSL.SSL import Error, WantReadError, ZeroReturnError
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import BufferingTLSTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.interfaces import IWideTransport

#: What Twisted reads from a socket at once, and buffers before it pauses a
#: producer: up to here there is nothing to widen.
STOCK = 64 * 1024

#: A record's octets, and by how much it is longer once it is encrypted, at most.
RECORD = 16 * 1024
_EXTRA = 64

#: What must be there.
LEANS_ON = (
    "_aborted",
    "_flushReceiveBIO",
    "_flushSendBIO",
    "_handshakeDone",
    "_lostTLSConnection",
    "_shutdownTLS",
    "_tlsConnection",
    "_tlsShutdownFinished",
    "_write",
)


@implementer(IWideTransport)
class WideTLSTransport(BufferingTLSTransport):
    """
    Twisted's own until it is widened.
    """

    # As the base class has it in truth.
    transport: Any

    _wide = False

    def widen(self, size: int) -> None:
        """
        See L{IWideTransport.widen}. Nothing happens before the handshake is
        complete.
        """
        fits = all(hasattr(self, name) for name in LEANS_ON)
        if size <= STOCK or not fits or not self._handshakeDone:
            return
        self._wide = True
        below = self.transport
        while isinstance(below, ProtocolWrapper):
            below = below.transport
        for name in ("bufferSize", "SEND_LIMIT"):
            if hasattr(below, name):
                setattr(below, name, size)

    def _write(self, data: bytes) -> None:
        """
        Encrypt all, then hand it down at once.
        """
        if not self._wide or self._lostTLSConnection:
            super()._write(data)
            return
        try:
            # After its handshake TLS 1.3 never has to read before it can write.
            self._tlsConnection.sendall(data)
        except Error:
            self._tlsShutdownFinished(Failure())
            return
        room = len(data) + (len(data) // RECORD + 2) * _EXTRA
        try:
            while len(encrypted := self._tlsConnection.bio_read(room)) == room:
                self.transport.write(encrypted)
            self.transport.write(encrypted)
        except WantReadError:
            # There was no more than that.
            pass

    def _flushReceiveBIO(self) -> None:
        """
        Decrypt all, then hand it up at once.
        """
        if not self._wide or self._lostTLSConnection:
            super()._flushReceiveBIO()
            return
        receive = self._tlsConnection.recv
        records = []
        ended, reason = True, None
        try:
            while True:
                records.append(receive(RECORD))
        except WantReadError:
            ended = False
        except ZeroReturnError:
            pass
        except Error:
            reason = Failure()
        if records and not self._aborted:
            ProtocolWrapper.dataReceived(self, b"".join(records))
        if ended and not self._lostTLSConnection:
            if reason is None:
                self._shutdownTLS()
            self._tlsShutdownFinished(reason)
        self._flushSendBIO()
