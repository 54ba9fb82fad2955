"""
Tests for L{wazuh_cluster.resolver}.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver, IResolutionReceiver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from wazuh_cluster.resolver import DaemonResolver

FOUND = [
    (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::5", 1516, 0, 0)),
    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.5", 1516)),
]


@implementer(IResolutionReceiver)
class Received:
    """
    What a resolution gave.
    """

    def __init__(self) -> None:
        self.story: list[Any] = []

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        self.story.append(resolutionInProgress.name)

    def addressResolved(self, address: Any) -> None:
        self.story.append(address)

    def resolutionComplete(self) -> None:
        self.story.append("complete")


class DaemonResolverTests(SynchronousTestCase):
    """
    Names are looked up elsewhere and told on the reactor's thread.
    """

    def setUp(self) -> None:
        self.threads: list[Callable[[], None]] = []
        self.calls: list[Callable[[], None]] = []

    def callFromThread(self, function: Callable[..., Any], /, *args: Any) -> None:
        self.calls.append(lambda: function(*args))

    def callLater(self, delay: float, function: Callable[..., Any], /, *args: Any) -> None:
        raise NotImplementedError

    def resolve(self, getaddrinfo: Callable[..., Any], **keywords: Any) -> Received:
        resolver = DaemonResolver(
            self, getaddrinfo, lambda name, function: self.threads.append(function)
        )
        verifyObject(IHostnameResolver, resolver)
        received = Received()
        resolver.resolveHostName(received, "hub", 1516, **keywords)
        self.assertEqual(["hub"], received.story)
        self.threads.pop()()
        self.assertEqual(["hub"], received.story)
        self.calls.pop()()
        return received

    def test_severalAddresses(self) -> None:
        """
        All addresses of a name are told, of both families.
        """
        received = self.resolve(lambda *args: FOUND)
        self.assertEqual(
            [
                "hub",
                IPv6Address("TCP", "::5", 1516),
                IPv4Address("TCP", "10.0.0.5", 1516),
                "complete",
            ],
            received.story,
        )

    def test_wantedFamilies(self) -> None:
        """
        Only those that are wanted.
        """
        received = self.resolve(lambda *args: FOUND, addressTypes=[IPv4Address])
        self.assertEqual([IPv4Address("TCP", "10.0.0.5", 1516)], received.story[1:-1])

    def test_unknown(self) -> None:
        """
        A name that is not known, or is none, has no addresses.
        """
        for error in (socket.gaierror(-2, "unknown"), UnicodeError("label too long")):

            def fail(*args: Any, error: Exception = error) -> Any:
                raise error

            self.assertEqual(["hub", "complete"], self.resolve(fail).story)
