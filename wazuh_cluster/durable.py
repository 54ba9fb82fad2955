"""
What survives the machine's death: a file that is replaced as a whole, a folder
that is made. All of it blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

from wazuh_cluster.interfaces import IFileSystem, IFolder, IOpenFile


@contextmanager
def replacing(
    folder: IFolder, name: bytes, mode: int, mayReplace: Callable[[], None] | None = None
) -> Iterator[IOpenFile]:
    """
    A new file to be written in the block. After the block it is on the disk
    under C{name}; whoever reads that sees the old or the new one, whole. If the
    block, or anything after it, raises, the old one is still there and nothing
    else is left behind; only a failure to make the new name durable leaves it
    open which of them a power cut would leave.

    The file belongs to the owner of the folder, as far as this process may give
    it away: what root writes for a daemon that runs as another user is that
    user's. One process at a time may replace a file.

    @param mode: the permissions, whatever the umask.
    @param mayReplace: called at the last moment before the name leads to the
        new file; what it raises keeps the old one.
    """
    temporary = b"." + name + b".tmp"
    # What a process that died left behind.
    with suppress(FileNotFoundError):
        folder.unlink(temporary)
    with closing(folder.create(temporary, mode)) as file:
        try:
            yield file
            _giveToOwner(file, folder)
            file.sync()
            if mayReplace is not None:
                mayReplace()
            folder.rename(temporary, folder, name)
        except BaseException:
            with suppress(OSError):
                folder.unlink(temporary)
            raise
    folder.sync()


def openOrMake(fileSystem: IFileSystem, path: bytes, mode: int) -> IFolder:
    """
    Open a folder, made durably with those above it if it is missing.

    @param path: absolute.
    @param mode: the permissions of what is made.
    """
    try:
        return fileSystem.openFolder(path)
    except FileNotFoundError:
        above, _, name = path.rstrip(b"/").rpartition(b"/")
        if not name:
            raise
    parent = openOrMake(fileSystem, above or b"/", mode)
    with closing(parent), suppress(FileExistsError):
        parent.makeFolder(name, mode)
        parent.sync()
    return fileSystem.openFolder(path)


def _giveToOwner(file: IOpenFile, folder: IFolder) -> None:
    status = file.status()
    if (status.uid, status.gid) != folder.owner:
        # Others than root may not, and need not.
        with suppress(PermissionError):
            file.setOwner(*folder.owner)
