"""
The values that an agent's registration is made of: names, addresses, groups,
hashes and versions, checked by Wazuh's rules and refused in its words.
"""

from __future__ import annotations

import ipaddress
import re

from wazuh_cluster.agents.addresses import normalAddress
from wazuh_cluster.agents.groupnames import MAX_GROUP_NAME, MAX_GROUPS
from wazuh_cluster.errors import EnrollmentRefused

#: Characters of a list of groups.
MAX_GROUPS_TEXT = 65_535

#: Characters of what an agent sent that it is shown again.
_SHOWN = 255

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{1,127}\Z")
_GROUP = re.compile(r"[A-Za-z0-9._-]+\Z")
_GROUPS_TEXT = re.compile(r"[A-Za-z0-9.:;_=+!@(),-]+\Z")
_HASH = re.compile(r"[0-9a-f]{40}\Z")
_VERSION = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?")
_PROHIBITED = "characters '\\/:*?\"<>|,' are prohibited"


def checkName(name: str, hostName: str = "") -> str:
    """
    Return C{name} if an agent can go by it.

    @param hostName: the manager's own, which an agent cannot have.
    @raise EnrollmentRefused: unless it is 2 to 128 letters, digits, C{-}, C{_}
        or C{.}, does not begin with a dot and is not C{hostName}.
    """
    if not _NAME.match(name) or name == hostName:
        raise EnrollmentRefused(f"Invalid agent name: {shown(name)}")
    return name


def checkAddress(text: str) -> str:
    """
    An address as the manager stores it; see
    L{normalAddress<wazuh_cluster.agents.addresses.normalAddress>}.

    @raise EnrollmentRefused: unless it is one.
    """
    try:
        return normalAddress(text)
    except ValueError:
        raise _badAddress(text) from None


def sourceAddress(host: str | None) -> str:
    """
    The address from which an agent connected, as the manager stores it.

    @param host: as a transport gives it: IPv6 perhaps with a zone, IPv4 perhaps
        as IPv6; C{None} for a transport that has none.
    @raise EnrollmentRefused: if it has none.
    """
    try:
        parsed = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        raise _badAddress("src") from None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return checkAddress(str(mapped or parsed))


def checkGroups(text: str) -> tuple[str, ...]:
    """
    The groups of a list with commas, each once, in their order. Whether there
    are such groups is not looked at.

    @raise EnrollmentRefused: unless it is one to L{MAX_GROUPS} names of 1 to
        L{MAX_GROUP_NAME} letters, digits, C{_}, C{-} or C{.}, none of them C{.} or
        C{..}.
    """
    _checkGroupsText(text)
    groups = tuple(dict.fromkeys(text.split(",")))
    if len(groups) > MAX_GROUPS:
        raise EnrollmentRefused(f"Maximum multigroup reached: Limit is {MAX_GROUPS}")
    for group in groups:
        if not _GROUP.match(group) or group in (".", ".."):
            raise EnrollmentRefused(f"Invalid group name: {shown(group)}")
    return groups


def _checkGroupsText(text: str) -> None:
    """
    Refuse what is no list of names at all, for the first of Wazuh's reasons.
    """
    if not text:
        raise EnrollmentRefused("Invalid group name: Empty Group")
    names = text.split(",")
    if len(names) == 1 and len(text) > MAX_GROUP_NAME:
        raise _badGroups(text, "group is too large")
    if len(text) > MAX_GROUPS_TEXT:
        raise _badGroups(text, "multigroup is too large")
    if len(names) > 1:
        for name in names:
            if " " in name:
                raise _badGroups(text, "white spaces are not allowed")
            if len(name) > MAX_GROUP_NAME:
                raise _badGroups(name, "group is too large")
        if ",," in text:
            raise _badGroups(text, "consecutive ',' are not allowed")
    if text == ",":
        raise _badGroups(text, _PROHIBITED)
    if text.startswith(",") or text.endswith(","):
        raise _badGroups(text, "cannot start or end with ','")
    if not _GROUPS_TEXT.match(text):
        raise _badGroups(text, _PROHIBITED)


def readHash(text: str) -> str | None:
    """
    The hash of a key; C{None} for what cannot be the hash of any, which says
    as much as none.
    """
    return text if _HASH.match(text) else None


def isNewer(version: str, manager: str) -> bool:
    """
    Whether an agent's version is newer than the manager's; the third number
    and what follows it do not count.
    """
    return _numbers(version) > _numbers(manager)


def shown(text: str) -> str:
    """
    What somebody sent, cut, and on one line.
    """
    cut = text[:_SHOWN]
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in cut
    )


def _numbers(version: str) -> tuple[int, int]:
    found = _VERSION.search(version)
    return (0, 0) if found is None else (int(found[1]), int(found[2] or 0))


def _badAddress(text: str) -> EnrollmentRefused:
    return EnrollmentRefused(f"Invalid IP: {shown(text)}")


def _badGroups(text: str, why: str) -> EnrollmentRefused:
    return EnrollmentRefused(f"Invalid group name: {shown(text)}... {why}")
