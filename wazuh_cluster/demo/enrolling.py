"""
An agent as stock ones enroll: TLS that believes everybody, a line, and all that
comes until the other side ends it.
"""

from __future__ import annotations

import re
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionRefusedError
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.agents import Agent
from wazuh_cluster.agents.clientkeys import parseAgent
from wazuh_cluster.errors import ClusterError

#: The version of the agents.
VERSION = "v4.14.7"

#: How long an agent waits where nobody listens, in seconds, before it tries
#: again.
AGAIN = 0.1

#: The most octets of an answer.
_MOST = 8192

_KEY = re.compile(rb"OSSEC K:'([^'\n]*)'")


class NotEnrolled(ClusterError):
    """
    An agent got no key.
    """


async def enroll(reactor: IReactorTime, endpoint: IStreamClientEndpoint, name: str) -> Agent:
    """
    Enroll an agent. Where nobody listens it tries again, as agents do.

    @return: what the agent was told that it is.
    @raise NotEnrolled: if it was told something else.
    """
    conversation = _Conversation(f"OSSEC A:'{name}' V:'{VERSION}'\n".encode("ascii"))
    inner = Factory.forProtocol(lambda: conversation)
    inner.noisy = False
    factory = TLSMemoryBIOFactory(_TrustingCreator(), True, inner, reactor)
    factory.noisy = False
    while True:
        try:
            await endpoint.connect(factory)
            break
        except ConnectionRefusedError:
            await deferLater(reactor, AGAIN)
        except ConnectError as error:
            raise NotEnrolled(f"the agent {name} could not connect: {error}") from None
    answer = await conversation.answer
    found = _KEY.fullmatch(answer)
    agent = None if found is None else parseAgent(found[1])
    if agent is None or agent.name != name:
        told = answer.decode("utf-8", "backslashreplace") or "nothing"
        raise NotEnrolled(f"the agent {name} got no key, it was told: {told[:200]!r}")
    return agent


class _Conversation(Protocol):
    """
    A line, and what is answered.

    @ivar answer: fires with all that came, when the connection is lost. If it
        is cancelled before, that ends the connection.
    """

    # Protocol's has no abortConnection.
    transport: Any

    def __init__(self, line: bytes) -> None:
        self._line = line
        self._received = b""
        self.answer: Deferred[bytes] = Deferred(lambda _: self.transport.abortConnection())

    def connectionMade(self) -> None:
        """
        Ask.
        """
        self.transport.write(self._line)

    def dataReceived(self, data: bytes) -> None:
        """
        A piece of the answer. An agent's own buffer has an end, too.
        """
        self._received += data[: _MOST - len(self._received)]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        That was all.
        """
        if not self.answer.called:
            self.answer.callback(self._received)


@implementer(IOpenSSLClientConnectionCreator)
class _TrustingCreator:
    """
    TLS for whoever is at the other end: a manager's certificate is one that it
    made itself.
    """

    def __init__(self) -> None:
        self._context = SSL.Context(SSL.TLS_METHOD)

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """
        The connection of the side that dials.
        """
        return SSL.Connection(self._context, None)
