"""
RequestJournal: which request registered which agent, for as long as a retry may
come.

It is on the disk before C{client.keys} is. A record whose agent is not there,
because the process died in between, stands for nothing: it names the agent by a
digest of its line. No key is in it.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress

from attrs import frozen

from wazuh_cluster.agents.clientkeys import formatAgent
from wazuh_cluster.agents.hashindex import HashIndex
from wazuh_cluster.agents.model import Agent
from wazuh_cluster.durable import openOrMake, replacing
from wazuh_cluster.errors import StoreFailed, TooBusy
from wazuh_cluster.interfaces import IFileSystem, IFolder, Slices

#: For how long a request is remembered at least, in seconds.
KEEP = 600.0

#: How many requests are remembered at most within that time.
MAX_REQUESTS = 1_000_000

#: The size of what a request goes by.
KEY_SIZE = 16
DIGEST_SIZE = 8

_YOUNG = b"registrations"
_OLD = b"registrations.before"
_FILE_MODE = 0o640
_FOLDER_MODE = 0o750

_RECORD = struct.Struct(f">{KEY_SIZE}sI{DIGEST_SIZE}sI")
_CHECKSUM = struct.Struct(">I")
_SIZE = _RECORD.size + _CHECKSUM.size
_HEADER = b"wazuh_cluster registrations 1\n".ljust(_SIZE, b"\0")
_STEP = 2048
_REGISTERED = 1
_UNDONE = 2
_REPLACED = 3


@frozen
class Entry:
    """
    What became of a request.

    @ivar key: see L{requestKey}.
    @ivar agent: the id of the agent that it registered; 0 if none.
    @ivar digest: see L{agentDigest}.
    @ivar undone: whether it is refused from now on.
    @ivar replaced: whether this is no request, but an agent whose place another
        one took; see L{replacement}.
    """

    key: bytes
    agent: int
    digest: bytes
    undone: bool = False
    replaced: bool = False


def requestKey(requestId: bytes, origin: str) -> bytes:
    """
    What a request of a node goes by: L{KEY_SIZE} bytes.
    """
    named = len(requestId).to_bytes(4, "big") + requestId + origin.encode("utf-8")
    return hashlib.blake2b(named, digest_size=KEY_SIZE).digest()


def agentDigest(agent: Agent) -> bytes:
    """
    What tells an agent from another that may have its id later: L{DIGEST_SIZE}
    bytes.
    """
    return hashlib.blake2b(formatAgent(agent), digest_size=DIGEST_SIZE).digest()


def replacement(agent: Agent) -> Entry:
    """
    Notes that another agent takes the place of this one.
    """
    digest = agentDigest(agent)
    key = hashlib.blake2b(digest, digest_size=KEY_SIZE, person=b"replaced").digest()
    return Entry(key, agent.id, digest, replaced=True)


class _Generation:
    """
    The requests of some time: records as they are on the disk, and where each
    key's last one is.
    """

    def __init__(self) -> None:
        self.records = bytearray(_HEADER)
        self._index = HashIndex()

    def __len__(self) -> int:
        return len(self.records) // _SIZE - 1

    def __iter__(self) -> Iterator[Entry]:
        """
        The last entry of each key.
        """
        for number in range(len(self)):
            entry = self._at(number)
            if self._find(entry.key) == number:
                yield entry

    def find(self, key: bytes) -> Entry | None:
        number = self._find(key)
        return None if number is None else self._at(number)

    def add(self, entry: Entry) -> None:
        before = self._find(entry.key)
        number = len(self)
        self.records += _packed(entry)
        if before is None:
            self._index.add(entry.key, number)
        else:
            self._index.replace(entry.key, before, number)

    def _find(self, key: bytes) -> int | None:
        for number in self._index.find(key):
            start = (number + 1) * _SIZE
            if self.records[start : start + KEY_SIZE] == key:
                return number
        return None

    def _at(self, number: int) -> Entry:
        return _entry(self.records, (number + 1) * _SIZE)


class RequestJournal:
    """
    The journal of one home, in two files: that of the present, and the one
    before it. All calls block, and must not overlap.

    What is loaded counts as new: how long nobody wrote, no clock can say that
    may have been set meanwhile.

    @ivar path: the file of the present, for people.
    @ivar damaged: how many records could not be read.
    """

    def __init__(
        self,
        fileSystem: IFileSystem,
        folder: bytes,
        monotonic: Callable[[], float],
        keep: float = KEEP,
        most: int = MAX_REQUESTS,
    ) -> None:
        """
        @param folder: absolute; it is made if it is missing.
        @param monotonic: in seconds; no change of the date moves it.
        @param keep: for how long a request is remembered at least, in seconds;
            at most twice as long, while others come.
        @param most: how many are remembered; twice as many in that time.
        """
        self.path = os.fsdecode(folder + b"/" + _YOUNG)
        self.damaged = 0
        self._fileSystem = fileSystem
        self._folder = folder
        self._monotonic = monotonic
        self._keep = keep
        self._most = most
        self._young = _Generation()
        self._old = _Generation()
        self._isWhole = True
        self._began = self._last = monotonic()

    @property
    def highest(self) -> int:
        """
        The highest agent id in it, 0 for none.
        """
        return max((e.agent for part in (self._old, self._young) for e in part), default=0)

    def load(self) -> Slices[None]:
        """
        Read what processes before this one wrote.

        @raise StoreFailed: if it cannot be read.
        """
        try:
            with closing(openOrMake(self._fileSystem, self._folder, _FOLDER_MODE)) as folder:
                old, young = _content(folder, _OLD), _content(folder, _YOUNG)
        except OSError as error:
            raise self._failed("read", error) from error
        self.damaged = 0
        self._old = yield from self._parsed(old)
        before = self.damaged
        self._young = yield from self._parsed(young)
        # What is not as it was read cannot be written on.
        self._isWhole = self.damaged == before
        self._began = self._last = self._monotonic()

    def find(self, key: bytes) -> Entry | None:
        """
        What became of a request, as far as it is remembered.
        """
        return self._young.find(key) or self._old.find(key)

    def undone(self) -> list[Entry]:
        """
        The requests that were undone and had registered an agent.
        """
        found = {e.key: e for part in (self._old, self._young) for e in part}
        return [entry for entry in found.values() if entry.undone and entry.agent]

    def removed(self) -> set[int]:
        """
        The ids of agents that were undone or replaced, if that came to its end.
        """
        entries = [e for part in (self._old, self._young) for e in part]
        return {e.agent for e in entries if e.agent and (e.undone or e.replaced)}

    def isDue(self) -> bool:
        """
        Whether it is time to L{forget}.
        """
        return bool(len(self._young) or len(self._old)) and (
            self._monotonic() - self._began >= self._keep
        )

    def forget(self) -> None:
        """
        Forget what is old.

        @raise StoreFailed: if the files cannot be changed.
        """
        now = self._monotonic()
        try:
            with closing(openOrMake(self._fileSystem, self._folder, _FOLDER_MODE)) as folder:
                with suppress(FileNotFoundError):
                    folder.unlink(_OLD)
                if now - self._last >= self._keep:
                    with suppress(FileNotFoundError):
                        folder.unlink(_YOUNG)
                    self._old = _Generation()
                else:
                    with suppress(FileNotFoundError):
                        folder.rename(_YOUNG, folder, _OLD)
                    self._old = self._young
                self._young = _Generation()
                self._began = now
                folder.sync()
        except OSError as error:
            raise self._failed("written", error) from error

    def append(self, entries: Sequence[Entry]) -> None:
        """
        Note what is about to be done, durably.

        @raise StoreFailed: if it cannot be written; nothing is noted then.
        @raise TooBusy: if there are too many.
        """
        if not entries:
            return
        if len(self._young) + len(entries) > self._most:
            raise TooBusy(
                f"there were more than {self._most:,} requests within {self._keep / 60:.0f} "
                "minutes: try again later"
            )
        content = b"".join(map(_packed, entries))
        try:
            with closing(openOrMake(self._fileSystem, self._folder, _FOLDER_MODE)) as folder:
                self._write(folder, content)
        except OSError as error:
            raise self._failed("written", error) from error
        for entry in entries:
            self._young.add(entry)
        self._last = self._monotonic()

    def _write(self, folder: IFolder, content: bytes) -> None:
        known = len(self._young.records)
        try:
            file = folder.openWrite(_YOUNG)
        except FileNotFoundError:
            file = None
        if file is not None:
            with closing(file):
                # What is more was not finished, by this process or one before.
                if self._isWhole and len(self._young) and file.status().size >= known:
                    file.truncate(known)
                    file.seek(known)
                    file.write(content)
                    file.sync()
                    return
        with replacing(folder, _YOUNG, _FILE_MODE) as new:
            new.write(bytes(self._young.records) + content)
        self._isWhole = True

    def _parsed(self, content: bytes) -> Slices[_Generation]:
        generation = _Generation()
        if content[:_SIZE] != _HEADER:
            self.damaged += bool(content)
            return generation
        for start in range(_SIZE, len(content), _SIZE):
            record = content[start : start + _SIZE]
            entry = _unpacked(record)
            if entry is not None:
                generation.add(entry)
            elif len(record) == _SIZE:
                self.damaged += 1
            if start // _SIZE % _STEP == 0:
                yield
        return generation

    def _failed(self, doing: str, error: OSError) -> StoreFailed:
        said = os.strerror(error.errno) if error.errno else str(error)
        return StoreFailed(
            f"{self.path} cannot be {doing}: {said}: look at its disk and permissions"
        )


def _packed(entry: Entry) -> bytes:
    kind = _UNDONE if entry.undone else _REPLACED if entry.replaced else _REGISTERED
    record = _RECORD.pack(entry.key, entry.agent, entry.digest, kind)
    return record + _CHECKSUM.pack(zlib.crc32(record))


def _unpacked(record: bytes) -> Entry | None:
    if len(record) != _SIZE or zlib.crc32(record[: _RECORD.size]) != int.from_bytes(
        record[_RECORD.size :], "big"
    ):
        return None
    return _entry(record, 0)


def _entry(records: bytes | bytearray, start: int) -> Entry:
    key, agent, digest, kind = _RECORD.unpack_from(records, start)
    return Entry(key, agent, digest, kind == _UNDONE, kind == _REPLACED)


def _content(folder: IFolder, name: bytes) -> bytes:
    try:
        file = folder.openRead(name)
    except FileNotFoundError:
        return b""
    with closing(file):
        pieces = []
        while piece := file.read(1024 * 1024):
            pieces.append(piece)
        return b"".join(pieces)
