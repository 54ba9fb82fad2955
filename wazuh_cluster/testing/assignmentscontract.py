"""
The contract of L{IAssignments}, as a mixin for test cases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from wazuh_cluster.agents.groupnames import MAX_GROUP_NAME, MAX_GROUPS
from wazuh_cluster.agents.interfaces import IAssignments
from wazuh_cluster.errors import GroupRefused

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _TestCase
else:
    _TestCase = object

T = TypeVar("T")

#: What can be the name of no group.
BAD_NAMES = (
    "",
    ".",
    "..",
    "../etc",
    "a/b",
    "a,b",
    "a b",
    "a\n",
    "a\0b",
    "it's",
    'say "hi"',
    "\x1b[31mred",
    "\u202egnp.exe",
    "größe",
    "a" * (MAX_GROUP_NAME + 1),
    "a" * 65536,
)


class AssignmentsContractMixin(_TestCase):
    """
    Any L{IAssignments}.
    """

    def makeAssignments(self) -> IAssignments:
        """
        One with the group C{default} and no agents.
        """
        raise NotImplementedError

    def setUp(self) -> None:
        """
        Make one with two groups more.
        """
        super().setUp()
        self.assignments = self.makeAssignments()
        for name in ("web", "db"):
            self.get(self.assignments.create(name))

    def get(self, result: Deferred[T]) -> T:
        """
        What a call gives.
        """
        return self.successResultOf(result)

    def refused(self, result: Deferred[T]) -> str:
        """
        The line with which a call is refused.
        """
        line = str(self.failureResultOf(result, GroupRefused).value)
        self.assertNotIn("\n", line)
        self.assertTrue(line.isprintable(), line)
        self.assertLess(len(line), 200)
        return line

    def counts(self) -> dict[str, int]:
        """
        The groups, and how many agents are in each.
        """
        return {group.name: group.agents for group in self.get(self.assignments.groups())}

    def test_interface(self) -> None:
        """
        It provides the interface.
        """
        verifyObject(IAssignments, self.assignments)

    def test_groups(self) -> None:
        """
        Groups come by name, also those without agents.
        """
        names = [group.name for group in self.get(self.assignments.groups())]
        self.assertEqual(["db", "default", "web"], names)
        self.get(self.assignments.assign({1: ("web",), 2: ("web", "db")}))
        self.assertEqual({"db": 1, "default": 0, "web": 2}, self.counts())

    def test_missing(self) -> None:
        """
        It says which of some names are no group, each once, whatever they are.
        """
        names = ["web", "nosuch", *BAD_NAMES, "nosuch"]
        missing = self.get(self.assignments.missing(names))
        self.assertEqual(["nosuch", *BAD_NAMES], missing)

    def test_createOnce(self) -> None:
        """
        A name is taken once.
        """
        self.assertIn("web", self.refused(self.assignments.create("web")))

    def test_badNames(self) -> None:
        """
        What cannot be a name is no group's, by whatever way; the line that says
        so is fit for a terminal.
        """
        for name in BAD_NAMES:
            self.refused(self.assignments.create(name))
            self.refused(self.assignments.delete(name))
            self.refused(self.assignments.assign({1: ("web", name)}))
        self.assertEqual({"db": 0, "default": 0, "web": 0}, self.counts())

    def test_longestName(self) -> None:
        """
        A name can be as long as Wazuh allows.
        """
        name = "n" * MAX_GROUP_NAME
        self.get(self.assignments.create(name))
        self.get(self.assignments.assign({7: (name,)}))
        self.assertEqual({7: (name,)}, self.get(self.assignments.of([7])))

    def test_order(self) -> None:
        """
        Groups keep the order that they were assigned in, each once; agents
        without any are left out.
        """
        self.get(self.assignments.assign({1: ("web", "db", "web"), 2: ("db", "web")}))
        self.assertEqual(
            {1: ("web", "db"), 2: ("db", "web")}, self.get(self.assignments.of([1, 2, 3]))
        )

    def test_assignAnew(self) -> None:
        """
        The last assignment counts; none at all forgets the agent.
        """
        self.get(self.assignments.assign({1: ("web",), 2: ("web",)}))
        self.get(self.assignments.assign({1: ("db",), 2: ()}))
        self.assertEqual({1: ("db",)}, self.get(self.assignments.of([1, 2])))
        self.assertEqual({"db": 1, "default": 0, "web": 0}, self.counts())

    def test_allOrNothing(self) -> None:
        """
        Where one assignment is refused, none is made.
        """
        self.refused(self.assignments.assign({1: ("web",), 2: ("nosuch",)}))
        names = tuple(f"g{n}" for n in range(MAX_GROUPS + 1))
        self.refused(self.assignments.assign({1: ("web",), 2: names}))
        self.assertEqual({}, self.get(self.assignments.of([1, 2])))

    def test_mostGroups(self) -> None:
        """
        An agent can be in as many groups as Wazuh allows.
        """
        names = tuple(f"g{n}" for n in range(MAX_GROUPS))
        for name in names:
            self.get(self.assignments.create(name))
        self.get(self.assignments.assign({1: names}))
        self.assertEqual({1: names}, self.get(self.assignments.of([1])))

    def test_delete(self) -> None:
        """
        A group that goes leaves its agents in their others, or in C{default}.
        """
        self.get(self.assignments.assign({1: ("web",), 2: ("web", "db"), 3: ("db",)}))
        members = self.get(self.assignments.delete("web"))
        self.assertEqual([1, 2], members)
        self.assertEqual(
            {1: ("default",), 2: ("db",), 3: ("db",)}, self.get(self.assignments.of([1, 2, 3]))
        )
        self.assertEqual({"db": 2, "default": 1}, self.counts())

    def test_deleteRefused(self) -> None:
        """
        C{default} stays, and what is not there cannot go.
        """
        self.assertIn("default", self.refused(self.assignments.delete("default")))
        self.assertIn("nosuch", self.refused(self.assignments.delete("nosuch")))

    def test_remove(self) -> None:
        """
        Agents are forgotten; those that are not there are passed over.
        """
        self.get(self.assignments.assign({1: ("web",), 2: ("web",)}))
        self.get(self.assignments.remove([1, 99]))
        self.assertEqual({2: ("web",)}, self.get(self.assignments.of([1, 2, 99])))

    def test_many(self) -> None:
        """
        Thousands are assigned at once.
        """
        wanted = {n: ("web", "db") if n % 2 else ("db",) for n in range(1, 5001)}
        self.get(self.assignments.assign(wanted))
        self.assertEqual(wanted, self.get(self.assignments.of(list(wanted))))
        self.assertEqual({"db": 5000, "default": 0, "web": 2500}, self.counts())
