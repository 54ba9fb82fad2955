"""
A stranger where a worker looks for its master: one without the key, and one
that holds it and does what no master does.
"""

from __future__ import annotations

import os
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.amp import AmpBox
from twisted.protocols.tls import TLSMemoryBIOFactory

from tests.attackers import (
    QUICK,
    Attacker,
    HostileMaster,
    StrangersCase,
    box,
    chunk,
    keepAlive,
    manifestOf,
)
from wazuh_cluster.model import MASTER, WORKER, Identity
from wazuh_cluster.protocol import Limits
from wazuh_cluster.testing.trust import OTHER, testKey
from wazuh_cluster.trust.tls import ConnectionCreator, makeContext
from wazuh_cluster.worker import WorkerService


class HostileMasterCase(StrangersCase):
    """
    A worker, and whoever answers it.
    """

    async def end(self, worker: WorkerService) -> None:
        """
        Stop a worker. It has written nothing but what is its own.
        """
        await worker.stopService()
        written = []
        for folder, _, names in os.walk(self.workerHome.path):
            place = os.path.relpath(folder, self.workerHome.path)
            if not place.startswith("queue/wazuh_cluster"):
                written += [os.path.join(place, name) for name in names]
        self.assertEqual([], written)
        beside = os.listdir(os.path.dirname(self.workerHome.path))
        self.assertEqual([], [name for name in beside if "evil" in name])

    async def assertEnds(
        self, reason: str, limits: Limits = QUICK, **answers: Any
    ) -> list[HostileMaster]:
        """
        A worker ends its link with a master that answers like this, for that
        reason.
        """
        before = len(self.lines)
        came = await self.hostileMaster(**answers)
        worker = await self.startWorker(f"w{len(self.attackers)}", limits=limits)
        await self.until(lambda: any(reason in line for line in self.lines[before:]), reason)
        came[0].transport.resumeProducing()
        await self.untilClosed(came[0])
        await self.end(worker)
        self.assertNotIn("bug", "".join(self.lines))
        return came


class WithoutTheKeyTests(HostileMasterCase):
    """
    What answers is no master of this cluster.
    """

    async def assertRefused(self, factory: Any, reason: str) -> None:
        port = await self.listen(factory)
        worker = await self.startWorker(f"w{port}", port)
        await self.until(lambda: any(reason in line for line in self.lines), reason)
        self.assertIsNone(worker.master)
        await self.end(worker)

    async def test_refused(self) -> None:
        """
        Silence, garbage, old TLS, another authority's certificate, and another
        worker: the worker says what it met, and joins nobody.
        """

        def saying(data: bytes) -> Factory:
            class Says(Protocol):
                def connectionMade(self) -> None:
                    self.transport.write(data)  # type: ignore[union-attr]

            return Factory.forProtocol(Says)

        def tls(context: SSL.Context) -> TLSMemoryBIOFactory:
            creator = ConnectionCreator(lambda: context)
            return TLSMemoryBIOFactory(creator, False, Factory.forProtocol(Attacker))

        other = testKey(OTHER).derive().issue(Identity("wazuh", MASTER, "hub"))
        old = SSL.Context(SSL.TLS_METHOD)
        old.set_max_proto_version(SSL.TLS1_2_VERSION)
        old.use_certificate(other.certificate)
        old.use_privatekey(other.privateKey)
        fellow = testKey().derive().issue(Identity("wazuh", WORKER, "w2"))
        refusals = (
            (Factory.forProtocol(Protocol), "did not answer: it looks like a stock"),
            (saying(b"garbage" * 100_000), "does not speak TLS"),
            (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "speaks HTTP"),
            (saying(b"\x16\x03\x03\x40\x00" + b"\x02"), "did not finish the TLS handshake"),
            (tls(old), "does not speak TLS 1.3"),
            (tls(makeContext(other)), "has another cluster key"),
            (tls(makeContext(fellow)), "is w2, a worker, not the master"),
        )
        await gatherResults(Deferred.fromCoroutine(self.assertRefused(*each)) for each in refusals)


