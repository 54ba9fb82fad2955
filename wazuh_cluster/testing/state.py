"""
A node's state in memory.
"""

from __future__ import annotations

from zope.interface import implementer

from wazuh_cluster.errors import StateDamaged
from wazuh_cluster.interfaces import IState
from wazuh_cluster.state import checkStateName


@implementer(IState)
class MemoryState:
    """
    An L{IState} that lasts as long as the object.

    @ivar contents: what is saved, by name.
    @ivar damaged: names that cannot be read.
    """

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.damaged: set[str] = set()

    def load(self, name: str) -> bytes | None:
        """
        See L{IState.load}.
        """
        checkStateName(name)
        if name in self.damaged:
            raise StateDamaged("it cannot be read", f"state {name}", "remove it to begin anew")
        return self.contents.get(name)

    def save(self, name: str, content: bytes) -> None:
        """
        See L{IState.save}.
        """
        self.contents[checkStateName(name)] = bytes(content)
        self.damaged.discard(name)

    def remove(self, name: str) -> None:
        """
        See L{IState.remove}.
        """
        self.contents.pop(checkStateName(name), None)
        self.damaged.discard(name)
