"""
What a transfer is sent from and received into.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import Interface


class ISource(Interface):
    """
    Where the bytes of a transfer come from.
    """

    def read(size: int) -> Deferred[bytes]:
        """
        The next bytes, about C{size} of them; C{b""} at the end. It is not
        called again before the last call has fired.
        """

    def close() -> None:
        """
        No more is wanted, whether or not the end was reached, or a read is
        under way.
        """


class ISink(Interface):
    """
    Where the bytes of a transfer go.
    """

    def write(chunks: list[bytes]) -> Deferred[None]:
        """
        Take in the next bytes. It is not called again before the last call has
        fired: until then at most a window of bytes is kept for it.

        A failure with a L{ProtocolViolation<wazuh_cluster.errors.ProtocolViolation>}
        ends the link, any other the transfer.
        """

    def finish() -> Deferred[object]:
        """
        All bytes were taken in. Fires with the transfer's result.
        """

    def abort() -> None:
        """
        The end will not come, whether or not a write is under way.
        """
