"""
The C{<auth>} block as it is written: its elements, one by one, checked.

Where it stands more than once, each element's last value counts. Without it,
Wazuh's defaults do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from wazuh_cluster.authsettings import DEFAULT_PORT, AuthSettings, ForceRules
from wazuh_cluster.configvalues import parsePort, parseYesOrNo
from wazuh_cluster.errors import BadInput, ConfigError
from wazuh_cluster.ossecconf import Element, readElements

_T = TypeVar("_T")

_KNOWN = frozenset(
    (
        "port",
        "disabled",
        "remote_enrollment",
        "use_source_ip",
        "force",
        "purge",
        "use_password",
        "ciphers",
        "ssl_agent_ca",
        "ssl_verify_host",
        "ssl_manager_cert",
        "ssl_manager_key",
        "agents",
        # Older Wazuhs', read as Wazuh 4 reads them.
        "force_insert",
        "force_time",
        # These mean nothing here: an endpoint says where the listener is, all
        # versions of TLS from 1.2 on are spoken, and there is no limit.
        "ipv6",
        "ssl_auto_negotiate",
        "limit_maxagents",
        "key_request",
    )
)
_FORCE = frozenset(("enabled", "key_mismatch", "disconnected_time", "after_registration_time"))
_AGENTS = frozenset(("allow_higher_versions",))

_TIME = re.compile(r"([0-9]{1,9})([dhms]?)\Z")
_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1, "": 1}


def authBlocks(text: str, where: str) -> list[Element]:
    """
    The C{<auth>} blocks of a file, in their order.

    @raise ConfigError: if the file cannot be read.
    """
    roots = readElements(text.removeprefix("\ufeff"), where)
    return [block for root in roots if root.name == "ossec_config" for block in root.named("auth")]


class AuthReader:
    """
    One file's C{<auth>} blocks, element by element.

    @ivar warnings: what was found that works but should be changed.
    """

    def __init__(self, blocks: Iterable[Element], where: str) -> None:
        self._blocks = list(blocks)
        self._where = where
        self.warnings: list[str] = []

    def look(self) -> None:
        """
        Warn of what is not known, or old.
        """
        self._unknown("auth", self._blocks, _KNOWN)
        self._unknown("force", self._inner("force"), _FORCE)
        self._unknown("agents", self._inner("agents"), _AGENTS)
        for name in ("force_insert", "force_time"):
            element = self._find(self._blocks, name)
            if element is not None:
                self._warn(element.line, f"<{name}> is old", "write a <force> block instead")

    def settings(self) -> AuthSettings:
        """
        What the blocks say.

        @raise ConfigError: if something cannot be used.
        """
        default = AuthSettings()
        get = self._get
        return AuthSettings(
            port=get("port", _port, default.port),
            disabled=get("disabled", parseYesOrNo, default.disabled),
            remoteEnrollment=get("remote_enrollment", parseYesOrNo, default.remoteEnrollment),
            useSourceAddress=get("use_source_ip", parseYesOrNo, default.useSourceAddress),
            purge=get("purge", parseYesOrNo, default.purge),
            usePassword=get("use_password", parseYesOrNo, default.usePassword),
            ciphers=get("ciphers", _something, default.ciphers),
            certificate=get("ssl_manager_cert", _something, default.certificate),
            privateKey=get("ssl_manager_key", _something, default.privateKey),
            agentCA=get("ssl_agent_ca", _path, default.agentCA),
            verifyHost=get("ssl_verify_host", parseYesOrNo, default.verifyHost),
            allowHigherVersions=get(
                "allow_higher_versions",
                parseYesOrNo,
                default.allowHigherVersions,
                self._inner("agents"),
            ),
            force=self._force(),
        )

    def _force(self) -> ForceRules:
        default = ForceRules()
        blocks = self._inner("force")
        if not blocks:
            seconds = self._get("force_time", _seconds, default.disconnectedTime or 0.0)
            return ForceRules(
                enabled=self._get("force_insert", parseYesOrNo, default.enabled),
                disconnectedTime=seconds or None,
            )
        return ForceRules(
            enabled=self._get("enabled", parseYesOrNo, default.enabled, blocks),
            keyMismatch=self._get("key_mismatch", parseYesOrNo, default.keyMismatch, blocks),
            disconnectedTime=self._disconnectedTime(blocks, default.disconnectedTime),
            afterRegistrationTime=self._get(
                "after_registration_time", _seconds, default.afterRegistrationTime, blocks
            ),
        )

    def _disconnectedTime(self, blocks: list[Element], default: float | None) -> float | None:
        """
        The one element that has an attribute, which may switch it off.
        """
        element = self._find(blocks, "disconnected_time")
        if element is None:
            return default
        where = self._place(element)
        enabled = parseYesOrNo(element.attributes.get("enabled", "yes"), f"{where}, enabled")
        return _seconds(element.value, where) if enabled else None

    def _inner(self, name: str) -> list[Element]:
        return [inner for block in self._blocks for inner in block.named(name)]

    def _find(self, blocks: list[Element], name: str) -> Element | None:
        """
        The last element of this name in any of the blocks.
        """
        found = [element for block in blocks for element in block.named(name)]
        return found[-1] if found else None

    def _get(
        self,
        name: str,
        convert: Callable[[str, str], _T],
        default: _T,
        blocks: list[Element] | None = None,
    ) -> _T:
        element = self._find(self._blocks if blocks is None else blocks, name)
        return default if element is None else convert(element.value, self._place(element))

    def _place(self, element: Element) -> str:
        return f"{self._where}, line {element.line}, <auth>, <{element.name}>"

    def _unknown(self, name: str, blocks: list[Element], known: frozenset[str]) -> None:
        for block in blocks:
            for child in block.children:
                if child.name not in known:
                    what = f"<{child.name}> is not an element of <{name}> and is ignored"
                    self._warn(child.line, what, "remove it")

    def _warn(self, line: int, what: str, remedy: str) -> None:
        self.warnings.append(str(BadInput(what, f"{self._where}, line {line}", remedy)))


def _port(text: str, where: str) -> int:
    return parsePort(text, where, DEFAULT_PORT)


def _something(text: str, where: str) -> str:
    if not text:
        raise ConfigError("it is empty", where, "write something, or leave it out")
    return text


def _path(text: str, where: str) -> str | None:
    return _something(text, where)


def _seconds(text: str, where: str) -> float:
    match = _TIME.match(text)
    if match is None:
        raise ConfigError(
            f"{text[:40]!r} is not a time", where, "write a number, and d, h, m or s after it"
        )
    return float(int(match[1]) * _UNITS[match[2]])
