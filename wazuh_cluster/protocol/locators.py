"""
Who answers a command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from twisted.protocols import amp
from zope.interface import implementer

#: How an application gives the responders of its own commands: a locator that
#: answers on every link; or what makes one for a link (the class of a locator,
#: say), called with whoever is at the other end.
OwnLocator: TypeAlias = amp.IResponderLocator | Callable[[Any], amp.IResponderLocator]


def locatorsFor(
    given: Iterable[OwnLocator], other: Callable[[], object]
) -> list[amp.IResponderLocator]:
    """
    An application's locators for one link.

    @param other: gives what those are called with that are made for a link;
        each is when the first command comes that might be its own, so after
        Hello was answered.
    """
    return [
        each if amp.IResponderLocator.providedBy(each) else _Later(each, other) for each in given
    ]


@implementer(amp.IResponderLocator)
class _Later:
    """
    A locator that is made when it is first needed.
    """

    def __init__(
        self, make: Callable[[Any], amp.IResponderLocator], other: Callable[[], object]
    ) -> None:
        self._make = make
        self._other = other
        self._made: amp.IResponderLocator | None = None

    def locateResponder(self, name: bytes) -> Callable[[amp.AmpBox], object] | None:
        """
        The responder for a command, if it has one.
        """
        if self._made is None:
            self._made = self._make(self._other())
        return self._made.locateResponder(name)


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
