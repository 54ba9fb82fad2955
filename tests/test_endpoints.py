"""
Tests for L{wazuh_cluster.endpoints}.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
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
