"""
Single values that an operator writes: keys, names, ports, addresses, choices.

Each function returns the value in its one proper form, or raises
L{ConfigError} with the place that it was given.
"""

from __future__ import annotations

import ipaddress
import re

from wazuh_cluster.errors import BadName, ConfigError
from wazuh_cluster.model import checkName

#: How to get a cluster key, as a remedy.
MAKE_KEY = "make one with 'wazuh-cluster init' or 'openssl rand -hex 16', the same for all nodes"

_KEY = re.compile(r"[A-Za-z0-9]{32}\Z")
_PLACEHOLDERS = frozenset(
    (
        "NODE_IP",
        "MASTER_IP",
        "MASTER_IP_ADDRESS",
        "MASTER_NODE_IP",
        "MASTER_NODE_IP_ADDRESS",
        "WAZUH_MASTER_ADDRESS",
        "WAZUH-MASTER-ADDRESS",
    )
)
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}\.?\Z")


def checkKey(key: str, where: str) -> str:
    """
    Return C{key} if it has the form of one. It is never part of the error.

    @raise ConfigError: unless it is 32 letters and digits.
    """
    if not key or key == "KEY":
        raise ConfigError("there is no key", where, MAKE_KEY)
    if len(key) != 32:
        raise ConfigError(f"the key has {len(key)} characters, not 32", where, MAKE_KEY)
    if not _KEY.match(key):
        raise ConfigError("the key has other characters than A-Z, a-z and 0-9", where, MAKE_KEY)
    return key


def parseName(text: str, where: str, kind: str) -> str:
    """
    The name of a node or a cluster.

    @param kind: C{"node name"} or C{"cluster name"}.

    @raise ConfigError: unless it is one.
    """
    try:
        return checkName(text, kind)
    except BadName:
        raise ConfigError(
            f"{text[:140]!r} cannot be a {kind}" if text else "it is empty",
            where,
            "use 1 to 128 letters, digits, '_', '.' or '-', not beginning with a dot",
        ) from None


def parsePort(text: str, where: str, usual: int = 1516) -> int:
    """
    A port number.

    @param usual: which Wazuh uses, for the remedy.
    @raise ConfigError: unless it is 1 to 65535.
    """
    if re.fullmatch(r"[0-9]{1,5}", text) and 1 <= int(text) <= 65535:
        return int(text)
    raise ConfigError(f"{text[:40]!r} is not a port", where, f"use 1 to 65535, Wazuh's is {usual}")


def parseBind(text: str, where: str) -> str:
    """
    The address of one of this machine's interfaces, or of all.

    @raise ConfigError: unless it is an IPv4 or IPv6 address or C{localhost}.
    """
    if text == "localhost":
        return "127.0.0.1"
    address = _ipAddress(text)
    if address is None:
        raise ConfigError(
            f"{text[:80]!r} is not an IP address",
            where,
            "use one of this machine's addresses, 0.0.0.0 for all IPv4 or :: for all",
        )
    return address


def parseHost(text: str, where: str) -> str:
    """
    The address or name of another machine; IPv6 without brackets.

    @raise ConfigError: unless it is one.
    """
    address = _ipAddress(text)
    if address is not None:
        if address in ("0.0.0.0", "::"):
            raise ConfigError(
                f"{text} is no machine's address", where, "write the master's address or name"
            )
        return address
    if text in _PLACEHOLDERS or not text:
        raise ConfigError(
            f"{text!r} is a placeholder" if text else "there is no address",
            where,
            "write the master's address or name",
        )
    lastLabel = text.rstrip(".").rpartition(".")[2]
    if len(text) > 253 or not _HOST.match(text) or lastLabel.isdigit():
        raise ConfigError(
            f"{text[:80]!r} is neither an IP address nor a DNS name",
            where,
            "write the master's address or name alone, without a port",
        )
    return text


def _ipAddress(text: str) -> str | None:
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ipaddress.ip_address(inner)
    except ValueError:
        return None
    return None if inner is not text and address.version == 4 else str(address)


def parseYesOrNo(text: str, where: str) -> bool:
    """
    A choice.

    @raise ConfigError: unless it is C{yes} or C{no}.
    """
    if text not in ("yes", "no"):
        raise ConfigError(f"{text[:40]!r} is neither 'yes' nor 'no'", where, "write one of them")
    return text == "yes"
