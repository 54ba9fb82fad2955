"""
What this package reads of the C{<logging>} blocks of C{ossec.conf}.
"""

from __future__ import annotations

from wazuh_cluster.errors import ConfigError
from wazuh_cluster.ossecconf import readElements

_NAME = "log_format"
_FORMATS = frozenset(("plain", "json"))


def logFormats(text: str, where: str) -> frozenset[str]:
    """
    C{<log_format>}: C{plain}, C{json}, or both with a comma. Where it stands
    more than once, the last one counts; without it, or with nothing in it, it is
    C{plain}.

    @param text: the whole of C{ossec.conf}.
    @param where: its name, for errors.

    @raise ConfigError: if it is anything else.
    """
    formats = frozenset(("plain",))
    for root in readElements(text.removeprefix("\ufeff"), where):
        for block in root.named("logging") if root.name == "ossec_config" else []:
            for element in block.named(_NAME):
                words = [word.strip() for word in (element.value or "plain").split(",")]
                if not _FORMATS.issuperset(words):
                    raise ConfigError(
                        f"{element.value[:40]!r} is no format of a log",
                        f"{where}, line {element.line}, <{_NAME}>",
                        "write plain, json, or plain,json",
                    )
                formats = frozenset(words)
    return formats
