"""
Tests for L{wazuh_cluster.trust.explain}: what an operator is told of the
programs that one meets on a port, in real conversations in memory.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import ClusterError, LinkClosed, NotTrusted, WrongKey
from wazuh_cluster.model import MASTER, WORKER
from wazuh_cluster.testing.trust import MemoryLink, OneProtocol, Recorder, testTrust
from wazuh_cluster.trust import OTHER_AUTHORITY, Sniffed, describeAddress, explainFailure

TLS_HEAD = Sniffed(b"\x16\x03\x01\x05\xa0\x01\x00\x05", 1445, 2000)

#: How a stock worker greets: a counter, a length, the command, a payload that
#: only its master can read.
STOCK_HELLO = bytes.fromhex("8f03a2c1000000a4") + b"hello ------" + b"gAAAAABk" * 20


class ConversationTests(SynchronousTestCase):
    """
    One end is a node, the other is something else.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.node = Recorder()
        self.other = Recorder()

    def meet(self, role: str) -> MemoryLink:
        """
        Connect a node of this role with the other program.
        """
        trust = testTrust(role, "hub")
        factory = OneProtocol(self.node)
        if role == MASTER:
            server = trust.wrapServer(factory, self.clock).buildProtocol(None)  # type: ignore[arg-type]
            assert server is not None
            link = MemoryLink(server, self.other, self.clock)
        else:
            client = trust.wrapClient(factory, self.clock).buildProtocol(None)  # type: ignore[arg-type]
            assert client is not None
            link = MemoryLink(self.other, client, self.clock)
        link.flush()
        self.addCleanup(link.close)
        return link

    def told(self) -> str:
        """
        What the node was told.
        """
        self.assertNotIn("handshake", self.node.events)
        self.assertNotIn("data", self.node.events)
        assert self.node.reason is not None
        self.assertIsInstance(self.node.reason.value, NotTrusted)
        text = str(self.node.reason.value)
        self.assertNotIn("\n", text)
        self.assertLess(len(text), 250)
        return text

    def say(self, role: str, said: bytes) -> str:
        """
        What a node is told when the other end says this and then closes.
        """
        link = self.meet(role)
        self.other.write(said)
        link.flush()
        assert self.other.transport is not None
        self.other.transport.loseConnection()
        link.flush()
        return self.told()

    def test_stockWorker(self) -> None:
        """
        A master recognises a stock worker by its first frame.
        """
        text = self.say(MASTER, STOCK_HELLO)
        self.assertIn("10.0.0.7:40000 looks like a stock wazuh-clusterd worker", text)

    def test_stockMasterAnswers(self) -> None:
        """
        A worker recognises a frame of Wazuh's protocol too.
        """
        text = self.say(WORKER, b"\0\0\0\1\0\0\0\x10err --------" + b"x" * 16)
        self.assertIn("10.0.0.1:1516 looks like a stock wazuh-clusterd:", text)

    def test_stockMasterCloses(self) -> None:
        """
        A stock master closes without an answer: the worker is told what that
        looks like, and where to check.
        """
        text = self.say(WORKER, b"")
        self.assertIn("closed the connection without an answer", text)
        self.assertIn("a stock wazuh-clusterd or a firewall", text)

    def test_silentMaster(self) -> None:
        """
        A master that never answers is described likewise when the worker's
        patience ends.
        """
        link = self.meet(WORKER)
        self.node.transport.abortConnection()  # type: ignore[union-attr]
        link.flush()
        text = self.told()
        self.assertIn("did not answer", text)
        self.assertIn("a stock wazuh-clusterd or a firewall", text)

    def test_silentClient(self) -> None:
        """
        A client that says nothing looks like a scan or a health check, whoever
        ends it.
        """
        self.assertIn("port scan or a health check", self.say(MASTER, b""))
        self.setUp()
        link = self.meet(MASTER)
        self.node.transport.abortConnection()  # type: ignore[union-attr]
        link.flush()
        self.assertIn("connected and said nothing", self.told())

    def test_http(self) -> None:
        """
        HTTP is called HTTP, in both directions.
        """
        request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        self.assertIn("10.0.0.7:40000 speaks HTTP", self.say(MASTER, request))
        self.setUp()
        answer = b"HTTP/1.1 400 Bad Request\r\n\r\n"
        text = self.say(WORKER, answer)
        self.assertIn("10.0.0.1:1516 speaks HTTP", text)
        self.assertIn("check <node> and <port>", text)

    def test_ssh(self) -> None:
        """
        SSH is called SSH, in both directions.
        """
        for role in (MASTER, WORKER):
            self.setUp()
            self.assertIn("speaks SSH", self.say(role, b"SSH-2.0-OpenSSH_9.2p1\r\n"))

    def test_anythingElse(self) -> None:
        """
        Of anything else the first bytes are shown, as digits.
        """
        for role in (MASTER, WORKER):
            self.setUp()
            text = self.say(role, b"\x7fELF\x1b[31m")
            self.assertIn("does not speak TLS (it began with 7f 45 4c 46 1b 5b 33 31)", text)

    def test_closedHalfway(self) -> None:
        """
        A connection that ends after the beginning of a TLS record ended during
        the handshake.
        """
        self.assertIn("during the TLS handshake", self.say(MASTER, b"\x16\x03\x01\x05\xa0\x01"))

    @settings(deadline=None, max_examples=60)
    @given(st.binary(min_size=1, max_size=200), st.sampled_from([MASTER, WORKER]))
    def test_noise(self, noise: bytes, role: str) -> None:
        """
        Whatever comes, the node gets one short line and no data.
        """
        self.clock = Clock()
        self.node, self.other = Recorder(), Recorder()
        self.say(role, noise)
        self.assertEqual([], self.clock.getDelayedCalls())


