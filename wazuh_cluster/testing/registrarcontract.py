"""
The contract of registrars: what every L{IRegistrar} must do.

Mix it in before C{SynchronousTestCase} and give it what it asks for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from wazuh_cluster.agents import (
    ACTIVE,
    DISCONNECTED,
    NEVER_CONNECTED,
    Agent,
    AgentStatus,
    IAssignments,
    IRegistrar,
    IRegistrarObserver,
    IRegistrationTimes,
    Registration,
)
from wazuh_cluster.agents.forcerules import ForceRules, keyHash
from wazuh_cluster.errors import GroupRefused, RegistrationRefused, StoreFailed

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _TestCase
else:
    _TestCase = object

T = TypeVar("T")

#: Rules under which whoever is in the way goes.
ALWAYS = ForceRules(keyMismatch=False, disconnectedTime=None, afterRegistrationTime=0)

#: When tests begin, in seconds since the epoch.
NOW = 1_700_000_000


@implementer(IRegistrarObserver)
class Heard:
    """
    An observer that notes names.
    """

    def __init__(self) -> None:
        self.names: list[str] = []

    def added(self, agents: Sequence[Agent]) -> None:
        self.names += [f"+{agent.name}" for agent in agents]

    def removed(self, agents: Sequence[Agent]) -> None:
        self.names += [f"-{agent.name}" for agent in agents]


@implementer(IRegistrationTimes)
class Statuses:
    """
    Says of each agent what a test put there; C{None} otherwise.

    @ivar answers: the status of an agent, or what is to be answered.
    @ivar asked: of whom somebody asked.
    """

    def __init__(self) -> None:
        self.answers: dict[int, AgentStatus | Deferred[AgentStatus | None]] = {}
        self.asked: list[int] = []

    def status(self, agent: int) -> Deferred[AgentStatus | None]:
        self.asked.append(agent)
        answer = self.answers.get(agent)
        return answer if isinstance(answer, Deferred) else succeed(answer)


class Groups:
    """
    As much of L{IAssignments} as a registrar asks for.

    @ivar known: the groups that there are.
    @ivar given: the groups of each agent.
    @ivar refusing: groups that cannot be assigned after all.
    @ivar silent: whether it does not answer.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self.known = set(known)
        self.given: dict[int, tuple[str, ...]] = {}
        self.refusing: set[str] = set()
        self.silent = False

    def missing(self, names: Iterable[str]) -> Deferred[Sequence[str]]:
        if self.silent:
            return Deferred()
        return succeed([name for name in names if name not in self.known])

    def of(self, ids: Collection[int]) -> Deferred[Mapping[int, tuple[str, ...]]]:
        return succeed({id: self.given[id] for id in ids if id in self.given})

    def assign(self, groups: Mapping[int, tuple[str, ...]]) -> Deferred[None]:
        for names in groups.values():
            for name in names:
                if name in self.refusing:
                    return fail(GroupRefused(f"{name}: there is no such group"))
        self.given.update(groups)
        return succeed(None)


