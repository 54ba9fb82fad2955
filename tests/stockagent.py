"""
An agent as stock ones enroll: a blocking client of Python's C{ssl} module.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from threading import Thread
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults


def context(newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """
    TLS that believes everybody.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.maximum_version = newest
    return made


def enroll(
    port: int,
    line: bytes,
    tls: ssl.SSLContext | None = None,
    first: bytes = b"",
    patience: float = 60.0,
) -> bytes:
    """
    Send a request and read to the end. Blocks.

    @param first: what to send before TLS.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as plain:
        plain.sendall(first)
        with (tls or context()).wrap_socket(plain) as wrapped:
            wrapped.sendall(line)
            while piece := wrapped.recv(4096):
                received += piece
    return received


def inThread(function: Callable[..., bytes], *arguments: object) -> Deferred[bytes]:
    """
    Call something that blocks in a thread of its own.
    """
    result: Deferred[bytes] = Deferred()
    loop: Any = reactor

    def run() -> None:
        try:
            value = function(*arguments)
        except Exception as error:
            loop.callFromThread(result.errback, error)
        else:
            loop.callFromThread(result.callback, value)

    Thread(target=run, daemon=True).start()
    return result


def allInThreads(
    function: Callable[..., bytes], *calls: tuple[object, ...]
) -> Deferred[list[bytes]]:
    """
    Make many calls at the same time.
    """
    return gatherResults([inThread(function, *each) for each in calls], consumeErrors=True)
