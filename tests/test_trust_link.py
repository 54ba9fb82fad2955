"""
Tests for links between nodes of a cluster, in memory: L{wazuh_cluster.trust.tls},
L{wazuh_cluster.trust.gate} and L{wazuh_cluster.trust.sniff}.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wazuh_cluster.errors import (
    ClusterError,
    IdentityMismatch,
    LinkClosed,
    LinkStalled,
    NotAMaster,
    NotAWorker,
    NotTrusted,
    ProtocolViolation,
    WrongKey,
)
from wazuh_cluster.interfaces import IClusterTrust
from wazuh_cluster.model import MASTER, WORKER, Identity
from wazuh_cluster.testing.trust import (
    OTHER,
    MemoryLink,
    OneProtocol,
    Recorder,
    connectFactories,
    testKey,
    testTrust,
)
from wazuh_cluster.trust import Credentials, KeyTrust, peerIdentity
from wazuh_cluster.trust.explain import OTHER_KEY
from wazuh_cluster.trust.sniff import (
    HANDSHAKE_LIMIT,
    LINGER,
    RECORD_TIMEOUT,
    RECORDS,
    SniffingFactory,
)
from wazuh_cluster.trust.tls import ConnectionCreator, makeContext, wrapFactory


class LinkCase(SynchronousTestCase):
    """
    Two nodes, a clock that must be left with nothing to do, and a recorder at
    either end.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = Recorder()
        self.client = Recorder()
        self.hub = testTrust(MASTER, "hub")
        self.siem = testTrust(WORKER, "siem-7")

    def connect(self, master: KeyTrust, worker: KeyTrust) -> MemoryLink:
        """
        Connect the recorders and let everything move.
        """
        return self.connectWrapped(
            master.wrapServer(OneProtocol(self.server), self.clock),
            worker.wrapClient(OneProtocol(self.client), self.clock),
        )

    def connectWrapped(self, server: IProtocolFactory, client: IProtocolFactory) -> MemoryLink:
        """
        The same for factories that are wrapped already.
        """
        link = connectFactories(server, client, self.clock)
        link.flush()

        def tidy() -> None:
            link.close()
            self.assertEqual([], self.clock.getDelayedCalls())

        self.addCleanup(tidy)
        return link

    def reason(self, recorder: Recorder) -> ClusterError:
        """
        Why a recorder's connection was lost: a L{ClusterError} of one line.
        """
        self.assertIsNotNone(recorder.reason)
        assert recorder.reason is not None
        value = recorder.reason.value
        self.assertIsInstance(value, ClusterError)
        assert isinstance(value, ClusterError)
        self.assertNotIn("\n", str(value))
        return value


