"""
Tests for how workers join a master, and leave it.
"""

from __future__ import annotations

from typing import Any, cast

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from tests.clustercase import ClusterCase, Story
from wazuh_cluster.errors import (
    DisplacedClone,
    ItemsDiffer,
    LinkClosed,
    NameInUse,
    NotTrusted,
    TooManyWorkers,
    WrongCluster,
    WrongKey,
)
from wazuh_cluster.integrity import WAZUH_ITEMS, DirectoryTree, Item, Items
from wazuh_cluster.model import MASTER
from wazuh_cluster.protocol import Hello, Limits, Peer
from wazuh_cluster.testing.state import MemoryState
from wazuh_cluster.testing.trust import OneProtocol, Recorder, testTrust


class Stranger(Protocol):
    """
    Somebody who connects and says nothing by itself.
    """

    gone = False

    def say(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone = True


class JoinTests(ClusterCase):
    """
    Workers join, are refused with a reason, and come back.
    """

    def test_joins(self) -> None:
        """
        A worker joins, and both ends know whom they have.
        """
        master = self.master()
        story = Story()
        worker = self.worker(observer=story)
        info = self.successResultOf(worker.whenJoined())
        self.assertEqual("hub", info.name)
        self.assertEqual([info], story.masters)
        (status,) = master.statuses()
        self.assertEqual(("w1", "w1"), (status.info.name, status.info.address))

    def test_listens(self) -> None:
        """
        C{whenListening} fires with the port; a port in use raises at once.
        """
        master = self.master()
        self.successResultOf(master.whenListening())
        self.assertRaises(CannotListenError, self.master)

    def test_wrongKey(self) -> None:
        """
        A worker with another key gets nothing, and says so.
        """
        master = self.master()
        story = Story()
        other = testTrust("worker", "w1", key="b" * 16 + "c" * 16)
        worker = self.worker(trust=other, observer=story)
        self.assertNoResult(worker.whenJoined())
        self.assertIn("another cluster key", story.reasons[0].getErrorMessage())
        story.reasons[0].trap(WrongKey)
        self.assertEqual([], master.statuses())

    def test_wrongCluster(self) -> None:
        """
        A worker of another cluster is told the right name.
        """
        self.master()
        story = Story()
        self.worker(trust=testTrust("worker", "w1", cluster="other"), observer=story)
        story.reasons[0].trap(WrongCluster)
        self.assertIn("set <name> to wazuh", story.reasons[0].getErrorMessage())

    def test_otherItems(self) -> None:
        """
        A worker with other items than its master's is told which, and joins
        when it has the same; its log says it once.
        """
        events: list[Any] = []
        observe = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        threats = Item(b"etc/threats", names=(b"*.json",))
        self.master(tree=self.carrying(threats))
        story = Story()
        worker = self.worker(observer=story)
        self.pass_(100)
        self.assertGreater(len(story.reasons), 3)
        for reason in story.reasons:
            reason.trap(ItemsDiffer)
        said = [formatEvent(event) or "" for event in events if event["log_level"].name != "debug"]
        told = [line for line in said if "'etc/threats names *.json'" in line]
        self.assertEqual(2, len(told), told)
        for line, beginning in zip(told, ("Refused w1 at w1: ", "Could not connect"), strict=True):
            self.assertTrue(line.startswith(beginning), line)
            self.assertIn("only the master has", line)
            self.assertIn("make [item ...] in etc/wazuh_cluster.ini the same", line)
        self.stop(worker)
        self.successResultOf(self.worker(tree=self.carrying(threats)).whenJoined())

    def carrying(self, item: Item) -> DirectoryTree:
        """
        A new home that carries a further item.
        """
        return DirectoryTree(self.makeHome("with-item").path, Items((*WAZUH_ITEMS, item)))

    def test_ownRulesOfItems(self) -> None:
        """
        What does not change what is carried may be another on each node.
        """
        item = Item(b"etc/threats")
        self.master(tree=self.carrying(item))
        other = evolve(item, mode=0o640, restart=True)
        self.successResultOf(self.worker(tree=self.carrying(other)).whenJoined())

    def test_withoutItems(self) -> None:
        """
        A worker that does not say what it carries, as an older one, may join.
        """
        self.master(tree=self.carrying(Item(b"etc/threats")))
        trust = testTrust("worker", "w1")
        peer = Peer(MASTER, [], self.clock, Limits(), lambda peer: None)
        factory = trust.wrapClient(OneProtocol(peer), self.clock)
        self.network.client("master", source="w1").connect(factory)
        self.clock.advance(0)
        hello = peer.call(
            Hello,
            cluster="wazuh",
            name="w1",
            role="worker",
            oldest=1,
            newest=1,
            homeId=b"h" * 16,
            nonce=b"n" * 16,
            software="",
            wazuh="",
        )
        answer = Deferred.fromCoroutine(hello)
        self.clock.advance(0)
        self.assertEqual("hub", self.successResultOf(answer)["name"])
        peer.close()
        self.pass_(1)

    def test_mastersOwnName(self) -> None:
        """
        A worker cannot go by the master's name.
        """
        self.master()
        story = Story()
        self.worker("hub", observer=story)
        story.reasons[0].trap(NameInUse)

    def test_nameInUse(self) -> None:
        """
        Another home cannot have the name of a worker that lives, which stays
        joined.
        """
        master = self.master()
        first = self.worker("w1")
        story = Story()
        self.worker("w1", observer=story, source="elsewhere")
        story.reasons[0].trap(NameInUse)
        self.assertIn("at w1", story.reasons[0].getErrorMessage())
        self.assertIsNotNone(first.master)
        self.assertEqual(["w1"], [status.info.address for status in master.statuses()])

    def test_nameOfTheDead(self) -> None:
        """
        Another home gets the name of a worker that does not answer.
        """
        master = self.master()
        self.worker("w1")
        self.network.stall("w1")
        second = self.worker("w1", source="elsewhere")
        self.assertIsNone(second.master)
        self.pass_(5)
        self.assertIsNotNone(second.master)
        self.assertEqual(["elsewhere"], [status.info.address for status in master.statuses()])
        self.network.heal("w1")

    def test_sameHomeComesBack(self) -> None:
        """
        A home whose process was killed joins at once, though the master has
        not heard that the old link is dead.
        """
        master = self.master()
        state = MemoryState()
        home = self.makeHome("w1")
        self.worker("w1", home=home, state=state)
        self.network.stall("w1")
        again = self.worker("w1", home=home, state=state, source="same-machine")
        self.successResultOf(again.whenJoined())
        self.assertEqual(["same-machine"], [s.info.address for s in master.statuses()])

    def test_cloneIsRefused(self) -> None:
        """
        Two processes of one home do not displace each other for ever: the one
        that was displaced is refused while the other lives.
        """
        self.master()
        state = MemoryState()
        first, second = Story(), Story()
        self.worker("w1", state=state, observer=first)
        self.worker("w1", state=state, observer=second, source="clone")
        self.assertEqual(1, len(second.masters))
        self.pass_(30)
        self.assertEqual((1, 1), (len(first.masters), len(second.masters)))
        self.assertEqual([], second.reasons)
        first.reasons[-1].trap(DisplacedClone)
        self.assertIn("stop one of the two", first.reasons[-1].getErrorMessage())

    def test_cloneMayComeBack(self) -> None:
        """
        When the process that displaced it is gone, a displaced one joins.
        """
        self.master()
        state = MemoryState()
        first = Story()
        self.worker("w1", state=state, observer=first)
        second = self.worker("w1", state=state, source="clone")
        self.stop(second)
        self.pass_(25)
        self.assertEqual(2, len(first.masters))

    def test_nobodyThere(self) -> None:
        """
        A worker whose master refuses connections goes on trying, and joins
        within five seconds of its return after a short absence.
        """
        story = Story()
        worker = self.worker(observer=story)
        self.pass_(8)
        self.assertIn("refused", str(story.reasons[0].value).lower())
        self.master()
        self.pass_(5)
        self.assertIsNotNone(worker.master)

    def test_reconnects(self) -> None:
        """
        After a short cut a worker is back within five seconds.
        """
        self.master()
        story = Story()
        worker = self.worker(observer=story)
        self.network.cut("master")
        self.assertIsNone(worker.master)
        self.pass_(5)
        self.assertIsNotNone(worker.master)
        story.reasons[0].trap(LinkClosed, Exception)

    def test_silentPeer(self) -> None:
        """
        A stranger that says nothing is closed when its time is over, and the
        worker after it is served.
        """
        self.master(limits=Limits(greetTimeout=10))
        stranger = Stranger()
        self.network.client("master").connect(Factory.forProtocol(lambda: stranger))
        self.clock.advance(0)
        self.pass_(9.5)
        self.assertFalse(stranger.gone)
        self.pass_(1)
        self.assertTrue(stranger.gone)
        self.successResultOf(self.worker().whenJoined())

    def stranger(self, source: str = "10.9.9.9") -> Stranger:
        stranger = Stranger()
        client = self.network.client("master", source=source)
        client.connect(Factory.forProtocol(lambda: stranger))
        self.clock.advance(0)
        return stranger

    def trusted(self, name: str, source: str = "10.9.9.9") -> Recorder:
        """
        Connect with the key and say no Hello.
        """
        recorder = Recorder()
        trust = testTrust("worker", name)
        client = self.network.client("master", source=source)
        client.connect(trust.wrapClient(OneProtocol(recorder), self.clock))
        self.clock.advance(0)
        self.assertIn("handshake", recorder.events)
        return recorder

    def test_lateFirstByte(self) -> None:
        """
        The time to say Hello counts from the connection, whenever the first
        byte comes.
        """
        self.master(limits=Limits(greetTimeout=10))
        stranger = self.stranger()
        self.clock.advance(9)
        stranger.say(b"\x16")
        self.clock.advance(0.9)
        self.assertFalse(stranger.gone)
        self.clock.advance(0.1)
        self.clock.advance(0)
        self.assertTrue(stranger.gone)

    def test_bothFloods(self) -> None:
        """
        Neither strangers nor those that hold the key and say no Hello push the
        others out: of those that are more, the one that waits longest goes.
        """
        self.master(limits=Limits(greeting=6))
        trusted = [self.trusted(f"w{n}") for n in range(2)]
        for _ in range(20):
            self.stranger().say(b"\x16")
            self.clock.advance(0)
        self.assertEqual([False, False], ["lost" in each.events for each in trusted])
        self.successResultOf(self.worker("good").whenJoined())
        trusted += [self.trusted(f"v{n}") for n in range(20)]
        self.assertEqual(4, sum("lost" not in each.events for each in trusted))
        stranger = self.stranger()
        stranger.say(b"\x16")
        for n in range(2):
            self.trusted(f"u{n}")
        self.assertFalse(stranger.gone)
        self.successResultOf(self.worker("better").whenJoined())

    def test_tooManyWorkers(self) -> None:
        """
        When as many workers are joined as may be, another one is refused, with
        the remedy, until one leaves; who is joined comes back at any time.
        """
        master = self.master(limits=Limits(workers=2))
        state = MemoryState()
        home = self.makeHome("w1")
        first = self.worker("w1", home=home, state=state)
        self.worker("w2")
        self.worker("w1", home=home, state=state, source="again")
        self.assertEqual(["w1", "w2"], [status.info.name for status in master.statuses()])
        story = Story()
        third = self.worker("w3", observer=story)
        story.reasons[0].trap(TooManyWorkers)
        self.assertIn("'workers' under [limits]", story.reasons[0].getErrorMessage())
        self.stop(first)
        self.stop(self.services[2])
        self.pass_(5)
        self.assertIsNotNone(third.master)

    def test_dialsSomethingElse(self) -> None:
        """
        A worker that dials a program that never answers says what it looks
        like.
        """
        self.network.server("master").listen(Factory.forProtocol(Protocol))
        story = Story()
        self.worker(observer=story)
        self.pass_(11)
        story.reasons[0].trap(NotTrusted)
        self.assertIn("stock wazuh-clusterd", story.reasons[0].getErrorMessage())

    def test_floodOfStrangers(self) -> None:
        """
        Beyond the limit the stranger that waits longest makes room, and a
        worker still gets in.
        """
        self.master(limits=Limits(greeting=5, greetingPerAddress=4))
        strangers = []
        for n in range(12):
            stranger = Stranger()
            strangers.append(stranger)
            client = self.network.client("master", source=f"10.9.9.{n % 3}")
            client.connect(Factory.forProtocol(lambda: stranger))  # noqa: B023
            self.clock.advance(0)
        self.assertEqual(5, sum(not each.gone for each in strangers))
        self.successResultOf(self.worker().whenJoined())


class KeepAliveTests(ClusterCase):
    """
    Links that are dead without a word are noticed at both ends.
    """

    def test_endsInOrder(self) -> None:
        """
        A master that stops ends its links in the order in which they came.
        """
        master = self.master()
        order: list[str] = []

        class Named(Story):
            def __init__(self, name: str) -> None:
                super().__init__()
                self.name = name

            def lost(self, reason: Failure) -> None:
                order.append(self.name)

        names = [f"w{n}" for n in range(20)]
        for name in names:
            self.worker(name, observer=Named(name))
        self.stop(master)
        self.assertEqual(names, order[: len(names)])

    def test_homesIdByTheServicesRandom(self) -> None:
        """
        What is left to chance is the service's C{random}, the home's id too.
        """
        master = self.master(random=lambda size: b"m" * size)
        worker = self.worker(random=lambda size: b"w" * size)
        self.assertEqual(b"m" * 16, self.successResultOf(worker.whenJoined()).homeId)
        self.assertEqual(b"w" * 16, master.statuses()[0].info.homeId)

    def test_masterDropsTheSilent(self) -> None:
        """
        A worker that sends no keep-alive for 120 s is dropped.
        """
        master = self.master()
        self.worker(keepAliveInterval=10_000.0)
        self.pass_(119, 1)
        self.assertEqual(1, len(master.statuses()))
        self.pass_(62, 1)
        self.assertEqual([], [s for s in master.statuses() if s.joinedAt < 1])

    def test_masterKeepsTheLively(self) -> None:
        """
        One that does send them stays.
        """
        master = self.master()
        story = Story()
        self.worker(observer=story)
        self.pass_(400, 1)
        self.assertEqual([], story.reasons)
        self.assertLess(master.statuses()[0].joinedAt, 1)

    def test_workerNoticesADeadMaster(self) -> None:
        """
        A worker whose master answers no keep-alive closes the link.
        """
        self.master()
        story = Story()
        self.worker(observer=story, integrityInterval=10_000.0, statusInterval=10_000.0)
        self.pass_(30, 1)
        self.network.stall("master")
        self.pass_(60 + 21, 1)
        self.assertIn("KeepAlive", story.reasons[0].getErrorMessage())
        self.network.heal("master")

    def test_clockOffset(self) -> None:
        """
        Keep-alives tell how far apart the clocks are.
        """
        master = self.master()
        self.worker("w1")
        self.worker("w2", wallClock=lambda: self.wallClock() + 3600)
        offsets = [status.clockOffset for status in master.statuses()]
        self.assertEqual([0.0, 3600.0], offsets)
