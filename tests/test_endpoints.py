"""
Tests for L{wazuh_cluster.endpoints}.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.endpoints import _SystemdParser
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.python.systemd import ListenFDs
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.endpoints import readEndpoint, tryEndpoint
from wazuh_cluster.errors import ConfigError


class EndpointTests(SynchronousTestCase):
    """
    Endpoints that an operator wrote.
    """

    def listen(self, text: str) -> Any:
        reactor = MemoryReactor()
        self.successResultOf(readEndpoint(reactor, text, "--x").listen(Factory()))
        (server,) = reactor.tcpServers
        return server

    def test_ports(self) -> None:
        """
        A port, with an interface or without, also behind a proxy; as many
        connections may wait as is said, or many.
        """
        for text, port, interface, backlog in (
            ("tcp:1515:10.0.0.1", 1515, "10.0.0.1", 512),
            ("tcp:1515", 1515, "", 512),
            ("tcp:port=1515:interface=10.0.0.1", 1515, "10.0.0.1", 512),
            ("tcp:1515:backlog=9", 1515, "", 9),
            ("haproxy:tcp:1516", 1516, "", 512),
            ("tcp6:1515", 1515, "::", 512),
        ):
            server = self.listen(text)
            self.assertEqual((port, backlog, interface), (server[0], server[2], server[3]))

    def refuse(self, text: str) -> str:
        refusal = str(self.assertRaises(ConfigError, readEndpoint, MemoryReactor(), text, "--x"))
        self.assertNotIn("\n", refusal)
        self.assertTrue(refusal.startswith("--x: "))
        self.assertIn("haproxy:tcp:1515", refusal)
        return refusal

    def test_noEndpoint(self) -> None:
        """
        What is no endpoint is refused on one line with examples.
        """
        for text in (
            "",
            "1515",
            "tcp",
            "tcp:",
            "tcp:many",
            "tcp:1515:nonsense=1",
            "nonsense:1515",
            "haproxy:1515",
            "haproxy:",
            ":",
            "tcp:\n",
        ):
            self.refuse(text)

    def test_tried(self) -> None:
        """
        A port that cannot be opened is refused before anything is; one that
        can is left closed.
        """
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen(1)
            port = taken.getsockname()[1]
            for kind in ("tcp", "haproxy:tcp"):
                text = f"{kind}:{port}:interface=127.0.0.1"
                refusal = self.assertRaises(ConfigError, tryEndpoint, text, "--x")
                self.assertIn(f"--x: cannot listen on 127.0.0.1, port {port} (", str(refusal))
                self.assertIn("stop the program", str(refusal))
        tryEndpoint(f"tcp:{port}:interface=127.0.0.1", "--x")
        refusal = self.assertRaises(
            ConfigError, tryEndpoint, f"tcp:{port}:interface=203.0.113.1", "--x"
        )
        self.assertIn("an address of this machine", str(refusal))

    def test_otherKinds(self) -> None:
        """
        Kinds that open something else are left to the real reactor.
        """
        tryEndpoint("unix:/nowhere/socket", "--x")


class HandedOverTests(SynchronousTestCase):
    """
    Sockets that systemd opened.
    """

    def hand(self, *sockets: socket.socket) -> None:
        """
        Have a process get these, named one, two, …
        """
        for each in sockets:
            self.addCleanup(each.close)
        descriptors = [each.fileno() for each in sockets]
        given = ListenFDs(descriptors, ["one", "two", "three"][: len(descriptors)])
        self.patch(_SystemdParser, "_sddaemon", given)

    def refuse(self, text: str) -> str:
        tryEndpoint(text, "--x")
        refusal = str(self.assertRaises(ConfigError, readEndpoint, MemoryReactor(), text, "--x"))
        self.assertNotIn("\n", refusal)
        self.assertTrue(refusal.startswith(f"--x: {text!r}"), refusal)
        return refusal

    def test_adopted(self) -> None:
        """
        What listens and is what the endpoint says is taken, also behind a proxy;
        looking closes nothing.
        """
        plain = socket.create_server(("127.0.0.1", 0))
        self.hand(plain)
        for text in (
            "systemd:INET:name=one",
            "systemd:INET:index=0",
            "haproxy:systemd:INET:name=one",
        ):
            tryEndpoint(text, "--x")
            readEndpoint(MemoryReactor(), text, "--x")
        reactor = MemoryReactor()
        endpoint = readEndpoint(reactor, "systemd:INET:name=one", "--x")
        copy = socket.socket(fileno=os.dup(plain.fileno()))
        self.addCleanup(copy.close)
        plain.detach()
        self.successResultOf(endpoint.listen(Factory()))
        self.assertEqual(1, len(reactor.adoptedPorts))
        self.assertTrue(copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    def test_notGiven(self) -> None:
        """
        A socket that systemd did not give says how to have it given.
        """
        self.hand()
        for text in (
            "systemd:INET:name=one",
            "systemd:INET:index=0",
            "haproxy:systemd:INET:name=x",
        ):
            self.assertIn("FileDescriptorName=", self.refuse(text))

    def test_otherFamily(self) -> None:
        """
        IPv4 and IPv6 are not the same; the remedy names what it is.
        """
        self.hand(socket.create_server(("127.0.0.1", 0)))
        self.assertIn("write systemd:INET:…", self.refuse("systemd:INET6:name=one"))

    def test_listensToNothing(self) -> None:
        """
        Nor is a socket that listens to nothing one, or what is no socket.
        """
        self.hand(socket.socket())
        self.assertIn("ListenStream=", self.refuse("systemd:INET:name=one"))
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        self.patch(_SystemdParser, "_sddaemon", ListenFDs([reading], ["one"]))
        self.assertIn("ListenStream=", self.refuse("systemd:INET:name=one"))

    def test_twice(self) -> None:
        """
        A socket that another endpoint has taken is said to be none.
        """
        plain = socket.create_server(("127.0.0.1", 0))
        self.hand(plain)
        reactor = MemoryReactor()
        one, two = (readEndpoint(reactor, "systemd:INET:name=one", "--x") for _ in range(2))
        self.successResultOf(one.listen(Factory()))
        plain.detach()
        failure = self.failureResultOf(two.listen(Factory()), ConfigError)
        self.assertIn("--x: cannot listen (Bad file descriptor)", failure.getErrorMessage())

    def test_noEndpoint(self) -> None:
        """
        What is no endpoint of systemd's is refused as any other.
        """
        self.hand(socket.create_server(("127.0.0.1", 0)))
        for text in ("systemd:INET", "systemd:NONSENSE:name=one", "systemd:INET:index=x"):
            self.assertIn("systemd:INET:name=enrollment", self.refuse(text))
