"""
Name lookups on threads that do not keep the process from ending.

Twisted's own run in the reactor's pool, which is joined when the reactor
stops: with name servers that do not answer, a stop would take as long as their
time-out.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from zope.interface import implementer

from wazuh_cluster.threads import StartThread, ThreadReactor, callReactor, startDaemon


@implementer(IHostResolution)
@frozen
class _Resolution:
    name: str

    def cancel(self) -> None:
        """
        A lookup that was begun goes on; nobody waits for it.
        """


@implementer(IHostnameResolver)
class DaemonResolver:
    """
    Resolves names by C{getaddrinfo}, a daemon thread for each lookup.
    """

    def __init__(
        self,
        reactor: ThreadReactor,
        getaddrinfo: Callable[..., Sequence[Any]] = socket.getaddrinfo,
        startThread: StartThread = startDaemon,
    ) -> None:
        self._reactor = reactor
        self._getaddrinfo = getaddrinfo
        self._startThread = startThread

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """
        Resolve a name for TCP; one that is not known has no addresses.
        """
        wanted = tuple(addressTypes) if addressTypes is not None else (IPv4Address, IPv6Address)
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)

        def resolved(found: Sequence[Any]) -> None:
            for family, _, _, _, address in found:
                if family == socket.AF_INET and IPv4Address in wanted:
                    resolutionReceiver.addressResolved(IPv4Address("TCP", *address[:2]))
                elif family == socket.AF_INET6 and IPv6Address in wanted:
                    resolutionReceiver.addressResolved(IPv6Address("TCP", *address))
            resolutionReceiver.resolutionComplete()

        def lookUp() -> None:
            try:
                found = self._getaddrinfo(hostName, portNumber, 0, socket.SOCK_STREAM)
            except Exception:
                # Whatever it is, the name has no addresses; a missing codec
                # for international names raises LookupError, for one.
                found = ()
            callReactor(self._reactor, resolved, found)

        self._startThread("resolver", lookUp)
        return resolution
