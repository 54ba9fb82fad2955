"""
A made-up ruleset: rules, decoders and CDB lists as an operator writes them.

The same seed gives the same files.
"""

from __future__ import annotations

from random import Random
from xml.sax.saxutils import escape

from attrs import frozen

#: Wazuh leaves the rule ids from here to 120000 to its users.
FIRST_RULE_ID = 100_000
_IDS_EACH = 20

_SITES = ("north", "south", "lab", "office", "plant", "cloud")
_SERVICES = (
    ("vpn", "VPN gateway"),
    ("proxy", "web proxy"),
    ("relay", "mail relay"),
    ("backup", "backup server"),
    ("portal", "customer portal"),
    ("doors", "door control"),
    ("ledger", "accounting"),
    ("broker", "message broker"),
)


@frozen
class _Event:
    """
    Something that a service logs and a rule finds.
    """

    match: str
    level: int
    what: str
    groups: str
    technique: str = ""


_EVENTS = (
    _Event("accepted login for", 3, "login", "authentication_success,pci_dss_10.2.5", "T1078"),
    _Event("unknown user", 5, "login of an unknown user", "invalid_login,pci_dss_10.2.4", "T1087"),
    _Event("account locked", 8, "account locked", "authentication_failed,pci_dss_8.1.6"),
    _Event("privileges granted to", 8, "privileges granted", "policy_changed", "T1098"),
    _Event("configuration changed by", 6, "configuration changed", "config_changed,gdpr_IV_35.7.d"),
    _Event("service stopped", 9, "service stopped", "service_availability", "T1489"),
    _Event("service started", 3, "service started", "service_start"),
    _Event("disk space low", 7, "disk almost full", "low_diskspace,gpg13_10.1"),
    _Event("certificate expires in", 4, "certificate about to expire", "certificate"),
    _Event("denied by policy", 5, "connection denied", "access_denied,hipaa_164.312.a.1"),
    _Event("upload of type exe & dll", 10, "program uploaded", "web,attack", "T1105"),
    _Event("audit log cleared", 12, "audit log cleared", "log_clearing", "T1070.001"),
    _Event("checksum mismatch", 7, "checksum mismatch", "integrity", "T1565"),
    _Event("database error", 5, "database error", "db_errors"),
)


@frozen
class Ruleset:
    """
    Files of a manager, and how much there is in them.

    @ivar files: path relative to the home to content.
    @ivar rules: how many C{<rule>} there are.
    @ivar decoders: how many C{<decoder>}.
    @ivar lists: how many CDB lists.
    """

    files: dict[str, bytes]
    rules: int
    decoders: int
    lists: int


def makeRuleset(seed: int, services: int = 40) -> Ruleset:
    """
    Make up a ruleset.

    @param services: of how many services the logs are read, 1 to 48.
    """
    random = Random(seed)
    every = [(f"{site}-{name}", what) for site in _SITES for name, what in _SERVICES]
    files: dict[str, bytes] = {}
    rules = decoders = 0
    for number, (name, what) in enumerate(random.sample(every, services)):
        text, count = _rules(random, name, what, FIRST_RULE_ID + number * _IDS_EACH)
        files[f"etc/rules/local_{name}_rules.xml"] = text.encode()
        rules += count
        text, count = _decoders(name, what)
        files[f"etc/decoders/local_{name}_decoders.xml"] = text.encode()
        decoders += count
    lists = _lists(random)
    for name, lines in lists.items():
        files[f"etc/lists/{name}"] = "".join(f"{line}\n" for line in lines).encode()
    return Ruleset(files, rules, decoders, len(lists))


def _rules(random: Random, name: str, what: str, first: int) -> tuple[str, int]:
    """
    One service's rules: all its lines, some events among them, and a burst.
    """
    failed = first + 1
    blocks = [
        _rule(first, 0, [f"<decoded_as>{name}</decoded_as>"], f"{what}: all messages."),
        _rule(
            failed,
            5,
            [f"<if_sid>{first}</if_sid>", "<match>authentication failed</match>"],
            f"{what}: authentication failed.",
            "authentication_failed,pci_dss_10.2.4",
        ),
    ]
    chosen = random.sample(_EVENTS, 10)
    for number, event in enumerate(chosen, failed + 1):
        blocks.append(
            _rule(
                number,
                event.level,
                [f"<if_sid>{first}</if_sid>", f"<match>{escape(event.match)}</match>"],
                f"{what}: {event.what}.",
                event.groups,
                event.technique,
            )
        )
    blocks.append(
        _rule(
            failed + 1 + len(chosen),
            10,
            [f"<if_matched_sid>{failed}</if_matched_sid>", "<same_source_ip />"],
            f"{what}: many authentications failed in a short time.",
            "authentication_failures,pci_dss_11.4",
            "T1110",
            f' frequency="{random.choice((6, 8, 10))}" timeframe="{random.choice((60, 120))}"',
        )
    )
    body = "\n".join(blocks)
    return f'<!-- {what} ({name}) -->\n<group name="local,{name},">\n{body}</group>\n', len(blocks)


def _rule(
    number: int,
    level: int,
    conditions: list[str],
    description: str,
    groups: str = "",
    technique: str = "",
    more: str = "",
) -> str:
    lines = [*conditions, f"<description>{escape(description)}</description>"]
    if technique:
        lines += ["<mitre>", f"  <id>{technique}</id>", "</mitre>"]
    if groups:
        lines.append(f"<group>{groups},</group>")
    inner = "".join(f"    {line}\n" for line in lines)
    return f'  <rule id="{number}" level="{level}"{more}>\n{inner}  </rule>\n'


def _decoders(name: str, what: str) -> tuple[str, int]:
    return (
        f"<!-- {what} ({name}) -->\n"
        f'<decoder name="{name}">\n'
        f"  <program_name>^{name}</program_name>\n"
        "</decoder>\n\n"
        f'<decoder name="{name}-user">\n'
        f"  <parent>{name}</parent>\n"
        '  <regex offset="after_parent">user (\\S+) from (\\S+) port (\\d+)</regex>\n'
        "  <order>user, srcip, srcport</order>\n"
        "</decoder>\n"
    ), 2


def _lists(random: Random) -> dict[str, list[str]]:
    """
    Each list's lines, C{key:value}, no key twice.
    """
    hashes = [f"{random.getrandbits(256):064x}:malware" for _ in range(1500)]
    domains = [f"{random.getrandbits(48):012x}.example.net:blocked" for _ in range(2000)]
    lists = {"blocked-hashes": hashes, "blocked-domains": domains}
    for site in _SITES:
        kinds = ("server", "printer", "laptop", "camera")
        lists[f"{site}-addresses"] = [
            f"10.{number >> 8 & 255}.{number & 255}.{random.randrange(1, 255)}:"
            f"{random.choice(kinds)}"
            for number in random.sample(range(65536), 400)
        ]
    lists["administrators"] = [f"admin{number:02}:{random.choice(_SITES)}" for number in range(30)]
    lists["critical-services"] = [f"{name}:{what}" for name, what in _SERVICES]
    return lists
