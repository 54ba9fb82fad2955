"""
The one line that an agent sends.

::

    [OSSEC PASS: <password> ]OSSEC A:'<name>'[ V:'…'][ G:'…'][ IP:'…'][ K:'…']

A field is known only where it is expected. What stands anywhere else is passed
over, with all that follows it, as Wazuh does: a newer agent may say more.
"""

from __future__ import annotations

import hmac

from attrs import frozen

from wazuh_cluster.agents import Registration
from wazuh_cluster.enrollment.fields import (
    checkAddress,
    checkGroups,
    checkName,
    isNewer,
    readHash,
    sourceAddress,
)
from wazuh_cluster.errors import EnrollmentRefused

_PASSWORD = b"OSSEC PASS: "
_ADD = "OSSEC A:'"

#: Characters that the value of a field may have, by Wazuh's buffers.
_MAX_VERSION = 2048
_MAX_GROUPS = 65_536
_MAX_ADDRESS = 64
_MAX_HASH = 40


@frozen
class RequestRules:
    """
    What a manager wants of a request.

    @ivar hostName: the manager's own, which an agent cannot have.
    @ivar useSourceAddress: whether an agent that names no address is
        registered with the one from which it connects.
    @ivar managerVersion: no agent may be newer; C{""} if that is not known.
    @ivar allowHigherVersions: whether it may all the same.
    """

    hostName: str = ""
    useSourceAddress: bool = False
    managerVersion: str = ""
    allowHigherVersions: bool = False


def readRequest(
    line: bytes, host: str | None, rules: RequestRules, password: bytes | None = None
) -> Registration:
    """
    Read a request.

    @param line: without its end.
    @param host: from where it comes, as a transport gives it.
    @param password: what the request must begin with; C{None} if it must not
        begin with any.
    @raise EnrollmentRefused: with what the agent is told.
    """
    if password is not None:
        line = _withoutPassword(line, password)
    reader = _Reader(line.decode("utf-8", "backslashreplace"))
    name = checkName(reader.name(), rules.hostName)
    version = reader.field(" V:", "version", _MAX_VERSION)
    if (
        version is not None
        and rules.managerVersion
        and not rules.allowHigherVersions
        and isNewer(version, rules.managerVersion)
    ):
        raise EnrollmentRefused("Agent version must be lower or equal to manager version")
    groups = reader.field(" G:", "group", _MAX_GROUPS)
    found = () if groups is None else checkGroups(groups)
    address = reader.field(" IP:", "IP", _MAX_ADDRESS, blank=False)
    if address == "src" or (address is None and rules.useSourceAddress):
        ip = sourceAddress(host)
    else:
        ip = "any" if address is None else checkAddress(address)
    keyHash = reader.field(" K:", "key", _MAX_HASH)
    return Registration(name, ip, found, None if keyHash is None else readHash(keyHash))


def _withoutPassword(line: bytes, password: bytes) -> bytes:
    """
    What follows the right password.

    @raise EnrollmentRefused: if there is none, or another.
    """
    wanted = _PASSWORD + password + b" "
    # Padded, so that the comparison takes the same time whatever came.
    given = line[: len(wanted)].ljust(len(wanted), b"\0")
    if not hmac.compare_digest(given, wanted):
        raise EnrollmentRefused("Invalid password")
    return line[len(wanted) :]


class _Reader:
    """
    Takes one field after the other.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def name(self) -> str:
        """
        The name, with which all must begin.
        """
        end = self._text.find("'", len(_ADD))
        if not self._text.startswith(_ADD) or end < 0:
            raise EnrollmentRefused("Invalid request for new agent")
        self._at = end + 1
        return self._text[len(_ADD) : end]

    def field(self, mark: str, what: str, most: int, blank: bool = True) -> str | None:
        """
        The value of a field, if it stands here.

        @param blank: whether it may have blanks.
        @raise EnrollmentRefused: if it does not end.
        """
        if not self._text.startswith(mark, self._at):
            return None
        start = self._at + len(mark) + 1
        end = self._text.find("'", start)
        value = self._text[start:end]
        opened = self._text[start - 1 : start] == "'"
        if not opened or end < 0 or len(value) > most or (not blank and " " in value):
            raise EnrollmentRefused(f"Unterminated {what} field")
        self._at = end + 1
        return value
