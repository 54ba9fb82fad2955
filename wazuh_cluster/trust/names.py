"""
How a certificate names a node: one URI, C{wazuh-cluster:<cluster>/<role>/<node>}.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from cryptography import x509

from wazuh_cluster.errors import BadName, IdentityMismatch
from wazuh_cluster.model import MASTER, WORKER, Identity, checkName

SCHEME = "wazuh-cluster:"

#: The longest URI that is read, so that a certificate from a stranger cannot
#: bring a name that floods the logs.
MAX_URI = 2048


def identityToURI(identity: Identity) -> str:
    """
    Write C{identity} as a URI of ASCII characters, each part percent-encoded.
    """
    parts = (identity.cluster, identity.role, identity.name)
    return SCHEME + "/".join(quote(part, safe="") for part in parts)


def identityFromURI(uri: str) -> Identity:
    """
    Read what L{identityToURI} wrote, and only that: no two texts name the same
    identity.

    @raise IdentityMismatch: if it is anything else, or names no possible node.
    """
    if len(uri) > MAX_URI:
        raise IdentityMismatch("the certificate's name is too long for a node's")
    refusal = IdentityMismatch(f"the certificate's name {uri!r} is not a node's")
    parts = uri[len(SCHEME) :].split("/")
    if not uri.startswith(SCHEME) or len(parts) != 3:
        raise refusal
    try:
        cluster, role, name = (unquote(part, errors="strict") for part in parts)
        identity = Identity(cluster, role, checkName(name))
        canonical = identityToURI(identity) == uri
    except (BadName, UnicodeError):
        raise refusal from None
    if not cluster or role not in (MASTER, WORKER) or not canonical:
        raise refusal
    return identity


def identityOf(certificate: x509.Certificate) -> Identity:
    """
    Who a certificate is for: the only URI among its subject alternative names.

    @raise IdentityMismatch: if it names nobody, or more than one.
    """
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        uris = extension.value.get_values_for_type(x509.UniformResourceIdentifier)
    except (
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
        ValueError,
    ):
        # The last two: the extension cannot be parsed.
        uris = []
    if len(uris) != 1:
        raise IdentityMismatch(
            f"the certificate has {len(uris)} URIs among its alternative names, "
            f"where a node's has one, {SCHEME}<cluster>/<role>/<node>"
        )
    return identityFromURI(uris[0])
