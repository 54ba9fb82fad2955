"""
Tests for L{wazuh_cluster.renewal}.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import formatEvent

from tests.certificatefiles import HUB, SIEM, FilesCase, revoke
from wazuh_cluster.errors import ConfigError
from wazuh_cluster.journal import MAIN, Journal
from wazuh_cluster.renewal import Renewal
from wazuh_cluster.testing.runner import ClockRunner, ImmediateRunner
from wazuh_cluster.testing.trust import OneProtocol, Recorder, connectFactories
from wazuh_cluster.trust import FileTrust


class RenewalTests(FilesCase):
    """
    What is read when, and what the log says of it.
    """

    def setUp(self) -> None:
        super().setUp()
        self.events: list[Any] = []
        self.log = Journal(MAIN, observer=self.events.append)
        self.hub = self.trust(HUB)
        self.renewal = Renewal(self.hub, ImmediateRunner(), self.log)

    def said(self) -> list[tuple[str, str]]:
        """
        What was said since it was last asked.
        """
        events, self.events[:] = [*self.events], []
        return [(event["log_level"].name, formatEvent(event)) for event in events]

    def test_open(self) -> None:
        """
        What was opened is used, though the files are gone by then; good files
        are not worth a line.
        """
        self.renewal.open()
        self.assertEqual([], self.said())
        self.folder.remove()
        self.hub.wrapServer(OneProtocol(None), self.clock)

    def test_cannotOpen(self) -> None:
        """
        Files that cannot be used are refused.
        """
        self.write("hub", ca=b"")
        self.assertRaises(ConfigError, self.renewal.open)

    def test_warnings(self) -> None:
        """
        What should be changed is said at the start, and each time.
        """
        self.folder.child("hub-key").chmod(0o644)
        self.renewal.open()
        ((level, text),) = self.said()
        self.assertEqual("warn", level)
        self.assertIn("[certificates] private_key: everybody on this machine", text)
        self.successResultOf(self.renewal.renew())
        self.assertEqual(["info", "warn"], [level for level, _ in self.said()])

    def test_renew(self) -> None:
        """
        What is read is used, and counted.
        """
        self.renewal.open()
        siem = self.trust(SIEM)
        server = Recorder()
        link = connectFactories(
            self.hub.wrapServer(OneProtocol(server), self.clock),
            siem.wrapClient(OneProtocol(Recorder()), self.clock),
            self.clock,
        )
        link.flush()
        self.write("hub", revoked=revoke(self.authority, self.certificate(siem)))
        self.successResultOf(self.renewal.renew())
        link.flush()
        self.assertIn("lost", server.events)
        self.assertEqual(
            [
                (
                    "info",
                    "The certificates were read again: the node's is valid until 9999-12-31, "
                    "1 are revoked, 1 links ended.",
                )
            ],
            self.said(),
        )

    def test_mistake(self) -> None:
        """
        A mistake in the files is an error, and changes nothing.
        """
        self.renewal.open()
        self.write("hub", key=b"")
        self.successResultOf(self.renewal.renew())
        ((level, text),) = self.said()
        self.assertEqual("error", level)
        self.assertIn("the ones before stay in use: x.ini, [certificates]: 'private_key'", text)
        self.hub.wrapServer(OneProtocol(None), self.clock)

    def test_bug(self) -> None:
        """
        What nobody thought of is said as that.
        """

        def broken() -> float:
            raise RuntimeError("no clock")

        trust = FileTrust(self.files("hub"), HUB, broken)
        renewal = Renewal(trust, ImmediateRunner(), self.log)
        self.successResultOf(renewal.renew())
        ((_, text),) = self.said()
        self.assertIn("this is a bug", text)

    def test_stop(self) -> None:
        """
        What was begun or asked for at the end is nothing to talk of.
        """
        self.renewal.open()
        renewal = Renewal(self.hub, ClockRunner(self.clock), self.log)
        begun = renewal.renew()
        renewal.stop()
        self.successResultOf(begun)
        self.successResultOf(renewal.renew())
        self.clock.advance(1)
        self.assertEqual([], self.said())