class TrustedLinkTests(LinkCase):
    """
    Two nodes that hold the same key.
    """

    def test_interface(self) -> None:
        """
        A trust made from a key provides L{IClusterTrust}.
        """
        verifyObject(IClusterTrust, self.hub)
        self.assertEqual(Identity("wazuh", MASTER, "hub"), self.hub.identity)

    def test_handshakeThenData(self) -> None:
        """
        A protocol is connected first, then hears that the handshake is
        complete, then gets data; the identities are known from then on.
        """
        self.client = Recorder(early=b"hello")
        link = self.connect(self.hub, self.siem)
        self.assertEqual(["connected", "handshake", "data"], self.server.events)
        self.assertEqual(b"hello", self.server.received)
        self.assertEqual(["connected", "handshake"], self.client.events)
        self.assertEqual(
            Identity("wazuh", WORKER, "siem-7"), self.hub.peerIdentity(self.server.transport)
        )
        self.assertEqual(
            Identity("wazuh", MASTER, "hub"), self.siem.peerIdentity(self.client.transport)
        )
        self.server.write(b"welcome" * 30000)
        link.flush()
        self.assertEqual(b"welcome" * 30000, self.client.received)

    def test_noIdentityBeforeTheHandshake(self) -> None:
        """
        Before the handshake is complete, a transport has no peer identity.
        """
        factory = self.hub.wrapServer(OneProtocol(self.server), self.clock)
        client = self.siem.wrapClient(OneProtocol(self.client), self.clock)
        link = connectFactories(factory, client, self.clock)
        self.assertEqual(["connected"], self.server.events)
        self.assertRaises(IdentityMismatch, peerIdentity, self.server.transport)
        self.assertRaises(IdentityMismatch, peerIdentity, object())
        link.close()

    def test_identityStays(self) -> None:
        """
        Who the peer was is still known after the connection is lost.
        """
        link = self.connect(self.hub, self.siem)
        link.close()
        self.assertEqual("siem-7", peerIdentity(self.server.transport).name)

    def test_cleanEnd(self) -> None:
        """
        When one end closes, both get Twisted's own C{ConnectionDone}.
        """
        self.server = Recorder()
        link = self.connect(self.hub, self.siem)
        self.server.write(b"bye")
        link.flush()
        assert self.server.transport is not None
        self.server.transport.loseConnection()
        link.flush()
        for recorder in (self.server, self.client):
            assert recorder.reason is not None
            self.assertIsInstance(recorder.reason.value, ConnectionDone)

    def test_version(self) -> None:
        """
        The link is TLS 1.3 with the first of our cipher suites.
        """
        self.connect(self.hub, self.siem)
        handle = self.server.transport.getHandle()  # type: ignore[union-attr]
        self.assertEqual("TLSv1.3", handle.get_protocol_version_name())
        self.assertEqual("TLS_AES_256_GCM_SHA384", handle.get_cipher_name())

    def test_otherClusterNameIsForHello(self) -> None:
        """
        A node of another cluster with the same key passes TLS, so that Hello
        can tell it its mistake.
        """
        self.connect(self.hub, testTrust(WORKER, "siem-7", cluster="Östersund 2"))
        self.assertEqual("Östersund 2", peerIdentity(self.server.transport).cluster)

    def test_sniffed(self) -> None:
        """
        A transport knows how many bytes went each way beneath TLS, and what
        came first, also when it is lost.
        """
        link = self.connect(self.hub, self.siem)
        atServer = self.server.transport.sniffed  # type: ignore[union-attr]
        atClient = self.client.transport.sniffed  # type: ignore[union-attr]
        self.assertEqual(atServer.received, atClient.sent)
        self.assertEqual(atServer.sent, atClient.received)
        self.assertGreater(atServer.sent, 500)
        self.assertEqual(32, len(atServer.head))
        self.assertEqual(b"\x16\x03", atServer.head[:2])
        link.close()
        afterwards = self.server.transport.sniffed  # type: ignore[union-attr]
        self.assertEqual(atServer.received, afterwards.received)

    def test_refusingFactory(self) -> None:
        """
        A factory that builds no protocol for a connection refuses it.
        """
        for trust in (self.hub, self.siem):
            wrapped = trust.wrapServer(OneProtocol(None), self.clock)
            self.assertIsNone(wrapped.buildProtocol(None))  # type: ignore[arg-type]

    def test_listenerIsOptional(self) -> None:
        """
        A protocol that is no handshake listener is served all the same.
        """
        plain = Protocol()
        received: list[bytes] = []
        plain.dataReceived = received.append  # type: ignore[assignment]
        self.client = Recorder(early=b"hello")
        self.connectWrapped(
            self.hub.wrapServer(OneProtocol(plain), self.clock),
            self.siem.wrapClient(OneProtocol(self.client), self.clock),
        )
        self.assertEqual([b"hello"], received)


