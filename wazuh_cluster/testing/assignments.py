"""
The groups and their agents in memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from wazuh_cluster.agents.groupnames import (
    DEFAULT_GROUP,
    eachOnce,
    groupsFault,
    nameFault,
    shownName,
)
from wazuh_cluster.agents.interfaces import IAssignments
from wazuh_cluster.agents.model import Group, formatId
from wazuh_cluster.errors import GroupRefused

T = TypeVar("T")


@implementer(IAssignments)
class MemoryAssignments:
    """
    An L{IAssignments} that lasts as long as the object.

    @ivar names: the groups.
    @ivar assigned: agents and their groups.
    @ivar failure: what all calls fail with, while it is set.
    """

    def __init__(self) -> None:
        self.names = {DEFAULT_GROUP}
        self.assigned: dict[int, tuple[str, ...]] = {}
        self.failure: Exception | None = None

    def groups(self) -> Deferred[Sequence[Group]]:
        """
        See L{IAssignments.groups}.
        """
        inThem = [name for groups in self.assigned.values() for name in groups]
        return self._fires([Group(name, inThem.count(name)) for name in sorted(self.names)])

    def create(self, name: str) -> Deferred[None]:
        """
        See L{IAssignments.create}.
        """
        fault = nameFault(name)
        if fault is not None:
            return fail(GroupRefused(f"{shownName(name)} cannot be a group: {fault}"))
        if name in self.names:
            return fail(GroupRefused(f"there is a group {name!r} already"))
        if self.failure is None:
            self.names.add(name)
        return self._fires(None)

    def delete(self, name: str) -> Deferred[Sequence[int]]:
        """
        See L{IAssignments.delete}.
        """
        if name == DEFAULT_GROUP or name not in self.names:
            return fail(GroupRefused(f"there is no group {shownName(name)} to remove"))
        members = sorted(agent for agent, groups in self.assigned.items() if name in groups)
        if self.failure is None:
            for agent in members:
                left = tuple(each for each in self.assigned[agent] if each != name)
                self.assigned[agent] = left or (DEFAULT_GROUP,)
            self.names.discard(name)
        return self._fires(members)

    def missing(self, names: Iterable[str]) -> Deferred[Sequence[str]]:
        """
        See L{IAssignments.missing}.
        """
        return self._fires([name for name in eachOnce(names) if name not in self.names])

    def of(self, ids: Collection[int]) -> Deferred[Mapping[int, tuple[str, ...]]]:
        """
        See L{IAssignments.of}.
        """
        return self._fires({each: self.assigned[each] for each in ids if each in self.assigned})

    def assign(self, groups: Mapping[int, tuple[str, ...]]) -> Deferred[None]:
        """
        See L{IAssignments.assign}.
        """
        for agent, names in groups.items():
            fault = groupsFault(names) if names else None
            if fault is not None:
                return fail(GroupRefused(f"agent {formatId(agent)}: {fault}"))
            if not self.names.issuperset(names):
                return fail(GroupRefused("there is no such group"))
        for agent, names in groups.items() if self.failure is None else ():
            if names:
                self.assigned[agent] = eachOnce(names)
            else:
                self.assigned.pop(agent, None)
        return self._fires(None)

    def remove(self, ids: Collection[int]) -> Deferred[None]:
        """
        See L{IAssignments.remove}.
        """
        for agent in ids if self.failure is None else ():
            self.assigned.pop(agent, None)
        return self._fires(None)

    def _fires(self, result: T) -> Deferred[T]:
        return succeed(result) if self.failure is None else fail(self.failure)