class WithTheKeyTests(HostileMasterCase):
    """
    A master that holds the key and breaks the protocol: the worker ends the
    link, says why, and comes back later each time.
    """

    async def test_slow(self) -> None:
        """
        One that says nothing after TLS, does not end a box, or asks a thousand
        questions and reads no answer.
        """
        half = keepAlive()[:-5]

        def ask(master: HostileMaster, question: AmpBox) -> None:
            master.transport.pauseProducing()
            for n in range(1000):
                master.say(keepAlive(n))

        attacks = (
            self.assertEnds("it did not say Hello within 3 s", Hello=None),
            self.assertEnds(
                "it did not send the rest of a box within 3 s",
                KeepAlive=lambda master, _: master.say(half),
            ),
            self.assertEnds("no answer to KeepAlive within 3 s", KeepAlive=ask),
        )
        await gatherResults(map(Deferred.fromCoroutine, attacks))

    async def test_violations(self) -> None:
        """
        What is no box, or none that a master sends; answers that cannot be
        read.
        """
        about = {"master": b"M" * 16, "number": 1, "root": b"r" * 32}
        check = {"upToDate": False, "algorithm": "md5", **about}
        for says, reason in (
            (b"\xff" * 100, "what it sends is not AMP"),
            (box(_answer="none"), "an answer to what was not asked"),
            (box(_command="StartTLS", _ask="1"), "it asks for TLS within TLS"),
            (box(_command="Mystery"), "unknown command Mystery"),
            (
                box(_command="CheckIntegrity", _ask="1", root=b"r" * 32, algorithm="md5"),
                "a master may not send CheckIntegrity",
            ),
            (box(_command="IntegrityChanged", number="x", root=b"r" * 32), "argument 'number'"),
            (chunk(b"x", transfer=2), "transfer 2 was never opened"),
            (box(_command="TransferCredit", transfer=9, taken=1), "credit for transfer 9"),
        ):
            await self.assertEnds(reason, KeepAlive=lambda master, _: master.say(says))  # noqa: B023
        for answers, reason in (
            ({"Hello": {"name": "hub"}}, "argument 'version' is missing"),
            ({"KeepAlive": {"clock": "soon"}}, "argument 'clock'"),
            ({"CheckIntegrity": {**check, "root": b"short"}}, "argument 'root'"),
            ({"CheckIntegrity": {**check, "algorithm": "crc"}}, "digest algorithm 'crc'"),
        ):
            await self.assertEnds(reason, **answers)

    async def test_changesItsAlgorithm(self) -> None:
        """
        One that names another algorithm each time does not have all files read
        for ever.
        """

        def check(master: HostileMaster, question: AmpBox) -> dict[str, Any]:
            other = {b"md5": "sha256", b"sha256": "md5"}[question[b"algorithm"]]
            answer: dict[str, Any] = master.usual["CheckIntegrity"]
            return {**answer, "algorithm": other}

        came = await self.assertEnds("the master now uses the digest alg", CheckIntegrity=check)
        self.assertEqual(2, came[0].count(b"CheckIntegrity"))

    async def test_windowWithoutRoom(self) -> None:
        """
        One that lets no list of wants come.
        """
        manifest = manifestOf((b"etc/rules/a", b"x"))
        await self.assertEnds(
            "a window without room",
            RequestManifest=lambda master, question: master.sends(question, manifest),
            RequestFiles={"window": 0},
        )

    async def test_manifests(self) -> None:
        """
        Manifests of a million entries, that never end, with hostile paths, with
        files at folders, out of order or with a wrong digest.
        """
        for manifest, reason in (
            (b"what is this?", "this is not a manifest"),
            (manifestOf(count=1_000_000), "the manifest has 1000000 entries"),
            (manifestOf(count=2**32 - 1, helds=2**32 - 1), "the manifest has 8589934590 entries"),
            (manifestOf(count=500_000)[:-32], "the manifest ends too soon"),
            (manifestOf((b"/etc/evil", b"")), "it is absolute"),
            (manifestOf((b"etc/rules/../../../evil", b"")), "it has a '.' or '..' in it"),
            (manifestOf((b"../evil", b"")), "it has a '.' or '..' in it"),
            (manifestOf((b"etc/ossec.conf", b"")), "it is in no item here"),
            (manifestOf((b"etc/shared/ar.conf", b"")), "files of this name are never carried"),
            (manifestOf((b"etc/rules/evil.tmp", b"")), "files of this name are never carried"),
            (manifestOf((b"etc/rules/a\0b", b"")), "it has a NUL in it"),
            (manifestOf((b"etc/rules/..\\evil", b"")), "it has a backslash in it"),
            (manifestOf((b"etc/rules", b"")), "it is a folder of items"),
            (manifestOf((b"etc/client.keys/x", b"")), "it is below a single file"),
            (manifestOf((b"etc/rules/" + b"x" * 300, b"")), "a name longer than 255"),
            (manifestOf((b"x" * 60_000, b"")), "a path of 60000 bytes"),
            (
                manifestOf((b"etc/rules/a", b""), (b"etc/rules/a/b", b"")),
                "is both a file and a folder",
            ),
            (manifestOf((b"etc/rules/b", b""), (b"etc/rules/a", b"")), "comes after"),
            (manifestOf((b"etc/rules/a", b""))[:-1] + b"?", "the manifest's own digest is wrong"),
        ):

            def sends(master: HostileMaster, question: AmpBox) -> dict[str, Any]:
                return master.sends(question, manifest)  # noqa: B023

            await self.assertEnds(reason, RequestManifest=sends)

    async def test_endlessManifest(self) -> None:
        """
        One whose manifest is longer than a manifest may be.
        """
        path = b"etc/rules/" + b"x" * 245
        manifest = manifestOf(*((path + b"/%06d" % n, b"") for n in range(2000)))
        await self.assertEnds(
            "transfer 1 is larger than",
            RequestManifest=lambda master, question: master.sends(question, manifest),
            limits=Limits(manifestBytes=100_000, greetTimeout=3, stallTimeout=3),
        )

    async def test_packs(self) -> None:
        """
        Packs that are none, go back, begin elsewhere, or answer what was not
        asked.
        """
        manifest = manifestOf((b"etc/rules/a", b"x" * 10), (b"etc/rules/b", b"y" * 10))
        begin = b"wcP1" + b"\0\0\0\0" + bytes(8)
        for pack, reason in (
            (b"what is this?", "this is not a pack"),
            (b"wcP1\0\0\0\x09" + bytes(8), "file 9 in a pack of 2"),
            (b"wcP1\0\0\0\0" + b"\0" * 7 + b"\1", "begins at 1 where 0 was wanted"),
            (begin + b"\xff\xff\xff\xff", "a block of 4294967295 bytes"),
            (begin + b"\0\0\0\0\x09\0", "status 9 in a pack"),
            (begin + b"\0\0\0\0\0\0" + begin[4:], "a pack goes back to file 0"),
            (begin, "a pack is cut short"),
            (b"wcP1\xff\xff\xff\xff" + b"x", "a pack goes on after its end"),
        ):

            def files(master: HostileMaster, question: AmpBox) -> dict[str, Any]:
                return master.sends(question, pack, pack=True)  # noqa: B023

            await self.assertEnds(
                reason,
                RequestManifest=lambda master, question: master.sends(question, manifest),
                RequestFiles=files,
            )

    async def test_tooMuchOfAFile(self) -> None:
        """
        More of a file than the manifest says is dropped as it comes, and
        nothing is installed.
        """
        manifest = manifestOf((b"etc/rules/a", b"x" * 10))
        pack = b"wcP1\0\0\0\0" + bytes(8) + (b"\0\x10\0\0" + b"z" * (1 << 20)) * 3
        pack += b"\0\0\0\0\0\0" + b"\xff\xff\xff\xff"

        def files(master: HostileMaster, question: AmpBox) -> dict[str, Any]:
            return master.sends(question, pack, pack=True)

        came = await self.hostileMaster(
            RequestManifest=lambda master, question: master.sends(question, manifest),
            RequestFiles=files,
        )
        worker = await self.startWorker(limits=Limits(window=8 << 20))
        await self.until(lambda: came and came[0].count(b"ReportIntegrity"), "a report")
        self.assertIn("etc/rules/a was not installed", "".join(self.lines))
        self.assertEqual([], self.workerHome.descendant(["etc", "rules"]).children())
        await self.end(worker)

    async def test_changesAllTheTime(self) -> None:
        """
        However often the master says that it has something new, a worker looks
        a few times at once, and once a second after that.
        """

        changed = box(_command="IntegrityChanged", number=1, root=b"r" * 32)

        def check(master: HostileMaster, question: AmpBox) -> dict[str, Any]:
            master.say(changed * 1000)
            return {**master.usual["CheckIntegrity"], "upToDate": True}

        def manifest(master: HostileMaster, question: AmpBox) -> dict[str, Any]:
            master.say(changed * 1000)
            return master.sends(question, manifestOf())

        def looks() -> int:
            if not came:
                return 0
            return came[0].count(b"CheckIntegrity") + came[0].count(b"RequestManifest")

        came = await self.hostileMaster(CheckIntegrity=check, RequestManifest=manifest)
        began = reactor.seconds()
        worker = await self.startWorker()
        await self.until(lambda: looks() >= 5, "some looks")
        await self.rest(0.5)
        self.assertLess(looks(), 9 + reactor.seconds() - began)
        self.assertFalse(came[0].gone)
        await self.end(worker)

    async def test_comesAndGoes(self) -> None:
        """
        A master that ends each link at once costs a line a second, and a worker
        that stays calm.
        """
        came = await self.hostileMaster(
            KeepAlive=lambda master, _: master.transport.loseConnection()
        )
        began = reactor.seconds()
        worker = await self.startWorker()
        await self.until(lambda: len(came) >= 3, "some links")
        took = reactor.seconds() - began
        self.assertLess(len(came), 3 + 2 * took)
        self.assertLess(len(self.lines), 6 + 3 * took, self.lines)
        await self.end(worker)

    async def test_hostileTexts(self) -> None:
        """
        What a master says of itself, of its errors and of its files stands
        escaped in the log, each on one line.
        """
        hostile = "x\n2026/01/01 ERROR: \x1b[31mowned\u202e"
        manifest = manifestOf((b"etc/rules/\x1b[2J\n\xff", b"x"))

        def files(master: HostileMaster, question: AmpBox) -> dict[str, Any] | None:
            master.say(
                box(
                    _error=question[b"_ask"],
                    _error_code="TOO_BUSY",
                    _error_description=hostile * 100,
                )
            )
            return None

        came = await self.hostileMaster(
            Hello={
                "name": "hub",
                "version": 1,
                "homeId": b"M" * 16,
                "software": hostile,
                "wazuh": hostile,
            },
            RequestManifest=lambda master, question: master.sends(question, manifest),
            RequestFiles=files,
        )
        worker = await self.startWorker()
        await self.until(lambda: came and came[0].count(b"RequestFiles"), "a request")
        await self.until(lambda: any("Integrity failed" in line for line in self.lines), "a line")
        await self.end(worker)
        for line in self.lines:
            self.assertTrue(line.endswith("\n") and line[:-1].isprintable(), repr(line))
        self.assertEqual(1, sum("owned" in line and "connected" in line for line in self.lines))
