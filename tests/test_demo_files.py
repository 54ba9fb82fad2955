"""
Tests for the files that C{wazuh-cluster demo} makes up, copies and edits.
"""

from __future__ import annotations

import os
import re
from xml.etree import ElementTree

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.demo.agents import makeAgents
from wazuh_cluster.demo.edits import planEdit
from wazuh_cluster.demo.homes import copyInto, fill, freePorts, makeNodeHome, requireRoom
from wazuh_cluster.demo.largelist import writeLargeList
from wazuh_cluster.demo.ownruleset import findRuleset
from wazuh_cluster.demo.pace import Pace
from wazuh_cluster.demo.ruleset import FIRST_RULE_ID, makeRuleset
from wazuh_cluster.errors import BadInput
from wazuh_cluster.home import Home
from wazuh_cluster.integrity import WAZUH_ITEMS
from wazuh_cluster.model import MASTER
from wazuh_cluster.tap import Options, makeService


def parse(content: bytes) -> ElementTree.Element:
    """
    Parse a file of Wazuh's, which may have several roots.
    """
    return ElementTree.fromstring(b"<all>" + content + b"</all>")


class RulesetTests(SynchronousTestCase):
    """
    Tests for L{makeRuleset}.
    """

    def test_deterministic(self) -> None:
        """
        The same seed gives the same files, another seed others.
        """
        self.assertEqual(makeRuleset(1), makeRuleset(1))
        self.assertNotEqual(makeRuleset(1).files, makeRuleset(2).files)

    def test_carried(self) -> None:
        """
        Each file is one that a cluster carries.
        """
        for name in (*makeRuleset(1).files, *makeAgents(1).files):
            WAZUH_ITEMS.check(name.encode())

    def test_rules(self) -> None:
        """
        The rules are XML, hundreds of them, each with an id of its own from
        those that Wazuh leaves to users, and each refers to one before it.
        """
        made = makeRuleset(1)
        ids: set[int] = set()
        for name, content in made.files.items():
            if not name.startswith("etc/rules/"):
                continue
            for rule in parse(content).iter("rule"):
                number = int(rule.attrib["id"])
                self.assertTrue(FIRST_RULE_ID <= number < 120_000)
                self.assertNotIn(number, ids)
                ids.add(number)
                self.assertTrue(0 <= int(rule.attrib["level"]) <= 15)
                self.assertTrue(rule.findtext("description"))
                for tag in ("if_sid", "if_matched_sid"):
                    other = rule.findtext(tag)
                    if other is not None:
                        self.assertIn(int(other), ids)
        self.assertEqual(made.rules, len(ids))
        self.assertTrue(len(ids) > 300)

    def test_decoders(self) -> None:
        """
        The decoders are XML; every rule's decoder and every parent is there.
        """
        made = makeRuleset(1)
        names: set[str] = set()
        wanted: set[str] = set()
        for name, content in made.files.items():
            if name.startswith("etc/decoders/"):
                for decoder in parse(content).iter("decoder"):
                    names.add(decoder.attrib["name"])
                    wanted.update(parent.text or "" for parent in decoder.iter("parent"))
            elif name.startswith("etc/rules/"):
                wanted.update(each.text or "" for each in parse(content).iter("decoded_as"))
        self.assertEqual(made.decoders, len(names))
        self.assertEqual(set(), wanted - names)

    def test_lists(self) -> None:
        """
        The lists are lines C{key:value}, and no key stands twice in one.
        """
        made = makeRuleset(1)
        lists = [made.files[name] for name in made.files if name.startswith("etc/lists/")]
        self.assertEqual(made.lists, len(lists))
        for content in lists:
            self.assertTrue(content.endswith(b"\n"))
            keys = [line.split(b":", 1)[0] for line in content.splitlines()]
            self.assertTrue(all(b":" in line for line in content.splitlines()))
            self.assertEqual(len(keys), len(set(keys)))


