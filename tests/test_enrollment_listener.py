"""
Tests for L{wazuh_cluster.enrollment}: the listener, over a network in memory.
"""

from __future__ import annotations

import os
from typing import Any

from attrs import evolve
from OpenSSL import SSL
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.enrollmentcase import (
    AgentAuthority,
    AgentCreator,
    Agents,
    FakeAgent,
    MemoryEnroller,
    keyOf,
)
from wazuh_cluster.authsettings import AuthSettings
from wazuh_cluster.enrollment import EnrollmentService, IEnroller
from wazuh_cluster.enrollment.certificates import Credentials, loadCredentials, makeMissing
from wazuh_cluster.enrollment.conversation import MAX_REQUEST
from wazuh_cluster.errors import ConfigError
from wazuh_cluster.integrity.filesystem import RealFileSystem
from wazuh_cluster.testing.network import MemoryNetwork
from wazuh_cluster.testing.runner import ImmediateRunner

ADD = b"OSSEC A:'web-1'\n"


def certificates(folder: FilePath[str], name: str, hostName: str) -> Credentials:
    """
    A certificate and its key, made as the listener makes its own.
    """
    paths = folder.child(name + ".cert").path, folder.child(name + ".key").path
    makeMissing(RealFileSystem(), *paths, hostName)
    return loadCredentials(*paths)


