"""
Who belongs to the cluster, and the encryption of its links.

From the cluster key (L{ClusterKey}), or from certificates of its own, a node
gets an identity and speaks TLS 1.3 with its peers: L{KeyTrust},
L{CertificateTrust} and L{FileTrust} wrap the factories of both sides.

A protocol that runs over such a link provides C{IHandshakeListener}. It is
connected before the handshake, and bounds how long that takes with a timer and
C{transport.abortConnection()}, which works at any time. When its
C{handshakeCompleted} is called, the peer is trusted and L{peerIdentity} says
who it is; not one byte comes before. A worker's handshake is complete before
the master has judged it, so a worker has joined when its Hello is answered and
not earlier. If the link does not come about, C{connectionLost} gets a failure
of a L{ClusterError<wazuh_cluster.errors.ClusterError>} whose text is one line
for the operator. C{transport.sniffed} says how many bytes went each way
beneath TLS.
"""

from __future__ import annotations

from wazuh_cluster.trust.adapters import CertificateTrust, FileTrust, KeyTrust, peerIdentity
from wazuh_cluster.trust.authority import (
    Authority,
    Credentials,
    authorityFromPEM,
    keyToPEM,
    makeAuthority,
)
from wazuh_cluster.trust.explain import OTHER_AUTHORITY, OTHER_KEY, Stranger, explainFailure
from wazuh_cluster.trust.files import Opened
from wazuh_cluster.trust.gate import LinkTransport, describeAddress
from wazuh_cluster.trust.key import KEY_LENGTH, ClusterKey
from wazuh_cluster.trust.names import identityFromURI, identityOf, identityToURI
from wazuh_cluster.trust.sniff import Sniffed

__all__ = [
    "KEY_LENGTH",
    "OTHER_AUTHORITY",
    "OTHER_KEY",
    "Authority",
    "CertificateTrust",
    "ClusterKey",
    "Credentials",
    "FileTrust",
    "KeyTrust",
    "LinkTransport",
    "Opened",
    "Sniffed",
    "Stranger",
    "authorityFromPEM",
    "describeAddress",
    "explainFailure",
    "identityFromURI",
    "identityOf",
    "identityToURI",
    "keyToPEM",
    "makeAuthority",
    "peerIdentity",
]
