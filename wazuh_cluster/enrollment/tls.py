"""
TLS as the listener speaks it with agents: 1.2 or 1.3, for agents may be old.

It has nothing to do with the TLS of the cluster's links.
"""

from __future__ import annotations

import ipaddress
import os

from cryptography import x509
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IReactorTime,
)
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from wazuh_cluster.enrollment.certificates import Credentials
from wazuh_cluster.errors import ConfigError


def makeContext(
    credentials: Credentials | None, ciphers: str, agentCA: str | None = None
) -> SSL.Context:
    """
    The context of a listener. Blocks.

    @param credentials: C{None} to see whether the rest can be used.
    @param ciphers: for TLS 1.2, in OpenSSL's words; TLS 1.3 has no bad ones.
    @param agentCA: a PEM file; agents must then show a certificate that one of
        its authorities signed.
    @raise ConfigError: if something cannot be used.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    try:
        context.set_cipher_list(ciphers.encode("ascii"))
    except (SSL.Error, UnicodeEncodeError):
        raise ConfigError(
            f"OpenSSL knows no suite in {ciphers[:80]!r}",
            "<auth>, <ciphers>",
            "write OpenSSL's words, or leave <ciphers> out",
        ) from None
    if agentCA is not None:
        _demandCertificates(context, agentCA)
    if credentials is not None:
        try:
            context.use_certificate(credentials.chain[0])
            for each in credentials.chain[1:]:
                context.add_extra_chain_cert(each)
            context.use_privatekey(credentials.privateKey)
        except SSL.Error as error:
            raise ConfigError(
                f"OpenSSL does not take the listener's certificate ({_reason(error)})",
                "<auth>, <ssl_manager_cert>",
                "use a key of at least 2048 bits (RSA) or a NIST curve, and a signature by SHA-256",
            ) from None
    return context


def _demandCertificates(context: SSL.Context, agentCA: str) -> None:
    try:
        context.load_verify_locations(agentCA)
        # Tells agents of whom a certificate must be.
        context.load_client_ca(os.fsencode(agentCA))
    except SSL.Error:
        raise ConfigError(
            "it has no certificate of an authority in PEM, or cannot be read",
            agentCA,
            "put one there, or leave <ssl_agent_ca> out",
        ) from None
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _keepVerdict)


def _keepVerdict(
    connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
) -> bool:
    return bool(ok)


def namesHost(certificate: x509.Certificate, host: str) -> bool:
    """
    Whether an agent's certificate names the address from which the agent
    connects: among its alternative names, or as its common name.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    subject = certificate.subject
    named: list[object] = [
        each.value for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    ]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        pass
    else:
        named += names.get_values_for_type(x509.IPAddress)
        named += names.get_values_for_type(x509.DNSName)
    return any(each == address or str(each).lower() == str(address) for each in named)


def explainTLS(error: SSL.Error) -> str:
    """
    Why TLS with an agent failed, for people.
    """
    reason = _reason(error)
    for mark, meaning in _MEANINGS.items():
        if mark in reason:
            return f"{meaning} ({reason})"
    return f"TLS failed ({reason or 'without a reason'})"


_MEANINGS = {
    "wrong version number": "it does not speak TLS",
    "http request": "it speaks HTTP",
    "unsupported protocol": "its TLS is older than 1.2",
    "no shared cipher": "it has no suite in common with <ciphers>",
    "did not return a certificate": "it showed no certificate, and <ssl_agent_ca> demands one",
    "certificate verify failed": "its certificate is of none of the authorities in <ssl_agent_ca>",
    "unknown ca": "it does not accept this listener's certificate",
}


def _reason(error: SSL.Error) -> str:
    for details in error.args[:1]:
        for detail in details:
            if detail and detail[-1]:
                return str(detail[-1])
    return ""


@implementer(IOpenSSLServerConnectionCreator)
class _Creator:
    """
    Makes each connection with the one context.
    """

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """
        The connection of the side that was dialled.
        """
        return SSL.Connection(self._context, None)


class AgentTLS:
    """
    Puts TLS beneath a protocol.
    """

    def __init__(self, context: SSL.Context, clock: IReactorTime) -> None:
        self._factory = TLSMemoryBIOFactory(_Creator(context), False, Factory(), clock)

    def beneath(self, protocol: IProtocol) -> IProtocol:
        """
        What to connect to the transport instead of C{protocol}.
        """
        # Not the one that aggregates: there is one write.
        return TLSMemoryBIOProtocol(self._factory, protocol)
