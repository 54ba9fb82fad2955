"""
Bugs to plant in what is done for agents; see L{tests.plantedbugs}.

C{python -m tests.plantedagents NAME ...} looks for these.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from twisted.internet.defer import Deferred, succeed

from tests.plantedbugs import Patch, bug, main
from wazuh_cluster.agents import linefile
from wazuh_cluster.agents.assignments import FileAssignments
from wazuh_cluster.agents.heard import HeardBatch, decodeBatch
from wazuh_cluster.agents.judge import Judge
from wazuh_cluster.agents.keysbook import KeysBook
from wazuh_cluster.agents.operations import Register, Registered, Verdict
from wazuh_cluster.agents.requestjournal import RequestJournal
from wazuh_cluster.enrollment.conversation import Conversation
from wazuh_cluster.enrollment.interfaces import Enrolled
from wazuh_cluster.enrollment.undoing import UndoList
from wazuh_cluster.integrity.items import Item, Items
from wazuh_cluster.integrity.plan import Plan
from wazuh_cluster.integrity.prepare import Preparation
from wazuh_cluster.interfaces import IFolder, IOpenFile, Slices
from wazuh_cluster.master import agentinfo
from wazuh_cluster.master.agentinfo import MasterAgentInfo
from wazuh_cluster.master.assignments import MasterAssignments


def agentBug(breaks: str, found: str) -> Callable[[Callable[[Patch], None]], None]:
    """
    Register one that it takes agents to find.
    """
    return bug(breaks, found, agents=True)


# Registrations.


@agentBug("Who was given its key is registered after a power cut.", "a power cut would undo it")
def answeredBeforeTheSync(patch: Patch) -> None:
    """
    C{client.keys} is replaced, and nothing is synced.
    """

    @contextmanager
    def replacing(
        folder: IFolder, name: bytes, mode: int, mayReplace: Callable[[], None] | None = None
    ) -> Iterator[IOpenFile]:
        temporary = b"." + name + b".tmp"
        with suppress(FileNotFoundError):
            folder.unlink(temporary)
        file = folder.create(temporary, mode)
        try:
            yield file
        finally:
            file.close()
        if mayReplace is not None:
            mayReplace()
        folder.rename(temporary, folder, name)

    patch(linefile, "replacing", replacing)


@agentBug("A retry gets the answer that it would have got.", "is in its own way")
def retriedAnew(patch: Patch) -> None:
    """
    The id of a request means nothing to the registrar when it is asked again.
    """
    before = Judge._register

    def register(self: Judge, operation: Register) -> Verdict:
        entry = self._draft.request(operation.key)
        if entry is not None and not entry.undone:
            return self._judged(operation)
        return before(self, operation)

    patch(Judge, "_register", register)


@agentBug("What no agent was told of is undone.", "nobody was told of agent")
def undoForgotten(patch: Patch) -> None:
    """
    Nothing comes on the list of what is to be undone.
    """
    patch(UndoList, "add", lambda self, requestId: succeed(None))


@agentBug("What an agent was told of is not undone.", "is lost")
def answeredAndUndone(patch: Patch) -> None:
    """
    An agent that was answered and goes, as all do, counts as one that went before.
    """
    before = Conversation._enrolled

    def enrolled(self: Conversation, enrolled: Enrolled) -> None:
        before(self, enrolled)
        enrolled.undo()

    patch(Conversation, "_enrolled", enrolled)


@agentBug("A stranger's text gets nobody's key.", "gets the key of another")
def textIsProof(patch: Patch) -> None:
    """
    Who has a registered agent's name is that agent.
    """
    before = Judge._judged

    def judged(self: Judge, operation: Register) -> Verdict:
        for agent in self._draft.named(operation.registration.name):
            return Registered(agent, False)
        return before(self, operation)

    patch(Judge, "_judged", judged)


@agentBug("Each id is given once, also after a crash.", "is given")
def idsForgotten(patch: Patch) -> None:
    """
    The highest id is that of C{client.keys}, and nothing else remembers it.
    """
    patch(KeysBook, "_saveHighest", lambda self: None)
    patch(KeysBook, "_loadHighest", lambda self: 0)
    patch(RequestJournal, "highest", 0)
    # Workers remember too.
    patch(KeysBook, "_see", _seeNothing)


def _seeNothing(self: KeysBook, id: int) -> Slices[None]:
    yield


# Records.


@agentBug("An older record does not replace a newer one.", "is set back")
def comparedByArrival(patch: Patch) -> None:
    """
    What arrives last is what was heard last.
    """

    def decode(records: bytes, details: bytes, sent: float) -> tuple[HeardBatch, Sequence[str]]:
        batch, refused = decodeBatch(records, details, sent)
        batch.heard = [sent] * len(batch.heard)
        return batch, refused

    patch(agentinfo, "decodeBatch", decode)


@agentBug("Of a removed agent no record stays.", "the master has records of")
def statusStays(patch: Patch) -> None:
    """
    What is known of removed agents stays.
    """

    async def forget(self: MasterAgentInfo, ids: Collection[int]) -> None:
        return

    patch(MasterAgentInfo, "forget", forget)


@agentBug("A record of an unknown agent is not kept.", "the master has records of")
def anybodysRecords(patch: Patch) -> None:
    """
    Whoever a record is of, it is kept.
    """
    before = MasterAgentInfo.__init__

    def init(self: MasterAgentInfo, *arguments: Any, **keywords: Any) -> None:
        before(self, *arguments, **keywords)
        self._registrar = _KnowsAll()  # type: ignore[assignment]

    patch(MasterAgentInfo, "__init__", init)


class _KnowsAll:
    """
    Who knows every agent.
    """

    def known(self, ids: Collection[int]) -> Deferred[frozenset[int]]:
        return succeed(frozenset(ids))


# Groups.


@agentBug("Keys come before the assignments that need them.", "before it has its key")
def assignmentsFirst(patch: Patch) -> None:
    """
    What comes last in the order comes first.
    """

    def inOrder(self: Plan, items: Items) -> Iterator[tuple[int, bool, Item]]:
        yield from reversed(list(before(self, items)))

    before = Plan.inOrder
    patch(Plan, "inOrder", inOrder)
    patch(Preparation, "_waitsForKeys", lambda self, path: False)


@agentBug("Of a removed agent no groups stay.", "is of nobody")
def groupsStay(patch: Patch) -> None:
    """
    Groups of removed agents stay.
    """

    async def forget(self: MasterAssignments, agents: Sequence[int]) -> None:
        return

    patch(MasterAssignments, "forget", forget)


@agentBug("No agent is in a group that is not there.", "which is not there")
def groupRemovedAlone(patch: Patch) -> None:
    """
    A group is removed, and its agents are not told.
    """
    before = FileAssignments._write

    def write(self: FileAssignments, wanted: dict[int, tuple[str, ...]]) -> Slices[None]:
        if all(groups in ((), ("default",)) for groups in wanted.values()):
            return
        yield from before(self, wanted)

    patch(FileAssignments, "_write", write)


if __name__ == "__main__":
    main(sys.argv[1:])
