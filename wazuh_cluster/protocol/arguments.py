"""
AMP arguments that are checked where they arrive.

Twisted's own raise whatever their parser raises, which AMP takes for a bug of
the responder. These raise L{BadArgument}, a violation of the protocol.
"""

from __future__ import annotations

from typing import Any

from twisted.protocols import amp

from wazuh_cluster.errors import BadArgument, BadName
from wazuh_cluster.model import checkName

#: The largest number that travels.
MAX_NUMBER = 2**63 - 1


class Checked(amp.Argument):
    """
    The base: a value that is missing or malformed is the peer's fault.
    """

    def fromBox(
        self, name: bytes, strings: dict[bytes, bytes], objects: dict[str, Any], proto: Any
    ) -> None:
        """
        Read one argument from a box.

        @raise BadArgument: if it is missing or not what it should be.
        """
        if name not in strings and not self.optional:
            raise BadArgument(f"argument {name.decode('ascii')!r} is missing")
        try:
            super().fromBox(name, strings, objects, proto)
        except (ValueError, BadName) as error:
            raise BadArgument(f"argument {name.decode('ascii')!r}: {error}") from None


class Whole(Checked):
    """
    A number from 0 to 2**63-1 in decimal digits.
    """

    def fromString(self, inString: bytes) -> int:
        """
        Read it.
        """
        if not (0 < len(inString) <= 19 and inString.isdigit()):
            raise ValueError("not a whole number")
        number = int(inString)
        if number > MAX_NUMBER:
            raise ValueError("too large")
        return number

    def toString(self, inObject: int) -> bytes:
        """
        Write it.
        """
        if not 0 <= inObject <= MAX_NUMBER:
            raise ValueError(f"{inObject} is out of range")
        return b"%d" % inObject


class Flag(Checked):
    """
    True or false.
    """

    def fromString(self, inString: bytes) -> bool:
        """
        Read it.
        """
        if inString not in (b"True", b"False"):
            raise ValueError("neither True nor False")
        return inString == b"True"

    def toString(self, inObject: bool) -> bytes:
        """
        Write it.
        """
        return b"True" if inObject else b"False"


class Octets(Checked):
    """
    Bytes of a bounded length.
    """

    def __init__(self, least: int, most: int, optional: bool = False) -> None:
        super().__init__(optional)
        self._least = least
        self._most = most

    def fromString(self, inString: bytes) -> bytes:
        """
        Read it.
        """
        if not self._least <= len(inString) <= self._most:
            raise ValueError(f"{len(inString)} bytes, not {self._least} to {self._most}")
        return inString

    def toString(self, inObject: bytes) -> bytes:
        """
        Write it; the sender is bound as the receiver is.
        """
        return self.fromString(inObject)


class Text(Checked):
    """
    UTF-8 text of a bounded length. It is a stranger's: what shows it escapes
    it.
    """

    def __init__(self, most: int, optional: bool = False) -> None:
        super().__init__(optional)
        self._most = most

    def fromString(self, inString: bytes) -> str:
        """
        Read it.
        """
        if len(inString) > self._most:
            raise ValueError(f"{len(inString)} bytes, more than {self._most}")
        return inString.decode("utf-8")

    def toString(self, inObject: str) -> bytes:
        """
        Write it, cut to what the other side takes.
        """
        encoded = inObject.encode("utf-8", "backslashreplace")
        if len(encoded) > self._most:
            encoded = encoded[: self._most].decode("utf-8", "ignore").encode("utf-8")
        return encoded


class Name(Checked):
    """
    The name of a node or a cluster.
    """

    def fromString(self, inString: bytes) -> str:
        """
        Read it.
        """
        if len(inString) > 128:
            raise ValueError("longer than 128 bytes")
        return checkName(inString.decode("ascii"), "name")

    def toString(self, inObject: str) -> bytes:
        """
        Write it.
        """
        return inObject.encode("ascii")
