"""
What a worker knows after a restart: the manifest it last saw of its master, of
whose home that is, what it holds, and whether a restart of Wazuh is due.

Everything here blocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from attrs import frozen

from wazuh_cluster.errors import ClusterError, StateDamaged
from wazuh_cluster.integrity import Hold, Items, Manifest, decodeSlices
from wazuh_cluster.interfaces import IState, Slices
from wazuh_cluster.journal import INTEGRITY_CHECK, Journal
from wazuh_cluster.model import Generation

_MANIFEST = "manifest"
_MASTER = "master"
_HOLDS = "holds"
_RELEASED = "released"
_GONE = "gone"

_HEADER = b"wazuh_cluster applied 1\n"


@frozen
class Applied:
    """
    A generation and its manifest, as they were last applied.
    """

    generation: Generation
    manifest: Manifest


@frozen
class KeptHold:
    """
    A hold as it is kept for the operator.

    @ivar id: see L{Hold}.
    @ivar kind: likewise.
    @ivar text: likewise.
    @ivar files: how many files it keeps as they are.
    """

    id: str
    kind: str
    text: str
    files: int


class WorkerMemory:
    """
    A worker's part of its node's state.

    What cannot be read is taken as not there: the master has it all.
    """

    def __init__(self, state: IState, items: Items) -> None:
        self._state = state
        self._items = items
        self._log = Journal(INTEGRITY_CHECK)

    def loadApplied(self) -> Slices[Applied | None]:
        """
        The manifest that was last applied here.
        """
        try:
            content = self._state.load(_MANIFEST)
            if content is None:
                return None
            if not content.startswith(_HEADER):
                raise ValueError("it does not begin as it should")
            line, _, rest = content[len(_HEADER) :].partition(b"\n")
            kept = json.loads(line)
            generation = Generation(
                bytes.fromhex(kept["master"]),
                int(kept["number"]),
                bytes.fromhex(kept["root"]),
                int(kept["epoch"]),
            )
            manifest: Manifest = yield from decodeSlices(rest, self._items)
            return Applied(generation, manifest)
        except (ClusterError, ValueError, KeyError, TypeError) as error:
            self._log.warn(
                "The manifest that was applied last cannot be read and is fetched again: {error}",
                error=error,
            )
            return None

    def saveApplied(self, applied: Applied) -> Slices[None]:
        """
        Keep it.
        """
        generation = applied.generation
        line = json.dumps(
            {
                "master": generation.master.hex(),
                "number": generation.number,
                "root": generation.root.hex(),
                "epoch": generation.epoch,
            }
        )
        pieces = yield from applied.manifest.encodeSlices()
        self._state.save(_MANIFEST, b"".join([_HEADER, line.encode("ascii"), b"\n", *pieces]))

    def master(self) -> bytes | None:
        """
        The id of the master whose files these are; C{None} before the first,
        C{b""} for one that is not known any more.
        """
        content = self._state.load(_MASTER)
        try:
            return None if content is None else bytes.fromhex(content.decode("ascii").strip())
        except ValueError:
            # Whoever it was: the files here are not given away for that.
            return b""

    def saveMaster(self, master: bytes) -> None:
        """
        From now on these are this master's files.
        """
        self._state.save(_MASTER, master.hex().encode("ascii") + b"\n")

    def gone(self) -> frozenset[bytes]:
        """
        Extra valid files that the master had and deleted, whose removal is
        held here.
        """
        content = self._state.load(_GONE)
        return frozenset() if content is None else frozenset(content.split(b"\0")) - {b""}

    def saveGone(self, paths: Iterable[bytes]) -> None:
        """
        Keep it.
        """
        content = b"\0".join(sorted(paths))
        if content:
            self._state.save(_GONE, content)
        else:
            self._state.remove(_GONE)

    def saveHolds(self, holds: Iterable[Hold]) -> None:
        """
        Keep what is held, for the operator.
        """
        kept = [
            {"id": hold.id, "kind": hold.kind, "text": hold.text, "files": len(hold.paths)}
            for hold in holds
        ]
        if kept:
            self._state.save(_HOLDS, json.dumps(kept, indent=1).encode("ascii") + b"\n")
        else:
            self._state.remove(_HOLDS)

    def keptHolds(self) -> list[KeptHold]:
        """
        What the worker held when it looked last.
        """
        content = self._state.load(_HOLDS)
        if content is None:
            return []
        try:
            return [
                KeptHold(str(each["id"]), str(each["kind"]), str(each["text"]), int(each["files"]))
                for each in json.loads(content)
            ]
        except (ValueError, KeyError, TypeError):
            raise StateDamaged(
                "it cannot be read",
                f"the state {_HOLDS!r}",
                "remove it; a worker that runs writes it anew at its next look",
            ) from None

    def release(self, ids: Iterable[str]) -> None:
        """
        The operator accepts these holds.
        """
        wanted = sorted(self.released() | frozenset(ids))
        self._state.save(_RELEASED, " ".join(wanted).encode("ascii") + b"\n")

    def released(self) -> frozenset[str]:
        """
        The ids of the holds that the operator released.
        """
        content = self._state.load(_RELEASED)
        return (
            frozenset()
            if content is None
            else frozenset(content.decode("ascii", "replace").split())
        )

    def forgetReleased(self, used: Iterable[str]) -> None:
        """
        These were used: the same loss, another day, is held again.
        """
        left = self.released() - frozenset(used)
        if left:
            self._state.save(_RELEASED, " ".join(sorted(left)).encode("ascii") + b"\n")
        else:
            self._state.remove(_RELEASED)
