"""
Tests for L{wazuh_cluster.enrollment.request} and the rules of its fields.
"""

from __future__ import annotations

import ipaddress
import string

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.agents import Registration
from wazuh_cluster.enrollment.fields import (
    MAX_GROUPS,
    checkAddress,
    checkGroups,
    checkName,
    isNewer,
    sourceAddress,
)
from wazuh_cluster.enrollment.request import RequestRules, readRequest
from wazuh_cluster.errors import EnrollmentRefused

HASH = "07f05add1049244e7e71ad0f54f24d8094cd8f8b"
PEER = "192.0.2.1"
PROHIBITED = "characters '\\/:*?\"<>|,' are prohibited"

RULES = RequestRules(hostName="manager", managerVersion="v4.14.7")

_LETTERS = string.ascii_letters + string.digits
NAMES = st.text(_LETTERS + "-_.", min_size=2, max_size=128).filter(
    lambda name: not name.startswith(".") and name != "manager"
)
GROUPS = st.text(_LETTERS + "-_.", min_size=1, max_size=255).filter(
    lambda name: name not in (".", "..")
)


def read(line: str, rules: RequestRules = RULES, password: bytes | None = None) -> Registration:
    return readRequest(line.encode("utf-8"), PEER, rules, password)


class ReadTests(SynchronousTestCase):
    """
    Requests that are understood.
    """

    def test_documented(self) -> None:
        """
        Each field, and what is not known where it stands.
        """
        for line, wanted in (
            ("OSSEC A:'ab'", Registration("ab")),
            ("OSSEC A:'web.1_x-'", Registration("web.1_x-")),
            ("OSSEC A:'ab' V:'v4.14.7'", Registration("ab")),
            ("OSSEC A:'ab' V:''", Registration("ab")),
            ("OSSEC A:'ab' V:'v4.14.9'", Registration("ab")),
            ("OSSEC A:'ab' G:'g'", Registration("ab", groups=("g",))),
            ("OSSEC A:'ab' G:'b,a,b'", Registration("ab", groups=("b", "a"))),
            ("OSSEC A:'ab' IP:'src'", Registration("ab", PEER)),
            ("OSSEC A:'ab' IP:'any'", Registration("ab")),
            ("OSSEC A:'ab' IP:'10.0.0.5'", Registration("ab", "10.0.0.5")),
            ("OSSEC A:'ab' IP:'10.5.0.0/16'", Registration("ab", "10.5.0.0/16")),
            (f"OSSEC A:'ab' K:'{HASH}'", Registration("ab", keyHash=HASH)),
            # Not the hash of any key: as if it had none that is known.
            ("OSSEC A:'ab' K:'ABC123'", Registration("ab")),
            ("OSSEC A:'ab' K:''", Registration("ab")),
            (
                f"OSSEC A:'ab' V:'v4.9.0' G:'g,h' IP:'10.0.0.5' K:'{HASH}'",
                Registration("ab", "10.0.0.5", ("g", "h"), HASH),
            ),
            # Out of order, unknown, or not where one is expected.
            ("OSSEC A:'ab' G:'g' V:'v9.0.0'", Registration("ab", groups=("g",))),
            (f"OSSEC A:'ab' K:'{HASH}' G:'g'", Registration("ab", keyHash=HASH)),
            ("OSSEC A:'ab' X:'1' G:'g'", Registration("ab")),
            ("OSSEC A:'ab'  G:'g'", Registration("ab")),
            ("OSSEC A:'ab'G:'g'", Registration("ab")),
            ("OSSEC A:'ab' g:'g'", Registration("ab")),
            ("OSSEC A:'ab'\r", Registration("ab")),
        ):
            self.assertEqual(wanted, read(line), line)

    def test_sourceAddress(self) -> None:
        """
        With C{use_source_ip} an agent that names no address gets its own.
        """
        rules = RequestRules(useSourceAddress=True)
        self.assertEqual(PEER, read("OSSEC A:'ab'", rules).ip)
        self.assertEqual("any", read("OSSEC A:'ab' IP:'any'", rules).ip)
        self.assertEqual("10.0.0.5", read("OSSEC A:'ab' IP:'10.0.0.5'", rules).ip)

    def test_noManagerVersion(self) -> None:
        """
        Where the manager's version is not known, an agent may have any.
        """
        self.assertEqual("ab", read("OSSEC A:'ab' V:'v99.0'", RequestRules()).name)

    def test_password(self) -> None:
        """
        A password is followed by a blank and the rest; it may have blanks and
        quotes.
        """
        for password in ("abc", "a b c", "it's", "pässword"):
            line = f"OSSEC PASS: {password} OSSEC A:'ab' IP:'src'"
            wanted = Registration("ab", PEER)
            self.assertEqual(wanted, read(line, RULES, password.encode("utf-8")))

    @given(NAMES, st.lists(GROUPS, min_size=1, max_size=8), st.sampled_from(["v4.1", None]))
    def test_anyRequest(self, name: str, groups: list[str], version: str | None) -> None:
        """
        What agents write is read as it was meant.
        """
        fields = [f"OSSEC A:'{name}'"]
        if version is not None:
            fields.append(f"V:'{version}'")
        fields += [f"G:'{','.join(groups)}'", f"K:'{HASH}'"]
        wanted = Registration(name, "any", tuple(dict.fromkeys(groups)), HASH)
        self.assertEqual(wanted, read(" ".join(fields)))