class AgentsTests(SynchronousTestCase):
    """
    Tests for L{makeAgents}.
    """

    def test_deterministic(self) -> None:
        """
        The same seed gives the same files, another seed others.
        """
        self.assertEqual(makeAgents(1), makeAgents(1))
        self.assertNotEqual(makeAgents(1).files, makeAgents(2).files)

    def test_keys(self) -> None:
        """
        C{client.keys} has a line of four fields for each agent.
        """
        lines = makeAgents(1, 12).files["etc/client.keys"].decode().splitlines()
        self.assertEqual(12, len(lines))
        for number, line in enumerate(lines, 1):
            self.assertTrue(
                re.fullmatch(rf"{number:03} [a-z]+-{number:03} any [0-9a-f]{{64}}", line)
            )

    def test_groups(self) -> None:
        """
        Each assignment names groups that there are, and for several groups
        there is a merged file.
        """
        made = makeAgents(1, 50)
        shared = {name.split("/")[2] for name in made.files if name.startswith("etc/shared/")}
        self.assertEqual(made.groups, len(shared))
        several = 0
        for name, content in made.files.items():
            if name.startswith("queue/agent-groups/"):
                groups = content.decode().rstrip("\n").split(",")
                self.assertEqual(set(), set(groups) - shared)
                several += len(groups) > 1
        merged = [name for name in made.files if name.startswith("var/multigroups/")]
        self.assertTrue(several >= len(merged) > 0)

    def test_merged(self) -> None:
        """
        A merged file says how long the file in it is.
        """
        made = makeAgents(1)
        for name, content in made.files.items():
            if name.endswith("merged.mg"):
                head, _, rest = content.split(b"\n", 1)[1].partition(b"\n")
                self.assertEqual(b"!%d agent.conf" % len(rest), head)
                parse(rest)


class LargeListTests(SynchronousTestCase):
    """
    Tests for L{writeLargeList}.
    """

    def write(self, size: int, seed: int = 1) -> bytes:
        """
        The content of a list.
        """
        path = self.mktemp()
        self.assertEqual(writeLargeList(path, size, seed, Pace()), os.stat(path).st_size)
        self.assertFalse(os.path.exists(f"{path}.tmp"))
        with open(path, "rb") as file:
            return file.read()

    def test_size(self) -> None:
        """
        It has the wanted size, up to the end of a line.
        """
        for size in (1, 49, 50, 802_816, 802_817, 2_000_000):
            self.assertTrue(size <= len(self.write(size)) < size + 49)

    def test_lines(self) -> None:
        """
        It is lines C{key:value} of which none stands twice.
        """
        lines = self.write(1_000_000).splitlines()
        self.assertTrue(all(re.fullmatch(rb"[\w+/]{16}:[\w+/]{31}", line) for line in lines))
        self.assertEqual(len(lines), len(set(lines)))

    def test_deterministic(self) -> None:
        """
        The same seed gives the same list, another seed another.
        """
        self.assertEqual(self.write(5000), self.write(5000))
        self.assertNotEqual(self.write(5000), self.write(5000, 2))


