"""
The staging folder: content that has come in, by its digest, until it is
installed.

A finished file is named C{<algorithm>-<hex digest>}, one that is still coming
in has C{.part} behind that, a second copy for a second path C{.copy<n>}. What
an earlier process left is hashed once before it is used: it may have died while
it wrote, and a file that was never synced can have lost its bytes in a power cut.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import define, frozen

from wazuh_cluster.integrity.manifest import Manifest, newHash
from wazuh_cluster.integrity.reasons import failed
from wazuh_cluster.integrity.temporary import isTemporary
from wazuh_cluster.integrity.wants import Want, Wants, WantsWriter
from wazuh_cluster.interfaces import IFileSystem, IFolder, IOpenFile, Slices

if TYPE_CHECKING:
    from hashlib import _Hash

_OURS = re.compile(rb"(md5|sha256)-((?:[0-9a-f]{2})+)(\.part|\.copy[0-9]+)?\Z")
_FILE_MODE = 0o600
_BLOCK = 1 << 20
#: How many small steps are made between two yields.
_STEPS = 512


@frozen
class Needed:
    """
    What has to be fetched.

    @ivar indexes: into the manifest; of several files with the same content
        only the first.
    @ivar wants: the same files in the same order, for the master.
    """

    indexes: array[int]
    wants: Wants


@define
class Partial:
    """
    The beginning of a file's content: its size, and the hash of it so far.
    """

    size: int
    hash: _Hash


class Staging:
    """
    One staging folder, used by one process at a time.
    """

    def __init__(self, fileSystem: IFileSystem, path: bytes, algorithm: str) -> None:
        """
        @param path: the folder, absolute; it must be there.
        @param algorithm: of the digests.
        """
        self.algorithm = algorithm
        self._fileSystem = fileSystem
        self._path = path
        self._prefix = algorithm.encode("ascii") + b"-"
        # Copied for each file: to look an algorithm up takes longer.
        self._noBytes = newHash(algorithm)
        self._folder: IFolder | None = None
        # What an earlier process left.
        self._found: set[bytes] = set()
        self._partial: dict[bytes, Partial] = {}
        self._complete: set[bytes] = set()

    def open(self) -> IFolder:
        """
        Open the folder, if it is not.
        """
        if self._folder is None:
            self._folder = self._fileSystem.openFolder(self._path)
            self._found = {
                name
                for name, isFolder in self._folder.names()
                if not isFolder and _OURS.match(name)
            }
        return self._folder

    def isGone(self) -> bool:
        """
        Whether the folder that is open is not the one of that path any more,
        so that what is staged there is lost.
        """
        if self._folder is None:
            return False
        try:
            there = self._fileSystem.openFolder(self._path)
            try:
                return (there.device, there.inode) != (self._folder.device, self._folder.inode)
            finally:
                there.close()
        except OSError:
            return True

    @property
    def folder(self) -> IFolder:
        """
        The folder itself, open.
        """
        return self.open() if self._folder is None else self._folder

    def close(self) -> None:
        """
        Close the folder; what is staged stays. It can be used again.
        """
        if self._folder is not None:
            self._folder.close()
            self._folder = None
        self._partial.clear()
        self._complete.clear()

    def name(self, digest: bytes) -> bytes:
        """
        The name under which finished content is staged.
        """
        return self._prefix + digest.hex().encode("ascii")

    def has(self, digest: bytes) -> bool:
        """
        Whether the content is staged, whole and verified.
        """
        return digest in self._complete

    def forget(self, digest: bytes) -> None:
        """
        The finished file was moved to its target.
        """
        self._complete.discard(digest)

    def remove(self, digest: bytes) -> None:
        """
        The finished file was copied to its targets, and is done with.
        """
        self._complete.discard(digest)
        self._remove(self.name(digest))

    def content(self, digest: bytes) -> bytes:
        """
        All of a staged content, for one that is small enough to look at.
        """
        file = self.folder.openRead(self.name(digest))
        try:
            parts = []
            while data := file.read(_BLOCK):
                parts.append(data)
            return b"".join(parts)
        finally:
            file.close()

    def needed(self, manifest: Manifest, indexes: Iterable[int]) -> Slices[Needed]:
        """
        Which of these files are not yet staged whole, and from which byte on.

        @param indexes: into the manifest, ascending.
        @raise wazuh_cluster.errors.InstallFailed: if the folder cannot be used.
        """
        writer = WantsWriter()
        chosen = array("I")
        seen: set[bytes] = set()
        for steps, index in enumerate(indexes):
            if steps % _STEPS == 0:
                yield
            digest = manifest.digest(index)
            if digest in seen or digest in self._complete:
                continue
            seen.add(digest)
            path = manifest.paths[index]
            try:
                self.open()
                if self._found:
                    yield from self._inspect(digest, manifest.sizes[index])
            except OSError as error:
                raise failed(path, "use the staging folder", error) from error
            if digest not in self._complete:
                chosen.append(index)
                partial = self._partial.get(digest)
                size = manifest.sizes[index]
                writer.add(Want(path, digest, size, partial.size if partial else 0))
        return Needed(chosen, writer.finish())

    def resume(self, digest: bytes) -> Partial:
        """
        Take over what is there of a content, for who receives the rest of it.
        """
        return self._partial.pop(digest, None) or Partial(0, self._noBytes.copy())

    def suspend(self, digest: bytes, partial: Partial) -> None:
        """
        Leave it where it is, to be resumed.
        """
        self._partial[digest] = partial

    def openPart(self, digest: bytes, size: int) -> IOpenFile:
        """
        Open what is there of a content for writing on behind its first C{size}
        bytes.
        """
        folder = self.folder
        name = self.name(digest) + b".part"
        if size:
            file = folder.openWrite(name)
            try:
                file.truncate(size)
                file.seek(size)
            except OSError:
                file.close()
                raise
            return file
        return self._create(folder, name, _FILE_MODE)

    def put(
        self,
        digest: bytes,
        content: bytes | memoryview,
        mode: int = _FILE_MODE,
        dress: Callable[[IOpenFile], None] | None = None,
    ) -> None:
        """
        Stage a whole content that was proved. It is written under its final
        name at once: to rename many small files takes as long as to write them.

        @param mode: the file's permissions.
        @param dress: called with the file before it is closed.
        """
        folder, name = self.folder, self.name(digest)
        file = self._create(folder, name, mode)
        done = False
        try:
            file.write(content)
            if dress is not None:
                dress(file)
            file.close()
            done = True
        finally:
            if not done:
                with suppress(OSError):
                    file.close()
                with suppress(OSError):
                    folder.unlink(name)
        self._complete.add(digest)

    def _create(self, folder: IFolder, name: bytes, mode: int) -> IOpenFile:
        try:
            return folder.create(name, mode)
        except FileExistsError:
            folder.unlink(name)
            return folder.create(name, mode)

    def finish(self, digest: bytes) -> None:
        """
        A content is there, whole and right.
        """
        name = self.name(digest)
        self.folder.rename(name + b".part", self.folder, name)
        self._complete.add(digest)

    def flush(self) -> None:
        """
        Write what is staged to the disk, so that the sync of an installation
        finds little left to do. May be called in any thread.
        """
        # The system tells of a write that failed once for each time that the
        # folder was opened: through the one that is open, an installation hears
        # of it as well.
        with suppress(OSError):
            folder = self._fileSystem.openFolder(self._path)
            try:
                self._fileSystem.syncAll([folder])
            finally:
                folder.close()

    def discard(self, digest: bytes) -> None:
        """
        Give back the room that a spoilt beginning takes.
        """
        # Where even this fails, the next beginning or a sweep takes it away.
        with suppress(OSError):
            self.folder.unlink(self.name(digest) + b".part")

    def copy(self, digest: bytes, number: int) -> Slices[bytes]:
        """
        Make a second copy of finished content, and return its name.
        """
        name = b"%s.copy%d" % (self.name(digest), number)
        self._remove(name)
        source = self.folder.openRead(self.name(digest))
        try:
            yield from copyInto(source, self.folder, name)
        finally:
            source.close()
        return name

    def sweep(self, keep: Container[bytes] = ()) -> Slices[int]:
        """
        Remove what is staged, whole or in part, for other contents than these,
        and what an installation left; return how many files that were. Files of
        other names stay.

        @param keep: digests.
        """
        removed = 0
        for steps, (name, isFolder) in enumerate(list(self.folder.names())):
            if steps % _STEPS == 0:
                yield
            match = _OURS.match(name)
            if isFolder or (match is None and not isTemporary(name)):
                continue
            if match is None:
                self._remove(name)
                removed += 1
                continue
            algorithm, hexDigest, suffix = match.groups()
            digest = bytes.fromhex(hexDigest.decode("ascii"))
            copied = suffix is not None and suffix.startswith(b".copy")
            if digest in keep and algorithm == self.algorithm.encode("ascii") and not copied:
                continue
            self._remove(name)
            self._found.discard(name)
            if suffix is None:
                self._complete.discard(digest)
            elif not copied:
                self._partial.pop(digest, None)
            removed += 1
        return removed

    def _inspect(self, digest: bytes, size: int) -> Slices[None]:
        """
        See what an earlier process left of one content of this size.
        """
        name = self.name(digest)
        if name in self._found:
            self._found.discard(name)
            hashed = yield from self._hashed(name, size)
            if hashed is not None and hashed.hash.digest() == digest:
                self._complete.add(digest)
                return
            self._remove(name)
        part = name + b".part"
        if part in self._found:
            self._found.discard(part)
            hashed = yield from self._hashed(part, size)
            if hashed is not None and hashed.size < size:
                self._partial[digest] = hashed
            elif hashed is not None and hashed.hash.digest() == digest:
                # The process died just before the rename.
                self.finish(digest)
            else:
                self._remove(part)

    def _hashed(self, name: bytes, size: int) -> Slices[Partial | None]:
        """
        Hash a file; C{None} if it cannot be read or is longer than C{size}.
        """
        partial = Partial(0, self._noBytes.copy())
        try:
            file = self.folder.openRead(name)
        except OSError:
            return None
        try:
            while data := file.read(_BLOCK):
                partial.hash.update(data)
                partial.size += len(data)
                if partial.size > size:
                    return None
                if len(data) == _BLOCK:
                    yield
        except OSError:
            # The disk lost it: it is fetched once more.
            return None
        finally:
            file.close()
        return partial

    def _remove(self, name: bytes) -> None:
        with suppress(FileNotFoundError):
            self.folder.unlink(name)


def copyInto(source: IOpenFile, folder: IFolder, name: bytes) -> Slices[None]:
    """
    Copy what is left of an open file into a new one, which is removed again if
    that fails.
    """
    target = folder.create(name, _FILE_MODE)
    done = False
    try:
        while data := source.read(_BLOCK):
            target.write(data)
            if len(data) == _BLOCK:
                yield
        target.close()
        done = True
    finally:
        target.close()
        if not done:
            # What stays now is taken away by a sweep.
            with suppress(OSError):
                folder.unlink(name)
