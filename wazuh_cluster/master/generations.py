"""
The master's generations: what its items are now, encoded once for all.
"""

from __future__ import annotations

import json
from hashlib import sha256

from wazuh_cluster.errors import NoSuchGeneration
from wazuh_cluster.failures import said
from wazuh_cluster.integrity import Items, Manifest
from wazuh_cluster.interfaces import IRunner, IState
from wazuh_cluster.journal import LOCAL_INTEGRITY, Journal
from wazuh_cluster.model import Generation

_STATE = "generation"


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
        self._encoded = b""

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
        return self._encoded

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
        mark = _mark(root, manifest)
        if self._current is not None and mark == self._mark:
            if not self._kept:
                await self._save(mark)
            return False
        encoded = b"".join(await self._runner.run(manifest.encodeSlices()))
        if mark != self._mark:
            self._number += 1
            await self._save(mark)
        self._mark = mark
        self._manifest, self._encoded = manifest, encoded
        self._current = Generation(self._master, self._number, root)
        return True

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


def _mark(root: bytes, manifest: Manifest) -> bytes:
    """
    What tells one generation from the next: the held paths count too, for a
    worker keeps what lies below one, and must hear when it is free again.
    """
    hashed = sha256(root)
    for held in manifest.held:
        hashed.update(b"%d:%s" % (len(held.path), held.path))
    return hashed.digest()


def _nothingYet() -> NoSuchGeneration:
    return NoSuchGeneration("the master has not finished its first scan: ask again later")
