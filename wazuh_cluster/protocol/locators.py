"""
Who answers a command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from twisted.protocols import amp


class Locators:
    """
    Several responder locators as one: the first that knows a command answers.
    """

    def __init__(self, locators: Sequence[amp.IResponderLocator]) -> None:
        self._locators = locators

    def locateResponder(self, name: bytes) -> Callable[[amp.AmpBox], object] | None:
        """
        The responder for a command, or C{None} if nobody has one.
        """
        for locator in self._locators:
            responder = locator.locateResponder(name)
            if responder is not None:
                return responder
        return None


class IDirect(Protocol):
    """
    What takes commands that want no answer, of which there are many, without a
    Deferred for each.
    """

    def directly(self) -> Mapping[bytes, tuple[type[amp.Command], Callable[..., None]]]:
        """
        A command's name to the command and what is called with its arguments.
        """
