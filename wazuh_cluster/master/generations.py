"""
The master's generations: what its items are now, and how that came of what they
were, encoded once for all.
"""

from __future__ import annotations

import json
from collections import deque

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wazuh_cluster.errors import NoSuchGeneration
from wazuh_cluster.failures import said
from wazuh_cluster.integrity import Items, Manifest
from wazuh_cluster.integrity.difference import (
    MAX_DIFFERENCE,
    Difference,
    compose,
    encodeDifference,
    findDifference,
    markOf,
)
from wazuh_cluster.interfaces import IRunner, IState, Slices
from wazuh_cluster.journal import LOCAL_INTEGRITY, Journal
from wazuh_cluster.model import Generation

_STATE = "generation"

#: How many generations back a difference leads, and how many files may have
#: changed since the first of them.
MOST_STEPS = 128
MOST_CHANGES = 4096

#: How many differences are kept as they travel.
_UPDATES = 16


@frozen
class _Step:
    """
    What came after a generation.

    @ivar mark: that generation's.
    @ivar difference: what made the next one of it.
    """

    mark: bytes
    difference: Difference


class Generations:
    """
    The current generation, its manifest and that manifest's encoding.

    The number goes on over restarts; a generation is on the disk before
    anybody hears of it, unless the disk refuses, which is logged, and tried
    again at each look: nodes tell generations apart by their roots too.
    """

    def __init__(self, master: bytes, state: IState, runner: IRunner, items: Items) -> None:
        """
        @param master: the master's persistent id.
        @param runner: where encoding and the state's file are worked on.
        """
        self._master = master
        self._state = state
        self._runner = runner
        self._items = items
        self._log = Journal(LOCAL_INTEGRITY)
        self._loaded = False
        self._number = 0
        self._mark = b""
        # Whether the number is on the disk.
        self._kept = True
        self._current: Generation | None = None
        self._manifest: Manifest | None = None
        self._pieces: list[bytes] = []
        self._encoded: bytes | None = None
        self._steps: deque[_Step] = deque()
        self._changes = 0
        # By the mark of what they lead from.
        self._updates: dict[bytes, _Shared] = {}

    @property
    def current(self) -> Generation | None:
        """
        The current generation, C{None} before the first scan ended.
        """
        return self._current

    @property
    def manifest(self) -> Manifest:
        """
        The current generation's.

        @raise NoSuchGeneration: before the first scan ended.
        """
        if self._manifest is None:
            raise _nothingYet()
        return self._manifest

    @property
    def encoded(self) -> bytes:
        """
        The manifest as it travels.

        @raise NoSuchGeneration: before the first scan ended.
        """
        if self._manifest is None:
            raise _nothingYet()
        if self._encoded is None:
            self._encoded = b"".join(self._pieces)
        return self._encoded

    def since(self, mark: bytes, runner: IRunner) -> Deferred[bytes] | None:
        """
        What has changed since an earlier generation, as it travels: worked out
        once, however many ask. If that is no shorter than the manifest, it is
        the manifest.

        @param mark: tells which that is, see
            L{wazuh_cluster.integrity.difference.markOf}.
        @param runner: where it is worked out.
        @return: C{None} if that generation is not known any more.
        """
        known = self._updates.get(mark)
        if known is None:
            steps = self._stepsSince(mark)
            if steps is None:
                return None
            if len(self._updates) >= _UPDATES:
                del self._updates[next(iter(self._updates))]
            work = _encodeSince(self.manifest, self._pieces, steps, mark)
            known = self._updates[mark] = _Shared(runner.run(work))
        return known.wait()

    def _stepsSince(self, mark: bytes) -> list[Difference] | None:
        """
        All differences since a generation, in order.
        """
        steps: list[Difference] = []
        if self._manifest is not None and mark == self._mark:
            return steps
        for step in reversed(self._steps):
            steps.append(step.difference)
            if step.mark == mark:
                steps.reverse()
                return steps
        return None

    def require(self) -> Generation:
        """
        The current generation.

        @raise NoSuchGeneration: before the first scan ended.
        """
        if self._current is None:
            raise _nothingYet()
        return self._current

    async def publish(self, manifest: Manifest) -> bool:
        """
        Make a scan's manifest the current one.

        @return: whether there is something new for workers: another root, or
            other held paths.
        """
        if not self._loaded:
            await self._load()
        root = await self._runner.run(manifest.rootSlices(self._items))
        mark = markOf(root, manifest.held)
        if self._current is not None and mark == self._mark:
            if not self._kept:
                await self._save(mark)
            return False
        pieces = await self._runner.run(manifest.encodeSlices())
        difference = await self._differenceTo(manifest)
        if mark != self._mark:
            self._number += 1
            await self._save(mark)
        self._note(difference)
        self._mark = mark
        self._manifest, self._pieces, self._encoded = manifest, pieces, None
        self._updates.clear()
        self._current = Generation(self._master, self._number, root)
        return True

    async def _differenceTo(self, manifest: Manifest) -> Difference | None:
        """
        What makes a manifest of the current one; C{None} if nothing does.
        """
        old = self._manifest
        if old is None or old.algorithm != manifest.algorithm:
            return None
        return await self._runner.run(findDifference(old, manifest))

    def _note(self, difference: Difference | None) -> None:
        """
        Note how the next manifest comes of the current one.
        """
        if difference is None:
            self._steps.clear()
            self._changes = 0
            return
        self._steps.append(_Step(self._mark, difference))
        self._changes += len(difference)
        while self._steps and (len(self._steps) > MOST_STEPS or self._changes > MOST_CHANGES):
            self._changes -= len(self._steps.popleft().difference)

    async def _load(self) -> None:
        content = await self._runner.call(self._state.load, _STATE)
        if content is not None:
            try:
                kept = json.loads(content)
                self._number, self._mark = int(kept["number"]), bytes.fromhex(kept["mark"])
            except (ValueError, KeyError, TypeError) as error:
                self._log.warn(
                    "The kept generation number cannot be read and begins anew: {error}",
                    error=error,
                )
        self._loaded = True

    async def _save(self, mark: bytes) -> None:
        content = json.dumps({"number": self._number, "mark": mark.hex()}).encode("ascii")
        failedBefore = not self._kept
        self._kept = False
        try:
            await self._runner.call(self._state.save, _STATE, content)
        except OSError as error:
            if not failedBefore:
                self._log.error(
                    "Could not keep the generation number {number}: {error}",
                    number=self._number,
                    error=said(error),
                )
            return
        self._kept = True
        if failedBefore:
            self._log.info("The generation number {number} is kept.", number=self._number)


class _Shared:
    """
    A result for which several wait.
    """

    def __init__(self, work: Deferred[bytes]) -> None:
        self._result: bytes | Failure | None = None
        self._waiting: list[Deferred[bytes]] = []
        work.addBoth(self._ended)

    def wait(self) -> Deferred[bytes]:
        """
        A Deferred of one's own.
        """
        waiting: Deferred[bytes] = Deferred()
        if self._result is None:
            self._waiting.append(waiting)
        else:
            waiting.callback(self._result)
        return waiting

    def _ended(self, result: bytes | Failure) -> None:
        self._result = result
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(result)


def _encodeSince(
    manifest: Manifest, pieces: list[bytes], steps: list[Difference], mark: bytes
) -> Slices[bytes]:
    """
    @param pieces: the manifest as it travels.
    """
    if steps:
        difference = yield from compose(steps)
    else:
        difference = Difference(manifest.algorithm, (), (), manifest.held)
    encoded: bytes = yield from encodeDifference(difference, mark)
    if len(encoded) > min(MAX_DIFFERENCE, sum(map(len, pieces))):
        return b"".join(pieces)
    return encoded


def _nothingYet() -> NoSuchGeneration:
    return NoSuchGeneration("the master has not finished its first scan: ask again later")