class OwnRulesetTests(SynchronousTestCase):
    """
    Tests for L{findRuleset} and L{copyInto}.
    """

    def make(self, **files: str) -> str:
        """
        A folder with files; two underscores in a name are a slash.
        """
        folder = self.mktemp()
        os.mkdir(folder)
        for name, content in files.items():
            path = os.path.join(folder, name.replace("__", "/").replace("_xml", ".xml"))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(content)
        return folder

    def test_folders(self) -> None:
        """
        The folders of a ruleset are copied to their places, with what is below
        them, and nothing else.
        """
        folder = self.make(
            rules__a_xml="<r/>", lists__x__y="k:v\n", decoders__d_xml="<d/>", other__o="o"
        )
        found = findRuleset(folder)
        home = Home(self.mktemp())
        self.assertEqual(12, copyInto(home, found, Pace()))
        self.assertEqual(
            {"etc/rules/a.xml", "etc/lists/x/y", "etc/decoders/d.xml"},
            {each.target for each in found},
        )
        with open(home.join("etc/lists/x/y")) as file:
            self.assertEqual("k:v\n", file.read())

    def test_plain(self) -> None:
        """
        In a plain folder a file with a decoder in it is decoders, any other
        C{.xml} file is rules.
        """
        folder = self.make(a_xml="<group/>", b_xml='<decoder name="b"/>', note="no")
        self.assertEqual(
            ["etc/rules/a.xml", "etc/decoders/b.xml"],
            [each.target for each in findRuleset(folder)],
        )

    def test_notCarried(self) -> None:
        """
        What a cluster does not carry is left out.
        """
        folder = self.make(rules__a_xml="<r/>", **{"rules__a_xml~": "old"})
        self.assertEqual(["etc/rules/a.xml"], [each.target for each in findRuleset(folder)])

    def test_refused(self) -> None:
        """
        A folder that is not there, is a file, or has no ruleset is refused in
        one line that names it.
        """
        folder = self.make(other__o="o")
        for bad in (self.mktemp(), os.path.join(folder, "other", "o"), folder):
            error = self.assertRaises(BadInput, findRuleset, bad)
            self.assertIn(bad, str(error))
            self.assertNotIn("\n", str(error))


class EditTests(SynchronousTestCase):
    """
    Tests for L{planEdit}.
    """

    def test_rule(self) -> None:
        """
        One rule gets another level, and nothing else changes.
        """
        home = Home(self.mktemp())
        before = makeRuleset(1).files
        fill(home, before, Pace())
        edit = planEdit(home)
        self.assertFalse(edit.isIn(home))
        edit.apply(home)
        self.assertTrue(edit.isIn(home))
        old, new = (
            {rule.attrib["id"]: rule.attrib["level"] for rule in parse(content).iter("rule")}
            for content in (before[edit.path], edit.content)
        )
        (changed,) = [number for number in old if old[number] != new[number]]
        self.assertIn(f"level {old[changed]} of the rule {changed} becomes 12", edit.what)

    def test_noRule(self) -> None:
        """
        Where there is no rule, another file of the ruleset changes.
        """
        for name in ("etc/rules/a.xml", "etc/decoders/d.xml", "etc/lists/l"):
            home = Home(self.mktemp())
            fill(home, {name: b"x:y\n"}, Pace())
            edit = planEdit(home)
            self.assertEqual(name, edit.path)
            self.assertTrue(edit.content.startswith(b"x:y\n"))
            self.assertTrue(len(edit.content) > 4)


class HomesTests(SynchronousTestCase):
    """
    Tests for L{wazuh_cluster.demo.homes}.
    """

    def test_makeNodeHome(self) -> None:
        """
        twistd takes a home as it was made, with its interval.
        """
        home = Home(self.mktemp())
        (port,) = freePorts(1)
        makeNodeHome(home, MASTER, "hub", port, "5e8f0b6c2d914a7f93b1c7d60a2e48f5", 0.5)
        options = Options()
        options.parseOptions(["--home", home.path])
        self.patch(reactor, "seconds", reactor.seconds)
        node = makeService(options).getServiceNamed("master")  # type: ignore[attr-defined]
        self.assertEqual(0.5, node.fileIntegrity.interval)

    def test_freePorts(self) -> None:
        """
        Free ports can be had again and again, each time different ones.
        """
        for _ in range(20):
            ports = freePorts(9)
            self.assertEqual(9, len(set(ports)))
            self.assertTrue(all(1024 <= port <= 65535 for port in ports))

    def test_room(self) -> None:
        """
        Too little room is refused in one line that says how much is needed.
        """
        requireRoom("/tmp", 5_000_000, free=5_000_000)
        error = self.assertRaises(BadInput, requireRoom, "/tmp", 5_000_001, free=5_000_000)
        self.assertIn("room for 5 MB, and the demo needs 6 MB", str(error))