class RefuseTests(SynchronousTestCase):
    """
    Requests that are refused, in the words of authd.
    """

    def assertRefused(
        self, line: str, text: str, rules: RequestRules = RULES, password: bytes | None = None
    ) -> None:
        refusal = self.assertRaises(EnrollmentRefused, read, line, rules, password)
        self.assertEqual(text, str(refusal), line)

    def test_documented(self) -> None:
        """
        Each refusal.
        """
        request = "Invalid request for new agent"
        long = "g" * 256
        for line, text in (
            ("", request),
            ("OSSEC", request),
            ("OSSEC A:", request),
            ("OSSEC A:'", request),
            ("OSSEC A:'ab", request),
            ("ossec A:'ab'", request),
            (" OSSEC A:'ab'", request),
            ("OSSEC PASS: abc OSSEC A:'ab'", request),
            ("OSSEC A:''", "Invalid agent name: "),
            ("OSSEC A:'a'", "Invalid agent name: a"),
            ("OSSEC A:'.ab'", "Invalid agent name: .ab"),
            ("OSSEC A:'inv;agent'", "Invalid agent name: inv;agent"),
            ("OSSEC A:'a b'", "Invalid agent name: a b"),
            ("OSSEC A:'äöü'", "Invalid agent name: äöü"),
            ("OSSEC A:'../../x'", "Invalid agent name: ../../x"),
            ("OSSEC A:'manager'", "Invalid agent name: manager"),
            (f"OSSEC A:'{'n' * 129}'", f"Invalid agent name: {'n' * 129}"),
            ("OSSEC A:'ab' V:'v4", "Unterminated version field"),
            ("OSSEC A:'ab' V:v4'", "Unterminated version field"),
            ("OSSEC A:'ab' G:'g", "Unterminated group field"),
            ("OSSEC A:'ab' G:'", "Unterminated group field"),
            ("OSSEC A:'ab' IP:'src", "Unterminated IP field"),
            ("OSSEC A:'ab' IP:'10.0.0.5 K:'x'", "Unterminated IP field"),
            ("OSSEC A:'ab' K:'x", "Unterminated key field"),
            (f"OSSEC A:'ab' K:'{HASH}0'", "Unterminated key field"),
            (
                "OSSEC A:'ab' V:'v4.15.0'",
                "Agent version must be lower or equal to manager version",
            ),
            ("OSSEC A:'ab' V:'v5.0'", "Agent version must be lower or equal to manager version"),
            ("OSSEC A:'ab' G:''", "Invalid group name: Empty Group"),
            (f"OSSEC A:'ab' G:'{long}'", f"Invalid group name: {long[:255]}... group is too large"),
            (
                f"OSSEC A:'ab' G:'a,{long}'",
                f"Invalid group name: {long[:255]}... group is too large",
            ),
            (
                f"OSSEC A:'ab' G:'{'a,' * 32_767}aa'",
                f"Invalid group name: {('a,' * 200)[:255]}... multigroup is too large",
            ),
            (
                "OSSEC A:'ab' G:'a,b c'",
                "Invalid group name: a,b c... white spaces are not allowed",
            ),
            ("OSSEC A:'ab' G:'a b'", f"Invalid group name: a b... {PROHIBITED}"),
            (
                "OSSEC A:'ab' G:'a,,b'",
                "Invalid group name: a,,b... consecutive ',' are not allowed",
            ),
            ("OSSEC A:'ab' G:','", f"Invalid group name: ,... {PROHIBITED}"),
            (
                "OSSEC A:'ab' G:',a'",
                "Invalid group name: ,a... cannot start or end with ','",
            ),
            (
                "OSSEC A:'ab' G:'a,'",
                "Invalid group name: a,... cannot start or end with ','",
            ),
            ("OSSEC A:'ab' G:'a/b'", f"Invalid group name: a/b... {PROHIBITED}"),
            ("OSSEC A:'ab' G:'a+b'", "Invalid group name: a+b"),
            ("OSSEC A:'ab' G:'a,..'", "Invalid group name: .."),
            ("OSSEC A:'ab' G:'.'", "Invalid group name: ."),
            ("OSSEC A:'ab' IP:''", "Invalid IP: "),
            ("OSSEC A:'ab' IP:'here'", "Invalid IP: here"),
            ("OSSEC A:'ab' IP:'srcx'", "Invalid IP: srcx"),
            ("OSSEC A:'ab' IP:'10.0.0.256'", "Invalid IP: 10.0.0.256"),
            ("OSSEC A:'ab' IP:'10.0.0.0/33'", "Invalid IP: 10.0.0.0/33"),
            ("OSSEC A:'ab' IP:'10.0.0.0/'", "Invalid IP: 10.0.0.0/"),
            ("OSSEC A:'ab' IP:'fe80::1%eth0'", "Invalid IP: fe80::1%eth0"),
        ):
            self.assertRefused(line, text)

    def test_tooManyGroups(self) -> None:
        """
        An agent is in 128 groups at most; each counts once.
        """
        groups = ",".join(f"g{n}" for n in range(MAX_GROUPS))
        self.assertEqual(MAX_GROUPS, len(checkGroups(f"{groups},g0,g1")))
        self.assertRefused(
            f"OSSEC A:'ab' G:'{groups},more'", "Maximum multigroup reached: Limit is 128"
        )

    def test_password(self) -> None:
        """
        A password must be there, be right, and end where it ends.
        """
        for line in (
            "",
            "OSSEC A:'ab'",
            "OSSEC PASS: abc",
            "OSSEC PASS: abd OSSEC A:'ab'",
            "OSSEC PASS: ab OSSEC A:'ab'",
            "OSSEC PASS: abcd OSSEC A:'ab'",
            "OSSEC PASS: abcOSSEC A:'ab'",
            "OSSEC PASS:abc OSSEC A:'ab'",
        ):
            self.assertRefused(line, "Invalid password", password=b"abc")
        request = "Invalid request for new agent"
        self.assertRefused("OSSEC PASS: abc  OSSEC A:'ab'", request, password=b"abc")

    @given(st.binary(max_size=300))
    def test_anything(self, line: bytes) -> None:
        """
        Whatever comes is a sound registration or is refused on one line.
        """
        self.check(line)

    @given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
    def test_anyFields(self, name: str, groups: str, address: str, keyHash: str) -> None:
        """
        So is whatever stands in fields.
        """
        line = f"OSSEC A:'{name}' G:'{groups}' IP:'{address}' K:'{keyHash}'"
        self.check(line.encode("utf-8", "surrogatepass"))

    def check(self, line: bytes) -> None:
        try:
            request = readRequest(line, PEER, RULES)
        except EnrollmentRefused as refusal:
            self.assertTrue(str(refusal).isprintable())
            self.assertLess(len(str(refusal)), 2000)
            return
        self.assertEqual(request.name, checkName(request.name))
        self.assertEqual(request.ip, checkAddress(request.ip))
        if request.groups:
            self.assertEqual(request.groups, checkGroups(",".join(request.groups)))


