"""
Where a node may show itself: on this machine; elsewhere only encrypted, and to
those who have a token.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IStreamServerEndpoint

from wazuh_cluster.endpoints import readEndpoint
from wazuh_cluster.errors import ConfigError

HTTP_OPTION = "--http"

_INTERFACE = re.compile(r":interface=((?:\\.|[^:\\])*)")
_LOOPBACK = {"tcp": "127.0.0.1", "ssl": "127.0.0.1", "tcp6": "::1"}


@frozen
class WebEndpoint:
    """
    Where to listen.

    @ivar endpoint: for Twisted.
    @ivar interface: the address on which that is; empty for a unix socket.
    @ivar secure: whether it is encrypted.
    @ivar text: the endpoint in Twisted's words.
    """

    endpoint: IStreamServerEndpoint
    interface: str
    secure: bool
    text: str


def readWebEndpoint(reactor: Any, text: str, hasToken: bool, where: str) -> WebEndpoint:
    """
    The endpoint that an operator wrote, on this machine's own address if it
    names none. Opens nothing.

    @param hasToken: whether those who look must show one.
    @param where: the settings, for errors.
    @raise ConfigError: if there is no such endpoint, or it would show the node
        to everybody.
    """
    kind = text.partition(":")[0].lower()
    if kind not in (*_LOOPBACK, "unix"):
        raise ConfigError(
            f"{text[:80]!r} is nothing that the page can listen on",
            HTTP_OPTION,
            "write such as tcp:8080, or ssl:8443:privateKey=FILE:certKey=FILE:interface=10.0.0.1",
        )
    interface = ""
    if kind in _LOOPBACK:
        found = _INTERFACE.search(text)
        interface = _LOOPBACK[kind] if found is None else re.sub(r"\\(.)", r"\1", found[1])
        if found is None:
            text += ":interface=" + interface.replace(":", r"\:")
        if not _isLoopback(interface):
            _requireSafe(text, kind, hasToken, where)
    return WebEndpoint(readEndpoint(reactor, text, HTTP_OPTION), interface, kind == "ssl", text)


def _requireSafe(text: str, kind: str, hasToken: bool, where: str) -> None:
    if kind != "ssl":
        raise ConfigError(
            f"{text[:80]!r} would show this node to the network, unencrypted",
            HTTP_OPTION,
            "leave the interface out, or write ssl:PORT:privateKey=FILE:certKey=FILE:interface=…",
        )
    if not hasToken:
        raise ConfigError(
            f"{text[:80]!r} would show this node to everybody who can reach it",
            HTTP_OPTION,
            f"put a long random token into a file, and 'token_file = FILE' into [http] of {where}",
        )


def _isLoopback(interface: str) -> bool:
    if interface == "localhost":
        return True
    try:
        return ip_address(interface).is_loopback
    except ValueError:
        return False