class ExplainFailureTests(SynchronousTestCase):
    """
    What cannot be brought about in memory.
    """

    def explain(self, reason: str, role: str = WORKER, **more: object) -> ClusterError:
        """
        Explain an error of OpenSSL.
        """
        failure = Failure(SSL.Error([("SSL routines", "", reason)]))
        return explainFailure(failure, TLS_HEAD, role, "h:1", **more)  # type: ignore[arg-type]

    def test_alerts(self) -> None:
        """
        All alerts about our certificate mean another key, in the words of
        OpenSSL 1.1.1 to 4.
        """
        for reason in (
            "tlsv1 alert unknown ca",
            "sslv3 alert bad certificate",
            "ssl/tls alert bad certificate",
            "tlsv1 alert decrypt error",
            "sslv3 alert certificate unknown",
        ):
            error = self.explain(reason, MASTER)
            self.assertIsInstance(error, WrongKey)
            self.assertIn("the node at h:1", str(error))

    def test_dates(self) -> None:
        """
        A certificate outside its dates is not taken for one of another
        authority.
        """
        for number, words in ((9, "is not valid yet"), (10, "has expired")):
            error = self.explain("certificate verify failed", verifyError=number)
            self.assertNotIsInstance(error, WrongKey)
            self.assertIn(words, str(error))
            self.assertIn("clocks", str(error))
        theirs = self.explain("sslv3 alert certificate expired")
        self.assertNotIsInstance(theirs, WrongKey)
        self.assertIn("clocks", str(theirs))

    def test_purpose(self) -> None:
        """
        A certificate that is not for TLS is told from one of another authority.
        """
        error = self.explain("certificate verify failed", verifyError=26)
        self.assertIn("serverAuth and clientAuth", str(error))

    def test_certificates(self) -> None:
        """
        With certificates of their own, nodes are told to compare authorities,
        not keys.
        """
        for reason in ("certificate verify failed", "tlsv1 alert unknown ca"):
            error = self.explain(reason, stranger=OTHER_AUTHORITY)
            self.assertIsInstance(error, WrongKey)
            self.assertIn("[certificates]", str(error))
            self.assertNotIn("<key>", str(error))

    def test_unknownReason(self) -> None:
        """
        A reason that nobody foresaw is passed on; so is an error without one.
        """
        self.assertIn("bad record mac", str(self.explain("decryption failed or bad record mac")))
        for empty in (SSL.Error(), SSL.Error([])):
            error = explainFailure(Failure(empty), TLS_HEAD, WORKER, "h:1")
            self.assertIsInstance(error, NotTrusted)

    def test_clusterErrors(self) -> None:
        """
        What is an error of the cluster already stays what it is.
        """
        error = LinkClosed("closed by this node")
        self.assertIs(error, explainFailure(Failure(error), Sniffed(), WORKER, "h:1"))

    def test_stockNeedsTheWholeHeader(self) -> None:
        """
        Bytes that merely resemble a frame's header are not taken for one.
        """
        for head in (STOCK_HELLO[:19], STOCK_HELLO[:8] + b"HELLO ------", b"\0" * 32):
            sniffed = Sniffed(head, len(head), 0)
            error = explainFailure(Failure(ConnectionDone()), sniffed, MASTER, "h:1")
            self.assertNotIn("stock", str(error))

    def test_addresses(self) -> None:
        """
        Addresses of IPv6 are in brackets; what has none is a local socket.
        """
        self.assertEqual("10.0.0.1:5", describeAddress(IPv4Address("TCP", "10.0.0.1", 5)))
        self.assertEqual("[fe80::1]:5", describeAddress(IPv6Address("TCP", "fe80::1", 5)))
        self.assertEqual("a local socket", describeAddress(UNIXAddress(b"/x")))
        self.assertEqual("a local socket", describeAddress(None))