class UntrustedLinkTests(LinkCase):
    """
    Peers that must not get in: not one byte of theirs reaches a protocol, and
    not one of ours reaches them.
    """

    def setUp(self) -> None:
        super().setUp()
        self.server = Recorder(early=b"from the server")
        self.client = Recorder(early=b"from the client")

    def assertNothingPassed(self) -> None:
        """
        Both ends are lost and neither received anything.
        """
        for recorder in (self.server, self.client):
            self.assertEqual(b"", recorder.received)
            self.assertEqual("lost", recorder.events[-1])

    def test_otherKey(self) -> None:
        """
        With different keys both ends say so, each with the other's address.
        """
        self.connect(self.hub, testTrust(WORKER, "siem-7", key=OTHER))
        self.assertNothingPassed()
        self.assertNotIn("handshake", self.server.events + self.client.events)
        atClient, atServer = self.reason(self.client), self.reason(self.server)
        self.assertIsInstance(atClient, WrongKey)
        self.assertIn("the master at 10.0.0.1:1516 has another cluster key", str(atClient))
        self.assertIsInstance(atServer, WrongKey)
        self.assertIn("the node at 10.0.0.7:40000", str(atServer))
        self.assertIn("another cluster key", str(atServer))
        for error in (atClient, atServer):
            self.assertIn("wazuh-cluster init --key-file", str(error))
            self.assertIsInstance(error.__cause__, SSL.Error)

    def test_clientThatTrustsUs(self) -> None:
        """
        A client that accepts our certificate but has one of another authority
        thinks for a moment that it is connected; the server refuses it.
        """
        theirs = testKey(OTHER).derive().issue(Identity("wazuh", WORKER, "siem-7"))
        forged = evolve(theirs, ca=testKey().derive().certificate)
        self.connectWrapped(
            self.hub.wrapServer(OneProtocol(self.server), self.clock),
            self.wrapped(forged, WORKER, self.client),
        )
        self.assertNothingPassed()
        self.assertNotIn("handshake", self.server.events)
        self.assertIsInstance(self.reason(self.server), WrongKey)
        self.assertIn("handshake", self.client.events)
        self.assertIn("refuses this node's certificate", str(self.reason(self.client)))

    def test_nodeActingAsAuthority(self) -> None:
        """
        A certificate that a node signed with its own is worth nothing.
        """
        authority = testKey().derive()
        mine = authority.issue(Identity("wazuh", WORKER, "siem-7"))
        assert isinstance(mine.privateKey, Ed25519PrivateKey)
        below = evolve(authority, certificate=mine.certificate, privateKey=mine.privateKey).issue(
            Identity("wazuh", WORKER, "siem-8")
        )
        self.connectWrapped(
            self.hub.wrapServer(OneProtocol(self.server), self.clock),
            self.wrapped(evolve(below, ca=authority.certificate), WORKER, self.client),
        )
        self.assertNothingPassed()
        self.assertNotIn("handshake", self.server.events)

    def test_workerDialsWorker(self) -> None:
        """
        A worker that reaches another worker ends the link and says who is there.
        """
        self.connect(testTrust(WORKER, "siem-2"), self.siem)
        self.assertNothingPassed()
        self.assertNotIn("handshake", self.client.events)
        error = self.reason(self.client)
        self.assertIsInstance(error, NotAMaster)
        self.assertIn("10.0.0.1:1516 is siem-2, a worker", str(error))
        self.assertIsInstance(self.reason(self.server), NotTrusted)

    def test_masterDialsMaster(self) -> None:
        """
        A master that is dialled by a master ends the link; the dialler is told
        where to look.
        """
        self.connect(self.hub, testTrust(MASTER, "hub-2"))
        self.assertNothingPassed()
        self.assertNotIn("handshake", self.server.events)
        error = self.reason(self.server)
        self.assertIsInstance(error, NotAWorker)
        self.assertIn("hub-2, a master", str(error))
        atClient = self.reason(self.client)
        self.assertIsInstance(atClient, LinkClosed)
        self.assertIn("right after the TLS handshake", str(atClient))

    def test_noCertificate(self) -> None:
        """
        A client that shows no certificate is refused as no node.
        """
        self.connectWrapped(
            self.hub.wrapServer(OneProtocol(self.server), self.clock),
            self.foreign(SSL.TLS1_3_VERSION, self.client),
        )
        self.assertNothingPassed()
        self.assertIsInstance(self.reason(self.server), NotTrusted)
        self.assertIn("showed no certificate", str(self.reason(self.server)))

    def test_otherCipher(self) -> None:
        """
        A client that knows no AES suite is refused for that.
        """
        self.connectWrapped(
            self.hub.wrapServer(OneProtocol(self.server), self.clock),
            self.foreign(SSL.TLS1_3_VERSION, self.client, suites=b"TLS_CHACHA20_POLY1305_SHA256"),
        )
        self.assertNothingPassed()
        self.assertIn("no cipher in common", str(self.reason(self.server)))

    def test_oldTLS(self) -> None:
        """
        A client that speaks at most TLS 1.2 is refused for that.
        """
        self.connectWrapped(
            self.hub.wrapServer(OneProtocol(self.server), self.clock),
            self.foreign(SSL.TLS1_2_VERSION, self.client),
        )
        self.assertNothingPassed()
        self.assertIn("does not speak TLS 1.3", str(self.reason(self.server)))

    def test_oldServer(self) -> None:
        """
        A worker says of a server that speaks at most TLS 1.2 what it is not.
        """
        self.connectWrapped(
            self.foreign(SSL.TLS1_2_VERSION, self.server, isClient=False),
            self.siem.wrapClient(OneProtocol(self.client), self.clock),
        )
        self.assertNothingPassed()
        self.assertIn("does not speak TLS 1.3", str(self.reason(self.client)))

    def wrapped(self, credentials: Credentials, role: str, protocol: Recorder) -> IProtocolFactory:
        """
        A factory of a node with these credentials.
        """
        context = makeContext(credentials)
        return wrapFactory(
            OneProtocol(protocol),
            self.clock,
            currentContext=lambda: context,
            role=role,
            stranger=OTHER_KEY,
        )

    def foreign(
        self,
        version: int,
        protocol: Recorder,
        isClient: bool = True,
        suites: bytes = b"",
    ) -> IProtocolFactory:
        """
        A factory of some other TLS program, which trusts everybody.
        """
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(version)
        if suites:
            context.set_tls13_ciphersuites(suites)
        if not isClient:
            identity = Identity("wazuh", MASTER, "hub")
            credentials = testKey(OTHER).derive().issue(identity)
            context.use_certificate(credentials.certificate)
            context.use_privatekey(credentials.privateKey)
        creator = ConnectionCreator(lambda: context)
        return TLSMemoryBIOFactory(creator, isClient, OneProtocol(protocol), clock=self.clock)


