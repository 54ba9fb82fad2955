"""
Strangers that hold the key: hostile peers that a master trusts for workers.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall

from tests.attackers import (
    QUICK,
    Attacker,
    StrangersCase,
    box,
    chunk,
    end,
    hello,
    keepAlive,
    requestFiles,
    wantsOf,
)
from wazuh_cluster.protocol import Limits

RULES = b"etc/rules/local_rules.xml"


def report(**values: Any) -> bytes:
    """
    A report that a master takes, but for what C{values} say.
    """
    return box(
        **{
            "_command": "ReportIntegrity",
            "_ask": "report",
            "master": b"M" * 16,
            "number": 1,
            "generation": b"g" * 32,
            "root": b"r" * 32,
            "counts": "Files to create: 0",
            "milliseconds": 1,
            "received": 0,
            "failed": 0,
            "failures": "",
            "held": 0,
            "holds": "",
            **values,
        }
    )


class SlownessTests(StrangersCase):
    """
    Who holds the key and does not do what is owed is closed in time.
    """

    async def silent(self) -> Attacker:
        return await self.trusted("silent")

    async def drips(self) -> Attacker:
        attacker = await self.trusted("drips", eachWrite=True)
        attacker.drip(hello("drips"))
        return attacker

    async def halfABox(self) -> Attacker:
        attacker = await self.joined("halfABox")
        attacker.say(keepAlive()[:-3])
        return attacker

    async def dripsABox(self) -> Attacker:
        attacker = await self.joined("dripsABox", eachWrite=True)
        attacker.drip(box(_command="KeepAlive", x=b"x" * 10_000))
        return attacker

    async def asksAndNeverReads(self) -> Attacker:
        """
        A thousand questions: so few answers that the system takes them all.
        """
        attacker = await self.joined("asksAndNeverReads")
        attacker.transport.pauseProducing()
        for n in range(1000):
            attacker.say(keepAlive(n))
        return attacker

    async def asksForMuchAndNeverReads(self) -> Attacker:
        """
        Answers of 30,000 bytes each, more than any system takes.
        """
        attacker = await self.joined("asksForMuch")
        attacker.transport.pauseProducing()
        for n in range(1000):
            attacker.say(keepAlive(str(n) * 10_000))
        return attacker

    async def wantsNothing(self) -> Attacker:
        attacker = await self.joined("wantsNothing")
        for n in range(1, 200, 4):
            attacker.say(requestFiles(n, n + 2))
        return attacker

    async def asksAndTakesNothing(self) -> Attacker:
        """
        Has a file sent, reads all of it, and never says so; it answers that it
        lives.
        """
        attacker = await self.joined("takesNothing")
        attacker.lively = True
        wants = wantsOf(b"etc/lists/large")
        attacker.say(requestFiles(1, 3) + chunk(wants) + end(wants))
        return attacker

    async def dripsARecord(self) -> Attacker:
        """
        Begins a TLS record of 16 KiB, and never ends it.
        """
        attacker = await self.joined("dripsARecord")
        below = attacker.transport.transport
        drops = iter(b"\x17\x03\x03\x40\x00" + bytes(16_000))
        dripping = LoopingCall(lambda: below.write(bytes([next(drops)])))
        dripping.start(0.1)
        attacker.lost.addCallback(lambda _: dripping.stop())
        return attacker

    async def bulkBothWays(self) -> Attacker:
        """
        Asks for everything with windows that never end, sends lists of wants
        as fast as it may, and reads nothing.
        """
        attacker = await self.joined("bulkBothWays")
        attacker.transport.pauseProducing()
        wants = wantsOf(b"etc/lists/large")
        for n in range(3):
            attacker.say(
                box(_command="RequestManifest", _ask=f"m{n}", transfer=2 * n + 1, window=2**63 - 1)
            )
        attacker.say(requestFiles(7, 9, 2**63 - 1) + chunk(wants, transfer=7) + end(wants, 7))
        for n in range(50):
            attacker.say(keepAlive(f"{n}" * 1000))
        return attacker

    async def saysGoodbyeAndStays(self) -> Attacker:
        """
        Takes nothing, ends TLS but not the connection, and takes all then.
        """
        attacker = await self.joined("saysGoodbye")
        attacker.transport.pauseProducing()
        wants = wantsOf(b"etc/lists/large")
        attacker.say(requestFiles(1, 3, 2**63 - 1) + chunk(wants) + end(wants))
        await self.rest(0.5)
        attacker.transport._shutdownTLS()
        await self.rest(0.5)
        attacker.transport.resumeProducing()
        return attacker

    async def test_allAreClosed(self) -> None:
        """
        One after another, while the good worker is served.
        """
        await self.startMaster()
        self.write("etc/lists/large", b"0123456789abcdef" * 1_000_000)
        await self.master.fileIntegrity.runNow()
        await self.startWorker()
        await self.until(self.hasEdit, "the first sync")
        began = reactor.seconds()
        attacks = (
            self.silent,
            self.drips,
            self.halfABox,
            self.dripsABox,
            self.asksAndNeverReads,
            self.asksForMuchAndNeverReads,
            self.wantsNothing,
            self.asksAndTakesNothing,
            self.dripsARecord,
            self.bulkBothWays,
            self.saysGoodbyeAndStays,
        )
        attackers = await gatherResults(Deferred.fromCoroutine(each()) for each in attacks)
        await self.assertOthersServed()
        await self.until(lambda: self.sessions() == 0, "the end of all")
        # Not for the speed, but that none waits for something longer.
        self.assertLess(reactor.seconds() - began, 6 * QUICK.stallTimeout)
        for attacker in attackers:
            attacker.transport.resumeProducing()
        await self.untilClosed(*attackers)
        await self.assertOthersServed()
        text = "".join(self.lines)
        for reason in (
            "it did not say Hello within 3 s",
            "[Worker halfABox] [Main] Left: it did not send the rest of a box within 3 s",
            "[Worker dripsABox] [Main] Left: it did not send the rest of a box within 3 s",
            "[Worker asksAndNeverReads] [Main] Left: no answer to KeepAlive within 3 s",
            "[Worker wantsNothing] [Main] Left: it sent nothing of transfer 1 for 3 s",
            "[Worker takesNothing] [Main] Left: it did not say for 3 s how much of transfer 3 it",
            "[Worker dripsARecord] [Main] Left: it did not send the rest of a TLS record within 8",
            "[Worker saysGoodbye] [Main] Left: ",
        ):
            self.assertIn(reason, text)
        self.assertNotIn("bug", text)


class ViolationTests(StrangersCase):
    """
    Whoever breaks the protocol is closed at once, and the log says who and how.
    """

    async def assertEnds(self, says: bytes, reason: str, join: bool = True) -> None:
        """
        Who says this is closed, for that reason.
        """
        name = f"evil-{len(self.attackers)}"
        if join:
            attacker = await self.joined(name, eachWrite=True)
        else:
            attacker = await self.trusted(name, eachWrite=True)
        attacker.say(says)
        await self.untilClosed(attacker)
        text = f"WARNING: [Worker {name}] [Main] Left: {reason}" if join else reason
        await self.until(lambda: text in "".join(self.lines), text)

    async def test_boxes(self) -> None:
        """
        What is no box, or no box that a worker sends.
        """
        await self.startBoth()
        starts = b"\x00\x01%c\x00\x00"
        for says, reason in (
            (b"\xff" * 100, "what it sends is not AMP"),
            (b"GET / HTTP/1.1\r\n\r\n", "what it sends is not AMP"),
            (b"\0\0", "a box that neither asks nor answers"),
            (b"".join(starts % n for n in range(65, 120)), "a box of more than 16 keys"),
            (b"\0\x01a\xff\xff" + b"x" * 65_535 + b"\0\x01b\xff\xff", "a box of more than 71680"),
            (b"\0\x01a\xff\xff" + b"x" * 65_535 + b"\0\x01a\x20\x00", "a box of more than 71680"),
            (box(_answer="1"), "an answer to what was not asked"),
            (box(_error="1"), "an answer to what was not asked"),
            (box(_command="StartTLS", _ask="1"), "it asks for TLS within TLS"),
            (box(_command="StartTLS"), "it asks for TLS within TLS"),
            (box(_command=b"\xff" * 60_000, _ask="1"), "a command with a name of 60000 bytes"),
            (box(_command="Mystery\n\x1b[2J"), r"unknown command Mystery\n\x1b[2J"),
            (box(_command="KeepAlive", _ask="1"), "argument 'clock' is missing"),
            (box(_command="KeepAlive", _ask="1", clock="-1"), "argument 'clock'"),
            (hello("evil"), "Hello comes once"),
            (
                box(_command="IntegrityChanged", number=1, root=b"r" * 32),
                "a worker may not send IntegrityChanged",
            ),
        ):
            await self.assertEnds(says, reason)
        await self.assertOthersServed()
        self.assertNotIn("bug", "".join(self.lines))

    async def test_beforeHello(self) -> None:
        """
        Anything but a Hello that fits the certificate. Of one kind and address
        the log has one line a second.
        """
        await self.startBoth()
        await self.assertEnds(keepAlive(), "KeepAlive came before Hello was answered", join=False)
        for says in (
            report(),
            requestFiles(),
            chunk(b"x"),
            box(_command="Mystery", _ask="1"),
            box(_command="StartTLS", _ask="1"),
            hello("evil", homeId=b"short"),
            hello("evil", software="x" * 200),
            hello("../../etc"),
        ):
            attacker = await self.trusted("evil")
            attacker.say(says)
            await self.untilClosed(attacker)
        await self.assertOthersServed()

    async def test_unknownQuestions(self) -> None:
        """
        A question with an unknown name is answered as that, for a later version
        may know it; and a thousand are, for one that shows that it reads.
        """
        await self.startBoth()
        attacker = await self.joined("curious")
        attacker.lively = True
        for n in range(1000):
            attacker.say(box(_command="Mystery", _ask=n))

        def codes() -> list[bytes]:
            return [each[b"_error_code"] for each in attacker.boxes if b"_error" in each]

        await self.until(lambda: len(codes()) == 1000, "answers")
        self.assertEqual({b"UNHANDLED"}, set(codes()))
        self.assertFalse(attacker.gone)
        await self.assertOthersServed()

    async def test_transfers(self) -> None:
        """
        Chunks out of order, too many, too large, of what was never opened or
        has ended; ends and credit that are not so; windows without room.
        """
        await self.startBoth(
            Limits(greetTimeout=10, stallTimeout=10, window=100_000, wantedBytes=150_000)
        )
        good = wantsOf(RULES)
        f = requestFiles()
        manifest = {"_command": "RequestManifest", "_ask": "m"}
        credit = {"_command": "TransferCredit"}
        for says, reason in (
            (f + chunk(good, 1), "a chunk of transfer 1 is out of order"),
            (f + chunk(b"wc") + chunk(b"W1"), "a chunk of transfer 1 is out of order"),
            (f + chunk(b""), "argument 'data'"),
            (f + chunk(b"x" * 65_001), "argument 'data'"),
            (f + chunk(b"x" * 65_000) + chunk(b"x" * 65_000, 1), "transfer 1 sends more than"),
            (chunk(b"x", transfer=99), "transfer 99 was never opened"),
            (f + chunk(b"x", transfer=3), "transfer 3 was never opened"),
            (f + end(good), "transfer 1 ends at another size"),
            (f + chunk(good) + end(good, size=9), "transfer 1 ends at another size"),
            (f + chunk(good) + end(good, digest=b"d" * 32), "transfer 1 ends with another digest"),
            (f + chunk(good) + end(good) + chunk(good, 1) * 3, "a chunk of transfer 1 is out of"),
            (end(b"", 99), "transfer 99 was never opened"),
            (box(_command="AbortTransfer", transfer=99, reason="\x1b"), "transfer 99 was never"),
            (
                f
                + box(_command="AbortTransfer", transfer=1, reason="no")
                + b"".join(chunk(b"x" * 65_000, n) for n in range(2)),
                "transfer 1 goes on after its end",
            ),
            (f + requestFiles(1, 5), "transfer 1 was opened before"),
            (f + requestFiles(5, 3), "transfer 3 was opened before"),
            (requestFiles(0, 3), "transfer 0 was opened before"),
            (requestFiles(window=0), "a window without room"),
            (box(**manifest, transfer=1, window=0), "a window without room"),
            (box(**credit, transfer=99, taken=0), "credit for transfer 99, which was never"),
            (f + box(**credit, transfer=3, taken=1), "credit for what transfer 3 did not send"),
            (
                box(**manifest, transfer=1, window=10)
                + box(**credit, transfer=1, taken=10) * 2
                + box(**credit, transfer=1, taken=9),
                "credit for what transfer 1 did not send",
            ),
            (
                box(**manifest, transfer=1, window=10) + box(**credit, transfer=1, taken=2**62),
                "credit for what transfer 1 did not send",
            ),
        ):
            await self.assertEnds(says, reason)
        await self.assertOthersServed()
        self.assertNotIn("bug", "".join(self.lines))

    async def test_wants(self) -> None:
        """
        Lists of wants that are none, that name what is not carried, or too
        much.
        """
        await self.startBoth()
        for paths, reason in (
            ((b"/etc/passwd",), "it is absolute"),
            ((b"etc/rules/../ossec.conf",), "it has a '.' or '..' in it"),
            ((b"../../../etc/shadow",), "it has a '.' or '..' in it"),
            ((b"etc/ossec.conf",), "it is in no item here"),
            ((b"etc/rules//a",), "it has an empty name in it"),
            ((b"etc/rules/a\0b",), "it has a NUL in it"),
            ((b"etc/rules/..\\..\\a",), "it has a backslash in it"),
            ((b"etc/rules",), "it is a folder of items"),
            ((b"etc/client.keys/x",), "it is below a single file"),
            ((b"queue/agent-groups/a/b",), "the item has no folders"),
            ((b"",), "it is empty"),
            ((b"etc/rules/" + b"x" * 5000,), "a path of 5010 bytes"),
            ((b"etc/rules/b", b"etc/rules/a"), "wants are out of order"),
            ((RULES, RULES), "wants are out of order"),
        ):
            wants = wantsOf(*paths)
            reason = reason if "path of" in reason or "order" in reason else f": {reason}"
            name = f"evil-{len(self.attackers)}"
            attacker = await self.joined(name)
            attacker.say(requestFiles() + chunk(wants) + end(wants))
            await self.untilClosed(attacker)
            await self.until(lambda: reason in "".join(self.lines[-4:]), reason)  # noqa: B023
        for wants, reason in (
            (b"what is this?", "this is not a list of wants"),
            (wantsOf(count=10_001), "10001 wants where 10000 are allowed"),
            (wantsOf(count=2**32 - 1), "4294967295 wants where 10000 are allowed"),
            (wantsOf(RULES, count=2), "a list of wants is cut short"),
            (wantsOf(RULES) + b"x", "a list of wants goes on after its end"),
        ):
            await self.assertEnds(requestFiles() + chunk(wants) + end(wants), reason)
        await self.assertOthersServed()
        self.assertNotIn("bug", "".join(self.lines))

    async def test_wantsBeyondTheFile(self) -> None:
        """
        Offsets beyond a file's end, and files that are not there, spoil
        nothing.
        """
        await self.startBoth()
        attacker = await self.joined("greedy")
        wants = wantsOf(b"etc/lists/none", RULES, offset=2**40 - 1, size=2**40)
        attacker.say(requestFiles() + chunk(wants) + end(wants))
        await self.until(
            lambda: any(each.get(b"_command") == b"EndTransfer" for each in attacker.boxes),
            "the pack",
        )
        self.assertFalse(attacker.gone)
        await self.assertOthersServed()


class CostTests(StrangersCase):
    """
    Who holds the key can cost only so much of the others' time, and of the log.
    """

    async def test_floodOfQuestions(self) -> None:
        """
        While some ask as fast as they can, another is answered between.
        """
        await self.startBoth()
        other = await self.joined("other")
        flooders = [await self.joined(f"flood-{n}") for n in range(3)]
        for flooder in flooders:
            flooder.say(keepAlive() * 20_000)
        await self.until(lambda: all(len(each.boxes) > 1 for each in flooders), "answers")
        before = [len(each.boxes) for each in flooders]
        other.say(keepAlive("me"))
        await other.whenAnswered("me")
        answered = [len(each.boxes) - n for each, n in zip(flooders, before, strict=True)]
        # A read takes in a thousand of them.
        self.assertLess(max(answered), 500, answered)
        await self.assertOthersServed()

    async def test_crumbs(self) -> None:
        """
        Who sends its words as one TLS record for each byte is closed: they cost
        a thousand times what they say.
        """
        await self.startBoth()
        attacker = await self.joined("crumbs", eachWrite=True)
        for octet in box(_command="KeepAlive", _ask="1", clock=1, x=b"x" * 20_000):
            attacker.say(bytes([octet]))
        await self.untilClosed(attacker)
        await self.until(lambda: "too many pieces" in "".join(self.lines), "the reason")
        await self.assertOthersServed()

    async def test_smallChunks(self) -> None:
        """
        A list of wants in chunks of one byte arrives like any other.
        """
        await self.startBoth()
        attacker = await self.joined("small")
        wants = wantsOf(*(b"etc/rules/%04d" % n for n in range(200)))
        attacker.say(requestFiles())
        attacker.say(b"".join(chunk(bytes([octet]), n) for n, octet in enumerate(wants)))
        attacker.say(end(wants))
        await self.until(
            lambda: any(each.get(b"_command") == b"EndTransfer" for each in attacker.boxes),
            "the pack",
        )
        await self.assertOthersServed()

    async def test_comesAndGoes(self) -> None:
        """
        Of one that joins and leaves a hundred times the log says each a second
        once, and in the end that it left; likewise under a hundred names.
        """
        await self.startBoth()
        began, before = reactor.seconds(), len(self.lines)
        for _ in range(40):
            attacker = await self.joined("restless")
            attacker.transport.abortConnection()
            await attacker.lost
        await self.until(lambda: self.sessions() == 0, "the end")
        await self.rest(1.1)
        lines = [line for line in self.lines[before:] if "[Worker restless]" in line]
        self.assertLess(len(lines), 3 * (reactor.seconds() - began + 2), lines)
        self.assertIn("Left", lines[-1])
        await self.assertOthersServed()

    async def test_displaced(self) -> None:
        """
        One home that joins again and again takes its own place, and each of its
        links ends; another one cannot take the good worker's.
        """
        await self.startBoth()
        links = [await self.joined("twin", nonce=b"%016d" % n) for n in range(20)]
        await self.untilClosed(*links[:-1])
        self.assertFalse(links[-1].gone)
        claims = []
        for n in range(20):
            attacker = await self.trusted("good")
            attacker.say(hello("good", homeId=b"%016d" % n))
            claims.append(attacker)
        await self.until(
            lambda: all(any(b"_error" in b for b in each.boxes) for each in claims), "refusals"
        )
        self.assertEqual(b"NAME_IN_USE", claims[0].boxes[-1][b"_error_code"])
        refusals = [line for line in self.lines if "Refused good" in line]
        self.assertEqual(1, len(refusals), refusals)

    async def test_manyClaims(self) -> None:
        """
        However many claim a name, its holder is asked once whether it lives.
        """
        await self.startBoth(Limits())
        holder = await self.joined("holder")
        claims = []
        for n in range(20):
            attacker = await self.trusted("holder")
            attacker.say(hello("holder", homeId=b"%016d" % n))
            claims.append(attacker)
        await self.until(lambda: len(holder.boxes) > 1, "a question")
        await self.assertOthersServed()
        questions = [each for each in holder.boxes if each.get(b"_command") == b"KeepAlive"]
        self.assertEqual(1, len(questions), questions)
        holder.say(box(_answer=questions[0][b"_ask"], clock=1))
        await self.until(
            lambda: all(any(b"_error" in b for b in each.boxes) for each in claims), "refusals"
        )
        self.assertFalse(holder.gone)
        await self.assertOthersServed()

    async def test_hostileTexts(self) -> None:
        """
        What a worker says of itself stands escaped in the log, each on one
        line, and not more often than once a second.
        """
        await self.startBoth()
        began, before = reactor.seconds(), len(self.lines)
        attacker = await self.joined(
            "liar", software="x\n2026/01/01 ERROR: [Master] \x1b[31mowned\u202e", wazuh="\r\n\x9b"
        )
        hostile = "a\n\x1b]0;x\x07 \u2028 2026/01/01 ERROR: b"
        for n in range(300):
            attacker.say(
                report(
                    _ask=n,
                    counts=f"{n} {hostile}",
                    failed=2**63 - 1,
                    milliseconds=2**63 - 1,
                    failures=f"{n}{hostile}\n" * 500,
                    held=3,
                    holds=f"{n}{hostile}\n" * 200,
                )
            )
            attacker.say(requestFiles(4 * n + 1, 4 * n + 3))
            attacker.say(box(_command="AbortTransfer", transfer=4 * n + 3, reason=hostile))
            attacker.say(box(_command="AbortTransfer", transfer=4 * n + 1, reason=hostile))
        await self.until(lambda: attacker.answered(299), "the last answer")
        lines = self.lines[before:]
        self.assertLess(len(lines), 8 * (reactor.seconds() - began + 2), len(lines))
        for line in lines:
            self.assertTrue(line.endswith("\n") and line[:-1].isprintable(), repr(line))
            self.assertLessEqual(len(line.encode("utf-8")), 8192)
        (status,) = [each for each in self.master.statuses() if each.info.name == "liar"]
        self.assertLessEqual(len(status.failed), 200)
        self.assertLessEqual(len(status.holds), 50)
        await self.assertOthersServed()
