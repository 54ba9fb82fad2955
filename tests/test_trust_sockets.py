"""
Tests for L{wazuh_cluster.trust} over a loopback socket, with a client that is
not ours.
"""

from __future__ import annotations

import socket
import ssl

from attrs import frozen
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from wazuh_cluster.errors import NotTrusted, WrongKey
from wazuh_cluster.model import MASTER, WORKER, Identity
from wazuh_cluster.protocol import CHUNK_SIZE, FileChunk, Limits, Peer
from wazuh_cluster.testing.trust import OTHER, Recorder, testKey, testTrust

SECRET = b"for trusted workers only"


class Telling(Recorder):
    """
    A L{Recorder} that says when it is lost, and what it would send at once.
    """

    def __init__(self) -> None:
        super().__init__(early=SECRET)
        self.lost: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Remember why, and tell.
        """
        super().connectionLost(reason)
        self.lost.callback(None)


class Listening(Factory):
    """
    Keeps the protocols that it built.
    """

    noisy = False

    def __init__(self) -> None:
        self.built: list[Telling] = []

    def buildProtocol(self, addr: object) -> Telling:
        """
        A new one.
        """
        self.built.append(Telling())
        return self.built[-1]


@frozen
class Met:
    """
    What a client of the standard library got.
    """

    received: bytes
    error: str
    reused: bool | None = None
    session: ssl.SSLSession | None = None


def talk(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Met:
    """
    Connect, read until something ends, and say what came. Blocks.
    """
    received, error, reused, newer = b"", "", None, None
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        try:
            with context.wrap_socket(plain, session=session) as wrapped:
                reused = wrapped.session_reused
                received = wrapped.recv(1000)
                newer = wrapped.session
        except (ssl.SSLError, ConnectionError) as problem:
            error = str(problem)
    return Met(received, error, reused, newer)


class StandardClientTests(TestCase):
    """
    A client of Python's C{ssl} module at a master's port.
    """

    timeout = 20

    async def listen(self) -> tuple[Listening, int]:
        """
        A master's port on the loopback interface.
        """
        factory = Listening()
        wrapped = testTrust(MASTER, "hub").wrapServer(factory, reactor)
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = await endpoint.listen(wrapped)
        self.addCleanup(port.stopListening)
        address = port.getHost()
        assert isinstance(address, IPv4Address)
        return factory, address.port

    def context(self) -> ssl.SSLContext:
        """
        A client that believes everybody.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    async def test_oldTLS(self) -> None:
        """
        TLS 1.2 is refused; the client gets no application data.
        """
        factory, port = await self.listen()
        context = self.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        met = await deferToThread(talk, port, context)
        await factory.built[0].lost
        self.assertEqual(b"", met.received)
        self.assertNotEqual("", met.error)
        self.assertEqual(["connected", "lost"], factory.built[0].events)
        assert factory.built[0].reason is not None
        self.assertIsInstance(factory.built[0].reason.value, NotTrusted)

    async def test_noCertificate(self) -> None:
        """
        TLS 1.3 without a certificate gets no application data, though the
        client believes for a moment that it is connected.
        """
        factory, port = await self.listen()
        met = await deferToThread(talk, port, self.context())
        await factory.built[0].lost
        self.assertEqual(b"", met.received)
        self.assertEqual(["connected", "lost"], factory.built[0].events)
        assert factory.built[0].reason is not None
        self.assertIn("showed no certificate", str(factory.built[0].reason.value))

    async def test_nothingIsResumed(self) -> None:
        """
        A client with a good certificate gets data; when it offers its session
        again, it must show the certificate again.
        """
        factory, port = await self.listen()
        credentials = testKey().derive().issue(Identity("wazuh", WORKER, "siem-7"))
        path = self.mktemp()
        with open(path, "wb") as stream:
            stream.write(
                credentials.privateKey.private_bytes(
                    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
                )
            )
            stream.write(credentials.certificate.public_bytes(Encoding.PEM))
        context = self.context()
        context.load_cert_chain(path)
        first = await deferToThread(talk, port, context)
        self.assertEqual(SECRET, first.received)
        self.assertIsNotNone(first.session)
        again = await deferToThread(talk, port, context, first.session)
        self.assertEqual(SECRET, again.received)
        self.assertEqual((False, False), (first.reused, again.reused))
        for protocol in factory.built:
            await protocol.lost

    async def test_ownClient(self) -> None:
        """
        Our own side gets through over a socket, and with another key learns
        that it has another key.
        """
        factory, port = await self.listen()
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        for key, trusted in ((None, True), (OTHER, False)):
            trust = testTrust(WORKER, "siem-7", key=key) if key else testTrust(WORKER, "siem-7")
            dialling = Listening()
            await endpoint.connect(trust.wrapClient(dialling, reactor))
            client = dialling.built[0]
            if trusted:
                done: Deferred[None] = Deferred()
                client.dataReceived = lambda data, done=done: done.callback(None)  # type: ignore
                await done
                client.transport.abortConnection()  # type: ignore[union-attr]
            await client.lost
            await factory.built[-1].lost
            client.transport.abortConnection()  # type: ignore[union-attr]
            assert client.reason is not None
            self.assertEqual(not trusted, isinstance(client.reason.value, WrongKey))


class PeerSocketTests(TestCase):
    """
    Both ends of a link over a socket.
    """

    timeout = 20

    async def connect(self) -> tuple[Peer, Peer]:
        """
        A master's and a worker's end of a link.
        """
        peers: list[Peer] = []
        shaken: list[Deferred[Peer]] = []
        for role in (WORKER, MASTER):
            done: Deferred[Peer] = Deferred()
            shaken.append(done)
            # Longer than a test: nothing may end by standing still.
            peers.append(Peer(role, [], reactor, Limits(stallTimeout=100.0), done.callback))
        server, client = peers
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
            testTrust(MASTER, "hub").wrapServer(Factory.forProtocol(lambda: server), reactor)
        )
        self.addCleanup(port.stopListening)
        await TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port).connect(
            testTrust(WORKER, "siem-7").wrapClient(Factory.forProtocol(lambda: client), reactor)
        )
        for each in shaken:
            (await each).admit()
        return server, client

    async def test_nothingWaits(self) -> None:
        """
        Small boxes are sent at once: an answer does not wait for the other end
        to acknowledge the one before it.
        """
        peers = await self.connect()
        self.assertEqual([True, True], [peer.transport.getTcpNoDelay() for peer in peers])
        for peer in peers:
            peer.close()
        for peer in peers:
            await peer.whenClosed()

    async def test_closedWhileSending(self) -> None:
        """
        When the other end closes the link in an orderly way, it is lost, also
        for one that has more to send than the system takes at once.
        """
        server, client = await self.connect()
        server.close()
        for sequence in range(8):
            client.tell(FileChunk, transfer=1, sequence=sequence, data=b"x" * CHUNK_SIZE)
        self.assertTrue(client.flow.paused)
        await client.whenClosed()
        await server.whenClosed()
