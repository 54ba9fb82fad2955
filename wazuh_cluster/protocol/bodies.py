"""
Bodies: JSON in a command's argument.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

from wazuh_cluster.errors import BadArgument

T = TypeVar("T")


def writeBody(value: object) -> bytes:
    """
    A value as compact JSON, in ASCII: whatever texts are in it.
    """
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def readBody(body: bytes, kind: type[T]) -> T:
    """
    What a body says, which must be a C{kind}.

    @raise BadArgument: if it is not JSON in UTF-8, or something else.
    """
    try:
        value: Any = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadArgument(f"a body that is no JSON ({type(error).__name__})") from None
    # To Python, True is a number.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadArgument(f"a body that is {_KINDS.get(type(value), 'something else')}")
    return value


_KINDS: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}
