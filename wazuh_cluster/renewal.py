"""
A node's certificates over time: opened at the start, and read again when its
operator says so.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from wazuh_cluster.errors import ClusterError, Stopped
from wazuh_cluster.interfaces import IRunner
from wazuh_cluster.journal import Journal
from wazuh_cluster.trust import FileTrust, Opened


class Renewal:
    """
    Reads what a L{FileTrust} uses, and says in the log what came of it.
    """

    def __init__(self, trust: FileTrust, runner: IRunner, log: Journal) -> None:
        """
        @param runner: where files are read while the node runs.
        """
        self._trust = trust
        self._runner = runner
        self._log = log

    def open(self) -> None:
        """
        Read the files for the first time. Blocks: nothing runs yet.

        @raise ConfigError: if they cannot be used.
        """
        opened = self._trust.read()
        self._trust.use(opened)
        self._warn(opened)

    def renew(self) -> Deferred[None]:
        """
        Read the files again. What they hold is used for new links, and links to
        nodes that are not trusted any more are ended; after a mistake in them,
        nothing changes.

        @return: fires when that is done, and never fails.
        """
        reading: Deferred[Opened] = self._runner.call(self._trust.read)
        return reading.addCallback(self._use).addErrback(self._keep)

    def stop(self) -> None:
        """
        Read nothing more.
        """
        self._runner.stop()

    def _use(self, opened: Opened) -> None:
        ended = self._trust.use(opened)
        revoked = opened.credentials.revoked
        self._log.info(
            "The certificates were read again: the node's is valid until {until}, {revoked} are "
            "revoked, {ended} links ended.",
            until=f"{opened.credentials.certificate.not_valid_after_utc:%Y-%m-%d}",
            revoked=0 if revoked is None else len(revoked),
            ended=ended,
        )
        self._warn(opened)

    def _keep(self, failure: Failure) -> None:
        if failure.check(CancelledError, Stopped):
            return
        if failure.check(ClusterError):
            self._log.error(
                "The certificates were not read again, and the ones before stay in use: {problem}",
                problem=failure.value,
            )
        else:
            self._log.failure("The certificates were not read again: this is a bug.", failure)

    def _warn(self, opened: Opened) -> None:
        for warning in opened.warnings:
            self._log.warn("{warning}", warning=warning)