class ListenerCase(SynchronousTestCase):
    """
    A listener with an enroller in memory.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.agents = Agents(self.clock, self.network)
        self.enroller = MemoryEnroller()
        self.home = FilePath(os.path.abspath(self.mktemp()))
        self.home.child("etc").makedirs()
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def start(self, settings: AuthSettings | None = None, **keywords: Any) -> EnrollmentService:
        service = EnrollmentService(
            self.clock,
            self.network.server("node", 1515),
            self.enroller,
            settings or AuthSettings(),
            self.home.path,
            runner=lambda name: ImmediateRunner(),
            hostName="manager",
            **keywords,
        )
        service.startService()
        self.service = service
        self.addCleanup(self.stop)
        self.clock.advance(0)
        return service

    def stop(self) -> None:
        stopping = self.service.stopService()
        self.clock.pump([0, 0.5, 0.5])
        self.successResultOf(stopping)
        self.assertEqual([], [str(call) for call in self.clock.getDelayedCalls()])
        self.assertEqual(0, len(self.service))

    def dial(self, line: bytes = b"", source: str = "10.0.0.9", **keywords: Any) -> FakeAgent:
        return self.agents.dial("node", line, source, **keywords)

    def log(self) -> list[str]:
        """
        The lines of the log, from INFO on.
        """
        return [
            formatEvent(event)
            for event in self.events
            if event.get("clusterTask") == "Enrollment" and event["log_level"].name != "debug"
        ]

    def assertRefused(self, line: bytes, text: str) -> None:
        agent = self.dial(line)
        self.assertEqual(f"ERROR: {text}. Unable to add agent".encode(), agent.received)
        self.assertTrue(agent.gone)


class AnswerTests(ListenerCase):
    """
    What an agent is answered.
    """

    def test_interface(self) -> None:
        """
        The tests' own enroller is one.
        """
        verifyObject(IEnroller, self.enroller)

    def test_enrolled(self) -> None:
        """
        A request gets one answer without an end of its own, and the connection
        is closed; the log says who came, and no key.
        """
        self.start()
        agent = self.dial(b"OSSEC A:'web-1' V:'v4.14.7' G:'default,b' IP:'src' K:'no'\n")
        self.assertEqual(f"OSSEC K:'001 web-1 10.0.0.9 {keyOf(1)}'".encode(), agent.received)
        self.assertTrue(agent.gone)
        (request,) = self.enroller.requests
        self.assertEqual(("default", "b"), request.groups)
        self.assertEqual("Agent 001 web-1 (10.0.0.9) enrolled from 10.0.0.9.", self.log()[-1])
        self.assertNotIn(keyOf(1), "".join(self.log()))

    def test_securedAlready(self) -> None:
        """
        Where connections are secured before they come here, there is no TLS of
        the listener's own, and no certificate.
        """
        self.start(beneath=lambda conversation: conversation)
        agent = FakeAgent(ADD)
        self.network.client("node", 1515, "10.0.0.9").connect(Factory.forProtocol(lambda: agent))
        self.clock.advance(0)
        self.assertEqual(f"OSSEC K:'001 web-1 any {keyOf(1)}'".encode(), agent.received)
        self.assertTrue(agent.gone)
        self.assertEqual([], self.home.child("etc").listdir())

    def test_inPieces(self) -> None:
        """
        A request may come in any pieces; nothing is answered before its end,
        and what follows that is passed over.
        """
        self.start()
        agent = self.dial()
        for piece in (ADD[:5], ADD[5:-1]):
            agent.say(piece)
            self.clock.advance(0)
        self.assertEqual((b"", []), (agent.received, self.enroller.requests))
        agent.say(b"\nOSSEC A:'other'\n")
        self.clock.advance(0)
        self.assertIn(b"'001 web-1 any ", agent.received)
        self.assertEqual(["web-1"], [each.name for each in self.enroller.requests])

    def test_refused(self) -> None:
        """
        A refusal has the words of authd, whether it comes from the request or
        from whoever decides.
        """
        self.start()
        self.assertRefused(b"OSSEC X\n", "Invalid request for new agent")
        self.assertRefused(b"OSSEC A:'manager'\n", "Invalid agent name: manager")
        self.assertRefused(b"OSSEC PASS: x OSSEC A:'web'\n", "Invalid request for new agent")
        self.enroller.refusal = "Duplicate agent name: web-1"
        self.assertRefused(ADD, "Duplicate agent name: web-1")
        self.assertIn("Enrollment from 10.0.0.9 refused: Duplicate agent name: web-1", self.log())

    def test_refusalsAreLoggedSparingly(self) -> None:
        """
        The same refusals of one address are counted, not logged each.
        """
        self.start()
        before = len(self.log())
        for n in range(20):
            self.dial(b"OSSEC A:'!%d'\n" % n)
        self.assertEqual(1, len(self.log()) - before)
        self.clock.advance(11)
        self.dial(b"OSSEC A:'!'\n")
        self.assertIn("(19 like it before)", self.log()[-1])

    def test_nothingHarmfulIsShown(self) -> None:
        """
        What a request is made of is shown to its sender on one line, without
        control characters, and cut.
        """
        self.start()
        agent = self.dial("OSSEC A:'\x1b[2J\u202eevil\x00'\n".encode())
        self.assertEqual(
            b"ERROR: Invalid agent name: \\x1b[2J\\u202eevil\\x00. Unable to add agent",
            agent.received,
        )
        agent = self.dial(b"OSSEC A:'" + b"n" * 60_000 + b"'\n")
        self.assertLess(len(agent.received), 400)

    def test_bug(self) -> None:
        """
        A failure that nobody declares is a bug, and the agent still gets an
        answer.
        """
        self.start()
        self.enroller.hold = True
        agent = self.dial(ADD)
        self.enroller.waiting[0].errback(ZeroDivisionError())
        self.clock.advance(0)
        self.assertEqual(b"ERROR: Internal manager error. Unable to add agent", agent.received)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_versions(self) -> None:
        """
        With a manager's version, agents may not be newer.
        """
        text = "Agent version must be lower or equal to manager version"
        self.start(managerVersion="v4.14.7")
        self.assertRefused(b"OSSEC A:'web-1' V:'v4.15.0'\n", text)

    def test_higherVersionsAllowed(self) -> None:
        """
        Unless that is allowed.
        """
        self.start(AuthSettings(allowHigherVersions=True), managerVersion="v4.14.7")
        self.assertIn(b"OSSEC K:", self.dial(b"OSSEC A:'web-1' V:'v4.15.0'\n").received)


class PasswordTests(ListenerCase):
    """
    Listeners with a password.
    """

    settings = AuthSettings(usePassword=True)

    def password(self, content: bytes) -> None:
        self.home.preauthChild("etc/authd.pass").setContent(content)

    def test_password(self) -> None:
        """
        Only the right one lets in; it is in no log line.
        """
        self.password(b"top secret\nnot this\n")
        self.start(self.settings)
        self.assertIn(b"OSSEC K:", self.dial(b"OSSEC PASS: top secret OSSEC A:'web'\n").received)
        for line in (
            b"OSSEC A:'web-1'\n",
            b"OSSEC PASS: top secret  OSSEC A:'web'\n"[:22] + b"\n",
            b"OSSEC PASS: top secretOSSEC A:'web'\n",
            b"OSSEC PASS: Top secret OSSEC A:'web'\n",
            b"OSSEC PASS:  OSSEC A:'web'\n",
            b"\n",
        ):
            self.assertRefused(line, "Invalid password")
        self.assertEqual(1, len(self.enroller.requests))
        self.assertNotIn("secret", "".join(self.log()))
        self.assertIn("with a password", "".join(self.log()))

    def test_changed(self) -> None:
        """
        A password that was changed counts at once.
        """
        self.password(b"first\n")
        self.start(self.settings)
        self.password(b"second\r\n")
        self.assertRefused(b"OSSEC PASS: first OSSEC A:'web'\n", "Invalid password")
        self.assertIn(b"OSSEC K:", self.dial(b"OSSEC PASS: second OSSEC A:'web'\n").received)

    def test_missing(self) -> None:
        """
        Without a password in the file nobody gets in, and both log and agent
        are told, at the start already; when there is one, it counts.
        """
        text = "Enrollment password not available"
        self.start(self.settings)
        self.assertIn("No agent can enroll here", self.log()[-1])
        self.assertIn("authd.pass", self.log()[-1])
        self.assertRefused(b"OSSEC PASS:  OSSEC A:'web'\n", text)
        for content in (b"", b"ab\n", b"\nlong enough\n"):
            self.password(content)
            self.assertRefused(b"OSSEC PASS: ab OSSEC A:'web'\n", text)
        self.password(b"abc")
        self.assertIn(b"OSSEC K:", self.dial(b"OSSEC PASS: abc OSSEC A:'web'\n").received)


class StrangerTests(ListenerCase):
    """
    Those who do not do what agents do.
    """

    def test_silent(self) -> None:
        """
        Who says nothing, or does not come to an end, is closed after ten
        seconds.
        """
        self.start()
        silent = self.agents.dialPlainly("node", b"")
        handshaken = self.dial()
        slow = self.dial(b"OSSEC A:'")
        for _ in range(9):
            self.clock.advance(1)
            slow.say(b"a")
        self.assertFalse(silent.gone or handshaken.gone or slow.gone)
        self.clock.advance(1)
        self.clock.advance(0)
        self.assertTrue(silent.gone and handshaken.gone and slow.gone)
        self.assertEqual((0, b""), (len(self.service), slow.received))

    def test_plainText(self) -> None:
        """
        Who speaks something else is closed, and the log says what it was.
        """
        self.start()
        for said, shown in ((ADD, "does not speak TLS"), (b"GET / HTTP/1.0\r\n", "HTTP")):
            stranger = self.agents.dialPlainly("node", said, source=f"10.0.1.{len(said)}")
            self.assertTrue(stranger.gone)
            self.assertIn(shown, self.log()[-1])

    def test_tooLong(self) -> None:
        """
        The longest request is taken; a longer one is refused before its end.
        """
        self.start()
        filler = b"x" * (MAX_REQUEST - len(ADD) + 1)
        agent = self.dial(ADD[:-1] + filler + b"\n")
        self.clock.pump([0] * 9)
        self.assertIn(b"OSSEC K:", agent.received)
        endless = self.dial(b"x" * (MAX_REQUEST + 1))
        self.clock.pump([0] * 9)
        self.assertIn(b"ERROR: Invalid request for new agent.", endless.received)
        self.assertTrue(endless.gone)

    def test_keepsTalking(self) -> None:
        """
        Who goes on sending after its request, and does not close, is closed.
        """
        self.start()
        self.enroller.hold = True
        agent = self.dial(ADD)
        agent.say(b"x" * 500_000)
        self.clock.pump([0] * 9)
        self.enroller.release()
        self.clock.advance(0)
        self.assertIn(b"OSSEC K:", agent.received)
        self.assertEqual(0, len(self.service))

    def test_staysAfterTheAnswer(self) -> None:
        """
        A stranger that never closes its end is closed after some seconds.
        """
        self.start()
        agent = self.dial()
        # Its TLS never hears that the other end closes.
        agent.transport.dataReceived = lambda data: None  # type: ignore[union-attr]
        agent.say(ADD)
        self.clock.advance(0)
        self.clock.advance(9)
        self.assertEqual((1, False), (len(self.service), agent.gone))
        self.clock.advance(1)
        self.clock.advance(0)
        self.assertEqual((0, True), (len(self.service), agent.gone))

    def test_aThousandAtOnce(self) -> None:
        """
        A thousand that are malformed, plain, oversized or slow do not keep an
        agent from being answered at once.
        """
        self.start()
        strangers = []
        for n in range(250):
            source = f"10.1.{n % 5}.{n}"
            strangers += [
                self.agents.dialPlainly("node", b"", source),
                self.agents.dialPlainly("node", ADD, source),
                self.dial(b"OSSEC A:'", source),
                self.dial(b"x" * (MAX_REQUEST + 1), source),
            ]
        self.clock.advance(0)
        agent = self.dial(ADD, "10.2.0.1")
        self.assertIn(b"OSSEC K:", agent.received)
        self.clock.advance(10)
        self.clock.pump([0] * 20)
        self.assertTrue(all(each.gone for each in strangers))
        self.assertEqual(0, len(self.service))

    def test_oldTLS(self) -> None:
        """
        TLS 1.2 is spoken; 1.1 is not, and the log says so.
        """
        self.start()
        agent = self.dial(ADD, creator=AgentCreator(SSL.TLS1_2_VERSION))
        self.assertIn(b"OSSEC K:", agent.received)
        old = AgentCreator(SSL.TLS1_1_VERSION)
        old._context.set_cipher_list(b"ALL:@SECLEVEL=0")
        agent = self.dial(ADD, "10.0.0.8", creator=old)
        self.assertEqual((b"", True), (agent.received, agent.gone))
        self.assertIn("older than 1.2", self.log()[-1])


class CrowdTests(ListenerCase):
    """
    Not more than so many are connected, and the greedy make room.
    """

    def silent(self, source: str) -> FakeAgent:
        return self.agents.dialPlainly("node", b"", source)

    def test_greedyAddressMakesRoom(self) -> None:
        """
        The address with the most connections loses its oldest silent one; the
        others keep theirs.
        """
        self.start(most=10)
        modest = self.silent("10.0.0.1")
        greedy = [self.silent("10.0.0.2") for _ in range(9)]
        self.assertEqual(10, len(self.service))
        newcomer = self.silent("10.0.0.3")
        self.assertEqual((10, True), (len(self.service), greedy[0].gone))
        again = self.silent("10.0.0.2")
        self.assertEqual((10, True), (len(self.service), greedy[1].gone))
        self.assertFalse(modest.gone or newcomer.gone or again.gone or greedy[2].gone)

    def test_silentBeforeTalking(self) -> None:
        """
        Of one address, those that said nothing go first.
        """
        self.start(most=3)
        talking = self.dial(b"OSSEC", "10.0.0.1")
        silent = self.silent("10.0.0.1")
        self.silent("10.0.0.1")
        self.silent("10.0.0.1")
        self.assertEqual((False, True), (talking.gone, silent.gone))

    def test_burstOfOneAddress(self) -> None:
        """
        An address's own newcomer waits its turn when all before it talk and
        are quick; those that take long make room.
        """
        self.start(most=3)
        first, *others = [self.dial(b"OSSEC", "10.0.0.1") for _ in range(3)]
        late = self.dial(ADD, "10.0.0.1")
        self.assertTrue(late.gone)
        self.assertFalse(first.gone)
        self.clock.advance(1)
        again = self.dial(ADD, "10.0.0.1")
        self.assertIn(b"OSSEC K:", again.received)
        self.assertEqual([True, False, False], [each.gone for each in (first, *others)])

    def test_otherAddressGetsIn(self) -> None:
        """
        A burst of one address does not keep another out.
        """
        self.start(most=3)
        for _ in range(9):
            self.dial(b"OSSEC", "10.0.0.1")
        self.assertIn(b"OSSEC K:", self.dial(ADD, "10.0.0.2").received)

    def test_whoAskedStays(self) -> None:
        """
        Who waits for an answer makes no room; when all do, newcomers are not
        let in.
        """
        self.enroller.hold = True
        self.start(most=2)
        asking = [self.dial(ADD, "10.0.0.1") for _ in range(2)]
        late = self.dial(ADD, "10.0.0.2")
        self.assertTrue(late.gone)
        self.enroller.release()
        self.clock.advance(0)
        self.assertTrue(all(b"OSSEC K:" in each.received for each in asking))

    def test_networkOfOneMachine(self) -> None:
        """
        Addresses of one IPv6 network are one to fairness.
        """
        self.start(most=4)
        modest = self.silent("2001:db8:0:1::1")
        greedy = [self.silent(f"2001:db8:0:2::{n}") for n in range(3)]
        self.silent("10.0.0.1")
        self.assertEqual((False, True), (modest.gone, greedy[0].gone))


class GoneTests(ListenerCase):
    """
    Agents that go away.
    """

    def setUp(self) -> None:
        super().setUp()
        self.enroller.hold = True
        self.start()

    def test_beforeTheAnswer(self) -> None:
        """
        An agent that went before the answer has its enrollment cancelled.
        """
        agent = self.dial(ADD)
        agent.leave()
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual((1, 0), (self.enroller.cancelled, len(self.service)))
        self.assertIn("went away", self.log()[-1])

    def test_cut(self) -> None:
        """
        So has one whose connection is cut.
        """
        self.dial(ADD)
        self.network.cut("10.0.0.9")
        self.assertEqual(1, self.enroller.cancelled)

    def test_inTheSameTurn(self) -> None:
        """
        An answer that comes when the agent has closed its end, but the
        connection is not lost yet, is undone: it could not be written.
        """
        agent = self.dial(ADD)
        agent.leave()
        # Deliver what TLS says of the end, and answer before anything else.
        tls: Any = agent.transport
        tls.transport._deliver()
        self.enroller.release()
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual((b"", 0), (agent.received, self.enroller.cancelled))
        self.assertEqual(["web-1"], [each.name for each in self.enroller.undone])

    def test_afterTheAnswer(self) -> None:
        """
        What was handed to the connection is not undone, whatever happens then.
        """
        self.dial(ADD)
        self.enroller.release()
        self.network.cut("10.0.0.9")
        self.clock.advance(0)
        self.assertEqual((0, []), (self.enroller.cancelled, self.enroller.undone))

    def test_stop(self) -> None:
        """
        When the listener stops, what is under way is cancelled.
        """
        agent = self.dial(ADD)
        self.stop()
        self.assertEqual((1, True), (self.enroller.cancelled, agent.gone))

    def test_neverAnswered(self) -> None:
        """
        An enroller that breaks its promise does not hold a connection for
        ever.
        """
        agent = self.dial(ADD)
        self.clock.advance(20)
        self.clock.advance(0)
        self.assertEqual((1, True), (self.enroller.cancelled, agent.gone))


class CertificateTests(ListenerCase):
    """
    What the listener shows, and what it wants to see.
    """

    def modes(self) -> list[int]:
        return [
            os.stat(self.home.preauthChild("etc/" + name).path).st_mode & 0o777
            for name in ("sslmanager.cert", "sslmanager.key")
        ]

    def test_made(self) -> None:
        """
        Certificate and key are made at the first start, whatever the umask,
        and kept.
        """
        umask = os.umask(0o077)
        self.addCleanup(os.umask, umask)
        self.start()
        self.assertEqual([0o640, 0o640], self.modes())
        etc = self.home.child("etc")
        made = [etc.child(name).getContent() for name in sorted(etc.listdir())]
        self.stop()
        self.start()
        self.assertEqual(made, [etc.child(name).getContent() for name in sorted(etc.listdir())])
        self.assertIn(b"OSSEC K:", self.dial(ADD).received)

    def test_keyIsLeft(self) -> None:
        """
        A start that was cut short between the two is completed.
        """
        self.start()
        self.stop()
        key = self.home.preauthChild("etc/sslmanager.key").getContent()
        self.home.preauthChild("etc/sslmanager.cert").remove()
        self.start()
        self.assertEqual(key, self.home.preauthChild("etc/sslmanager.key").getContent())

    def refused(self, settings: AuthSettings | None = None) -> str:
        return str(self.assertRaises(ConfigError, self.start, settings))

    def test_unusable(self) -> None:
        """
        What cannot be used is refused by its path.
        """
        etc = self.home.child("etc")
        etc.child("sslmanager.cert").setContent(b"?")
        self.assertIn("sslmanager.key", self.refused())
        etc.child("sslmanager.key").setContent(b"?")
        self.assertIn("sslmanager.cert", self.refused())
        one = certificates(etc, "one", "one")
        self.assertTrue(one)
        etc.child("sslmanager.cert").setContent(etc.child("one.cert").getContent())
        self.assertIn("private key", self.refused())
        certificates(etc, "two", "two")
        etc.child("sslmanager.key").setContent(etc.child("two.key").getContent())
        self.assertIn("belong together", self.refused())
        self.assertIn("nowhere.cert", self.refused(AuthSettings(certificate="nowhere.cert")))
        self.assertEqual(["etc"], self.home.listdir())

    def test_unusableTLS(self) -> None:
        """
        So are suites and authorities.
        """
        self.assertIn("<ciphers>", self.refused(AuthSettings(ciphers="NONSENSE")))
        self.assertIn("none.pem", self.refused(AuthSettings(agentCA="etc/none.pem")))

    def test_agentsCertificate(self) -> None:
        """
        With an authority for agents, only those with a certificate of it get
        in.
        """
        authority, stranger = AgentAuthority(), AgentAuthority()
        good, bad = authority.issue("agent"), stranger.issue("agent")
        self.home.preauthChild("etc/agents.pem").setContent(authority.pem)
        self.start(AuthSettings(agentCA="etc/agents.pem"))
        self.assertIn(b"OSSEC K:", self.dial(ADD, creator=AgentCreator(credentials=good)).received)
        for creator in (AgentCreator(), AgentCreator(credentials=bad)):
            agent = self.dial(ADD, "10.0.0.7", creator=creator)
            self.assertEqual((b"", True), (agent.received, agent.gone))
        self.assertEqual(1, len(self.enroller.requests))
        self.assertIn("showed no certificate", "".join(self.log()))

    def test_agentsCertificateNamesItsAddress(self) -> None:
        """
        With C{ssl_verify_host} it must name the address from which the agent
        connects.
        """
        authority = AgentAuthority()
        self.home.preauthChild("etc/agents.pem").setContent(authority.pem)
        self.start(AuthSettings(agentCA="etc/agents.pem", verifyHost=True))
        for credentials in (authority.issue("10.0.0.9"), authority.issue("web-1", "10.0.0.9")):
            creator = AgentCreator(credentials=credentials)
            self.assertIn(b"OSSEC K:", self.dial(ADD, creator=creator).received)
            stranger = self.dial(ADD, "10.0.0.8", creator=creator)
            self.assertEqual((b"", True), (stranger.received, stranger.gone))
        self.assertIn("does not name the address", "".join(self.log()))
        self.assertEqual(2, len(self.enroller.requests))

    def test_chain(self) -> None:
        """
        A file may have more certificates than the listener's own.
        """
        etc = self.home.child("etc")
        certificates(etc, "sslmanager", "manager")
        certificates(etc, "other", "other")
        own = etc.child("sslmanager.cert")
        own.setContent(own.getContent() + etc.child("other.cert").getContent())
        self.start()
        self.assertIn(b"OSSEC K:", self.dial(ADD).received)


class PortTests(ListenerCase):
    """
    The port.
    """

    def test_inUse(self) -> None:
        """
        A port in use raises at once, and C{whenListening} says so.
        """
        first = self.start()
        self.successResultOf(first.whenListening())
        second = EnrollmentService(
            self.clock,
            self.network.server("node", 1515),
            self.enroller,
            evolve(AuthSettings()),
            self.home.path,
            runner=lambda name: ImmediateRunner(),
        )
        self.assertRaises(CannotListenError, second.privilegedStartService)
        self.failureResultOf(second.whenListening(), CannotListenError)
