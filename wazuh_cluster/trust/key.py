"""
The cluster key, C{<key>}: the secret that makes a node one of the cluster.
"""

from __future__ import annotations

import hmac
import re
from typing import NoReturn, SupportsIndex

from wazuh_cluster.errors import BadKey
from wazuh_cluster.trust.authority import Authority, deriveAuthority

KEY_LENGTH = 32

_ALLOWED = re.compile(r"[A-Za-z0-9]*\Z")
_REMEDY = (
    f"put the same {KEY_LENGTH} letters and digits on every node ('wazuh-cluster init' makes them)"
)


class ClusterKey:
    """
    A checked cluster key. It compares in constant time, and neither its text
    forms nor a pickle show it.
    """

    __slots__ = ("_authority", "_text")

    def __init__(self, text: str | bytes, where: str = "<key>") -> None:
        """
        @param text: the key, without blanks around it.
        @param where: where it was written, for the error.

        @raise BadKey: unless it is 32 of C{A-Z}, C{a-z}, C{0-9}. The error
            never contains the key.
        """
        # latin-1 takes any byte, so that bytes outside ASCII are refused below
        # with the same words as letters outside ASCII.
        shown = text.decode("latin-1") if isinstance(text, bytes) else text
        if not shown:
            raise BadKey("there is no cluster key", where, _REMEDY)
        if not _ALLOWED.match(shown):
            raise BadKey(
                "the cluster key has characters other than A-Z, a-z and 0-9", where, _REMEDY
            )
        if len(shown) != KEY_LENGTH:
            raise BadKey(
                f"the cluster key has {len(shown)} characters, not {KEY_LENGTH}", where, _REMEDY
            )
        self._text = shown.encode("ascii")
        self._authority: Authority | None = None

    def derive(self) -> Authority:
        """
        The certificate authority that every holder of this key shares.

        The first call takes about 75 ms and 33 MiB; later ones return the same
        object.
        """
        if self._authority is None:
            self._authority = deriveAuthority(self._text)
        return self._authority

    def __repr__(self) -> str:
        return "<ClusterKey, not shown>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClusterKey):
            return NotImplemented
        return hmac.compare_digest(self._text, other._text)

    def __hash__(self) -> int:
        return hash((ClusterKey, self._text))

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a cluster key is neither pickled nor copied")