class AbortTests(LinkCase):
    """
    C{abortConnection} works at any time.
    """

    def test_anyStep(self) -> None:
        """
        Either end can abort after any number of steps of the handshake, and
        both are lost, once, with nothing left to do.
        """
        for steps in range(8):
            for aborter in ("server", "client"):
                self.server, self.client = Recorder(), Recorder()
                link = connectFactories(
                    self.hub.wrapServer(OneProtocol(self.server), self.clock),
                    self.siem.wrapClient(OneProtocol(self.client), self.clock),
                    self.clock,
                )
                for _ in range(steps):
                    link.step()
                getattr(self, aborter).transport.abortConnection()
                getattr(self, aborter).transport.abortConnection()
                link.flush()
                link.close()
                for recorder in (self.server, self.client):
                    self.assertEqual(1, recorder.events.count("lost"))
                self.assertEqual([], self.clock.getDelayedCalls())

    def test_afterTheEnd(self) -> None:
        """
        Calls on a transport that is lost do nothing.
        """
        link = self.connect(self.hub, self.siem)
        link.close()
        for recorder in (self.server, self.client):
            transport = recorder.transport
            assert transport is not None
            transport.abortConnection()  # type: ignore[attr-defined]
            transport.loseConnection()
            transport.write(b"late")
            self.assertEqual(["connected", "handshake", "lost"], recorder.events)

    def test_whenConnected(self) -> None:
        """
        A protocol can refuse in C{connectionMade}, before TLS says anything.
        """

        class Refuser(Recorder):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.abortConnection()  # type: ignore[union-attr]

        self.server = Refuser()
        self.connect(self.hub, self.siem)
        self.assertEqual(["connected", "lost"], self.server.events)
        self.assertEqual(["connected", "lost"], self.client.events)

    def test_whenHandshakeCompletes(self) -> None:
        """
        A protocol that aborts in C{handshakeCompleted} gets no data that came
        with it.
        """

        class Refuser(Recorder):
            def handshakeCompleted(self) -> None:
                super().handshakeCompleted()
                self.transport.abortConnection()  # type: ignore[union-attr]

        self.server = Refuser()
        self.client = Recorder(early=b"hello")
        self.connect(self.hub, self.siem)
        self.assertEqual(["connected", "handshake", "lost"], self.server.events)

    def test_floodBeforeTrust(self) -> None:
        """
        A peer that sends more than any handshake needs is cut off, though each
        of its records is a valid beginning of a long ClientHello.
        """
        flood = Recorder()
        server = self.hub.wrapServer(OneProtocol(self.server), self.clock)
        link = self.connectWrapped(server, OneProtocol(flood))
        body = b"\x01\x01\xf0\x00" + b"\x03\x03" + b"\0" * 16000
        sent = 0
        while not self.server.reason and sent < 8 * HANDSHAKE_LIMIT:
            record = b"\x16\x03\x01" + len(body).to_bytes(2, "big") + body
            flood.write(record)
            sent += len(record)
            body = b"\0" * 16000
            link.flush()
        self.assertLess(sent, 2 * HANDSHAKE_LIMIT)
        self.assertIn("did not finish the TLS handshake", str(self.reason(self.server)))

    def test_noLimitOnceTrusted(self) -> None:
        """
        A trusted peer may send more than that.
        """
        link = self.connect(self.hub, self.siem)
        self.client.write(b"x" * (2 * HANDSHAKE_LIMIT))
        link.flush()
        self.assertEqual(2 * HANDSHAKE_LIMIT, len(self.server.received))
        self.assertNotIn("lost", self.server.events)

    def test_crumbs(self) -> None:
        """
        A trusted peer that sends thousands of TLS records at once, each of a
        byte, is cut off; one that sends some hundreds is not.
        """
        context = makeContext(testKey().derive().issue(Identity("wazuh", WORKER, "siem-7")))
        creator = ConnectionCreator(lambda: context)
        for count, ends in ((RECORDS - 10, False), (RECORDS + 10, True)):
            self.server, self.client = Recorder(), Recorder()
            # The base: it makes a record of each write.
            factory = TLSMemoryBIOFactory(creator, True, OneProtocol(self.client), clock=self.clock)
            factory.protocol = TLSMemoryBIOProtocol
            server = self.hub.wrapServer(OneProtocol(self.server), self.clock)
            link = self.connectWrapped(server, factory)
            for _ in range(count):
                self.client.write(b"x")
            link.flush()
            self.assertEqual(ends, "lost" in self.server.events)
            self.assertEqual(0 if ends else count, len(self.server.received))
        reason = self.server.reason
        assert reason is not None
        reason.trap(ProtocolViolation)
        self.assertIn("too many pieces", reason.getErrorMessage())

    def test_endsThoughThePeerTakesNothing(self) -> None:
        """
        A connection that TLS has ended is cut when its peer does not take what
        was written before in time.
        """
        factory = SniffingFactory(OneProtocol(Recorder()), self.clock)
        for takes in (True, False):
            sniffer = factory.buildProtocol(None)
            assert sniffer is not None
            transport = StringTransport()
            sniffer.makeConnection(transport)
            sniffer.loseConnection()
            self.assertTrue(transport.disconnecting)
            self.clock.advance(LINGER - 0.1)
            if takes:
                sniffer.connectionLost(Failure(ConnectionDone()))
            self.clock.advance(0.1)
            self.assertEqual(not takes, transport.disconnected)

    def test_recordWithoutEnd(self) -> None:
        """
        A trusted peer that drips a TLS record, of which nothing is seen above
        TLS, is cut off; what it sends while this end does not read is its own
        matter.
        """
        for paused in (True, False):
            self.server, self.client = Recorder(), Recorder()
            link = self.connect(self.hub, self.siem)
            self.client.write(b"x" * 10_000)
            link.flush()
            transport: Any = self.server.transport
            sniffer = transport.sniffer
            sniffer.dataReceived(b"\x17\x03\x03\x40\x00")
            if paused:
                transport.pauseProducing()
                self.clock.advance(2 * RECORD_TIMEOUT)
                transport.resumeProducing()
            for _ in range(7):
                self.clock.advance(RECORD_TIMEOUT / 8)
                sniffer.dataReceived(b"?")
            self.assertNotIn("lost", self.server.events)
            self.clock.advance(RECORD_TIMEOUT / 8)
            link.flush()
            self.assertIn("lost", self.server.events)
            assert self.server.reason is not None
            self.server.reason.trap(LinkStalled)
            self.assertIn("the rest of a TLS record", self.server.reason.getErrorMessage())
            self.assertEqual([], self.clock.getDelayedCalls())

    def test_slowRecords(self) -> None:
        """
        However slowly they come, records that end in time hurt nobody.
        """
        self.server = Recorder()
        sniffer = SniffingFactory(OneProtocol(self.server), self.clock).buildProtocol(None)
        assert sniffer is not None
        sniffer.makeConnection(StringTransport())
        sniffer.liftLimit()
        for octet in (b"\x17\x03\x03\0\x03" + b"abc") * 5:
            self.clock.advance(RECORD_TIMEOUT / 8)
            sniffer.dataReceived(bytes([octet]))
        self.assertEqual(40, len(self.server.received))
        self.assertNotIn("lost", self.server.events)
        self.assertEqual([], self.clock.getDelayedCalls())
