"""
For tests of enrollment: a registrar in memory, and agents.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timezone
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.agents import Agent, IRegistrar, IRegistrarObserver, Registration
from wazuh_cluster.enrollment import Enrolled, IEnroller
from wazuh_cluster.enrollment.certificates import Credentials
from wazuh_cluster.errors import EnrollmentRefused, RegistrationRefused
from wazuh_cluster.testing.network import MemoryNetwork


def keyOf(agent: int) -> str:
    return f"{agent:064x}"


@implementer(IRegistrar)
class MemoryRegistrar:
    """
    A registrar that lasts as long as the object.

    @ivar holdBefore: whether registrations wait before they are done.
    @ivar holdAfter: whether they wait when they are done, before the answer.
    @ivar failure: what everything fails with, if anything.
    """

    def __init__(self) -> None:
        self.agents: dict[int, Agent] = {}
        self.requests: list[tuple[Registration, bytes, str]] = []
        self.undoCalls: list[tuple[bytes, str]] = []
        self.given: dict[tuple[str, bytes], int] = {}
        self.undone: set[tuple[str, bytes]] = set()
        self.groups = {"default"}
        self.top = 0
        self.holdBefore = False
        self.holdAfter = False
        self.failure: Exception | None = None
        self._held: list[Callable[[], None]] = []

    def load(self) -> Deferred[int]:
        return self.highest()

    def stop(self) -> None:
        pass

    def observe(self, observer: IRegistrarObserver) -> None:
        pass

    def register(self, request: Registration, requestId: bytes, origin: str) -> Deferred[Agent]:
        self.requests.append((request, requestId, origin))
        answer: Deferred[Agent] = Deferred()

        def finish() -> None:
            try:
                agent = self._decide(request, origin, requestId)
            except Exception:
                answer.errback(Failure())
                return
            if self.holdAfter:
                self._held.append(lambda: answer.callback(agent))
            else:
                answer.callback(agent)

        if self.holdBefore:
            self._held.append(finish)
        else:
            finish()
        return answer

    def _decide(self, request: Registration, origin: str, requestId: bytes) -> Agent:
        if self.failure is not None:
            raise self.failure
        if (origin, requestId) in self.undone:
            raise RegistrationRefused.of(9001, "Internal error")
        known = self.given.get((origin, requestId))
        if known is not None:
            return self.agents[known]
        if set(request.groups) - self.groups:
            raise RegistrationRefused.of(9014, "Invalid Group(s) Name(s)")
        for each in self.agents.values():
            if each.ip == request.ip != "any":
                raise RegistrationRefused.of(9007, "Duplicate IP")
            if each.name == request.name:
                raise RegistrationRefused.of(9008, "Duplicate name")
        self.top += 1
        agent = Agent(self.top, request.name, request.ip, keyOf(self.top))
        self.agents[agent.id] = agent
        self.given[origin, requestId] = agent.id
        return agent

    def release(self) -> None:
        """
        Let all go on that waits, now and from now on.
        """
        self.holdBefore = self.holdAfter = False
        held, self._held = self._held, []
        for each in held:
            each()

    def undo(self, requestId: bytes, origin: str) -> Deferred[Agent | None]:
        self.undoCalls.append((requestId, origin))
        if self.failure is not None:
            return fail(self.failure)
        self.undone.add((origin, requestId))
        agent = self.given.pop((origin, requestId), None)
        return succeed(None if agent is None else self.agents.pop(agent, None))

    def remove(self, ids: Collection[int], purge: bool | None = None) -> Deferred[Sequence[Agent]]:
        return succeed([self.agents.pop(each) for each in ids if each in self.agents])

    def get(self, agent: int) -> Deferred[Agent | None]:
        return succeed(self.agents.get(agent))

    def known(self, ids: Collection[int]) -> Deferred[frozenset[int]]:
        return succeed(frozenset(ids) & self.agents.keys())

    def page(self, after: int, most: int) -> Deferred[Sequence[Agent]]:
        ids = sorted(each for each in self.agents if each > after)
        return succeed([self.agents[each] for each in ids[:most]])

    def highest(self) -> Deferred[int]:
        return succeed(self.top)

    def seen(self, agent: int) -> Deferred[None]:
        if self.failure is not None:
            return fail(self.failure)
        self.top = max(self.top, agent)
        return succeed(None)

    def names(self) -> list[str]:
        return sorted(each.name for each in self.agents.values())


@implementer(IEnroller)
class MemoryEnroller:
    """
    An enroller that answers when it is told to.

    @ivar requests: all that came.
    @ivar waiting: those that wait, if they are to.
    @ivar undone: the agents that were undone.
    """

    def __init__(self) -> None:
        self.requests: list[Registration] = []
        self.waiting: list[Deferred[Enrolled]] = []
        self.undone: list[Agent] = []
        self.cancelled = 0
        self.hold = False
        self.refusal: str | None = None

    def enroll(self, request: Registration) -> Deferred[Enrolled]:
        self.requests.append(request)
        answer: Deferred[Enrolled] = Deferred(self._cancel)
        if self.hold:
            self.waiting.append(answer)
        else:
            self.answer(answer, len(self.requests))
        return answer

    def answer(self, waiting: Deferred[Enrolled], agentId: int) -> None:
        if self.refusal is not None:
            waiting.errback(EnrollmentRefused(self.refusal))
            return
        request = self.requests[agentId - 1]
        agent = Agent(agentId, request.name, request.ip, keyOf(agentId))
        waiting.callback(Enrolled(agent, lambda: self.undone.append(agent)))

    def release(self) -> None:
        waiting, self.waiting = self.waiting, []
        first = len(self.requests) - len(waiting) + 1
        for number, each in enumerate(waiting, first):
            if not each.called:
                self.answer(each, number)

    def _cancel(self, answer: Deferred[Enrolled]) -> None:
        self.cancelled += 1


@implementer(IOpenSSLClientConnectionCreator)
class AgentCreator:
    """
    TLS as agents have it: they believe everybody.
    """

    def __init__(self, newest: int = SSL.TLS1_3_VERSION, credentials: Any = None) -> None:
        self._context = SSL.Context(SSL.TLS_METHOD)
        self._context.set_max_proto_version(newest)
        if credentials is not None:
            self._context.use_certificate(credentials.chain[0])
            self._context.use_privatekey(credentials.privateKey)

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class AgentAuthority:
    """
    An authority for agents' certificates.

    @ivar pem: its own certificate.
    """

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agents")])
        self.pem = self._sign(self._name, self._key, None).public_bytes(Encoding.PEM)

    def issue(self, name: str, address: str | None = None) -> Credentials:
        """
        A certificate for an agent.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return Credentials((self._sign(subject, key, address),), key)

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, address: str | None
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2000, 1, 1, tzinfo=timezone.utc))
            .not_valid_after(datetime(9999, 1, 1, tzinfo=timezone.utc))
            .add_extension(x509.BasicConstraints(subject == self._name, None), True)
        )
        if address is not None:
            names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
            builder = builder.add_extension(names, False)
        return builder.sign(self._key, SHA256())


