"""
The fields of a request's body, checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wazuh_cluster.agents.model import MAX_AGENT_ID
from wazuh_cluster.errors import BadArgument
from wazuh_cluster.protocol.bodies import readBody

#: The most texts or agents that one field may have.
MOST = 1000


class Fields:
    """
    A body that is an object; what it has besides what is asked for does not
    matter.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    @classmethod
    def read(cls, body: bytes) -> Fields:
        """
        Those of a body.

        @raise BadArgument: if it is no object.
        """
        return cls(readBody(body, dict))

    def text(self, name: str, default: str | None = None) -> str:
        """
        A text.

        @raise BadArgument: if it is something else, or is missing without a
            default; so do the others.
        """
        value = self._values.get(name, default)
        if not isinstance(value, str):
            raise BadArgument(f"its {name} is no text")
        return value

    def number(self, name: str, default: int | None = None) -> int:
        """
        An agent's id, or 0.
        """
        value = self._values.get(name, default)
        if type(value) is not int or not 0 <= value <= MAX_AGENT_ID:
            raise BadArgument(f"its {name} is no agent's id")
        return value

    def flag(self, name: str) -> bool | None:
        """
        True, false, or neither.
        """
        value = self._values.get(name)
        if value is not None and not isinstance(value, bool):
            raise BadArgument(f"its {name} is neither true nor false")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """
        An array of texts; an empty one if it is missing.
        """
        values = self._array(name)
        if not all(isinstance(each, str) for each in values):
            raise BadArgument(f"its {name} are no texts")
        return tuple(values)

    def agents(self, name: str) -> tuple[int, ...]:
        """
        An array of agents' ids.
        """
        values = self._array(name)
        if not all(type(each) is int and 0 < each <= MAX_AGENT_ID for each in values):
            raise BadArgument(f"its {name} are no agents' ids")
        return tuple(values)

    def _array(self, name: str) -> list[Any]:
        values = self._values.get(name, [])
        if not isinstance(values, list) or len(values) > MOST:
            raise BadArgument(f"its {name} are no array of at most {MOST}")
        return values
