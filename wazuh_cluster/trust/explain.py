"""
Why a link did not come about, in one line for the person who can mend it.

TLS only knows that bytes made no sense or that a certificate was refused. What
the first bytes look like, which side this is, and which way the refusal went
tell the rest.
"""

from __future__ import annotations

import re

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted
from twisted.python.failure import Failure

from wazuh_cluster.errors import (
    ClusterError,
    LinkClosed,
    NotTrusted,
    PassedBy,
    Revoked,
    WrongKey,
)
from wazuh_cluster.model import WORKER
from wazuh_cluster.trust.sniff import Sniffed


@frozen
class Stranger:
    """
    What to say of a peer whose certificate comes from elsewhere.

    @ivar what: continues C{"the master at …"}.
    @ivar remedy: what to do about it.
    """

    what: str
    remedy: str


OTHER_KEY = Stranger(
    "has another cluster key",
    "compare <key> in both ossec.conf (take the file over with 'wazuh-cluster init --key-file')",
)
OTHER_AUTHORITY = Stranger(
    "has a certificate of another authority",
    "compare 'ca' under [certificates] in both etc/wazuh_cluster.ini",
)

_CHECK_ADDRESS = "check <node> and <port> in ossec.conf"
_CHECK_CLOCKS = "compare the clocks of both machines and the certificate's dates"
_REISSUE = "if that node still belongs to the cluster, issue it another one"

#: A header of Wazuh's own cluster protocol: a counter and a length of four
#: bytes each, and a word filled up with dashes.
_STOCK = re.compile(rb"[\0-\xff]{4}[\0-\x10][\0-\xff]{3}(?=.{12})[a-z_]{2,12} ?-*d?\Z", re.S)
_HTTP = re.compile(rb"(?:[A-Z]{3,10} [^\r\n]|HTTP/[0-9])")

# OpenSSL's reasons, by what they contain; the words changed little from 1.1.1
# to 4.0, the prefixes ("tlsv1", "sslv3", "ssl/tls") did.
_REFUSED_US = (
    "alert unknown ca",
    "alert bad certificate",
    "alert decrypt error",
    "alert certificate unknown",
    "alert unsupported certificate",
    "alert access denied",
)
_OLD_TLS = ("unsupported protocol", "protocol version", "unknown protocol", "no protocols")
_NO_COMMON = ("no shared cipher", "no suitable", "handshake failure", "insufficient security")

# The numbers by which OpenSSL's verification says why.
DATE_ERRORS = {9: "is not valid yet", 10: "has expired"}
REVOKED = 23
_PURPOSE_ERROR = 26


def explainFailure(
    failure: Failure,
    sniffed: Sniffed,
    role: str,
    peer: str,
    stranger: Stranger = OTHER_KEY,
    verifyError: int = 0,
) -> ClusterError:
    """
    Say why a link ended before the peer was trusted, or because of TLS.

    @param failure: what C{connectionLost} got.
    @param sniffed: what went over the connection beneath TLS.
    @param role: this node's: a worker dialled a master, a master was dialled.
    @param peer: where the peer is, for people.
    @param stranger: what to say of a peer with a certificate from elsewhere.
    @param verifyError: OpenSSL's number for why the peer's certificate was
        refused; 0 if it was not.

    @return: a L{WrongKey}, L{NotTrusted} or L{LinkClosed} whose text is one
        line; or C{failure}'s value, if that is a L{ClusterError} already.
    """
    value = failure.value
    if isinstance(value, ClusterError):
        return value
    node = f"the master at {peer}" if role == WORKER else f"the node at {peer}"
    if sniffed.received and not _looksLikeTLS(sniffed.head):
        return _explainPlain(sniffed.head, role, peer)
    if isinstance(value, SSL.Error):
        return _explainTLS(_reasonOf(value), node, stranger, verifyError)
    aborted = bool(failure.check(ConnectionAborted))
    if not sniffed.received:
        return _explainSilence(aborted, role, peer)
    if aborted:
        return NotTrusted(
            f"{node} did not finish the TLS handshake: it is overloaded, or no node of this "
            "kind of cluster"
        )
    return NotTrusted(
        f"{node} ended the connection during the TLS handshake: if that goes on, "
        "look into its logs/cluster.log"
    )