class FakeAgent(Protocol):
    """
    An agent as one that enrolls: it sends a line and reads to the end.

    @ivar received: all that came.
    @ivar gone: whether the connection is lost.
    """

    def __init__(self, line: bytes = b"") -> None:
        self.line = line
        self.received = b""
        self.gone = False

    def connectionMade(self) -> None:
        if self.line:
            self.say(self.line)

    def say(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def leave(self) -> None:
        """
        Close the connection in an orderly way.
        """
        assert self.transport is not None
        self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone = True


class Agents:
    """
    Makes agents that connect over a network in memory.
    """

    def __init__(self, clock: Clock, network: MemoryNetwork) -> None:
        self._clock = clock
        self._network = network
        self._creator = AgentCreator()

    def dial(
        self,
        host: str,
        line: bytes = b"",
        source: str = "10.0.0.9",
        creator: AgentCreator | None = None,
    ) -> FakeAgent:
        """
        Connect an agent, which sends a line.
        """
        agent = FakeAgent(line)
        inner = Factory.forProtocol(lambda: agent)
        wrapped = TLSMemoryBIOFactory(creator or self._creator, True, inner, self._clock)
        endpoint = self._network.client(host, 1515, source)
        endpoint.connect(wrapped).addErrback(lambda _: agent.connectionLost())
        self._clock.advance(0)
        return agent

    def dialPlainly(self, host: str, data: bytes, source: str = "10.0.0.9") -> FakeAgent:
        """
        Connect without TLS, and send something.
        """
        agent = FakeAgent(data)
        endpoint = self._network.client(host, 1515, source)
        connectProtocol(endpoint, agent).addErrback(lambda _: agent.connectionLost())
        self._clock.advance(0)
        return agent