class RegistrarContractMixin(_TestCase):
    """
    Any L{IRegistrar}.

    @ivar clock: its clock, and the time of day.
    @ivar statuses: what it is told of agents.
    @ivar groups: the groups that there are.
    @ivar heard: an observer of it.
    """

    def makeRegistrar(
        self,
        rules: ForceRules,
        hostName: str,
        assignments: IAssignments,
        times: IRegistrationTimes,
        observers: Sequence[IRegistrarObserver],
    ) -> IRegistrar:
        """
        A registrar without agents, by C{self.clock}, that answers at once.
        """
        raise NotImplementedError

    def setUp(self) -> None:
        """
        Make a registrar with Wazuh's rules.
        """
        self.clock = Clock()
        self.clock.advance(NOW)
        self.statuses = Statuses()
        self.groups = Groups(["default", "web"])
        self.heard = Heard()
        self.requests = 0
        self.use(ForceRules())

    def use(self, rules: ForceRules) -> None:
        """
        Take another registrar, with these rules.
        """
        self.registrar = self.makeRegistrar(
            rules,
            "manager",
            cast("IAssignments", self.groups),
            self.statuses,
            [self.heard],
        )

    def register(
        self,
        name: str,
        ip: str = "any",
        groups: tuple[str, ...] = (),
        keyHash: str | None = None,
        requestId: bytes | None = None,
        origin: str = "hub",
    ) -> Agent:
        """
        Register an agent, by a new request unless told otherwise.
        """
        return self.successResultOf(self.ask(name, ip, groups, keyHash, requestId, origin))

    def ask(
        self,
        name: str,
        ip: str = "any",
        groups: tuple[str, ...] = (),
        keyHash: str | None = None,
        requestId: bytes | None = None,
        origin: str = "hub",
    ) -> Deferred[Agent]:
        """
        The same, without waiting.
        """
        if requestId is None:
            self.requests += 1
            requestId = b"%016d" % self.requests
        return self.registrar.register(Registration(name, ip, groups, keyHash), requestId, origin)

    def assertRefused(self, code: int, text: str, asked: Deferred[Agent]) -> None:
        """
        It was refused so.
        """
        error = self.failureResultOf(asked, RegistrationRefused).value
        self.assertEqual((error.code, error.text), (code, text))

    def all(self) -> list[Agent]:
        """
        All registered agents.
        """
        page: Sequence[Agent] = self.successResultOf(self.registrar.page(0, 1000))
        return list(page)

    def disconnected(self, agent: Agent, ago: float) -> None:
        """
        Let an agent be disconnected for so long.
        """
        heard = self.clock.seconds() - ago - 900
        self.statuses.answers[agent.id] = AgentStatus(
            agent.id, agent.name, agent.ip, DISCONNECTED, heard
        )

    def test_interface(self) -> None:
        """
        It provides the interface.
        """
        verifyObject(IRegistrar, self.registrar)
        verifyObject(IRegistrarObserver, self.heard)
        verifyObject(IRegistrationTimes, self.statuses)

    def test_empty(self) -> None:
        """
        At first there is nobody.
        """
        self.assertEqual(self.all(), [])
        self.assertEqual(self.successResultOf(self.registrar.highest()), 0)
        self.assertIsNone(self.successResultOf(self.registrar.get(1)))
        self.assertEqual(self.successResultOf(self.registrar.known([1, 2])), frozenset())

    def test_registered(self) -> None:
        """
        Agents get ids from 1 and keys of 64 hexadecimal digits, each another;
        they are found then.
        """
        one, two = self.register("web1"), self.register("web2", "10.0.0.5")
        self.assertEqual((one.id, one.name, one.ip), (1, "web1", "any"))
        self.assertEqual((two.id, two.name, two.ip), (2, "web2", "10.0.0.5"))
        for agent in (one, two):
            self.assertRegex(agent.key, r"\A[0-9a-f]{64}\Z")
        self.assertNotEqual(one.key, two.key)
        self.assertEqual(self.all(), [one, two])
        self.assertEqual(self.successResultOf(self.registrar.get(2)), two)
        self.assertEqual(self.successResultOf(self.registrar.known([2, 3])), {2})
        self.assertEqual(self.successResultOf(self.registrar.highest()), 2)

    def test_pages(self) -> None:
        """
        Pages are by id, and no longer than was asked.
        """
        agents = [self.register(f"web{n}") for n in range(5)]
        self.assertEqual(self.successResultOf(self.registrar.page(0, 2)), agents[:2])
        self.assertEqual(self.successResultOf(self.registrar.page(2, 9)), agents[2:])
        self.assertEqual(self.successResultOf(self.registrar.page(5, 9)), [])

    def test_addresses(self) -> None:
        """
        Addresses are written as Wazuh writes them.
        """
        for n, (asked, written) in enumerate(
            {
                "any": "any",
                "10.0.0.5": "10.0.0.5",
                "10.5.0.0/16": "10.5.0.0/16",
                "fe80::1": "FE80:0000:0000:0000:0000:0000:0000:0001",
                "2001:db8::/32": "2001:0DB8:0000:0000:0000:0000:0000:0000/32",
            }.items()
        ):
            self.assertEqual(self.register(f"web{n}", asked).ip, written)

    def test_noAddresses(self) -> None:
        """
        What is no address is refused.
        """
        for ip in ("", "here", "10.0.0", "10.0.0.256", "10.0.0.1/33", "fe80::1%eth0", "::/129"):
            self.assertRefused(9006, "No such IP", self.ask("web1", ip))
        self.assertEqual(self.all(), [])

    def test_names(self) -> None:
        """
        A name is sound, and not the manager's.
        """
        for name in ("", "a b", "a\n", "ä", "x" * 129, "a'"):
            self.assertRefused(9005, "No such name", self.ask(name))
        self.assertRefused(9008, "Duplicate name", self.ask("manager"))
        self.assertEqual(self.register("x" * 128).name, "x" * 128)

    def test_duplicates(self) -> None:
        """
        Names and addresses are taken once, and C{any} as often as one likes.
        """
        self.register("web1", "10.0.0.1")
        self.register("web2")
        self.register("web3")
        self.assertRefused(9008, "Duplicate name", self.ask("web1"))
        self.assertRefused(9007, "Duplicate IP", self.ask("web4", "10.0.0.1"))
        # The address is looked at first.
        self.assertRefused(9007, "Duplicate IP", self.ask("web2", "10.0.0.1"))
        self.assertEqual([agent.name for agent in self.all()], ["web1", "web2", "web3"])

    def test_duplicateOfAddressInOtherWords(self) -> None:
        """
        An address is the same however it is written.
        """
        self.register("web1", "fe80::1")
        self.assertRefused(9007, "Duplicate IP", self.ask("web2", "FE80:0:0:0:0:0:0:1"))

    def test_retry(self) -> None:
        """
        The same request from the same node gives the same agent; the same text
        in another request, or the same id from another node, does not.
        """
        agent = self.register("web1", requestId=b"r" * 16)
        self.assertEqual(self.register("web1", requestId=b"r" * 16), agent)
        self.assertRefused(9008, "Duplicate name", self.ask("web1"))
        self.assertRefused(
            9008, "Duplicate name", self.ask("web1", requestId=b"r" * 16, origin="siem")
        )
        self.assertEqual(self.all(), [agent])

    def test_retryAtTheEnd(self) -> None:
        """
        A request is remembered for ten minutes, whatever else is asked, and
        forgotten some time after.
        """
        agent = self.register("web1", requestId=b"r" * 16)
        for n in range(10):
            self.clock.advance(59)
            self.register(f"other{n}")
        self.assertEqual(self.register("web1", requestId=b"r" * 16), agent)
        for n in range(25):
            self.clock.advance(59)
            self.register(f"later{n}")
        self.assertRefused(9008, "Duplicate name", self.ask("web1", requestId=b"r" * 16))

    def test_retryOfRemoved(self) -> None:
        """
        A retry whose agent was removed meanwhile is a request like any other:
        it never gets the key of somebody else.
        """
        old = self.register("web1", requestId=b"r" * 16)
        self.successResultOf(self.registrar.remove([old.id]))
        new = self.register("web1", requestId=b"r" * 16)
        self.assertNotIn(new.id, (0, old.id))
        self.assertNotEqual(new.key, old.key)

    def test_undo(self) -> None:
        """
        What a request registered is removed, and the request refused when it
        comes again; its id is not given again.
        """
        agent = self.register("web1", requestId=b"r" * 16)
        self.assertEqual(self.successResultOf(self.registrar.undo(b"r" * 16, "hub")), agent)
        self.assertEqual(self.all(), [])
        self.assertRefused(9001, "Internal error", self.ask("web1", requestId=b"r" * 16))
        self.assertIsNone(self.successResultOf(self.registrar.undo(b"r" * 16, "hub")))
        self.assertEqual(self.register("web1").id, agent.id + 1)
        self.assertEqual(self.heard.names, ["+web1", "-web1", "+web1"])

    def test_undoComesFirst(self) -> None:
        """
        A request that comes after its undo is refused.
        """
        self.assertIsNone(self.successResultOf(self.registrar.undo(b"r" * 16, "hub")))
        self.assertRefused(9001, "Internal error", self.ask("web1", requestId=b"r" * 16))
        self.assertEqual(self.all(), [])

    def test_undoOfOthers(self) -> None:
        """
        A node can undo only what was asked through it.
        """
        agent = self.register("web1", requestId=b"r" * 16)
        self.assertIsNone(self.successResultOf(self.registrar.undo(b"r" * 16, "siem")))
        self.assertEqual(self.register("web1", requestId=b"r" * 16), agent)

    def test_remove(self) -> None:
        """
        Agents are removed, who is not there is passed over, and no id is given
        twice.
        """
        agents = [self.register(f"web{n}") for n in range(3)]
        for purge in (True, False, None):
            removed = self.successResultOf(self.registrar.remove([agents[1].id, 77], purge))
            self.assertEqual(list(removed), [agents[1]])
            self.assertEqual([agent.id for agent in self.all()], [1, 3][: len(self.all())])
            self.assertEqual(self.successResultOf(self.registrar.remove([agents[1].id], purge)), ())
            agents[1] = self.register("web1")
        self.assertEqual(agents[1].id, 6)
        self.assertEqual([agent.id for agent in self.all()], [1, 3, 6])
        self.assertEqual(self.heard.names.count("-web1"), 3)

    def test_seen(self) -> None:
        """
        Ids count on from what any node has seen.
        """
        self.register("web1")
        self.successResultOf(self.registrar.seen(41))
        self.successResultOf(self.registrar.seen(7))
        self.assertEqual(self.successResultOf(self.registrar.highest()), 41)
        self.assertEqual(self.register("web2").id, 42)

    def test_noIdLeft(self) -> None:
        """
        What no agent can have is not counted on from, and after the last id
        nobody is registered.
        """
        self.failureResultOf(self.registrar.seen(100_000_000))
        self.successResultOf(self.registrar.seen(99_999_998))
        self.assertEqual(self.register("web1").id, 99_999_999)
        self.assertRefused(9013, "Maximum number of agents reached", self.ask("web2"))

    def test_groups(self) -> None:
        """
        Groups are assigned when the agent is registered, in their order; one
        that does not exist spoils the registration.
        """
        agent = self.register("web1", groups=("web", "default"))
        self.assertEqual(self.groups.given, {agent.id: ("web", "default")})
        self.assertRefused(
            9014, "Invalid Group(s) Name(s)", self.ask("web2", groups=("web", "nosuch"))
        )
        self.assertEqual(self.all(), [agent])

    def test_groupsNotAssigned(self) -> None:
        """
        A registration stands if its groups cannot be assigned, and those of
        others are.
        """
        self.groups.refusing = {"web"}
        asked = [self.ask("web1", groups=("web",)), self.ask("web2", groups=("default",))]
        one, two = map(self.successResultOf, asked)
        self.assertEqual(self.all(), [one, two])
        self.assertEqual(self.groups.given, {two.id: ("default",)})

    def test_groupsOfARetry(self) -> None:
        """
        A retry gives the groups if nobody did before, and leaves alone what
        somebody changed since.
        """
        self.groups.refusing = {"web"}
        agent = self.register("web1", groups=("web",), requestId=b"r" * 16)
        self.groups.refusing = set()
        self.register("web1", groups=("web",), requestId=b"r" * 16)
        self.assertEqual(self.groups.given, {agent.id: ("web",)})
        self.groups.given[agent.id] = ("default",)
        self.register("web1", groups=("web",), requestId=b"r" * 16)
        self.assertEqual(self.groups.given, {agent.id: ("default",)})

    def test_groupsUnanswered(self) -> None:
        """
        Who knows the groups may hang: what needs it is refused in time, and
        nothing else waits.
        """
        self.groups.silent = True
        asked = self.ask("web1", groups=("web",))
        self.register("web2")
        self.assertNoResult(asked)
        self.clock.advance(4)
        self.assertRefused(9001, "Internal error", asked)

    def test_replaced(self) -> None:
        """
        An agent that was registered, and disconnected, for long enough gives
        its place to who asks with its name.
        """
        old = self.register("web1")
        self.clock.advance(3600)
        self.disconnected(old, 3600)
        new = self.register("web1")
        self.assertEqual((new.id, new.name), (2, "web1"))
        self.assertNotEqual(new.key, old.key)
        self.assertEqual(self.all(), [new])
        self.assertEqual(self.heard.names, ["+web1", "-web1", "+web1"])

    def test_neverConnected(self) -> None:
        """
        One that never connected as well.
        """
        old = self.register("web1")
        self.clock.advance(3600)
        self.statuses.answers[old.id] = AgentStatus(old.id, "web1", "any", NEVER_CONNECTED)
        self.assertEqual(self.register("web1").id, 2)

    def test_notReplaced(self) -> None:
        """
        It stays if it is connected, was disconnected or registered too
        recently, or if nobody can say what it is.
        """
        old = self.register("web1")
        self.clock.advance(3599)
        self.disconnected(old, 3600)
        self.assertRefused(9008, "Duplicate name", self.ask("web1"))
        self.clock.advance(1)
        self.disconnected(old, 3599)
        self.assertRefused(9008, "Duplicate name", self.ask("web1"))
        self.statuses.answers[old.id] = AgentStatus(
            old.id, "web1", "any", ACTIVE, self.clock.seconds()
        )
        self.assertRefused(9008, "Duplicate name", self.ask("web1"))
        del self.statuses.answers[old.id]
        self.assertRefused(9008, "Duplicate name", self.ask("web1"))
        self.statuses.answers[old.id] = fail(StoreFailed("locked"))
        self.assertRefused(9008, "Duplicate name", self.ask("web1"))
        self.assertEqual(self.all(), [old])

    def test_statusUnanswered(self) -> None:
        """
        Who knows the statuses may hang: what needs it is refused in time, and
        nothing else waits.
        """
        old = self.register("web1")
        self.clock.advance(3600)
        self.statuses.answers[old.id] = Deferred()
        asked = self.ask("web1")
        self.register("web2")
        self.assertNoResult(asked)
        self.clock.advance(4)
        self.assertRefused(9008, "Duplicate name", asked)

    def test_sameKey(self) -> None:
        """
        One that has its key already keeps it; with another it is replaced.
        """
        old = self.register("web1")
        self.clock.advance(3600)
        self.disconnected(old, 3600)
        self.assertRefused(9008, "Duplicate name", self.ask("web1", keyHash=keyHash(old)))
        self.assertEqual(self.register("web1", keyHash="0" * 40).id, 2)

    def test_forceOff(self) -> None:
        """
        Nobody is replaced if that is not enabled.
        """
        self.use(ForceRules(enabled=False, disconnectedTime=None, afterRegistrationTime=0))
        self.register("web1")
        self.assertRefused(9008, "Duplicate name", self.ask("web1"))

    def test_twoReplaced(self) -> None:
        """
        One request may take the place of two agents: of the one with its
        address and of the one with its name. If either stays, both do.
        """
        self.use(ALWAYS)
        one, two = self.register("web1", "10.0.0.1"), self.register("web2")
        for agent in (one, two):
            self.statuses.answers[agent.id] = AgentStatus(
                agent.id, agent.name, agent.ip, NEVER_CONNECTED
            )
        del self.statuses.answers[two.id]
        self.assertRefused(9008, "Duplicate name", self.ask("web2", "10.0.0.1"))
        self.assertEqual(self.all(), [one, two])
        self.disconnected(two, 0)
        new = self.register("web2", "10.0.0.1")
        self.assertEqual(self.all(), [new])
        self.assertEqual(sorted(self.heard.names[-3:]), ["+web2", "-web1", "-web2"])

    def test_crowd(self) -> None:
        """
        Of many that ask at once each gets an id of its own, whatever their
        order and whoever is refused among them.
        """
        asked = [self.ask(f"web{n // 2}", f"10.0.{n // 250}.{n % 250 + 1}") for n in range(400)]
        agents = [self.successResultOf(each) for each in asked[::2]]
        for each in asked[1::2]:
            self.assertRefused(9008, "Duplicate name", each)
        self.assertEqual([agent.id for agent in agents], list(range(1, 201)))
        self.assertEqual(self.all(), agents)
        self.assertEqual(len({agent.key for agent in agents}), 200)