def explainEarlyClose(peer: str) -> ClusterError:
    """
    What a worker says when its handshake was complete and the master closed
    without a word: in TLS 1.3 that is how a refused certificate may look.
    """
    return LinkClosed(
        f"the master at {peer} ended the connection right after the TLS handshake: "
        "its logs/cluster.log says why"
    )


def _looksLikeTLS(head: bytes) -> bool:
    """
    Whether a TLS record can begin with C{head}, which is not empty.
    """
    return 20 <= head[0] <= 23 and head[1:2] in (b"", b"\x03")


def _reasonOf(error: SSL.Error) -> str:
    """
    OpenSSL's own words, in lower case; the last one is the deepest.
    """
    queue = error.args[0] if error.args else ()
    if isinstance(queue, (list, tuple)) and queue and isinstance(queue[-1], tuple):
        return str(queue[-1][-1]).lower()
    return str(error).lower()


def _explainPlain(head: bytes, role: str, peer: str) -> ClusterError:
    """
    The first bytes are no TLS: say what they are.
    """
    dialled = role == WORKER
    whom = f"the program at {peer}"
    if _STOCK.match(head[:20]):
        return NotTrusted(
            f"{whom} looks like a stock wazuh-clusterd{'' if dialled else ' worker'}: "
            "all nodes of a cluster must run wazuh_cluster"
        )
    if _HTTP.match(head):
        spoken = "speaks HTTP"
    elif head.startswith(b"SSH-"):
        spoken = "speaks SSH"
    else:
        spoken = f"does not speak TLS (it began with {head[:8].hex(' ')})"
    remedy = _CHECK_ADDRESS if dialled else "only nodes of the cluster can use this port"
    return NotTrusted(f"{whom} {spoken}: {remedy}")


def _explainSilence(aborted: bool, role: str, peer: str) -> ClusterError:
    """
    Not one byte came.
    """
    did = "did not answer" if aborted else "closed the connection without an answer"
    if role == WORKER:
        return NotTrusted(
            f"the program at {peer} {did}: it looks like a stock wazuh-clusterd or a firewall; "
            f"see that wazuh_cluster runs there, and {_CHECK_ADDRESS}"
        )
    did = "said nothing" if aborted else "closed the connection without a word"
    return (NotTrusted if aborted else PassedBy)(
        f"the program at {peer} connected and {did}: it looks like a port scan or a health check"
    )


def explainVerdict(number: int, node: str, stranger: Stranger) -> NotTrusted:
    """
    Say why a certificate is not trusted.

    @param number: OpenSSL's for it.
    @param node: whose it is, for people.
    """
    if number in DATE_ERRORS:
        return NotTrusted(f"the certificate of {node} {DATE_ERRORS[number]}: {_CHECK_CLOCKS}")
    if number == REVOKED:
        return Revoked(f"the certificate of {node} was revoked: {_REISSUE}")
    if number == _PURPOSE_ERROR:
        return NotTrusted(
            f"the certificate of {node} is not for both ends of TLS: "
            "issue it with serverAuth and clientAuth"
        )
    return WrongKey(f"{node} {stranger.what}: {stranger.remedy}")


def _explainTLS(reason: str, node: str, stranger: Stranger, verifyError: int) -> ClusterError:
    """
    TLS itself failed, for OpenSSL's C{reason}.
    """
    if "certificate verify failed" in reason:
        return explainVerdict(verifyError, node, stranger)
    if "alert certificate revoked" in reason:
        return Revoked(f"{node} refuses this node's certificate, which was revoked: {_REISSUE}")
    if "alert certificate expired" in reason:
        return NotTrusted(
            f"{node} finds this node's certificate expired or not valid yet: {_CHECK_CLOCKS}"
        )
    if any(words in reason for words in _REFUSED_US):
        return WrongKey(
            f"{node} refuses this node's certificate, because it {stranger.what}: {stranger.remedy}"
        )
    if "did not return a certificate" in reason or "certificate required" in reason:
        return NotTrusted(
            f"{node} showed no certificate: only nodes of the cluster can use this port"
        )
    if any(words in reason for words in _OLD_TLS):
        return NotTrusted(f"{node} does not speak TLS 1.3: it is no node of this kind of cluster")
    if any(words in reason for words in _NO_COMMON):
        return NotTrusted(
            f"{node} has no cipher in common with this one ({reason}): "
            "it is no node of this kind of cluster"
        )
    return NotTrusted(f"TLS with {node} failed: {reason}: if that goes on, update both nodes")
