"""
Strangers at a master's port: peers that do not hold the key.
"""

from __future__ import annotations

from collections.abc import Callable

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint

from tests.attackers import QUICK, Attacker, StrangersCase, box, hello
from wazuh_cluster.model import WORKER, Identity
from wazuh_cluster.protocol import Limits
from wazuh_cluster.testing.trust import OTHER, OneProtocol, testKey
from wazuh_cluster.trust.tls import makeContext

#: The beginning of a TLS handshake: a record of 512 bytes that never comes whole.
BEGUN = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 40


class WithoutTheKeyTests(StrangersCase):
    """
    Whatever somebody without the key does, the connection is closed, and the
    good worker does not notice.
    """

    def context(self, version: int = SSL.TLS1_3_VERSION) -> SSL.Context:
        """
        A client that believes everybody, and has no certificate.
        """
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(version)
        return context

    async def attack(self, does: Callable[[Attacker], object]) -> None:
        attacker = await self.connect()
        does(attacker)
        await attacker.lost

    async def attackByTLS(self, context: SSL.Context) -> None:
        attacker = await self.connect(self.foreign(context))
        attacker.say(hello("evil"))
        await attacker.lost
        self.assertEqual(b"", attacker.received)

    async def test_everybodyIsClosed(self) -> None:
        """
        Silence, drips, garbage, other protocols, other certificates, and
        handshakes that never end.
        """
        await self.startBoth()
        other = makeContext(testKey(OTHER).derive().issue(Identity("wazuh", WORKER, "good")))
        began = reactor.seconds()
        attacks = (
            *map(
                self.attack,
                (
                    lambda a: None,
                    lambda a: a.drip(BEGUN * 100),
                    lambda a: a.drip(b"\x16\x03\x01\x40\x00" + bytes(16_384)),
                    lambda a: a.say(BEGUN),
                    lambda a: a.say(b"\x16"),
                    lambda a: a.say(b"\x16\x03\x03\x40\x00" + bytes(16_383)),
                    lambda a: a.say(b"\x17\x03\x03\x00\x20" + bytes(32)),
                    lambda a: a.say(b"garbage"),
                    lambda a: a.say(bytes(1_000_000)),
                    lambda a: a.say(hello("evil")),
                    lambda a: a.say(box(_command="StartTLS", _ask=1)),
                    lambda a: a.say(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n"),
                    lambda a: a.say(b"SSH-2.0-OpenSSH_9.2\r\n"),
                    lambda a: a.transport.loseWriteConnection(),
                    lambda a: (a.say(BEGUN), a.transport.loseWriteConnection()),
                ),
            ),
            *map(
                self.attackByTLS,
                (self.context(), self.context(SSL.TLS1_2_VERSION), other),
            ),
        )
        await gatherResults(map(Deferred.fromCoroutine, attacks), consumeErrors=True)
        # Not for the speed, but that none waits for something longer.
        self.assertLess(reactor.seconds() - began, 5 * QUICK.greetTimeout)
        await self.until(lambda: self.sessions() == 0, "an empty doorstep")
        await self.assertOthersServed()
        told = [line for line in self.lines if "ended before it joined" in line]
        self.assertLess(len(told), 12, told)
        self.assertNotIn("bug", "".join(self.lines))

    async def test_floods(self) -> None:
        """
        Of many who wait, those that wait longest make room; a worker gets in
        all the same, and the log has a line a second.
        """
        await self.startBoth(Limits(greeting=20, greetingPerAddress=10))
        silent = [await self.connect() for _ in range(60)]
        self.assertLessEqual(sum(not each.gone for each in silent), 60)
        await self.until(lambda: sum(not each.gone for each in silent) <= 20, "room")
        talking = [await self.connect() for _ in range(60)]
        for each in talking:
            each.say(BEGUN)
        await self.until(lambda: sum(not each.gone for each in talking) <= 20, "more room")
        await self.joined("newcomer")
        began = reactor.seconds()
        before = len(self.lines)
        for _ in range(200):
            attacker = await self.connect()
            attacker.say(b"garbage")
            await attacker.lost
        took = reactor.seconds() - began
        self.assertLessEqual(len(self.lines) - before, 2 * (took + 2), self.lines)
        await self.assertOthersServed()

    async def test_manyAddresses(self) -> None:
        """
        From however many addresses they come, and whatever they do, the log
        has a line a second, after a few at first.
        """
        await self.startBoth()
        began = reactor.seconds()
        before = len(self.lines)
        attackers = []
        for n in range(150):
            attacker = Attacker()
            self.attackers.append(attacker)
            source = (f"127.0.{n % 250}.{2 + n // 250}", 0)
            endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port, bindAddress=source)
            await endpoint.connect(OneProtocol(attacker))
            attacker.say(b"garbage %d" % n)
            attackers.append(attacker)
        await self.untilClosed(*attackers)
        self.assertLess(len(self.lines) - before, 20 + reactor.seconds() - began, self.lines)
        await self.assertOthersServed()