class AddressTests(SynchronousTestCase):
    """
    Addresses have one form.
    """

    def test_forms(self) -> None:
        """
        IPv6 is written out, in capitals; prefixes stay.
        """
        full = "FE80:0000:0000:0000:0000:0000:0000:0001"
        for text, wanted in (
            ("fe80::1", full),
            ("FE80::1/64", f"{full}/64"),
            ("fe80::1/0", f"{full}/0"),
            ("10.0.0.5/032", "10.0.0.5/32"),
            ("::", ":".join(["0000"] * 8)),
        ):
            self.assertEqual(wanted, checkAddress(text))

    def test_source(self) -> None:
        """
        What a transport says: a zone does not count, IPv4 may come as IPv6.
        """
        self.assertEqual("10.0.0.5", sourceAddress("::ffff:10.0.0.5"))
        self.assertEqual("FE80:0000:0000:0000:0000:0000:0000:0001", sourceAddress("fe80::1%eth0"))
        for nowhere in (None, "", "/run/socket"):
            refusal = self.assertRaises(EnrollmentRefused, sourceAddress, nowhere)
            self.assertEqual("Invalid IP: src", str(refusal))

    @given(st.ip_addresses(), st.booleans())
    def test_any(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address, cut: bool) -> None:
        """
        Any address is one, and is itself in its one form.
        """
        text = f"{address}/{address.max_prefixlen // 2}" if cut else str(address)
        form = checkAddress(text)
        self.assertEqual(form, checkAddress(form))
        self.assertEqual(address, ipaddress.ip_address(form.partition("/")[0]))


class VersionTests(SynchronousTestCase):
    """
    Which versions are newer.
    """

    def test_newer(self) -> None:
        """
        The first two numbers decide; what is no version is not newer.
        """
        for version, newer in (
            ("v4.14.7", False),
            ("v4.14.99", False),
            ("v4.13.9", False),
            ("v4.15", True),
            ("v5", True),
            ("4.20.0", True),
            ("Wazuh v4.20", True),
            ("", False),
            ("v", False),
            ("nonsense", False),
        ):
            self.assertEqual(newer, isNewer(version, "v4.14.7"), version)
